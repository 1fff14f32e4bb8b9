//===- CheckSlices.cpp - Slices lie inside their sources ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "qtx/Target/Passes.h"

namespace qtx {
#define GEN_PASS_DEF_QTXCHECKSLICESPASS
#include "qtx/Target/Passes.h.inc"
} // namespace qtx

using namespace mlir;

static Value materialize(ImplicitLocOpBuilder &builder, OpFoldResult value) {
  return getValueOrCreateConstantIndexOp(builder, builder.getLoc(), value);
}

/// Asserts that the slice ends inside a dimension of `limit` elements.
static void check(ImplicitLocOpBuilder &builder, tensor::ExtractSliceOp op,
                  unsigned dim, int64_t limit) {
  Value size = materialize(builder, op.getMixedSizes()[dim]);
  Value offset = materialize(builder, op.getMixedOffsets()[dim]);
  Value stride = materialize(builder, op.getMixedStrides()[dim]);
  // The element after the last one of the slice, were the stride 1 at its end.
  Value length = arith::MulIOp::create(builder, size, stride);
  Value end = arith::AddIOp::create(builder, offset, length);
  Value last = arith::AddIOp::create(
      builder, arith::ConstantIndexOp::create(builder, limit), stride);
  Value fits =
      arith::CmpIOp::create(builder, arith::CmpIPredicate::ult, end, last);
  cf::AssertOp::create(builder, fits, "expected a slice inside of its source");
}

namespace {
struct QtxCheckSlicesPass
    : qtx::impl::QtxCheckSlicesPassBase<QtxCheckSlicesPass> {
  void runOnOperation() override {
    getOperation()->walk([](tensor::ExtractSliceOp op) {
      ImplicitLocOpBuilder builder(op.getLoc(), op);
      for (auto [dim, limit] : llvm::enumerate(op.getSourceType().getShape()))
        if (!ShapedType::isDynamic(limit) && op.isDynamicSize(dim))
          check(builder, op, dim, limit);
    });
  }
};
} // namespace
