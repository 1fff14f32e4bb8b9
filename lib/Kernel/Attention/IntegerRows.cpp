//===- IntegerRows.cpp - Softmax of integer scores ------------------------===//
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
#include <cmath>

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// A row of integer scores
//===----------------------------------------------------------------------===//

SmallVector<Value> AttentionEmitter::forEachGroup(
    SmallVector<Value> carried,
    function_ref<SmallVector<Value>(Value key, int64_t count,
                                    ValueRange carried)>
        body) {
  carried = loop(zero, getGroupedEnd(), getGroupSize(), carried,
                 [&](Value key, ValueRange values) {
                   return body(key, plan.context.getStep(), values);
                 });
  return loop(
      groupedKeys, at.seen, lanes, carried,
      [&](Value key, ValueRange values) { return body(key, 1, values); });
}

void AttentionEmitter::emitIntegerSoftmax(Value count) {
  auto forEachRow = [&](function_ref<Value()> body) {
    loop(count, 1, [&](Value row) {
      at.row = row;
      at.scores = mul(row, paddedKeys);
      if (Value factor = body())
        storeFloat(factor, factors, row);
    });
  };
  forEachRow([&] { return createShift(); });
  forEachRow([&] {
    Value sum = emitPowers(splat(loadFactor()));
    // The largest score of a row makes about 1.
    Value isEmpty =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, sum, f32(0.5f));
    Value factor = arith::DivFOp::create(b, f32(1.0f), sum);
    return arith::SelectOp::create(b, isEmpty, f32(0.0f), factor);
  });
  if (isDivisionLast())
    return;
  emitAndListGroups([&] {
    forEachRow([&] {
      emitNormalisedCodes(loadFactor());
      return Value();
    });
  });
}

Value AttentionEmitter::createShift() {
  if (view->getCausal())
    emitExcludedKeys();
  Value largest = createLargestSum();
  Value isEmpty = arith::CmpIOp::create(
      b, arith::CmpIPredicate::slt, largest,
      arith::ConstantIntOp::create(b, kExcludedSum + kMaxSum, 32));
  Value shift = arith::MulFOp::create(
      b, arith::SIToFPOp::create(b, b.getF32Type(), largest),
      f32(-getSumScale()));
  return arith::SelectOp::create(b, isEmpty, f32(0.0f), shift);
}

void AttentionEmitter::emitExcludedKeys() {
  Value behind = add(add(add(at.query, at.row), offset), 1);
  behind = arith::MinSIOp::create(b, arith::MaxSIOp::create(b, behind, zero),
                                  at.seen);
  Value first = sub(behind, arith::RemUIOp::create(b, behind, index(lanes)));
  loop(first, at.seen, lanes, {}, [&](Value key, ValueRange) {
    Value position = getScorePosition(key, 0);
    Value seen = vector::CreateMaskOp::create(
        b, VectorType::get(lanes, b.getI1Type()), ValueRange{sub(behind, key)});
    storeWords(arith::SelectOp::create(b, seen, loadWords(scoreRows, position),
                                       splatInt(kExcludedSum)),
               scoreRows, position);
    return SmallVector<Value>();
  });
}

Value AttentionEmitter::createLargestSum() {
  SmallVector<Value> largest(plan.context.getStep(), splatInt(kExcludedSum));
  largest =
      forEachGroup(largest, [&](Value key, int64_t count, ValueRange carried) {
        SmallVector<Value> next(carried);
        for (int64_t i = 0; i < count; ++i)
          next[i] = arith::MaxSIOp::create(
              b, next[i], loadWords(scoreRows, getScorePosition(key, i)));
        return next;
      });
  auto join = [&](Value x, Value y) -> Value {
    return arith::MaxSIOp::create(b, x, y);
  };
  return reduce(joinAll(largest, join), join);
}

//===----------------------------------------------------------------------===//
// Powers and their codes
//===----------------------------------------------------------------------===//

