//===- Emitter.h - Code of packed qtx.linear --------------------*- C++ -*-===//
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
// The emitter's parts: Emitter.cpp has the loops, Stages.cpp tiles that end
// beside the next ones, Overlap.cpp tiles that end between steps of the next,
// Tiles.cpp tile registers, Sums.cpp the sums of a tile,
// IntegerJoin.cpp those of segments that join in int32, Epilogue.cpp the end of
// a tile.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_LINEAR_EMITTER_H
#define QTX_LIB_KERNEL_LINEAR_EMITTER_H

#include "../ActivationTable.h"
#include "../VectorEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Kernel/Kernels.h"
#include "qtx/Kernel/MicroKernel.h"

namespace qtx {

/// Lanes of AVX-512, which has 32 registers: 16 are full of a tile's sums, and
/// ends of tiles beside others have no room.
inline constexpr int64_t kMinStageLanes = 16;
inline constexpr int64_t kLineBytes = 64;
/// Rows that are multiplied faster than weights come from memory, and panels
/// from which these come in turn: one place of memory alone does not keep all
/// requests busy that a core can have under way.
inline constexpr int64_t kMaxFewRows = 2;
inline constexpr int64_t kMaxWidePanels = 4;

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
  /// What their sums count times in an integer join.
  int64_t multiplier;
};

/// A segment whose position may depend on a loop.
struct SegmentAt {
  Value index;
  Value channel;
  Value step;
  Value group;
};

/// Segments that are joined at once: short ones leave no time for others beside
/// them. `count` such follow each other.
struct Stage {
  SmallVector<int64_t> runs;
  int64_t count;
  bool isLong;
};

/// A part of a staged tile: some whole rows, as many as a tile has then, or one
/// vector of each of `rows`. They begin at `row` of the tile, the vectors at
/// `lane` of the panel.
struct TilePart {
  Value row;
  Value lane;
  int64_t rows = 1;
};

/// What is emitted for a part of a tile: steps that products stand between.
using Phases = SmallVector<std::function<void()>, 3>;

/// Work for each part of a tile beside products, where `condition` holds or is
/// null.
struct Beside {
  llvm::function_ref<Phases(const TilePart &)> getPhases;
  Value condition;

  explicit operator bool() const { return bool(getPhases); }
  void emit(const TilePart &part) const {
    for (const auto &phase : getPhases(part))
      phase();
  }
};

/// Vectors of a panel, and lanes of the last one that are outputs. A wide panel
/// is several adjacent ones, which lie apart in memory.
struct PanelShape {
  int64_t vectors;
  int64_t lastLanes;
  int64_t panels = 1;

  int64_t getOwnVectors() const { return vectors / panels; }
};

/// A panel: outputs that the sums of a tile cover.
struct Panel : PanelShape {
  /// The first output, and where the packed weight of the panel begins and how
  /// far away the next step is.
  Value output;
  Value weight;
  int64_t weightStride;
  /// Where the packed parameters of the first segment begin, and how far away
  /// those of the next one are.
  Value params;
  int64_t paramStride;
};

/// Weights that tiles fetch for later; null if they fetch none.
struct Ahead {
  Value first;
  int64_t elements;
};

/// Weights that a tile fetches for later: the first one, and how far each step
/// moves on. Null if there are none.
struct Prefetch {
  Value first;
  Value stride;
};

/// The matrices of one call, each with rows first.
struct Matrices {
  Value x;
  Value xScale;
  Value xZeroPoint;
  Value bias;
  Value y;
};

class LinearEmitter : VectorEmitter {
public:
  LinearEmitter(ImplicitLocOpBuilder &builder, KernelOp op, Part part);

  void emit();

private:
  static int64_t getLast(Value value);
  /// `value` if it has rows of its own, else null.
  Value asRows(Value value);
  bool isElementary();

  Value createSplat(VectorType type, int64_t value);

  //===--------------------------------------------------------------------===//
  // Segments
  //===--------------------------------------------------------------------===//

  void collectRuns();

  /// Steps that a segment of `size` channels takes in a panel.
  int64_t countSteps(int64_t size) {
    return llvm::divideCeil(row.getPaddedSize(size), stepSize);
  }

  /// Whether the last run takes another segment.
  bool extendRun(int64_t size, int64_t group, int64_t multiplier);

  /// Segment `i` of a run.
  SegmentAt getSegmentAt(const SegmentRun &run, Value i);
  int64_t countSegments() { return runs.back().first + runs.back().count; }

