//===- QuantizationFolds.cpp - Folding of quantization operations ---------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FoldUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/PatternMatch.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include <limits>

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Equal parameters
//===----------------------------------------------------------------------===//

/// Whether quantize(dequantize(q)) is q for every stored q (Numerics.md,
/// "Requantize"): the rounding errors of both steps stay below half a step, and
/// no product with a scale overflows.
static bool roundTripsExactly(const QuantParams &params) {
  if (params.getStorageType().getWidth() > 16)
    return false;
  // Run-time scales are required to be such that this holds.
  if (params.isDynamic())
    return true;
  double range = params.getStorageMax() - params.getStorageMin();
  for (int64_t group = 0, e = params.getNumGroups(); group < e; ++group)
    if (params.getScale(group) * range > std::numeric_limits<float>::max())
      return false;
  return true;
}

/// Whether both edges have the same parameters, known or by the same operands.
static bool haveEqualParams(Operation *lhsOp, const QuantEdge &lhs,
                            Operation *rhsOp, const QuantEdge &rhs) {
  return getQuantParams(lhsOp, lhs)->getType() ==
             getQuantParams(rhsOp, rhs)->getType() &&
         lhs.scale == rhs.scale && lhs.zeroPoint == rhs.zeroPoint;
}

OpFoldResult QuantizeOp::fold(FoldAdaptor) {
  auto source = getX().getDefiningOp<DequantizeOp>();
  if (!source || source.getX().getType() != getY().getType())
    return {};
  QuantEdge from = source.getQuantEdges().front(), to = getQuantEdges().front();
  if (!haveEqualParams(source, from, *this, to) ||
      !roundTripsExactly(*getQuantParams(*this, to)))
    return {};
  return source.getX();
}

OpFoldResult RequantizeOp::fold(FoldAdaptor) {
  if (getX().getType() != getY().getType())
    return {};
  QuantEdge from = getQuantEdges()[0], to = getQuantEdges()[1];
  if (!haveEqualParams(*this, from, *this, to) ||
      !roundTripsExactly(*getQuantParams(*this, to)))
    return {};
  return getX();
}

//===----------------------------------------------------------------------===//
// One group is per tensor
//===----------------------------------------------------------------------===//

void QuantizeOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                             MLIRContext *context) {
  patterns.add<UsePerTensorType<QuantizeOp>>(context, 0,
                                             &QuantizeOp::getYScaleMutable,
                                             &QuantizeOp::getYZeroPointMutable);
}

void DequantizeOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                               MLIRContext *context) {
  patterns.add<UsePerTensorType<DequantizeOp>>(
      context, 0, &DequantizeOp::getXScaleMutable,
      &DequantizeOp::getXZeroPointMutable);
}

void RequantizeOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                               MLIRContext *context) {
  patterns.add<UsePerTensorType<RequantizeOp>>(
      context, 0, &RequantizeOp::getXScaleMutable,
      &RequantizeOp::getXZeroPointMutable);
  patterns.add<UsePerTensorType<RequantizeOp>>(
      context, 1, &RequantizeOp::getYScaleMutable,
      &RequantizeOp::getYZeroPointMutable);
}

//===----------------------------------------------------------------------===//
// PermuteOp
//===----------------------------------------------------------------------===//

/// Constants of more elements are not permuted here: a copy costs more than it
/// saves at compile time.
static constexpr int64_t kMaxFoldedElements = 4096;

static bool isIdentity(ArrayRef<int64_t> indices) {
  for (auto [position, index] : llvm::enumerate(indices))
    if (index != int64_t(position))
      return false;
  return true;
}

/// `elements` with the channels of dimension `dim` reordered.
static DenseElementsAttr permuteElements(DenseElementsAttr elements,
                                         ArrayRef<int64_t> indices,
                                         int64_t dim) {
  ArrayRef<int64_t> shape = elements.getType().getShape();
  int64_t inner = 1;
  for (int64_t size : shape.drop_front(dim + 1))
    inner *= size;
  int64_t channels = shape[dim];
  SmallVector<Attribute> from(elements.getValues<Attribute>()), to;
  to.reserve(from.size());
  for (int64_t linear = 0, e = from.size(); linear < e; ++linear) {
    int64_t channel = linear / inner % channels;
    to.push_back(from[linear + (indices[channel] - channel) * inner]);
  }
  return DenseElementsAttr::get(elements.getType(), to);
}

OpFoldResult PermuteOp::fold(FoldAdaptor adaptor) {
  std::optional<SmallVector<int64_t>> indices = getConstantIndices();
  if (!indices)
    return {};
  if (isIdentity(*indices) && getX().getType() == getY().getType())
    return getX();
  auto elements = dyn_cast_if_present<DenseElementsAttr>(adaptor.getX());
  if (!elements || elements.getType() != getY().getType())
    return {};
  if (elements.isSplat())
    return elements;
  if (elements.getNumElements() > kMaxFoldedElements)
    return {};
  return permuteElements(elements, *indices, getDim());
}

namespace {
/// permute(permute(x, p), q) is permute(x, p[q]).
struct ComposePermutes : OpRewritePattern<PermuteOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(PermuteOp op,
                                PatternRewriter &rewriter) const override {
    auto source = op.getX().getDefiningOp<PermuteOp>();
    if (!source || source.getAxis() != op.getAxis())
      return failure();
    std::optional<SmallVector<int64_t>> outer = op.getConstantIndices(),
                                        inner = source.getConstantIndices();
    if (!outer || !inner)
      return failure();
    SmallVector<Attribute> composed;
    auto type = cast<RankedTensorType>(op.getIndices().getType());
    for (int64_t index : *outer)
      composed.push_back(
          IntegerAttr::get(type.getElementType(), (*inner)[index]));
    type = type.clone({int64_t(composed.size())});
    Value indices = arith::ConstantOp::create(
        rewriter, op.getLoc(), DenseElementsAttr::get(type, composed));
    rewriter.replaceOpWithNewOp<PermuteOp>(op, op.getType(), source.getX(),
                                           indices, op.getAxis());
    return success();
  }
};
} // namespace

void PermuteOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *context) {
  patterns.add<ComposePermutes>(context);
}
