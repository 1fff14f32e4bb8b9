//===- ShortSumsTest.cpp - Tests of sums in 16 bits -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/ShortSums.h"
#include "gtest/gtest.h"

using namespace qtx;

namespace {

using Numbers = std::vector<int64_t>;

TEST(ShortSums, HalvesOfTwoWords) {
  EXPECT_EQ(getShortSums({10}), (Numbers{0, 0, 1, 1, 0, 0, 1, 1, 2, 2}));
  EXPECT_EQ(getShortSums({3, 0, 9, 1}),
            (Numbers{0, 0, 1, 2, 2, 3, 3, 2, 2, 3, 3, 4, 6}));
  EXPECT_TRUE(getShortSums({}).empty());
}

TEST(ShortSums, TakesWhatThereIsRoomFor) {
  Numbers sums = getShortSums({8});
  ShortSumRoom room(sums);
  EXPECT_EQ(room.take(100, 0), 100);
  EXPECT_EQ(room.take(100, 5), 28);
  EXPECT_EQ(room.take(1, 4), 0);
  // Below zero, and in the other sum, there is as much.
  EXPECT_EQ(room.take(-127, 1), -127);
  EXPECT_EQ(room.take(-127, 4), -1);
  EXPECT_EQ(room.take(127, 7), 127);
}

TEST(ShortSums, NoLimits) {
  ShortSumRoom room({});
  EXPECT_EQ(room.take(127, 0), 127);
  EXPECT_EQ(room.take(127, 0), 127);
}

TEST(ShortSums, TheLargestFit16Bits) {
  EXPECT_LE(255 * kMaxShortSum, INT16_MAX);
  EXPECT_GE(-255 * kMaxShortSum, INT16_MIN);
  EXPECT_GT(255 * (kMaxShortSum + 1), INT16_MAX);
  EXPECT_TRUE(fitShortSums({64, 64, -64, -64}, 4, {4}));
  EXPECT_FALSE(fitShortSums({64, 65, -64, -64}, 4, {4}));
  EXPECT_FALSE(fitShortSums({64, 64, -64, -65}, 4, {4}));
  // Outputs and segments have sums of their own.
  EXPECT_TRUE(fitShortSums({100, 100}, 1, {1}));
  EXPECT_FALSE(fitShortSums({100, 100}, 2, {2}));
  EXPECT_TRUE(fitShortSums({100, 100}, 2, {1, 1}));
}

} // namespace
