//===- Constants.cpp - Constants of an ONNX graph -------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Constants.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/SmallPtrSet.h"
#include <cstring>
#include <limits>

using namespace mlir;
using namespace qtx::onnx;

/// Bytes of an element as both kinds of attributes store it; 0 if it is not
/// whole bytes.
static int64_t getElementBytes(Type type) {
  if (type.isIndex())
    return sizeof(int64_t);
  if (!type.isIntOrFloat())
    return 0;
  unsigned bits = type.getIntOrFloatBitWidth();
  return bits == 1 ? 1 : bits % 8 == 0 ? bits / 8 : 0;
}

std::optional<ConstantView> ConstantView::get(Value value) {
  ElementsAttr attr;
  if (!value || !matchPattern(value, m_Constant(&attr)))
    return std::nullopt;
  auto type = dyn_cast<RankedTensorType>(attr.getType());
  int64_t elementBytes = type ? getElementBytes(type.getElementType()) : 0;
  if (elementBytes == 0)
    return std::nullopt;
  if (auto dense = dyn_cast<DenseIntOrFPElementsAttr>(attr))
    return ConstantView(type, attr, dense.getRawData(), dense.isSplat());
  auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
  AsmResourceBlob *blob =
      resource ? resource.getRawHandle().getBlob() : nullptr;
  if (!blob ||
      int64_t(blob->getData().size()) != type.getNumElements() * elementBytes)
    return std::nullopt;
  return ConstantView(type, attr, blob->getData(), /*isSplat=*/false);
}

template <typename T> static T load(ArrayRef<char> bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

float ConstantView::getFloat(int64_t index) const {
  return load<float>(bytes, isSplat ? 0 : index);
}

double ConstantView::getNumber(int64_t index) const {
  index = isSplat ? 0 : index;
  Type element = type.getElementType();
  if (element.isF32())
    return load<float>(bytes, index);
  if (element.isF64())
    return load<double>(bytes, index);
  // `dense` packs booleans into bits; a splat is all ones or zeros.
  if (element.isInteger(1))
    return isa<DenseIntOrFPElementsAttr>(attr) && !isSplat
               ? attr.getValues<bool>()[index]
               : load<char>(bytes, index) != 0;
  if (element.isInteger(8))
    return load<int8_t>(bytes, index);
  if (element.isInteger(32))
    return load<int32_t>(bytes, index);
  if (element.isInteger(64) || element.isIndex())
    return load<int64_t>(bytes, index);
  return std::numeric_limits<double>::quiet_NaN();
}

std::optional<double> ConstantView::getSplat() const {
  // Weights are not searched for equal elements.
  constexpr int64_t maxElements = 4096;
  int64_t count = isSplat ? 1 : getNumElements();
  if (getNumElements() == 0 || count > maxElements)
    return std::nullopt;
  double first = getNumber(0);
  for (int64_t index = 0; index < count; ++index)
    if (getNumber(index) != first)
      return std::nullopt;
  return first;
}

/// A constant whose elements are those of `view` in the order that `fill`
/// writes.
static Value
createConstant(OpBuilder &builder, Location loc, const ConstantView &view,
               RankedTensorType type,
               llvm::function_ref<void(MutableArrayRef<float>)> fill) {
  // Small constants are readable in the IR; large ones stay out of its
  // uniquing.
  constexpr int64_t maxDense = 64;
  int64_t count = type.getNumElements();
  if (view.isStoredOnce())
    return arith::ConstantOp::create(
        builder, loc, DenseElementsAttr::get(type, view.getFloat(0)));
  if (count <= maxDense) {
    SmallVector<float> values(count);
    fill(values);
    return arith::ConstantOp::create(
        builder, loc, DenseElementsAttr::get(type, ArrayRef<float>(values)));
  }
  AsmResourceBlob blob = HeapAsmResourceBlob::allocate(
      count * sizeof(float), /*align=*/64, /*dataIsMutable=*/true);
  MutableArrayRef<char> data = blob.getMutableData();
  fill({reinterpret_cast<float *>(data.data()), size_t(count)});
  return arith::ConstantOp::create(
      builder, loc,
      DenseResourceElementsAttr::get(type, "weight", std::move(blob)));
}

Value qtx::onnx::materializeRange(OpBuilder &builder, Location loc,
                                  const ConstantView &view,
                                  ArrayRef<int64_t> shape, int64_t offset) {
  auto type = RankedTensorType::get(shape, view.getType().getElementType());
  if (type == view.getType())
    return arith::ConstantOp::create(builder, loc, view.getAttr());
  return createConstant(builder, loc, view, type,
                        [&](MutableArrayRef<float> to) {
                          for (auto [index, element] : llvm::enumerate(to))
                            element = view.getFloat(offset + index);
                        });
}

/// Columns [offset, offset + size) of the [K, N] matrix `view` as rows.
static void transpose(const ConstantView &view, int64_t offset, int64_t size,
                      MutableArrayRef<float> to) {
  int64_t depth = view.getType().getDimSize(0);
  int64_t width = view.getType().getDimSize(1);
  // In blocks that fit the cache.
  constexpr int64_t block = 64;
  for (int64_t n0 = 0; n0 < size; n0 += block)
    for (int64_t k0 = 0; k0 < depth; k0 += block)
      for (int64_t n = n0; n < std::min(n0 + block, size); ++n)
        for (int64_t k = k0; k < std::min(k0 + block, depth); ++k)
          to[n * depth + k] = view.getFloat(k * width + offset + n);
}

Value Weight::materialize(OpBuilder &builder, Location loc, int64_t offset,
                          int64_t size) const {
  int64_t depth = getContractedSize();
  if (!isTransposed)
    return materializeRange(builder, loc, view, {size, depth}, offset * depth);
  auto type = RankedTensorType::get({size, depth}, builder.getF32Type());
  return createConstant(
      builder, loc, view, type,
      [&](MutableArrayRef<float> to) { transpose(view, offset, size, to); });
}

void qtx::onnx::releaseUnused(Operation *root, ArrayRef<ElementsAttr> attrs) {
  llvm::SmallPtrSet<const AsmResourceBlob *, 16> used;
  root->walk([&](Operation *op) {
    for (NamedAttribute named : op->getAttrs())
      if (auto resource = dyn_cast<DenseResourceElementsAttr>(named.getValue()))
        used.insert(resource.getRawHandle().getBlob());
  });
  for (ElementsAttr attr : attrs) {
    auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
    AsmResourceBlob *blob =
        resource ? resource.getRawHandle().getBlob() : nullptr;
    if (blob && !used.contains(blob))
      *blob = AsmResourceBlob();
  }
}
