//===- Attention.cpp - Attention to linalg --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Conversion/QtxToLinalg/QtxToLinalg.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Support/Polynomials.h"
#include <limits>

using namespace mlir;
using namespace qtx;

namespace {

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

/// The numerators exp(s - m) of a softmax along the last axis, and the factor
/// 1 / sum of every row, which is 0 for a row without keys.
struct SoftmaxParts {
  Value numerators;
  Value factors;
};

/// The map that drops the last of `rank` dimensions.
AffineMap getRowMap(MLIRContext *context, int64_t rank) {
  return AffineMap::getMultiDimIdentityMap(rank, context).dropResult(rank - 1);
}

/// `value` in every element of the shape of the rows.
Value createRows(ImplicitLocOpBuilder &builder, Value scores, double value) {
  SmallVector<OpFoldResult> sizes = getSizes(builder, scores);
  sizes.pop_back();
  return createSplat(builder, sizes,
                     builder.getF32FloatAttr(static_cast<float>(value)));
}

/// What the scores of each row are shifted by: the maximum, that of the sink
/// included, or 0 in a row of -inf alone, whose numerators then are all 0.
Value createShifts(ImplicitLocOpBuilder &builder, Value scores, Value sinks) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  int64_t rank = cast<RankedTensorType>(scores.getType()).getRank();
  Value maxima = createReduction(
      builder, sinks ? sinks : createRows(builder, scores, -infinity),
      getRowMap(builder.getContext(), rank), {withIdentityMap(scores)},
      [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        return arith::MaximumFOp::create(b, args[1], args[0]);
      });
  return createElementwise(
      builder, getSizes(builder, maxima), builder.getF32Type(),
      {withIdentityMap(maxima)},
      [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ,
                                              args[0], createF32(b, -infinity));
        return arith::SelectOp::create(b, isEmpty, createF32(b, 0.0), args[0]);
      });
}

/// 1 / sum, and 0 for an empty sum.
Value createFactors(ImplicitLocOpBuilder &builder, Value sums) {
  return createElementwise(
      builder, getSizes(builder, sums), builder.getF32Type(),
      {withIdentityMap(sums)},
      [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ,
                                              args[0], createF32(b, 0.0));
        Value factor = arith::DivFOp::create(b, createF32(b, 1.0), args[0]);
        return arith::SelectOp::create(b, isEmpty, createF32(b, 0.0), factor);
      });
}

/// `sinks`, when not null, has the shape of the rows: the logit of one more key
/// per row, which has no value.
SoftmaxParts createSoftmaxParts(ImplicitLocOpBuilder &builder, Value scores,
                                Value sinks) {
  int64_t rank = cast<RankedTensorType>(scores.getType()).getRank();
  AffineMap rowMap = getRowMap(builder.getContext(), rank);
  Value shifts = createShifts(builder, scores, sinks);
  auto exponent = [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
    return createExp(b, arith::SubFOp::create(b, args[0], args[1]));
  };
  Value numerators = createElementwise(
      builder, getSizes(builder, scores), builder.getF32Type(),
      {withIdentityMap(scores), {shifts, rowMap}}, exponent);
  Value first =
      sinks ? createElementwise(
                  builder, getSizes(builder, shifts), builder.getF32Type(),
                  {withIdentityMap(sinks), withIdentityMap(shifts)}, exponent)
            : createRows(builder, scores, 0.0);
  Value sums =
      createReduction(builder, first, rowMap, {withIdentityMap(numerators)},
                      [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                        return arith::AddFOp::create(b, args[1], args[0]);
                      });
  return {numerators, createFactors(builder, sums)};
}

/// The probabilities numerator * factor, after `post`.
Value createProbabilities(
    ImplicitLocOpBuilder &builder, const SoftmaxParts &parts,
    function_ref<Value(ImplicitLocOpBuilder &, Value)> post) {
  int64_t rank = cast<RankedTensorType>(parts.numerators.getType()).getRank();
  return createElementwise(
      builder, getSizes(builder, parts.numerators), builder.getF32Type(),
      {withIdentityMap(parts.numerators),
       {parts.factors, getRowMap(builder.getContext(), rank)}},
      [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        return post(b, arith::MulFOp::create(b, args[0], args[1]));
      });
}

