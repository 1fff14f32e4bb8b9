//===- CostModel.cpp - Estimates of contractions --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CostModel.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// CPUs
//===----------------------------------------------------------------------===//

static constexpr int64_t kKiB = 1024;

// Caches as in the optimization manuals of the makers; where cores of one CPU
// differ, those of the fast ones. The generation before AVX-512 multiplies and
// loads two vectors of 32 bytes in a cycle, and so do those that run 64 bytes
// in halves.
static constexpr Core kHaswell = {32 * kKiB, 256 * kKiB, 64, 32};
static constexpr Core kZen2 = {32 * kKiB, 512 * kKiB, 64, 32};
static constexpr Core kAlderLake = {48 * kKiB, 1280 * kKiB, 64, 48};
static constexpr Core kRaptorLake = {48 * kKiB, 2048 * kKiB, 64, 48};
static constexpr Core kZen4 = {32 * kKiB, 1024 * kKiB, 64, 32};
static constexpr Core kSierraForest = {32 * kKiB, 1024 * kKiB, 64, 32};
static constexpr Core kZen5 = {48 * kKiB, 1024 * kKiB, 128, 64};
static constexpr Core kIceLakeClient = {48 * kKiB, 512 * kKiB, 64, 48};
static constexpr Core kSkylakeServer = {32 * kKiB, 1024 * kKiB, 128, 48};
static constexpr Core kIceLakeServer = {48 * kKiB, 1280 * kKiB, 128, 48};
static constexpr Core kSapphireRapids = {48 * kKiB, 2048 * kKiB, 128, 48};
static constexpr Core kNeoverse = {64 * kKiB, 1024 * kKiB, 32, 32};

static std::optional<Core> lookupCore(StringRef cpu) {
  return llvm::StringSwitch<std::optional<Core>>(cpu)
      .Cases({"haswell", "broadwell", "skylake", "x86-64-v3"}, kHaswell)
      .Cases({"znver1", "znver2", "znver3"}, kZen2)
      .Case("znver4", kZen4)
      .Case("znver5", kZen5)
      .Cases({"sierraforest", "grandridge", "clearwaterforest"}, kSierraForest)
      .Cases({"alderlake", "gracemont"}, kAlderLake)
      .Cases({"raptorlake", "meteorlake", "arrowlake", "arrowlake-s",
              "lunarlake", "pantherlake"},
             kRaptorLake)
      .Cases({"icelake-client", "rocketlake", "tigerlake"}, kIceLakeClient)
      .Cases({"skylake-avx512", "cascadelake", "cooperlake", "x86-64-v4"},
             kSkylakeServer)
      .Case("icelake-server", kIceLakeServer)
      .Cases({"sapphirerapids", "emeraldrapids", "graniterapids"},
             kSapphireRapids)
      .Cases({"neoverse-v1", "neoverse-v2", "neoverse-n1", "neoverse-n2"},
             kNeoverse)
      .Default(std::nullopt);
}

Core qtx::getCore(Operation *op) {
  TargetFeatures features(op);
  if (std::optional<Core> core = lookupCore(features.getCPU()))
    return *core;
  if (features.has("amx-tile"))
    return kSapphireRapids;
  if (features.has("avx512f"))
    return kSkylakeServer;
  return features.has("neon") ? kNeoverse : kHaswell;
}

//===----------------------------------------------------------------------===//
// Cycles
//===----------------------------------------------------------------------===//

/// Where the number of rows is not known: as many as a block has at most.
static constexpr int64_t kManyRows = 512;

/// Cycles from one dot product to the next on the same sum.
static constexpr double kLatency = 4;
/// Cycles that a tile needs beside its dot products: loops, first loads, and
/// until the last sums are there.
static constexpr double kTileCycles = 20;
/// Instructions that end a vector of sums, and those of each segment.
static constexpr double kEndInstructions = 8, kJoinInstructions = 3;
/// Bytes of weights that come from behind the second-level cache in a cycle.
static constexpr double kOuterRate = 8;
/// Cycles of a product of two tile registers.
static constexpr double kTileProductCycles = 16;

Contraction Contraction::get(LinearOp op) {
  Contraction contraction{
      1, op.getNumOutputs(), {}, op->hasAttr(kNibblesAttrName)};
  for (int64_t size : op.getX().getType().getShape().drop_back())
    contraction.rows =
        ShapedType::isDynamic(size) || ShapedType::isDynamic(contraction.rows)
            ? ShapedType::kDynamic
            : contraction.rows * size;
  for (const Segment &segment : op.getSegments())
    contraction.segments.push_back(segment.size);
  return contraction;
}

