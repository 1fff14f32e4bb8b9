//===- ExpandMath.cpp - Expand elementary functions -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/ExpandMath/ExpandMath.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/TypeUtilities.h"
#include "qtx/Support/Polynomials.h"
#include "llvm/ADT/TypeSwitch.h"

namespace qtx {
#define GEN_PASS_DEF_QTXEXPANDMATHPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

using CreateFunction = Value (*)(ImplicitLocOpBuilder &, Value);

/// The emitter of the function that `op` computes, or null.
static CreateFunction getEmitter(Operation *op) {
  return llvm::TypeSwitch<Operation *, CreateFunction>(op)
      .Case([](math::ExpOp) { return createExp; })
      .Case([](math::LogOp) { return createLog; })
      .Case([](math::ErfOp) { return createErf; })
      .Case([](math::TanhOp) { return createTanh; })
      .Case([](math::CosOp) { return createCos; })
      .Case([](math::RsqrtOp) { return createRsqrt; })
      .Default(CreateFunction(nullptr));
}

static void expand(Operation *op, CreateFunction emitter,
                   IRRewriter &rewriter) {
  Type type = op->getResult(0).getType();
  auto remarkOptions =
      remark::RemarkOpts::name("expand-math").category("qtx-expand-math");
  if (!getElementTypeOrSelf(type).isF32() || isa<TensorType>(type)) {
    remark::missed(op->getLoc(), remarkOptions)
        << remark::add("kept '{0}': not on f32 or vectors of f32",
                       op->getName().getStringRef());
    return;
  }
  rewriter.setInsertionPoint(op);
  ImplicitLocOpBuilder builder(op->getLoc(), rewriter);
  remark::passed(op->getLoc(), remarkOptions)
      << remark::add("expanded '{0}'", op->getName().getStringRef());
  rewriter.replaceOp(op, emitter(builder, op->getOperand(0)));
}

namespace {
struct QtxExpandMathPass : qtx::impl::QtxExpandMathPassBase<QtxExpandMathPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](Operation *op) {
      if (CreateFunction emitter = getEmitter(op))
        expand(op, emitter, rewriter);
    });
  }
};
} // namespace
