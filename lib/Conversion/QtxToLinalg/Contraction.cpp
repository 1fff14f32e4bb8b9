//===- Contraction.cpp - Contractions to linalg ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Conversion/QtxToLinalg/QtxToLinalg.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"

using namespace mlir;
using namespace qtx;

namespace {

/// The channels of `segment` along dimension `dim` of `tensor`.
Value sliceSegment(ImplicitLocOpBuilder &builder, Value tensor, int64_t dim,
                   const Segment &segment) {
  if (cast<ShapedType>(tensor.getType()).getDimSize(dim) == segment.size)
    return tensor;
  SmallVector<OpFoldResult> sizes = getSizes(builder, tensor);
  SmallVector<OpFoldResult> offsets(sizes.size(), builder.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(sizes.size(), builder.getIndexAttr(1));
  offsets[dim] = builder.getIndexAttr(segment.offset);
  if (ShapedType::isStatic(segment.size))
    sizes[dim] = builder.getIndexAttr(segment.size);
  return tensor::ExtractSliceOp::create(builder, tensor, offsets, sizes,
                                        strides);
}

//===----------------------------------------------------------------------===//
// LinearOp
//===----------------------------------------------------------------------===//

/// Lowers one `qtx.linear`. The iteration space of contractions is the
/// dimensions of the result followed by the contracted one.
class LinearLowering {
public:
  LinearLowering(LinearOp op, PatternRewriter &rewriter)
      : op(op), builder(op.getLoc(), rewriter),
        rank(op.getY().getType().getRank()) {
    sizes = getSizes(builder, op.getX());
    sizes.back() = getSizes(builder, op.getWeight()).front();
  }

  /// The pre-activation result in fp32.
  Value lower() {
    Value sum = createBias();
    std::optional<QuantParams> params =
        getQuantParams(op, op.getQuantEdges().front());
    if (!params)
      return contractFloat(dequantizeWeight(), sum);
    if (op.getIntegerJoin() && op.getSegments().size() > 1)
      return joinIntegers(*params, sum);
    for (auto [index, segment] : llvm::enumerate(op.getSegments())) {
      Value acc = contractSegment(segment, index, *params);
      sum = joinSegment(acc, segment, sum);
    }
    return sum;
  }

private:
  /// The bias in the shape of the result, or zeros.
  Value createBias() {
    SmallVector<MappedTensor> inputs;
    if (Value bias = op.getBias()) {
      bool isVector = cast<ShapedType>(bias.getType()).getRank() == 1;
      inputs.push_back({bias, isVector ? outputMap() : resultMap(rank)});
    }
    return createElementwise(
        builder, sizes, builder.getF32Type(), inputs,
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          if (!args.empty())
            return args[0];
          return arith::ConstantOp::create(b, b.getF32FloatAttr(0.0f));
        });
  }

  /// acc = sum (x - z) * w, or seed + sum x * w, in int32.
  Value contractSegment(const Segment &segment, int64_t index,
                        const QuantParams &params) {
    QuantEdge edge = op.getQuantEdges().front();
    ParamTensors group =
        materializeGroupParams(builder, op, edge, segment.group);
    bool hasSeed = bool(op.getSeed());
    SmallVector<MappedTensor> inputs = {
        {sliceSegment(builder, op.getX(), rank - 1, segment), operandMap()},
        {sliceSegment(builder, op.getWeight(), 1, segment), weightMap()}};
    if (!hasSeed)
      inputs.push_back(widen(group.zeroPoint));
    return createReduction(
        builder, createSeed(index), resultMap(rank + 1), inputs,
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value x = extendStored(b, args[0], params.isSigned());
          if (!hasSeed)
            x = arith::SubIOp::create(b, x, args[2]);
          Value product = arith::MulIOp::create(
              b, x, extendStored(b, args[1], /*isSigned=*/true));
          return arith::AddIOp::create(b, args.back(), product);
        });
  }

