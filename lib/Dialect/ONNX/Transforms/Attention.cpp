//===- Attention.cpp - Finding attention ----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Masks.h"
#include "Recognizer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include <cmath>

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

namespace {

/// What changes the scores besides factors: a tensor that is added, or a
/// condition under which they stay and else become `never`.
struct MaskTerm {
  Value added;
  Value condition;
  bool isNegated = false;
  double never = 0;
};

/// The scores of an attention, from the last step to the product.
struct Scores {
  Value query;
  /// [B, H, dk, T]
  Value transposedKey;
  double scale = 1;
  std::optional<double> softCap;
  SmallVector<MaskTerm> masks;
};

/// The probabilities: `slope * softmax + shift`, clipped if that is not the
/// identity.
struct Probabilities {
  NodeOp softmax;
  double slope = 1;
  double shift = 0;
};

} // namespace

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
        never && *never <= kNever ? getScores(where.getInputs()[index], depth)
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

static std::optional<Scores> getScores(Value value, int depth) {
  if (depth-- == 0)
    return std::nullopt;
  if (auto tanh = getScaledTanh(value)) {
    // c * tanh(s / c)
    std::optional<Scores> scores = getScores(tanh->value, depth);
    if (!scores || scores->softCap || !scores->masks.empty())
      return std::nullopt;
    scores->softCap = tanh->scalar;
    scores->scale *= tanh->scalar;
    return scores;
  }
  Scaled scaled = getScaled(value);
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
  bool isInner = scores && scores->masks.empty() && !scores->softCap;
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
  value = skipGuard(value);
  Probabilities found;
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

static bool isStatic(AffineExpr size) {
  return isa_and_present<AffineConstantExpr>(size);
}

static int64_t getSize(AffineExpr size) {
  return cast<AffineConstantExpr>(size).getValue();
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

namespace qtx::onnx {

/// One attention while it is put together.
class AttentionBuilder {
public:
  AttentionBuilder(Recognizer &recognizer, Location loc)
      : recognizer(recognizer), builder(recognizer.builder), loc(loc) {}

  Value query, key, value;
  double scale = 1;
  std::optional<double> softCap;
  float gamma = 0, zeta = 1;
  bool isCausal = false;
  Value mask, gate;
  double gain = 1;
  const char *obstacle = nullptr;

  /// False, with an obstacle, if the operands are not those of an attention.
  bool checkOperands();
  bool setMasks(ArrayRef<MaskTerm> terms);
  Value create();
  /// The clauses, for people.
  std::string describe() const;
  SmallVector<AffineExpr> getScoreDims();
  SmallVector<AffineExpr> getResultDims();

private:
  bool readMasks(ArrayRef<MaskTerm> terms, KeyMask &known);
  Value createFlags(const KeyFlags &flags);
  Value createPaddingMask(const KeyFlags &flags);
  void joinFlags(Value flags);
  bool addTerms(ArrayRef<MaskTerm> terms);
  Value createSelection(Value condition, const MaskTerm &term);
  Value addMasks(Value lhs, Value rhs);
  Value getMaskShape(Value tensor);

  Recognizer &recognizer;
  OpBuilder &builder;
  Location loc;
};

} // namespace qtx::onnx

SmallVector<AffineExpr> AttentionBuilder::getScoreDims() {
  SmallVector<AffineExpr> q = getDims(query);
  return {q[0], q[1], q[2], getDims(key)[2]};
}

SmallVector<AffineExpr> AttentionBuilder::getResultDims() {
  SmallVector<AffineExpr> q = getDims(query);
  return {q[0], q[1], q[2], getDims(value)[3]};
}

bool AttentionBuilder::checkOperands() {
  for (Value operand : {query, key, value})
    if (!isF32(operand) || getRank(operand) != 4) {
      obstacle = "its operands are not f32 tensors of rank 4";
      return false;
    }
  SmallVector<AffineExpr> q = getDims(query), k = getDims(key),
                          v = getDims(value);
  if (!isStatic(q[1]) || !isStatic(q[3]) || !isStatic(k[1]) ||
      !isStatic(v[3]) || llvm::is_contained(q, AffineExpr()) ||
      llvm::is_contained(k, AffineExpr())) {
    obstacle = "the number of heads or their channels is not static";
    return false;
  }
  bool isConsistent = q[3] == k[3] && k[1] == v[1] && k[2] == v[2] &&
                      q[0] == k[0] && k[0] == v[0] && getSize(k[1]) > 0 &&
                      getSize(q[1]) % getSize(k[1]) == 0;
  if (!isConsistent)
    obstacle =
        "its operands do not have the shapes of queries, keys and values";
  return isConsistent;
}

/// `tensor` in the rank of a mask; null if it does not broadcast to the scores
/// along leading dimensions.
Value AttentionBuilder::getMaskShape(Value tensor) {
  SmallVector<AffineExpr> dims = getDims(tensor), scores = getScoreDims();
  AffineExpr one = getAffineConstantExpr(1, tensor.getContext());
  if (dims.size() > scores.size())
    return {};
  dims.insert(dims.begin(), scores.size() - dims.size(), one);
  for (auto [size, score] : llvm::zip_equal(dims, scores))
    if (size != score && size != one)
      return {};
  Value shaped = recognizer.createReshape(tensor, dims);
  if (dims.back() == scores.back())
    return shaped;
  dims.back() = scores.back();
  return recognizer.createNode(
      "Expand", shaped,
      getTensorType(dims, getElementTypeOrSelf(tensor.getType())));
}

Value AttentionBuilder::createFlags(const KeyFlags &flags) {
  // Whether an integer is other than zero is its conversion to a boolean.
  Value tensor = recognizer.createCast(flags.value, builder.getI1Type());
  if (flags.isNegated)
    tensor = recognizer.createNode("Not", tensor,
                                   cast<RankedTensorType>(tensor.getType()));
  return tensor;
}

/// Flags per key as [B, 1, 1, T].
Value AttentionBuilder::createPaddingMask(const KeyFlags &flags) {
  SmallVector<AffineExpr> scores = getScoreDims();
  AffineExpr one = getAffineConstantExpr(1, builder.getContext());
  bool hasBatch = llvm::count_if(getDims(flags.value), [&](AffineExpr size) {
                    return size != one;
                  }) == 2;
  Value tensor = createFlags(flags);
  return recognizer.createReshape(
      tensor, {hasBatch ? scores[0] : one, one, one, scores[3]});
}

void AttentionBuilder::joinFlags(Value flags) {
  if (mask && mask != flags) {
    SmallVector<AffineExpr> lhs = getDims(mask), rhs = getDims(flags);
    AffineExpr one = getAffineConstantExpr(1, builder.getContext());
    for (auto [size, other] : llvm::zip_equal(lhs, rhs))
      size = size == one ? other : size;
    flags = recognizer.createNode("And", {recognizer.getWithDims(mask), flags},
                                  getTensorType(lhs, builder.getI1Type()));
  }
  mask = flags;
}

/// Whether all terms say which keys take part, in a way that leaves no visible
/// row without any: then infinity may take the place of a finite number.
bool AttentionBuilder::readMasks(ArrayRef<MaskTerm> terms, KeyMask &known) {
  MaskReader reader(getScoreDims());
  for (const MaskTerm &term : terms) {
    KeyMask read;
    read.isFinite = term.condition && std::isfinite(term.never);
    bool isRead =
        term.added ? reader.readAdded(term.added, read)
                   : reader.readCondition(term.condition, term.isNegated, read);
    if (!isRead || (read.isFinite && !read.others.empty()))
      return false;
    known.isCausal |= read.isCausal;
    llvm::append_range(known.padding, read.padding);
    llvm::append_range(known.others, read.others);
  }
  return llvm::all_of(known.others, [&](const KeyFlags &flags) {
    return bool(getMaskShape(flags.value));
  });
}

bool AttentionBuilder::setMasks(ArrayRef<MaskTerm> terms) {
  KeyMask known;
  if (!readMasks(terms, known))
    return addTerms(terms);
  isCausal = known.isCausal;
  SmallVector<Value> seen;
  for (const KeyFlags &flags : known.padding) {
    if (llvm::is_contained(seen, flags.value))
      continue;
    seen.push_back(flags.value);
    // Made once for all layers.
    Value &made = recognizer.paddingMasks[flags.value][flags.isNegated];
    if (!made)
      made = createPaddingMask(flags);
    joinFlags(made);
  }
  for (const KeyFlags &flags : known.others)
    joinFlags(getMaskShape(createFlags(flags)));
  return true;
}

/// The terms as they are: tensors of numbers, added to one another.
bool AttentionBuilder::addTerms(ArrayRef<MaskTerm> terms) {
  Value sum;
  for (const MaskTerm &term : terms) {
    Value shaped = getMaskShape(term.added ? term.added : term.condition);
    if (!shaped || (term.added && !isF32(term.added))) {
      obstacle =
          "what is added to its scores does not have the shape of a mask";
      return false;
    }
    if (term.condition)
      shaped = createSelection(shaped, term);
    sum = sum ? addMasks(sum, shaped) : shaped;
  }
  mask = sum;
  return true;
}

/// 0 where the condition keeps the scores, else the number that replaces them.
Value AttentionBuilder::createSelection(Value condition, const MaskTerm &term) {
  Value kept = recognizer.createScalar(0);
  Value never = recognizer.createScalar(term.never);
  if (term.isNegated)
    std::swap(kept, never);
  return recognizer.createNode(
      "Where", {condition, kept, never},
      getTensorType(getDims(condition), builder.getF32Type()));
}

Value AttentionBuilder::addMasks(Value lhs, Value rhs) {
  SmallVector<AffineExpr> dims = getDims(lhs);
  AffineExpr one = getAffineConstantExpr(1, builder.getContext());
  for (auto [size, other] : llvm::zip_equal(dims, getDims(rhs)))
    size = size == one ? other : size;
  return recognizer.createNode("Add", {lhs, rhs},
                               getTensorType(dims, builder.getF32Type()));
}

Value AttentionBuilder::create() {
  Value none, offset;
  SmallVector<AffineExpr> scores = getScoreDims();
  // Without an offset the last query sees the last key.
  if (isCausal && scores[2] != scores[3])
    offset = arith::ConstantIndexOp::create(builder, loc, 0);
  auto plain = [&](Value tensor) {
    return tensor ? recognizer.getPlain(tensor) : Value();
  };
  auto number = [&](double value) { return builder.getF32FloatAttr(value); };
  RankedTensorType type =
      dropDims(getTensorType(getResultDims(), builder.getF32Type()));
  return AttentionOp::create(
      builder, loc, type, plain(query), plain(key), plain(value), plain(mask),
      offset, none, plain(gate), TypeAttr(), TypeAttr(), TypeAttr(),
      isCausal ? builder.getUnitAttr() : UnitAttr(), number(scale),
      softCap ? number(*softCap) : FloatAttr(), TypeAttr(), FloatAttr(),
      number(gamma), number(zeta), UnitAttr(), TypeAttr(), TypeAttr(),
      number(gain), TypeAttr());
}

//===----------------------------------------------------------------------===//
// Gates
//===----------------------------------------------------------------------===//

namespace {
/// `context * (sigmoid(logits) * gain)`
struct Gate {
  NodeOp product;
  Value logits;
  double gain;
};
} // namespace

/// The gate that multiplies `context`, if nothing else reads it.
static std::optional<Gate> getGate(Value context) {
  NodeOp product = getOnlyUser(context);
  if (!product || !product.is("Mul"))
    return std::nullopt;
  for (unsigned index : {0, 1}) {
    if (strip(product.getInputs()[index]) != strip(context))
      continue;
    Scaled factor = getScaled(product.getInputs()[1 - index]);
    if (NodeOp sigmoid = getNode(factor.value, "Sigmoid"))
      return Gate{product, strip(sigmoid.getInputs()[0]), factor.factor};
  }
  return std::nullopt;
}

/// Sets the gate of an attention whose result is `context`; returns what it
/// becomes with it.
Value Recognizer::takeGate(AttentionBuilder &attention, Value context) {
  std::optional<Gate> gate = getGate(context);
  // One logit per head and query, or per channel of these.
  SmallVector<AffineExpr> dims = attention.getResultDims(), logits;
  if (gate && isF32(gate->logits))
    logits = getDims(gate->logits);
  SmallVector<AffineExpr> perHead(dims);
  perHead[3] = builder.getAffineConstantExpr(1);
  if (logits != dims && logits != perHead)
    return context;
  builder.setInsertionPoint(gate->product);
  attention.gate =
      logits == dims ? gate->logits
                     : createReshape(gate->logits, {dims[0], dims[1], dims[2]});
  attention.gain = gate->gain;
  return gate->product.getOutputs()[0];
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
        "its argument is not a product of rank 4 with scales and masks";
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
  attention.gamma = probabilities->shift;
  attention.zeta =
      std::max(1.0f, float(probabilities->slope + probabilities->shift));
  if (!attention.checkOperands() || !attention.setMasks(scores->masks)) {
    obstacles[softmax] = attention.obstacle;
    return false;
  }
  Value y = takeGate(attention, node.getOutputs()[0]);
  replace(y, attention.create());
  passed(node.getLoc(), "found qtx.attention" + attention.describe());
  return true;
}

std::string AttentionBuilder::describe() const {
  std::string text;
  if (isCausal)
    text += ", causal";
  if (mask)
    text += isF32(mask) ? ", with an additive mask" : ", with a mask of flags";
  if (gamma != 0 || zeta != 1)
    text += ", clipped";
  if (softCap)
    text += ", with a soft cap";
  if (gate)
    text += ", gated";
  return text;
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
  Value y = node.getOutputs()[0], result = attention.create();
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
