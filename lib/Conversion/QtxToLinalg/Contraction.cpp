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

/// Lowers one `qtx.linear`. The iteration space of contractions is the
/// dimensions of the result followed by the contracted one.
class LinearLowering {
public:
  LinearLowering(LinearOp op, PatternRewriter &rewriter)
      : op(op), builder(op.getLoc(), rewriter),
        rank(op.getY().getType().getRank()) {
    sizes = getSizes(builder, op.getX());
    sizes.back() = builder.getIndexAttr(op.getNumOutputs());
  }

  /// The pre-activation result in fp32.
  Value lower() {
    Value sum = createBias();
    std::optional<QuantParams> params =
        getQuantParams(op, op.getQuantEdges().front());
    if (!params)
      return contractFloat(dequantizeWeight(), sum);
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
      bool isVector = cast<ShapedType>(bias.getType()).getRank() == 1 &&
                      bias.getType() != op.getY().getType();
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

  /// Channels [offset, offset + size) of the last axis.
  Value sliceLast(Value tensor, int64_t offset, int64_t size) {
    SmallVector<OpFoldResult> sliceSizes = getSizes(builder, tensor);
    SmallVector<OpFoldResult> offsets(sliceSizes.size(),
                                      builder.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(sliceSizes.size(),
                                      builder.getIndexAttr(1));
    offsets.back() = builder.getIndexAttr(offset);
    sliceSizes.back() = builder.getIndexAttr(size);
    return tensor::ExtractSliceOp::create(builder, tensor, offsets, sliceSizes,
                                          strides);
  }

  /// acc = sum (x - z) * w, or seed + sum x * w, in int32.
  Value contractSegment(const Segment &segment, int64_t index,
                        const QuantParams &params) {
    QuantEdge edge = op.getQuantEdges().front();
    ParamTensors group =
        materializeGroupParams(builder, op, edge, segment.group);
    bool hasSeed = bool(op.getSeed());
    SmallVector<MappedTensor> inputs = {
        {sliceLast(op.getX(), segment.offset, segment.size), operandMap()},
        {sliceLast(op.getWeight(), segment.offset, segment.size), weightMap()}};
    if (!hasSeed)
      inputs.push_back(widen(group.zeroPoint));
    return createContraction(
        createSeed(index), inputs,
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

  /// r = fma(x, w, r) in ascending order of the contracted axis.
  Value contractFloat(Value weight, Value sum) {
    return createContraction(
        sum, {{op.getX(), operandMap()}, {weight, weightMap()}},
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
    AffineExpr row = builder.getAffineDimExpr(0);
    if (perTensor)
      row = builder.getAffineConstantExpr(0);
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

  Value createContraction(
      Value init, ArrayRef<MappedTensor> inputs,
      function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
    SmallVector<Value> values;
    SmallVector<AffineMap> maps;
    for (const MappedTensor &input : inputs) {
      values.push_back(input.value);
      maps.push_back(input.map);
    }
    maps.push_back(resultMap(rank + 1));
    SmallVector<utils::IteratorType> iterators(rank,
                                               utils::IteratorType::parallel);
    iterators.push_back(utils::IteratorType::reduction);
    auto generic = linalg::GenericOp::create(
        builder, init.getType(), values, init, maps, iterators,
        [&](OpBuilder &nested, Location loc, ValueRange args) {
          ImplicitLocOpBuilder inner(loc, nested);
          linalg::YieldOp::create(inner, body(inner, args));
        });
    return generic.getResult(0);
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

} // namespace

void qtx::populateContractionToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerLinear>(patterns.getContext());
}
