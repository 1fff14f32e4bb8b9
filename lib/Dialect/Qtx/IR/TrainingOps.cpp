//===- TrainingOps.cpp - Training operations ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/TrainingOps.h"
#include "OpUtils.h"
#include "mlir/IR/Builders.h"
#include <cmath>

using namespace mlir;
using namespace qtx;

static Type getElementType(MLIRContext *context, StringRef name) {
  if (name == "f32")
    return Float32Type::get(context);
  unsigned width = 0;
  name.drop_front().getAsInteger(10, width);
  return IntegerType::get(context, width);
}

Type qtx::getTypeLike(Type type, StringRef elementType) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return type;
  return tensor.clone(getElementType(type.getContext(), elementType));
}

Type qtx::getScalarTypeLike(Type type, StringRef elementType) {
  return RankedTensorType::get({},
                               getElementType(type.getContext(), elementType));
}

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/TrainingOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Grids
//===----------------------------------------------------------------------===//

std::pair<int64_t, int64_t> qtx::getGridRange(Grid grid, int64_t bits) {
  return getIntegerRange(bits, grid == Grid::Signed);
}

std::optional<int64_t> qtx::getChannelDim(std::optional<int64_t> axis,
                                          int64_t rank) {
  if (!axis)
    return std::nullopt;
  return *axis < 0 ? *axis + rank : *axis;
}

/// The elements of a constant f32 tensor, one for a splat; absent where it is
/// not a constant.
static std::optional<SmallVector<float>> getConstantFloats(Value value) {
  auto attr =
      dyn_cast_if_present<DenseFPElementsAttr>(getConstantElements(value));
  if (!attr || !attr.getElementType().isF32())
    return std::nullopt;
  if (attr.isSplat())
    return SmallVector<float>{attr.getSplatValue<float>()};
  return llvm::to_vector(attr.getValues<float>());
}

template <typename OpT> static LogicalResult verifyGrid(OpT op) {
  int64_t bits = op.getBits();
  if (bits < 2 || bits > 16)
    return op.emitOpError()
           << "expected a grid of 2 to 16 bits, found " << bits;
  return success();
}

/// `scale` has one element, or one for each channel of `axis`.
template <typename OpT> static LogicalResult verifyScale(OpT op) {
  auto x = cast<ShapedType>(op.getX().getType());
  auto scale = cast<ShapedType>(op.getScale().getType());
  std::optional<int64_t> axis = op.getAxis();
  int64_t rank = x.getRank(), expected = 1;
  if (axis) {
    if (*axis < -rank || *axis >= rank)
      return op.emitOpError()
             << "axis " << *axis << " is out of range for a tensor of rank "
             << rank;
    expected = x.getDimSize(*getChannelDim(axis, rank));
  }
  if (scale.getDimSize(0) != expected)
    return op.emitOpError()
           << "expected a scale of shape ["
           << (ShapedType::isDynamic(expected) ? "?"
                                               : llvm::Twine(expected).str())
           << "], found " << scale;
  if (std::optional<SmallVector<float>> values =
          getConstantFloats(op.getScale()))
    for (float value : *values)
      if (!(value > 0) || !std::isfinite(value))
        return op.emitOpError()
               << "expected positive and finite scales, found " << value;
  return success();
}

template <typename OpT> static LogicalResult verifyFrozen(OpT op) {
  if (bool(op.getFrozen()) != bool(op.getFrozenInt()))
    return op.emitOpError()
           << "expected 'frozen' and 'frozen_int' together, found one of them";
  return success();
}

//===----------------------------------------------------------------------===//
// FakeQuantizeOp and FakeQuantizeBackwardOp
//===----------------------------------------------------------------------===//

template <typename OpT> static LogicalResult verifySurrogate(OpT op) {
  std::optional<APFloat> parameter = op.getSurrogateParameter();
  if (!parameter)
    return success();
  Surrogate surrogate = op.getSurrogate();
  if (surrogate != Surrogate::Ewgs && surrogate != Surrogate::StackedSigmoid)
    return op.emitOpError() << "expected no parameter for the surrogate '"
                            << stringifySurrogate(surrogate) << "'";
  float value = parameter->convertToFloat();
  bool isValid = std::isfinite(value) && value >= 0 &&
                 (value > 0 || surrogate == Surrogate::Ewgs);
  if (!isValid)
    return op.emitOpError()
           << "expected a "
           << (surrogate == Surrogate::Ewgs ? "non-negative" : "positive")
           << " and finite parameter of the surrogate, found " << value;
  return success();
}

template <typename OpT> static LogicalResult verifyFakeQuantizer(OpT op) {
  if (failed(verifyGrid(op)) || failed(verifyScale(op)) ||
      failed(verifyFrozen(op)) || failed(verifySurrogate(op)))
    return failure();
  bool isAsymmetric = op.getGrid() == Grid::Asymmetric;
  if (isAsymmetric == bool(op.getZeroPoint()))
    return success();
  if (isAsymmetric)
    return op.emitOpError() << "requires a zero point for the asymmetric grid";
  return op.emitOpError() << "expected no zero point for the "
                          << stringifyGrid(op.getGrid()) << " grid";
}

