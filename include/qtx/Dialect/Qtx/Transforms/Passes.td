//===- Passes.td - Passes on the qtx dialect ---------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_TRANSFORMS_PASSES
#define QTX_DIALECT_QTX_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// Storage form
//===----------------------------------------------------------------------===//

def QtxToStoragePass : Pass<"qtx-to-storage", "::mlir::ModuleOp"> {
  let summary = "turn tensors of quantized element type into storage integers";
  let description = [{
    Gives every tensor the integer element type that it is stored as, and moves
    the quantized element type into an attribute of each operation that uses the
    tensor. Afterwards no value has a quantized element type: this is the contract
    of the storage stage, and the function ABI, in which a quantized argument is
    its storage integers.

    It converts qtx operations, functions, calls, branches, structured control
    flow, `tensor.cast`, `tensor.dim`, `tensor.empty`, `tensor.collapse_shape` and
    `tensor.expand_shape` (of dimensions other than the axis of the groups) and
    `arith.select`. Any other operation with a quantized operand or result is an
    error that names it: a slice of a tensor with groups, for instance, has other
    groups, which only the operation's author knows.

    A quantized constant is written as a resource,
    `arith.constant dense_resource<w> : tensor<4x!quant.uniform<i8:f32, 0.1>>`,
    or as an integer constant that is used in storage form (`as`) or goes through
    `quant.scast`. Storage casts disappear.

    ```mlir
    func.func @f(%x: tensor<?x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<?x8xf32> {
      %y = qtx.dequantize %x
          : tensor<?x8x!quant.uniform<i8:f32, 0.5>> -> tensor<?x8xf32>
      return %y : tensor<?x8xf32>
    }
    ```

    becomes

    ```mlir
    func.func @f(%x: tensor<?x8xi8>) -> tensor<?x8xf32> {
      %y = qtx.dequantize %x as !quant.uniform<i8:f32, 0.5>
          : tensor<?x8xi8> -> tensor<?x8xf32>
      return %y : tensor<?x8xf32>
    }
    ```
  }];
}

def QtxVerifyStorageFormPass : Pass<"qtx-verify-storage-form", "::mlir::ModuleOp"> {
  let summary = "check that no value has a quantized element type";
  let description = [{
    The contract of the storage stage, as a check: one error for each operation
    with an operand, a result, a block argument or a function type that holds a
    quantized element type of qtx or of the quant dialect. It changes nothing.
  }];
}

#endif // QTX_DIALECT_QTX_TRANSFORMS_PASSES
