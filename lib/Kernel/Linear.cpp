//===- Linear.cpp - Code of packed qtx.linear -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Loops around micro-kernels. From the outside in: blocks of rows whose input
// stays in the cache; panels of outputs; tiles of rows, whose sums stay in
// registers; segments of the contracted axis; its steps.
//
//===----------------------------------------------------------------------===//

#include "MatrixUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Kernel/Kernels.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Support/Polynomials.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qtx;

static constexpr int64_t kLineBytes = 64;
static constexpr int64_t kMinPrefetchingTiles = 4;
/// A part of a panel that stays in the first-level cache beside the input.
static constexpr int64_t kPanelPartBytes = int64_t(24) << 10;
/// Steps of a tile for which weights are fetched at once.
static constexpr int64_t kStepsOfPrefetch = 96;

namespace {

/// Neighbouring segments of one size, which a loop can run through.
struct SegmentRun {
  int64_t first;
  int64_t count;
  int64_t size;
  /// Where the first one begins: its channel and its step in a panel.
  int64_t channel;
  int64_t step;
  /// Group of the first one, and how much it grows from one to the next.
  int64_t group;
  int64_t groupStride;
};

/// A segment whose position may depend on a loop.
struct SegmentAt {
  Value index;
  Value channel;
  Value step;
  Value group;
};

/// Vectors of a panel, and lanes of the last one that are outputs.
struct PanelShape {
  int64_t vectors;
  int64_t lastLanes;
};

/// A panel: outputs that the sums of a tile cover.
struct Panel : PanelShape {
  /// The first output, and where the packed weight of the panel begins.
  Value output;
  Value weight;
};

/// Weights that tiles fetch for later; null if they fetch none.
struct Ahead {
  Value first;
  int64_t elements;
};

/// Lines of weights that a tile fetches for later, and the first of them; null
/// if there are none.
struct Prefetch {
  Value first;
  Value lines;
};

/// The matrices of one call, each with rows first.
struct Matrices {
  Value x;
  Value xScale;
  Value xZeroPoint;
  Value bias;
  Value y;
};

/// Emits one packed `qtx.linear`.
class LinearEmitter {
public:
  LinearEmitter(ImplicitLocOpBuilder &builder, KernelOp op, Part part)
      : b(builder), op(op), part(part), view(op),
        config(op.getParams().getAs<MicroKernelAttr>("config")),
        partition(Partition::get(op.getParams().get(kPartitionParam))),
        row(*lookupMicroKernel(config.getKernel())), lanes(row.getNumLanes()),
        step(row.getStep()), outputs(getLast(op.getOuts().front())),
        sumType(row.getSumType(b.getContext())),
        floatType(VectorType::get(lanes, b.getF32Type())) {
    collectRuns();
    if (auto range = op.getParams().getAs<DenseI64ArrayAttr>("result_range"))
      resultRange = {range[0], range[1]};
    if (auto offset = op.getParams().getAs<IntegerAttr>("input_offset"))
      inputOffset = offset.getInt();
    isBounded = op.getParams().contains("bounded");
    isScaled = op.getParams().contains(kScaledAttrName);
  }

