//===- Passes.h - Passes about stages ---------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_PIPELINES_PASSES_H
#define QTX_PIPELINES_PASSES_H

#include "mlir/Pass/Pass.h"

namespace qtx {

#define GEN_PASS_DECL
#include "qtx/Pipelines/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "qtx/Pipelines/Passes.h.inc"

} // namespace qtx

#endif // QTX_PIPELINES_PASSES_H
