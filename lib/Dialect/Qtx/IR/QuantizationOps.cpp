//===- QuantizationOps.cpp - Quantization operations ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "OpUtils.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/SmallBitVector.h"

using namespace mlir;
using namespace qtx;

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/QuantizationOps.cpp.inc"

//===----------------------------------------------------------------------===//
// QuantizeOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> QuantizeOp::getQuantEdges() {
  return {{getY(), getYQuantAttrName(), getYScale(), getYZeroPoint()}};
}

LogicalResult QuantizeOp::verify() {
  if (failed(verifyIsQuantized(*this, getQuantEdges().front(), "result")))
    return failure();
  return verifySameShape(*this, getX().getType(), getY().getType());
}

LogicalResult
QuantizeOp::reifyResultShapes(OpBuilder &builder,
                              ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  return success();
}

//===----------------------------------------------------------------------===//
// DequantizeOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> DequantizeOp::getQuantEdges() {
  return {{getX(), getXQuantAttrName(), getXScale(), getXZeroPoint()}};
}

LogicalResult DequantizeOp::verify() {
  if (failed(verifyIsQuantized(*this, getQuantEdges().front(), "operand")))
    return failure();
  return verifySameShape(*this, getX().getType(), getY().getType());
}

LogicalResult
DequantizeOp::reifyResultShapes(OpBuilder &builder,
                                ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  return success();
}

//===----------------------------------------------------------------------===//
// RequantizeOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> RequantizeOp::getQuantEdges() {
  return {{getX(), getXQuantAttrName(), getXScale(), getXZeroPoint()},
          {getY(), getYQuantAttrName(), getYScale(), getYZeroPoint()}};
}

LogicalResult RequantizeOp::verify() {
  SmallVector<QuantEdge> edges = getQuantEdges();
  if (failed(verifyIsQuantized(*this, edges[0], "operand")) ||
      failed(verifyIsQuantized(*this, edges[1], "result")))
    return failure();
  return verifySameShape(*this, getX().getType(), getY().getType());
}

LogicalResult
RequantizeOp::reifyResultShapes(OpBuilder &builder,
                                ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  return success();
}

//===----------------------------------------------------------------------===//
// DynamicQuantizeOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> DynamicQuantizeOp::getQuantEdges() {
  return {{getX(), getXQuantAttrName(), getXScale(), getXZeroPoint()},
          {getY(), getYQuantAttrName(), getYScale(), getYZeroPoint()}};
}

/// The parameters of the result can be found: run-time values per leading
/// position, of a storage type whose range the arithmetic covers.
static LogicalResult verifyDynamicParams(DynamicQuantizeOp op,
                                         const QuantParams &params) {
  if (!params.isDynamic() || params.getAxis() != -1)
    return op.emitOpError() << "expected a result with '?' parameters along "
                               "axis -1, found "
                            << params.getType();
  if (params.getStorageType().getWidth() > 16)
    return op.emitOpError() << "expected a storage width of at most 16 bits, "
                               "found "
                            << params.getStorageType().getWidth();
  if (op.getSymmetric() && !params.isSigned())
    return op.emitOpError()
           << "expected signed storage for symmetric parameters, found "
           << params.getType();
  if (op.getSymmetric() != !op.getYZeroPoint())
    return op.emitOpError()
           << (op.getSymmetric()
                   ? "expected no zero-point result for symmetric parameters"
                   : "requires a zero-point result unless 'symmetric'");
  return success();
}

LogicalResult DynamicQuantizeOp::verify() {
  SmallVector<QuantEdge> edges = getQuantEdges();
  if (failed(verifyFloatOrQuantized(*this, edges[0], "x")) ||
      failed(verifyIsQuantized(*this, edges[1], "result")) ||
      failed(verifyDynamicParams(*this, *getQuantParams(*this, edges[1]))) ||
      failed(verifySameShape(*this, getX().getType(), getY().getType())))
    return failure();
  // The interface has verified the shape except for one: a vector of
  // parameters that all positions share.
  for (Value params : {Value(getYScale()), Value(getYZeroPoint())}) {
    if (!params)
      continue;
    auto type = cast<RankedTensorType>(params.getType());
    if (type.getRank() != getX().getType().getRank())
      return emitOpError() << "expected parameters with the leading dimensions "
                              "of the operand, found "
                           << type;
  }
  return success();
}

