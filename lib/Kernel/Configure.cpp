//===- Configure.cpp - Choose micro-kernels -------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../Dialect/Qtx/Transforms/ConstantUtils.h"
#include "CostModel.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Kernel/Passes.h"
#include "qtx/Kernel/Threads.h"
#include "qtx/Support/Remarks.h"
#include "qtx/Support/ShortSums.h"

namespace qtx {
#define GEN_PASS_DEF_QTXCONFIGUREPASS
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("Configure").category("qtx-configure");
static constexpr auto kMissedRemark =
    remark::RemarkOpts::name(kReferenceRemark).category("qtx-configure");
static constexpr auto kWeightsRemark =
    remark::RemarkOpts::name(kLargeWeightsRemark).category("qtx-configure");

/// Why no row takes these parameters of the input; empty if some may.
static StringRef checkInput(const QuantParams &params) {
  if (params.getStorageType().getWidth() != 8)
    return "the input does not have 8 bits";
  return {};
}

/// Why no row writes results with these parameters.
static StringRef checkResult(const QuantParams &params) {
  if (params.isDynamic())
    return "the scales of the result are run-time values";
  if (params.getStorageType().getWidth() != 8)
    return "the result does not have 8 bits";
  return {};
}

/// Why no row takes `op`; empty if some may.
static StringRef check(LinearOp op) {
  auto isQuantized = [](Type type) { return getStorageForm(type) != type; };
  if (llvm::any_of(op->getOperandTypes(), isQuantized) ||
      llvm::any_of(op->getResultTypes(), isQuantized))
    return "it is not in storage form";
  if (!ConstantTensor::isConstant(op.getWeight()))
    return "the weight is not a constant";
  if (op.getWeightScale() && !ConstantTensor::isConstant(op.getWeightScale()))
    return "the scales of the weight are not constant";
  if (op.getSeed() && !ConstantTensor::isConstant(op.getSeed()))
    return "the seed is not a constant";
  if (op.getContractedSize() == 0 || op.getNumOutputs() == 0)
    return "it has no channels";
  SmallVector<QuantEdge> edges = op.getQuantEdges();
  StringRef reason;
  if (std::optional<QuantParams> params = getQuantParams(op, edges[0]))
    reason = checkInput(*params);
  if (std::optional<QuantParams> params = getQuantParams(op, edges[1]))
    reason = reason.empty() ? checkResult(*params) : reason;
  return reason;
}

/// Segments that a tile is multiplied by one after another. The sums of each go
/// through memory.
static constexpr size_t kMaxTiledSegments = 8;

/// Whether tile registers are worth their padding: segments take whole steps of
/// them.
static bool isWorthTiles(LinearOp op, const MicroKernel &row) {
  if (row.getTileStep() == 0)
    return true;
  int64_t padded = 0;
  for (const Segment &segment : op.getSegments())
    padded += row.getPaddedSize(segment.size);
  return op.getSegments().size() <= kMaxTiledSegments &&
         op.getContractedSize() >= row.getTileStep() &&
         padded <= 2 * op.getContractedSize();
}

/// Whether the sums of 16 bits of a row, if it has such, hold all products.
static bool fitsSums(LinearOp op, const MicroKernel &row) {
  if (row.getShortDots() == 0 ||
      op.getWeight().getType().getElementType().isInteger(4))
    return true;
  SmallVector<int64_t> sizes;
  for (const Segment &segment : op.getSegments())
    sizes.push_back(segment.size);
  return fitShortSums(ConstantTensor::get(op.getWeight())->getIntegers(),
                      op.getContractedSize(), sizes);
}

/// Whether a target has a row for `op`, which passed `check`, if weights fit.
static bool suits(const MicroKernel &row, LinearOp op,
                  const TargetFeatures &features) {
  bool isFloat = op.getX().getType().getElementType().isF32();
  return row.isFloat() == isFloat && row.isSupported(features) &&
         isWorthTiles(op, row);
}

static bool takes(const MicroKernel &row, LinearOp op,
                  const TargetFeatures &features) {
  return suits(row, op, features) && fitsSums(op, row);
}

/// The fastest row for `op` on a target; null if there is none.
static const MicroKernel *select(LinearOp op, const TargetFeatures &features) {
  for (const MicroKernel *row : getMicroKernels())
    if (takes(*row, op, features))
      return row;
  return nullptr;
}

/// The row of `op`, or null and why there is none. Looks at all weights where a
/// row has short sums.
static std::pair<const MicroKernel *, StringRef>
selectOrExplain(LinearOp op, const TargetFeatures &features) {
  if (StringRef reason = check(op); !reason.empty())
    return {nullptr, reason};
  const MicroKernel *row = select(op, features);
  return {row, row ? "" : "the target has no micro-kernel"};
}

StringRef qtx::findObstacle(LinearOp op, const TargetFeatures &features) {
  return selectOrExplain(op, features).second;
}

StringRef qtx::findObstacle(BatchMatmulOp, const TargetFeatures &) {
  return "no micro-kernel takes two activations outside of attention";
}

static void configure(LinearOp op, const MicroKernel &row, const Core &core) {
  MLIRContext *context = op.getContext();
  Contraction contraction = Contraction::get(op);
  Tiling tiling = chooseTiling(core, row, contraction);
  op->setAttr(kConfigAttrName, tiling.getAttr(context, row));
  Partition partition =
      choosePartition(core, row, contraction, getMaxThreads(op));
  if (DictionaryAttr attr = partition.getAttr(context))
    op->setAttr(kPartitionAttrName, attr);
}

/// Reports what is wrong with a configuration that `op` has already.
static LogicalResult checkGiven(LinearOp op, MicroKernelAttr config,
                                const TargetFeatures &features) {
  const MicroKernel *row = lookupMicroKernel(config.getKernel());
  if (!row || !takes(*row, op, features))
    return op.emitOpError(
               "expected a micro-kernel that the target has and that "
               "takes the operation, found '")
           << config.getKernel() << "'";
  Tiling tiling = Tiling::get(config);
  if (tiling.panels < 0)
    return op.emitOpError("expected spans of panels that are not negative, "
                          "found ")
           << tiling.panels;
  if (!isPossible(*row, tiling))
    return op.emitOpError("expected a tile that '")
           << config.getKernel() << "' has registers for, found " << tiling.rows
           << " x " << tiling.vectors << " in blocks of " << tiling.block;
  return success();
}

/// Sixteen times a sum of products of unsigned bytes and nibbles fits 32 bits.
static constexpr int64_t kMaxNibbleChannels =
    (int64_t(1) << 31) / (255 * 16 * 8);

/// Whether weights of 4 bits stay in nibbles until they are in registers, where
/// they become bytes. Tile registers load bytes from memory.
static bool keepsNibbles(LinearOp op, const MicroKernel &row) {
  return op.getWeight().getType().getElementType().isInteger(4) &&
         row.getStep() == 4 && row.getNumTileRows() == 0 && !op.getSeed() &&
         !op.getIntegerJoin() &&
         llvm::all_of(op.getSegments(), [](const Segment &segment) {
           return segment.size <= kMaxNibbleChannels;
         });
}

/// Whether the rows read panels of the same elements in the same order. Nibbles
/// are larger where sums are short.
static bool haveSamePanels(const MicroKernel &a, const MicroKernel &b,
                           bool areNibbles) {
  return a.getOperands() == b.getOperands() &&
         a.getNumLanes() == b.getNumLanes() &&
         (!areNibbles || a.getShortNibbleDots() == b.getShortNibbleDots());
}

/// The tiling `own` of `row` with panels as `other` has them, if it can read
/// such. What else the other one has suits its own instructions.
static std::optional<Tiling> adopt(MicroKernelAttr other, MicroKernelAttr own,
                                   const MicroKernel &row, bool areNibbles) {
  if (!haveSamePanels(*lookupMicroKernel(other.getKernel()), row, areNibbles))
    return std::nullopt;
  Tiling tiling = Tiling::get(own);
  if (other.getVectors() == own.getVectors())
    return tiling;
  tiling.rows = other.getRows();
  tiling.vectors = other.getVectors();
  tiling.block =
      std::max(own.getBlock() - own.getBlock() % tiling.rows, tiling.rows);
  if (!isPossible(row, tiling))
    return std::nullopt;
  return tiling;
}

void qtx::shareWeightFormats(ModuleOp module, ModuleOp other) {
  SmallVector<LinearOp> from, to;
  module.walk([&](LinearOp op) { from.push_back(op); });
  other.walk([&](LinearOp op) { to.push_back(op); });
  for (auto [first, second] : llvm::zip_equal(from, to)) {
    auto config = first->getAttrOfType<MicroKernelAttr>(kConfigAttrName);
    auto changed = second->getAttrOfType<MicroKernelAttr>(kConfigAttrName);
    if (!config || !changed)
      continue;
    const MicroKernel &row = *lookupMicroKernel(changed.getKernel());
    std::optional<Tiling> tiling =
        adopt(config, changed, row, first->hasAttr(kNibblesAttrName));
    if (!tiling)
      continue;
    second->setAttr(kConfigAttrName, tiling->getAttr(second.getContext(), row));
    if (!first->hasAttr(kNibblesAttrName))
      second->removeAttr(kNibblesAttrName);
  }
}

namespace {
struct QtxConfigurePass : qtx::impl::QtxConfigurePassBase<QtxConfigurePass> {
  void runOnOperation() override {
    TargetFeatures features(getOperation());
    WalkResult result = getOperation()->walk([&](Operation *op) -> WalkResult {
      if (auto linear = dyn_cast<LinearOp>(op))
        return run(linear, features);
      if (auto product = dyn_cast<BatchMatmulOp>(op))
        explain(op, findObstacle(product, features));
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

  static LogicalResult run(LinearOp op, const TargetFeatures &features) {
    auto [selected, obstacle] = selectOrExplain(op, features);
    if (!selected) {
      explain(op, obstacle);
      return success();
    }
    if (auto given = op->getAttrOfType<MicroKernelAttr>(kConfigAttrName))
      return checkGiven(op, given, features);
    const MicroKernel &row = *selected;
    if (keepsNibbles(op, row))
      op->setAttr(kNibblesAttrName, UnitAttr::get(op.getContext()));
    configure(op, row, getCore(op));
    remark::passed(op.getLoc(), kRemark)
        << remark::add("runs on '{0}'", row.getName());
    explainSums(op, row, features);
    return success();
  }

  /// Names the faster row that weights are too large for.
  static void explainSums(LinearOp op, const MicroKernel &row,
                          const TargetFeatures &features) {
    const MicroKernel &best =
        **llvm::find_if(getMicroKernels(), [&](const MicroKernel *row) {
          return suits(*row, op, features);
        });
    if (&best != &row && op.getWeight().getType().getElementType().isInteger(8))
      remark::missed(op.getLoc(), kWeightsRemark) << remark::reason(
          "'{0}' would be faster: its sums of 16 bits do not hold products "
          "with these weights",
          best.getName());
  }

  static void explain(Operation *op, StringRef obstacle) {
    remark::missed(op->getLoc(), kMissedRemark)
        << remark::reason("{0}", obstacle);
  }
};
} // namespace
