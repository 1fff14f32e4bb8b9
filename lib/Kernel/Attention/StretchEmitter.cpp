//===- StretchEmitter.cpp - Long rows of qtx.attention --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "StretchEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "qtx/Support/Polynomials.h"
#include <limits>

using namespace mlir;
using namespace qtx;

StretchEmitter::StretchEmitter(ImplicitLocOpBuilder &builder, KernelOp op,
                               Part part, const Stretches &stretches)
    : AttentionEmitter(builder, op, part, stretches),
      stretchKeys(stretches.keys) {}

Value StretchEmitter::createBlockRows() {
  constexpr int64_t kBlocksOfPart = 4;
  if (!part)
    return index(plan.blockRows);
  Value rows = mul(mul(numBatches, numHeads), numQueries);
  Value blocks = mul(part.count, kBlocksOfPart);
  Value share = arith::CeilDivUIOp::create(b, rows, blocks);
  // Whole tiles, and one at least.
  Value tiles = arith::CeilDivUIOp::create(
      b, arith::MaxUIOp::create(b, share, index(1)), index(plan.rows));
  return arith::MinUIOp::create(b, mul(tiles, plan.rows),
                                index(plan.blockRows));
}

void StretchEmitter::createRows() { paddedKeys = index(stretchKeys); }

void StretchEmitter::emitBlock() {
  Value end = arith::MinUIOp::create(b, add(at.query, blockRows), numQueries);
  Value count = sub(end, at.query);
  emitQueryBlock(
      mul(arith::CeilDivUIOp::create(b, count, index(plan.rows)), plan.rows));
  loop(count, 1, [&](Value row) { startRow(row); });
  auto finishRow = [&](Value row) {
    at.row = row;
    storeFactor(loadFloat(rowSums, row));
  };
  if (isOnline()) {
    forEachStretch(count, true, [&] { joinExponentials(); });
    loop(count, 1, finishRow);
  } else {
    forEachStretch(count, false, [&] { joinExponentials(); });
    loop(count, 1, finishRow);
    forEachStretch(count, true, [&] { emitFinalProbs(); });
  }
  emitResults(count);
}

void StretchEmitter::forEachStretch(Value count, bool hasValues,
                                    function_ref<void()> row) {
  loop(zero, allKeys, stretchKeys, {}, [&](Value first, ValueRange) {
    setKeys(first,
            arith::MinUIOp::create(b, sub(allKeys, first), index(stretchKeys)));
    emitPackedKeys();
    if (hasValues)
      emitPackedValues();
    loop(zero, count, plan.rows, {}, [&](Value tile, ValueRange) {
      at.tile = mul(tile, plan.keySteps);
      createSeen(add(at.query, tile));
      emitScoreTiles();
      auto emitRows = [&] { forEachRow(tile, count, [&](Value) { row(); }); };
      if (hasValues)
        emitAndMultiply(tile, count, emitRows);
      else
        emitRows();
      return SmallVector<Value>();
    });
    return SmallVector<Value>();
  });
}

void StretchEmitter::emitAndMultiply(Value tile, Value count,
                                     function_ref<void()> emitRows) {
  emitAndListGroups(emitRows);
  emitContextTiles();
  forEachRow(tile, count, [&](Value inTile) { joinContext(inTile); });
}

void StretchEmitter::forEachRow(Value tile, Value count,
                                function_ref<void(Value)> body) {
  Value rows = arith::MinUIOp::create(b, sub(count, tile), index(plan.rows));
  loop(rows, 1, [&](Value inTile) {
    at.row = add(tile, inTile);
    at.scores = mul(inTile, paddedKeys);
    body(inTile);
  });
}

void StretchEmitter::startRow(Value row) {
  Value max = f32(-std::numeric_limits<float>::infinity()), sum = f32(0.0f);
  if (Value sink = createSink()) {
    max = sink;
    sum = createNegativeExp(
        b, arith::SubFOp::create(b, sink, createScoreShift(sink)));
  }
  storeFloat(max, maxima, row);
  storeFloat(sum, rowSums, row);
  Value begin = mul(row, plan.values);
  for (int64_t channel = 0; channel < plan.values; channel += lanes)
    storeWords(splatInt(0), contextRows, add(begin, channel));
}

void StretchEmitter::joinExponentials() {
  Value before = loadFloat(maxima, at.row);
  Value max = larger(emitScores(), before);
  Value shift = createScoreShift(max);
  Value sum = reduceSum(emitExponentials(splat(shift))[0]);
  Value factor = createNegativeExp(b, arith::SubFOp::create(b, before, shift));
  sum = math::FmaOp::create(b, loadFloat(rowSums, at.row), factor, sum);
  storeFloat(max, maxima, at.row);
  storeFloat(sum, rowSums, at.row);
  storeFloat(factor, factors, at.row);
}

void StretchEmitter::emitFinalProbs() {
  emitScores();
  emitExponentials(splat(createScoreShift(loadFloat(maxima, at.row))));
  if (!isDivisionLast())
    emitProbs(splat(loadFactor()));
}

void StretchEmitter::joinContext(Value inTile) {
  Value from = mul(inTile, plan.values), to = mul(at.row, plan.values);
  Value factor = splat(isOnline() ? loadFactor() : f32(1.0f));
  for (int64_t channel = 0; channel < plan.values; channel += lanes) {
    Value position = add(to, channel);
    Value sums =
        math::FmaOp::create(b, loadFloats(contextRows, position), factor,
                            loadFloats(tile, add(from, channel)));
    storeWords(sums, contextRows, position);
  }
}
