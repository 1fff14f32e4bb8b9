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

Value LinearEmitter::emitTallPanels(const PanelShape &shape, Value firstPanel,
                                    Value lastPanel, Value begin, Value end) {
  int64_t rows = row.getNumTileRows();
  if (rows == 0)
    return begin;
  Value count = arith::SubIOp::create(b, end, begin);
  Value last = arith::SubIOp::create(
      b, end, arith::RemUIOp::create(b, count, index(rows)));
  // Tiles so far, and the last one: its first row and its panel.
  SmallVector<Value> state = {index(0), begin, firstPanel};
  ValueRange results = loop(
      firstPanel, lastPanel, 1, state, [&](Value number, ValueRange outer) {
        ValueRange inner = loop(
            begin, last, rows, outer, [&](Value first, ValueRange previous) {
              emitTallTile(getPanel(shape, number), first, shape, previous);
              return SmallVector<Value>{add(previous[0], 1), first, number};
            });
        return SmallVector<Value>(inner);
      });
  forEachPart([&](Value part) { emitPrevious(shape, results, part); });
  return last;
}

void LinearEmitter::forEachPart(function_ref<void(Value)> body) {
  tileRows = config.getRows();
  loop(index(0), index(row.getNumTileRows()), tileRows, {},
       [&](Value part, ValueRange) {
         body(part);
         return SmallVector<Value>();
       });
}

void LinearEmitter::emitTallTile(const Panel &panel, Value first,
                                 const PanelShape &shape, ValueRange previous) {
  Value unit = mul(previous[0], countSegments());
  SmallVector<SegmentAt> segments;
  for (const SegmentRun &run : runs)
    for (int64_t i = 0; i < run.count; ++i) {
      int64_t number = segments.size();
      segments.push_back(getSegmentAt(run, index(i)));
      multiplySegment(panel, first, run, segments.back(),
                      getSumsRow(add(unit, number)), [&](Value part) {
                        if (number == 0)
                          emitPrevious(shape, previous, part);
                        else
                          storeTall(panel, part,
                                    joinTall(panel, first, segments[number - 1],
                                             number - 1, add(unit, number - 1),
                                             part));
                      });
    }
}

Value LinearEmitter::getSumsRow(Value unit) {
  return mul(arith::AndIOp::create(b, unit, index(1)), row.getNumTileRows());
}

void LinearEmitter::emitPrevious(const PanelShape &shape, ValueRange previous,
                                 Value part) {
  Value isAny =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ne, previous[0], index(0));
  auto branch = scf::IfOp::create(b, isAny, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(branch.thenYield());
  Panel panel = getPanel(shape, previous[2]);
  const SegmentRun &run = runs.back();
  int64_t last = countSegments() - 1;
  Value unit = add(mul(previous[0], countSegments()), index(-1));
  emitEpilogue(panel, add(previous[1], part),
               joinTall(panel, previous[1],
                        getSegmentAt(run, index(run.count - 1)), last, unit,
                        part));
}

SmallVector<Value> LinearEmitter::joinTall(const Panel &panel, Value first,
                                           const SegmentAt &at, int64_t number,
                                           Value unit, Value part) {
  tileRows = config.getRows();
  Value partFirst = add(first, part);
  SmallVector<Value> sums =
      loadTallSums(panel, partFirst, at, add(getSumsRow(unit), part));
  return join(panel, partFirst, at, sums,
              number == 0 ? loadBias(panel, partFirst)
                          : loadTall(tallJoined, floatType, panel, part));
}

void LinearEmitter::multiplySegment(const Panel &panel, Value first,
                                    const SegmentRun &run, const SegmentAt &at,
                                    Value sumsRow,
                                    function_ref<void(Value)> other) {
  TileOperands operands{m.x,           first,    view->getWeight(),
                        panel.vectors, tallSums, sumsRow};
  SmallVector<Value> sums =
      row.createTileSums(b, operands, isSeedTiled() ? view->getSeed() : Value(),
                         {getParam(at.index, panel)});
  int64_t windows = row.getPaddedSize(run.size) / row.getTileStep();
  auto multiply = [&](Value begin, Value end, ValueRange carried) {
    return loop(begin, end, 1, carried, [&](Value window, ValueRange carried) {
      return emitWindow(operands, panel, run, at, window, carried);
    });
  };
  int64_t parts = row.getNumTileRows() / config.getRows();
  int64_t share = windows / parts, rest = windows % parts;
  sums = llvm::to_vector(multiply(index(0), index(rest), sums));
  ValueRange results =
      loop(index(0), index(parts), 1, sums, [&](Value i, ValueRange carried) {
        Value begin = add(mul(i, share), rest);
        ValueRange next = multiply(begin, add(begin, share), carried);
        other(mul(i, config.getRows()));
        return SmallVector<Value>(next);
      });
  row.storeTileSums(b, operands, results);
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

bool LinearEmitter::isSeedTiled() {
  return view->getSeed() && !view->getXZeroPoint();
}

SmallVector<Value> LinearEmitter::loadTallSums(const Panel &panel, Value first,
                                               const SegmentAt &at,
                                               Value sumsRow) {
  SmallVector<Value> sums = loadTall(tallSums, sumType, panel, sumsRow);
  if (!view->getSeed() || isSeedTiled())
    return sums;
  for (auto [sum, seed] : llvm::zip_equal(sums, loadSeed(panel, first, at)))
    sum = arith::AddIOp::create(b, sum, seed);
  return sums;
}

SmallVector<Value> LinearEmitter::loadTall(Value memref, VectorType type,
                                           const Panel &panel, Value part) {
  SmallVector<Value> values;
  for (int64_t r = 0; r < tileRows; ++r)
    for (int64_t v = 0; v < panel.vectors; ++v)
      values.push_back(vector::LoadOp::create(
          b, type, memref, ValueRange{add(part, r), index(v * lanes)}));
  return values;
}

void LinearEmitter::storeTall(const Panel &panel, Value part,
                              ArrayRef<Value> values) {
  for (int64_t r = 0; r < tileRows; ++r)
    for (int64_t v = 0; v < panel.vectors; ++v)
      vector::StoreOp::create(b, values[r * panel.vectors + v], tallJoined,
                              ValueRange{add(part, r), index(v * lanes)});
}