  //===--------------------------------------------------------------------===//
  // Loops
  //===--------------------------------------------------------------------===//

  void emitBlocks();

  /// Outputs of a whole panel.
  int64_t getWidth() { return config.getVectors() * lanes; }

  /// The rows of the part: some where there are many. Else some of the panels
  /// are its share.
  PartRange takeShare(Value numRows);

  /// Panels, and what is emitted for those that all rows meet before the next
  /// ones.
  int64_t countPanels();
  void forEachSpan(llvm::function_ref<void()> body);

  void emitPanels(Value begin, Value end);

  /// Calls `body` for ranges of panels of one shape: whole ones and the last,
  /// as far as they are in the part.
  void
  forEachShape(llvm::function_ref<void(const PanelShape &, Value, Value)> body);

  void forEachPanel(llvm::function_ref<void(const Panel &)> body);

  /// Calls `body` for slices of a panel, of so many vectors, and for the rest.
  void forEachSlice(const Panel &panel, int64_t vectors,
                    llvm::function_ref<void(const Panel &)> body);
  /// Vectors of a panel from `lane` on.
  Panel takeVectors(const Panel &panel, Value lane, const PanelShape &shape);
  /// Vectors that a tile of `tileRows` takes of a panel at once: short sums of
  /// nibbles have registers for few.
  int64_t countVectorsOfSlice(const Panel &panel);

  /// The last rows of a block, if they are so few that they wait for weights.
  /// Returns whether there are more of them.
  Value emitFewRows(Value begin, Value end);

  /// Adjacent panels that a tile of `tileRows` takes at once.
  int64_t countWidePanels();
  void forEachWidePanel(llvm::function_ref<void(const Panel &)> body);

  Panel getPanel(const PanelShape &shape, Value number);

  /// Goes on where `condition` holds.
  void enterIf(Value condition);

  /// Calls `body` for full tiles, then for smaller ones of the rows that are
  /// left.
  void forEachTile(const Ahead &ahead, Value begin, Value end,
                   llvm::function_ref<void(Value)> body);

  //===--------------------------------------------------------------------===//
  // Stages
  //===--------------------------------------------------------------------===//

  void collectStages();
  /// Stages of one segment, or of a long and a short one.
  void pairRuns();
  bool canStage();
  int64_t countStages();

  /// Takes as many rows as fill staged tiles, for some panels of one shape;
  /// returns the first row left.
  Value emitStagedPanels(const PanelShape &shape, Value firstPanel,
                         Value lastPanel, Value begin, Value end);

  /// Multiplies a tile stage by stage. Beside each, the one before is joined,
  /// and beside the first, the last one of the tile before, which ends that
  /// tile.
  void emitStagedTile(const Panel &panel, Value first, const PanelShape &shape,
                      ValueRange previous);

  /// Ends a part of the tile that was multiplied last.
  Phases endPrevious(const PanelShape &shape, ValueRange previous,
                     const TilePart &part);
  /// Calls `body` where a tile was multiplied before.
  void withPrevious(const PanelShape &shape, ValueRange previous,
                    llvm::function_ref<void(const Beside &)> body);

  /// Stores the sums of a stage, the `i`th one of its run. `other` emits parts
  /// of other work, which run beside.
  void multiplyStage(const Panel &panel, Value first, const Stage &stage,
                     Value i, const Beside &other);
  void multiplySteps(const Panel &panel, Value first, const SegmentRun &run,
                     const SegmentAt &at, int64_t place, const Beside &other);
  SmallVector<Value> emitSegmentBeside(const Panel &panel, Value first,
                                       const SegmentRun &run,
                                       const SegmentAt &at,
                                       SmallVector<Value> sums,
                                       const Beside &other);

  /// Calls `multiply` for shares of `count` steps, each with a part of `other`
  /// behind it.
  SmallVector<Value> forEachShare(
      const PanelShape &shape, int64_t count, SmallVector<Value> sums,
      const Beside &other,
      llvm::function_ref<SmallVector<Value>(Value, int64_t, ValueRange)>
          multiply);

  SmallVector<Value>
  emitShares(const PanelShape &shape, int64_t count, SmallVector<Value> sums,
             const Beside &other,
             llvm::function_ref<SmallVector<Value>(Value, int64_t, ValueRange)>
                 multiply);

