//===- Streaming.h - Stream data through functions --------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Runs all feeds of calibration data through compiled functions and shows what
// chosen values hold. Observers, Hessians, bias corrections and error reports
// are consumers of it.
//
// Values are grouped into *lanes*. A lane sees the feeds one after the other,
// in their order, so a consumer that keeps one state per lane needs no lock and
// gives the same result for any number of threads; lanes run concurrently.
//
// Functions are cut into *segments*, some lanes each, where few values cross.
// All feeds pass one segment before the next one, so memory does not grow with
// the depth of the model: it holds the code of one segment, and of a few that
// are compiled ahead, its values of at most as many feeds as there are threads,
// and what crosses to the segments behind it, of which a file takes what is
// beyond a bound. What lanes see does not depend on the cuts.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_STREAMING_H
#define QTX_ANALYSIS_STREAMING_H

#include "qtx/Analysis/CalibrationData.h"
#include "qtx/Target/JIT.h"
#include <functional>

namespace llvm {
class ThreadPoolInterface;
} // namespace llvm

namespace qtx {

/// A function and the values of its body to look at. They are tensors of
/// f32 or statically quantized (these arrive dequantized), arguments or results
/// of operations at the top level of the function, which has one block.
struct StreamedFunction {
  mlir::func::FuncOp function;
  llvm::SmallVector<mlir::Value> values;
};

/// What one value holds in one feed: rows of channels (the last axis).
struct StreamedValue {
  const float *data;
  llvm::ArrayRef<int64_t> shape;
  /// One byte for each row, 0 where it is padding; empty if all rows count.
  llvm::ArrayRef<uint8_t> validRows;

  int64_t getNumChannels() const { return shape.empty() ? 1 : shape.back(); }
  int64_t getNumRows() const {
    int64_t rows = 1;
    for (int64_t size : shape.drop_back(shape.empty() ? 0 : 1))
      rows *= size;
    return rows;
  }
  bool isValid(int64_t row) const {
    return validRows.empty() || validRows[row] != 0;
  }
  llvm::ArrayRef<float> getRow(int64_t row) const {
    return {data + row * getNumChannels(), size_t(getNumChannels())};
  }
};

/// What one lane gets of one feed.
struct LaneFeed {
  size_t lane;
  const Feed &feed;
  /// In the order in which the lane lists them.
  llvm::ArrayRef<StreamedValue> values;
};

/// Called for the feeds of one lane in their order, for several lanes at the
/// same time.
using ConsumeFn = llvm::function_ref<llvm::Error(const LaneFeed &)>;

/// Called with lanes that have seen all feeds.
using FinishFn = llvm::function_ref<llvm::Error(llvm::ArrayRef<size_t> lanes)>;

/// One time through the data.
struct StreamPass {
  ConsumeFn consume;
  FinishFn finish;
};

/// Feeds done and feeds in all, counted for each segment and pass; called from
/// the thread that called `run`.
using ProgressFn = std::function<void(size_t done, size_t total)>;

struct StreamOptions {
  unsigned numThreads = 1;
  /// Code runs once over the data, and is not worth much work.
  JITOptions jit = {/*optLevel=*/1, /*fast=*/true};
  ProgressFn progress;
  /// Feeds to stream, the first ones; 0 for all.
  size_t maxFeeds = 0;
  /// Values kept in memory at a time, unless one feed has more: bounds how many
  /// feeds run at the same time.
  size_t maxBytes = size_t(1) << 30;
  /// About what a segment may take: its code and constants while they are
  /// compiled, its values, and `laneBytes`. One lane may take more.
  size_t maxSegmentBytes = size_t(1) << 28;
  /// Values between segments that memory holds; a temporary file has others.
  size_t maxKeptBytes = size_t(1) << 28;
  /// What a consumer keeps for each lane until it is finished; nothing where
  /// there is no number.
  std::vector<size_t> laneBytes;
};

/// What bounds the memory of a run.
struct StreamCounts {
  size_t numSegments = 0;
  /// The most values that lay between segments at a time.
  size_t mostKept = 0;
  /// Of the temporary file; 0 if none was needed.
  size_t fileBytes = 0;
};

struct StreamSegment;
class ValueStore;

/// Runs copies of functions that also return values of their bodies. All
/// functions take the same arguments.
class StreamRunner {
public:
  /// Cuts copies of `functions`. `lanes` groups the values, numbered through
  /// all functions; empty for one lane per value. Segments come in the order of
  /// the lanes, so lanes should be in that of their values.
  static llvm::Expected<std::unique_ptr<StreamRunner>>
  create(llvm::ArrayRef<StreamedFunction> functions,
         llvm::ArrayRef<llvm::SmallVector<size_t>> lanes,
         const StreamOptions &options);
  ~StreamRunner();

  size_t getNumLanes() const { return lanes.size(); }

  /// Streams all feeds; stops at the first error, the one of the earliest
  /// segment, feed and lane.
  llvm::Error run(const CalibrationData &data, ConsumeFn consume);
  /// The same several times. Each segment makes all passes before the next.
  llvm::Error run(const CalibrationData &data,
                  llvm::ArrayRef<StreamPass> passes);

  /// Of the last run.
  const StreamCounts &getCounts() const { return counts; }

private:
  StreamRunner();

  /// The values of one feed.
  struct Slot;
  struct LaneError;
  /// What a run needs to know.
  struct Run;
  llvm::Error fill(Slot &slot, const Run &run, size_t feed) const;
  LaneError consumeLane(llvm::ArrayRef<Slot> slots, const Run &run, size_t lane,
                        ConsumeFn consume) const;
  llvm::Error consumeAll(llvm::ArrayRef<Slot> slots, const Run &run,
                         ConsumeFn consume) const;
  llvm::Error keep(Slot &slot, Run &run) const;
  llvm::Error runPass(Run &run, ConsumeFn consume, bool isLast) const;
  llvm::Error runSegment(Run &run, llvm::ArrayRef<StreamPass> passes) const;

  std::string name;
  std::vector<StreamSegment> segments;
  /// The shape of each value as its type has it.
  std::vector<llvm::SmallVector<int64_t>> types;
  std::vector<llvm::SmallVector<size_t>> lanes;
  StreamOptions options;
  StreamCounts counts;
};

/// Streams `data` through one function: `consume` gets a lane per value.
llvm::Error stream(const StreamedFunction &function,
                   const CalibrationData &data, const StreamOptions &options,
                   ConsumeFn consume);

} // namespace qtx

#endif // QTX_ANALYSIS_STREAMING_H
