//===- AttentionFolds.cpp - Canonicalisation of attention -----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// ClippedSoftmaxOp
//===----------------------------------------------------------------------===//

/// clip (0, 1) is softmax.
LogicalResult ClippedSoftmaxOp::canonicalize(ClippedSoftmaxOp op,
                                             PatternRewriter &rewriter) {
  if (!op.getGamma().isZero() || !op.getZeta().isExactlyValue(1.0))
    return failure();
  rewriter.replaceOpWithNewOp<SoftmaxOp>(op, op.getX());
  return success();
}

//===----------------------------------------------------------------------===//
// SplitHeadsOp and MergeHeadsOp
//===----------------------------------------------------------------------===//

OpFoldResult SplitHeadsOp::fold(FoldAdaptor) {
  auto merge = getX().getDefiningOp<MergeHeadsOp>();
  if (merge && merge.getX().getType() == getY().getType())
    return merge.getX();
  return {};
}

OpFoldResult MergeHeadsOp::fold(FoldAdaptor) {
  auto split = getX().getDefiningOp<SplitHeadsOp>();
  if (split && split.getX().getType() == getY().getType())
    return split.getX();
  return {};
}

//===----------------------------------------------------------------------===//
// AttentionOp
//===----------------------------------------------------------------------===//

/// Whether `mask` is a constant that excludes no key: true, or 0.
static bool isNeutralMask(Value mask) {
  DenseElementsAttr elements;
  if (!matchPattern(mask, m_Constant(&elements)) || !elements.isSplat())
    return false;
  if (elements.getElementType().isF32())
    return elements.getSplatValue<APFloat>().isZero();
  return elements.getSplatValue<APInt>().isOne();
}

namespace {

struct DropNeutralMask : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.getMask() || !isNeutralMask(op.getMask()))
      return failure();
    rewriter.modifyOpInPlace(op, [&] { op.getMaskMutable().clear(); });
    return success();
  }
};

/// The only query, at the end of the keys, sees all of them: decoding.
struct DropCausalOfLastQuery : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.getCausal() || op.getOffset() ||
        op.getQueryType().getDimSize(2) != 1)
      return failure();
    rewriter.modifyOpInPlace(op, [&] { op.setCausal(false); });
    return success();
  }
};

} // namespace

void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *context) {
  patterns.add<DropNeutralMask, DropCausalOfLastQuery>(context);
}