  /// The same for steps of tile registers.
  SmallVector<Value> forEachTiledShare(
      int64_t count, SmallVector<Value> sums, const Beside &other,
      llvm::function_ref<SmallVector<Value>(Value, int64_t, ValueRange)>
          multiply);

  /// What `part` covers of a panel.
  Panel takePart(const Panel &panel, const TilePart &part);

  /// Joins what `multiplyStage` stored of a part of the tile at `first`, whose
  /// own panel is `panel`, with the stages before.
  SmallVector<Value> joinStage(const Panel &panel, Value first,
                               const Stage &stage, Value i,
                               const TilePart &part);
  /// What the stages before add up to, or the bias.
  SmallVector<Value> loadJoined(const Panel &panel, Value first,
                                const Stage &stage, Value i,
                                const TilePart &part);

  /// The same for a stage before the last one; its result waits in memory.
  void joinBefore(const Panel &panel, Value first, const Stage &stage, Value i,
                  const TilePart &part);

  /// Sums that wait in memory; those of the segments of a stage below each
  /// other.
  SmallVector<Value> loadStaged(Value memref, VectorType type,
                                const Panel &panel, const TilePart &part,
                                int64_t place = 0);
  void storeStaged(Value memref, const Panel &panel, const TilePart &part,
                   llvm::ArrayRef<Value> values, int64_t place = 0);
  void forEachStaged(const Panel &panel, const TilePart &part, int64_t place,
                     llvm::function_ref<void(ValueRange)> body);

  //===--------------------------------------------------------------------===//
  // Integer join
  //===--------------------------------------------------------------------===//

  bool joinsIntegers() { return !joinMultipliers.empty(); }

  /// Adds the products of a segment to `sums`.
  using SegmentBody = llvm::function_ref<SmallVector<Value>(
      const SegmentRun &, const SegmentAt &, SmallVector<Value>)>;

  /// Sums of all segments, from the coarsest scale to the finest: what is
  /// summed up is multiplied by how many times as coarse it is as the next one.
  SmallVector<Value> emitJoinedSums(const Panel &panel, Value first,
                                    SmallVector<Value> start, SegmentBody body);
  SmallVector<Value> createZeroSums(const Panel &panel);

  /// Runs from the coarsest to the finest.
  SmallVector<const SegmentRun *> sortRuns();

  /// The segment whose scale and seed those sums have.
  SegmentAt getFinest();

  /// The longest run.
  const SegmentRun &getLongest();

  void multiplyJoinedStage(const Panel &panel, Value first,
                           const Beside &other);

  /// The same of sums that wait in memory, each with a place of its own.
  SmallVector<Value> loadJoinedSums(const Panel &panel, Value first,
                                    const TilePart &part);

  SmallVector<Value> multiply(llvm::ArrayRef<Value> sums, int64_t multiplier);
  SmallVector<Value> addUp(llvm::ArrayRef<Value> lhs,
                           llvm::ArrayRef<Value> rhs);

  //===--------------------------------------------------------------------===//
  // Overlap
  //===--------------------------------------------------------------------===//

  bool canOverlap();

  /// The run that a tile begins with, and its steps that stand beside the end
  /// of the tile before.
  const SegmentRun &getFirstRun();
  int64_t countFirstSteps();

  /// As `emitStagedPanels`.
  Value emitOverlappedPanels(const PanelShape &shape, Value firstPanel,
                             Value lastPanel, Value begin, Value end);

  SmallVector<Value> emitFirstSteps(const Panel &panel, Value first);
  SmallVector<Value> emitOtherSteps(const Panel &panel, Value first,
                                    SmallVector<Value> sums);

  /// Ends the tile at `first` of `panel`, and begins the one at `next` of
  /// `nextPanel` where that is below `limit`, whose sums it returns.
  SmallVector<Value> endBesideNext(const Panel &panel, Value first,
                                   llvm::ArrayRef<Value> sums,
                                   const Panel &nextPanel, Value next,
                                   Value limit);

  //===--------------------------------------------------------------------===//
  // Tile registers
  //===--------------------------------------------------------------------===//

  void multiplyWindows(const Panel &panel, Value first, const SegmentRun &run,
                       const SegmentAt &at, int64_t place, const Beside &other);

  SmallVector<Value> emitWindow(const TileOperands &operands,
                                const Panel &panel, const SegmentRun &run,
                                const SegmentAt &at, Value window,
                                ValueRange sums);

