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
#include "qtx/Analysis/CalibrationData.h"
#include "qtx/Analysis/Observers.h"
#include "qtx/Analysis/Report.h"
#include "qtx/Pipelines/Stages.h"
#include "qtx/Quantize/Recipe.h"
#include "qtx/Support/Remarks.h"
#include "qtx/Target/Object.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Target/TargetMachine.h"
#include <functional>
#include <memory>
#include <string>

namespace qtx {

class OutputFiles;

/// What a compilation needs besides the model.
struct CompileOptions {
  /// The stage after which to stop.
  Stage lastStage = Stage::Object;
  /// Folder for the IR after each stage, `NN-STAGE.mlir`; none if empty. Large
  /// constants are left out of these files.
  std::string dumpFolder;
  /// Archive of samples to calibrate with; none if empty.
  std::string calibrationPath;
  /// How ranges come from the samples; `min_max` without one.
  std::optional<ObserverOptions> observer;
  /// Threads that run over samples; 0 for all processors, up to a limit. What
  /// comes out does not depend on it.
  unsigned calibrationThreads = 0;
  /// NAME of the C functions.
  std::string name = "model";
  TargetOptions target;
  /// Lower everything by the reference path.
  bool reference = false;
  /// The most threads that the code uses; the reference path uses one.
  unsigned threads = 1;
  Recipe recipe;
  /// Compute in float what the quantized model computes in integers.
  bool simulate = false;
  /// File for the weights; they are part of the object if it is empty.
  std::string weightsPath;
  /// Time configurations of contractions, and keep what was found in a file:
  /// the default one if none is named.
  bool tune = false;
  std::string tuningPath;
  /// Keep what `verifyModel` compares the code with.
  bool verify = false;
  /// What to fill in while the stages run; null for no report.
  Report *report = nullptr;
  /// Also measures the noise of quantization on some of the samples.
  bool measureNoise = false;
  /// Called for what passes remark on the model, once for each text and place.
  std::function<void(const PassRemark &remark)> remark;
  /// Called while a stage runs over data.
  std::function<void(Stage stage, size_t done, size_t total)> stageProgress;
  /// Called when a stage is done, with the seconds it took.
  std::function<void(Stage stage, double seconds)> stageDone;
};

/// The options that text can set, by the names that the command line has for
/// them: calibrate, observer, calibration-threads, recipe, name, mtriple, mcpu,
/// mattr, weights, O (a level), reference, simulate and verify (no value),
/// threads, tune (a file or no value), and dump-stages.
llvm::ArrayRef<llvm::StringLiteral> getOptionNames();

/// Sets the option of that name. The error does not name the option.
llvm::Error setOption(CompileOptions &options, llvm::StringRef name,
                      llvm::StringRef value);

/// Checks that what is set goes together.
llvm::Error checkOptions(const CompileOptions &options);

/// Reads a model: a graph from a file that ends in `.onnx`, IR from one that
/// ends in `.mlir`. Reports errors to `context` and returns null.
mlir::OwningOpRef<mlir::ModuleOp> loadModel(llvm::StringRef path,
                                            mlir::MLIRContext *context);

/// What a compilation leaves besides the IR.
struct CompileResult {
  /// The content of the file of the weights.
  std::vector<char> weights;
  /// With `verify`: the model as it left the stages calibrate and fuse, and the
  /// samples, if there are any.
  mlir::OwningOpRef<mlir::ModuleOp> floatModel, fusedModel;
  std::optional<CalibrationData> data;
  /// The C interface, from the storage stage on.
  ObjectInterface interface;
  std::unique_ptr<llvm::TargetMachine> machine;
};

/// Takes `module`, as it was loaded or as it left the stage `done`, through the
/// stages up to the last one, and checks the contract of each.
mlir::FailureOr<CompileResult>
runStages(mlir::ModuleOp module, const CompileOptions &options,
          std::optional<Stage> done = std::nullopt);

enum class OutputKind {
  MLIR,
  Linalg,
  LLVMIR,
  Assembly,
  Object,
  Library,
  Header
};

/// The kind that `--emit` names: mlir, linalg, llvm, asm, obj, lib, header.
std::optional<OutputKind> getOutputKind(llvm::StringRef name);

/// The kind of the file, from its suffix.
std::optional<OutputKind> getOutputKindOfFile(llvm::StringRef path);

/// The stage after which the kind can be written.
Stage getLastStage(OutputKind kind);

/// The file of the C header of the code in `path`.
std::string getHeaderPath(llvm::StringRef path);

/// The files that `writeOutput` writes.
std::vector<std::string> getOutputPaths(const CompileOptions &options,
                                        OutputKind kind, llvm::StringRef path);

/// Writes what the stages made to files among `files`. The header of an object
/// is written beside it.
llvm::Error writeOutput(mlir::ModuleOp module, const CompileOptions &options,
                        const CompileResult &result, OutputKind kind,
                        llvm::StringRef path, OutputFiles &files);

/// The object file of what the stages made, in memory that the operating system
/// can take back.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
emitObject(mlir::ModuleOp module, const CompileOptions &options,
           const CompileResult &result);

/// The weights that are no part of that object, aligned as code wants them;
/// null if there are none.
std::unique_ptr<llvm::MemoryBuffer> copyWeights(const CompileResult &result);

} // namespace qtx

#endif // QTX_PIPELINES_COMPILER_H
