//===- Passes.h - Passes that make objects ----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_PASSES_H
#define QTX_TARGET_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace qtx {
#define GEN_PASS_DECL
#include "qtx/Target/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "qtx/Target/Passes.h.inc"
} // namespace qtx

#endif // QTX_TARGET_PASSES_H
