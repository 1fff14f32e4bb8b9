//===- Shapes.cpp - Finding heads -----------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Recognizer.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

Value qtx::onnx::getUnsplit(Value value) {
  NodeOp reshape = getNode(value, "Reshape");
  if (!reshape || !isF32(value))
    return {};
  Value x = reshape.getInputs()[0];
  SmallVector<AffineExpr> from = getDims(x), to = getDims(value);
  if (from.size() != 3 || to.size() != 4 || from[0] != to[0] ||
      from[1] != to[1] || !isa_and_present<AffineConstantExpr>(to[2]) ||
      !isa_and_present<AffineConstantExpr>(to[3]) || from[2] != to[2] * to[3])
    return {};
  return x;
}

//===----------------------------------------------------------------------===//
// Heads in one dimension with the batch
//===----------------------------------------------------------------------===//

/// [B, H, s, t] of which `value` is [B * H, s, t]; null if it is no such
/// reshape.
static Value getUnmerged(Value value) {
  NodeOp reshape = getNode(value, "Reshape");
  Value source = reshape ? reshape.getInputs()[0] : Value();
  if (!source || getRank(source) != 4 || getRank(value) != 3)
    return {};
  SmallVector<AffineExpr> from = getDims(source), to = getDims(value);
  return ArrayRef<AffineExpr>(from).take_back(2) ==
                 ArrayRef<AffineExpr>(to).take_back(2)
             ? source
             : Value();
}

/// Heads that are repeated, [B, Hkv, n, s, t], and merged with the batch in one
/// step: in two.
bool Recognizer::mergeRepeatedHeads(NodeOp node) {
  Value source = node.is("Reshape") ? node.getInputs()[0] : Value();
  Value y = node.getOutputs()[0];
  if (!source || !getNode(source, "Expand") || getRank(source) != 5 ||
      getRank(y) != 3)
    return false;
  SmallVector<AffineExpr> from = getDims(source), to = getDims(y);
  if (ArrayRef<AffineExpr>(from).take_back(2) !=
      ArrayRef<AffineExpr>(to).take_back(2))
    return false;
  Value heads =
      createReshape(source, {from[0], from[1] * from[2], from[3], from[4]});
  y.replaceAllUsesWith(createReshape(heads, to));
  return true;
}

/// Whether `node` computes the same on batches and heads, in whichever
/// dimensions these are.
static bool isBatched(NodeOp node) {
  if (node.is("Transpose"))
    return bool(getTransposed(node.getOutputs()[0], {0, 2, 1}));
  if (node.is("Softmax"))
    return getAxis(node, -1, 3) == 2;
  return node.is("MatMul") || node.is("Add") || node.is("Sub") ||
         node.is("Mul") || node.is("Div");
}

/// Exporters merge heads with the batch for products of matrices. The reshape
/// moves behind each node, until it meets the one that splits them again.
bool Recognizer::moveMergedHeads(NodeOp node) {
  Value y = node.getOutputs()[0];
  if (getRank(y) != 3 || !isBatched(node))
    return false;
  auto merged = llvm::find_if(node.getInputs(), getUnmerged);
  if (merged == node.getInputs().end())
    return false;
  SmallVector<AffineExpr> heads = getDims(getUnmerged(*merged));
  heads.truncate(2);
  auto unmerge = [&](ArrayRef<AffineExpr> dims) {
    SmallVector<AffineExpr> result(heads);
    llvm::append_range(result, dims.drop_front());
    return result;
  };
  SmallVector<AffineExpr> dims = getDims(y);
  SmallVector<Value> inputs;
  for (Value input : node.getInputs()) {
    bool isNumber = getRank(input) <= 1 && getScalar(input);
    if (!isNumber && (getRank(input) != 3 || getDims(input)[0] != dims[0]))
      return false;
  }
  for (Value input : node.getInputs()) {
    Value source = getUnmerged(input);
    bool isNumber = getRank(input) <= 1;
    inputs.push_back(isNumber ? input
                     : source ? getWithDims(source)
                              : createReshape(input, unmerge(getDims(input))));
  }
  SmallVector<NamedAttribute> attributes;
  if (node.is("Transpose"))
    attributes.push_back(getInts("perm", {0, 1, 3, 2}));
  if (node.is("Softmax"))
    attributes.push_back(builder.getNamedAttr("axis", getInt(3)));
  Value result = createNode(node.getOpType(), inputs,
                            getTensorType(unmerge(dims), builder.getF32Type()),
                            attributes);
  y.replaceAllUsesWith(createReshape(result, dims));
  return true;
}

//===----------------------------------------------------------------------===//
// Heads of one projection
//===----------------------------------------------------------------------===//

namespace {
/// Part `index` of `count` that a projection [B, S, count * H * dh] yields.
struct StackedHeads {
  Value projection;
  int64_t index;
  int64_t count;
};
} // namespace

/// x of the parts [count, B, H, S, dh] of x: [B, S, count * H * dh].
static Value getStacked(Value parts) {
  Value split = getTransposed(parts, {2, 0, 3, 1, 4});
  NodeOp reshape = split ? getNode(split, "Reshape") : NodeOp();
  Value x = reshape ? reshape.getInputs()[0] : Value();
  if (!x || getRank(x) != 3 || getRank(split) != 5)
    return {};
  SmallVector<AffineExpr> from = getDims(x), to = getDims(split);
  return from[0] == to[0] && from[1] == to[1] ? x : Value();
}

