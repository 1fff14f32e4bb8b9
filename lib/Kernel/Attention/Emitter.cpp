//===- Emitter.cpp - Loops of qtx.attention -------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PipelinedEmitter.h"
#include "StretchEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace qtx;

static const MicroKernel &getRow(KernelOp op, StringRef param) {
  return *lookupMicroKernel(op.getParams().getAs<StringAttr>(param).getValue());
}

AttentionEmitter::AttentionEmitter(ImplicitLocOpBuilder &builder, KernelOp op,
                                   Part part,
                                   std::optional<Stretches> stretches)
    : VectorEmitter(builder, getRow(op, "scores_kernel").getNumLanes()), op(op),
      part(part), view(op),
      plan(getRow(op, "scores_kernel"), getRow(op, "context_kernel"),
           getLast(view->getQuery()), getLast(view->getValue()), stretches,
           op.getParams().contains(kPipelinedParam)),
      layouts(op.getParams().getAs<DenseI64ArrayAttr>("layouts")),
      valueSize(getLast(view->getValue())) {
  query = getOperandParams(view->getQueryQuant(), plan.scores, true);
  key = getOperandParams(view->getKeyQuant(), plan.scores, false);
  prob = getOperandParams(view->getProbsQuant(), plan.context, true);
  value = getOperandParams(view->getValueQuant(), plan.context, false);
  hasIntegerRows =
      areRowsIntegers(*view.operator->(), plan.scores, plan.context);
}

void AttentionEmitter::emit() {
  createSizes();
  createRows();
  createScratch();
  Value perHead = mul(queryBlocks, numHeads / numKeyHeads);
  Value heads = mul(numBatches, numKeyHeads);
  PartRange blocks = getRange(b, part, mul(heads, perHead));
  // Without queries there are no blocks to divide by.
  perHead = arith::MaxUIOp::create(b, perHead, index(1));
  Value first = arith::DivUIOp::create(b, blocks.begin, perHead);
  Value last = arith::CeilDivUIOp::create(b, blocks.end, perHead);
  loop(first, last, 1, {}, [&](Value head, ValueRange) {
    at.batch = arith::DivUIOp::create(b, head, index(numKeyHeads));
    at.keyHead = arith::RemUIOp::create(b, head, index(numKeyHeads));
    if (skipsPadding())
      setKeys(zero, countKeysInMask());
    Value before = mul(head, perHead);
    Value begin = arith::MaxUIOp::create(b, blocks.begin, before);
    Value end = arith::MinUIOp::create(b, blocks.end, add(before, perHead));
    emitKeyHead({sub(begin, before), sub(end, before)});
    return SmallVector<Value>();
  });
}

int64_t AttentionEmitter::getLast(Value value) {
  return cast<MemRefType>(value.getType()).getShape().back();
}

//===----------------------------------------------------------------------===//
// Sizes and memory
//===----------------------------------------------------------------------===//

void AttentionEmitter::createSizes() {
  auto shapeOf = [](Value memref) {
    return cast<MemRefType>(memref.getType()).getShape();
  };
  numHeads = shapeOf(view->getQuery())[getHeadDim(0)];
  numKeyHeads = shapeOf(view->getKey())[getHeadDim(1)];
  numBatches = memref::DimOp::create(b, view->getQuery(), 0);
  numQueries = memref::DimOp::create(b, view->getQuery(), getPositionDim(0));
  blockRows = createBlockRows();
  queryBlocks = arith::CeilDivUIOp::create(b, numQueries, blockRows);
  allKeys = createNumKeys();
  if (view->getCausal()) {
    offset = view->getOffset();
    if (!offset)
      offset = sub(allKeys, numQueries);
  }
}

Value AttentionEmitter::createBlockRows() { return index(plan.blockRows); }

Value AttentionEmitter::createNumKeys() {
  return b.createOrFold<memref::DimOp>(view->getKey(), getPositionDim(1));
}

void AttentionEmitter::createRows() {
  setKeys(zero, allKeys);
  paddedKeys = mul(arith::CeilDivUIOp::create(b, allKeys, index(plan.keyUnit)),
                   plan.keyUnit);
}

void AttentionEmitter::setKeys(Value first, Value count) {
  at.areFinite = {};
  firstKey = first;
  numKeys = count;
  fullKeys = sub(numKeys, arith::RemUIOp::create(b, numKeys, index(lanes)));
  Value vectors = arith::CeilDivUIOp::create(b, numKeys, index(lanes));
  keyVectors = vectors;
  wholeKeys = mul(vectors, lanes);
  lastKey = sub(numKeys, index(1));
  groupedKeys =
      sub(numKeys, arith::RemUIOp::create(b, numKeys, index(getGroupSize())));
}

