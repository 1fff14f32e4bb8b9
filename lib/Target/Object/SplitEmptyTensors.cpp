//===- SplitEmptyTensors.cpp - An empty tensor for each user --------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "qtx/Target/Passes.h"

namespace qtx {
#define GEN_PASS_DEF_QTXSPLITEMPTYTENSORSPASS
#include "qtx/Target/Passes.h.inc"
} // namespace qtx

using namespace mlir;

/// Gives the users of `op` in its block one of their own. Those in the regions
/// of loops keep the one that all iterations share.
static void split(tensor::EmptyOp op) {
  OpBuilder builder(op);
  for (OpOperand &use : llvm::make_early_inc_range(op->getUses())) {
    if (use.getOwner()->getBlock() != op->getBlock())
      continue;
    builder.setInsertionPoint(use.getOwner());
    use.set(builder.clone(*op)->getResult(0));
  }
  if (op.use_empty())
    op.erase();
}

namespace {
struct QtxSplitEmptyTensorsPass
    : qtx::impl::QtxSplitEmptyTensorsPassBase<QtxSplitEmptyTensorsPass> {
  void runOnOperation() override {
    SmallVector<tensor::EmptyOp> ops;
    getOperation()->walk([&](tensor::EmptyOp op) { ops.push_back(op); });
    for (tensor::EmptyOp op : ops)
      split(op);
  }
};
} // namespace
