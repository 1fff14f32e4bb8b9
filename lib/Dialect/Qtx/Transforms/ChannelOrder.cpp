//===- ChannelOrder.cpp - How operations relate channels ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ChannelOrder.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "llvm/ADT/TypeSwitch.h"
#include <limits>

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

/// All tensor operands move with the only result.
static ChannelwiseOp getElementwise(Operation *op) {
  ChannelwiseOp channels;
  channels.result = op->getResult(0);
  for (OpOperand &operand : op->getOpOperands())
    if (auto type = dyn_cast<RankedTensorType>(operand.get().getType()))
      if (type.getRank() > 0)
        channels.moving.push_back(&operand);
  return channels;
}

/// Operand `x` moves with result `y`.
template <typename OpTy> static ChannelwiseOp getUnary(OpTy op) {
  ChannelwiseOp channels;
  channels.moving.push_back(&op.getXMutable());
  channels.result = cast<OpResult>(op.getY());
  return channels;
}

/// An optional operand with one value per channel along `axis`.
static void addPerChannel(ChannelwiseOp &channels, MutableOperandRange operand,
                          int64_t axis) {
  if (operand.size() == 1)
    channels.constants.push_back({&operand[0], axis});
}

static ChannelwiseOp getLayerNorm(LayerNormOp op) {
  ChannelwiseOp channels = getUnary(op);
  addPerChannel(channels, op.getGammaMutable(), 0);
  addPerChannel(channels, op.getBetaMutable(), 0);
  return channels;
}

static ChannelwiseOp getRmsNorm(RmsNormOp op) {
  ChannelwiseOp channels = getUnary(op);
  addPerChannel(channels, op.getGammaMutable(), 0);
  return channels;
}

static ChannelwiseOp getScaleShift(ScaleShiftOp op) {
  ChannelwiseOp channels = getUnary(op);
  channels.constants.push_back({&op.getGainMutable(), 0});
  channels.constants.push_back({&op.getShiftMutable(), 0});
  return channels;
}

static ChannelwiseOp getSum(AddOp op) {
  ChannelwiseOp channels;
  channels.result = cast<OpResult>(op.getY());
  channels.moving.push_back(&op.getLhsMutable());
  if (op.getRhs().getType().getRank() > 0)
    channels.moving.push_back(&op.getRhsMutable());
  return channels;
}

/// The rows of a table, whose columns are the channels.
static ChannelwiseOp getEmbedding(EmbeddingOp op) {
  ChannelwiseOp channels;
  channels.result = cast<OpResult>(op.getY());
  channels.constants.push_back({&op.getTableMutable(), 1});
  return channels;
}

/// The outputs of a linear: rows of the weight and what belongs to them.
static ChannelwiseOp getLinearOutputs(LinearOp op) {
  ChannelwiseOp channels;
  channels.result = cast<OpResult>(op.getY());
  channels.constants.push_back({&op.getWeightMutable(), 0});
  if (Value scale = op.getWeightScale())
    if (cast<ShapedType>(scale.getType()).getDimSize(0) != 1)
      addPerChannel(channels, op.getWeightScaleMutable(), 0);
  addPerChannel(channels, op.getSeedMutable(), 1);
  if (Value bias = op.getBias()) {
    // A full bias has the shape of the result and moves with it.
    if (cast<ShapedType>(bias.getType()).getRank() == 1)
      addPerChannel(channels, op.getBiasMutable(), 0);
    else
      channels.moving.push_back(&op.getBiasMutable()[0]);
  }
  return channels;
}

/// Whether `op` reshapes dimensions other than the last.
static bool keepsLastDim(ArrayRef<ReassociationIndices> reassociation) {
  return !reassociation.empty() && reassociation.back().size() == 1;
}

static std::optional<ChannelwiseOp> getReshape(Operation *op) {
  if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op))
    if (!keepsLastDim(collapse.getReassociationIndices()))
      return std::nullopt;
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    if (!keepsLastDim(expand.getReassociationIndices()))
      return std::nullopt;
  ChannelwiseOp channels;
  channels.moving.push_back(&op->getOpOperand(0));
  channels.result = op->getResult(0);
  return channels;
}

/// Whether a slice of `whole` holds all of its channels.
static bool hasAllChannels(OffsetSizeAndStrideOpInterface slice,
                           RankedTensorType whole) {
  int64_t last = whole.getRank() - 1;
  return last >= 0 && isZeroInteger(slice.getMixedOffsets()[last]) &&
         isOneInteger(slice.getMixedStrides()[last]) &&
         getConstantIntValue(slice.getMixedSizes()[last]) ==
             whole.getDimSize(last);
}

/// Rows of a tensor.
static std::optional<ChannelwiseOp> getSlice(tensor::ExtractSliceOp op) {
  int64_t rank = op.getSourceType().getRank();
  if (!hasAllChannels(op, op.getSourceType()) ||
      op.getDroppedDims().test(rank - 1))
    return std::nullopt;
  ChannelwiseOp channels;
  channels.moving.push_back(&op.getSourceMutable());
  channels.result = cast<OpResult>(op.getResult());
  return channels;
}

/// Rows beside others.
static std::optional<ChannelwiseOp> getInsertion(tensor::InsertSliceOp op) {
  int64_t rank = op.getDestType().getRank();
  if (!hasAllChannels(op, op.getDestType()) ||
      op.getDroppedDims().test(rank - 1))
    return std::nullopt;
  ChannelwiseOp channels;
  channels.moving.push_back(&op.getSourceMutable());
  // What has no contents has no order.
  if (!op.getDest().getDefiningOp<tensor::EmptyOp>())
    channels.moving.push_back(&op.getDestMutable());
  channels.result = cast<OpResult>(op.getResult());
  return channels;
}

