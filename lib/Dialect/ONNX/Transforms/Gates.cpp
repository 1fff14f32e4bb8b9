//===- Gates.cpp - Finding gates of attention ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttentionBuilder.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

namespace {
/// `context * (sigmoid(logits) * gain)`
struct Gate {
  NodeOp product;
  Value logits;
  double gain;
  /// What moves the heads of the context behind its queries, and merges them,
  /// before it is gated.
  SmallVector<NodeOp, 2> moves;
};
} // namespace

/// The gate that multiplies `context`, if nothing else reads it.
static std::optional<Gate> getGate(Value context) {
  NodeOp product = getOnlyUser(context);
  if (!product || !product.is("Mul"))
    return std::nullopt;
  for (unsigned index : {0, 1}) {
    if (strip(product.getInputs()[index]) != strip(context))
      continue;
    Scaled factor = getScaled(product.getInputs()[1 - index]);
    NodeOp sigmoid = getNode(factor.value, "Sigmoid");
    if (sigmoid && haveSameDims(context, product.getOutputs()[0]))
      return Gate{product, strip(sigmoid.getInputs()[0]), factor.factor, {}};
  }
  return std::nullopt;
}

/// The same, also behind the nodes that merge the heads of `context`.
static std::optional<Gate> findGate(Value context) {
  SmallVector<NodeOp, 2> moves;
  while (true) {
    if (std::optional<Gate> gate = getGate(context)) {
      gate->moves = moves;
      return gate;
    }
    NodeOp user = getOnlyUser(context);
    if (!user)
      return std::nullopt;
    context = user.getOutputs()[0];
    bool isMove = moves.empty() ? bool(getTransposed(context, {0, 2, 1, 3}))
                                : user.is("Reshape") && getRank(context) == 3;
    if (!isMove)
      return std::nullopt;
    moves.push_back(user);
  }
}

/// `logits` as [B, H, T] or [B, H, T, d]; null if there is not one per head and
/// query, or per channel of these.
Value Recognizer::getGateLogits(AttentionBuilder &attention, Value logits,
                                bool areHeadsFirst) {
  if (!isF32(logits))
    return {};
  SmallVector<AffineExpr> dims = attention.getResultDims();
  AffineExpr batch = dims[0], heads = dims[1], queries = dims[2];
  AffineExpr one = builder.getAffineConstantExpr(1);
  SmallVector<AffineExpr> found = getDims(logits);
  if (found.size() == 3 && !areHeadsFirst &&
      found == ArrayRef({batch, queries, heads * dims[3]}))
    return getHeads(logits, getSize(heads));
  if (!areHeadsFirst)
    std::swap(dims[1], dims[2]);
  SmallVector<AffineExpr> perHead(dims);
  perHead[3] = one;
  if (found == dims)
    return areHeadsFirst ? logits : createTranspose(logits, {0, 2, 1, 3});
  if (found != perHead)
    return {};
  perHead.pop_back();
  Value shaped = createReshape(logits, perHead);
  return areHeadsFirst ? shaped : createTranspose(shaped, {0, 2, 1});
}

/// Sets the gate of an attention whose result is `context`, with heads merged
/// if it has rank 3; returns what it becomes with it.
Value Recognizer::takeGate(AttentionBuilder &attention, Value context) {
  std::optional<Gate> gate = findGate(context);
  if (!gate)
    return context;
  OpBuilder::InsertPoint before = builder.saveInsertionPoint();
  builder.setInsertionPoint(gate->product);
  Value logits = getGateLogits(attention, gate->logits,
                               /*areHeadsFirst=*/gate->moves.empty() &&
                                   getRank(context) == 4);
  if (!logits) {
    obstacles[gate->product] = "its gate is not one per head and query, or per "
                               "channel of these";
    builder.restoreInsertionPoint(before);
    return context;
  }
  attention.gate = logits;
  attention.gain = gate->gain;
  Value gated = gate->product.getOutputs()[0];
  if (gate->moves.empty())
    return gated;
  // Heads are merged behind the gate.
  for (NodeOp move : gate->moves)
    move->moveBefore(gate->product);
  builder.setInsertionPoint(gate->moves.front());
  gated.replaceAllUsesWith(gate->moves.back().getOutputs()[0]);
  return context;
}
