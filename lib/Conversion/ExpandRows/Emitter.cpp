//===- Emitter.cpp - Code of qtx.rows -------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace qtx;

/// The largest row that is kept on the stack.
static constexpr int64_t kMaxStackRow = 8192;

RowsEmitter::RowsEmitter(RowsOp op, unsigned lanes, RewriterBase &rewriter)
    : op(op), analysis(op), columnRuns(op), lanes(lanes),
      builder(op.getLoc(), rewriter) {}

void RowsEmitter::emit() {
  zero = arith::ConstantIndexOp::create(builder, 0);
  one = arith::ConstantIndexOp::create(builder, 1);
  numColumns = getSize(op.getNumDims() - 1);
  endColumn = numColumns;
  maxThreads = op.getNumDims() > 1 ? getMaxThreads(op) : 1;
  if (maxThreads > 1)
    return emitParts();
  createBuffers();
  OpBuilder::InsertionGuard guard(builder);
  SmallVector<Value> outer;
  for (unsigned dim = 0; dim + 2 < op.getNumDims(); ++dim) {
    auto loop = scf::ForOp::create(builder, zero, getSize(dim), one);
    outer.push_back(loop.getInductionVar());
    builder.setInsertionPointToStart(loop.getBody());
  }
  if (op.getNumDims() == 1)
    return emitRow();
  emitRows(zero, getSize(outer.size()), [&](Value number) {
    row.indices = outer;
    row.indices.push_back(number);
  });
}

void RowsEmitter::freeBuffers() {
  for (Value buffer : allocated)
    memref::DeallocOp::create(builder, buffer);
}

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

void RowsEmitter::emitParts() {
  SmallVector<Value> sizes;
  Value numRows = one;
  for (unsigned dim = 0; dim + 1 < op.getNumDims(); ++dim) {
    sizes.push_back(getSize(dim));
    numRows = arith::MulIOp::create(builder, numRows, sizes.back());
  }
  Value elements = arith::MulIOp::create(builder, numRows, numColumns);
  auto aligned = op->getAttrOfType<DictionaryAttr>(kAlignedPartsAttrName);
  int64_t unit = aligned ? aligned.getAs<IntegerAttr>("unit").getInt() : 1;
  forEachPart(builder, maxThreads, elements, [&](Part part) {
    parts = cast<scf::ParallelOp>(builder.getBlock()->getParentOp());
    createBuffers(part);
    PartRange rows = getRange(builder, part, numRows, unit);
    emitRows(rows.begin, rows.end,
             [&](Value number) { setIndices(number, sizes); });
  });
  if (aligned)
    parts->setAttr(kAlignedPartsAttrName, aligned);
}

void RowsEmitter::setIndices(Value number, ArrayRef<Value> sizes) {
  row.indices.resize(sizes.size());
  for (unsigned dim = sizes.size() - 1; dim > 0; --dim) {
    row.indices[dim] = arith::RemUIOp::create(builder, number, sizes[dim]);
    number = arith::DivUIOp::create(builder, number, sizes[dim]);
  }
  row.indices[0] = number;
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

Value RowsEmitter::getSize(unsigned dim) {
  auto [operand, position] = op.getOperandWithDim(dim);
  int64_t size = cast<MemRefType>(operand.getType()).getDimSize(position);
  if (ShapedType::isStatic(size))
    return arith::ConstantIndexOp::create(builder, size);
  return memref::DimOp::create(builder, operand, position);
}

SmallVector<Value> RowsEmitter::getIndices(unsigned operand, Value column) {
  SmallVector<Value> result;
  for (AffineExpr expr : op.getInputMap(operand).getResults()) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim)
      result.push_back(zero);
    else
      result.push_back(dim.getPosition() < row.indices.size()
                           ? row.indices[dim.getPosition()]
                           : column);
  }
  if (operand < op.getInputs().size())
    if (std::optional<unsigned> ids = op.getIdsOf(operand))
      result.front() = row.tableRows[*ids];
  return result;
}

bool RowsEmitter::isInPlace(unsigned output) {
  return llvm::is_contained(op.getInputs(), op.getOutputs()[output]);
}

