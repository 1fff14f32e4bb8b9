//===- CompileAhead.cpp - Code of segments before it is needed ------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CompileAhead.h"

using namespace mlir;
using namespace qtx;

/// Each segment that is compiled or waits takes memory (docs/Rationale/
/// Streaming.md).
static constexpr size_t kMaxThreads = 4;

CompileAhead::CompileAhead(ArrayRef<StreamSegment> segments,
                           const JITOptions &options, size_t numThreads)
    : segments(segments), options(options),
      numThreads(std::min({numThreads, segments.size(), kMaxThreads})) {
  MLIRContext *context = segments.front().module.get().getContext();
  // A context that is not to be used by several threads has no locks.
  if (!context->isMultithreadingEnabled())
    this->numThreads = 1;
  if (this->numThreads < 2)
    return;
  loadDialectsForJIT(*context);
  diagnostics.emplace(context);
}

CompileAhead::Result CompileAhead::compile(ModuleOp module,
                                           const JITOptions &options) {
  auto code = JITModule::create(module, options);
  if (code)
    return {std::move(*code), ""};
  return {nullptr, llvm::toString(code.takeError())};
}

void CompileAhead::start() {
  size_t index = numStarted++;
  ModuleOp module = *segments[index].module;
  auto run = [this, index, module] {
    if (diagnostics)
      diagnostics->setOrderIDForThread(index);
    Result result = compile(module, options);
    if (diagnostics)
      diagnostics->eraseOrderIDForThread();
    return result;
  };
  results.push_back(std::async(
      numThreads > 1 ? std::launch::async : std::launch::deferred, run));
}

llvm::Expected<std::unique_ptr<JITModule>> CompileAhead::take() {
  while (numStarted < segments.size() && results.size() < numThreads)
    start();
  Result result = results.front().get();
  results.pop_front();
  // Its thread is free for the next segment while data runs.
  if (numThreads > 1 && numStarted < segments.size())
    start();
  if (!result.error.empty())
    return llvm::createStringError(result.error);
  return std::move(result.code);
}
