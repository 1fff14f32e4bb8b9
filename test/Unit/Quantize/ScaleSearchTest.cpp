//===- ScaleSearchTest.cpp - Scales of channels by output error -----------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Quantize/ScaleSearch.h"
#include "gtest/gtest.h"
#include <algorithm>
#include <cmath>
#include <random>

using namespace qtx;

namespace {

/// Numbers of channels with ranges and weights that differ.
struct Example {
  Example(int64_t rows, int64_t columns) : rows(rows), columns(columns) {
    std::mt19937 generator(7);
    std::normal_distribution<float> normal;
    for (int64_t c = 0; c < columns; ++c) {
      radii.push_back(std::exp(normal(generator)));
      float deviation = radii.back() / 8;
      variances.push_back(double(deviation) * deviation);
    }
    for (int64_t i = 0; i < rows * columns; ++i)
      weights.push_back(normal(generator));
  }

  ScaleSearch getSearch() const {
    return {radii, variances, WeightMatrix{weights, rows, columns}};
  }

  /// Steps in proportion to a power of the radii, none too small.
  std::vector<float> getSteps(float power) const {
    std::vector<float> steps;
    float factor = 0;
    for (float radius : radii) {
      steps.push_back(std::pow(radius, power));
      factor = std::max(factor, radius / 127 / steps.back());
    }
    for (float &step : steps)
      step *= factor;
    return steps;
  }

  int64_t rows, columns;
  std::vector<float> radii, weights;
  std::vector<double> variances;
};

TEST(ScaleSearch, BeatsPowersOfRanges) {
  Example example(24, 40);
  for (double share : {0.1, 1.0})
    for (int64_t block : {0, 16}) {
      ScaleSearch search = example.getSearch();
      search.weightShare = share;
      search.block = block;
      std::vector<float> steps = search.run();
      for (size_t c = 0; c < steps.size(); ++c)
        EXPECT_GE(steps[c], example.radii[c] / 127);
      for (float power : {0.0f, 0.25f, 0.5f, 0.75f, 1.0f})
        EXPECT_LT(search.getError(steps),
                  search.getError(example.getSteps(power)))
            << share << " " << block << " " << power;
    }
}

TEST(ScaleSearch, IsNearTheLeastError) {
  // No step of one channel alone gains more than 2 %.
  Example example(6, 8);
  ScaleSearch search = example.getSearch();
  std::vector<float> steps = search.run();
  double error = search.getError(steps);
  for (size_t c = 0; c < steps.size(); ++c)
    for (float factor : {0.8f, 0.9f, 1.1f, 1.25f}) {
      std::vector<float> changed = steps;
      changed[c] = std::max(steps[c] * factor, example.radii[c] / 127);
      EXPECT_GT(search.getError(changed), 0.98 * error) << c << " " << factor;
    }
}

TEST(ScaleSearch, ErrorIsThatOfRounding) {
  // One channel: the input takes steps of 1, the weight 2 is stored as 127.
  std::vector<float> radii = {127}, weights = {2};
  std::vector<double> variances = {9};
  ScaleSearch search{radii, variances, WeightMatrix{weights, 1, 1}};
  EXPECT_NEAR(search.getError({1.0f}),
              4.0 / 12 + 9 * (2.0 / 127) * (2.0 / 127) / 12, 1e-9);
  search.weightShare = 0;
  EXPECT_NEAR(search.getError({1.0f}), 4.0 / 12, 1e-9);
}

TEST(ScaleSearch, SilentChannels) {
  std::vector<float> radii = {0, 1, 2, 4}, weights = {0, 1, 1, 0};
  std::vector<double> variances = {0, 0.1, 0.1, 0.1};
  WeightMatrix matrix{weights, 1, 4};
  for (float step : ScaleSearch{radii, variances, matrix}.run())
    EXPECT_TRUE(std::isfinite(step) && step > 0);
  std::vector<float> zeros(4);
  EXPECT_TRUE((ScaleSearch{zeros, variances, matrix}.run().empty()));
}

} // namespace
