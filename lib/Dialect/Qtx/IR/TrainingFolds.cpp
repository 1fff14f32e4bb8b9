//===- TrainingFolds.cpp - Folds of training operations -------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"
#include "qtx/Dialect/Qtx/IR/TrainingOps.h"

using namespace mlir;
using namespace qtx;

namespace {

/// A mask that freezes nothing goes away, with the integers it selects from.
template <typename OpT> struct DropFalseMask : OpRewritePattern<OpT> {
  using OpRewritePattern<OpT>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpT op,
                                PatternRewriter &rewriter) const override {
    if (!op.getFrozen() || !matchPattern(op.getFrozen(), m_Zero()))
      return failure();
    rewriter.modifyOpInPlace(op, [&] {
      op.getFrozenMutable().clear();
      op.getFrozenIntMutable().clear();
    });
    return success();
  }
};

} // namespace

void FakeQuantizeOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                                 MLIRContext *context) {
  patterns.add<DropFalseMask<FakeQuantizeOp>>(context);
}

void FakeQuantizeBackwardOp::getCanonicalizationPatterns(
    RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<DropFalseMask<FakeQuantizeBackwardOp>>(context);
}

void DampeningLossOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                                  MLIRContext *context) {
  patterns.add<DropFalseMask<DampeningLossOp>>(context);
}

void DampeningLossBackwardOp::getCanonicalizationPatterns(
    RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<DropFalseMask<DampeningLossBackwardOp>>(context);
}
