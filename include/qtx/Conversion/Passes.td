//===- Passes.td - Conversion passes ------------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_PASSES
#define QTX_CONVERSION_PASSES

include "mlir/Pass/PassBase.td"

def ConvertQtxToLinalgPass : Pass<"convert-qtx-to-linalg", "::mlir::ModuleOp"> {
  let summary = "lower qtx operations to linalg: the reference semantics";
  let description = [{
    Lowers every qtx operation in storage form to `linalg`, `tensor`, `arith` and
    `math` operations that spell out docs/Numerics.md step by step. The result is
    obviously right before it is fast; every other lowering is tested against
    it.

    Operations whose tensors still have quantized element types are an error:
    run `qtx-to-storage` first.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
}

def QtxExpandCopiesPass : Pass<"qtx-expand-copies"> {
  let summary = "expand copies of strided memrefs into linalg";
  let description = [{
    Replaces each `memref.copy` whose source or target is not dense by a
    `linalg.generic`. Otherwise it becomes a call of a function of MLIR's runtime
    library, which compiled models do not need. Dense copies stay: they become
    `memcpy`.
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def QtxExpandMathPass : Pass<"qtx-expand-math"> {
  let summary = "expand elementary functions of f32 into qtx's own";
  let description = [{
    Replaces `math.exp`, `math.log`, `math.erf`, `math.tanh`, `math.cos` and
    `math.rsqrt` on f32, or vectors of f32, by the polynomials of
    docs/Numerics.md, "Elementary functions", so that a result does not depend on
    the libm of the target. The same operations on other element types stay.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect"];
}

#endif // QTX_CONVERSION_PASSES
