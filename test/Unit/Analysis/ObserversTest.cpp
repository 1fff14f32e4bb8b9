//===- ObserversTest.cpp - Tests of ranges from data ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Observers.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>
#include <random>

using namespace llvm;
using namespace qtx;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// A matrix of `channels` columns.
struct Matrix {
  Matrix(std::vector<float> numbers, int64_t channels,
         std::vector<uint8_t> valid = {})
      : numbers(std::move(numbers)),
        shape{int64_t(this->numbers.size()) / channels, channels},
        valid(std::move(valid)) {}
  StreamedValue get() const { return {numbers.data(), shape, valid}; }

  std::vector<float> numbers;
  std::vector<int64_t> shape;
  std::vector<uint8_t> valid;
};

std::vector<float> makeNormal(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float &number : numbers)
    number = normal(random);
  return numbers;
}

/// The quantile as NumPy defines it, of numbers with equal steps in the list.
double getQuantile(std::vector<float> numbers, double share) {
  std::sort(numbers.begin(), numbers.end());
  double at = share * (numbers.size() - 1);
  size_t below = size_t(at);
  if (below + 1 == numbers.size())
    return numbers[below];
  return numbers[below] + (at - below) * (numbers[below + 1] - numbers[below]);
}

TEST(ObserversTest, MinMax) {
  RangeObserver observer;
  EXPECT_FALSE(observer.update(Matrix({1, 2, -3, 4}, 2).get()));
  EXPECT_FALSE(observer.update(Matrix({0, 9}, 2).get()));
  EXPECT_EQ(observer.getRanges(), (ChannelRanges{{-3, 2}, {1, 9}}));
  EXPECT_EQ(observer.getNumRows(), 3);
}

TEST(ObserversTest, RunningForgets) {
  RangeObserver observer(0.75f);
  EXPECT_FALSE(observer.update(Matrix({-1, 2}, 1).get()));
  // The first range is taken as it is.
  EXPECT_EQ(observer.getRanges(), (ChannelRanges{{-1}, {2}}));
  EXPECT_FALSE(observer.update(Matrix({-5, 8}, 1).get()));
  EXPECT_EQ(observer.getRanges(), (ChannelRanges{{-2}, {3.5}}));
}

TEST(ObserversTest, PaddingDoesNotCount) {
  RangeObserver observer(0.5f);
  EXPECT_FALSE(observer.update(Matrix({7, 8}, 1, {0, 0}).get()));
  EXPECT_EQ(observer.getNumRows(), 0);
  EXPECT_GT(observer.getRanges().lo[0], observer.getRanges().hi[0]);
  EXPECT_FALSE(observer.update(Matrix({1, NAN, 3}, 1, {1, 0, 1}).get()));
  EXPECT_EQ(observer.getRanges(), (ChannelRanges{{1}, {3}}));
  EXPECT_FALSE(observer.update(Matrix({100}, 1, {0}).get()));
  EXPECT_EQ(observer.getRanges(), (ChannelRanges{{1}, {3}}));
  EXPECT_EQ(observer.getNumRows(), 2);
}

TEST(ObserversTest, NonFiniteIsFound) {
  for (float number : {NAN, kInfinity, -kInfinity}) {
    RangeObserver observer;
    auto found = observer.update(Matrix({1, 2, number, 4}, 2).get());
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->row, 1);
    EXPECT_EQ(found->channel, 0);
    EXPECT_EQ(std::isnan(found->value), std::isnan(number));
  }
}

TEST(ObserversTest, TailsAreExactQuantiles) {
  constexpr int64_t kRows = 500;
  std::vector<float> a = makeNormal(kRows, 1), b = makeNormal(kRows, 2);
  std::vector<float> both;
  for (int64_t i = 0; i < kRows; ++i)
    both.insert(both.end(), {a[i], b[i]});
  for (double percentile : {100.0, 99.9, 99.0, 95.0, 50.0}) {
    TailObserver observer(2, kRows, percentile);
    // Two feeds: the order does not matter.
    std::vector<float> head(both.begin(), both.begin() + 300);
    std::vector<float> tail(both.begin() + 300, both.end());
    observer.update(Matrix(tail, 2).get());
    observer.update(Matrix(head, 2).get());
    ChannelRanges ranges = observer.getRanges();
    double share = percentile / 100;
    EXPECT_FLOAT_EQ(ranges.hi[0], getQuantile(a, share)) << percentile;
    EXPECT_FLOAT_EQ(ranges.hi[1], getQuantile(b, share)) << percentile;
    EXPECT_FLOAT_EQ(ranges.lo[0], getQuantile(a, 1 - share)) << percentile;
    EXPECT_FLOAT_EQ(ranges.lo[1], getQuantile(b, 1 - share)) << percentile;
  }
}