  /// r = fma(f32(acc), s_x * s_w, r)
  Value joinSegment(Value acc, const Segment &segment, Value sum) {
    ParamTensors group = materializeGroupParams(
        builder, op, op.getQuantEdges().front(), segment.group);
    return createElementwise(
        builder, sizes, builder.getF32Type(),
        {withIdentityMap(acc), group.scale, weightScale(segment.block),
         withIdentityMap(sum)},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value value = arith::SIToFPOp::create(b, b.getF32Type(), args[0]);
          Value multiplier = arith::MulFOp::create(b, args[1], args[2]);
          return math::FmaOp::create(b, value, multiplier, args[3]);
        });
  }

  /// r = fma(f32(sum m_k * acc_k), s_x * s_w, r), with the smallest scale.
  Value joinIntegers(const QuantParams &params, Value sum) {
    Value total;
    SmallVector<Segment> segments = op.getSegments();
    for (auto [index, segment, multiplier] :
         llvm::enumerate(segments, op.getJoinMultipliers()))
      total = addMultiple(contractSegment(segment, index, params), multiplier,
                          total);
    const Segment *finest =
        llvm::min_element(segments, [&](const Segment &a, const Segment &b) {
          return params.getScale(a.group) < params.getScale(b.group);
        });
    return joinSegment(total, *finest, sum);
  }

  /// total + multiplier * acc
  Value addMultiple(Value acc, int64_t multiplier, Value total) {
    SmallVector<MappedTensor> inputs = {withIdentityMap(acc)};
    if (total)
      inputs.push_back(withIdentityMap(total));
    return createElementwise(
        builder, sizes, builder.getI32Type(), inputs,
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value product = arith::MulIOp::create(
              b, args[0], arith::ConstantIntOp::create(b, multiplier, 32));
          return args.size() > 1
                     ? Value(arith::AddIOp::create(b, args[1], product))
                     : product;
        });
  }

  /// r = fma(x, w, r) in ascending order of the contracted axis.
  Value contractFloat(Value weight, Value sum) {
    return createReduction(
        builder, sum, resultMap(rank + 1),
        {{op.getX(), operandMap()}, {weight, weightMap()}},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          return math::FmaOp::create(b, args[0], args[1], args[2]);
        });
  }

  Value dequantizeWeight() {
    auto type = op.getWeight().getType();
    if (!type.getElementType().isInteger())
      return op.getWeight();
    int64_t block = op.getWeightBlock().value_or(op.getContractedSize());
    bool perTensor = op.getWeightScale().getType().getShape().size() == 1 &&
                     op.getWeightScale().getType().getDimSize(0) == 1;
    return createElementwise(
        builder, getSizes(builder, op.getWeight()), builder.getF32Type(),
        {withIdentityMap(op.getWeight())},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          SmallVector<Value> indices = {
              perTensor ? Value(arith::ConstantIndexOp::create(b, 0))
                        : Value(linalg::IndexOp::create(b, 0))};
          if (op.getWeightBlock())
            indices.push_back(arith::DivUIOp::create(
                b, linalg::IndexOp::create(b, 1),
                arith::ConstantIndexOp::create(b, block)));
          Value scale =
              tensor::ExtractOp::create(b, op.getWeightScale(), indices);
          Value value = arith::SIToFPOp::create(b, b.getF32Type(), args[0]);
          return arith::MulFOp::create(b, value, scale);
        });
  }

  Value createSeed(int64_t index) {
    SmallVector<MappedTensor> inputs;
    if (Value seed = op.getSeed()) {
      AffineMap map = AffineMap::get(rank, 0,
                                     {builder.getAffineConstantExpr(index),
                                      builder.getAffineDimExpr(rank - 1)},
                                     builder.getContext());
      inputs.push_back({seed, map});
    }
    return createElementwise(
        builder, sizes, builder.getI32Type(), inputs,
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          return args.empty() ? Value(arith::ConstantIntOp::create(b, 0, 32))
                              : args[0];
        });
  }

  /// The weight scale of one block: one value, or one per output.
  MappedTensor weightScale(int64_t block) {
    Value scale = op.getWeightScale();
    auto type = cast<RankedTensorType>(scale.getType());
    AffineExpr output = builder.getAffineDimExpr(rank - 1);
    AffineExpr zero = builder.getAffineConstantExpr(0);
    SmallVector<AffineExpr> results;
    if (type.getRank() == 2)
      results = {output, builder.getAffineConstantExpr(block)};
    else
      results = {type.getDimSize(0) == 1 && op.getNumOutputs() != 1 ? zero
                                                                    : output};
    return {scale, AffineMap::get(rank, 0, results, builder.getContext())};
  }

  /// The first `rank` dimensions of a space of `dims` dimensions.
  AffineMap resultMap(int64_t dims) {
    SmallVector<AffineExpr> results;
    for (int64_t dim = 0; dim < rank; ++dim)
      results.push_back(builder.getAffineDimExpr(dim));
    return AffineMap::get(dims, 0, results, builder.getContext());
  }
  /// The output axis alone.
  AffineMap outputMap() {
    return AffineMap::get(rank, 0, builder.getAffineDimExpr(rank - 1));
  }
  AffineMap operandMap() {
    SmallVector<AffineExpr> results;
    for (int64_t dim = 0; dim < rank - 1; ++dim)
      results.push_back(builder.getAffineDimExpr(dim));
    results.push_back(builder.getAffineDimExpr(rank));
    return AffineMap::get(rank + 1, 0, results, builder.getContext());
  }
  AffineMap weightMap() {
    return AffineMap::get(
        rank + 1, 0,
        {builder.getAffineDimExpr(rank - 1), builder.getAffineDimExpr(rank)},
        builder.getContext());
  }
  /// `tensor`, mapped from the result's space, in the contraction's space.
  MappedTensor widen(const MappedTensor &tensor) {
    return {tensor.value, AffineMap::get(rank + 1, 0, tensor.map.getResults(),
                                         builder.getContext())};
  }

  LinearOp op;
  ImplicitLocOpBuilder builder;
  int64_t rank;
  SmallVector<OpFoldResult> sizes;
};

