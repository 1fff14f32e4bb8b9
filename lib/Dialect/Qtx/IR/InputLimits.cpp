//===- InputLimits.cpp - What a model allows of its inputs ----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/InputLimits.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"

using namespace mlir;
using namespace qtx;

/// The input that `ids` is, perhaps in another shape; null if it is computed.
static BlockArgument traceIds(Value ids) {
  while (Operation *op = ids.getDefiningOp()) {
    if (!isa<tensor::CastOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(
            op))
      return {};
    ids = op->getOperand(0);
  }
  return cast<BlockArgument>(ids);
}

llvm::MapVector<unsigned, int64_t> qtx::findLookups(func::FuncOp function) {
  llvm::MapVector<unsigned, int64_t> rows;
  function.walk([&](EmbeddingOp op) {
    BlockArgument ids = traceIds(op.getIds());
    if (!ids || ids.getOwner() != &function.getBody().front())
      return;
    int64_t &smallest =
        rows.try_emplace(ids.getArgNumber(), op.getNumRows()).first->second;
    smallest = std::min<int64_t>(smallest, op.getNumRows());
  });
  return rows;
}
