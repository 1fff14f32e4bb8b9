//===- Compiler.cpp - A model through the stages --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Pipelines/Compiler.h"
#include "Tune.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "qtx/Analysis/Calibrate.h"
#include "qtx/Analysis/Measure.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Import/ONNX.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Kernel/Target.h"
#include "qtx/Kernel/Threads.h"
#include "qtx/Pipelines/Pipelines.h"
#include "qtx/Quantize/Quantize.h"
#include "qtx/Support/Hash.h"
#include "qtx/Target/Passes.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/Threading.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include <chrono>

using namespace mlir;
using namespace qtx;

/// Constants with more elements are left out of dumps.
static constexpr int64_t kLargestDumpedConstant = 64;

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

/// Stores what parsing gave, or passes its error on.
template <typename T, typename Value>
static llvm::Error store(llvm::Expected<Value> parsed, T &target) {
  if (!parsed)
    return parsed.takeError();
  target = std::move(*parsed);
  return llvm::Error::success();
}

static llvm::Expected<unsigned> parseOptLevel(StringRef text) {
  unsigned level;
  if (text.getAsInteger(10, level) || level > 3)
    return llvm::createStringError("expected a level from 0 to 3, found '" +
                                   text + "'");
  return level;
}

static llvm::Expected<unsigned> parseThreads(StringRef text) {
  // Far more than machines have.
  constexpr unsigned kMaxThreads = 1024;
  unsigned threads;
  if (text.getAsInteger(10, threads) || threads < 1 || threads > kMaxThreads)
    return llvm::createStringError("expected a number from 1 to " +
                                   Twine(kMaxThreads) + ", found '" + text +
                                   "'");
  return threads;
}

namespace {
struct TextOption {
  StringLiteral name;
  llvm::Error (*set)(CompileOptions &options, StringRef value);
};
} // namespace

/// An option that is the text itself.
template <auto Member>
static llvm::Error setText(CompileOptions &options, StringRef value) {
  options.*Member = value.str();
  return llvm::Error::success();
}
template <auto Member>
static llvm::Error setTargetText(CompileOptions &options, StringRef value) {
  options.target.*Member = value.str();
  return llvm::Error::success();
}

static constexpr TextOption kTextOptions[] = {
    {"calibrate", setText<&CompileOptions::calibrationPath>},
    {"observer",
     [](CompileOptions &options, StringRef value) {
       return store(parseObserver(value), options.observer);
     }},
    {"calibration-threads",
     [](CompileOptions &options, StringRef value) {
       return store(parseThreads(value), options.calibrationThreads);
     }},
    {"recipe",
     [](CompileOptions &options, StringRef value) {
       return store(parseRecipe(value), options.recipe);
     }},
    {"name", setText<&CompileOptions::name>},
    {"mtriple", setTargetText<&TargetOptions::triple>},
    {"mcpu", setTargetText<&TargetOptions::cpu>},
    {"mattr", setTargetText<&TargetOptions::features>},
    {"O",
     [](CompileOptions &options, StringRef value) {
       return store(parseOptLevel(value), options.target.optLevel);
     }},
    {"reference",
     [](CompileOptions &options, StringRef) -> llvm::Error {
       options.reference = true;
       return llvm::Error::success();
     }},
    {"simulate",
     [](CompileOptions &options, StringRef) -> llvm::Error {
       options.simulate = true;
       return llvm::Error::success();
     }},
    {"weights", setText<&CompileOptions::weightsPath>},
    {"threads",
     [](CompileOptions &options, StringRef value) {
       return store(parseThreads(value), options.threads);
     }},
    {"tune",
     [](CompileOptions &options, StringRef value) -> llvm::Error {
       options.tune = true;
       options.tuningPath = value.str();
       return llvm::Error::success();
     }},
    {"dump-stages", setText<&CompileOptions::dumpFolder>},
    {"verify",
     [](CompileOptions &options, StringRef) -> llvm::Error {
       options.verify = true;
       return llvm::Error::success();
     }},
};

