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
#include "qtx/Pipelines/Verify.h"
#include "qtx/Support/Diagnostics.h"
#include "qtx/Support/OutputFiles.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/WithColor.h"

using namespace mlir;
using namespace qtx;
using llvm::opt::InputArgList;

static void printProgress(Stage stage, double seconds) {
  llvm::errs() << llvm::formatv("[{0,2}/{1}] {2,-10} {3,7:f2} s\n",
                                unsigned(stage) + 1, getStages().size(),
                                getStageName(stage), seconds);
}

/// Redraws one line while a stage runs over data; people only want to see it.
static void printBar(Stage stage, size_t done, size_t total) {
  constexpr size_t kWidth = 40;
  size_t filled = kWidth * done / total;
  llvm::errs() << llvm::formatv(
      "\r[{0,2}/{1}] {2,-10} [{3}{4}] {5,3}%", unsigned(stage) + 1,
      getStages().size(), getStageName(stage), std::string(filled, '='),
      std::string(kWidth - filled, ' '), 100 * done / total);
  // The line of the finished stage takes its place.
  if (done == total)
    llvm::errs() << "\r" << std::string(kWidth + 28, ' ') << "\r";
}

static void printRemark(const PassRemark &remark) {
  llvm::WithColor::remark(llvm::errs(), describeLocation(remark.location))
      << remark.text << " [" << remark.kind << ": " << remark.pass << "]\n";
}

/// What to do with remarks, from `--remarks`.
static llvm::Expected<std::function<void(const PassRemark &)>>
getRemarkPrinter(const InputArgList &arguments) {
  if (!arguments.hasArg(OPT_remarks))
    return nullptr;
  StringRef kind = arguments.getLastArgValue(OPT_remarks);
  if (!llvm::is_contained({"missed", "passed", "analysis", "all"}, kind))
    return llvm::createStringError("--remarks: expected missed, passed, "
                                   "analysis or all, found '" +
                                   kind + "'");
  return [kind](const PassRemark &remark) {
    if (kind == "all" || kind == remark.kind)
      printRemark(remark);
  };
}

static void printSummary(const Report &report, bool hasRemarks) {
  report.writeSummary(llvm::errs());
  if (unsigned count = report.numReferenceRemarks)
    llvm::errs() << count
                 << (count == 1 ? " operation takes" : " operations take")
                 << " the reference lowering"
                 << (hasRemarks ? "\n" : "; --remarks=missed says why\n");
  if (unsigned count = report.numLargeWeights)
    llvm::errs() << count << (count == 1 ? " layer has" : " layers have")
                 << " weights that are too large for the fastest code of AVX2; "
                    "--recipe=int8-avx2 makes smaller ones\n";
}

/// What to write, from `--emit`, `--stop-after` or the name of the file.
static llvm::Expected<OutputKind> getKind(const InputArgList &arguments) {
  StringRef output = arguments.getLastArgValue(OPT_output);
  if (!arguments.hasArg(OPT_emit)) {
    if (arguments.hasArg(OPT_stop_after))
      return OutputKind::MLIR;
    if (std::optional<OutputKind> kind = getOutputKindOfFile(output))
      return *kind;
    return llvm::createStringError(
        "expected an output that ends in .o, .so, .s, .ll, .mlir or .h, or "
        "--emit=KIND, found '" +
        output + "'");
  }
  StringRef name = arguments.getLastArgValue(OPT_emit);
  std::optional<OutputKind> kind = getOutputKind(name);
  if (!kind)
    return llvm::createStringError("--emit: expected mlir, linalg, llvm, asm, "
                                   "obj, lib or header, found '" +
                                   name + "'");
  if (arguments.hasArg(OPT_stop_after) && *kind != OutputKind::MLIR)
    return llvm::createStringError(
        "--stop-after: expected --emit=mlir beside it, found --emit=" + name);
  return *kind;
}

static llvm::Expected<Stage> getLastStage(const InputArgList &arguments,
                                          OutputKind kind) {
  if (!arguments.hasArg(OPT_stop_after))
    return getLastStage(kind);
  StringRef name = arguments.getLastArgValue(OPT_stop_after);
  if (std::optional<Stage> stage = getStage(name))
    return *stage;
  return llvm::createStringError("--stop-after: expected a stage (" +
                                 listStageNames() + "), found '" + name + "'");
}

