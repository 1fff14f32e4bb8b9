//===- GPTQ.h - Weights as integers -----------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rounds the weights of a layer to symmetric integers: each to the nearest, or
// so that the outputs of the layer change little (GPTQ, Frantar et al. 2023).
// Plain functions of numbers.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_GPTQ_H
#define QTX_ANALYSIS_GPTQ_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <vector>

namespace qtx {

/// `[rows, columns]`, row-major.
struct WeightMatrix {
  llvm::ArrayRef<float> numbers;
  int64_t rows;
  int64_t columns;
};

struct RoundingOptions {
  /// Codes go from `-(2^(bits-1) - 1)` to `2^(bits-1) - 1`, at most 8 bits.
  unsigned bits = 8;
  /// Columns that share a scale; 0 for one scale per row.
  int64_t block = 0;
  /// Take the scale with the least squared error of the weights. Otherwise
  /// the largest weight gets the largest code.
  bool searchesScales = false;
  /// The share of the mean of the diagonal that is added to it.
  double damping = 0.01;
  /// The share that is taken off moments of two inputs, of which few rows say
  /// more than is true of others.
  double shrinkage = 0;
  /// The short sum of each column, which codes are to fit (ShortSums.h); scales
  /// are then up to 2.5 times as large, for the least squared error. Empty if
  /// there are none.
  std::vector<int64_t> shortSums;
  /// The result is the same for any number.
  unsigned numThreads = 1;
};

/// `weight[n, k]` is about `codes[n, k] * scales[n, k / block]`.
struct RoundedWeights {
  /// `[rows, columns]`
  std::vector<int8_t> codes;
  /// `[rows, ceil(columns / block)]`
  std::vector<float> scales;
  int64_t block = 0;
  /// Whether second moments decided.
  bool isErrorMinimised = false;
};

/// Rounds every weight to the nearest code, halves to the even one, and no
/// further from zero than its short sum has room for.
RoundedWeights roundToNearest(const WeightMatrix &weights,
                              const RoundingOptions &options);

/// Rounds column after column, those of the largest inputs first unless blocks
/// of columns share scales; the columns behind make up for the error, as far
/// as `moments` says that their inputs can: `[columns, columns]`, the sums of
/// the products of two inputs. Scales are those of `roundToNearest`, as is all
/// if nothing is to be learned from `moments`: zeros, or numbers that are not
/// finite.
RoundedWeights roundMinimisingError(const WeightMatrix &weights,
                                    std::vector<double> moments,
                                    const RoundingOptions &options);

} // namespace qtx

#endif // QTX_ANALYSIS_GPTQ_H
