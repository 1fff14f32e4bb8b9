//===- Signature.cpp - Types of a compiled function -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Target/Signature.h"
#include "qtx/Conversion/ONNXToLinalg/ONNXToLinalg.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace qtx;

namespace {
struct ElementInfo {
  ElementKind kind;
  llvm::StringLiteral name;
  size_t size;
};
} // namespace

static constexpr ElementInfo kElements[] = {
    {ElementKind::F16, "f16", 2}, {ElementKind::F32, "f32", 4},
    {ElementKind::F64, "f64", 8}, {ElementKind::I1, "i1", 1},
    {ElementKind::I4, "i4", 1},   {ElementKind::I8, "i8", 1},
    {ElementKind::I16, "i16", 2}, {ElementKind::I32, "i32", 4},
    {ElementKind::I64, "i64", 8}, {ElementKind::Index, "index", 8},
    {ElementKind::U4, "u4", 1},   {ElementKind::U8, "u8", 1},
    {ElementKind::U16, "u16", 2}, {ElementKind::U32, "u32", 4},
};

static const ElementInfo &getInfo(ElementKind kind) {
  return kElements[static_cast<size_t>(kind)];
}

size_t qtx::getElementSize(ElementKind kind) { return getInfo(kind).size; }

llvm::StringRef qtx::getElementName(ElementKind kind) {
  return getInfo(kind).name;
}

std::optional<ElementKind> qtx::parseElementName(StringRef name) {
  for (const ElementInfo &info : kElements)
    if (info.name == name)
      return info.kind;
  return std::nullopt;
}

static std::optional<ElementKind> getElementKind(Type type) {
  std::string name;
  llvm::raw_string_ostream stream(name);
  if (std::optional<QuantParams> params = QuantParams::get(type))
    stream << (params->isSigned() ? "i" : "u")
           << params->getStorageType().getWidth();
  else
    stream << type;
  return parseElementName(name);
}

/// The unsigned kind of the same width, where there is one.
static ElementKind getUnsigned(ElementKind kind) {
  switch (kind) {
  case ElementKind::I4:
    return ElementKind::U4;
  case ElementKind::I8:
    return ElementKind::U8;
  case ElementKind::I16:
    return ElementKind::U16;
  case ElementKind::I32:
    return ElementKind::U32;
  default:
    return kind;
  }
}

/// Fills in the element type and shape; false if `type` has no buffer form.
static bool setType(ValueSignature &value, Type type) {
  value.isScalar = !isa<ShapedType>(type);
  if (!value.isScalar) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || tensor.getEncoding())
      return false;
    value.shape = tensor.getShape().vec();
    type = tensor.getElementType();
  }
  std::optional<ElementKind> kind = getElementKind(type);
  if (kind)
    value.element = *kind;
  return kind.has_value();
}

bool qtx::hasBufferForm(Type type) {
  ValueSignature value;
  return setType(value, type);
}

static llvm::Error makeTypeError(StringRef what, unsigned index, Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << what << " " << index << " has type " << type
                                 << "; expected a ranked tensor or a number of "
                                    "type f16, f32, f64, i1, i4, "
                                    "i8, i16, i32, i64 or index";
  return llvm::createStringError(text);
}

static std::string getName(StringAttr attr, StringRef prefix, unsigned index) {
  return attr ? attr.str() : (prefix + Twine(index)).str();
}

llvm::Expected<FunctionSignature> qtx::getSignature(func::FuncOp function) {
  FunctionSignature signature;
  signature.name = function.getName().str();
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes())) {
    ValueSignature &value = signature.inputs.emplace_back();
    value.name = getName(
        function.getArgAttrOfType<StringAttr>(i, QtxDialect::kNameAttrName),
        "arg", i);
    if (!setType(value, type))
      return makeTypeError("argument", i, type);
    if (function.getArgAttr(i, kUnsignedAttrName))
      value.element = getUnsigned(value.element);
  }
  for (auto [i, type] : llvm::enumerate(function.getResultTypes())) {
    ValueSignature &value = signature.outputs.emplace_back();
    value.name = getName(
        function.getResultAttrOfType<StringAttr>(i, QtxDialect::kNameAttrName),
        "out", i);
    if (!setType(value, type))
      return makeTypeError("result", i, type);
    if (function.getResultAttr(i, kUnsignedAttrName))
      value.element = getUnsigned(value.element);
  }
  return signature;
}

llvm::Expected<size_t> qtx::getNumElements(ArrayRef<int64_t> shape,
                                           ElementKind kind) {
  // Loops of the lowering count in signed 64-bit integers.
  constexpr int64_t kMaxBytes = int64_t(1) << 48;
  // Sizes of 0 do not excuse the others: strides are their products.
  int64_t extent = getElementSize(kind);
  bool isEmpty = false;
  for (int64_t size : shape) {
    if (size < 0)
      return llvm::createStringError("negative size in shape " +
                                     describe(shape, kind));
    isEmpty |= size == 0;
    if (llvm::MulOverflow(extent, std::max<int64_t>(size, 1), extent) ||
        extent > kMaxBytes)
      return llvm::createStringError("shape " + describe(shape, kind) +
                                     " is too large");
  }
  return isEmpty ? 0 : extent / getElementSize(kind);
}

std::string qtx::describe(ArrayRef<int64_t> shape, ElementKind kind) {
  std::string text;
  for (int64_t size : shape)
    text += (ShapedType::isDynamic(size) ? "?" : std::to_string(size)) + "x";
  return text + getElementName(kind).str();
}
