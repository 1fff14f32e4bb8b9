//===- Stages.cpp - Ends of tiles beside the next ones --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Dot products leave most of what a core can start in a cycle unused. Sums wait
// in memory, and what is done to them comes between the products that follow.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace qtx;

/// Steps of a segment that have room for the end of another one beside them.
static constexpr int64_t kMinStageSteps = 8;

/// Rows of tile registers that are ended at once, at least: they share
/// parameters.
static constexpr int64_t kMinTilePartRows = 2;

/// Rows whose vectors end beside one share of steps where they are narrowed
/// together: more would need registers.
static constexpr int64_t kRowsOfPart = 2;

void LinearEmitter::collectStages() {
  if (joinsIntegers())
    stages.push_back({llvm::to_vector(llvm::seq<int64_t>(0, runs.size())), 1,
                      countSteps(getLongest().size) >= kMinStageSteps});
  else
    pairRuns();
  if (!canStage())
    return;
  stagedRows =
      row.getNumTileRows() > 0 ? row.getNumTileRows() : config.getRows();
}

void LinearEmitter::pairRuns() {
  for (auto [i, run] : llvm::enumerate(runs)) {
    bool isLong = countSteps(run.size) >= kMinStageSteps;
    bool isPair = run.count == 1 && !stages.empty() &&
                  stages.back().count == 1 && !(isLong && stages.back().isLong);
    if (!isPair)
      stages.push_back({{}, run.count, false});
    stages.back().runs.push_back(i);
    stages.back().isLong |= isLong;
  }
}

bool LinearEmitter::canStage() {
  if (row.getNumTileRows() > 0)
    return true;
  // The code of an elementary function is long, and its constants take the
  // registers of sums.
  if (row.isFloat() || (isElementary() && !table) || lanes < kMinStageLanes)
    return false;
  // Storing sums costs more than a short end of a tile, or than to join what
  // registers hold: an `fma` and a quantizer are beside dot products anyway.
  bool isOne = countStages() == 1 && stages.front().isLong;
  if (joinsIntegers())
    return isOne && table && getLongest().count == 1;
  return isOne && (table || stages.front().runs.size() > 1);
}

int64_t LinearEmitter::countStages() {
  int64_t count = 0;
  for (const Stage &stage : stages)
    count += stage.count;
  return count;
}

Value LinearEmitter::emitStagedPanels(const PanelShape &shape, Value firstPanel,
                                      Value lastPanel, Value begin, Value end) {
  if (stagedRows == 0)
    return begin;
  Value count = arith::SubIOp::create(b, end, begin);
  Value last = arith::SubIOp::create(
      b, end, arith::RemUIOp::create(b, count, index(stagedRows)));
  // Whether there is a tile before; its first row and its panel.
  SmallVector<Value> state = {index(0), begin, firstPanel};
  SmallVector<Value> results = loop(
      firstPanel, lastPanel, 1, state, [&](Value number, ValueRange outer) {
        Panel panel = getPanel(shape, number);
        // With one tile of rows, no tile has time to fetch a panel.
        bool isOne = config.getBlock() == row.getNumTileRows();
        Ahead ahead = isOne ? Ahead() : getNext(panel);
        Value stride = getPrefetchStride(ahead, count);
        return loop(begin, last, stagedRows, outer,
                    [&](Value first, ValueRange previous) {
                      fetch =
                          getPrefetch(ahead, stride,
                                      arith::SubIOp::create(b, first, begin));
                      emitStagedTile(panel, first, shape, previous);
                      fetch = {};
                      return SmallVector<Value>{index(1), first, number};
                    });
      });
  withPrevious(shape, results, [&](const Beside &ending) {
    forEachShare(shape, 0, {}, ending, nullptr);
  });
  return last;
}

