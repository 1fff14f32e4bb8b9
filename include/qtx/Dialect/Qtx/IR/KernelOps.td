//===- KernelOps.td - Leaves of the fast path --------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_KERNELOPS
#define QTX_DIALECT_QTX_IR_KERNELOPS

include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "qtx/Dialect/Qtx/IR/QtxOpBase.td"

def Qtx_KernelOp : Op<Qtx_Dialect, "kernel", [
    AttrSizedOperandSegments, DestinationStyleOpInterface,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<BufferizableOpInterface, [
      "bufferizesToMemoryRead", "bufferizesToMemoryWrite", "getAliasingValues",
      "bufferize"]>]> {
  let summary = "an operation that a kernel computes into its destination";
  let description = [{
    The leaf of the fast path: what the operation named `op` computes, written to
    `outs` by loops and vectors that `qtx-expand-kernels` emits after
    bufferization. `inputs` are the operands of that operation and `params` its
    attributes (the segments of its operands among them), both as the kernel wants
    them: a constant operand may be packed, and a parameter may be combined with
    another. Which form that is, each kernel says where it makes this operation.
    Behind the operands of the operation may stand those of an epilogue
    (`qtx-fuse-kernels`).

    On tensors it has value semantics and no effects; every element of `outs` is
    overwritten, and none is read unless `params` has `accumulate`: then what the
    operation computes is added to it, in fp32. On memrefs it has no results. Inputs
    and destinations do not overlap, and the last dimension of each is dense.

    Example:

    ```mlir
    %y = qtx.kernel "qtx.gelu"(%x) outs(%init) {}
        : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
    ```
  }];
  let arguments = (ins StrAttr:$op, Variadic<AnyType>:$inputs,
                       Variadic<AnyShaped>:$outs, DictionaryAttr:$params);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $op `(` $inputs `)` `outs` `(` $outs `)` $params attr-dict `:`
    functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutsMutable(); }

    /// The parameter of a kernel that adds to its destination.
    static constexpr ::llvm::StringLiteral kAccumulateParam = "accumulate";
    bool accumulates() { return getParams().contains(kAccumulateParam); }
  }];
}

#endif // QTX_DIALECT_QTX_IR_KERNELOPS