bool AttentionEmitter::skipsPadding() {
  // What is no number counts in floats, even where it is multiplied by zero.
  APFloat gamma = view->getGamma();
  return hasIntegerRows && view->getMask() &&
         (gamma.isZero() || gamma.isNegative());
}

Value AttentionEmitter::countKeysInMask() {
  Value mask = view->getMask();
  auto isPadding = [&](Value count) -> Value {
    SmallVector<Value> indices = {at.batch, zero, zero, sub(count, index(1))};
    if (cast<MemRefType>(mask.getType()).getDimSize(0) == 1)
      indices[0] = zero;
    Value seen = memref::LoadOp::create(b, mask, indices);
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(seen.getType()));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, seen, none);
  };
  auto loop = scf::WhileOp::create(
      b, b.getIndexType(), allKeys,
      [&](OpBuilder &, Location loc, ValueRange count) {
        Value isMore = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt,
                                             count[0], index(1));
        auto goesOn = scf::IfOp::create(
            b, isMore,
            [&](OpBuilder &, Location) {
              scf::YieldOp::create(b, isPadding(count[0]));
            },
            [&](OpBuilder &, Location) { scf::YieldOp::create(b, isMore); });
        scf::ConditionOp::create(b, goesOn.getResult(0), count);
      },
      [&](OpBuilder &, Location, ValueRange count) {
        scf::YieldOp::create(b, sub(count[0], index(1)));
      });
  return loop.getResult(0);
}

void AttentionEmitter::createScratch() {
  Value memory = op.getOuts()[1], position = zero;
  if (part) {
    int64_t threads =
        Partition::get(op.getParams().get(kPartitionParam)).threads;
    Value bytes = memref::DimOp::create(b, memory, 0);
    position =
        mul(part.number, arith::DivUIOp::create(b, bytes, index(threads)));
  }
  SmallVector<Value *> buffers = {
      &packedKeys, &keySums,   &queryBlock,   &scoreRows, &factors,
      &probSums,   &tile,      &packedValues, &probs,     &valueSums,
      &groupCodes, &groupList, &maxima,       &rowSums,   &contextRows};
  for (auto [size, buffer] : llvm::zip_equal(plan.getParts(), buffers)) {
    Value bytes = add(mul(paddedKeys, size.perKey), size.fixed);
    if (size.fixed != 0 || size.perKey != 0)
      *buffer = createBuffer(memory, position, bytes, b.getI32Type());
    if (buffer == &probs && *buffer)
      narrowProbs = createBuffer(memory, position, bytes,
                                 plan.context.getElementType(b.getContext()));
    if (plan.hasTiles)
      createTileOperand(buffer, memory, position);
    position = add(position, bytes);
  }
  if (!contextRows)
    contextRows = tile;
}

void AttentionEmitter::createTileOperand(Value *buffer, Value memory,
                                         Value position) {
  auto view = [&](Type type, ArrayRef<int64_t> shape) -> Value {
    SmallVector<Value> sizes(llvm::count(shape, ShapedType::kDynamic),
                             paddedKeys);
    return memref::ViewOp::create(b, MemRefType::get(shape, type), memory,
                                  position, sizes);
  };
  auto flatten = [&](Value matrix) -> Value {
    return memref::CollapseShapeOp::create(
        b, matrix, ArrayRef<ReassociationIndices>{{0, 1}});
  };
  constexpr int64_t dynamic = ShapedType::kDynamic;
  Type byte = b.getI8Type(), word = b.getI32Type();
  if (buffer == &packedKeys)
    keyBytes = flatten(view(byte, {dynamic, plan.keySteps * 4}));
  else if (buffer == &packedValues)
    valueBytes = flatten(view(byte, {dynamic, plan.values}));
  else if (buffer == &queryBlock)
    queryBytes = view(byte, {plan.rows, plan.keySteps * 4});
  else if (buffer == &probs)
    probBytes = view(byte, {plan.rows, dynamic});
  else if (buffer == &scoreRows)
    scoreMatrix = view(word, {plan.rows, dynamic});
  else if (buffer == &tile)
    contextMatrix = view(word, {plan.rows, plan.values});
}

