//===- MatrixUtils.h - Memrefs as matrices ----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_MATRIXUTILS_H
#define QTX_LIB_KERNEL_MATRIXUTILS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace qtx {

/// Calls `body` for all of `values`, memrefs of the same rank and leading
/// sizes, or null, as matrices: once with the leading dimensions in one where
/// the layout allows that, else in loops over all but the last of them. A
/// vector is a matrix of one row.
void forEachMatrix(
    mlir::ImplicitLocOpBuilder &builder, mlir::ValueRange values,
    llvm::function_ref<void(mlir::ImplicitLocOpBuilder &, mlir::ValueRange)>
        body);

} // namespace qtx

#endif // QTX_LIB_KERNEL_MATRIXUTILS_H
