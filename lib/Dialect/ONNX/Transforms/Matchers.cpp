//===- Matchers.cpp - Reading an ONNX graph backwards ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Matchers.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;
using namespace qtx::onnx;

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// What `op` is a copy of; null if it is none.
static Value getCopied(Operation *op) {
  if (auto cast = dyn_cast_or_null<UnrealizedConversionCastOp>(op))
    return cast.getInputs().size() == 1 ? cast.getInputs()[0] : Value();
  auto node = dyn_cast_or_null<NodeOp>(op);
  if (!node || node.getInputs().empty() || node.getDomain())
    return {};
  Value input = node.getInputs()[0];
  StringRef name = node.getOpType();
  if (name == "Identity" || name == "Dropout")
    return input;
  bool mayCopy = name == "Cast" || name == "Reshape" || name == "Expand" ||
                 name == "Squeeze" || name == "Unsqueeze" || name == "Flatten";
  if (!mayCopy || input.getType() != node.getOutputs()[0].getType())
    return {};
  return input;
}

Value qtx::onnx::strip(Value value) {
  while (auto result = dyn_cast_or_null<OpResult>(value)) {
    Value copied =
        result.getResultNumber() == 0 ? getCopied(result.getOwner()) : Value();
    if (!copied)
      break;
    value = copied;
  }
  return value;
}

NodeOp qtx::onnx::getNode(Value value) {
  value = strip(value);
  return value ? value.getDefiningOp<NodeOp>() : NodeOp();
}

NodeOp qtx::onnx::getNode(Value value, StringRef op) {
  NodeOp node = getNode(value);
  return node && node.is(op) ? node : NodeOp();
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

RankedTensorType qtx::onnx::getType(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.hasStaticShape() || type.getEncoding())
    return type;
  // The result of a qtx operation: nodes read it through a conversion.
  for (Operation *user : value.getUsers())
    if (auto cast = dyn_cast<UnrealizedConversionCastOp>(user))
      return mlir::cast<RankedTensorType>(cast.getResult(0).getType());
  // The conversion of a node's result.
  if (auto cast = value.getDefiningOp<UnrealizedConversionCastOp>())
    return mlir::cast<RankedTensorType>(cast.getOperand(0).getType());
  return type;
}

SmallVector<AffineExpr> qtx::onnx::getDims(Value value) {
  RankedTensorType type = onnx::getType(value);
  if (type.hasStaticShape() || type.getEncoding())
    return getDims(type);
  // Sizes that nothing is known of are equal to no other.
  SmallVector<AffineExpr> dims;
  for (int64_t size : type.getShape())
    dims.push_back(ShapedType::isDynamic(size)
                       ? AffineExpr()
                       : getAffineConstantExpr(size, type.getContext()));
  return dims;
}

int64_t qtx::onnx::getRank(Value value) {
  return cast<RankedTensorType>(value.getType()).getRank();
}

bool qtx::onnx::haveSameDims(Value lhs, Value rhs) {
  SmallVector<AffineExpr> dims = getDims(lhs);
  return !llvm::is_contained(dims, AffineExpr()) && dims == getDims(rhs);
}

