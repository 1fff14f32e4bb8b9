//===- OutputGroupsToPerChannel.cpp - Per-channel requantization ----------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConstantUtils.h"
#include "RewriteUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace qtx {
#define GEN_PASS_DEF_QTXOUTPUTGROUPSTOPERCHANNELPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("OutputGroupsToPerChannel")
        .category("qtx-output-groups-to-per-channel");

/// The type with one channel per group and run-time parameters.
static Type getPerChannelType(const QuantParams &params) {
  SmallVector<int64_t> sizes(params.getNumChannels(), 1);
  return GroupedType::get(params.getType().getContext(),
                          params.getStorageType().getWidth(), params.isSigned(),
                          params.getAxis(), sizes, DenseF32ArrayAttr(),
                          DenseI64ArrayAttr());
}

/// The groups of result `y`, if they can be written per channel.
static std::optional<QuantParams> getStaticGroups(QuantizableOpInterface op) {
  auto params = getQuantParams(op, op.getQuantEdges().back());
  if (!params || params->isPerTensor() || params->isDynamic())
    return std::nullopt;
  return params;
}

template <typename OpTy>
static void makePerChannel(OpTy op, const QuantParams &params) {
  OpBuilder builder(op);
  SmallVector<float> scales;
  SmallVector<int64_t> zeroPoints;
  for (int64_t group : params.getGroupOfChannel()) {
    scales.push_back(params.getScale(group));
    zeroPoints.push_back(params.getZeroPoint(group));
  }
  int64_t channels = scales.size();
  auto createParam = [&](Type elementType, auto values) {
    auto type = RankedTensorType::get({channels}, elementType);
    return ConstantTensor::create(type, values)
        .materialize(builder, op.getLoc());
  };
  op.getYScaleMutable().assign(
      createParam(builder.getF32Type(), ArrayRef<float>(scales)));
  op.getYZeroPointMutable().assign(
      createParam(builder.getI32Type(), ArrayRef<int64_t>(zeroPoints)));
  op.setYQuantAttr(TypeAttr::get(getPerChannelType(params)));
}

template <typename OpTy> static void rewrite(OpTy op) {
  std::optional<QuantParams> params = getStaticGroups(op);
  if (!params)
    return;
  if (isInQuantizedForm(op)) {
    remark::missed(op.getLoc(), kRemark) << remark::reason(
        "users see the type of the result; run 'qtx-to-storage' first");
    return;
  }
  makePerChannel(op, *params);
  remark::passed(op.getLoc(), kRemark) << remark::add(
      "requantizes each of {0} channels with the parameters of its group",
      params->getNumChannels());
}

namespace {

struct QtxOutputGroupsToPerChannelPass
    : qtx::impl::QtxOutputGroupsToPerChannelPassBase<
          QtxOutputGroupsToPerChannelPass> {
  void runOnOperation() override {
    for (auto op : collectOps<QuantizableOpInterface>(getOperation()))
      TypeSwitch<Operation *>(op)
          .Case<LinearOp, AddOp, LayerNormOp, RmsNormOp, ScaleShiftOp,
                QuantizeOp, RequantizeOp>([](auto typed) { rewrite(typed); });
  }
};

} // namespace
