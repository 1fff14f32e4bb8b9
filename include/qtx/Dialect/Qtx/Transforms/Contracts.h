//===- Contracts.h - What passes leave nothing of ---------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Whether a pass would still change an operation, for the contracts of stages.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_TRANSFORMS_CONTRACTS_H
#define QTX_DIALECT_QTX_TRANSFORMS_CONTRACTS_H

#include "qtx/Dialect/Qtx/IR/QtxOps.h"

namespace qtx {

/// Whether `qtx-fold-permute` would remove `op`.
bool canFoldPermute(PermuteOp op);

/// Whether `qtx-fuse-linear` would join `op` to the linear whose result it
/// reads.
bool canFuseIntoLinear(mlir::Operation *op);

} // namespace qtx

#endif // QTX_DIALECT_QTX_TRANSFORMS_CONTRACTS_H