ArrayRef<StringLiteral> qtx::getOptionNames() {
  static const std::vector<StringLiteral> names = [] {
    std::vector<StringLiteral> all;
    for (const TextOption &option : kTextOptions)
      all.push_back(option.name);
    return all;
  }();
  return names;
}

llvm::Error qtx::setOption(CompileOptions &options, StringRef name,
                           StringRef value) {
  for (const TextOption &option : kTextOptions)
    if (option.name == name)
      return option.set(options, value);
  return llvm::createStringError("unknown option");
}

llvm::Error qtx::checkOptions(const CompileOptions &options) {
  if (options.observer && options.calibrationPath.empty())
    return llvm::createStringError(
        "--observer: expected samples to observe, as --calibrate=DATA.npz");
  if (options.calibrationThreads && options.calibrationPath.empty())
    return llvm::createStringError("--calibration-threads: expected samples to "
                                   "observe, as --calibrate=DATA.npz");
  if (!options.weightsPath.empty() && options.lastStage != Stage::Object)
    return llvm::createStringError(
        "--weights: expected to compile as far as to code");
  if (options.verify && options.lastStage != Stage::Object)
    return llvm::createStringError(
        "--verify: expected to compile as far as to code");
  if (options.verify && options.reference)
    return llvm::createStringError(
        "--verify: expected fast code to compare, found --reference");
  if (options.tune && options.lastStage < Stage::Configure)
    return llvm::createStringError(
        "--tune: expected to compile as far as to the stage configure");
  if (options.tune && options.reference)
    return llvm::createStringError(
        "--tune: expected fast code to time, found --reference");
  if (options.simulate && options.recipe.isFloat())
    return llvm::createStringError(
        "--simulate: expected a recipe that quantizes, found '" +
        options.recipe.name + "'");
  if (options.threads > 1 && options.reference)
    return llvm::createStringError(
        "--threads: expected no --reference beside it, which uses one thread");
  // The machines are made again where they are needed: a wrong name should not
  // be found after hours of calibration.
  return createTargetMachines(options.target).takeError();
}

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

static Location getFileLoc(MLIRContext *context, StringRef path) {
  return NameLoc::get(StringAttr::get(context, path));
}

