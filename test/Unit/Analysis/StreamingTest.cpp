//===- StreamingTest.cpp - Tests of streaming -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Streaming.h"
#include "AnalysisTestUtils.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinDialect.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Pass/Pass.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

using namespace llvm;
using namespace mlir;
using namespace qtx;

/// A check that fails leaves compiled code by `longjmp`, and its buffers with
/// it.
extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT const char *
__lsan_default_suppressions() {
  return "leak:SegmentsTest_KeepsChecks_Test";
}

namespace {

class StreamingTest : public AnalysisTest {
protected:
  /// `y = 2 x`, `z = relu(y)`; only `z` is returned.
  func::FuncOp parseModel() {
    return parse(R"(
      func.func @main(%x: tensor<?x2xf32> {qtx.name = "x"}) -> tensor<?x2xf32> {
        %y = qtx.add %x, %x : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
        %z = qtx.relu %y : (tensor<?x2xf32>) -> tensor<?x2xf32>
        return %z : tensor<?x2xf32>
      }
      func.func @other(%x: tensor<1xf32>) -> tensor<1xf32> {
        return %x : tensor<1xf32>
      })");
  }
  static Value getResult(func::FuncOp function, unsigned index) {
    return std::next(function.getBody().front().begin(), index)->getResult(0);
  }
  CalibrationData makeData(func::FuncOp function, int64_t samples) {
    std::vector<float> values(2 * samples);
    std::iota(values.begin(), values.end(), -3.0f);
    auto data = create(function, list(floats("x", {samples, 2}, values)),
                       {/*maxPositions=*/2, /*maxSamples=*/2});
    EXPECT_TRUE(bool(data));
    return std::move(*data);
  }
};

using Seen = std::vector<std::vector<float>>;

// Every lane sees its values feed by feed, whatever the number of threads.
TEST_F(StreamingTest, SameForAnyNumberOfThreads) {
  func::FuncOp function = parseModel();
  CalibrationData data = makeData(function, 7);
  StreamedFunction streamed{function,
                            {function.getArgument(0), getResult(function, 0),
                             getResult(function, 1)}};
  Seen first;
  for (unsigned threads : {1, 2, 3, 16}) {
    StreamOptions options;
    options.numThreads = threads;
    size_t lastProgress = 0;
    options.progress = [&](size_t done, size_t total) {
      EXPECT_GT(done, lastProgress);
      EXPECT_EQ(total, 4u);
      lastProgress = done;
    };
    Seen seen(3);
    auto consume = [&](const LaneFeed &lane) -> Error {
      const StreamedValue &value = lane.values[0];
      for (int64_t row = 0; row < value.getNumRows(); ++row)
        seen[lane.lane].insert(seen[lane.lane].end(), value.getRow(row).begin(),
                               value.getRow(row).end());
      return Error::success();
    };
    ASSERT_FALSE(bool(stream(streamed, data, options, consume)));
    EXPECT_EQ(lastProgress, 4u);
    if (first.empty())
      first = seen;
    EXPECT_EQ(seen, first);
  }
  ASSERT_EQ(first[0].size(), 14u);
  for (size_t i = 0; i < 14; ++i) {
    EXPECT_EQ(first[0][i], float(i) - 3);
    EXPECT_EQ(first[1][i], 2 * (float(i) - 3));
    EXPECT_EQ(first[2][i], std::max(2 * (float(i) - 3), 0.0f));
  }
}

// A lane may join values of two functions; quantized ones arrive as numbers.
TEST_F(StreamingTest, LanesOverTwoFunctions) {
  func::FuncOp function = parseModel();
  OwningOpRef<ModuleOp> model = std::move(module);
  func::FuncOp quantized = parse(R"(
      func.func @main(%x: tensor<?x2xf32> {qtx.name = "x"}) -> tensor<?x2xf32> {
        %q = qtx.quantize %x : tensor<?x2xf32> -> tensor<?x2x!quant.uniform<i8:f32, 2.0>>
        %z = qtx.dequantize %q : tensor<?x2x!quant.uniform<i8:f32, 2.0>> -> tensor<?x2xf32>
        return %z : tensor<?x2xf32>
      })");
  CalibrationData data = makeData(function, 2);
  StreamedFunction streamed[] = {{function, {function.getArgument(0)}},
                                 {quantized, {getResult(quantized, 0)}}};
  SmallVector<size_t> lane = {0, 1};
  auto runner = cantFail(StreamRunner::create(streamed, lane, {}));
  EXPECT_EQ(runner->getNumLanes(), 1u);
  Error error = runner->run(data, [&](const LaneFeed &lane) -> Error {
    EXPECT_EQ(lane.values.size(), 2u);
    // Halves go to even integers.
    EXPECT_EQ(lane.values[0].getRow(0).vec(), (std::vector<float>{-3, -2}));
    EXPECT_EQ(lane.values[1].getRow(0).vec(), (std::vector<float>{-4, -2}));
    EXPECT_EQ(lane.values[1].getRow(1).vec(), (std::vector<float>{0, 0}));
    return Error::success();
  });
  EXPECT_FALSE(bool(error));
}

TEST_F(StreamingTest, MarksPadding) {
  func::FuncOp function = parse(R"(
      func.func @main(
          %x: tensor<?x?x1xf32> {qtx.name = "x", qtx.dims = ["b", "s", ""]},
          %m: tensor<?x?xi64> {qtx.name = "attention_mask", qtx.dims = ["b", "s"]})
          -> tensor<?x?x1xf32> {
        %y = qtx.relu %x : (tensor<?x?x1xf32>) -> tensor<?x?x1xf32>
        return %y : tensor<?x?x1xf32>
      })");
  auto data = create(function,
                     list(floats("x", {2, 3, 1}, {1, 2, 3, 4, 5, 6}),
                          ints("attention_mask", {2, 3}, {1, 0, 0, 1, 1, 0})));
  ASSERT_TRUE(bool(data));
  float sum = 0;
  auto consume = [&](const LaneFeed &lane) -> Error {
    const StreamedValue &value = lane.values[0];
    EXPECT_EQ(value.shape, ArrayRef<int64_t>({2, 2, 1}));
    for (int64_t row = 0; row < value.getNumRows(); ++row)
      sum += value.isValid(row) ? value.getRow(row)[0] : 0;
    return Error::success();
  };
  ASSERT_FALSE(
      bool(stream({function, {getResult(function, 0)}}, *data, {}, consume)));
  EXPECT_EQ(sum, 1 + 4 + 5);
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

/// Texts of many lengths through residual blocks.
class SegmentsTest : public StreamingTest {
protected:
  static constexpr int64_t kSamples = 9, kLongest = 7, kChannels = 4;

  /// Two values to look at for each block: the branch and the sum.
  StreamedFunction makeBlocks(int depth) {
    std::string text = R"(
      func.func @main(
          %h0: tensor<?x?x4xf32> {qtx.name = "x", qtx.dims = ["b", "s", ""]},
          %m: tensor<?x?xi64> {qtx.name = "attention_mask", qtx.dims = ["b", "s"]})
          -> tensor<?x?x4xf32> {
        %w = arith.constant dense<[[0.5, -1.0, 0.25, 0.0], [0.1, 0.2, -0.3, 0.4],
                                   [1.0, 0.0, -0.5, 0.75], [0.3, 0.3, 0.3, -0.9]]> : tensor<4x4xf32>)";
    for (int i = 0; i < depth; ++i) {
      std::string from = std::to_string(i), to = std::to_string(i + 1);
      text += "%l" + to + " = qtx.linear %h" + from +
              ", %w : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> "
              "tensor<?x?x4xf32>\n%g" +
              to + " = qtx.gelu %l" + to +
              " : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>\n%h" + to +
              " = qtx.add %g" + to + ", %h" + from +
              " : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> "
              "tensor<?x?x4xf32>\n";
    }
    text += "return %h" + std::to_string(depth) + " : tensor<?x?x4xf32> }";
    StreamedFunction streamed{parse(text), {}};
    for (Operation &op : streamed.function.getBody().front())
      if (isa<GeluOp, AddOp>(op))
        streamed.values.push_back(op.getResult(0));
    return streamed;
  }

  CalibrationData makeTexts(func::FuncOp function) {
    std::vector<float> values(kSamples * kLongest * kChannels);
    for (auto [i, value] : enumerate(values))
      value = std::sin(float(i) * 1.7f);
    std::vector<int64_t> mask;
    for (int64_t sample = 0; sample < kSamples; ++sample)
      for (int64_t i = 0; i < kLongest; ++i)
        mask.push_back(i <= sample % kLongest);
    auto data =
        create(function,
               list(floats("x", {kSamples, kLongest, kChannels}, values),
                    ints("attention_mask", {kSamples, kLongest}, mask)),
               {/*maxPositions=*/8, /*maxSamples=*/2});
    EXPECT_TRUE(bool(data));
    return std::move(*data);
  }

  /// The rows that count, of each lane.
  static Seen collect(const StreamedFunction &streamed,
                      const CalibrationData &data, const StreamOptions &options,
                      StreamCounts &counts) {
    Seen seen(streamed.values.size());
    auto runner = cantFail(StreamRunner::create(streamed, {}, options));
    cantFail(runner->run(data, [&](const LaneFeed &lane) {
      const StreamedValue &value = lane.values[0];
      for (int64_t row = 0; row < value.getNumRows(); ++row)
        if (value.isValid(row))
          append_range(seen[lane.lane], value.getRow(row));
      return Error::success();
    }));
    counts = runner->getCounts();
    return seen;
  }
};

// The same bits with and without cuts, in memory and in a file, for any number
// of threads.
TEST_F(SegmentsTest, SameAsOneSegment) {
  StreamedFunction streamed = makeBlocks(2);
  CalibrationData data = makeTexts(streamed.function);
  ASSERT_GT(data.getNumFeeds(), 4u);
  for (bool fast : {false, true}) {
    StreamOptions whole;
    whole.jit.fast = fast;
    StreamCounts counts;
    Seen expected = collect(streamed, data, whole, counts);
    EXPECT_EQ(expected[0].size(), data.getNumPositions() * kChannels);
    EXPECT_EQ(counts.numSegments, 1u);
    EXPECT_EQ(counts.mostKept, 0u);
    for (unsigned threads : {1, 3})
      for (size_t kept : {size_t(0), size_t(200), whole.maxKeptBytes}) {
        StreamOptions options = whole;
        options.numThreads = threads;
        options.maxSegmentBytes = 1;
        options.maxKeptBytes = kept;
        EXPECT_EQ(collect(streamed, data, options, counts), expected);
        EXPECT_EQ(counts.numSegments, streamed.values.size());
        EXPECT_EQ(counts.fileBytes > 0, kept < whole.maxKeptBytes);
      }
  }
}

// A context without locks is used by one thread alone.
TEST_F(SegmentsTest, SameWithoutThreadsInTheContext) {
  StreamedFunction streamed = makeBlocks(2);
  CalibrationData data = makeTexts(streamed.function);
  StreamOptions options;
  StreamCounts counts;
  Seen expected = collect(streamed, data, options, counts);
  options.numThreads = 3;
  options.maxSegmentBytes = 1;
  std::mutex mutex;
  std::set<std::thread::id> threads;
  context.registerActionHandler(
      [&](llvm::function_ref<void()> run, const tracing::Action &action) {
        if (isa<PassExecutionAction>(action)) {
          std::lock_guard<std::mutex> lock(mutex);
          threads.insert(std::this_thread::get_id());
        }
        run();
      });
  context.disableMultithreading();
  EXPECT_EQ(collect(streamed, data, options, counts), expected);
  EXPECT_EQ(threads, std::set{std::this_thread::get_id()});
}

// What is kept is what crosses from one segment to the next: a branch and a
// sum, however many blocks there are.
TEST_F(SegmentsTest, MemoryDoesNotGrowWithDepth) {
  std::optional<size_t> fileBytes;
  for (int depth : {2, 8}) {
    StreamedFunction streamed = makeBlocks(depth);
    CalibrationData data = makeTexts(streamed.function);
    StreamOptions options;
    options.maxSegmentBytes = 1;
    options.maxKeptBytes = 0;
    StreamCounts counts;
    (void)collect(streamed, data, options, counts);
    EXPECT_EQ(counts.numSegments, size_t(2 * depth));
    EXPECT_EQ(counts.mostKept, 2 * data.getNumFeeds());
    EXPECT_EQ(counts.fileBytes, fileBytes.value_or(counts.fileBytes));
    fileBytes = counts.fileBytes;
  }
}

// A segment takes the lanes that memory has room for, and ends where least
// crosses: behind a sum.
TEST_F(SegmentsTest, CutsWhereLeastCrosses) {
  StreamedFunction streamed = makeBlocks(4);
  CalibrationData data = makeTexts(streamed.function);
  StreamOptions options;
  // Room for three lanes.
  options.maxSegmentBytes = 3500000;
  options.laneBytes.assign(streamed.values.size(), 1000000);
  options.numThreads = 1;
  auto runner = cantFail(StreamRunner::create(streamed, {}, options));
  std::vector<std::vector<size_t>> segments;
  auto consume = [](const LaneFeed &) { return Error::success(); };
  auto finish = [&](ArrayRef<size_t> lanes) {
    segments.push_back(lanes.vec());
    return Error::success();
  };
  ASSERT_FALSE(bool(runner->run(data, StreamPass{consume, finish})));
  EXPECT_EQ(segments,
            (std::vector<std::vector<size_t>>{{0, 1}, {2, 3}, {4, 5}, {6, 7}}));
}

// A segment makes all passes before the next one starts, so that the state of
// its lanes can go.
TEST_F(SegmentsTest, PassesAndFinish) {
  StreamedFunction streamed = makeBlocks(1);
  CalibrationData data = makeTexts(streamed.function);
  StreamOptions options;
  options.maxSegmentBytes = 1;
  size_t last = 0;
  options.progress = [&](size_t done, size_t total) {
    EXPECT_EQ(done, ++last);
    EXPECT_EQ(total, 4 * data.getNumFeeds());
  };
  std::string events;
  auto note = [&](char what) {
    return [&events, what](const LaneFeed &lane) {
      std::string event = {char('0' + lane.lane), what, ' '};
      if (lane.feed.index == 0)
        events += event;
      return Error::success();
    };
  };
  auto finish = [&](ArrayRef<size_t> lanes) {
    events += "end of " + std::to_string(lanes.front()) + " ";
    return Error::success();
  };
  auto runner = cantFail(StreamRunner::create(streamed, {}, options));
  auto first = note('a'), second = note('b');
  StreamPass passes[] = {{first, finish}, {second, finish}};
  ASSERT_FALSE(bool(runner->run(data, passes)));
  EXPECT_EQ(events, "0a end of 0 0b end of 0 1a end of 1 1b end of 1 ");
  EXPECT_EQ(last, 4 * data.getNumFeeds());
}

// Packed weights go with the code that they were packed for.
TEST_F(SegmentsTest, LeavesNoConstants) {
  auto countBytes = [&] {
    size_t bytes = 0;
    DenseResourceElementsHandle::getManagerInterface(&context)
        .getBlobManager()
        .getBlobMap([&](const auto &blobs) {
          for (const auto &entry : blobs)
            if (const AsmResourceBlob *blob = entry.second.getBlob())
              bytes += blob->getData().size();
        });
    return bytes;
  };
  StreamedFunction streamed = makeBlocks(2);
  CalibrationData data = makeTexts(streamed.function);
  size_t before = countBytes();
  StreamCounts counts;
  (void)collect(streamed, data, {}, counts);
  EXPECT_EQ(countBytes(), before);
}

// Nothing looks at the result of a check.
TEST_F(SegmentsTest, KeepsChecks) {
  func::FuncOp function = parse(R"(
      func.func @main(%x: tensor<?x2xf32> {qtx.name = "x"}) -> tensor<?x2xf32> {
        %c0 = arith.constant 0 : index
        %c2 = arith.constant 2 : index
        %y = qtx.relu %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
        %size = tensor.dim %y, %c0 : tensor<?x2xf32>
        %fits = arith.cmpi sle, %size, %c2 : index
        cf.assert %fits, "expected two rows"
        %z = qtx.relu %y : (tensor<?x2xf32>) -> tensor<?x2xf32>
        return %z : tensor<?x2xf32>
      })");
  auto data = create(function, list(floats("x/0", {2, 2}, {1, 2, 3, 4}),
                                    floats("x/1", {3, 2}, {1, 2, 3, 4, 5, 6})));
  ASSERT_TRUE(bool(data));
  StreamedFunction streamed{function,
                            {getResult(function, 2), getResult(function, 6)}};
  for (size_t bytes : {size_t(1), StreamOptions().maxSegmentBytes}) {
    StreamOptions options;
    options.maxSegmentBytes = bytes;
    auto consume = [](const LaneFeed &) { return Error::success(); };
    std::string text = toString(stream(streamed, *data, options, consume));
    EXPECT_TRUE(StringRef(text).starts_with("feed 1: function 'main'")) << text;
    EXPECT_TRUE(StringRef(text).contains("expected two rows")) << text;
  }
}

TEST_F(SegmentsTest, NoTemporaryFile) {
  StreamedFunction streamed = makeBlocks(1);
  CalibrationData data = makeTexts(streamed.function);
  StreamOptions options;
  options.maxSegmentBytes = 1;
  options.maxKeptBytes = 0;
  const char *old = std::getenv("TMPDIR");
  std::string folder = old ? old : "";
  ::setenv("TMPDIR", "/nothing/there", /*overwrite=*/1);
  auto consume = [](const LaneFeed &) { return Error::success(); };
  std::string text = toString(stream(streamed, data, options, consume));
  old ? ::setenv("TMPDIR", folder.c_str(), 1) : ::unsetenv("TMPDIR");
  EXPECT_EQ(text, "cannot keep values of layers in a temporary file: No such "
                  "file or directory");
}

// The error is that of the earliest feed, then of the first lane.
TEST_F(StreamingTest, FirstError) {
  func::FuncOp function = parseModel();
  CalibrationData data = makeData(function, 14);
  StreamedFunction streamed{function,
                            {getResult(function, 0), getResult(function, 1)}};
  for (unsigned threads : {1, 2, 4, 8}) {
    StreamOptions options;
    options.numThreads = threads;
    auto consume = [&](const LaneFeed &lane) -> Error {
      if (lane.feed.index < (lane.lane == 0 ? 5u : 4u))
        return Error::success();
      return createStringError("lane " + Twine(lane.lane) + " at " +
                               lane.feed.describe(1));
    };
    EXPECT_EQ(toString(stream(streamed, data, options, consume)),
              "lane 1 at sample 9");
  }
}

TEST_F(StreamingTest, FailingCall) {
  func::FuncOp function = parse(R"(
      func.func @main(%x: tensor<?x?xf32> {qtx.name = "x"},
                      %y: tensor<?x?xf32> {qtx.name = "y"}) -> tensor<?x?xf32> {
        %z = qtx.add %x, %y : (tensor<?x?xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
        return %z : tensor<?x?xf32>
      })");
  auto data =
      create(function,
             list(floats("x/0", {1, 1}, {1}), floats("y/0", {1, 1}, {1}),
                  floats("x/1", {1, 2}, {1, 2}), floats("y/1", {1, 1}, {1})));
  ASSERT_TRUE(bool(data));
  unsigned calls = 0;
  auto consume = [&](const LaneFeed &) -> Error {
    ++calls;
    return Error::success();
  };
  EXPECT_FALSE(data->isConsistent());
  StreamOptions options;
  options.numThreads = 2;
  options.jit.fast = false;
  std::string text = toString(
      stream({function, {getResult(function, 0)}}, *data, options, consume));
  EXPECT_TRUE(StringRef(text).starts_with("feed 1: function 'main'")) << text;
  EXPECT_EQ(calls, 1u);
}

TEST_F(StreamingTest, ValuesThatCannotBeSeen) {
  func::FuncOp function = parse(R"(
      func.func @main(%x: tensor<1xi64>) -> tensor<1xi64> {
        return %x : tensor<1xi64>
      })");
  auto runner = StreamRunner::create(
      StreamedFunction{function, {function.getArgument(0)}}, {}, {});
  ASSERT_FALSE(bool(runner));
  EXPECT_EQ(toString(runner.takeError()),
            "function 'main': expected f32 or statically quantized tensors at "
            "its top level to look at");
}

} // namespace