Value AttentionEmitter::emitPowers(Value shifts) {
  int64_t step = plan.context.getStep();
  SmallVector<Value> sums(step, splat(0.0f));
  if (isDivisionLast() && hasProbSums())
    sums.push_back(splatInt(0));
  sums = forEachGroup(sums, [&](Value key, int64_t count, ValueRange carried) {
    SmallVector<Value> next(carried), powers;
    for (int64_t i = 0; i < count; ++i) {
      Value score = convert(loadWords(scoreRows, getScorePosition(key, i)));
      Value power = createNegativeExp2(
          b, math::FmaOp::create(b, score, splat(getSumScale()), shifts));
      next[i] = arith::AddFOp::create(b, next[i], power);
      powers.push_back(power);
    }
    if (isDivisionLast())
      storeCodes(powers, splat(1.0f / prob.scale), key, next);
    else
      for (auto [i, power] : llvm::enumerate(powers))
        storeWords(power, scoreRows, getScorePosition(key, i));
    return next;
  });
  if (sums.size() > size_t(step))
    storeProbSum(sums[step]);
  return reduceSum(
      joinAll(ArrayRef(sums).take_front(step), [&](Value x, Value y) -> Value {
        return arith::AddFOp::create(b, x, y);
      }));
}

void AttentionEmitter::emitNormalisedCodes(Value factor) {
  float stretch = 1.0f;
  if (isClipped())
    stretch = (view->getZeta() - view->getGamma()).convertToFloat();
  Value factors =
      splat(arith::MulFOp::create(b, factor, f32(stretch / prob.scale)));
  SmallVector<Value> sums;
  if (hasProbSums())
    sums.push_back(splatInt(0));
  sums = forEachGroup(sums, [&](Value key, int64_t count, ValueRange carried) {
    SmallVector<Value> next(carried), powers;
    for (int64_t i = 0; i < count; ++i)
      powers.push_back(loadFloats(scoreRows, getScorePosition(key, i)));
    storeCodes(powers, factors, key, next);
    return next;
  });
  if (!sums.empty())
    storeProbSum(sums[0]);
}

void AttentionEmitter::storeCodes(ArrayRef<Value> powers, Value factors,
                                  Value key, SmallVectorImpl<Value> &sums) {
  int64_t step = plan.context.getStep();
  SmallVector<Value> codes;
  for (Value power : powers)
    codes.push_back(createCode(power, factors));
  Value position = add(at.scores, key);
  Value word;
  if (codes.size() == 1 && step > 1) {
    auto narrow =
        VectorType::get(lanes, plan.context.getElementType(b.getContext()));
    Value stored = arith::TruncIOp::create(b, narrow, codes[0]);
    vector::StoreOp::create(b, stored, narrowProbs, position);
    if (hasProbSums())
      sums.back() = arith::AddIOp::create(
          b, sums.back(), widenFirst(stored, words, plan.context));
    return;
  }
  word = joinCodes(codes);
  storeWords(word, probs, arith::DivUIOp::create(b, position, index(step)));
  if (skipsZeros())
    addToGroup(key, word);
  if (hasProbSums())
    sums.back() =
        plan.context.emitDot(b, sums.back(), asOperand(word, plan.context),
                             createOnes(plan.context));
}

Value AttentionEmitter::createCode(Value power, Value factors) {
  QuantParams params = *QuantParams::get(*view->getProbsQuant());
  float scale = prob.scale;
  float top = float(params.getStorageMax() - params.getZeroPoint(0));
  int64_t zeroPoint = hasSeeds(plan.context) ? prob.zeroPoint : 0;
  Value magic = splat(12582912.0f + float(zeroPoint));
  // Rounding errors of a probability of 1 are no reason for a bound.
  bool isBounded = 1.0f / scale < top + 0.25f;
  if (isBounded && !isClipped())
    return toWords(math::FmaOp::create(b, power, factors, magic));
  Value scaled = isClipped()
                     ? Value(math::FmaOp::create(
                           b, power, factors,
                           splat(view->getGamma().convertToFloat() / scale)))
                     : Value(arith::MulFOp::create(b, power, factors));
  if (isClipped())
    scaled = larger(scaled, splat(0.0f));
  if (!isBounded || view->getZeta().convertToFloat() > 1.0f) {
    Value bound = splat(std::min(1.0f / scale, top));
    Value isSmaller =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, scaled, bound);
    scaled = arith::SelectOp::create(b, isSmaller, scaled, bound);
  }
  return toWords(arith::AddFOp::create(b, scaled, magic));
}

Value AttentionEmitter::joinCodes(SmallVector<Value> codes) {
  for (int64_t bits = 32 / plan.context.getStep(); bits < 32; bits *= 2) {
    for (size_t i = 0; i < codes.size() / 2; ++i) {
      Value low = arith::AndIOp::create(b, codes[2 * i],
                                        splatInt((int64_t(1) << bits) - 1));
      Value high = arith::ShLIOp::create(b, codes[2 * i + 1], splatInt(bits));
      codes[i] = arith::OrIOp::create(b, low, high);
    }
    codes.resize(codes.size() / 2);
  }
  return codes.front();
}
