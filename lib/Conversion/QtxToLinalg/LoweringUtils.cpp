//===- LoweringUtils.cpp - Shared pieces of lowerings ---------------------===//
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
#include "qtx/Support/Polynomials.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

SmallVector<OpFoldResult> qtx::getSizes(ImplicitLocOpBuilder &builder,
                                        Value tensor) {
  return tensor::getMixedSizes(builder, builder.getLoc(), tensor);
}

MappedTensor qtx::withIdentityMap(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  return {tensor, AffineMap::getMultiDimIdentityMap(type.getRank(),
                                                    tensor.getContext())};
}

Value qtx::createConstant(ImplicitLocOpBuilder &builder,
                          ArrayRef<int64_t> shape, ArrayRef<float> values) {
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  return arith::ConstantOp::create(builder,
                                   DenseElementsAttr::get(type, values));
}

Value qtx::createConstant(ImplicitLocOpBuilder &builder,
                          ArrayRef<int64_t> shape, ArrayRef<int32_t> values) {
  auto type = RankedTensorType::get(shape, builder.getI32Type());
  return arith::ConstantOp::create(builder,
                                   DenseElementsAttr::get(type, values));
}

Value qtx::createElementwise(
    ImplicitLocOpBuilder &builder, ArrayRef<OpFoldResult> sizes,
    Type elementType, ArrayRef<MappedTensor> inputs,
    function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
  Value init = tensor::EmptyOp::create(builder, sizes, elementType);
  SmallVector<Value> values;
  SmallVector<AffineMap> maps;
  for (const MappedTensor &input : inputs) {
    values.push_back(input.value);
    maps.push_back(input.map);
  }
  maps.push_back(builder.getMultiDimIdentityMap(sizes.size()));
  SmallVector<utils::IteratorType> iterators(sizes.size(),
                                             utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      builder, init.getType(), values, init, maps, iterators,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder inner(loc, nested);
        linalg::YieldOp::create(inner, body(inner, args.drop_back()));
      });
  return generic.getResult(0);
}

Value qtx::createReduction(
    ImplicitLocOpBuilder &builder, Value init, AffineMap initMap,
    ArrayRef<MappedTensor> inputs,
    function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
  SmallVector<Value> values;
  SmallVector<AffineMap> maps;
  for (const MappedTensor &input : inputs) {
    values.push_back(input.value);
    maps.push_back(input.map);
  }
  maps.push_back(initMap);
  SmallVector<utils::IteratorType> iterators(initMap.getNumDims(),
                                             utils::IteratorType::reduction);
  for (unsigned dim = 0, e = initMap.getNumResults(); dim < e; ++dim)
    iterators[initMap.getDimPosition(dim)] = utils::IteratorType::parallel;
  auto generic = linalg::GenericOp::create(
      builder, init.getType(), values, init, maps, iterators,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        ImplicitLocOpBuilder inner(loc, nested);
        linalg::YieldOp::create(inner, body(inner, args));
      });
  return generic.getResult(0);
}

Value qtx::createSplat(ImplicitLocOpBuilder &builder,
                       ArrayRef<OpFoldResult> sizes, TypedAttr value) {
  return createElementwise(builder, sizes, value.getType(), {},
                           [&](ImplicitLocOpBuilder &b, ValueRange) -> Value {
                             return arith::ConstantOp::create(b, value);
                           });
}

Value qtx::createF32(ImplicitLocOpBuilder &builder, double value) {
  return arith::ConstantOp::create(
      builder, builder.getF32FloatAttr(static_cast<float>(value)));
}

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

/// One value per channel from one value per group: `values` has shape [groups]
/// or [leading..., groups], the result has channels in its place.
static Value expandGroups(ImplicitLocOpBuilder &builder, Value values,
                          const QuantParams &params) {
  SmallVector<int32_t> groups(
      llvm::map_range(params.getGroupOfChannel(),
                      [](int64_t group) { return int32_t(group); }));
  int64_t channels = groups.size();
  Value groupOfChannel = createConstant(builder, {channels}, groups);
  SmallVector<OpFoldResult> sizes = getSizes(builder, values);
  int64_t rank = sizes.size();
  sizes.back() = builder.getIndexAttr(channels);
  AffineMap last = AffineMap::get(rank, 0, builder.getAffineDimExpr(rank - 1));
  Type elementType = cast<ShapedType>(values.getType()).getElementType();
  return createElementwise(
      builder, sizes, elementType, {{groupOfChannel, last}},
      [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        SmallVector<Value> indices;
        for (int64_t dim = 0; dim < rank - 1; ++dim)
          indices.push_back(linalg::IndexOp::create(b, dim));
        indices.push_back(
            arith::IndexCastOp::create(b, b.getIndexType(), args[0]));
        return tensor::ExtractOp::create(b, values, indices);
      });
}

