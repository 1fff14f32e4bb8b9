//===- qtx-run.cpp - Run a model on arrays --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/InitAll.h"
#include "qtx/Kernel/Threads.h"
#include "qtx/Pipelines/Compiler.h"
#include "qtx/Support/Diagnostics.h"
#include "qtx/Target/CompiledModel.h"
#include "qtx/Target/Run.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/WithColor.h"

using namespace mlir;
using namespace qtx;
namespace cl = llvm::cl;

static cl::OptionCategory category("qtx-run options");

static cl::opt<std::string> modelPath(cl::Positional, cl::Required,
                                      cl::desc("MODEL.onnx|.mlir|.o|.so"),
                                      cl::cat(category));
static cl::opt<std::string>
    inputsPath("inputs",
               cl::desc("Archive of the inputs, named as the model's"),
               cl::value_desc("IN.npz"), cl::cat(category));
static cl::opt<std::string>
    outputsPath("outputs", cl::desc("Archive to write the outputs to"),
                cl::value_desc("OUT.npz"), cl::cat(category));
static cl::opt<std::string>
    expectedPath("expected", cl::desc("Archive of outputs to compare with"),
                 cl::value_desc("REF.npz"), cl::cat(category));
static cl::opt<double>
    relativeTolerance("rtol",
                      cl::desc("Relative tolerance of --expected (default 0)"),
                      cl::init(0), cl::cat(category));
static cl::opt<double>
    absoluteTolerance("atol",
                      cl::desc("Absolute tolerance of --expected (default 0)"),
                      cl::init(0), cl::cat(category));
static cl::opt<std::string> entryName(
    "entry",
    cl::desc("Function of IR to run (default: main, or the only public one)"),
    cl::value_desc("NAME"), cl::cat(category));
static cl::opt<bool>
    useReference("reference",
                 cl::desc("Lower a model that is not compiled by the reference "
                          "path"),
                 cl::cat(category));
static cl::opt<std::string>
    recipeName("recipe",
               cl::desc("How to quantize a graph (default: none, in float)"),
               cl::value_desc("NAME[:K]"), cl::init("none"), cl::cat(category));
static cl::opt<std::string>
    samplesPath("calibrate", cl::desc("Samples that the recipe wants"),
                cl::value_desc("DATA.npz"), cl::cat(category));

/// The option `threads`, which `main` makes: LLVM's libraries have one of that
/// name as well.
static unsigned numThreads = 1;

static void reportError(const llvm::Twine &text) {
  llvm::WithColor::error(llvm::errs(), "qtx-run") << text << "\n";
}

static void reportWarning(const llvm::Twine &text) {
  llvm::WithColor::warning(llvm::errs(), "qtx-run") << text << "\n";
}

namespace {
/// What compiles a model, and what it says.
class Compilation {
public:
  Compilation() : context(makeRegistry()), messages(&context) {
    context.printOpOnDiagnostic(false);
  }

  /// Null after an error.
  OwningOpRef<ModuleOp> load() { return loadModel(modelPath, &context); }

  ~Compilation() {
    for (StringRef warning : messages.getWarnings())
      reportWarning(warning);
  }

  /// What was reported, as one error; `other` if nothing was.
  llvm::Error getError(llvm::Error other = llvm::Error::success()) const {
    if (messages.getErrors().empty())
      return other;
    llvm::consumeError(std::move(other));
    return llvm::createStringError(llvm::join(messages.getErrors(), "\n"));
  }

private:
  static DialectRegistry makeRegistry() {
    DialectRegistry registry;
    registerDialects(registry);
    return registry;
  }

  MLIRContext context;
  DiagnosticCollector messages;
};
} // namespace

/// Compiles the functions of IR.
static llvm::Expected<std::unique_ptr<JITModule>> compileFunctions() {
  Compilation compilation;
  OwningOpRef<ModuleOp> module = compilation.load();
  if (!module)
    return compilation.getError();
  if (numThreads > 1)
    (*module)->setAttr(
        kThreadsAttrName,
        Builder(module->getContext()).getI64IntegerAttr(numThreads));
  JITOptions options;
  options.fast = !useReference;
  auto functions = JITModule::create(*module, options);
  if (!functions)
    return compilation.getError(functions.takeError());
  return functions;
}

static llvm::Expected<CompileOptions> getCompileOptions() {
  CompileOptions options;
  options.reference = useReference;
  options.threads = std::max(numThreads, 1u);
  options.calibrationPath = samplesPath;
  auto recipe = parseRecipe(recipeName);
  if (!recipe)
    return llvm::createStringError("--recipe: " +
                                   llvm::toString(recipe.takeError()));
  options.recipe = std::move(*recipe);
  return options;
}

/// Takes a graph through all stages to an object in memory.
static llvm::Expected<std::unique_ptr<CompiledModel>> compileGraph() {
  auto options = getCompileOptions();
  if (!options)
    return options.takeError();
  Compilation compilation;
  OwningOpRef<ModuleOp> module = compilation.load();
  if (!module)
    return compilation.getError();
  FailureOr<CompileResult> result = runStages(*module, *options);
  if (failed(result))
    return compilation.getError();
  auto object = emitObject(*module, *options, *result);
  if (!object)
    return compilation.getError(object.takeError());
  return CompiledModel::loadObject(std::move(*object));
}

