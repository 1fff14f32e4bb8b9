//===- Model.cpp - Compiled models in the C interface ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "qtx/Pipelines/Verify.h"
#include "qtx/Support/OutputFiles.h"
#include "qtx/Target/CompiledModel.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <mutex>

using namespace mlir;
using namespace qtx;

namespace {
/// Memory that calls take and give back, so that only the first ones wait for
/// the operating system.
class WorkspacePool {
public:
  struct Workspace {
    std::unique_ptr<char[]> data;
    size_t bytes = 0;
  };

  /// At least `bytes` of memory; null if there is not so much.
  Workspace take(size_t bytes) {
    Workspace workspace;
    {
      std::lock_guard<std::mutex> lock(mutex);
      if (!idle.empty())
        workspace = idle.pop_back_val();
    }
    if (workspace.bytes >= bytes && workspace.data)
      return workspace;
    // First the old one goes.
    workspace.data.reset();
    workspace.data.reset(new (std::nothrow) char[std::max<size_t>(bytes, 1)]);
    workspace.bytes = bytes;
    return workspace;
  }

  void giveBack(Workspace workspace) {
    std::lock_guard<std::mutex> lock(mutex);
    idle.push_back(std::move(workspace));
  }

private:
  std::mutex mutex;
  SmallVector<Workspace> idle;
};
} // namespace

struct QtxModel {
  /// The object or library that `model` comes from.
  std::unique_ptr<llvm::MemoryBuffer> code;
  bool isLibrary = false;
  /// What the compiler knows and the code does not say; empty if it was loaded.
  std::string header, report;
  std::string signature;
  std::unique_ptr<CompiledModel> model;
  mutable WorkspacePool workspaces;
};

//===----------------------------------------------------------------------===//
// Compilation
//===----------------------------------------------------------------------===//

QtxStatus qtxModuleLoad(const char *path, const QtxDiagnosticHandler *handler,
                        QtxModule **module) {
  if (!path || !module)
    return Reporter(handler).failOnNull();
  std::unique_ptr<QtxModule> result = createModule();
  ScopedReporter reporter(result->context.get(), handler);
  result->module = loadModel(path, result->context.get());
  if (!result->module)
    return QTX_STATUS_PARSE_ERROR;
  *module = result.release();
  return QTX_STATUS_OK;
}

namespace {
/// What the options of a compilation say.
struct ModelOptions {
  CompileOptions compile;
  std::vector<std::string> reportPaths;
};
} // namespace

static llvm::Error setOption(ModelOptions &options, StringRef name,
                             StringRef value) {
  if (name != "report")
    return setOption(options.compile, name, value);
  options.reportPaths.push_back(value.str());
  return checkReportPath(value);
}

static llvm::Expected<ModelOptions> readOptions(ArrayRef<QtxOption> texts) {
  ModelOptions options;
  options.compile.recipe = llvm::cantFail(parseRecipe(kDefaultRecipe));
  for (const QtxOption &text : texts)
    if (llvm::Error error =
            setOption(options, text.name, text.value ? text.value : ""))
      return llvm::createStringError(Twine(text.name) + ": " +
                                     llvm::toString(std::move(error)));
  if (llvm::Error error = checkOptions(options.compile))
    return error;
  if (llvm::Error error = checkOutputPaths(options.reportPaths))
    return llvm::createStringError("report: " +
                                   llvm::toString(std::move(error)));
  return options;
}

static llvm::Error writeReports(const Report &report,
                                ArrayRef<std::string> paths) {
  OutputFiles files;
  for (StringRef path : paths)
    if (llvm::Error error = writeReport(report, path, files))
      return error;
  return files.keep();
}

/// Makes a model that can be called from its code.
static llvm::Error link(QtxModel &model,
                        std::unique_ptr<llvm::MemoryBuffer> weights) {
  auto loaded = CompiledModel::loadObject(
      llvm::MemoryBuffer::getMemBuffer(model.code->getMemBufferRef(),
                                       /*RequiresNullTerminator=*/false),
      std::move(weights));
  if (!loaded)
    return loaded.takeError();
  model.model = std::move(*loaded);
  return llvm::Error::success();
}

/// Compiles `module`, whose stages did succeed, to machine code.
static llvm::Error finish(ModuleOp module, const ModelOptions &options,
                          const CompileResult &result, QtxModel &model) {
  if (options.compile.verify)
    if (llvm::Error error =
            verifyModel(module, options.compile, result, llvm::nulls()))
      return llvm::createStringError("verify: " +
                                     llvm::toString(std::move(error)));
  auto code = emitObject(module, options.compile, result);
  if (!code)
    return code.takeError();
  model.code = std::move(*code);
  model.header = makeHeader(result.interface);
  model.signature = makeSignature(result.interface);
  llvm::raw_string_ostream stream(model.report);
  options.compile.report->writeJSON(stream);
  if (llvm::Error error = link(model, copyWeights(result)))
    return error;
  return writeReports(*options.compile.report, options.reportPaths);
}

