//===- ExpandCopies.cpp - Expand strided copies into linalg ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/ExpandCopies/ExpandCopies.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"

namespace qtx {
#define GEN_PASS_DEF_QTXEXPANDCOPIESPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;

static bool isDense(Type type) {
  auto memref = dyn_cast<MemRefType>(type);
  return memref && memref.getLayout().isIdentity();
}

static void expand(memref::CopyOp op, IRRewriter &rewriter) {
  Type source = op.getSource().getType(), target = op.getTarget().getType();
  if (isDense(source) && isDense(target))
    return;
  auto remarkOptions =
      remark::RemarkOpts::name("expand-copies").category("qtx-expand-copies");
  if (!isa<MemRefType>(source) || !isa<MemRefType>(target)) {
    remark::missed(op.getLoc(), remarkOptions)
        << remark::add("kept a copy of unranked memrefs");
    return;
  }
  remark::passed(op.getLoc(), remarkOptions)
      << remark::add("expanded a strided copy");
  rewriter.setInsertionPoint(op);
  linalg::makeMemRefCopyOp(rewriter, op.getLoc(), op.getSource(),
                           op.getTarget());
  rewriter.eraseOp(op);
}

namespace {
struct QtxExpandCopiesPass
    : qtx::impl::QtxExpandCopiesPassBase<QtxExpandCopiesPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](memref::CopyOp op) { expand(op, rewriter); });
  }
};
} // namespace
