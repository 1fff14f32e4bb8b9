//===- Passes.cpp - Passes over columns -----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <limits>

using namespace mlir;
using namespace qtx;

/// Vectors of sums that are added to in turn, so that an addition need not wait
/// for the one before.
static constexpr unsigned kNumAccumulators = 4;

RowsEmitter::Pass RowsEmitter::getPass(unsigned level) {
  Pass pass = {level, {}, {}, {}};
  for (auto reduction : op.getBody().getOps<RowReduceOp>())
    if (analysis.getLevel(reduction.getX()) == level)
      pass.reductions.push_back(reduction);
  // No pass reads what has been overwritten, nor does one come again.
  bool isLast = level + 1 == analysis.getNumPasses();
  for (auto [number, yielded] : llvm::enumerate(op.getYield()->getOperands()))
    if (hasColumn(op.getInputs().size() + number) &&
        (isInPlace(number) ? isLast : analysis.getLevel(yielded) == level))
      pass.outputs.push_back(number);
  for (Value value : analysis.getKept())
    if (analysis.getLevel(value) == level)
      pass.kept.push_back(value);
  return pass;
}

void RowsEmitter::emitPass(unsigned level) {
  Stage stage = {getPass(level), row};
  if (stage.pass.isEmpty())
    return;
  SmallVector<Value> sums = sumUp(stage);
  row = stage.row;
  finishSums(stage.pass, sums);
}

SmallVector<Value> RowsEmitter::sumUp(ArrayRef<Stage> stages) {
  SmallVector<Value> sums;
  for (const Stage &stage : stages)
    for (RowReduceOp reduction : stage.pass.reductions)
      sums.push_back(createIdentity(RowReduceOp(reduction).getKind()));
  if (sums.empty() && columnRuns.areSeveral()) {
    emitRuns(stages);
    return sums;
  }
  Value begin = zero;
  if (!sums.empty()) {
    SmallVector<Value> joint(sums);
    for (unsigned i = 1; i < kNumAccumulators; ++i)
      llvm::append_range(sums, joint);
    Value end = roundDown(kNumAccumulators * lanes);
    sums = emitColumns(stages, begin, end, kNumAccumulators, sums,
                       /*isMasked=*/false);
    sums = joinAccumulators(stages, sums);
    begin = end;
  }
  Value end = roundDown(lanes);
  sums = emitColumns(stages, begin, end, 1, sums, /*isMasked=*/false);
  return emitColumns(stages, end, numColumns, 1, sums, /*isMasked=*/true);
}

void RowsEmitter::finishSums(const Pass &pass, ArrayRef<Value> sums) {
  for (auto [of, sum] : llvm::zip_equal(pass.reductions, sums)) {
    RowReduceOp reduction = of;
    row.scalars.map(reduction.getY(), reduceLanes(reduction.getKind(), sum));
  }
}

void RowsEmitter::emitRuns(ArrayRef<Stage> stages) {
  for (const ColumnRuns::Run &run : columnRuns.getRuns()) {
    currentRun = &run;
    int64_t rest = (run.end - run.begin) % lanes;
    Value begin = arith::ConstantIndexOp::create(builder, run.begin);
    Value whole = arith::ConstantIndexOp::create(builder, run.end - rest);
    endColumn = arith::ConstantIndexOp::create(builder, run.end);
    emitColumns(stages, begin, whole, 1, {}, /*isMasked=*/false);
    if (rest > 0)
      emitColumns(stages, whole, endColumn, 1, {}, /*isMasked=*/true);
  }
  currentRun = nullptr;
  endColumn = numColumns;
}

Value RowsEmitter::roundDown(unsigned step) {
  Value size = arith::ConstantIndexOp::create(builder, step);
  Value rest = arith::RemUIOp::create(builder, numColumns, size);
  return builder.createOrFold<arith::SubIOp>(numColumns, rest);
}

