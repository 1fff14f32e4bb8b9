//===- Streaming.cpp - Stream data through functions ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Streaming.h"
#include "CompileAhead.h"
#include "ValueStore.h"
#include "llvm/Support/ThreadPool.h"
#include <atomic>

using namespace mlir;
using namespace qtx;
using llvm::createStringError;
using llvm::Expected;

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

/// Calls `body(0)` to `body(count - 1)` on the threads of `pool`, or on this
/// one without a pool.
static void parallelFor(llvm::ThreadPoolInterface *pool, size_t count,
                        llvm::function_ref<void(size_t)> body) {
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i; (i = next++) < count;)
      body(i);
  };
  if (!pool)
    return work();
  for (unsigned i = 0; i < pool->getMaxConcurrency(); ++i)
    pool->async(work);
  pool->wait();
}

//===----------------------------------------------------------------------===//
// Streaming
//===----------------------------------------------------------------------===//

struct StreamRunner::Slot {
  std::optional<Feed> feed;
  /// The results of the segment.
  std::vector<Buffer> results;
  /// Rows that count, one list for each value of the lanes, by its number.
  llvm::DenseMap<size_t, std::vector<uint8_t>> rows;
  /// Why there are no results; empty if there are.
  std::string error;

  size_t getNumBytes() const {
    size_t bytes = 0;
    for (const Buffer &result : results)
      bytes += llvm::cantFail(getNumElements(result.shape, result.element)) *
               getElementSize(result.element);
    return bytes;
  }
};

/// The first failure of a lane in the feeds that memory holds.
struct StreamRunner::LaneError {
  /// Which of the feeds; past the last one if there is none.
  size_t slot;
  std::string text;
};

struct StreamRunner::Run {
  const CalibrationData &data;
  size_t numFeeds;
  llvm::ThreadPoolInterface *pool;
  size_t numThreads;
  size_t total;
  ValueStore store;
  CompileAhead compiler;
  /// Feeds that passes have seen, of `total`.
  size_t done = 0;
  /// The segment that runs, and its code.
  const StreamSegment *segment = nullptr;
  std::unique_ptr<JITModule> code = nullptr;
};

StreamRunner::StreamRunner() = default;
StreamRunner::~StreamRunner() = default;

Expected<std::unique_ptr<StreamRunner>>
StreamRunner::create(ArrayRef<StreamedFunction> functions,
                     ArrayRef<SmallVector<size_t>> lanes,
                     const StreamOptions &options) {
  std::unique_ptr<StreamRunner> runner(new StreamRunner);
  runner->options = options;
  runner->name = func::FuncOp(functions.front().function).getName().str();
  runner->lanes = lanes.vec();
  if (lanes.empty()) {
    size_t numValues = 0;
    for (const StreamedFunction &function : functions)
      numValues += function.values.size();
    for (size_t i = 0; i < numValues; ++i)
      runner->lanes.push_back({i});
  }
  auto segments = cutIntoSegments(functions, runner->lanes, options);
  if (!segments)
    return segments.takeError();
  runner->segments = std::move(*segments);
  for (const StreamedFunction &function : functions)
    for (Value value : function.values)
      runner->types.push_back(
          llvm::to_vector(cast<RankedTensorType>(value.getType()).getShape()));
  return runner;
}

/// Runs the segment on one feed.
llvm::Error StreamRunner::fill(Slot &slot, const Run &run, size_t index) const {
  slot.results.clear();
  slot.rows.clear();
  auto feed = run.data.getFeed(index);
  if (!feed)
    return feed.takeError();
  slot.feed = std::move(*feed);
  std::vector<BufferView> inputs = slot.feed->views;
  std::vector<std::unique_ptr<char[]>> copies(run.segment->inputs.size());
  for (auto [number, copy] : llvm::zip_equal(run.segment->inputs, copies)) {
    auto view = run.store.get(number, index, copy);
    if (!view)
      return view.takeError();
    inputs.push_back(*view);
  }
  auto results = run.code->invoke(name, inputs);
  if (!results)
    return createStringError(slot.feed->describe(0) + ": " +
                             llvm::toString(results.takeError()));
  slot.results = std::move(*results);
  for (auto [value, result] : run.segment->resultOfValue)
    if (slot.feed->mask)
      slot.rows[value] =
          slot.feed->mask->getRows(slot.results[result].shape, types[value]);
    else
      slot.rows[value] = {};
  return llvm::Error::success();
}

/// Shows one lane the feeds in `slots`, up to one that it refuses.
StreamRunner::LaneError StreamRunner::consumeLane(ArrayRef<Slot> slots,
                                                  const Run &run, size_t lane,
                                                  ConsumeFn consume) const {
  for (auto [i, slot] : llvm::enumerate(slots)) {
    SmallVector<StreamedValue> values;
    for (size_t index : lanes[lane]) {
      const Buffer &value = slot.results[run.segment->resultOfValue.at(index)];
      values.push_back({reinterpret_cast<const float *>(value.data.get()),
                        value.shape, slot.rows.find(index)->second});
    }
    if (llvm::Error error = consume({lane, *slot.feed, values}))
      return {i, llvm::toString(std::move(error))};
  }
  return {slots.size(), ""};
}

