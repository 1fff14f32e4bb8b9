//===- PrepareAttention.cpp - Ranges of keys and values -------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearNumbers.h"
#include "Quantizer.h"
#include <cmath>

using namespace mlir;
using namespace qtx;

/// The linear whose result alone is split into the heads `operand`; null if it
/// is another operation.
static LinearOp getProjection(Value operand) {
  auto split = operand.getDefiningOp<SplitHeadsOp>();
  if (!split || !operand.hasOneUse() || !split.getX().hasOneUse())
    return {};
  auto linear = split.getX().getDefiningOp<LinearOp>();
  if (!linear || !isAdjustable(linear) ||
      linear.getActivation() != Activation::None)
    return {};
  return linear;
}

/// A constant that is added to all keys changes all scores of a query alike,
/// which softmax does not see: keys are centred for symmetric quantizers.
/// Returns them, or null if they stay as they are.
static Value centreKeys(AttentionOp op) {
  LinearOp linear = getProjection(op.getKey());
  auto ranges = linear ? getObserved(linear.getY()) : std::nullopt;
  if (!ranges || op.getSoftCap() || op.getSink() || op.getSinkLogit() ||
      op.getScoresQuant())
    return {};
  LinearNumbers numbers(linear);
  for (size_t c = 0; c < ranges->getNumChannels(); ++c) {
    float middle = ranges->lo[c] / 2 + ranges->hi[c] / 2;
    if (!std::isfinite(middle))
      continue;
    numbers.bias[c] -= middle;
    ranges->lo[c] -= middle;
    ranges->hi[c] -= middle;
  }
  numbers.storeBias(linear);
  setObserved(linear.getY(), *ranges);
  return linear.getY();
}

/// The linears that read the heads of `op` as channels; empty if anything else
/// does.
static SmallVector<LinearOp> getContextReaders(AttentionOp op) {
  SmallVector<LinearOp> readers;
  if (!op.getY().hasOneUse())
    return {};
  auto merge = dyn_cast<MergeHeadsOp>(*op.getY().user_begin());
  if (!merge)
    return {};
  for (Operation *user : merge.getY().getUsers()) {
    auto linear = dyn_cast<LinearOp>(user);
    if (!linear || linear.getX() != merge.getY() || !isAdjustable(linear))
      return {};
    readers.push_back(linear);
  }
  return readers;
}

/// Whether the rows of probabilities sum to one.
static bool isWeightedMean(AttentionOp op) {
  return op.getGamma().isZero() && op.getZeta().isExactlyValue(1) &&
         !op.getSink() && !op.getSinkLogit() && !op.getGate();
}

/// Replaces each channel of the result by `(y - shift) / scale`.
static void scaleRows(LinearNumbers &numbers, const ChannelScaling &scaling) {
  for (int64_t row = 0; row < numbers.rows; ++row) {
    float scale = scaling.scale[row];
    numbers.bias[row] = (numbers.bias[row] - scaling.shift[row]) / scale;
    for (int64_t column = 0; column < numbers.columns; ++column)
      numbers.weights[row * numbers.columns + column] /= scale;
  }
}

/// Takes in inputs `(x - shift) / scale` instead of `x`.
static void scaleColumns(LinearNumbers &numbers,
                         const ChannelScaling &scaling) {
  for (int64_t row = 0; row < numbers.rows; ++row) {
    double shift = 0;
    for (int64_t column = 0; column < numbers.columns; ++column) {
      float &weight = numbers.weights[row * numbers.columns + column];
      shift += double(weight) * scaling.shift[column];
      weight *= scaling.scale[column];
    }
    numbers.bias[row] = float(numbers.bias[row] + shift);
  }
}

/// Centres the channels of the values and gives them one range, which commutes
/// with their weighted mean: the readers of the context undo it.
/// Returns values and context, or nothing if they stay as they are.
static SmallVector<Value> equaliseValues(AttentionOp op) {
  LinearOp linear = getProjection(op.getValue());
  auto ranges = linear ? getObserved(linear.getY()) : std::nullopt;
  SmallVector<LinearOp> readers = getContextReaders(op);
  if (!ranges || readers.empty() || op.getContextQuant() ||
      op.getQueryType().getDimSize(1) != op.getKeyType().getDimSize(1))
    return {};
  ChannelRanges largest = *ranges;
  if (!isWeightedMean(op))
    for (auto [lo, hi] : llvm::zip_equal(largest.lo, largest.hi)) {
      hi = std::max(-lo, hi);
      lo = -hi;
    }
  ChannelScaling scaling =
      boundScales(largest, /*exponent=*/1, /*smallest=*/0.0625f);
  LinearNumbers numbers(linear);
  scaleRows(numbers, scaling);
  numbers.storeWeights(linear);
  numbers.storeBias(linear);
  setObserved(linear.getY(), applyScaling(*ranges, scaling));
  Value context = readers.front().getX();
  for (LinearOp reader : readers) {
    LinearNumbers columns(reader);
    scaleColumns(columns, scaling);
    columns.storeWeights(reader);
    columns.storeBias(reader);
  }
  if (auto observed = getObserved(context))
    setObserved(context, applyScaling(*observed, scaling));
  return {linear.getY(), context};
}

void Quantizer::prepareAttention() {
  for (auto op : function.getBody().front().getOps<AttentionOp>()) {
    if (recipe.centresKeys)
      if (Value keys = centreKeys(op))
        explainRescaling(keys, /*isScaled=*/false);
    if (recipe.equalisesValues)
      for (Value rescaled : equaliseValues(op))
        explainRescaling(rescaled, /*isScaled=*/true);
  }
}