bool RowsEmitter::hasColumn(unsigned operand) {
  return op.getInputMap(operand).isFunctionOfDim(op.getNumDims() - 1);
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

void RowsEmitter::createBuffers(Part part) {
  llvm::SmallDenseSet<unsigned> taken;
  for (Value value : analysis.getKept()) {
    std::optional<unsigned> output = findFreeOutput(value, taken);
    if (output) {
      taken.insert(*output);
      keptInOutput[value] = *output;
      continue;
    }
    keptInBuffer[value] = createBuffer(part);
  }
}

std::optional<unsigned>
RowsEmitter::findFreeOutput(Value value,
                            const llvm::SmallDenseSet<unsigned> &taken) {
  for (auto [number, yielded] : llvm::enumerate(op.getYield()->getOperands()))
    if (!taken.contains(number) && yielded.getType().isF32() &&
        !isInPlace(number) && op.getOutputMap(number).isPermutation() &&
        !op.getColumnsOf(number) &&
        analysis.getLevel(yielded) + 1 == analysis.getNumPasses() &&
        analysis.getLevel(yielded) > analysis.getLevel(value))
      return number;
  return std::nullopt;
}

Value RowsEmitter::createBuffer(Part part) {
  APInt size;
  bool isStatic = matchPattern(numColumns, m_ConstantInt(&size));
  if (!isStatic || size.getSExtValue() > kMaxStackRow)
    return allocateBuffer(part);
  // In a loop, the stack would grow in every iteration.
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(
      part ? parts.getBody()
           : &op->getParentOfType<FunctionOpInterface>()
                  .getFunctionBody()
                  .front());
  auto type = MemRefType::get({size.getSExtValue()}, builder.getF32Type());
  return memref::AllocaOp::create(builder, type);
}

Value RowsEmitter::allocateBuffer(Part part) {
  auto type = MemRefType::get({ShapedType::kDynamic}, builder.getF32Type());
  if (!part) {
    allocated.push_back(memref::AllocOp::create(builder, type, numColumns));
    return allocated.back();
  }
  {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(parts);
    Value count = arith::ConstantIndexOp::create(builder, maxThreads);
    Value size = arith::MulIOp::create(builder, numColumns, count);
    allocated.push_back(memref::AllocOp::create(builder, type, size));
  }
  Value offset = arith::MulIOp::create(builder, part.number, numColumns);
  return memref::SubViewOp::create(
      builder, allocated.back(), OpFoldResult(offset), OpFoldResult(numColumns),
      OpFoldResult(builder.getIndexAttr(1)));
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

void RowsEmitter::emitRows(Value begin, Value end,
                           function_ref<void(Value)> setRow) {
  if (analysis.getNumPasses() > 1 && analysis.getKept().empty())
    return emitRowsInTurns(begin, end, setRow);
  emitRowByRow(begin, end, setRow);
}

void RowsEmitter::emitRowByRow(Value begin, Value end,
                               function_ref<void(Value)> setRow) {
  OpBuilder::InsertionGuard guard(builder);
  auto loop = scf::ForOp::create(builder, begin, end, one);
  builder.setInsertionPointToStart(loop.getBody());
  setRow(loop.getInductionVar());
  emitRow();
}

void RowsEmitter::emitRow() {
  emitPassesBefore(analysis.getNumPasses());
  storeUniform();
}

void RowsEmitter::emitPassesBefore(unsigned level) {
  loadUniform();
  emitUniform(0);
  for (unsigned earlier = 0; earlier < level; ++earlier) {
    emitPass(earlier);
    emitUniform(earlier + 1);
  }
}

void RowsEmitter::loadUniform() {
  for (bool areInTables : {false, true})
    for (BlockArgument argument : op.getBody().getArguments()) {
      unsigned number = argument.getArgNumber();
      if (hasColumn(number) || op.getIdsOf(number).has_value() != areInTables)
        continue;
      Value loaded = memref::LoadOp::create(builder, op.getInputs()[number],
                                            getIndices(number, {}));
      row.scalars.map(argument, loaded);
      if (!areInTables)
        createTableRow(number, loaded);
    }
}

void RowsEmitter::emitUniform(unsigned level) {
  for (Operation &nested : op.getBody().front().without_terminator()) {
    if (isa<RowReduceOp>(nested) || nested.getNumResults() != 1 ||
        !analysis.isUniform(nested.getResult(0)) ||
        analysis.getLevel(nested.getResult(0)) != level)
      continue;
    builder.clone(nested, row.scalars);
  }
}

void RowsEmitter::storeUniform() {
  for (auto [number, yielded] : llvm::enumerate(op.getYield()->getOperands())) {
    unsigned operand = op.getInputs().size() + number;
    if (!hasColumn(operand))
      memref::StoreOp::create(builder, row.scalars.lookup(yielded),
                              op.getOutputs()[number], getIndices(operand, {}));
  }
}
