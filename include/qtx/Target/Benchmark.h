//===- Benchmark.h - Time compiled models -----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_BENCHMARK_H
#define QTX_TARGET_BENCHMARK_H

#include "qtx/Target/CompiledModel.h"

namespace qtx {

/// What a processor core can do at most.
struct Peak {
  /// The instructions that were measured: `amx-int8`, `avx512vnni`, `avxvnni`,
  /// `fma`, ...
  std::string isa;
  /// Billions of additions and multiplications per second.
  double gops;
};

/// Runs a loop of the best dot-product instructions of this machine, on
/// registers alone, with enough accumulators to hide their latency. `features`
/// restricts them to those of an object, as `+avx2,-fma`; empty allows all.
llvm::Expected<Peak> measurePeak(llvm::StringRef features);

/// The same for each instruction that this machine has, the best first.
llvm::Expected<std::vector<Peak>> measurePeaks();

/// Billions of bytes per second that one core reads from memory, from a buffer
/// of that many `bytes`: more than the caches hold.
llvm::Expected<double> measureBandwidth(size_t bytes);

struct BenchmarkOptions {
  /// Stops at this many runs or after this time, whichever comes first.
  size_t maxRuns = 1000;
  double maxSeconds = 25;
  size_t minRuns = 5;
  size_t warmUpRuns = 3;
};

struct Timing {
  double medianMs;
  double minMs;
  size_t runs;
};

/// Times calls of a model on inputs that fit its signature. Memory is allocated
/// before the first call.
llvm::Expected<Timing> timeModel(const CompiledModel &model,
                                 llvm::ArrayRef<BufferView> inputs,
                                 const BenchmarkOptions &options);

} // namespace qtx

#endif // QTX_TARGET_BENCHMARK_H
