//===- BodyAnalysis.cpp - When values of rows are known -------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BodyAnalysis.h"

using namespace mlir;
using namespace qtx;

/// A value that takes more operations than this is kept and not computed again.
static constexpr unsigned kMaxRecomputed = 6;

BodyAnalysis::BodyAnalysis(RowsOp op) : op(op), uniform(op.getUniformValues()) {
  for (Operation &nested : op.getBody().front().without_terminator())
    setLevel(nested);
  for (Value yielded : op.getYield()->getOperands())
    numPasses = std::max(numPasses, getLevel(yielded) + 1);
  findKept();
}

void BodyAnalysis::setLevel(Operation &nested) {
  unsigned level = 0;
  for (Value operand : nested.getOperands())
    level = std::max(level, getLevel(operand));
  if (isa<RowReduceOp>(nested))
    ++level;
  for (Value result : nested.getResults())
    levels[result] = level;
}

unsigned BodyAnalysis::getCost(Value value,
                               llvm::SmallDenseSet<Value> &seen) const {
  Operation *nested = value.getDefiningOp();
  if (!nested || isUniform(value) || kept.contains(value) ||
      !seen.insert(value).second)
    return 0;
  unsigned cost = 1;
  for (Value operand : nested->getOperands())
    cost += getCost(operand, seen);
  return cost;
}

void BodyAnalysis::findKept() {
  for (Operation &nested : op.getBody().front().without_terminator()) {
    if (nested.getNumResults() != 1 || isUniform(nested.getResult(0)))
      continue;
    unsigned level = getLevel(nested.getResult(0));
    for (Value operand : nested.getOperands()) {
      if (isUniform(operand) || getLevel(operand) == level ||
          !operand.getType().isF32())
        continue;
      llvm::SmallDenseSet<Value> seen;
      if (getCost(operand, seen) > kMaxRecomputed)
        kept.insert(operand);
    }
  }
}
