//===- Attention.cpp - Finding attention ----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttentionBuilder.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include <cmath>

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

namespace {

/// The scores of an attention, from the last step to the product.
struct Scores {
  Value query;
  /// [B, H, dk, T]
  Value transposedKey;
  double scale = 1;
  std::optional<double> softCap;
  /// How they are quantized in front of masks, and behind them.
  quant::UniformQuantizedType quantizer, maskedQuantizer;
  SmallVector<MaskTerm> masks;
};

/// The probabilities: `slope * softmax + shift`, clipped if that is not the
/// identity, and perhaps quantized.
struct Probabilities {
  NodeOp softmax;
  quant::UniformQuantizedType quantizer;
  double slope = 1;
  double shift = 0;
};

} // namespace

//===----------------------------------------------------------------------===//
// Quantizers
//===----------------------------------------------------------------------===//

/// The quantizer of x * factor that yields the codes of `type` for x; null if
/// its scale is not a normal number.
static quant::UniformQuantizedType rescale(quant::UniformQuantizedType type,
                                           double factor) {
  auto scale = static_cast<float>(type.getScale() * factor);
  if (!std::isnormal(scale) || scale < 0)
    return {};
  return quant::UniformQuantizedType::get(
      type.getFlags(), type.getStorageType(), type.getExpressedType(), scale,
      type.getZeroPoint(), type.getStorageTypeMin(), type.getStorageTypeMax());
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

/// Deeper than any graph adds and selects.
constexpr int kMaxDepth = 10;

static std::optional<Scores> getScores(Value value, int depth = kMaxDepth);

/// c and v of `c * tanh(v)`, in either order.
static std::optional<ScalarAndValue> getScaledTanh(Value value) {
  Scaled scaled = getScaled(value);
  NodeOp tanh = getNode(scaled.value, "Tanh");
  if (!tanh || scaled.factor == 1)
    return std::nullopt;
  return ScalarAndValue{scaled.factor, tanh.getInputs()[0]};
}

static std::optional<Scores> getProduct(NodeOp product) {
  Scaled query = getScaled(product.getInputs()[0]);
  Scaled key = getScaled(product.getInputs()[1]);
  if (getRank(query.value) != 4 || getRank(key.value) != 4)
    return std::nullopt;
  Scores scores;
  scores.query = query.value;
  scores.transposedKey = key.value;
  scores.scale = query.factor * key.factor;
  return scores;
}

/// Scores to which `mask` is added.
static std::optional<Scores> getSum(NodeOp sum, int depth) {
  for (unsigned index : {0, 1})
    if (std::optional<Scores> scores =
            getScores(sum.getInputs()[index], depth)) {
      MaskTerm term;
      term.added = sum.getInputs()[1 - index];
      scores->masks.push_back(term);
      return scores;
    }
  return std::nullopt;
}

static std::optional<Scores> getSelected(NodeOp where, int depth) {
  for (unsigned index : {1, 2}) {
    std::optional<double> never = getScalar(where.getInputs()[3 - index]);
    std::optional<Scores> scores =
        never && *never <= kNegligible
            ? getScores(where.getInputs()[index], depth)
            : std::nullopt;
    if (!scores)
      continue;
    MaskTerm term;
    term.condition = where.getInputs()[0];
    term.isNegated = index == 2;
    term.never = *never;
    scores->masks.push_back(term);
    return scores;
  }
  return std::nullopt;
}

/// `factor` times scores that are quantized.
static std::optional<Scores> getQuantizedScores(const Requantized &requantized,
                                                double factor, int depth) {
  std::optional<Scores> scores = getScores(requantized.source, depth);
  if (scores && !scores->masks.empty() && !scores->maskedQuantizer &&
      factor == 1) {
    scores->maskedQuantizer = requantized.type;
    return scores;
  }
  bool isInner =
      scores && scores->masks.empty() && (!scores->softCap || factor == 1) &&
      (!scores->quantizer || areAlike(scores->quantizer, requantized.type));
  auto quantizer = isInner ? rescale(requantized.type, factor) : nullptr;
  if (!quantizer)
    return std::nullopt;
  scores->quantizer = quantizer;
  scores->scale *= factor;
  return scores;
}

static std::optional<Scores> getScores(Value value, int depth) {
  if (depth-- == 0)
    return std::nullopt;
  if (auto tanh = getScaledTanh(value)) {
    // c * tanh(s / c)
    std::optional<Scores> scores = getScores(tanh->value, depth);
    if (!scores || scores->softCap || scores->quantizer ||
        !scores->masks.empty())
      return std::nullopt;
    scores->softCap = tanh->scalar;
    scores->scale *= tanh->scalar;
    return scores;
  }
  Scaled scaled = getScaled(value);
  if (auto requantized = getRequantized(scaled.value))
    return getQuantizedScores(*requantized, scaled.factor, depth);
  NodeOp node = getNode(scaled.value);
  if (!node)
    return std::nullopt;
  std::optional<Scores> scores;
  if (node.is("MatMul"))
    scores = getProduct(node);
  else if (node.is("Add"))
    scores = getSum(node, depth);
  else if (node.is("Where"))
    scores = getSelected(node, depth);
  else if (node.is("Max")) {
    // A lower bound that no score reaches.
    std::optional<ScalarAndValue> bound = getScalarOperand(node);
    scores = bound && bound->scalar <= kNever ? getScores(bound->value, depth)
                                              : std::nullopt;
  }
  bool isInner =
      scores && scores->masks.empty() && !scores->softCap && !scores->quantizer;
  if (!scores || (scaled.factor != 1 && !isInner))
    return std::nullopt;
  scores->scale *= scaled.factor;
  return scores;
}

//===----------------------------------------------------------------------===//
// Probabilities
//===----------------------------------------------------------------------===//

/// v of `where(isnan(v), 0, v)`: rows without a key are zeros in
/// `qtx.attention`.
static Value skipGuard(Value value) {
  NodeOp where = getNode(value, "Where");
  NodeOp test = where ? getNode(where.getInputs()[0], "IsNaN") : NodeOp();
  if (!test || getScalar(where.getInputs()[1]) != 0.0 ||
      strip(test.getInputs()[0]) != strip(where.getInputs()[2]))
    return value;
  return where.getInputs()[2];
}

/// v of a clip of v to 0 and 1; null if `value` is none.
static Value getClipped(Value value) {
  NodeOp clip = getNode(value, "Clip");
  if (clip) {
    Value low = clip.getOptionalInput(1), high = clip.getOptionalInput(2);
    bool isUnit =
        low && high && getScalar(low) == 0.0 && getScalar(high) == 1.0;
    return isUnit ? clip.getInputs()[0] : Value();
  }
  NodeOp outer = getNode(value);
  if (!outer || (!outer.is("Min") && !outer.is("Max")))
    return {};
  auto bound = getScalarOperand(outer);
  NodeOp inner =
      bound ? getNode(bound->value, outer.is("Min") ? "Max" : "Min") : NodeOp();
  auto other = inner ? getScalarOperand(inner) : std::nullopt;
  bool isMin = outer.is("Min");
  if (!other || bound->scalar != (isMin ? 1 : 0) ||
      other->scalar != (isMin ? 0 : 1))
    return {};
  return other->value;
}

/// The softmax below scalars that are added and multiplied.
static NodeOp findSoftmax(Value value) {
  for (int depth = 0; depth < 6; ++depth) {
    value = skipGuard(value);
    NodeOp node = getNode(value);
    if (!node || node.is("Softmax"))
      return node;
    if (!node.is("Add") && !node.is("Sub") && !node.is("Mul") &&
        !node.is("Div"))
      return {};
    auto operands = getScalarOperand(node);
    if (!operands)
      return {};
    value = operands->value;
  }
  return {};
}

static std::optional<Probabilities> getProbabilities(Value value) {
  Probabilities found;
  if (auto requantized = getRequantized(value)) {
    found.quantizer = requantized->type;
    value = requantized->source;
  }
  value = skipGuard(value);
  if (Value clipped = getClipped(value)) {
    found.softmax = findSoftmax(clipped);
    if (!found.softmax)
      return std::nullopt;
    auto line = getPolynomial(clipped, found.softmax.getOutputs()[0]);
    if (!line || line->size() != 2 || (*line)[0] > 0 ||
        (*line)[0] + (*line)[1] < 1 - 1e-6)
      return std::nullopt;
    found.shift = (*line)[0];
    found.slope = (*line)[1];
  } else {
    found.softmax = getNode(skipGuard(value), "Softmax");
  }
  if (!found.softmax)
    return std::nullopt;
  int64_t rank = getRank(found.softmax.getOutputs()[0]);
  if (getAxis(found.softmax, -1, rank) != rank - 1)
    return std::nullopt;
  return found;
}

//===----------------------------------------------------------------------===//
// Heads
//===----------------------------------------------------------------------===//

/// The heads that `value` [B, H, T, d] repeats, [B, Hkv, T, d]: each one H /
/// Hkv times in a row.
static Value getSharedHeads(Value value) {
  NodeOp merge = getNode(value, "Reshape");
  NodeOp expand = merge ? getNode(merge.getInputs()[0], "Expand") : NodeOp();
  NodeOp insert = expand ? getNode(expand.getInputs()[0], "Reshape") : NodeOp();
  if (!insert)
    return strip(value);
  Value heads = strip(insert.getInputs()[0]);
  SmallVector<AffineExpr> from = getDims(heads);
  SmallVector<AffineExpr> single = getDims(insert.getOutputs()[0]);
  SmallVector<AffineExpr> repeated = getDims(expand.getOutputs()[0]);
  SmallVector<AffineExpr> to = getDims(value);
  AffineExpr one = getAffineConstantExpr(1, value.getContext());
  bool isRepetition = from.size() == 4 && single.size() == 5 &&
                      repeated.size() == 5 && to.size() == 4 &&
                      single[2] == one &&
                      ArrayRef<AffineExpr>(single).take_front(2) ==
                          ArrayRef<AffineExpr>(from).take_front(2) &&
                      ArrayRef<AffineExpr>(single).take_back(2) ==
                          ArrayRef<AffineExpr>(from).take_back(2) &&
                      repeated[0] == from[0] && repeated[1] == from[1] &&
                      to[1] == repeated[1] * repeated[2] && to[0] == from[0] &&
                      to[2] == from[2] && to[3] == from[3];
  return isRepetition ? heads : strip(value);
}

//===----------------------------------------------------------------------===//
// Products around a softmax
//===----------------------------------------------------------------------===//

bool Recognizer::recognizeEagerAttention(NodeOp node) {
  std::optional<Probabilities> probabilities =
      getProbabilities(node.getInputs()[0]);
  if (!probabilities)
    return false;
  NodeOp softmax = probabilities->softmax;
  std::optional<Scores> scores = getScores(softmax.getInputs()[0]);
  if (!scores) {
    obstacles[softmax] =
        "its argument is not a product of rank 4 with scales, a quantizer and "
        "masks in this order";
    return false;
  }
  AttentionBuilder attention(*this, node.getLoc());
  attention.query = scores->query;
  Value keys = getTransposed(scores->transposedKey, {0, 1, 3, 2});
  if (!keys)
    keys = createTranspose(scores->transposedKey, {0, 1, 3, 2});
  Scaled scaledKeys = getScaled(keys);
  attention.key = getSharedHeads(scaledKeys.value);
  attention.value = getSharedHeads(node.getInputs()[1]);
  attention.scale = scores->scale * scaledKeys.factor;
  attention.softCap = scores->softCap;
  attention.scoresQuantizer = scores->quantizer;
  attention.probsQuantizer = probabilities->quantizer;
  attention.gamma = probabilities->shift;
  attention.zeta =
      std::max(1.0f, float(probabilities->slope + probabilities->shift));
  if (!attention.checkOperands() ||
      !attention.setMasks(scores->masks, scores->maskedQuantizer)) {
    obstacles[softmax] = attention.obstacle;
    return false;
  }
  Value y = takeGate(attention, node.getOutputs()[0]);
  replace(y, attention.create());
  passed(node.getLoc(), "found qtx.attention" + attention.describe());
  return true;
}

//===----------------------------------------------------------------------===//
// The operator
//===----------------------------------------------------------------------===//

/// `value` as [B, H, S, d]; null if it is not f32 of rank 3 or 4.
Value Recognizer::getHeads(Value value, int64_t heads) {
  SmallVector<AffineExpr> dims = getDims(value);
  if (dims.size() == 4)
    return value;
  if (dims.size() != 3 || !isF32(value) || !isStatic(dims[2]) || heads <= 0 ||
      getSize(dims[2]) % heads != 0)
    return {};
  RankedTensorType type =
      getTensorType({dims[0], builder.getAffineConstantExpr(heads), dims[1],
                     builder.getAffineConstantExpr(getSize(dims[2]) / heads)},
                    builder.getF32Type());
  Value split = SplitHeadsOp::create(builder, value.getLoc(), dropDims(type),
                                     getPlain(value));
  return addDims(split, type);
}

/// Why the operator `Attention` stays; null if it does not.
static const char *getObstacle(NodeOp node) {
  for (unsigned index : {4, 5, 6})
    if (node.getOptionalInput(index))
      return "it reads a cache of keys and values";
  for (Value output : node.getOutputs().drop_front())
    if (!output.use_empty())
      return "more than its first output is used";
  bool isMasked = node.getOptionalInput(3) || node.getIntAttr("is_causal", 0);
  if (isMasked && node.getFloatAttr("softcap", 0) != 0)
    return "it masks before the soft cap";
  if (node.getIntAttr("left_window_size", -1) >= 0 ||
      node.getIntAttr("right_window_size", -1) >= 0)
    return "its queries see a window of the keys";
  return nullptr;
}

bool Recognizer::recognizeAttentionOperator(NodeOp node) {
  if (const char *obstacle = getObstacle(node)) {
    obstacles[node] = obstacle;
    return false;
  }
  int64_t heads = node.getIntAttr("q_num_heads", 0);
  int64_t keyHeads = node.getIntAttr("kv_num_heads", heads);
  AttentionBuilder attention(*this, node.getLoc());
  attention.query = getHeads(node.getInputs()[0], heads);
  attention.key = getHeads(node.getInputs()[1], keyHeads);
  attention.value = getHeads(node.getInputs()[2], keyHeads);
  bool isValid = attention.query && attention.key && attention.value;
  if (!isValid || !attention.checkOperands()) {
    obstacles[node] = isValid ? attention.obstacle
                              : "its operands are not f32 of rank 3 or 4";
    return false;
  }
  float size = getSize(getDims(attention.query)[3]);
  attention.scale = node.getFloatAttr("scale", 1 / std::sqrt(size));
  if (float cap = node.getFloatAttr("softcap", 0))
    attention.softCap = cap;
  SmallVector<MaskTerm> terms;
  if (Value mask = node.getOptionalInput(3)) {
    MaskTerm &term = terms.emplace_back();
    (isF32(mask) ? term.added : term.condition) = mask;
    term.never = -std::numeric_limits<double>::infinity();
  }
  if (!attention.setMasks(terms)) {
    obstacles[node] = attention.obstacle;
    return false;
  }
  attention.isCausal |= node.getIntAttr("is_causal", 0) != 0;
  Value y = takeGate(attention, node.getOutputs()[0]);
  Value result = attention.create();
  if (getRank(y) == 3) {
    auto type = cast<RankedTensorType>(y.getType());
    result =
        MergeHeadsOp::create(builder, node.getLoc(), dropDims(type), result);
  }
  replace(y, result);
  passed(node.getLoc(), "found qtx.attention" + attention.describe());
  return true;
}

bool Recognizer::recognizeAttention(NodeOp node) {
  if (node.is("Softmax")) {
    // Overwritten where a product with values follows.
    obstacles.try_emplace(node, "no product with values follows");
    return false;
  }
  if (node.is("Attention"))
    return recognizeAttentionOperator(node);
  return node.is("MatMul") && recognizeEagerAttention(node);
}
