//===- CompileAhead.h - Code of segments before it is needed ----*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_ANALYSIS_COMPILEAHEAD_H
#define QTX_LIB_ANALYSIS_COMPILEAHEAD_H

#include "Segments.h"
#include "mlir/IR/Diagnostics.h"
#include <deque>
#include <future>

namespace qtx {

/// Compiles segments in their order, several at the same time: making code
/// takes longer than running it unless there is much data.
class CompileAhead {
public:
  /// Compiles on `numThreads` threads, up to a bound, since segments that wait
  /// take memory; on the one that calls `take` if that is 1.
  CompileAhead(llvm::ArrayRef<StreamSegment> segments,
               const JITOptions &options, size_t numThreads);

  /// The code of the next segment. Those behind it go on being compiled.
  llvm::Expected<std::unique_ptr<JITModule>> take();

private:
  struct Result {
    std::unique_ptr<JITModule> code;
    /// Why there is none; empty if there is.
    std::string error;
  };
  static Result compile(mlir::ModuleOp module, const JITOptions &options);
  /// Starts what is next, as far as threads are free.
  void start();

  llvm::ArrayRef<StreamSegment> segments;
  JITOptions options;
  size_t numThreads;
  size_t numStarted = 0;
  /// Diagnostics come in the order of the segments. Declared in front of the
  /// results, which wait for their threads when they are destroyed.
  std::optional<mlir::ParallelDiagnosticHandler> diagnostics;
  std::deque<std::future<Result>> results;
};

} // namespace qtx

#endif // QTX_LIB_ANALYSIS_COMPILEAHEAD_H
