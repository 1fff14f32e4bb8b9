//===- QuantParamsTest.cpp - Tests of the parameter view ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/QuantParams.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/IR/MLIRContext.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace qtx;

namespace {

class QuantParamsTest : public ::testing::Test {
protected:
  QuantParamsTest() { context.loadDialect<QtxDialect>(); }

  GroupedType getGrouped(ArrayRef<int64_t> sizes, ArrayRef<float> scales,
                         ArrayRef<int64_t> zeroPoints) {
    return GroupedType::get(&context, 8, /*isSigned=*/true, /*axis=*/-1, sizes,
                            DenseF32ArrayAttr::get(&context, scales),
                            DenseI64ArrayAttr::get(&context, zeroPoints));
  }

  GroupedType getDynamic(ArrayRef<int64_t> sizes) {
    return GroupedType::get(&context, 8, /*isSigned=*/true, /*axis=*/-1, sizes,
                            DenseF32ArrayAttr(), DenseI64ArrayAttr());
  }

  MLIRContext context;
};

TEST_F(QuantParamsTest, OtherTypesHaveNone) {
  EXPECT_FALSE(QuantParams::get(Type()));
  EXPECT_FALSE(QuantParams::get(Float32Type::get(&context)));
  EXPECT_FALSE(QuantParams::get(IntegerType::get(&context, 8)));
}

TEST_F(QuantParamsTest, Grouped) {
  auto params = QuantParams::get(getGrouped({2, 1}, {0.5f, 2.0f}, {-128, 127}));
  ASSERT_TRUE(params);
  EXPECT_TRUE(params->isGrouped());
  EXPECT_FALSE(params->isDynamic());
  EXPECT_EQ(params->getNumGroups(), 2);
  EXPECT_EQ(params->getNumChannels(), 3);
  EXPECT_EQ(params->getAxis(/*rank=*/4), 3);
  EXPECT_EQ(params->getScale(1), 2.0f);
  EXPECT_EQ(params->getZeroPoint(0), -128);
  EXPECT_FALSE(params->hasOnlyZeroZeroPoints());
  EXPECT_EQ(params->getGroupOfChannel(), (SmallVector<int64_t>{0, 0, 1}));
}

TEST_F(QuantParamsTest, IntegerRange) {
  EXPECT_EQ(getIntegerRange(4, true), (std::pair<int64_t, int64_t>(-8, 7)));
  EXPECT_EQ(getIntegerRange(8, false), (std::pair<int64_t, int64_t>(0, 255)));
  EXPECT_EQ(getIntegerRange(32, true),
            (std::pair<int64_t, int64_t>(INT32_MIN, INT32_MAX)));
  EXPECT_EQ(getIntegerRange(32, false),
            (std::pair<int64_t, int64_t>(0, UINT32_MAX)));
}

TEST_F(QuantParamsTest, SliceAcrossGroups) {
  auto params =
      QuantParams::get(getGrouped({4, 2, 6}, {0.5f, 1.0f, 2.0f}, {1, 2, 3}));
  EXPECT_EQ(params->getSliced(3, 4),
            getGrouped({1, 2, 1}, {0.5f, 1.0f, 2.0f}, {1, 2, 3}));
}

TEST_F(QuantParamsTest, SliceWithinOneGroupIsPerTensor) {
  auto params = QuantParams::get(getGrouped({4, 2}, {0.5f, 1.0f}, {1, 2}));
  auto sliced = QuantParams::get(params->getSliced(4, 2));
  ASSERT_TRUE(sliced);
  EXPECT_TRUE(sliced->isPerTensor());
  EXPECT_EQ(sliced->getScale(0), 1.0f);
  EXPECT_EQ(sliced->getZeroPoint(0), 2);
}

TEST_F(QuantParamsTest, SliceOfRunTimeParametersStaysGrouped) {
  auto params = QuantParams::get(getDynamic({4, 2}));
  EXPECT_EQ(params->getSliced(4, 2), getDynamic({2}));
}

TEST_F(QuantParamsTest, SliceKeepsStorageAndAxis) {
  auto type =
      GroupedType::get(&context, 16, /*isSigned=*/false, /*axis=*/-2, {3, 3},
                       DenseF32ArrayAttr::get(&context, {0.5f, 1.0f}),
                       DenseI64ArrayAttr::get(&context, {0, 65535}));
  auto params = QuantParams::get(type);
  EXPECT_EQ(params->getStorageMin(), 0);
  EXPECT_EQ(params->getStorageMax(), 65535);
  auto across = QuantParams::get(params->getSliced(2, 2));
  EXPECT_EQ(across->getAxis(), -2);
  EXPECT_EQ(across->getGroupSizes(), (ArrayRef<int64_t>{1, 1}));
  EXPECT_FALSE(across->isSigned());
  auto within = QuantParams::get(params->getSliced(3, 3));
  EXPECT_EQ(within->getStorageType(), IntegerType::get(&context, 16));
  EXPECT_FALSE(within->isSigned());
  EXPECT_EQ(within->getZeroPoint(0), 65535);
  EXPECT_EQ(params->getSliced(0, 6), Type(type));
}

/// Slices compose: a slice of a slice is the slice of the sum of the offsets.
TEST_F(QuantParamsTest, SlicesCompose) {
  auto params = QuantParams::get(
      getGrouped({2, 3, 1, 4}, {1.0f, 2.0f, 3.0f, 4.0f}, {1, 2, 3, 4}));
  for (int64_t outer = 0; outer < 9; ++outer)
    for (int64_t size = 2; outer + size <= 10; ++size)
      for (int64_t inner = 0; inner < size; ++inner) {
        auto slice = QuantParams::get(params->getSliced(outer, size));
        EXPECT_EQ(slice->getSliced(inner, 1),
                  params->getSliced(outer + inner, 1));
      }
}

TEST_F(QuantParamsTest, SliceOfPerTensorIsItself) {
  // A narrowed range is that of the slice too.
  auto uniform = quant::UniformQuantizedType::get(
      quant::QuantizationFlags::Signed, IntegerType::get(&context, 8),
      Float32Type::get(&context), 0.5, 0, -127, 127);
  auto params = QuantParams::get(uniform);
  EXPECT_EQ(params->getStorageMin(), -127);
  EXPECT_EQ(params->getSliced(3, 2), Type(uniform));
  EXPECT_EQ(params->getNumGroups(), 1);
  EXPECT_TRUE(params->getGroupSizes().empty());
  EXPECT_TRUE(params->hasOnlyZeroZeroPoints());
}

TEST_F(QuantParamsTest, GroupOfChannelPerEmbedding) {
  auto params = QuantParams::get(getDynamic({1, 1, 1}));
  EXPECT_EQ(params->getGroupOfChannel(), (SmallVector<int64_t>{0, 1, 2}));
  EXPECT_TRUE(params->isDynamic());
}

/// The text form cannot say this, a builder can.
TEST_F(QuantParamsTest, ScalesAndZeroPointsComeTogether) {
  std::string message;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  EXPECT_FALSE(GroupedType::getChecked(
      [&] { return mlir::emitError(UnknownLoc::get(&context)); }, &context, 8u,
      true, int64_t(-1), ArrayRef<int64_t>{1, 1},
      DenseF32ArrayAttr::get(&context, {0.5f, 0.5f}), DenseI64ArrayAttr()));
  EXPECT_EQ(message, "expected both scales and zero points, or neither");
}

/// What a segment is, as a list that compares and prints.
static std::vector<std::vector<int64_t>> list(ArrayRef<Segment> segments) {
  std::vector<std::vector<int64_t>> lists;
  for (const Segment &s : segments)
    lists.push_back({s.offset, s.size, s.group, s.block});
  return lists;
}

TEST(SegmentsTest, OneSegmentWithoutPartitions) {
  EXPECT_EQ(list(getSegments(8, {}, {})),
            (std::vector<std::vector<int64_t>>{{0, 8, 0, 0}}));
}

TEST(SegmentsTest, EmptyAxisHasNone) {
  EXPECT_TRUE(getSegments(0, {}, {}).empty());
}

TEST(SegmentsTest, OnePartitionCuts) {
  EXPECT_EQ(list(getSegments(6, {1, 1, 4}, {})),
            (std::vector<std::vector<int64_t>>{
                {0, 1, 0, 0}, {1, 1, 1, 0}, {2, 4, 2, 0}}));
  EXPECT_EQ(list(getSegments(6, {}, {4, 2})),
            (std::vector<std::vector<int64_t>>{{0, 4, 0, 0}, {4, 2, 0, 1}}));
}

/// Equal boundaries cut once.
TEST(SegmentsTest, EqualPartitions) {
  EXPECT_EQ(list(getSegments(4, {2, 2}, {2, 2})),
            (std::vector<std::vector<int64_t>>{{0, 2, 0, 0}, {2, 2, 1, 1}}));
}

TEST(SegmentsTest, BothPartitionsCut) {
  EXPECT_EQ(list(getSegments(8, {6, 2}, {3, 3, 2})),
            (std::vector<std::vector<int64_t>>{
                {0, 3, 0, 0}, {3, 3, 0, 1}, {6, 2, 1, 2}}));
  EXPECT_EQ(list(getSegments(8, {5, 3}, {4, 4})),
            (std::vector<std::vector<int64_t>>{
                {0, 4, 0, 0}, {4, 1, 0, 1}, {5, 3, 1, 1}}));
}

} // namespace
