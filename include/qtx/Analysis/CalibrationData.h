//===- CalibrationData.h - Inputs to calibrate with -------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Cuts the arrays of an archive into feeds: the inputs of one call each.
//
// An array that bears the name of an input holds samples, stacked along the
// input's first (batch) axis. A static batch of B takes them B at a time, a
// dynamic one in slices. Arrays `NAME/0`, `NAME/1`, ... hold one feed each.
// An input called `attention_mask` says which positions are padding.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_CALIBRATIONDATA_H
#define QTX_ANALYSIS_CALIBRATIONDATA_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "qtx/Support/Npz.h"
#include "qtx/Target/JIT.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace qtx {

/// The input that marks padding: nonzero where a position counts.
inline constexpr llvm::StringLiteral kPaddingMaskName = "attention_mask";

/// Which positions of the samples of a feed are no padding.
struct PaddingMask {
  int64_t batch;
  int64_t sequence;
  /// Whether the type of the mask leaves the number of positions open.
  bool isDynamic;
  /// One byte for each position, row-major; 0 is padding.
  std::vector<uint8_t> valid;

  /// For a tensor of `shape`: one byte for each row (the indices of all axes
  /// but the last), 0 where it belongs to padding. Empty if all rows count
  /// because the shape has no positions. Positions are the axes [B, S] before
  /// any others, axis 0 [B * S] of two, or the axes 0 and 2 of [B, H, S, C].
  /// `type` is the shape as the IR knows it: an axis of static size is none of
  /// positions whose number is dynamic.
  std::vector<uint8_t> getRows(llvm::ArrayRef<int64_t> shape,
                               llvm::ArrayRef<int64_t> type) const;
};

/// The inputs of one call.
struct Feed {
  /// One array for each argument, in its element type.
  std::vector<NpyArray> inputs;
  /// What JITModule takes; points into `inputs`.
  std::vector<BufferView> views;
  std::optional<PaddingMask> mask;
  /// The sample in each row of the batch; empty if the archive holds the feed
  /// as such.
  llvm::SmallVector<size_t> samples;
  size_t index = 0;

  /// What a message calls the row `row` of the batch: `sample 7`, `feed 3`.
  std::string describe(int64_t row) const;
};

struct CalibrationDataOptions {
  /// Positions that a feed of a dynamic batch holds at most, unless one sample
  /// has more.
  int64_t maxPositions = 512;
  /// Samples that a feed of a dynamic batch holds at most.
  int64_t maxSamples = 64;
};

/// All feeds of an archive, in an order that depends on nothing but the data.
class CalibrationData {
public:
  /// Binds `arrays` to the arguments of `function`. Samples of similar length
  /// share a feed, and padding that the samples of a feed have in common at the
  /// end is cut off, where `qtx.dims` names the axes of the positions.
  static llvm::Expected<CalibrationData>
  create(mlir::func::FuncOp function, std::vector<NamedArray> arrays,
         llvm::function_ref<void(const llvm::Twine &)> warn,
         const CalibrationDataOptions &options = {});

  /// The same on the archive `path`.
  static llvm::Expected<CalibrationData>
  read(mlir::func::FuncOp function, llvm::StringRef path,
       llvm::function_ref<void(const llvm::Twine &)> warn,
       const CalibrationDataOptions &options = {});

  size_t getNumFeeds() const { return plans.size(); }
  size_t getNumSamples() const { return numSamples; }
  /// Positions that are no padding, in all feeds; the rows of the first input
  /// without a mask.
  size_t getNumPositions() const { return numPositions; }

  /// Whether the names of the dimensions show that the arrays of a feed fit
  /// together. If not, only code that compares sizes as it runs is safe.
  bool isConsistent() const;

  /// Builds one feed. May be called concurrently.
  llvm::Expected<Feed> getFeed(size_t index) const;

private:
  /// What to take for one feed.
  struct Plan {
    /// Samples, in the order of the batch; empty for a feed of its own.
    llvm::SmallVector<size_t> samples;
    /// For a feed of its own: its arrays, one for each argument.
    llvm::SmallVector<size_t> arrays;
    /// Positions to keep; -1 keeps all.
    int64_t length = -1;
  };
  /// One argument of the function.
  struct Input {
    ValueSignature value;
    /// `qtx.dims`: a name for each dimension, empty where there is none.
    llvm::SmallVector<std::string> dims;
    /// Dimensions that shrink with the positions.
    llvm::SmallVector<unsigned> positionDims;
  };

  llvm::Error bindStacked(std::vector<NamedArray> given);
  llvm::Error bindFeeds(std::vector<NamedArray> given);
  llvm::Expected<int64_t> getStaticBatch() const;
  llvm::Error convert(NamedArray &given, size_t input, size_t leading);
  llvm::Error checkShape(const NamedArray &given, size_t input,
                         size_t leading) const;
  llvm::Error checkDims(llvm::ArrayRef<size_t> group, size_t leading) const;
  llvm::Error checkIds(mlir::func::FuncOp function) const;
  llvm::Error checkLengths(mlir::func::FuncOp function) const;
  void findPositionDims();
  llvm::Error planSlices(int64_t staticBatch,
                         const CalibrationDataOptions &options);
  llvm::SmallVector<int64_t> getLengths() const;
  int64_t getFeedLength(const Plan &plan) const;
  bool canTrim() const;
  void countPositions();
  std::optional<PaddingMask> getMask(const NpyArray &array) const;

  std::vector<Input> inputs;
  /// The argument that marks padding; -1 if there is none.
  int64_t maskInput = -1;
  /// Stacked: one for each argument. Otherwise feed by feed.
  std::vector<NamedArray> arrays;
  std::vector<Plan> plans;
  size_t numSamples = 0;
  size_t numPositions = 0;
};

} // namespace qtx

#endif // QTX_ANALYSIS_CALIBRATIONDATA_H
