//===- qtx-run.cpp - Run a model on arrays --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/AsmState.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "qtx/InitAll.h"
#include "qtx/Target/CompiledModel.h"
#include "qtx/Target/Run.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/WithColor.h"

using namespace mlir;
using namespace qtx;
namespace cl = llvm::cl;

static cl::OptionCategory category("qtx-run options");

static cl::opt<std::string> modelPath(cl::Positional, cl::Required,
                                      cl::desc("MODEL.mlir|.o|.so"),
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
    cl::desc("Function to run (default: main, or the only public one)"),
    cl::value_desc("NAME"), cl::cat(category));
static cl::opt<bool>
    useReference("reference",
                 cl::desc("Use the reference lowering, as IR always does"),
                 cl::cat(category));

static void reportError(const llvm::Twine &text) {
  llvm::WithColor::error(llvm::errs(), "qtx-run") << text << "\n";
}

static void reportWarning(const llvm::Twine &text) {
  llvm::WithColor::warning(llvm::errs(), "qtx-run") << text << "\n";
}

/// Parses and compiles the model; the messages go to the error stream.
static llvm::Expected<std::unique_ptr<JITModule>> compileModel() {
  std::string message;
  auto file = openInputFile(modelPath, &message);
  if (!file)
    return llvm::createStringError(message);
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(file), llvm::SMLoc());
  SourceMgrDiagnosticHandler handler(sources, &context);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, &context);
  if (!module)
    return llvm::createStringError(modelPath + ": not valid IR");
  return JITModule::create(*module);
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
  auto model = compileModel();
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
static llvm::Expected<std::vector<NamedArray>> runCompiled() {
  if (useReference)
    return llvm::createStringError(
        "--reference: expected a model that is not compiled, found " +
        modelPath);
  if (!entryName.empty())
    return llvm::createStringError(
        "--entry: expected a model that is not compiled, found " + modelPath);
  auto model = CompiledModel::load(modelPath);
  if (!model)
    return model.takeError();
  return run(
      (*model)->getSignature().function,
      [&](ArrayRef<BufferView> inputs) { return (*model)->invoke(inputs); });
}

static llvm::Expected<std::vector<NamedArray>> runModel() {
  StringRef path = modelPath;
  if (path.ends_with(".mlir"))
    return runIR();
  if (path.ends_with(".o") || path.ends_with(".so"))
    return runCompiled();
  return llvm::createStringError(
      path + ": expected a file that ends in .mlir, .o or .so");
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
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(argc, argv, "Run a model on arrays\n");
  auto agree = runAll();
  if (!agree)
    reportError(llvm::toString(agree.takeError()));
  return agree && *agree ? 0 : 1;
}
