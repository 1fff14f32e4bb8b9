//===- ConstantUtils.cpp - Constant tensors for rewrites ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConstantUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinDialect.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>
#include <numeric>

using namespace mlir;
using namespace qtx;

/// More elements than this are not copied: a splat of a mistyped shape must not
/// take all memory.
static constexpr int64_t kMaxElements = int64_t(1) << 28;

/// Bytes of one element, as `DenseElementsAttr` stores it; 0 if unsupported.
static int64_t getElementBytes(Type elementType) {
  if (elementType.isIndex())
    return sizeof(int64_t);
  if (!elementType.isIntOrFloat() || elementType.isInteger(1))
    return 0;
  int64_t bytes = llvm::divideCeil(elementType.getIntOrFloatBitWidth(), 8);
  bool isWhole = elementType.isInteger(4) ||
                 elementType.getIntOrFloatBitWidth() == bytes * 8;
  return isWhole && bytes <= 8 && llvm::isPowerOf2_64(bytes) ? bytes : 0;
}

/// The product of `shape`, or nothing if it is more than a rewrite copies.
static std::optional<int64_t> getNumElements(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape) {
    if (size != 0 && count > kMaxElements / size)
      return std::nullopt;
    count *= size;
  }
  return count;
}

/// Bytes of all elements of a constant that can be read; nothing for others.
static std::optional<size_t> getReadableSize(Attribute attr) {
  auto elements = dyn_cast_or_null<ElementsAttr>(attr);
  auto type =
      elements ? dyn_cast<RankedTensorType>(elements.getType()) : nullptr;
  if (!type)
    return std::nullopt;
  int64_t elementBytes = getElementBytes(type.getElementType());
  std::optional<int64_t> count = getNumElements(type.getShape());
  if (elementBytes == 0 || !count)
    return std::nullopt;
  size_t size = *count * elementBytes;
  if (isa<DenseIntOrFPElementsAttr>(attr))
    return size;
  auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
  AsmResourceBlob *blob =
      resource ? resource.getRawHandle().getBlob() : nullptr;
  if (!blob || blob->getData().size() != size)
    return std::nullopt;
  return size;
}

/// The attribute of a constant operation; null for other values.
static Attribute getConstantAttr(Value value) {
  Attribute attr;
  if (value && matchPattern(value, m_Constant(&attr)))
    return attr;
  return {};
}

bool ConstantTensor::isConstant(Value value) {
  return getReadableSize(getConstantAttr(value)).has_value();
}

std::optional<ConstantTensor> ConstantTensor::get(Value value) {
  return get(getConstantAttr(value));
}

std::optional<ConstantTensor> ConstantTensor::get(Attribute attr) {
  std::optional<size_t> size = getReadableSize(attr);
  if (!size)
    return std::nullopt;
  auto type = cast<RankedTensorType>(cast<ElementsAttr>(attr).getType());
  if (auto dense = dyn_cast<DenseIntOrFPElementsAttr>(attr)) {
    ArrayRef<char> raw = dense.getRawData();
    std::vector<char> bytes(raw.begin(), raw.end());
    if (dense.isSplat()) {
      size_t elementBytes = raw.size();
      bytes.resize(*size);
      for (size_t begin = 0; begin < *size; begin += elementBytes)
        std::memcpy(bytes.data() + begin, raw.data(), elementBytes);
    }
    return ConstantTensor(type, std::move(bytes), /*isResource=*/false);
  }
  ArrayRef<char> raw =
      cast<DenseResourceElementsAttr>(attr).getRawHandle().getBlob()->getData();
  std::vector<char> bytes(raw.begin(), raw.end());
  // As in `DenseElementsAttr`, so that equal elements are equal bytes.
  if (type.getElementType().isInteger(4))
    for (char &byte : bytes)
      byte &= 0xF;
  return ConstantTensor(type, std::move(bytes), /*isResource=*/true);
}

ConstantTensor ConstantTensor::create(RankedTensorType type,
                                      ArrayRef<int64_t> values) {
  // Little-endian, as everywhere in qtx.
  int64_t elementBytes = getElementBytes(type.getElementType());
  std::vector<char> bytes(values.size() * elementBytes);
  for (auto [index, value] : llvm::enumerate(values))
    std::memcpy(bytes.data() + index * elementBytes, &value, elementBytes);
  return ConstantTensor(type, std::move(bytes), /*isResource=*/false);
}

