//===- CalibrationDataTest.cpp - Tests of inputs to calibrate with --------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AnalysisTestUtils.h"

using namespace llvm;
using namespace mlir;
using namespace qtx;

namespace {

class CalibrationDataTest : public AnalysisTest {
protected:
  func::FuncOp parseTokens() {
    return parse(R"(
      func.func @main(
          %ids: tensor<?x?xi64> {qtx.name = "ids", qtx.dims = ["batch", "sequence"]},
          %mask: tensor<?x?xi64>
            {qtx.name = "attention_mask", qtx.dims = ["batch", "sequence"]}) {
        return
      })");
  }
  func::FuncOp parseFloats(StringRef type) {
    return parse(("func.func @main(%x: tensor<" + type +
                  "> {qtx.name = \"x\"}) { return }")
                     .str());
  }
  template <typename T> static std::vector<T> read(const NpyArray &array) {
    std::vector<T> values(array.getNumElements());
    std::memcpy(values.data(), array.data.get(), array.getNumBytes());
    return values;
  }
};

// Samples of like length share a feed without the padding they have in common,
// and feeds keep the order of their first samples.
TEST_F(CalibrationDataTest, SlicesByLength) {
  auto data =
      create(parseTokens(),
             list(ints("ids", {4, 3}, {1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0}),
                  ints("attention_mask", {4, 3},
                       {1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0})),
             {/*maxPositions=*/6, /*maxSamples=*/64});
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  EXPECT_EQ(data->getNumSamples(), 4u);
  EXPECT_EQ(data->getNumPositions(), 8u);
  EXPECT_TRUE(data->isConsistent());
  ASSERT_EQ(data->getNumFeeds(), 2u);
  Feed first = cantFail(data->getFeed(0)), second = cantFail(data->getFeed(1));
  EXPECT_EQ(first.samples, (SmallVector<size_t>{0, 2}));
  EXPECT_EQ(read<int64_t>(first.inputs[0]),
            (std::vector<int64_t>{1, 2, 3, 5, 6, 7}));
  EXPECT_EQ(second.samples, (SmallVector<size_t>{1, 3}));
  EXPECT_EQ(second.views[0].shape, ArrayRef<int64_t>({2, 1}));
  EXPECT_EQ(read<int64_t>(second.inputs[0]), (std::vector<int64_t>{4, 8}));
  EXPECT_EQ(second.describe(1), "sample 3");
  ASSERT_TRUE(second.mask.has_value());
  EXPECT_EQ(second.mask->valid, (std::vector<uint8_t>{1, 1}));
}

TEST_F(CalibrationDataTest, NoMoreSamplesThanAllowed) {
  auto data =
      create(parseFloats("?x1xf32"), list(floats("x", {5, 1}, {1, 2, 3, 4, 5})),
             {/*maxPositions=*/512, /*maxSamples=*/2});
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  ASSERT_EQ(data->getNumFeeds(), 3u);
  EXPECT_EQ(read<float>(cantFail(data->getFeed(1)).inputs[0]),
            (std::vector<float>{3, 4}));
  EXPECT_EQ(read<float>(cantFail(data->getFeed(2)).inputs[0]),
            (std::vector<float>{5}));
}

// Without names of dimensions nothing says which axes hold positions.
TEST_F(CalibrationDataTest, KeepsPaddingOfUnknownAxes) {
  auto data = create(parse(R"(func.func @main(
          %mask: tensor<?x?xi64> {qtx.name = "attention_mask"}) { return })"),
                     list(ints("attention_mask", {2, 3}, {1, 0, 0, 1, 1, 0})));
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  Feed feed = cantFail(data->getFeed(0));
  EXPECT_EQ(feed.views[0].shape, ArrayRef<int64_t>({2, 3}));
  EXPECT_EQ(feed.mask->valid, (std::vector<uint8_t>{1, 0, 0, 1, 1, 0}));
}

TEST_F(CalibrationDataTest, StaticBatch) {
  auto data =
      create(parseFloats("2x1xf32"), list(floats("x", {4, 1}, {1, 2, 3, 4})));
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  ASSERT_EQ(data->getNumFeeds(), 2u);
  EXPECT_EQ(read<float>(cantFail(data->getFeed(1)).inputs[0]),
            (std::vector<float>{3, 4}));
}