void LinearEmitter::emitStagedTile(const Panel &panel, Value first,
                                   const PanelShape &shape,
                                   ValueRange previous) {
  const Stage *before = nullptr;
  auto multiplyBeside = [&](const Stage &stage, Value i, const Stage &joined,
                            Value number) {
    auto joinPart = [&](const TilePart &part) -> Phases {
      return {[&, part] { joinBefore(panel, first, joined, number, part); }};
    };
    multiplyStage(panel, first, stage, i, {joinPart, /*condition=*/{}});
  };
  for (const Stage &stage : stages) {
    if (before)
      multiplyBeside(stage, index(0), *before, index(before->count - 1));
    else
      withPrevious(shape, previous, [&](const Beside &ending) {
        multiplyStage(panel, first, stage, index(0), ending);
      });
    if (stage.count > 1)
      loop(index(1), index(stage.count), 1, {}, [&](Value i, ValueRange) {
        multiplyBeside(stage, i, stage, add(i, -1));
        return SmallVector<Value>();
      });
    before = &stage;
  }
}

void LinearEmitter::joinBefore(const Panel &panel, Value first,
                               const Stage &stage, Value i,
                               const TilePart &part) {
  Panel own = takePart(panel, part);
  storeStaged(stagedJoined, own, part, joinStage(own, first, stage, i, part));
}

void LinearEmitter::withPrevious(const PanelShape &shape, ValueRange previous,
                                 function_ref<void(const Beside &)> body) {
  auto endPart = [&](const TilePart &part) {
    return endPrevious(shape, previous, part);
  };
  body({endPart, arith::CmpIOp::create(b, arith::CmpIPredicate::ne, previous[0],
                                       index(0))});
}

Phases LinearEmitter::endPrevious(const PanelShape &shape, ValueRange previous,
                                  const TilePart &part) {
  Value first = previous[1], number = previous[2];
  auto getOwnPanel = [=] { return takePart(getPanel(shape, number), part); };
  auto joinLast = [=](const Panel &panel, const TilePart &part) {
    const Stage &stage = stages.back();
    return joinStage(panel, first, stage, index(stage.count - 1), part);
  };
  if (!table || !part.lane)
    return {[=] {
      Panel panel = getOwnPanel();
      emitEpilogue(panel, add(first, part.row), joinLast(panel, part));
    }};
  // Long chains: few operations at once wait for each other, and few values
  // wait between them.
  struct Waiting {
    Value value, magnitude, even;
    SmallVector<Value> activated;
  };
  auto waiting = std::make_shared<Waiting>();
  Phases phases;
  for (int64_t r = 0; r < part.rows; ++r) {
    phases.push_back([=] {
      TilePart own{add(part.row, r), part.lane};
      waiting->value = joinLast(getOwnPanel(), own).front();
      waiting->magnitude = createMagnitude(waiting->value);
    });
    phases.push_back(
        [=] { waiting->even = lookUpEvenPart(waiting->magnitude); });
    phases.push_back([=] {
      Panel panel = getOwnPanel();
      waiting->activated.push_back(
          addPositivePart(waiting->value, waiting->even));
      if (r + 1 == part.rows)
        finishRows(panel, add(first, part.row), part.rows, waiting->activated,
                   loadResultParams(panel));
    });
  }
  return phases;
}

void LinearEmitter::multiplyStage(const Panel &panel, Value first,
                                  const Stage &stage, Value i,
                                  const Beside &other) {
  if (joinsIntegers() && row.getNumTileRows() == 0)
    return multiplyJoinedStage(panel, first, other);
  const auto *longest =
      llvm::max_element(stage.runs, [&](int64_t lhs, int64_t rhs) {
        return runs[lhs].size < runs[rhs].size;
      });
  auto multiply = [&](const int64_t *it, const Beside &beside) {
    const SegmentRun &run = runs[*it];
    SegmentAt at = getSegmentAt(run, i);
    int64_t place = it - stage.runs.begin();
    if (row.getNumTileRows() > 0)
      multiplyWindows(panel, first, run, at, place, beside);
    else
      multiplySteps(panel, first, run, at, place, beside);
  };
  // The others overwrite sums that the work beside the longest one reads.
  multiply(longest, other);
  for (const int64_t *it = stage.runs.begin(); it != stage.runs.end(); ++it)
    if (it != longest)
      multiply(it, Beside());
}

