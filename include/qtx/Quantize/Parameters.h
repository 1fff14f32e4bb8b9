//===- Parameters.h - Quantization parameters from ranges -------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// How observed ranges of channels become groups, scales, zero points, gains and
// shifts. Plain functions of numbers.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_QUANTIZE_PARAMETERS_H
#define QTX_QUANTIZE_PARAMETERS_H

#include "qtx/Analysis/Observed.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

namespace qtx {

struct Range {
  float lo;
  float hi;
};

/// A value means `scale * (stored - zeroPoint)`.
struct AffineParameters {
  float scale;
  int64_t zeroPoint;
};

/// The parameters of signed storage of `bits` bits for values in `range`
/// (Numerics.md, "Parameters from ranges").
AffineParameters chooseParameters(Range range, bool isSymmetric,
                                  unsigned bits = 8);

/// The same with a scale that is larger than the range asks for: what it has
/// room for in addition lies on both sides.
AffineParameters chooseZeroPoint(Range range, bool isSymmetric, float scale);

/// Makes the scale of one of two groups larger so that one is an integer
/// multiple of the other, and sums of both join in integers. `counts` are their
/// channels: of the two ways that is taken which adds less to the squared
/// error, and none where that is more than a fiftieth.
void alignScales(llvm::MutableArrayRef<AffineParameters> parameters,
                 llvm::ArrayRef<int64_t> counts);

/// The smallest range that holds those of `channels`.
Range joinRanges(const ChannelRanges &ranges, llvm::ArrayRef<int64_t> channels);

/// `hi - lo` of each channel.
std::vector<float> getSpans(const ChannelRanges &ranges);

/// The middle one of `numbers`; of two, the smaller.
float getMedian(std::vector<float> numbers);

/// The channels from the narrowest to the widest; ties keep their order.
llvm::SmallVector<int64_t> sortBySpan(llvm::ArrayRef<float> spans);

/// Channels that an instruction of a dot product takes in one step, on all
/// targets. A group takes whole steps.
inline constexpr int64_t kStepSize = 4;

/// The time of a product whose input has groups of `sizes`, in steps of one
/// accumulator. Behind each group but the last its sums are rescaled.
int64_t estimateSteps(llvm::ArrayRef<int64_t> sizes);

/// Cuts spans, best in ascending order, into at most `numGroups` runs, whose
/// boundaries are multiples of `alignment`, so that the sum of size times
/// squared largest span is smallest. Returns the sizes. By dynamic programming.
llvm::SmallVector<int64_t> cutUnequally(llvm::ArrayRef<float> spans,
                                        int64_t numGroups, int64_t alignment);

/// How channels are stored: position `i` holds channel `order[i]`, and adjacent
/// positions form groups.
struct ChannelGroups {
  llvm::SmallVector<int64_t> order;
  llvm::SmallVector<int64_t> sizes;

  bool isIdentity() const;
};

/// All channels in their order.
ChannelGroups makeOneGroup(int64_t numChannels);

/// Channels whose span exceeds `factor` times the median stand behind the
/// others, as a group of their own; both keep their order. The widest of the
/// others fill the last step of the group where the time that this saves
/// outweighs the error.
ChannelGroups separateOutliers(llvm::ArrayRef<float> spans, float factor);

/// Channel `c` is stored as `(x - shift[c]) / scale[c]`.
struct ChannelScaling {
  std::vector<float> scale;
  std::vector<float> shift;
};

/// Brings channels closer to one range: each is shifted by its middle and
/// scaled by `(span / median) ^ exponent`, but by no less than `smallest`.
ChannelScaling boundScales(const ChannelRanges &ranges, float exponent,
                           float smallest);

/// The ranges after scaling.
ChannelRanges applyScaling(const ChannelRanges &ranges,
                           const ChannelScaling &scaling);

} // namespace qtx

#endif // QTX_QUANTIZE_PARAMETERS_H
