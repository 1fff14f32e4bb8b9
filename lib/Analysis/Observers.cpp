//===- Observers.cpp - Ranges of channels from data -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Observers.h"
#include "llvm/ADT/STLExtras.h"
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

using namespace llvm;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

static Error makeObserverError(StringRef expected, StringRef found) {
  return createStringError("expected " + expected + ", found '" + found + "'");
}

/// Reads the parameter of an observer, unless it is left out.
static Error parseParameter(StringRef text, double &value, double smallest,
                            double largest, StringRef expected) {
  if (text.empty() ||
      (!text.getAsDouble(value) && value >= smallest && value <= largest))
    return Error::success();
  return makeObserverError(expected, text);
}

static constexpr std::pair<ObserverKind, StringLiteral> kNames[] = {
    {ObserverKind::MinMax, "min_max"},
    {ObserverKind::Running, "running"},
    {ObserverKind::Percentile, "percentile"},
    {ObserverKind::Mse, "mse"},
    {ObserverKind::Extrapolated, "extrapolated"}};

StringRef qtx::getObserverName(ObserverKind kind) {
  return find_if(kNames, [&](const auto &entry) { return entry.first == kind; })
      ->second;
}

Expected<ObserverOptions> qtx::parseObserver(StringRef text) {
  auto [name, parameter] = text.split(':');
  const auto *entry = find_if(
      kNames, [&, &name = name](const auto &e) { return e.second == name; });
  bool takesParameter = name != getObserverName(ObserverKind::MinMax);
  if (entry == std::end(kNames) || (!takesParameter && name != text))
    return makeObserverError("an observer (min_max, running[:MOMENTUM], "
                             "percentile[:PERCENT], mse[:BITS], "
                             "extrapolated[:SAMPLES])",
                             text);
  ObserverOptions options;
  options.kind = entry->first;
  double momentum = options.momentum, bits = options.bits;
  Error error = Error::success();
  if (options.kind == ObserverKind::Running)
    error = parseParameter(parameter, momentum, 0, 0.9999,
                           "a momentum from 0 to 0.9999");
  else if (options.kind == ObserverKind::Percentile)
    error = parseParameter(parameter, options.percentile, 50.1, 100,
                           "a percentile from 50.1 to 100");
  else if (options.kind == ObserverKind::Mse)
    error = parseParameter(parameter, bits, 2, 16, "2 to 16 bits");
  else if (options.kind == ObserverKind::Extrapolated)
    error =
        parseParameter(parameter, options.samples, 1, 1e9, "1 to 1e9 samples");
  if (error)
    return error;
  options.momentum = momentum;
  options.bits = bits;
  return options;
}

/// Calls `body` with each row that counts.
template <typename BodyFn>
static void forEachRow(const StreamedValue &value, BodyFn body) {
  for (int64_t row = 0, e = value.getNumRows(); row < e; ++row)
    if (value.isValid(row))
      body(value.getRow(row));
}

//===----------------------------------------------------------------------===//
// Smallest and largest values
//===----------------------------------------------------------------------===//

std::optional<NonFinite> qtx::findNonFinite(const StreamedValue &value) {
  for (int64_t row = 0, e = value.getNumRows(); row < e; ++row)
    if (value.isValid(row))
      for (auto [channel, number] : enumerate(value.getRow(row)))
        if (!std::isfinite(number))
          return NonFinite{row, int64_t(channel), number};
  return std::nullopt;
}

/// The row of the batch that a row of `value` belongs to.
static int64_t getSample(const StreamedValue &value, int64_t row) {
  int64_t batch = value.shape.front();
  return batch == 0 ? 0
                    : row / std::max<int64_t>(value.getNumRows() / batch, 1);
}

std::string qtx::describeNonFinite(const NonFinite &element,
                                   const StreamedValue &value,
                                   const Feed &feed) {
  return (Twine(std::isnan(element.value) ? "NaN" : "infinity") +
          " in channel " + Twine(element.channel) + " in " +
          feed.describe(getSample(value, element.row)))
      .str();
}

static ChannelRanges makeEmptyRanges(int64_t numChannels) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {std::vector<float>(numChannels, kInfinity),
          std::vector<float>(numChannels, -kInfinity)};
}

/// Widens the ranges by a row; whether all of its elements are finite.
static bool widen(float *lo, float *hi, ArrayRef<float> row) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  bool isFinite = true;
  for (size_t i = 0, e = row.size(); i < e; ++i) {
    float number = row[i];
    lo[i] = number < lo[i] ? number : lo[i];
    hi[i] = number > hi[i] ? number : hi[i];
    isFinite &= std::fabs(number) <= kLargest;
  }
  return isFinite;
}