int64_t Contraction::getSize() const {
  return std::accumulate(segments.begin(), segments.end(), int64_t(0));
}

/// Bytes of an element of the packed weight.
static int64_t getPackedBytes(const MicroKernel &row) {
  return row.isFloat() ? 4 : 1;
}

namespace {
/// Adds up cycles for one tiling.
class Estimate {
public:
  Estimate(const Core &core, const MicroKernel &row,
           const Contraction &contraction, const Tiling &tiling)
      : core(core), row(row), contraction(contraction), tiling(tiling),
        vectorBytes(row.getNumLanes() * 4),
        weightBytes(getPackedBytes(row) * row.getStep()),
        perCycle(std::min<double>(2, double(core.vectorBytes) / vectorBytes)),
        numRows(ShapedType::isDynamic(contraction.rows) ? kManyRows
                                                        : contraction.rows) {
    for (int64_t segment : contraction.segments)
      steps += row.getPaddedSize(segment) / row.getStep();
  }

  double run() {
    int64_t vectors = llvm::divideCeil(contraction.outputs, row.getNumLanes());
    double cycles = vectors / tiling.vectors * getPanelCycles(tiling.vectors);
    if (int64_t rest = vectors % tiling.vectors)
      cycles += getPanelCycles(rest);
    return cycles + getOuterBytes(vectors) / kOuterRate;
  }

private:
  /// All rows meet a panel, block by block.
  double getPanelCycles(int64_t vectors) {
    int64_t full = numRows / tiling.block, rest = numRows % tiling.block;
    double cycles = full * getBlockCycles(tiling.block, vectors);
    return rest ? cycles + getBlockCycles(rest, vectors) : cycles;
  }

  double getBlockCycles(int64_t rows, int64_t vectors) {
    double cycles = 0;
    if (int64_t tall = row.getNumTileRows()) {
      cycles += rows / tall * getTallCycles(vectors);
      rows %= tall;
    }
    int64_t tiles = rows / tiling.rows;
    cycles += tiles * getTileCycles(tiling.rows, vectors, tiles);
    int64_t rest = rows % tiling.rows;
    for (int64_t size = llvm::PowerOf2Ceil(tiling.rows) / 2; size > 0;
         size /= 2)
      if (rest & size)
        cycles += getTileCycles(size, vectors, tiles + 1);
    return cycles;
  }

  /// One of `tiles` that meet the same panel.
  double getTileCycles(int64_t rows, int64_t vectors, int64_t tiles) {
    double dots = rows * vectors / perCycle;
    // A broadcast loads few bytes, but is a load.
    double loads = rows / 2.0 + vectors / perCycle;
    double cycles = std::max({dots, loads, getLatency()});
    bool stays = getBytes(rows) + getWeightBytes(vectors) <= core.firstLevel;
    if (tiles == 1 || !stays)
      cycles = std::max(cycles,
                        getWeightBytes(vectors) / steps / core.secondLevelRate);
    return steps * cycles + getEndCycles(rows, vectors);
  }

  double getLatency() {
    // Without VNNI an instruction of its own adds products to sums.
    bool isApart = row.getOperands() == MicroKernelOperands::S16S16 ||
                   row.getShortDots() > 0;
    return isApart ? 1 : kLatency;
  }

  double getEndCycles(int64_t rows, int64_t vectors) {
    double instructions =
        kEndInstructions + kJoinInstructions * contraction.segments.size();
    return kTileCycles + rows * vectors * instructions / perCycle;
  }

  /// A tile in tile registers: weights pass the first-level cache, and rows do
  /// where they do not fit or others come between them and the next panel.
  double getTallCycles(int64_t vectors) {
    int64_t rows = row.getNumTileRows();
    int64_t registers = rows / row.getNumLanes();
    int64_t bytes = row.getTileStep() * vectors * row.getNumLanes();
    if (tiling.block > rows || getBytes(rows) > core.firstLevel)
      bytes += row.getTileStep() * rows;
    double cycles = std::max(registers * vectors * kTileProductCycles,
                             double(bytes) / core.secondLevelRate);
    return steps * row.getStep() / row.getTileStep() * cycles +
           getEndCycles(rows, vectors);
  }

  /// Bytes of so many rows of the input, or outputs of the weight in the form
  /// that the row multiplies.
  double getBytes(int64_t count) { return double(count) * steps * 4; }

