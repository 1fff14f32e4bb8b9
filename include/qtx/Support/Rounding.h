//===- Rounding.h - Rounding to integers ------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_ROUNDING_H
#define QTX_SUPPORT_ROUNDING_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Value.h"

namespace qtx {

/// The nearest integers, ties to even, of a vector of f32 that fit 32 bits: one
/// instruction, where `math.roundeven` and a conversion are three.
mlir::Value createNearestIntegers(mlir::ImplicitLocOpBuilder &builder,
                                  mlir::Value vector);

} // namespace qtx

#endif // QTX_SUPPORT_ROUNDING_H
