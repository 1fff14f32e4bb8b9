//===- Passes.h - Passes of the fast path -----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_KERNEL_PASSES_H
#define QTX_KERNEL_PASSES_H

#include "mlir/Pass/Pass.h"

namespace qtx {
#define GEN_PASS_DECL
#include "qtx/Kernel/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

#endif // QTX_KERNEL_PASSES_H
