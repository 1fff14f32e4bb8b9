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
#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace qtx;

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/ContractionOps.cpp.inc"

/// Verifies that no segment of `segments` can overflow its int32 accumulator:
/// size * lhs * rhs products of those magnitudes (Numerics.md, "Accumulation").
static LogicalResult verifyAccumulator(Operation *op,
                                       ArrayRef<Segment> segments, int64_t lhs,
                                       int64_t rhs) {
  int64_t limit = getAccumulatorLimit(lhs, rhs);
  for (const Segment &segment : segments)
    if (segment.size > limit)
      return op->emitOpError()
             << "int32 accumulator may overflow: expected at most " << limit
             << " channels in a segment of the contracted axis, found "
             << segment.size;
  return success();
}

/// More segments than this are a mistake: each is a contraction of its own in
/// the lowered code.
static constexpr int64_t kMaxSegments = int64_t(1) << 16;

/// Sums of bytes that count more often than this have no room in int32.
static constexpr int64_t kMaxMultiplier = int64_t(1) << 16;

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

/// How many times `smaller` a scale is; 0 if it is no integer multiple.
static int64_t getMultiple(float scale, float smaller) {
  float multiple = std::round(scale / smaller);
  // Multiples of decimal fractions are no multiples in fp32.
  bool isClose = std::abs(multiple * smaller - scale) <= 0x1p-21f * scale;
  return isClose && multiple <= kMaxMultiplier ? int64_t(multiple) : 0;
}

/// Groups of `params` by ascending scales.
static SmallVector<int64_t> sortByScale(const QuantParams &params) {
  auto order = llvm::to_vector(llvm::seq<int64_t>(0, params.getNumGroups()));
  llvm::sort(order, [&](int64_t a, int64_t b) {
    return std::pair(params.getScale(a), a) < std::pair(params.getScale(b), b);
  });
  return order;
}

SmallVector<int64_t> LinearOp::getJoinMultipliers() {
  QuantParams params = *getQuantParams(*this, getQuantEdges().front());
  SmallVector<int64_t> multipliers(params.getNumGroups(), 1);
  SmallVector<int64_t> order = sortByScale(params);
  for (auto [smaller, group] : llvm::zip(order, ArrayRef(order).drop_front()))
    multipliers[group] = llvm::SaturatingMultiply<uint64_t>(
        multipliers[smaller],
        getMultiple(params.getScale(group), params.getScale(smaller)));
  return multipliers;
}

static LogicalResult verifyLinearShapes(LinearOp op) {
  auto x = op.getX().getType(), weight = op.getWeight().getType(),
       y = op.getY().getType();
  if (weight.getRank() != 2 || weight.isDynamicDim(1))
    return op.emitOpError()
           << "expected a weight of shape [N, K] with a static K, found "
           << weight;
  if (x.getRank() < 1 || x.getShape().back() != op.getContractedSize())
    return op.emitOpError()
           << "expected the last dimension of 'x' to be "
           << op.getContractedSize()
           << ", the contracted size of the weight, found " << x;
  SmallVector<int64_t> expected(x.getShape());
  expected.back() = op.getNumOutputs();
  if (failed(verifyCompatibleShape(expected, y.getShape())) ||
      (y.isDynamicDim(y.getRank() - 1) && !weight.isDynamicDim(0)))
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
    if (blocks > kMaxSegments)
      return op.emitOpError() << "expected at most " << kMaxSegments
                              << " weight blocks along the contracted axis, "
                                 "found "
                              << blocks;
    if (succeeded(verifyCompatibleShape(shape, {outputs, blocks})))
      return success();
    return op.emitOpError() << "expected weight scales of shape "
                            << formatShape({outputs, blocks}) << ", found "
                            << op.getWeightScale().getType();
  }
  if (shape == ArrayRef<int64_t>{1} ||
      succeeded(verifyCompatibleShape(shape, {outputs})))
    return success();
  return op.emitOpError() << "expected weight scales of shape [1] or "
                          << formatShape({outputs}) << ", found "
                          << op.getWeightScale().getType();
}