std::optional<NonFinite> RangeObserver::update(const StreamedValue &value) {
  ChannelRanges feed = makeEmptyRanges(value.getNumChannels());
  bool isFinite = true;
  int64_t feedRows = 0;
  forEachRow(value, [&](ArrayRef<float> row) {
    isFinite &= widen(feed.lo.data(), feed.hi.data(), row);
    ++feedRows;
  });
  if (!isFinite)
    return findNonFinite(value);
  if (feedRows > 0)
    merge(feed);
  else if (ranges.lo.empty())
    ranges = feed;
  numRows += feedRows;
  return std::nullopt;
}

void RangeObserver::merge(const ChannelRanges &feed) {
  if (numRows == 0) {
    ranges = feed;
    return;
  }
  for (size_t i = 0, e = ranges.getNumChannels(); i < e; ++i) {
    if (momentum) {
      float rest = 1.0f - *momentum;
      ranges.lo[i] = std::fma(*momentum, ranges.lo[i], rest * feed.lo[i]);
      ranges.hi[i] = std::fma(*momentum, ranges.hi[i], rest * feed.hi[i]);
    } else {
      ranges.lo[i] = std::min(ranges.lo[i], feed.lo[i]);
      ranges.hi[i] = std::max(ranges.hi[i], feed.hi[i]);
    }
  }
}

//===----------------------------------------------------------------------===//
// Quantiles from the ends
//===----------------------------------------------------------------------===//

/// Values that lie above the quantile, with a fraction.
static double getRank(int64_t numRows, double percentile) {
  return std::max<double>(numRows - 1, 0) * (1 - percentile / 100);
}

int64_t TailObserver::getTailSize(int64_t numRows, double percentile) {
  // The two values between which the quantile lies, and all beyond.
  return std::min<int64_t>(int64_t(getRank(numRows, percentile)) + 2,
                           std::max<int64_t>(numRows, 1));
}

TailObserver::TailObserver(int64_t numChannels, int64_t numRows,
                           double percentile)
    : rank(getRank(numRows, percentile)),
      tailSize(getTailSize(numRows, percentile)),
      upper(numChannels * tailSize, -std::numeric_limits<float>::infinity()),
      lower(upper) {}

/// Replaces the smallest number of an ascending list if `number` is larger.
static void insert(MutableArrayRef<float> tail, float number) {
  if (!(number > tail.front()))
    return;
  size_t at = 0;
  for (; at + 1 < tail.size() && tail[at + 1] < number; ++at)
    tail[at] = tail[at + 1];
  tail[at] = number;
}

void TailObserver::update(const StreamedValue &value) {
  forEachRow(value, [&](ArrayRef<float> row) {
    for (auto [channel, number] : enumerate(row)) {
      insert(MutableArrayRef(upper).slice(channel * tailSize, tailSize),
             number);
      insert(MutableArrayRef(lower).slice(channel * tailSize, tailSize),
             -number);
    }
  });
}

/// The number `rank` places below the last one of an ascending list.
static float interpolate(ArrayRef<float> tail, double rank) {
  size_t below = size_t(rank);
  double fraction = rank - double(below);
  double larger = tail[tail.size() - 1 - below];
  if (fraction == 0 || below + 1 >= tail.size())
    return larger;
  return larger + fraction * (double(tail[tail.size() - 2 - below]) - larger);
}

ChannelRanges TailObserver::getRanges() const {
  ChannelRanges ranges;
  for (size_t at = 0; at < upper.size(); at += tailSize) {
    ranges.hi.push_back(interpolate(ArrayRef(upper).slice(at, tailSize), rank));
    ranges.lo.push_back(
        -interpolate(ArrayRef(lower).slice(at, tailSize), rank));
  }
  return ranges;
}

//===----------------------------------------------------------------------===//
// Beyond what was observed
//===----------------------------------------------------------------------===//

static constexpr int64_t kTailSize = ExtremeObserver::kNumExcesses + 1;

void ExtremeObserver::add(ArrayRef<float> largest, std::vector<float> &tails) {
  tails.resize(largest.size() * kTailSize,
               -std::numeric_limits<float>::infinity());
  for (auto [channel, number] : enumerate(largest))
    insert(MutableArrayRef(tails).slice(channel * kTailSize, kTailSize),
           number);
}

/// How far the largest channel of a row may come closer to the mean of the
/// others, which is `distance` away, without much change of the normalised row.
/// `squares` is the sum of the squared distances of the others.
static double boundDistance(double distance, double squares, double size) {
  // The distance `t` of one channel adds t^2 (size - 1) / size to the squares.
  double share = (size - 1) / size;
  double least = ExtremeObserver::kDominance * squares;
  double all = distance * distance * share + squares;
  // One over the standard deviation scales the others.
  double scaled = std::sqrt(squares / all) + ExtremeObserver::kNormalisedError;
  double wanted = squares / (scaled * scaled) - squares;
  return std::min(distance, std::sqrt(std::max(wanted, least) / share));
}