  /// Bytes of so many vectors of outputs in the packed weight.
  double getWeightBytes(int64_t vectors) {
    return double(vectors) * row.getNumLanes() * steps * weightBytes;
  }

  /// What passes the second-level cache: weights, once for each block that they
  /// do not stay for, and an input that does not fit, for each panel.
  double getOuterBytes(int64_t vectors) {
    double weights = getWeightBytes(vectors);
    double passes = llvm::divideCeil(numRows, tiling.block);
    bool stay = tiling.panels > 0 || weights <= core.secondLevel / 2;
    double bytes = weights * (stay ? 1 : passes);
    if (getBytes(std::min(tiling.block, numRows)) > core.secondLevel / 2)
      bytes += getBytes(numRows) * llvm::divideCeil(vectors, tiling.vectors);
    return bytes;
  }

  const Core &core;
  const MicroKernel &row;
  const Contraction &contraction;
  const Tiling &tiling;
  int64_t vectorBytes;
  /// Bytes of the packed weight in a lane and step.
  int64_t weightBytes;
  /// Dot products, or loads of vectors, in a cycle.
  double perCycle;
  int64_t numRows;
  /// Steps of the contracted axis.
  int64_t steps = 0;
};
} // namespace

double qtx::estimateCycles(const Core &core, const MicroKernel &row,
                           const Contraction &contraction,
                           const Tiling &tiling) {
  return Estimate(core, row, contraction, tiling).run();
}

//===----------------------------------------------------------------------===//
// Choices
//===----------------------------------------------------------------------===//

/// The most rows of a block: more gain nothing.
static constexpr int64_t kMaxBlockRows = 512;

/// How few panels of `vectors` stay in the second-level cache while rows and
/// results pass; 0 if all do.
static int64_t chooseSpan(const Core &core, const MicroKernel &row,
                          const Contraction &contraction, int64_t vectors) {
  int64_t width = vectors * row.getNumLanes();
  int64_t panels = llvm::divideCeil(contraction.outputs, width);
  int64_t panelBytes = contraction.getSize() * width * 4 / row.getStep();
  int64_t fit = std::max<int64_t>(core.secondLevel / 4 / panelBytes, 1);
  if (panels * panelBytes <= core.secondLevel / 2)
    return 0;
  // Spans of about one size: a short one waits for its weights.
  return llvm::divideCeil(panels, llvm::divideCeil(panels, fit));
}

/// Chooses the block of a tiling, for tiles of `rows`, and its span of panels.
static void chooseBlock(const Core &core, const MicroKernel &row,
                        const Contraction &contraction, int64_t rows,
                        Tiling &tiling) {
  int64_t rowBytes = contraction.getSize() * 4 / row.getStep();
  // Floats are four times as many bytes: an input that passes with each panel
  // is less than weights that pass with each block.
  if (row.isFloat())
    return void(tiling.block = kMaxBlockRows - kMaxBlockRows % rows);
  auto fit = [&](int64_t bytes) {
    int64_t block = std::clamp(bytes / std::max<int64_t>(rowBytes, 1), rows,
                               std::max(rows, kMaxBlockRows));
    return block - block % rows;
  };
  if (row.getNumTileRows() == 0)
    return void(tiling.block = fit(core.secondLevel / 2));
  // Tile registers want more bytes in a cycle than the second-level cache gives
  // for both operands. Rows of one tile stay in the first-level cache, which
  // weights pass.
  bool stay = rows * rowBytes <= core.firstLevel;
  tiling.block = stay ? rows : fit(core.secondLevel / 4 * 3);
  tiling.panels = stay ? chooseSpan(core, row, contraction, tiling.vectors) : 0;
}

/// Registers for sums and weights.
static int64_t countRegisters(int64_t rows, int64_t vectors) {
  return (rows + 1) * vectors;
}

Tiling Tiling::get(MicroKernelAttr config) {
  return {config.getRows(), config.getVectors(), config.getBlock(),
          config.getPanels()};
}

MicroKernelAttr Tiling::getAttr(MLIRContext *context,
                                const MicroKernel &row) const {
  return MicroKernelAttr::get(context, row.getName(), rows, vectors, block,
                              panels);
}