TEST_F(CalibrationDataTest, SingleFeeds) {
  auto data =
      create(parseTokens(), list(ints("ids/1", {1, 2}, {4, 0}),
                                 ints("attention_mask/1", {1, 2}, {1, 0}),
                                 ints("ids/0", {2, 1}, {1, 2}),
                                 ints("attention_mask/0", {2, 1}, {1, 1})));
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  ASSERT_EQ(data->getNumFeeds(), 2u);
  EXPECT_EQ(data->getNumPositions(), 3u);
  Feed feed = cantFail(data->getFeed(1));
  EXPECT_EQ(feed.views[0].shape, ArrayRef<int64_t>({1, 1}));
  EXPECT_EQ(read<int64_t>(feed.inputs[0]), (std::vector<int64_t>{4}));
  EXPECT_EQ(feed.describe(0), "feed 1");
}

TEST_F(CalibrationDataTest, ConvertsIntegers) {
  uint8_t mask[] = {1, 1};
  auto data = create(
      parseTokens(),
      list(makeArray<int8_t>("ids", NpyKind::Int, {1, 2}, {3, -4}),
           makeArray<uint8_t>("attention_mask", NpyKind::Bool, {1, 2}, mask)));
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  EXPECT_EQ(read<int64_t>(cantFail(data->getFeed(0)).inputs[0]),
            (std::vector<int64_t>{3, -4}));
}

TEST_F(CalibrationDataTest, ExtraArraysAreWarnings) {
  auto data = create(parseFloats("?x1xf32"),
                     list(floats("x", {1, 1}, {1}), floats("y", {1}, {1}),
                          floats("x/01", {1}, {1})));
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  EXPECT_EQ(warnings,
            (std::vector<std::string>{"the model has no input 'y'",
                                      "the model has no input 'x/01'"}));
}

TEST_F(CalibrationDataTest, MasksOfOtherShapesAreWarnings) {
  auto data = create(parse(R"(func.func @main(%mask: tensor<?x2x2xf32>
                       {qtx.name = "attention_mask"}) { return })"),
                     list(floats("attention_mask", {1, 2, 2}, {1, 1, 1, 1})));
  ASSERT_TRUE(bool(data)) << toString(data.takeError());
  EXPECT_FALSE(cantFail(data->getFeed(0)).mask.has_value());
  EXPECT_EQ(warnings, (std::vector<std::string>{
                          "input 'attention_mask' is no padding mask: expected "
                          "the shape [batch, sequence], found ?x2x2xf32"}));
}

TEST_F(CalibrationDataTest, MissingArray) {
  EXPECT_EQ(getError(parseTokens(), {}),
            "no array for the input 'ids' (?x?xi64)");
  EXPECT_EQ(getError(parseTokens(), list(ints("ids/0", {1, 1}, {1}))),
            "no array 'attention_mask/0' for the input 'attention_mask' "
            "(?x?xi64)");
  EXPECT_EQ(getError(parseFloats("?x1xf32"), list(floats("x/0", {1, 1}, {1}),
                                                  floats("x/2", {1, 1}, {1}))),
            "no array 'x/1' for the input 'x' (?x1xf32)");
}

TEST_F(CalibrationDataTest, SamplesAndFeeds) {
  EXPECT_EQ(getError(parseTokens(), list(ints("ids/0", {1, 1}, {1}),
                                         ints("attention_mask", {1, 1}, {1}))),
            "expected stacked samples or single feeds, found both: "
            "'attention_mask' and 'ids/0'");
}

TEST_F(CalibrationDataTest, NotAMultipleOfTheBatch) {
  EXPECT_EQ(
      getError(parseFloats("2x1xf32"), list(floats("x", {3, 1}, {1, 2, 3}))),
      "input 'x': expected a multiple of 2 samples, found 3");
}

TEST_F(CalibrationDataTest, DifferentNumbersOfSamples) {
  EXPECT_EQ(
      getError(parseTokens(), list(ints("ids", {2, 1}, {1, 2}),
                                   ints("attention_mask", {3, 1}, {1, 1, 1}))),
      "input 'attention_mask': expected 2 samples as in 'ids', found 3");
}