/// Run-time zero points, or zeros of the shape of `scale` where there are none.
static Value getRunTimeZeroPoint(ImplicitLocOpBuilder &builder,
                                 const QuantEdge &edge) {
  if (edge.zeroPoint)
    return edge.zeroPoint;
  return createSplat(builder, getSizes(builder, edge.scale),
                     builder.getI32IntegerAttr(0));
}

/// The map from a tensor of `rank` dimensions to a parameter tensor.
static AffineMap getParamMap(MLIRContext *context, Value param, int64_t rank,
                             int64_t axis) {
  int64_t paramRank = cast<ShapedType>(param.getType()).getRank();
  if (paramRank == 0)
    return AffineMap::get(rank, 0, context);
  if (paramRank == rank && rank != 1)
    return AffineMap::getMultiDimIdentityMap(rank, context);
  return AffineMap::get(rank, 0, getAffineDimExpr(axis, context));
}

/// Compile-time parameters of the given groups as tensors of shape `shape`.
static std::pair<Value, Value> createStaticParams(ImplicitLocOpBuilder &builder,
                                                  const QuantParams &params,
                                                  ArrayRef<int64_t> shape,
                                                  ArrayRef<int64_t> groups) {
  SmallVector<float> scales;
  SmallVector<int32_t> zeroPoints;
  for (int64_t group : groups) {
    scales.push_back(params.getScale(group));
    zeroPoints.push_back(params.getZeroPoint(group));
  }
  return {createConstant(builder, shape, scales),
          createConstant(builder, shape, zeroPoints)};
}

/// Both tensors with their maps from the space of a tensor of `rank`
/// dimensions.
static ParamTensors mapParams(Value scale, Value zeroPoint,
                              const QuantParams &params, int64_t rank) {
  int64_t axis = params.isPerTensor() ? 0 : params.getAxis(rank);
  MLIRContext *context = scale.getContext();
  return {{scale, getParamMap(context, scale, rank, axis)},
          {zeroPoint, getParamMap(context, zeroPoint, rank, axis)}};
}

ParamTensors qtx::materializeParams(ImplicitLocOpBuilder &builder,
                                    const QuantParams &params, int64_t rank) {
  SmallVector<int64_t> shape, groups = {0};
  if (!params.isPerTensor()) {
    shape = {params.getNumChannels()};
    groups = params.getGroupOfChannel();
  }
  auto [scale, zeroPoint] = createStaticParams(builder, params, shape, groups);
  return mapParams(scale, zeroPoint, params, rank);
}

ParamTensors qtx::materializeParams(ImplicitLocOpBuilder &builder,
                                    Operation *op, const QuantEdge &edge) {
  QuantParams params = *getQuantParams(op, edge);
  int64_t rank = cast<ShapedType>(edge.value.getType()).getRank();
  if (!params.isDynamic())
    return materializeParams(builder, params, rank);
  Value scale = expandGroups(builder, edge.scale, params);
  Value zeroPoint =
      expandGroups(builder, getRunTimeZeroPoint(builder, edge), params);
  return mapParams(scale, zeroPoint, params, rank);
}

