//===- NormalizationRules.cpp - ONNX operators that normalize -----------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "Tensors.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::importer;

static LogicalResult inferSame(Node &node) {
  return node.infer(node.getDims(), node.getElementType());
}

static LogicalResult inferBatchNormalization(Node &node) {
  if (node.getInt("training_mode", 0) != 0 || node.getNumOutputs() > 1)
    return node.unsupported("training");
  if (failed(node.expectRankAtLeast(0, 2)))
    return failure();
  for (unsigned index = 1; index < 5; ++index)
    if (failed(node.expectRank(index, 1)) ||
        failed(node.expectEqual(node.getDims()[1], node.getDims(index)[0])))
      return failure();
  return inferSame(node);
}

static LogicalResult inferInstanceNormalization(Node &node) {
  if (failed(node.expectRankAtLeast(0, 3)))
    return failure();
  return inferSame(node);
}

/// Statistics over the dimensions from `axis` on.
static LogicalResult inferLayerNormalization(Node &node) {
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", -1), node.getRank());
  if (failed(axis))
    return failure();
  for (unsigned index = 1; index < node.getNumInputs(); ++index)
    if (node.inputs[index] &&
        failed(node.broadcast(node.getDims(), node.getDims(index))))
      return failure();
  node.setInt("axis", *axis);
  Dims dims = node.getDims();
  if (failed(node.infer(dims, node.getElementType())))
    return failure();
  std::fill(dims.begin() + *axis, dims.end(), node.sizes().get(1));
  int64_t stash = node.getInt("stash_type", 1);
  Type type = getElementType(stash, node.builder.getContext());
  if (!type)
    return node.unsupported("stash_type " + Twine(stash));
  if (failed(node.infer(dims, type, 1)))
    return failure();
  return node.infer(dims, type, 2);
}

void qtx::importer::addNormalizationRules(RuleTable &rules) {
  rules["BatchNormalization"] = {5, 5, 5, inferBatchNormalization};
  rules["InstanceNormalization"] = {3, 3, 1, inferInstanceNormalization};
  rules["GroupNormalization"] = {3, 3, 1, inferInstanceNormalization};
  rules["LayerNormalization"] = {2, 3, 3, inferLayerNormalization};
  rules["RMSNormalization"] = {2, 2, 1, inferLayerNormalization};
  rules["LRN"] = {1, 1, 1, inferSame};
  rules["MeanVarianceNormalization"] = {1, 1, 1, inferSame};
}
