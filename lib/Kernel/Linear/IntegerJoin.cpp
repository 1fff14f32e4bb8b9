//===- IntegerJoin.cpp - Segments of qtx.linear that join in int32 --------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One set of sums takes all segments: a multiplication between two of them is
// all that their scales cost, and the end of a tile is that of one segment.
//
//===----------------------------------------------------------------------===//

#include "../PackedConstants.h"
#include "Emitter.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace qtx;

SmallVector<const SegmentRun *> LinearEmitter::sortRuns() {
  SmallVector<const SegmentRun *> sorted;
  for (const SegmentRun &run : runs)
    sorted.push_back(&run);
  llvm::sort(sorted, [](const SegmentRun *a, const SegmentRun *b) {
    return std::pair(-a->multiplier, a->first) <
           std::pair(-b->multiplier, b->first);
  });
  return sorted;
}

const SegmentRun &LinearEmitter::getLongest() {
  return *llvm::max_element(runs, [](const SegmentRun &a, const SegmentRun &b) {
    return a.size < b.size;
  });
}

SegmentAt LinearEmitter::getFinest() {
  return {index(getFinestSegment(joinMultipliers)), index(0), index(0),
          index(0)};
}

SmallVector<Value> LinearEmitter::createZeroSums(const Panel &panel) {
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
  return SmallVector<Value>(tileRows * panel.vectors, zero);
}

SmallVector<Value> LinearEmitter::emitJoinedSums(const Panel &panel,
                                                 Value first,
                                                 SmallVector<Value> sums,
                                                 SegmentBody body) {
  SmallVector<const SegmentRun *> sorted = sortRuns();
  int64_t multiplier = sorted.front()->multiplier;
  for (const SegmentRun *run : sorted) {
    sums = multiply(sums, multiplier / run->multiplier);
    multiplier = run->multiplier;
    // Seeds are in the unit of the finest segment.
    if (run == sorted.back() && view->getSeed())
      sums = addUp(sums, loadSeed(panel, first, getFinest()));
    if (run->count == 1) {
      sums = body(*run, getSegmentAt(*run, index(0)), std::move(sums));
      continue;
    }
    sums = loop(
        index(0), index(run->count), 1, sums, [&](Value i, ValueRange carried) {
          return body(*run, getSegmentAt(*run, i), llvm::to_vector(carried));
        });
  }
  return sums;
}

void LinearEmitter::multiplyJoinedStage(const Panel &panel, Value first,
                                        const Beside &other) {
  llvm::SaveAndRestore rowsOfTile(tileRows, stagedRows);
  const SegmentRun &longest = getLongest();
  SmallVector<Value> sums = emitJoinedSums(
      panel, first, createZeroSums(panel),
      [&](const SegmentRun &run, const SegmentAt &at, SmallVector<Value> sums) {
        return emitSegmentBeside(panel, first, run, at, std::move(sums),
                                 &run == &longest ? other : Beside());
      });
  storeStaged(stagedSums, panel, {index(0), index(0)}, sums);
}

SmallVector<Value> LinearEmitter::loadJoinedSums(const Panel &panel,
                                                 Value first,
                                                 const TilePart &part) {
  if (row.getNumTileRows() == 0)
    return loadStaged(stagedSums, sumType, panel, part);
  SmallVector<Value> joined;
  if (view->getSeed())
    joined = loadSeed(panel, first, getFinest());
  for (auto [place, run] : llvm::enumerate(runs)) {
    SmallVector<Value> sums = multiply(
        loadStaged(stagedSums, sumType, panel, part, place), run.multiplier);
    joined = joined.empty() ? sums : addUp(joined, sums);
  }
  return joined;
}

SmallVector<Value> LinearEmitter::multiply(ArrayRef<Value> sums,
                                           int64_t multiplier) {
  if (multiplier == 1)
    return SmallVector<Value>(sums);
  Value factor = createSplat(sumType, multiplier);
  return llvm::map_to_vector(sums, [&](Value sum) -> Value {
    return arith::MulIOp::create(b, sum, factor);
  });
}

SmallVector<Value> LinearEmitter::addUp(ArrayRef<Value> lhs,
                                        ArrayRef<Value> rhs) {
  SmallVector<Value> sums;
  for (auto [x, y] : llvm::zip_equal(lhs, rhs))
    sums.push_back(arith::AddIOp::create(b, x, y));
  return sums;
}
