//===- GPTQTest.cpp - Tests of rounded weights ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/GPTQ.h"
#include "qtx/Support/ShortSums.h"
#include "llvm/ADT/STLExtras.h"
#include "gtest/gtest.h"
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

using namespace llvm;
using namespace qtx;

namespace {

/// Random weights, and inputs whose channels share a few causes.
struct Layer {
  Layer(int64_t rows, int64_t columns, int64_t numInputs = 512)
      : rows(rows), columns(columns), numInputs(numInputs) {
    std::mt19937 random(rows * 1000 + columns);
    std::normal_distribution<float> normal;
    auto fill = [&](std::vector<float> &numbers, int64_t size) {
      numbers.resize(size);
      for (float &number : numbers)
        number = normal(random);
    };
    constexpr int64_t kCauses = 4;
    std::vector<float> mixing, causes;
    fill(weights, rows * columns);
    fill(mixing, kCauses * columns);
    fill(causes, kCauses * numInputs);
    fill(inputs, numInputs * columns);
    for (int64_t i = 0; i < numInputs; ++i)
      for (int64_t k = 0; k < columns; ++k) {
        float &input = inputs[i * columns + k];
        input *= 0.3f;
        for (int64_t c = 0; c < kCauses; ++c)
          input += causes[i * kCauses + c] * mixing[c * columns + k];
      }
  }

  WeightMatrix getMatrix() const { return {weights, rows, columns}; }

  std::vector<double> getMoments() const {
    std::vector<double> moments(columns * columns);
    for (int64_t i = 0; i < numInputs; ++i)
      for (int64_t j = 0; j < columns; ++j)
        for (int64_t k = 0; k < columns; ++k)
          moments[j * columns + k] +=
              double(inputs[i * columns + j]) * inputs[i * columns + k];
    return moments;
  }

  /// The squared error of the outputs.
  double getError(const RoundedWeights &rounded) const {
    int64_t numBlocks = (columns + rounded.block - 1) / rounded.block;
    double sum = 0;
    for (int64_t i = 0; i < numInputs; ++i)
      for (int64_t n = 0; n < rows; ++n) {
        double error = 0;
        for (int64_t k = 0; k < columns; ++k) {
          double scale = rounded.scales[n * numBlocks + k / rounded.block];
          double weight = weights[n * columns + k];
          error += (weight - rounded.codes[n * columns + k] * scale) *
                   inputs[i * columns + k];
        }
        sum += error * error;
      }
    return sum;
  }

  int64_t rows, columns, numInputs;
  std::vector<float> weights, inputs;
};

std::vector<double> getIdentity(int64_t size) {
  std::vector<double> identity(size * size);
  for (int64_t i = 0; i < size; ++i)
    identity[i * size + i] = 1;
  return identity;
}

TEST(GPTQTest, NearestByHand) {
  float weights[] = {1.27f, -0.005f, 0.015f, 0.0f, 0.0f, 0.0f};
  RoundedWeights rounded = roundToNearest({weights, 2, 3}, {});
  EXPECT_FLOAT_EQ(rounded.scales[0], 0.01f);
  // A row of zeros has a scale all the same.
  EXPECT_GT(rounded.scales[1], 0.0f);
  EXPECT_EQ(rounded.codes[0], 127);
  EXPECT_EQ(ArrayRef(rounded.codes).take_back(3), ArrayRef<int8_t>({0, 0, 0}));
  EXPECT_EQ(rounded.block, 3);
  EXPECT_FALSE(rounded.isErrorMinimised);
}

TEST(GPTQTest, ErrorOfOutputsIsLower) {
  // More rows and columns than are worked on at a time, and parts of them.
  Layer layer(/*rows=*/70, /*columns=*/200);
  for (unsigned bits : {4u, 8u})
    for (int64_t block : {0, 32}) {
      RoundingOptions options;
      options.bits = bits;
      options.block = block;
      RoundedWeights nearest = roundToNearest(layer.getMatrix(), options);
      RoundedWeights found =
          roundMinimisingError(layer.getMatrix(), layer.getMoments(), options);
      EXPECT_TRUE(found.isErrorMinimised);
      if (block == 0)
        EXPECT_EQ(found.scales, nearest.scales);
      // The inputs have four directions of 200 in which they are large: most of
      // the error moves out of them.
      EXPECT_LT(layer.getError(found), 0.25 * layer.getError(nearest))
          << bits << " bits, blocks of " << block;
      for (int64_t code : found.codes)
        EXPECT_LE(std::abs(code), (1 << (bits - 1)) - 1);
    }
}

/// The columns with the largest inputs first.
std::vector<int64_t> getOrder(const std::vector<double> &moments,
                              int64_t size) {
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return moments[a * size + a] > moments[b * size + b];
  });
  return order;
}

