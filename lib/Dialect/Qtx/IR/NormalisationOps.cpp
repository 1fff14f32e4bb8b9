//===- NormalisationOps.cpp - Normalisation operations --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"
#include "OpUtils.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace qtx;

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/NormalisationOps.cpp.inc"

/// `x` and `y`, the edges of most operations here, are float or quantized and
/// have the same shape.
template <typename OpTy> static LogicalResult verifyXAndY(OpTy op) {
  SmallVector<QuantEdge> edges = op.getQuantEdges();
  if (failed(verifyFloatOrQuantized(op, edges[0], "x")) ||
      failed(verifyFloatOrQuantized(op, edges[1], "y")))
    return failure();
  return verifyResultShape(op, op.getX().getType().getShape(),
                           op.getY().getType());
}

//===----------------------------------------------------------------------===//
// LayerNormOp, RmsNormOp, ScaleShiftOp
//===----------------------------------------------------------------------===//

static LogicalResult verifyRowParameter(Operation *op, Value value,
                                        int64_t size, StringRef what) {
  if (!value)
    return success();
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getShape() == ArrayRef<int64_t>{size})
    return success();
  return op->emitOpError() << "expected '" << what << "' of shape [" << size
                           << "], found " << type;
}

template <typename OpTy> static LogicalResult verifyRows(OpTy op) {
  if (failed(verifyXAndY(op)))
    return failure();
  RankedTensorType x = op.getX().getType();
  if (x.getRank() == 0 || ShapedType::isDynamic(x.getShape().back()))
    return op.emitOpError()
           << "expected an 'x' whose last dimension is static, found " << x;
  return success();
}

template <typename OpTy> static LogicalResult verifyNormalisation(OpTy op) {
  if (failed(verifyRows(op)))
    return failure();
  RankedTensorType x = op.getX().getType();
  const APFloat &epsilon = op.getEpsilon();
  if (!epsilon.isFinite() || epsilon.isNegative() || epsilon.isZero())
    return op.emitOpError() << "expected a positive, finite epsilon, found "
                            << op.getEpsilonAttr();
  return verifyRowParameter(op, op.getGamma(), x.getShape().back(), "gamma");
}

LogicalResult LayerNormOp::verify() {
  if (failed(verifyNormalisation(*this)))
    return failure();
  return verifyRowParameter(*this, getBeta(),
                            getX().getType().getShape().back(), "beta");
}

LogicalResult RmsNormOp::verify() { return verifyNormalisation(*this); }

LogicalResult ScaleShiftOp::verify() {
  if (failed(verifyRows(*this)))
    return failure();
  int64_t size = getX().getType().getShape().back();
  if (failed(verifyRowParameter(*this, getGain(), size, "gain")))
    return failure();
  return verifyRowParameter(*this, getShift(), size, "shift");
}

//===----------------------------------------------------------------------===//
// ReluOp, GeluOp, SiluOp
//===----------------------------------------------------------------------===//

LogicalResult ReluOp::verify() { return verifyXAndY(*this); }
LogicalResult GeluOp::verify() { return verifyXAndY(*this); }
LogicalResult SiluOp::verify() { return verifyXAndY(*this); }

//===----------------------------------------------------------------------===//
// AddOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> AddOp::getQuantEdges() {
  return {{getLhs(), getLhsQuantAttrName(), getLhsScale(), getLhsZeroPoint()},
          {getRhs(), getRhsQuantAttrName(), getRhsScale(), getRhsZeroPoint()},
          {getY(), getYQuantAttrName(), getYScale(), getYZeroPoint()}};
}

LogicalResult AddOp::inferReturnTypes(MLIRContext *context,
                                      std::optional<Location>, Adaptor adaptor,
                                      SmallVectorImpl<Type> &types) {
  auto lhs = cast<RankedTensorType>(adaptor.getLhs().getType());
  types.push_back(
      inferQuantizable(context, lhs.getShape(), adaptor.getYQuantAttr()));
  return success();
}

LogicalResult AddOp::reifyResultShapes(OpBuilder &builder,
                                       ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getLhs()));
  return success();
}

LogicalResult AddOp::verify() {
  SmallVector<QuantEdge> edges = getQuantEdges();
  // An array of its own: a temporary list would not outlive the loop's header.
  StringRef names[] = {"lhs", "rhs", "y"};
  for (auto [edge, name] : llvm::zip_equal(edges, names))
    if (failed(verifyFloatOrQuantized(*this, edge, name)))
      return failure();
  ArrayRef<int64_t> lhs = getLhs().getType().getShape();
  ArrayRef<int64_t> rhs = getRhs().getType().getShape();
  if (rhs.size() > lhs.size() ||
      failed(verifyCompatibleShape(lhs.take_back(rhs.size()), rhs)))
    return emitOpError() << "expected 'rhs' to have the shape of 'lhs' or its "
                            "trailing dimensions, found "
                         << getLhs().getType() << " and " << getRhs().getType();
  return verifyResultShape(*this, lhs, getY().getType());
}

//===----------------------------------------------------------------------===//
// EmbeddingOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> EmbeddingOp::getQuantEdges() {
  return {{getY(), getYQuantAttrName(), getYScale(), getYZeroPoint()}};
}

LogicalResult EmbeddingOp::inferReturnTypes(MLIRContext *context,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  auto table = cast<RankedTensorType>(adaptor.getTable().getType());
  auto ids = cast<RankedTensorType>(adaptor.getIds().getType());
  SmallVector<int64_t> shape(ids.getShape());
  // The verifier demands rank 2; until then nothing is known.
  shape.push_back(table.getRank() == 2 ? table.getDimSize(1)
                                       : ShapedType::kDynamic);
  types.push_back(inferQuantizable(context, shape, adaptor.getYQuantAttr()));
  return success();
}

LogicalResult
EmbeddingOp::reifyResultShapes(OpBuilder &builder,
                               ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, getLoc(), getIds());
  sizes.push_back(builder.getIndexAttr(getRowSize()));
  reified.push_back(std::move(sizes));
  return success();
}

LogicalResult EmbeddingOp::verify() {
  RankedTensorType table = getTable().getType();
  if (table.getRank() != 2 || !table.hasStaticShape() || getNumRows() == 0)
    return emitOpError() << "expected a table of static shape [V, d] with at "
                            "least one row, found "
                         << table;
  bool isInteger = table.getElementType().isInteger();
  if (isInteger != bool(getTableScale()))
    return emitOpError() << (isInteger
                                 ? "requires a table scale for an integer table"
                                 : "expected no table scale for a float table");
  if (isInteger) {
    ArrayRef<int64_t> shape = getTableScale().getType().getShape();
    if (shape.size() != 1 || (shape[0] != 1 && shape[0] != getNumRows()))
      return emitOpError() << "expected table scales of shape [1] or ["
                           << getNumRows() << "], found "
                           << getTableScale().getType();
  }
  SmallVector<int64_t> shape(getIds().getType().getShape());
  shape.push_back(getRowSize());
  if (failed(verifyResultShape(*this, shape, getY().getType())))
    return failure();
  return verifyFloatOrQuantized(*this, getQuantEdges().front(), "y");
}