ConstantTensor ConstantTensor::create(RankedTensorType type,
                                      ArrayRef<float> values) {
  auto data = reinterpret_cast<const char *>(values.data());
  return ConstantTensor(
      type, std::vector<char>(data, data + values.size() * sizeof(float)),
      /*isResource=*/false);
}

std::vector<int64_t> ConstantTensor::getIntegers() const {
  Type elementType = type.getElementType();
  int64_t elementBytes = getElementBytes(elementType);
  unsigned width =
      elementType.isIndex() ? 64 : elementType.getIntOrFloatBitWidth();
  std::vector<int64_t> values(bytes.size() / elementBytes);
  for (auto [index, value] : llvm::enumerate(values)) {
    uint64_t raw = 0;
    std::memcpy(&raw, bytes.data() + index * elementBytes, elementBytes);
    value = llvm::SignExtend64(raw, width);
  }
  return values;
}

std::vector<float> ConstantTensor::getFloats() const {
  assert(type.getElementType().isF32() && "expected an f32 tensor");
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

ConstantTensor ConstantTensor::gather(int64_t axis,
                                      ArrayRef<int64_t> indices) const {
  ArrayRef<int64_t> shape = type.getShape();
  int64_t inner = getElementBytes(type.getElementType());
  for (int64_t size : shape.drop_front(axis + 1))
    inner *= size;
  int64_t outer = *getNumElements(shape.take_front(axis));
  std::vector<char> gathered;
  gathered.reserve(outer * indices.size() * inner);
  for (int64_t row = 0; row < outer; ++row)
    for (int64_t index : indices) {
      auto begin = bytes.begin() + (row * shape[axis] + index) * inner;
      gathered.insert(gathered.end(), begin, begin + inner);
    }
  SmallVector<int64_t> newShape(shape);
  newShape[axis] = indices.size();
  return ConstantTensor(type.clone(newShape), std::move(gathered), isResource);
}

ConstantTensor ConstantTensor::slice(int64_t axis, int64_t offset,
                                     int64_t size) const {
  SmallVector<int64_t> indices(size);
  std::iota(indices.begin(), indices.end(), offset);
  return gather(axis, indices);
}

ConstantTensor ConstantTensor::concat(const ConstantTensor &other,
                                      int64_t axis) const {
  ArrayRef<int64_t> shape = type.getShape();
  int64_t outer = *getNumElements(shape.take_front(axis));
  int64_t mine = outer ? bytes.size() / outer : 0;
  int64_t theirs = outer ? other.bytes.size() / outer : 0;
  std::vector<char> joined;
  joined.reserve(bytes.size() + other.bytes.size());
  for (int64_t row = 0; row < outer; ++row) {
    auto begin = bytes.begin() + row * mine;
    joined.insert(joined.end(), begin, begin + mine);
    auto otherBegin = other.bytes.begin() + row * theirs;
    joined.insert(joined.end(), otherBegin, otherBegin + theirs);
  }
  SmallVector<int64_t> newShape(shape);
  newShape[axis] += other.type.getDimSize(axis);
  return ConstantTensor(type.clone(newShape), std::move(joined), isResource);
}

ConstantTensor ConstantTensor::reshape(ArrayRef<int64_t> shape) const {
  return ConstantTensor(type.clone(shape), bytes, isResource);
}

ConstantTensor ConstantTensor::withFloats(ArrayRef<float> values) const {
  ConstantTensor other = create(type, values);
  other.isResource = isResource;
  return other;
}

Value ConstantTensor::materialize(OpBuilder &builder, Location loc) const {
  TypedAttr attr;
  if (isResource)
    attr = DenseResourceElementsAttr::get(
        type, "qtx",
        HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, /*align=*/64,
                                                      /*dataIsMutable=*/false));
  else
    attr = DenseElementsAttr::getFromRawBuffer(type, bytes);
  return arith::ConstantOp::create(builder, loc, attr);
}

void qtx::freeResource(DenseResourceElementsAttr attr) {
  DenseResourceElementsHandle handle = attr.getRawHandle();
  DenseResourceElementsHandle::getManagerInterface(attr.getContext())
      .getBlobManager()
      .update(handle.getKey(), AsmResourceBlob());
}
