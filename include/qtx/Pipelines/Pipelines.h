//===- Pipelines.h - Named pass pipelines -----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_PIPELINES_PIPELINES_H
#define QTX_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"

namespace qtx {

/// The reference path from qtx operations to the LLVM dialect: storage form,
/// linalg, bufferization across functions, loops, LLVM. Public functions get a
/// C interface wrapper (`_mlir_ciface_NAME`).
void buildReferencePipeline(mlir::OpPassManager &passManager);

/// The two parts of the reference path: qtx operations to linalg on tensors,
/// and that to the LLVM dialect.
void buildReferenceToLinalg(mlir::OpPassManager &passManager);
void buildLinalgToLLVM(mlir::OpPassManager &passManager);

/// Registers `qtx-reference-to-llvm`.
void registerPipelines();

} // namespace qtx

#endif // QTX_PIPELINES_PIPELINES_H
