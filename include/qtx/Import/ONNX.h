//===- ONNX.h - Import of ONNX models ---------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_IMPORT_ONNX_H
#define QTX_IMPORT_ONNX_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"

namespace qtx {

struct ImportOptions {
  /// Sizes for dynamic dimensions of the inputs, by the name of the dimension.
  llvm::StringMap<int64_t> sizes;
};

/// Reads the ONNX model `path` as one function `main` of `onnx.node` operations
/// in the form that docs/Import.md states. Reports why it cannot, and returns
/// null.
mlir::OwningOpRef<mlir::ModuleOp> importONNX(llvm::StringRef path,
                                             mlir::MLIRContext *context,
                                             const ImportOptions &options = {});

} // namespace qtx

#endif // QTX_IMPORT_ONNX_H