/// What the texts say, and whom to tell about progress.
static QtxStatus readOptions(const QtxOption *options, size_t numOptions,
                             const QtxProgressHandler *progress,
                             const Reporter &reporter, ModelOptions &result) {
  ArrayRef<QtxOption> texts(options, numOptions);
  if (llvm::any_of(texts, [](const QtxOption &text) { return !text.name; }))
    return reporter.failOnNull();
  auto read = readOptions(texts);
  if (!read)
    return reporter.fail(QTX_STATUS_INVALID_ARGUMENT, read.takeError());
  result = std::move(*read);
  if (progress && progress->callback)
    result.compile.stageProgress = [progress](Stage stage, size_t done,
                                              size_t total) {
      progress->callback(getStageName(stage).data(), done, total,
                         progress->userData);
    };
  return QTX_STATUS_OK;
}

QtxStatus qtxModuleCalibrate(QtxModule *module, const QtxOption *options,
                             size_t numOptions,
                             const QtxProgressHandler *progress,
                             const QtxDiagnosticHandler *handler) {
  if (!module || (numOptions > 0 && !options))
    return Reporter(handler).failOnNull();
  ScopedReporter reporter(module->context.get(), handler);
  ModelOptions read;
  if (QtxStatus status =
          readOptions(options, numOptions, progress, reporter, read))
    return status;
  if (read.compile.calibrationPath.empty())
    return reporter.fail(QTX_STATUS_INVALID_ARGUMENT,
                         "calibrate: expected samples to observe");
  read.compile.lastStage = Stage::Calibrate;
  OwningOpRef<ModuleOp> copy = module->module.get().clone();
  if (failed(runStages(*copy, read.compile)))
    return QTX_STATUS_COMPILE_ERROR;
  module->module = std::move(copy);
  return QTX_STATUS_OK;
}

QtxStatus qtxModelCompile(const QtxModule *module, const QtxOption *options,
                          size_t numOptions, const QtxProgressHandler *progress,
                          const QtxDiagnosticHandler *handler,
                          QtxModel **model) {
  if (!module || (numOptions > 0 && !options) || !model)
    return Reporter(handler).failOnNull();
  ScopedReporter reporter(module->context.get(), handler);
  ModelOptions read;
  if (QtxStatus status =
          readOptions(options, numOptions, progress, reporter, read))
    return status;
  Report report;
  report.recipe = read.compile.recipe.name;
  report.model = read.compile.name;
  read.compile.report = &report;
  read.compile.measureNoise = !read.reportPaths.empty();
  OwningOpRef<ModuleOp> copy = module->module.get().clone();
  FailureOr<CompileResult> result = runStages(*copy, read.compile);
  if (failed(result))
    return QTX_STATUS_COMPILE_ERROR;
  auto compiled = std::make_unique<QtxModel>();
  if (llvm::Error error = finish(*copy, read, *result, *compiled))
    return reporter.fail(QTX_STATUS_COMPILE_ERROR, std::move(error));
  *model = compiled.release();
  return QTX_STATUS_OK;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

QtxStatus qtxModelLoad(const char *path, const QtxDiagnosticHandler *handler,
                       QtxModel **model) {
  Reporter reporter(handler);
  if (!path || !model)
    return reporter.failOnNull();
  auto loaded = CompiledModel::load(path);
  if (!loaded)
    return reporter.fail(QTX_STATUS_PARSE_ERROR, loaded.takeError());
  auto result = std::make_unique<QtxModel>();
  result->signature = (*loaded)->getSignature().text;
  result->isLibrary = (*loaded)->isLibrary();
  result->model = std::move(*loaded);
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                          /*RequiresNullTerminator=*/false);
  if (!file)
    return reporter.fail(QTX_STATUS_PARSE_ERROR,
                         std::string(path) + ": " + file.getError().message());
  result->code = std::move(*file);
  *model = result.release();
  return QTX_STATUS_OK;
}

void qtxModelDestroy(QtxModel *model) { delete model; }

/// The file `name` in the folder of `path`.
static std::string getBeside(StringRef path, StringRef name) {
  SmallString<128> beside(path);
  llvm::sys::path::remove_filename(beside);
  llvm::sys::path::append(beside, name);
  return beside.str().str();
}

