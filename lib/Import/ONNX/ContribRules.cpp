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

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

static LogicalResult expandGelu(Node &node, StringRef approximate) {
  Value x = node.inputs[0];
  if (node.hasInput(1))
    x = node.apply("Add", {x, node.inputs[1]});
  return node.replace(node.apply("Gelu", {x}, [&](Node &gelu) {
    gelu.attributes.set("approximate", node.builder.getStringAttr(approximate));
  }));
}

static LogicalResult expandErfGelu(Node &node) {
  return expandGelu(node, "none");
}

static LogicalResult expandTanhGelu(Node &node) {
  return expandGelu(node, "tanh");
}

static LogicalResult expandQuickGelu(Node &node) {
  Value x = node.inputs[0];
  Value alpha =
      node.createScalar(node.getFloat("alpha", 1.702f), node.getElementType());
  Value gate = node.apply("Sigmoid", {node.apply("Mul", {x, alpha})});
  return node.replace(node.apply("Mul", {x, gate}));
}

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

static Value normalize(Node &node, StringRef op, ArrayRef<Value> inputs) {
  float epsilon = node.getFloat("epsilon", 1e-12f);
  return node.apply(op, inputs, [&](Node &norm) {
    norm.setInt("axis", -1);
    norm.attributes.set("epsilon", node.builder.getF32FloatAttr(epsilon));
  });
}

/// Normalizes the sum of two tensors and perhaps a bias; the sum is the fourth
/// output.
static LogicalResult expandSkipNorm(Node &node, StringRef op, unsigned bias,
                                    bool hasBeta) {
  for (unsigned index : {1u, 2u})
    if (index < node.getNumOutputs() && node.isWanted[index])
      return node.unsupported("mean and deviation");
  Value sum = node.apply("Add", {node.inputs[0], node.inputs[1]});
  if (node.hasInput(bias))
    sum = node.apply("Add", {sum, node.inputs[bias]});
  SmallVector<Value> inputs = {sum, node.inputs[2]};
  if (hasBeta && node.hasInput(3))
    inputs.push_back(node.inputs[3]);
  if (failed(node.replace(normalize(node, op, inputs))))
    return failure();
  return node.replace(sum, 3);
}

static LogicalResult expandSkipLayerNorm(Node &node) {
  return expandSkipNorm(node, "LayerNormalization", 4, /*hasBeta=*/true);
}

static LogicalResult expandSkipRMSNorm(Node &node) {
  return expandSkipNorm(node, "RMSNormalization", 3, /*hasBeta=*/false);
}

static Value gatherRows(Node &node, unsigned table, Value rows) {
  return node.apply("Gather", {node.inputs[table], rows},
                    [](Node &gather) { gather.setInt("axis", 0); });
}

/// 0, 1, ... up to a dimension of `value`.
static Value countTo(Node &node, Value value, int64_t axis, Type elementType) {
  Value size = node.apply("Shape", {value}, [&](Node &shape) {
    shape.setInt("start", axis);
    shape.setInt("end", axis + 1);
  });
  Type i64 = node.builder.getI64Type();
  Value range =
      node.apply("Range", {node.createScalar(0, i64), node.reshape(size, {}),
                           node.createScalar(1, i64)});
  if (elementType == i64)
    return range;
  return node.apply("CastLike", {range, node.createScalar(0, elementType)});
}

