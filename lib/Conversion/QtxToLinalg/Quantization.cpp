//===- Quantization.cpp - Quantization to linalg --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Conversion/QtxToLinalg/QtxToLinalg.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include <limits>

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
    replaceWithCast(
        rewriter, op,
        quantizeTensor(builder, op, op.getQuantEdges().front(), op.getX()));
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

struct LowerRequantize : OpRewritePattern<RequantizeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RequantizeOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    SmallVector<QuantEdge> edges = op.getQuantEdges();
    Value real = dequantizeTensor(builder, op, edges[0]);
    replaceWithCast(rewriter, op, quantizeTensor(builder, op, edges[1], real));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// DynamicQuantizeOp
//===----------------------------------------------------------------------===//

/// Parameters from the ranges of groups of the last axis (Numerics.md,
/// "Parameters from ranges"). The tensors are [leading..., groups].
class DynamicParams {
public:
  DynamicParams(ImplicitLocOpBuilder &builder, Value x,
                const QuantParams &params)
      : builder(builder), x(x), params(params), sizes(getSizes(builder, x)) {
    sizes.back() = builder.getIndexAttr(params.getNumGroups());
    SmallVector<int32_t> ends = {0};
    for (int64_t size : params.getGroupSizes())
      ends.push_back(ends.back() + size);
    boundaries = createConstant(builder, {int64_t(ends.size())}, ends);
  }

  /// `min(min x, 0)`, or `max(max x, 1e-8)`, clamped.
  Value createBound(bool isMax) {
    return createElementwise(builder, sizes, builder.getF32Type(), {},
                             [&](ImplicitLocOpBuilder &b, ValueRange) -> Value {
                               return createScalarBound(b, isMax);
                             });
  }

  Value createScale(Value lo, Value hi, bool symmetric) {
    return createElementwise(
        builder, sizes, builder.getF32Type(),
        {withIdentityMap(lo), withIdentityMap(hi)},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          if (symmetric) {
            Value magnitude = arith::MaxNumFOp::create(
                b, arith::NegFOp::create(b, args[0]), args[1]);
            return arith::DivFOp::create(b, magnitude,
                                         createF32(b, params.getStorageMax()));
          }
          Value range = arith::SubFOp::create(b, args[1], args[0]);
          return arith::DivFOp::create(
              b, range,
              createF32(b, params.getStorageMax() - params.getStorageMin()));
        });
  }

  /// clamp(roundeven(-lo * (1 / s)) + qmin, qmin, qmax)
  Value createZeroPoint(Value lo, Value scale) {
    return createElementwise(
        builder, sizes, builder.getI32Type(),
        {withIdentityMap(lo), withIdentityMap(scale)},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value reciprocal =
              arith::DivFOp::create(b, createF32(b, 1.0), args[1]);
          Value steps = math::RoundEvenOp::create(
              b, arith::MulFOp::create(b, arith::NegFOp::create(b, args[0]),
                                       reciprocal));
          Value min =
              arith::ConstantIntOp::create(b, params.getStorageMin(), 32);
          Value max =
              arith::ConstantIntOp::create(b, params.getStorageMax(), 32);
          Value zeroPoint = arith::AddIOp::create(
              b, arith::FPToSIOp::create(b, b.getI32Type(), steps), min);
          return arith::MinSIOp::create(
              b, arith::MaxSIOp::create(b, zeroPoint, min), max);
        });
  }