static llvm::Error save(const QtxModel &model, StringRef path) {
  std::optional<OutputKind> kind = getOutputKindOfFile(path);
  if (model.isLibrary && kind != OutputKind::Library)
    return llvm::createStringError(
        path +
        ": expected a file that ends in .so, for a model from a library");
  if (kind != OutputKind::Object && kind != OutputKind::Library)
    return llvm::createStringError(path +
                                   ": expected a file that ends in .o or .so");
  std::vector<std::string> paths = {path.str()};
  const llvm::MemoryBuffer *weights = model.model->getWeights();
  if (weights)
    paths.push_back(getBeside(path, model.model->getSignature().weights->file));
  if (!model.header.empty())
    paths.push_back(getHeaderPath(path));
  if (llvm::Error error = checkOutputPaths(paths))
    return error;
  OutputFiles files;
  bool needsLink = kind == OutputKind::Library && !model.isLibrary;
  StringRef code = model.code->getBuffer();
  if (llvm::Error error =
          needsLink ? linkLibrary(code, path, files) : files.write(path, code))
    return error;
  if (weights)
    if (llvm::Error error = files.write(paths[1], weights->getBuffer()))
      return error;
  if (!model.header.empty())
    if (llvm::Error error = files.write(paths.back(), model.header))
      return error;
  return files.keep();
}

QtxStatus qtxModelSave(const QtxModel *model, const char *path,
                       const QtxDiagnosticHandler *handler) {
  Reporter reporter(handler);
  if (!model || !path)
    return reporter.failOnNull();
  if (llvm::Error error = save(*model, path))
    return reporter.fail(QTX_STATUS_INVALID_ARGUMENT, std::move(error));
  return QTX_STATUS_OK;
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

const char *qtxModelGetSignature(const QtxModel *model) {
  return model ? model->signature.c_str() : nullptr;
}

const char *qtxModelGetReport(const QtxModel *model) {
  return model && !model->report.empty() ? model->report.c_str() : nullptr;
}

QtxStatus qtxModelGetDims(const QtxModel *model, const QtxBuffer *inputs,
                          size_t numInputs, const QtxDiagnosticHandler *handler,
                          int64_t *dims) {
  Reporter reporter(handler);
  if (!model || (numInputs > 0 && !inputs) || !dims)
    return reporter.failOnNull();
  SmallVector<BufferView> views;
  for (const QtxBuffer &input : ArrayRef<QtxBuffer>(inputs, numInputs))
    if (QtxStatus status = readBuffer(input, reporter, views.emplace_back()))
      return status;
  auto values = model->model->getDims(views);
  if (!values)
    return reporter.fail(QTX_STATUS_INVALID_INPUT, values.takeError());
  llvm::copy(*values, dims);
  return QTX_STATUS_OK;
}

QtxStatus qtxModelGetOutputShape(const QtxModel *model, size_t output,
                                 const int64_t *dims,
                                 const QtxDiagnosticHandler *handler,
                                 int64_t *shape) {
  Reporter reporter(handler);
  if (!model || !dims || !shape)
    return reporter.failOnNull();
  const ModelSignature &signature = model->model->getSignature();
  if (output >= signature.function.outputs.size())
    return reporter.fail(QTX_STATUS_INVALID_ARGUMENT, "index out of range");
  auto sizes = model->model->getOutputShape(
      output, ArrayRef(dims, signature.dims.size()));
  if (!sizes)
    return reporter.fail(QTX_STATUS_INVALID_INPUT, sizes.takeError());
  llvm::copy(*sizes, shape);
  return QTX_STATUS_OK;
}

static llvm::Error run(const QtxModel &model, const void *const *inputs,
                       void *const *outputs, ArrayRef<int64_t> dims) {
  const CompiledModel &code = *model.model;
  auto bytes = code.getWorkspaceSize(dims);
  if (!bytes)
    return bytes.takeError();
  WorkspacePool::Workspace workspace = model.workspaces.take(*bytes);
  if (!workspace.data)
    return llvm::createStringError("not enough memory");
  const FunctionSignature &function = code.getSignature().function;
  llvm::Error error = code.run(ArrayRef(inputs, function.inputs.size()),
                               ArrayRef(outputs, function.outputs.size()), dims,
                               workspace.data.get(), workspace.bytes);
  model.workspaces.giveBack(std::move(workspace));
  return error;
}

QtxStatus qtxModelRun(const QtxModel *model, const void *const *inputs,
                      void *const *outputs, const int64_t *dims,
                      const QtxDiagnosticHandler *handler) {
  Reporter reporter(handler);
  if (!model || !inputs || !outputs || !dims)
    return reporter.failOnNull();
  size_t numDims = model->model->getSignature().dims.size();
  if (llvm::Error error = run(*model, inputs, outputs, ArrayRef(dims, numDims)))
    return reporter.fail(QTX_STATUS_INVALID_INPUT, std::move(error));
  return QTX_STATUS_OK;
}