  /// Whether the last window of a segment would reach behind the input.
  bool isLastWindowMoved(const SegmentRun &run);
  Value limitWindow(Value channel);

  //===--------------------------------------------------------------------===//
  // Prefetch
  //===--------------------------------------------------------------------===//

  int64_t getElementBytes() {
    return llvm::cast<mlir::MemRefType>(view->getWeight().getType())
               .getElementTypeBitWidth() /
           8;
  }
  /// Rows of a tile, in tile registers where there are some.
  int64_t getFullTileRows();

  int64_t getWeightSize() { return getLast(view->getWeight()); }
  int64_t getPanelSize(const Panel &panel);

  Ahead getNext(const Panel &panel);

  /// Weights that each step of a tile in `count` rows fetches. Even small ones
  /// come from far: other layers ran since the last call. Few tiles would wait
  /// for them.
  Value getPrefetchStride(const Ahead &ahead, Value count);

  /// What the tile that begins `row` rows behind the first one fetches.
  Prefetch getPrefetch(const Ahead &ahead, Value stride, Value row);

  /// Steps of which one has to fetch a line, however few tiles there are.
  int64_t getPrefetchPeriod(const Panel &panel);

  /// Fetches a line, mostly one that an earlier step has fetched: loops and
  /// conditions would cost more.
  void emitPrefetch(Value position);

  //===--------------------------------------------------------------------===//
  // A tile
  //===--------------------------------------------------------------------===//

  void emitTile(const Panel &panel, Value first);

  /// One segment, summed up onto the bias.
  SmallVector<Value> emitFloatSums(const Panel &panel, Value first);

  /// The one segment of floats.
  SegmentAt getWhole() { return {index(0), index(0), index(0), index(0)}; }

  /// Numerics.md, "Contractions": segments join in ascending order.
  SmallVector<Value> emitIntegerSums(const Panel &panel, Value first);

  /// r = fma(f32(acc), s_x * s_w, r), where no `result` yet stands for the
  /// bias.
  SmallVector<Value> emitAndJoin(const Panel &panel, Value first,
                                 const SegmentRun &run, const SegmentAt &at,
                                 SmallVector<Value> result);

  SmallVector<Value> join(const Panel &panel, Value first, const SegmentAt &at,
                          llvm::ArrayRef<Value> sums,
                          SmallVector<Value> result);

  /// Adds the products of one segment to `sums`.
  SmallVector<Value> emitSegment(const Panel &panel, Value first,
                                 const SegmentRun &run, const SegmentAt &at,
                                 SmallVector<Value> sums);

  /// The channels of a segment that fill no step.
  SmallVector<Value> emitRest(const Panel &panel, Value first,
                              const SegmentRun &run, const SegmentAt &at,
                              SmallVector<Value> sums);

  /// The same where weights are padded to what tile registers take.
  SmallVector<Value> emitWindows(const Panel &panel, Value first,
                                 const SegmentRun &run, const SegmentAt &at,
                                 SmallVector<Value> sums);

  /// `count` whole steps, the first of them at `channel` and `begin` steps
  /// behind the begin of the segment.
  SmallVector<Value> emitSteps(const Panel &panel, Value first,
                               const SegmentAt &at, Value channel,
                               int64_t begin, int64_t count,
                               SmallVector<Value> sums);

  /// `count` steps from `from` on.
  SmallVector<Value> emitRange(const Panel &panel, Value first,
                               const SegmentAt &at, Value channel,
                               int64_t begin, Value from, int64_t count,
                               ValueRange sums);

