//===- Constants.h - Constants of an ONNX graph -----------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_ONNX_TRANSFORMS_CONSTANTS_H
#define QTX_LIB_DIALECT_ONNX_TRANSFORMS_CONSTANTS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include <optional>

namespace qtx::onnx {

/// The elements of a constant tensor, which are not copied: a weight may be a
/// mapped file.
class ConstantView {
public:
  /// Nothing if `value` is no constant, or a resource without its data.
  static std::optional<ConstantView> get(mlir::Value value);

  mlir::RankedTensorType getType() const { return type; }
  mlir::ElementsAttr getAttr() const { return attr; }
  int64_t getNumElements() const { return type.getNumElements(); }
  /// An element as a number; NaN if it is of an unusual type.
  double getNumber(int64_t index) const;
  /// The number that all elements are.
  std::optional<double> getSplat() const;
  /// Whether the attribute has one element for all.
  bool isStoredOnce() const { return isSplat; }
  /// Of a tensor of f32.
  float getFloat(int64_t index) const;

private:
  ConstantView(mlir::RankedTensorType type, mlir::ElementsAttr attr,
               llvm::ArrayRef<char> bytes, bool isSplat)
      : type(type), attr(attr), bytes(bytes), isSplat(isSplat) {}

  mlir::RankedTensorType type;
  mlir::ElementsAttr attr;
  llvm::ArrayRef<char> bytes;
  bool isSplat;
};

/// A weight of a linear layer as the graph holds it.
struct Weight {
  ConstantView view;
  /// Whether the graph's constant is [K, N].
  bool isTransposed;
  mlir::Location loc;

  int64_t getNumOutputs() const {
    return view.getType().getDimSize(isTransposed ? 1 : 0);
  }
  int64_t getContractedSize() const {
    return view.getType().getDimSize(isTransposed ? 0 : 1);
  }
  /// The constant [size, K] of outputs `offset` and on: the graph's own where
  /// that is it, else a new one.
  mlir::Value materialize(mlir::OpBuilder &builder, mlir::Location loc,
                          int64_t offset, int64_t size) const;
};

/// `size` elements of a constant from `offset` on in row-major order, in the
/// given shape.
mlir::Value materializeRange(mlir::OpBuilder &builder, mlir::Location loc,
                             const ConstantView &view,
                             llvm::ArrayRef<int64_t> shape, int64_t offset = 0);

/// Gives the memory of resources back that no operation under `root` refers to,
/// of those that `attrs` lists.
void releaseUnused(mlir::Operation *root,
                   llvm::ArrayRef<mlir::ElementsAttr> attrs);

} // namespace qtx::onnx

#endif // QTX_LIB_DIALECT_ONNX_TRANSFORMS_CONSTANTS_H