/// The sum of word, position and segment embeddings, normalized. The second
/// output is the number of tokens that count, the third one the sum.
static LogicalResult expandEmbedLayerNorm(Node &node) {
  Value ids = node.inputs[0];
  if (failed(node.expectRank(0, 2)))
    return failure();
  Value positions = node.hasInput(8)
                        ? node.inputs[8]
                        : countTo(node, ids, 1, node.builder.getI64Type());
  Value sum = node.apply(
      "Add", {gatherRows(node, 2, ids), gatherRows(node, 3, positions)});
  if (node.hasInput(1) && node.hasInput(4))
    sum = node.apply("Add", {sum, gatherRows(node, 4, node.inputs[1])});
  if (failed(node.replace(normalize(node, "LayerNormalization",
                                    {sum, node.inputs[5], node.inputs[6]}))))
    return failure();
  if (node.getNumOutputs() > 1 && node.isWanted[1]) {
    if (!node.hasInput(7))
      return node.unsupported("mask index without a mask");
    Value count =
        node.apply("ReduceSum", {node.inputs[7], node.createInts({1})},
                   [](Node &reduction) { reduction.setInt("keepdims", 0); });
    if (failed(node.replace(count, 1)))
      return failure();
  }
  return node.replace(sum, 2);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

static Value swapLast(Node &node, Value value) {
  int64_t rank = cast<RankedTensorType>(value.getType()).getRank();
  auto axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  std::swap(axes[rank - 1], axes[rank - 2]);
  return node.apply("Transpose", {value},
                    [&](Node &transpose) { transpose.setInts("perm", axes); });
}

static LogicalResult expandFusedMatMul(Node &node) {
  if (node.getInt("transBatchA", 0) != 0 || node.getInt("transBatchB", 0) != 0)
    return node.unsupported("transposed batches");
  Value factors[2];
  for (unsigned index : {0u, 1u}) {
    if (failed(node.expectRankAtLeast(index, 2)))
      return failure();
    factors[index] = node.inputs[index];
    if (node.getInt(index == 0 ? "transA" : "transB", 0) != 0)
      factors[index] = swapLast(node, factors[index]);
  }
  Value product = node.apply("MatMul", factors);
  float alpha = node.getFloat("alpha", 1);
  if (alpha != 1)
    product = node.apply(
        "Mul", {product, node.createScalar(alpha, node.getElementType())});
  return node.replace(product);
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

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// The mask, which has a number of keys per sequence, or a flag per key or per
/// query and key, as flags that broadcast to the scores. Null after an error.
static Value getFlags(Node &node, unsigned index, Value keys) {
  Value mask = node.inputs[index];
  Dims dims = node.getDims(index);
  Size one = node.sizes().get(1);
  if (dims.size() == 1) {
    Size batch = qtx::onnx::getDims(cast<RankedTensorType>(keys.getType()))[0];
    if (dims[0] != batch) {
      (void)node.unsupported("mask of this shape");
      return {};
    }
    Value counts = node.reshape(mask, {dims[0], one, one, one});
    Value positions = countTo(node, keys, 1, node.getElementType(index));
    return node.apply("Less", {positions, counts});
  }
  if (dims.size() != 2 && dims.size() != 3) {
    (void)node.unsupported("mask of this shape");
    return {};
  }
  Value zero = node.createScalar(0, node.builder.getI1Type());
  Value flags = node.apply("CastLike", {mask, zero});
  dims.insert(dims.begin() + 1, one);
  if (dims.size() == 3)
    dims.insert(dims.begin() + 1, one);
  return node.reshape(flags, dims);
}

/// ONNX's operator on projected queries, keys and values.
static LogicalResult replaceByAttention(Node &node, ArrayRef<Value> operands,
                                        unsigned mask, unsigned bias) {
  SmallVector<Value> inputs(operands);
  if (node.hasInput(mask) && node.hasInput(bias))
    return node.unsupported("mask and bias");
  if (node.hasInput(mask) && inputs[1])
    inputs.push_back(getFlags(node, mask, inputs[1]));
  if (node.hasInput(bias))
    inputs.push_back(node.inputs[bias]);
  int64_t heads = node.getInt("num_heads", 0);
  float scale = node.getFloat("scale", 0);
  return node.replace(node.apply("Attention", inputs, [&](Node &attention) {
    attention.setInt("q_num_heads", heads);
    attention.setInt("kv_num_heads", heads);
    if (scale != 0)
      attention.attributes.set("scale", node.builder.getF32FloatAttr(scale));
    if (node.getInt("unidirectional", 0) != 0)
      attention.setInt("is_causal", 1);
  }));
}

/// Projects first: the weights of queries, keys and values side by side.
static LogicalResult expandAttention(Node &node) {
  if (node.getNumOutputs() > 1 || node.hasInput(4))
    return node.unsupported("past keys and values");
  if (node.getInt("do_rotary", 0) != 0)
    return node.unsupported("rotary embedding");
  if (failed(node.expectRank(0, 3)) || failed(node.expectRank(1, 2)))
    return failure();
  std::optional<int64_t> width = getConstant(node.getDims(1)[1]);
  if (!width)
    return node.unsupported("weights of dynamic size");
  SmallVector<int64_t> sizes =
      node.getIntList("qkv_hidden_sizes").value_or(SmallVector<int64_t>());
  if (sizes.size() != 3)
    sizes.assign(3, *width / 3);
  Value projected = node.apply("MatMul", {node.inputs[0], node.inputs[1]});
  if (node.hasInput(2))
    projected = node.apply("Add", {projected, node.inputs[2]});
  SmallVector<Value> parts =
      node.applyAll("Split", {projected, node.createInts(sizes)}, 3,
                    [](Node &split) { split.setInt("axis", 2); });
  return replaceByAttention(node, parts, 3, 5);
}

/// Adds the part of the packed bias that belongs to one operand.
static Value addBias(Node &node, unsigned index, Size &offset) {
  Value operand = node.inputs[index];
  if (!node.hasInput(3))
    return operand;
  std::optional<int64_t> size = getConstant(node.getDims(index)[2]);
  std::optional<int64_t> begin = getConstant(offset);
  if (!size || !begin) {
    (void)node.unsupported("operands of dynamic size");
    return {};
  }
  offset = node.sizes().get(*begin + *size);
  Value part = node.apply("Slice", {node.inputs[3], node.createInts(*begin),
                                    node.createInts(*begin + *size),
                                    node.createInts(0)});
  return node.apply("Add", {operand, part});
}

static LogicalResult expandMultiHeadAttention(Node &node) {
  if (node.getNumOutputs() > 1 || node.hasInput(6) || node.hasInput(7))
    return node.unsupported("past keys and values");
  if (!node.hasInput(1) || !node.hasInput(2))
    return node.unsupported("packed inputs");
  for (unsigned index : {0u, 1u, 2u})
    if (failed(node.expectRank(index, 3)))
      return failure();
  Size offset = node.sizes().get(0);
  SmallVector<Value> operands;
  for (unsigned index : {0u, 1u, 2u})
    operands.push_back(addBias(node, index, offset));
  return replaceByAttention(node, operands, 4, 5);
}

void qtx::importer::addContribRules(RuleTable &rules) {
  auto add = [&](StringRef op, Rule rule) {
    rules[("com.microsoft::" + op).str()] = rule;
  };
  add("Gelu", {1, 1, 1, expandErfGelu});
  add("BiasGelu", {2, 2, 1, expandErfGelu});
  add("FastGelu", {1, 2, 1, expandTanhGelu});
  add("QuickGelu", {1, 1, 1, expandQuickGelu});
  add("SkipLayerNormalization", {3, 5, 4, expandSkipLayerNorm});
  add("SkipSimplifiedLayerNormalization", {3, 4, 4, expandSkipRMSNorm});
  add("EmbedLayerNormalization", {7, 9, 3, expandEmbedLayerNorm});
  add("Attention", {2, 7, 2, expandAttention});
  add("MultiHeadAttention", {1, 8, 3, expandMultiHeadAttention});
  add("FusedMatMul", {2, 2, 1, expandFusedMatMul});
  add("MatMulNBits", {3, 6, 1, inferMatMulNBits});
}
