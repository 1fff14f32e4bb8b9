//===- UseQuantizedOperands.cpp - Operations on quantized operands --------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Quantize/Quantize.h"

using namespace mlir;
using namespace qtx;

/// Views move to the front of a dequantizer with one scale.
template <typename ViewOp> static void moveViews(func::FuncOp function) {
  for (auto view :
       llvm::to_vector(function.getBody().front().getOps<ViewOp>())) {
    auto dequantize = view.getX().template getDefiningOp<DequantizeOp>();
    auto params =
        dequantize
            ? getQuantParams(dequantize, dequantize.getQuantEdges().front())
            : std::nullopt;
    if (!params || !params->isPerTensor() || dequantize.getXQuant())
      continue;
    OpBuilder builder(view);
    auto type = cast<RankedTensorType>(view.getY().getType());
    auto codes =
        ViewOp::create(builder, view.getLoc(), type.clone(params->getType()),
                       dequantize.getX());
    auto moved =
        DequantizeOp::create(builder, dequantize.getLoc(), type, codes.getY(),
                             Value(), Value(), TypeAttr());
    view.getY().replaceAllUsesWith(moved.getY());
    view.erase();
  }
}

static DequantizeOp getDequantize(Value value) {
  auto dequantize = value.getDefiningOp<DequantizeOp>();
  // In storage form the type is an attribute that would have to move.
  return dequantize && !dequantize.getXQuant() ? dequantize : DequantizeOp();
}

/// Whether the groups of `input` have too few channels, on average, for an
/// instruction that sums products of bytes: then floats are faster.
static bool hasTinyGroups(DequantizeOp input, int64_t channels) {
  constexpr int64_t minChannels = 4;
  auto params = getQuantParams(input, input.getQuantEdges().front());
  return params && params->isGrouped() &&
         params->getNumGroups() * minChannels > channels;
}

static void useQuantizedInput(LinearOp op) {
  DequantizeOp input = getDequantize(op.getX());
  if (!input || !op.getWeightScale() ||
      hasTinyGroups(input, op.getWeight().getType().getDimSize(1)))
    return;
  op.getXMutable().assign(input.getX());
  if (input.getXScale())
    op.getXScaleMutable().assign(input.getXScale());
  if (input.getXZeroPoint())
    op.getXZeroPointMutable().assign(input.getXZeroPoint());
  // Weights of 4 bits would be unpacked at compile time.
  bool areBytes = op.getWeight().getType().getElementType().isInteger(8);
  op.setIntegerJoin(areBytes && op.getSegments().size() > 1 &&
                    op.canJoinIntegers());
}

/// Replaces all of `operands` by what is dequantized, or none.
static void useQuantizedInputs(ArrayRef<OpOperand *> operands) {
  auto isStatic = [](OpOperand *operand) {
    DequantizeOp input = getDequantize(operand->get());
    return input && !input.getXScale();
  };
  if (!llvm::all_of(operands, isStatic))
    return;
  for (OpOperand *operand : operands)
    operand->set(getDequantize(operand->get()).getX());
}

static void useQuantizedOperands(Operation *op) {
  if (auto linear = dyn_cast<LinearOp>(op))
    useQuantizedInput(linear);
  else if (auto attention = dyn_cast<AttentionOp>(op))
    useQuantizedInputs({&attention.getQueryMutable(),
                        &attention.getKeyMutable(),
                        &attention.getValueMutable()});
  else if (auto product = dyn_cast<BatchMatmulOp>(op))
    useQuantizedInputs({&product.getAMutable(), &product.getBMutable()});
  else if (auto add = dyn_cast<AddOp>(op)) {
    useQuantizedInputs({&add.getLhsMutable()});
    useQuantizedInputs({&add.getRhsMutable()});
  } else if (isa<LayerNormOp, RmsNormOp, GeluOp, ReluOp, SiluOp>(op)) {
    useQuantizedInputs({&op->getOpOperand(0)});
  }
}

void qtx::useQuantizedOperands(func::FuncOp function) {
  moveViews<SplitHeadsOp>(function);
  moveViews<MergeHeadsOp>(function);
  for (Operation &op : function.getBody().front())
    ::useQuantizedOperands(&op);
  for (auto op :
       llvm::to_vector(function.getBody().front().getOps<DequantizeOp>()))
    if (op->use_empty())
      op.erase();
}
