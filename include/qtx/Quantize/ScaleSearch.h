//===- ScaleSearch.h - Scales of channels by output error -------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// How far the range of each channel in front of linears is stretched so that
// the results of the linears lose least (docs/Rationale/Ranges.md). Plain
// functions of numbers.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_QUANTIZE_SCALESEARCH_H
#define QTX_QUANTIZE_SCALESEARCH_H

#include "qtx/Analysis/GPTQ.h"

namespace qtx {

/// What the error of the results depends on.
struct ScaleSearch {
  /// The largest distance of a value from the shift of its channel.
  llvm::ArrayRef<float> radii;
  llvm::ArrayRef<double> variances;
  /// Of all linears that read the channels, one below the other.
  WeightMatrix weights;
  /// Columns of weights that share a scale; 0 for one scale per row.
  int64_t block = 0;
  unsigned weightBits = 8;
  /// The share of the error of nearest weights that their rounding leaves.
  double weightShare = 1;

  /// The expected squared error of a row of results, as `steps` of the
  /// channels cause it in the inputs and in the weights.
  double getError(llvm::ArrayRef<float> steps) const;

  /// The steps with which the error is small. No value of a channel saturates,
  /// so no step is smaller than its radius takes; empty if all radii are zero.
  std::vector<float> run() const;
};

} // namespace qtx

#endif // QTX_QUANTIZE_SCALESEARCH_H