static std::optional<StackedHeads> getStackedHeads(NodeOp node) {
  Value parts;
  int64_t index = 0;
  if (node.is("Gather") && getRank(node.getInputs()[1]) == 0) {
    std::optional<double> place = getScalar(node.getInputs()[1]);
    if (!place || getAxis(node, 0, 5) != 0)
      return std::nullopt;
    parts = node.getInputs()[0];
    index = *place;
  } else if (NodeOp split = node.is("Reshape")
                                ? node.getInputs()[0].getDefiningOp<NodeOp>()
                                : NodeOp()) {
    if (!split.is("Split") || !isWellFormed(split) || getAxis(split, 0, 5) != 0)
      return std::nullopt;
    parts = split.getInputs()[0];
    index = cast<OpResult>(node.getInputs()[0]).getResultNumber();
  }
  Value projection = parts && getRank(parts) == 5 ? getStacked(parts) : Value();
  if (!projection)
    return std::nullopt;
  SmallVector<AffineExpr> dims = getDims(parts);
  auto count = dyn_cast_if_present<AffineConstantExpr>(dims[0]);
  dims.erase(dims.begin());
  bool isPart = count && index >= 0 && index < count.getValue() &&
                dims == getDims(node.getOutputs()[0]);
  return isPart
             ? std::optional(StackedHeads{projection, index, count.getValue()})
             : std::nullopt;
}

/// Queries, keys and values that one projection yields, as vision transformers
/// have them: a projection each.
bool Recognizer::recognizeStackedHeads(NodeOp node) {
  std::optional<StackedHeads> stacked = getStackedHeads(node);
  auto linear =
      stacked ? strip(stacked->projection).getDefiningOp<LinearOp>() : nullptr;
  auto view = linear ? ConstantView::get(linear.getWeight()) : std::nullopt;
  bool isPlain = view && linear.getActivation() == Activation::None &&
                 linear.getY().getType().getElementType().isF32() &&
                 linear.getX().getType().getElementType().isF32() &&
                 view->getType().getElementType().isF32() &&
                 (!linear.getBias() || (getRank(linear.getBias()) == 1 &&
                                        ConstantView::get(linear.getBias())));
  if (!isPlain)
    return false;
  Weight weight{*view, /*isTransposed=*/false, linear.getWeight().getLoc()};
  int64_t size = weight.getNumOutputs() / stacked->count;
  Value part = createLinear(linear.getLoc(), linear.getX(), weight,
                            linear.getBias(), stacked->index * size, size);
  Value y = node.getOutputs()[0];
  replace(y, SplitHeadsOp::create(builder, node.getLoc(),
                                  dropDims(cast<RankedTensorType>(y.getType())),
                                  part));
  passed(node.getLoc(), "found qtx.linear and qtx.split_heads in a projection "
                        "of several parts");
  return true;
}

//===----------------------------------------------------------------------===//
// Heads and channels
//===----------------------------------------------------------------------===//

/// Splitting into heads, also where the heads' channels come before the
/// sequence, as for a product with keys.
bool Recognizer::recognizeHeads(NodeOp node) {
  if (!node.is("Transpose"))
    return false;
  Value y = node.getOutputs()[0];
  Value heads = getTransposed(y, {0, 2, 1, 3});
  Value channelsFirst = getTransposed(y, {0, 2, 3, 1});
  Value x = heads || channelsFirst ? getUnsplit(heads ? heads : channelsFirst)
                                   : Value();
  if (!x)
    return false;
  SmallVector<AffineExpr> dims = getDims(y);
  if (channelsFirst)
    std::swap(dims[2], dims[3]);
  RankedTensorType type = getTensorType(dims, builder.getF32Type());
  // A factor, as of queries, is found behind the heads.
  Scaled scaled = getScaled(x);
  Value split =
      addDims(SplitHeadsOp::create(builder, node.getLoc(), dropDims(type),
                                   getPlain(scaled.value)),
              type);
  if (scaled.factor != 1)
    split = createNode("Mul", {split, createScalar(scaled.factor)}, type);
  y.replaceAllUsesWith(heads ? split : createTranspose(split, {0, 1, 3, 2}));
  passed(node.getLoc(), "found qtx.split_heads");
  return true;
}

bool Recognizer::recognizeMergedHeads(NodeOp node) {
  if (!node.is("Reshape"))
    return false;
  Value y = node.getOutputs()[0];
  Value x = getTransposed(node.getInputs()[0], {0, 2, 1, 3});
  if (!x || !isF32(y) || getRank(y) != 3)
    return false;
  SmallVector<AffineExpr> from = getDims(x), to = getDims(y);
  if (!isa_and_present<AffineConstantExpr>(from[1]) ||
      !isa_and_present<AffineConstantExpr>(from[3]) || to[0] != from[0] ||
      to[1] != from[2] || to[2] != from[1] * from[3])
    return false;
  auto type = cast<RankedTensorType>(y.getType());
  replace(y, MergeHeadsOp::create(builder, node.getLoc(), dropDims(type),
                                  getPlain(x)));
  passed(node.getLoc(), "found qtx.merge_heads");
  return true;
}
