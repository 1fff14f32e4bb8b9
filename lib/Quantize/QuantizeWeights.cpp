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
#include "qtx/Analysis/GPTQ.h"
#include "qtx/Support/ShortSums.h"
#include <cmath>

using namespace mlir;
using namespace qtx;

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
  std::vector<int64_t> codes(rounded.codes.begin(), rounded.codes.end());
  ConstantTensor weight = ConstantTensor::create(type, codes);
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

/// The linears that read the quantized edge, with weights to be quantized.
SmallVector<LinearOp> Quantizer::getLinears(const Edge &edge) const {
  SmallVector<LinearOp> linears;
  if (!edge.approximate)
    return linears;
  for (Operation *user : edge.approximate.getUsers())
    if (auto linear = dyn_cast<LinearOp>(user))
      if (isAdjustable(linear) &&
          recipe.getWeight(getEdgeName(linear.getY())).isQuantized)
        linears.push_back(linear);
  return linears;
}

/// Integers would hide what is no number.
LogicalResult Quantizer::checkWeights() {
  WalkResult result =
      function.walk([&](LinearOp op) {
        if (!isAdjustable(op) ||
            !recipe.getWeight(getEdgeName(op.getY())).isQuantized)
          return WalkResult::advance();
        LinearNumbers numbers(op);
        auto isBad = [](float weight) { return !std::isfinite(weight); };
        auto bad = llvm::find_if(numbers.weights, isBad);
        if (bad == numbers.weights.end())
          return WalkResult::advance();
        emitError(op.getLoc())
            << "expected finite weights, found "
            << (std::isnan(*bad) ? "NaN" : "infinity") << " for output "
            << std::distance(numbers.weights.begin(), bad) / numbers.columns;
        return WalkResult::interrupt();
      });
  return failure(result.wasInterrupted());
}

/// The moments by which weights are rounded. Biases take up mean errors, and
/// of what is left `n` rows estimate as much as they are more than the
/// channels.
static std::vector<double> getMoments(const SecondMoments &known,
                                      bool hasBiasCorrection,
                                      RoundingOptions &options) {
  if (!hasBiasCorrection)
    return known.getProducts();
  double channels = known.getNumChannels();
  options.shrinkage = channels / (channels + double(known.getNumRows()));
  return known.getCentredProducts();
}

/// The short sums of `columns` that groups of `edge` and blocks cut.
static std::vector<int64_t> getShortSumsOf(const Edge &edge, int64_t columns,
                                           int64_t block) {
  SmallVector<int64_t> blocks, sizes;
  for (int64_t left = columns; block > 0 && left > 0; left -= block)
    blocks.push_back(std::min(block, left));
  for (const Segment &segment : getSegments(columns, edge.groups.sizes, blocks))
    sizes.push_back(segment.size);
  return getShortSums(sizes);
}

RoundedLinear Quantizer::round(LinearOp op, const Edge &edge,
                               const EdgeMoments *known) const {
  WeightRecipe choice = recipe.getWeight(getEdgeName(op.getY()));
  LinearNumbers numbers(op);
  WeightMatrix matrix{numbers.weights, numbers.rows, numbers.columns};
  RoundedLinear rounded;
  rounded.hasData = known;
  rounded.options.bits = choice.bits;
  rounded.options.block = choice.block;
  // Few codes resolve more than they cut off with a smaller range.
  rounded.options.searchesScales = choice.isErrorMinimised && choice.bits < 8;
  // Four bits fit them anyway.
  if (choice.hasShortSums && choice.bits == 8)
    rounded.options.shortSums =
        getShortSumsOf(edge, numbers.columns, choice.block);
  rounded.options.numThreads = options.stream.numThreads;
  if (choice.isErrorMinimised && known) {
    auto products =
        getMoments(known->moments, recipe.hasBiasCorrection, rounded.options);
    rounded.weights =
        roundMinimisingError(matrix, std::move(products), rounded.options);
  } else {
    rounded.weights = roundToNearest(matrix, rounded.options);
  }
  if (rounded.weights.block == 0)
    rounded.weights.block = numbers.columns;
  if (known && recipe.hasBiasCorrection) {
    int64_t count = known->moments.getNumRows();
    correctBias(numbers, rounded.weights, divide(known->sums, count),
                divide(known->moments.getSums(), count));
    rounded.bias = numbers.bias;
  }
  return rounded;
}

/// The data has passed the edge. The IR does not change as long as other
/// segments are to be compiled.
void Quantizer::roundLinears(size_t edge) {
  for (LinearOp linear : getLinears(edges[edge]))
    roundedLinears[linear] = round(linear, edges[edge], &*moments[edge]);
  moments[edge].reset();
}

void Quantizer::store(LinearOp op, const RoundedLinear &rounded) {
  WeightRecipe choice = recipe.getWeight(getEdgeName(op.getY()));
  LinearNumbers numbers(op);
  if (!rounded.bias.empty()) {
    numbers.bias = rounded.bias;
    numbers.storeBias(op);
  }
  auto adjusted = adjustedWeights.find(op);
  if (options.simulate)
    storeSimulated(op, numbers, rounded.weights);
  else
    storeIntegers(op, numbers, rounded.weights, choice.bits);
  if (adjusted != adjustedWeights.end())
    freeResource(adjusted->second);
  explainWeights(op, choice, rounded);
}

void Quantizer::quantizeWeights() {
  for (const Edge &edge : edges)
    for (LinearOp linear : getLinears(edge)) {
      auto known = roundedLinears.find(linear);
      store(linear, known == roundedLinears.end()
                        ? round(linear, edge, /*known=*/nullptr)
                        : std::move(known->second));
      roundedLinears.erase(linear);
    }
}
