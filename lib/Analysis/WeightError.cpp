//===- WeightError.cpp - How far quantized weights are off ----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compares the weights of linears that quantization changed with those of the
// float model. Channels of the input may be permuted and scaled on the way into
// a quantized linear; its weights are brought back before they are compared.
//
//===----------------------------------------------------------------------===//

#include "Dialect/Qtx/Transforms/ConstantUtils.h"
#include "qtx/Analysis/Measure.h"
#include "qtx/Analysis/Observed.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace qtx;

namespace {
/// How the channels that an operation reads come from those of an edge: channel
/// `i` is channel `sources[i]`, times `gains[i]`.
struct ChannelMap {
  explicit ChannelMap(int64_t size) : sources(size), gains(size, 1.0) {
    std::iota(sources.begin(), sources.end(), 0);
  }
  SmallVector<int64_t> sources;
  SmallVector<double> gains;
};
} // namespace

/// Follows `op` to its operand; false if it is no step that can be undone.
static bool addStep(ChannelMap &map, Operation *op) {
  if (auto permute = dyn_cast<PermuteOp>(op)) {
    auto indices = permute.getConstantIndices();
    if (!indices || int64_t(permute.getAxis()) != -1)
      return false;
    for (int64_t &source : map.sources)
      source = (*indices)[source];
    return true;
  }
  if (auto scale = dyn_cast<ScaleShiftOp>(op)) {
    auto gain = ConstantTensor::get(scale.getGain());
    if (!gain)
      return false;
    std::vector<float> factors = gain->getFloats();
    for (auto [source, factor] : llvm::zip_equal(map.sources, map.gains))
      factor *= factors[source];
    return true;
  }
  return isa<QuantizeOp, RequantizeOp, DequantizeOp, DynamicQuantizeOp>(op);
}

static ChannelMap getChannelMap(Value value, int64_t size) {
  ChannelMap map(size);
  while (Operation *op = value.getDefiningOp()) {
    if (!addStep(map, op))
      break;
    value = op->getOperand(0);
  }
  return map;
}

/// The weights as numbers: `[N, K]`, with the scales of their blocks.
static std::optional<std::vector<float>> getWeights(LinearOp op) {
  auto weights = ConstantTensor::get(op.getWeight());
  if (!weights)
    return std::nullopt;
  if (weights->getType().getElementType().isF32())
    return weights->getFloats();
  auto scales = ConstantTensor::get(op.getWeightScale());
  if (!scales)
    return std::nullopt;
  std::vector<int64_t> codes = weights->getIntegers();
  std::vector<float> factors = scales->getFloats();
  int64_t size = op.getContractedSize();
  int64_t block = op.getWeightBlock().value_or(size);
  int64_t numBlocks = llvm::divideCeil(size, block);
  std::vector<float> numbers(codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    size_t at = i / size * numBlocks + i % size / block;
    numbers[i] = float(codes[i]) * factors[factors.size() == 1 ? 0 : at];
  }
  return numbers;
}

/// |W - Wq| / |W|; absent if the two do not correspond.
static std::optional<double> getWeightError(LinearOp exact, LinearOp other) {
  int64_t size = exact.getContractedSize();
  if (exact.getWeight().getType().getShape() !=
      other.getWeight().getType().getShape())
    return std::nullopt;
  auto expected = getWeights(exact), found = getWeights(other);
  if (!expected || !found)
    return std::nullopt;
  ChannelMap map = getChannelMap(other.getX(), size);
  double signal = 0, noise = 0;
  for (size_t row = 0; row < expected->size(); row += size)
    for (int64_t i = 0; i < size; ++i) {
      double number = (*expected)[row + map.sources[i]];
      double difference = number - (*found)[row + i] * map.gains[i];
      signal += number * number;
      noise += difference * difference;
    }
  return signal > 0 ? std::sqrt(noise / signal) : 0;
}

void qtx::reportWeightErrors(func::FuncOp model, func::FuncOp quantized,
                             Report &report) {
  llvm::StringMap<LinearOp> exact;
  for (auto op : model.getBody().front().getOps<LinearOp>())
    exact.try_emplace(getEdgeName(op.getY()), op);
  for (auto op : quantized.getBody().front().getOps<LinearOp>()) {
    LinearOp found = exact.lookup(getEdgeName(op.getY()));
    LayerReport &layer = getLayerReport(report, op.getY());
    if (found && layer.type != "f32" && !layer.weightError)
      layer.weightError = getWeightError(found, op);
  }
}
