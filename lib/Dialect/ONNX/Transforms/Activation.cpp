//===- Activation.cpp - Finding activations, tables and sums --------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Recognizer.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

static bool equals(ArrayRef<double> coefficients, ArrayRef<double> expected) {
  size_t size = std::max(coefficients.size(), expected.size());
  for (size_t index = 0; index < size; ++index) {
    double lhs = index < coefficients.size() ? coefficients[index] : 0;
    double rhs = index < expected.size() ? expected[index] : 0;
    // Exporters round sqrt(2 / pi) and its products at different places.
    if (std::abs(lhs - rhs) > 1e-6)
      return false;
  }
  return true;
}

/// The factors of a product that are not scalars, and the product of those that
/// are.
static double collectFactors(Value value, Value stop,
                             SmallVectorImpl<Value> &factors, int depth = 4) {
  value = strip(value);
  NodeOp node = getNode(value);
  bool isDivision = node && node.is("Div");
  if (value == stop || depth == 0 || !node ||
      (!isDivision && !node.is("Mul"))) {
    factors.push_back(value);
    return 1;
  }
  if (isDivision) {
    std::optional<double> divisor = getScalar(node.getInputs()[1]);
    if (!divisor) {
      factors.push_back(value);
      return 1;
    }
    return collectFactors(node.getInputs()[0], stop, factors, depth - 1) /
           *divisor;
  }
  double scalar = 1;
  for (Value input : node.getInputs())
    if (std::optional<double> factor = getScalar(input))
      scalar *= *factor;
    else
      scalar *= collectFactors(input, stop, factors, depth - 1);
  return scalar;
}

/// u of `1 + op(u)`.
static Value getOnePlus(Value value, StringRef op) {
  NodeOp sum = getNode(value, "Add");
  std::optional<ScalarAndValue> operands =
      sum ? getScalarOperand(sum) : std::nullopt;
  if (!operands || operands->scalar != 1)
    return {};
  NodeOp function = getNode(operands->value, op);
  return function ? function.getInputs()[0] : Value();
}

/// x if `inner` is the argument of GELU's erf or tanh of x, which is one of the
/// values that it is computed from.
static Value getGeluInput(Value inner, ArrayRef<double> expected, int depth) {
  inner = strip(inner);
  // Down the formula to a value in which it is the polynomial.
  SmallVector<Value> work{inner};
  for (int level = 0; level < depth; ++level) {
    SmallVector<Value> next;
    for (Value value : work) {
      if (auto coefficients = getPolynomial(inner, value);
          coefficients && equals(*coefficients, expected))
        return value;
      NodeOp node = getNode(value);
      if (node && (node.is("Mul") || node.is("Add") || node.is("Div") ||
                   node.is("Pow")))
        for (Value input : node.getInputs())
          if (!getScalar(input))
            next.push_back(strip(input));
    }
    work = std::move(next);
  }
  return {};
}

namespace {
struct FoundGelu {
  Value x;
  GeluApproximation approximation;
};
} // namespace

static std::optional<FoundGelu> getGelu(NodeOp node) {
  if (!node.is("Mul") && !node.is("Div"))
    return std::nullopt;
  SmallVector<Value> factors;
  collectFactors(node.getOutputs()[0], Value(), factors);
  const double root = std::sqrt(2 / llvm::numbers::pi);
  for (Value factor : factors) {
    FoundGelu found;
    if (Value inner = getOnePlus(factor, "Erf"))
      found = {getGeluInput(inner, {0, 1 / llvm::numbers::sqrt2}, 2),
               GeluApproximation::None};
    else if (Value inner = getOnePlus(factor, "Tanh"))
      found = {getGeluInput(inner, {0, root, 0, 0.044715 * root}, 7),
               GeluApproximation::Tanh};
    if (!found.x)
      continue;
    SmallVector<Value> others;
    double scalar = collectFactors(node.getOutputs()[0], found.x, others);
    bool isProduct = others.size() == 2 &&
                     llvm::is_contained(others, found.x) &&
                     llvm::is_contained(others, factor);
    if (isProduct && isClose(scalar, 0.5))
      return found;
  }
  return std::nullopt;
}

/// x of `x * sigmoid(factor * x)`, and the factor.
static std::optional<Scaled> getSwish(NodeOp node) {
  if (!node.is("Mul"))
    return std::nullopt;
  for (unsigned index : {0, 1}) {
    NodeOp sigmoid = getNode(node.getInputs()[index], "Sigmoid");
    if (!sigmoid)
      continue;
    Value x = strip(node.getInputs()[1 - index]);
    auto inner = getPolynomial(sigmoid.getInputs()[0], x);
    if (inner && inner->size() == 2 && (*inner)[0] == 0)
      return Scaled{(*inner)[1], x};
  }
  return std::nullopt;
}

