//===- Compiler.cpp - A model through the stages --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Pipelines/Compiler.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "qtx/Analysis/Calibrate.h"
#include "qtx/Analysis/Measure.h"
#include "qtx/Pipelines/Pipelines.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/Threading.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>

using namespace mlir;
using namespace qtx;

/// Constants with more elements are left out of dumps.
static constexpr int64_t kLargestDumpedConstant = 64;

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

static Location getFileLoc(MLIRContext *context, StringRef path) {
  return NameLoc::get(StringAttr::get(context, path));
}

static OwningOpRef<ModuleOp> loadIR(StringRef path, MLIRContext *context) {
  std::string message;
  auto file = openInputFile(path, &message);
  if (!file) {
    emitError(getFileLoc(context, path)) << message;
    return nullptr;
  }
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(file), llvm::SMLoc());
  SourceMgrDiagnosticHandler handler(sources, context);
  return parseSourceFile<ModuleOp>(sources, context);
}

OwningOpRef<ModuleOp> qtx::loadModel(StringRef path, MLIRContext *context) {
  if (path.ends_with(".mlir"))
    return loadIR(path, context);
  emitError(getFileLoc(context, path))
      << "expected a model that ends in .mlir, found '" << path << "'";
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

namespace {
class StageRunner {
public:
  StageRunner(ModuleOp module, const CompileOptions &options)
      : module(module), options(options) {}

  LogicalResult run() {
    for (Stage stage : getStages()) {
      if (failed(runAndCheck(stage)))
        return failure();
      if (stage == options.lastStage)
        break;
    }
    return success();
  }

private:
  LogicalResult runAndCheck(Stage stage) {
    auto start = std::chrono::steady_clock::now();
    if (failed(runStage(stage)) || failed(verifyStage(module, stage)) ||
        failed(dump(stage)))
      return failure();
    std::chrono::duration<double> time =
        std::chrono::steady_clock::now() - start;
    if (options.report)
      options.report->stages.push_back(
          {getStageName(stage).str(), time.count()});
    if (options.stageDone)
      options.stageDone(stage, time.count());
    return success();
  }

  LogicalResult runStage(Stage stage) {
    switch (stage) {
    case Stage::Import:
      return success();
    case Stage::Calibrate:
      return runCalibrate();
    case Stage::Quantize:
      return reportQuantize();
    case Stage::Fold:
    case Stage::Fuse:
      return runPasses(buildFuse);
    case Stage::Storage:
      return runPasses(buildStorage);
    case Stage::Configure:
      return runConfigure();
    case Stage::Pack:
      return runPasses(buildPack);
    case Stage::Tile:
      return runPasses(buildTile);
    case Stage::Bufferize:
      return runPasses(buildBufferize);
    case Stage::Vector:
      return runPasses(buildVector);
    case Stage::Object:
      return runPasses(buildLLVM);
    }
    llvm_unreachable("unknown stage");
  }

  /// The function that the model is; reports an error if there is no such.
  func::FuncOp getEntry() {
    if (auto main = module.lookupSymbol<func::FuncOp>("main"))
      return main;
    auto functions = module.getOps<func::FuncOp>();
    if (llvm::hasSingleElement(functions))
      return *functions.begin();
    module.emitError() << "expected a function 'main' or a single one, found "
                       << std::distance(functions.begin(), functions.end());
    return {};
  }

  StreamOptions getStreamOptions(Stage stage) {
    StreamOptions stream;
    // More threads gain little and need memory for what they hold.
    constexpr unsigned kMaxThreads = 8;
    stream.numThreads = std::min(
        llvm::hardware_concurrency().compute_thread_count(), kMaxThreads);
    if (options.stageProgress)
      stream.progress = [this, stage](size_t done, size_t total) {
        options.stageProgress(stage, done, total);
      };
    return stream;
  }

  LogicalResult runCalibrate() {
    func::FuncOp entry = getEntry();
    if (!entry)
      return failure();
    if (!options.calibrationPath.empty()) {
      FailureOr<CalibrationData> samples =
          readCalibrationData(entry, options.calibrationPath);
      if (failed(samples) ||
          failed(calibrate(
              entry, *samples,
              {options.observer, getStreamOptions(Stage::Calibrate)})))
        return failure();
      data = std::move(*samples);
    }
    if (options.report)
      reportCalibrate(entry);
    return success();
  }

  void reportCalibrate(func::FuncOp entry) {
    reportModel(entry, *options.report);
    // Shares its constants with the module.
    floatModel = module.clone();
    if (!data)
      return;
    options.report->calibration = {
        llvm::sys::path::filename(options.calibrationPath).str(),
        getObserverName(options.observer.kind).str(), data->getNumSamples(),
        data->getNumPositions(), data->getNumFeeds()};
  }

  /// Adds what quantization left, and what it costs on some of the data.
  LogicalResult reportQuantize() {
    constexpr size_t kMaxFeeds = 16;
    if (!options.report)
      return success();
    func::FuncOp entry = getEntry();
    OwningOpRef<ModuleOp> original = std::move(floatModel);
    auto model = original->lookupSymbol<func::FuncOp>(entry.getName());
    reportQuantization(entry, *options.report);
    reportWeightErrors(model, entry, *options.report);
    if (!data || !options.measureNoise)
      return success();
    StreamOptions stream = getStreamOptions(Stage::Quantize);
    stream.maxFeeds = kMaxFeeds;
    if (llvm::Error error =
            qtx::measureNoise(model, entry, *data, stream, *options.report))
      return entry.emitError() << llvm::toString(std::move(error));
    return success();
  }

  LogicalResult runConfigure() {
    if (failed(runPasses(buildConfigure)))
      return failure();
    if (options.report)
      reportKernels(getEntry(), *options.report);
    return success();
  }

  LogicalResult runPasses(void (*build)(OpPassManager &)) {
    PassManager passManager(module.getContext());
    build(passManager);
    return passManager.run(module);
  }

  LogicalResult dump(Stage stage) {
    if (options.dumpFolder.empty())
      return success();
    SmallString<128> path(options.dumpFolder);
    llvm::sys::path::append(path,
                            llvm::formatv("{0:2}-{1}.mlir", unsigned(stage) + 1,
                                          getStageName(stage)));
    std::error_code code =
        llvm::sys::fs::create_directories(options.dumpFolder);
    llvm::Error error = code ? llvm::errorCodeToError(code) : write(path);
    if (!error)
      return success();
    return emitError(getFileLoc(module.getContext(), path))
           << "cannot write the IR: " << llvm::toString(std::move(error));
  }

  llvm::Error write(StringRef path) {
    OpPrintingFlags flags;
    flags.elideLargeElementsAttrs(kLargestDumpedConstant);
    flags.elideLargeResourceString(kLargestDumpedConstant);
    return llvm::writeToOutput(path, [&](llvm::raw_ostream &stream) {
      module->print(stream, flags);
      return llvm::Error::success();
    });
  }

  ModuleOp module;
  const CompileOptions &options;
  /// What the model was calibrated with; absent if it was not.
  std::optional<CalibrationData> data;
  /// The model before it was quantized, for a report.
  OwningOpRef<ModuleOp> floatModel;
};
} // namespace

LogicalResult qtx::runStages(ModuleOp module, const CompileOptions &options) {
  return StageRunner(module, options).run();
}
