//===- Kernels.h - Code of the fast path ------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_KERNEL_KERNELS_H
#define QTX_KERNEL_KERNELS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Kernel/Threads.h"

namespace qtx {

/// Emits loops and vectors that compute a part of `op`, whose operands are
/// memrefs, at the insertion point of `builder`. The caller erases `op`. Fails
/// after a diagnostic.
using KernelEmitter = mlir::LogicalResult (*)(
    mlir::ImplicitLocOpBuilder &builder, KernelOp op, Part part);

/// The parameter of a kernel that has a gain and a shift for every channel of
/// the result behind its other operands.
inline constexpr llvm::StringLiteral kScaledAttrName = "scaled";

/// The parameter of a kernel whose activation comes from a table, or is nearly
/// a power of a polynomial where the micro-kernel has none: its result is
/// quantized so coarsely that codes hardly change. With a table the scales and
/// the bias are those of an argument in steps of it, and the activation is in
/// steps, too.
inline constexpr llvm::StringLiteral kTabulatedAttrName = "tabulated";

/// The emitter of kernels for the operation named `op`; null if there is none.
KernelEmitter lookupKernelEmitter(llvm::StringRef op);

//===----------------------------------------------------------------------===//
// Emitters
//===----------------------------------------------------------------------===//

/// A packed `qtx.linear`, see lib/Kernel/Linear/.
mlir::LogicalResult emitLinear(mlir::ImplicitLocOpBuilder &builder, KernelOp op,
                               Part part);

/// A `qtx.attention`, see lib/Kernel/Attention/.
mlir::LogicalResult emitAttention(mlir::ImplicitLocOpBuilder &builder,
                                  KernelOp op, Part part);

} // namespace qtx

#endif // QTX_KERNEL_KERNELS_H
