//===- Attention.cpp - Attention of ONNX as plain operations --------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include <cmath>

using namespace mlir;
using namespace qtx::onnx;

using arith::CmpIPredicate;

static Value compare(Scalars &s, CmpIPredicate predicate, Value a, Value b) {
  return arith::CmpIOp::create(s, predicate, a, b);
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

namespace {
/// The node `Attention`, all heads apart: [batch, heads, sequence, size].
struct AttentionNode {
  Tensor query, key, value;
  /// Scores have the shape [batch, heads, queries, keys].
  SmallVector<AffineExpr> scoreDims;
  /// How many keys lie in front of the first query: absent for none.
  Value past;
  /// The number of keys that count, per batch; absent for all.
  Tensor lengths;
};
} // namespace

/// [batch, sequence, heads * size] as [batch, heads, sequence, size].
static Tensor splitHeads(NodeLowering &b, Tensor x, StringRef attr) {
  if (x.rank() == 4)
    return x;
  int64_t heads = std::max<int64_t>(b.node.getIntAttr(attr, 1), 1);
  Tensor split = b.reshape(
      x, {x.dim(0), x.dim(1), b.constantDim(heads), x.dim(2).floorDiv(heads)});
  return b.transpose(split, {0, 2, 1, 3});
}

/// Keys or values behind those of earlier calls.
static Tensor joinPast(NodeLowering &b, Tensor x, unsigned past) {
  if (!b.has(past))
    return x;
  Tensor before = b.input(past);
  SmallVector<AffineExpr> dims = x.dims();
  dims[2] = before.dim(2) + dims[2];
  Tensor joined = b.empty(dims, x.element());
  joined = b.insert(before, joined, 2, b.index(int64_t(0)));
  return b.insert(x, joined, 2, b.index(before.dim(2)));
}

static AttentionNode readAttention(NodeLowering &b) {
  AttentionNode node;
  node.query = splitHeads(b, b.input(0), "q_num_heads");
  node.key = joinPast(b, splitHeads(b, b.input(1), "kv_num_heads"), 4);
  node.value = joinPast(b, splitHeads(b, b.input(2), "kv_num_heads"), 5);
  node.scoreDims = {node.query.dim(0), node.query.dim(1), node.query.dim(2),
                    node.key.dim(2)};
  if (b.has(4))
    node.past = b.index(b.input(4).dim(2));
  if (b.has(6))
    node.lengths = b.input(6);
  return node;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// [batch, heads, ...] as [batch, groups, heads of a group, ...].
static Tensor groupHeads(NodeLowering &b, Tensor x, AffineExpr groups,
                         AffineExpr inGroup) {
  SmallVector<AffineExpr> dims = x.dims();
  dims[1] = groups;
  dims.insert(dims.begin() + 2, inGroup);
  return b.reshape(x, dims);
}

/// The sums over `labels` that both share, of `x` with all heads and `y` whose
/// heads may be shared by several of them. Batch, group and head of the group
/// have the labels 0 to 2.
static Tensor multiplyHeads(NodeLowering &b, Tensor x, Tensor y,
                            ArrayRef<unsigned> xLabels,
                            ArrayRef<unsigned> yLabels,
                            ArrayRef<unsigned> resultLabels,
                            ArrayRef<AffineExpr> resultDims) {
  AffineExpr groups = y.dim(1), inGroup = x.dim(1).floorDiv(groups);
  SmallVector<unsigned> left = {0, 1, 2}, right = {0, 1}, result = {0, 1, 2};
  llvm::append_range(left, xLabels);
  llvm::append_range(right, yLabels);
  llvm::append_range(result, resultLabels);
  SmallVector<AffineExpr> dims = {resultDims[0], groups, inGroup, resultDims[2],
                                  resultDims[3]};
  Tensor product =
      contract(b, {groupHeads(b, x, groups, inGroup), y}, {left, right}, result,
               dims, getComputeElement(x.element()));
  return b.reshape(product, resultDims);
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

/// The product of queries and keys, scaled.
static Tensor createScores(NodeLowering &b, const AttentionNode &node) {
  Tensor products = multiplyHeads(b, node.query, node.key, {3, 5}, {4, 5},
                                  {3, 4}, node.scoreDims);
  auto size = dyn_cast<AffineConstantExpr>(node.query.dim(3));
  double byDefault = size ? 1 / std::sqrt(double(size.getValue())) : 1;
  double scale = b.node.getFloatAttr("scale", byDefault);
  return b.map(products.dims(), products.element(), products,
               [&](Scalars &s, ValueRange v) {
                 return s.mul(v[0], s.number(v[0].getType(), scale));
               });
}

static Tensor capScores(NodeLowering &b, Tensor scores, double cap) {
  return b.map(scores.dims(), scores.element(), scores,
               [&](Scalars &s, ValueRange v) {
                 Value bound = s.number(v[0].getType(), cap);
                 return s.mul(s.tanh(s.div(v[0], bound)), bound);
               });
}

/// Which keys a query reads besides what the mask says.
static Value createWindow(NodeLowering &b, Scalars &s,
                          const AttentionNode &node, Value query, Value key) {
  int64_t left = b.node.getIntAttr("left_window_size", -1);
  int64_t right = b.node.getIntAttr("right_window_size", -1);
  Value length;
  if (node.lengths) {
    Value batch = linalg::IndexOp::create(s, 0);
    length = NodeLowering::extract(s, node.lengths, batch);
    length = arith::IndexCastOp::create(s, s.getIndexType(), length);
  }
  if (node.past)
    query = s.add(query, node.past);
  else if (length)
    query = s.add(query, s.sub(length, b.index(node.scoreDims[2])));
  Value reads = s.integer(s.getI1Type(), 1);
  auto restrict = [&](CmpIPredicate predicate, Value x, Value y) {
    reads = s.logicalAnd(reads, compare(s, predicate, x, y));
  };
  if (b.node.getIntAttr("is_causal", 0) != 0)
    restrict(CmpIPredicate::sle, key, query);
  if (left >= 0)
    restrict(CmpIPredicate::sle, s.sub(query, key), b.index(left));
  if (right >= 0)
    restrict(CmpIPredicate::sle, s.sub(key, query), b.index(right));
  if (length)
    restrict(CmpIPredicate::slt, key, length);
  return reads;
}

/// What is added to the scores: minus infinity where a query does not read a
/// key. Absent if every query reads all.
static Tensor createBias(NodeLowering &b, const AttentionNode &node,
                         Type element) {
  bool isRestricted = b.node.getIntAttr("is_causal", 0) != 0 || node.lengths ||
                      b.node.getIntAttr("left_window_size", -1) >= 0 ||
                      b.node.getIntAttr("right_window_size", -1) >= 0;
  SmallVector<Tensor> mask;
  if (b.has(3))
    mask.push_back(b.input(3));
  if (!isRestricted && mask.empty())
    return {};
  return b.map(node.scoreDims, element, mask, [&](Scalars &s, ValueRange v) {
    Value query = linalg::IndexOp::create(s, 2);
    Value key = linalg::IndexOp::create(s, 3);
    Value bias = s.number(element, 0), never = s.lowest(element);
    Value reads = createWindow(b, s, node, query, key);
    if (v.empty())
      return s.select(reads, bias, never);
    // A mask may end before the last key.
    AffineExpr end = mask[0].dim(mask[0].rank() - 1);
    if (end != node.scoreDims[3] && !NodeLowering::isOne(end))
      reads = s.logicalAnd(reads,
                           compare(s, CmpIPredicate::slt, key, b.index(end)));
    if (v[0].getType().isInteger(1))
      reads = s.logicalAnd(reads, v[0]);
    else
      bias = s.convert(v[0], v[0].getType(), element);
    return s.select(reads, bias, never);
  });
}

/// A softmax in which a query that reads no key has the probability 0 of all.
static Tensor createProbabilities(NodeLowering &b, Tensor scores, Tensor bias) {
  Tensor highest = b.maximum(scores, 3, /*keep=*/true);
  SmallVector<Tensor> operands = {scores, highest};
  if (bias)
    operands.push_back(b.maximum(bias, 3, /*keep=*/true));
  Tensor powers = b.map(scores.dims(), scores.element(), operands,
                        [](Scalars &s, ValueRange v) {
                          Value power = s.exp(s.sub(v[0], v[1]));
                          if (v.size() == 2)
                            return power;
                          Type type = v[0].getType();
                          Value readsSome = s.less(s.lowest(type), v[2]);
                          // Not ordered: a NaN in a mask stays one.
                          readsSome = s.logicalOr(readsSome, s.isNaN(v[2]));
                          return s.select(readsSome, power, s.number(type, 0));
                        });
  Tensor sum = b.sum(powers, 3, /*keep=*/true);
  return b.map(scores.dims(), scores.element(), {powers, sum},
               [](Scalars &s, ValueRange v) {
                 Value zero = s.number(v[0].getType(), 0);
                 Value isNone = s.equal(v[1], zero);
                 return s.select(isNone, zero, s.div(v[0], v[1]));
               });
}

//===----------------------------------------------------------------------===//
// The node
//===----------------------------------------------------------------------===//

/// Scores, softmax and the product with the values; the results besides are the
/// keys and values for a later call, and what the scores were at some step.
static Lowered lowerAttention(NodeLowering &b) {
  AttentionNode node = readAttention(b);
  if (!isa<AffineConstantExpr>(node.query.dim(3)) &&
      !b.node.getNodeAttr("scale"))
    return b.fail("heads of dynamic size");
  SmallVector<Tensor> steps = {createScores(b, node)};
  double cap = b.node.getFloatAttr("softcap", 0);
  steps.push_back(cap == 0 ? steps[0] : capScores(b, steps[0], cap));
  Tensor bias = createBias(b, node, steps[0].element());
  steps.push_back(
      bias ? b.map(node.scoreDims, bias.element(), {steps[1], bias},
                   [](Scalars &s, ValueRange v) { return s.add(v[0], v[1]); })
           : steps[1]);
  steps.push_back(createProbabilities(b, steps[2], bias));

  SmallVector<AffineExpr> dims = node.query.dims();
  dims[3] = node.value.dim(3);
  // Probabilities are rounded as the operands are.
  Tensor probabilities = b.convert(steps[3], node.value.element());
  Tensor context =
      multiplyHeads(b, probabilities, node.value, {3, 4}, {4, 5}, {3, 5}, dims);
  if (b.resultType().getRank() == 3)
    context = b.reshape(b.transpose(context, {0, 2, 1, 3}), b.resultDims());
  SmallVector<Value> results = {b.narrow(context).value};
  for (Tensor present : {node.key, node.value})
    results.push_back(b.hasResult(results.size()) ? present.value : Value());
  int64_t step = b.node.getIntAttr("qk_matmul_output_mode", 0);
  if (b.hasResult(3) && (step < 0 || step > 3))
    return b.fail("'qk_matmul_output_mode' is out of range");
  results.push_back(b.hasResult(3) ? b.narrow(steps[step], 3).value : Value());
  results.truncate(b.node.getOutputs().size());
  return results;
}

//===----------------------------------------------------------------------===//
// Rotary positions
//===----------------------------------------------------------------------===//

namespace {
/// Where one number of a head is rotated, and its partner.
struct Rotation {
  Value first, second, pair, isSecond;
};
} // namespace

/// Pairs are neighbours, or one number of either half.
static Rotation getRotation(Scalars &s, Value at, int64_t half,
                            bool isInterleaved) {
  auto index = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(s, value);
  };
  Value step = index(isInterleaved ? 2 : half);
  Value quotient = arith::DivUIOp::create(s, at, step);
  Value rest = arith::RemUIOp::create(s, at, step);
  Value pair = isInterleaved ? quotient : rest;
  Value isSecond =
      compare(s, CmpIPredicate::eq, isInterleaved ? rest : quotient, index(1));
  // What is not rotated has no pair; any one in range does.
  pair = arith::MinUIOp::create(s, pair, index(half - 1));
  Value first = isInterleaved ? s.mul(pair, index(2)) : pair;
  Value second = s.add(first, index(isInterleaved ? 1 : half));
  return {first, second, pair, isSecond};
}

/// Turns pairs of numbers of each head by the angle of their position. The
/// angles are of all positions, looked up by `position_ids`, or of each token.
static Lowered lowerRotaryEmbedding(NodeLowering &b) {
  Tensor x = b.input(0), cosines = b.input(1), sines = b.input(2);
  Tensor heads = splitHeads(b, x, "num_heads");
  auto size = dyn_cast<AffineConstantExpr>(heads.dim(3));
  if (!size)
    return b.fail("heads of dynamic size");
  int64_t rotated = b.node.getIntAttr("rotary_embedding_dim", 0);
  rotated = rotated == 0 ? size.getValue() : rotated;
  if (rotated < 2 || rotated % 2 != 0 || rotated > size.getValue())
    return b.fail("'rotary_embedding_dim' is out of range");
  bool isInterleaved = b.node.getIntAttr("interleaved", 0) != 0;
  Tensor positions = b.has(3) ? b.input(3) : Tensor();
  Value limit = b.index(cosines.dim(0));
  Tensor turned =
      b.generate(heads.dims(), x.element(), [&](Scalars &s, ValueRange at) {
        Rotation rotation = getRotation(s, at[3], rotated / 2, isInterleaved);
        SmallVector<Value> angle = {at[0], at[2], rotation.pair};
        if (positions) {
          Value position = NodeLowering::extract(s, positions, {at[0], at[2]});
          position = arith::IndexCastOp::create(s, s.getIndexType(), position);
          angle = {NodeLowering::normalizeIndex(s, position, limit),
                   rotation.pair};
        }
        auto read = [&](Value i) {
          return NodeLowering::extract(s, heads, {at[0], at[1], at[2], i});
        };
        Value cosine = NodeLowering::extract(s, cosines, angle);
        Value sine = NodeLowering::extract(s, sines, angle);
        Value first = read(rotation.first), second = read(rotation.second);
        Value real = s.sub(s.mul(cosine, first), s.mul(sine, second));
        Value imaginary = s.add(s.mul(sine, first), s.mul(cosine, second));
        Value y = s.select(rotation.isSecond, imaginary, real);
        Value isRotated = compare(s, CmpIPredicate::ult, at[3],
                                  arith::ConstantIndexOp::create(s, rotated));
        return s.select(isRotated, y, read(at[3]));
      });
  if (x.rank() == 4)
    return turned;
  return b.reshape(b.transpose(turned, {0, 2, 1, 3}), x.dims());
}

void qtx::onnx::populateAttentionLowerings(Lowerings &lowerings) {
  lowerings["Attention"] = lowerAttention;
  lowerings["RotaryEmbedding"] = lowerRotaryEmbedding;
}