/// One column after the other, as the paper has it, with the inverse updated by
/// elimination.
TEST(GPTQTest, AsColumnByColumn) {
  constexpr int64_t kSize = 150;
  Layer layer(/*rows=*/3, kSize);
  RoundingOptions options;
  options.bits = 4;
  RoundedWeights found =
      roundMinimisingError(layer.getMatrix(), layer.getMoments(), options);
  // Gauss-Jordan.
  std::vector<double> matrix = layer.getMoments(), inverse = getIdentity(kSize);
  std::vector<int64_t> order = getOrder(matrix, kSize);
  double trace = 0;
  for (int64_t i = 0; i < kSize; ++i)
    trace += matrix[i * kSize + i];
  for (int64_t i = 0; i < kSize; ++i)
    matrix[i * kSize + i] += options.damping * trace / kSize;
  for (int64_t i = 0; i < kSize; ++i) {
    double pivot = matrix[i * kSize + i];
    for (int64_t k = 0; k < kSize; ++k) {
      matrix[i * kSize + k] /= pivot;
      inverse[i * kSize + k] /= pivot;
    }
    for (int64_t j = 0; j < kSize; ++j) {
      double factor = matrix[j * kSize + i];
      for (int64_t k = 0; j != i && k < kSize; ++k) {
        matrix[j * kSize + k] -= factor * matrix[i * kSize + k];
        inverse[j * kSize + k] -= factor * inverse[i * kSize + k];
      }
    }
  }
  std::vector<double> weights(layer.weights.begin(), layer.weights.end());
  for (int64_t i : order) {
    std::vector<double> row(inverse.begin() + i * kSize,
                            inverse.begin() + (i + 1) * kSize);
    for (int64_t n = 0; n < layer.rows; ++n) {
      double weight = weights[n * kSize + i], scale = found.scales[n];
      double code =
          std::min(std::max(std::nearbyint(weight / scale), -7.0), 7.0);
      EXPECT_EQ(found.codes[n * kSize + i], code) << n << ", " << i;
      double error = (weight - code * scale) / row[i];
      for (int64_t k = 0; k < kSize; ++k)
        weights[n * kSize + k] -= error * row[k];
    }
    for (int64_t j = 0; j < kSize; ++j) {
      double factor = inverse[j * kSize + i] / row[i];
      for (int64_t k = 0; k < kSize; ++k)
        inverse[j * kSize + k] -= factor * row[k];
    }
  }
}

TEST(GPTQTest, UncorrelatedInputsRoundToNearest) {
  Layer layer(5, 40, 1);
  RoundedWeights nearest = roundToNearest(layer.getMatrix(), {});
  RoundedWeights found =
      roundMinimisingError(layer.getMatrix(), getIdentity(40), {});
  EXPECT_TRUE(found.isErrorMinimised);
  EXPECT_EQ(found.codes, nearest.codes);
}

TEST(GPTQTest, ShrinkageForgetsWhatInputsShare) {
  Layer layer(5, 40);
  RoundingOptions options;
  options.shrinkage = 1;
  RoundedWeights found =
      roundMinimisingError(layer.getMatrix(), layer.getMoments(), options);
  EXPECT_TRUE(found.isErrorMinimised);
  EXPECT_EQ(found.codes, roundToNearest(layer.getMatrix(), {}).codes);
  // Of few rows a part of it helps the outputs of others, whose inputs share
  // less than it seems.
  Layer few(/*rows=*/32, /*columns=*/100, /*numInputs=*/2000);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (float &input : few.inputs)
    input = normal(random);
  Layer seen = few;
  seen.numInputs = 150;
  auto getError = [&](double shrinkage) {
    options.shrinkage = shrinkage;
    return few.getError(
        roundMinimisingError(few.getMatrix(), seen.getMoments(), options));
  };
  EXPECT_LT(getError(100.0 / 250), 0.95 * getError(0));
}

TEST(GPTQTest, DeadChannelRoundsToNearest) {
  Layer layer(6, 24);
  for (int64_t i = 0; i < layer.numInputs; ++i)
    layer.inputs[i * 24 + 7] = 0;
  RoundedWeights nearest = roundToNearest(layer.getMatrix(), {});
  RoundedWeights found =
      roundMinimisingError(layer.getMatrix(), layer.getMoments(), {});
  EXPECT_TRUE(found.isErrorMinimised);
  for (int64_t n = 0; n < 6; ++n)
    EXPECT_EQ(found.codes[n * 24 + 7], nearest.codes[n * 24 + 7]);
  EXPECT_LT(layer.getError(found), layer.getError(nearest));
}

TEST(GPTQTest, MomentsThatSayNothing) {
  Layer layer(2, 3);
  RoundedWeights nearest = roundToNearest(layer.getMatrix(), {});
  double infinity = std::numeric_limits<double>::infinity();
  for (double number : {0.0, infinity, std::nan("")}) {
    RoundedWeights found = roundMinimisingError(
        layer.getMatrix(), std::vector<double>(9, number), {});
    EXPECT_FALSE(found.isErrorMinimised);
    EXPECT_EQ(found.codes, nearest.codes);
  }
}

