//===- Pack.cpp - Kernels of qtx.attention --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../CostModel.h"
#include "Plan.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/TypeUtilities.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Kernel/Passes.h"
#include "qtx/Kernel/Threads.h"
#include "qtx/Support/Remarks.h"

namespace qtx {
#define GEN_PASS_DEF_QTXPACKATTENTIONPASS
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("PackAttention").category("qtx-pack-attention");
static constexpr auto kMissedRemark =
    remark::RemarkOpts::name(kReferenceRemark).category("qtx-pack-attention");

/// Whether kernels take tensors with these parameters as they are.
static bool isTaken(const QuantParams &params) {
  return params.getStorageType().getWidth() == 8 && params.isPerTensor();
}

/// Why no kernel takes `op`; empty if one may.
static StringRef check(AttentionOp op) {
  auto isQuantized = [](Type type) { return getStorageForm(type) != type; };
  if (llvm::any_of(op->getOperandTypes(), isQuantized) ||
      llvm::any_of(op->getResultTypes(), isQuantized))
    return "it is not in storage form";
  for (const std::optional<QuantParams> &params :
       {op.getScoresParams(), op.getProbsParams(), op.getContextParams()})
    if (params && !isTaken(*params))
      return "a stage inside has groups, or not 8 bits";
  return {};
}

static bool areIntegers(const std::optional<QuantParams> &lhs,
                        const std::optional<QuantParams> &rhs) {
  return lhs && rhs && isTaken(*lhs) && isTaken(*rhs);
}

/// The fastest row of a target; null if there is none. Of equally fast ones
/// that which takes the first operand as it is stored.
static const MicroKernel *select(const std::optional<QuantParams> &first,
                                 bool hasTiles,
                                 const TargetFeatures &features) {
  const MicroKernel *best = nullptr;
  for (const MicroKernel *row : getMicroKernels()) {
    // Nothing bounds both operands for short sums.
    if (row->isFloat() == first.has_value() || row->getShortDots() > 0 ||
        (!hasTiles && row->getNumTileRows() > 0) || !row->isSupported(features))
      continue;
    if (best && row->getProductsPerCycle() < best->getProductsPerCycle())
      break;
    bool isUnsigned = row->getOperands() == MicroKernelOperands::U8S8;
    if (!first || first->isSigned() != isUnsigned)
      return row;
    best = best ? best : row;
  }
  return best;
}

std::pair<const MicroKernel *, const MicroKernel *>
qtx::getMicroKernels(AttentionOp op, const TargetFeatures &features) {
  bool areScores = areIntegers(op.getQueryParams(), op.getKeyParams());
  bool areProbs = areIntegers(op.getProbsParams(), op.getValueParams());
  // Blocks of queries are as tall as tiles, in both products.
  bool hasTiles = areScores && areProbs;
  return {select(areScores ? op.getQueryParams() : std::nullopt, hasTiles,
                 features),
          select(areProbs ? op.getProbsParams() : std::nullopt, hasTiles,
                 features)};
}

StringRef qtx::findObstacle(AttentionOp op, const TargetFeatures &features) {
  if (StringRef reason = check(op); !reason.empty())
    return reason;
  // Their vectors have one size.
  auto [scores, context] = getMicroKernels(op, features);
  if (scores && context && scores->getNumLanes() == context->getNumLanes())
    return {};
  return "the target has no micro-kernel";
}

namespace {

/// Makes the kernel of one attention.
class AttentionPacker {
public:
  AttentionPacker(AttentionOp op, const TargetFeatures &features)
      : op(op), builder(op), loc(op.getLoc()), threads(getMaxThreads(op)) {
    std::tie(scoresRow, contextRow) = getMicroKernels(op, features);
    isPipelined = qtx::isPipelined(op, *scoresRow, *contextRow);
    stretches = chooseLongRows();
  }

