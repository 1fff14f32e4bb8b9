//===- NormalisationFolds.cpp - Folds of normalisation operations ---------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"

using namespace mlir;
using namespace qtx;

namespace {

/// Multiplication with ones is exact, so a gamma of ones is dropped. A beta of
/// zeros stays: it turns -0 into 0.
template <typename OpTy> struct DropUnitGamma : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    if (!op.getGamma() || !matchPattern(op.getGamma(), m_OneFloat()))
      return rewriter.notifyMatchFailure(op, "requires a gamma of ones");
    rewriter.modifyOpInPlace(op, [&] { op.getGammaMutable().clear(); });
    return success();
  }
};

} // namespace

void LayerNormOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *context) {
  patterns.add<DropUnitGamma<LayerNormOp>>(context);
}

void RmsNormOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<DropUnitGamma<RmsNormOp>>(context);
}

/// x * 1 - 0 = x on floats, for every x; a shift of +0 would turn -0 into 0.
OpFoldResult ScaleShiftOp::fold(FoldAdaptor) {
  if (getX().getType() == getY().getType() &&
      getX().getType().getElementType().isF32() &&
      matchPattern(getGain(), m_OneFloat()) &&
      matchPattern(getShift(), m_NegZeroFloat()))
    return getX();
  return {};
}

/// relu(relu(x)) = relu(x) on floats.
OpFoldResult ReluOp::fold(FoldAdaptor) {
  auto inner = getX().getDefiningOp<ReluOp>();
  if (inner && getX().getType().getElementType().isF32() &&
      getX().getType() == getY().getType())
    return getX();
  return {};
}