struct LowerSoftmax : OpRewritePattern<SoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(SoftmaxOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    SoftmaxParts parts = createSoftmaxParts(builder, op.getX(), {});
    replaceWithCast(
        rewriter, op,
        createProbabilities(builder, parts,
                            [](ImplicitLocOpBuilder &, Value p) { return p; }));
    return success();
  }
};

struct LowerClippedSoftmax : OpRewritePattern<ClippedSoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ClippedSoftmaxOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    SoftmaxParts parts = createSoftmaxParts(builder, op.getX(), {});
    replaceWithCast(rewriter, op,
                    createProbabilities(
                        builder, parts, [&](ImplicitLocOpBuilder &b, Value p) {
                          return clipScalar(b, p, op.getGamma(), op.getZeta());
                        }));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// Lowers one `qtx.attention`, stage by stage. Scores have the dimensions
/// (b, h, i, j), contexts (b, h, i, c); the contractions add the contracted
/// one.
class AttentionLowering {
public:
  AttentionLowering(AttentionOp op, PatternRewriter &rewriter)
      : op(op), builder(op.getLoc(), rewriter) {
    for (int64_t dim = 0; dim < 5; ++dim)
      dims.push_back(builder.getAffineDimExpr(dim));
    keyHead = dims[1].floorDiv(op.getHeadsPerKeyValueHead());
    contextSizes = getSizes(builder, op.getQuery());
    scoreSizes = contextSizes;
    scoreSizes.back() = getSizes(builder, op.getKey())[2];
    contextSizes.back() = builder.getIndexAttr(op.getValueSize());
  }

  /// The gated context in fp32.
  Value lower() {
    Value scores = maskScores(
        quantizeStage(capScores(createScores()), op.getScoresParams()));
    SoftmaxParts parts = createSoftmaxParts(builder, scores, createSinks());
    Value probs = parts.numerators;
    if (!op.getUnnormalised())
      probs = createProbabilities(
          builder, parts, [&](ImplicitLocOpBuilder &b, Value p) {
            return op.isClipped()
                       ? clipScalar(b, p, op.getGamma(), op.getZeta())
                       : p;
          });
    Value context = createContext(probs);
    if (op.getUnnormalised())
      context = createElementwise(
          builder, contextSizes, builder.getF32Type(),
          {withIdentityMap(context),
           {parts.factors, getRowMap(builder.getContext(), 4)}},
          [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
            return arith::MulFOp::create(b, args[0], args[1]);
          });
    return applyGate(quantizeStage(context, op.getContextParams()));
  }

private:
  AffineMap getMap(int64_t numDims, ArrayRef<AffineExpr> results) {
    return AffineMap::get(numDims, 0, results, builder.getContext());
  }

  //===--------------------------------------------------------------------===//
  // Contractions
  //===--------------------------------------------------------------------===//

  /// An operand of a contraction: its values, its map to the space (b, h, i, j
  /// or c, contracted) and, for integers, its parameters.
  struct Operand {
    Value value;
    AffineMap map;
    std::optional<QuantParams> params;
    /// The head and channel that its groups refer to.
    AffineExpr head, channel;
  };

  /// A tensor of one value per group element of `params`: rank 0 or [channels].
  template <typename T>
  MappedTensor createParam(const Operand &operand, int64_t numDims,
                           function_ref<T(int64_t)> get) {
    const QuantParams &params = *operand.params;
    if (params.isPerTensor())
      return {createConstant(builder, {}, ArrayRef<T>{get(0)}),
              getMap(numDims, {})};
    SmallVector<T> values;
    for (int64_t group : params.getGroupOfChannel())
      values.push_back(get(group));
    AffineExpr axis = params.getAxis() == -3 ? operand.head : operand.channel;
    return {createConstant(builder, {int64_t(values.size())}, values),
            getMap(numDims, {axis})};
  }
  MappedTensor createZeroPoint(const Operand &operand) {
    return createParam<int32_t>(operand, 5, [&](int64_t group) -> int32_t {
      return operand.params->getZeroPoint(group);
    });
  }
  MappedTensor createScale(const Operand &operand) {
    return createParam<float>(operand, 4, [&](int64_t group) {
      return operand.params->getScale(group);
    });
  }