Value AttentionEmitter::createBuffer(Value memory, Value position, Value bytes,
                                     Type type) {
  Value size =
      arith::DivUIOp::create(b, bytes, index(type.getIntOrFloatBitWidth() / 8));
  return memref::ViewOp::create(
      b, MemRefType::get({ShapedType::kDynamic}, type), memory, position, size);
}

//===----------------------------------------------------------------------===//
// Blocks of queries
//===----------------------------------------------------------------------===//

void AttentionEmitter::emitKeyHead(PartRange blocks) {
  packKeyHead();
  loop(blocks.begin, blocks.end, 1, {}, [&](Value block, ValueRange) {
    enterBlock(block);
    emitBlock();
    return SmallVector<Value>();
  });
}

void AttentionEmitter::enterBlock(Value block) {
  Value firstHead = mul(at.keyHead, numHeads / numKeyHeads);
  at.head = add(firstHead, arith::DivUIOp::create(b, block, queryBlocks));
  at.query = mul(arith::RemUIOp::create(b, block, queryBlocks), blockRows);
}

void AttentionEmitter::packKeyHead() {
  emitPackedKeys();
  emitPackedValues();
}

void AttentionEmitter::emitBlock() {
  Value end = arith::MinUIOp::create(b, add(at.query, plan.rows), numQueries);
  Value count = sub(end, at.query);
  at.tile = zero;
  emitQueryBlock(index(plan.rows));
  createSeen(at.query);
  emitScoreTiles();
  if (hasIntegerRows) {
    emitIntegerSoftmax(count);
  } else {
    emitAndListGroups(
        [&] { loop(count, 1, [&](Value row) { emitSoftmax(row); }); });
  }
  emitContextTiles();
  emitResults(count);
}

bool AttentionEmitter::skipsCausal() {
  // Codes of zero count where they do not stand for zero.
  return view->getCausal() && prob.zeroPoint == 0;
}

void AttentionEmitter::createSeen(Value firstQuery) {
  at.seen = wholeKeys;
  if (!skipsCausal())
    return;
  Value behind = sub(add(add(firstQuery, plan.rows), offset), firstKey);
  Value limit = arith::MaxSIOp::create(b, behind, zero);
  Value groups =
      mul(arith::CeilDivUIOp::create(b, limit, index(getGroupSize())),
          getGroupSize());
  Value isInGroups =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ule, groups, groupedKeys);
  if (at.areFinite)
    isInGroups = arith::AndIOp::create(b, isInGroups, at.areFinite);
  at.seen = arith::SelectOp::create(b, isInGroups, groups, wholeKeys);
}

//===----------------------------------------------------------------------===//
// Operands of micro-kernels
//===----------------------------------------------------------------------===//

OperandParams AttentionEmitter::getOperandParams(std::optional<Type> type,
                                                 const MicroKernel &row,
                                                 bool isFirst) {
  if (!type)
    return {};
  QuantParams params = *QuantParams::get(*type);
  OperandParams result = {params.getScale(0), params.getZeroPoint(0),
                          params.isSigned(), false};
  bool isUnsignedTaken =
      isFirst && row.getOperands() == MicroKernelOperands::U8S8;
  if (hasSeeds(row) && params.isSigned() == isUnsignedTaken) {
    result.isFlipped = true;
    result.zeroPoint += isUnsignedTaken ? 128 : -128;
  }
  return result;
}

Value AttentionEmitter::widenFirst(Value bytes, VectorType type,
                                   const MicroKernel &row) {
  if (row.getOperands() == MicroKernelOperands::S8S8)
    return arith::ExtSIOp::create(b, type, bytes);
  return arith::ExtUIOp::create(b, type, bytes);
}

Value AttentionEmitter::loadElements(Value memref, SmallVector<Value> indices,
                                     int64_t column, int64_t count,
                                     int64_t size) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  auto type = VectorType::get(count, element);
  indices.back() = index(column);
  if (column + count <= size)
    return vector::LoadOp::create(b, type, memref, indices);
  Value mask = vector::ConstantMaskOp::create(
      b, VectorType::get(count, b.getI1Type()),
      ArrayRef{std::max<int64_t>(size - column, 0)});
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return vector::MaskedLoadOp::create(b, type, memref, indices, mask, none);
}

