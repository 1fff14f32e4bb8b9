//===- Emitter.cpp - Loops of packed qtx.linear ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "../MatrixUtils.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace qtx;

/// With fewer tiles a step would have to fetch more than one line.
static constexpr int64_t kMinPrefetchingTiles = 4;
/// x86 has 16 vector registers of up to so many lanes, and 32 longer ones.
static constexpr int64_t kLanesOfFewRegisters = 8;

static int64_t getLanes(KernelOp op) {
  auto config = op.getParams().getAs<MicroKernelAttr>("config");
  return lookupMicroKernel(config.getKernel())->getNumLanes();
}

LinearEmitter::LinearEmitter(ImplicitLocOpBuilder &builder, KernelOp op,
                             Part part)
    : VectorEmitter(builder, getLanes(op)), op(op), part(part), view(op),
      config(op.getParams().getAs<MicroKernelAttr>("config")),
      partition(Partition::get(op.getParams().get(kPartitionParam))),
      row(*lookupMicroKernel(config.getKernel())), step(row.getStep()),
      outputs(getLast(op.getOuts().front())),
      hasNibbles(op.getParams().contains(kNibblesParam)),
      stepSize(hasNibbles ? kNibbles : row.getStepOfKernel()),
      laneSize(hasNibbles ? 1 : stepSize),
      sumType(row.getSumType(b.getContext())) {
  if (auto multipliers =
          op.getParams().getAs<DenseI64ArrayAttr>(kJoinMultipliersParam))
    joinMultipliers = multipliers.asArrayRef();
  collectRuns();
  if (auto range = op.getParams().getAs<DenseI64ArrayAttr>("result_range"))
    resultRange = {range[0], range[1]};
  if (auto offset = op.getParams().getAs<IntegerAttr>("input_offset"))
    inputOffset = offset.getInt();
  if (auto factor = op.getParams().getAs<IntegerAttr>("sum_factor"))
    sumFactor = factor.getInt();
  if (auto zeroPoint = op.getParams().getAs<IntegerAttr>("zero_point"))
    staticZeroPoint = zeroPoint.getInt();
  isBounded = op.getParams().contains("bounded");
  isScaled = op.getParams().contains(kScaledAttrName);
  if (op.getParams().contains(kTabulatedAttrName)) {
    if (row.getTableSize() > 0)
      table = ActivationTable::get(view->getActivation());
    else
      power = ActivationPower::get(view->getActivation());
  }
  collectStages();
}

void LinearEmitter::emit() {
  createTiles();
  SmallVector<Value> values = {view->getX(), asRows(view->getXScale()),
                               asRows(view->getXZeroPoint()),
                               asRows(view->getBias()), op.getOuts().front()};
  forEachMatrix(b, values, [&](ImplicitLocOpBuilder &, ValueRange matrices) {
    auto pick = [&](Value value, Value matrix) {
      return matrix ? matrix : value;
    };
    m = {matrices[0], pick(view->getXScale(), matrices[1]),
         pick(view->getXZeroPoint(), matrices[2]),
         pick(view->getBias(), matrices[3]), matrices[4]};
    emitBlocks();
  });
}

int64_t LinearEmitter::getLast(Value value) {
  return cast<MemRefType>(value.getType()).getShape().back();
}

Value LinearEmitter::asRows(Value value) {
  if (!value)
    return {};
  int64_t rank = cast<MemRefType>(view->getX().getType()).getRank();
  int64_t own = cast<MemRefType>(value.getType()).getRank();
  return rank > 1 && own == rank ? value : Value();
}

bool LinearEmitter::isElementary() {
  return view->getActivation() != Activation::None &&
         view->getActivation() != Activation::Relu;
}

Value LinearEmitter::createSplat(VectorType type, int64_t value) {
  APInt bits(type.getElementTypeBitWidth(), value, /*isSigned=*/true,
             /*implicitTrunc=*/true);
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, bits));
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