  /// sum lhs * rhs over the last dimension. Integers: exactly, in int32; then
  /// f32(acc) * multiplier, the multiplier being (s_lhs * s_rhs) * factor.
  /// Floats: by fma in ascending order, then * factor.
  Value contract(ArrayRef<OpFoldResult> sizes, const Operand &lhs,
                 const Operand &rhs, double factor) {
    bool isInteger = lhs.params && rhs.params;
    AffineMap resultMap = getMap(5, ArrayRef(dims).take_front(4));
    if (isInteger)
      return rescale(accumulate(sizes, lhs, rhs, resultMap), sizes, lhs, rhs,
                     factor);
    Value init = createSplat(builder, sizes, builder.getF32FloatAttr(0.0f));
    Value sum = createReduction(
        builder, init, resultMap, {{lhs.value, lhs.map}, {rhs.value, rhs.map}},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          return math::FmaOp::create(b, args[0], args[1], args[2]);
        });
    return scaleBy(sum, factor);
  }

  Value accumulate(ArrayRef<OpFoldResult> sizes, const Operand &lhs,
                   const Operand &rhs, AffineMap resultMap) {
    Value init = createSplat(builder, sizes, builder.getI32IntegerAttr(0));
    return createReduction(
        builder, init, resultMap,
        {{lhs.value, lhs.map},
         {rhs.value, rhs.map},
         createZeroPoint(lhs),
         createZeroPoint(rhs)},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value left = arith::SubIOp::create(
              b, extendStored(b, args[0], lhs.params->isSigned()), args[2]);
          Value right = arith::SubIOp::create(
              b, extendStored(b, args[1], rhs.params->isSigned()), args[3]);
          return arith::AddIOp::create(b, args[4],
                                       arith::MulIOp::create(b, left, right));
        });
  }

  Value rescale(Value acc, ArrayRef<OpFoldResult> sizes, const Operand &lhs,
                const Operand &rhs, double factor) {
    return createElementwise(
        builder, sizes, builder.getF32Type(),
        {withIdentityMap(acc), createScale(lhs), createScale(rhs)},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value multiplier = arith::MulFOp::create(b, args[1], args[2]);
          if (factor != 1.0)
            multiplier =
                arith::MulFOp::create(b, multiplier, createF32(b, factor));
          Value value = arith::SIToFPOp::create(b, b.getF32Type(), args[0]);
          return arith::MulFOp::create(b, value, multiplier);
        });
  }

  Value scaleBy(Value x, double factor) {
    if (factor == 1.0)
      return x;
    return mapElements(x, [&](ImplicitLocOpBuilder &b, Value value) -> Value {
      return arith::MulFOp::create(b, value, createF32(b, factor));
    });
  }

  Value mapElements(Value x,
                    function_ref<Value(ImplicitLocOpBuilder &, Value)> body) {
    return createElementwise(builder, getSizes(builder, x),
                             builder.getF32Type(), {withIdentityMap(x)},
                             [&](ImplicitLocOpBuilder &b, ValueRange args) {
                               return body(b, args[0]);
                             });
  }

  //===--------------------------------------------------------------------===//
  // Stages
  //===--------------------------------------------------------------------===//

  Value createScores() {
    SmallVector<QuantEdge> edges = op.getQuantEdges();
    Operand query = {op.getQuery(),
                     getMap(5, {dims[0], dims[1], dims[2], dims[4]}),
                     op.getQueryParams(),
                     dims[1],
                     {}};
    Operand key = {op.getKey(),
                   getMap(5, {dims[0], keyHead, dims[3], dims[4]}),
                   op.getKeyParams(),
                   keyHead,
                   {}};
    if (!query.params || !key.params) {
      query.value = dequantizeTensor(builder, op, edges[0]);
      key.value = dequantizeTensor(builder, op, edges[1]);
    }
    return contract(scoreSizes, query, key, op.getScale().convertToFloat());
  }

  Value capScores(Value scores) {
    if (!op.getSoftCap())
      return scores;
    float cap = op.getSoftCap()->convertToFloat();
    return mapElements(scores, [&](ImplicitLocOpBuilder &b, Value s) -> Value {
      Value inner = arith::MulFOp::create(b, s, createF32(b, 1.0f / cap));
      return arith::MulFOp::create(b, createTanh(b, inner), createF32(b, cap));
    });
  }

  /// dequantize(quantize(x)) with the parameters of an inner stage.
  Value quantizeStage(Value x, std::optional<QuantParams> params) {
    if (!params)
      return x;
    Value stored = quantizeParams(x, *params);
    ParamTensors tensors = materializeParams(builder, *params, 4);
    return createElementwise(
        builder, getSizes(builder, x), builder.getF32Type(),
        {withIdentityMap(stored), tensors.scale, tensors.zeroPoint},
        [&](ImplicitLocOpBuilder &b, ValueRange args) {
          return dequantizeScalar(b, args[0], args[1], args[2],
                                  params->isSigned());
        });
  }

  Value quantizeParams(Value x, const QuantParams &params) {
    ParamTensors tensors = materializeParams(builder, params, 4);
    return createElementwise(
        builder, getSizes(builder, x), params.getStorageType(),
        {withIdentityMap(x), tensors.scale, tensors.zeroPoint},
        [&](ImplicitLocOpBuilder &b, ValueRange args) {
          return quantizeScalar(b, args[0], args[1], args[2], params);
        });
  }

  /// Adds or selects by the mask, and excludes keys after the query's position.
  Value maskScores(Value scores) {
    if (!op.getMask() && !op.getCausal())
      return scores;
    SmallVector<MappedTensor> inputs = {withIdentityMap(scores)};
    if (Value mask = op.getMask()) {
      SmallVector<AffineExpr> results(ArrayRef(dims).take_front(4));
      auto type = cast<RankedTensorType>(mask.getType());
      for (int64_t dim = 0; dim < 3; ++dim)
        if (type.getDimSize(dim) == 1)
          results[dim] = builder.getAffineConstantExpr(0);
      inputs.push_back({mask, getMap(4, results)});
    }
    Value offset = op.getCausal() ? getCausalOffset() : Value();
    return createElementwise(builder, scoreSizes, builder.getF32Type(), inputs,
                             [&](ImplicitLocOpBuilder &b, ValueRange args) {
                               Value score = args[0];
                               if (args.size() > 1)
                                 score = maskScalar(b, score, args[1]);
                               return offset ? maskCausal(b, score, offset)
                                             : score;
                             });
  }

  static Value excludeUnless(ImplicitLocOpBuilder &b, Value condition,
                             Value score) {
    Value excluded = createF32(b, -std::numeric_limits<float>::infinity());
    return arith::SelectOp::create(b, condition, score, excluded);
  }

  static Value maskScalar(ImplicitLocOpBuilder &b, Value score, Value mask) {
    if (mask.getType().isF32())
      return arith::AddFOp::create(b, score, mask);
    return excludeUnless(b, mask, score);
  }

  static Value maskCausal(ImplicitLocOpBuilder &b, Value score, Value offset) {
    Value row = linalg::IndexOp::create(b, 2);
    Value column = linalg::IndexOp::create(b, 3);
    Value last = arith::AddIOp::create(b, row, offset);
    Value isSeen =
        arith::CmpIOp::create(b, arith::CmpIPredicate::sle, column, last);
    return excludeUnless(b, isSeen, score);
  }

  /// The position of the first query among the keys.
  Value getCausalOffset() {
    if (op.getOffset())
      return op.getOffset();
    auto sizeOf = [&](OpFoldResult size) {
      return getValueOrCreateConstantIndexOp(builder, builder.getLoc(), size);
    };
    return arith::SubIOp::create(builder, sizeOf(scoreSizes[3]),
                                 sizeOf(scoreSizes[2]));
  }

  /// The sink's logit for every row; null without a sink.
  Value createSinks() {
    SmallVector<OpFoldResult> rows(ArrayRef(scoreSizes).drop_back());
    if (op.getSinkLogit())
      return createSplat(builder, rows, op.getSinkLogitAttr());
    if (!op.getSink())
      return {};
    return createElementwise(
        builder, rows, builder.getF32Type(),
        {{op.getSink(), getMap(3, {dims[1]})}},
        [](ImplicitLocOpBuilder &, ValueRange args) { return args[0]; });
  }

  Value createContext(Value probs) {
    Operand weights = {probs,
                       getMap(5, {dims[0], dims[1], dims[2], dims[4]}),
                       op.getProbsParams(),
                       dims[1],
                       {}};
    Operand value = {op.getValue(),
                     getMap(5, {dims[0], keyHead, dims[4], dims[3]}),
                     op.getValueParams(), keyHead, dims[3]};
    if (weights.params && value.params)
      weights.value = quantizeParams(probs, *weights.params);
    else {
      weights.value = quantizeStage(probs, weights.params);
      value.value = dequantizeTensor(builder, op, op.getQuantEdges()[2]);
    }
    return contract(contextSizes, weights, value, 1.0);
  }

  /// c * (sigmoid(gate) * gain)
  Value applyGate(Value context) {
    Value gate = op.getGate();
    if (!gate)
      return context;
    int64_t rank = cast<RankedTensorType>(gate.getType()).getRank();
    float gain = op.getGain().convertToFloat();
    return createElementwise(
        builder, contextSizes, builder.getF32Type(),
        {withIdentityMap(context),
         {gate, getMap(4, ArrayRef(dims).take_front(rank))}},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value open = arith::MulFOp::create(b, createSigmoid(b, args[1]),
                                             createF32(b, gain));
          return arith::MulFOp::create(b, args[0], open);
        });
  }

  AttentionOp op;
  ImplicitLocOpBuilder builder;
  SmallVector<AffineExpr> dims;
  AffineExpr keyHead;
  SmallVector<OpFoldResult> scoreSizes, contextSizes;
};

