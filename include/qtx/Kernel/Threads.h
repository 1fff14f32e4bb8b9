//===- Threads.h - Work in parts for threads --------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels and rows run on threads in parts: each part computes some of the
// results, by the same operations in the same order as without threads. So
// results do not depend on the number of parts.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_KERNEL_THREADS_H
#define QTX_KERNEL_THREADS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace qtx {

/// The attribute of a module that says how many threads its code may use, a
/// positive i64.
inline constexpr llvm::StringLiteral kThreadsAttrName = "qtx.threads";

/// The most threads that code for `op` may use: what the module around it says,
/// else 1.
int64_t getMaxThreads(mlir::Operation *op);

/// How threads share a kernel.
struct Partition {
  /// The most threads.
  int64_t threads = 1;
  /// From as many rows on, parts are rows of the result and not outputs.
  int64_t rowSplit = 0;

  /// As an attribute of an operation, and parameter of its kernel; null for one
  /// thread.
  mlir::DictionaryAttr getAttr(mlir::MLIRContext *context) const;
  static Partition get(mlir::Attribute attr);
};

/// The name of both.
inline constexpr llvm::StringLiteral kPartitionAttrName = "qtx.partition";
inline constexpr llvm::StringLiteral kPartitionParam = "partition";

/// The attribute of operations whose parts with the same number have the same
/// rows, and of the loops over these parts (`qtx-align-parts`): a `group`, the
/// `unit` of rows that no part divides, and `min_rows`, from which on threads
/// share the rows of each.
inline constexpr llvm::StringLiteral kAlignedPartsAttrName =
    "qtx.aligned_parts";

/// The attribute of a call of a kernel whose first operand has these rows.
inline constexpr llvm::StringLiteral kKernelCallAttrName = "qtx.kernel_call";

/// One part of as many as there are; null where work has no parts.
struct Part {
  mlir::Value number;
  mlir::Value count;

  explicit operator bool() const { return bool(number); }
};

/// Indices from `begin` up to but not including `end`.
struct PartRange {
  mlir::Value begin;
  mlir::Value end;
};

/// The share of `part` in `count` items: all of them without parts. Shares
/// differ by at most one unit of `unit` items, only the last one is incomplete.
PartRange getRange(mlir::ImplicitLocOpBuilder &builder, Part part,
                   mlir::Value count, int64_t unit = 1);

/// Emits `body` for each of at most `maxThreads` parts, in a `scf.parallel`.
/// Their number is that of the threads that the caller allows at run time, or
/// one where few `elements` are read and written.
mlir::scf::ParallelOp forEachPart(mlir::ImplicitLocOpBuilder &builder,
                                  int64_t maxThreads, mlir::Value elements,
                                  llvm::function_ref<void(Part)> body);

/// Whether `call` asks how many threads the caller allows.
bool isMaxThreadsCall(mlir::func::CallOp call);

/// The number of elements of a memref.
mlir::Value countElements(mlir::ImplicitLocOpBuilder &builder,
                          mlir::Value memref);

} // namespace qtx

#endif // QTX_KERNEL_THREADS_H
