//===- Rows.cpp - Softmax of qtx.attention --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qtx/Support/Polynomials.h"
#include <limits>

using namespace mlir;
using namespace qtx;

static constexpr float kInfinity = std::numeric_limits<float>::infinity();

//===----------------------------------------------------------------------===//
// A row of scores
//===----------------------------------------------------------------------===//

SmallVector<Value> AttentionEmitter::forEachVector(
    ValueRange carried,
    function_ref<SmallVector<Value>(Value key, Value mask, ValueRange carried)>
        body) {
  SmallVector<Value> results =
      loop(zero, arith::MinUIOp::create(b, fullKeys, at.seen), lanes, carried,
           [&](Value key, ValueRange values) { return body(key, {}, values); });
  return loop(fullKeys, arith::MinUIOp::create(b, numKeys, at.seen), lanes,
              results, [&](Value key, ValueRange values) {
                Value mask = vector::CreateMaskOp::create(
                    b, VectorType::get(lanes, b.getI1Type()),
                    ValueRange{sub(numKeys, key)});
                return body(key, mask, values);
              });
}

void AttentionEmitter::emitSoftmax(Value row) {
  at.row = row;
  at.scores = mul(row, paddedKeys);
  emitNumerators(emitScores());
}

Value AttentionEmitter::emitScores() {
  Value rowTerm = createScoreTerm();
  Value max = forEachVector(
      splat(-kInfinity),
      [&](Value key, Value mask, ValueRange carried) -> SmallVector<Value> {
        Value score = createScore(key, mask, rowTerm);
        storeWords(score, scoreRows, add(at.scores, key));
        return {larger(score, carried[0])};
      })[0];
  return reduce(max, [&](Value x, Value y) { return larger(x, y); });
}

Value AttentionEmitter::createScoreTerm() {
  if (!hasSeeds(plan.scores) || key.zeroPoint == 0)
    return {};
  Value sum = arith::ConstantIntOp::create(b, 0, 32);
  for (int64_t word = 0; word < plan.keySteps; word += lanes) {
    int64_t count = std::min(lanes, plan.keySteps - word);
    Value part =
        createByteSums(vector::LoadOp::create(
                           b, VectorType::get(count, b.getI32Type()),
                           queryBlock, add(mul(at.row, plan.keySteps), word)),
                       count);
    sum = arith::AddIOp::create(b, sum, part);
  }
  return createTerm(sum, key.zeroPoint,
                    getLast(view->getKey()) * key.zeroPoint * query.zeroPoint);
}

Value AttentionEmitter::createByteSums(Value vector, int64_t count) {
  auto bytes = VectorType::get(count * 4, b.getI8Type());
  Value unpacked = vector::BitCastOp::create(b, bytes, vector);
  Value wide = widenFirst(unpacked, bytes.clone(b.getI32Type()), plan.scores);
  return vector::ReductionOp::create(b, vector::CombiningKind::ADD, wide);
}

Value AttentionEmitter::createScore(Value keyIndex, Value lastMask,
                                    Value rowTerm) {
  Value sums = loadWords(scoreRows, add(at.scores, keyIndex));
  float scale = view->getScale().convertToFloat();
  Value score;
  if (plan.scores.isFloat()) {
    score = toFloats(sums);
  } else {
    if (rowTerm)
      sums = arith::AddIOp::create(b, sums, splat(rowTerm));
    score = convert(sums);
    float multiplier = query.scale * key.scale;
    scale = multiplier * scale;
  }
  if (scale != 1.0f)
    score = arith::MulFOp::create(b, score, splat(scale));
  if (view->getSoftCap()) {
    float cap = view->getSoftCap()->convertToFloat();
    score = arith::MulFOp::create(b, score, splat(1.0f / cap));
    score = arith::MulFOp::create(b, createTanh(b, score), splat(cap));
  }
  if (view->getScoresQuant())
    score = roundTrip(score, *QuantParams::get(*view->getScoresQuant()));
  score = maskScore(score, keyIndex, lastMask);
  return lastMask ? exclude(lastMask, score) : score;
}

Value AttentionEmitter::exclude(Value unless, Value score) {
  return arith::SelectOp::create(b, unless, score, splat(-kInfinity));
}

Value AttentionEmitter::maskScore(Value score, Value keyIndex, Value lastMask) {
  if (view->getMask())
    score = applyMask(score, keyIndex, lastMask);
  if (!view->getCausal())
    return score;
  Value behind = add(add(add(at.query, at.row), offset), 1);
  Value seen = vector::CreateMaskOp::create(
      b, VectorType::get(lanes, b.getI1Type()),
      ValueRange{sub(behind, add(keyIndex, firstKey))});
  return exclude(seen, score);
}

Value AttentionEmitter::applyMask(Value score, Value keyIndex, Value lastMask) {
  auto type = cast<MemRefType>(view->getMask().getType());
  SmallVector<Value> indices = {at.batch, at.head, add(at.query, at.row),
                                add(keyIndex, firstKey)};
  for (int64_t dim = 0; dim < 3; ++dim)
    if (type.getDimSize(dim) == 1)
      indices[dim] = zero;
  auto vector = VectorType::get(lanes, type.getElementType());
  Value mask;
  if (lastMask)
    mask = vector::MaskedLoadOp::create(
        b, vector, view->getMask(), indices, lastMask,
        arith::ConstantOp::create(b, b.getZeroAttr(vector)));
  else
    mask = vector::LoadOp::create(b, vector, view->getMask(), indices);
  if (type.getElementType().isF32())
    return arith::AddFOp::create(b, score, mask);
  Value isSeen = arith::CmpIOp::create(
      b, arith::CmpIPredicate::ne, mask,
      arith::ConstantOp::create(b, b.getZeroAttr(vector)));
  return exclude(isSeen, score);
}

