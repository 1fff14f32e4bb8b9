//===- GateNets.cpp - Finding the nets of gates ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A gate of attention may have a small net for each head, which reads the
// head's part of the layer's input: H linear layers, or H pairs of them with a
// ReLU between, whose results are put side by side.
//
//===----------------------------------------------------------------------===//

#include "GateNets.h"
#include "Recognizer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

namespace {
/// `input * weight + bias` with a weight [k, n].
struct GateLayer {
  Value input;
  ConstantView weight;
  std::optional<ConstantView> bias;

  int64_t getNumInputs() const { return weight.getType().getDimSize(0); }
  int64_t getNumOutputs() const { return weight.getType().getDimSize(1); }
  /// The rows of the transposed weight, and the bias.
  void append(SmallVectorImpl<float> &weights,
              SmallVectorImpl<float> &biases) const {
    int64_t n = getNumOutputs();
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < getNumInputs(); ++i)
        weights.push_back(weight.getFloat(i * n + j));
      biases.push_back(bias ? bias->getFloat(j) : 0);
    }
  }
};

/// The net of one head: the last layer, and the one in front of it.
struct HeadNet {
  GateLayer last;
  std::optional<GateLayer> hidden;

  const GateLayer &getFirst() const { return hidden ? *hidden : last; }
};
} // namespace

static std::optional<ConstantView> getFloats(Value value) {
  auto view = ConstantView::get(strip(value));
  return view && view->getType().getElementType().isF32() ? view : std::nullopt;
}

static std::optional<GateLayer> getLayer(Value value) {
  NodeOp node = getNode(value);
  std::optional<ConstantView> bias;
  for (unsigned index : {0, 1})
    if (node && node.is("Add") && (bias = getFloats(node.getInputs()[index])))
      node = getNode(node.getInputs()[1 - index]);
  auto weight =
      node && node.is("MatMul") ? getFloats(node.getInputs()[1]) : std::nullopt;
  if (!weight || weight->getType().getRank() != 2)
    return std::nullopt;
  GateLayer layer{node.getInputs()[0], *weight, bias};
  bool isVector = !bias || (bias->getNumElements() == layer.getNumOutputs() &&
                            bias->getType().getRank() == 1);
  return isVector ? std::optional(layer) : std::nullopt;
}

static std::optional<HeadNet> getNet(Value logit) {
  std::optional<GateLayer> last = getLayer(logit);
  if (!last || last->getNumOutputs() != 1)
    return std::nullopt;
  NodeOp relu = getNode(last->input, "Relu");
  if (!relu)
    return HeadNet{*last, std::nullopt};
  std::optional<GateLayer> hidden = getLayer(relu.getInputs()[0]);
  return hidden ? std::optional(HeadNet{*last, hidden}) : std::nullopt;
}

/// x [B, S, d] of which `value` [B, S, d / H] is the part of the head `head`;
/// null if it is none.
static Value getInputOfHead(Value value, int64_t head) {
  NodeOp gather = getNode(value, "Gather");
  if (!gather || getRank(value) != 3 || getRank(gather.getInputs()[1]) != 0 ||
      getScalar(gather.getInputs()[1]) != double(head))
    return {};
  Value heads = gather.getInputs()[0];
  int64_t axis = getAxis(gather, 0, 4);
  if (axis == 1)
    heads = getTransposed(heads, {0, 2, 1, 3});
  else if (axis != 2)
    return {};
  return heads ? getUnsplit(heads) : Value();
}

/// The nets of all heads, in order, if they are alike and read one tensor `x`.
static SmallVector<HeadNet> getNets(NodeOp concat, Value &x) {
  SmallVector<HeadNet> nets;
  for (auto [head, value] : llvm::enumerate(concat.getInputs())) {
    NodeOp reshape = getRank(value) == 4 ? getNode(value, "Reshape") : NodeOp();
    Value logit = reshape ? reshape.getInputs()[0] : value;
    std::optional<HeadNet> net = getNet(logit);
    Value input = net ? getInputOfHead(net->getFirst().input, head) : Value();
    if (!input || getRank(logit) != 3 || (x && strip(input) != strip(x)) ||
        (head && nets[0].getFirst().weight.getType() !=
                     net->getFirst().weight.getType()) ||
        (head && bool(nets[0].hidden) != bool(net->hidden)))
      return {};
    x = input;
    nets.push_back(*net);
  }
  return nets;
}

/// Whether `concat` puts one value per head and row side by side: [B, H, S, 1]
/// or [B, S, H], of `x`.
static bool joinsHeads(NodeOp concat, Value x) {
  SmallVector<AffineExpr> dims = getDims(concat.getOutputs()[0]);
  SmallVector<AffineExpr> rows = getDims(x);
  AffineExpr heads =
      getAffineConstantExpr(concat.getInputs().size(), x.getContext());
  AffineExpr one = getAffineConstantExpr(1, x.getContext());
  if (dims.size() == 4)
    return getAxis(concat, 0, 4) == 1 &&
           dims == ArrayRef({rows[0], heads, rows[1], one});
  return dims.size() == 3 && getAxis(concat, 0, 3) == 2 &&
         dims == ArrayRef({rows[0], rows[1], heads});
}

static Value createConstant(OpBuilder &builder, Location loc,
                            ArrayRef<int64_t> shape, ArrayRef<float> values) {
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  return arith::ConstantOp::create(builder, loc,
                                   DenseElementsAttr::get(type, values));
}

Value Recognizer::createGateNets(Location loc, Value x, const GateNets &nets) {
  int64_t heads = nets.biases.size();
  auto size = static_cast<int64_t>(nets.weights.size()) / heads;
  auto create = [&](ArrayRef<int64_t> shape, ArrayRef<float> values) {
    return createConstant(builder, loc, shape, values);
  };
  bool isMlp = !nets.hiddenBiases.empty();
  Value hiddenWeight, hiddenBias;
  if (isMlp) {
    auto inputs = static_cast<int64_t>(nets.hiddenWeights.size() /
                                       nets.hiddenBiases.size());
    hiddenWeight = create({heads, size, inputs}, nets.hiddenWeights);
    hiddenBias = create({heads, size}, nets.hiddenBiases);
  }
  Value logits = GateProjectionOp::create(
      builder, loc, isMlp ? GateKind::Mlp : GateKind::Linear, getPlain(x),
      hiddenWeight, hiddenBias, create({heads, size}, nets.weights),
      create({heads}, nets.biases), /*x_quant=*/TypeAttr());
  passed(loc, "found qtx.gate_projection");
  SmallVector<AffineExpr> rows = getDims(x);
  return addDims(
      logits,
      getTensorType({rows[0], builder.getAffineConstantExpr(heads), rows[1]},
                    builder.getF32Type()));
}

bool Recognizer::recognizeGateNet(NodeOp node) {
  Value x;
  SmallVector<HeadNet> nets;
  if (node.is("Concat"))
    nets = getNets(node, x);
  if (nets.empty() || !joinsHeads(node, x))
    return false;
  GateNets all;
  for (const HeadNet &net : nets) {
    net.last.append(all.weights, all.biases);
    if (net.hidden)
      net.hidden->append(all.hiddenWeights, all.hiddenBiases);
  }
  Value logits = createGateNets(node.getLoc(), x, all);
  Value y = node.getOutputs()[0];
  y.replaceAllUsesWith(getRank(y) == 3 ? createTranspose(logits, {0, 2, 1})
                                       : createReshape(logits, getDims(y)));
  return true;
}
