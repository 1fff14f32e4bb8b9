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

/// One function for each stage that is a sequence of passes; Stages.h has their
/// order and contracts.

/// Operations joined to those whose kernels do them on the way. Keeps every
/// bit.
void buildFuse(mlir::OpPassManager &passManager);
/// Nodes of an ONNX graph to operations of qtx and upstream's on tensors.
void buildImport(mlir::OpPassManager &passManager);
/// Scales, shifts and permutations into neighbouring constants.
void buildFold(mlir::OpPassManager &passManager);
/// Quantized types to storage integers.
void buildStorage(mlir::OpPassManager &passManager);
/// The same, and what micro-kernels are faster with.
void buildFastStorage(mlir::OpPassManager &passManager);
/// Micro-kernels for the operations that the target has some for: the attribute
/// `llvm.target` of the module says what it can do. Without it there are none.
void buildConfigure(mlir::OpPassManager &passManager);
/// Configured operations to kernels with packed constants.
void buildPack(mlir::OpPassManager &passManager);
/// Operations of qtx to linalg on tensors, by the reference lowering.
void buildReferenceTile(mlir::OpPassManager &passManager);
/// Operations that work row by row to `qtx.rows`, joined where they can be, and
/// the others by the reference lowering.
void buildTile(mlir::OpPassManager &passManager);
/// Tensors to buffers. Nothing frees them.
void buildBufferize(mlir::OpPassManager &passManager);
/// Operations on buffers to loops.
void buildVector(mlir::OpPassManager &passManager);
/// Parallel loops to OpenMP.
void buildOpenMP(mlir::OpPassManager &passManager);
/// Loops over buffers to the LLVM dialect, and parallel ones to OpenMP.
void buildLLVM(mlir::OpPassManager &passManager);

/// The reference path from qtx operations to the LLVM dialect: storage form,
/// linalg, bufferization across functions, loops, LLVM. Public functions get a
/// C interface wrapper (`_mlir_ciface_NAME`).
void buildReferencePipeline(mlir::OpPassManager &passManager);

/// The same with micro-kernels where the target has some (Numerics.md, "Exact
/// and bounded results", says how results may differ).
void buildFastPipeline(mlir::OpPassManager &passManager);

/// The part of the fast path that differs from the reference path: qtx
/// operations to linalg and kernels on tensors.
void buildFastToLinalg(mlir::OpPassManager &passManager);

/// The two parts of the reference path: qtx operations to linalg on tensors,
/// and that to the LLVM dialect.
void buildReferenceToLinalg(mlir::OpPassManager &passManager);
void buildLinalgToLLVM(mlir::OpPassManager &passManager);

/// Registers the passes about stages, `qtx-reference-to-llvm` and
/// `qtx-fast-to-llvm`.
void registerPipelines();

} // namespace qtx

#endif // QTX_PIPELINES_PIPELINES_H
