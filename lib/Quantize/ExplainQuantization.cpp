//===- ExplainQuantization.cpp - Why edges and layers are what they are ---===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the recipe decides is an analysis, what it would quantize and cannot a
// missed remark. The report has the same words.
//
//===----------------------------------------------------------------------===//

#include "LinearNumbers.h"
#include "Quantizer.h"
#include "qtx/Analysis/Calibrate.h"
#include "qtx/Analysis/Measure.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Float edges
//===----------------------------------------------------------------------===//

void Quantizer::explain(Location loc, const Obstacle &obstacle) {
  if (obstacle.isChoice)
    remark::analysis(loc, kQuantizeRemark)
        << remark::add("stays float: {0}", obstacle.text);
  else
    remark::missed(loc, kQuantizeRemark)
        << remark::reason("stays float: {0}", obstacle.text);
}

/// The operands that read `value`, also as heads.
static SmallVector<OpOperand *> getReaders(Value value) {
  SmallVector<OpOperand *> readers;
  for (OpOperand &use : value.getUses()) {
    readers.push_back(&use);
    if (auto split = dyn_cast<SplitHeadsOp>(use.getOwner()))
      for (OpOperand &reader : split.getY().getUses())
        readers.push_back(&reader);
  }
  return readers;
}

/// Why the weights of `op` stay float; empty text if they need not.
Quantizer::Obstacle Quantizer::findWeightObstacle(LinearOp op) const {
  if (!isAdjustable(op))
    return {"its weights are not float constants", false};
  if (!recipe.getWeight(getEdgeName(op.getY())).isQuantized)
    return {"the recipe leaves it float", true};
  return {};
}

/// Why `value` is not among the edges.
Quantizer::Obstacle Quantizer::findEdgeObstacle(Value value) const {
  for (OpOperand *reader : getReaders(value)) {
    auto linear = dyn_cast<LinearOp>(reader->getOwner());
    if (!linear || reader != &linear.getXMutable())
      continue;
    Obstacle obstacle = findWeightObstacle(linear);
    if (obstacle.text.empty())
      continue;
    obstacle.text =
        "'" + getEdgeName(linear.getY()) + "' reads it: " + obstacle.text;
    return obstacle;
  }
  if (recipe.edges == EdgeSet::MatmulInputs)
    return {"the recipe quantizes inputs of products alone", true};
  return {"no operation that takes integers reads it", false};
}

void Quantizer::explainFloatEdges() {
  DenseMap<Value, const Edge *> known;
  for (const Edge &edge : edges)
    known[edge.value] = &edge;
  for (Value value : getEdges(function)) {
    const Edge *edge = known.lookup(value);
    bool isQuantized = edge && edge->recipe.isQuantized;
    // Heads that several operations read are an edge of their own.
    if (isQuantized || llvm::any_of(value.getUsers(), [&](Operation *user) {
          return isa<SplitHeadsOp>(user) && known.count(user->getResult(0));
        }))
      continue;
    Obstacle obstacle = findEdgeObstacle(value);
    if (edge)
      obstacle = edge->obstacle.empty()
                     ? Obstacle{"the recipe leaves it float", true}
                     : Obstacle{edge->obstacle, false};
    explain(value.getLoc(), obstacle);
    if (options.report)
      getEdgeReport(*options.report, value).reason = obstacle.text;
  }
}

//===----------------------------------------------------------------------===//
// Float layers
//===----------------------------------------------------------------------===//

/// Why a layer stays float; empty text if it does not.
Quantizer::Obstacle Quantizer::findLayerObstacle(Operation *op) {
  if (isa<EmbeddingOp>(op))
    return {"recipes leave embeddings float", true};
  if (isa<GateProjectionOp>(op))
    return {"recipes leave gate projections float", true};
  auto linear = dyn_cast<LinearOp>(op);
  std::string input = loneFactors.lookup(op);
  if (linear) {
    if (Obstacle obstacle = findWeightObstacle(linear); !obstacle.text.empty())
      return obstacle;
    if (!isQuantizedAt(linear.getXMutable()))
      input = getEdgeName(linear.getX());
  }
  return {input.empty() ? "" : "'" + input + "' stays float", false};
}

