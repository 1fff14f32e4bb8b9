//===- StreamingTest.cpp - Tests of streaming -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Streaming.h"
#include "AnalysisTestUtils.h"
#include <mutex>
#include <numeric>

using namespace llvm;
using namespace mlir;
using namespace qtx;

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