SmallVector<Value> RowsEmitter::emitColumns(ArrayRef<Stage> stages, Value begin,
                                            Value end, unsigned unroll,
                                            ArrayRef<Value> sums,
                                            bool isMasked) {
  Value step = arith::ConstantIndexOp::create(builder, unroll * lanes);
  auto loop = scf::ForOp::create(builder, begin, end, step, sums);
  OpBuilder::InsertionGuard guard(builder);
  Block *body = loop.getBody();
  if (sums.empty())
    builder.setInsertionPoint(body->getTerminator());
  else
    builder.setInsertionPointToEnd(body);
  SmallVector<Value> updated;
  ValueRange known = loop.getRegionIterArgs();
  for (unsigned i = 0; i < unroll; ++i) {
    Value column = loop.getInductionVar();
    if (i > 0)
      column = arith::AddIOp::create(
          builder, column, arith::ConstantIndexOp::create(builder, i * lanes));
    if (!rowAhead.indices.empty() && !isMasked)
      prefetchTables(column, i);
    for (const Stage &stage : stages) {
      size_t count = stage.pass.reductions.size();
      row = stage.row;
      emitVector(stage.pass, column, isMasked, known.take_front(count),
                 updated);
      known = known.drop_front(count);
    }
  }
  if (!sums.empty())
    scf::YieldOp::create(builder, updated);
  return SmallVector<Value>(loop.getResults());
}

void RowsEmitter::emitVector(const Pass &pass, Value column, bool isMasked,
                             ValueRange sums, SmallVectorImpl<Value> &updated) {
  vectors.clear();
  passLevel = pass.level;
  currentColumn = column;
  mask = {};
  if (isMasked) {
    Value rest = arith::SubIOp::create(builder, endColumn, column);
    mask = vector::CreateMaskOp::create(
        builder, VectorType::get(lanes, builder.getI1Type()), rest);
  }
  for (Value value : pass.kept)
    store(getVector(value), getKeptBuffer(value), getKeptIndices(value));
  // All is read before an output overwrites it.
  for (unsigned output : pass.outputs)
    getVector(op.getYield()->getOperand(output));
  for (unsigned output : pass.outputs)
    storeOutput(output, getVector(op.getYield()->getOperand(output)));
  for (auto [of, sum] : llvm::zip_equal(pass.reductions, sums)) {
    RowReduceOp reduction = of;
    updated.push_back(
        accumulate(reduction.getKind(), getVector(reduction.getX()), sum));
  }
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

Value RowsEmitter::createIdentity(RowReduction kind) {
  float value = 0.0f;
  if (kind == RowReduction::Max)
    value = -std::numeric_limits<float>::infinity();
  if (kind == RowReduction::Min)
    value = std::numeric_limits<float>::infinity();
  VectorType type = getVectorType(builder.getF32Type());
  return arith::ConstantOp::create(builder,
                                   DenseElementsAttr::get(type, value));
}

Value RowsEmitter::accumulate(RowReduction kind, Value x, Value sum) {
  if (mask)
    x = arith::SelectOp::create(builder, mask, x, createIdentity(kind));
  if (kind == RowReduction::SquareSum)
    return math::FmaOp::create(builder, x, x, sum);
  return join(kind, x, sum);
}

Value RowsEmitter::join(RowReduction kind, Value x, Value sum) {
  if (kind == RowReduction::Sum || kind == RowReduction::SquareSum)
    return arith::AddFOp::create(builder, sum, x);
  auto predicate = kind == RowReduction::Max ? arith::CmpFPredicate::OGT
                                             : arith::CmpFPredicate::OLT;
  Value isBetter = arith::CmpFOp::create(builder, predicate, x, sum);
  return arith::SelectOp::create(builder, isBetter, x, sum);
}

SmallVector<Value> RowsEmitter::joinAccumulators(ArrayRef<Stage> stages,
                                                 ArrayRef<Value> sums) {
  size_t count = sums.size() / kNumAccumulators;
  SmallVector<RowReduction> kinds;
  for (const Stage &stage : stages)
    for (RowReduceOp reduction : stage.pass.reductions)
      kinds.push_back(RowReduceOp(reduction).getKind());
  SmallVector<Value> joint(sums.take_front(count));
  for (size_t i = count; i < sums.size(); ++i)
    joint[i % count] = join(kinds[i % count], sums[i], joint[i % count]);
  return joint;
}

Value RowsEmitter::reduceLanes(RowReduction kind, Value sum) {
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    auto low = llvm::to_vector(llvm::seq<int64_t>(0, half));
    auto high = llvm::to_vector(llvm::seq<int64_t>(half, 2 * half));
    Value lower = vector::ShuffleOp::create(builder, sum, sum, low);
    Value upper = vector::ShuffleOp::create(builder, sum, sum, high);
    sum = join(kind, upper, lower);
  }
  return vector::ExtractOp::create(builder, sum, 0);
}
