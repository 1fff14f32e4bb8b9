//===- InsertQuantizers.cpp - Edges through quantizers --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Dialect/Qtx/Transforms/ConstantUtils.h"
#include "LinearNumbers.h"
#include "Quantizer.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"

using namespace mlir;
using namespace qtx;

static Value createIndices(OpBuilder &builder, Location loc,
                           ArrayRef<int64_t> values) {
  auto type =
      RankedTensorType::get({int64_t(values.size())}, builder.getI32Type());
  return ConstantTensor::create(type, values).materialize(builder, loc);
}

/// The value in quantized form and back.
Value Quantizer::quantize(OpBuilder &builder, Edge &edge, Value value) {
  Location loc = edge.value.getLoc();
  auto type = cast<RankedTensorType>(value.getType());
  auto stored = type.clone(edge.elementType);
  if (!edge.recipe.isDynamic) {
    auto quantize = QuantizeOp::create(builder, loc, stored, value, Value(),
                                       Value(), TypeAttr());
    return DequantizeOp::create(builder, loc, type, quantize.getY(), Value(),
                                Value(), TypeAttr());
  }
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = edge.groups.sizes.size();
  auto scales = RankedTensorType::get(shape, builder.getF32Type());
  auto zeroPoints = RankedTensorType::get(shape, builder.getI32Type());
  auto quantize = DynamicQuantizeOp::create(
      builder, loc, TypeRange{stored, scales, zeroPoints}, value, Value(),
      Value(), TypeAttr(), UnitAttr(), TypeAttr());
  return DequantizeOp::create(builder, loc, type, quantize.getY(),
                              quantize.getYScale(), quantize.getYZeroPoint(),
                              TypeAttr());
}

static SmallVector<int64_t> invert(ArrayRef<int64_t> order) {
  SmallVector<int64_t> inverse(order.size());
  for (auto [position, channel] : llvm::enumerate(order))
    inverse[channel] = position;
  return inverse;
}

static Value permute(OpBuilder &builder, Location loc, Value value,
                     ArrayRef<int64_t> order) {
  return PermuteOp::create(builder, loc, value.getType(), value,
                           createIndices(builder, loc, order),
                           builder.getI64IntegerAttr(-1));
}

void Quantizer::insert(Edge &edge) {
  Location loc = edge.value.getLoc();
  OpBuilder builder(function.getContext());
  builder.setInsertionPointAfterValue(edge.value);
  Value value = edge.value;
  if (edge.scaling) {
    std::vector<float> gain, shift;
    for (auto [scale, middle] :
         llvm::zip_equal(edge.scaling->scale, edge.scaling->shift)) {
      gain.push_back(1 / scale);
      shift.push_back(-middle / scale);
    }
    int64_t size = gain.size();
    Value gains = createFloats(builder, loc, {size}, gain);
    Value shifts = createFloats(builder, loc, {size}, shift);
    value = ScaleShiftOp::create(builder, loc, value.getType(), value, Value(),
                                 Value(), gains, shifts, Value(), Value(),
                                 TypeAttr(), TypeAttr());
  }
  if (!edge.groups.isIdentity())
    value = permute(builder, loc, value, edge.groups.order);
  edge.exact = value;
  edge.approximate = quantize(builder, edge, value);
  Value restored;
  for (OpOperand *use : edge.uses) {
    if (edge.feedsLinearsOnly) {
      use->set(edge.approximate);
      adjust(cast<LinearOp>(use->getOwner()), edge);
      continue;
    }
    if (!restored)
      restored = restore(builder, edge);
    use->set(restored);
  }
}

/// Where a stream that has an order ends, channels return to their places: this
/// lets all of the stream be stored in its order. The inverse pair vanishes if
/// that is not possible.
void Quantizer::endStreams() {
  SmallVector<OpOperand *> uses;
  for (Operation &op : function.getBody().front())
    if (!isa_and_present<QtxDialect>(op.getDialect()) &&
        !isa<tensor::DimOp>(op))
      for (OpOperand &use : op.getOpOperands())
        uses.push_back(&use);
  DenseMap<Value, Value> restored;
  for (OpOperand *use : uses) {
    Value value = use->get();
    auto leader = streams.findLeader(value.getAsOpaquePointer());
    auto order = leader == streams.member_end() ? streamOrders.end()
                                                : streamOrders.find(*leader);
    if (order == streamOrders.end())
      continue;
    Value &target = restored[value];
    if (!target) {
      OpBuilder builder(function.getContext());
      builder.setInsertionPointAfterValue(value);
      Location loc = value.getLoc();
      target =
          permute(builder, loc, permute(builder, loc, value, order->second),
                  invert(order->second));
    }
    use->set(target);
  }
}

/// The channels of a dequantized edge in their own order.
Value Quantizer::restore(OpBuilder &builder, const Edge &edge) {
  if (edge.groups.isIdentity())
    return edge.approximate;
  return permute(builder, edge.value.getLoc(), edge.approximate,
                 invert(edge.groups.order));
}

/// Lets the weights and bias of `op` take in the order and scale of its input.
void Quantizer::adjust(LinearOp op, const Edge &edge) {
  if (!edge.scaling && edge.groups.isIdentity())
    return;
  LinearNumbers numbers(op);
  std::vector<float> source = numbers.weights;
  for (int64_t row = 0; row < numbers.rows; ++row) {
    ArrayRef<float> from =
        ArrayRef(source).slice(row * numbers.columns, numbers.columns);
    double shift = 0;
    for (int64_t i = 0; i < numbers.columns; ++i) {
      int64_t channel = edge.groups.order[i];
      float scale = edge.scaling ? edge.scaling->scale[channel] : 1;
      numbers.weights[row * numbers.columns + i] = from[channel] * scale;
      if (edge.scaling)
        shift += double(from[channel]) * edge.scaling->shift[channel];
    }
    numbers.bias[row] = float(numbers.bias[row] + shift);
  }
  adjustedWeights[op] = numbers.storeWeights(op);
  if (edge.scaling)
    numbers.storeBias(op);
}

/// Probabilities beside quantized values: their range is known. The normaliser
/// is applied behind the product, unless clipping needs it before.
void Quantizer::quantizeProbabilities() {
  Type type = makeType(function.getContext(), {}, {{1.0f / 255, -128}});
  for (auto op : function.getBody().front().getOps<AttentionOp>()) {
    auto isQuantized = [](Value value) {
      if (auto split = value.getDefiningOp<SplitHeadsOp>())
        value = split.getX();
      return value.getDefiningOp<DequantizeOp>() != nullptr;
    };
    if (!isQuantized(op.getValue()) || op.getProbsQuant())
      continue;
    op.setProbsQuantAttr(TypeAttr::get(type));
    bool isClipped = !op.getGamma().isZero() || !op.getZeta().isExactlyValue(1);
    op.setUnnormalised(!isClipped);
  }
}
