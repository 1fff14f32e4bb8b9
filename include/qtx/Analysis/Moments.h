//===- Moments.h - Second moments of channels -------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// X^T X of the rows X that an edge holds: the Hessian of a layer that reads it,
// up to a factor.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_MOMENTS_H
#define QTX_ANALYSIS_MOMENTS_H

#include "qtx/Analysis/Streaming.h"

namespace qtx {

/// Sums over rows that count, in fp32 within some hundred rows and in fp64
/// across. One lane of a StreamRunner keeps one.
class SecondMoments {
public:
  explicit SecondMoments(int64_t numChannels);

  /// About what one takes.
  static size_t getNumBytes(int64_t numChannels) {
    return sizeof(double) * numChannels * numChannels;
  }

  void update(const StreamedValue &value);

  int64_t getNumChannels() const { return numChannels; }
  /// Rows that counted.
  int64_t getNumRows() const { return numRows; }
  /// Sum of x_i.
  llvm::ArrayRef<double> getSums() const { return sums; }
  /// Sum of x_i x_j, a symmetric matrix, row-major.
  std::vector<double> getProducts() const;
  /// The same of the distances from the means.
  std::vector<double> getCentredProducts() const;

private:
  void addRows();
  /// Distances from the origin, summed up.
  std::vector<double> getDistances() const;

  int64_t numChannels;
  int64_t numRows = 0;
  std::vector<double> sums;
  /// The first row that counts: what lies far from zero and hardly varies keeps
  /// its variance.
  std::vector<float> origin;
  /// Of distances from the origin: the lower triangle, in tiles that reach
  /// beyond it.
  std::vector<double> products;
  /// Rows that wait to be added: panels of channels, each row by row.
  std::vector<float> panels;
  int64_t numWaiting = 0;
};

} // namespace qtx

#endif // QTX_ANALYSIS_MOMENTS_H
