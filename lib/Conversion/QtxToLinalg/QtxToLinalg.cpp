//===- QtxToLinalg.cpp - The reference lowering ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/QtxToLinalg/QtxToLinalg.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/DialectConversion.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"
#include "qtx/Dialect/Qtx/IR/RowOps.h"

namespace qtx {
#define GEN_PASS_DEF_CONVERTQTXTOLINALGPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

void qtx::populateQtxToLinalgPatterns(RewritePatternSet &patterns) {
  populateQuantizationToLinalgPatterns(patterns);
  populateContractionToLinalgPatterns(patterns);
  populateNormalisationToLinalgPatterns(patterns);
  populateAttentionToLinalgPatterns(patterns);
  populateTrainingToLinalgPatterns(patterns);
}

/// The patterns take storage integers only. Their failure to match would not
/// say why, so this does.
static LogicalResult verifyStorageForm(Operation *root) {
  auto isQuantized = [](Type type) { return getStorageForm(type) != type; };
  bool holds = true;
  root->walk([&](Operation *op) {
    if (!isa_and_present<QtxDialect>(op->getDialect()) ||
        (llvm::none_of(op->getOperandTypes(), isQuantized) &&
         llvm::none_of(op->getResultTypes(), isQuantized)))
      return;
    op->emitOpError()
        << "requires the storage form; run 'qtx-to-storage' first";
    holds = false;
  });
  return success(holds);
}

namespace {
struct ConvertQtxToLinalgPass
    : qtx::impl::ConvertQtxToLinalgPassBase<ConvertQtxToLinalgPass> {
  void runOnOperation() override {
    if (failed(verifyStorageForm(getOperation())))
      return signalPassFailure();
    ConversionTarget target(getContext());
    target.addIllegalDialect<QtxDialect>();
    // The leaves of the fast path, which qtx-expand-kernels lowers.
    target.addLegalOp<KernelOp>();
    // Rows are expanded after bufferization.
    target.addLegalOp<RowsOp, RowReduceOp, YieldOp>();
    target.markUnknownOpDynamicallyLegal([](Operation *) { return true; });
    RewritePatternSet patterns(&getContext());
    populateQtxToLinalgPatterns(patterns);
    // Nothing is undone after a failure, so no rollback is kept.
    ConversionConfig config;
    config.allowPatternRollback = false;
    if (failed(applyPartialConversion(getOperation(), target,
                                      std::move(patterns), config)))
      signalPassFailure();
  }
};
} // namespace
