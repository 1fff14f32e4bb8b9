//===- ParametersTest.cpp - Parameters from ranges ------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Quantize/Parameters.h"
#include "gtest/gtest.h"
#include <cmath>
#include <numeric>

using namespace qtx;
using llvm::ArrayRef;
using llvm::SmallVector;

namespace {

/// Ranges of three tokens with six channels, whose parameters lie far from
/// ties; channel 5 does not contain zero.
const ChannelRanges kRanges = {{-.21f, -8.04f, -.47f, -3.01f, -.33f, .06f},
                               {.41f, 6.09f, .61f, 2.05f, .23f, 12.03f}};

void expectParameters(ArrayRef<int64_t> channels, double scale, int64_t u8) {
  AffineParameters found =
      chooseParameters(joinRanges(kRanges, channels), /*isSymmetric=*/false);
  EXPECT_NEAR(found.scale, scale, 1e-9 + 1e-7 * scale);
  EXPECT_EQ(found.zeroPoint, u8 - 128);
}

TEST(Parameters, PerTensorAndGroups) {
  expectParameters({0, 1, 2, 3, 4, 5}, .0787058824, 102);
  expectParameters({0, 1}, .0554117647, 145);
  expectParameters({2, 3}, .0198431373, 152);
  expectParameters({4, 5}, .0484705882, 7);
  expectParameters({4, 0}, .0029019608, 114);
  expectParameters({5, 1}, .0787058824, 102);
  expectParameters({5}, .0471764706, 0);
}

TEST(Parameters, Symmetric) {
  AffineParameters found = chooseParameters({-2.54f, 1.0f}, true);
  EXPECT_FLOAT_EQ(found.scale, 0.02f);
  EXPECT_EQ(found.zeroPoint, 0);
  EXPECT_FLOAT_EQ(chooseParameters({-1.0f, 7.0f}, true, 4).scale, 1.0f);
}

TEST(Parameters, EmptyAndHugeRanges) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_GT(chooseParameters({kInfinity, -kInfinity}, false).scale, 0);
  EXPECT_GT(chooseParameters({0, 0}, true).scale, 0);
  EXPECT_TRUE(
      std::isfinite(chooseParameters({-kInfinity, kInfinity}, false).scale));
}

TEST(Parameters, SortsByFallingBackToTheIndex) {
  EXPECT_EQ(sortBySpan(getSpans(kRanges)),
            (SmallVector<int64_t>{4, 0, 2, 3, 5, 1}));
  EXPECT_EQ(sortBySpan({2, 1, 2, 1}), (SmallVector<int64_t>{1, 3, 0, 2}));
}

/// The least cost of all ways to cut, by trying them.
double getLeastCost(ArrayRef<float> spans, int64_t numGroups,
                    int64_t alignment) {
  if (spans.empty())
    return 0;
  if (numGroups == 0)
    return std::numeric_limits<double>::infinity();
  double best = std::numeric_limits<double>::infinity();
  int64_t size = spans.size();
  for (int64_t first = alignment;; first += alignment) {
    int64_t cut = std::min(first, size);
    double cost = cut * double(spans[cut - 1]) * spans[cut - 1] +
                  getLeastCost(spans.drop_front(cut), numGroups - 1, alignment);
    best = std::min(best, cost);
    if (cut == size)
      return best;
  }
}

double getCost(ArrayRef<float> spans, ArrayRef<int64_t> sizes) {
  double cost = 0;
  for (int64_t size : sizes) {
    cost += size * double(spans[size - 1]) * spans[size - 1];
    spans = spans.drop_front(size);
  }
  EXPECT_TRUE(spans.empty());
  return cost;
}

TEST(Parameters, CutsWhereItCostsLeast) {
  std::vector<float> spans;
  for (int i = 0; i < 14; ++i)
    spans.push_back(1 + (i * i * i) % 7 * 0.25f + (i > 11 ? 20 * i : 0));
  std::sort(spans.begin(), spans.end());
  for (int64_t numGroups : {1, 2, 3, 5})
    for (int64_t alignment : {1, 2, 4, 16}) {
      SmallVector<int64_t> sizes = cutUnequally(spans, numGroups, alignment);
      EXPECT_LE(int64_t(sizes.size()), numGroups);
      EXPECT_DOUBLE_EQ(getCost(spans, sizes),
                       getLeastCost(spans, numGroups, alignment));
      int64_t boundary = 0;
      for (int64_t size : ArrayRef(sizes).drop_back())
        EXPECT_EQ((boundary += size) % alignment, 0);
    }
  // In another order, the widest of a group counts.
  EXPECT_EQ(cutUnequally({1, 9, 8, 1, 1, 1}, 2, 1),
            (SmallVector<int64_t>{3, 3}));
  // Equal spans need one group.
  EXPECT_EQ(cutUnequally(std::vector<float>(8, 1.0f), 3, 1).size(), 1u);
}