/// The options that text sets, and what holds without them.
static llvm::Error addTextOptions(CompileOptions &options,
                                  const InputArgList &arguments) {
  StringRef output = arguments.getLastArgValue(OPT_output);
  if (output != "-")
    options.name = llvm::sys::path::stem(output).str();
  if (!arguments.hasArg(OPT_recipe))
    options.recipe = llvm::cantFail(parseRecipe(kDefaultRecipe));
  for (const llvm::opt::Arg *arg : arguments) {
    StringRef name = arg->getOption().getName();
    name.consume_back("=");
    if (!llvm::is_contained(getOptionNames(), name))
      continue;
    StringRef value = arg->getNumValues() ? arg->getValue() : "";
    if (llvm::Error error = setOption(options, name, value))
      return llvm::createStringError((name.size() == 1 ? "-" : "--") + name +
                                     ": " + llvm::toString(std::move(error)));
  }
  return checkOptions(options);
}

static llvm::Expected<CompileOptions> getOptions(const InputArgList &arguments,
                                                 OutputKind kind) {
  CompileOptions options;
  auto lastStage = getLastStage(arguments, kind);
  if (!lastStage)
    return lastStage.takeError();
  options.lastStage = *lastStage;
  if (llvm::Error error = addTextOptions(options, arguments))
    return error;
  auto remarkPrinter = getRemarkPrinter(arguments);
  if (!remarkPrinter)
    return remarkPrinter.takeError();
  options.remark = std::move(*remarkPrinter);
  if (!arguments.hasArg(OPT_quiet)) {
    options.stageDone = printProgress;
    if (llvm::errs().is_displayed())
      options.stageProgress = printBar;
  }
  return options;
}

/// Compiles the model; what the compiler found wrong is reported already where
/// the result is false.
static llvm::Expected<bool> compile(StringRef model, StringRef output,
                                    OutputKind kind,
                                    const CompileOptions &options,
                                    OutputFiles &files) {
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  DiagnosticPrinter printer(&context);
  OwningOpRef<ModuleOp> module = loadModel(model, &context);
  if (!module)
    return false;
  FailureOr<CompileResult> result = runStages(*module, options);
  if (failed(result))
    return false;
  if (options.verify)
    if (llvm::Error error =
            verifyModel(*module, options, *result,
                        options.stageDone ? llvm::errs() : llvm::nulls()))
      return llvm::createStringError("--verify: " +
                                     llvm::toString(std::move(error)));
  if (llvm::Error error =
          writeOutput(*module, options, *result, kind, output, files))
    return error;
  return true;
}

/// Checks the files to write before there is something to write.
static llvm::Error checkPaths(const InputArgList &arguments, OutputKind kind,
                              const CompileOptions &options) {
  std::vector<std::string> outputs =
      getOutputPaths(options, kind, arguments.getLastArgValue(OPT_output));
  for (StringRef path : arguments.getAllArgValues(OPT_report)) {
    if (llvm::Error error = checkReportPath(path))
      return error;
    outputs.push_back(path.str());
  }
  std::vector<std::string> inputs = arguments.getAllArgValues(OPT_INPUT);
  llvm::append_range(inputs, arguments.getAllArgValues(OPT_calibrate));
  // Others are names.
  for (StringRef recipe : arguments.getAllArgValues(OPT_recipe))
    if (recipe.ends_with(".json"))
      inputs.push_back(recipe.str());
  return checkOutputPaths(outputs, inputs);
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
  auto kind = getKind(*arguments);
  if (!kind)
    return kind.takeError();
  auto options = getOptions(*arguments, *kind);
  if (!options)
    return options.takeError();
  if (llvm::Error error = checkPaths(*arguments, *kind, *options))
    return error;
  std::vector<std::string> reportPaths = arguments->getAllArgValues(OPT_report);
  Report report;
  report.recipe = options->recipe.name;
  report.model = llvm::sys::path::filename(models.front()).str();
  options->report = &report;
  options->measureNoise = !reportPaths.empty();
  OutputFiles files;
  auto done = compile(models.front(), arguments->getLastArgValue(OPT_output),
                      *kind, *options, files);
  if (!done || !*done)
    return done;
  if (options->stageDone && options->lastStage >= Stage::Quantize)
    printSummary(report, bool(options->remark));
  for (StringRef path : reportPaths)
    if (llvm::Error error = writeReport(report, path, files))
      return error;
  if (llvm::Error error = files.keep())
    return error;
  return true;
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  auto done = run(llvm::ArrayRef(argv + 1, argc - 1));
  if (!done)
    llvm::WithColor::error(llvm::errs(), "qtxc")
        << llvm::toString(done.takeError()) << "\n";
  return done && *done ? 0 : 1;
}