bool Recognizer::recognizeActivation(NodeOp node) {
  if (node.getOutputs().size() != 1 || !isF32(node.getOutputs()[0]))
    return false;
  Value y = node.getOutputs()[0], source, none;
  auto finish = [&](Value result, StringRef name) {
    replaceRows(y, result, source);
    passed(node.getLoc(), "found " + name);
    return true;
  };
  auto getX = [&](Value x) {
    source = getRows(x);
    return getPlain(source);
  };
  if (node.is("Relu")) {
    Value x = getX(node.getInputs()[0]);
    return finish(ReluOp::create(builder, node.getLoc(), x.getType(), x, none,
                                 none, none, none, TypeAttr(), TypeAttr()),
                  "qtx.relu");
  }
  std::optional<FoundGelu> gelu = getGelu(node);
  bool isContrib = node.getOpType() == "Gelu" && node.getDomain();
  if (node.is("Gelu") || isContrib)
    gelu = {node.getInputs()[0],
            node.getStringAttr("approximate", "none") == "tanh"
                ? GeluApproximation::Tanh
                : GeluApproximation::None};
  if (gelu) {
    Value x = getX(gelu->x);
    return finish(GeluOp::create(builder, node.getLoc(), x.getType(), x, none,
                                 none, none, none, TypeAttr(),
                                 gelu->approximation, TypeAttr()),
                  "qtx.gelu");
  }
  std::optional<Scaled> swish = getSwish(node);
  if (node.is("Swish"))
    swish = {node.getFloatAttr("alpha", 1), node.getInputs()[0]};
  if (!swish)
    return false;
  if (swish->factor != 1) {
    obstacles[node] = "x * sigmoid(c * x) has no operation unless c is 1";
    return false;
  }
  Value x = getX(swish->value);
  return finish(SiluOp::create(builder, node.getLoc(), x.getType(), x, none,
                               none, none, none, TypeAttr(), TypeAttr()),
                "qtx.silu");
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

bool Recognizer::recognizeEmbedding(NodeOp node) {
  if (!node.is("Gather") || node.getIntAttr("axis", 0) != 0)
    return false;
  Value table = strip(node.getInputs()[0]), ids = node.getInputs()[1];
  auto view = ConstantView::get(table);
  if (!view || view->getType().getRank() != 2 ||
      !view->getType().getElementType().isF32())
    return false;
  Type idType = getElementTypeOrSelf(ids.getType());
  if (!idType.isSignlessInteger(32) && !idType.isSignlessInteger(64))
    return false;
  Value none;
  auto type = cast<RankedTensorType>(node.getOutputs()[0].getType());
  Value y = EmbeddingOp::create(builder, node.getLoc(), dropDims(type), table,
                                none, getPlain(ids), none, none, TypeAttr());
  replace(node.getOutputs()[0], y);
  passed(node.getLoc(), "found qtx.embedding");
  return true;
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

/// Whether `value` is what a qtx operation yields, conversions aside.
static bool isFromQtx(Value value) {
  Operation *op = strip(value).getDefiningOp();
  return op && isa<QtxDialect>(op->getDialect());
}

/// How many leading dimensions of `dims` are 1 where those of `all` are any
/// others; nothing if the rest differs.
static std::optional<int64_t> countBroadcast(ArrayRef<AffineExpr> dims,
                                             ArrayRef<AffineExpr> all) {
  if (dims.size() > all.size() || llvm::is_contained(all, AffineExpr()))
    return std::nullopt;
  all = all.take_back(dims.size());
  int64_t count = 0;
  while (count < int64_t(dims.size()) && dims[count] != all[count] &&
         dims[count] == getAffineConstantExpr(1, all[0].getContext()))
    ++count;
  return dims.drop_front(count) == all.drop_front(count) ? std::optional(count)
                                                         : std::nullopt;
}

bool Recognizer::recognizeSum(NodeOp node) {
  Value y = node.getOutputs().empty() ? Value() : node.getOutputs()[0];
  if (!node.is("Add") || !isF32(y) || getRank(y) < 2)
    return false;
  Value lhs = node.getInputs()[0], rhs = node.getInputs()[1], none;
  auto create = [&](Value lhs, Value rhs) {
    passed(node.getLoc(), "found qtx.add");
    return AddOp::create(builder, node.getLoc(), lhs.getType(), lhs, none, none,
                         rhs, none, none, none, none, TypeAttr(), TypeAttr(),
                         TypeAttr());
  };
  Value left = getRows(lhs), right = getRows(rhs);
  if (left != lhs && right != rhs && haveSameDims(left, right)) {
    replaceRows(y, create(getPlain(left), getPlain(right)), left);
    return true;
  }
  if (!isFromQtx(lhs) && !isFromQtx(rhs))
    return false;
  SmallVector<AffineExpr> dims = getDims(y);
  if (getDims(lhs) != dims)
    std::swap(lhs, rhs);
  if (getDims(lhs) != dims)
    return false;
  SmallVector<AffineExpr> rhsDims = getDims(rhs);
  std::optional<int64_t> leading = countBroadcast(rhsDims, dims);
  int64_t kept = rhsDims.size() - leading.value_or(0);
  // A scalar is no residual.
  if (!leading || kept == 0)
    return false;
  Value plain = getPlain(rhs);
  if (*leading > 0) {
    SmallVector<ReassociationIndices> groups(kept);
    for (int64_t axis = 0; axis < int64_t(rhsDims.size()); ++axis)
      groups[std::max<int64_t>(axis - *leading, 0)].push_back(axis);
    plain =
        tensor::CollapseShapeOp::create(builder, node.getLoc(), plain, groups);
  }
  replace(y, create(getPlain(lhs), plain));
  return true;
}
