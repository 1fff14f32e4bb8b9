//===- QtxDialect.td - The qtx dialect ---------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXDIALECT
#define QTX_DIALECT_QTX_IR_QTXDIALECT

include "mlir/IR/OpBase.td"

def Qtx_Dialect : Dialect {
  let name = "qtx";
  let cppNamespace = "::qtx";
  let summary = "quantized transformers";
  let description = [{
    Operations and types for transformers whose arithmetic is integer: grouped
    (per-embedding-group) activation quantization, attention with clipped
    softmax and output gates, and training operations that record weight
    oscillation.

    Graph operations have value semantics. Every quantizable operand or result
    is written in one of two forms with the same meaning:

    - the *quantized form*: the tensor's element type is `!quant.uniform` (one
      scale) or `!qtx.grouped` (one scale per group of channels);
    - the *storage form*: the tensor holds the storage integers and the quantized
      element type is an attribute of the operation, written `as` beside the
      operand. `qtx-to-storage` converts the first into the second.

    The arithmetic of every operation is fixed in `docs/Numerics.md`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::quant::QuantDialect",
                           "::mlir::tensor::TensorDialect"];
  let hasConstantMaterializer = 1;
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = [{
    void registerTypes();
    void registerAttributes();
  }];
}

#endif // QTX_DIALECT_QTX_IR_QTXDIALECT
