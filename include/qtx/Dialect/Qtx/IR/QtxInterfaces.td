//===- QtxInterfaces.td - Interfaces of the qtx dialect ----*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXINTERFACES
#define QTX_DIALECT_QTX_IR_QTXINTERFACES

include "mlir/IR/OpBase.td"

def Qtx_QuantizableOpInterface : OpInterface<"QuantizableOpInterface"> {
  let cppNamespace = "::qtx";
  let description = [{
    An operation some of whose operands or results may be quantized. Each such
    edge has an optional type attribute that holds the quantized element type
    when the tensor itself is in storage form.
  }];
  let methods = [
    InterfaceMethod<
      "The quantizable edges of this operation that are present.",
      "::llvm::SmallVector<::qtx::QuantEdge>", "getQuantEdges", (ins)>,
  ];
  let verify = [{ return ::qtx::verifyQuantEdges($_op); }];
}

#endif // QTX_DIALECT_QTX_IR_QTXINTERFACES
