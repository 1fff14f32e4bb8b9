//===- Products.cpp - Contractions of qtx.attention -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

void AttentionEmitter::emitScoreTiles() {
  int64_t width = plan.keyWidth;
  Value panels = getNumFullPanels();
  Value seen = arith::DivUIOp::create(b, at.seen, index(lanes));
  Value seenPanels = arith::MinUIOp::create(
      b, panels, arith::CeilDivUIOp::create(b, seen, index(width)));
  loop(seenPanels, 1,
       [&](Value panel) { emitScoreTile(mul(panel, width), width); });
  loop(mul(panels, width), seen, 1, {}, [&](Value number, ValueRange) {
    emitScoreTile(number, 1);
    return SmallVector<Value>();
  });
}

void AttentionEmitter::emitScoreTile(Value number, int64_t width) {
  if (plan.hasTiles)
    return emitTallScoreTile(number, width);
  SmallVector<Value> sums;
  Value none = createZeroSums(plan.scores);
  for (int64_t r = 0; r < plan.rows; ++r)
    for (int64_t v = 0; v < width; ++v)
      sums.push_back(!hasKeySums() ? none
                     : r == 0 ? loadWords(keySums, mul(add(number, v), lanes))
                              : sums[v]);
  Value base = mul(number, plan.keySteps * lanes);
  sums = loopInTurns(
      zero, index(plan.keySteps), plan.scores.getUnrolledSteps(), sums,
      [&](Value step, ValueRange carried) {
        SmallVector<Value> keys, next;
        Value position = add(base, mul(step, width * lanes));
        for (int64_t v = 0; v < width; ++v)
          keys.push_back(asOperand(
              loadWords(packedKeys, add(position, v * lanes)), plan.scores));
        for (int64_t r = 0; r < plan.rows; ++r) {
          Value x = broadcastWord(queryBlock,
                                  add(add(step, r * plan.keySteps), at.tile),
                                  plan.scores);
          for (int64_t v = 0; v < width; ++v)
            next.push_back(
                plan.scores.emitDot(b, carried[r * width + v], x, keys[v]));
        }
        return next;
      });
  for (int64_t r = 0; r < plan.rows; ++r)
    for (int64_t v = 0; v < width; ++v)
      storeWords(sums[r * width + v], scoreRows,
                 add(mul(paddedKeys, r), mul(add(number, v), lanes)));
}

void AttentionEmitter::emitTallScoreTile(Value number, int64_t width) {
  Value column = mul(number, lanes);
  TileOperands operands{queryBytes,
                        zero,
                        keyBytes,
                        width,
                        getColumns(scoreMatrix, column, width * lanes),
                        zero};
  SmallVector<Value> sums =
      plan.scores.createTileSums(b, operands, keySums, {column});
  int64_t stepBytes = plan.scores.getTileStep() * width * lanes;
  Value base = mul(number, plan.keySteps * lanes * 4);
  for (int64_t i = 0; i < plan.keySteps * 4 / plan.scores.getTileStep(); ++i)
    sums = plan.scores.emitTileStep(b, operands,
                                    index(i * plan.scores.getTileStep()),
                                    add(base, i * stepBytes), sums);
  plan.scores.storeTileSums(b, operands, sums);
}

Value AttentionEmitter::getColumns(Value matrix, Value first, int64_t count) {
  OpFoldResult one = b.getIndexAttr(1);
  return memref::SubViewOp::create(
      b, matrix, {b.getIndexAttr(0), first},
      {b.getIndexAttr(plan.rows), b.getIndexAttr(count)}, {one, one});
}

//===----------------------------------------------------------------------===//
// Context
//===----------------------------------------------------------------------===//

void AttentionEmitter::emitContextTiles() {
  int64_t vectors = plan.values / lanes;
  for (int64_t first = 0; first < vectors; first += plan.width) {
    int64_t width = std::min(plan.width, vectors - first);
    if (plan.hasTiles)
      emitTallContextTile(first, width);
    else
      emitContextTile(first, width);
  }
}

void AttentionEmitter::emitTallContextTile(int64_t first, int64_t width) {
  Value column = index(first * lanes);
  TileOperands operands{probBytes,
                        zero,
                        valueBytes,
                        width,
                        getColumns(contextMatrix, column, width * lanes),
                        zero};
  SmallVector<Value> sums =
      plan.context.createTileSums(b, operands, valueSums, {column});
  int64_t step = plan.context.getTileStep();
  Value base = mul(getValuePosition(zero, first), 4);
  Value end = arith::MinUIOp::create(b, numKeys, at.seen);
  auto multiply = [&](Value key, ValueRange carried) {
    return plan.context.emitTileStep(
        b, operands, key, add(base, mul(key, width * lanes)), carried);
  };
  sums = skipsZeros() ? forEachCounted(sums, step, multiply, multiply)
                      : loop(zero, end, step, sums, multiply);
  plan.context.storeTileSums(b, operands, sums);
}

void AttentionEmitter::emitContextTile(int64_t first, int64_t width) {
  SmallVector<Value> sums;
  for (int64_t r = 0; r < plan.rows; ++r)
    for (int64_t v = 0; v < width; ++v)
      sums.push_back(hasSeeds(plan.context)
                         ? loadWords(valueSums, index((first + v) * lanes))
                         : createZeroSums(plan.context));
  int64_t step = plan.context.getStep();
  Value numSteps = arith::CeilDivUIOp::create(
      b, arith::MinUIOp::create(b, numKeys, at.seen), index(step));
  Value pitch = getProbPitch();
  Value rows = plan.context.isFloat() ? scoreRows : probs;
  auto multiply = [&](Value number, ValueRange carried) {
    SmallVector<Value> values, next;
    for (int64_t v = 0; v < width; ++v)
      values.push_back(loadValues(number, (first + v) * lanes));
    for (int64_t r = 0; r < plan.rows; ++r) {
      Value x = broadcastWord(rows, add(number, mul(pitch, r)), plan.context);
      for (int64_t v = 0; v < width; ++v)
        next.push_back(
            plan.context.emitDot(b, carried[r * width + v], x, values[v]));
    }
    return next;
  };
  if (skipsZeros())
    sums = forEachCounted(
        sums, step,
        [&](Value key, ValueRange carried) {
          Value first = getGroupPosition(key);
          return loopInTurns(first, index(lanes),
                             plan.context.getUnrolledSteps(), carried,
                             multiply);
        },
        [&](Value key, ValueRange carried) {
          return multiply(getGroupPosition(key), carried);
        });
  else
    sums = loopInTurns(zero, numSteps, plan.context.getUnrolledSteps(), sums,
                       multiply);
  for (int64_t r = 0; r < plan.rows; ++r)
    for (int64_t v = 0; v < width; ++v)
      storeWords(sums[r * width + v], tile,
                 index(r * plan.values + (first + v) * lanes));
}

Value AttentionEmitter::loadValues(Value number, int64_t channel) {
  return asOperand(
      loadWords(packedValues, getValuePosition(number, channel / lanes)),
      plan.context);
}
