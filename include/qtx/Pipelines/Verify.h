//===- Verify.h - Compare fast code with the reference ----------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Runs what a compilation made on samples, and the same model by the reference
// lowering. Operations are compared one by one on the operands that the
// reference gives them, the model as a whole by its outputs.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_PIPELINES_VERIFY_H
#define QTX_PIPELINES_VERIFY_H

#include "qtx/Pipelines/Compiler.h"

namespace qtx {

/// Verifies `module`, which the stages made of a model by `options` with
/// `verify`. Writes what was compared to `stream`. Fails where fast code breaks
/// what docs/Numerics.md (section 14) says of it.
llvm::Error verifyModel(mlir::ModuleOp module, const CompileOptions &options,
                        const CompileResult &result, llvm::raw_ostream &stream);

/// The part of it that compares operations: those of `fast`, a copy of
/// `reference`.
llvm::Error verifyOperations(mlir::func::FuncOp reference,
                             mlir::func::FuncOp fast,
                             llvm::ArrayRef<Feed> feeds,
                             llvm::raw_ostream &stream);

/// Inputs for a model without samples: small integers, normal floats, a mask of
/// ones.
llvm::Expected<Feed> makeFeed(mlir::func::FuncOp function);

} // namespace qtx

#endif // QTX_PIPELINES_VERIFY_H
