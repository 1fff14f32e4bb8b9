//===- FoldUtils.h - Shared pieces of canonicalisers ------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_QTX_IR_FOLDUTILS_H
#define QTX_LIB_DIALECT_QTX_IR_FOLDUTILS_H

#include "OpUtils.h"
#include "mlir/IR/PatternMatch.h"

namespace qtx {

/// One group is per tensor: where the run-time parameters of an edge in storage
/// form are one group of constants, they become part of its type.
template <typename OpTy>
struct UsePerTensorType : mlir::OpRewritePattern<OpTy> {
  using Accessor = mlir::MutableOperandRange (OpTy::*)();

  /// The position of the edge and the accessors of its parameters.
  UsePerTensorType(mlir::MLIRContext *context, unsigned edge, Accessor scale,
                   Accessor zeroPoint)
      : mlir::OpRewritePattern<OpTy>(context), edge(edge), scale(scale),
        zeroPoint(zeroPoint) {}

  mlir::LogicalResult
  matchAndRewrite(OpTy op, mlir::PatternRewriter &rewriter) const override {
    QuantEdge quantEdge = op.getQuantEdges()[edge];
    mlir::Type type = getPerTensorEquivalent(op, quantEdge);
    if (!type)
      return mlir::failure();
    rewriter.modifyOpInPlace(op, [&] {
      op->setAttr(quantEdge.attrName, mlir::TypeAttr::get(type));
      (op.*scale)().clear();
      (op.*zeroPoint)().clear();
    });
    return mlir::success();
  }

private:
  unsigned edge;
  Accessor scale, zeroPoint;
};

} // namespace qtx

#endif // QTX_LIB_DIALECT_QTX_IR_FOLDUTILS_H
