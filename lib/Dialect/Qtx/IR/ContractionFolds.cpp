//===- ContractionFolds.cpp - Canonicalisation of contractions ------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FoldUtils.h"
#include "mlir/IR/Matchers.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"

using namespace mlir;
using namespace qtx;

namespace {

/// A bias of +0.0 is what a sum without bias starts from. One of -0.0 is not:
/// it survives where every product is a zero of negative sign.
struct DropZeroBias : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp op,
                                PatternRewriter &rewriter) const override {
    DenseFPElementsAttr bias;
    if (!op.getBias() || !matchPattern(op.getBias(), m_Constant(&bias)) ||
        !bias.isSplat() || !bias.getSplatValue<APFloat>().isPosZero())
      return failure();
    rewriter.modifyOpInPlace(op, [&] { op.getBiasMutable().clear(); });
    return success();
  }
};

/// Zero points of zero need no seed, and a seed of zero says the same.
struct DropZeroSeed : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp op,
                                PatternRewriter &rewriter) const override {
    DenseIntElementsAttr seed;
    if (!op.getSeed() || !matchPattern(op.getSeed(), m_Constant(&seed)) ||
        !seed.isSplat() || !seed.getSplatValue<APInt>().isZero())
      return failure();
    QuantEdge x = op.getQuantEdges().front();
    QuantParams params = *getQuantParams(op, x);
    bool isCentered =
        params.isDynamic() ? !x.zeroPoint : params.hasOnlyZeroZeroPoints();
    if (!isCentered)
      return failure();
    rewriter.modifyOpInPlace(op, [&] { op.getSeedMutable().clear(); });
    return success();
  }
};

} // namespace

void LinearOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                           MLIRContext *context) {
  patterns.add<DropZeroBias, DropZeroSeed>(context);
  patterns.add<UsePerTensorType<LinearOp>>(
      context, 0, &LinearOp::getXScaleMutable, &LinearOp::getXZeroPointMutable);
  patterns.add<UsePerTensorType<LinearOp>>(
      context, 1, &LinearOp::getYScaleMutable, &LinearOp::getYZeroPointMutable);
}

void BatchMatmulOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                                MLIRContext *context) {
  patterns.add<UsePerTensorType<BatchMatmulOp>>(
      context, 0, &BatchMatmulOp::getAScaleMutable,
      &BatchMatmulOp::getAZeroPointMutable);
  patterns.add<UsePerTensorType<BatchMatmulOp>>(
      context, 1, &BatchMatmulOp::getBScaleMutable,
      &BatchMatmulOp::getBZeroPointMutable);
  patterns.add<UsePerTensorType<BatchMatmulOp>>(
      context, 2, &BatchMatmulOp::getYScaleMutable,
      &BatchMatmulOp::getYZeroPointMutable);
}
