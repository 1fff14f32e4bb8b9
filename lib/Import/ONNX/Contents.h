//===- Contents.h - What is known of a tensor's elements --------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_IMPORT_ONNX_CONTENTS_H
#define QTX_LIB_IMPORT_ONNX_CONTENTS_H

#include "Sizes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include <vector>

namespace qtx::importer {

/// The elements of a small tensor of static shape: numbers, or integers that
/// depend on the sizes of the inputs.
struct Contents {
  Contents() = default;
  Contents(llvm::ArrayRef<int64_t> shape, mlir::Type elementType)
      : shape(shape), elementType(elementType) {
    if (isFloat())
      floats.resize(getNumElements());
    else
      integers.resize(getNumElements());
  }

  llvm::SmallVector<int64_t> shape;
  mlir::Type elementType;
  /// The elements of a tensor of floats.
  std::vector<double> floats;
  /// The elements of a tensor of integers or booleans; null for one that is not
  /// known.
  std::vector<Size> integers;

  bool isFloat() const { return llvm::isa<mlir::FloatType>(elementType); }
  int64_t getNumElements() const {
    return mlir::ShapedType::getNumElements(shape);
  }
  mlir::RankedTensorType getType() const {
    return mlir::RankedTensorType::get(shape, elementType);
  }
  /// Whether every element is a number.
  bool isConstant() const;
  /// Whether every element is a number or an expression.
  bool isKnown() const;
  /// The elements if all are known integers.
  std::optional<llvm::SmallVector<int64_t>> getIntegers() const;

  void copyElement(int64_t to, const Contents &from, int64_t at) {
    if (isFloat())
      floats[to] = from.floats[at];
    else
      integers[to] = from.integers[at];
  }
};

/// The most elements that are followed.
constexpr int64_t kMaxContents = int64_t(1) << 16;

/// Whether the elements of a tensor of this type can be followed.
bool isFollowed(mlir::RankedTensorType type);

/// The elements of a constant; nothing if there are many.
std::optional<Contents> readContents(mlir::ElementsAttr attr);

/// Requires `isConstant()`.
mlir::DenseElementsAttr getElementsAttr(const Contents &contents);

/// `value` as an element of this type holds it.
double roundTo(mlir::Type elementType, double value);
int64_t wrapTo(mlir::Type elementType, int64_t value);

/// The strides of a row-major tensor.
llvm::SmallVector<int64_t> getStrides(llvm::ArrayRef<int64_t> shape);

/// Calls `visit(linear index, indices)` for each element in row-major order.
void forEachIndex(
    llvm::ArrayRef<int64_t> shape,
    llvm::function_ref<void(int64_t, llvm::ArrayRef<int64_t>)> visit);

/// Evaluates an elementwise operator, with broadcasting; nothing if that is not
/// possible or not implemented.
std::optional<Contents> foldElementwise(llvm::StringRef op,
                                        llvm::ArrayRef<const Contents *> inputs,
                                        mlir::RankedTensorType type,
                                        Sizes &sizes);

/// Evaluates a reduction over `axes` to `type`.
std::optional<Contents> foldReduction(llvm::StringRef op, const Contents &input,
                                      llvm::ArrayRef<int64_t> axes,
                                      mlir::RankedTensorType type,
                                      Sizes &sizes);

} // namespace qtx::importer

#endif // QTX_LIB_IMPORT_ONNX_CONTENTS_H