struct LowerAttention : OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    Value context = AttentionLowering(op, rewriter).lower();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    if (op.getYParams())
      context = quantizeTensor(builder, op, op.getQuantEdges()[3], context);
    replaceWithCast(rewriter, op, context);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Heads
//===----------------------------------------------------------------------===//

/// `x` with its elements moved to the space of `sizes`, where `map` leads back.
Value moveElements(ImplicitLocOpBuilder &builder, Value x,
                   ArrayRef<OpFoldResult> sizes, ArrayRef<AffineExpr> map) {
  return createElementwise(
      builder, sizes, cast<ShapedType>(x.getType()).getElementType(),
      {{x, AffineMap::get(sizes.size(), 0, map, builder.getContext())}},
      [](ImplicitLocOpBuilder &, ValueRange args) { return args[0]; });
}

struct LowerSplitHeads : OpRewritePattern<SplitHeadsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(SplitHeadsOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    AffineExpr b, h, s, c;
    bindDims(builder.getContext(), b, h, s, c);
    RankedTensorType type = op.getY().getType();
    SmallVector<OpFoldResult> x = getSizes(builder, op.getX());
    SmallVector<OpFoldResult> sizes = {
        x[0], builder.getIndexAttr(type.getDimSize(1)), x[1],
        builder.getIndexAttr(type.getDimSize(3))};
    replaceWithCast(rewriter, op,
                    moveElements(builder, op.getX(), sizes,
                                 {b, s, h * type.getDimSize(3) + c}));
    return success();
  }
};

