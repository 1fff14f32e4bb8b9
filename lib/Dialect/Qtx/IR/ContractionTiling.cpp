//===- ContractionTiling.cpp - Tiling of contractions ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"

using namespace mlir;
using namespace qtx;

using OpFoldResults = SmallVector<OpFoldResult>;

SmallVector<utils::IteratorType> LinearOp::getLoopIteratorTypes() {
  return SmallVector<utils::IteratorType>(getY().getType().getRank(),
                                          utils::IteratorType::parallel);
}

SmallVector<Range> LinearOp::getIterationDomain(OpBuilder &builder) {
  ReifiedRankedShapedTypeDims shapes;
  (void)reifyResultShapes(builder, shapes);
  SmallVector<Range> domain;
  for (OpFoldResult size : shapes.front())
    domain.push_back({builder.getIndexAttr(0), size, builder.getIndexAttr(1)});
  return domain;
}

LogicalResult LinearOp::getResultTilePosition(
    OpBuilder &builder, unsigned resultNumber, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  resultOffsets = llvm::to_vector(offsets);
  resultSizes = llvm::to_vector(sizes);
  return success();
}

FailureOr<TilingResult>
LinearOp::generateResultTileValue(OpBuilder &builder, unsigned resultNumber,
                                  ArrayRef<OpFoldResult> offsets,
                                  ArrayRef<OpFoldResult> sizes) {
  return getTiledImplementation(builder, offsets, sizes);
}

namespace {

/// Builds one tile of a linear in storage form. The tile is [offsets, sizes) of
/// the result; the contracted axis stays whole.
class LinearTile {
public:
  LinearTile(LinearOp op, OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
             ArrayRef<OpFoldResult> sizes)
      : op(op), builder(op.getLoc(), builder), offsets(offsets), sizes(sizes),
        output{offsets.back(), sizes.back()} {}

  FailureOr<TilingResult> create() {
    if (failed(sliceResultParams()))
      return failure();
    RankedTensorType y = op.getY().getType();
    SmallVector<int64_t> shape;
    for (OpFoldResult size : sizes)
      shape.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
    auto tile = LinearOp::create(
        builder, y.clone(shape), sliceLeading(op.getX()),
        sliceParams(op.getXScale()), sliceParams(op.getXZeroPoint()),
        sliceOutputs(op.getWeight(), 0), sliceWeightScale(), sliceBias(),
        op.getSeed() ? sliceOutputs(op.getSeed(), 1) : Value(), yScale,
        yZeroPoint, op.getXQuantAttr(), op.getWeightBlockAttr(),
        op.getIntegerJoinAttr(), op.getActivationAttr(), yQuant);
    return TilingResult{{tile}, {tile.getY()}, slices};
  }

private:
  struct Part {
    OpFoldResult offset, size;
  };

  /// The whole of every dimension of `tensor`.
  SmallVector<Part> getWhole(Value tensor) {
    return llvm::map_to_vector(
        tensor::getMixedSizes(builder, builder.getLoc(), tensor),
        [&](OpFoldResult size) { return Part{builder.getIndexAttr(0), size}; });
  }

  Value slice(Value tensor, ArrayRef<Part> parts) {
    OpFoldResults offsets, sizes;
    for (const Part &part : parts) {
      offsets.push_back(part.offset);
      sizes.push_back(part.size);
    }
    OpFoldResults strides(parts.size(), builder.getIndexAttr(1));
    auto slice = tensor::ExtractSliceOp::create(builder, tensor, offsets, sizes,
                                                strides);
    slices.push_back(slice);
    return slice;
  }

  /// The tile's leading dimensions, and the whole of the last one.
  SmallVector<Part> getLeadingParts(Value tensor) {
    SmallVector<Part> parts = getWhole(tensor);
    for (size_t dim = 0; dim + 1 < offsets.size(); ++dim)
      parts[dim] = {offsets[dim], sizes[dim]};
    return parts;
  }
  Value sliceLeading(Value tensor) {
    return slice(tensor, getLeadingParts(tensor));
  }

  /// Run-time parameters: one value per group, or per leading position too.
  bool isPerPosition(Value params) {
    int64_t rank = cast<ShapedType>(params.getType()).getRank();
    return rank == int64_t(offsets.size()) && rank > 1;
  }
  Value sliceParams(Value params) {
    return params && isPerPosition(params) ? sliceLeading(params) : params;
  }

  /// The tile's outputs along dimension `dim`, all of the others.
  Value sliceOutputs(Value tensor, int64_t dim) {
    SmallVector<Part> parts = getWhole(tensor);
    parts[dim] = output;
    return slice(tensor, parts);
  }

