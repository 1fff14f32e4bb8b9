//===- Sizes.h - Arithmetic on symbolic sizes -------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_IMPORT_ONNX_SIZES_H
#define QTX_LIB_IMPORT_ONNX_SIZES_H

#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>
#include <string>

namespace qtx::importer {

/// An integer that is a polynomial of the function's symbols, in one canonical
/// form: equal polynomials are equal expressions.
using Size = mlir::AffineExpr;

inline std::optional<int64_t> getConstant(Size size) {
  auto constant = llvm::dyn_cast_if_present<mlir::AffineConstantExpr>(size);
  if (!constant)
    return std::nullopt;
  return constant.getValue();
}

/// The symbols of a function, and arithmetic on what is made of them.
class Sizes {
public:
  explicit Sizes(mlir::MLIRContext *context) : context(context) {}

  Size get(int64_t value) const {
    return mlir::getAffineConstantExpr(value, context);
  }
  llvm::SmallVector<Size> get(llvm::ArrayRef<int64_t> values) const;

  /// A further symbol, whose value is at least `atLeast`.
  Size addSymbol(int64_t atLeast);
  unsigned getNumSymbols() const { return lowerBounds.size(); }

  Size add(Size lhs, Size rhs);
  Size sub(Size lhs, Size rhs);
  Size mul(Size lhs, Size rhs);
  Size product(llvm::ArrayRef<Size> sizes);

  /// The quotient if the division has no remainder whatever the symbols are;
  /// else null.
  Size divideExactly(Size lhs, Size rhs);
  /// Rounds towards minus infinity. Null if that has no expression.
  Size floorDiv(Size lhs, Size rhs);
  /// The remainder of `floorDiv`. Null if that has no expression.
  Size mod(Size lhs, Size rhs);
  Size ceilDiv(Size lhs, int64_t rhs);

  /// Bounds that hold for all values of the symbols.
  std::optional<int64_t> getLowerBound(Size size);
  std::optional<int64_t> getUpperBound(Size size);

  /// Whether the relation holds for all values of the symbols.
  bool isAtLeast(Size lhs, Size rhs);
  bool isNever(Size lhs, Size rhs);

  /// Whether an operation since the last call left the range of integers. Its
  /// result means nothing.
  bool takeOverflow() { return std::exchange(overflow, false); }

private:
  mlir::MLIRContext *context;
  llvm::SmallVector<int64_t> lowerBounds;
  bool overflow = false;
};

/// The sizes as one map of the symbols that they need.
mlir::AffineMapAttr getSizesAttr(llvm::ArrayRef<Size> sizes,
                                 mlir::MLIRContext *context);

/// "[s0, 384]"
std::string formatSizes(llvm::ArrayRef<Size> sizes);

} // namespace qtx::importer

#endif // QTX_LIB_IMPORT_ONNX_SIZES_H
