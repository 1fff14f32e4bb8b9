//===- Quantize.cpp - The stage quantize ----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Quantizer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "qtx/Analysis/Observed.h"

using namespace mlir;
using namespace qtx;

/// Constants that nothing uses any more.
static void eraseUnusedConstants(func::FuncOp function) {
  for (auto op :
       llvm::to_vector(function.getBody().front().getOps<arith::ConstantOp>()))
    if (op->use_empty())
      op.erase();
}

/// Whether the model came with quantized edges.
static bool isQuantized(func::FuncOp function) {
  WalkResult result = function.walk([](QuantizableOpInterface op) {
    for (const QuantEdge &edge : op.getQuantEdges())
      if (getQuantParams(op, edge))
        return WalkResult::interrupt();
    return WalkResult::advance();
  });
  return result.wasInterrupted();
}

LogicalResult Quantizer::run() {
  if (isQuantized(function)) {
    if (options.simulate)
      return function.emitError() << "expected a float model to simulate, "
                                     "found one that is quantized already";
    useQuantizedOperands(function);
    if (!recipe.isFloat())
      function.emitRemark() << "the model is quantized already and keeps its "
                               "scales: recipe '"
                            << recipe.name << "' is not applied";
    leaveAll("the model is quantized already and keeps its scales");
    return success();
  }
  if (recipe.isFloat()) {
    leaveAll("the recipe leaves the model float");
    return success();
  }
  prepareAttention();
  if (options.prepared)
    options.prepared();
  findFeedForwards();
  findStreams();
  collectEdges();
  if (failed(checkOverrides()) || failed(checkWeights()))
    return failure();
  dropLoneFactors();
  if (failed(observeVariances()))
    return failure();
  for (Edge &edge : edges)
    if (edge.recipe.isQuantized && failed(choose(edge)))
      return failure();
  if (hasMissingRanges)
    return function.emitError()
           << "recipe '" << recipe.name
           << "' needs observed ranges: calibrate the model with data "
              "(--calibrate=DATA.npz), or choose a recipe that takes none "
              "(--recipe=w8a8-dynamic or --recipe=none)";
  explainFloatEdges();
  explainFloatLayers();
  for (Edge &edge : edges)
    if (edge.recipe.isQuantized) {
      insert(edge);
      explainQuantized(edge);
    }
  endStreams();
  quantizeProbabilities();
  if (failed(observe()))
    return failure();
  quantizeWeights();
  if (!options.simulate)
    useQuantizedOperands(function);
  eraseUnusedConstants(function);
  removeObserved(function);
  return success();
}

LogicalResult qtx::quantizeModel(func::FuncOp function, const Recipe &recipe,
                                 const QuantizeOptions &options) {
  return Quantizer(function, recipe, options).run();
}