TEST_F(CalibrationDataTest, DifferentNamedSizes) {
  EXPECT_EQ(
      getError(parseTokens(), list(ints("ids", {1, 2}, {1, 2}),
                                   ints("attention_mask", {1, 3}, {1, 1, 1}))),
      "input 'attention_mask': expected 2 along 'sequence' as in 'ids', "
      "found 3");
  EXPECT_EQ(
      getError(parseTokens(), list(ints("ids/0", {2, 1}, {1, 2}),
                                   ints("attention_mask/0", {1, 1}, {1}))),
      "input 'attention_mask/0': expected 2 along 'batch' as in 'ids/0', "
      "found 1");
}

TEST_F(CalibrationDataTest, TypeAndShape) {
  func::FuncOp function = parseFloats("?x2xf32");
  EXPECT_EQ(getError(function, list(ints("x", {1, 2}, {1, 2}))),
            "input 'x': expected f32, found int64");
  EXPECT_EQ(getError(function, list(floats("x", {1, 3}, {1, 2, 3}))),
            "input 'x': expected ?x2xf32, found 1x3xf32");
  EXPECT_EQ(getError(function, list(floats("x", {2}, {1, 2}))),
            "input 'x': expected ?x2xf32, found 2xf32");
  EXPECT_EQ(getError(function, list(floats("x", {0, 2}, {}))),
            "input 'x': expected elements, found shape (0, 2)");
  // One feed has all axes of the input.
  EXPECT_EQ(getError(parseFloats("2x1xf32"),
                     list(floats("x/0", {4, 1}, {1, 2, 3, 4}))),
            "input 'x/0': expected 2x1xf32, found 4x1xf32");
}

TEST_F(CalibrationDataTest, InputsThatCannotBeStacked) {
  EXPECT_EQ(
      getError(parseFloats("f32"), list(floats("x", {}, {1}))),
      "input 'x': no batch axis; expected its feeds as 'x/0', 'x/1', ...");
  EXPECT_EQ(
      getError(parse(R"(func.func @main(%a: tensor<1xf32>, %b: tensor<2xf32>)
                         { return })"),
               list(floats("arg0", {2}, {1, 2}), floats("arg1", {2}, {1, 2}))),
      "input 'arg1': another static batch size than other inputs have; "
      "expected its feeds as 'arg1/0', 'arg1/1', ...");
}

TEST_F(CalibrationDataTest, NothingToCalibrateWith) {
  EXPECT_EQ(getError(parse("func.func @main() { return }"), {}),
            "function 'main': expected inputs to calibrate with, found none");
  EXPECT_EQ(getError(parseTokens(), list(ints("ids", {1, 1}, {1}),
                                         ints("attention_mask", {1, 1}, {0}))),
            "input 'attention_mask': expected positions that count, found only "
            "padding");
}

TEST_F(CalibrationDataTest, MissingFile) {
  auto data = CalibrationData::read(parseTokens(), "/nonexistent.npz",
                                    [](const Twine &) {});
  ASSERT_FALSE(bool(data));
  EXPECT_TRUE(
      StringRef(toString(data.takeError())).contains("/nonexistent.npz"));
}

TEST_F(CalibrationDataTest, RowsOfPadding) {
  constexpr int64_t kDynamic = ShapedType::kDynamic;
  PaddingMask mask{2, 3, /*isDynamic=*/true, {1, 1, 0, 1, 0, 0}};
  using Rows = std::vector<uint8_t>;
  EXPECT_EQ(mask.getRows({2, 3, 8}, {kDynamic, kDynamic, 8}), mask.valid);
  EXPECT_EQ(mask.getRows({6, 8}, {kDynamic, 8}), mask.valid);
  Rows pairs = {1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0};
  EXPECT_EQ(mask.getRows({2, 3, 2, 8}, {kDynamic, kDynamic, 2, 8}), pairs);
  Rows heads = {1, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0};
  EXPECT_EQ(mask.getRows({2, 2, 3, 8}, {kDynamic, 2, kDynamic, 8}), heads);
  // Three heads are no positions, nor is a pooled output.
  Rows threeHeads = {1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0};
  EXPECT_EQ(mask.getRows({2, 3, 3, 8}, {kDynamic, 3, kDynamic, 8}), threeHeads);
  EXPECT_EQ(mask.getRows({2, 8}, {kDynamic, 8}), Rows());
  EXPECT_EQ(mask.getRows({3, 8}, {kDynamic, 8}), Rows());
}

} // namespace
