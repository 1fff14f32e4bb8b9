//===- AttentionTiling.cpp - Tiling of attention --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A tile is a part of B, H, S and dv of the result; the keys stay whole, since
// clipping needs the final normaliser.
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"

using namespace mlir;
using namespace qtx;

namespace {

enum Dim { kBatch, kHead, kRow, kChannel };

/// Makes one tile of an attention operation.
class AttentionTile {
public:
  AttentionTile(AttentionOp op, OpBuilder &builder,
                ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes)
      : op(op), builder(builder), loc(op.getLoc()), offsets(offsets),
        sizes(sizes) {}

  FailureOr<TilingResult> create() {
    if (failed(verifyTilesInStorageForm(op)) || failed(checkSizes()) ||
        failed(findKeyHeads()) || failed(sliceTypes()))
      return failure();
    SmallVector<int64_t> shape;
    for (OpFoldResult size : sizes)
      shape.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
    Value query = slice(op.getQuery(), {batch(), head(), row(), whole()});
    Value key = slice(op.getKey(), {batch(), keyHead(), whole(), whole()});
    Value value =
        slice(op.getValue(), {batch(), keyHead(), whole(), channel()});
    auto tile = AttentionOp::create(
        builder, loc, op.getY().getType().clone(shape), query, key, value,
        sliceMask(), createOffset(), slice(op.getSink(), {head()}),
        slice(op.getGate(), {batch(), head(), row(), channel()}), types[0],
        types[1], types[2], op.getCausalAttr(), op.getScaleAttr(),
        op.getSoftCapAttr(), types[3], op.getSinkLogitAttr(), op.getGammaAttr(),
        op.getZetaAttr(), op.getUnnormalisedAttr(), types[4], types[5],
        op.getGainAttr(), types[6]);
    return TilingResult{{tile}, {tile.getY()}, slices};
  }

private:
  LogicalResult checkSizes() {
    for (Dim dim : {kHead, kChannel})
      if (!getConstantIntValue(sizes[dim]))
        return op.emitOpError() << "cannot be tiled by this size along the "
                                << (dim == kHead ? "heads" : "channels")
                                << ": expected one that divides their number";
    return success();
  }

  /// The key and value heads of the tile: all, one for one, or those of whole
  /// groups of query heads, or the single one of a single head.
  LogicalResult findKeyHeads() {
    int64_t group = op.getHeadsPerKeyValueHead();
    int64_t size = *getConstantIntValue(sizes[kHead]);
    std::optional<int64_t> offset = getConstantIntValue(offsets[kHead]);
    int64_t keySize = size / group;
    if (size == 1)
      keySize = 1;
    else if (offset && *offset / group == (*offset + size - 1) / group)
      keySize = 1;
    else if (group != 1 &&
             (!offset || *offset % group != 0 || size % group != 0))
      return op.emitOpError()
             << "cannot be tiled by " << size
             << " heads: expected one head, or whole groups of the " << group
             << " heads that share a key, at a place known at compile time";
    AffineExpr headExpr = builder.getAffineDimExpr(0);
    keyHeads = {affine::makeComposedFoldedAffineApply(
                    builder, loc, headExpr.floorDiv(group), offsets[kHead]),
                builder.getIndexAttr(keySize)};
    return success();
  }

  /// A part of one dimension; a null offset is the whole dimension.
  struct Span {
    OpFoldResult offset, size;
  };
  Span whole() { return {}; }
  Span batch() { return {offsets[kBatch], sizes[kBatch]}; }
  Span head() { return {offsets[kHead], sizes[kHead]}; }
  Span keyHead() { return keyHeads; }
  Span row() { return {offsets[kRow], sizes[kRow]}; }
  Span channel() { return {offsets[kChannel], sizes[kChannel]}; }

