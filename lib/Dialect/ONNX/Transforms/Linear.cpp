//===- Linear.cpp - Finding linear layers ---------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Recognizer.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

/// The constant matrix that `value` is, [K, N] or its transpose.
static std::optional<Weight> getWeight(Value value, bool isTransposed) {
  value = strip(value);
  if (Value source = getTransposed(value, {1, 0})) {
    value = strip(source);
    isTransposed = !isTransposed;
  }
  auto view = ConstantView::get(value);
  if (!view || view->getType().getRank() != 2 ||
      !view->getType().getElementType().isF32())
    return std::nullopt;
  return Weight{*view, isTransposed, value.getLoc()};
}

/// Whether `value` is a constant of more than one element.
static bool isConstantTensor(Value value) {
  auto view = ConstantView::get(strip(value));
  return view && view->getNumElements() > 1;
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

Value Recognizer::createLinear(Location loc, Value x, const Weight &weight,
                               Value bias, int64_t offset, int64_t size) {
  Value plain = getPlain(x);
  Value matrix = materialize(weight, offset, size);
  Value part;
  if (bias) {
    auto view = ConstantView::get(strip(bias));
    copied.push_back(view->getAttr());
    part = materializeRange(builder, bias.getLoc(), *view, {size}, offset);
  }
  auto type = cast<RankedTensorType>(plain.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = size;
  return LinearOp::create(
             builder, loc, type.clone(shape), plain, /*x_scale=*/Value(),
             /*x_zero_point=*/Value(), matrix, /*weight_scale=*/Value(), part,
             /*seed=*/Value(), /*y_scale=*/Value(), /*y_zero_point=*/Value(),
             /*x_quant=*/TypeAttr(), /*weight_block=*/IntegerAttr(),
             /*integer_join=*/false, Activation::None, /*y_quant=*/TypeAttr())
      .getY();
}

/// The node that splits `y` along its last axis, of `size` elements, into parts
/// of static size, if it is all that reads it; else null.
static NodeOp getSplit(Value y, int64_t size) {
  NodeOp split = getOnlyUser(y);
  int64_t last = getRank(y) - 1;
  if (!split || !split.is("Split") || getAxis(split, 0, last + 1) != last)
    return {};
  int64_t rest = size;
  for (Value part : split.getOutputs()) {
    auto type = dyn_cast<RankedTensorType>(part.getType());
    if (!type || type.getRank() != last + 1 || type.isDynamicDim(last) ||
        type.getDimSize(last) == 0 || type.getDimSize(last) > rest)
      return {};
    rest -= type.getDimSize(last);
  }
  return rest == 0 ? split : NodeOp();
}

bool Recognizer::createSplitLinears(NodeOp split, Value x, const Weight &weight,
                                    Value bias) {
  int64_t offset = 0;
  for (Value part : split.getOutputs()) {
    int64_t size = cast<RankedTensorType>(part.getType()).getShape().back();
    if (!part.use_empty())
      replace(part,
              createLinear(split.getLoc(), x, weight, bias, offset, size));
    offset += size;
  }
  passed(split.getLoc(), "found " + Twine(split.getOutputs().size()) +
                             " qtx.linear: a projection that is split");
  return true;
}

/// The reshape behind `y`, if it is all that reads it and keeps the last
/// dimension.
static Value getReshapedBack(Value y) {
  NodeOp reshape = getOnlyUser(y);
  if (!reshape || !reshape.is("Reshape"))
    return {};
  Value result = reshape.getOutputs()[0];
  return getRank(result) > 2 && getDims(result).back() == getDims(y).back()
             ? result
             : Value();
}

void Recognizer::createLinears(NodeOp node, Value x, const Weight &weight,
                               Value bias, Value y) {
  // A product of matrices between two reshapes is one of the tensors.
  NodeOp reshape = getNode(x, "Reshape");
  if (Value back = reshape && getRank(x) == 2 ? getReshapedBack(y) : Value()) {
    SmallVector<AffineExpr> dims = getDims(back);
    dims.back() = getDims(x).back();
    x = createReshape(reshape.getInputs()[0], dims);
    y = back;
  } else if (!getSplit(y, weight.getNumOutputs())) {
    x = getRows(x);
  }
  NodeOp split = getSplit(y, weight.getNumOutputs());
  // Behind the last node that is replaced.
  builder.setInsertionPoint(split ? split : y.getDefiningOp<NodeOp>());
  if (split) {
    createSplitLinears(split, x, weight, bias);
    return;
  }
  replaceRows(
      y,
      createLinear(node.getLoc(), x, weight, bias, 0, weight.getNumOutputs()),
      x);
  passed(node.getLoc(),
         bias ? "found qtx.linear with bias" : "found qtx.linear");
}

/// A constant of one element for each output; null if `value` is none.
static Value getBias(Value value, int64_t outputs) {
  auto view = ConstantView::get(strip(value));
  bool isVector = view && view->getType().getElementType().isF32() &&
                  view->getNumElements() == outputs &&
                  view->getType().getRank() > 0 &&
                  view->getType().getShape().back() == outputs;
  return isVector ? strip(value) : Value();
}

/// The sum of `product` with a constant vector, and that vector.
static std::pair<Value, Value> getBiasedSum(Value product, int64_t outputs) {
  NodeOp sum = getOnlyUser(product);
  if (!sum || !sum.is("Add") || !haveSameDims(product, sum.getOutputs()[0]))
    return {};
  for (unsigned index : {0, 1})
    if (strip(sum.getInputs()[index]) == strip(product))
      if (Value bias = getBias(sum.getInputs()[1 - index], outputs))
        return {sum.getOutputs()[0], bias};
  return {};
}

bool Recognizer::recognizeLinear(NodeOp node) {
  bool isGemm = node.is("Gemm");
  if (!isGemm && !node.is("MatMul"))
    return false;
  Value x = node.getInputs()[0], y = node.getOutputs()[0];
  auto weight = getWeight(node.getInputs()[1], !node.getIntAttr("transB", 0));
  if (weight && (getRank(x) == 0 ||
                 cast<RankedTensorType>(x.getType()).getShape().back() !=
                     weight->getContractedSize()))
    return false;
  if (!weight || !isF32(x)) {
    if (isConstantTensor(node.getInputs()[1]))
      obstacles[node] = "the constant is not a matrix of f32";
    return false;
  }
  if (isConstantTensor(x) || node.getIntAttr("transA", 0) != 0 ||
      node.getFloatAttr("alpha", 1) != 1 || getRank(x) < 2) {
    obstacles[node] = "the product is not that of a tensor and a weight";
    return false;
  }
  Value bias;
  if (Value c = isGemm ? node.getOptionalInput(2) : Value()) {
    bias = getBias(c, weight->getNumOutputs());
    if (!bias || node.getFloatAttr("beta", 1) != 1) {
      obstacles[node] = "the term that is added is not a constant vector";
      return false;
    }
  }
  if (!bias) {
    auto [sum, vector] = getBiasedSum(y, weight->getNumOutputs());
    bias = vector;
    y = sum ? sum : y;
  }
  createLinears(node, x, *weight, bias, y);
  return true;
}

//===----------------------------------------------------------------------===//
// Patches
//===----------------------------------------------------------------------===//

/// Whether `attribute` is absent or all its elements are `value`.
static bool isAll(NodeOp node, StringRef attribute, int64_t value) {
  std::optional<SmallVector<int64_t>> ints = node.getIntsAttr(attribute);
  return !ints ||
         llvm::all_of(*ints, [&](int64_t element) { return element == value; });
}

/// A convolution whose windows neither overlap nor leave gaps is a linear layer
/// on patches: [B, C, h * p, w * q] -> [B, h, w, C * p * q].
bool Recognizer::recognizePatches(NodeOp node) {
  if (!node.is("Conv") || getRank(node.getInputs()[0]) != 4)
    return false;
  Value x = node.getInputs()[0], y = node.getOutputs()[0];
  auto view = ConstantView::get(strip(node.getInputs()[1]));
  if (!view || !isF32(x) || !view->getType().getElementType().isF32() ||
      view->getNumElements() == 0)
    return false;
  ArrayRef<int64_t> kernel = view->getType().getShape().drop_front(2);
  SmallVector<AffineExpr> in = getDims(x), out = getDims(y);
  auto strides = node.getIntsAttr("strides");
  bool isPatch = strides && ArrayRef<int64_t>(*strides) == kernel &&
                 isAll(node, "pads", 0) && isAll(node, "dilations", 1) &&
                 node.getIntAttr("group", 1) == 1 &&
                 out[2] * kernel[0] == in[2] && out[3] * kernel[1] == in[3];
  Value bias = node.getOptionalInput(2);
  int64_t outputs = view->getType().getDimSize(0);
  if (bias)
    bias = getBias(bias, outputs);
  if (!isPatch || (node.getOptionalInput(2) && !bias)) {
    obstacles[node] = "its windows are not patches without overlap and gaps";
    return false;
  }
  auto size = [&](int64_t value) {
    return getAffineConstantExpr(value, node.getContext());
  };
  Value split = createReshape(
      x, {in[0], in[1], out[2], size(kernel[0]), out[3], size(kernel[1])});
  Value moved = createTranspose(split, {0, 2, 4, 1, 3, 5});
  int64_t depth = view->getNumElements() / outputs;
  Value patches = createReshape(moved, {in[0], out[2], out[3], size(depth)});
  // The rows of the weight as the matrix [N, C * p * q].
  copied.push_back(view->getAttr());
  Value matrix =
      materializeRange(builder, node.getLoc(), *view, {outputs, depth});
  Weight weight{*ConstantView::get(matrix), /*isTransposed=*/false,
                node.getLoc()};
  Value linear = createLinear(node.getLoc(), patches, weight, bias, 0, outputs);
  auto type =
      getTensorType({in[0], out[2], out[3], out[1]}, builder.getF32Type());
  y.replaceAllUsesWith(createTranspose(addDims(linear, type), {0, 3, 1, 2}));
  passed(node.getLoc(), "found qtx.linear of patches");
  return true;
}
