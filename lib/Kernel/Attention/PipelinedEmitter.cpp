//===- PipelinedEmitter.cpp - Overlapped blocks of attention --------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PipelinedEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace qtx;

/// What rounds to an integer in the low bits of a sum with it.
static constexpr float kRounder = 12582912.0f;

PipelinedEmitter::PipelinedEmitter(ImplicitLocOpBuilder &builder, KernelOp op,
                                   Part part)
    : AttentionEmitter(builder, op, part), table(1.0 / prob.scale) {}

//===----------------------------------------------------------------------===//
// Turns
//===----------------------------------------------------------------------===//

void PipelinedEmitter::emitKeyHead(PartRange blocks) {
  packKeyHead();
  at.seen = wholeKeys;
  at.tile = zero;
  loop(blocks.begin, add(blocks.end, 2), 1, {}, [&](Value number, ValueRange) {
    emitTurn(number, blocks);
    return SmallVector<Value>();
  });
}

void PipelinedEmitter::emitTurn(Value number, PartRange blocks) {
  auto isLess = [&](Value lhs, Value rhs) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, lhs, rhs);
  };
  Value hasScores = isLess(number, blocks.end);
  Value hasPowers = arith::AndIOp::create(b, isLess(blocks.begin, number),
                                          isLess(number, add(blocks.end, 1)));
  Value hasContext = isLess(add(blocks.begin, 1), number);
  RowRange first{0, plan.rows / 2}, second{plan.rows / 2, plan.rows};
  Value previous = getPlace(add(number, 1));

  // Scores take the place of those that have become codes.
  Sums others = branch(
      hasContext, [&] { return emitContextOf(number, hasPowers, second); },
      [&] { return emitPowersAlone(previous, second, hasPowers); });
  Sums sums = branch(
      hasScores, [&] { return emitScoresOf(number, hasPowers, first); },
      [&] { return emitPowersAlone(previous, first, hasPowers); });
  llvm::append_range(sums, others);
  storeFactors(sums);
}

PipelinedEmitter::Sums
PipelinedEmitter::emitScoresOf(Value number, Value hasPowers, RowRange rows) {
  enterBlock(number);
  emitQueryBlock(index(plan.rows));
  Value previous = getPlace(add(number, 1));
  Value inPanels = mul(getNumFullPanels(), plan.keyWidth);
  auto emitPanels = [&](bool isBeside) {
    auto emit = [&](int64_t width) {
      return [&, width](Value first, ValueRange carried) {
        Sums sums(carried.drop_back());
        auto emitPowerOf = [&](int64_t i) {
          endPower(sums);
          beginPower(previous, add(first, i / rows.size()), rows,
                     i % rows.size());
        };
        Value largest = emitPanel(
            first, width,
            isBeside ? Beside{rows.size() * width, emitPowerOf} : Beside());
        endPower(sums);
        sums.push_back(arith::MaxSIOp::create(b, carried.back(), largest));
        return sums;
      };
    };
    Sums sums = createNoSums(rows);
    sums.push_back(splatInt(std::numeric_limits<int32_t>::min()));
    sums = loop(zero, inPanels, plan.keyWidth, sums, emit(plan.keyWidth));
    return loop(inPanels, keyVectors, 1, sums, emit(1));
  };
  Sums sums = branch(
      hasPowers, [&] { return emitPanels(true); },
      [&] { return emitPanels(false); });
  storeLargest(sums.pop_back_val());
  return sums;
}

PipelinedEmitter::Sums
PipelinedEmitter::emitContextOf(Value number, Value hasPowers, RowRange rows) {
  Value place = getPlace(number), previous = getPlace(add(number, 1));
  int64_t vectors = plan.values / lanes;
  auto emitPasses = [&](bool isBeside) {
    Sums sums;
    for (int64_t pass = 0; pass < plan.countPasses(); ++pass) {
      int64_t first = pass * plan.width;
      RowRange part = plan.getRowsOfPass(pass);
      llvm::append_range(sums,
                         emitChannels(place, previous, first,
                                      std::min(plan.width, vectors - first),
                                      isBeside ? part : RowRange{0, 0}));
    }
    return isBeside ? sums : createNoSums(rows);
  };
  Sums sums = branch(
      hasPowers, [&] { return emitPasses(true); },
      [&] { return emitPasses(false); });
  enterBlock(add(number, -2));
  Value end = arith::MinUIOp::create(b, add(at.query, plan.rows), numQueries);
  emitResults(sub(end, at.query));
  return sums;
}

