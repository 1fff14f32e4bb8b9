//===- MergeSplitLinear.cpp - Merge a chain of linears --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RewriteUtils.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"

namespace qtx {
#define GEN_PASS_DEF_QTXMERGESPLITLINEARPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark = remark::RemarkOpts::name("MergeSplitLinear")
                                    .category("qtx-merge-split-linear");

namespace {

/// Merges a linear with the one whose result it adds to, `producer`.
class LinearMerger {
public:
  LinearMerger(RewriterBase &rewriter, LinearOp producer, LinearOp op)
      : rewriter(rewriter), producer(producer), op(op), loc(op.getLoc()) {}

  /// Empty on success, else the reason why they cannot be merged.
  StringRef merge() {
    StringRef reason = checkChain();
    if (reason.empty())
      reason = joinOperands();
    if (reason.empty())
      replace();
    else
      eraseUnused();
    return reason;
  }

private:
  StringRef joinOperands() {
    rewriter.setInsertionPoint(op);
    x = join(producer.getX(), op.getX(), op.getX().getType().getRank() - 1);
    if (!x)
      return "the inputs are not neighbouring slices of one tensor";
    weight = join(producer.getWeight(), op.getWeight(), 1);
    if (!weight)
      return "the weights are neither constants nor neighbouring slices of one "
             "tensor";
    if (!joinWeightScales())
      return "the weight scales do not form one scale per output or block";
    if (!joinParams())
      return "the run-time parameters are not neighbouring slices of one "
             "tensor";
    if (op.getSeed() && !(seed = join(producer.getSeed(), op.getSeed(), 0)))
      return "the seeds are not constants";
    return {};
  }

  /// What must hold before anything is created.
  StringRef checkChain() {
    if (!producer->hasOneUse())
      return "the partial sum has other uses";
    if (producer.getActivation() != Activation::None ||
        !producer.getY().getType().getElementType().isF32())
      return "the partial sum is not a plain fp32 sum";
    auto first = getQuantParams(producer, producer.getQuantEdges().front());
    auto second = getQuantParams(op, op.getQuantEdges().front());
    if (!first || !second)
      return "an input is not quantized";
    if (bool(producer.getSeed()) != bool(op.getSeed()))
      return "only one of them has a seed";
    if (producer.getIntegerJoin() || op.getIntegerJoin())
      return "one of them joins segments in integers";
    type = joinGroups(*first, producer.getContractedSize(), *second,
                      op.getContractedSize());
    return type ? "" : "no grouped type has the parameters of both inputs";
  }

  Value join(Value first, Value second, int64_t axis) {
    return joinAxis(rewriter, loc, first, second, axis);
  }

  /// One scale per output for both, or whole blocks of one size.
  bool joinWeightScales() {
    weightScale = op.getWeightScale();
    if (producer.getWeightBlock() != op.getWeightBlock())
      return false;
    if (!op.getWeightBlock())
      return isSameTensor(producer.getWeightScale(), weightScale);
    if (producer.getContractedSize() % int64_t(*op.getWeightBlock()) != 0)
      return false;
    weightScale = join(producer.getWeightScale(), weightScale, 1);
    return bool(weightScale);
  }

  bool joinParams() {
    auto joinParam = [&](Value first, Value second, Value &joined) {
      if (!first && !second)
        return true;
      if (!first || !second)
        return false;
      int64_t rank = cast<ShapedType>(first.getType()).getRank();
      joined = join(first, second, rank - 1);
      return bool(joined);
    };
    return joinParam(producer.getXScale(), op.getXScale(), scale) &&
           joinParam(producer.getXZeroPoint(), op.getXZeroPoint(), zeroPoint);
  }

  /// Drops what was joined before the merge turned out to be impossible.
  void eraseUnused() {
    for (Value value : {x, weight, weightScale, scale, zeroPoint, seed})
      if (Operation *created = value ? value.getDefiningOp() : nullptr)
        if (created->use_empty())
          rewriter.eraseOp(created);
  }

  void replace() {
    auto merged = cast<LinearOp>(rewriter.clone(*op));
    merged.getXMutable().assign(x);
    merged.setXQuantAttr(TypeAttr::get(type));
    merged.getWeightMutable().assign(weight);
    merged.getWeightScaleMutable().assign(weightScale);
    assign(merged.getXScaleMutable(), scale);
    assign(merged.getXZeroPointMutable(), zeroPoint);
    assign(merged.getSeedMutable(), seed);
    assign(merged.getBiasMutable(), producer.getBias());
    rewriter.replaceOp(op, merged);
    rewriter.eraseOp(producer);
  }

  static void assign(MutableOperandRange operand, Value value) {
    if (value)
      operand.assign(value);
    else
      operand.clear();
  }

  RewriterBase &rewriter;
  LinearOp producer, op;
  Location loc;
  Type type;
  Value x, weight, weightScale, scale, zeroPoint, seed;
};

struct QtxMergeSplitLinearPass
    : qtx::impl::QtxMergeSplitLinearPassBase<QtxMergeSplitLinearPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    // In order, so that the producer has taken in all before it.
    for (LinearOp op : collectOps<LinearOp>(getOperation())) {
      auto producer =
          op.getBias() ? op.getBias().getDefiningOp<LinearOp>() : nullptr;
      if (!producer)
        continue;
      Location loc = op.getLoc();
      StringRef reason = "slices exist in storage form only; run "
                         "'qtx-to-storage' first";
      if (!isInQuantizedForm(op) && !isInQuantizedForm(producer))
        reason = LinearMerger(rewriter, producer, op).merge();
      if (reason.empty())
        remark::passed(loc, kRemark)
            << "merged with the linear that it adds to";
      else
        remark::missed(loc, kRemark) << remark::reason("{0}", reason);
    }
  }
};

} // namespace