void Quantizer::explainFloatLayers() {
  for (Operation &op : function.getBody().front()) {
    if (!getFactor(&op))
      continue;
    Obstacle obstacle = findLayerObstacle(&op);
    if (obstacle.text.empty())
      continue;
    explain(op.getLoc(), obstacle);
    if (options.report)
      getLayerReport(*options.report, op.getResult(0)).reason = obstacle.text;
  }
}

void Quantizer::leaveAll(StringRef reason) {
  if (!options.report)
    return;
  for (Value value : getEdges(function))
    getEdgeReport(*options.report, value).reason = reason;
  for (Operation &op : function.getBody().front())
    if (Value factor = getFactor(&op); factor && isFloatTensor(factor))
      getLayerReport(*options.report, op.getResult(0)).reason = reason;
}

//===----------------------------------------------------------------------===//
// What is quantized
//===----------------------------------------------------------------------===//

void Quantizer::explainQuantized(const Edge &edge) {
  remark::passed(edge.value.getLoc(), kQuantizeRemark) << remark::add(
      "quantized to 8 bits in {0} group(s)", edge.groups.sizes.size());
  if (!options.report)
    return;
  EdgeReport &entry = getEdgeReport(*options.report, edge.value);
  if (!edge.recipe.isDynamic) {
    entry.margin = edge.recipe.margin;
    if (options.report->calibration)
      entry.observer = options.report->calibration->observer;
  }
  if (!edge.scaling)
    return;
  entry.isScaled |=
      llvm::any_of(edge.scaling->scale, [](float scale) { return scale != 1; });
  entry.isShifted |=
      llvm::any_of(edge.scaling->shift, [](float shift) { return shift != 0; });
}

void Quantizer::explainRescaling(Value value, bool isScaled) {
  if (!options.report)
    return;
  EdgeReport &entry = getEdgeReport(*options.report, value);
  entry.isScaled |= isScaled;
  entry.isShifted = true;
}

void Quantizer::explainOutliers(const Edge &edge, const ChannelGroups &groups) {
  if (groups.sizes.size() == 1)
    return;
  StringRef reason =
      isFreelyOrdered(edge.value)
          ? "not only linears on integers read it"
          : "its channels have the order of what it is computed from";
  remark::missed(edge.value.getLoc(), kQuantizeRemark) << remark::reason(
      "no group for {0} outlier(s): {1}", groups.sizes.back(), reason);
}

void Quantizer::explainGroups(const Edge &edge) {
  int64_t expected = edge.recipe.numGroups;
  if (int64_t(edge.groups.sizes.size()) >= expected)
    return;
  remark::missed(edge.value.getLoc(), kQuantizeRemark) << remark::reason(
      "{0} group(s) instead of {1}: {2}", edge.groups.sizes.size(), expected,
      edge.feedsLinearsOnly ? "more would not lower the error"
                            : "not only linears read it");
}

void Quantizer::explainWeights(LinearOp op, const WeightRecipe &choice,
                               const RoundedLinear &rounded) {
  bool hasData = rounded.hasData;
  bool isErrorMinimised = rounded.weights.isErrorMinimised;
  remark::passed(op.getLoc(), kQuantizeRemark)
      << remark::add("weights rounded to {0} bits by {1}", choice.bits,
                     isErrorMinimised ? "gptq" : "nearest");
  StringRef reason = !options.data ? "there is no data"
                     : !hasData    ? "not only linears read its input"
                                   : "its inputs are zeros, or too large";
  if (choice.isErrorMinimised && !isErrorMinimised)
    remark::missed(op.getLoc(), kQuantizeRemark)
        << remark::reason("weights rounded to the nearest: {0}", reason);
  if (recipe.hasBiasCorrection && !hasData)
    remark::missed(op.getLoc(), kQuantizeRemark)
        << remark::reason("bias not corrected: {0}", reason);
  if (!options.report)
    return;
  LayerReport &layer = getLayerReport(*options.report, op.getY());
  layer.method = isErrorMinimised ? "gptq" : "nearest";
  layer.isBiasCorrected = recipe.hasBiasCorrection && hasData;
  layer.hasSearchedScales =
      !rounded.options.shortSums.empty() ||
      (rounded.options.searchesScales && isErrorMinimised);
}
