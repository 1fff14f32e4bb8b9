//===- ConstantUtils.h - Constant tensors for rewrites ----------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reading, rearranging and writing constant tensors, whether they are spelled
// `dense<...>` (also a splat) or `dense_resource<...>`.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_QTX_TRANSFORMS_CONSTANTUTILS_H
#define QTX_LIB_DIALECT_QTX_TRANSFORMS_CONSTANTUTILS_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include <optional>
#include <vector>

namespace qtx {

/// A copy of the elements of a constant tensor of integers (i4, i8, ..., i64),
/// indices or floats, in row-major order. Elements take whole bytes: i4 takes
/// one, with the value in the low bits.
class ConstantTensor {
public:
  /// The elements of `value`, which must be the result of a constant operation;
  /// absent if it is not, or if it is a resource whose data is missing or does
  /// not have the size of its type.
  static std::optional<ConstantTensor> get(mlir::Value value);
  static std::optional<ConstantTensor> get(mlir::Attribute attr);

  /// Whether `get` finds something, without copying it.
  static bool isConstant(mlir::Value value);

  /// New constants of byte-sized elements; they are spelled `dense`.
  static ConstantTensor create(mlir::RankedTensorType type,
                               llvm::ArrayRef<int64_t> values);
  static ConstantTensor create(mlir::RankedTensorType type,
                               llvm::ArrayRef<float> values);
  /// Other f32 elements in the same shape and spelling.
  ConstantTensor withFloats(llvm::ArrayRef<float> values) const;

  mlir::RankedTensorType getType() const { return type; }
  /// Elements of an integer or index tensor, sign-extended.
  std::vector<int64_t> getIntegers() const;
  /// Elements of an f32 tensor.
  std::vector<float> getFloats() const;

  /// `result[..., i, ...] = this[..., indices[i], ...]` along `axis`.
  ConstantTensor gather(int64_t axis, llvm::ArrayRef<int64_t> indices) const;
  /// Elements [offset, offset + size) of `axis`.
  ConstantTensor slice(int64_t axis, int64_t offset, int64_t size) const;
  /// This followed by `other` along `axis`; the other dimensions are equal.
  ConstantTensor concat(const ConstantTensor &other, int64_t axis) const;
  /// The same elements in another shape.
  ConstantTensor reshape(llvm::ArrayRef<int64_t> shape) const;

  /// The same elements, to be spelled `dense_resource`.
  ConstantTensor asResource() const {
    return ConstantTensor(type, bytes, /*isResource=*/true);
  }

  bool operator==(const ConstantTensor &other) const {
    return type == other.type && bytes == other.bytes;
  }

  /// An `arith.constant`. What came from a resource becomes a resource.
  mlir::Value materialize(mlir::OpBuilder &builder, mlir::Location loc) const;

private:
  ConstantTensor(mlir::RankedTensorType type, std::vector<char> bytes,
                 bool isResource)
      : type(type), bytes(std::move(bytes)), isResource(isResource) {}

  mlir::RankedTensorType type;
  std::vector<char> bytes;
  bool isResource;
};

/// Frees the elements of a resource, which contexts keep for as long as they
/// live. Nothing may read them any more: only who made the resource knows.
void freeResource(mlir::DenseResourceElementsAttr attr);

} // namespace qtx

#endif // QTX_LIB_DIALECT_QTX_TRANSFORMS_CONSTANTUTILS_H