void LinearEmitter::multiplySteps(const Panel &panel, Value first,
                                  const SegmentRun &run, const SegmentAt &at,
                                  int64_t place, const Beside &other) {
  llvm::SaveAndRestore rowsOfTile(tileRows, stagedRows);
  SmallVector<Value> sums = emitSegmentBeside(
      panel, first, run, at, loadSeed(panel, first, at), other);
  storeStaged(stagedSums, panel, {index(0), index(0)}, sums, place);
}

SmallVector<Value>
LinearEmitter::emitSegmentBeside(const Panel &panel, Value first,
                                 const SegmentRun &run, const SegmentAt &at,
                                 SmallVector<Value> sums, const Beside &other) {
  sums = forEachShare(panel, run.size / stepSize, std::move(sums), other,
                      [&](Value begin, int64_t count, ValueRange carried) {
                        return emitRange(panel, first, at, at.channel, 0, begin,
                                         count, carried);
                      });
  return emitRest(panel, first, run, at, std::move(sums));
}

SmallVector<Value> LinearEmitter::forEachShare(
    const PanelShape &shape, int64_t count, SmallVector<Value> sums,
    const Beside &other,
    function_ref<SmallVector<Value>(Value, int64_t, ValueRange)> multiply) {
  if (!other)
    return multiply(index(0), count, sums);
  if (row.getNumTileRows() > 0)
    return forEachTiledShare(count, std::move(sums), other, multiply);
  if (!other.condition)
    return emitShares(shape, count, std::move(sums), other, multiply);
  // One condition for all parts: between the branches of one for each, values
  // would wait that steps have no registers for.
  return branch(
      other.condition,
      [&] { return emitShares(shape, count, sums, other, multiply); },
      [&] {
        return count > 0 ? multiply(index(0), count, sums)
                         : SmallVector<Value>();
      });
}

SmallVector<Value> LinearEmitter::emitShares(
    const PanelShape &shape, int64_t count, SmallVector<Value> sums,
    const Beside &other,
    function_ref<SmallVector<Value>(Value, int64_t, ValueRange)> multiply) {
  // Few instructions at once: those that wait keep dot products out of the
  // scheduler.
  int64_t parts = stagedRows, vectors = 1, rows = 1;
  if (isWhole(shape) && count >= parts * shape.vectors) {
    vectors = shape.vectors;
    if (table && narrowsTogether())
      rows = kRowsOfPart;
  }
  parts = parts / rows * vectors;
  int64_t share = count / parts, rest = count % parts;
  if (rest > 0)
    sums = multiply(index(0), rest, sums);
  return loop(
      index(0), index(parts), 1, sums, [&](Value i, ValueRange carried) {
        SmallVector<Value> next(carried);
        Value row = mul(arith::DivUIOp::create(b, i, index(vectors)), rows);
        Value lane = mul(arith::RemUIOp::create(b, i, index(vectors)), lanes);
        Phases phases =
            other.getPhases({row, vectors > 1 ? lane : Value(), rows});
        Value begin = add(mul(i, share), rest);
        int64_t numPhases = phases.size();
        for (auto [number, phase] : llvm::enumerate(phases)) {
          int64_t from = share * int64_t(number) / numPhases;
          int64_t to = share * int64_t(number + 1) / numPhases;
          if (to > from)
            next = multiply(add(begin, from), to - from, next);
          keepOrder();
          llvm::SaveAndRestore<int64_t> rowsOfPart(tileRows, 1);
          phase();
          keepOrder();
        }
        return next;
      });
}

