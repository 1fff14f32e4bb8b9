//===- Packing.cpp - Operands of qtx.attention ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

Value AttentionEmitter::getKeyPosition(Value vectorNumber, Value step) {
  int64_t width = plan.keyWidth;
  Value panel = arith::DivUIOp::create(b, vectorNumber, index(width));
  Value inFull = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, panel,
                                       getNumFullPanels());
  Value rest = arith::RemUIOp::create(b, vectorNumber, index(width));
  auto select = [&](Value full, Value single) -> Value {
    return arith::SelectOp::create(b, inFull, full, single);
  };
  Value base = select(mul(panel, plan.keySteps * width * lanes),
                      mul(vectorNumber, plan.keySteps * lanes));
  Value stride = select(index(width * lanes), index(lanes));
  Value inPanel = select(mul(rest, lanes), zero);
  return add(add(base, inPanel), mul(step, stride));
}

Value AttentionEmitter::getNumFullPanels() {
  return arith::DivUIOp::create(b, keyVectors, index(plan.keyWidth));
}

void AttentionEmitter::emitPackedKeys() {
  int64_t step = plan.scores.getStep();
  loop(keyVectors, 1, [&](Value number) {
    for (int64_t first = 0; first < plan.keySteps; first += lanes) {
      SmallVector<Value> rows;
      for (int64_t lane = 0; lane < lanes; ++lane) {
        Value position =
            arith::MinUIOp::create(b, add(mul(number, lanes), lane), lastKey);
        position = add(position, firstKey);
        Value elements =
            loadElements(view->getKey(), getIndices(1, at.keyHead, position),
                         first * step, lanes * step, getLast(view->getKey()));
        rows.push_back(convertElements(elements, plan.scores, key,
                                       getLast(view->getKey()) - first * step));
      }
      transpose(rows);
      for (int64_t i = 0; i < std::min(lanes, plan.keySteps - first); ++i)
        storeWords(rows[i], packedKeys,
                   getKeyPosition(number, index(first + i)));
    }
    if (hasKeySums())
      emitKeySums(number);
  });
}

void AttentionEmitter::emitKeySums(Value number) {
  Value seeds = splatInt(0);
  if (hasSeeds(plan.scores))
    seeds = createKeySeeds(number);
  if (hasIntegerRows)
    seeds = arith::SelectOp::create(b, createSeenKeys(mul(number, lanes)),
                                    seeds, splatInt(kExcludedSum));
  storeWords(seeds, keySums, mul(number, lanes));
}

Value AttentionEmitter::createKeySeeds(Value number) {
  Value sums = createZeroSums(plan.scores);
  sums = loop(zero, index(plan.keySteps), 1, sums,
              [&](Value step, ValueRange carried) -> SmallVector<Value> {
                Value keys = asOperand(
                    loadWords(packedKeys, getKeyPosition(number, step)),
                    plan.scores);
                return {plan.scores.emitDot(b, carried[0],
                                            createOnes(plan.scores), keys)};
              })[0];
  return arith::MulIOp::create(b, sums, splatInt(-query.zeroPoint));
}

Value AttentionEmitter::createSeenKeys(Value first) {
  auto bits = VectorType::get(lanes, b.getI1Type());
  Value exist =
      vector::CreateMaskOp::create(b, bits, ValueRange{sub(numKeys, first)});
  if (!view->getMask())
    return exist;
  Value none = arith::ConstantOp::create(
      b, b.getZeroAttr(VectorType::get(lanes, b.getI8Type())));
  SmallVector<Value> indices = {at.batch, zero, zero, first};
  if (cast<MemRefType>(view->getMask().getType()).getDimSize(0) == 1)
    indices[0] = zero;
  Value mask =
      vector::MaskedLoadOp::create(b, cast<VectorType>(none.getType()),
                                   view->getMask(), indices, exist, none);
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, mask, none);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

