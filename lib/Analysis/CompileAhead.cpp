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
  auto launch = numThreads > 1 ? std::launch::async : std::launch::deferred;
  for (; results.size() < numThreads && numStarted < segments.size();
       ++numStarted)
    results.push_back(std::async(launch, [this, index = numStarted] {
      if (diagnostics)
        diagnostics->setOrderIDForThread(index);
      Result result = compile(*segments[index].module, options);
      if (diagnostics)
        diagnostics->eraseOrderIDForThread();
      return result;
    }));
}

llvm::Expected<std::unique_ptr<JITModule>> CompileAhead::take() {
  start();
  Result result = results.front().get();
  results.pop_front();
  // Its thread is free for another segment while data runs.
  start();
  if (!result.error.empty())
    return llvm::createStringError(result.error);
  return std::move(result.code);
}