void LinearEmitter::collectRuns() {
  auto sizes = op.getParams().getAs<DenseI64ArrayAttr>("segments");
  auto groups = op.getParams().getAs<DenseI64ArrayAttr>("groups");
  int64_t channel = 0;
  for (auto [index, size] : llvm::enumerate(sizes.asArrayRef())) {
    int64_t group = groups ? groups[index] : 0;
    int64_t multiplier = joinsIntegers() ? joinMultipliers[index] : 1;
    if (!extendRun(size, group, multiplier))
      runs.push_back(
          {int64_t(index), 1, size, channel, steps, group, 0, multiplier});
    channel += size;
    steps += countSteps(size);
  }
}

bool LinearEmitter::extendRun(int64_t size, int64_t group, int64_t multiplier) {
  if (runs.empty() || runs.back().size != size ||
      runs.back().multiplier != multiplier)
    return false;
  // Sums of tile registers join when all segments have theirs.
  if (joinsIntegers() && row.getNumTileRows() > 0)
    return false;
  SegmentRun &run = runs.back();
  int64_t stride = group - run.group;
  if (run.count == 1)
    run.groupStride = stride;
  else if (stride != run.groupStride * run.count)
    return false;
  ++run.count;
  return true;
}

SegmentAt LinearEmitter::getSegmentAt(const SegmentRun &run, Value i) {
  return {add(i, run.first), add(mul(i, run.size), run.channel),
          add(mul(i, countSteps(run.size)), run.step),
          add(mul(i, run.groupStride), run.group)};
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

void LinearEmitter::emitBlocks() {
  Value numRows = memref::DimOp::create(b, m.y, 0);
  emitResultParams();
  PartRange rows = takeShare(numRows);
  forEachSpan([&] {
    loop(rows.begin, rows.end, config.getBlock(), {},
         [&](Value begin, ValueRange) {
           Value end = arith::MinSIOp::create(b, rows.end,
                                              add(begin, config.getBlock()));
           emitPanels(begin, end);
           return SmallVector<Value>();
         });
  });
}

int64_t LinearEmitter::countPanels() {
  return llvm::divideCeil(outputs, getWidth());
}

void LinearEmitter::forEachSpan(function_ref<void()> body) {
  int64_t span = config.getPanels();
  if (span == 0 || span >= countPanels())
    return body();
  PartRange all = part ? panels : PartRange{index(0), index(countPanels())};
  llvm::SaveAndRestore<PartRange> panelsOfPart(panels);
  loop(all.begin, all.end, span, {}, [&](Value begin, ValueRange) {
    panels = {begin, arith::MinUIOp::create(b, all.end, add(begin, span))};
    body();
    return SmallVector<Value>();
  });
}

PartRange LinearEmitter::takeShare(Value numRows) {
  if (!part)
    return getRange(b, part, numRows);
  Value byRows = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, numRows,
                                       index(partition.rowSplit));
  auto select = [&](Value ifRows, Value ifPanels) -> Value {
    return arith::SelectOp::create(b, byRows, ifRows, ifPanels);
  };
  Part ofRows{select(part.number, index(0)), select(part.count, index(1))};
  Part ofPanels{select(index(0), part.number), select(index(1), part.count)};
  panels = getRange(b, ofPanels, index(countPanels()));
  return getRange(b, ofRows, numRows, getFullTileRows());
}

void LinearEmitter::emitPanels(Value begin, Value end) {
  Value left = begin;
  forEachShape([&](const PanelShape &shape, Value first, Value last) {
    left = canOverlap() ? emitOverlappedPanels(shape, first, last, begin, end)
                        : emitStagedPanels(shape, first, last, begin, end);
  });
  OpBuilder::InsertionGuard guard(b);
  enterIf(emitFewRows(left, end));
  forEachPanel([&](const Panel &panel) {
    tileRows = config.getRows();
    forEachSlice(panel, countVectorsOfSlice(panel), [&](const Panel &slice) {
      forEachTile(getNext(panel), left, end,
                  [&](Value first) { emitTile(slice, first); });
    });
  });
}

int64_t LinearEmitter::countVectorsOfSlice(const Panel &panel) {
  if (!hasShortNibbles() || tileRows == 1)
    return panel.vectors;
  return tileRows <= kMaxFewRows ? 2 : 1;
}