bool qtx::isPossible(const MicroKernel &row, const Tiling &tiling) {
  int64_t rows = row.getNumRows(), vectors = row.getNumVectors();
  if (tiling.rows < 1 || tiling.vectors < 1 || tiling.block < 1 ||
      tiling.panels < 0)
    return false;
  if (tiling.rows == row.getNibbleRows() &&
      tiling.vectors == row.getNibbleVectors())
    return true;
  // What tile registers leave is in parts of the row's own height.
  if (row.getNumTileRows() > 0)
    return tiling.rows == rows && tiling.vectors <= vectors;
  return countRegisters(tiling.rows, tiling.vectors) <=
         countRegisters(rows, vectors);
}

SmallVector<Tiling> qtx::listTilings(const Core &core, const MicroKernel &row,
                                     const Contraction &contraction) {
  SmallVector<Tiling> tilings;
  auto add = [&](int64_t rows, int64_t vectors) {
    int64_t unit = std::max(rows, row.getNumTileRows());
    tilings.push_back({rows, vectors, unit});
    chooseBlock(core, row, contraction, unit, tilings.back());
  };
  if (contraction.hasNibbles && row.getNibbleRows() > 0) {
    add(row.getNibbleRows(), row.getNibbleVectors());
    return tilings;
  }
  int64_t ownRows = row.getNumRows(), ownVectors = row.getNumVectors();
  add(ownRows, ownVectors);
  int64_t registers = countRegisters(ownRows, ownVectors);
  for (int64_t vectors = ownVectors - 1; vectors > 0; --vectors) {
    add(ownRows, vectors);
    int64_t tall = (registers / vectors - 1) & -4;
    if (row.getNumTileRows() == 0 && tall > ownRows)
      add(std::min<int64_t>(tall, 2 * ownRows), vectors);
  }
  return tilings;
}

Tiling qtx::chooseTiling(const Core &core, const MicroKernel &row,
                         const Contraction &contraction) {
  // Estimates that are nearer are the same.
  constexpr double kClear = 0.98;
  SmallVector<Tiling> tilings = listTilings(core, row, contraction);
  Tiling best = tilings.front();
  double least = kClear * estimateCycles(core, row, contraction, best);
  for (const Tiling &tiling : ArrayRef(tilings).drop_front()) {
    double cycles = estimateCycles(core, row, contraction, tiling);
    if (cycles < least) {
      least = cycles;
      best = tiling;
    }
  }
  return best;
}

Partition qtx::choosePartition(const Core &core, const MicroKernel &row,
                               const Contraction &contraction,
                               int64_t threads) {
  // Rows of a part that are worth passing all weights through a core.
  constexpr int64_t kMinPartRows = 32;
  int64_t outputs = contraction.outputs;
  int64_t bytes = contraction.getSize() * outputs * getPackedBytes(row);
  // Beside the weights there is room for rows of the input and the result.
  bool isShared = bytes <= core.secondLevel / 8 * 5;
  return {threads, isShared ? threads * kMinPartRows : outputs};
}

/// Queries from which on packing a stretch is little beside its products. They
/// and their results come from any cache once for a stretch. Scores of a tile
/// of so many keys stay in the first-level cache.
static constexpr int64_t kStretchQueries = 1024, kMaxStretchKeys = 384;

/// Bytes of an attention whose rows are not kept.
static int64_t countBytes(const AttentionPlan &plan,
                          const Stretches &stretches) {
  AttentionPlan stretched(plan.scores, plan.context,
                          plan.keySteps * plan.scores.getStep(), plan.values,
                          stretches);
  ScratchPart whole = stretched.getWhole();
  return whole.fixed + whole.perKey * stretches.keys;
}

Stretches qtx::chooseStretches(const Core &core, const AttentionPlan &plan,
                               bool isOnline) {
  int64_t panel = plan.scores.getNumVectors() * plan.lanes;
  int64_t keyBytes = plan.packedKeys.perKey + plan.packedValues.perKey;
  int64_t keys = std::min(core.secondLevel / 2 / keyBytes, kMaxStretchKeys);
  Stretches result;
  result.keys = std::max(keys - keys % panel, panel);
  result.queries = llvm::alignTo(kStretchQueries, plan.rows);
  ScratchPart kept = plan.getWhole();
  // Stretches in one pass are hardly slower, so memory decides: a core's share
  // of the last-level cache is about as large as its second-level cache. Two
  // passes cost more than reading keys and values from afar, so there rows are
  // kept while scores of a tile stay near.
  result.limit = isOnline ? core.secondLevel * 2 / kept.perKey
                          : core.secondLevel / 2 / plan.scoreRows.perKey;
  int64_t least =
      llvm::divideCeil(countBytes(plan, result) - kept.fixed, kept.perKey);
  result.limit = std::max(result.limit, least);
  return result;
}
