//===- qtx-bench.cpp - Time a compiled model ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Target/Benchmark.h"
#include "qtx/Target/Run.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileOutputBuffer.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/LineIterator.h"
#include "llvm/Support/WithColor.h"
#include "llvm/TargetParser/Host.h"
#include <cstring>

using namespace mlir;
using namespace qtx;
namespace cl = llvm::cl;

namespace {
/// Made in `main`, when the options of LLVM's libraries are gone: one of them
/// is called `threads` as well.
struct Options {
  cl::OptionCategory category{"qtx-bench options"};
  cl::opt<std::string> model{cl::Positional, cl::desc("MODEL.o|.so"),
                             cl::cat(category)};
  cl::opt<bool> peaks{"peaks",
                      cl::desc("Measure what a core can do at most instead"),
                      cl::cat(category)};
  cl::opt<std::string> inputs{
      "inputs", cl::desc("Archive of the inputs, named as the model's"),
      cl::value_desc("IN.npz"), cl::cat(category)};
  cl::opt<unsigned> threads{"threads",
                            cl::desc("Threads that the model uses (default 1)"),
                            cl::init(1), cl::cat(category)};
  cl::opt<std::string> json{"json", cl::desc("File to write the result to"),
                            cl::value_desc("FILE"), cl::cat(category)};
};
} // namespace

static void reportError(const llvm::Twine &text) {
  llvm::WithColor::error(llvm::errs(), "qtx-bench") << text << "\n";
}

static void reportWarning(const llvm::Twine &text) {
  llvm::WithColor::warning(llvm::errs(), "qtx-bench") << text << "\n";
}

/// The name that the processor gives itself, or the one that LLVM knows.
static std::string getCPUName() {
  auto file = llvm::MemoryBuffer::getFileAsStream("/proc/cpuinfo");
  if (file)
    for (llvm::line_iterator line(**file); !line.is_at_end(); ++line)
      if (line->starts_with("model name"))
        return line->split(':').second.trim().str();
  return llvm::sys::getHostCPUName().str();
}

static llvm::Error writeJSON(StringRef path, const llvm::json::Value &value) {
  std::string text = llvm::formatv("{0:2}\n", value).str();
  auto file = llvm::FileOutputBuffer::create(path, text.size());
  if (!file)
    return llvm::createStringError(path + ": " +
                                   llvm::toString(file.takeError()));
  std::memcpy((*file)->getBufferStart(), text.data(), text.size());
  return (*file)->commit();
}

static llvm::Expected<Timing> timeWithInputs(const CompiledModel &model,
                                             StringRef inputsPath) {
  std::vector<NamedArray> arrays;
  if (!inputsPath.empty()) {
    auto read = readNpz(inputsPath);
    if (!read)
      return read.takeError();
    arrays = std::move(*read);
  }
  const FunctionSignature &signature = model.getSignature().function;
  auto inputs = bindInputs(signature, arrays, reportWarning);
  if (!inputs)
    return inputs.takeError();
  SmallVector<BufferView> views;
  for (auto [array, value] : llvm::zip_equal(*inputs, signature.inputs))
    views.push_back(getView(array, value.element));
  return timeModel(model, views, BenchmarkOptions());
}

/// More than a core's share of any cache.
static constexpr size_t kBandwidthBytes = size_t(1) << 28;

static llvm::Error showPeaks(const Options &options) {
  if (!options.model.empty())
    return llvm::createStringError("--peaks: expected no model, found '" +
                                   options.model + "'");
  auto peaks = measurePeaks();
  if (!peaks)
    return peaks.takeError();
  auto bandwidth = measureBandwidth(kBandwidthBytes);
  if (!bandwidth)
    return bandwidth.takeError();
  llvm::json::Object gops;
  for (const Peak &peak : *peaks) {
    llvm::outs() << llvm::formatv("{0,-12} {1,8:f1} GOPS\n", peak.isa,
                                  peak.gops);
    gops[peak.isa] = peak.gops;
  }
  llvm::outs() << llvm::formatv("{0,-12} {1,8:f1} GB/s\n", "memory",
                                *bandwidth);
  if (options.json.empty())
    return llvm::Error::success();
  return writeJSON(options.json,
                   llvm::json::Object{{"cpu", getCPUName()},
                                      {"peak_gops", std::move(gops)},
                                      {"memory_gb_per_s", *bandwidth}});
}

static llvm::Error runModel(const Options &options) {
  if (options.model.empty())
    return llvm::createStringError("expected a model, as 'MODEL.o'");
  unsigned numThreads = options.threads;
  auto model = CompiledModel::load(options.model);
  if (!model)
    return model.takeError();
  const ModelSignature &signature = (*model)->getSignature();
  if (llvm::Error error = (*model)->setNumThreads(numThreads))
    return llvm::createStringError("--threads: " +
                                   llvm::toString(std::move(error)));
  auto timing = timeWithInputs(**model, options.inputs);
  if (!timing)
    return timing.takeError();
  auto version = (*model)->getVersion();
  if (!version)
    return version.takeError();
  auto peak = measurePeak(version->features);
  if (!peak)
    return peak.takeError();
  std::string cpu = getCPUName();
  llvm::outs() << llvm::formatv(
      "{0}: median {1:f3} ms, min {2:f3} ms, {3} runs, {4} thread(s), code for "
      "{5}\n{6}: {7}, peak {8:f1} GOPS per core\n",
      signature.function.name, timing->medianMs, timing->minMs, timing->runs,
      numThreads, version->name, cpu, peak->isa, peak->gops);
  if (options.json.empty())
    return llvm::Error::success();
  return writeJSON(options.json,
                   llvm::json::Object{{"model", signature.function.name},
                                      {"median_ms", timing->medianMs},
                                      {"min_ms", timing->minMs},
                                      {"runs", int64_t(timing->runs)},
                                      {"threads", int64_t(numThreads)},
                                      {"cpu", cpu},
                                      {"version", version->name},
                                      {"isa", peak->isa},
                                      {"peak_gops", peak->gops}});
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  cl::ResetCommandLineParser();
  Options options;
  cl::HideUnrelatedOptions(options.category);
  cl::ParseCommandLineOptions(argc, argv, "Time a compiled model\n");
  if (llvm::Error error =
          options.peaks ? showPeaks(options) : runModel(options)) {
    reportError(llvm::toString(std::move(error)));
    return 1;
  }
  return 0;
}