LogicalResult
DynamicQuantizeOp::reifyResultShapes(OpBuilder &builder,
                                     ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, getLoc(), getX());
  reified.push_back(sizes);
  sizes.back() = builder.getIndexAttr(getYScale().getType().getShape().back());
  reified.append(getNumResults() - 1, sizes);
  return success();
}

//===----------------------------------------------------------------------===//
// PermuteOp
//===----------------------------------------------------------------------===//

/// The integers of a resource; absent if it holds fewer or more bytes than its
/// type says, which MLIR does not verify.
template <typename AttrT>
static std::optional<SmallVector<int64_t>> getIntegers(AttrT resource) {
  auto values = resource.tryGetAsArrayRef();
  if (!values || int64_t(values->size()) != resource.getNumElements())
    return std::nullopt;
  return SmallVector<int64_t>(values->begin(), values->end());
}

std::optional<SmallVector<int64_t>> PermuteOp::getConstantIndices() {
  ElementsAttr elements = getConstantElements(getIndices());
  if (auto dense = dyn_cast_if_present<DenseElementsAttr>(elements))
    return llvm::map_to_vector(
        dense.getValues<APInt>(),
        [](const APInt &index) { return index.getSExtValue(); });
  if (auto resource =
          dyn_cast_if_present<DenseI32ResourceElementsAttr>(elements))
    return getIntegers(resource);
  if (auto resource =
          dyn_cast_if_present<DenseI64ResourceElementsAttr>(elements))
    return getIntegers(resource);
  return std::nullopt;
}

static LogicalResult verifyPermutation(Operation *op,
                                       ArrayRef<int64_t> indices) {
  llvm::SmallBitVector seen(indices.size());
  for (int64_t index : indices) {
    if (index < 0 || index >= int64_t(indices.size()))
      return op->emitOpError()
             << "expected constant indices to be a permutation, found index "
             << index << " outside [0, " << indices.size() << ")";
    if (seen.test(index))
      return op->emitOpError()
             << "expected constant indices to be a permutation, found index "
             << index << " twice";
    seen.set(index);
  }
  return success();
}

/// Every channel of the result has the parameters of its source channel.
static LogicalResult verifyStaticChannels(PermuteOp op, const QuantParams &x,
                                          const QuantParams &y,
                                          ArrayRef<int64_t> indices) {
  SmallVector<int64_t> xGroups = x.getGroupOfChannel(),
                       yGroups = y.getGroupOfChannel();
  for (auto [channel, source] : llvm::enumerate(indices)) {
    int64_t from = xGroups[source], to = yGroups[channel];
    if (x.getScale(from) != y.getScale(to) ||
        x.getZeroPoint(from) != y.getZeroPoint(to))
      return op.emitOpError()
             << "expected channel " << channel
             << " of the result to have the parameters of channel " << source
             << " of the operand";
  }
  return success();
}

/// Every group of the result takes its channels from one group of the operand.
static LogicalResult verifyDynamicChannels(PermuteOp op, const QuantParams &x,
                                           const QuantParams &y,
                                           ArrayRef<int64_t> indices) {
  SmallVector<int64_t> xGroups = x.getGroupOfChannel(),
                       yGroups = y.getGroupOfChannel();
  for (size_t channel = 1; channel < indices.size(); ++channel)
    if (yGroups[channel] == yGroups[channel - 1] &&
        xGroups[indices[channel]] != xGroups[indices[channel - 1]])
      return op.emitOpError()
             << "expected group " << yGroups[channel]
             << " of the result to take its channels from one group of the "
                "operand";
  return success();
}

