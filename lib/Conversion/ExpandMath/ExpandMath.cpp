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

/// The emitter of functions that are computed in f64, whatever their type is.
static CreateFunction getWideEmitter(Operation *op) {
  return llvm::TypeSwitch<Operation *, CreateFunction>(op)
      .Case([](math::AcosOp) { return createAcos; })
      .Case([](math::AcoshOp) { return createAcosh; })
      .Case([](math::AsinOp) { return createAsin; })
      .Case([](math::AsinhOp) { return createAsinh; })
      .Case([](math::AtanOp) { return createAtan; })
      .Case([](math::AtanhOp) { return createAtanh; })
      .Case([](math::CoshOp) { return createCosh; })
      .Case([](math::ExpM1Op) { return createExpm1; })
      .Case([](math::Log1pOp) { return createLog1p; })
      .Case([](math::SinOp) { return createSin; })
      .Case([](math::SinhOp) { return createSinh; })
      .Case([](math::TanOp) { return createTan; })
      .Default(CreateFunction(nullptr));
}

/// The emitter of the function that `op` computes on f64, or null.
static CreateFunction getF64Emitter(Operation *op) {
  return llvm::TypeSwitch<Operation *, CreateFunction>(op)
      .Case([](math::ExpOp) { return createWideExp; })
      .Case([](math::LogOp) { return createWideLog; })
      .Case([](math::TanhOp) { return createWideTanh; })
      .Case([](math::CosOp) { return createWideCos; })
      .Default([](Operation *op) { return getWideEmitter(op); });
}

/// The emitter of the function that `op` computes on f32, or null.
static CreateFunction getEmitter(Operation *op) {
  return llvm::TypeSwitch<Operation *, CreateFunction>(op)
      .Case([](math::ExpOp) { return createExp; })
      .Case([](math::LogOp) { return createLog; })
      .Case([](math::ErfOp) { return createErf; })
      .Case([](math::TanhOp) { return createTanh; })
      .Case([](math::CosOp) { return createCos; })
      .Case([](math::RsqrtOp) { return createRsqrt; })
      .Default([](Operation *op) { return getWideEmitter(op); });
}

static Value emit(ImplicitLocOpBuilder &builder, Operation *op,
                  CreateFunction emitter) {
  if (isa<math::PowFOp>(op))
    return createPow(builder, op->getOperand(0), op->getOperand(1));
  return emitter(builder, op->getOperand(0));
}

static void expand(Operation *op, IRRewriter &rewriter) {
  CreateFunction emitter = getEmitter(op);
  bool isPow = isa<math::PowFOp>(op);
  if (!emitter && !isPow)
    return;
  Type type = op->getResult(0).getType();
  bool isF64 = getElementTypeOrSelf(type).isF64();
  if (isF64)
    emitter = getF64Emitter(op);
  auto remarkOptions =
      remark::RemarkOpts::name("expand-math").category("qtx-expand-math");
  bool isExpanded =
      isF64 ? emitter || isPow : getElementTypeOrSelf(type).isF32();
  if (!isExpanded || isa<TensorType>(type)) {
    remark::missed(op->getLoc(), remarkOptions) << remark::add(
        "kept '{0}': no function of its type", op->getName().getStringRef());
    return;
  }
  rewriter.setInsertionPoint(op);
  ImplicitLocOpBuilder builder(op->getLoc(), rewriter);
  remark::passed(op->getLoc(), remarkOptions)
      << remark::add("expanded '{0}'", op->getName().getStringRef());
  rewriter.replaceOp(op, emit(builder, op, emitter));
}

namespace {
struct QtxExpandMathPass : qtx::impl::QtxExpandMathPassBase<QtxExpandMathPass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    getOperation()->walk([&](Operation *op) { expand(op, rewriter); });
  }
};
} // namespace
