//===- Passes.h - Passes on the qtx dialect ---------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_TRANSFORMS_PASSES_H
#define QTX_DIALECT_QTX_TRANSFORMS_PASSES_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/Pass.h"

namespace qtx {

/// Unit attribute of the assertions that compare two sizes.
inline constexpr llvm::StringLiteral kSizesAgreeAttr = "qtx.sizes_agree";

#define GEN_PASS_DECL
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

#endif // QTX_DIALECT_QTX_TRANSFORMS_PASSES_H
