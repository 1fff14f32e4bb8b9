//===- RewriteUtils.h - Shared pieces of rewrites ---------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_QTX_TRANSFORMS_REWRITEUTILS_H
#define QTX_LIB_DIALECT_QTX_TRANSFORMS_REWRITEUTILS_H

#include "mlir/IR/Builders.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"

namespace qtx {

/// Elements [offset, offset + size) of `axis` of `tensor`: the tensor itself, a
/// smaller constant, or a `tensor.extract_slice`.
mlir::Value sliceAxis(mlir::OpBuilder &builder, mlir::Location loc,
                      mlir::Value tensor, int64_t axis, int64_t offset,
                      int64_t size);

/// The tensor that has `first` and then `second` along `axis`, where it exists
/// or is a constant: both are constants, or neighbouring slices of one tensor.
/// Null otherwise.
mlir::Value joinAxis(mlir::OpBuilder &builder, mlir::Location loc,
                     mlir::Value first, mlir::Value second, int64_t axis);

/// `whole` with `piece` at `offset` of the last axis.
mlir::Value insertLast(mlir::OpBuilder &builder, mlir::Value piece,
                       mlir::Value whole, int64_t offset);

/// The element type of the channels of `first` and then those of `second` along
/// the last axis, in groups; null if no type has both.
mlir::Type joinGroups(const QuantParams &first, int64_t firstSize,
                      const QuantParams &second, int64_t secondSize);

/// Whether both are the same value or equal constants.
bool isSameTensor(mlir::Value first, mlir::Value second);

/// Whether a tensor of `op` has a quantized element type, so that its slices
/// would have types of their own.
bool isInQuantizedForm(mlir::Operation *op);

/// Every `OpTy` under `root`, in order.
template <typename OpTy>
llvm::SmallVector<OpTy> collectOps(mlir::Operation *root) {
  llvm::SmallVector<OpTy> ops;
  root->walk([&](OpTy op) { ops.push_back(op); });
  return ops;
}

} // namespace qtx

#endif // QTX_LIB_DIALECT_QTX_TRANSFORMS_REWRITEUTILS_H
