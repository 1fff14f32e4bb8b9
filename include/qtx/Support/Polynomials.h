//===- Polynomials.h - Elementary functions ---------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Emitters of the elementary functions of docs/Numerics.md, "Elementary
// functions", as `arith` and `math.fma` operations on f32 or vectors of f32.
// They are qtx's own, so that a result does not depend on a target's libm: no
// calls, no tables, no branches, no fast-math flags.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_POLYNOMIALS_H
#define QTX_SUPPORT_POLYNOMIALS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"

namespace qtx {

/// e^x
mlir::Value createExp(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// e^x for x <= 0, in fewer operations: 0 where the result is below 2^-125.
mlir::Value createNegativeExp(mlir::ImplicitLocOpBuilder &builder,
                              mlir::Value x);

/// 2^x for x <= 126, in fewer operations still: 2^-125 below -125.
mlir::Value createNegativeExp2(mlir::ImplicitLocOpBuilder &builder,
                               mlir::Value x);

/// The natural logarithm.
mlir::Value createLog(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// The error function.
mlir::Value createErf(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

mlir::Value createTanh(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// 1 / (1 + e^-x)
mlir::Value createSigmoid(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// 1 / sqrt(x), by IEEE square root and division.
mlir::Value createRsqrt(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// The cosine; accurate for |x| up to 2^18, see docs/Numerics.md.
mlir::Value createCos(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// x / 2 * (1 + erf(x / sqrt 2))
mlir::Value createGelu(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
mlir::Value createGeluTanh(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// x * sigmoid(x)
mlir::Value createSilu(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// Functions of f32 or f64, or vectors of them, that are computed in f64.
mlir::Value createWideExp(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createWideLog(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createExpm1(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createLog1p(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createSin(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createWideCos(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createTan(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createAsin(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createAcos(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createAtan(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createSinh(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createCosh(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createWideTanh(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createAsinh(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createAcosh(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);
mlir::Value createAtanh(mlir::ImplicitLocOpBuilder &builder, mlir::Value x);

/// x^y, likewise.
mlir::Value createPow(mlir::ImplicitLocOpBuilder &builder, mlir::Value x,
                      mlir::Value y);

} // namespace qtx

#endif // QTX_SUPPORT_POLYNOMIALS_H
