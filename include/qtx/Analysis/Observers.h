//===- Observers.h - Ranges of channels from data ---------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// States that turn what an edge holds, feed by feed, into one range for each
// channel of its last axis (Numerics.md, "Observers"). Rows of padding do not
// count.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_OBSERVERS_H
#define QTX_ANALYSIS_OBSERVERS_H

#include "qtx/Analysis/Observed.h"
#include "qtx/Analysis/Streaming.h"
#include "llvm/Support/Error.h"

namespace qtx {

enum class ObserverKind { MinMax, Running, Percentile, Mse, Extrapolated };

struct ObserverOptions {
  ObserverKind kind = ObserverKind::MinMax;
  /// `running`: the share of the old range in the new one.
  float momentum = 0.9f;
  /// `percentile`: the range holds all but the (100 - percentile) % smallest
  /// and as many of the largest values.
  double percentile = 99.99;
  /// `mse`: the quantizer whose error the range minimises.
  unsigned bits = 8;
  /// `extrapolated`: the range holds what this many samples are expected to.
  double samples = 4000;
};

/// The name of a kind: `min_max`, ...
llvm::StringRef getObserverName(ObserverKind kind);

/// What users write: `min_max`, `running`, `percentile` or `mse`, each but the
/// first with an optional parameter, as `percentile:99.9`.
llvm::Expected<ObserverOptions> parseObserver(llvm::StringRef text);

/// An element that no range can take in.
struct NonFinite {
  int64_t row;
  int64_t channel;
  float value;
};

/// The first element of the rows that count which is NaN or infinite.
std::optional<NonFinite> findNonFinite(const StreamedValue &value);

/// What it is and where, for people: `NaN in channel 3 in sample 2`.
std::string describeNonFinite(const NonFinite &element,
                              const StreamedValue &value, const Feed &feed);

/// Ranges of `min_max`, or of `running` with a momentum.
class RangeObserver {
public:
  explicit RangeObserver(std::optional<float> momentum = std::nullopt)
      : momentum(momentum) {}

  /// Fails, without a change, if an element is NaN or infinite.
  std::optional<NonFinite> update(const StreamedValue &value);

  /// Empty channels, in which nothing counted, have lo > hi.
  const ChannelRanges &getRanges() const { return ranges; }
  /// Rows that counted.
  int64_t getNumRows() const { return numRows; }

private:
  void merge(const ChannelRanges &feed);

  std::optional<float> momentum;
  ChannelRanges ranges;
  int64_t numRows = 0;
};

/// Quantiles of each channel, exactly: keeps the values at both ends.
class TailObserver {
public:
  /// For channels that hold `numRows` values in all feeds.
  TailObserver(int64_t numChannels, int64_t numRows, double percentile);

  /// Values kept at each end of a channel.
  static int64_t getTailSize(int64_t numRows, double percentile);

  void update(const StreamedValue &value);
  ChannelRanges getRanges() const;

private:
  /// Where the upper quantile lies among the values counted from the largest.
  double rank;
  int64_t tailSize;
  /// Ascending, `tailSize` for each channel: the largest values, and the
  /// largest of the negated ones.
  std::vector<float> upper, lower;
};

/// Ranges beyond the observed ones, for data of which there are few samples.
/// Behind each end of a channel the largest values of samples are taken to fall
/// off exponentially, by the scale of the outermost ones: `n` times as many
/// samples are then expected to reach further by `log(n)` of these scales.
class ExtremeObserver {
public:
  /// Excesses over the next value from which a scale is estimated, at most.
  static constexpr int64_t kNumExcesses = 8;
  /// No more than this many times the observed samples: what lies beyond is a
  /// guess.
  static constexpr double kMaxRatio = 20;
  /// Where normalisations read the rows: a channel that makes up this many
  /// times the variance of all others of its row counts as less, as long as it
  /// does so.
  static constexpr double kDominance = 15;
  /// What the others may change by then, in units of the normalised row.
  static constexpr double kNormalisedError = 0.02;

  explicit ExtremeObserver(bool isNormalised = false)
      : isNormalised(isNormalised) {}

  /// Samples lie along the first axis. All that counts is finite.
  void update(const StreamedValue &value);
  /// What `samples` samples are expected to span: no less than the observed
  /// ones.
  ChannelRanges getRanges(double samples) const;

private:
  /// The largest values of a sample in each channel.
  void add(llvm::ArrayRef<float> largest, std::vector<float> &tails);

  bool isNormalised;
  int64_t numSamples = 0;
  /// Ascending, `kNumExcesses + 1` for each channel: the largest values, and
  /// the largest of the negated ones.
  std::vector<float> upper, lower;
};

/// Counts of values in bins of equal width between known bounds.
class HistogramObserver {
public:
  static constexpr int64_t kNumBins = 1024;

  explicit HistogramObserver(ChannelRanges bounds);

  void update(const StreamedValue &value);

  /// Quantiles, interpolated within a bin.
  ChannelRanges getQuantiles(double percentile) const;
  /// The ranges whose `bits`-bit quantization has the smallest mean squared
  /// error: rounding errors of an evenly spread value within, saturation
  /// without. Ranges take in zero, as those of quantizers do.
  ChannelRanges getRangesOfLeastError(unsigned bits) const;

private:
  llvm::ArrayRef<uint32_t> getBins(int64_t channel) const {
    return llvm::ArrayRef(counts).slice(channel * kNumBins, kNumBins);
  }
  double getEdge(int64_t channel, double bin) const;
  float getQuantile(int64_t channel, double share) const;

  ChannelRanges bounds;
  std::vector<float> binsPerUnit;
  std::vector<uint32_t> counts;
};

} // namespace qtx

#endif // QTX_ANALYSIS_OBSERVERS_H