TEST(Parameters, SeparatesOutliers) {
  ChannelGroups groups = separateOutliers({1, 9, 1, 2, 3, 1}, 2.5f);
  EXPECT_EQ(groups.order, (SmallVector<int64_t>{0, 2, 3, 5, 1, 4}));
  EXPECT_EQ(groups.sizes, (SmallVector<int64_t>{4, 2}));
  EXPECT_FALSE(groups.isIdentity());
  EXPECT_EQ(separateOutliers({1, 1}, 2.5f).sizes, (SmallVector<int64_t>{2}));
  EXPECT_TRUE(separateOutliers({1, 1}, 2.5f).isIdentity());
}

TEST(Parameters, AlignsScales) {
  // 20.5 becomes 21, which costs a few channels little.
  AffineParameters few[] = {{0.5f, 3}, {10.25f, -4}};
  alignScales(few, {1000, 1});
  EXPECT_EQ(few[0].scale, 0.5f);
  EXPECT_EQ(few[1].scale, 10.5f);
  // Nothing is left to do; the finer group may be the second one.
  AffineParameters exact[] = {{1.5f, 0}, {0.5f, 0}};
  alignScales(exact, {2, 2});
  EXPECT_EQ(exact[0].scale, 1.5f);
  EXPECT_EQ(exact[1].scale, 0.5f);
  // Twice as much for most of the channels would be worse than 1.5 for some.
  AffineParameters many[] = {{1.0f, 0}, {1.5f, 0}};
  alignScales(many, {2, 90});
  EXPECT_EQ(many[0].scale, 1.5f);
  EXPECT_EQ(many[1].scale, 1.5f);
}

TEST(Parameters, LeavesScalesWhereErrorsWouldGrow) {
  AffineParameters half[] = {{1.0f, 0}, {2.5f, 0}};
  alignScales(half, {10, 10});
  EXPECT_EQ(half[0].scale, 1.0f);
  EXPECT_EQ(half[1].scale, 2.5f);
}

TEST(Parameters, LeavesScalesThatAreFarApart) {
  AffineParameters far[] = {{1e-10f, 0}, {1e30f, 0}};
  alignScales(far, {2, 2});
  EXPECT_EQ(far[0].scale, 1e-10f);
  EXPECT_EQ(far[1].scale, 1e30f);
}

TEST(Parameters, ChoosesZeroPoints) {
  float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(chooseZeroPoint({-infinity, infinity}, false, 1e36f).zeroPoint, 0);
  EXPECT_EQ(chooseZeroPoint({0, infinity}, false, 1.0f).zeroPoint, -128);
  EXPECT_EQ(chooseZeroPoint({0, 255}, false, 1.0f).zeroPoint, -128);
  EXPECT_EQ(chooseZeroPoint({-255, 0}, false, 1.0f).zeroPoint, 127);
  // Half of what is left over lies on each side.
  EXPECT_EQ(chooseZeroPoint({0, 255}, false, 2.0f).zeroPoint, -64);
  EXPECT_EQ(chooseZeroPoint({5, 255}, false, 1.0f).zeroPoint, -128);
  EXPECT_EQ(chooseZeroPoint({-3, 5}, true, 1.0f).zeroPoint, 0);
}

TEST(Parameters, CountsSteps) {
  EXPECT_EQ(estimateSteps({384}), 96);
  EXPECT_EQ(estimateSteps({383}), 96);
  EXPECT_EQ(estimateSteps({379, 5}), 95 + 2 + 4);
  EXPECT_EQ(estimateSteps({128, 128, 128}), 96 + 2 * 4);
}

TEST(Parameters, FillsStepsWhereItPays) {
  // Three of a step's four channels are outliers; the next is nearly one.
  std::vector<float> spans(24, 1.0f);
  spans[0] = spans[1] = spans[2] = 2.6f;
  EXPECT_EQ(separateOutliers(spans, 2.5f).sizes, (SmallVector<int64_t>{21, 3}));
  spans[7] = 2.5f;
  ChannelGroups groups = separateOutliers(spans, 2.5f);
  EXPECT_EQ(groups.sizes, (SmallVector<int64_t>{20, 4}));
  EXPECT_EQ(ArrayRef(groups.order).take_back(4),
            ArrayRef<int64_t>({0, 1, 2, 7}));
}

TEST(Parameters, BoundsScales) {
  ChannelRanges ranges = {{-1, -8, 0, 2}, {1, 8, 0.01f, 4}};
  ChannelScaling scaling = boundScales(ranges, 0.75f, 0.25f);
  // The median span is 2.
  EXPECT_FLOAT_EQ(scaling.scale[0], 1);
  EXPECT_FLOAT_EQ(scaling.scale[1], std::pow(8.0f, 0.75f));
  EXPECT_FLOAT_EQ(scaling.scale[2], 0.25f);
  EXPECT_FLOAT_EQ(scaling.shift[3], 3);
  ChannelRanges scaled = applyScaling(ranges, scaling);
  EXPECT_FLOAT_EQ(scaled.lo[3], -1);
  EXPECT_FLOAT_EQ(scaled.hi[3], 1);
}

} // namespace
