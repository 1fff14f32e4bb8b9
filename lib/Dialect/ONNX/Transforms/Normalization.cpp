//===- Normalization.cpp - Finding normalizations -------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Recognizer.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

namespace {
/// A normalization of the last axis, without factor and shift.
struct Normalized {
  Value x;
  double epsilon;
  bool isCentered;
};
} // namespace

/// Whether `value` is the mean of `x` along the last axis; if so x.
static Value getMeanOf(Value value) {
  NodeOp mean = getNode(value, "ReduceMean");
  if (!mean || mean.getIntAttr("keepdims", 1) == 0)
    return {};
  Value x = mean.getInputs()[0];
  auto axes = getAxes(mean, getRank(x));
  bool isLast = axes && axes->size() == 1 && axes->front() == getRank(x) - 1;
  return isLast ? strip(x) : Value();
}

/// x of `x - mean(x)`.
static Value getCenteredOf(Value value) {
  NodeOp difference = getNode(value, "Sub");
  if (!difference)
    return {};
  Value x = strip(difference.getInputs()[0]);
  return getMeanOf(difference.getInputs()[1]) == x ? x : Value();
}

/// Whether both are the same value, or both `x - mean(x)` of the same x.
static bool isSame(Value lhs, Value rhs) {
  if (strip(lhs) == strip(rhs))
    return true;
  Value x = getCenteredOf(lhs);
  return x && getCenteredOf(rhs) == x;
}

/// v of `v * v` or `v^2`.
static Value getSquareRoot(Value value) {
  if (NodeOp power = getNode(value, "Pow"))
    return isScalar(power.getInputs()[1], 2) ? power.getInputs()[0] : Value();
  NodeOp product = getNode(value, "Mul");
  return product && isSame(product.getInputs()[0], product.getInputs()[1])
             ? product.getInputs()[0]
             : Value();
}

/// v and epsilon of `sqrt(v + epsilon)`, also as a power of `exponent`.
static std::optional<ScalarAndValue> getRoot(Value value, double exponent) {
  NodeOp root = getNode(value);
  if (!root)
    return std::nullopt;
  bool isRoot = (root.is("Sqrt") && exponent == 0.5) ||
                (root.is("Pow") && isScalar(root.getInputs()[1], exponent));
  NodeOp sum = isRoot ? getNode(root.getInputs()[0], "Add") : NodeOp();
  return sum ? getScalarOperand(sum) : std::nullopt;
}

/// The reciprocal that `value` multiplies by: d of `1 / d`.
static Value getReciprocalOf(Value value) {
  if (NodeOp reciprocal = getNode(value, "Reciprocal"))
    return reciprocal.getInputs()[0];
  NodeOp quotient = getNode(value, "Div");
  return quotient && isScalar(quotient.getInputs()[0], 1)
             ? quotient.getInputs()[1]
             : Value();
}

/// v and epsilon of `1 / sqrt(v + epsilon)`.
static std::optional<ScalarAndValue> getReciprocalRoot(Value value) {
  if (Value root = getReciprocalOf(value))
    return getRoot(root, 0.5);
  return getRoot(value, -0.5);
}

/// `value` over the root of `variance`, if that is its own.
static std::optional<Normalized> getNormalized(Value value,
                                               const ScalarAndValue &variance) {
  NodeOp mean = getNode(variance.value, "ReduceMean");
  Value square = mean ? getMeanOf(variance.value) : Value();
  Value root = square ? getSquareRoot(square) : Value();
  if (!root || !isSame(root, value))
    return std::nullopt;
  if (Value x = getCenteredOf(value))
    return Normalized{x, variance.scalar, /*isCentered=*/true};
  return Normalized{strip(value), variance.scalar, /*isCentered=*/false};
}

/// The formula that `node` ends, factor and shift aside.
static std::optional<Normalized> getNormalized(NodeOp node) {
  if (node.is("Div")) {
    auto variance = getRoot(node.getInputs()[1], 0.5);
    return variance ? getNormalized(node.getInputs()[0], *variance)
                    : std::nullopt;
  }
  if (!node.is("Mul"))
    return std::nullopt;
  for (unsigned index : {1, 0})
    if (auto variance = getReciprocalRoot(node.getInputs()[index]))
      return getNormalized(node.getInputs()[1 - index], *variance);
  return std::nullopt;
}