Value AttentionEmitter::convertElements(Value elements, const MicroKernel &row,
                                        const OperandParams &params,
                                        int64_t valid) {
  auto type = cast<VectorType>(elements.getType());
  auto constant = [&](VectorType vector, int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(
               vector, b.getIntegerAttr(vector.getElementType(), value)));
  };
  if (row.getOperands() == MicroKernelOperands::S16S16) {
    VectorType wide = type.clone(b.getI16Type());
    elements = params.isSigned
                   ? Value(arith::ExtSIOp::create(b, wide, elements))
                   : Value(arith::ExtUIOp::create(b, wide, elements));
    elements =
        arith::SubIOp::create(b, elements, constant(wide, params.zeroPoint));
  }
  if (params.isFlipped)
    elements = arith::XOrIOp::create(b, elements, constant(type, -128));
  auto converted = cast<VectorType>(elements.getType());
  if (valid < type.getNumElements() && !row.isFloat()) {
    Value mask = vector::ConstantMaskOp::create(
        b, type.clone(b.getI1Type()), ArrayRef{std::max<int64_t>(valid, 0)});
    elements =
        arith::SelectOp::create(b, mask, elements, constant(converted, 0));
  }
  int64_t count = type.getNumElements() / row.getStep();
  return vector::BitCastOp::create(b, VectorType::get(count, b.getI32Type()),
                                   elements);
}

Value AttentionEmitter::broadcastWord(Value buffer, Value position,
                                      const MicroKernel &row) {
  Value word = memref::LoadOp::create(b, buffer, position);
  return asOperand(splat(word), row);
}

Value AttentionEmitter::asOperand(Value vector, const MicroKernel &row) {
  return vector::BitCastOp::create(b, row.getVectorType(b.getContext()),
                                   vector);
}

Value AttentionEmitter::createOnes(const MicroKernel &row) {
  VectorType type = row.getVectorType(b.getContext());
  return arith::ConstantOp::create(
      b,
      DenseElementsAttr::get(type, b.getIntegerAttr(type.getElementType(), 1)));
}

Value AttentionEmitter::createZeroSums(const MicroKernel &row) {
  return arith::ConstantOp::create(
      b, b.getZeroAttr(row.getSumType(b.getContext())));
}

SmallVector<Value> AttentionEmitter::getIndices(unsigned number, Value head,
                                                Value position) {
  if (hasPositionsFirst(number))
    return {at.batch, position, head, zero};
  return {at.batch, head, position, zero};
}

//===----------------------------------------------------------------------===//
// Quantization
//===----------------------------------------------------------------------===//

Value AttentionEmitter::quantize(Value x, const QuantParams &params) {
  int64_t zeroPoint = params.getZeroPoint(0);
  Value scaled = arith::MulFOp::create(b, x, splat(1.0f / params.getScale(0)));
  Value lower = splat(float(params.getStorageMin() - zeroPoint));
  Value upper = splat(float(params.getStorageMax() - zeroPoint));
  scaled = larger(scaled, lower);
  Value isSmaller =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, scaled, upper);
  scaled = arith::SelectOp::create(b, isSmaller, scaled, upper);
  return roundToInteger(scaled);
}

Value AttentionEmitter::roundTrip(Value x, const QuantParams &params) {
  return arith::MulFOp::create(b, convert(quantize(x, params)),
                               splat(params.getScale(0)));
}

Value AttentionEmitter::createTerm(Value sum, int64_t zeroPoint,
                                   int64_t constant) {
  Value product = arith::MulIOp::create(
      b, sum,
      arith::ConstantIntOp::create(b, static_cast<int32_t>(zeroPoint), 32));
  return arith::SubIOp::create(
      b, arith::ConstantIntOp::create(b, static_cast<int32_t>(constant), 32),
      product);
}

LogicalResult qtx::emitAttention(ImplicitLocOpBuilder &builder, KernelOp op,
                                 Part part) {
  auto attr = op.getParams().getAs<DictionaryAttr>(kStretchesParam);
  if (op.getParams().contains(kPipelinedParam)) {
    PipelinedEmitter(builder, op, part).emit();
    return success();
  }
  if (!attr) {
    AttentionEmitter(builder, op, part).emit();
    return success();
  }
  Stretches stretches = Stretches::get(attr);
  AttentionEmitter kept(builder, op, part);
  StretchEmitter stretched(builder, op, part, stretches);
  Value limit = arith::ConstantIndexOp::create(builder, stretches.limit);
  Value isKept = builder.createOrFold<arith::CmpIOp>(
      arith::CmpIPredicate::ule, kept.createNumKeys(), limit);
  auto emitInto = [](AttentionEmitter &emitter) {
    return [&emitter](OpBuilder &inner, Location loc) {
      emitter.emit();
      scf::YieldOp::create(inner, loc);
    };
  };
  scf::IfOp::create(builder, isKept, emitInto(kept), emitInto(stretched));
  return success();
}
