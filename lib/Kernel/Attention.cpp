//===- Attention.cpp - Code of qtx.attention ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// From the outside in: key heads of all batches, whose keys and values are
// packed for the micro-kernels; blocks of the queries that share one. A block
// keeps whole rows of scores, so the normaliser is known before the values are
// read, and clipping costs no second pass over the keys. docs/Numerics.md,
// "Softmax and attention", says what is computed. A part is a range of blocks;
// parts that share a key head pack it each for itself.
//
// All scratch memory is words of 32 bits: a lane of a vector, whatever elements
// the micro-kernel has in it.
//
//===----------------------------------------------------------------------===//

#include "AttentionPlan.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Kernel/Kernels.h"
#include "qtx/Support/Polynomials.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace qtx;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The sum of a query and a key that is excluded, give or take what products
/// add: in magnitude below `kMaxSum`, as every other sum.
constexpr int64_t kExcludedSum = -(int64_t(1) << 30);
constexpr int64_t kMaxSum = int64_t(1) << 29;

/// Parameters of an integer operand as the micro-kernel sees it: its codes
/// after `flip` is added, and the zero point of those.
struct OperandParams {
  float scale = 1.0f;
  int64_t zeroPoint = 0;
  bool isSigned = true;
  bool isFlipped = false;
};

/// Emits one attention.
class AttentionEmitter {
public:
  AttentionEmitter(ImplicitLocOpBuilder &builder, KernelOp op, Part part)
      : b(builder), op(op), part(part), view(op),
        plan(*lookupMicroKernel(getName("scores_kernel")),
             *lookupMicroKernel(getName("context_kernel")),
             getLast(view->getQuery()), getLast(view->getValue())),
        layouts(op.getParams().getAs<DenseI64ArrayAttr>("layouts")),
        lanes(plan.lanes), valueSize(getLast(view->getValue())),
        floats(VectorType::get(lanes, b.getF32Type())),
        words(VectorType::get(lanes, b.getI32Type())) {
    query = getOperandParams(view->getQueryQuant(), plan.scores, true);
    key = getOperandParams(view->getKeyQuant(), plan.scores, false);
    prob = getOperandParams(view->getProbsQuant(), plan.context, true);
    value = getOperandParams(view->getValueQuant(), plan.context, false);
    hasIntegerRows = areRowsIntegers();
  }

  void emit() {
    zero = index(0);
    createSizes();
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
      Value before = mul(head, perHead);
      Value begin = arith::MaxUIOp::create(b, blocks.begin, before);
      Value end = arith::MinUIOp::create(b, blocks.end, add(before, perHead));
      emitKeyHead({sub(begin, before), sub(end, before)});
      return SmallVector<Value>();
    });
  }

