//===- AssertsToStatus.cpp - Assertions to statuses -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "qtx/Target/Passes.h"

namespace qtx {
#define GEN_PASS_DEF_QTXASSERTSTOSTATUSPASS
#include "qtx/Target/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

/// Branches to a block that returns the status of `op` where it fails.
static void replace(cf::AssertOp op, IntegerAttr status) {
  OpBuilder builder(op);
  Block *block = op->getBlock();
  Block *rest = block->splitBlock(op);
  Block *failed = builder.createBlock(&block->getParent()->back());
  failed->moveBefore(rest);
  Value number = arith::ConstantOp::create(builder, op.getLoc(), status);
  func::ReturnOp::create(builder, op.getLoc(), number);
  builder.setInsertionPointToEnd(block);
  cf::CondBranchOp::create(builder, op.getLoc(), op.getArg(), rest,
                           ValueRange(), failed, ValueRange());
  op.erase();
}

namespace {
struct QtxAssertsToStatusPass
    : qtx::impl::QtxAssertsToStatusPassBase<QtxAssertsToStatusPass> {
  void runOnOperation() override {
    SmallVector<cf::AssertOp> assertions;
    getOperation().walk([&](cf::AssertOp op) { assertions.push_back(op); });
    for (cf::AssertOp op : assertions)
      if (auto status = op->getAttrOfType<IntegerAttr>(kStatusAttr))
        replace(op, status);
  }
};
} // namespace
