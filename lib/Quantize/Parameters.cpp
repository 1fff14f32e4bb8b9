//===- Parameters.cpp - Quantization parameters from ranges ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Quantize/Parameters.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <limits>
#include <numeric>

using namespace qtx;
using llvm::ArrayRef;
using llvm::SmallVector;

/// A range that holds zero, and whose width is a number above zero.
static Range widen(Range range) {
  constexpr float kLargest = std::numeric_limits<float>::max() / 2;
  return {std::max(std::min(range.lo, 0.0f), -kLargest),
          std::min(std::max(range.hi, 1e-8f), kLargest)};
}

AffineParameters qtx::chooseParameters(Range range, bool isSymmetric,
                                       unsigned bits) {
  auto [lo, hi] = widen(range);
  auto [qmin, qmax] = getIntegerRange(bits, /*isSigned=*/true);
  if (isSymmetric)
    return {std::max(-lo, hi) / float(qmax), 0};
  float scale = (hi - lo) / float(qmax - qmin);
  float zeroPoint = std::nearbyint(-lo * (1.0f / scale)) + float(qmin);
  return {scale, std::clamp(int64_t(zeroPoint), qmin, qmax)};
}

AffineParameters qtx::chooseZeroPoint(Range range, bool isSymmetric,
                                      float scale) {
  if (isSymmetric)
    return {scale, 0};
  auto [qmin, qmax] = getIntegerRange(/*width=*/8, /*isSigned=*/true);
  auto [lo, hi] = widen(range);
  float middle = lo / 2 + hi / 2;
  float zeroPoint =
      std::nearbyint(float(qmin + qmax) / 2 - middle * (1.0f / scale));
  return {scale, std::clamp(int64_t(zeroPoint), qmin, qmax)};
}

void qtx::alignScales(llvm::MutableArrayRef<AffineParameters> parameters,
                      ArrayRef<int64_t> counts) {
  bool isFirstFine = parameters[0].scale <= parameters[1].scale;
  float &fine = parameters[isFirstFine ? 0 : 1].scale;
  float &coarse = parameters[isFirstFine ? 1 : 0].scale;
  double ofFine = double(counts[isFirstFine ? 0 : 1]) * fine * fine;
  double ofCoarse = double(counts[isFirstFine ? 1 : 0]) * coarse * coarse;
  float ratio = coarse / fine, less = std::floor(ratio), more = less + 1;
  // Sums so far apart have no room in one integer.
  constexpr float kMaxRatio = 1 << 16;
  if (!(ratio < kMaxRatio))
    return;
  if (ratio == less)
    more = less;
  // The errors of a group grow with the square of its scale.
  double withFine = ofFine * std::pow(ratio / less, 2) + ofCoarse;
  double withCoarse = ofFine + ofCoarse * std::pow(more / ratio, 2);
  bool growsFine = withFine < withCoarse;
  // Beyond it the worst results suffer: docs/Recipes.md has figures.
  constexpr double kMaxGrowth = 1.02;
  if (std::min(withFine, withCoarse) > kMaxGrowth * (ofFine + ofCoarse))
    return;
  if (growsFine)
    fine = coarse / less;
  coarse = (growsFine ? less : more) * fine;
}

Range qtx::joinRanges(const ChannelRanges &ranges, ArrayRef<int64_t> channels) {
  Range joined{std::numeric_limits<float>::infinity(),
               -std::numeric_limits<float>::infinity()};
  for (int64_t channel : channels) {
    joined.lo = std::min(joined.lo, ranges.lo[channel]);
    joined.hi = std::max(joined.hi, ranges.hi[channel]);
  }
  return joined;
}

std::vector<float> qtx::getSpans(const ChannelRanges &ranges) {
  std::vector<float> spans;
  // A channel that never counted has an empty range.
  for (auto [lo, hi] : llvm::zip_equal(ranges.lo, ranges.hi))
    spans.push_back(std::max(hi - lo, 0.0f));
  return spans;
}

