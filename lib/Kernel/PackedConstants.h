//===- PackedConstants.h - Constants of kernels -----------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_PACKEDCONSTANTS_H
#define QTX_LIB_KERNEL_PACKEDCONSTANTS_H

#include "mlir/IR/Builders.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"

namespace qtx {

/// A kernel need not clamp quotients by the scale of its result that stay below
/// this, with room for rounding: they fit an integer.
inline constexpr double kMaxQuotient = 1 << 30;

/// An attribute of a kernel: what no element of its result exceeds in
/// magnitude.
inline constexpr llvm::StringLiteral kMagnitudeAttrName = "qtx.magnitude";

/// The segment of an integer join that has the seed of all segments, and comes
/// last among those that count once.
int64_t getFinestSegment(llvm::ArrayRef<int64_t> joinMultipliers);

/// A constant of the elements `bytes`, without another copy in an attribute's
/// uniquer.
mlir::Value createResource(mlir::OpBuilder &builder, mlir::Location loc,
                           mlir::RankedTensorType type,
                           llvm::ArrayRef<char> bytes);

template <typename T>
mlir::Value createTensor(mlir::OpBuilder &builder, mlir::Location loc,
                         llvm::ArrayRef<int64_t> shape, mlir::Type elementType,
                         llvm::ArrayRef<T> values) {
  auto type = mlir::RankedTensorType::get(shape, elementType);
  auto data = reinterpret_cast<const char *>(values.data());
  return createResource(builder, loc, type, {data, values.size() * sizeof(T)});
}

/// The reciprocal scales and the zero points of a result in units of `unit`:
/// one value, or one per channel where they differ.
mlir::Value packReciprocals(mlir::OpBuilder &builder, mlir::Location loc,
                            const QuantParams &params, float unit = 1);
mlir::Value packZeroPoints(mlir::OpBuilder &builder, mlir::Location loc,
                           const QuantParams &params);

/// The elements of the constant `value` in units of `unit`; null for null.
mlir::Value packInUnits(mlir::OpBuilder &builder, mlir::Location loc,
                        mlir::Value value, float unit);

} // namespace qtx

#endif // QTX_LIB_KERNEL_PACKEDCONSTANTS_H
