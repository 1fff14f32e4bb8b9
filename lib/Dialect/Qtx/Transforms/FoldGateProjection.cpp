//===- FoldGateProjection.cpp - Gates as rows of a projection -------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConstantUtils.h"
#include "RewriteUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"

namespace qtx {
#define GEN_PASS_DEF_QTXFOLDGATEPROJECTIONPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark = remark::RemarkOpts::name("FoldGateProjection")
                                    .category("qtx-fold-gate-projection");

/// The weight of a gate as rows over all channels. Those of a per-head gate are
/// block-diagonal: head h reads its slice of the channels.
static ConstantTensor getRows(GateProjectionOp gate,
                              const ConstantTensor &weight) {
  if (gate.getKind() == GateKind::AllHeads)
    return weight;
  int64_t heads = weight.getType().getDimSize(0);
  int64_t size = weight.getType().getDimSize(1);
  std::vector<float> values = weight.getFloats();
  std::vector<float> rows(heads * heads * size, 0.0f);
  for (int64_t head = 0; head < heads; ++head)
    std::copy_n(values.begin() + head * size, size,
                rows.begin() + head * (heads + 1) * size);
  return ConstantTensor::create(weight.getType().clone({heads, heads * size}),
                                rows);
}

/// The bias of `linear` as a constant, zeros without one; absent if it is
/// neither.
static std::optional<ConstantTensor> getBias(LinearOp linear) {
  int64_t outputs = linear.getNumOutputs();
  if (Value bias = linear.getBias()) {
    if (cast<ShapedType>(bias.getType()).getRank() != 1)
      return std::nullopt;
    return ConstantTensor::get(bias);
  }
  auto type = RankedTensorType::get(
      {outputs}, linear.getWeight().getType().getElementType());
  return ConstantTensor::create(type, std::vector<float>(outputs, 0.0f));
}

/// Whether rows can be added: a float projection without an epilogue.
static bool canTakeRows(LinearOp linear, GateProjectionOp gate) {
  return linear->getBlock() == gate->getBlock() &&
         linear.getX() == gate.getX() &&
         linear.getWeight().getType().getElementType().isF32() &&
         linear.getY().getType().getElementType().isF32() &&
         linear.getActivation() == Activation::None &&
         ConstantTensor::get(linear.getWeight()) && getBias(linear);
}

/// The first projection of the gate's input that can take its rows; null if
/// none can.
static LinearOp findProjection(GateProjectionOp gate) {
  LinearOp first;
  for (Operation *user : gate.getX().getUsers()) {
    auto linear = dyn_cast<LinearOp>(user);
    if (linear && canTakeRows(linear, gate) &&
        (!first || linear->isBeforeInBlock(first)))
      first = linear;
  }
  return first;
}

/// Why the gate stays as it is; null if it does not.
static const char *getObstacle(GateProjectionOp gate) {
  if (gate.getKind() == GateKind::Mlp)
    return "an mlp gate is not linear";
  if (!gate.getX().getType().getElementType().isF32())
    return "the input is quantized";
  if (!ConstantTensor::get(gate.getWeight()) ||
      !ConstantTensor::get(gate.getBias()))
    return "the weight and the bias of the gate are not constants";
  if (!findProjection(gate))
    return "no float projection of the same input, with a constant weight and "
           "bias and no activation, is in the block";
  return nullptr;
}

/// [B, S, H] to [B, H, S]
static Value moveHeads(OpBuilder &builder, GateProjectionOp gate, Value rows) {
  Location loc = gate.getLoc();
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, rows);
  std::swap(sizes[1], sizes[2]);
  Value init =
      tensor::EmptyOp::create(builder, loc, sizes, builder.getF32Type());
  auto transposed = linalg::TransposeOp::create(builder, loc, rows, init,
                                                ArrayRef<int64_t>{0, 2, 1});
  Value logits = transposed->getResult(0);
  if (logits.getType() != gate.getLogits().getType())
    logits = tensor::CastOp::create(builder, loc, gate.getLogits().getType(),
                                    logits);
  return logits;
}

/// One projection in the place of both, and slices of its result.
static void fold(GateProjectionOp gate, LinearOp linear) {
  OpBuilder builder(linear->isBeforeInBlock(gate) ? linear.getOperation()
                                                  : gate.getOperation());
  Location loc = linear.getLoc();
  ConstantTensor rows = getRows(gate, *ConstantTensor::get(gate.getWeight()));
  ConstantTensor weight =
      ConstantTensor::get(linear.getWeight())->concat(rows, /*axis=*/0);
  ConstantTensor bias =
      getBias(linear)->concat(*ConstantTensor::get(gate.getBias()), /*axis=*/0);
  int64_t outputs = linear.getNumOutputs(), heads = gate.getNumHeads();

  Value newWeight = weight.materialize(builder, loc);
  Value newBias = bias.materialize(builder, loc);
  auto fused = cast<LinearOp>(builder.clone(*linear));
  fused.getWeightMutable().assign(newWeight);
  fused.getBiasMutable().assign(newBias);
  RankedTensorType type = linear.getY().getType();
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = outputs + heads;
  fused.getY().setType(type.clone(shape));

  int64_t last = type.getRank() - 1;
  Value y = sliceAxis(builder, loc, fused.getY(), last, 0, outputs);
  Value logits =
      sliceAxis(builder, gate.getLoc(), fused.getY(), last, outputs, heads);
  gate.getLogits().replaceAllUsesWith(moveHeads(builder, gate, logits));
  linear.getY().replaceAllUsesWith(y);
  gate.erase();
  linear.erase();
}

namespace {

struct QtxFoldGateProjectionPass
    : qtx::impl::QtxFoldGateProjectionPassBase<QtxFoldGateProjectionPass> {
  void runOnOperation() override {
    for (auto gate : collectOps<GateProjectionOp>(getOperation())) {
      if (const char *obstacle = getObstacle(gate)) {
        remark::missed(gate.getLoc(), kRemark) << remark::reason(obstacle);
        continue;
      }
      remark::passed(gate.getLoc(), kRemark) << remark::add(
          "{0} logits are rows of the projection", gate.getNumHeads());
      fold(gate, findProjection(gate));
    }
  }
};

} // namespace