TEST(GPTQTest, SmallAndEmpty) {
  for (auto [rows, columns] :
       {std::pair(1, 1), {1, 9}, {9, 1}, {0, 4}, {4, 0}}) {
    Layer layer(rows, columns);
    RoundedWeights found =
        roundMinimisingError(layer.getMatrix(), layer.getMoments(), {});
    EXPECT_EQ(found.isErrorMinimised, columns > 0);
    EXPECT_EQ(found.codes.size(), size_t(rows * columns));
    EXPECT_EQ(found.scales.size(), size_t(columns > 0 ? rows : 0));
    if (columns == 1) // Nothing could make up for an error.
      EXPECT_EQ(found.codes, roundToNearest(layer.getMatrix(), {}).codes);
  }
}

TEST(GPTQTest, WeightsThatAreNotFinite) {
  float weights[] = {std::numeric_limits<float>::infinity(), 1.0f,
                     std::nanf(""), 1.0f};
  RoundedWeights found =
      roundMinimisingError({weights, 2, 2}, getIdentity(2), {});
  for (int64_t code : found.codes)
    EXPECT_LE(std::abs(code), 127);
  for (float scale : found.scales)
    EXPECT_TRUE(std::isfinite(scale));
}

TEST(GPTQTest, SearchedScalesHaveLessError) {
  Layer layer(8, 64);
  RoundingOptions options;
  options.bits = 4;
  auto getWeightError = [&](const RoundedWeights &rounded) {
    double sum = 0;
    for (size_t i = 0; i < layer.weights.size(); ++i)
      sum += std::pow(layer.weights[i] -
                          double(rounded.codes[i]) * rounded.scales[i / 64],
                      2);
    return sum;
  };
  double widest = getWeightError(roundToNearest(layer.getMatrix(), options));
  options.searchesScales = true;
  EXPECT_LT(getWeightError(roundToNearest(layer.getMatrix(), options)), widest);
}

TEST(GPTQTest, ScalesOfBlocksFitWhatErrorsLeft) {
  // Rounding of the columns before moves the weights of a block: no weight of a
  // block saturates if its scale is chosen then.
  Layer layer(16, 64);
  RoundingOptions options;
  options.bits = 4;
  options.block = 32;
  RoundedWeights rounded =
      roundMinimisingError(layer.getMatrix(), layer.getMoments(), options);
  RoundedWeights nearest = roundToNearest(layer.getMatrix(), options);
  ASSERT_TRUE(rounded.isErrorMinimised);
  for (size_t row = 0; row < 16; ++row) {
    EXPECT_EQ(rounded.scales[2 * row], nearest.scales[2 * row]);
    EXPECT_NE(rounded.scales[2 * row + 1], nearest.scales[2 * row + 1]);
  }
}

TEST(GPTQTest, AnyNumberOfThreads) {
  Layer layer(200, 140);
  RoundingOptions options;
  RoundedWeights one =
      roundMinimisingError(layer.getMatrix(), layer.getMoments(), options);
  options.numThreads = 3;
  EXPECT_EQ(roundMinimisingError(layer.getMatrix(), layer.getMoments(), options)
                .codes,
            one.codes);
}

/// Without `shortSums`, the weights of some rows exceed them.
TEST(GPTQ, ShortSums) {
  Layer layer(48, 70);
  std::vector<int64_t> segments = {45, 25};
  RoundingOptions free, options;
  options.shortSums = getShortSums(segments);
  for (bool isErrorMinimised : {false, true}) {
    auto round = [&](const RoundingOptions &options) {
      return isErrorMinimised
                 ? roundMinimisingError(layer.getMatrix(), layer.getMoments(),
                                        options)
                 : roundToNearest(layer.getMatrix(), options);
    };
    auto fits = [&](const RoundedWeights &rounded) {
      std::vector<int64_t> codes(rounded.codes.begin(), rounded.codes.end());
      return fitShortSums(codes, layer.columns, segments);
    };
    RoundedWeights unlimited = round(free), limited = round(options);
    EXPECT_FALSE(fits(unlimited));
    EXPECT_TRUE(fits(limited));
    // Weights of 7 bits, which do not fit either, have four times the error.
    EXPECT_LT(layer.getError(limited), 4 * layer.getError(unlimited));
  }
}

/// The scale of the largest weight would cut one of two off.
TEST(GPTQ, ShortSumsChooseScales) {
  std::vector<float> weights = {1, 1, 0.1f, 0.2f, 0, -1, 0.3f, 0.1f};
  RoundingOptions options;
  options.shortSums = getShortSums({8});
  RoundedWeights rounded = roundToNearest({weights, 1, 8}, options);
  float scale = rounded.scales[0];
  EXPECT_GT(scale, 1.9f / 127);
  for (auto [code, weight] : llvm::zip_equal(rounded.codes, weights))
    EXPECT_NEAR(code * scale, weight, 0.51f * scale);
}

} // namespace
