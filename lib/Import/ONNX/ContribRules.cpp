//===- ContribRules.cpp - Operators of com.microsoft --------------------===//
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

/// The sum of the inputs is the fourth output.
static LogicalResult inferSkipLayerNormalization(Node &node) {
  if (failed(node.expectRankAtLeast(0, 2)))
    return failure();
  for (unsigned index : {1u, 2u})
    if (index < node.getNumOutputs() && node.isWanted[index])
      return node.unsupported("mean and deviation");
  if (failed(inferSame(node)))
    return failure();
  return node.infer(node.getDims(), node.getElementType(), 3);
}

static LogicalResult inferEmbedLayerNormalization(Node &node) {
  if (failed(node.expectRank(0, 2)) || failed(node.expectRank(2, 2)))
    return failure();
  Dims ids = node.getDims();
  Dims dims = {ids[0], ids[1], node.getDims(2)[1]};
  if (failed(node.infer(dims, node.getElementType(2), 0)) ||
      failed(node.infer(ids[0], node.builder.getI32Type(), 1)))
    return failure();
  return node.infer(dims, node.getElementType(2), 2);
}

/// The packed projection is inside of the operator.
static LogicalResult inferPackedAttention(Node &node) {
  if (node.getNumOutputs() > 1)
    return node.unsupported("more than one output");
  if (failed(node.expectRank(0, 3)) || failed(node.expectRank(1, 2)))
    return failure();
  Dims dims = node.getDims();
  auto sizes = node.getIntList("qkv_hidden_sizes");
  if (sizes && sizes->size() == 3)
    dims[2] = node.sizes().get(sizes->back());
  else
    dims[2] = node.sizes().floorDiv(node.getDims(1)[1], node.sizes().get(3));
  return node.infer(dims, node.getElementType());
}

static LogicalResult inferMultiHeadAttention(Node &node) {
  if (node.getNumOutputs() > 1)
    return node.unsupported("more than one output");
  if (!node.hasInput(1) || !node.hasInput(2))
    return node.unsupported("packed inputs");
  if (failed(node.expectRank(0, 3)) || failed(node.expectRank(2, 3)))
    return failure();
  Dims dims = node.getDims();
  dims[2] = node.getDims(2)[2];
  return node.infer(dims, node.getElementType());
}

static LogicalResult inferMatMulNBits(Node &node) {
  if (failed(node.expectRankAtLeast(0, 1)))
    return failure();
  Dims dims = node.getDims();
  if (failed(
          node.expectEqual(dims.back(), node.sizes().get(node.getInt("K", 0)))))
    return failure();
  dims.back() = node.sizes().get(node.getInt("N", 0));
  return node.infer(dims, node.getElementType());
}

/// Version 1 of LayerNormalization was in ORT's own domain.
static LogicalResult inferFusedMatMul(Node &node) {
  Dims lhs = node.getDims(0), rhs = node.getDims(1);
  if (failed(node.expectRankAtLeast(0, 2)) ||
      failed(node.expectRankAtLeast(1, 2)))
    return failure();
  if (node.getInt("transBatchA", 0) != 0 || node.getInt("transBatchB", 0) != 0)
    return node.unsupported("transposed batches");
  if (node.getInt("transA", 0) != 0)
    std::swap(lhs.end()[-1], lhs.end()[-2]);
  if (node.getInt("transB", 0) != 0)
    std::swap(rhs.end()[-1], rhs.end()[-2]);
  if (failed(node.expectEqual(lhs.back(), rhs.end()[-2])))
    return failure();
  FailureOr<Dims> dims =
      node.broadcast(ArrayRef(lhs).drop_back(2), ArrayRef(rhs).drop_back(2));
  if (failed(dims))
    return failure();
  dims->push_back(lhs.end()[-2]);
  dims->push_back(rhs.back());
  return node.infer(*dims, node.getElementType());
}

void qtx::importer::addContribRules(RuleTable &rules) {
  auto add = [&](StringRef op, Rule rule) {
    rules[("com.microsoft::" + op).str()] = rule;
  };
  add("Gelu", {1, 1, 1, inferSame});
  add("FastGelu", {1, 2, 1, inferSame});
  add("QuickGelu", {1, 1, 1, inferSame});
  add("BiasGelu", {2, 2, 1, inferSame});
  add("SkipLayerNormalization", {3, 5, 4, inferSkipLayerNormalization});
  add("SkipSimplifiedLayerNormalization",
      {3, 4, 4, inferSkipLayerNormalization});
  add("EmbedLayerNormalization", {7, 9, 3, inferEmbedLayerNormalization});
  add("Attention", {2, 7, 2, inferPackedAttention});
  add("MultiHeadAttention", {1, 8, 3, inferMultiHeadAttention});
  add("MatMulNBits", {3, 6, 1, inferMatMulNBits});
  add("FusedMatMul", {2, 2, 1, inferFusedMatMul});
  add("RotaryEmbedding", {4, 4, 1, inferSame});
}
