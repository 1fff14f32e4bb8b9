//===- Overlap.cpp - Ends of tiles between steps of the next ones ---------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The end of a tile fills the scheduler with operations that other pipes than
// those of dot products run. So some rows end, and their registers take the
// first steps of the next tile, before the next rows end.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace qtx;

/// Rows that end at once: as many sums as hide the latency of a dot product,
/// and, where tiles are a multiple of it, as many vectors as are narrowed
/// together.
static constexpr int64_t kMostRows = 4, kFewestRows = 2;
/// Steps of the next tile behind the end of such rows, which take about as
/// long.
static constexpr int64_t kMaxSteps = 4;

const SegmentRun &LinearEmitter::getFirstRun() {
  return joinsIntegers() ? *sortRuns().front() : runs.front();
}

int64_t LinearEmitter::countFirstSteps() {
  const SegmentRun &run = getFirstRun();
  return run.count > 1 ? 0 : std::min(kMaxSteps, run.size / stepSize);
}

bool LinearEmitter::canOverlap() {
  // Other ends are long, or wait in memory. Few registers have no room, and few
  // rows with nibbles have no seeds.
  if (stagedRows > 0 || row.isFloat() || row.getNumTileRows() > 0 ||
      isElementary() || hasNibbles || lanes < kMinStageLanes ||
      config.getRows() % kFewestRows != 0)
    return false;
  return (joinsIntegers() || (runs.size() == 1 && runs.front().count == 1)) &&
         countFirstSteps() > 0;
}

Value LinearEmitter::emitOverlappedPanels(const PanelShape &shape,
                                          Value firstPanel, Value lastPanel,
                                          Value begin, Value end) {
  Value count = arith::SubIOp::create(b, end, begin);
  Value rest = arith::RemUIOp::create(b, count, index(config.getRows()));
  Value last = arith::SubIOp::create(b, end, rest);
  OpBuilder::InsertionGuard guard(b);
  auto isLess = [&](Value lhs, Value rhs) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, lhs, rhs);
  };
  enterIf(arith::AndIOp::create(b, isLess(firstPanel, lastPanel),
                                isLess(begin, last)));
  llvm::SaveAndRestore rowsOfTile(tileRows, config.getRows());
  SmallVector<Value> sums = emitFirstSteps(getPanel(shape, firstPanel), begin);
  loop(firstPanel, lastPanel, 1, sums, [&](Value number, ValueRange outer) {
    Panel panel = getPanel(shape, number);
    Ahead ahead = getNext(panel);
    Value stride = getPrefetchStride(ahead, count);
    return loop(
        begin, last, config.getRows(), outer,
        [&](Value first, ValueRange carried) {
          fetch = getPrefetch(ahead, stride,
                              arith::SubIOp::create(b, first, begin));
          auto sums = emitOtherSteps(panel, first, llvm::to_vector(carried));
          fetch = {};
          Value next = add(first, config.getRows());
          Value isInPanel = isLess(next, last);
          Value nextNumber =
              arith::SelectOp::create(b, isInPanel, number, add(number, 1));
          // Behind the last tile of the last panel there is none.
          Value isThere = isLess(nextNumber, lastPanel);
          next = arith::SelectOp::create(b, isInPanel, next, begin);
          Value limit = arith::SelectOp::create(b, isThere, last, index(0));
          return endBesideNext(panel, first, sums, getPanel(shape, nextNumber),
                               next, limit);
        });
  });
  return last;
}

SmallVector<Value> LinearEmitter::emitFirstSteps(const Panel &panel,
                                                 Value first) {
  const SegmentRun &run = getFirstRun();
  SegmentAt at = getSegmentAt(run, index(0));
  SmallVector<Value> sums =
      joinsIntegers() ? createZeroSums(panel) : loadSeed(panel, first, at);
  for (int64_t step = 0; step < countFirstSteps(); ++step)
    sums = emitStep(panel, first, add(at.step, step), sums,
                    [&](Value rowIndex, int64_t offset) {
                      return loadInput(
                          rowIndex, add(at.channel, step * stepSize + offset));
                    });
  return sums;
}

SmallVector<Value> LinearEmitter::emitOtherSteps(const Panel &panel,
                                                 Value first,
                                                 SmallVector<Value> sums) {
  int64_t done = countFirstSteps();
  auto emitFirst = [&](const SegmentRun &run, SmallVector<Value> sums) {
    SegmentAt at = getSegmentAt(run, index(0));
    sums = emitSteps(panel, first, at, add(at.channel, done * stepSize), done,
                     run.size / stepSize - done, std::move(sums));
    return emitRest(panel, first, run, at, std::move(sums));
  };
  if (!joinsIntegers())
    return emitFirst(runs.front(), std::move(sums));
  const SegmentRun &begun = getFirstRun();
  return emitJoinedSums(
      panel, first, std::move(sums),
      [&](const SegmentRun &run, const SegmentAt &at, SmallVector<Value> sums) {
        return &run == &begun
                   ? emitFirst(run, std::move(sums))
                   : emitSegment(panel, first, run, at, std::move(sums));
      });
}

SmallVector<Value> LinearEmitter::endBesideNext(const Panel &panel, Value first,
                                                ArrayRef<Value> sums,
                                                const Panel &nextPanel,
                                                Value next, Value limit) {
  SegmentAt at =
      joinsIntegers() ? getFinest() : getSegmentAt(runs.front(), index(0));
  SmallVector<Value> nextSums;
  int64_t rows = config.getRows() % kMostRows == 0 ? kMostRows : kFewestRows;
  llvm::SaveAndRestore rowsOfPart(tileRows, rows);
  for (int64_t r = 0; r < config.getRows(); r += rows) {
    Value row = add(first, r);
    emitEpilogue(panel, row,
                 join(panel, row, at,
                      sums.slice(r * panel.vectors, rows * panel.vectors),
                      loadBias(panel, row)));
    // All of these conditions hold, or none does. LLVM, which does not see
    // that, keeps rows apart; it would end all of them first.
    Value nextRow = add(next, r);
    llvm::append_range(
        nextSums,
        branch(
            arith::CmpIOp::create(b, arith::CmpIPredicate::ult, nextRow, limit),
            [&] { return emitFirstSteps(nextPanel, nextRow); },
            [&] { return createZeroSums(nextPanel); }));
  }
  return nextSums;
}
