//===- QuantizationOps.cpp - Quantization operations ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "OpUtils.h"

using namespace mlir;
using namespace qtx;

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/QuantizationOps.cpp.inc"

//===----------------------------------------------------------------------===//
// QuantizeOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> QuantizeOp::getQuantEdges() {
  return {{getY(), getYQuantAttrName(), getYScale(), getYZeroPoint()}};
}

LogicalResult QuantizeOp::verify() {
  if (failed(verifyIsQuantized(*this, getQuantEdges().front(), "result")))
    return failure();
  return verifySameShape(*this, getX().getType(), getY().getType());
}

LogicalResult
QuantizeOp::reifyResultShapes(OpBuilder &builder,
                              ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  return success();
}

//===----------------------------------------------------------------------===//
// DequantizeOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> DequantizeOp::getQuantEdges() {
  return {{getX(), getXQuantAttrName(), getXScale(), getXZeroPoint()}};
}

LogicalResult DequantizeOp::verify() {
  if (failed(verifyIsQuantized(*this, getQuantEdges().front(), "operand")))
    return failure();
  return verifySameShape(*this, getX().getType(), getY().getType());
}

LogicalResult
DequantizeOp::reifyResultShapes(OpBuilder &builder,
                                ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  return success();
}
