//===- QtxToLinalg.h - The reference lowering -------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_QTXTOLINALG_QTXTOLINALG_H
#define QTX_CONVERSION_QTXTOLINALG_QTXTOLINALG_H

#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace qtx {
#define GEN_PASS_DECL_CONVERTQTXTOLINALGPASS
#include "qtx/Conversion/Passes.h.inc"

/// Patterns that lower each op family, in storage form, to upstream dialects.
void populateQuantizationToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateContractionToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateNormalisationToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateAttentionToLinalgPatterns(mlir::RewritePatternSet &patterns);
void populateTrainingToLinalgPatterns(mlir::RewritePatternSet &patterns);

/// All of them.
void populateQtxToLinalgPatterns(mlir::RewritePatternSet &patterns);
} // namespace qtx

#endif // QTX_CONVERSION_QTXTOLINALG_QTXTOLINALG_H
