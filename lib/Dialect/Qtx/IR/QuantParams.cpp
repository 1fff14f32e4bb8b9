//===- QuantParams.cpp - View of quantization parameters ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/QuantParams.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/TypeUtilities.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;
using namespace qtx;
using quant::UniformQuantizedType;

#include "qtx/Dialect/Qtx/IR/QtxInterfaces.cpp.inc"

//===----------------------------------------------------------------------===//
// QuantParams
//===----------------------------------------------------------------------===//

std::pair<int64_t, int64_t> qtx::getIntegerRange(unsigned width,
                                                 bool isSigned) {
  if (isSigned)
    return {-(int64_t(1) << (width - 1)), (int64_t(1) << (width - 1)) - 1};
  return {0, (int64_t(1) << width) - 1};
}

std::optional<QuantParams> QuantParams::get(Type elementType) {
  if (!elementType || !isa<UniformQuantizedType, GroupedType>(elementType))
    return std::nullopt;
  return QuantParams(elementType);
}

IntegerType QuantParams::getStorageType() const {
  unsigned width;
  if (auto uniform = dyn_cast<UniformQuantizedType>(type))
    width = uniform.getStorageTypeIntegralWidth();
  else
    width = cast<GroupedType>(type).getStorageWidth();
  return IntegerType::get(type.getContext(), width);
}

bool QuantParams::isSigned() const {
  if (auto uniform = dyn_cast<UniformQuantizedType>(type))
    return uniform.isSigned();
  return cast<GroupedType>(type).getIsSigned();
}

int64_t QuantParams::getStorageMin() const {
  if (auto uniform = dyn_cast<UniformQuantizedType>(type))
    return uniform.getStorageTypeMin();
  return getIntegerRange(getStorageType().getWidth(), isSigned()).first;
}

int64_t QuantParams::getStorageMax() const {
  if (auto uniform = dyn_cast<UniformQuantizedType>(type))
    return uniform.getStorageTypeMax();
  return getIntegerRange(getStorageType().getWidth(), isSigned()).second;
}

bool QuantParams::isPerTensor() const {
  return isa<UniformQuantizedType>(type);
}

bool QuantParams::isDynamic() const {
  auto grouped = dyn_cast<GroupedType>(type);
  return grouped && grouped.isDynamic();
}

int64_t QuantParams::getNumGroups() const {
  auto grouped = dyn_cast<GroupedType>(type);
  return grouped ? grouped.getNumGroups() : 1;
}

ArrayRef<int64_t> QuantParams::getGroupSizes() const {
  auto grouped = dyn_cast<GroupedType>(type);
  return grouped ? grouped.getGroupSizes() : ArrayRef<int64_t>();
}

int64_t QuantParams::getNumChannels() const {
  return cast<GroupedType>(type).getNumChannels();
}

int64_t QuantParams::getAxis() const {
  return cast<GroupedType>(type).getAxis();
}

float QuantParams::getScale(int64_t group) const {
  if (auto uniform = dyn_cast<UniformQuantizedType>(type))
    return static_cast<float>(uniform.getScale());
  return cast<GroupedType>(type).getScales()[group];
}

int64_t QuantParams::getZeroPoint(int64_t group) const {
  if (auto uniform = dyn_cast<UniformQuantizedType>(type))
    return uniform.getZeroPoint();
  return cast<GroupedType>(type).getZeroPoints()[group];
}

bool QuantParams::hasOnlyZeroZeroPoints() const {
  for (int64_t group = 0, e = getNumGroups(); group < e; ++group)
    if (getZeroPoint(group) != 0)
      return false;
  return true;
}

SmallVector<int64_t> QuantParams::getGroupOfChannel() const {
  SmallVector<int64_t> groupOfChannel;
  for (auto [group, size] : llvm::enumerate(getGroupSizes()))
    groupOfChannel.append(size, group);
  return groupOfChannel;
}

/// `!quant.uniform` with the parameters of one group of `params`.
static Type getUniformOfGroup(const QuantParams &params, int64_t group) {
  return UniformQuantizedType::get(
      params.isSigned() ? quant::QuantizationFlags::Signed : 0,
      params.getStorageType(), Float32Type::get(params.getType().getContext()),
      params.getScale(group), params.getZeroPoint(group),
      params.getStorageMin(), params.getStorageMax());
}

