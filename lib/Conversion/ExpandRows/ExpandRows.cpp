//===- ExpandRows.cpp - Expand rows into vectors --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/ExpandRows/ExpandRows.h"
#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "qtx/Kernel/Target.h"

namespace qtx {
#define GEN_PASS_DEF_QTXEXPANDROWSPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

/// The size of the vectors of the target.
static unsigned getVectorBits(Operation *op) {
  TargetFeatures features(op);
  if (features.has("avx512f"))
    return 512;
  return features.has("avx2") ? 256 : 128;
}

namespace {

struct QtxExpandRowsPass : qtx::impl::QtxExpandRowsPassBase<QtxExpandRowsPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<RowsOp> ops;
    getOperation()->walk([&](RowsOp op) { ops.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (RowsOp op : ops) {
      if (op.getNumResults() != 0) {
        op.emitOpError() << "expected memrefs, found tensors; bufferize first";
        return signalPassFailure();
      }
      rewriter.setInsertionPoint(op);
      unsigned bits = vectorBits ? unsigned(vectorBits) : getVectorBits(op);
      RowsEmitter emitter(op, bits / 32, rewriter);
      emitter.emit();
      emitter.freeBuffers();
      if (scf::ParallelOp parts = emitter.getParts())
        outline(parts, rewriter);
      rewriter.eraseOp(op);
    }
  }

  /// Makes a function of the code of a part: OpenMP wants one block.
  void outline(scf::ParallelOp parts, IRRewriter &rewriter) {
    std::string name = "qtx_rows";
    for (unsigned i = 0; getOperation().lookupSymbol(name); ++i)
      name = "qtx_rows_" + std::to_string(i);
    FailureOr<func::FuncOp> function = outlineSingleBlockRegion(
        rewriter, parts.getLoc(), parts.getRegion(), name);
    // It only fails on a region of several blocks.
    function->setPrivate();
  }
};

} // namespace
