//===- ElementwiseRules.cpp - Elementwise ONNX operators ----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "Tensors.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::importer;

/// States the type of the result, and its elements if they follow.
static LogicalResult inferFolded(Node &node, ArrayRef<Size> dims,
                                 Type elementType) {
  if (failed(node.infer(dims, elementType)))
    return failure();
  SmallVector<const Contents *> inputs;
  for (unsigned index = 0; index < node.getNumInputs(); ++index)
    inputs.push_back(node.getContents(index));
  if (std::optional<Contents> result =
          foldElementwise(node.op, inputs, node.types[0], node.sizes()))
    return node.fold(std::move(*result));
  return success();
}

static LogicalResult inferUnary(Node &node) {
  return inferFolded(node, node.getDims(), node.getElementType());
}

static LogicalResult inferPredicate(Node &node) {
  return inferFolded(node, node.getDims(), node.builder.getI1Type());
}

static FailureOr<Dims> broadcastInputs(Node &node) {
  Dims dims = node.getDims();
  for (unsigned index = 1; index < node.getNumInputs(); ++index) {
    if (!node.inputs[index])
      continue;
    FailureOr<Dims> joined = node.broadcast(dims, node.getDims(index));
    if (failed(joined))
      return failure();
    dims = *joined;
  }
  return dims;
}

static LogicalResult inferBinary(Node &node, Type elementType) {
  FailureOr<Dims> dims = broadcastInputs(node);
  if (failed(dims) || failed(node.expectSameElementType(0, 1)))
    return failure();
  return inferFolded(node, *dims, elementType);
}

static LogicalResult inferArithmetic(Node &node) {
  return inferBinary(node, node.getElementType());
}

static LogicalResult inferComparison(Node &node) {
  return inferBinary(node, node.builder.getI1Type());
}

/// The exponent's type may be another.
static LogicalResult inferPow(Node &node) {
  FailureOr<Dims> dims = broadcastInputs(node);
  return failed(dims) ? failure()
                      : inferFolded(node, *dims, node.getElementType());
}

/// The sign of a remainder follows the divisor, unless the node asks for C's
/// fmod.
static LogicalResult inferMod(Node &node) {
  if (node.getInt("fmod", 0) == 0)
    return inferArithmetic(node);
  FailureOr<Dims> dims = broadcastInputs(node);
  if (failed(dims) || failed(node.expectSameElementType(0, 1)))
    return failure();
  return node.infer(*dims, node.getElementType());
}

/// Any number of inputs: a chain of the binary operator.
static LogicalResult inferVariadic(Node &node, StringRef binaryOp) {
  if (node.getNumInputs() == 1)
    return node.replace(node.inputs[0]);
  while (node.getNumInputs() > 2) {
    Value first = node.apply(binaryOp, {node.inputs[0], node.inputs[1]});
    if (!first)
      return failure();
    node.inputs.erase(node.inputs.begin());
    node.inputs[0] = first;
  }
  node.op = binaryOp.str();
  return inferArithmetic(node);
}

static LogicalResult inferMin(Node &node) { return inferVariadic(node, "Min"); }
static LogicalResult inferMax(Node &node) { return inferVariadic(node, "Max"); }
static LogicalResult inferSum(Node &node) { return inferVariadic(node, "Add"); }

static LogicalResult inferMean(Node &node) {
  FailureOr<Dims> dims = broadcastInputs(node);
  return failed(dims) ? failure() : node.infer(*dims, node.getElementType());
}

static LogicalResult inferWhere(Node &node) {
  FailureOr<Dims> dims = broadcastInputs(node);
  if (failed(dims) || failed(node.expectSameElementType(1, 2)))
    return failure();
  if (!node.getElementType(0).isInteger(1))
    return node.emitError() << "expected a condition of type i1, found "
                            << node.getElementType(0);
  return inferFolded(node, *dims, node.getElementType(1));
}

static LogicalResult inferCastTo(Node &node, Type type) {
  if (type == node.getElementType())
    return node.replace(node.inputs[0]);
  node.op = "Cast";
  node.keepInputs(1);
  return inferFolded(node, node.getDims(), type);
}

static LogicalResult inferCast(Node &node) {
  int64_t to = node.getInt("to", 0);
  Type type = getElementType(to, node.builder.getContext());
  if (!type)
    return node.unsupported("to element type " + Twine(to));
  node.attributes.erase("to");
  return inferCastTo(node, type);
}