private:
  /// The bound of one group, in the body of a generic operation.
  Value createScalarBound(ImplicitLocOpBuilder &b, bool isMax) {
    SmallVector<Value> indices;
    for (size_t dim = 0; dim < sizes.size(); ++dim)
      indices.push_back(linalg::IndexOp::create(b, dim));
    Value one = arith::ConstantIndexOp::create(b, 1);
    auto boundaryAt = [&](Value group) -> Value {
      Value end = tensor::ExtractOp::create(b, boundaries, group);
      return arith::IndexCastOp::create(b, b.getIndexType(), end);
    };
    Value begin = boundaryAt(indices.back());
    Value end = boundaryAt(arith::AddIOp::create(b, indices.back(), one));
    Value init = createF32(b, isMax ? 1e-8 : 0.0);
    auto loop = scf::ForOp::create(
        b, begin, end, one, init,
        [&](OpBuilder &nested, Location loc, Value channel, ValueRange args) {
          ImplicitLocOpBuilder inner(loc, nested);
          indices.back() = channel;
          Value value = tensor::ExtractOp::create(inner, x, indices);
          scf::YieldOp::create(inner,
                               createExtremum(inner, args[0], value, isMax));
        });
    // Half of the largest number, so that the difference of the bounds is
    // finite.
    double limit = std::numeric_limits<float>::max() / 2;
    return createExtremum(b, loop.getResult(0),
                          createF32(b, isMax ? limit : -limit), !isMax);
  }

  /// The larger or smaller number; NaN does not count.
  static Value createExtremum(ImplicitLocOpBuilder &b, Value lhs, Value rhs,
                              bool isMax) {
    if (isMax)
      return arith::MaxNumFOp::create(b, lhs, rhs);
    return arith::MinNumFOp::create(b, lhs, rhs);
  }

  ImplicitLocOpBuilder &builder;
  Value x;
  const QuantParams &params;
  SmallVector<OpFoldResult> sizes;
  Value boundaries;
};

struct LowerDynamicQuantize : OpRewritePattern<DynamicQuantizeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(DynamicQuantizeOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    SmallVector<QuantEdge> edges = op.getQuantEdges();
    QuantParams params = *getQuantParams(op, edges[1]);
    Value real = dequantizeTensor(builder, op, edges[0]);
    DynamicParams dynamic(builder, real, params);
    Value lo = dynamic.createBound(/*isMax=*/false);
    Value hi = dynamic.createBound(/*isMax=*/true);
    SmallVector<Value> results(2);
    results[1] = dynamic.createScale(lo, hi, op.getSymmetric());
    if (!op.getSymmetric())
      results.push_back(dynamic.createZeroPoint(lo, results[1]));
    QuantEdge y = edges[1];
    y.scale = results[1];
    y.zeroPoint = op.getSymmetric() ? Value() : results[2];
    results[0] = quantizeTensor(builder, op, y, real);
    for (auto [result, type] : llvm::zip_equal(results, op.getResultTypes()))
      if (result.getType() != type)
        result = tensor::CastOp::create(builder, type, result);
    rewriter.replaceOp(op, results);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// PermuteOp
//===----------------------------------------------------------------------===//

struct LowerPermute : OpRewritePattern<PermuteOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(PermuteOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    RankedTensorType type = op.getX().getType();
    AffineMap channel = AffineMap::get(type.getRank(), 0,
                                       builder.getAffineDimExpr(op.getDim()));
    SmallVector<OpFoldResult> sizes = getSizes(builder, op.getX());
    Value size = getValueOrCreateConstantIndexOp(builder, op.getLoc(),
                                                 sizes[op.getDim()]);
    bool isConstant = op.getConstantIndices().has_value();
    Value result = createElementwise(
        builder, sizes, type.getElementType(), {{op.getIndices(), channel}},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          SmallVector<Value> indices;
          for (int64_t dim = 0; dim < type.getRank(); ++dim)
            indices.push_back(linalg::IndexOp::create(b, dim));
          Value index = args[0];
          if (!index.getType().isIndex())
            index = arith::IndexCastOp::create(b, b.getIndexType(), index);
          indices[op.getDim()] = isConstant ? index : clamp(b, index, size);
          return tensor::ExtractOp::create(b, op.getX(), indices);
        });
    replaceWithCast(rewriter, op, result);
    return success();
  }

private:
  /// The nearest index of an axis of `size` channels.
  static Value clamp(ImplicitLocOpBuilder &b, Value index, Value size) {
    Value zero = arith::ConstantIndexOp::create(b, 0);
    Value last =
        arith::SubIOp::create(b, size, arith::ConstantIndexOp::create(b, 1));
    return arith::MaxSIOp::create(b, arith::MinSIOp::create(b, index, last),
                                  zero);
  }
};

