//===- SearchScales.cpp - Scales of edges by output error -----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Streams data through the float model for the variances of edges, and scales
// channels so that the linears that read them lose least.
//
//===----------------------------------------------------------------------===//

#include "LinearNumbers.h"
#include "Quantizer.h"
#include "qtx/Analysis/Calibrate.h"
#include "qtx/Quantize/ScaleSearch.h"

using namespace mlir;
using namespace qtx;

/// What error minimising rounding leaves of the error of nearest weights.
static constexpr double kErrorMinimisedShare = 0.3;
/// What a channel of the median span may exceed its range by.
static constexpr float kRoom = 1.25f;

namespace {
/// First and second moments of the rows that count, around a number for each
/// channel.
class Variances {
public:
  explicit Variances(std::vector<float> centres)
      : centres(std::move(centres)), sums(this->centres.size()),
        squares(this->centres.size()) {}

  void update(const StreamedValue &value) {
    for (int64_t row = 0, e = value.getNumRows(); row < e; ++row) {
      if (!value.isValid(row))
        continue;
      ++numRows;
      for (auto [channel, number] : llvm::enumerate(value.getRow(row))) {
        double distance = double(number) - centres[channel];
        sums[channel] += distance;
        squares[channel] += distance * distance;
      }
    }
  }

  std::vector<double> get() const {
    std::vector<double> variances;
    double count = std::max<double>(numRows, 1);
    for (auto [sum, square] : llvm::zip_equal(sums, squares)) {
      double mean = sum / count;
      variances.push_back(std::max(square / count - mean * mean, 0.0));
    }
    return variances;
  }

private:
  std::vector<float> centres;
  std::vector<double> sums, squares;
  int64_t numRows = 0;
};
} // namespace

static std::vector<float> getMiddles(const ChannelRanges &ranges) {
  std::vector<float> middles;
  for (auto [lo, hi] : llvm::zip_equal(ranges.lo, ranges.hi))
    middles.push_back(lo / 2 + hi / 2);
  return middles;
}

LogicalResult Quantizer::observeVariances() {
  if (!options.data)
    return success();
  StreamedFunction streamed{function, {}};
  std::vector<Variances> variances;
  SmallVector<Edge *> searched;
  for (Edge &edge : edges) {
    auto ranges = getObserved(edge.value);
    if (!edge.recipe.isQuantized || !edge.recipe.isScaled ||
        !edge.recipe.isSearched || !edge.feedsLinearsOnly || !ranges)
      continue;
    streamed.values.push_back(edge.value);
    variances.emplace_back(getMiddles(*ranges));
    searched.push_back(&edge);
  }
  if (searched.empty())
    return success();
  StreamOptions stream = options.stream;
  stream.jit.fast &= options.data->isConsistent();
  llvm::Error error =
      qtx::stream(streamed, *options.data, stream,
                  [&](const LaneFeed &lane) -> llvm::Error {
                    variances[lane.lane].update(lane.values.front());
                    return llvm::Error::success();
                  });
  if (error)
    return function.emitError() << llvm::toString(std::move(error));
  for (auto [edge, known] : llvm::zip_equal(searched, variances))
    edge->variances = known.get();
  return success();
}

/// Half the span of each channel, and room beyond it for narrow channels: they
/// cost little, and what data holds of silent channels says little about them.
static std::vector<float> getRadii(const ChannelRanges &ranges,
                                   const ChannelScaling &bounded) {
  std::vector<float> spans = getSpans(ranges);
  float median = getMedian(spans) / 2;
  std::vector<float> radii;
  for (auto [span, scale] : llvm::zip_equal(spans, bounded.scale))
    radii.push_back(std::max(span / 2, kRoom * median * scale));
  return radii;
}

/// The recipe of the reader whose weights are coarsest.
static WeightRecipe getCoarsest(const Recipe &recipe, const Edge &edge) {
  std::optional<WeightRecipe> coarsest;
  for (OpOperand *use : edge.uses) {
    auto linear = cast<LinearOp>(use->getOwner());
    WeightRecipe weight = recipe.getWeight(getEdgeName(linear.getY()));
    if (!coarsest || weight.bits < coarsest->bits)
      coarsest = weight;
  }
  return *coarsest;
}

std::optional<ChannelScaling>
Quantizer::searchScaling(const Edge &edge, ChannelRanges &ranges) const {
  if (edge.variances.empty() || edge.groups.sizes.size() > 1)
    return std::nullopt;
  std::vector<float> weights;
  for (OpOperand *use : edge.uses)
    llvm::append_range(weights,
                       LinearNumbers(cast<LinearOp>(use->getOwner())).weights);
  ChannelScaling scaling = boundScales(ranges, kScaleExponent, kSmallestScale);
  std::vector<float> radii = getRadii(ranges, scaling);
  for (auto [c, radius] : llvm::enumerate(radii)) {
    ranges.lo[c] = scaling.shift[c] - radius;
    ranges.hi[c] = scaling.shift[c] + radius;
  }
  int64_t columns = radii.size();
  WeightRecipe weight = getCoarsest(recipe, edge);
  ScaleSearch search{
      radii, edge.variances,
      WeightMatrix{weights, int64_t(weights.size()) / columns, columns}};
  search.block = weight.block;
  search.weightBits = weight.bits;
  search.weightShare = weight.isErrorMinimised ? kErrorMinimisedShare : 1;
  scaling.scale = search.run();
  if (scaling.scale.empty())
    return std::nullopt;
  // In units of the median, so that scales are near one.
  float unit = getMedian(scaling.scale);
  for (float &scale : scaling.scale)
    scale /= unit;
  return scaling;
}