/// The row as its normalisation needs it.
static std::vector<float> boundDominant(ArrayRef<float> row) {
  std::vector<float> bounded(row);
  double size = row.size();
  double sum = std::accumulate(row.begin(), row.end(), 0.0);
  auto getDistance = [&](float x) { return std::fabs(x * size - sum); };
  auto farthest = max_element(bounded, [&](float a, float b) {
    return getDistance(a) < getDistance(b);
  });
  double middle = (sum - *farthest) / (size - 1), squares = 0;
  for (auto it = bounded.begin(); it != bounded.end(); ++it)
    if (it != farthest)
      squares += (*it - middle) * (*it - middle);
  if (!(squares > 0))
    return bounded;
  double offset = *farthest - middle;
  double distance = boundDistance(std::fabs(offset), squares, size);
  *farthest = float(middle + std::copysign(distance, offset));
  return bounded;
}

void ExtremeObserver::update(const StreamedValue &value) {
  int64_t samples = value.shape.empty() ? 1 : value.shape.front();
  int64_t rows = samples == 0 ? 0 : value.getNumRows() / samples;
  for (int64_t sample = 0; sample < samples; ++sample) {
    ChannelRanges ranges = makeEmptyRanges(value.getNumChannels());
    bool counts = false;
    for (int64_t row = sample * rows; row < (sample + 1) * rows; ++row) {
      if (!value.isValid(row))
        continue;
      ArrayRef<float> numbers = value.getRow(row);
      if (isNormalised)
        widen(ranges.lo.data(), ranges.hi.data(), boundDominant(numbers));
      else
        widen(ranges.lo.data(), ranges.hi.data(), numbers);
      counts = true;
    }
    if (!counts)
      continue;
    ++numSamples;
    add(ranges.hi, upper);
    for (float &number : ranges.lo)
      number = -number;
    add(ranges.lo, lower);
  }
}

/// The largest number of an ascending list and `factor` times the scale of its
/// last `count + 1` numbers: the mean excess over the first of them.
static float extrapolate(ArrayRef<float> tail, int64_t count, double factor) {
  ArrayRef<float> outermost = tail.take_back(count + 1);
  double excess = 0;
  for (float number : outermost.drop_front())
    excess += double(number) - double(outermost.front());
  return float(double(tail.back()) +
               (count > 0 ? factor * excess / double(count) : 0));
}

ChannelRanges ExtremeObserver::getRanges(double samples) const {
  constexpr float kLargest = std::numeric_limits<float>::max();
  double ratio = samples / std::max<double>(numSamples, 1);
  double factor = std::log(std::clamp(ratio, 1.0, kMaxRatio));
  int64_t count = std::clamp<int64_t>(numSamples - 1, 0, kNumExcesses);
  ChannelRanges ranges;
  for (size_t at = 0; at < upper.size(); at += kTailSize) {
    auto extend = [&](const std::vector<float> &tails) {
      return std::min(
          extrapolate(ArrayRef(tails).slice(at, kTailSize), count, factor),
          kLargest);
    };
    ranges.lo.push_back(-extend(lower));
    ranges.hi.push_back(extend(upper));
  }
  return ranges;
}

//===----------------------------------------------------------------------===//
// Histograms
//===----------------------------------------------------------------------===//

HistogramObserver::HistogramObserver(ChannelRanges channelBounds)
    : bounds(std::move(channelBounds)),
      counts(bounds.getNumChannels() * kNumBins) {
  for (auto [lo, hi] : zip_equal(bounds.lo, bounds.hi)) {
    float width = hi - lo;
    // A channel of one value has one bin; so has one too wide for fp32.
    bool hasBins =
        width > 0 && std::isfinite(kNumBins / width) && std::isfinite(width);
    binsPerUnit.push_back(hasBins ? kNumBins / width : 0.0f);
  }
}

void HistogramObserver::update(const StreamedValue &value) {
  // Apart from the counting, the loop over channels runs on vectors.
  std::vector<int32_t> bins(bounds.getNumChannels());
  forEachRow(value, [&](ArrayRef<float> row) {
    for (size_t i = 0, e = row.size(); i < e; ++i) {
      float bin = (row[i] - bounds.lo[i]) * binsPerUnit[i];
      bins[i] = int32_t(std::min(std::max(bin, 0.0f), float(kNumBins - 1)));
    }
    for (auto [channel, bin] : enumerate(bins))
      ++counts[channel * kNumBins + bin];
  });
}

double HistogramObserver::getEdge(int64_t channel, double bin) const {
  double lo = bounds.lo[channel], hi = bounds.hi[channel];
  return lo + (hi - lo) * (bin / kNumBins);
}

