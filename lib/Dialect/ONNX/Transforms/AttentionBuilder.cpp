//===- AttentionBuilder.cpp - Making attention of ONNX nodes ------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttentionBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include <cmath>

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

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
bool AttentionBuilder::readMasks(ArrayRef<MaskTerm> terms, double never,
                                 KeyMask &known) {
  MaskReader reader(getScoreDims(), never);
  for (const MaskTerm &term : terms) {
    KeyMask read;
    if (term.condition)
      read.never = term.never;
    bool isRead = term.added ? reader.readAdded(term.added, read)
                             : term.never <= never &&
                                   reader.readCondition(term.condition,
                                                        term.isNegated, read);
    if (!isRead || (std::isfinite(read.never) && !read.others.empty()))
      return false;
    known.add(read);
  }
  return llvm::all_of(known.others, [&](const KeyFlags &flags) {
    return bool(getMaskShape(flags.value));
  });
}

bool qtx::onnx::areAlike(quant::UniformQuantizedType lhs,
                         quant::UniformQuantizedType rhs) {
  return isClose(lhs.getScale(), rhs.getScale()) &&
         lhs.getZeroPoint() == rhs.getZeroPoint() &&
         lhs.getStorageType() == rhs.getStorageType();
}

/// The same where scores are quantized behind the masks: a number that excludes
/// becomes a code, which must leave next to nothing of a key.
bool AttentionBuilder::readQuantizedMasks(ArrayRef<MaskTerm> terms,
                                          quant::UniformQuantizedType quantizer,
                                          KeyMask &known) {
  if (scoresQuantizer && !areAlike(scoresQuantizer, quantizer)) {
    obstacle = "its scores are quantized in front of the mask, and in another "
               "way behind it";
    return false;
  }
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (!(requantize(quantizer, -infinity) <= kNegligible)) {
    obstacle = "its scores are quantized behind the mask to numbers above -16, "
               "which leave a weight to keys that are excluded";
    return false;
  }
  // As far below as the scores may be high.
  double never = kNegligible - requantize(quantizer, infinity);
  if (readMasks(terms, never, known) && known.others.empty())
    return true;
  obstacle =
      "its scores are quantized behind a mask that is not one of padding "
      "and order, or that is no lower than scores";
  return false;
}

void AttentionBuilder::setFlags(const KeyMask &known) {
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
}

bool AttentionBuilder::setMasks(ArrayRef<MaskTerm> terms,
                                quant::UniformQuantizedType quantizer) {
  KeyMask known;
  if (quantizer) {
    if (!readQuantizedMasks(terms, quantizer, known))
      return false;
    scoresQuantizer = quantizer;
  } else if (!readMasks(terms, kNever, known)) {
    return addTerms(terms);
  }
  setFlags(known);
  return true;
}

/// The terms as they are: tensors of numbers, added to one another.
bool AttentionBuilder::addTerms(ArrayRef<MaskTerm> terms) {
  Value sum;
  for (const MaskTerm &term : terms) {
    if (term.condition && term.never > kNever) {
      obstacle = "a number that scores may reach takes their place";
      return false;
    }
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
  auto getType = [](quant::UniformQuantizedType quantizer) {
    return quantizer ? TypeAttr::get(quantizer) : TypeAttr();
  };
  RankedTensorType type =
      dropDims(getTensorType(getResultDims(), builder.getF32Type()));
  return AttentionOp::create(
      builder, loc, type, plain(query), plain(key), plain(value), plain(mask),
      offset, none, plain(gate), TypeAttr(), TypeAttr(), TypeAttr(),
      isCausal ? builder.getUnitAttr() : UnitAttr(), number(scale),
      softCap ? number(*softCap) : FloatAttr(), getType(scoresQuantizer),
      FloatAttr(), number(gamma), number(zeta), UnitAttr(),
      getType(probsQuantizer), TypeAttr(), number(gain), TypeAttr());
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
  if (scoresQuantizer)
    text += ", with quantized scores";
  if (probsQuantizer)
    text += ", with quantized probabilities";
  return text;
}