Value PipelinedEmitter::getPlace(Value number) {
  return arith::RemUIOp::create(b, number, index(2));
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

Value PipelinedEmitter::getScorePosition(Value number, int64_t row) {
  return add(mul(number, plan.rows * lanes), row * lanes);
}

Value PipelinedEmitter::getCodePosition(Value place, Value number,
                                        int64_t row) {
  const auto *packed = llvm::find_if(
      plan.packedRows, [&](RowRange rows) { return row < rows.end; });
  int64_t vector = packed - plan.packedRows.begin();
  Value first = mul(add(mul(number, 2), place), plan.packedRows.size() * lanes);
  return add(first, vector * lanes + row - packed->begin);
}

void PipelinedEmitter::emitBeside(const Beside &beside, int64_t step,
                                  int64_t numSteps) {
  int64_t begin = beside.count * step / numSteps;
  int64_t end = beside.count * (step + 1) / numSteps;
  for (int64_t i = begin; i < end; ++i)
    beside.emit(i);
  // LLVM would load for the next step before there are registers for that.
  keepOrder();
}

Value PipelinedEmitter::emitPanel(Value number, int64_t width, Beside beside) {
  SmallVector<Value> sums;
  for (int64_t r = 0; r < plan.rows; ++r)
    for (int64_t v = 0; v < width; ++v)
      sums.push_back(r == 0 ? loadWords(keySums, mul(add(number, v), lanes))
                            : sums[v]);
  Value base = mul(number, plan.keySteps * lanes);
  auto multiply = [&](Value step, ValueRange carried) {
    SmallVector<Value> keys, next;
    Value position = add(base, mul(step, width * lanes));
    for (int64_t v = 0; v < width; ++v)
      keys.push_back(asOperand(loadWords(packedKeys, add(position, v * lanes)),
                               plan.scores));
    for (int64_t r = 0; r < plan.rows; ++r) {
      Value x =
          broadcastWord(queryBlock, add(step, r * plan.keySteps), plan.scores);
      for (int64_t v = 0; v < width; ++v)
        next.push_back(
            plan.scores.emitDot(b, carried[r * width + v], x, keys[v]));
    }
    return next;
  };
  if (beside.count == 0)
    sums = loop(zero, index(plan.keySteps), 1, sums, multiply);
  else
    for (int64_t step = 0; step < plan.keySteps; ++step) {
      sums = multiply(index(step), sums);
      emitBeside(beside, step, plan.keySteps);
    }
  return storeScores(number, width, sums);
}

Value PipelinedEmitter::storeScores(Value number, int64_t width,
                                    ArrayRef<Value> sums) {
  SmallVector<Value> largest;
  for (int64_t r = 0; r < plan.rows; ++r) {
    ArrayRef<Value> row = sums.slice(r * width, width);
    for (int64_t v = 0; v < width; ++v)
      storeWords(row[v], scoreRows, getScorePosition(add(number, v), r));
    largest.push_back(joinAll(row, [&](Value x, Value y) -> Value {
      return arith::MaxSIOp::create(b, x, y);
    }));
  }
  return joinRows(largest, vector::CombiningKind::MAXSI);
}

PipelinedEmitter::Sums
PipelinedEmitter::emitChannels(Value place, Value powerPlace, int64_t first,
                               int64_t width, RowRange rows) {
  int64_t step = plan.context.getStep(), steps = lanes / step;
  SmallVector<Value> start;
  for (int64_t r = 0; r < plan.rows; ++r)
    for (int64_t v = 0; v < width; ++v)
      start.push_back(loadWords(valueSums, index((first + v) * lanes)));
  size_t numSums = start.size();
  llvm::append_range(start, createNoSums(rows));
  auto emitKeys = [&](Value number, ValueRange carried) {
    SmallVector<Value> sums(carried.take_front(numSums));
    Sums powers(carried.drop_front(numSums));
    auto emitPowerOf = [&](int64_t row) {
      endPower(powers);
      beginPower(powerPlace, number, rows, row);
    };
    for (int64_t i = 0; i < steps; ++i) {
      SmallVector<Value> values;
      for (int64_t v = 0; v < width; ++v)
        values.push_back(
            loadValues(add(mul(number, steps), i), (first + v) * lanes));
      for (int64_t r = 0; r < plan.rows; ++r) {
        Value position =
            add(getCodePosition(place, number, r), i * kCodeStride);
        Value x = broadcastWord(probs, position, plan.context);
        for (int64_t v = 0; v < width; ++v)
          sums[r * width + v] =
              plan.context.emitDot(b, sums[r * width + v], x, values[v]);
      }
      emitBeside({rows.size(), emitPowerOf}, i, steps);
    }
    endPower(powers);
    llvm::append_range(sums, powers);
    return sums;
  };
  SmallVector<Value> results = loop(zero, keyVectors, 1, start, emitKeys);
  for (int64_t r = 0; r < plan.rows; ++r)
    for (int64_t v = 0; v < width; ++v)
      storeWords(results[r * width + v], tile,
                 index(r * plan.values + (first + v) * lanes));
  return Sums(ArrayRef(results).drop_front(numSums));
}

//===----------------------------------------------------------------------===//
// Powers
//===----------------------------------------------------------------------===//

PipelinedEmitter::Sums PipelinedEmitter::createNoSums(RowRange rows) {
  Sums sums;
  for (int64_t row = 0; row < rows.size(); ++row) {
    sums.push_back(splat(0.0f));
    if (hasProbSums())
      sums.push_back(splatInt(0));
  }
  return sums;
}

PipelinedEmitter::Sums
PipelinedEmitter::emitPowersAlone(Value place, RowRange rows, Value hasPowers) {
  Value end = arith::SelectOp::create(b, hasPowers, keyVectors, zero);
  return loop(zero, end, 1, createNoSums(rows),
              [&](Value number, ValueRange carried) {
                Sums sums(carried);
                for (int64_t row = 0; row < rows.size(); ++row) {
                  beginPower(place, number, rows, row);
                  endPower(sums);
                }
                return sums;
              });
}

void PipelinedEmitter::beginPower(Value place, Value number, RowRange rows,
                                  int64_t row) {
  // x = n + i / 16 + r, and i is in the low bits of `shifted`.
  constexpr float rounder = kRounder / PowerTable::kIntervals;
  constexpr float lowest = -125.0f;
  int64_t inBlock = rows.begin + row;
  Value largest = memref::LoadOp::create(b, maxima, index(inBlock));
  Value sum = loadWords(scoreRows, getScorePosition(number, inBlock));
  float scale = getSumScale();
  // Powers that are no normal numbers would take a hundred cycles.
  Value x = larger(convert(arith::SubIOp::create(b, sum, splat(largest))),
                   splat(lowest / scale));
  Value shifted = math::FmaOp::create(b, x, splat(scale), splat(rounder));
  Value rounded = arith::SubFOp::create(b, shifted, splat(rounder));
  Value rest = math::FmaOp::create(b, x, splat(scale),
                                   arith::NegFOp::create(b, rounded));
  begun = {toWords(shifted), rounded, rest, row, inBlock};
  if (waiting.empty())
    codePosition = getCodePosition(place, number, inBlock);
}

void PipelinedEmitter::endPower(Sums &sums) {
  if (!begun)
    return;
  auto [bits, rounded, rest, row, inBlock] = *begun;
  begun.reset();
  auto lookUp = [&, bits = bits](int64_t power) {
    return plan.context.emitLookup(b, table.coefficients[power], bits);
  };
  Value result = math::FmaOp::create(b, lookUp(2), rest, lookUp(1));
  result = math::FmaOp::create(b, result, rest, lookUp(0));
  Value power = plan.context.emitScaled(b, result, rounded);
  Value code = createCodeOf(power);
  Value *sum = &sums[row * getNumSums()];
  sum[0] = arith::AddFOp::create(b, sum[0], power);
  if (hasProbSums())
    sum[1] = arith::AddIOp::create(b, sum[1], code);
  waiting.push_back(code);
  if (llvm::any_of(plan.packedRows, [&, last = inBlock](RowRange rows) {
        return rows.end == last + 1;
      }))
    storeCodes();
}

void PipelinedEmitter::storeCodes() {
  // A word of each row stands in four; of fewer rows they come again.
  SmallVector<Value> packed;
  for (int64_t i = 0; i < kCodeStride; ++i)
    packed.push_back(waiting[i % waiting.size()]);
  SmallVector<Value> offsets;
  if (prob.zeroPoint != 0)
    offsets.assign(kCodeStride, splatInt(prob.zeroPoint));
  Value bytes = plan.context.emitPacked(b, packed, offsets,
                                        prob.isSigned != prob.isFlipped);
  storeHalves(vector::BitCastOp::create(b, words, bytes), probs, codePosition);
  waiting.clear();
}

Value PipelinedEmitter::createCodeOf(Value power) {
  QuantParams params = *QuantParams::get(*view->getProbsQuant());
  float top = float(params.getStorageMax() - params.getZeroPoint(0));
  // Packing saturates to bytes. Rounding errors of a probability of 1 are no
  // reason for a bound.
  bool isByte = params.getStorageMax() - params.getStorageMin() == 255;
  if ((hasProbSums() || !isByte) && 1.0f / prob.scale >= top + 0.25f)
    power = arith::SelectOp::create(
        b,
        arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, power, splat(top)),
        power, splat(top));
  return roundToInteger(power);
}

