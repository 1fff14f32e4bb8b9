//===- Passes.h - Passes on ONNX graphs -------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_ONNX_TRANSFORMS_PASSES_H
#define QTX_DIALECT_ONNX_TRANSFORMS_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace qtx {
#define GEN_PASS_DECL
#include "qtx/Dialect/ONNX/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "qtx/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace qtx

#endif // QTX_DIALECT_ONNX_TRANSFORMS_PASSES_H
