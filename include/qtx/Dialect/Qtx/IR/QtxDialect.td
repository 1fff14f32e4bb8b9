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

    Arguments and results of functions may carry the attribute `qtx.name`, a
    string: the name by which callers know the input or output. The attribute
    `qtx.dims` names the dynamic sizes of a tensor: an array with one string per
    dimension, empty where the size is static or has no name. Sizes of arguments
    with the same name are equal: callers pass each of them once, in order of
    first appearance.

    ```mlir
    func.func @main(%x: tensor<?x8xf32> {qtx.name = "pixels",
                                         qtx.dims = ["batch", ""]})
        -> (tensor<?xf32> {qtx.name = "logits", qtx.dims = ["batch"]})
    ```
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::quant::QuantDialect",
                           "::mlir::tensor::TensorDialect"];
  let hasConstantMaterializer = 1;
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
  let extraClassDeclaration = [{
    /// The name of an argument or result of a function.
    static constexpr ::llvm::StringLiteral kNameAttrName = "qtx.name";
    /// The names of its dynamic sizes.
    static constexpr ::llvm::StringLiteral kDimsAttrName = "qtx.dims";

    void registerTypes();
    void registerAttributes();
  }];
}

#endif // QTX_DIALECT_QTX_IR_QTXDIALECT