bool qtx::onnx::isF32(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getElementType().isF32();
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

std::optional<double> qtx::onnx::getScalar(Value value) {
  value = strip(value);
  if (auto view = ConstantView::get(value))
    return view->getSplat();
  NodeOp node = getNode(value);
  if (!node || node.getDomain())
    return std::nullopt;
  if (node.is("Expand") || node.is("Reshape") || node.is("Unsqueeze") ||
      node.is("Squeeze") || node.is("Transpose"))
    return getScalar(node.getInputs()[0]);
  if (!node.is("ConstantOfShape"))
    return std::nullopt;
  auto attr =
      dyn_cast_or_null<DenseIntOrFPElementsAttr>(node.getNodeAttr("value"));
  if (!attr)
    return 0.0;
  if (isa<FloatType>(attr.getElementType()))
    return (*attr.value_begin<APFloat>()).convertToDouble();
  return (*attr.value_begin<APInt>()).getSExtValue();
}

bool qtx::onnx::isClose(double lhs, double rhs) {
  return std::abs(lhs - rhs) <= 1e-6 * std::max(std::abs(lhs), std::abs(rhs));
}

bool qtx::onnx::isScalar(Value value, double number) {
  std::optional<double> scalar = getScalar(value);
  return scalar && isClose(*scalar, number);
}

std::optional<ScalarAndValue> qtx::onnx::getScalarOperand(NodeOp node) {
  if (node.getInputs().size() != 2)
    return std::nullopt;
  for (unsigned index : {1, 0})
    if (std::optional<double> scalar = getScalar(node.getInputs()[index]))
      return ScalarAndValue{*scalar, node.getInputs()[1 - index]};
  return std::nullopt;
}

Scaled qtx::onnx::getScaled(Value value) {
  Scaled scaled{1, strip(value)};
  while (NodeOp node = getNode(scaled.value)) {
    bool isDivision = node.is("Div");
    if (!isDivision && !node.is("Mul"))
      break;
    std::optional<ScalarAndValue> operands = getScalarOperand(node);
    if (!operands || !haveSameDims(operands->value, node.getOutputs()[0]) ||
        (isDivision && operands->value != node.getInputs()[0]))
      break;
    scaled.factor *= isDivision ? 1 / operands->scalar : operands->scalar;
    scaled.value = strip(operands->value);
  }
  return scaled;
}

//===----------------------------------------------------------------------===//
// Polynomials
//===----------------------------------------------------------------------===//

using Polynomial = SmallVector<double, 4>;

static Polynomial add(const Polynomial &lhs, const Polynomial &rhs,
                      double factor) {
  Polynomial sum(std::max(lhs.size(), rhs.size()), 0.0);
  for (auto [index, value] : llvm::enumerate(lhs))
    sum[index] += value;
  for (auto [index, value] : llvm::enumerate(rhs))
    sum[index] += factor * value;
  return sum;
}

static std::optional<Polynomial> multiply(const Polynomial &lhs,
                                          const Polynomial &rhs) {
  if (lhs.size() + rhs.size() > 5)
    return std::nullopt;
  Polynomial product(lhs.size() + rhs.size() - 1, 0.0);
  for (size_t i = 0; i < lhs.size(); ++i)
    for (size_t j = 0; j < rhs.size(); ++j)
      product[i + j] += lhs[i] * rhs[j];
  return product;
}

static std::optional<Polynomial> raise(const Polynomial &base,
                                       const Polynomial &exponent) {
  bool isNumber = exponent.size() == 1 && exponent[0] >= 1 &&
                  exponent[0] <= 3 && exponent[0] == std::floor(exponent[0]);
  if (!isNumber)
    return std::nullopt;
  std::optional<Polynomial> power = base;
  for (int count = 1; power && count < exponent[0]; ++count)
    power = multiply(*power, base);
  return power;
}

static std::optional<Polynomial> evaluate(Value value, Value x, int depth) {
  value = strip(value);
  if (value == x)
    return Polynomial{0.0, 1.0};
  if (std::optional<double> scalar = getScalar(value))
    return Polynomial{*scalar};
  NodeOp node = getNode(value);
  if (depth == 0 || !node || node.getInputs().size() != 2)
    return std::nullopt;
  bool isArithmetic = node.is("Add") || node.is("Sub") || node.is("Mul") ||
                      node.is("Div") || node.is("Pow");
  if (!isArithmetic)
    return std::nullopt;
  auto lhs = evaluate(node.getInputs()[0], x, depth - 1);
  auto rhs = evaluate(node.getInputs()[1], x, depth - 1);
  if (!lhs || !rhs)
    return std::nullopt;
  if (node.is("Add") || node.is("Sub"))
    return add(*lhs, *rhs, node.is("Add") ? 1 : -1);
  if (node.is("Mul"))
    return multiply(*lhs, *rhs);
  if (node.is("Pow"))
    return raise(*lhs, *rhs);
  if (rhs->size() != 1 || (*rhs)[0] == 0)
    return std::nullopt;
  return multiply(*lhs, {1 / (*rhs)[0]});
}

std::optional<SmallVector<double, 4>> qtx::onnx::getPolynomial(Value value,
                                                               Value x) {
  // Deep enough for every formula that is looked for.
  constexpr int maxDepth = 8;
  return evaluate(value, strip(x), maxDepth);
}

//===----------------------------------------------------------------------===//
// Axes and shapes
//===----------------------------------------------------------------------===//

std::optional<SmallVector<int64_t>> qtx::onnx::getAxes(NodeOp node,
                                                       int64_t rank) {
  std::optional<SmallVector<int64_t>> axes = node.getIntsAttr("axes");
  if (!axes) {
    auto view = ConstantView::get(node.getOptionalInput(1));
    if (!view)
      return std::nullopt;
    axes.emplace();
    for (int64_t index = 0; index < view->getNumElements(); ++index)
      axes->push_back(view->getNumber(index));
  }
  for (int64_t &axis : *axes)
    axis += axis < 0 ? rank : 0;
  llvm::sort(*axes);
  return axes;
}

int64_t qtx::onnx::getAxis(NodeOp node, int64_t absent, int64_t rank) {
  int64_t axis = node.getIntAttr("axis", absent);
  return axis < 0 ? axis + rank : axis;
}

Value qtx::onnx::getTransposed(Value value, ArrayRef<int64_t> permutation) {
  NodeOp node = getNode(value, "Transpose");
  if (!node)
    return {};
  std::optional<SmallVector<int64_t>> perm = node.getIntsAttr("perm");
  return perm && ArrayRef<int64_t>(*perm) == permutation ? node.getInputs()[0]
                                                         : Value();
}

/// Adds the nodes that read `value` to `users`; false if something else does.
static bool collectUsers(Value value, SmallVectorImpl<NodeOp> &users) {
  for (Operation *user : value.getUsers()) {
    if (isa<UnrealizedConversionCastOp>(user)) {
      if (!collectUsers(user->getResult(0), users))
        return false;
      continue;
    }
    auto node = dyn_cast<NodeOp>(user);
    if (!node)
      return false;
    if (node->use_empty())
      continue;
    Value copied = getCopied(node);
    if (copied ? !collectUsers(node.getOutputs()[0], users) : false)
      return false;
    if (!copied)
      users.push_back(node);
  }
  return true;
}

NodeOp qtx::onnx::getOnlyUser(Value value) {
  SmallVector<NodeOp> users;
  if (!collectUsers(value, users) || users.empty() || !llvm::all_equal(users))
    return {};
  return users.front();
}

std::optional<SmallVector<int64_t>>
qtx::onnx::mapUnitReshape(ArrayRef<AffineExpr> from, ArrayRef<AffineExpr> to) {
  auto isOne = [](AffineExpr size) {
    auto constant = dyn_cast_if_present<AffineConstantExpr>(size);
    return constant && constant.getValue() == 1;
  };
  SmallVector<int64_t> places;
  size_t next = 0;
  for (AffineExpr size : from) {
    if (isOne(size)) {
      places.push_back(-1);
      continue;
    }
    while (next < to.size() && isOne(to[next]))
      ++next;
    if (next == to.size() || !size || to[next] != size)
      return std::nullopt;
    places.push_back(next++);
  }
  while (next < to.size() && isOne(to[next]))
    ++next;
  if (next != to.size())
    return std::nullopt;
  return places;
}
