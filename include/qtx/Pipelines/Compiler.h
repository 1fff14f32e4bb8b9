//===- Compiler.h - A model through the stages ------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_PIPELINES_COMPILER_H
#define QTX_PIPELINES_COMPILER_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "qtx/Analysis/Observers.h"
#include "qtx/Analysis/Report.h"
#include "qtx/Pipelines/Stages.h"
#include <functional>
#include <string>

namespace qtx {

/// What a compilation needs besides the model.
struct CompileOptions {
  /// The stage after which to stop.
  Stage lastStage = Stage::Object;
  /// Folder for the IR after each stage, `NN-STAGE.mlir`; none if empty. Large
  /// constants are left out of these files.
  std::string dumpFolder;
  /// Archive of samples to calibrate with; none if empty.
  std::string calibrationPath;
  ObserverOptions observer;
  /// What to fill in while the stages run; null for no report.
  Report *report = nullptr;
  /// Also measures the noise of quantization on some of the samples.
  bool measureNoise = false;
  /// Called while a stage runs over data.
  std::function<void(Stage stage, size_t done, size_t total)> stageProgress;
  /// Called when a stage is done, with the seconds it took.
  std::function<void(Stage stage, double seconds)> stageDone;
};

/// Reads a model: IR from a file that ends in `.mlir`. Reports errors to
/// `context` and returns null.
mlir::OwningOpRef<mlir::ModuleOp> loadModel(llvm::StringRef path,
                                            mlir::MLIRContext *context);

/// Takes `module` from the exit of the import stage through the stages up to
/// the last one, and checks the contract of each.
mlir::LogicalResult runStages(mlir::ModuleOp module,
                              const CompileOptions &options);

} // namespace qtx

#endif // QTX_PIPELINES_COMPILER_H