struct LowerLinear : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LinearOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    Value result = LinearLowering(op, rewriter).lower();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    result = applyActivation(builder, result, op.getActivation());
    QuantEdge y = op.getQuantEdges()[1];
    if (getQuantParams(op, y))
      result = quantizeTensor(builder, op, y, result);
    replaceWithCast(rewriter, op, result);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// BatchMatmulOp
//===----------------------------------------------------------------------===//

/// Lowers one `qtx.batch_matmul`. The iteration space is (B..., M, N, K).
class BatchMatmulLowering {
public:
  BatchMatmulLowering(BatchMatmulOp op, PatternRewriter &rewriter)
      : op(op), builder(op.getLoc(), rewriter),
        rank(op.getY().getType().getRank()) {
    sizes = getSizes(builder, op.getA());
    sizes.back() = getSizes(builder, op.getB())[rank + op.getOutputAxisOfB()];
  }

  /// The result in fp32.
  Value lower() {
    Value sum = createSplat(builder, sizes, builder.getF32FloatAttr(0.0f));
    if (!getQuantParams(op, op.getQuantEdges().front()))
      return createReduction(
          builder, sum, getMap({rank - 2, rank - 1}),
          {{op.getA(), mapOfA()}, {op.getB(), mapOfB()}},
          [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
            return math::FmaOp::create(b, args[0], args[1], args[2]);
          });
    for (const Segment &segment : op.getSegments())
      sum = addSegment(segment, sum);
    return sum;
  }

private:
  /// r = fma(f32(sum (a - z_a) * (b - z_b)), s_a * s_b, r)
  Value addSegment(const Segment &segment, Value sum) {
    SmallVector<QuantEdge> edges = op.getQuantEdges();
    ParamTensors a = createParams(edges[0], -1, segment.group, mapOfA());
    ParamTensors b = createParams(edges[1], op.getContractedAxisOfB(),
                                  segment.block, mapOfB());
    Value acc = contractSegment(segment, a.zeroPoint, b.zeroPoint);
    return createElementwise(
        builder, sizes, builder.getF32Type(),
        {withIdentityMap(acc), dropContracted(a.scale), dropContracted(b.scale),
         withIdentityMap(sum)},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value value = arith::SIToFPOp::create(b, b.getF32Type(), args[0]);
          Value multiplier = arith::MulFOp::create(b, args[1], args[2]);
          return math::FmaOp::create(b, value, multiplier, args[3]);
        });
  }

  Value contractSegment(const Segment &segment,
                        const MappedTensor &zeroPointOfA,
                        const MappedTensor &zeroPointOfB) {
    bool isSignedA = getQuantParams(op, op.getQuantEdges()[0])->isSigned();
    bool isSignedB = getQuantParams(op, op.getQuantEdges()[1])->isSigned();
    Value a = sliceSegment(builder, op.getA(), rank - 1, segment);
    Value b = sliceSegment(builder, op.getB(), rank + op.getContractedAxisOfB(),
                           segment);
    return createReduction(
        builder, createSplat(builder, sizes, builder.getI32IntegerAttr(0)),
        getMap({rank - 2, rank - 1}),
        {{a, mapOfA()}, {b, mapOfB()}, zeroPointOfA, zeroPointOfB},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value lhs = arith::SubIOp::create(
              b, extendStored(b, args[0], isSignedA), args[2]);
          Value rhs = arith::SubIOp::create(
              b, extendStored(b, args[1], isSignedB), args[3]);
          return arith::AddIOp::create(b, args.back(),
                                       arith::MulIOp::create(b, lhs, rhs));
        });
  }

  /// The parameters of `edge` in the iteration space: those of `group` where
  /// the groups lie along the contracted axis, else those of all channels.
  ParamTensors createParams(const QuantEdge &edge, int64_t contractedAxis,
                            int64_t group, AffineMap operandMap) {
    QuantParams params = *getQuantParams(op, edge);
    bool isContracted =
        params.isGrouped() && params.getAxis() == contractedAxis;
    ParamTensors tensors =
        isContracted ? materializeGroupParams(builder, op, edge, group)
                     : materializeParams(builder, op, edge);
    tensors.scale.map = tensors.scale.map.compose(operandMap);
    tensors.zeroPoint.map = tensors.zeroPoint.map.compose(operandMap);
    return tensors;
  }

  /// A parameter in the space of the result: none varies along K.
  MappedTensor dropContracted(const MappedTensor &tensor) {
    return {tensor.value, AffineMap::get(rank, 0, tensor.map.getResults(),
                                         builder.getContext())};
  }

  /// The batch dimensions and two more of the iteration space.
  AffineMap getMap(std::array<int64_t, 2> last) {
    SmallVector<AffineExpr> results;
    for (int64_t dim = 0; dim < rank - 2; ++dim)
      results.push_back(builder.getAffineDimExpr(dim));
    for (int64_t dim : last)
      results.push_back(builder.getAffineDimExpr(dim));
    return AffineMap::get(rank + 1, 0, results, builder.getContext());
  }
  AffineMap mapOfA() { return getMap({rank - 2, rank}); }
  AffineMap mapOfB() {
    return op.getTransposeB() ? getMap({rank - 1, rank})
                              : getMap({rank, rank - 1});
  }

  BatchMatmulOp op;
  ImplicitLocOpBuilder builder;
  int64_t rank;
  SmallVector<OpFoldResult> sizes;
};

struct LowerBatchMatmul : OpRewritePattern<BatchMatmulOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(BatchMatmulOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    Value result = BatchMatmulLowering(op, rewriter).lower();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    QuantEdge y = op.getQuantEdges()[2];
    if (getQuantParams(op, y))
      result = quantizeTensor(builder, op, y, result);
    replaceWithCast(rewriter, op, result);
    return success();
  }
};

} // namespace

void qtx::populateContractionToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerLinear, LowerBatchMatmul>(patterns.getContext());
}
