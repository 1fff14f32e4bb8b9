//===- Turns.cpp - Rows in turns ------------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace qtx;

/// Fewer rows come one after the other: the first ones of many that take turns
/// have passes of their own.
static constexpr int64_t kMinRowsInTurns = 4;

static SmallVector<Value> take(ValueRange &values, size_t count) {
  auto first = llvm::to_vector(values.take_front(count));
  values = values.drop_front(count);
  return first;
}

void RowsEmitter::emitRowsInTurns(Value begin, Value end,
                                  function_ref<void(Value)> setRow) {
  Value count = arith::SubIOp::create(builder, end, begin);
  Value areMany = arith::CmpIOp::create(
      builder, arith::CmpIPredicate::sge, count,
      arith::ConstantIndexOp::create(builder, kMinRowsInTurns));
  auto branch = scf::IfOp::create(builder, areMany, /*withElseRegion=*/true);
  builder.setInsertionPointToStart(branch.elseBlock());
  emitRowByRow(begin, end, setRow);
  builder.setInsertionPointToStart(branch.thenBlock());
  RowRange rows = {begin, end, arith::SubIOp::create(builder, end, one),
                   setRow};
  touchTables(rows);
  auto loop = scf::ForOp::create(builder, begin, end, one, startRows(rows));
  builder.setInsertionPointToStart(loop.getBody());
  scf::YieldOp::create(builder, emitTurn(rows, loop.getInductionVar(),
                                         loop.getRegionIterArgs()));
}

SmallVector<Value> RowsEmitter::emitTurn(const RowRange &rows, Value number,
                                         ValueRange known) {
  unsigned numPasses = analysis.getNumPasses();
  SmallVector<Stage, 0> stages = {enterStage(rows, number, 0, known)};
  SmallVector<SmallVector<Value>> ready(numPasses);
  for (unsigned level = 1; level < numPasses; ++level) {
    stages.push_back(enterStage(rows, number, level, known));
    startRowBehind(rows, number, getDistance(level) + 1);
    takeCarried(level - 1, known);
    Pass before = getPass(level - 1);
    SmallVector<Value> sums = take(known, before.reductions.size());
    finishSums(before, sums);
    emitUniform(level);
    ready[level] = getCarried(level);
  }
  setRowAhead(rows, number);
  SmallVector<Value> sums = sumUp(stages);
  rowAhead = Row();
  SmallVector<Value> next;
  ValueRange left = sums;
  for (unsigned level = 1; level < numPasses; ++level) {
    Stage &stage = stages[level - 1];
    row = stage.row;
    llvm::append_range(next, ready[level]);
    llvm::append_range(next, getCarried(level - 1));
    llvm::append_range(next, take(left, stage.pass.reductions.size()));
  }
  row = stages.back().row;
  finishSums(stages.back().pass, llvm::to_vector(left));
  emitUniform(numPasses);
  storeUniform();
  return next;
}

SmallVector<Value> RowsEmitter::startRows(const RowRange &rows) {
  SmallVector<Value> known;
  for (unsigned level = 1; level < analysis.getNumPasses(); ++level) {
    startRowBehind(rows, rows.begin, getDistance(level));
    emitPassesBefore(level);
    llvm::append_range(known, getCarried(level));
    startRowBehind(rows, rows.begin, getDistance(level) + 1);
    emitPassesBefore(level - 1);
    llvm::append_range(known, getCarried(level - 1));
    Stage stage = {getPass(level - 1), row};
    llvm::append_range(known, sumUp(stage));
  }
  return known;
}

RowsEmitter::Stage RowsEmitter::enterStage(const RowRange &rows, Value number,
                                           unsigned level, ValueRange &known) {
  startRowBehind(rows, number, getDistance(level));
  takeCarried(level, known);
  return {getPass(level), row};
}

void RowsEmitter::startRowBehind(const RowRange &rows, Value number,
                                 unsigned distance) {
  Value behind = arith::AddIOp::create(
      builder, number, arith::ConstantIndexOp::create(builder, distance));
  row = Row();
  rows.setRow(arith::MinUIOp::create(builder, behind, rows.last));
}

SmallVector<Value> RowsEmitter::listCarried(unsigned level) {
  SmallVector<Value> values;
  for (Operation &nested : op.getBody().front().without_terminator())
    if (nested.getNumResults() == 1) {
      Value value = nested.getResult(0);
      if (analysis.isUniform(value) && analysis.getLevel(value) > 0 &&
          analysis.getLevel(value) <= level)
        values.push_back(value);
    }
  return values;
}

SmallVector<Value> RowsEmitter::getCarried(unsigned level) {
  return llvm::map_to_vector(listCarried(level), [&](Value value) {
    return row.scalars.lookup(value);
  });
}

void RowsEmitter::takeCarried(unsigned level, ValueRange &known) {
  loadUniform();
  emitUniform(0);
  SmallVector<Value> values = listCarried(level);
  row.scalars.map(values, take(known, values.size()));
}