//===----------------------------------------------------------------------===//
// A row of probabilities
//===----------------------------------------------------------------------===//

Value AttentionEmitter::createScoreShift(Value max) {
  Value isEmpty =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, max, f32(-kInfinity));
  return arith::SelectOp::create(b, isEmpty, f32(0.0f), max);
}

Value AttentionEmitter::storeFactor(Value sum) {
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, sum, f32(0.0f));
  Value factor = arith::DivFOp::create(b, f32(1.0f), sum);
  factor = arith::SelectOp::create(b, isZero, f32(0.0f), factor);
  storeFloat(factor, factors, at.row);
  return factor;
}

void AttentionEmitter::storeFloat(Value scalar, Value buffer, Value position) {
  Value bits = arith::BitcastOp::create(b, b.getI32Type(), scalar);
  memref::StoreOp::create(b, bits, buffer, position);
}

Value AttentionEmitter::loadFloat(Value buffer, Value position) {
  return arith::BitcastOp::create(b, b.getF32Type(),
                                  memref::LoadOp::create(b, buffer, position));
}

void AttentionEmitter::emitNumerators(Value max) {
  Value sink = createSink();
  if (sink)
    max = larger(max, sink);
  Value shift = createScoreShift(max);
  SmallVector<Value> sums = emitExponentials(splat(shift));
  Value sum = reduceSum(sums[0]);
  if (sums.size() > 1)
    storeProbSum(sums[1]);
  if (sink)
    sum = arith::AddFOp::create(
        b, sum, createNegativeExp(b, arith::SubFOp::create(b, sink, shift)));
  Value factor = storeFactor(sum);
  if (!isDivisionLast())
    emitProbs(splat(factor));
}

SmallVector<Value> AttentionEmitter::emitExponentials(Value shifts) {
  bool areProbs = isDivisionLast() && view->getProbsQuant();
  SmallVector<Value> sums = {splat(0.0f)};
  if (areProbs && hasProbSums())
    sums.push_back(splatInt(0));
  return forEachVector(
      sums, [&](Value keyIndex, Value mask, ValueRange carried) {
        Value position = add(at.scores, keyIndex);
        Value score = loadFloats(scoreRows, position);
        Value e = createNegativeExp(b, arith::SubFOp::create(b, score, shifts));
        SmallVector<Value> next = {arith::AddFOp::create(b, carried[0], e)};
        if (!areProbs) {
          storeWords(e, scoreRows, position);
          return next;
        }
        Value codes = storeProb(e, position);
        if (carried.size() > 1)
          next.push_back(addCodes(carried[1], codes, mask));
        return next;
      });
}

Value AttentionEmitter::addCodes(Value sum, Value codes, Value mask) {
  if (mask)
    codes = arith::SelectOp::create(b, mask, codes, splatInt(0));
  return arith::AddIOp::create(b, sum, codes);
}

void AttentionEmitter::storeProbSum(Value sums) {
  memref::StoreOp::create(b, reduceSum(sums), probSums, at.row);
}

Value AttentionEmitter::createSink() {
  if (view->getSinkLogit())
    return f32(view->getSinkLogit()->convertToFloat());
  if (view->getSink())
    return memref::LoadOp::create(b, view->getSink(), at.head);
  return {};
}

void AttentionEmitter::emitProbs(Value factor) {
  SmallVector<Value> sums;
  if (hasProbSums())
    sums.push_back(splatInt(0));
  sums = forEachVector(sums,
                       [&](Value keyIndex, Value mask,
                           ValueRange carried) -> SmallVector<Value> {
                         Value position = add(at.scores, keyIndex);
                         Value e = loadFloats(scoreRows, position);
                         Value p = clip(arith::MulFOp::create(b, e, factor));
                         Value codes = storeProb(p, position);
                         if (skipsZeros() && !mask)
                           addToGroup(keyIndex, codes);
                         if (carried.empty())
                           return {};
                         return {addCodes(carried[0], codes, mask)};
                       });
  if (!sums.empty())
    storeProbSum(sums[0]);
}

Value AttentionEmitter::clip(Value p) {
  if (!isClipped())
    return p;
  APFloat stretch = view->getZeta() - view->getGamma();
  p = math::FmaOp::create(b, splat(stretch.convertToFloat()), p,
                          splat(view->getGamma().convertToFloat()));
  p = arith::MaximumFOp::create(b, p, splat(0.0f));
  return arith::MinimumFOp::create(b, p, splat(1.0f));
}

Value AttentionEmitter::storeProb(Value p, Value position) {
  if (plan.context.isFloat()) {
    if (view->getProbsQuant())
      p = roundTrip(p, *QuantParams::get(*view->getProbsQuant()));
    storeWords(p, scoreRows, position);
    return toWords(p);
  }
  Value codes = quantize(p, *QuantParams::get(*view->getProbsQuant()));
  if (hasSeeds(plan.context))
    codes = arith::AddIOp::create(b, codes, splatInt(prob.zeroPoint));
  auto narrow =
      VectorType::get(lanes, plan.context.getElementType(b.getContext()));
  vector::StoreOp::create(b, arith::TruncIOp::create(b, narrow, codes),
                          narrowProbs, position);
  return codes;
}
