//===- qtxc.cpp - Compile a model -----------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "mlir/IR/MLIRContext.h"
#include "qtx/InitAll.h"
#include "qtx/Pipelines/Compiler.h"
#include "qtx/Support/Diagnostics.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/WithColor.h"

using namespace mlir;
using namespace qtx;
using llvm::opt::InputArgList;

static void printProgress(Stage stage, double seconds) {
  llvm::errs() << llvm::formatv("[{0,2}/{1}] {2,-10} {3,7:f2} s\n",
                                unsigned(stage) + 1, getStages().size(),
                                getStageName(stage), seconds);
}

static llvm::Expected<Stage> getLastStage(const InputArgList &arguments) {
  StringRef name = arguments.getLastArgValue(OPT_stop_after, "object");
  if (std::optional<Stage> stage = getStage(name))
    return *stage;
  return llvm::createStringError("--stop-after: expected a stage (" +
                                 listStageNames() + "), found '" + name + "'");
}

static llvm::Expected<CompileOptions>
getOptions(const InputArgList &arguments) {
  CompileOptions options;
  auto lastStage = getLastStage(arguments);
  if (!lastStage)
    return lastStage.takeError();
  options.lastStage = *lastStage;
  options.dumpFolder = arguments.getLastArgValue(OPT_dump_stages);
  if (!arguments.hasArg(OPT_quiet))
    options.stageDone = printProgress;
  return options;
}

static llvm::Error writeIR(ModuleOp module, StringRef path) {
  return llvm::writeToOutput(path, [&](llvm::raw_ostream &stream) {
    module->print(stream);
    return llvm::Error::success();
  });
}

/// Compiles the model; what the compiler found wrong is reported already where
/// the result is false.
static llvm::Expected<bool> compile(StringRef model, StringRef output,
                                    const CompileOptions &options) {
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  DiagnosticPrinter printer(&context);
  OwningOpRef<ModuleOp> module = loadModel(model, &context);
  if (!module || failed(runStages(*module, options)))
    return false;
  if (llvm::Error error = writeIR(*module, output))
    return error;
  return true;
}

static llvm::Expected<bool> run(llvm::ArrayRef<const char *> commandLine) {
  auto arguments = parseArguments(commandLine);
  if (!arguments)
    return arguments.takeError();
  if (arguments->hasArg(OPT_help)) {
    printHelp(llvm::outs());
    return true;
  }
  std::vector<std::string> models = arguments->getAllArgValues(OPT_INPUT);
  if (models.size() != 1)
    return llvm::createStringError("expected one model, found " +
                                   Twine(models.size()));
  if (!arguments->hasArg(OPT_output))
    return llvm::createStringError("expected an output file, as '-o FILE'");
  auto options = getOptions(*arguments);
  if (!options)
    return options.takeError();
  return compile(models.front(), arguments->getLastArgValue(OPT_output),
                 *options);
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  auto done = run(llvm::ArrayRef(argv + 1, argc - 1));
  if (!done)
    llvm::WithColor::error(llvm::errs(), "qtxc")
        << llvm::toString(done.takeError()) << "\n";
  return done && *done ? 0 : 1;
}