private:
  //===--------------------------------------------------------------------===//
  // Short names
  //===--------------------------------------------------------------------===//

  StringRef getName(StringRef param) {
    return op.getParams().getAs<StringAttr>(param).getValue();
  }
  static int64_t getLast(Value value) {
    return cast<MemRefType>(value.getType()).getShape().back();
  }
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value add(Value lhs, Value rhs) {
    return b.createOrFold<arith::AddIOp>(lhs, rhs);
  }
  Value add(Value lhs, int64_t rhs) {
    return rhs == 0 ? lhs : add(lhs, index(rhs));
  }
  Value sub(Value lhs, Value rhs) {
    return b.createOrFold<arith::SubIOp>(lhs, rhs);
  }
  Value mul(Value lhs, Value rhs) {
    return b.createOrFold<arith::MulIOp>(lhs, rhs);
  }
  Value mul(Value lhs, int64_t rhs) { return mul(lhs, index(rhs)); }
  Value splat(Value scalar) {
    return vector::BroadcastOp::create(
        b, VectorType::get(lanes, scalar.getType()), scalar);
  }
  Value splat(float value) {
    return arith::ConstantOp::create(b, DenseElementsAttr::get(floats, value));
  }
  Value splatInt(int64_t value) {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(words, b.getI32IntegerAttr(value)));
  }
  Value toFloats(Value vector) {
    return vector::BitCastOp::create(b, floats, vector);
  }
  Value toWords(Value vector) {
    return vector.getType() == words
               ? vector
               : vector::BitCastOp::create(b, words, vector);
  }
  Value convert(Value vector) {
    return arith::SIToFPOp::create(b, floats, vector);
  }

  /// Runs `body` in a loop with values that it carries along.
  SmallVector<Value>
  loop(Value lower, Value upper, int64_t stride, ValueRange carried,
       function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    auto loop = scf::ForOp::create(
        b, lower, upper, index(stride), carried,
        [&](OpBuilder &, Location, Value i, ValueRange values) {
          scf::YieldOp::create(b, body(i, values));
        });
    return SmallVector<Value>(loop.getResults());
  }
  void loop(Value upper, int64_t stride, function_ref<void(Value)> body) {
    loop(zero, upper, stride, {}, [&](Value i, ValueRange) {
      body(i);
      return SmallVector<Value>();
    });
  }

  //===--------------------------------------------------------------------===//
  // Sizes and memory
  //===--------------------------------------------------------------------===//

  /// Whether an operand (query, key, value) or the result, number 3, has its
  /// positions before its heads.
  bool hasPositionsFirst(unsigned number) { return layouts[number] != 0; }
  unsigned getHeadDim(unsigned number) {
    return hasPositionsFirst(number) ? 2 : 1;
  }
  unsigned getPositionDim(unsigned number) {
    return hasPositionsFirst(number) ? 1 : 2;
  }

  void createSizes() {
    auto shapeOf = [](Value memref) {
      return cast<MemRefType>(memref.getType()).getShape();
    };
    numHeads = shapeOf(view->getQuery())[getHeadDim(0)];
    numKeyHeads = shapeOf(view->getKey())[getHeadDim(1)];
    numBatches = memref::DimOp::create(b, view->getQuery(), 0);
    numQueries = memref::DimOp::create(b, view->getQuery(), getPositionDim(0));
    queryBlocks = arith::CeilDivUIOp::create(b, numQueries, index(plan.rows));
    numKeys = memref::DimOp::create(b, view->getKey(), getPositionDim(1));
    fullKeys = sub(numKeys, arith::RemUIOp::create(b, numKeys, index(lanes)));
    Value vectors = arith::CeilDivUIOp::create(b, numKeys, index(lanes));
    keyVectors = vectors;
    wholeKeys = mul(vectors, lanes);
    paddedKeys =
        mul(arith::CeilDivUIOp::create(b, numKeys, index(plan.keyUnit)),
            plan.keyUnit);
    lastKey = sub(numKeys, index(1));
    groupedKeys =
        hasIntegerRows
            ? sub(numKeys,
                  arith::RemUIOp::create(b, numKeys, index(getGroupSize())))
            : zero;
    if (view->getCausal()) {
      offset = view->getOffset();
      if (!offset)
        offset = sub(numKeys, numQueries);
    }
  }

  void createScratch() {
    Value memory = op.getOuts()[1], position = zero;
    ScratchPart whole = plan.getWhole();
    if (part)
      position =
          mul(part.number, add(mul(paddedKeys, whole.perKey), whole.fixed));
    SmallVector<Value *> buffers = {&packedKeys, &keySums,      &queryBlock,
                                    &scoreRows,  &factors,      &probSums,
                                    &tile,       &packedValues, &probs,
                                    &valueSums,  &groupCodes,   &groupList};
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
  }

  /// What tile registers read and write, as matrices of bytes and of sums.
  void createTileOperand(Value *buffer, Value memory, Value position) {
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

  Value createBuffer(Value memory, Value position, Value bytes, Type type) {
    Value size = arith::DivUIOp::create(
        b, bytes, index(type.getIntOrFloatBitWidth() / 8));
    return memref::ViewOp::create(b,
                                  MemRefType::get({ShapedType::kDynamic}, type),
                                  memory, position, size);
  }

  Value loadWords(Value buffer, Value position) {
    return vector::LoadOp::create(b, words, buffer, position);
  }
  void storeWords(Value vector, Value buffer, Value position) {
    vector::StoreOp::create(b, toWords(vector), buffer, position);
  }
  Value loadFloats(Value buffer, Value position) {
    return toFloats(loadWords(buffer, position));
  }

  //===--------------------------------------------------------------------===//
  // Operands of micro-kernels
  //===--------------------------------------------------------------------===//

  /// How the micro-kernel takes the codes of a quantized operand: the first one
  /// unsigned or signed and the second one signed, or both less their zero
  /// points.
  static OperandParams getOperandParams(std::optional<Type> type,
                                        const MicroKernel &row, bool isFirst) {
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

  /// Whether zero points come in by seeds: codes stay bytes.
  static bool hasSeeds(const MicroKernel &row) { return row.getStep() == 4; }

  /// Bytes as the first operand of the micro-kernel, in words.
  Value widenFirst(Value bytes, VectorType type, const MicroKernel &row) {
    if (row.getOperands() == MicroKernelOperands::S8S8)
      return arith::ExtSIOp::create(b, type, bytes);
    return arith::ExtUIOp::create(b, type, bytes);
  }

  /// `count` neighbours of a row from `column` on, the others zero; those
  /// beyond `size` are not read.
  Value loadElements(Value memref, SmallVector<Value> indices, int64_t column,
                     int64_t count, int64_t size) {
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

  /// Elements as the micro-kernel multiplies them, as words. Those behind the
  /// first `valid` are zero.
  Value convertElements(Value elements, const MicroKernel &row,
                        const OperandParams &params, int64_t valid) {
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

  /// One word in all lanes, as the first operand of a dot product.
  Value broadcastWord(Value buffer, Value position, const MicroKernel &row) {
    Value word = memref::LoadOp::create(b, buffer, position);
    return asOperand(splat(word), row);
  }
  Value asOperand(Value vector, const MicroKernel &row) {
    return vector::BitCastOp::create(b, row.getVectorType(b.getContext()),
                                     vector);
  }
  /// Ones in the elements of a dot product, which then adds the other operand.
  Value createOnes(const MicroKernel &row) {
    VectorType type = row.getVectorType(b.getContext());
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type,
                                  b.getIntegerAttr(type.getElementType(), 1)));
  }
  Value createZeroSums(const MicroKernel &row) {
    return arith::ConstantOp::create(
        b, b.getZeroAttr(row.getSumType(b.getContext())));
  }

  /// The indices of an element 0 of a position of a head.
  SmallVector<Value> getIndices(unsigned number, Value head, Value position) {
    if (hasPositionsFirst(number))
      return {at.batch, position, head, zero};
    return {at.batch, head, position, zero};
  }

  //===--------------------------------------------------------------------===//
  // Packing
  //===--------------------------------------------------------------------===//

  /// Some of the blocks of the queries that share a key head.
  void emitKeyHead(PartRange blocks) {
    emitPackedKeys();
    if (!plan.context.isFloat())
      emitPackedValues();
    Value firstHead = mul(at.keyHead, numHeads / numKeyHeads);
    loop(blocks.begin, blocks.end, 1, {}, [&](Value block, ValueRange) {
      at.head = add(firstHead, arith::DivUIOp::create(b, block, queryBlocks));
      at.query = mul(arith::RemUIOp::create(b, block, queryBlocks), plan.rows);
      emitBlock();
      return SmallVector<Value>();
    });
  }

  /// The position of step `step` of a vector of keys. Keys stand in panels of
  /// as many vectors as a tile has, and those that are left in panels of one.
  Value getKeyPosition(Value vectorNumber, Value step) {
    int64_t width = plan.scores.getNumVectors();
    Value panel = arith::DivUIOp::create(b, vectorNumber, index(width));
    Value inFull = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, panel,
                                         getNumFullPanels());
    Value rest = arith::RemUIOp::create(b, vectorNumber, index(width));
    auto select = [&](Value full, Value single) -> Value {
      return arith::SelectOp::create(b, inFull, full, single);
    };
    Value base = select(mul(panel, plan.keySteps * width * lanes),
                        mul(vectorNumber, plan.keySteps * lanes));
    Value stride = select(index(width * lanes), index(lanes));
    Value inPanel = select(mul(rest, lanes), zero);
    return add(add(base, inPanel), mul(step, stride));
  }
  Value getNumFullPanels() {
    return arith::DivUIOp::create(b, keyVectors,
                                  index(plan.scores.getNumVectors()));
  }

  /// Keys with their channels outermost: blocks of as many keys as channels are
  /// transposed in registers. Behind the last key it is repeated.
  void emitPackedKeys() {
    int64_t step = plan.scores.getStep();
    loop(keyVectors, 1, [&](Value number) {
      for (int64_t first = 0; first < plan.keySteps; first += lanes) {
        SmallVector<Value> rows;
        for (int64_t lane = 0; lane < lanes; ++lane) {
          Value position =
              arith::MinUIOp::create(b, add(mul(number, lanes), lane), lastKey);
          Value elements =
              loadElements(view->getKey(), getIndices(1, at.keyHead, position),
                           first * step, lanes * step, getLast(view->getKey()));
          rows.push_back(
              convertElements(elements, plan.scores, key,
                              getLast(view->getKey()) - first * step));
        }
        transpose(rows);
        for (int64_t i = 0; i < std::min(lanes, plan.keySteps - first); ++i)
          storeWords(rows[i], packedKeys,
                     getKeyPosition(number, index(first + i)));
      }
      if (hasKeySums())
        emitKeySums(number);
    });
  }

  /// A square of words, by exchanging ever larger parts.
  void transpose(MutableArrayRef<Value> rows) {
    for (int64_t size = 1; size < lanes; size *= 2) {
      SmallVector<int64_t> low, high;
      for (int64_t lane = 0; lane < lanes; ++lane) {
        bool isOther = lane & size;
        low.push_back(isOther ? lanes + lane - size : lane);
        high.push_back(isOther ? lanes + lane : lane + size);
      }
      for (int64_t row = 0; row < lanes; ++row) {
        if (row & size)
          continue;
        Value first = rows[row], second = rows[row + size];
        rows[row] = vector::ShuffleOp::create(b, first, second, low);
        rows[row + size] = vector::ShuffleOp::create(b, first, second, high);
      }
    }
  }

  bool hasKeySums() { return hasSeeds(plan.scores) || hasIntegerRows; }

  /// What the sums of keys start from: -z_q * sum k, or what excludes the key.
  void emitKeySums(Value number) {
    Value seeds = splatInt(0);
    if (hasSeeds(plan.scores))
      seeds = createKeySeeds(number);
    if (hasIntegerRows)
      seeds = arith::SelectOp::create(b, createSeenKeys(mul(number, lanes)),
                                      seeds, splatInt(kExcludedSum));
    storeWords(seeds, keySums, mul(number, lanes));
  }

  Value createKeySeeds(Value number) {
    Value sums = createZeroSums(plan.scores);
    sums = loop(zero, index(plan.keySteps), 1, sums,
                [&](Value step, ValueRange carried) -> SmallVector<Value> {
                  Value keys = asOperand(
                      loadWords(packedKeys, getKeyPosition(number, step)),
                      plan.scores);
                  return {plan.scores.emitDot(b, carried[0],
                                              createOnes(plan.scores), keys)};
                })[0];
    return arith::MulIOp::create(b, sums, splatInt(-query.zeroPoint));
  }

  /// Which keys from `first` on there are and the mask has.
  Value createSeenKeys(Value first) {
    auto bits = VectorType::get(lanes, b.getI1Type());
    Value exist =
        vector::CreateMaskOp::create(b, bits, ValueRange{sub(numKeys, first)});
    if (!view->getMask())
      return exist;
    Value none = arith::ConstantOp::create(
        b, b.getZeroAttr(VectorType::get(lanes, b.getI8Type())));
    SmallVector<Value> indices = {at.batch, zero, zero, first};
    if (cast<MemRefType>(view->getMask().getType()).getDimSize(0) == 1)
      indices[0] = zero;
    Value mask =
        vector::MaskedLoadOp::create(b, cast<VectorType>(none.getType()),
                                     view->getMask(), indices, exist, none);
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, mask, none);
  }

  /// Values of neighbouring keys in the lanes of their channels.
  void emitPackedValues() {
    int64_t step = plan.context.getStep();
    // Tiles have no steps of part of a group.
    Value numSteps = arith::DivUIOp::create(
        b, plan.hasTiles ? paddedKeys : add(numKeys, step - 1), index(step));
    bool hasSums = hasSeeds(plan.context);
    int64_t vectors = plan.values / lanes;
    SmallVector<Value> sums;
    if (hasSums)
      sums.assign(vectors, createZeroSums(plan.context));
    auto pack = [&](Value number, ValueRange carried, Value firstKey,
                    int64_t stride) {
      SmallVector<Value> next;
      for (int64_t v = 0; v < vectors; ++v) {
        Value packed = createValueWords(firstKey, stride, v * lanes);
        storeWords(packed, packedValues, getValuePosition(number, v));
        if (hasSums)
          next.push_back(plan.context.emitDot(b, carried[v],
                                              createOnes(plan.context),
                                              asOperand(packed, plan.context)));
      }
      return next;
    };
    Value groupedSteps = arith::DivUIOp::create(b, groupedKeys, index(step));
    sums = loop(zero, groupedSteps, 1, sums, [&](Value number, ValueRange all) {
      Value lane = arith::RemUIOp::create(b, number, index(lanes));
      return pack(number, all, add(mul(sub(number, lane), step), lane), lanes);
    });
    sums = loop(groupedSteps, numSteps, 1, sums,
                [&](Value number, ValueRange all) {
                  return pack(number, all, mul(number, step), 1);
                });
    for (auto [v, sum] : llvm::enumerate(sums))
      storeWords(arith::MulIOp::create(b, sum, splatInt(-prob.zeroPoint)),
                 valueSums, index(v * lanes));
  }

  /// Where words of vector `v` of the channels are. Vectors stand in panels, as
  /// many as a tile has.
  Value getValuePosition(Value number, int64_t v) {
    int64_t first = v - v % plan.width;
    int64_t width = std::min(plan.width, plan.values / lanes - first);
    return add(
        add(mul(getProbPitch(), first * lanes), mul(number, width * lanes)),
        (v - first) * lanes);
  }

  /// Words of a row of probabilities.
  Value getProbPitch() {
    return arith::DivUIOp::create(b, paddedKeys, index(plan.context.getStep()));
  }

  /// Words of `lanes` channels from as many keys as a word has elements, each
  /// `stride` behind the one before; those behind the last key are zero.
  Value createValueWords(Value firstKey, int64_t stride, int64_t channel) {
    int64_t step = plan.context.getStep(), bits = 32 / step;
    Value result;
    for (int64_t i = 0; i < step; ++i) {
      Value position = add(firstKey, i * stride);
      Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                                           position, numKeys);
      position = arith::MinUIOp::create(b, position, lastKey);
      Value elements =
          loadElements(view->getValue(), getIndices(2, at.keyHead, position),
                       channel, lanes, valueSize);
      Value word = value.isSigned
                       ? Value(arith::ExtSIOp::create(b, words, elements))
                       : Value(arith::ExtUIOp::create(b, words, elements));
      if (!hasSeeds(plan.context))
        word = arith::SubIOp::create(b, word, splatInt(value.zeroPoint));
      if (value.isFlipped)
        word = arith::XOrIOp::create(b, word, splatInt(128));
      word = arith::AndIOp::create(b, word, splatInt((int64_t(1) << bits) - 1));
      word = arith::SelectOp::create(b, splat(exists), word, splatInt(0));
      if (i > 0)
        word = arith::ShLIOp::create(b, word, splatInt(i * bits));
      result = result ? arith::OrIOp::create(b, result, word) : word;
    }
    return result;
  }

  //===--------------------------------------------------------------------===//
  // A block of queries
  //===--------------------------------------------------------------------===//

  void emitBlock() {
    Value end = arith::MinUIOp::create(b, add(at.query, plan.rows), numQueries);
    Value count = sub(end, at.query);
    emitQueryBlock();
    createSeen();
    emitScoreTiles();
    if (hasIntegerRows)
      emitIntegerSoftmax(count);
    else
      loop(count, 1, [&](Value row) { emitSoftmax(row); });
    emitContextTiles();
    loop(count, 1, [&](Value row) { emitResult(row); });
  }

  /// How many keys, in whole vectors or groups, queries of the block may see.
  void createSeen() {
    at.seen = wholeKeys;
    // Codes of zero count where they do not stand for zero.
    if (!view->getCausal() || !hasIntegerRows || prob.zeroPoint != 0)
      return;
    Value limit =
        arith::MaxSIOp::create(b, add(add(at.query, plan.rows), offset), zero);
    Value groups =
        mul(arith::CeilDivUIOp::create(b, limit, index(getGroupSize())),
            getGroupSize());
    Value isInGroups = arith::CmpIOp::create(b, arith::CmpIPredicate::ule,
                                             groups, groupedKeys);
    at.seen = arith::SelectOp::create(b, isInGroups, groups, wholeKeys);
  }

  /// The queries as the micro-kernel takes them; behind the last one it is
  /// repeated.
  void emitQueryBlock() {
    int64_t step = plan.scores.getStep();
    Value last = sub(numQueries, index(1));
    loop(index(plan.rows), 1, [&](Value row) {
      Value position = arith::MinUIOp::create(b, add(at.query, row), last);
      SmallVector<Value> indices = getIndices(0, at.head, position);
      for (int64_t word = 0; word < plan.keySteps; word += lanes) {
        int64_t count = std::min(lanes, plan.keySteps - word);
        Value elements = loadElements(view->getQuery(), indices, word * step,
                                      count * step, getLast(view->getQuery()));
        Value converted =
            convertElements(elements, plan.scores, query,
                            getLast(view->getQuery()) - word * step);
        vector::StoreOp::create(b, converted, queryBlock,
                                add(mul(row, plan.keySteps), word));
      }
    });
  }

  /// The sums of all keys for the queries of the block.
  void emitScoreTiles() {
    int64_t width = plan.scores.getNumVectors();
    Value panels = getNumFullPanels();
    Value seen = arith::DivUIOp::create(b, at.seen, index(lanes));
    Value seenPanels = arith::MinUIOp::create(
        b, panels, arith::CeilDivUIOp::create(b, seen, index(width)));
    loop(seenPanels, 1,
         [&](Value panel) { emitScoreTile(mul(panel, width), width); });
    loop(mul(panels, width), seen, 1, {}, [&](Value number, ValueRange) {
      emitScoreTile(number, 1);
      return SmallVector<Value>();
    });
  }

  void emitScoreTile(Value number, int64_t width) {
    if (plan.hasTiles)
      return emitTallScoreTile(number, width);
    SmallVector<Value> sums;
    Value none = createZeroSums(plan.scores);
    for (int64_t r = 0; r < plan.rows; ++r)
      for (int64_t v = 0; v < width; ++v)
        sums.push_back(!hasKeySums() ? none
                       : r == 0 ? loadWords(keySums, mul(add(number, v), lanes))
                                : sums[v]);
    Value base = mul(number, plan.keySteps * lanes);
    sums = loop(
        zero, index(plan.keySteps), 1, sums,
        [&](Value step, ValueRange carried) {
          SmallVector<Value> keys, next;
          Value position = add(base, mul(step, width * lanes));
          for (int64_t v = 0; v < width; ++v)
            keys.push_back(asOperand(
                loadWords(packedKeys, add(position, v * lanes)), plan.scores));
          for (int64_t r = 0; r < plan.rows; ++r) {
            Value x = broadcastWord(queryBlock, add(step, r * plan.keySteps),
                                    plan.scores);
            for (int64_t v = 0; v < width; ++v)
              next.push_back(
                  plan.scores.emitDot(b, carried[r * width + v], x, keys[v]));
          }
          return next;
        });
    for (int64_t r = 0; r < plan.rows; ++r)
      for (int64_t v = 0; v < width; ++v)
        storeWords(sums[r * width + v], scoreRows,
                   add(mul(paddedKeys, r), mul(add(number, v), lanes)));
  }

  /// The same by tile registers.
  void emitTallScoreTile(Value number, int64_t width) {
    Value column = mul(number, lanes);
    TileOperands operands{queryBytes,
                          zero,
                          keyBytes,
                          width,
                          getColumns(scoreMatrix, column, width * lanes),
                          zero};
    SmallVector<Value> sums =
        plan.scores.createTileSums(b, operands, keySums, {column});
    int64_t stepBytes = plan.scores.getTileStep() * width * lanes;
    Value base = mul(number, plan.keySteps * lanes * 4);
    for (int64_t i = 0; i < plan.keySteps * 4 / plan.scores.getTileStep(); ++i)
      sums = plan.scores.emitTileStep(b, operands,
                                      index(i * plan.scores.getTileStep()),
                                      add(base, i * stepBytes), sums);
    plan.scores.storeTileSums(b, operands, sums);
  }

  Value getColumns(Value matrix, Value first, int64_t count) {
    OpFoldResult one = b.getIndexAttr(1);
    return memref::SubViewOp::create(
        b, matrix, {b.getIndexAttr(0), first},
        {b.getIndexAttr(plan.rows), b.getIndexAttr(count)}, {one, one});
  }

  /// The products of probabilities and values.
  void emitContextTiles() {
    int64_t vectors = plan.values / lanes;
    for (int64_t first = 0; first < vectors; first += plan.width) {
      int64_t width = std::min(plan.width, vectors - first);
      if (plan.hasTiles)
        emitTallContextTile(first, width);
      else
        emitContextTile(first, width);
    }
  }

  /// By tile registers. Probabilities behind the last key meet zeros.
  void emitTallContextTile(int64_t first, int64_t width) {
    Value column = index(first * lanes);
    TileOperands operands{probBytes,
                          zero,
                          valueBytes,
                          width,
                          getColumns(contextMatrix, column, width * lanes),
                          zero};
    SmallVector<Value> sums =
        plan.context.createTileSums(b, operands, valueSums, {column});
    int64_t step = plan.context.getTileStep();
    Value base = mul(getValuePosition(zero, first), 4);
    Value end = arith::MinUIOp::create(b, numKeys, at.seen);
    auto multiply = [&](Value key, ValueRange carried) {
      return plan.context.emitTileStep(
          b, operands, key, add(base, mul(key, width * lanes)), carried);
    };
    sums = skipsZeros() ? forEachCounted(sums, step, multiply, multiply)
                        : loop(zero, end, step, sums, multiply);
    plan.context.storeTileSums(b, operands, sums);
  }

  void emitContextTile(int64_t first, int64_t width) {
    SmallVector<Value> sums;
    for (int64_t r = 0; r < plan.rows; ++r)
      for (int64_t v = 0; v < width; ++v)
        sums.push_back(hasSeeds(plan.context)
                           ? loadWords(valueSums, index((first + v) * lanes))
                           : createZeroSums(plan.context));
    int64_t step = plan.context.getStep();
    Value numSteps = arith::CeilDivUIOp::create(
        b, arith::MinUIOp::create(b, numKeys, at.seen), index(step));
    Value pitch = getProbPitch();
    Value rows = plan.context.isFloat() ? scoreRows : probs;
    auto multiply = [&](Value number, ValueRange carried) {
      SmallVector<Value> values, next;
      for (int64_t v = 0; v < width; ++v)
        values.push_back(loadValues(number, (first + v) * lanes));
      for (int64_t r = 0; r < plan.rows; ++r) {
        Value x = broadcastWord(rows, add(number, mul(pitch, r)), plan.context);
        for (int64_t v = 0; v < width; ++v)
          next.push_back(
              plan.context.emitDot(b, carried[r * width + v], x, values[v]));
      }
      return next;
    };
    if (skipsZeros())
      sums = forEachCounted(
          sums, step,
          [&](Value key, ValueRange carried) {
            Value first = getGroupPosition(key);
            return loop(first, add(first, lanes), 1, carried, multiply);
          },
          [&](Value key, ValueRange carried) {
            return multiply(getGroupPosition(key), carried);
          });
    else
      sums = loop(zero, numSteps, 1, sums, multiply);
    for (int64_t r = 0; r < plan.rows; ++r)
      for (int64_t v = 0; v < width; ++v)
        storeWords(sums[r * width + v], tile,
                   index(r * plan.values + (first + v) * lanes));
  }

  Value loadValues(Value number, int64_t channel) {
    if (plan.context.isFloat())
      return loadElements(view->getValue(), getIndices(2, at.keyHead, number),
                          channel, lanes, valueSize);
    return asOperand(
        loadWords(packedValues, getValuePosition(number, channel / lanes)),
        plan.context);
  }

  //===--------------------------------------------------------------------===//
  // A row of scores
  //===--------------------------------------------------------------------===//

  bool isClipped() {
    return !view->getGamma().isZero() || !view->getZeta().isExactlyValue(1.0);
  }
  /// Whether the division by the sum comes behind the values.
  bool isDivisionLast() {
    return view->getUnnormalised() || (!isClipped() && !view->getProbsQuant());
  }

  /// Calls `body` for the vectors of a row of keys: whole ones, and the last
  /// one with a mask.
  SmallVector<Value>
  forEachVector(ValueRange carried,
                function_ref<SmallVector<Value>(Value key, Value mask,
                                                ValueRange carried)>
                    body) {
    SmallVector<Value> results =
        loop(zero, fullKeys, lanes, carried, [&](Value key, ValueRange values) {
          return body(key, {}, values);
        });
    return loop(fullKeys, numKeys, lanes, results,
                [&](Value key, ValueRange values) {
                  Value mask = vector::CreateMaskOp::create(
                      b, VectorType::get(lanes, b.getI1Type()),
                      ValueRange{sub(numKeys, key)});
                  return body(key, mask, values);
                });
  }

  void emitSoftmax(Value row) {
    at.row = row;
    at.scores = mul(row, paddedKeys);
    Value rowTerm = createScoreTerm();
    Value max = forEachVector(
        splat(-kInfinity),
        [&](Value key, Value mask, ValueRange carried) -> SmallVector<Value> {
          Value score = createScore(key, mask, rowTerm);
          storeWords(score, scoreRows, add(at.scores, key));
          return {larger(score, carried[0])};
        })[0];
    emitNumerators(reduce(max, [&](Value x, Value y) { return larger(x, y); }));
  }

  /// The larger one; the second if the first is NaN.
  Value larger(Value x, Value y) {
    Value isLarger = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y);
    return arith::SelectOp::create(b, isLarger, x, y);
  }

  /// One number from all lanes.
  Value reduce(Value vector, function_ref<Value(Value, Value)> join) {
    for (int64_t half = lanes / 2; half > 0; half /= 2) {
      auto low = llvm::to_vector(llvm::seq<int64_t>(0, half));
      auto high = llvm::to_vector(llvm::seq<int64_t>(half, 2 * half));
      Value lower = vector::ShuffleOp::create(b, vector, vector, low);
      Value upper = vector::ShuffleOp::create(b, vector, vector, high);
      vector = join(upper, lower);
    }
    return vector::ExtractOp::create(b, vector, 0);
  }
  Value reduceSum(Value vector) {
    bool isFloat = cast<VectorType>(vector.getType()).getElementType().isF32();
    return reduce(vector, [&](Value x, Value y) -> Value {
      if (isFloat)
        return arith::AddFOp::create(b, x, y);
      return arith::AddIOp::create(b, x, y);
    });
  }

  /// What zero points of the keys add to the scores of a query; null if
  /// nothing.
  Value createScoreTerm() {
    if (!hasSeeds(plan.scores) || key.zeroPoint == 0)
      return {};
    Value sum = arith::ConstantIntOp::create(b, 0, 32);
    for (int64_t word = 0; word < plan.keySteps; word += lanes) {
      int64_t count = std::min(lanes, plan.keySteps - word);
      Value part =
          createByteSums(vector::LoadOp::create(
                             b, VectorType::get(count, b.getI32Type()),
                             queryBlock, add(mul(at.row, plan.keySteps), word)),
                         count);
      sum = arith::AddIOp::create(b, sum, part);
    }
    return createTerm(sum, key.zeroPoint,
                      getLast(view->getKey()) * key.zeroPoint *
                          query.zeroPoint);
  }

  /// The sum of the bytes of `count` words of a query.
  Value createByteSums(Value vector, int64_t count) {
    auto bytes = VectorType::get(count * 4, b.getI8Type());
    Value unpacked = vector::BitCastOp::create(b, bytes, vector);
    Value wide = widenFirst(unpacked, bytes.clone(b.getI32Type()), plan.scores);
    return vector::ReductionOp::create(b, vector::CombiningKind::ADD, wide);
  }

  /// constant - zeroPoint * sum
  Value createTerm(Value sum, int64_t zeroPoint, int64_t constant) {
    Value product = arith::MulIOp::create(
        b, sum,
        arith::ConstantIntOp::create(b, static_cast<int32_t>(zeroPoint), 32));
    return arith::SubIOp::create(
        b, arith::ConstantIntOp::create(b, static_cast<int32_t>(constant), 32),
        product);
  }

  /// The masked score of the keys from `key` on.
  Value createScore(Value keyIndex, Value lastMask, Value rowTerm) {
    Value sums = loadWords(scoreRows, add(at.scores, keyIndex));
    float scale = view->getScale().convertToFloat();
    Value score;
    if (plan.scores.isFloat()) {
      score = toFloats(sums);
    } else {
      if (rowTerm)
        sums = arith::AddIOp::create(b, sums, splat(rowTerm));
      score = convert(sums);
      float multiplier = query.scale * key.scale;
      scale = multiplier * scale;
    }
    if (scale != 1.0f)
      score = arith::MulFOp::create(b, score, splat(scale));
    if (view->getSoftCap()) {
      float cap = view->getSoftCap()->convertToFloat();
      score = arith::MulFOp::create(b, score, splat(1.0f / cap));
      score = arith::MulFOp::create(b, createTanh(b, score), splat(cap));
    }
    if (view->getScoresQuant())
      score = roundTrip(score, *QuantParams::get(*view->getScoresQuant()));
    score = maskScore(score, keyIndex, lastMask);
    return lastMask ? exclude(lastMask, score) : score;
  }

  Value exclude(Value unless, Value score) {
    return arith::SelectOp::create(b, unless, score, splat(-kInfinity));
  }

  Value maskScore(Value score, Value keyIndex, Value lastMask) {
    if (view->getMask())
      score = applyMask(score, keyIndex, lastMask);
    if (!view->getCausal())
      return score;
    Value behind = add(add(add(at.query, at.row), offset), 1);
    Value seen =
        vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()),
                                     ValueRange{sub(behind, keyIndex)});
    return exclude(seen, score);
  }

  Value applyMask(Value score, Value keyIndex, Value lastMask) {
    auto type = cast<MemRefType>(view->getMask().getType());
    SmallVector<Value> indices = {at.batch, at.head, add(at.query, at.row),
                                  keyIndex};
    for (int64_t dim = 0; dim < 3; ++dim)
      if (type.getDimSize(dim) == 1)
        indices[dim] = zero;
    auto vector = VectorType::get(lanes, type.getElementType());
    Value mask;
    if (lastMask)
      mask = vector::MaskedLoadOp::create(
          b, vector, view->getMask(), indices, lastMask,
          arith::ConstantOp::create(b, b.getZeroAttr(vector)));
    else
      mask = vector::LoadOp::create(b, vector, view->getMask(), indices);
    if (type.getElementType().isF32())
      return arith::AddFOp::create(b, score, mask);
    Value isSeen = arith::CmpIOp::create(
        b, arith::CmpIPredicate::ne, mask,
        arith::ConstantOp::create(b, b.getZeroAttr(vector)));
    return exclude(isSeen, score);
  }

  /// exp(s - m), their sum, and what becomes of them.
  void emitNumerators(Value max) {
    Value sink = createSink();
    if (sink)
      max = larger(max, sink);
    Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, max,
                                          f32(-kInfinity));
    Value shift = arith::SelectOp::create(b, isEmpty, f32(0.0f), max);
    SmallVector<Value> sums = emitExponentials(splat(shift));
    Value sum = reduceSum(sums[0]);
    if (sums.size() > 1)
      storeProbSum(sums[1]);
    if (sink)
      sum = arith::AddFOp::create(
          b, sum, createNegativeExp(b, arith::SubFOp::create(b, sink, shift)));
    Value isZero =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, sum, f32(0.0f));
    Value factor = arith::DivFOp::create(b, f32(1.0f), sum);
    factor = arith::SelectOp::create(b, isZero, f32(0.0f), factor);
    Value bits = arith::BitcastOp::create(b, b.getI32Type(), factor);
    memref::StoreOp::create(b, bits, factors, at.row);
    if (!isDivisionLast())
      emitProbs(splat(factor));
  }

  /// The sums of the exponentials and, where it is needed, of their codes.
  SmallVector<Value> emitExponentials(Value shifts) {
    bool areProbs = isDivisionLast() && view->getProbsQuant();
    SmallVector<Value> sums = {splat(0.0f)};
    if (areProbs && hasProbSums())
      sums.push_back(splatInt(0));
    return forEachVector(sums, [&](Value keyIndex, Value mask,
                                   ValueRange carried) {
      Value position = add(at.scores, keyIndex);
      Value score = loadFloats(scoreRows, position);
      Value e = createNegativeExp(b, arith::SubFOp::create(b, score, shifts));
      SmallVector<Value> next = {arith::AddFOp::create(b, carried[0], e)};
      if (!areProbs) {
        storeWords(e, scoreRows, position);
        return next;
      }
      Value codes = storeProb(e, position);
      if (carried.size() > 1)
        next.push_back(addCodes(carried[1], codes, mask));
      return next;
    });
  }

  /// Whether zero points of the values need the sums of the probabilities.
  bool hasProbSums() { return hasSeeds(plan.context) && value.zeroPoint != 0; }
  Value addCodes(Value sum, Value codes, Value mask) {
    if (mask)
      codes = arith::SelectOp::create(b, mask, codes, splatInt(0));
    return arith::AddIOp::create(b, sum, codes);
  }
  void storeProbSum(Value sums) {
    memref::StoreOp::create(b, reduceSum(sums), probSums, at.row);
  }

  Value f32(float value) {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
  }

  /// The sink's logit; null without a sink.
  Value createSink() {
    if (view->getSinkLogit())
      return f32(view->getSinkLogit()->convertToFloat());
    if (view->getSink())
      return memref::LoadOp::create(b, view->getSink(), at.head);
    return {};
  }

  /// Normalised, clipped and quantized probabilities.
  void emitProbs(Value factor) {
    SmallVector<Value> sums;
    if (hasProbSums())
      sums.push_back(splatInt(0));
    sums = forEachVector(sums,
                         [&](Value keyIndex, Value mask,
                             ValueRange carried) -> SmallVector<Value> {
                           Value position = add(at.scores, keyIndex);
                           Value e = loadFloats(scoreRows, position);
                           Value p = clip(arith::MulFOp::create(b, e, factor));
                           Value codes = storeProb(p, position);
                           if (carried.empty())
                             return {};
                           return {addCodes(carried[0], codes, mask)};
                         });
    if (!sums.empty())
      storeProbSum(sums[0]);
  }

  Value clip(Value p) {
    if (!isClipped())
      return p;
    APFloat stretch = view->getZeta() - view->getGamma();
    p = math::FmaOp::create(b, splat(stretch.convertToFloat()), p,
                            splat(view->getGamma().convertToFloat()));
    p = arith::MaximumFOp::create(b, p, splat(0.0f));
    return arith::MinimumFOp::create(b, p, splat(1.0f));
  }

  /// Stores a probability for the contraction; returns its codes if they are
  /// integers.
  Value storeProb(Value p, Value position) {
    if (plan.context.isFloat()) {
      if (view->getProbsQuant())
        p = roundTrip(p, *QuantParams::get(*view->getProbsQuant()));
      storeWords(p, scoreRows, position);
      return {};
    }
    Value codes = quantize(p, *QuantParams::get(*view->getProbsQuant()));
    if (hasSeeds(plan.context))
      codes = arith::AddIOp::create(b, codes, splatInt(prob.zeroPoint));
    auto narrow =
        VectorType::get(lanes, plan.context.getElementType(b.getContext()));
    vector::StoreOp::create(b, arith::TruncIOp::create(b, narrow, codes),
                            narrowProbs, position);
    return codes;
  }

  //===--------------------------------------------------------------------===//
  // A row of integer scores
  //===--------------------------------------------------------------------===//

  /// Keys whose probabilities are packed together: as many vectors as a word
  /// has elements. The elements of a word are one key of each.
  int64_t getGroupSize() { return lanes * plan.context.getStep(); }

  /// What turns a sum of products into a power of two.
  float getSumScale() {
    float multiplier = query.scale * key.scale;
    multiplier = multiplier * view->getScale().convertToFloat();
    return multiplier * std::log2(std::exp(1.0));
  }

  /// Whether scores stay sums of products until their exponentials: all that
  /// happens to them is a positive factor, and sums that exclude keys are small
  /// enough for an exponential of zero.
  bool areRowsIntegers() {
    if (plan.scores.isFloat() || plan.context.isFloat())
      return false;
    if (view->getSoftCap() || view->getScoresQuant() || view->getSinkLogit() ||
        view->getSink())
      return false;
    if (view->getMask()) {
      auto type = cast<MemRefType>(view->getMask().getType());
      if (type.getElementType().isF32() || type.getDimSize(1) != 1 ||
          type.getDimSize(2) != 1)
        return false;
    }
    constexpr int64_t maxProduct = 255 * 255;
    float lowest = getSumScale() * kMaxSum;
    return getLast(view->getKey()) * maxProduct < kMaxSum && lowest > 128.0f &&
           lowest < kInfinity;
  }

  /// Calls `body` for the vectors of keys that the block sees: those of a group
  /// together, and those behind the last whole group one by one.
  SmallVector<Value>
  forEachGroup(SmallVector<Value> carried,
               function_ref<SmallVector<Value>(Value key, int64_t count,
                                               ValueRange carried)>
                   body) {
    carried = loop(zero, getGroupedEnd(), getGroupSize(), carried,
                   [&](Value key, ValueRange values) {
                     return body(key, plan.context.getStep(), values);
                   });
    return loop(
        groupedKeys, at.seen, lanes, carried,
        [&](Value key, ValueRange values) { return body(key, 1, values); });
  }

  Value getScorePosition(Value key, int64_t vector) {
    return add(add(at.scores, key), vector * lanes);
  }

  /// One stage for all rows before the next one, so that a row need not wait
  /// for what the row before has in all lanes together.
  void emitIntegerSoftmax(Value count) {
    auto forEachRow = [&](function_ref<Value()> body) {
      loop(count, 1, [&](Value row) {
        at.row = row;
        at.scores = mul(row, paddedKeys);
        if (Value factor = body())
          memref::StoreOp::create(
              b, arith::BitcastOp::create(b, b.getI32Type(), factor), factors,
              row);
      });
    };
    forEachRow([&] { return createShift(); });
    forEachRow([&] {
      Value sum = emitPowers(splat(loadFactor()));
      // The largest score of a row makes about 1.
      Value isEmpty =
          arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, sum, f32(0.5f));
      Value factor = arith::DivFOp::create(b, f32(1.0f), sum);
      return arith::SelectOp::create(b, isEmpty, f32(0.0f), factor);
    });
    if (isDivisionLast())
      return;
    if (skipsZeros())
      loop(getGroupedEnd(), getGroupSize(), [&](Value key) {
        storeWords(splatInt(0), groupCodes, getGroupPosition(key));
      });
    forEachRow([&] {
      emitNormalisedCodes(loadFactor());
      return Value();
    });
    if (skipsZeros())
      emitGroupList();
  }

  /// Whether groups of keys that no query of the block gives a probability are
  /// left out: clipping makes them, and their codes are zero.
  bool skipsZeros() {
    return hasIntegerRows && isClipped() &&
           (!hasSeeds(plan.context) || prob.zeroPoint == 0);
  }
  /// The end of the whole groups that the block sees.
  Value getGroupedEnd() {
    return arith::MinUIOp::create(b, groupedKeys, at.seen);
  }
  /// Where the words of a group that begins with `key` are.
  Value getGroupPosition(Value key) {
    return arith::DivUIOp::create(b, key, index(plan.context.getStep()));
  }

  /// Lists the first keys of the groups that have a code.
  void emitGroupList() {
    at.numGroups =
        loop(zero, getGroupedEnd(), getGroupSize(), zero,
             [&](Value key, ValueRange carried) -> SmallVector<Value> {
               Value any = vector::ReductionOp::create(
                   b, vector::CombiningKind::OR,
                   loadWords(groupCodes, getGroupPosition(key)));
               Value first = arith::IndexCastOp::create(b, b.getI32Type(), key);
               memref::StoreOp::create(b, first, groupList, carried[0]);
               Value counts = arith::CmpIOp::create(
                   b, arith::CmpIPredicate::ne, any,
                   arith::ConstantIntOp::create(b, 0, 32));
               return {arith::SelectOp::create(b, counts, add(carried[0], 1),
                                               carried[0])};
             })[0];
  }

  /// Calls `body` for the first keys of the groups that count, and then for the
  /// steps of `stride` keys behind the last whole group.
  SmallVector<Value>
  forEachCounted(ValueRange carried, int64_t stride,
                 function_ref<SmallVector<Value>(Value, ValueRange)> group,
                 function_ref<SmallVector<Value>(Value, ValueRange)> rest) {
    SmallVector<Value> sums =
        loop(zero, at.numGroups, 1, carried, [&](Value i, ValueRange values) {
          Value first = memref::LoadOp::create(b, groupList, i);
          return group(arith::IndexCastOp::create(b, b.getIndexType(), first),
                       values);
        });
    Value end = arith::MinUIOp::create(b, numKeys, at.seen);
    return loop(groupedKeys, end, stride, sums, rest);
  }

  /// The number that a stage has left for the row.
  Value loadFactor() {
    return arith::BitcastOp::create(b, b.getF32Type(),
                                    memref::LoadOp::create(b, factors, at.row));
  }

  /// What makes the argument of the largest power 0; 0 where there is none.
  Value createShift() {
    if (view->getCausal())
      emitExcludedKeys();
    Value largest = createLargestSum();
    Value isEmpty = arith::CmpIOp::create(
        b, arith::CmpIPredicate::slt, largest,
        arith::ConstantIntOp::create(b, kExcludedSum + kMaxSum, 32));
    Value shift = arith::MulFOp::create(
        b, arith::SIToFPOp::create(b, b.getF32Type(), largest),
        f32(-getSumScale()));
    return arith::SelectOp::create(b, isEmpty, f32(0.0f), shift);
  }

  /// Excludes the keys behind the query of a causal attention.
  void emitExcludedKeys() {
    Value behind = add(add(add(at.query, at.row), offset), 1);
    behind = arith::MinSIOp::create(b, arith::MaxSIOp::create(b, behind, zero),
                                    at.seen);
    Value first = sub(behind, arith::RemUIOp::create(b, behind, index(lanes)));
    loop(first, at.seen, lanes, {}, [&](Value key, ValueRange) {
      Value position = getScorePosition(key, 0);
      Value seen =
          vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()),
                                       ValueRange{sub(behind, key)});
      storeWords(arith::SelectOp::create(b, seen,
                                         loadWords(scoreRows, position),
                                         splatInt(kExcludedSum)),
                 scoreRows, position);
      return SmallVector<Value>();
    });
  }

  Value createLargestSum() {
    SmallVector<Value> largest(plan.context.getStep(), splatInt(kExcludedSum));
    largest = forEachGroup(
        largest, [&](Value key, int64_t count, ValueRange carried) {
          SmallVector<Value> next(carried);
          for (int64_t i = 0; i < count; ++i)
            next[i] = arith::MaxSIOp::create(
                b, next[i], loadWords(scoreRows, getScorePosition(key, i)));
          return next;
        });
    auto join = [&](Value x, Value y) -> Value {
      return arith::MaxSIOp::create(b, x, y);
    };
    return reduce(joinAll(largest, join), join);
  }

  Value joinAll(ArrayRef<Value> values,
                function_ref<Value(Value, Value)> join) {
    Value all = values.front();
    for (Value value : values.drop_front())
      all = join(all, value);
    return all;
  }

  /// Exponentials and, unless they are normalised first, their codes. Returns
  /// their sum.
  Value emitPowers(Value shifts) {
    int64_t step = plan.context.getStep();
    SmallVector<Value> sums(step, splat(0.0f));
    if (isDivisionLast() && hasProbSums())
      sums.push_back(splatInt(0));
    sums =
        forEachGroup(sums, [&](Value key, int64_t count, ValueRange carried) {
          SmallVector<Value> next(carried), powers;
          for (int64_t i = 0; i < count; ++i) {
            Value score =
                convert(loadWords(scoreRows, getScorePosition(key, i)));
            Value power = createNegativeExp2(
                b, math::FmaOp::create(b, score, splat(getSumScale()), shifts));
            next[i] = arith::AddFOp::create(b, next[i], power);
            powers.push_back(power);
          }
          if (isDivisionLast())
            storeCodes(powers, splat(1.0f / prob.scale), key, next);
          else
            for (auto [i, power] : llvm::enumerate(powers))
              storeWords(power, scoreRows, getScorePosition(key, i));
          return next;
        });
    if (sums.size() > size_t(step))
      storeProbSum(sums[step]);
    return reduceSum(joinAll(ArrayRef(sums).take_front(step),
                             [&](Value x, Value y) -> Value {
                               return arith::AddFOp::create(b, x, y);
                             }));
  }

  void emitNormalisedCodes(Value factor) {
    float stretch = 1.0f;
    if (isClipped())
      stretch = (view->getZeta() - view->getGamma()).convertToFloat();
    Value factors =
        splat(arith::MulFOp::create(b, factor, f32(stretch / prob.scale)));
    SmallVector<Value> sums;
    if (hasProbSums())
      sums.push_back(splatInt(0));
    sums =
        forEachGroup(sums, [&](Value key, int64_t count, ValueRange carried) {
          SmallVector<Value> next(carried), powers;
          for (int64_t i = 0; i < count; ++i)
            powers.push_back(loadFloats(scoreRows, getScorePosition(key, i)));
          storeCodes(powers, factors, key, next);
          return next;
        });
    if (!sums.empty())
      storeProbSum(sums[0]);
  }

  /// Stores the codes of `powers` times `factors`, clipped. The last of `sums`
  /// takes the sum of the codes, where it is needed.
  void storeCodes(ArrayRef<Value> powers, Value factors, Value key,
                  SmallVectorImpl<Value> &sums) {
    int64_t step = plan.context.getStep();
    SmallVector<Value> codes;
    for (Value power : powers)
      codes.push_back(createCode(power, factors));
    Value position = add(at.scores, key);
    Value word;
    if (codes.size() == 1 && step > 1) {
      auto narrow =
          VectorType::get(lanes, plan.context.getElementType(b.getContext()));
      Value stored = arith::TruncIOp::create(b, narrow, codes[0]);
      vector::StoreOp::create(b, stored, narrowProbs, position);
      if (hasProbSums())
        sums.back() = arith::AddIOp::create(
            b, sums.back(), widenFirst(stored, words, plan.context));
      return;
    }
    word = joinCodes(codes);
    storeWords(word, probs, arith::DivUIOp::create(b, position, index(step)));
    if (skipsZeros()) {
      Value group = getGroupPosition(key);
      storeWords(arith::OrIOp::create(b, loadWords(groupCodes, group), word),
                 groupCodes, group);
    }
    if (hasProbSums())
      sums.back() =
          plan.context.emitDot(b, sums.back(), asOperand(word, plan.context),
                               createOnes(plan.context));
  }

  /// Words whose lowest bits are the code. Adding 1.5 * 2^23 rounds as a
  /// conversion would, in the same operation.
  Value createCode(Value power, Value factors) {
    QuantParams params = *QuantParams::get(*view->getProbsQuant());
    float scale = prob.scale;
    float top = float(params.getStorageMax() - params.getZeroPoint(0));
    int64_t zeroPoint = hasSeeds(plan.context) ? prob.zeroPoint : 0;
    Value magic = splat(12582912.0f + float(zeroPoint));
    // Rounding errors of a probability of 1 are no reason for a bound.
    bool isBounded = 1.0f / scale < top + 0.25f;
    if (isBounded && !isClipped())
      return toWords(math::FmaOp::create(b, power, factors, magic));
    Value scaled = isClipped()
                       ? Value(math::FmaOp::create(
                             b, power, factors,
                             splat(view->getGamma().convertToFloat() / scale)))
                       : Value(arith::MulFOp::create(b, power, factors));
    if (isClipped())
      scaled = larger(scaled, splat(0.0f));
    if (!isBounded || view->getZeta().convertToFloat() > 1.0f) {
      Value bound = splat(std::min(1.0f / scale, top));
      Value isSmaller =
          arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, scaled, bound);
      scaled = arith::SelectOp::create(b, isSmaller, scaled, bound);
    }
    return toWords(arith::AddFOp::create(b, scaled, magic));
  }

  /// Words of the lowest bits of each of `codes`, those of the first lowest.
  Value joinCodes(SmallVector<Value> codes) {
    for (int64_t bits = 32 / plan.context.getStep(); bits < 32; bits *= 2) {
      for (size_t i = 0; i < codes.size() / 2; ++i) {
        Value low = arith::AndIOp::create(b, codes[2 * i],
                                          splatInt((int64_t(1) << bits) - 1));
        Value high = arith::ShLIOp::create(b, codes[2 * i + 1], splatInt(bits));
        codes[i] = arith::OrIOp::create(b, low, high);
      }
      codes.resize(codes.size() / 2);
    }
    return codes.front();
  }

  //===--------------------------------------------------------------------===//
  // Quantization
  //===--------------------------------------------------------------------===//

  /// Numerics.md, "Quantize", without the zero point. The bounds are integers,
  /// so rounding and clamping may change places; a comparison with NaN is
  /// false, which leaves the lower bound.
  Value quantize(Value x, const QuantParams &params) {
    int64_t zeroPoint = params.getZeroPoint(0);
    Value scaled =
        arith::MulFOp::create(b, x, splat(1.0f / params.getScale(0)));
    Value lower = splat(float(params.getStorageMin() - zeroPoint));
    Value upper = splat(float(params.getStorageMax() - zeroPoint));
    scaled = larger(scaled, lower);
    Value isSmaller =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, scaled, upper);
    scaled = arith::SelectOp::create(b, isSmaller, scaled, upper);
    return arith::FPToSIOp::create(b, words,
                                   math::RoundEvenOp::create(b, scaled));
  }

  /// dequantize(quantize(x))
  Value roundTrip(Value x, const QuantParams &params) {
    return arith::MulFOp::create(b, convert(quantize(x, params)),
                                 splat(params.getScale(0)));
  }

  //===--------------------------------------------------------------------===//
  // A row of the result
  //===--------------------------------------------------------------------===//

  void emitResult(Value row) {
    at.row = row;
    Value term = createContextTerm(), factor, gate;
    if (isDivisionLast())
      factor = splat(loadFactor());
    SmallVector<Value> gateIndices = {at.batch, at.head, add(at.query, row)};
    bool isGatePerRow =
        view->getGate() &&
        cast<MemRefType>(view->getGate().getType()).getRank() == 3;
    if (isGatePerRow)
      gate = splat(
          createGate(memref::LoadOp::create(b, view->getGate(), gateIndices)));
    gateIndices.push_back(zero);
    for (int64_t channel = 0; channel < valueSize; channel += lanes) {
      Value c = loadContext(row, channel, term);
      if (factor)
        c = arith::MulFOp::create(b, c, factor);
      if (view->getContextQuant())
        c = roundTrip(c, *QuantParams::get(*view->getContextQuant()));
      if (view->getGate()) {
        if (!isGatePerRow)
          gate = createGate(loadElements(view->getGate(), gateIndices, channel,
                                         lanes, valueSize));
        c = arith::MulFOp::create(b, c, gate);
      }
      if (op.getParams().contains(kScaledAttrName))
        c = math::FmaOp::create(b, c, loadOfChannels(2, channel),
                                loadOfChannels(1, channel));
      storeResult(c, channel);
    }
  }

  /// Gain or shift, the last or last but one operand, of channels of a head.
  Value loadOfChannels(unsigned fromEnd, int64_t channel) {
    Value memref = op.getInputs().take_back(fromEnd).front();
    Value first = add(mul(at.head, valueSize), channel);
    if (channel + lanes <= valueSize)
      return vector::LoadOp::create(b, floats, memref, first);
    Value mask =
        vector::ConstantMaskOp::create(b, VectorType::get(lanes, b.getI1Type()),
                                       ArrayRef{valueSize - channel});
    return vector::MaskedLoadOp::create(b, floats, memref, first, mask,
                                        splat(0.0f));
  }

  /// What zero points of the values add to the sums of a query; null if
  /// nothing.
  Value createContextTerm() {
    if (!hasSeeds(plan.context) || value.zeroPoint == 0)
      return {};
    Value sum = memref::LoadOp::create(b, probSums, at.row);
    Value term = createTerm(sum, value.zeroPoint, 0);
    Value keys = arith::IndexCastOp::create(b, b.getI32Type(),
                                            hasIntegerRows ? at.seen : numKeys);
    Value both =
        arith::ConstantIntOp::create(b, prob.zeroPoint * value.zeroPoint, 32);
    return arith::AddIOp::create(b, term, arith::MulIOp::create(b, keys, both));
  }

  Value loadContext(Value row, int64_t channel, Value term) {
    Value sums = loadWords(tile, add(mul(row, plan.values), channel));
    if (plan.context.isFloat())
      return toFloats(sums);
    if (term)
      sums = arith::AddIOp::create(b, sums, splat(term));
    return arith::MulFOp::create(b, convert(sums),
                                 splat(prob.scale * value.scale));
  }

  /// sigmoid(gate) * gain
  Value createGate(Value logit) {
    Value gain = f32(view->getGain().convertToFloat());
    if (isa<VectorType>(logit.getType()))
      gain = splat(gain);
    return arith::MulFOp::create(b, createSigmoid(b, logit), gain);
  }

  void storeResult(Value c, int64_t channel) {
    Value y = op.getOuts().front();
    SmallVector<Value> indices = getIndices(3, at.head, add(at.query, at.row));
    indices.back() = index(channel);
    if (view->getYQuant()) {
      QuantParams params = *QuantParams::get(*view->getYQuant());
      c = arith::AddIOp::create(b, quantize(c, params),
                                splatInt(params.getZeroPoint(0)));
      c = arith::TruncIOp::create(b, VectorType::get(lanes, b.getI8Type()), c);
    }
    int64_t count = valueSize - channel;
    if (count >= lanes)
      vector::StoreOp::create(b, c, y, indices);
    else if (count == 1)
      // LLVM 22 makes four bytes of a masked store of one truncated lane.
      memref::StoreOp::create(b, vector::ExtractOp::create(b, c, 0), y,
                              indices);
    else
      vector::MaskedStoreOp::create(
          b, y, indices,
          vector::ConstantMaskOp::create(
              b, VectorType::get(lanes, b.getI1Type()), ArrayRef{count}),
          c);
  }

  ImplicitLocOpBuilder &b;
  KernelOp op;
  Part part;
  KernelView<AttentionOp> view;
  AttentionPlan plan;
  ArrayRef<int64_t> layouts;
  int64_t lanes, valueSize;
  VectorType floats, words;
  OperandParams query, key, prob, value;
  bool hasIntegerRows = false;

  int64_t numHeads = 0, numKeyHeads = 0;
  Value zero, numBatches, numQueries, queryBlocks, numKeys;
  /// Keys in whole vectors, all keys in vectors, their number of vectors, and
  /// keys that rows have room for.
  Value fullKeys, wholeKeys, keyVectors, paddedKeys;
  Value lastKey, offset;
  /// Keys in whole groups.
  Value groupedKeys;

  Value packedKeys, keySums, queryBlock, scoreRows, factors, probSums, tile,
      packedValues, probs, narrowProbs, valueSums, groupCodes, groupList;
  /// For tile registers.
  Value queryBytes, keyBytes, scoreMatrix, probBytes, valueBytes, contextMatrix;

  /// Where the loops stand.
  struct {
    Value batch, keyHead, head;
    /// The first query of the block, the keys that it sees, a row of it, and
    /// where its scores begin.
    Value query, seen, row, scores;
    /// Groups of keys that count.
    Value numGroups;
  } at;
};

} // namespace

LogicalResult qtx::emitAttention(ImplicitLocOpBuilder &builder, KernelOp op,
                                 Part part) {
  AttentionEmitter(builder, op, part).emit();
  return success();
}