Type QuantParams::getSliced(int64_t offset, int64_t size) const {
  if (isPerTensor())
    return type;
  auto grouped = cast<GroupedType>(type);
  SmallVector<int64_t> sizes, zeroPoints;
  SmallVector<float> scales;
  int64_t begin = 0, firstGroup = -1;
  for (auto [group, groupSize] : llvm::enumerate(getGroupSizes())) {
    int64_t overlap =
        std::min(begin + groupSize, offset + size) - std::max(begin, offset);
    begin += groupSize;
    if (overlap <= 0)
      continue;
    if (firstGroup < 0)
      firstGroup = group;
    sizes.push_back(overlap);
    if (!isDynamic()) {
      scales.push_back(getScale(group));
      zeroPoints.push_back(getZeroPoint(group));
    }
  }
  if (!isDynamic() && sizes.size() == 1)
    return getUniformOfGroup(*this, firstGroup);
  MLIRContext *context = type.getContext();
  return GroupedType::get(context, grouped.getStorageWidth(),
                          grouped.getIsSigned(), grouped.getAxis(), sizes,
                          isDynamic() ? DenseF32ArrayAttr()
                                      : DenseF32ArrayAttr::get(context, scales),
                          isDynamic()
                              ? DenseI64ArrayAttr()
                              : DenseI64ArrayAttr::get(context, zeroPoints));
}

bool qtx::isQuantizedElementType(Type type) {
  return QuantParams::get(type).has_value();
}

bool qtx::isQuantizableElementType(Type type) {
  if (type.isF32() || isQuantizedElementType(type))
    return true;
  return type.isSignlessInteger() &&
         llvm::is_contained({4u, 8u, 16u, 32u}, type.getIntOrFloatBitWidth());
}

Type qtx::getStorageForm(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return type;
  std::optional<QuantParams> params = QuantParams::get(tensor.getElementType());
  return params ? tensor.clone(params->getStorageType()) : tensor;
}

//===----------------------------------------------------------------------===//
// Edges
//===----------------------------------------------------------------------===//

std::optional<QuantParams> qtx::getQuantParams(Operation *op,
                                               const QuantEdge &edge) {
  Type elementType = cast<ShapedType>(edge.value.getType()).getElementType();
  if (auto params = QuantParams::get(elementType))
    return params;
  if (auto attr = op->getAttrOfType<TypeAttr>(edge.attrName))
    return QuantParams::get(attr.getValue());
  return std::nullopt;
}

/// The two forms exclude each other, and the storage integer fits the
/// attribute.
static LogicalResult verifyForm(Operation *op, const QuantEdge &edge) {
  Type elementType = cast<ShapedType>(edge.value.getType()).getElementType();
  auto attr = op->getAttrOfType<TypeAttr>(edge.attrName);
  if (!attr)
    return success();
  if (isQuantizedElementType(elementType))
    return op->emitOpError()
           << "expected no '" << edge.attrName.getValue()
           << "' beside the quantized element type " << elementType;
  IntegerType storage = QuantParams::get(attr.getValue())->getStorageType();
  if (elementType != storage)
    return op->emitOpError()
           << "expected element type " << storage << ", the storage type of '"
           << edge.attrName.getValue() << "', found " << elementType;
  return success();
}

/// What upstream's `!quant.uniform` leaves unverified.
static LogicalResult verifyUniform(Operation *op, UniformQuantizedType type) {
  if (!type.getExpressedType().isF32())
    return op->emitOpError() << "expected the expressed type f32, found "
                             << type.getExpressedType();
  if (!llvm::is_contained({4u, 8u, 16u, 32u},
                          type.getStorageTypeIntegralWidth()))
    return op->emitOpError()
           << "expected a storage width of 4, 8, 16 or 32 bits, found "
           << type.getStorageTypeIntegralWidth();
  float scale = static_cast<float>(type.getScale());
  if (!std::isnormal(scale) || scale < 0)
    return op->emitOpError() << "expected a scale that is a positive, finite, "
                                "normal f32 number, found "
                             << type.getScale();
  int64_t zeroPoint = type.getZeroPoint();
  if (zeroPoint < type.getStorageTypeMin() ||
      zeroPoint > type.getStorageTypeMax())
    return op->emitOpError()
           << "zero point " << zeroPoint << " is outside the storage range ["
           << type.getStorageTypeMin() << ", " << type.getStorageTypeMax()
           << "]";
  return success();
}