/// The value below which a share of the values lies.
float HistogramObserver::getQuantile(int64_t channel, double share) const {
  ArrayRef<uint32_t> bins = getBins(channel);
  double total = std::accumulate(bins.begin(), bins.end(), uint64_t(0));
  double wanted = share * total, seen = 0;
  for (auto [bin, count] : enumerate(bins)) {
    if (count > 0 && seen + count >= wanted)
      return getEdge(channel, bin + std::max(wanted - seen, 0.0) / count);
    seen += count;
  }
  return bounds.hi[channel];
}

ChannelRanges HistogramObserver::getQuantiles(double percentile) const {
  ChannelRanges ranges = bounds;
  for (size_t i = 0, e = bounds.getNumChannels(); i < e; ++i) {
    if (binsPerUnit[i] == 0)
      continue;
    ranges.lo[i] = getQuantile(i, 1 - percentile / 100);
    ranges.hi[i] = getQuantile(i, percentile / 100);
  }
  return ranges;
}

namespace {
/// The squared error of the quantization of one channel, as a function of the
/// bins at which its range ends.
class ErrorOfRange {
public:
  static constexpr int64_t kNumEdges = HistogramObserver::kNumBins + 1;

  /// `edges` are the ends of the bins; a value lies in the middle of its bin.
  ErrorOfRange(ArrayRef<uint32_t> bins, ArrayRef<double> edges, unsigned bits)
      : edges(edges), numSteps(std::ldexp(1.0, bits) - 1) {
    for (auto [i, count] : enumerate(bins)) {
      double middle = (edges[i] + edges[i + 1]) / 2;
      sums[i + 1] = {sums[i].count + count, sums[i].first + count * middle,
                     sums[i].second + count * middle * middle};
    }
  }

  double get(int64_t lo, int64_t hi) const {
    double step = (getHigh(hi) - getLow(lo)) / numSteps;
    double within = sums[hi].count - sums[lo].count;
    return within * step * step / 12 + getSaturation(0, lo, getLow(lo)) +
           getSaturation(hi, kNumEdges - 1, getHigh(hi));
  }

private:
  /// Moments of the values below an edge.
  struct Sums {
    double count = 0, first = 0, second = 0;
  };

  /// Ranges take in zero.
  double getLow(int64_t edge) const { return std::min(edges[edge], 0.0); }
  double getHigh(int64_t edge) const { return std::max(edges[edge], 0.0); }

  /// The squared error of the values between two edges that become `bound`.
  double getSaturation(int64_t begin, int64_t end, double bound) const {
    double count = sums[end].count - sums[begin].count;
    double first = sums[end].first - sums[begin].first;
    double second = sums[end].second - sums[begin].second;
    return std::max(second - 2 * bound * first + bound * bound * count, 0.0);
  }

  ArrayRef<double> edges;
  double numSteps;
  std::array<Sums, kNumEdges> sums;
};
} // namespace

/// The edges of the range with the smallest error: moves one end at a time
/// until neither gains. The widest of equals, so that ties are decided.
static std::pair<int64_t, int64_t> findLeastError(const ErrorOfRange &error,
                                                  int64_t zeroEdge) {
  constexpr unsigned kMaxRounds = 8;
  int64_t lo = 0, hi = ErrorOfRange::kNumEdges - 1;
  for (unsigned round = 0; round < kMaxRounds; ++round) {
    int64_t oldLo = lo, oldHi = hi;
    for (int64_t edge = hi; edge-- > std::max(zeroEdge, lo + 1);)
      if (error.get(lo, edge) < error.get(lo, hi))
        hi = edge;
    for (int64_t edge = lo + 1; edge < std::min(zeroEdge, hi); ++edge)
      if (error.get(edge, hi) < error.get(lo, hi))
        lo = edge;
    if (lo == oldLo && hi == oldHi)
      break;
  }
  return {lo, hi};
}

ChannelRanges HistogramObserver::getRangesOfLeastError(unsigned bits) const {
  ChannelRanges ranges = bounds;
  std::vector<double> edges(ErrorOfRange::kNumEdges);
  for (size_t i = 0, e = bounds.getNumChannels(); i < e; ++i) {
    if (binsPerUnit[i] == 0)
      continue;
    for (auto [bin, edge] : enumerate(edges))
      edge = getEdge(i, bin);
    // The ends of a range lie on both sides of zero.
    int64_t zeroEdge =
        partition_point(edges, [](double edge) { return edge < 0; }) -
        edges.begin();
    auto [lo, hi] =
        findLeastError(ErrorOfRange(getBins(i), edges, bits), zeroEdge);
    ranges.lo[i] = edges[lo];
    ranges.hi[i] = edges[hi];
  }
  return ranges;
}