  /// One step of the contracted axis: a dot product for each sum, or several
  /// where a word holds nibbles for more. `loadX` loads the neighbours that so
  /// many channels lie behind the first of a row, or returns null where no
  /// channel is left.
  SmallVector<Value> emitStep(const Panel &panel, Value first, Value position,
                              ValueRange sums,
                              llvm::function_ref<Value(Value, int64_t)> loadX);
  /// The same where 16 bits add up a few dot products first.
  SmallVector<Value>
  emitShortStep(const Panel &panel, Value first, Value position,
                ValueRange sums,
                llvm::function_ref<Value(Value, int64_t)> loadX);
  /// One segment of nibbles that are summed up in 16 bits.
  bool hasShortNibbles() { return hasNibbles && row.getShortNibbleDots() > 0; }
  SmallVector<Value> emitShortNibbles(const Panel &panel, Value first,
                                      const SegmentRun &run,
                                      const SegmentAt &at,
                                      SmallVector<Value> sums);
  /// Words of it, as many as a short sum has room for at most.
  SmallVector<Value>
  emitShortWords(const Panel &panel, Value first, Value position, int64_t words,
                 ValueRange sums,
                 llvm::function_ref<Value(Value, int64_t)> loadX);
  /// Sums of 16 bits of their products in vector `v`, one for each row, less
  /// what there is of `zeroPoints`.
  SmallVector<Value>
  sumUpWords(const Panel &panel, int64_t v, Value first, Value position,
             int64_t words, llvm::function_ref<Value(Value, int64_t)> loadX);
  /// Vector `v` of the weights of a step, or of one of its short dot products.
  Value loadWeight(const Panel &panel, Value position, int64_t v,
                   int64_t dot = 0);
  /// Where a step of a panel begins, and how far behind lies vector `v` of a
  /// dot product.
  Value getStepOffset(const Panel &panel, Value position);
  int64_t getVectorOffset(const Panel &panel, int64_t v, int64_t dot = 0);
  /// Elements of a packed vector.
  int64_t getVectorSize() { return lanes * (hasNibbles ? 1 : step); }
  /// Fetches the weights of a later step.
  void fetchNibbles(const Panel &panel, Value position, int64_t words);

  /// The weights of dot product `dot` in words of nibbles, times 16 but where
  /// sums are short.
  Value unpack(Value words, int64_t dot);
  Value unpackShort(Value elements, int64_t dot);

  /// The neighbours of one lane.
  Value loadInput(Value rowIndex, Value channel);

  /// The same where only `count` are left: none behind them is read.
  Value loadPartialInput(Value rowIndex, Value channel, int64_t count);

  /// The neighbours of one lane in all lanes.
  Value broadcastInput(Value x);

  //===--------------------------------------------------------------------===//
  // Operands of a tile
  //===--------------------------------------------------------------------===//

  /// Loads vector `v` of the panel at `indices`, to which the output is added.
  Value load(Value memref, SmallVector<Value> indices, const Panel &panel,
             int64_t v);
  Value loadRow(Value memref, Value rowIndex, const Panel &panel, int64_t v);

  /// Where packed parameters of a segment and panel begin, and those of vector
  /// `v`.
  Value getParam(Value segment, const Panel &panel);
  Value loadParam(Value memref, Value segment, const Panel &panel, int64_t v);

  bool isWhole(const Panel &panel, int64_t v);
  bool isWhole(const PanelShape &shape) {
    return shape.vectors == config.getVectors() && shape.lastLanes == lanes;
  }
  Value createMask(const Panel &panel);

  /// A run-time parameter of a row and group: `[groups]` or `[rows, groups]`.
  Value loadOfRow(Value memref, Value first, int64_t r, Value group);

  /// The bias of every sum of a tile, or zeros.
  SmallVector<Value> loadBias(const Panel &panel, Value first);

  /// The bias of all rows; null if each has its own.
  Value loadSharedBias(const Panel &panel, int64_t v);

  /// What the integer sums of a segment start from.
  SmallVector<Value> loadSeed(const Panel &panel, Value first,
                              const SegmentAt &at);

  /// Whether zero points are made up for without seeds from memory: few rows
  /// wait for that.
  bool avoidsSeeds();
  /// Whether they go off short sums.
  bool takesZeroPointsOff();
  /// Sums of a segment without them.
  SmallVector<Value> emitWithoutZeroPoints(const Panel &panel, Value first,
                                           const SegmentRun &run,
                                           const SegmentAt &at);
  /// The zero point of row `r` in all elements.
  Value createZeroPoint(Value first, int64_t r, Value group);

  /// Whether the weights of a tile are summed up in it instead.
  bool sumsWeights();
  /// Sums of a segment without seeds from memory.
  SmallVector<Value> emitWithWeightSums(const Panel &panel, Value first,
                                        const SegmentRun &run,
                                        const SegmentAt &at);
  /// What weights are multiplied by for their sums: the zero point, or one.
  Value createWeightFactor();

  /// The zero point of a row, of what the micro-kernel multiplies.
  Value loadZeroPoint(Value first, int64_t r, Value group);

  /// -z * sum w, with the zero point of a row.
  Value emitRunTimeSeed(Value sum, Value zero, Value first, int64_t r,
                        Value group);

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