static LogicalResult verifyBiasAndSeed(LinearOp op, bool isQuantized) {
  if (Value bias = op.getBias()) {
    auto type = cast<RankedTensorType>(bias.getType());
    if (failed(verifyCompatibleShape(type.getShape(), {op.getNumOutputs()})) &&
        failed(verifyCompatibleShape(type.getShape(),
                                     op.getY().getType().getShape())))
      return op.emitOpError()
             << "expected a bias of shape " << formatShape({op.getNumOutputs()})
             << " or of the shape of the result, found " << type;
  }
  if (!op.getSeed())
    return success();
  if (!isQuantized)
    return op.emitOpError() << "expected no seed for a float 'x'";
  int64_t segments = op.getSegments().size();
  auto type = cast<RankedTensorType>(op.getSeed().getType());
  SmallVector<int64_t> expected = {segments, op.getNumOutputs()};
  if (failed(verifyCompatibleShape(type.getShape(), expected)))
    return op.emitOpError() << "expected a seed of shape "
                            << formatShape(expected) << ", found " << type;
  return success();
}

/// The largest magnitude of an integer weight.
static int64_t getMaxWeight(LinearOp op) {
  Type type = op.getWeight().getType().getElementType();
  return -getIntegerRange(type.getIntOrFloatBitWidth(), /*isSigned=*/true)
              .first;
}

/// Why segments cannot join in int32; empty if they can. A channel counts as
/// often as its scale is a multiple of the smallest.
static std::string findJoinObstacle(LinearOp op) {
  std::string text;
  llvm::raw_string_ostream os(text);
  auto params = getQuantParams(op, op.getQuantEdges().front());
  if (!params || params->isDynamic())
    os << "expected static scales of 'x' for an integer join, found "
       << (params ? "run-time scales" : "a float 'x'");
  else if (op.getWeightBlock())
    os << "expected no weight block for an integer join, found "
       << *op.getWeightBlock();
  if (!text.empty())
    return text;
  SmallVector<int64_t> order = sortByScale(*params);
  for (auto [smaller, group] : llvm::zip(order, ArrayRef(order).drop_front()))
    if (getMultiple(params->getScale(group), params->getScale(smaller)) == 0) {
      os << "expected each scale of 'x' to be an integer multiple of the next "
            "smaller one, at most "
         << kMaxMultiplier << " times it, for an integer join, found "
         << params->getScale(group) << " and " << params->getScale(smaller);
      return text;
    }
  double channels = 0;
  SmallVector<int64_t> multipliers = op.getJoinMultipliers();
  for (const Segment &segment : op.getSegments())
    channels +=
        double(segment.size) * double(uint64_t(multipliers[segment.group]));
  int64_t limit =
      getAccumulatorLimit(getCenteredMagnitude(*params), getMaxWeight(op));
  if (channels > double(limit))
    os << "int32 accumulator may overflow: expected at most " << limit
       << " channels, each as often as its scale is a multiple of the "
          "smallest, found "
       << llvm::format("%.0f", channels);
  return text;
}

bool LinearOp::canJoinIntegers() { return findJoinObstacle(*this).empty(); }

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
  if (!params && !getIntegerJoin())
    return success();
  Type weightType = getWeight().getType().getElementType();
  if (params && !weightType.isInteger())
    return emitOpError() << "expected an integer weight for a quantized 'x', "
                            "found "
                         << weightType;
  if (!getIntegerJoin())
    return verifyAccumulator(*this, getSegments(),
                             getCenteredMagnitude(*params),
                             getMaxWeight(*this));
  std::string obstacle = findJoinObstacle(*this);
  return obstacle.empty() ? success() : emitOpError(obstacle);
}

LogicalResult
LinearOp::reifyResultShapes(OpBuilder &builder,
                            ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, getLoc(), getX());
  sizes.back() =
      tensor::getMixedSize(builder, getLoc(), getWeight(), /*dim=*/0);
  reified.push_back(std::move(sizes));
  return success();
}

//===----------------------------------------------------------------------===//
// BatchMatmulOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> BatchMatmulOp::getQuantEdges() {
  return {{getA(), getAQuantAttrName(), getAScale(), getAZeroPoint()},
          {getB(), getBQuantAttrName(), getBScale(), getBZeroPoint()},
          {getY(), getYQuantAttrName(), getYScale(), getYZeroPoint()}};
}

/// The size of an axis that counts from the last.
static int64_t getAxisSize(RankedTensorType type, int64_t axis) {
  return type.getDimSize(type.getRank() + axis);
}

int64_t BatchMatmulOp::getContractedSize() {
  int64_t size = getAxisSize(getA().getType(), -1);
  if (ShapedType::isStatic(size))
    return size;
  return getAxisSize(getB().getType(), getContractedAxisOfB());
}