struct LowerMergeHeads : OpRewritePattern<MergeHeadsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MergeHeadsOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    AffineExpr b, s, e;
    bindDims(builder.getContext(), b, s, e);
    int64_t size = op.getX().getType().getDimSize(3);
    SmallVector<OpFoldResult> x = getSizes(builder, op.getX());
    SmallVector<OpFoldResult> sizes = {
        x[0], x[2], builder.getIndexAttr(op.getY().getType().getDimSize(2))};
    replaceWithCast(rewriter, op,
                    moveElements(builder, op.getX(), sizes,
                                 {b, e.floorDiv(size), s, e % size}));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Gate projection
//===----------------------------------------------------------------------===//

/// init + sum x * w by fma, in ascending order of the dimension that `initMap`
/// leaves out.
Value createProjection(ImplicitLocOpBuilder &builder, Value init,
                       AffineMap initMap, MappedTensor x, MappedTensor weight) {
  return createReduction(builder, init, initMap, {x, weight},
                         [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                           return math::FmaOp::create(b, args[0], args[1],
                                                      args[2]);
                         });
}

struct LowerGateProjection : OpRewritePattern<GateProjectionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(GateProjectionOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    Value x = dequantizeTensor(builder, op, op.getQuantEdges().front());
    SmallVector<OpFoldResult> sizes = getSizes(builder, x);
    SmallVector<OpFoldResult> rows = {
        sizes[0], builder.getIndexAttr(op.getNumHeads()), sizes[1]};
    replaceWithCast(rewriter, op,
                    op.getKind() == GateKind::Mlp
                        ? lowerMlp(op, builder, x, rows)
                        : lowerLinear(op, builder, x, rows));
    return success();
  }

