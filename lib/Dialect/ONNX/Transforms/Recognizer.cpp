//===- Recognizer.cpp - Replacing nodes by qtx operations -----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Recognizer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/AffineMap.h"

using namespace mlir;
using namespace qtx::onnx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("RecognizeONNX").category("onnx-recognize");

void Recognizer::passed(Location loc, const Twine &what) {
  remark::passed(loc, kRemark) << what.str();
}

void Recognizer::missed(Location loc, const Twine &reason) {
  remark::missed(loc, kRemark) << remark::reason("{0}", reason.str());
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Value Recognizer::getPlain(Value value) {
  value = strip(value);
  auto type = cast<RankedTensorType>(value.getType());
  if (!type.getEncoding())
    return value;
  for (Operation *user : value.getUsers())
    if (isa<UnrealizedConversionCastOp>(user) && user->getNumResults() == 1 &&
        user->getResult(0).getType() == dropDims(type))
      return user->getResult(0);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointAfterValue(value);
  return UnrealizedConversionCastOp::create(builder, value.getLoc(),
                                            TypeRange(dropDims(type)), value)
      .getResult(0);
}

Value Recognizer::addDims(Value plain, RankedTensorType type) {
  RankedTensorType plainType = dropDims(type);
  if (plain.getType() != plainType)
    plain = tensor::CastOp::create(builder, plain.getLoc(), plainType, plain);
  if (type == plainType)
    return plain;
  return UnrealizedConversionCastOp::create(builder, plain.getLoc(),
                                            TypeRange(type), plain)
      .getResult(0);
}

void Recognizer::replace(Value old, Value plain) {
  old.replaceAllUsesWith(addDims(plain, cast<RankedTensorType>(old.getType())));
}

Value Recognizer::getRows(Value value) {
  NodeOp reshape = getNode(value, "Reshape");
  Value source = reshape ? reshape.getInputs()[0] : Value();
  if (!source || getRank(value) != 2 || getRank(source) <= 2)
    return value;
  SmallVector<AffineExpr> dims = getDims(source);
  return dims.back() && dims.back() == getDims(value).back() ? source : value;
}

void Recognizer::replaceRows(Value old, Value plain, Value source) {
  if (getRank(plain) == getRank(old)) {
    replace(old, plain);
    return;
  }
  SmallVector<AffineExpr> dims = getDims(source), rows = getDims(old);
  dims.back() = rows.back();
  Value tensor = addDims(plain, getTensorType(dims, builder.getF32Type()));
  old.replaceAllUsesWith(createReshape(tensor, rows));
}

IntegerAttr Recognizer::getInt(int64_t value) {
  return builder.getIntegerAttr(builder.getIntegerType(64, /*isSigned=*/true),
                                value);
}

NamedAttribute Recognizer::getInts(StringRef name, ArrayRef<int64_t> values) {
  auto attrs = llvm::map_to_vector(
      values, [&](int64_t value) -> Attribute { return getInt(value); });
  return builder.getNamedAttr(name, builder.getArrayAttr(attrs));
}

Value Recognizer::createNode(StringRef op, ValueRange inputs,
                             RankedTensorType type,
                             ArrayRef<NamedAttribute> attributes) {
  auto dictionary = attributes.empty() ? DictionaryAttr()
                                       : builder.getDictionaryAttr(attributes);
  Location loc = inputs.empty() ? func.getLoc() : inputs.front().getLoc();
  return NodeOp::create(builder, loc, TypeRange(type),
                        builder.getStringAttr(op), /*domain=*/StringAttr(),
                        inputs, dictionary)
      .getResult(0);
}

Value Recognizer::createReshape(Value value, ArrayRef<AffineExpr> dims) {
  RankedTensorType type =
      getTensorType(dims, getElementTypeOrSelf(value.getType()));
  if (getDims(value) == dims)
    return value;
  return createNode("Reshape", getWithDims(value), type);
}

Value Recognizer::createTranspose(Value value, ArrayRef<int64_t> permutation) {
  SmallVector<AffineExpr> dims = getDims(value);
  auto permuted = llvm::map_to_vector(permutation,
                                      [&](int64_t axis) { return dims[axis]; });
  return createNode(
      "Transpose", getWithDims(value),
      getTensorType(permuted, getElementTypeOrSelf(value.getType())),
      getInts("perm", permutation));
}

Value Recognizer::createCast(Value value, Type elementType) {
  if (getElementTypeOrSelf(value.getType()) == elementType)
    return value;
  return createNode("Cast", getWithDims(value),
                    getTensorType(getDims(value), elementType));
}

Value Recognizer::createScalar(float number) {
  auto type = RankedTensorType::get({}, builder.getF32Type());
  return arith::ConstantOp::create(builder, func.getLoc(),
                                   DenseElementsAttr::get(type, number));
}

Value Recognizer::getWithDims(Value value) {
  RankedTensorType type = onnx::getType(value);
  if (value.getType() == type)
    return value;
  for (Operation *user : value.getUsers())
    if (isa<UnrealizedConversionCastOp>(user) && user->getNumResults() == 1 &&
        user->getResult(0).getType() == type)
      return user->getResult(0);
  return value.getDefiningOp<UnrealizedConversionCastOp>().getInputs()[0];
}

Value Recognizer::getVector(Value value, int64_t size) {
  auto view = ConstantView::get(strip(value));
  if (!view || !view->getType().getElementType().isF32() ||
      view->getNumElements() != size || view->getType().getRank() == 0 ||
      view->getType().getShape().back() != size)
    return {};
  copied.push_back(view->getAttr());
  return materializeRange(builder, value.getLoc(), *view, {size});
}

Value Recognizer::materialize(const Weight &weight, int64_t offset,
                              int64_t size) {
  copied.push_back(weight.view.getAttr());
  return weight.materialize(builder, weight.loc, offset, size);
}

//===----------------------------------------------------------------------===//
// Traversal
//===----------------------------------------------------------------------===//

void Recognizer::visit(ArrayRef<bool (Recognizer::*)(NodeOp)> families) {
  SmallVector<NodeOp> nodes;
  func.walk([&](NodeOp node) { nodes.push_back(node); });
  for (NodeOp node : nodes) {
    // What a pattern replaced stays until all nodes were visited.
    bool isUsed = llvm::any_of(
        node.getOutputs(), [](Value output) { return !output.use_empty(); });
    if (!isUsed || !isWellFormed(node))
      continue;
    builder.setInsertionPoint(node);
    for (auto recognize : families)
      if ((this->*recognize)(node))
        break;
  }
  eraseUnused();
}

void Recognizer::eraseUnused() {
  // Users come behind what they use.
  SmallVector<Operation *> ops;
  func.walk([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : llvm::reverse(ops))
    if (isOpTriviallyDead(op)) {
      obstacles.erase(op);
      op->erase();
    }
}

/// Nodes that no longer change anything, such as a reshape there and back.
void Recognizer::removeCopies() {
  func.walk([&](NodeOp node) {
    if (node.getOutputs().empty())
      return;
    Value output = node.getOutputs()[0], source = strip(output);
    if (source == output)
      return;
    builder.setInsertionPoint(node);
    if (source.getType() == output.getType())
      output.replaceAllUsesWith(source);
    else
      replace(output, getPlain(source));
  });
}

/// Conversions there and back, of a value that one pattern yielded and another
/// read.
void Recognizer::joinConversions() {
  func.walk([&](UnrealizedConversionCastOp cast) {
    if (cast.getInputs().size() != 1 || cast.getNumResults() != 1)
      return;
    auto first =
        cast.getInputs()[0].getDefiningOp<UnrealizedConversionCastOp>();
    if (first && first.getInputs().size() == 1 &&
        first.getInputs()[0].getType() == cast.getResult(0).getType())
      cast.getResult(0).replaceAllUsesWith(first.getInputs()[0]);
  });
}

void Recognizer::reportLeft() {
  func.walk([&](NodeOp node) {
    auto found = obstacles.find(node);
    if (found != obstacles.end())
      missed(node.getLoc(), node.getOpType() + " stays: " + found->second);
  });
}

void Recognizer::run() {
  if (func.isDeclaration())
    return;
  // The nets of gates before the layers that they consist of.
  visit({&Recognizer::recognizeGateNet, &Recognizer::recognizeStackedGateNets});
  // Layers before attention, which reads the heads of projections; sums last,
  // since an `Add` may also be a bias or a mask.
  visit({&Recognizer::recognizeNormalization, &Recognizer::recognizeActivation,
         &Recognizer::recognizeEmbedding, &Recognizer::recognizePatches,
         &Recognizer::recognizeLinear});
  visit({&Recognizer::recognizeHeads, &Recognizer::recognizeStackedHeads,
         &Recognizer::mergeRepeatedHeads, &Recognizer::moveMergedHeads});
  visit({&Recognizer::recognizeAttention});
  visit({&Recognizer::recognizeMergedHeads});
  visit({&Recognizer::recognizeSum});
  removeCopies();
  joinConversions();
  eraseUnused();
  reportLeft();
}
