//===- ExpandCopies.cpp - Expand strided copies into linalg ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/ExpandCopies/ExpandCopies.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"

namespace qtx {
#define GEN_PASS_DEF_QTXEXPANDCOPIESPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;

static bool isDense(Type type) {
  auto memref = dyn_cast<MemRefType>(type);
  return memref && memref.getLayout().isIdentity();
}

static void expand(memref::CopyOp op, IRRewriter &rewriter) {
  Type source = op.getSource().getType(), target = op.getTarget().getType();
  if (isDense(source) && isDense(target))
    return;
  auto remarkOptions =
      remark::RemarkOpts::name("expand-copies").category("qtx-expand-copies");
  if (!isa<MemRefType>(source) || !isa<MemRefType>(target)) {
    remark::missed(op.getLoc(), remarkOptions)
        << remark::add("kept a copy of unranked memrefs");
    return;
  }
  remark::passed(op.getLoc(), remarkOptions)
      << remark::add("expanded a strided copy");
  rewriter.setInsertionPoint(op);
  linalg::makeMemRefCopyOp(rewriter, op.getLoc(), op.getSource(),
                           op.getTarget());
  rewriter.eraseOp(op);
}

/// Whether one dimension becomes several of dynamic size.
static bool hasDynamicGroup(memref::ExpandShapeOp op) {
  MemRefType type = op.getResultType();
  return llvm::any_of(op.getReassociationIndices(),
                      [&](const ReassociationIndices &group) {
                        return llvm::count_if(group, [&](int64_t dim) {
                                 return type.isDynamicDim(dim);
                               }) > 1;
                      });
}

static OpFoldResult multiply(OpBuilder &builder, Location loc, OpFoldResult lhs,
                             OpFoldResult rhs) {
  std::optional<int64_t> left = getConstantIntValue(lhs);
  std::optional<int64_t> right = getConstantIntValue(rhs);
  if (left && right)
    return builder.getIndexAttr(*left * *right);
  return arith::MulIOp::create(
             builder, loc, getValueOrCreateConstantIndexOp(builder, loc, lhs),
             getValueOrCreateConstantIndexOp(builder, loc, rhs))
      .getResult();
}

/// The same elements under the sizes and strides that the reshape means.
static void expand(memref::ExpandShapeOp op, IRRewriter &rewriter) {
  if (!hasDynamicGroup(op))
    return;
  Location loc = op.getLoc();
  rewriter.setInsertionPoint(op);
  auto source =
      memref::ExtractStridedMetadataOp::create(rewriter, loc, op.getSrc());
  SmallVector<OpFoldResult> sizes = op.getMixedOutputShape();
  SmallVector<OpFoldResult> strides(sizes.size());
  for (auto [group, stride] : llvm::zip_equal(
           op.getReassociationIndices(), source.getConstifiedMixedStrides())) {
    OpFoldResult next = stride;
    for (int64_t dim : llvm::reverse(group)) {
      strides[dim] = next;
      if (dim != group.front())
        next = multiply(rewriter, loc, next, sizes[dim]);
    }
  }
  rewriter.replaceOpWithNewOp<memref::ReinterpretCastOp>(
      op, op.getResultType(), source.getBaseBuffer(),
      source.getConstifiedMixedOffset(), sizes, strides);
}

namespace {
struct QtxExpandCopiesPass
    : qtx::impl::QtxExpandCopiesPassBase<QtxExpandCopiesPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](memref::CopyOp op) { expand(op, rewriter); });
    getOperation()->walk(
        [&](memref::ExpandShapeOp op) { expand(op, rewriter); });
  }
};
} // namespace
