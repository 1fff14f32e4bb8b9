//===- QuantizationPairs.h - Values quantized and turned back -*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_ONNX_TRANSFORMS_QUANTIZATIONPAIRS_H
#define QTX_LIB_DIALECT_ONNX_TRANSFORMS_QUANTIZATIONPAIRS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "qtx/Dialect/ONNX/IR/ONNX.h"

namespace qtx::onnx {

/// `value` without symbolic sizes.
mlir::Value getPlain(mlir::OpBuilder &builder, mlir::Value value);
/// `plain` takes the place of `old`.
void replace(mlir::OpBuilder &builder, mlir::Value old, mlir::Value plain);
/// All nodes, in the order of the graph.
llvm::SmallVector<NodeOp> getNodes(mlir::func::FuncOp func);

/// Turns each `QuantizeLinear` and the `DequantizeLinear` that alone reads its
/// codes into operations of qtx, at the place where the value is computed.
void convertPairs(mlir::func::FuncOp func);

} // namespace qtx::onnx

#endif // QTX_LIB_DIALECT_ONNX_TRANSFORMS_QUANTIZATIONPAIRS_H