  void emit() {
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

private:
  static int64_t getLast(Value value) {
    return cast<MemRefType>(value.getType()).getShape().back();
  }
  /// `value` if it has rows of its own, else null.
  Value asRows(Value value) {
    if (!value)
      return {};
    int64_t rank = cast<MemRefType>(view->getX().getType()).getRank();
    int64_t own = cast<MemRefType>(value.getType()).getRank();
    return rank > 1 && own == rank ? value : Value();
  }
  bool isElementary() {
    return view->getActivation() != Activation::None &&
           view->getActivation() != Activation::Relu;
  }

  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value add(Value lhs, Value rhs) { return arith::AddIOp::create(b, lhs, rhs); }
  Value add(Value lhs, int64_t rhs) {
    return rhs == 0 ? lhs : add(lhs, index(rhs));
  }
  Value mul(Value lhs, int64_t rhs) {
    return arith::MulIOp::create(b, lhs, index(rhs));
  }
  Value splat(Value scalar) {
    return vector::BroadcastOp::create(
        b, VectorType::get(lanes, scalar.getType()), scalar);
  }

  /// Runs `body` in a loop with values that it carries along.
  ValueRange loop(Value lower, Value upper, int64_t stride, ValueRange carried,
                  function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    auto loop = scf::ForOp::create(b, lower, upper, index(stride), carried);
    OpBuilder::InsertionGuard guard(b);
    if (carried.empty()) {
      b.setInsertionPoint(loop.getBody()->getTerminator());
      body(loop.getInductionVar(), {});
    } else {
      b.setInsertionPointToEnd(loop.getBody());
      SmallVector<Value> next =
          body(loop.getInductionVar(), loop.getRegionIterArgs());
      scf::YieldOp::create(b, next);
    }
    return loop.getResults();
  }

  //===--------------------------------------------------------------------===//
  // Segments
  //===--------------------------------------------------------------------===//

  void collectRuns() {
    auto sizes = op.getParams().getAs<DenseI64ArrayAttr>("segments");
    auto groups = op.getParams().getAs<DenseI64ArrayAttr>("groups");
    int64_t channel = 0;
    for (auto [index, size] : llvm::enumerate(sizes.asArrayRef())) {
      int64_t group = groups ? groups[index] : 0;
      if (!extendRun(size, group))
        runs.push_back({int64_t(index), 1, size, channel, steps, group, 0});
      channel += size;
      steps += countSteps(size);
    }
  }

  /// Steps that a segment of `size` channels takes in a panel.
  int64_t countSteps(int64_t size) { return row.getPaddedSize(size) / step; }

  /// Whether the last run takes another segment.
  bool extendRun(int64_t size, int64_t group) {
    if (runs.empty() || runs.back().size != size)
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

  /// Segment `i` of a run.
  SegmentAt getSegmentAt(const SegmentRun &run, Value i) {
    return {add(i, run.first), add(mul(i, run.size), run.channel),
            add(mul(i, countSteps(run.size)), run.step),
            add(mul(i, run.groupStride), run.group)};
  }

  //===--------------------------------------------------------------------===//
  // Loops
  //===--------------------------------------------------------------------===//

  void emitBlocks() {
    Value numRows = memref::DimOp::create(b, m.y, 0);
    emitResultParams();
    PartRange rows = takeShare(numRows);
    loop(rows.begin, rows.end, config.getBlock(), {},
         [&](Value begin, ValueRange) {
           Value end = arith::MinSIOp::create(b, rows.end,
                                              add(begin, config.getBlock()));
           emitPanels(begin, end);
           return SmallVector<Value>();
         });
  }

  /// Outputs of a whole panel.
  int64_t getWidth() { return config.getVectors() * lanes; }

  /// The rows of the part: some where there are many. Else some of the panels
  /// are its share.
  PartRange takeShare(Value numRows) {
    if (!part)
      return getRange(b, part, numRows);
    Value byRows = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, numRows,
                                         index(partition.rowSplit));
    auto select = [&](Value ifRows, Value ifPanels) -> Value {
      return arith::SelectOp::create(b, byRows, ifRows, ifPanels);
    };
    Part ofRows{select(part.number, index(0)), select(part.count, index(1))};
    Part ofPanels{select(index(0), part.number), select(index(1), part.count)};
    panels =
        getRange(b, ofPanels, index(llvm::divideCeil(outputs, getWidth())));
    return getRange(b, ofRows, numRows,
                    std::max(config.getRows(), row.getNumTileRows()));
  }

  void emitPanels(Value begin, Value end) {
    if (isSplit()) {
      emitSplitPanels(begin, end);
      return;
    }
    Value left;
    forEachShape([&](const PanelShape &shape, Value first, Value last) {
      left = emitTallPanels(shape, first, last, begin, end);
    });
    forEachPanel([&](const Panel &panel) {
      forEachTile(getNext(panel), left, end,
                  [&](Value first) { emitTile(panel, first); });
    });
  }

  /// Calls `body` for ranges of panels of one shape: whole ones and the last,
  /// as far as they are in the part.
  void forEachShape(function_ref<void(const PanelShape &, Value, Value)> body) {
    int64_t full = outputs / getWidth(), rest = outputs % getWidth();
    auto share = [&](const PanelShape &shape, int64_t first, int64_t last) {
      if (part)
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

  void forEachPanel(function_ref<void(const Panel &)> body) {
    forEachShape([&](const PanelShape &shape, Value first, Value last) {
      loop(first, last, 1, {}, [&](Value number, ValueRange) {
        body(getPanel(shape, number));
        return SmallVector<Value>();
      });
    });
  }

  Panel getPanel(const PanelShape &shape, Value number) {
    int64_t width = config.getVectors() * lanes;
    return {shape, mul(number, width), mul(number, width * step * steps)};
  }

  /// Goes on where `condition` holds.
  void enterIf(Value condition) {
    auto branch = scf::IfOp::create(b, condition, /*withElseRegion=*/false);
    b.setInsertionPoint(branch.thenYield());
  }

  /// Calls `body` for full tiles, then for smaller ones of the rows that are
  /// left.
  void forEachTile(const Ahead &ahead, Value begin, Value end,
                   function_ref<void(Value)> body) {
    Value count = arith::SubIOp::create(b, end, begin);
    Value rest = arith::RemUIOp::create(b, count, index(config.getRows()));
    Value current = arith::SubIOp::create(b, end, rest);
    Value lines = countPrefetchedLines(ahead, count);
    loop(begin, current, config.getRows(), {}, [&](Value first, ValueRange) {
      fetch = getPrefetch(ahead, lines, arith::SubIOp::create(b, first, begin));
      tileRows = config.getRows();
      body(first);
      fetch = {};
      return SmallVector<Value>();
    });
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

  //===--------------------------------------------------------------------===//
  // Panels in parts
  //===--------------------------------------------------------------------===//

  /// Whether panels of floats are too long to stay in the first-level cache
  /// from one tile to the next. Their sums can wait in the result.
  bool isSplit() {
    return row.isFloat() && !resultRange && !isScaled &&
           runs.front().size > countStepsOfPart();
  }
  int64_t countStepsOfPart() {
    return kPanelPartBytes / (config.getVectors() * lanes * getElementBytes());
  }

  /// Whether a part of the contracted axis meets all panels in turn, rather
  /// than a panel all parts: then the whole result is read in each part, else
  /// the whole input for each panel. The smaller one stays in the cache.
  bool arePartsOuter() { return outputs <= runs.front().size; }

  /// Sums go on from one part of the contracted axis to the next: the order of
  /// additions is the same as without parts.
  void emitSplitPanels(Value begin, Value end) {
    if (!arePartsOuter()) {
      forEachPanel([&](const Panel &panel) {
        startSums(panel, begin, end);
        forEachStretch([&](Value from, Value to) {
          addStretch(panel, begin, end, from, to);
        });
        finishSums(panel, begin, end);
      });
      return;
    }
    forEachPanel([&](const Panel &panel) { startSums(panel, begin, end); });
    forEachStretch([&](Value from, Value to) {
      forEachPanel(
          [&](const Panel &panel) { addStretch(panel, begin, end, from, to); });
    });
    forEachPanel([&](const Panel &panel) { finishSums(panel, begin, end); });
  }

  void forEachStretch(function_ref<void(Value, Value)> body) {
    int64_t size = runs.front().size, part = countStepsOfPart();
    loop(index(0), index(size), part, {}, [&](Value from, ValueRange) {
      body(from, arith::MinUIOp::create(b, add(from, part), index(size)));
      return SmallVector<Value>();
    });
  }

  void startSums(const Panel &panel, Value begin, Value end) {
    forEachTile({}, begin, end, [&](Value first) {
      storeSums(panel, first, loadBias(panel, first));
    });
  }
  void finishSums(const Panel &panel, Value begin, Value end) {
    if (view->getActivation() == Activation::None)
      return;
    forEachTile({}, begin, end, [&](Value first) {
      emitEpilogue(panel, first, loadSums(panel, first));
    });
  }

  /// Adds the products of a part of the contracted axis to the sums.
  void addStretch(const Panel &panel, Value begin, Value end, Value from,
                  Value to) {
    int64_t width = panel.vectors * lanes, part = countStepsOfPart();
    int64_t distance = arePartsOuter() ? getPanelSize(panel) : part * width;
    Value next = add(add(panel.weight, mul(from, width)), distance);
    forEachTile({next, part * width}, begin, end, [&](Value first) {
      emitPrefetch(index(0), steps);
      storeSums(panel, first,
                emitRange(panel, first, getWhole(), index(0), 0, from, to,
                          loadSums(panel, first)));
    });
  }

  SmallVector<Value> loadSums(const Panel &panel, Value first) {
    SmallVector<Value> sums;
    for (int64_t r = 0; r < tileRows; ++r)
      for (int64_t v = 0; v < panel.vectors; ++v)
        sums.push_back(loadRow(m.y, add(first, r), panel, v));
    return sums;
  }
  void storeSums(const Panel &panel, Value first, ArrayRef<Value> sums) {
    for (int64_t r = 0; r < tileRows; ++r)
      for (int64_t v = 0; v < panel.vectors; ++v)
        store(panel, add(first, r), v, sums[r * panel.vectors + v]);
  }

  //===--------------------------------------------------------------------===//
  // Tile registers
  //===--------------------------------------------------------------------===//

  int64_t countSegments() { return runs.back().first + runs.back().count; }

  /// Takes as many rows as fill tile registers, for some panels of one shape;
  /// returns the first row left.
  Value emitTallPanels(const PanelShape &shape, Value firstPanel,
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

  /// The parts of a tall tile whose sums fit registers.
  void forEachPart(function_ref<void(Value)> body) {
    tileRows = config.getRows();
    loop(index(0), index(row.getNumTileRows()), tileRows, {},
         [&](Value part, ValueRange) {
           body(part);
           return SmallVector<Value>();
         });
  }

  /// Multiplies a tile by segments. Beside each, the one before is joined, and
  /// beside the first, the last one of the tile before, which ends that tile.
  void emitTallTile(const Panel &panel, Value first, const PanelShape &shape,
                    ValueRange previous) {
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
                                      joinTall(panel, first,
                                               segments[number - 1], number - 1,
                                               add(unit, number - 1), part));
                        });
      }
  }

  /// The sums of segments take turns in two places.
  Value getSumsRow(Value unit) {
    return mul(arith::AndIOp::create(b, unit, index(1)), row.getNumTileRows());
  }

  /// Ends a part of the tile that was multiplied last, if there is one.
  void emitPrevious(const PanelShape &shape, ValueRange previous, Value part) {
    Value isAny = arith::CmpIOp::create(b, arith::CmpIPredicate::ne,
                                        previous[0], index(0));
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

  /// Joins segment `number` of a part of a tall tile, whose sums are those of
  /// `unit`, with the segments before.
  SmallVector<Value> joinTall(const Panel &panel, Value first,
                              const SegmentAt &at, int64_t number, Value unit,
                              Value part) {
    tileRows = config.getRows();
    Value partFirst = add(first, part);
    SmallVector<Value> sums =
        loadTallSums(panel, partFirst, at, add(getSumsRow(unit), part));
    return join(panel, partFirst, at, sums,
                number == 0 ? loadBias(panel, partFirst)
                            : loadTall(tallJoined, floatType, panel, part));
  }

  /// Multiplies a segment. `other` emits parts of other work, which run beside.
  void multiplySegment(const Panel &panel, Value first, const SegmentRun &run,
                       const SegmentAt &at, Value sumsRow,
                       function_ref<void(Value)> other) {
    TileOperands operands{m.x,           first,    view->getWeight(),
                          panel.vectors, tallSums, sumsRow};
    SmallVector<Value> sums = row.createTileSums(
        b, operands, isSeedTiled(panel) ? view->getSeed() : Value(),
        {at.index, panel.output});
    int64_t windows = row.getPaddedSize(run.size) / row.getTileStep();
    auto multiply = [&](Value begin, Value end, ValueRange carried) {
      return loop(
          begin, end, 1, carried, [&](Value window, ValueRange carried) {
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

  SmallVector<Value> emitWindow(const TileOperands &operands,
                                const Panel &panel, const SegmentRun &run,
                                const SegmentAt &at, Value window,
                                ValueRange sums) {
    int64_t stepsOfWindow = row.getTileStep() / step;
    Value channel = add(at.channel, mul(window, row.getTileStep()));
    if (isLastWindowMoved(run))
      channel = limitWindow(channel);
    Value position = add(at.step, mul(window, stepsOfWindow));
    Value offset =
        add(panel.weight, mul(position, panel.vectors * lanes * step));
    return row.emitTileStep(b, operands, channel, offset, sums);
  }

  /// Whether the last window of a segment would reach behind the input.
  bool isLastWindowMoved(const SegmentRun &run) {
    return run.channel + (run.count - 1) * run.size +
               row.getPaddedSize(run.size) >
           getLast(view->getX());
  }
  Value limitWindow(Value channel) {
    return arith::MinUIOp::create(
        b, channel, index(getLast(view->getX()) - row.getTileStep()));
  }

  /// Whether sums in tile registers start from the seed.
  bool isSeedTiled(const Panel &panel) {
    return view->getSeed() && !view->getXZeroPoint() &&
           panel.lastLanes == lanes;
  }

  SmallVector<Value> loadTallSums(const Panel &panel, Value first,
                                  const SegmentAt &at, Value sumsRow) {
    SmallVector<Value> sums = loadTall(tallSums, sumType, panel, sumsRow);
    if (!view->getSeed() || isSeedTiled(panel))
      return sums;
    for (auto [sum, seed] : llvm::zip_equal(sums, loadSeed(panel, first, at)))
      sum = arith::AddIOp::create(b, sum, seed);
    return sums;
  }

  SmallVector<Value> loadTall(Value memref, VectorType type, const Panel &panel,
                              Value part) {
    SmallVector<Value> values;
    for (int64_t r = 0; r < tileRows; ++r)
      for (int64_t v = 0; v < panel.vectors; ++v)
        values.push_back(vector::LoadOp::create(
            b, type, memref, ValueRange{add(part, r), index(v * lanes)}));
    return values;
  }

  void storeTall(const Panel &panel, Value part, ArrayRef<Value> values) {
    for (int64_t r = 0; r < tileRows; ++r)
      for (int64_t v = 0; v < panel.vectors; ++v)
        vector::StoreOp::create(b, values[r * panel.vectors + v], tallJoined,
                                ValueRange{add(part, r), index(v * lanes)});
  }

  //===--------------------------------------------------------------------===//
  // Prefetch
  //===--------------------------------------------------------------------===//

  int64_t getElementBytes() { return 4 / step; }
  int64_t getWeightSize() { return getLast(view->getWeight()); }
  int64_t getPanelSize(const Panel &panel) {
    return panel.vectors * lanes * step * steps;
  }

  Ahead getNext(const Panel &panel) {
    return {add(panel.weight, getPanelSize(panel)), getPanelSize(panel)};
  }

  /// Lines that each tile in `count` rows fetches. Even small weights come from
  /// far: other layers ran since the last call. Few tiles would wait for them.
  Value countPrefetchedLines(const Ahead &ahead, Value count) {
    if (!ahead.first)
      return {};
    int64_t lines =
        llvm::divideCeil(ahead.elements * getElementBytes(), kLineBytes);
    Value tiles = arith::DivUIOp::create(b, count, index(config.getRows()));
    Value enough = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, tiles,
                                         index(kMinPrefetchingTiles));
    Value divisor = arith::MaxUIOp::create(b, tiles, index(1));
    return arith::SelectOp::create(
        b, enough, arith::CeilDivUIOp::create(b, index(lines), divisor),
        index(0));
  }

  /// What the tile that begins `row` rows behind the first one fetches.
  Prefetch getPrefetch(const Ahead &ahead, Value lines, Value row) {
    if (!lines)
      return {};
    Value tile = arith::DivUIOp::create(b, row, index(config.getRows()));
    Value first =
        add(ahead.first, mul(arith::MulIOp::create(b, tile, lines), getLine()));
    return {first, lines};
  }

  /// Elements of a line of weights.
  int64_t getLine() { return kLineBytes / getElementBytes(); }

  /// Fetches the share of `count` steps of a tile. All lines at once would hold
  /// up the loads of the tile.
  void emitPrefetch(Value position, int64_t count) {
    if (!fetch.lines)
      return;
    auto getShare = [&](Value stepsBefore) -> Value {
      return arith::DivUIOp::create(
          b, arith::MulIOp::create(b, stepsBefore, fetch.lines), index(steps));
    };
    loop(getShare(position), getShare(add(position, count)), 1, {},
         [&](Value i, ValueRange) {
           Value at =
               arith::MinUIOp::create(b, add(fetch.first, mul(i, getLine())),
                                      index(getWeightSize() - 1));
           memref::PrefetchOp::create(b, view->getWeight(), at,
                                      /*isWrite=*/false, /*localityHint=*/2,
                                      /*isDataCache=*/true);
           return SmallVector<Value>();
         });
  }

  //===--------------------------------------------------------------------===//
  // A tile
  //===--------------------------------------------------------------------===//

  void emitTile(const Panel &panel, Value first) {
    SmallVector<Value> sums = row.isFloat() ? emitFloatSums(panel, first)
                                            : emitIntegerSums(panel, first);
    emitEpilogue(panel, first, sums);
  }

  /// One segment, summed up onto the bias.
  SmallVector<Value> emitFloatSums(const Panel &panel, Value first) {
    return emitSegment(panel, first, runs.front(), getWhole(),
                       loadBias(panel, first));
  }

  /// The one segment of floats.
  SegmentAt getWhole() { return {index(0), index(0), index(0), index(0)}; }

  /// Numerics.md, "Contractions": segments join in ascending order.
  SmallVector<Value> emitIntegerSums(const Panel &panel, Value first) {
    SmallVector<Value> result;
    for (const SegmentRun &run : runs) {
      if (run.count == 1) {
        result =
            emitAndJoin(panel, first, run, getSegmentAt(run, index(0)), result);
        continue;
      }
      if (result.empty())
        result = loadBias(panel, first);
      ValueRange joined =
          loop(index(0), index(run.count), 1, result,
               [&](Value i, ValueRange carried) {
                 return emitAndJoin(panel, first, run, getSegmentAt(run, i),
                                    llvm::to_vector(carried));
               });
      result.assign(joined.begin(), joined.end());
    }
    return result;
  }

  /// r = fma(f32(acc), s_x * s_w, r), where no `result` yet stands for the
  /// bias.
  SmallVector<Value> emitAndJoin(const Panel &panel, Value first,
                                 const SegmentRun &run, const SegmentAt &at,
                                 SmallVector<Value> result) {
    SmallVector<Value> sums =
        emitSegment(panel, first, run, at, loadSeed(panel, first, at));
    if (result.empty())
      result = loadBias(panel, first);
    return join(panel, first, at, sums, result);
  }

  SmallVector<Value> join(const Panel &panel, Value first, const SegmentAt &at,
                          ArrayRef<Value> sums, SmallVector<Value> result) {
    for (int64_t v = 0; v < panel.vectors; ++v) {
      Value scale = loadRow(view->getWeightScale(), at.index, panel, v);
      for (int64_t r = 0; r < tileRows; ++r) {
        Value multiplier = scale;
        if (view->getXScale())
          multiplier = arith::MulFOp::create(
              b, splat(loadOfRow(m.xScale, first, r, at.group)), scale);
        Value &sum = result[r * panel.vectors + v];
        Value value =
            arith::SIToFPOp::create(b, floatType, sums[r * panel.vectors + v]);
        sum = math::FmaOp::create(b, value, multiplier, sum);
      }
    }
    return result;
  }

  /// Adds the products of one segment to `sums`.
  SmallVector<Value> emitSegment(const Panel &panel, Value first,
                                 const SegmentRun &run, const SegmentAt &at,
                                 SmallVector<Value> sums) {
    if (row.getTileStep() > 0)
      return emitWindows(panel, first, run, at, sums);
    int64_t full = run.size / step, rest = run.size % step;
    sums = emitSteps(panel, first, at, at.channel, 0, full, sums);
    if (rest == 0)
      return sums;
    Value channel = add(at.channel, full * step);
    return emitStep(panel, first, add(at.step, full), sums,
                    [&](Value rowIndex) {
                      return loadPartialInput(rowIndex, channel, rest);
                    });
  }

  /// The same where weights are padded to what tile registers take.
  SmallVector<Value> emitWindows(const Panel &panel, Value first,
                                 const SegmentRun &run, const SegmentAt &at,
                                 SmallVector<Value> sums) {
    int64_t count = countSteps(run.size);
    if (!isLastWindowMoved(run))
      return emitSteps(panel, first, at, at.channel, 0, count, sums);
    int64_t window = row.getTileStep() / step;
    sums = emitSteps(panel, first, at, at.channel, 0, count - window, sums);
    Value channel = limitWindow(add(at.channel, (count - window) * step));
    return emitSteps(panel, first, at, channel, count - window, window, sums);
  }

  /// `count` whole steps, the first of them at `channel` and `begin` steps
  /// behind the begin of the segment.
  SmallVector<Value> emitSteps(const Panel &panel, Value first,
                               const SegmentAt &at, Value channel,
                               int64_t begin, int64_t count,
                               SmallVector<Value> sums) {
    int64_t share =
        fetch.lines ? kStepsOfPrefetch : std::max<int64_t>(count, 1);
    int64_t full = count / share, rest = count % share;
    auto emitShare = [&](Value from, int64_t size, ValueRange carried) {
      emitPrefetch(add(add(at.step, begin), from), size);
      return emitRange(panel, first, at, channel, begin, from, add(from, size),
                       carried);
    };
    if (full > 1)
      sums = llvm::to_vector(loop(index(0), index(full), 1, sums,
                                  [&](Value number, ValueRange carried) {
                                    return emitShare(mul(number, share), share,
                                                     carried);
                                  }));
    else if (full == 1)
      sums = emitShare(index(0), share, sums);
    return rest > 0 ? emitShare(index(full * share), rest, sums) : sums;
  }

  /// The steps from `from` on and before `to`.
  SmallVector<Value> emitRange(const Panel &panel, Value first,
                               const SegmentAt &at, Value channel,
                               int64_t begin, Value from, Value to,
                               ValueRange sums) {
    return llvm::to_vector(
        loop(from, to, 1, sums, [&](Value k, ValueRange carried) {
          Value current = add(channel, step == 1 ? k : mul(k, step));
          return emitStep(
              panel, first, add(add(at.step, begin), k), carried,
              [&](Value rowIndex) { return loadInput(rowIndex, current); });
        }));
  }

  /// One step of the contracted axis: a dot product for each sum.
  SmallVector<Value> emitStep(const Panel &panel, Value first, Value position,
                              ValueRange sums,
                              function_ref<Value(Value)> loadX) {
    int64_t vectorSize = lanes * step;
    Value offset = add(panel.weight, mul(position, panel.vectors * vectorSize));
    SmallVector<Value> weights, next;
    for (int64_t v = 0; v < panel.vectors; ++v)
      weights.push_back(vector::LoadOp::create(
          b, row.getVectorType(b.getContext()), view->getWeight(),
          add(offset, v * vectorSize)));
    for (int64_t r = 0; r < tileRows; ++r) {
      Value x = broadcastInput(loadX(add(first, r)));
      for (int64_t v = 0; v < panel.vectors; ++v)
        next.push_back(
            row.emitDot(b, sums[r * panel.vectors + v], x, weights[v]));
    }
    return next;
  }

  /// The neighbours of one lane.
  Value loadInput(Value rowIndex, Value channel) {
    auto type = VectorType::get(step, row.getElementType(b.getContext()));
    return vector::LoadOp::create(b, type, m.x, ValueRange{rowIndex, channel});
  }

  /// The same where only `count` are left: none behind them is read.
  Value loadPartialInput(Value rowIndex, Value channel, int64_t count) {
    Type elementType = row.getElementType(b.getContext());
    auto type = VectorType::get(step, elementType);
    Value result = arith::ConstantOp::create(b, b.getZeroAttr(type));
    for (int64_t i = 0; i < count; ++i) {
      Value element =
          memref::LoadOp::create(b, m.x, ValueRange{rowIndex, add(channel, i)});
      result = vector::InsertOp::create(b, element, result, i);
    }
    return result;
  }

  /// The neighbours of one lane in all lanes.
  Value broadcastInput(Value x) {
    auto lane = VectorType::get(1, row.isFloat() ? Type(b.getF32Type())
                                                 : Type(b.getI32Type()));
    if (x.getType() != lane)
      x = vector::BitCastOp::create(b, lane, x);
    Value all = vector::BroadcastOp::create(
        b, VectorType::get(lanes, lane.getElementType()),
        vector::ExtractOp::create(b, x, 0));
    VectorType type = row.getVectorType(b.getContext());
    return all.getType() == type ? all
                                 : vector::BitCastOp::create(b, type, all);
  }

  //===--------------------------------------------------------------------===//
  // Operands of a tile
  //===--------------------------------------------------------------------===//

  /// Loads vector `v` of the panel at `indices`, to which the output is added.
  Value load(Value memref, SmallVector<Value> indices, const Panel &panel,
             int64_t v) {
    auto type = VectorType::get(
        lanes, cast<MemRefType>(memref.getType()).getElementType());
    indices.push_back(add(panel.output, v * lanes));
    if (isWhole(panel, v))
      return vector::LoadOp::create(b, type, memref, indices);
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
    return vector::MaskedLoadOp::create(b, type, memref, indices,
                                        createMask(panel), zero);
  }
  Value loadRow(Value memref, Value rowIndex, const Panel &panel, int64_t v) {
    return load(memref, {rowIndex}, panel, v);
  }
  bool isWhole(const Panel &panel, int64_t v) {
    return v + 1 < panel.vectors || panel.lastLanes == lanes;
  }
  Value createMask(const Panel &panel) {
    return vector::ConstantMaskOp::create(
        b, VectorType::get(lanes, b.getI1Type()), ArrayRef{panel.lastLanes});
  }

  /// A run-time parameter of a row and group: `[groups]` or `[rows, groups]`.
  Value loadOfRow(Value memref, Value first, int64_t r, Value group) {
    if (cast<MemRefType>(memref.getType()).getRank() == 1)
      return memref::LoadOp::create(b, memref, group);
    return memref::LoadOp::create(b, memref, ValueRange{add(first, r), group});
  }

  /// The bias of every sum of a tile, or zeros.
  SmallVector<Value> loadBias(const Panel &panel, Value first) {
    SmallVector<Value> result(tileRows * panel.vectors);
    for (int64_t v = 0; v < panel.vectors; ++v) {
      Value shared = loadSharedBias(panel, v);
      for (int64_t r = 0; r < tileRows; ++r)
        result[r * panel.vectors + v] =
            shared ? shared : loadRow(m.bias, add(first, r), panel, v);
    }
    return result;
  }

  /// The bias of all rows; null if each has its own.
  Value loadSharedBias(const Panel &panel, int64_t v) {
    if (!m.bias)
      return arith::ConstantOp::create(b, b.getZeroAttr(floatType));
    if (cast<MemRefType>(m.bias.getType()).getRank() == 1)
      return load(m.bias, {}, panel, v);
    return {};
  }

  /// What the integer sums of a segment start from.
  SmallVector<Value> loadSeed(const Panel &panel, Value first,
                              const SegmentAt &at) {
    SmallVector<Value> result(tileRows * panel.vectors);
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
    for (int64_t v = 0; v < panel.vectors; ++v) {
      Value seed =
          view->getSeed() ? loadRow(view->getSeed(), at.index, panel, v) : zero;
      for (int64_t r = 0; r < tileRows; ++r)
        result[r * panel.vectors + v] =
            view->getXZeroPoint() && view->getSeed()
                ? emitRunTimeSeed(seed, zero, first, r, at.group)
                : seed;
    }
    return result;
  }

  /// -z * sum w, with the zero point of a row.
  Value emitRunTimeSeed(Value sum, Value zero, Value first, int64_t r,
                        Value group) {
    Value zeroPoint = loadOfRow(m.xZeroPoint, first, r, group);
    if (inputOffset != 0)
      zeroPoint = arith::AddIOp::create(
          b, zeroPoint, arith::ConstantIntOp::create(b, inputOffset, 32));
    return arith::SubIOp::create(
        b, zero, arith::MulIOp::create(b, splat(zeroPoint), sum));
  }

  //===--------------------------------------------------------------------===//
  // Epilogue
  //===--------------------------------------------------------------------===//

  /// The parameters of a scaled and quantized result in the lanes of a vector.
  struct ResultParams {
    Value reciprocal;
    Value lower;
    Value upper;
    Value zeroPoint;
    Value gain;
    Value shift;
  };

  void addZeroPoint(ResultParams &params, Value zeroPoint) {
    params.zeroPoint = zeroPoint;
    if (isBounded)
      return;
    auto bound = [&](int64_t value) -> Value {
      Value limit = arith::ConstantOp::create(
          b, DenseElementsAttr::get(cast<VectorType>(zeroPoint.getType()),
                                    b.getI32IntegerAttr(value)));
      return arith::SIToFPOp::create(
          b, floatType, arith::SubIOp::create(b, limit, zeroPoint));
    };
    params.lower = bound(resultRange->first);
    params.upper = bound(resultRange->second);
  }

  /// The parameters that all outputs share, outside the loops.
  void emitResultParams() {
    if (!resultRange)
      return;
    auto loadSplat = [&](Value memref) {
      return splat(memref::LoadOp::create(b, memref, index(0)));
    };
    if (getLast(view->getYScale()) == 1)
      sharedParams.reciprocal = loadSplat(view->getYScale());
    if (getLast(view->getYZeroPoint()) == 1)
      addZeroPoint(sharedParams, loadSplat(view->getYZeroPoint()));
  }

  SmallVector<ResultParams> loadResultParams(const Panel &panel) {
    SmallVector<ResultParams> params(panel.vectors, sharedParams);
    for (auto [v, own] : llvm::enumerate(params)) {
      if (isScaled) {
        own.gain = load(op.getInputs().take_back(2)[0], {}, panel, v);
        own.shift = load(op.getInputs().back(), {}, panel, v);
      }
      if (resultRange && !own.reciprocal)
        own.reciprocal = load(view->getYScale(), {}, panel, v);
      if (resultRange && !own.zeroPoint)
        addZeroPoint(own, load(view->getYZeroPoint(), {}, panel, v));
    }
    return params;
  }

  /// Room for the sums of tiles, in the function's frame.
  void createTiles() {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&op->getParentRegion()->front());
    auto create = [&](int64_t rows, Type elementType) -> Value {
      auto type =
          MemRefType::get({rows, config.getVectors() * lanes}, elementType);
      return memref::AllocaOp::create(b, type, b.getI64IntegerAttr(64));
    };
    if (isElementary())
      tile = create(config.getRows(), b.getF32Type());
    if (row.getNumTileRows() == 0)
      return;
    tallSums = create(2 * row.getNumTileRows(), b.getI32Type());
    if (countSegments() > 1)
      tallJoined = create(row.getNumTileRows(), b.getF32Type());
  }

  void emitEpilogue(const Panel &panel, Value first, ArrayRef<Value> sums) {
    SmallVector<ResultParams> params = loadResultParams(panel);
    if (!isElementary()) {
      for (int64_t r = 0; r < tileRows; ++r)
        for (int64_t v = 0; v < panel.vectors; ++v)
          finish(panel, add(first, r), v, sums[r * panel.vectors + v], params);
      return;
    }
    // The code of an elementary function is long: a loop over the rows.
    for (int64_t r = 0; r < tileRows; ++r)
      for (int64_t v = 0; v < panel.vectors; ++v)
        vector::StoreOp::create(b, sums[r * panel.vectors + v], tile,
                                ValueRange{index(r), index(v * lanes)});
    loop(index(0), index(tileRows), 1, {}, [&](Value r, ValueRange) {
      for (int64_t v = 0; v < panel.vectors; ++v) {
        Value sum = vector::LoadOp::create(b, floatType, tile,
                                           ValueRange{r, index(v * lanes)});
        finish(panel, add(first, r), v, sum, params);
      }
      return SmallVector<Value>();
    });
  }

  /// Activation, quantization and store of one vector.
  void finish(const Panel &panel, Value rowIndex, int64_t v, Value value,
              ArrayRef<ResultParams> params) {
    value = activate(value);
    if (isScaled)
      value = math::FmaOp::create(b, value, params[v].gain, params[v].shift);
    if (resultRange)
      value = quantize(value, params[v]);
    store(panel, rowIndex, v, value);
  }

  /// Stores what is output of one vector.
  void store(const Panel &panel, Value rowIndex, int64_t v, Value value) {
    SmallVector<Value> indices = {rowIndex, add(panel.output, v * lanes)};
    if (isWhole(panel, v))
      vector::StoreOp::create(b, value, m.y, indices);
    else if (panel.lastLanes == 1)
      // LLVM 22 makes four bytes of a masked store of one truncated lane.
      memref::StoreOp::create(b, vector::ExtractOp::create(b, value, 0), m.y,
                              indices);
    else
      vector::MaskedStoreOp::create(b, m.y, indices, createMask(panel), value);
  }

  Value activate(Value value) {
    switch (view->getActivation()) {
    case Activation::None:
      return value;
    case Activation::Relu: {
      // `maximum(x, 0)`: NaN is not below zero and stays.
      Value zero = arith::ConstantOp::create(b, b.getZeroAttr(floatType));
      Value below =
          arith::CmpFOp::create(b, arith::CmpFPredicate::OLE, value, zero);
      return arith::SelectOp::create(b, below, zero, value);
    }
    case Activation::Gelu:
      return createGelu(b, value);
    case Activation::GeluTanh:
      return createGeluTanh(b, value);
    case Activation::Silu:
      return createSilu(b, value);
    }
    llvm_unreachable("unknown activation");
  }

  /// Numerics.md, "Quantize". The bounds are integers, so rounding and clamping
  /// may change places.
  Value quantize(Value value, const ResultParams &params) {
    Value scaled = arith::MulFOp::create(b, value, params.reciprocal);
    if (!isBounded)
      scaled = clamp(scaled, params);
    Value stored =
        arith::AddIOp::create(b, roundToInteger(scaled), params.zeroPoint);
    if (isBounded)
      stored = saturate(stored);
    return arith::TruncIOp::create(b, VectorType::get(lanes, b.getI8Type()),
                                   stored);
  }

  /// A comparison with NaN is false, which leaves the lower bound.
  Value clamp(Value scaled, const ResultParams &params) {
    Value above = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, scaled,
                                        params.lower);
    scaled = arith::SelectOp::create(b, above, scaled, params.lower);
    Value below = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, scaled,
                                        params.upper);
    return arith::SelectOp::create(b, below, scaled, params.upper);
  }

  /// One instruction, where `math.roundeven` and a conversion are three.
  Value roundToInteger(Value value) {
    auto integers = VectorType::get(lanes, b.getI32Type());
    std::string name =
        ("llvm.lrint.v" + Twine(lanes) + "i32.v" + Twine(lanes) + "f32").str();
    return LLVM::CallIntrinsicOp::create(b, integers, b.getStringAttr(name),
                                         ValueRange{value})
        .getResult(0);
  }

  /// What cannot overflow in 32 bits saturates as it is narrowed.
  Value saturate(Value stored) {
    auto splatOf = [&](int64_t value) -> Value {
      return arith::ConstantOp::create(
          b, DenseElementsAttr::get(cast<VectorType>(stored.getType()),
                                    b.getI32IntegerAttr(value)));
    };
    stored = arith::MaxSIOp::create(b, stored, splatOf(resultRange->first));
    return arith::MinSIOp::create(b, stored, splatOf(resultRange->second));
  }

  ImplicitLocOpBuilder &b;
  KernelOp op;
  Part part;
  /// Those of the part.
  PartRange panels;
  KernelView<LinearOp> view;
  MicroKernelAttr config;
  Partition partition;
  const MicroKernel &row;
  int64_t lanes, step, outputs;
  VectorType sumType, floatType;
  SmallVector<SegmentRun> runs;
  /// Steps of a panel.
  int64_t steps = 0;
  std::optional<std::pair<int64_t, int64_t>> resultRange;
  int64_t inputOffset = 0;
  /// Whether no quotient by the scale of the result exceeds 30 bits.
  bool isBounded = false;
  /// Whether a gain and a shift stand before the quantizer.
  bool isScaled = false;

  Matrices m;
  int64_t tileRows = 0;
  Prefetch fetch;
  Value tile;
  /// Integer sums of the segments of tall tiles, and fp32 sums of one.
  Value tallSums, tallJoined;
  ResultParams sharedParams;
};

} // namespace

LogicalResult qtx::emitLinear(ImplicitLocOpBuilder &builder, KernelOp op,
                              Part part) {
  LinearEmitter(builder, op, part).emit();
  return success();
}