  void addZeroPoint(ResultParams &params, Value zeroPoint);

  /// The parameters that all outputs share, outside the loops.
  void emitResultParams();

  SmallVector<ResultParams> loadResultParams(const Panel &panel);

  /// Room for the sums of tiles, in the function's frame.
  void createTiles();

  void emitEpilogue(const Panel &panel, Value first,
                    llvm::ArrayRef<Value> sums);

  /// Quantization and store of the vectors of some rows behind their
  /// activation, or of one of them.
  void finishRows(const Panel &panel, Value first, int64_t rows,
                  llvm::ArrayRef<Value> values,
                  llvm::ArrayRef<ResultParams> params);
  void finish(const Panel &panel, Value rowIndex, int64_t v, Value value,
              llvm::ArrayRef<ResultParams> params);

  /// The same of several vectors at once, where that is faster: whole ones,
  /// from `begin` on in each row.
  bool narrowsTogether();
  void finishTogether(const Panel &panel, Value first, int64_t rows,
                      int64_t begin, int64_t vectors,
                      llvm::ArrayRef<Value> values,
                      llvm::ArrayRef<ResultParams> params);

  /// A vector behind its activation with its gain and shift; a code of it in 32
  /// bits.
  Value applyGain(int64_t v, Value value, llvm::ArrayRef<ResultParams> params);
  Value toStored(int64_t v, Value value, llvm::ArrayRef<ResultParams> params);

  /// Stores what is output of one vector.
  void store(const Panel &panel, Value rowIndex, int64_t v, Value value);

  /// The activation, by a table or a power where there is one.
  Value applyActivation(Value value);
  Value activate(Value value);

  /// Whether the activation is as exact as its codes need.
  bool isCoarse() { return table || power; }

  /// The same by a table: `max(x, 0)` and an even function of what the table
  /// covers of `|x|`.
  Value lookUpActivation(Value value);
  Value createMagnitude(Value value);
  Value lookUpEvenPart(Value magnitude);
  Value addPositivePart(Value value, Value even);

  /// The same as a power.
  Value raiseActivation(Value value);

  /// Numerics.md, "Quantize", without the zero point. The bounds are integers,
  /// so rounding and clamping may change places.
  Value scale(Value value, const ResultParams &params);

  /// A comparison with NaN is false, which leaves the lower bound.
  Value clamp(Value scaled, const ResultParams &params);

  /// A code as a byte.
  Value narrow(Value stored);

  /// What cannot overflow in 32 bits saturates as it is narrowed.
  Value saturate(Value stored);

  KernelOp op;
  Part part;
  /// Those of the part.
  PartRange panels;
  KernelView<LinearOp> view;
  MicroKernelAttr config;
  Partition partition;
  const MicroKernel &row;
  int64_t step, outputs;
  /// Whether weights are nibbles.
  bool hasNibbles;
  /// Channels of a step through a panel, and elements of the packed weight in
  /// one lane of it.
  int64_t stepSize, laneSize;
  VectorType sumType;
  llvm::ArrayRef<int64_t> joinMultipliers;
  SmallVector<SegmentRun> runs;
  SmallVector<Stage> stages;
  /// Rows of a staged tile, 0 if there are none.
  int64_t stagedRows = 0;
  /// Steps of a panel.
  int64_t steps = 0;
  std::optional<std::pair<int64_t, int64_t>> resultRange;
  int64_t inputOffset = 0;
  /// What the sums of nibbles are divided by.
  int64_t sumFactor = 1;
  /// That of all segments, with nibbles alone.
  std::optional<int64_t> staticZeroPoint;
  /// Those of the rows of a tile, in all elements, where they go off short
  /// sums.
  SmallVector<Value> zeroPoints;
  /// Whether no quotient by the scale of the result exceeds 30 bits.
  bool isBounded = false;
  /// Whether a gain and a shift stand before the quantizer.
  bool isScaled = false;
  /// The table of the activation, or the power that it is nearly; null if it is
  /// computed in full.
  const ActivationTable *table = nullptr;
  const ActivationPower *power = nullptr;

  Matrices m;
  int64_t tileRows = 0;
  Prefetch fetch;
  Value tile;
  /// Integer sums of the segments of a stage, and fp32 sums of a tile.
  Value stagedSums, stagedJoined;
  ResultParams sharedParams;
};

} // namespace qtx

#endif // QTX_LIB_KERNEL_LINEAR_EMITTER_H
