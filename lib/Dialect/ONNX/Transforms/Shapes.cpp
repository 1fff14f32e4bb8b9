//===- Shapes.cpp - Finding heads -----------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Recognizer.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

/// x of a reshape of `x`, [B, S, H * dh], to [B, S, H, dh]; null if `value` is
/// none.
static Value getUnsplit(Value value) {
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