//===----------------------------------------------------------------------===//
// ObserveOp
//===----------------------------------------------------------------------===//

/// The smallest or largest counted value of every channel; the identity of the
/// extremum where nothing counts.
Value createChannelExtremum(ImplicitLocOpBuilder &builder, ObserveOp op,
                            bool isMax) {
  int64_t rank = op.getX().getType().getRank();
  float infinity = std::numeric_limits<float>::infinity();
  FloatAttr identity = builder.getF32FloatAttr(isMax ? -infinity : infinity);
  AffineMap channel =
      AffineMap::get(rank, 0, builder.getAffineDimExpr(op.getDim()));
  SmallVector<MappedTensor> inputs = {withIdentityMap(op.getX())};
  if (Value mask = op.getMask()) {
    int64_t maskRank = cast<ShapedType>(mask.getType()).getRank();
    AffineMap all = builder.getMultiDimIdentityMap(rank);
    inputs.push_back({mask, all.getSliceMap(0, maskRank)});
  }
  OpFoldResult channels = getSizes(builder, op.getX())[op.getDim()];
  return createReduction(
      builder, createSplat(builder, channels, identity), channel, inputs,
      [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        Value value = args[0];
        if (op.getMask())
          value = arith::SelectOp::create(
              b, args[1], value, arith::ConstantOp::create(b, identity));
        if (isMax)
          return arith::MaxNumFOp::create(b, value, args.back());
        return arith::MinNumFOp::create(b, value, args.back());
      });
}

/// The updated bound from the observed range and the state.
Value updateBound(ImplicitLocOpBuilder &b, ObserveOp op, Value bound,
                  Value state, Value isObserved, Value hasState) {
  float momentum = op.getMomentum() ? op.getMomentum()->convertToFloat() : 0.0f;
  Value updated = bound;
  if (op.getObserver() == Observer::Running) {
    Value share =
        arith::MulFOp::create(b, createF32(b, 1.0f - momentum), bound);
    Value average =
        math::FmaOp::create(b, createF32(b, momentum), state, share);
    updated = arith::SelectOp::create(b, hasState, average, bound);
  }
  return arith::SelectOp::create(b, isObserved, updated, state);
}

struct LowerObserve : OpRewritePattern<ObserveOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ObserveOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    Value lo = createChannelExtremum(builder, op, /*isMax=*/false);
    Value hi = createChannelExtremum(builder, op, /*isMax=*/true);
    SmallVector<Value> results = {createUpdate(builder, op, lo, hi, false),
                                  createUpdate(builder, op, lo, hi, true)};
    for (Value &result : results)
      if (result.getType() != op.getLo().getType())
        result = tensor::CastOp::create(builder, op.getLo().getType(), result);
    rewriter.replaceOp(op, results);
    return success();
  }

private:
  static Value createUpdate(ImplicitLocOpBuilder &builder, ObserveOp op,
                            Value lo, Value hi, bool isMax) {
    return createElementwise(
        builder, getSizes(builder, lo), builder.getF32Type(),
        {withIdentityMap(lo), withIdentityMap(hi), withIdentityMap(op.getLo()),
         withIdentityMap(op.getHi())},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value bound = args[isMax], state = args[2 + isMax];
          if (op.getObserver() == Observer::MinMax)
            return isMax ? Value(arith::MaxNumFOp::create(b, bound, state))
                         : Value(arith::MinNumFOp::create(b, bound, state));
          auto ordered = arith::CmpFPredicate::OLE;
          Value isObserved =
              arith::CmpFOp::create(b, ordered, args[0], args[1]);
          Value hasState = arith::CmpFOp::create(b, ordered, args[2], args[3]);
          return updateBound(b, op, bound, state, isObserved, hasState);
        });
  }
};

} // namespace

void qtx::populateQuantizationToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerQuantize, LowerDequantize, LowerRequantize,
               LowerDynamicQuantize, LowerPermute, LowerObserve>(
      patterns.getContext());
}
