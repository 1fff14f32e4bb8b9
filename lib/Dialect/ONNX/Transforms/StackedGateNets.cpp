//===- StackedGateNets.cpp - Finding the nets of gates as one product -----===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The nets of all heads may be one product with a weight for each head:
// `MatMul` of [B, H, S, k] and [H, k, n], or `Einsum`, which may also read [B,
// S, H, k].
//
//===----------------------------------------------------------------------===//

#include "GateNets.h"
#include "Recognizer.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

namespace {
/// One layer of all heads. Rows are [B, H, S, k] or [B, S, H, k].
struct StackedLayer {
  Value input;
  ConstantView weight;
  /// Where the weight has heads, inputs and outputs; without outputs there is
  /// one.
  int64_t headAxis, inputAxis;
  std::optional<int64_t> outputAxis;
  bool readsHeadsFirst, yieldsHeadsFirst;
  /// Of a shape that broadcasts to the result.
  std::optional<ConstantView> bias;
  int64_t resultRank;

  int64_t getSize(int64_t axis) const {
    return weight.getType().getDimSize(axis);
  }
  int64_t getNumHeads() const { return getSize(headAxis); }
  int64_t getNumInputs() const { return getSize(inputAxis); }
  int64_t getNumOutputs() const {
    return outputAxis ? getSize(*outputAxis) : 1;
  }
  /// The axis of the result that tells the heads.
  int64_t getResultHeadAxis() const { return yieldsHeadsFirst ? 1 : 2; }
  float getWeight(int64_t head, int64_t input, int64_t output) const;
  float getBias(int64_t head, int64_t output) const;
  bool isBias(const ConstantView &view) const;
  void append(SmallVectorImpl<float> &weights,
              SmallVectorImpl<float> &biases) const;
};
} // namespace

float StackedLayer::getWeight(int64_t head, int64_t input,
                              int64_t output) const {
  int64_t index = 0;
  for (auto [axis, size] : llvm::enumerate(weight.getType().getShape())) {
    auto at = static_cast<int64_t>(axis);
    int64_t place = at == headAxis ? head : at == inputAxis ? input : 0;
    index = index * size + (outputAxis == at ? output : place);
  }
  return weight.getFloat(index);
}

/// The axis of the result that the axis `axis` of a bias of rank `rank` is
/// added along.
static int64_t getBiasAxis(int64_t axis, int64_t rank, int64_t resultRank) {
  return axis + resultRank - rank;
}

/// Whether what is added depends on the head and the output alone.
bool StackedLayer::isBias(const ConstantView &view) const {
  int64_t rank = view.getType().getRank();
  if (rank > resultRank || !view.getType().getElementType().isF32())
    return false;
  for (int64_t axis = 0; axis < rank; ++axis) {
    int64_t size = view.getType().getDimSize(axis);
    int64_t at = getBiasAxis(axis, rank, resultRank);
    bool isHead = at == getResultHeadAxis() && size == getNumHeads();
    bool isOutput = at == 3 && size == getNumOutputs();
    if (size != 1 && !isHead && !isOutput)
      return false;
  }
  return true;
}

float StackedLayer::getBias(int64_t head, int64_t output) const {
  if (!bias)
    return 0;
  int64_t index = 0, rank = bias->getType().getRank();
  for (auto [axis, size] : llvm::enumerate(bias->getType().getShape())) {
    int64_t at = getBiasAxis(axis, rank, resultRank);
    int64_t place = at == getResultHeadAxis() ? head : at == 3 ? output : 0;
    index = index * size + (size == 1 ? 0 : place);
  }
  return bias->getFloat(index);
}

