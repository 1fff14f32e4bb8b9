//===- ONNX.h - The ONNX dialect --------------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_ONNX_IR_ONNX_H
#define QTX_DIALECT_ONNX_IR_ONNX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include <optional>

#include "qtx/Dialect/ONNX/IR/ONNXDialect.h.inc"

#define GET_OP_CLASSES
#include "qtx/Dialect/ONNX/IR/ONNX.h.inc"

namespace qtx::onnx {

/// The size of every dimension of `type` as an expression of the function's
/// symbols; constants where it is static.
llvm::SmallVector<mlir::AffineExpr> getDims(mlir::RankedTensorType type);

/// A tensor type whose sizes are `dims`.
mlir::RankedTensorType getTensorType(llvm::ArrayRef<mlir::AffineExpr> dims,
                                     mlir::Type elementType);

/// `type` without symbolic sizes, as operations outside of this dialect have
/// it.
mlir::RankedTensorType dropDims(mlir::RankedTensorType type);

} // namespace qtx::onnx

#endif // QTX_DIALECT_ONNX_IR_ONNX_H