static LogicalResult verifyGroups(Operation *op, ShapedType tensor,
                                  const QuantParams &params) {
  int64_t rank = tensor.getRank();
  int64_t axis = params.getAxis(rank);
  if (axis < 0)
    return op->emitOpError()
           << "group axis " << params.getAxis()
           << " is out of range for a tensor of rank " << rank;
  int64_t size = tensor.getDimSize(axis);
  if (size != params.getNumChannels())
    return op->emitOpError()
           << "group sizes sum to " << params.getNumChannels()
           << ", expected the size of dimension " << axis << ", "
           << (ShapedType::isDynamic(size) ? "which is dynamic"
                                           : llvm::Twine(size).str());
  return success();
}

/// A run-time parameter has shape [groups], or one value per leading position
/// and group.
static LogicalResult verifyRunTimeShape(Operation *op, StringRef what,
                                        Value value, ShapedType tensor,
                                        const QuantParams &params) {
  auto type = cast<ShapedType>(value.getType());
  int64_t groups = params.getNumGroups();
  if (type.getRank() == 1 && type.getDimSize(0) == groups)
    return success();
  bool perPosition =
      params.getAxis() == -1 && type.getRank() == tensor.getRank() &&
      type.getShape().back() == groups &&
      succeeded(verifyCompatibleShape(type.getShape().drop_back(),
                                      tensor.getShape().drop_back()));
  if (perPosition)
    return success();
  return op->emitOpError()
         << "expected run-time " << what << " of shape [" << groups
         << "], or with the leading dimensions of the tensor, found " << type;
}

static LogicalResult verifyRunTimeParams(Operation *op, const QuantEdge &edge,
                                         const QuantParams *params) {
  auto tensor = cast<ShapedType>(edge.value.getType());
  if (!params || !params->isDynamic()) {
    if (edge.scale || edge.zeroPoint)
      return op->emitOpError() << "expected run-time parameters only beside a "
                                  "'!qtx.grouped' type "
                                  "whose parameters are '?'";
    return success();
  }
  if (!edge.scale)
    return op->emitOpError() << "requires a run-time scale for the '?' "
                                "parameters of "
                             << params->getType();
  if (failed(verifyRunTimeShape(op, "scales", edge.scale, tensor, *params)))
    return failure();
  if (!edge.zeroPoint)
    return success();
  return verifyRunTimeShape(op, "zero points", edge.zeroPoint, tensor, *params);
}

LogicalResult qtx::verifyQuantParams(Operation *op, const QuantParams &params,
                                     ShapedType tensor) {
  if (auto uniform = dyn_cast<UniformQuantizedType>(params.getType()))
    return verifyUniform(op, uniform);
  return verifyGroups(op, tensor, params);
}

static LogicalResult verifyEdge(Operation *op, const QuantEdge &edge) {
  if (failed(verifyForm(op, edge)))
    return failure();
  std::optional<QuantParams> params = getQuantParams(op, edge);
  if (params && failed(verifyQuantParams(
                    op, *params, cast<ShapedType>(edge.value.getType()))))
    return failure();
  return verifyRunTimeParams(op, edge, params ? &*params : nullptr);
}

LogicalResult qtx::verifyQuantEdges(Operation *op) {
  for (const QuantEdge &edge : cast<QuantizableOpInterface>(op).getQuantEdges())
    if (failed(verifyEdge(op, edge)))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

SmallVector<Segment> qtx::getSegments(int64_t size, ArrayRef<int64_t> groups,
                                      ArrayRef<int64_t> blocks) {
  SmallVector<Segment> segments;
  int64_t group = 0, block = 0;
  int64_t groupEnd = groups.empty() ? size : groups.front();
  int64_t blockEnd = blocks.empty() ? size : blocks.front();
  for (int64_t offset = 0; offset < size;) {
    int64_t end = std::min({groupEnd, blockEnd, size});
    segments.push_back({offset, end - offset, group, block});
    offset = end;
    if (end == groupEnd && end < size)
      groupEnd += groups[++group];
    if (end == blockEnd && end < size)
      blockEnd += blocks[++block];
  }
  return segments;
}