TEST(ObserversTest, TailOfOneRow) {
  TailObserver observer(1, 1, 99.0);
  observer.update(Matrix({5}, 1).get());
  EXPECT_EQ(observer.getRanges(), (ChannelRanges{{5}, {5}}));
}

TEST(ObserversTest, HistogramQuantiles) {
  std::vector<float> numbers = makeNormal(20000, 3);
  Matrix matrix(numbers, 1);
  RangeObserver bounds;
  bounds.update(matrix.get());
  HistogramObserver observer(bounds.getRanges());
  observer.update(matrix.get());
  float width = bounds.getRanges().hi[0] - bounds.getRanges().lo[0];
  // The neighbours of the quantile may lie in two bins.
  float tolerance = 2 * width / HistogramObserver::kNumBins;
  for (double percentile : {99.9, 99.0, 90.0, 50.0}) {
    ChannelRanges ranges = observer.getQuantiles(percentile);
    EXPECT_NEAR(ranges.hi[0], getQuantile(numbers, percentile / 100),
                tolerance);
    EXPECT_NEAR(ranges.lo[0], getQuantile(numbers, 1 - percentile / 100),
                tolerance);
  }
}

double getError(const std::vector<float> &numbers, double lo, double hi,
                unsigned bits) {
  lo = std::min(lo, 0.0);
  hi = std::max(hi, 0.0);
  double step = (hi - lo) / (std::ldexp(1.0, bits) - 1);
  double error = 0;
  for (float number : numbers) {
    double clipped = std::clamp<double>(number, lo, hi);
    double rounded = std::nearbyint(clipped / step) * step;
    error += (rounded - number) * (rounded - number);
  }
  return error;
}

// Not worse than any range that scales the bounds, within the resolution of the
// histogram and of the model of rounding errors, which is rough for few bits: 5
// %.
TEST(ObserversTest, LeastError) {
  for (unsigned bits : {3, 4, 8}) {
    for (float shift : {0.0f, 2.0f, -6.0f}) {
      std::vector<float> numbers = makeNormal(20000, bits);
      for (float &number : numbers)
        number += shift;
      Matrix matrix(numbers, 1);
      RangeObserver bounds;
      bounds.update(matrix.get());
      HistogramObserver observer(bounds.getRanges());
      observer.update(matrix.get());
      ChannelRanges found = observer.getRangesOfLeastError(bits);
      float lo = bounds.getRanges().lo[0], hi = bounds.getRanges().hi[0];
      double best = getError(numbers, lo, hi, bits);
      for (int i = 20; i < 100; ++i)
        for (int j = 20; j < 100; j += 4)
          best = std::min(best,
                          getError(numbers, lo * i / 100, hi * j / 100, bits));
      EXPECT_LE(getError(numbers, found.lo[0], found.hi[0], bits), best * 1.05)
          << bits << " bits, shift " << shift;
      EXPECT_GE(found.lo[0], lo);
      EXPECT_LE(found.hi[0], hi);
    }
  }
}

TEST(ObserversTest, HistogramsOfOneValue) {
  HistogramObserver observer({{2, 0}, {2, 0}});
  observer.update(Matrix({2, 0, 2, 0}, 2).get());
  ChannelRanges expected = {{2, 0}, {2, 0}};
  EXPECT_EQ(observer.getQuantiles(99), expected);
  EXPECT_EQ(observer.getRangesOfLeastError(8), expected);
}

std::string getParseError(StringRef text) {
  auto options = parseObserver(text);
  return options ? "no error" : toString(options.takeError());
}

TEST(ObserversTest, Names) {
  EXPECT_EQ(cantFail(parseObserver("min_max")).kind, ObserverKind::MinMax);
  EXPECT_EQ(cantFail(parseObserver("running")).momentum, 0.9f);
  EXPECT_EQ(cantFail(parseObserver("running:0")).momentum, 0.0f);
  EXPECT_EQ(cantFail(parseObserver("percentile:99")).percentile, 99.0);
  EXPECT_EQ(cantFail(parseObserver("mse:4")).bits, 4u);
  for (const char *text : {"median", "", "min_max:1"})
    EXPECT_EQ(getParseError(text),
              ("expected an observer (min_max, running[:MOMENTUM], "
               "percentile[:PERCENT], mse[:BITS], extrapolated[:SAMPLES]), "
               "found '" +
               Twine(text) + "'")
                  .str());
  EXPECT_EQ(getParseError("running:1"),
            "expected a momentum from 0 to 0.9999, found '1'");
  EXPECT_EQ(getParseError("percentile:50"),
            "expected a percentile from 50.1 to 100, found '50'");
  EXPECT_EQ(getParseError("percentile:nan"),
            "expected a percentile from 50.1 to 100, found 'nan'");
  EXPECT_EQ(getParseError("mse:x"), "expected 2 to 16 bits, found 'x'");
  EXPECT_EQ(cantFail(parseObserver("extrapolated:1e5")).samples, 1e5);
  EXPECT_EQ(getParseError("extrapolated:0"),
            "expected 1 to 1e9 samples, found '0'");
}

