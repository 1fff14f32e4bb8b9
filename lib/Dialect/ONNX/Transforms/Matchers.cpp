//===- Matchers.cpp - Reading an ONNX graph backwards ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Matchers.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/TypeUtilities.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

//===----------------------------------------------------------------------===//
// Well-formed nodes
//===----------------------------------------------------------------------===//

/// Whether the sizes of `type` are all constants or expressions.
static bool hasSizes(RankedTensorType type) {
  if (!type.getEncoding())
    return type.hasStaticShape();
  auto map = dyn_cast<AffineMapAttr>(type.getEncoding());
  if (!map || map.getValue().getNumDims() != 0 ||
      map.getValue().getNumResults() != type.getRank())
    return false;
  return llvm::all_of(
      llvm::zip_equal(type.getShape(), map.getValue().getResults()),
      [](auto pair) {
        auto [size, expr] = pair;
        auto constant = dyn_cast<AffineConstantExpr>(expr);
        return constant ? constant.getValue() == size
                        : ShapedType::isDynamic(size);
      });
}

static bool isTensorOrNone(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? hasSizes(tensor) : isa<NoneType>(type);
}

/// How many inputs must be there, of the operators that patterns look at.
static unsigned getNumRequired(StringRef op) {
  return llvm::StringSwitch<unsigned>(op)
      .Cases({"ConstantOfShape", "Sizes"}, 0)
      .Cases({"Where", "Attention"}, 3)
      .Cases({"Add", "Sub", "Mul", "Div", "Pow", "And", "Or"}, 2)
      .Cases({"BitwiseAnd", "BitwiseOr", "Max", "Min", "MatMul", "Gemm"}, 2)
      .Cases({"Conv", "Gather", "GatherND", "Range", "Equal", "Less"}, 2)
      .Cases({"LessOrEqual", "Greater", "GreaterOrEqual"}, 2)
      .Default(1);
}

/// Operators whose result is at least of the rank of each input.
static bool isBroadcast(StringRef op) {
  return llvm::StringSwitch<bool>(op)
      .Cases({"Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Not"}, true)
      .Cases({"BitwiseAnd", "BitwiseOr", "Max", "Min", "Equal"}, true)
      .Cases({"Less", "LessOrEqual", "Greater", "GreaterOrEqual"}, true)
      .Cases({"Where", "Cast", "Expand", "Softmax", "Clip"}, true)
      .Default(false);
}

static bool isPermutation(NodeOp node, int64_t rank) {
  std::optional<SmallVector<int64_t>> perm = node.getIntsAttr("perm");
  if (!perm)
    return false;
  llvm::sort(*perm);
  return llvm::equal(*perm, llvm::seq<int64_t>(0, rank));
}

/// Whether the ranks of inputs and of the result fit together, of the operators
/// whose coordinates or dimensions patterns compute with.
static bool haveFittingRanks(NodeOp node) {
  if (node.getInputs().empty() || node.getOutputs().empty() ||
      isa<NoneType>(node.getOutputs()[0].getType()))
    return true;
  StringRef op = node.getOpType();
  int64_t rank = getRank(node.getOutputs()[0]);
  if (isBroadcast(op))
    return llvm::all_of(node.getInputs(), [&](Value input) {
      return isa<NoneType>(input.getType()) || getRank(input) <= rank;
    });
  int64_t first = getRank(node.getInputs()[0]);
  if (op == "Transpose")
    return first == rank && isPermutation(node, rank);
  if (op == "Slice") {
    auto axes = node.getIntsAttr("axes"), steps = node.getIntsAttr("steps");
    return first == rank && axes && (!steps || steps->size() == axes->size()) &&
           llvm::all_of(*axes,
                        [&](int64_t axis) { return axis >= 0 && axis < rank; });
  }
  if (op == "Gather")
    return rank == first - 1 + getRank(node.getInputs()[1]);
  if (op == "GatherND")
    return getRank(node.getInputs()[1]) > 0;
  if (op == "Conv")
    return llvm::all_of(node.getInputs().take_front(2),
                        [&](Value input) { return getRank(input) == rank; });
  return true;
}