SmallVector<Value> LinearEmitter::forEachTiledShare(
    int64_t count, SmallVector<Value> sums, const Beside &other,
    function_ref<SmallVector<Value>(Value, int64_t, ValueRange)> multiply) {
  // No CPU looks far ahead for products of tiles: some rows beside each of
  // them.
  int64_t rows = std::max<int64_t>(
      llvm::divideCeil(stagedRows, std::max<int64_t>(count, 1)),
      kMinTilePartRows);
  int64_t parts = stagedRows / rows, left = stagedRows % rows;
  int64_t share = count / (parts + (left > 0));
  int64_t rest = count - share * (parts + (left > 0));
  if (rest > 0)
    sums = multiply(index(0), rest, sums);
  auto emitPart = [&](Value i, ValueRange carried, int64_t rowsOfPart) {
    SmallVector<Value> next(carried);
    if (share > 0)
      next = multiply(add(mul(i, share), rest), share, carried);
    // More at once would take more registers than there are.
    Value begin = mul(i, rows);
    for (int64_t row = 0; row < rowsOfPart; row += config.getRows()) {
      llvm::SaveAndRestore rowsOfTile(
          tileRows, std::min(config.getRows(), rowsOfPart - row));
      OpBuilder::InsertionGuard guard(b);
      if (other.condition)
        enterIf(other.condition);
      other.emit({add(begin, row), Value()});
    }
    return next;
  };
  sums =
      loop(index(0), index(parts), 1, sums, [&](Value i, ValueRange carried) {
        return emitPart(i, carried, rows);
      });
  return left > 0 ? emitPart(index(parts), sums, left) : sums;
}

Panel LinearEmitter::takePart(const Panel &panel, const TilePart &part) {
  if (!part.lane)
    return panel;
  Panel own = panel;
  own.vectors = 1;
  own.output = add(panel.output, part.lane);
  own.params = add(panel.params, part.lane);
  return own;
}

SmallVector<Value> LinearEmitter::joinStage(const Panel &panel, Value first,
                                            const Stage &stage, Value i,
                                            const TilePart &part) {
  SmallVector<Value> result = loadJoined(panel, first, stage, i, part);
  Value firstOfPart = add(first, part.row);
  if (joinsIntegers())
    return join(panel, firstOfPart, getFinest(),
                loadJoinedSums(panel, firstOfPart, part), result);
  for (auto [place, number] : llvm::enumerate(stage.runs)) {
    SegmentAt at = getSegmentAt(runs[number], i);
    SmallVector<Value> sums =
        loadStaged(stagedSums, sumType, panel, part, place);
    if (view->getSeed() && row.getNumTileRows() > 0)
      sums = addUp(sums, loadSeed(panel, firstOfPart, at));
    result = join(panel, firstOfPart, at, sums, result);
  }
  return result;
}

SmallVector<Value> LinearEmitter::loadJoined(const Panel &panel, Value first,
                                             const Stage &stage, Value i,
                                             const TilePart &part) {
  bool isFront = &stage == &stages.front();
  SmallVector<Value> bias, joined;
  if (isFront)
    bias = loadBias(panel, add(first, part.row));
  if (!isFront || stage.count > 1)
    joined = loadStaged(stagedJoined, floats, panel, part);
  if (bias.empty() || joined.empty())
    return bias.empty() ? joined : bias;
  Value isFirst =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, i, index(0));
  for (auto [start, sum] : llvm::zip_equal(bias, joined))
    start = arith::SelectOp::create(b, isFirst, start, sum);
  return bias;
}

SmallVector<Value> LinearEmitter::loadStaged(Value memref, VectorType type,
                                             const Panel &panel,
                                             const TilePart &part,
                                             int64_t place) {
  SmallVector<Value> values;
  forEachStaged(panel, part, place, [&](ValueRange indices) {
    values.push_back(vector::LoadOp::create(b, type, memref, indices));
  });
  return values;
}

void LinearEmitter::storeStaged(Value memref, const Panel &panel,
                                const TilePart &part, ArrayRef<Value> values,
                                int64_t place) {
  forEachStaged(panel, part, place, [&](ValueRange indices) {
    storeHalves(values.front(), memref, indices);
    values = values.drop_front();
  });
}

void LinearEmitter::forEachStaged(const Panel &panel, const TilePart &part,
                                  int64_t place,
                                  function_ref<void(ValueRange)> body) {
  for (int64_t r = 0; r < tileRows; ++r)
    for (int64_t v = 0; v < panel.vectors; ++v) {
      Value lane = part.lane ? part.lane : index(0);
      body({add(part.row, place * stagedRows + r), add(lane, v * lanes)});
    }
}