TEST(ObserversTest, ExtremesOfSamples) {
  ExtremeObserver observer;
  // Two rows make one sample: 3 and 5 are the largest values of two samples.
  std::vector<float> numbers = {1, 3, 5, -1};
  std::vector<int64_t> shape = {2, 2, 1};
  observer.update({numbers.data(), shape, {}});
  ChannelRanges same = observer.getRanges(2);
  EXPECT_EQ(same, (ChannelRanges{{-1}, {5}}));
  // The one excess at either end is 2.
  ChannelRanges wider = observer.getRanges(6);
  EXPECT_NEAR(wider.hi[0], 5 + std::log(3.0) * 2, 1e-5);
  EXPECT_NEAR(wider.lo[0], -1 - std::log(3.0) * 2, 1e-5);
  // A guess far out is none.
  EXPECT_EQ(observer.getRanges(1e9), observer.getRanges(40));
  // Neither padding nor less data narrows a range.
  std::vector<float> padding = {100, 100};
  std::vector<int64_t> row = {1, 2, 1};
  std::vector<uint8_t> invalid = {0, 0};
  observer.update({padding.data(), row, invalid});
  EXPECT_EQ(observer.getRanges(1), same);
}

TEST(ObserversTest, ExtremesOfOneSampleStay) {
  ExtremeObserver observer;
  observer.update(Matrix({1, 2}, 2).get());
  EXPECT_EQ(observer.getRanges(1000), (ChannelRanges{{1, 2}, {1, 2}}));
}

TEST(ObserversTest, ExtremesPredictMoreSamples) {
  // The largest of 4000 exponential values lies at log(4000) on average.
  std::mt19937 random(7);
  std::exponential_distribution<float> exponential;
  constexpr int64_t kChannels = 500;
  std::vector<float> numbers(200 * kChannels);
  for (float &number : numbers)
    number = exponential(random);
  ExtremeObserver observer;
  observer.update(Matrix(numbers, kChannels).get());
  double sum = 0;
  for (float hi : observer.getRanges(4000).hi)
    sum += hi;
  // Euler's constant is the mean beyond the logarithm; the mean of 500
  // channels varies by about 0.06.
  EXPECT_NEAR(sum / kChannels, std::log(4000.0) + 0.577, 0.25);
}

/// A channel with `value` beside 64 others of 1 and -1, as normalised rows
/// count it.
static float countNormalised(float value) {
  std::vector<float> numbers(65, 1);
  for (size_t i = 1; i < numbers.size(); i += 2)
    numbers[i] = -1;
  numbers[64] = value;
  ExtremeObserver observer(/*isNormalised=*/true);
  observer.update(Matrix(numbers, 65).get());
  ChannelRanges ranges = observer.getRanges(1);
  EXPECT_EQ(ranges.lo[0], 1);
  EXPECT_EQ(ranges.lo[1], -1);
  EXPECT_EQ(ranges.lo[64], ranges.hi[64]);
  return ranges.hi[64];
}

/// What a one becomes where the variance is divided by.
static double normaliseOne(double value) {
  return 1 / std::sqrt((value * value * 64 / 65 + 64) / 65);
}

TEST(ObserversTest, ExtremesOfNormalisedRows) {
  EXPECT_EQ(countNormalised(5), 5);
  EXPECT_EQ(countNormalised(-5), -5);
  for (float value : {1000.0f, -1000.0f}) {
    float counted = countNormalised(value);
    EXPECT_GT(value * counted, 0);
    EXPECT_LT(std::fabs(counted), 300);
    // The sum of squares of the others is 64 of 65.
    EXPECT_NEAR((normaliseOne(counted) - normaliseOne(value)) *
                    std::sqrt(64.0 / 65),
                ExtremeObserver::kNormalisedError, 1e-5);
  }
}

TEST(ObserversTest, ExtremesOfConstantRowsStay) {
  ExtremeObserver observer(/*isNormalised=*/true);
  observer.update(Matrix({0, 0, 9}, 3).get());
  EXPECT_EQ(observer.getRanges(1), (ChannelRanges{{0, 0, 9}, {0, 0, 9}}));
}

} // namespace
