//===- CollectEdges.cpp - What a recipe quantizes -------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Dialect/Qtx/Transforms/ConstantUtils.h"
#include "LinearNumbers.h"
#include "Quantizer.h"
#include "qtx/Analysis/Calibrate.h"
#include "qtx/Analysis/Measure.h"

using namespace mlir;
using namespace qtx;

int64_t qtx::getNumChannels(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape().back();
}

/// `x`, `h` and `y` of a feed-forward network: its input, its result and the
/// residual sum.
void Quantizer::findFeedForwards() {
  for (auto down : function.getBody().front().getOps<LinearOp>()) {
    Operation *activation = down.getX().getDefiningOp();
    if (!isa_and_present<GeluOp, ReluOp, SiluOp>(activation))
      continue;
    auto up = activation->getOperand(0).getDefiningOp<LinearOp>();
    if (!up || !down.getY().hasOneUse())
      continue;
    auto sum = dyn_cast<AddOp>(*down.getY().user_begin());
    if (!sum)
      continue;
    for (Value value : {up.getX(), down.getY(), sum.getY()})
      orderOf[value] = down.getY();
  }
}

bool qtx::isChannelwise(Operation *op) {
  return isa<AddOp, LayerNormOp, RmsNormOp, GeluOp, ReluOp, SiluOp>(op);
}

void Quantizer::findStreams() {
  auto hasChannels = [](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.getRank() > 1 && !ConstantTensor::isConstant(value);
  };
  auto getSize = [](Value value) {
    return cast<RankedTensorType>(value.getType()).getShape().back();
  };
  for (Operation &op : function.getBody().front()) {
    if (!isChannelwise(&op) || !hasChannels(op.getResult(0)))
      continue;
    for (Value operand : op.getOperands())
      if (hasChannels(operand) && getSize(operand) == getSize(op.getResult(0)))
        streams.unionSets(op.getResult(0).getAsOpaquePointer(),
                          operand.getAsOpaquePointer());
  }
}

SmallVector<OpOperand *> qtx::getFactors(Operation *op) {
  if (auto attention = dyn_cast<AttentionOp>(op))
    return {&attention.getQueryMutable(), &attention.getKeyMutable(),
            &attention.getValueMutable()};
  if (auto product = dyn_cast<BatchMatmulOp>(op))
    return {&product.getAMutable(), &product.getBMutable()};
  return {};
}

OpOperand &qtx::getTarget(OpOperand &use) {
  auto split = use.get().getDefiningOp<SplitHeadsOp>();
  return split && use.get().hasOneUse() ? split->getOpOperand(0) : use;
}

void Quantizer::collectUse(OpOperand &use,
                           llvm::MapVector<Value, Edge> &found) {
  OpOperand *target = &getTarget(use);
  Value value = target->get();
  if (!isFloatTensor(value) || ConstantTensor::isConstant(value))
    return;
  Edge &edge = found[value];
  edge.value = value;
  edge.uses.push_back(target);
  edge.feedsLinearsOnly &= isa<LinearOp>(target->getOwner());
}

void Quantizer::collectEdges() {
  llvm::MapVector<Value, Edge> found;
  for (Operation &op : function.getBody().front()) {
    if (auto linear = dyn_cast<LinearOp>(op)) {
      if (isAdjustable(linear) &&
          recipe.getWeight(getEdgeName(linear.getY())).isQuantized)
        collectUse(linear.getXMutable(), found);
    }
    for (OpOperand *use : getFactors(&op))
      collectUse(*use, found);
  }
  for (auto &[value, edge] : found)
    edges.push_back(edge);
  if (recipe.edges == EdgeSet::All)
    collectRemaining();
  for (Edge &edge : edges)
    edge.recipe = recipe.getEdge(getEdgeName(edge.value));
}

bool Quantizer::isQuantizedAt(OpOperand &use) {
  return llvm::any_of(edges, [&](const Edge &edge) {
    return edge.recipe.isQuantized && llvm::is_contained(edge.uses, &use);
  });
}

/// Products of activations take integers for all factors, or for none.
void Quantizer::dropLoneFactors() {
  auto drop = [&](OpOperand &use, const std::string &obstacle) {
    for (Edge &edge : edges) {
      if (!llvm::is_contained(edge.uses, &use))
        continue;
      llvm::erase(edge.uses, &use);
      edge.feedsLinearsOnly = llvm::all_of(edge.uses, [](OpOperand *other) {
        return isa<LinearOp>(other->getOwner());
      });
      if (!edge.uses.empty() || !edge.recipe.isQuantized)
        continue;
      edge.recipe.isQuantized = false;
      edge.obstacle = obstacle;
    }
  };
  for (Operation &op : function.getBody().front()) {
    SmallVector<OpOperand *> factors = getFactors(&op);
    auto *lone = llvm::find_if(factors, [&](OpOperand *factor) {
      return !isQuantizedAt(getTarget(*factor));
    });
    if (lone == factors.end())
      continue;
    std::string name = getEdgeName(getTarget(**lone).get());
    loneFactors[&op] = name;
    for (OpOperand *factor : factors)
      drop(getTarget(*factor),
           "'" + name + "', by which it is multiplied, stays float");
  }
}

/// What operations other than products read.
void Quantizer::collectRemaining() {
  DenseSet<OpOperand *> known;
  for (Edge &edge : edges)
    known.insert(edge.uses.begin(), edge.uses.end());
  for (Value value : getEdges(function)) {
    if (!isFloatTensor(value))
      continue;
    Edge edge;
    edge.value = value;
    edge.feedsLinearsOnly = false;
    for (OpOperand &use : value.getUses())
      if (isChannelwise(use.getOwner()) && isFloatTensor(use.get()) &&
          !known.contains(&use) &&
          cast<RankedTensorType>(value.getType()).getRank() > 1)
        edge.uses.push_back(&use);
    if (!edge.uses.empty())
      edges.push_back(edge);
  }
}

/// An override that matches nothing is a mistake of the user.
LogicalResult Quantizer::checkOverrides() {
  auto check = [&](ArrayRef<Recipe::Override> overrides, StringRef what,
                   ArrayRef<std::string> names) {
    for (const Recipe::Override &override : overrides)
      if (llvm::none_of(names, [&](const std::string &name) {
            return override.matches(name);
          }))
        return LogicalResult(function.emitError()
                             << recipe.name << ": no " << what << " matches '"
                             << override.match << "'");
    return success();
  };
  SmallVector<std::string> edgeNames, layerNames;
  for (const Edge &edge : edges)
    edgeNames.push_back(getEdgeName(edge.value));
  for (auto op : function.getBody().front().getOps<LinearOp>())
    layerNames.push_back(getEdgeName(op.getY()));
  if (failed(check(recipe.edgeOverrides, "edge", edgeNames)))
    return failure();
  return check(recipe.layerOverrides, "layer", layerNames);
}
