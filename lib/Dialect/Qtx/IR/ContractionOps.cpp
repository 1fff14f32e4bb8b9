//===- ContractionOps.cpp - Contractions ----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "OpUtils.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace qtx;

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/ContractionOps.cpp.inc"

/// Largest magnitude of the difference of a value and its zero point.
static int64_t getCenteredMagnitude(const QuantParams &params) {
  return params.getStorageMax() - params.getStorageMin();
}

/// Verifies that no segment of `segments` can overflow its int32 accumulator:
/// size * lhs * rhs products of those magnitudes (Numerics.md, "Accumulation").
static LogicalResult verifyAccumulator(Operation *op,
                                       ArrayRef<Segment> segments, int64_t lhs,
                                       int64_t rhs) {
  int64_t limit =
      std::numeric_limits<int32_t>::max() / std::max<int64_t>(lhs * rhs, 1);
  for (const Segment &segment : segments)
    if (segment.size > limit)
      return op->emitOpError()
             << "int32 accumulator may overflow: expected at most " << limit
             << " channels in a segment of the contracted axis, found "
             << segment.size;
  return success();
}

/// Groups of a contraction operand lie along its contracted or output axis.
static LogicalResult verifyLastAxis(Operation *op, const QuantEdge &edge,
                                    StringRef what) {
  std::optional<QuantParams> params = getQuantParams(op, edge);
  if (!params || params->isPerTensor() || params->getAxis() == -1)
    return success();
  return op->emitOpError() << "expected the groups of '" << what
                           << "' along axis -1, found axis "
                           << params->getAxis();
}

//===----------------------------------------------------------------------===//
// LinearOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> LinearOp::getQuantEdges() {
  return {{getX(), getXQuantAttrName(), getXScale(), getXZeroPoint()},
          {getY(), getYQuantAttrName(), getYScale(), getYZeroPoint()}};
}

/// Sizes of the weight blocks along the contracted axis; empty for one block.
static SmallVector<int64_t> getWeightBlocks(LinearOp op) {
  SmallVector<int64_t> blocks;
  if (!op.getWeightBlock())
    return blocks;
  int64_t block = *op.getWeightBlock();
  for (int64_t left = op.getContractedSize(); left > 0; left -= block)
    blocks.push_back(std::min(left, block));
  return blocks;
}

SmallVector<Segment> LinearOp::getSegments() {
  std::optional<QuantParams> params =
      getQuantParams(*this, getQuantEdges().front());
  return qtx::getSegments(getContractedSize(),
                          params ? params->getGroupSizes()
                                 : ArrayRef<int64_t>(),
                          getWeightBlocks(*this));
}

static LogicalResult verifyLinearShapes(LinearOp op) {
  auto x = op.getX().getType(), weight = op.getWeight().getType(),
       y = op.getY().getType();
  if (weight.getRank() != 2 || !weight.hasStaticShape())
    return op.emitOpError()
           << "expected a weight of static shape [N, K], found " << weight;
  if (x.getRank() < 1 || x.getShape().back() != op.getContractedSize())
    return op.emitOpError()
           << "expected the last dimension of 'x' to be "
           << op.getContractedSize()
           << ", the contracted size of the weight, found " << x;
  SmallVector<int64_t> expected(x.getShape());
  expected.back() = op.getNumOutputs();
  if (failed(verifyCompatibleShape(expected, y.getShape())) ||
      y.getShape().back() != op.getNumOutputs())
    return op.emitOpError() << "expected a result of shape "
                            << formatShape(expected) << ", found " << y;
  return success();
}

/// Shape of 'weight_scale', and its presence.
static LogicalResult verifyWeightScale(LinearOp op) {
  bool isInteger = op.getWeight().getType().getElementType().isInteger();
  if (isInteger != bool(op.getWeightScale()))
    return op.emitOpError()
           << (isInteger ? "requires a weight scale for an integer weight"
                         : "expected no weight scale for a float weight");
  if (!isInteger) {
    if (op.getWeightBlock())
      return op.emitOpError() << "expected no weight block for a float weight";
    return success();
  }
  if (op.getWeightBlock() && *op.getWeightBlock() <= 0)
    return op.emitOpError() << "expected a positive weight block, found "
                            << *op.getWeightBlock();
  ArrayRef<int64_t> shape = op.getWeightScale().getType().getShape();
  int64_t outputs = op.getNumOutputs();
  if (op.getWeightBlock()) {
    int64_t blocks =
        llvm::divideCeil(op.getContractedSize(), *op.getWeightBlock());
    if (shape == ArrayRef<int64_t>{outputs, blocks})
      return success();
    return op.emitOpError()
           << "expected weight scales of shape [" << outputs << ", " << blocks
           << "], found " << op.getWeightScale().getType();
  }
  if (shape.size() == 1 && (shape[0] == 1 || shape[0] == outputs))
    return success();
  return op.emitOpError() << "expected weight scales of shape [1] or ["
                          << outputs << "], found "
                          << op.getWeightScale().getType();
}

static LogicalResult verifyBiasAndSeed(LinearOp op, bool isQuantized) {
  if (Value bias = op.getBias()) {
    auto type = cast<RankedTensorType>(bias.getType());
    bool isVector =
        type.getRank() == 1 && type.getDimSize(0) == op.getNumOutputs();
    if (!isVector && failed(verifyCompatibleShape(
                         type.getShape(), op.getY().getType().getShape())))
      return op.emitOpError()
             << "expected a bias of shape [" << op.getNumOutputs()
             << "] or of the shape of the result, found " << type;
  }
  if (!op.getSeed())
    return success();
  if (!isQuantized)
    return op.emitOpError() << "expected no seed for a float 'x'";
  int64_t segments = op.getSegments().size();
  auto type = cast<RankedTensorType>(op.getSeed().getType());
  if (type.getShape() != ArrayRef<int64_t>{segments, op.getNumOutputs()})
    return op.emitOpError() << "expected a seed of shape [" << segments << ", "
                            << op.getNumOutputs() << "], found " << type;
  return success();
}

LogicalResult LinearOp::verify() {
  QuantEdge x = getQuantEdges()[0], y = getQuantEdges()[1];
  if (failed(verifyLinearShapes(*this)) ||
      failed(verifyFloatOrQuantized(*this, x, "x")) ||
      failed(verifyFloatOrQuantized(*this, y, "y")) ||
      failed(verifyLastAxis(*this, x, "x")) ||
      failed(verifyLastAxis(*this, y, "y")) || failed(verifyWeightScale(*this)))
    return failure();
  std::optional<QuantParams> params = getQuantParams(*this, x);
  if (failed(verifyBiasAndSeed(*this, params.has_value())))
    return failure();
  if (!params)
    return success();
  Type weightType = getWeight().getType().getElementType();
  if (!weightType.isInteger())
    return emitOpError() << "expected an integer weight for a quantized 'x', "
                            "found "
                         << weightType;
  auto [min, max] = getIntegerRange(weightType.getIntOrFloatBitWidth(), true);
  return verifyAccumulator(*this, getSegments(), getCenteredMagnitude(*params),
                           -min);
}

LogicalResult
LinearOp::reifyResultShapes(OpBuilder &builder,
                            ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, getLoc(), getX());
  sizes.back() = builder.getIndexAttr(getNumOutputs());
  reified.push_back(std::move(sizes));
  return success();
}
