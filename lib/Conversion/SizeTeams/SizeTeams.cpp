//===- SizeTeams.cpp - Size OpenMP teams ----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/SizeTeams/SizeTeams.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Remarks.h"

namespace qtx {
#define GEN_PASS_DEF_QTXSIZETEAMSPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;

/// The only operation before the terminator of `region`, if it is a `T`.
template <typename T> static T getOnly(Region &region) {
  if (!region.hasOneBlock() || region.front().getOperations().size() != 2)
    return {};
  return dyn_cast<T>(region.front().front());
}

/// The iterations of a loop; null unless it counts from 0 by 1 in one
/// dimension.
static Value getNumIterations(omp::LoopNestOp loop) {
  if (!loop || loop.getIVs().size() != 1 ||
      !isConstantIntValue(loop.getLoopLowerBounds()[0], 0) ||
      !isConstantIntValue(loop.getLoopSteps()[0], 1))
    return {};
  return loop.getLoopUpperBounds()[0];
}

/// False if `op` is not a region around one loop.
static bool sizeTeam(omp::ParallelOp op) {
  auto loops = getOnly<omp::WsloopOp>(op.getRegion());
  if (!loops || op.getNumThreads())
    return false;
  auto loop = dyn_cast<omp::LoopNestOp>(loops.getWrappedLoop());
  Value count = getNumIterations(loop);
  if (!count || !count.getParentRegion()->isProperAncestor(&op.getRegion()))
    return false;
  OpBuilder builder(op);
  Value threads = arith::IndexCastOp::create(builder, op.getLoc(),
                                             builder.getI32Type(), count);
  op.getNumThreadsMutable().assign(threads);
  loops.setNowait(true);
  return true;
}

namespace {
struct QtxSizeTeamsPass : qtx::impl::QtxSizeTeamsPassBase<QtxSizeTeamsPass> {
  void runOnOperation() override {
    auto options =
        remark::RemarkOpts::name("SizeTeams").category("qtx-size-teams");
    getOperation()->walk([&](omp::ParallelOp op) {
      if (sizeTeam(op))
        remark::passed(op.getLoc(), options)
            << remark::add("as many threads as iterations");
      else
        remark::missed(op.getLoc(), options)
            << remark::reason("the region is not one loop from 0 by 1");
    });
  }
};
} // namespace