/// The same bits as another type, which is as wide.
static LogicalResult inferBitCast(Node &node) {
  int64_t to = node.getInt("to", 0);
  Type type = getElementType(to, node.builder.getContext());
  if (!type || type.getIntOrFloatBitWidth() !=
                   node.getElementType().getIntOrFloatBitWidth())
    return node.unsupported("to element type " + Twine(to));
  node.attributes.erase("to");
  if (type == node.getElementType())
    return node.replace(node.inputs[0]);
  return node.infer(node.getDims(), type);
}

static LogicalResult inferCastLike(Node &node) {
  return inferCastTo(node, node.getElementType(1));
}

static LogicalResult inferIdentity(Node &node) {
  return node.replace(node.inputs[0]);
}

/// Nothing is dropped at inference.
static LogicalResult inferDropout(Node &node) {
  if (std::optional<SmallVector<int64_t>> isTraining = node.getInts(2);
      node.hasInput(2) && (!isTraining || isTraining->front() != 0))
    return node.unsupported("training");
  if (failed(node.replace(node.inputs[0])))
    return failure();
  if (node.getNumOutputs() < 2 || !node.isWanted[1])
    return success();
  // Everything is kept.
  auto flag = RankedTensorType::get(1, node.builder.getI1Type());
  Value shape = node.apply("Shape", {node.inputs[0]});
  return node.replace(node.apply("ConstantOfShape", {shape},
                                 [&](Node &mask) {
                                   mask.attributes.set(
                                       "value",
                                       DenseElementsAttr::get(flag, true));
                                 }),
                      1);
}

/// Both bounds may be left out; they are scalars.
static LogicalResult inferClip(Node &node) {
  for (unsigned index = 1; index < node.getNumInputs(); ++index)
    if (node.inputs[index] && failed(node.expectSameElementType(0, index)))
      return failure();
  if (node.getNumInputs() == 1)
    return node.replace(node.inputs[0]);
  return node.infer(node.getDims(), node.getElementType());
}

static LogicalResult inferPRelu(Node &node) {
  FailureOr<Dims> dims = broadcastInputs(node);
  if (failed(dims))
    return failure();
  return node.infer(node.getDims(), node.getElementType());
}

void qtx::importer::addElementwiseRules(RuleTable &rules) {
  for (StringRef op :
       {"Abs",   "Acos",  "Acosh",       "Asin",      "Asinh",
        "Atan",  "Atanh", "BitwiseNot",  "Ceil",      "Celu",
        "Cos",   "Cosh",  "Elu",         "Erf",       "Exp",
        "Floor", "Gelu",  "HardSigmoid", "HardSwish", "LeakyRelu",
        "Log",   "Mish",  "Neg",         "Not",       "Reciprocal",
        "Relu",  "Round", "Selu",        "Shrink",    "Sigmoid",
        "Sign",  "Sin",   "Sinh",        "Softplus",  "Softsign",
        "Sqrt",  "Swish", "Tan",         "Tanh",      "ThresholdedRelu"})
    rules[op] = {1, 1, 1, inferUnary};
  for (StringRef op : {"IsInf", "IsNaN"})
    rules[op] = {1, 1, 1, inferPredicate};
  for (StringRef op : {"Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
                       "Div", "Mul", "Or", "Sub", "Xor"})
    rules[op] = {2, 2, 1, inferArithmetic};
  for (StringRef op :
       {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
    rules[op] = {2, 2, 1, inferComparison};
  rules["BitShift"] = {2, 2, 1, inferArithmetic};
  rules["Mod"] = {2, 2, 1, inferMod};
  rules["Pow"] = {2, 2, 1, inferPow};
  rules["Min"] = {1, kAnyNumber, 1, inferMin};
  rules["Max"] = {1, kAnyNumber, 1, inferMax};
  rules["Sum"] = {1, kAnyNumber, 1, inferSum};
  rules["Mean"] = {1, kAnyNumber, 1, inferMean};
  rules["Where"] = {3, 3, 1, inferWhere};
  rules["Cast"] = {1, 1, 1, inferCast};
  rules["BitCast"] = {1, 1, 1, inferBitCast};
  rules["CastLike"] = {2, 2, 1, inferCastLike};
  rules["Identity"] = {1, 1, 1, inferIdentity};
  rules["Dropout"] = {1, 3, 2, inferDropout};
  rules["Clip"] = {1, 3, 1, inferClip};
  rules["PRelu"] = {2, 2, 1, inferPRelu};
}