/// Dumps leave the data of large constants out.
static LogicalResult verifyConstants(ModuleOp module) {
  WalkResult result = module.walk([](arith::ConstantOp op) {
    auto resource = dyn_cast<DenseResourceElementsAttr>(op.getValue());
    if (!resource || resource.getRawHandle().getBlob())
      return WalkResult::advance();
    op.emitError() << "expected the data of all constants, found a dump "
                      "without: '--stop-after=STAGE -o FILE.mlir' writes it";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

/// Behind `storage` the target is chosen.
static LogicalResult verifyForm(ModuleOp module) {
  if (!isInEntryForm(module))
    return success();
  return module.emitError()
         << "expected a model at the exit of a stage up to '"
         << getStageName(Stage::Fuse) << "', found one behind '"
         << getStageName(Stage::Storage) << "'";
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
  auto module = parseSourceFile<ModuleOp>(sources, context);
  if (module &&
      (failed(verifyForm(*module)) || failed(verifyConstants(*module))))
    return nullptr;
  return module;
}

OwningOpRef<ModuleOp> qtx::loadModel(StringRef path, MLIRContext *context) {
  if (path.ends_with(".mlir"))
    return loadIR(path, context);
  if (path.ends_with(".onnx"))
    return importONNX(path, context);
  emitError(getFileLoc(context, path))
      << "expected a model that ends in .onnx or .mlir, found '" << path << "'";
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

/// Buffers, which live as shortly as they can.
static void buildPlannedBufferize(OpPassManager &passManager) {
  passManager.addPass(createQtxSplitEmptyTensorsPass());
  buildBufferize(passManager);
}

/// Loops, and one workspace for what they use.
static void buildPlannedVector(OpPassManager &passManager) {
  buildVector(passManager);
  passManager.addPass(createQtxPlanMemoryPass());
}

/// Failed checks return statuses.
static void buildStatusAndLLVM(OpPassManager &passManager) {
  buildOpenMP(passManager);
  passManager.addPass(createSCFToControlFlowPass());
  passManager.addNestedPass<func::FuncOp>(createQtxAssertsToStatusPass());
  buildLLVM(passManager);
}

/// Whether two packed versions compute everything in the same way.
static bool hasSameKernels(ModuleOp a, ModuleOp b) {
  auto describe = [](ModuleOp version) {
    SmallVector<Attribute> kernels;
    version.walk(
        [&](KernelOp op) { kernels.append({op.getOpAttr(), op.getParams()}); });
    return kernels;
  };
  auto isWide = [](ModuleOp version) {
    return TargetFeatures(version).has("avx512f");
  };
  return isWide(a) == isWide(b) && describe(a) == describe(b);
}

namespace {
class StageRunner {
public:
  StageRunner(ModuleOp module, const CompileOptions &options)
      : module(module), options(options), versions{module},
        remarks(module.getContext(),
                [this](const PassRemark &remark) { pass(remark); }) {}

  FailureOr<CompileResult> run(std::optional<Stage> done) {
    for (Stage stage : getStages()) {
      if (done && stage <= *done)
        continue;
      if (failed(runAndCheck(stage)))
        return failure();
      if (stage == options.lastStage)
        break;
    }
    if (options.verify)
      result.data = std::move(data);
    return std::move(result);
  }

private:
  /// Versions of the code share most remarks.
  void pass(const PassRemark &remark) {
    std::string key;
    llvm::raw_string_ostream(key) << remark.pass << '\0' << remark.name << '\0'
                                  << remark.location << '\0' << remark.text;
    if (!knownRemarks.insert(key).second)
      return;
    if (options.remark)
      options.remark(remark);
    if (options.report && remark.kind == "missed")
      addRemark(*options.report, remark);
  }

  /// The pass whose remarks are about the model; empty for all. What runs over
  /// data is a model of its own.
  static StringRef getRemarkingPass(Stage stage) {
    if (stage == Stage::Calibrate)
      return "qtx-calibrate";
    return stage == Stage::Quantize ? "qtx-quantize" : "";
  }

  LogicalResult runAndCheck(Stage stage) {
    auto start = std::chrono::steady_clock::now();
    remarks.listenTo(getRemarkingPass(stage));
    if (failed(runStage(stage)) || failed(verifyStage(module, stage)) ||
        failed(dump(stage)))
      return failure();
    // The copies share their constants with the module.
    if (options.verify && stage == Stage::Calibrate)
      result.floatModel = module.clone();
    if (options.verify && stage == Stage::Fuse)
      result.fusedModel = module.clone();
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
      return runPasses(buildImport);
    case Stage::Calibrate:
      return runCalibrate();
    case Stage::Quantize:
      return runQuantize();
    case Stage::Fold:
      return runPasses(buildFold);
    case Stage::Fuse:
      return runPasses(buildFuse);
    case Stage::Storage:
      return runStorage();
    case Stage::Configure:
      return runConfigure();
    case Stage::Pack:
      return runPack();
    case Stage::Tile:
      return runPasses(options.reference ? buildReferenceTile : buildTile);
    case Stage::Bufferize:
      return runPasses(buildPlannedBufferize);
    case Stage::Vector:
      return runPasses(buildPlannedVector);
    case Stage::Object:
      return runObject();
    }
    llvm_unreachable("unknown stage");
  }

  /// The function that the model is, in the best version; reports an error if
  /// there is no such.
  func::FuncOp getEntry() {
    ModuleOp module = versions.back();
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
    if (options.calibrationThreads)
      stream.numThreads = options.calibrationThreads;
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
      CalibrateOptions calibration{
          getObserver(), {}, getStreamOptions(Stage::Calibrate)};
      if (!options.observer)
        calibration.getObserver = [this](StringRef edge) {
          return options.recipe.getObserver(edge);
        };
      if (failed(samples) || failed(calibrate(entry, *samples, calibration)))
        return failure();
      data = std::move(*samples);
    }
    if (options.report)
      reportCalibrate(entry);
    return success();
  }

  ObserverOptions getObserver() const {
    return options.observer.value_or(options.recipe.observer);
  }

  void reportCalibrate(func::FuncOp entry) {
    reportModel(entry, *options.report);
    // Shares its constants with the module.
    floatModel = module.clone();
    if (!data)
      return;
    options.report->calibration = {
        llvm::sys::path::filename(options.calibrationPath).str(),
        getObserverName(getObserver().kind).str(), data->getNumSamples(),
        data->getNumPositions(), data->getNumFeeds()};
  }

  LogicalResult runQuantize() {
    func::FuncOp entry = getEntry();
    if (!entry)
      return failure();
    QuantizeOptions quantize{data ? &*data : nullptr,
                             getStreamOptions(Stage::Quantize),
                             [this] {
                               if (options.report)
                                 floatModel = module.clone();
                             },
                             options.report, options.simulate};
    if (failed(quantizeModel(entry, options.recipe, quantize)))
      return failure();
    return reportQuantize();
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

  /// Storage form, the form that becomes an object, and its versions.
  LogicalResult runStorage() {
    auto created = createTargetMachines(options.target);
    if (!created)
      return module.emitError() << llvm::toString(created.takeError());
    machines = std::move(*created);
    // The reference path uses no kernels that would need better machines.
    if (options.reference)
      machines.resize(1);
    if (options.threads > 1)
      module->setAttr(kThreadsAttrName,
                      Builder(module).getI64IntegerAttr(options.threads));
    if (failed(
            runPasses(options.reference ? buildStorage : buildFastStorage)) ||
        failed(runPasses(buildEntry)))
      return failure();
    auto interface = getObjectInterface(module, options.name);
    if (!interface)
      return module.emitError() << llvm::toString(interface.takeError());
    result.interface = std::move(*interface);
    const llvm::TargetMachine &best = *machines.back();
    bool isMulti = options.target.cpu == kMultiCPU;
    result.interface.triple = best.getTargetTriple().str();
    result.interface.cpu =
        isMulti ? kMultiCPU.str() : best.getTargetCPU().str();
    result.interface.features =
        isMulti ? "" : best.getTargetFeatureString().str();
    result.interface.threads = options.threads;
    makeVersions();
    return success();
  }

  /// From here on each version is a module of its own inside of the module, if
  /// there are several.
  void makeVersions() {
    for (const auto &machine : machines)
      result.interface.versions.push_back(describeVersion(*machine));
    if (options.reference)
      return;
    if (machines.size() == 1)
      return setTarget(module, *machines.front(), /*allowAMX=*/true);
    versions.clear();
    for (auto [machine, version] :
         llvm::zip_equal(machines, result.interface.versions)) {
      versions.push_back(cast<ModuleOp>(module->clone()));
      versions.back().setSymName(version.name);
      setTarget(versions.back(), *machine, /*allowAMX=*/true);
    }
    module.getBody()->clear();
    for (ModuleOp version : versions)
      module.push_back(version);
  }

  /// Leaves out versions that have the kernels of the one before them.
  void dropEqualVersions() {
    for (size_t i = versions.size(); --i > 0;) {
      if (!hasSameKernels(versions[i - 1], versions[i]))
        continue;
      versions[i].erase();
      versions.erase(versions.begin() + i);
      machines.erase(machines.begin() + i);
      result.interface.versions.erase(result.interface.versions.begin() + i);
    }
  }

  LogicalResult runPack() {
    if (options.reference)
      return success();
    if (failed(runPasses(buildPack)))
      return failure();
    dropEqualVersions();
    return success();
  }

  LogicalResult runObject() {
    for (ModuleOp version : versions)
      removeEntryAttrs(version);
    if (failed(runPasses(buildStatusAndLLVM)))
      return failure();
    if (versions.front() != module)
      mergeVersions(module, versions, machines);
    if (!options.weightsPath.empty())
      separateWeights();
    addCInterface(module, result.interface);
    result.machine = std::move(machines.front());
    return success();
  }

  void separateWeights() {
    result.weights = takeWeights(module);
    StringRef content(result.weights.data(), result.weights.size());
    result.interface.weights = {
        llvm::sys::path::filename(options.weightsPath).str(), content.size(),
        hashContent(content)};
  }

  LogicalResult runConfigure() {
    if (options.reference)
      return success();
    if (failed(runPasses(buildConfigure)) || failed(tune()))
      return failure();
    // The other version of code with AMX only serves where it is refused.
    if (versions.size() == 2)
      shareWeightFormats(versions[1], versions[0]);
    if (options.report)
      reportKernels(getEntry(), *options.report);
    return success();
  }

  LogicalResult tune() {
    if (!options.tune)
      return success();
    std::string path = options.tuningPath;
    auto fail = [&](llvm::Error error) {
      return module.emitError()
             << "--tune: " << llvm::toString(std::move(error));
    };
    if (path.empty()) {
      auto standard = getDefaultTuningFile();
      if (!standard)
        return fail(standard.takeError());
      path = std::move(*standard);
    }
    auto progress = [&](size_t done, size_t total) {
      if (options.stageProgress)
        options.stageProgress(Stage::Configure, done, total);
    };
    for (ModuleOp version : versions)
      if (llvm::Error error = tuneContractions(version, path, progress))
        return fail(std::move(error));
    return success();
  }

  LogicalResult runPasses(void (*build)(OpPassManager &)) {
    PassManager passManager(module.getContext());
    build(passManager);
    for (ModuleOp version : versions)
      if (failed(passManager.run(version)))
        return failure();
    return success();
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
    llvm::Error error =
        code ? llvm::errorCodeToError(code) : write(path, stage);
    if (!error)
      return success();
    return emitError(getFileLoc(module.getContext(), path))
           << "cannot write the IR: " << llvm::toString(std::move(error));
  }

  llvm::Error write(StringRef path, Stage stage) {
    OpPrintingFlags flags;
    flags.elideLargeElementsAttrs(kLargestDumpedConstant);
    flags.elideLargeResourceString(kLargestDumpedConstant);
    return llvm::writeToOutput(path, [&](llvm::raw_ostream &stream) {
      stream << "// The IR when it leaves the stage '" << getStageName(stage)
             << "', to be read: without the data of constants of more than "
             << kLargestDumpedConstant
             << " elements.\n// With them: --stop-after=" << getStageName(stage)
             << " -o FILE.mlir\n\n";
      module->print(stream, flags);
      return llvm::Error::success();
    });
  }

  ModuleOp module;
  const CompileOptions &options;
  /// What the model was calibrated with; absent if it was not.
  std::optional<CalibrationData> data;
  /// The model before it is quantized, for a report.
  OwningOpRef<ModuleOp> floatModel;
  /// The modules that passes run on, and what each is compiled for.
  SmallVector<ModuleOp> versions;
  std::vector<std::unique_ptr<llvm::TargetMachine>> machines;
  CompileResult result;
  llvm::StringSet<> knownRemarks;
  RemarkListener remarks;
};
} // namespace

FailureOr<CompileResult> qtx::runStages(ModuleOp module,
                                        const CompileOptions &options,
                                        std::optional<Stage> done) {
  return StageRunner(module, options).run(done);
}
