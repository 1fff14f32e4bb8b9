//===- Signature.h - Types of a compiled function ---------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a caller sees of a function: names, element types and shapes of its
// inputs and outputs. Recorded before lowering, which loses them.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_SIGNATURE_H
#define QTX_TARGET_SIGNATURE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace qtx {

/// Elements of buffers as they lie in memory. I1, I4 and U4 take one byte each:
/// an I1 is 0 or 1, an I4 a signed and a U4 an unsigned byte. Index is a 64-bit
/// integer. The unsigned kinds are storage integers of quantized types.
enum class ElementKind {
  F16,
  F32,
  F64,
  I1,
  I4,
  I8,
  I16,
  I32,
  I64,
  Index,
  U4,
  U8,
  U16,
  U32
};

/// Bytes that one element takes in a buffer.
size_t getElementSize(ElementKind kind);

/// The spelling of the type: `f32`, `i4`, `u8`, ...
llvm::StringRef getElementName(ElementKind kind);

/// The inverse of `getElementName`.
std::optional<ElementKind> parseElementName(llvm::StringRef name);

/// One input or output of a function.
struct ValueSignature {
  /// The `qtx.name` attribute of the argument or result; `arg0`, ... and
  /// `out0`,
  /// ... without one.
  std::string name;
  ElementKind element;
  /// Dynamic sizes are `ShapedType::kDynamic`.
  std::vector<int64_t> shape;
  /// The value is a plain number of the IR and not a tensor of rank 0.
  bool isScalar;
};

struct FunctionSignature {
  std::string name;
  std::vector<ValueSignature> inputs;
  std::vector<ValueSignature> outputs;
};

/// Name of the discardable attribute, on arguments and results of functions,
/// that holds the name by which callers know them.
inline constexpr llvm::StringLiteral kNameAttr = "qtx.name";

/// The signature of `function`. Quantized element types are their storage
/// integers. Fails on values that have no buffer form, such as unranked
/// tensors.
llvm::Expected<FunctionSignature> getSignature(mlir::func::FuncOp function);

/// Whether arguments and results may have the type.
bool hasBufferForm(mlir::Type type);

/// Elements of a buffer of `shape`. Fails on negative sizes and on sizes that
/// do not fit into memory.
llvm::Expected<size_t> getNumElements(llvm::ArrayRef<int64_t> shape,
                                      ElementKind kind);

/// `shape` and `kind` as text: `4x?xf32`.
std::string describe(llvm::ArrayRef<int64_t> shape, ElementKind kind);

} // namespace qtx

#endif // QTX_TARGET_SIGNATURE_H