void StackedLayer::append(SmallVectorImpl<float> &weights,
                          SmallVectorImpl<float> &biases) const {
  for (int64_t head = 0; head < getNumHeads(); ++head)
    for (int64_t output = 0; output < getNumOutputs(); ++output) {
      for (int64_t input = 0; input < getNumInputs(); ++input)
        weights.push_back(getWeight(head, input, output));
      biases.push_back(getBias(head, output));
    }
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

static std::optional<ConstantView> getFloats(Value value) {
  auto view = ConstantView::get(strip(value));
  return view && view->getType().getElementType().isF32() ? view : std::nullopt;
}

static std::optional<StackedLayer> getProduct(NodeOp node) {
  std::optional<ConstantView> weight = getFloats(node.getInputs()[1]);
  int64_t rank = weight ? weight->getType().getRank() : 0;
  bool isStacked =
      rank == 3 || (rank == 4 && weight->getType().getDimSize(0) == 1);
  if (!isStacked || getRank(node.getInputs()[0]) != 4)
    return std::nullopt;
  return StackedLayer{
      node.getInputs()[0],       *weight,      rank - 3, rank - 2, rank - 1,
      /*readsHeadsFirst=*/true,
      /*yieldsHeadsFirst=*/true, std::nullopt,
      /*resultRank=*/4};
}

/// The layer that an equation of rows, a weight and a result says, of a node
/// whose input `index` are the rows.
static std::optional<StackedLayer> getEinsum(NodeOp node, unsigned index) {
  auto [terms, result] = node.getStringAttr("equation", "").split("->");
  auto [first, second] = terms.split(',');
  StringRef rows = index == 0 ? first : second;
  StringRef weight = index == 0 ? second : first;
  std::optional<ConstantView> view = getFloats(node.getInputs()[1 - index]);
  if (!view || rows.size() != 4 || weight.size() < 2 || weight.size() > 3)
    return std::nullopt;
  // Of the two axes between, the weight has the heads.
  bool readsHeadsFirst = weight.contains(rows[1]);
  char head = rows[readsHeadsFirst ? 1 : 2],
       row = rows[readsHeadsFirst ? 2 : 1];
  size_t headAxis = weight.find(head), inputAxis = weight.find(rows[3]);
  if (headAxis == StringRef::npos || inputAxis == StringRef::npos)
    return std::nullopt;
  StackedLayer layer{node.getInputs()[index],
                     *view,
                     static_cast<int64_t>(headAxis),
                     static_cast<int64_t>(inputAxis),
                     std::nullopt,
                     readsHeadsFirst,
                     /*yieldsHeadsFirst=*/result.size() > 1 &&
                         result[1] == head,
                     std::nullopt,
                     static_cast<int64_t>(result.size())};
  std::string expected = {rows[0], layer.yieldsHeadsFirst ? head : row,
                          layer.yieldsHeadsFirst ? row : head};
  if (weight.size() == 3) {
    layer.outputAxis = 3 - layer.headAxis - layer.inputAxis;
    expected += weight[*layer.outputAxis];
  }
  // Letters differ, so that each has the meaning above.
  llvm::SmallDenseSet<char> letters(expected.begin(), expected.end());
  letters.insert(rows[3]);
  bool isLayer = result == expected && letters.size() == expected.size() + 1;
  return isLayer ? std::optional(layer) : std::nullopt;
}

static std::optional<StackedLayer> getLayer(Value value) {
  NodeOp node = getNode(value);
  std::optional<ConstantView> bias;
  if (node && node.is("Add"))
    for (unsigned index : {0, 1})
      if (!bias && (bias = getFloats(node.getInputs()[index])))
        value = node.getInputs()[1 - index];
  node = getNode(value);
  std::optional<StackedLayer> layer;
  if (node && node.is("MatMul"))
    layer = getProduct(node);
  for (unsigned index : {0, 1})
    if (!layer && node && node.is("Einsum") && node.getInputs().size() == 2)
      layer = getEinsum(node, index);
  if (!layer || (bias && !layer->isBias(*bias)))
    return std::nullopt;
  // No axis is broadcast.
  SmallVector<AffineExpr> dims = getDims(layer->input);
  MLIRContext *context = value.getContext();
  if (dims[3] != getAffineConstantExpr(layer->getNumInputs(), context) ||
      dims[layer->readsHeadsFirst ? 1 : 2] !=
          getAffineConstantExpr(layer->getNumHeads(), context))
    return std::nullopt;
  layer->bias = bias;
  return layer;
}

//===----------------------------------------------------------------------===//
// Nets
//===----------------------------------------------------------------------===//

/// x [B, S, H * k] of which the heads are what `layer` reads; null if they are
/// of nothing.
static Value getInput(const StackedLayer &layer) {
  Value heads = layer.readsHeadsFirst ? getTransposed(layer.input, {0, 2, 1, 3})
                                      : layer.input;
  return heads ? getUnsplit(heads) : Value();
}

/// Whether a bias is added to what `node` yields, which is then the layer.
static bool hasBias(NodeOp node) {
  NodeOp sum = getOnlyUser(node.getOutputs()[0]);
  return sum && sum.is("Add") && bool(getLayer(sum.getOutputs()[0]));
}

bool Recognizer::recognizeStackedGateNets(NodeOp node) {
  if ((!node.is("Add") && !node.is("MatMul") && !node.is("Einsum")) ||
      (!node.is("Add") && hasBias(node)))
    return false;
  Value y = node.getOutputs()[0];
  std::optional<StackedLayer> last = getLayer(y), hidden;
  if (!last || last->getNumOutputs() != 1)
    return false;
  if (NodeOp relu = getNode(last->input, "Relu")) {
    hidden = getLayer(relu.getInputs()[0]);
    if (!hidden || hidden->resultRank != 4 ||
        hidden->yieldsHeadsFirst != last->readsHeadsFirst)
      return false;
  }
  Value x = getInput(hidden ? *hidden : *last);
  if (!x)
    return false;
  GateNets nets;
  last->append(nets.weights, nets.biases);
  if (hidden)
    hidden->append(nets.hiddenWeights, nets.hiddenBiases);
  Value logits = createGateNets(node.getLoc(), x, nets);
  if (!last->yieldsHeadsFirst)
    logits = createTranspose(logits, {0, 2, 1});
  y.replaceAllUsesWith(createReshape(logits, getDims(y)));
  return true;
}