void AttentionEmitter::emitPackedValues() {
  int64_t step = plan.context.getStep();
  // Products of tiles and of pipelined rows have no steps of part of a vector.
  bool isPadded = plan.hasTiles || plan.isPipelined;
  Value numSteps = arith::DivUIOp::create(
      b, isPadded ? paddedKeys : add(numKeys, step - 1), index(step));
  bool hasSums = hasSeeds(plan.context);
  bool isChecked = plan.context.isFloat() && (skipsZeros() || skipsCausal());
  int64_t vectors = plan.values / lanes;
  SmallVector<Value> sums;
  if (hasSums || isChecked)
    sums.assign(vectors, createZeroSums(plan.context));
  auto pack = [&](Value number, ValueRange carried, Value first,
                  int64_t stride) {
    SmallVector<Value> next;
    for (int64_t v = 0; v < vectors; ++v) {
      Value packed = createValueWords(first, stride, v * lanes);
      storeWords(packed, packedValues, getValuePosition(number, v));
      if (hasSums)
        next.push_back(plan.context.emitDot(b, carried[v],
                                            createOnes(plan.context),
                                            asOperand(packed, plan.context)));
      else if (isChecked)
        next.push_back(
            math::FmaOp::create(b, toFloats(packed), splat(0.0f), carried[v]));
    }
    return next;
  };
  Value groupedSteps = arith::DivUIOp::create(
      b, hasIntegerRows && !plan.isPipelined ? groupedKeys : zero, index(step));
  sums = loop(zero, groupedSteps, 1, sums, [&](Value number, ValueRange all) {
    Value lane = arith::RemUIOp::create(b, number, index(lanes));
    return pack(number, all, add(mul(sub(number, lane), step), lane), lanes);
  });
  sums =
      loop(groupedSteps, numSteps, 1, sums, [&](Value number, ValueRange all) {
        return pack(number, all, mul(number, step), 1);
      });
  if (isChecked) {
    auto join = [&](Value x, Value y) -> Value {
      return arith::AddFOp::create(b, x, y);
    };
    at.areFinite =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ,
                              reduceSum(joinAll(sums, join)), f32(0.0f));
    return;
  }
  for (auto [v, sum] : llvm::enumerate(sums))
    storeWords(arith::MulIOp::create(b, sum, splatInt(-prob.zeroPoint)),
               valueSums, index(v * lanes));
}

Value AttentionEmitter::getValuePosition(Value number, int64_t v) {
  int64_t first = v - v % plan.width;
  int64_t width = std::min(plan.width, plan.values / lanes - first);
  return add(
      add(mul(getProbPitch(), first * lanes), mul(number, width * lanes)),
      (v - first) * lanes);
}

Value AttentionEmitter::getProbPitch() {
  return arith::DivUIOp::create(b, paddedKeys, index(plan.context.getStep()));
}

Value AttentionEmitter::createValueWords(Value first, int64_t stride,
                                         int64_t channel) {
  auto load = [&](Value position) {
    return loadElements(view->getValue(),
                        getIndices(2, at.keyHead, add(position, firstKey)),
                        channel, lanes, valueSize);
  };
  if (plan.context.isFloat())
    return toWords(load(first));
  int64_t step = plan.context.getStep(), bits = 32 / step;
  Value result;
  for (int64_t i = 0; i < step; ++i) {
    Value position = add(first, i * stride);
    Value exists =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, position, numKeys);
    position = arith::MinUIOp::create(b, position, lastKey);
    Value elements = load(position);
    Value word = value.isSigned
                     ? Value(arith::ExtSIOp::create(b, words, elements))
                     : Value(arith::ExtUIOp::create(b, words, elements));
    if (!hasSeeds(plan.context))
      word = arith::SubIOp::create(b, word, splatInt(value.zeroPoint));
    if (value.isFlipped)
      word = arith::XOrIOp::create(b, word, splatInt(128));
    word = arith::AndIOp::create(b, word, splatInt((int64_t(1) << bits) - 1));
    word = arith::SelectOp::create(b, splat(exists), word, splatInt(0));
    if (i > 0)
      word = arith::ShLIOp::create(b, word, splatInt(i * bits));
    result = result ? arith::OrIOp::create(b, result, word) : word;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Queries
//===----------------------------------------------------------------------===//

void AttentionEmitter::emitQueryBlock(Value count) {
  int64_t step = plan.scores.getStep();
  Value last = sub(numQueries, index(1));
  loop(count, 1, [&](Value row) {
    Value position = arith::MinUIOp::create(b, add(at.query, row), last);
    SmallVector<Value> indices = getIndices(0, at.head, position);
    for (int64_t word = 0; word < plan.keySteps; word += lanes) {
      int64_t width = std::min(lanes, plan.keySteps - word);
      Value elements = loadElements(view->getQuery(), indices, word * step,
                                    width * step, getLast(view->getQuery()));
      Value converted =
          convertElements(elements, plan.scores, query,
                          getLast(view->getQuery()) - word * step);
      vector::StoreOp::create(b, converted, queryBlock,
                              add(mul(row, plan.keySteps), word));
    }
  });
}
