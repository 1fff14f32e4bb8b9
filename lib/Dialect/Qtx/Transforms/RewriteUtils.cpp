//===- RewriteUtils.cpp - Shared pieces of rewrites -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RewriteUtils.h"
#include "ConstantUtils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"

using namespace mlir;
using namespace qtx;

namespace {
/// The part [offset, offset + size) of one axis of `source`.
struct AxisSlice {
  Value source;
  int64_t offset;
  int64_t size;
};
} // namespace

static Value createSlice(OpBuilder &builder, Location loc, Value tensor,
                         int64_t axis, int64_t offset, int64_t size) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, tensor);
  SmallVector<OpFoldResult> offsets(sizes.size(), builder.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(sizes.size(), builder.getIndexAttr(1));
  offsets[axis] = builder.getIndexAttr(offset);
  sizes[axis] = builder.getIndexAttr(size);
  return tensor::ExtractSliceOp::create(builder, loc, tensor, offsets, sizes,
                                        strides);
}

Value qtx::sliceAxis(OpBuilder &builder, Location loc, Value tensor,
                     int64_t axis, int64_t offset, int64_t size) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (offset == 0 && type.getDimSize(axis) == size)
    return tensor;
  if (auto constant = ConstantTensor::get(tensor))
    return constant->slice(axis, offset, size).materialize(builder, loc);
  return createSlice(builder, loc, tensor, axis, offset, size);
}

/// Whether dimension `dim` of the source is taken whole.
static bool takesWholeDim(tensor::ExtractSliceOp op, int64_t dim) {
  int64_t sourceSize = op.getSourceType().getDimSize(dim);
  if (!ShapedType::isDynamic(sourceSize))
    return op.getStaticSize(dim) == sourceSize;
  auto size = dyn_cast<Value>(op.getMixedSizes()[dim]);
  auto dimOp = size ? size.getDefiningOp<tensor::DimOp>() : nullptr;
  return dimOp && dimOp.getSource() == op.getSource() &&
         dimOp.getConstantIndex() == dim;
}

/// `tensor` as a slice of the same rank along `axis` alone, with static bounds.
static std::optional<AxisSlice> matchSlice(Value tensor, int64_t axis) {
  auto op = tensor.getDefiningOp<tensor::ExtractSliceOp>();
  if (!op || op.getSourceType().getRank() != op.getType().getRank() ||
      !op.hasUnitStride() || op.isDynamicOffset(axis) || op.isDynamicSize(axis))
    return std::nullopt;
  for (int64_t dim = 0, rank = op.getType().getRank(); dim < rank; ++dim)
    if (dim != axis &&
        (op.isDynamicOffset(dim) || op.getStaticOffset(dim) != 0 ||
         !takesWholeDim(op, dim)))
      return std::nullopt;
  return AxisSlice{op.getSource(), op.getStaticOffset(axis),
                   op.getStaticSize(axis)};
}

/// Equal element types, and shapes that differ in `axis` at most.
static bool canJoin(Value first, Value second, int64_t axis) {
  auto firstType = cast<RankedTensorType>(first.getType());
  auto secondType = cast<RankedTensorType>(second.getType());
  if (firstType.getElementType() != secondType.getElementType() ||
      firstType.getRank() != secondType.getRank())
    return false;
  for (int64_t dim = 0, rank = firstType.getRank(); dim < rank; ++dim)
    if (dim != axis && firstType.getDimSize(dim) != secondType.getDimSize(dim))
      return false;
  return true;
}

Value qtx::joinAxis(OpBuilder &builder, Location loc, Value first, Value second,
                    int64_t axis) {
  if (!canJoin(first, second, axis))
    return {};
  auto firstConstant = ConstantTensor::get(first);
  auto secondConstant = ConstantTensor::get(second);
  if (firstConstant && secondConstant)
    return firstConstant->concat(*secondConstant, axis)
        .materialize(builder, loc);
  auto firstSlice = matchSlice(first, axis);
  auto secondSlice = matchSlice(second, axis);
  if (!firstSlice || !secondSlice ||
      firstSlice->source != secondSlice->source ||
      firstSlice->offset + firstSlice->size != secondSlice->offset)
    return {};
  return sliceAxis(builder, loc, firstSlice->source, axis, firstSlice->offset,
                   firstSlice->size + secondSlice->size);
}

Value qtx::insertLast(OpBuilder &builder, Value piece, Value whole,
                      int64_t offset) {
  Location loc = piece.getLoc();
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, piece);
  SmallVector<OpFoldResult> offsets(sizes.size(), builder.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(sizes.size(), builder.getIndexAttr(1));
  offsets.back() = builder.getIndexAttr(offset);
  return tensor::InsertSliceOp::create(builder, loc, piece, whole, offsets,
                                       sizes, strides);
}

/// Whether the storage range of `params` is the whole one of its width, the
/// only one that groups can express.
static bool hasWholeRange(const QuantParams &params) {
  return std::make_pair(params.getStorageMin(), params.getStorageMax()) ==
         getIntegerRange(params.getStorageType().getWidth(), params.isSigned());
}

/// Appends the groups of `size` channels with the parameters `params`.
static void appendGroups(const QuantParams &params, int64_t size,
                         SmallVectorImpl<int64_t> &sizes,
                         SmallVectorImpl<float> &scales,
                         SmallVectorImpl<int64_t> &zeroPoints) {
  if (params.isPerTensor())
    sizes.push_back(size);
  llvm::append_range(sizes, params.getGroupSizes());
  for (int64_t group = 0; !params.isDynamic() && group < params.getNumGroups();
       ++group) {
    scales.push_back(params.getScale(group));
    zeroPoints.push_back(params.getZeroPoint(group));
  }
}

Type qtx::joinGroups(const QuantParams &first, int64_t firstSize,
                     const QuantParams &second, int64_t secondSize) {
  if (first.getStorageType() != second.getStorageType() ||
      first.isSigned() != second.isSigned() ||
      first.isDynamic() != second.isDynamic() || !hasWholeRange(first) ||
      !hasWholeRange(second))
    return {};
  SmallVector<int64_t> sizes, zeroPoints;
  SmallVector<float> scales;
  appendGroups(first, firstSize, sizes, scales, zeroPoints);
  appendGroups(second, secondSize, sizes, scales, zeroPoints);
  // No group has no channels.
  if (llvm::is_contained(sizes, 0))
    return {};
  MLIRContext *context = first.getType().getContext();
  DenseF32ArrayAttr scaleAttr;
  DenseI64ArrayAttr zeroPointAttr;
  if (!first.isDynamic()) {
    scaleAttr = DenseF32ArrayAttr::get(context, scales);
    zeroPointAttr = DenseI64ArrayAttr::get(context, zeroPoints);
  }
  return GroupedType::get(context, first.getStorageType().getWidth(),
                          first.isSigned(), /*axis=*/-1, sizes, scaleAttr,
                          zeroPointAttr);
}

bool qtx::isSameTensor(Value first, Value second) {
  if (first == second)
    return true;
  auto firstConstant = ConstantTensor::get(first);
  auto secondConstant = ConstantTensor::get(second);
  return firstConstant && secondConstant && *firstConstant == *secondConstant;
}

bool qtx::isInQuantizedForm(Operation *op) {
  auto isQuantized = [](Type type) { return getStorageForm(type) != type; };
  return llvm::any_of(op->getOperandTypes(), isQuantized) ||
         llvm::any_of(op->getResultTypes(), isQuantized);
}
