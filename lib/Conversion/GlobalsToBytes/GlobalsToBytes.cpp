//===- GlobalsToBytes.cpp - Constants as bytes ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/GlobalsToBytes/GlobalsToBytes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/MathExtras.h"

namespace qtx {
#define GEN_PASS_DEF_QTXGLOBALSTOBYTESPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;

/// The bytes of an element of `elements`, where they are as in memory; 0 where
/// they are not.
static unsigned getElementBytes(ElementsAttr elements) {
  Type type = elements.getElementType();
  if (!type.isIntOrFloat() || type.getIntOrFloatBitWidth() % 8 != 0)
    return 0;
  return type.getIntOrFloatBitWidth() / 8;
}

/// The elements as a vector of i8; null where they cannot be, or gain nothing.
static ElementsAttr getBytes(ElementsAttr elements) {
  unsigned width = getElementBytes(elements);
  if (width <= 1)
    return {};
  int64_t size;
  if (llvm::MulOverflow<int64_t>(elements.getNumElements(), width, size))
    return {};
  auto type = RankedTensorType::get(
      size, IntegerType::get(elements.getContext(), /*width=*/8));
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(elements)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob || int64_t(blob->getData().size()) != size)
      return {};
    return DenseResourceElementsAttr::get(type, resource.getRawHandle());
  }
  // One value for all takes no time as it is.
  auto dense = dyn_cast<DenseElementsAttr>(elements);
  if (!dense || dense.isSplat())
    return {};
  return DenseElementsAttr::getFromRawBuffer(type, dense.getRawData());
}

static void convert(LLVM::GlobalOp global) {
  auto elements = dyn_cast_or_null<ElementsAttr>(global.getValueOrNull());
  ElementsAttr bytes = elements ? getBytes(elements) : ElementsAttr();
  if (!bytes)
    return;
  // Bytes alone could lie anywhere.
  if (!global.getAlignment())
    global.setAlignment(getElementBytes(elements));
  global.setValueAttr(bytes);
  global.setGlobalType(
      LLVM::LLVMArrayType::get(bytes.getElementType(), bytes.getNumElements()));
}

namespace {
struct QtxGlobalsToBytesPass
    : qtx::impl::QtxGlobalsToBytesPassBase<QtxGlobalsToBytesPass> {
  void runOnOperation() override {
    for (auto global : getOperation().getOps<LLVM::GlobalOp>())
      convert(global);
  }
};
} // namespace