private:
  static Value broadcast(ImplicitLocOpBuilder &builder,
                         ArrayRef<OpFoldResult> sizes, Value bias,
                         ArrayRef<AffineExpr> results) {
    AffineMap map =
        AffineMap::get(sizes.size(), 0, results, builder.getContext());
    return createElementwise(
        builder, sizes, builder.getF32Type(), {{bias, map}},
        [](ImplicitLocOpBuilder &, ValueRange args) { return args[0]; });
  }

  /// The space is (b, h, s, channel).
  static Value lowerLinear(GateProjectionOp op, ImplicitLocOpBuilder &builder,
                           Value x, ArrayRef<OpFoldResult> rows) {
    AffineExpr b, h, s, c;
    bindDims(builder.getContext(), b, h, s, c);
    AffineExpr channel = c;
    if (op.getKind() == GateKind::Linear)
      channel = h * op.getWeight().getType().getDimSize(1) + c;
    auto map = [&](ArrayRef<AffineExpr> results) {
      return AffineMap::get(4, 0, results, builder.getContext());
    };
    return createProjection(
        builder, broadcast(builder, rows, op.getBias(), {h}), map({b, h, s}),
        {x, map({b, s, channel})}, {op.getWeight(), map({h, c})});
  }

  /// The spaces are (b, h, s, n, channel) and (b, h, s, n).
  static Value lowerMlp(GateProjectionOp op, ImplicitLocOpBuilder &builder,
                        Value x, ArrayRef<OpFoldResult> rows) {
    AffineExpr b, h, s, n, c;
    bindDims(builder.getContext(), b, h, s, n, c);
    auto map = [&](int64_t numDims, ArrayRef<AffineExpr> results) {
      return AffineMap::get(numDims, 0, results, builder.getContext());
    };
    auto hiddenType = cast<RankedTensorType>(op.getHiddenWeight().getType());
    SmallVector<OpFoldResult> sizes(rows);
    sizes.push_back(builder.getIndexAttr(hiddenType.getDimSize(1)));
    Value hidden = createProjection(
        builder, broadcast(builder, sizes, op.getHiddenBias(), {h, n}),
        map(5, {b, h, s, n}),
        {x, map(5, {b, s, h * hiddenType.getDimSize(2) + c})},
        {op.getHiddenWeight(), map(5, {h, n, c})});
    hidden = applyActivation(builder, hidden, Activation::Relu);
    return createProjection(
        builder, broadcast(builder, rows, op.getBias(), {h}), map(4, {b, h, s}),
        {hidden, map(4, {b, h, s, n})}, {op.getWeight(), map(4, {h, n})});
  }
};

} // namespace

void qtx::populateAttentionToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerSoftmax, LowerClippedSoftmax, LowerAttention,
               LowerSplitHeads, LowerMergeHeads, LowerGateProjection>(
      patterns.getContext());
}