/// Shows all lanes the feeds in `slots` up to the first that failed. The error
/// is that of the earliest feed, so it does not depend on how many slots there
/// are.
llvm::Error StreamRunner::consumeAll(ArrayRef<Slot> slots, const Run &run,
                                     ConsumeFn consume) const {
  auto *failed = llvm::find_if(
      slots, [](const Slot &slot) { return !slot.error.empty(); });
  ArrayRef<Slot> good = slots.take_front(failed - slots.begin());
  ArrayRef<size_t> here = run.segment->lanes;
  std::vector<LaneError> errors(here.size());
  parallelFor(run.pool, here.size(), [&](size_t i) {
    errors[i] = consumeLane(good, run, here[i], consume);
  });
  auto first = std::min_element(
      errors.begin(), errors.end(),
      [](const LaneError &a, const LaneError &b) { return a.slot < b.slot; });
  if (first != errors.end() && first->slot < good.size())
    return createStringError(first->text);
  if (failed != slots.end())
    return createStringError(failed->error);
  return llvm::Error::success();
}

/// Keeps what segments behind this one need of the feed, and nothing that only
/// this one did.
llvm::Error StreamRunner::keep(Slot &slot, Run &run) const {
  size_t feed = slot.feed->index;
  for (size_t number : run.segment->lastUses)
    run.store.drop(number, feed);
  for (auto [number, result] : run.segment->outputs)
    if (llvm::Error error =
            run.store.put(number, feed, std::move(slot.results[result])))
      return error;
  return llvm::Error::success();
}

/// Streams all feeds through the segment.
llvm::Error StreamRunner::runPass(Run &run, ConsumeFn consume,
                                  bool isLast) const {
  // The first feed alone shows how much memory one takes.
  std::vector<Slot> slots(run.numThreads);
  size_t largest = 0;
  for (size_t first = 0, count = 1; first < run.numFeeds; first += count) {
    if (largest > 0)
      count = std::clamp<size_t>(options.maxBytes / largest, 1, run.numThreads);
    count = std::min(count, run.numFeeds - first);
    parallelFor(run.pool, count, [&](size_t i) {
      if (llvm::Error error = fill(slots[i], run, first + i))
        slots[i].error = llvm::toString(std::move(error));
    });
    auto filled = MutableArrayRef(slots).take_front(count);
    if (llvm::Error error = consumeAll(filled, run, consume))
      return error;
    for (Slot &slot : filled) {
      largest = std::max(largest, slot.getNumBytes());
      if (isLast)
        if (llvm::Error error = keep(slot, run))
          return error;
    }
    run.done += count;
    if (options.progress)
      options.progress(run.done, run.total);
  }
  return llvm::Error::success();
}

llvm::Error StreamRunner::runSegment(Run &run,
                                     ArrayRef<StreamPass> passes) const {
  auto code = run.compiler.take();
  if (!code)
    return code.takeError();
  run.code = std::move(*code);
  for (const StreamPass &pass : passes) {
    bool isLast = &pass == &passes.back();
    if (llvm::Error error = runPass(run, pass.consume, isLast))
      return error;
    // What follows the last pass has the memory of the code.
    if (isLast)
      run.code.reset();
    if (llvm::Error error = pass.finish(run.segment->lanes))
      return error;
  }
  return llvm::Error::success();
}

llvm::Error StreamRunner::run(const CalibrationData &data,
                              ArrayRef<StreamPass> passes) {
  size_t numFeeds = data.getNumFeeds();
  if (options.maxFeeds > 0)
    numFeeds = std::min(numFeeds, options.maxFeeds);
  size_t numThreads = std::clamp<size_t>(options.numThreads, 1, numFeeds);
  std::optional<llvm::DefaultThreadPool> threads;
  if (numThreads > 1)
    threads.emplace(llvm::hardware_concurrency(numThreads));
  Run run{data,
          numFeeds,
          threads ? &*threads : nullptr,
          numThreads,
          numFeeds * segments.size() * passes.size(),
          ValueStore(options.maxKeptBytes),
          CompileAhead(segments, options.jit, options.numThreads)};
  counts = {segments.size(), 0, 0};
  for (const StreamSegment &segment : segments) {
    run.segment = &segment;
    if (llvm::Error error = runSegment(run, passes))
      return error;
    counts.mostKept = run.store.getMostValues();
    counts.fileBytes = run.store.getFileSize();
  }
  return llvm::Error::success();
}

llvm::Error StreamRunner::run(const CalibrationData &data, ConsumeFn consume) {
  auto finish = [](ArrayRef<size_t>) { return llvm::Error::success(); };
  return run(data, StreamPass{consume, finish});
}

llvm::Error qtx::stream(const StreamedFunction &function,
                        const CalibrationData &data,
                        const StreamOptions &options, ConsumeFn consume) {
  auto runner = StreamRunner::create(function, /*lanes=*/{}, options);
  if (!runner)
    return runner.takeError();
  return (*runner)->run(data, consume);
}
