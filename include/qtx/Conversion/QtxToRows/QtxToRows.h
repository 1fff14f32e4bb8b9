//===- QtxToRows.h - Computations on rows -----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_QTXTOROWS_QTXTOROWS_H
#define QTX_CONVERSION_QTXTOROWS_QTXTOROWS_H

#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace qtx {
#define GEN_PASS_DECL_CONVERTQTXTOROWSPASS
#define GEN_PASS_DECL_QTXFUSEROWSPASS
#include "qtx/Conversion/Passes.h.inc"

/// Patterns that turn operations in storage form that work row by row into
/// `qtx.rows`.
void populateQtxToRowsPatterns(mlir::RewritePatternSet &patterns);

/// Why `op`, in storage form, does not become rows, as remarks have it; empty
/// if it does.
llvm::StringRef findRowsObstacle(mlir::Operation *op);

/// Patterns that join `qtx.rows` with those that compute their inputs.
void populateFuseRowsPatterns(mlir::RewritePatternSet &patterns);
} // namespace qtx

#endif // QTX_CONVERSION_QTXTOROWS_QTXTOROWS_H