  /// One scale for all outputs stays as it is.
  Value sliceWeightScale() {
    Value scale = op.getWeightScale();
    if (!scale ||
        cast<ShapedType>(scale.getType()).getShape() == ArrayRef<int64_t>{1})
      return scale;
    return sliceOutputs(scale, 0);
  }

  Value sliceBias() {
    Value bias = op.getBias();
    if (!bias)
      return {};
    if (cast<ShapedType>(bias.getType()).getRank() == 1)
      return sliceOutputs(bias, 0);
    SmallVector<Part> parts = getLeadingParts(bias);
    parts.back() = output;
    return slice(bias, parts);
  }

  //===--------------------------------------------------------------------===//
  // Parameters of the result
  //===--------------------------------------------------------------------===//

  LogicalResult sliceResultParams() {
    yQuant = op.getYQuantAttr();
    yScale = sliceParams(op.getYScale());
    yZeroPoint = sliceParams(op.getYZeroPoint());
    std::optional<QuantParams> params =
        yQuant ? QuantParams::get(yQuant.getValue()) : std::nullopt;
    if (!params || params->isPerTensor())
      return success();
    std::optional<int64_t> size = getConstantIntValue(output.size);
    if (size == params->getNumChannels())
      return success();
    if (!size)
      return op.emitOpError()
             << "cannot be tiled: expected a tile size that divides the "
             << params->getNumChannels()
             << " outputs of a result that is quantized in groups";
    if (std::optional<int64_t> offset = getConstantIntValue(output.offset))
      return sliceGroups(*params, *offset, *size);
    return sliceChannels(*params, *size);
  }

  /// The parameters of a tile at a known place.
  LogicalResult sliceGroups(const QuantParams &params, int64_t offset,
                            int64_t size) {
    yQuant = TypeAttr::get(params.getSliced(offset, size));
    if (!params.isDynamic())
      return success();
    SmallVector<int64_t> groups = params.getGroupOfChannel();
    int64_t first = groups[offset], last = groups[offset + size - 1];
    Part part = {builder.getIndexAttr(first),
                 builder.getIndexAttr(last - first + 1)};
    yScale = sliceLast(yScale, part);
    yZeroPoint = yZeroPoint ? sliceLast(yZeroPoint, part) : Value();
    return success();
  }

  /// The parameters of a tile at an offset known at run time: one per channel.
  LogicalResult sliceChannels(const QuantParams &params, int64_t size) {
    auto grouped = cast<GroupedType>(params.getType());
    if (params.isDynamic() && params.getNumGroups() != params.getNumChannels())
      return op.emitOpError()
             << "cannot be tiled: expected run-time parameters of the result "
                "for each of its "
             << params.getNumChannels() << " outputs, found "
             << params.getNumGroups() << " groups";
    if (!params.isDynamic())
      createChannelParams(params);
    yScale = sliceLast(yScale, output);
    yZeroPoint = yZeroPoint ? sliceLast(yZeroPoint, output) : Value();
    yQuant = TypeAttr::get(GroupedType::get(
        op.getContext(), grouped.getStorageWidth(), grouped.getIsSigned(),
        grouped.getAxis(), SmallVector<int64_t>(size, 1), {}, {}));
    return success();
  }

  void createChannelParams(const QuantParams &params) {
    SmallVector<float> scales;
    SmallVector<int32_t> zeroPoints;
    for (int64_t group : params.getGroupOfChannel()) {
      scales.push_back(params.getScale(group));
      zeroPoints.push_back(params.getZeroPoint(group));
    }
    int64_t channels = scales.size();
    yScale = arith::ConstantOp::create(
        builder, DenseElementsAttr::get(
                     RankedTensorType::get(channels, builder.getF32Type()),
                     ArrayRef<float>(scales)));
    yZeroPoint = arith::ConstantOp::create(
        builder, DenseElementsAttr::get(
                     RankedTensorType::get(channels, builder.getI32Type()),
                     ArrayRef<int32_t>(zeroPoints)));
  }

  Value sliceLast(Value tensor, const Part &part) {
    SmallVector<Part> parts = getWhole(tensor);
    parts.back() = part;
    return slice(tensor, parts);
  }

  LinearOp op;
  ImplicitLocOpBuilder builder;
  ArrayRef<OpFoldResult> offsets, sizes;
  Part output;
  SmallVector<Operation *> slices;
  TypeAttr yQuant;
  Value yScale, yZeroPoint;
};

} // namespace

FailureOr<TilingResult>
LinearOp::getTiledImplementation(OpBuilder &builder,
                                 ArrayRef<OpFoldResult> offsets,
                                 ArrayRef<OpFoldResult> sizes) {
  if (failed(verifyTilesInStorageForm(*this)))
    return failure();
  return LinearTile(*this, builder, offsets, sizes).create();
}