void LinearEmitter::forEachSlice(const Panel &panel, int64_t vectors,
                                 function_ref<void(const Panel &)> body) {
  if (vectors >= panel.vectors)
    return body(panel);
  int64_t full = (panel.vectors - (panel.lastLanes < lanes)) / vectors;
  loop(index(0), index(full), 1, {}, [&](Value i, ValueRange) {
    body(takeVectors(panel, mul(i, vectors * lanes), {vectors, lanes}));
    return SmallVector<Value>();
  });
  if (int64_t rest = panel.vectors - full * vectors)
    body(takeVectors(panel, index(full * vectors * lanes),
                     {rest, panel.lastLanes}));
}

Panel LinearEmitter::takeVectors(const Panel &panel, Value lane,
                                 const PanelShape &shape) {
  Panel own = panel;
  static_cast<PanelShape &>(own) = shape;
  own.output = add(panel.output, lane);
  own.weight = add(panel.weight, lane);
  own.params = add(panel.params, lane);
  return own;
}

void LinearEmitter::forEachShape(
    function_ref<void(const PanelShape &, Value, Value)> body) {
  int64_t full = outputs / getWidth(), rest = outputs % getWidth();
  auto share = [&](const PanelShape &shape, int64_t first, int64_t last) {
    if (panels.begin)
      body(shape, arith::MaxUIOp::create(b, panels.begin, index(first)),
           arith::MinUIOp::create(b, panels.end, index(last)));
    else
      body(shape, index(first), index(last));
  };
  share({config.getVectors(), lanes}, 0, full);
  if (rest == 0)
    return;
  int64_t vectors = llvm::divideCeil(rest, lanes);
  share({vectors, rest - (vectors - 1) * lanes}, full, full + 1);
}

void LinearEmitter::forEachPanel(function_ref<void(const Panel &)> body) {
  forEachShape([&](const PanelShape &shape, Value first, Value last) {
    loop(first, last, 1, {}, [&](Value number, ValueRange) {
      body(getPanel(shape, number));
      return SmallVector<Value>();
    });
  });
}

Value LinearEmitter::emitFewRows(Value begin, Value end) {
  Value count = arith::SubIOp::create(b, end, begin);
  for (tileRows = 1; tileRows <= kMaxFewRows; ++tileRows) {
    OpBuilder::InsertionGuard guard(b);
    enterIf(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, count,
                                  index(tileRows)));
    forEachWidePanel([&](const Panel &panel) {
      forEachSlice(panel, countVectorsOfSlice(panel),
                   [&](const Panel &slice) { emitTile(slice, begin); });
    });
  }
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, count,
                               index(kMaxFewRows));
}

int64_t LinearEmitter::countWidePanels() {
  if (hasShortNibbles())
    return 1;
  // Registers hold the sums of as many rows; weights too where rows share them.
  // Unpacking nibbles takes a handful, which is much where there are sixteen.
  bool isTight = tileRows > 1 || (hasNibbles && lanes <= kLanesOfFewRegisters);
  int64_t taken = tileRows + (isTight ? 1 : 0) + (sumsWeights() ? 1 : 0);
  return std::clamp<int64_t>(config.getRows() / taken, 1, kMaxWidePanels);
}

void LinearEmitter::forEachWidePanel(function_ref<void(const Panel &)> body) {
  int64_t count = countWidePanels();
  forEachShape([&](const PanelShape &shape, Value first, Value last) {
    auto emitPanels = [&](const PanelShape &shape, Value begin, Value end) {
      loop(begin, end, shape.panels, {}, [&](Value number, ValueRange) {
        body(getPanel(shape, number));
        return SmallVector<Value>();
      });
    };
    Value size = arith::SubIOp::create(b, last, first);
    Value rest = arith::SubIOp::create(
        b, last, arith::RemUIOp::create(b, size, index(count)));
    if (isWhole(shape))
      emitPanels({count * shape.vectors, lanes, count}, first, rest);
    emitPanels(shape, isWhole(shape) ? rest : first, last);
  });
}