/// The element types, where groups lie along the permuted axis.
static LogicalResult verifyPermutedGroups(PermuteOp op, const QuantParams &x) {
  Type yElement = op.getY().getType().getElementType();
  std::optional<QuantParams> y = QuantParams::get(yElement);
  bool isSimilar = y && y->isGrouped() && y->getAxis() == x.getAxis() &&
                   y->isDynamic() == x.isDynamic() &&
                   y->getStorageType() == x.getStorageType() &&
                   y->isSigned() == x.isSigned() &&
                   y->getNumChannels() == x.getNumChannels();
  if (!isSimilar)
    return op.emitOpError() << "expected the channels of the result to be "
                               "grouped like those of "
                            << x.getType() << ", found " << yElement;
  if (op.getX().getType().getDimSize(op.getDim()) != x.getNumChannels())
    return op.emitOpError() << "group sizes sum to " << x.getNumChannels()
                            << ", expected the size of the permuted axis";
  std::optional<SmallVector<int64_t>> indices = op.getConstantIndices();
  if (!indices)
    return op.emitOpError() << "requires constant indices for groups along the "
                               "permuted axis";
  return x.isDynamic() ? verifyDynamicChannels(op, x, *y, *indices)
                       : verifyStaticChannels(op, x, *y, *indices);
}

LogicalResult PermuteOp::verify() {
  RankedTensorType x = getX().getType(), y = getY().getType();
  if (failed(verifyAxis(*this, getAxis(), x.getRank())) ||
      failed(verifySameShape(*this, x, y)))
    return failure();
  int64_t size = x.getDimSize(getDim());
  auto indices = cast<RankedTensorType>(getIndices().getType());
  if (failed(verifyCompatibleShape({size}, indices.getShape())))
    return emitOpError() << "expected one index for each of the " << size
                         << " channels, found " << indices;
  if (std::optional<SmallVector<int64_t>> constant = getConstantIndices())
    if (failed(verifyPermutation(*this, *constant)))
      return failure();
  std::optional<QuantParams> params = QuantParams::get(x.getElementType());
  bool hasPermutedGroups =
      params && params->isGrouped() && params->getAxis() == int64_t(getAxis());
  if (hasPermutedGroups)
    return verifyPermutedGroups(*this, *params);
  if (x.getElementType() != y.getElementType())
    return emitOpError() << "expected a result of element type "
                         << x.getElementType() << ", found "
                         << y.getElementType();
  return success();
}

LogicalResult
PermuteOp::reifyResultShapes(OpBuilder &builder,
                             ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  return success();
}

//===----------------------------------------------------------------------===//
// ObserveOp
//===----------------------------------------------------------------------===//

static LogicalResult verifyMask(ObserveOp op) {
  if (!op.getMask())
    return success();
  auto mask = cast<RankedTensorType>(op.getMask().getType());
  ArrayRef<int64_t> shape = op.getX().getType().getShape();
  int64_t rank = mask.getRank();
  if (rank >= 1 && rank <= int64_t(shape.size()) &&
      succeeded(verifyCompatibleShape(mask.getShape(), shape.take_front(rank))))
    return success();
  return op.emitOpError()
         << "expected a mask with leading dimensions of the operand, found "
         << mask;
}

LogicalResult ObserveOp::verify() {
  RankedTensorType x = getX().getType();
  if (failed(verifyAxis(*this, getAxis(), x.getRank())))
    return failure();
  int64_t channels = x.getDimSize(getDim());
  if (failed(verifyCompatibleShape({channels}, getLo().getType().getShape())))
    return emitOpError() << "expected one range for each of the " << channels
                         << " channels, found " << getLo().getType();
  if (failed(verifyMask(*this)))
    return failure();
  bool isRunning = getObserver() == Observer::Running;
  if (isRunning != getMomentum().has_value())
    return emitOpError() << (isRunning
                                 ? "requires a momentum for a running observer"
                                 : "expected a momentum only for a running "
                                   "observer");
  if (isRunning) {
    float momentum = getMomentum()->convertToFloat();
    if (!(momentum >= 0.0f && momentum < 1.0f))
      return emitOpError() << "expected a momentum in [0, 1), found "
                           << momentum;
  }
  return success();
}

LogicalResult
ObserveOp::reifyResultShapes(OpBuilder &builder,
                             ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, getLoc(), getLo());
  reified.append(2, sizes);
  return success();
}