/// The function to run: the one asked for, `main`, or the only one.
static llvm::Expected<StringRef> selectEntry(ArrayRef<StringRef> names) {
  if (!entryName.empty())
    return StringRef(entryName);
  if (names.empty())
    return llvm::createStringError(modelPath + ": no public function");
  if (llvm::is_contained(names, "main"))
    return StringRef("main");
  if (names.size() == 1)
    return names.front();
  return llvm::createStringError(
      modelPath +
      ": several functions, choose one by --entry: " + llvm::join(names, ", "));
}

/// Calls a function with the arrays of the archive.
static llvm::Expected<std::vector<NamedArray>>
run(const FunctionSignature &signature,
    llvm::function_ref<
        llvm::Expected<std::vector<Buffer>>(ArrayRef<BufferView>)>
        invoke) {
  std::vector<NamedArray> arrays;
  if (!inputsPath.empty()) {
    auto read = readNpz(inputsPath);
    if (!read)
      return read.takeError();
    arrays = std::move(*read);
  }
  auto inputs = bindInputs(signature, arrays, reportWarning);
  if (!inputs)
    return inputs.takeError();
  SmallVector<BufferView> views;
  for (auto [array, value] : llvm::zip_equal(*inputs, signature.inputs))
    views.push_back(getView(array, value.element));
  auto outputs = invoke(views);
  if (!outputs)
    return outputs.takeError();
  return nameOutputs(signature, *outputs);
}

static llvm::Expected<std::vector<NamedArray>> runIR() {
  auto model = compileFunctions();
  if (!model)
    return model.takeError();
  auto name = selectEntry((*model)->getFunctionNames());
  if (!name)
    return name.takeError();
  auto signature = (*model)->getSignature(*name);
  if (!signature)
    return signature.takeError();
  return run(*signature, [&](ArrayRef<BufferView> inputs) {
    return (*model)->invoke(*name, inputs);
  });
}

/// Calls a compiled model through its C functions.
static llvm::Expected<std::vector<NamedArray>>
runCompiled(llvm::Expected<std::unique_ptr<CompiledModel>> model) {
  if (!model)
    return model.takeError();
  if (!useReference)
    if (llvm::Error error = (*model)->setNumThreads(numThreads))
      return llvm::createStringError("--threads: " +
                                     llvm::toString(std::move(error)));
  if ((*model)->getSignature().versions.size() > 1) {
    auto version = (*model)->getVersion();
    if (!version)
      return version.takeError();
    llvm::outs() << "code for " << version->name << "\n";
  }
  return run(
      (*model)->getSignature().function,
      [&](ArrayRef<BufferView> inputs) { return (*model)->invoke(inputs); });
}

/// Fails if an option is given that models of this kind do not take.
static llvm::Error refuse(const cl::Option &option, StringRef kinds) {
  if (option.getNumOccurrences() == 0)
    return llvm::Error::success();
  return llvm::createStringError("--" + option.ArgStr +
                                 ": expected a model in " + kinds + ", found " +
                                 modelPath);
}

/// Checks that the options suit the kind of the model.
static llvm::Error checkOptions(bool isGraph, bool isIR) {
  if (!isGraph)
    for (const cl::opt<std::string> *option : {&recipeName, &samplesPath})
      if (llvm::Error error = refuse(*option, ".onnx"))
        return error;
  if (!isIR)
    if (llvm::Error error = refuse(entryName, ".mlir"))
      return error;
  if (numThreads > 1 && useReference)
    return llvm::createStringError("--threads: expected no --reference beside "
                                   "it, which uses one thread");
  if (!isGraph && !isIR)
    return refuse(useReference, ".onnx or .mlir");
  return llvm::Error::success();
}

static llvm::Expected<std::vector<NamedArray>> runModel() {
  StringRef path = modelPath;
  bool isGraph = path.ends_with(".onnx"), isIR = path.ends_with(".mlir");
  if (!isGraph && !isIR && !path.ends_with(".o") && !path.ends_with(".so"))
    return llvm::createStringError(
        path + ": expected a file that ends in .onnx, .mlir, .o or .so");
  if (llvm::Error error = checkOptions(isGraph, isIR))
    return error;
  if (isIR)
    return runIR();
  return runCompiled(isGraph ? compileGraph() : CompiledModel::load(path));
}

/// Whether the outputs agree with the expected ones; reports the differences.
static llvm::Expected<bool> compare(ArrayRef<NamedArray> outputs) {
  auto expected = readNpz(expectedPath);
  if (!expected)
    return expected.takeError();
  return compareOutputs(outputs, *expected,
                        {relativeTolerance, absoluteTolerance}, reportError,
                        reportWarning);
}

static llvm::Expected<bool> runAll() {
  auto outputs = runModel();
  if (!outputs)
    return outputs.takeError();
  if (!outputsPath.empty())
    if (llvm::Error error = writeNpz(outputsPath, *outputs))
      return error;
  return expectedPath.empty() ? llvm::Expected<bool>(true) : compare(*outputs);
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  if (cl::Option *other = cl::getRegisteredOptions().lookup("threads"))
    other->removeArgument();
  cl::opt<unsigned, true> threads(
      "threads", cl::desc("Threads that fast code uses (default 1)"),
      cl::location(numThreads), cl::cat(category));
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(argc, argv, "Run a model on arrays\n");
  auto agree = runAll();
  if (!agree)
    reportError(llvm::toString(agree.takeError()));
  return agree && *agree ? 0 : 1;
}