  void pack() {
    attrs = cast<DictionaryAttr>(op->getPropertiesAsAttribute());
    Value query =
        takeOperand(op.getQuery(), op.getQueryQuantAttrName(), *scoresRow);
    Value key = takeOperand(op.getKey(), op.getKeyQuantAttrName(), *scoresRow);
    Value value =
        takeOperand(op.getValue(), op.getValueQuantAttrName(), *contextRow);
    SmallVector<Value> operands = {query, key, value};
    for (Value other : {takeMask(), Value(op.getOffset()), Value(op.getSink()),
                        Value(op.getGate())})
      if (other)
        operands.push_back(other);
    bool isQuantizedLater = op.getYParams() && !isTaken(*op.getYParams());
    if (isQuantizedLater)
      attrs.erase(op.getYQuantAttrName());
    MergeHeadsOp merge = isQuantizedLater ? MergeHeadsOp() : getMerge();
    layouts.push_back(bool(merge));
    Type element = isQuantizedLater ? Type(builder.getF32Type())
                                    : op.getY().getType().getElementType();
    SmallVector<Value> outs = {createResult(query, element, bool(merge)),
                               createScratch(key)};
    set("layouts", builder.getDenseI64ArrayAttr(layouts));
    set("scores_kernel", builder.getStringAttr(scoresRow->getName()));
    set("context_kernel", builder.getStringAttr(contextRow->getName()));
    if (isPipelined)
      set(kPipelinedParam, builder.getUnitAttr());
    if (stretches)
      set(kStretchesParam, stretches->getAttr(op.getContext()));
    if (DictionaryAttr attr = Partition{threads}.getAttr(op.getContext()))
      set(kPartitionParam, attr);
    auto kernel = KernelOp::create(builder, loc, TypeRange(ValueRange(outs)),
                                   "qtx.attention", operands, outs,
                                   attrs.getDictionary(op.getContext()));
    Value result = kernel.getResult(0);
    if (isQuantizedLater)
      result =
          QuantizeOp::create(builder, loc,
                             cast<RankedTensorType>(result.getType())
                                 .clone(op.getY().getType().getElementType()),
                             result, Value(), Value(), op.getYQuantAttr());
    replace(result, merge);
  }

private:
  void set(StringRef name, Attribute value) { attrs.set(name, value); }

  /// The operand for a micro-kernel: dequantized where that is a float one, and
  /// without the transposition of heads where that is its origin.
  Value takeOperand(Value value, StringAttr quantName, const MicroKernel &row) {
    auto quant = dyn_cast_or_null<TypeAttr>(attrs.get(quantName));
    bool isDequantized = quant && row.isFloat();
    auto split = value.getDefiningOp<SplitHeadsOp>();
    // Groups are those of the heads in their order.
    if (quant && QuantParams::get(quant.getValue())->isGrouped())
      split = {};
    layouts.push_back(bool(split));
    if (split)
      value = createView(split);
    if (!isDequantized)
      return value;
    attrs.erase(quantName);
    auto type = cast<RankedTensorType>(value.getType());
    return DequantizeOp::create(builder, loc, type.clone(builder.getF32Type()),
                                value, Value(), Value(), quant);
  }

  /// [B, S, d] as [B, S, H, dh].
  Value createView(SplitHeadsOp split) {
    RankedTensorType type = split.getY().getType();
    ArrayRef<int64_t> shape = split.getX().getType().getShape();
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(builder, loc, split.getX());
    sizes.back() = builder.getIndexAttr(type.getDimSize(1));
    sizes.push_back(builder.getIndexAttr(type.getDimSize(3)));
    auto result = RankedTensorType::get(
        {shape[0], shape[1], type.getDimSize(1), type.getDimSize(3)},
        type.getElementType());
    return tensor::ExpandShapeOp::create(builder, loc, result, split.getX(),
                                         getHeadGroups(), sizes);
  }
  static SmallVector<ReassociationIndices> getHeadGroups() {
    return {{0}, {1}, {2, 3}};
  }

  /// The mask, with bytes for booleans: vectors of those would be bits.
  Value takeMask() {
    Value mask = op.getMask();
    if (!mask || getElementTypeOrSelf(mask).isF32())
      return mask;
    auto type = cast<RankedTensorType>(mask.getType());
    return arith::ExtUIOp::create(builder, loc, type.clone(builder.getI8Type()),
                                  mask);
  }