/// The slice of `values` ([groups] or [leading..., groups]) that belongs to
/// `group`, without the last dimension.
static Value sliceGroup(ImplicitLocOpBuilder &builder, Value values,
                        int64_t group) {
  auto type = cast<RankedTensorType>(values.getType());
  int64_t rank = type.getRank();
  SmallVector<OpFoldResult> offsets(rank, builder.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(rank, builder.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes = getSizes(builder, values);
  offsets.back() = builder.getIndexAttr(group);
  sizes.back() = builder.getIndexAttr(1);
  auto sliced =
      RankedTensorType::get(type.getShape().drop_back(), type.getElementType());
  return tensor::ExtractSliceOp::create(builder, sliced, values, offsets, sizes,
                                        strides);
}

ParamTensors qtx::materializeGroupParams(ImplicitLocOpBuilder &builder,
                                         Operation *op, const QuantEdge &edge,
                                         int64_t group) {
  QuantParams params = *getQuantParams(op, edge);
  int64_t rank = cast<ShapedType>(edge.value.getType()).getRank();
  Value scale, zeroPoint;
  if (params.isDynamic()) {
    scale = sliceGroup(builder, edge.scale, group);
    zeroPoint = sliceGroup(builder, getRunTimeZeroPoint(builder, edge), group);
  } else {
    std::tie(scale, zeroPoint) =
        createStaticParams(builder, params, {}, {group});
  }
  auto mapOf = [&](Value param) {
    int64_t paramRank = cast<ShapedType>(param.getType()).getRank();
    SmallVector<AffineExpr> dims;
    for (int64_t dim = 0; dim < paramRank; ++dim)
      dims.push_back(builder.getAffineDimExpr(dim));
    return AffineMap::get(rank, 0, dims, builder.getContext());
  };
  return {{scale, mapOf(scale)}, {zeroPoint, mapOf(zeroPoint)}};
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value qtx::extendStored(ImplicitLocOpBuilder &builder, Value x, bool isSigned) {
  Type i32 = builder.getI32Type();
  if (x.getType() == i32)
    return x;
  if (isSigned)
    return arith::ExtSIOp::create(builder, i32, x);
  return arith::ExtUIOp::create(builder, i32, x);
}

/// clamp(rounded + zeroPoint) in 64-bit arithmetic: 32-bit storage needs it,
/// since its bounds are no f32 numbers and their differences no i32 ones.
static Value clampToStorage32(ImplicitLocOpBuilder &builder, Value rounded,
                              Value zeroPoint, const QuantParams &params) {
  Type f64 = builder.getF64Type(), i64 = builder.getI64Type();
  auto boundOf = [&](int64_t bound) -> Value {
    Value difference = arith::SubIOp::create(
        builder, arith::ConstantIntOp::create(builder, bound, 64), zeroPoint);
    return arith::SIToFPOp::create(builder, f64, difference);
  };
  zeroPoint = params.isSigned()
                  ? Value(arith::ExtSIOp::create(builder, i64, zeroPoint))
                  : Value(arith::ExtUIOp::create(builder, i64, zeroPoint));
  Value clamped = arith::MaxNumFOp::create(
      builder, arith::ExtFOp::create(builder, f64, rounded),
      boundOf(params.getStorageMin()));
  clamped = arith::MinNumFOp::create(builder, clamped,
                                     boundOf(params.getStorageMax()));
  Value stored = arith::AddIOp::create(
      builder, arith::FPToSIOp::create(builder, i64, clamped), zeroPoint);
  return arith::TruncIOp::create(builder, params.getStorageType(), stored);
}

Value qtx::quantizeScalar(ImplicitLocOpBuilder &builder, Value x, Value scale,
                          Value zeroPoint, const QuantParams &params) {
  Value reciprocal =
      arith::DivFOp::create(builder, createF32(builder, 1.0), scale);
  return quantizeByReciprocal(builder, x, reciprocal, zeroPoint, params);
}

Value qtx::quantizeByReciprocal(ImplicitLocOpBuilder &builder, Value x,
                                Value reciprocal, Value zeroPoint,
                                const QuantParams &params) {
  Value rounded = math::RoundEvenOp::create(
      builder, arith::MulFOp::create(builder, x, reciprocal));
  IntegerType storage = params.getStorageType();
  if (storage.getWidth() == 32)
    return clampToStorage32(builder, rounded, zeroPoint, params);
  // The bounds are those of the difference from the zero point, so that the sum
  // below is exact. `maxnum` turns NaN into the lower bound.
  Value min = arith::ConstantIntOp::create(builder, params.getStorageMin(), 32);
  Value max = arith::ConstantIntOp::create(builder, params.getStorageMax(), 32);
  Type f32 = builder.getF32Type();
  Value lower = arith::SIToFPOp::create(
      builder, f32, arith::SubIOp::create(builder, min, zeroPoint));
  Value upper = arith::SIToFPOp::create(
      builder, f32, arith::SubIOp::create(builder, max, zeroPoint));
  Value clamped = arith::MinNumFOp::create(
      builder, arith::MaxNumFOp::create(builder, rounded, lower), upper);
  Value stored = arith::AddIOp::create(
      builder, arith::FPToSIOp::create(builder, builder.getI32Type(), clamped),
      zeroPoint);
  return arith::TruncIOp::create(builder, storage, stored);
}

/// x - z, in 64 bits where 32 might overflow.
static Value subtractZeroPoint(ImplicitLocOpBuilder &builder, Value x,
                               Value zeroPoint, bool isSigned) {
  if (!x.getType().isInteger(32))
    return arith::SubIOp::create(builder, extendStored(builder, x, isSigned),
                                 zeroPoint);
  auto extend = [&](Value value) -> Value {
    if (isSigned)
      return arith::ExtSIOp::create(builder, builder.getI64Type(), value);
    return arith::ExtUIOp::create(builder, builder.getI64Type(), value);
  };
  return arith::SubIOp::create(builder, extend(x), extend(zeroPoint));
}

Value qtx::dequantizeScalar(ImplicitLocOpBuilder &builder, Value x, Value scale,
                            Value zeroPoint, bool isSigned) {
  Value centered = subtractZeroPoint(builder, x, zeroPoint, isSigned);
  Value value =
      arith::SIToFPOp::create(builder, builder.getF32Type(), centered);
  return arith::MulFOp::create(builder, value, scale);
}

Value qtx::quantizeTensor(ImplicitLocOpBuilder &builder, Operation *op,
                          const QuantEdge &edge, Value x) {
  QuantParams params = *getQuantParams(op, edge);
  ParamTensors tensors = materializeParams(builder, op, edge);
  return createElementwise(
      builder, getSizes(builder, x), params.getStorageType(),
      {withIdentityMap(x), tensors.scale, tensors.zeroPoint},
      [&](ImplicitLocOpBuilder &b, ValueRange args) {
        return quantizeScalar(b, args[0], args[1], args[2], params);
      });
}

Value qtx::dequantizeTensor(ImplicitLocOpBuilder &builder, Operation *op,
                            const QuantEdge &edge) {
  std::optional<QuantParams> params = getQuantParams(op, edge);
  if (!params)
    return edge.value;
  ParamTensors tensors = materializeParams(builder, op, edge);
  return createElementwise(
      builder, getSizes(builder, edge.value), builder.getF32Type(),
      {withIdentityMap(edge.value), tensors.scale, tensors.zeroPoint},
      [&](ImplicitLocOpBuilder &b, ValueRange args) {
        return dequantizeScalar(b, args[0], args[1], args[2],
                                params->isSigned());
      });
}

LogicalResult qtx::requireStorageForm(Operation *op,
                                      PatternRewriter &rewriter) {
  auto isQuantized = [](Type type) { return getStorageForm(type) != type; };
  if (llvm::none_of(op->getOperandTypes(), isQuantized) &&
      llvm::none_of(op->getResultTypes(), isQuantized))
    return success();
  return rewriter.notifyMatchFailure(
      op, "requires the storage form; run 'qtx-to-storage' first");
}

void qtx::replaceWithCast(PatternRewriter &rewriter, Operation *op,
                          Value value) {
  replaceAllWithCasts(rewriter, op, value);
}

void qtx::replaceAllWithCasts(PatternRewriter &rewriter, Operation *op,
                              ValueRange values) {
  SmallVector<Value> replacements;
  for (auto [value, type] : llvm::zip_equal(values, op->getResultTypes()))
    replacements.push_back(
        value.getType() == type
            ? value
            : tensor::CastOp::create(rewriter, op->getLoc(), type, value));
  rewriter.replaceOp(op, replacements);
}

Value qtx::createActivation(ImplicitLocOpBuilder &builder, Value x,
                            Activation activation) {
  switch (activation) {
  case Activation::None:
    return x;
  case Activation::Relu:
    // Numerics.md, "Activations": NaN propagates through ReLU.
    return arith::MaximumFOp::create(builder, x, createF32(builder, 0.0));
  case Activation::Gelu:
    return createGelu(builder, x);
  case Activation::GeluTanh:
    return createGeluTanh(builder, x);
  case Activation::Silu:
    return createSilu(builder, x);
  }
  llvm_unreachable("unknown activation");
}

Value qtx::clipScalar(ImplicitLocOpBuilder &b, Value p, const APFloat &gamma,
                      const APFloat &zeta) {
  Value stretch = arith::ConstantOp::create(
      b, b.getFloatAttr(b.getF32Type(), zeta - gamma));
  Value shift =
      arith::ConstantOp::create(b, b.getFloatAttr(b.getF32Type(), gamma));
  Value stretched = math::FmaOp::create(b, stretch, p, shift);
  Value atLeast = arith::MaximumFOp::create(b, stretched, createF32(b, 0.0));
  return arith::MinimumFOp::create(b, atLeast, createF32(b, 1.0));
}

Value qtx::createRowIndex(ImplicitLocOpBuilder &builder, Value id,
                          int64_t numRows) {
  Type i64 = builder.getI64Type();
  if (id.getType().isIndex())
    id = arith::IndexCastOp::create(builder, i64, id);
  else if (id.getType() != i64)
    id = arith::ExtSIOp::create(builder, i64, id);
  Value zero = arith::ConstantIntOp::create(builder, 0, 64);
  Value fromEnd = arith::AddIOp::create(
      builder, id, arith::ConstantIntOp::create(builder, numRows, 64));
  Value isNegative =
      arith::CmpIOp::create(builder, arith::CmpIPredicate::slt, id, zero);
  Value row = arith::SelectOp::create(builder, isNegative, fromEnd, id);
  row = arith::MaxSIOp::create(builder, row, zero);
  row = arith::MinSIOp::create(
      builder, row, arith::ConstantIntOp::create(builder, numRows - 1, 64));
  return arith::IndexCastOp::create(builder, builder.getIndexType(), row);
}

Value qtx::applyActivation(ImplicitLocOpBuilder &builder, Value x,
                           Activation activation) {
  if (activation == Activation::None)
    return x;
  return createElementwise(builder, getSizes(builder, x), builder.getF32Type(),
                           {withIdentityMap(x)},
                           [&](ImplicitLocOpBuilder &b, ValueRange args) {
                             return createActivation(b, args[0], activation);
                           });
}
