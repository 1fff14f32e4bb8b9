//===- InputLimits.h - What a model allows of its inputs --------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_INPUTLIMITS_H
#define QTX_DIALECT_QTX_IR_INPUTLIMITS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/MapVector.h"

namespace qtx {

/// The largest value of dims that tables of the model limit, on its function.
inline constexpr llvm::StringLiteral kMaxSizesAttr = "qtx.max_sizes";

/// The rows of the smallest table that the ids of each argument look up.
llvm::MapVector<unsigned, int64_t> findLookups(mlir::func::FuncOp function);

} // namespace qtx

#endif // QTX_DIALECT_QTX_IR_INPUTLIMITS_H