void PipelinedEmitter::storeFactors(const Sums &sums) {
  SmallVector<Value> powerSums, codeSums;
  for (int64_t row = 0; row < plan.rows; ++row) {
    powerSums.push_back(sums[row * getNumSums()]);
    if (hasProbSums())
      codeSums.push_back(sums[row * getNumSums() + 1]);
  }
  auto addUp = [&](ArrayRef<Value> rows) {
    constexpr auto kind = vector::CombiningKind::ADD;
    return reduceRuns(joinRows(rows, kind), plan.rows, kind);
  };
  Value sum = addUp(powerSums);
  auto type = cast<VectorType>(sum.getType());
  auto splatOf = [&](float value) -> Value {
    return arith::ConstantOp::create(b, DenseElementsAttr::get(type, value));
  };
  // The largest score of a row makes about 1.
  Value isEmpty = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, sum,
                                        splatOf(0.5f / prob.scale));
  Value factor = arith::DivFOp::create(b, splatOf(1.0f / prob.scale), sum);
  factor = arith::SelectOp::create(b, isEmpty, splatOf(0.0f), factor);
  vector::StoreOp::create(
      b, vector::BitCastOp::create(b, type.clone(b.getI32Type()), factor),
      factors, zero);
  if (!hasProbSums())
    return;
  Value codeSum = addUp(codeSums);
  Value zeroPoints = arith::MulIOp::create(
      b, arith::IndexCastOp::create(b, b.getI32Type(), keyVectors),
      arith::ConstantIntOp::create(b, prob.zeroPoint * lanes, 32));
  codeSum = arith::AddIOp::create(
      b, codeSum,
      vector::BroadcastOp::create(b, codeSum.getType(), zeroPoints));
  vector::StoreOp::create(b, codeSum, probSums, zero);
}

void PipelinedEmitter::storeLargest(Value joined) {
  Value largest = reduceRuns(joined, plan.rows, vector::CombiningKind::MAXSI);
  auto type = cast<VectorType>(largest.getType());
  auto splatOf = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, b.getI32IntegerAttr(value)));
  };
  // Against 0 the sums of keys that are all excluded make powers of zero.
  Value isEmpty = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, largest,
                                        splatOf(kExcludedSum + kMaxSum));
  vector::StoreOp::create(
      b, arith::SelectOp::create(b, isEmpty, splatOf(0), largest), maxima,
      zero);
}
