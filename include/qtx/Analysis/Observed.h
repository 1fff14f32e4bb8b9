//===- Observed.h - Observed ranges of edges --------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What calibration leaves on the IR. `qtx.observed` on an operation is an array
// with one entry for each result: a tensor<2xCxf32> whose rows hold the
// smallest and the largest value of each channel of the last axis, or `unit`
// where the result was not observed. On an argument of a function it is the
// tensor.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_OBSERVED_H
#define QTX_ANALYSIS_OBSERVED_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>
#include <vector>

namespace qtx {

inline constexpr llvm::StringLiteral kObservedAttr = "qtx.observed";

/// Smallest and largest value of each channel.
struct ChannelRanges {
  std::vector<float> lo;
  std::vector<float> hi;

  size_t getNumChannels() const { return lo.size(); }
  bool operator==(const ChannelRanges &other) const {
    return lo == other.lo && hi == other.hi;
  }
};

/// The observed ranges of `value`, looked up through `qtx.split_heads`, which
/// is a view of an edge; absent if it was not observed.
std::optional<ChannelRanges> getObserved(mlir::Value value);

/// Annotates the operation or the function that `value` belongs to. A value of
/// a block that is not the entry of a function cannot be annotated.
void setObserved(mlir::Value value, const ChannelRanges &ranges);

/// Removes all annotations in `root`.
void removeObserved(mlir::Operation *root);

/// A name of the edge for people: that of the location, else the operation and
/// its line.
std::string getEdgeName(mlir::Value value);

/// The names of the layers that `op` computes: several where projections were
/// merged, else that of its result.
llvm::SmallVector<std::string> getLayerNames(mlir::Operation *op);

} // namespace qtx

#endif // QTX_ANALYSIS_OBSERVED_H
