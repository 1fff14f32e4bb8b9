//===- Quantization.cpp - Quantization to linalg --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "qtx/Conversion/QtxToLinalg/QtxToLinalg.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"

using namespace mlir;
using namespace qtx;

namespace {

struct LowerQuantize : OpRewritePattern<QuantizeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(QuantizeOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    replaceWithCast(rewriter, op,
                    quantizeTensor(builder, op, op.getQuantEdges().front(),
                                   op.getX()));
    return success();
  }
};

struct LowerDequantize : OpRewritePattern<DequantizeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(DequantizeOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    replaceWithCast(rewriter, op,
                    dequantizeTensor(builder, op, op.getQuantEdges().front()));
    return success();
  }
};

} // namespace

void qtx::populateQuantizationToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerQuantize, LowerDequantize>(patterns.getContext());
}