bool qtx::onnx::isWellFormed(NodeOp node) {
  unsigned required = getNumRequired(node.getOpType());
  if (node.getOutputs().empty() || node.getInputs().size() < required)
    return false;
  bool haveRequired =
      llvm::none_of(node.getInputs().take_front(required),
                    [](Value input) { return isa<NoneType>(input.getType()); });
  return haveRequired && isa<RankedTensorType>(node.getResultTypes()[0]) &&
         llvm::all_of(node->getOperandTypes(), isTensorOrNone) &&
         llvm::all_of(node->getResultTypes(), isTensorOrNone) &&
         haveFittingRanks(node);
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// The tensor that `cast` gives or takes symbolic sizes; null if it does
/// anything else.
static Value getConverted(UnrealizedConversionCastOp cast) {
  if (cast.getInputs().size() != 1 || cast.getNumResults() != 1)
    return {};
  auto from = dyn_cast<RankedTensorType>(cast.getInputs()[0].getType());
  auto to = dyn_cast<RankedTensorType>(cast.getResult(0).getType());
  bool isConversion = from && to && dropDims(from) == dropDims(to) &&
                      (hasSizes(from) || hasSizes(to));
  return isConversion ? cast.getInputs()[0] : Value();
}

/// What `op` is a copy of; null if it is none.
static Value getCopied(Operation *op) {
  if (auto cast = dyn_cast_or_null<UnrealizedConversionCastOp>(op))
    return getConverted(cast);
  auto node = dyn_cast_or_null<NodeOp>(op);
  if (!node || node.getDomain() || !isWellFormed(node))
    return {};
  Value input = node.getInputs().empty() ? Value() : node.getInputs()[0];
  StringRef name = node.getOpType();
  // A reshape there and back.
  if (name == "Reshape")
    if (auto first = input.getDefiningOp<NodeOp>();
        first && first.is("Reshape") && isWellFormed(first) &&
        first.getInputs()[0].getType() == node.getOutputs()[0].getType())
      return first.getInputs()[0];
  bool mayCopy = name == "Identity" || name == "Dropout" || name == "Cast" ||
                 name == "Reshape" || name == "Expand";
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
  auto node = value ? value.getDefiningOp<NodeOp>() : NodeOp();
  // Patterns read the first result of what they look through.
  return node && value == node.getOutputs()[0] && isWellFormed(node) ? node
                                                                     : NodeOp();
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
    if (auto cast = dyn_cast<UnrealizedConversionCastOp>(user);
        cast && getConverted(cast))
      return mlir::cast<RankedTensorType>(cast.getResult(0).getType());
  // The conversion of a node's result.
  if (auto cast = value.getDefiningOp<UnrealizedConversionCastOp>())
    if (Value converted = getConverted(cast))
      return mlir::cast<RankedTensorType>(converted.getType());
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
    return node.getNodeAttr("value") ? std::nullopt : std::optional(0.0);
  if (attr.getNumElements() != 1 || isa<ComplexType>(attr.getElementType()))
    return std::nullopt;
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
    if (!view || view->getNumElements() > rank)
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

std::optional<Requantized> qtx::onnx::getRequantized(Value value) {
  auto dequantize = strip(value).getDefiningOp<DequantizeOp>();
  auto quantize =
      dequantize ? dequantize.getX().getDefiningOp<QuantizeOp>() : nullptr;
  auto type = quantize ? dyn_cast<quant::UniformQuantizedType>(
                             getElementTypeOrSelf(quantize.getY().getType()))
                       : nullptr;
  if (!type)
    return std::nullopt;
  return Requantized{quantize.getX(), type};
}

float qtx::onnx::requantize(quant::UniformQuantizedType type, double number) {
  auto zeroPoint = static_cast<double>(type.getZeroPoint());
  double code =
      std::clamp<double>(std::nearbyint(number / type.getScale()) + zeroPoint,
                         type.getStorageTypeMin(), type.getStorageTypeMax());
  return static_cast<float>(type.getScale()) *
         static_cast<float>(code - zeroPoint);
}

/// Adds the nodes that read `value` to `users`; false if something else does.
static bool collectUsers(Value value, SmallVectorImpl<NodeOp> &users) {
  for (Operation *user : value.getUsers()) {
    if (auto cast = dyn_cast<UnrealizedConversionCastOp>(user)) {
      if (!getConverted(cast) || !collectUsers(cast.getResult(0), users))
        return false;
      continue;
    }
    auto node = dyn_cast<NodeOp>(user);
    if (!node || !isWellFormed(node))
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