/// The only user of `value` if it is `op` with a constant vector of the last
/// axis.
static std::pair<NodeOp, Value> getVectorUser(Value value, StringRef op) {
  NodeOp user = getOnlyUser(value);
  if (!user || !user.is(op) || !haveSameDims(value, user.getOutputs()[0]))
    return {};
  for (unsigned index : {0, 1})
    if (strip(user.getInputs()[index]) != strip(value) &&
        ConstantView::get(strip(user.getInputs()[index])))
      return {user, user.getInputs()[index]};
  return {};
}

/// Which operator of ONNX or of its runtime's domain normalizes the last axis.
static bool isWholeLayerNorm(NodeOp node) {
  return node.is("LayerNormalization");
}
static bool isWholeRmsNorm(NodeOp node) {
  return node.is("RMSNormalization") ||
         node.getOpType() == "SimplifiedLayerNormalization";
}

static Value createNorm(OpBuilder &builder, Location loc, bool isCentered,
                        Value x, Value gamma, Value beta, double epsilon) {
  FloatAttr epsilonAttr = builder.getF32FloatAttr(epsilon);
  Value none;
  if (isCentered)
    return LayerNormOp::create(builder, loc, x.getType(), x, none, none, gamma,
                               beta, none, none, epsilonAttr, TypeAttr(),
                               TypeAttr())
        .getY();
  return RmsNormOp::create(builder, loc, x.getType(), x, none, none, gamma,
                           none, none, epsilonAttr, TypeAttr(), TypeAttr())
      .getY();
}

/// Why a whole operator is not one of the last axis; null if it is.
static const char *getObstacle(NodeOp node) {
  Value x = node.getInputs()[0];
  if (!isF32(x) || getRank(x) == 0)
    return "its input is not a tensor of f32";
  if (getAxis(node, -1, getRank(x)) != getRank(x) - 1)
    return "it normalizes more than the last axis";
  for (Value output : node.getOutputs().drop_front())
    if (!output.use_empty())
      return "its statistics are used";
  return nullptr;
}

bool Recognizer::recognizeWholeNorm(NodeOp node) {
  bool isCentered = isWholeLayerNorm(node);
  if (const char *obstacle = getObstacle(node)) {
    obstacles[node] = obstacle;
    return false;
  }
  Value x = getRows(node.getInputs()[0]);
  int64_t size = cast<RankedTensorType>(x.getType()).getShape().back();
  Value scale = node.getOptionalInput(1), shift = node.getOptionalInput(2);
  Value gamma = scale ? getVector(scale, size) : Value();
  Value beta = shift ? getVector(shift, size) : Value();
  if ((scale && !gamma) || (shift && !beta)) {
    obstacles[node] = "its scale or shift is not a constant vector";
    return false;
  }
  replaceRows(node.getOutputs()[0],
              createNorm(builder, node.getLoc(), isCentered, getPlain(x), gamma,
                         beta, node.getFloatAttr("epsilon", 1e-5f)),
              x);
  passed(node.getLoc(),
         isCentered ? "found qtx.layer_norm" : "found qtx.rms_norm");
  return true;
}

bool Recognizer::recognizeNormalization(NodeOp node) {
  if (isWholeLayerNorm(node) || isWholeRmsNorm(node))
    return recognizeWholeNorm(node);
  std::optional<Normalized> found = getNormalized(node);
  if (!found || !isF32(found->x))
    return false;
  int64_t size = cast<RankedTensorType>(found->x.getType()).getShape().back();
  if (ShapedType::isDynamic(size))
    return false;
  Value y = node.getOutputs()[0], gamma, beta;
  auto [product, factor] = getVectorUser(y, "Mul");
  // The factor and the shift join where they are vectors.
  if (product && (gamma = getVector(factor, size))) {
    y = product.getOutputs()[0];
    auto [sum, shift] = getVectorUser(y, "Add");
    if (sum && found->isCentered && (beta = getVector(shift, size)))
      y = sum.getOutputs()[0];
  }
  builder.setInsertionPoint(y.getDefiningOp());
  // Constants that were made above stand before this place.
  Value x = getRows(found->x);
  replaceRows(y,
              createNorm(builder, node.getLoc(), found->isCentered, getPlain(x),
                         gamma, beta, found->epsilon),
              x);
  passed(node.getLoc(), found->isCentered
                            ? "found qtx.layer_norm in its formula"
                            : "found qtx.rms_norm in its formula");
  return true;
}
