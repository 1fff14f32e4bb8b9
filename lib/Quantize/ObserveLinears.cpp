//===- ObserveLinears.cpp - What linears read --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Streams data through the simulation, whose weights are float, for the moments
// of edges that feed linears. These linears are rounded as soon as the data has
// passed them, and the moments, which are large, are dropped.
//
//===----------------------------------------------------------------------===//

#include "Quantizer.h"
#include "mlir/IR/IRMapping.h"
#include "qtx/Analysis/Calibrate.h"

using namespace mlir;
using namespace qtx;

static void addRows(const StreamedValue &value, std::vector<double> &sums) {
  sums.resize(value.getNumChannels());
  for (int64_t row = 0, e = value.getNumRows(); row < e; ++row)
    if (value.isValid(row))
      for (auto [sum, number] : llvm::zip_equal(sums, value.getRow(row)))
        sum += number;
}

namespace {
/// Copies of attention and of what lies behind it, in which no operand of
/// attention is quantized. They go with the object.
class ExactAttention {
public:
  ~ExactAttention() {
    for (Operation *copy : llvm::reverse(copies))
      copy->erase();
  }

  /// `value` as it would be with attention that is exact.
  Value get(Value value) {
    Operation *op = value.getDefiningOp();
    if (auto dequantize = dyn_cast_or_null<DequantizeOp>(op))
      if (auto quantize = dequantize.getX().getDefiningOp<QuantizeOp>())
        return quantize.getX();
    if (!isa_and_present<AttentionOp, MergeHeadsOp, PermuteOp, ScaleShiftOp,
                         SplitHeadsOp>(op))
      return value;
    IRMapping mapping;
    for (Value operand : op->getOperands())
      mapping.map(operand, get(operand));
    OpBuilder builder(op->getContext());
    builder.setInsertionPointAfterValue(value);
    Operation *copy = builder.clone(*op, mapping);
    copies.push_back(copy);
    if (auto attention = dyn_cast<AttentionOp>(copy)) {
      attention.removeProbsQuantAttr();
      attention.setUnnormalised(false);
    }
    return copy->getResult(0);
  }

private:
  SmallVector<Operation *> copies;
};
} // namespace

bool Quantizer::needsMoments() const {
  return options.data &&
         (recipe.hasBiasCorrection || recipe.weight.isErrorMinimised ||
          llvm::any_of(recipe.layerOverrides,
                       [](const Recipe::Override &override) {
                         return override.isErrorMinimised.value_or(false);
                       }));
}

/// The values of a lane are the edge in front of its quantizer and behind.
llvm::Error Quantizer::addFeed(size_t edge, const LaneFeed &lane) {
  // They were finite where no edge in front was quantized.
  if (auto element = findNonFinite(lane.values[0]))
    return llvm::createStringError(
        "edge '" + getEdgeName(edges[edge].value) +
        "' of the quantized model: expected finite numbers, found " +
        describeNonFinite(*element, lane.values[0], lane.feed));
  std::optional<EdgeMoments> &known = moments[edge];
  if (!known)
    known = {{}, SecondMoments(lane.values[1].getNumChannels())};
  addRows(lane.values[0], known->sums);
  known->moments.update(lane.values[1]);
  return llvm::Error::success();
}

/// One lane for each edge that feeds linears.
LogicalResult Quantizer::observe() {
  moments.resize(edges.size());
  if (!needsMoments())
    return success();
  StreamedFunction streamed{function, {}};
  StreamOptions stream = options.stream;
  SmallVector<SmallVector<size_t>> lanes;
  SmallVector<size_t> edgeOfLane;
  ExactAttention attention;
  for (auto [index, edge] : llvm::enumerate(edges)) {
    if (!edge.approximate || !edge.feedsLinearsOnly)
      continue;
    size_t first = streamed.values.size();
    // Errors of few keys that many queries look at add up to a bias.
    Value exact = edge.value.getDefiningOp<MergeHeadsOp>()
                      ? attention.get(edge.exact)
                      : edge.exact;
    llvm::append_values(streamed.values, exact, edge.approximate);
    lanes.push_back({first, first + 1});
    edgeOfLane.push_back(index);
    stream.laneBytes.push_back(
        SecondMoments::getNumBytes(getNumChannels(edge.value)));
  }
  if (lanes.empty())
    return success();
  auto runner = StreamRunner::create(streamed, lanes, stream);
  if (!runner)
    return function.emitError() << llvm::toString(runner.takeError());
  auto consume = [&](const LaneFeed &lane) {
    return addFeed(edgeOfLane[lane.lane], lane);
  };
  auto finish = [&](ArrayRef<size_t> finished) {
    for (size_t lane : finished)
      roundLinears(edgeOfLane[lane]);
    return llvm::Error::success();
  };
  llvm::Error error =
      (*runner)->run(*options.data, StreamPass{consume, finish});
  if (error)
    return function.emitError() << llvm::toString(std::move(error));
  return success();
}
