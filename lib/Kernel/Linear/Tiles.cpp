//===- Tiles.cpp - qtx.linear in tile registers ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

using namespace mlir;
using namespace qtx;

/// Lines that a step of tile registers fetches: enough to read all weights of
/// a panel beside 256 rows.
static constexpr int64_t kFetchedLines = 4;

void LinearEmitter::multiplyWindows(const Panel &panel, Value first,
                                    const SegmentRun &run, const SegmentAt &at,
                                    int64_t place, const Beside &other) {
  TileOperands operands{m.x,
                        first,
                        view->getWeight(),
                        panel.vectors,
                        stagedSums,
                        index(place * stagedRows),
                        /*isWeightPassing=*/true};
  // Loading seeds would keep products out for longer than adding them behind.
  SmallVector<Value> sums =
      row.createTileSums(b, operands, /*seed=*/Value(), /*indices=*/{});
  int64_t windows = row.getPaddedSize(run.size) / row.getTileStep();
  sums = forEachShare(panel, windows, sums, other,
                      [&](Value begin, int64_t count, ValueRange carried) {
                        SmallVector<Value> results =
                            loop(begin, add(begin, count), 1, carried,
                                 [&](Value window, ValueRange carried) {
                                   return emitWindow(operands, panel, run, at,
                                                     window, carried);
                                 });
                        return results;
                      });
  row.storeTileSums(b, operands, sums);
}

SmallVector<Value> LinearEmitter::emitWindow(const TileOperands &operands,
                                             const Panel &panel,
                                             const SegmentRun &run,
                                             const SegmentAt &at, Value window,
                                             ValueRange sums) {
  int64_t stepsOfWindow = row.getTileStep() / step;
  Value channel = add(at.channel, mul(window, row.getTileStep()));
  if (isLastWindowMoved(run))
    channel = limitWindow(channel);
  Value position = add(at.step, mul(window, stepsOfWindow));
  for (int64_t i = 0; i < kFetchedLines; ++i)
    emitPrefetch(add(position, i * stepsOfWindow / kFetchedLines));
  Value offset = add(panel.weight, mul(position, panel.vectors * lanes * step));
  return row.emitTileStep(b, operands, channel, offset, sums);
}

bool LinearEmitter::isLastWindowMoved(const SegmentRun &run) {
  return run.channel + (run.count - 1) * run.size +
             row.getPaddedSize(run.size) >
         getLast(view->getX());
}

Value LinearEmitter::limitWindow(Value channel) {
  return arith::MinUIOp::create(
      b, channel, index(getLast(view->getX()) - row.getTileStep()));
}
