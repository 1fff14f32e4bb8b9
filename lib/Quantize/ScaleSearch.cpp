//===- ScaleSearch.cpp - Scales of channels by output error ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// With the step `t` of each channel, of variance `v` and column `w`, rounding
// of inputs costs `t^2 |w|^2 / 12`. Weights are stored as `w t`, and what their
// rounding costs is the sum of the squared steps of rows, each the largest `w
// t` of the row, times the sum of `v / t^2`. At the least error both balance
// for each channel: a step moves by a small power of the ratio until it stays.
//
//===----------------------------------------------------------------------===//

#include "qtx/Quantize/ScaleSearch.h"
#include "qtx/Quantize/Parameters.h"
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

using namespace qtx;
using llvm::ArrayRef;

using Numbers = Eigen::ArrayXf;
using Wide = Eigen::ArrayXd;

/// Codes of inputs reach as far to both sides.
static constexpr float kLargestCode = 127;
/// Channels that hardly move keep this share of the median radius, and no step
/// is larger than this multiple of the smallest one that the channel may have.
static constexpr float kSmallestRadius = 1.0f / 1024;
static constexpr float kLargestStretch = 64;
static constexpr int kNumRounds = 60;
/// Of the ratio of both costs, which go with the square and the inverse square.
static constexpr double kPower = 0.125;

namespace {
/// The columns that share scales of weights.
struct Block {
  int64_t begin, size;
  /// The variances over the squared steps, summed up.
  double inputs = 0;
  /// The squared largest weights of the rows, summed up.
  double rows = 0;
};
} // namespace

static std::vector<Block> makeBlocks(const ScaleSearch &search) {
  int64_t columns = search.weights.columns;
  int64_t size = search.block == 0 ? columns : search.block;
  std::vector<Block> blocks;
  for (int64_t begin = 0; begin < columns; begin += size)
    blocks.push_back({begin, std::min(size, columns - begin)});
  return blocks;
}

/// The squared error of rounding weights by the step 1 to this many bits.
static double getWeightCost(const ScaleSearch &search) {
  double largest = double((int64_t(1) << (search.weightBits - 1)) - 1);
  return search.weightShare / (12 * largest * largest);
}

static Eigen::Map<const Numbers> getRow(const ScaleSearch &search, int64_t row,
                                        const Block &block) {
  return {search.weights.numbers.data() + row * search.weights.columns +
              block.begin,
          block.size};
}

static Wide getSquaredNorms(const WeightMatrix &weights) {
  Wide norms = Wide::Zero(weights.columns);
  for (int64_t row = 0; row < weights.rows; ++row)
    norms +=
        Eigen::Map<const Numbers>(
            weights.numbers.data() + row * weights.columns, weights.columns)
            .cast<double>()
            .square();
  return norms;
}

static double sumInputs(const ScaleSearch &search, const Block &block,
                        const Numbers &steps) {
  Eigen::Map<const Wide> variances(search.variances.data() + block.begin,
                                   block.size);
  return (variances /
          steps.segment(block.begin, block.size).cast<double>().square())
      .sum();
}

double ScaleSearch::getError(ArrayRef<float> stepsOfChannels) const {
  Numbers steps =
      Eigen::Map<const Numbers>(stepsOfChannels.data(), stepsOfChannels.size());
  double error =
      (getSquaredNorms(weights) * steps.cast<double>().square()).sum() / 12;
  for (const Block &block : makeBlocks(*this)) {
    double rows = 0;
    for (int64_t row = 0; row < weights.rows; ++row) {
      double largest = (getRow(*this, row, block).abs() *
                        steps.segment(block.begin, block.size))
                           .maxCoeff();
      rows += largest * largest;
    }
    error += getWeightCost(*this) * rows * sumInputs(*this, block, steps);
  }
  return error;
}

/// Adds how much of the squared largest weight of each row each channel causes:
/// a channel at the largest weight alone all, equals the same share.
static void addShares(const ScaleSearch &search, Block &block,
                      const Numbers &steps, Wide &shares) {
  block.rows = 0;
  for (int64_t row = 0; row < search.weights.rows; ++row) {
    Numbers stored = getRow(search, row, block).abs() *
                     steps.segment(block.begin, block.size);
    float largest = stored.maxCoeff();
    if (!(largest > 0) || !std::isfinite(largest))
      continue;
    // The 16th power: a soft maximum, under which ties move together.
    stored = (stored / largest).square().square().square().square();
    double squared = double(largest) * largest;
    block.rows += squared;
    shares.segment(block.begin, block.size) +=
        stored.cast<double>() * (squared / double(stored.sum()));
  }
}

std::vector<float> ScaleSearch::run() const {
  int64_t size = radii.size();
  Numbers smallest = Eigen::Map<const Numbers>(radii.data(), size);
  float median = getMedian({radii.begin(), radii.end()});
  if (!(median > 0) || !std::isfinite(median) || !smallest.allFinite())
    return {};
  smallest = smallest.max(median * kSmallestRadius) / kLargestCode;
  Numbers steps = smallest;
  Wide norms = getSquaredNorms(weights);
  std::vector<Block> blocks = makeBlocks(*this);
  double cost = getWeightCost(*this) * 12;
  for (int round = 0; round < kNumRounds; ++round) {
    Wide shares = Wide::Zero(size);
    Wide squares = steps.cast<double>().square();
    Wide gains(size), costs(size);
    for (Block &block : blocks) {
      addShares(*this, block, steps, shares);
      auto part = [&](auto &all) {
        return all.segment(block.begin, block.size);
      };
      Eigen::Map<const Wide> all(variances.data(), size);
      block.inputs = sumInputs(*this, block, steps);
      part(gains) = part(all) / part(squares) * (cost * block.rows);
      part(costs) =
          part(norms) * part(squares) + part(shares) * (cost * block.inputs);
    }
    // A channel that nothing reads stays.
    Wide ratios = (costs > 0).select(gains / costs, 1.0);
    Wide factors = ratios.max(1e-4).min(1e4).pow(kPower);
    steps = (steps * factors.cast<float>())
                .max(smallest)
                .min(smallest * kLargestStretch);
  }
  return {steps.begin(), steps.end()};
}