LogicalResult FakeQuantizeOp::verify() { return verifyFakeQuantizer(*this); }

LogicalResult
FakeQuantizeOp::reifyResultShapes(OpBuilder &builder,
                                  ReifiedRankedShapedTypeDims &reified) {
  reified.assign(2, tensor::getMixedSizes(builder, getLoc(), getX()));
  return success();
}

LogicalResult FakeQuantizeBackwardOp::verify() {
  return verifyFakeQuantizer(*this);
}

LogicalResult FakeQuantizeBackwardOp::inferReturnTypes(
    MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
    SmallVectorImpl<Type> &inferred) {
  inferred.push_back(adaptor.getX().getType());
  inferred.push_back(adaptor.getScale().getType());
  if (adaptor.getZeroPoint())
    inferred.push_back(adaptor.getScale().getType());
  return success();
}

LogicalResult FakeQuantizeBackwardOp::reifyResultShapes(
    OpBuilder &builder, ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  reified.append(getNumResults() - 1,
                 tensor::getMixedSizes(builder, getLoc(), getScale()));
  return success();
}

//===----------------------------------------------------------------------===//
// OscillationUpdateOp
//===----------------------------------------------------------------------===//

LogicalResult OscillationUpdateOp::verify() {
  std::optional<SmallVector<float>> momentum = getConstantFloats(getMomentum());
  if (momentum && !(momentum->front() >= 0 && momentum->front() <= 1))
    return emitOpError() << "expected a momentum in [0, 1], found "
                         << momentum->front();
  std::optional<SmallVector<float>> threshold =
      getConstantFloats(getThreshold());
  if (threshold && !(threshold->front() >= 0))
    return emitOpError() << "expected a threshold that is not negative, found "
                         << threshold->front();
  return success();
}

LogicalResult
OscillationUpdateOp::reifyResultShapes(OpBuilder &builder,
                                       ReifiedRankedShapedTypeDims &reified) {
  reified.assign(8, tensor::getMixedSizes(builder, getLoc(), getCodes()));
  reified.append(2, SmallVector<OpFoldResult>());
  return success();
}

//===----------------------------------------------------------------------===//
// DampeningLossOp and DampeningLossBackwardOp
//===----------------------------------------------------------------------===//

template <typename OpT> static LogicalResult verifyDampening(OpT op) {
  if (failed(verifyGrid(op)) || failed(verifyScale(op)) ||
      failed(verifyFrozen(op)))
    return failure();
  if (op.getGrid() == Grid::Asymmetric)
    return op.emitOpError()
           << "expected a signed or unsigned grid, found an asymmetric one";
  if (cast<ShapedType>(op.getX().getType()).getRank() < 1)
    return op.emitOpError()
           << "expected 'x' of rank 1 or more, found " << op.getX().getType();
  return success();
}

LogicalResult DampeningLossOp::verify() { return verifyDampening(*this); }

LogicalResult
DampeningLossOp::reifyResultShapes(OpBuilder &builder,
                                   ReifiedRankedShapedTypeDims &reified) {
  reified.emplace_back();
  return success();
}

LogicalResult DampeningLossBackwardOp::verify() {
  return verifyDampening(*this);
}

LogicalResult DampeningLossBackwardOp::reifyResultShapes(
    OpBuilder &builder, ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getScale()));
  return success();
}

//===----------------------------------------------------------------------===//
// CosineScheduleOp
//===----------------------------------------------------------------------===//

LogicalResult CosineScheduleOp::verify() {
  if (int64_t(getSteps()) <= 0)
    return emitOpError() << "expected a positive number of steps, found "
                         << int64_t(getSteps());
  float start = getAnnealStart().convertToFloat();
  if (!(start >= 0 && start < 1))
    return emitOpError() << "expected 'anneal_start' in [0, 1), found "
                         << start;
  if (!getStart().isFinite() || !getEnd().isFinite())
    return emitOpError() << "expected finite bounds of the schedule, found "
                         << getStart().convertToFloat() << " and "
                         << getEnd().convertToFloat();
  return success();
}

LogicalResult
CosineScheduleOp::reifyResultShapes(OpBuilder &builder,
                                    ReifiedRankedShapedTypeDims &reified) {
  reified.emplace_back();
  return success();
}

//===----------------------------------------------------------------------===//
// ClippedSoftmaxBackwardOp
//===----------------------------------------------------------------------===//

LogicalResult ClippedSoftmaxBackwardOp::verify() {
  if (getP().getType().getRank() < 1)
    return emitOpError() << "expected 'p' of rank 1 or more, found "
                         << getP().getType();
  return verifyClip(*this, getGamma(), getZeta());
}

LogicalResult ClippedSoftmaxBackwardOp::reifyResultShapes(
    OpBuilder &builder, ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getP()));
  return success();
}