  /// The merge of heads that is the only reader, if there is one.
  MergeHeadsOp getMerge() {
    if (!op.getY().hasOneUse())
      return {};
    return dyn_cast<MergeHeadsOp>(*op.getY().user_begin());
  }

  /// Sizes are those of the operands that were taken: the others shall have no
  /// reader left.
  Value createResult(Value query, Type element, bool isMerged) {
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(builder, loc, query);
    sizes.back() = builder.getIndexAttr(op.getValueSize());
    if (isMerged != (layouts[0] != 0))
      std::swap(sizes[1], sizes[2]);
    return tensor::EmptyOp::create(builder, loc, sizes, element);
  }

  /// How rows run that are too long to be kept; nothing if there are none.
  std::optional<Stretches> chooseLongRows() {
    // Sums of bytes have room for so few keys that their rows are kept.
    if (!contextRow->isFloat())
      return std::nullopt;
    AttentionPlan plan = createPlan();
    Stretches stretches = chooseStretches(getCore(op), plan, isOnline(op));
    int64_t keys = op.getKey().getType().getDimSize(2);
    if (!ShapedType::isDynamic(keys) && keys <= stretches.limit)
      return std::nullopt;
    return stretches;
  }

  AttentionPlan createPlan() {
    return {*scoresRow,        *contextRow,  op.getKeySize(),
            op.getValueSize(), std::nullopt, isPipelined};
  }

  /// Memory for each thread.
  Value createScratch(Value key) {
    AttentionPlan plan = createPlan();
    ScratchPart whole = plan.getWhole();
    AffineExpr keys = builder.getAffineDimExpr(0);
    auto getBytes = [&](AffineExpr keys) {
      return keys.ceilDiv(plan.keyUnit) *
                 (plan.keyUnit * whole.perKey * threads) +
             whole.fixed * threads;
    };
    SmallVector<AffineExpr> bytes = {getBytes(keys)};
    // Rows that are not kept need less than the longest that are.
    if (stretches)
      bytes.push_back(
          getBytes(builder.getAffineConstantExpr(stretches->limit)));
    OpFoldResult size = affine::makeComposedFoldedAffineMin(
        builder, loc, AffineMap::get(1, 0, bytes, builder.getContext()),
        {tensor::getMixedSize(builder, loc, key, layouts[1] ? 1 : 2)});
    return tensor::EmptyOp::create(builder, loc, ArrayRef<OpFoldResult>{size},
                                   builder.getI8Type());
  }

  void replace(Value result, MergeHeadsOp merge) {
    Operation *replaced = merge ? merge.getOperation() : op.getOperation();
    if (merge)
      result = tensor::CollapseShapeOp::create(builder, loc, result,
                                               getHeadGroups());
    Type type = replaced->getResult(0).getType();
    if (result.getType() != type)
      result = tensor::CastOp::create(builder, loc, type, result);
    replaced->getResult(0).replaceAllUsesWith(result);
    if (merge)
      merge.erase();
    op.erase();
  }

  AttentionOp op;
  OpBuilder builder;
  Location loc;
  int64_t threads;
  const MicroKernel *scoresRow, *contextRow;
  bool isPipelined;
  std::optional<Stretches> stretches;
  NamedAttrList attrs;
  SmallVector<int64_t> layouts;
};

struct QtxPackAttentionPass
    : qtx::impl::QtxPackAttentionPassBase<QtxPackAttentionPass> {
  void runOnOperation() override {
    TargetFeatures features(getOperation());
    SmallVector<AttentionOp> ops;
    getOperation()->walk([&](AttentionOp op) { ops.push_back(op); });
    for (AttentionOp op : ops) {
      StringRef obstacle = findObstacle(op, features);
      if (!obstacle.empty()) {
        remark::missed(op.getLoc(), kMissedRemark)
            << remark::reason("{0}", obstacle);
        continue;
      }
      auto [scores, context] = getMicroKernels(op, features);
      remark::passed(op.getLoc(), kRemark) << remark::add(
          "runs on '{0}' and '{1}'", scores->getName(), context->getName());
      AttentionPacker(op, features).pack();
    }
  }
};

} // namespace
