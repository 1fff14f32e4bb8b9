//===- ResolveSizes.cpp - Sizes as expressions of the dims ----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "qtx/Target/Passes.h"

namespace qtx {
#define GEN_PASS_DEF_QTXRESOLVESIZESPASS
#include "qtx/Target/Passes.h.inc"
} // namespace qtx

using namespace mlir;

static bool keepsSizes(scf::ForOp loop, unsigned index);

/// The tensor that `value` is after some of its elements were written; null if
/// the operation does not say.
static Value getDestination(Value value) {
  auto result = dyn_cast_or_null<OpResult>(value);
  if (!result)
    return {};
  Operation *owner = result.getOwner();
  if (auto op = dyn_cast<DestinationStyleOpInterface>(owner))
    return op.getTiedOpOperand(result)->get();
  unsigned index = result.getResultNumber();
  auto loop = dyn_cast<scf::ForOp>(owner);
  return loop && keepsSizes(loop, index) ? loop.getInitArgs()[index] : Value();
}

/// Whether all iterations of `loop` hand on a tensor of the same sizes.
static bool keepsSizes(scf::ForOp loop, unsigned index) {
  Value value = loop.getYieldedValues()[index];
  while (value && value != loop.getRegionIterArg(index))
    value = getDestination(value);
  return bool(value);
}

/// What a loop carries has the sizes that it starts with.
static Value getCarriedInit(Value value) {
  if (isa<OpResult>(value))
    return value.getDefiningOp<scf::ForOp>() ? getDestination(value) : Value();
  auto argument = cast<BlockArgument>(value);
  auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
  if (!loop || argument == loop.getInductionVar())
    return {};
  unsigned index = argument.getArgNumber() - loop.getNumInductionVars();
  return keepsSizes(loop, index) ? loop.getInitArgs()[index] : Value();
}

namespace {
/// Upstream has this of loops that insert slices, not elements.
struct SizeOfCarried : OpRewritePattern<tensor::DimOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(tensor::DimOp op,
                                PatternRewriter &rewriter) const override {
    Value init = getCarriedInit(op.getSource());
    if (!init)
      return failure();
    rewriter.modifyOpInPlace(op, [&] { op.getSourceMutable().assign(init); });
    return success();
  }
};

struct QtxResolveSizesPass
    : qtx::impl::QtxResolveSizesPassBase<QtxResolveSizesPass> {
  /// Upstream's patterns never come to an end on a dimension that a tensor does
  /// not have.
  static WalkResult checkDim(tensor::DimOp op) {
    std::optional<int64_t> index = op.getConstantIndex();
    auto type = dyn_cast<RankedTensorType>(op.getSource().getType());
    if (!index || !type || (*index >= 0 && *index < type.getRank()))
      return WalkResult::advance();
    return op.emitOpError() << "expected a dimension below " << type.getRank()
                            << ", found " << *index;
  }

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    if (getOperation()->walk(checkDim).wasInterrupted())
      return signalPassFailure();
    RewritePatternSet patterns(context);
    patterns.add<SizeOfCarried>(context);
    memref::populateResolveRankedShapedTypeResultDimsPatterns(patterns);
    tensor::DimOp::getCanonicalizationPatterns(patterns, context);
    GreedyRewriteConfig config;
    config.setMaxIterations(GreedyRewriteConfig::kNoLimit);
    if (failed(
            applyPatternsGreedily(getOperation(), std::move(patterns), config)))
      signalPassFailure();
  }
};
} // namespace
