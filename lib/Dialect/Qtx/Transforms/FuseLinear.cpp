//===- FuseLinear.cpp - Epilogues of linear layers ------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RewriteUtils.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Dialect/Qtx/Transforms/Contracts.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace qtx {
#define GEN_PASS_DEF_QTXFUSELINEARPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("FuseLinear").category("qtx-fuse-linear");

/// The activation of an epilogue that does what `op` does to floats; absent if
/// there is none. A quantizer alone leaves them as they are.
static std::optional<Activation> getActivation(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<Activation>>(op)
      .Case([](ReluOp) { return Activation::Relu; })
      .Case([](GeluOp op) {
        return op.getApproximate() == GeluApproximation::Tanh
                   ? Activation::GeluTanh
                   : Activation::Gelu;
      })
      .Case([](SiluOp) { return Activation::Silu; })
      .Case([](QuantizeOp) { return Activation::None; })
      .Default([](Operation *) { return std::nullopt; });
}

static bool isFloat(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType().isF32();
}

/// Why `op` cannot be the epilogue of `linear`; empty if it can.
static StringRef check(LinearOp linear, Operation *op,
                       const QuantEdge &result) {
  if (!linear->hasOneUse())
    return "the result of the linear has other readers";
  if (linear->getBlock() != op->getBlock())
    return "the linear is in another block";
  if (linear.getActivation() != Activation::None &&
      getActivation(op) != Activation::None)
    return "the linear has an activation";
  auto params = getQuantParams(op, result);
  if (!params)
    return {};
  // What micro-kernels write; other results are better quantized apart.
  if (params->isDynamic())
    return "the scales of the result are run-time values";
  if (params->getStorageType().getWidth() != 8)
    return "the result does not have 8 bits";
  if (params->isGrouped() && params->getAxis() != -1)
    return "the groups of the result do not lie along its last axis";
  return {};
}

static void fuse(LinearOp linear, Operation *op, const QuantEdge &result) {
  OpBuilder builder(op);
  auto fused = cast<LinearOp>(builder.clone(*linear));
  fused.getY().setType(cast<RankedTensorType>(result.value.getType()));
  if (Activation activation = *getActivation(op);
      activation != Activation::None)
    fused.setActivation(activation);
  if (auto type = op->getAttrOfType<TypeAttr>(result.attrName))
    fused.setYQuantAttr(type);
  op->replaceAllUsesWith(fused);
  op->erase();
  linear.erase();
}

/// The linear that `op` may become the epilogue of; null if there is none.
static LinearOp getLinear(Operation *op) {
  auto linear = op->getOperand(0).getDefiningOp<LinearOp>();
  return linear && isFloat(linear.getY()) ? linear : LinearOp();
}

bool qtx::canFuseIntoLinear(Operation *op) {
  auto edges = dyn_cast<QuantizableOpInterface>(op);
  if (!edges || !getActivation(op))
    return false;
  LinearOp linear = getLinear(op);
  return linear && check(linear, op, edges.getQuantEdges().back()).empty();
}

namespace {
struct QtxFuseLinearPass : qtx::impl::QtxFuseLinearPassBase<QtxFuseLinearPass> {
  void runOnOperation() override {
    for (auto op : collectOps<QuantizableOpInterface>(getOperation()))
      if (getActivation(op))
        tryToFuse(op);
  }

  static void tryToFuse(QuantizableOpInterface op) {
    LinearOp linear = getLinear(op);
    if (!linear)
      return;
    QuantEdge result = op.getQuantEdges().back();
    Location loc = op.getLoc();
    StringRef reason = check(linear, op, result);
    if (!reason.empty()) {
      remark::missed(loc, kRemark) << remark::reason("{0}", reason);
      return;
    }
    remark::passed(loc, kRemark) << remark::add("joined '{0}' to a linear",
                                                op->getName().getStringRef());
    fuse(linear, op, result);
  }
};
} // namespace