float qtx::getMedian(std::vector<float> numbers) {
  if (numbers.empty())
    return 0;
  auto middle = numbers.begin() + (numbers.size() - 1) / 2;
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

SmallVector<int64_t> qtx::sortBySpan(ArrayRef<float> spans) {
  SmallVector<int64_t> order(spans.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::stable_sort(order,
                    [&](int64_t a, int64_t b) { return spans[a] < spans[b]; });
  return order;
}

/// What conversion, multiplication and addition of a sum take, in steps.
static constexpr int64_t kRescaleSteps = 4;

int64_t qtx::estimateSteps(ArrayRef<int64_t> sizes) {
  int64_t steps = kRescaleSteps * (int64_t(sizes.size()) - 1);
  for (int64_t size : sizes)
    steps += llvm::divideCeil(size, kStepSize);
  return steps;
}

SmallVector<int64_t> qtx::cutUnequally(ArrayRef<float> spans, int64_t numGroups,
                                       int64_t alignment) {
  int64_t size = spans.size();
  int64_t numSteps = (size + alignment - 1) / alignment;
  auto getEnd = [&](int64_t step) { return std::min(step * alignment, size); };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  // costs[k][i]: the least of `k` groups over the first `i` steps.
  std::vector costs(numGroups + 1, std::vector(numSteps + 1, kInfinity));
  std::vector starts(numGroups + 1, std::vector<int64_t>(numSteps + 1, 0));
  costs[0][0] = 0;
  for (int64_t k = 1; k <= numGroups; ++k)
    for (int64_t end = 1; end <= numSteps; ++end) {
      double span = 0;
      for (int64_t start = end; start-- > 0;) {
        for (float inStep :
             spans.slice(getEnd(start), getEnd(start + 1) - getEnd(start)))
          span = std::max<double>(span, inStep);
        double cost = costs[k - 1][start] +
                      double(getEnd(end) - getEnd(start)) * span * span;
        if (cost < costs[k][end]) {
          costs[k][end] = cost;
          starts[k][end] = start;
        }
      }
    }
  int64_t best = 0;
  for (int64_t k = 1; k <= numGroups; ++k)
    if (costs[k][numSteps] < costs[best][numSteps])
      best = k;
  SmallVector<int64_t> sizes;
  for (int64_t end = numSteps; best > 0; --best) {
    int64_t start = starts[best][end];
    sizes.push_back(getEnd(end) - getEnd(start));
    end = start;
  }
  std::reverse(sizes.begin(), sizes.end());
  return sizes;
}

ChannelGroups qtx::makeOneGroup(int64_t numChannels) {
  ChannelGroups groups;
  groups.order = llvm::to_vector(llvm::seq<int64_t>(numChannels));
  groups.sizes = {numChannels};
  return groups;
}

bool ChannelGroups::isIdentity() const { return llvm::is_sorted(order); }

/// The product of error and time if the last `count` of ascending spans form a
/// group.
static double getOutlierCost(ArrayRef<float> sorted, int64_t count) {
  int64_t rest = sorted.size() - count;
  double error = count * double(sorted.back()) * sorted.back();
  if (rest > 0)
    error += rest * double(sorted[rest - 1]) * sorted[rest - 1];
  return error * double(estimateSteps({rest, count}));
}

/// `count`, or so many that they fill whole steps.
static int64_t fillSteps(ArrayRef<float> spans, ArrayRef<int64_t> order,
                         int64_t count) {
  int64_t filled = llvm::alignTo(count, kStepSize);
  if (count == 0 || filled >= int64_t(order.size()))
    return count;
  auto sorted = llvm::map_to_vector(order, [&](int64_t c) { return spans[c]; });
  return getOutlierCost(sorted, filled) < getOutlierCost(sorted, count) ? filled
                                                                        : count;
}

ChannelGroups qtx::separateOutliers(ArrayRef<float> spans, float factor) {
  float limit = factor * getMedian({spans.begin(), spans.end()});
  SmallVector<int64_t> order = sortBySpan(spans);
  int64_t count = fillSteps(
      spans, order, llvm::count_if(spans, [&](float s) { return s > limit; }));
  ChannelGroups groups;
  SmallVector<int64_t> outliers(ArrayRef(order).take_back(count));
  llvm::sort(outliers);
  for (int64_t channel : llvm::seq<int64_t>(spans.size()))
    if (!llvm::is_contained(outliers, channel))
      groups.order.push_back(channel);
  for (int64_t size : {groups.order.size(), outliers.size()})
    if (size > 0)
      groups.sizes.push_back(size);
  llvm::append_range(groups.order, outliers);
  return groups;
}

//===----------------------------------------------------------------------===//
// Scaling
//===----------------------------------------------------------------------===//

ChannelScaling qtx::boundScales(const ChannelRanges &ranges, float exponent,
                                float smallest) {
  std::vector<float> spans = getSpans(ranges);
  float median = getMedian(spans);
  ChannelScaling scaling;
  for (auto [channel, span] : llvm::enumerate(spans)) {
    float ratio = median > 0 ? span / median : 1;
    scaling.scale.push_back(std::max(std::pow(ratio, exponent), smallest));
    // Halves first: the sum of two large numbers may overflow.
    float middle = ranges.lo[channel] / 2 + ranges.hi[channel] / 2;
    scaling.shift.push_back(std::isfinite(middle) ? middle : 0);
  }
  return scaling;
}

ChannelRanges qtx::applyScaling(const ChannelRanges &ranges,
                                const ChannelScaling &scaling) {
  ChannelRanges scaled = ranges;
  for (size_t c = 0; c < ranges.getNumChannels(); ++c) {
    scaled.lo[c] = (ranges.lo[c] - scaling.shift[c]) / scaling.scale[c];
    scaled.hi[c] = (ranges.hi[c] - scaling.shift[c]) / scaling.scale[c];
  }
  return scaled;
}