/// Sizes of the groups of `edge` that lie along `axis`; empty if there are
/// none.
static SmallVector<int64_t> getGroupsAlong(Operation *op, const QuantEdge &edge,
                                           int64_t axis) {
  std::optional<QuantParams> params = getQuantParams(op, edge);
  if (!params || params->isPerTensor() || params->getAxis() != axis)
    return {};
  return SmallVector<int64_t>(params->getGroupSizes());
}

SmallVector<Segment> BatchMatmulOp::getSegments() {
  SmallVector<QuantEdge> edges = getQuantEdges();
  SmallVector<int64_t> groups = getGroupsAlong(*this, edges[0], -1);
  SmallVector<int64_t> blocks =
      getGroupsAlong(*this, edges[1], getContractedAxisOfB());
  int64_t size = getContractedSize();
  // Groups have static sizes, so without a size there is one segment.
  if (ShapedType::isDynamic(size))
    return {Segment{0, size, 0, 0}};
  return qtx::getSegments(size, groups, blocks);
}

static LogicalResult verifyBatchMatmulShapes(BatchMatmulOp op) {
  RankedTensorType a = op.getA().getType(), b = op.getB().getType();
  if (a.getRank() < 2 || a.getRank() != b.getRank())
    return op.emitOpError() << "expected operands of the same rank, at least "
                               "2, found "
                            << a << " and " << b;
  if (failed(verifyCompatibleShape(a.getShape().drop_back(2),
                                   b.getShape().drop_back(2))))
    return op.emitOpError()
           << "expected equal batch dimensions, found " << a << " and " << b;
  int64_t contractedOfA = getAxisSize(a, -1);
  int64_t contractedOfB = getAxisSize(b, op.getContractedAxisOfB());
  if (failed(verifyCompatibleShape({contractedOfA}, {contractedOfB})))
    return op.emitOpError() << "expected contracted dimensions of the same "
                               "size, found "
                            << contractedOfA << " and " << contractedOfB;
  SmallVector<int64_t> expected(a.getShape());
  expected.back() = getAxisSize(b, op.getOutputAxisOfB());
  if (failed(verifyCompatibleShape(expected, op.getY().getType().getShape())))
    return op.emitOpError()
           << "expected a result of shape " << formatShape(expected)
           << ", found " << op.getY().getType();
  return success();
}

/// Where the groups of the operands may lie.
static LogicalResult verifyBatchMatmulGroups(BatchMatmulOp op,
                                             const QuantParams &a,
                                             const QuantParams &b) {
  if (a.isGrouped() && a.getAxis() == -2)
    return op.emitOpError()
           << "expected the groups of 'a' along the contracted axis or a batch "
              "axis, found axis -2";
  if (b.isPerTensor() || b.getAxis() == op.getContractedAxisOfB())
    return success();
  for (Value params : {op.getBScale(), op.getBZeroPoint()})
    if (params && cast<ShapedType>(params.getType()).getRank() != 1)
      return op.emitOpError()
             << "expected run-time parameters of 'b' of shape ["
             << b.getNumGroups()
             << "], since its groups are not along the contracted axis, found "
             << params.getType();
  return success();
}

LogicalResult BatchMatmulOp::verify() {
  SmallVector<QuantEdge> edges = getQuantEdges();
  if (failed(verifyBatchMatmulShapes(*this)) ||
      failed(verifyFloatOrQuantized(*this, edges[0], "a")) ||
      failed(verifyFloatOrQuantized(*this, edges[1], "b")) ||
      failed(verifyFloatOrQuantized(*this, edges[2], "y")))
    return failure();
  std::optional<QuantParams> a = getQuantParams(*this, edges[0]),
                             b = getQuantParams(*this, edges[1]);
  if (a.has_value() != b.has_value())
    return emitOpError() << "expected both operands float or both quantized, "
                            "found "
                         << getA().getType() << " and " << getB().getType();
  if (!a)
    return success();
  if (failed(verifyBatchMatmulGroups(*this, *a, *b)))
    return failure();
  if (ShapedType::isDynamic(getContractedSize()))
    return success();
  return verifyAccumulator(*this, getSegments(), getCenteredMagnitude(*a),
                           getCenteredMagnitude(*b));
}

LogicalResult
BatchMatmulOp::reifyResultShapes(OpBuilder &builder,
                                 ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, getLoc(), getA());
  int64_t output = getB().getType().getRank() + getOutputAxisOfB();
  sizes.back() = tensor::getMixedSize(builder, getLoc(), getB(), output);
  reified.push_back(std::move(sizes));
  return success();
}
