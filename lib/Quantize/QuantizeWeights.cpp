//===- QuantizeWeights.cpp - Weights to integers --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Dialect/Qtx/Transforms/ConstantUtils.h"
#include "LinearNumbers.h"
#include "Quantizer.h"
#include "mlir/IR/IRMapping.h"
#include "qtx/Analysis/Calibrate.h"
#include "qtx/Analysis/GPTQ.h"
#include "qtx/Analysis/Measure.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Data
//===----------------------------------------------------------------------===//

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

/// Streams the data through the simulation; one lane for each edge that feeds
/// linears.
LogicalResult Quantizer::observe() {
  sums.resize(edges.size());
  moments.resize(edges.size());
  bool isNeeded =
      recipe.hasBiasCorrection || recipe.weight.isErrorMinimised ||
      llvm::any_of(recipe.layerOverrides, [](const Recipe::Override &override) {
        return override.isErrorMinimised.value_or(false);
      });
  if (!options.data || !isNeeded)
    return success();
  StreamedFunction streamed{function, {}};
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
    moments[index].emplace(getNumChannels(edge.value));
  }
  if (lanes.empty())
    return success();
  auto runner = StreamRunner::create(streamed, lanes, options.stream);
  if (!runner)
    return function.emitError() << llvm::toString(runner.takeError());
  llvm::Error error =
      (*runner)->run(*options.data, [&](const LaneFeed &lane) -> llvm::Error {
        size_t edge = edgeOfLane[lane.lane];
        // They were finite where no edge in front was quantized.
        if (auto element = findNonFinite(lane.values[0]))
          return llvm::createStringError(
              "edge '" + getEdgeName(edges[edge].value) +
              "' of the quantized model: expected finite numbers, found " +
              describeNonFinite(*element, lane.values[0], lane.feed));
        addRows(lane.values[0], sums[edge]);
        moments[edge]->update(lane.values[1]);
        return llvm::Error::success();
      });
  if (error)
    return function.emitError() << llvm::toString(std::move(error));
  return success();
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// Adds what rounding takes from the mean of each output. `exact` and
/// `approximate` are the means of the inputs.
static void correctBias(LinearNumbers &numbers, const RoundedWeights &rounded,
                        ArrayRef<double> exact, ArrayRef<double> approximate) {
  int64_t numBlocks = llvm::divideCeil(numbers.columns, rounded.block);
  for (int64_t row = 0; row < numbers.rows; ++row) {
    double error = 0;
    for (int64_t i = 0; i < numbers.columns; ++i) {
      int64_t at = row * numbers.columns + i;
      double scale = rounded.scales[row * numBlocks + i / rounded.block];
      error += numbers.weights[at] * exact[i] -
               double(rounded.codes[at]) * scale * approximate[i];
    }
    numbers.bias[row] = float(numbers.bias[row] + error);
  }
}

/// The numbers that the integers mean.
static void storeSimulated(LinearOp op, LinearNumbers &numbers,
                           const RoundedWeights &rounded) {
  int64_t numBlocks = llvm::divideCeil(numbers.columns, rounded.block);
  for (int64_t row = 0; row < numbers.rows; ++row)
    for (int64_t i = 0; i < numbers.columns; ++i) {
      int64_t at = row * numbers.columns + i;
      numbers.weights[at] = float(rounded.codes[at]) *
                            rounded.scales[row * numBlocks + i / rounded.block];
    }
  numbers.storeWeights(op);
}

static void storeIntegers(LinearOp op, const LinearNumbers &numbers,
                          const RoundedWeights &rounded, unsigned bits) {
  OpBuilder builder(op);
  Location loc = op.getWeight().getLoc();
  auto type = RankedTensorType::get({numbers.rows, numbers.columns},
                                    builder.getIntegerType(bits));
  ConstantTensor weight = ConstantTensor::create(type, rounded.codes);
  // LLVM's translation knows no resources of i4.
  if (bits == 8)
    weight = weight.asResource();
  op.getWeightMutable().assign(weight.materialize(builder, loc));
  bool hasBlocks = rounded.block < numbers.columns;
  SmallVector<int64_t> shape = {numbers.rows};
  if (hasBlocks) {
    shape.push_back(llvm::divideCeil(numbers.columns, rounded.block));
    op.setWeightBlock(rounded.block);
  }
  op.getWeightScaleMutable().assign(
      createFloats(builder, loc, shape, rounded.scales));
}

static std::vector<double> divide(ArrayRef<double> sums, int64_t count) {
  std::vector<double> means(sums.begin(), sums.end());
  for (double &mean : means)
    mean /= double(std::max<int64_t>(count, 1));
  return means;
}

void Quantizer::quantizeWeights(LinearOp op, size_t edge) {
  WeightRecipe choice = recipe.getWeight(getEdgeName(op.getY()));
  LinearNumbers numbers(op);
  WeightMatrix matrix{numbers.weights, numbers.rows, numbers.columns};
  RoundingOptions rounding;
  rounding.bits = choice.bits;
  rounding.block = choice.block;
  // Few codes resolve more than they cut off with a smaller range.
  rounding.searchesScales = choice.isErrorMinimised && choice.bits < 8;
  rounding.numThreads = options.stream.numThreads;
  RoundedWeights rounded =
      choice.isErrorMinimised && moments[edge]
          ? roundMinimisingError(matrix, moments[edge]->getProducts(), rounding)
          : roundToNearest(matrix, rounding);
  if (rounded.block == 0)
    rounded.block = numbers.columns;
  if (moments[edge] && recipe.hasBiasCorrection) {
    int64_t count = moments[edge]->getNumRows();
    correctBias(numbers, rounded, divide(sums[edge], count),
                divide(moments[edge]->getSums(), count));
    numbers.storeBias(op);
  }
  if (options.simulate)
    storeSimulated(op, numbers, rounded);
  else
    storeIntegers(op, numbers, rounded, choice.bits);
  explainWeights(op, choice, moments[edge].has_value(), rounding,
                 rounded.isErrorMinimised);
}

void Quantizer::quantizeWeights() {
  for (auto [index, edge] : llvm::enumerate(edges)) {
    if (!edge.approximate)
      continue;
    for (Operation *user : llvm::to_vector(edge.approximate.getUsers()))
      if (auto linear = dyn_cast<LinearOp>(user))
        if (isAdjustable(linear) &&
            recipe.getWeight(getEdgeName(linear.getY())).isQuantized)
          quantizeWeights(linear, index);
  }
}
