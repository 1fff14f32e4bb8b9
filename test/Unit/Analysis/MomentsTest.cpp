//===- MomentsTest.cpp - Tests of second moments --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Moments.h"
#include "gtest/gtest.h"
#include <random>

using namespace llvm;
using namespace qtx;

namespace {

/// Compares with sums in fp64 over feeds of the given numbers of rows; every
/// third row is padding.
void check(int64_t channels, ArrayRef<int64_t> feeds) {
  std::mt19937 random(channels);
  std::normal_distribution<float> normal;
  SecondMoments moments(channels);
  std::vector<double> expected(channels * channels), sums(channels);
  int64_t numRows = 0;
  for (int64_t rows : feeds) {
    std::vector<float> numbers(rows * channels);
    for (float &number : numbers)
      number = normal(random);
    std::vector<uint8_t> valid(rows);
    for (int64_t row = 0; row < rows; ++row) {
      valid[row] = row % 3 != 2;
      numRows += valid[row];
      const float *x = numbers.data() + row * channels;
      for (int64_t i = 0; valid[row] && i < channels; ++i) {
        sums[i] += x[i];
        for (int64_t j = 0; j < channels; ++j)
          expected[i * channels + j] += double(x[i]) * x[j];
      }
    }
    int64_t shape[] = {rows, channels};
    moments.update({numbers.data(), shape, valid});
  }
  EXPECT_EQ(moments.getNumRows(), numRows);
  std::vector<double> found = moments.getProducts();
  ASSERT_EQ(found.size(), expected.size());
  // 256 products of about 1 are summed in fp32: 256 * 2^-24 of their size each.
  double tolerance = 2e-5 * numRows;
  for (int64_t i = 0; i < channels; ++i) {
    EXPECT_NEAR(moments.getSums()[i], sums[i], 1e-9 * numRows);
    for (int64_t j = 0; j < channels; ++j)
      ASSERT_NEAR(found[i * channels + j], expected[i * channels + j],
                  tolerance)
          << i << ", " << j;
  }
  std::vector<double> centred = moments.getCentredProducts();
  for (int64_t i = 0; i < channels; ++i)
    for (int64_t j = 0; j < channels; ++j)
      ASSERT_NEAR(centred[i * channels + j],
                  expected[i * channels + j] - sums[i] * sums[j] / numRows,
                  tolerance);
}

TEST(MomentsTest, Sizes) {
  check(1, {3});
  check(31, {1, 2, 50});
  check(32, {400});
  check(33, {256, 255, 257});
  check(100, {1000});
}

/// Far from zero fp32 has steps larger than the products of distances.
TEST(MomentsTest, FarFromZero) {
  constexpr int64_t kRows = 1000;
  std::vector<float> numbers;
  for (int64_t row = 0; row < kRows; ++row)
    numbers.insert(numbers.end(), {4096.0f + (row % 2), -1.0f * (row % 2)});
  int64_t shape[] = {kRows, 2};
  SecondMoments moments(2);
  moments.update({numbers.data(), shape, {}});
  EXPECT_EQ(moments.getCentredProducts(),
            std::vector<double>({250, -250, -250, 250}));
  EXPECT_EQ(moments.getProducts()[0],
            kRows / 2 * (4096.0 * 4096 + 4097.0 * 4097));
}

TEST(MomentsTest, NothingCounts) {
  SecondMoments moments(2);
  EXPECT_EQ(moments.getProducts(), std::vector<double>(4));
  EXPECT_EQ(moments.getCentredProducts(), std::vector<double>(4));
  EXPECT_EQ(moments.getNumRows(), 0);
}

} // namespace