  /// The part of `tensor`, which may be null, that `ranges` describe: one for
  /// each dimension, and more where `tensor` has a lower rank.
  Value slice(Value tensor, ArrayRef<Span> ranges) {
    if (!tensor)
      return {};
    SmallVector<OpFoldResult> sliceSizes =
        tensor::getMixedSizes(builder, loc, tensor);
    int64_t rank = sliceSizes.size();
    SmallVector<OpFoldResult> sliceOffsets(rank, builder.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(rank, builder.getIndexAttr(1));
    for (int64_t dim = 0; dim < rank; ++dim) {
      if (!ranges[dim].offset)
        continue;
      sliceOffsets[dim] = ranges[dim].offset;
      sliceSizes[dim] = ranges[dim].size;
    }
    auto sliceOp = tensor::ExtractSliceOp::create(
        builder, loc, tensor, sliceOffsets, sliceSizes, strides);
    slices.push_back(sliceOp);
    return sliceOp;
  }

  /// Dimensions of size 1 are broadcast and stay.
  Value sliceMask() {
    if (!op.getMask())
      return {};
    Span ranges[] = {batch(), head(), row(), whole()};
    auto type = cast<RankedTensorType>(op.getMask().getType());
    for (int64_t dim = 0; dim < 3; ++dim)
      if (type.getDimSize(dim) == 1)
        ranges[dim] = whole();
    return slice(op.getMask(), ranges);
  }

  /// The position of the tile's first query among the keys.
  Value createOffset() {
    if (!op.getCausal())
      return {};
    AffineExpr d0, d1, d2;
    bindDims(builder.getContext(), d0, d1, d2);
    OpFoldResult offset;
    if (op.getOffset())
      offset = affine::makeComposedFoldedAffineApply(
          builder, loc, d0 + d1, {op.getOffset(), offsets[kRow]});
    else
      offset = affine::makeComposedFoldedAffineApply(
          builder, loc, d0 - d1 + d2,
          {tensor::getMixedSize(builder, loc, op.getKey(), 2),
           tensor::getMixedSize(builder, loc, op.getQuery(), 2),
           offsets[kRow]});
    return getValueOrCreateConstantIndexOp(builder, loc, offset);
  }

  /// The element type of the part of a tensor in these heads and channels.
  FailureOr<TypeAttr> sliceType(TypeAttr attr, Span heads, Span channels) {
    std::optional<QuantParams> params =
        attr ? QuantParams::get(attr.getValue()) : std::nullopt;
    if (!params || params->isPerTensor())
      return attr;
    bool perHead = params->getAxis() == -3;
    Span range = perHead ? heads : channels;
    std::optional<int64_t> offset = getConstantIntValue(range.offset);
    std::optional<int64_t> size = getConstantIntValue(range.size);
    if (!offset || !size)
      return op.emitOpError()
             << "cannot be tiled along the " << (perHead ? "heads" : "channels")
             << ", which have their own parameters, at a place not known at "
                "compile time";
    return TypeAttr::get(params->getSliced(*offset, *size));
  }

  LogicalResult sliceTypes() {
    FailureOr<TypeAttr> results[] = {
        sliceType(op.getQueryQuantAttr(), head(), whole()),
        sliceType(op.getKeyQuantAttr(), keyHead(), whole()),
        sliceType(op.getValueQuantAttr(), keyHead(), channel()),
        sliceType(op.getScoresQuantAttr(), head(), whole()),
        sliceType(op.getProbsQuantAttr(), head(), whole()),
        sliceType(op.getContextQuantAttr(), head(), channel()),
        sliceType(op.getYQuantAttr(), head(), channel())};
    for (FailureOr<TypeAttr> &result : results) {
      if (failed(result))
        return failure();
      types.push_back(*result);
    }
    return success();
  }

  AttentionOp op;
  OpBuilder &builder;
  Location loc;
  ArrayRef<OpFoldResult> offsets, sizes;
  Span keyHeads;
  /// Element types of query, key, value, scores, probabilities, context,
  /// result.
  SmallVector<TypeAttr> types;
  SmallVector<Operation *> slices;
};

} // namespace

SmallVector<utils::IteratorType> AttentionOp::getLoopIteratorTypes() {
  return SmallVector<utils::IteratorType>(4, utils::IteratorType::parallel);
}

SmallVector<Range> AttentionOp::getIterationDomain(OpBuilder &builder) {
  ReifiedRankedShapedTypeDims shapes;
  // Never fails.
  (void)reifyResultShapes(builder, shapes);
  SmallVector<Range> ranges;
  for (OpFoldResult size : shapes.front())
    ranges.push_back({builder.getIndexAttr(0), size, builder.getIndexAttr(1)});
  return ranges;
}

FailureOr<TilingResult>
AttentionOp::getTiledImplementation(OpBuilder &builder,
                                    ArrayRef<OpFoldResult> offsets,
                                    ArrayRef<OpFoldResult> sizes) {
  return AttentionTile(*this, builder, offsets, sizes).create();
}

LogicalResult AttentionOp::getResultTilePosition(
    OpBuilder &, unsigned, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  resultOffsets.assign(offsets.begin(), offsets.end());
  resultSizes.assign(sizes.begin(), sizes.end());
  return success();
}

FailureOr<TilingResult>
AttentionOp::generateResultTileValue(OpBuilder &builder, unsigned,
                                     ArrayRef<OpFoldResult> offsets,
                                     ArrayRef<OpFoldResult> sizes) {
  return getTiledImplementation(builder, offsets, sizes);
}