Panel LinearEmitter::getPanel(const PanelShape &shape, Value number) {
  int64_t width = config.getVectors() * lanes;
  int64_t ownLanes = shape.getOwnVectors() * lanes;
  return {shape,
          mul(number, width),
          mul(number, width * laneSize * steps),
          ownLanes * laneSize,
          mul(number, width * countSegments()),
          ownLanes};
}

void LinearEmitter::enterIf(Value condition) {
  auto branch = scf::IfOp::create(b, condition, /*withElseRegion=*/false);
  b.setInsertionPoint(branch.thenYield());
}

void LinearEmitter::forEachTile(const Ahead &ahead, Value begin, Value end,
                                function_ref<void(Value)> body) {
  Value count = arith::SubIOp::create(b, end, begin);
  Value rest = arith::RemUIOp::create(b, count, index(config.getRows()));
  Value current = arith::SubIOp::create(b, end, rest);
  if (stagedRows != config.getRows() && !canOverlap()) {
    Value stride = getPrefetchStride(ahead, count);
    loop(begin, current, config.getRows(), {}, [&](Value first, ValueRange) {
      fetch =
          getPrefetch(ahead, stride, arith::SubIOp::create(b, first, begin));
      tileRows = config.getRows();
      body(first);
      fetch = {};
      return SmallVector<Value>();
    });
  }
  for (int64_t rows = llvm::PowerOf2Ceil(config.getRows()) / 2; rows > 0;
       rows /= 2) {
    Value enough = arith::CmpIOp::create(b, arith::CmpIPredicate::ule,
                                         add(current, rows), end);
    {
      OpBuilder::InsertionGuard guard(b);
      enterIf(enough);
      tileRows = rows;
      body(current);
    }
    current = arith::SelectOp::create(b, enough, add(current, rows), current);
  }
}

//===----------------------------------------------------------------------===//
// Prefetch
//===----------------------------------------------------------------------===//

int64_t LinearEmitter::getFullTileRows() {
  return std::max(config.getRows(), row.getNumTileRows());
}

int64_t LinearEmitter::getPanelSize(const Panel &panel) {
  return panel.vectors * lanes * laneSize * steps;
}

Ahead LinearEmitter::getNext(const Panel &panel) {
  if (outputs <= getWidth())
    return {};
  return {add(panel.weight, getPanelSize(panel)), getPanelSize(panel)};
}

Value LinearEmitter::getPrefetchStride(const Ahead &ahead, Value count) {
  if (!ahead.first)
    return {};
  Value tiles = arith::DivUIOp::create(b, count, index(getFullTileRows()));
  Value enough = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, tiles,
                                       index(kMinPrefetchingTiles));
  Value divisor = mul(arith::MaxUIOp::create(b, tiles, index(1)), steps);
  return arith::SelectOp::create(
      b, enough, arith::CeilDivUIOp::create(b, index(ahead.elements), divisor),
      index(0));
}

Prefetch LinearEmitter::getPrefetch(const Ahead &ahead, Value stride,
                                    Value row) {
  if (!stride)
    return {};
  Value tile = arith::DivUIOp::create(b, row, index(getFullTileRows()));
  Value size = mul(stride, steps);
  Value first = add(ahead.first, mul(tile, size));
  Value last =
      arith::MaxSIOp::create(b, sub(index(getWeightSize()), size), index(0));
  return {arith::MinUIOp::create(b, first, last), stride};
}

int64_t LinearEmitter::getPrefetchPeriod(const Panel &panel) {
  int64_t bytes = getPanelSize(panel) * getElementBytes();
  return std::max<int64_t>(kMinPrefetchingTiles * kLineBytes * steps / bytes,
                           1);
}

void LinearEmitter::emitPrefetch(Value position) {
  if (fetch.first)
    memref::PrefetchOp::create(b, view->getWeight(),
                               add(fetch.first, mul(position, fetch.stride)),
                               /*isWrite=*/false, /*localityHint=*/2,
                               /*isDataCache=*/true);
}

LogicalResult qtx::emitLinear(ImplicitLocOpBuilder &builder, KernelOp op,
                              Part part) {
  LinearEmitter(builder, op, part).emit();
  return success();
}