static std::optional<ChannelwiseOp> getConcat(tensor::ConcatOp op) {
  if (int64_t(op.getDim()) + 1 == op.getResultType().getRank())
    return std::nullopt;
  ChannelwiseOp channels;
  for (OpOperand &input : op.getInputsMutable())
    channels.moving.push_back(&input);
  channels.result = cast<OpResult>(op.getResult());
  return channels;
}

std::optional<ChannelwiseOp> qtx::getChannelwise(Operation *op) {
  using Result = std::optional<ChannelwiseOp>;
  return TypeSwitch<Operation *, Result>(op)
      .Case<QuantizeOp, DequantizeOp, RequantizeOp, ReluOp, GeluOp, SiluOp>(
          [](auto unary) { return getUnary(unary); })
      .Case([](LayerNormOp norm) { return getLayerNorm(norm); })
      .Case([](RmsNormOp norm) { return getRmsNorm(norm); })
      .Case([](ScaleShiftOp scaleShift) { return getScaleShift(scaleShift); })
      .Case([](AddOp add) { return getSum(add); })
      .Case([](EmbeddingOp embedding) { return getEmbedding(embedding); })
      .Case([](DynamicQuantizeOp quantize) -> Result {
        // A group per token is the same set of channels in any order.
        auto params = getQuantParams(quantize, quantize.getQuantEdges().back());
        if (!params || params->getNumGroups() != 1)
          return std::nullopt;
        return getUnary(quantize);
      })
      .Case([](PermuteOp permute) -> Result {
        if (permute.getAxis() == uint64_t(-1))
          return std::nullopt;
        return getUnary(permute);
      })
      .Case([](LinearOp linear) { return getLinearOutputs(linear); })
      .Case<tensor::CastOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(
          [](Operation *reshape) { return getReshape(reshape); })
      .Case([](tensor::ExtractSliceOp slice) { return getSlice(slice); })
      .Case([](tensor::InsertSliceOp slice) { return getInsertion(slice); })
      .Case([](tensor::ConcatOp concat) { return getConcat(concat); })
      .Default([](Operation *other) -> Result {
        if (OpTrait::hasElementwiseMappableTraits(other) &&
            other->getNumResults() == 1)
          return getElementwise(other);
        return std::nullopt;
      });
}

static ChannelReader getLinearInput(LinearOp op) {
  ChannelReader reader{&op.getWeightMutable(), {}};
  if (op.getWeightBlock() &&
      int64_t(*op.getWeightBlock()) < op.getContractedSize())
    reader.obstacle = "has weight blocks along the permuted axis";
  else if (op.getSeed() && op.getSegments().size() > 1)
    reader.obstacle = "has a seed for each group of its input";
  return reader;
}

static ChannelReader getGateInput(GateProjectionOp op) {
  ChannelReader reader{&op.getWeightMutable(), {}};
  if (op.getKind() != GateKind::AllHeads)
    reader.obstacle = "gives each head its own channels";
  return reader;
}

std::optional<ChannelReader> qtx::getReader(OpOperand &operand) {
  Operation *op = operand.getOwner();
  if (auto linear = dyn_cast<LinearOp>(op))
    if (&operand == &linear.getXMutable())
      return getLinearInput(linear);
  if (auto gate = dyn_cast<GateProjectionOp>(op))
    if (&operand == &gate.getXMutable())
      return getGateInput(gate);
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

bool qtx::hasGroupsOnLastAxis(const QuantParams &params) {
  return params.isGrouped() && params.getAxis() == -1 &&
         params.getNumGroups() > 1;
}

/// Whether neighbouring channels of the two groups may form one group.
static bool haveEqualParams(const QuantParams &params, int64_t group,
                            int64_t other) {
  return group == other ||
         (!params.isDynamic() &&
          params.getScale(group) == params.getScale(other) &&
          params.getZeroPoint(group) == params.getZeroPoint(other));
}

/// Most channels that a group may have, so that products with int8 add up in
/// int32.
static int64_t getMaxGroupSize(const QuantParams &params) {
  int64_t magnitude = params.getStorageMax() - params.getStorageMin();
  return std::numeric_limits<int32_t>::max() / (magnitude * 128);
}

ReorderedGroups qtx::reorderGroups(const QuantParams &params,
                                   ArrayRef<int64_t> order) {
  ReorderedGroups groups;
  SmallVector<int64_t> sizes, zeroPoints;
  SmallVector<float> scales;
  SmallVector<int64_t> groupOfChannel = params.getGroupOfChannel();
  int64_t maxSize = getMaxGroupSize(params);
  for (int64_t channel : order) {
    int64_t group = groupOfChannel[channel];
    if (!sizes.empty() && sizes.back() < maxSize &&
        haveEqualParams(params, groups.sources.back(), group)) {
      ++sizes.back();
      continue;
    }
    sizes.push_back(1);
    groups.sources.push_back(group);
    if (!params.isDynamic()) {
      scales.push_back(params.getScale(group));
      zeroPoints.push_back(params.getZeroPoint(group));
    }
  }
  if (!params.isDynamic() && sizes.size() == 1) {
    groups.type = params.getSliced(0, params.getGroupSizes().front());
    return groups;
  }
  MLIRContext *context = params.getType().getContext();
  bool isDynamic = params.isDynamic();
  groups.type = GroupedType::get(
      context, params.getStorageType().getWidth(), params.isSigned(),
      /*axis=*/-1, sizes,
      isDynamic ? DenseF32ArrayAttr() : DenseF32ArrayAttr::get(context, scales),
      isDynamic ? DenseI64ArrayAttr()
                : DenseI64ArrayAttr::get(context, zeroPoints));
  return groups;
}
