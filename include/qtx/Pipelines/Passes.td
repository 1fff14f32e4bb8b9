//===- Passes.td - Passes about stages ---------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_PIPELINES_PASSES
#define QTX_PIPELINES_PASSES

include "mlir/Pass/PassBase.td"

def QtxVerifyStagePass : Pass<"qtx-verify-stage", "::mlir::ModuleOp"> {
  let summary = "check the exit contract of a stage";
  let description = [{
    Checks what the IR must hold when it leaves a stage of `qtxc`, and reports each
    operation that breaks it. It changes nothing.

    | up to or from | contract |
    |---|---|
    | `import` to `pack` | operations of qtx and upstream's operations on tensors; ranked tensors without an encoding |
    | from `storage` | no quantized element type |
    | from `bufferize` | no tensor |
    | from `vector` | no operation of qtx |
    | `object` | operations of the llvm dialect |
  }];
  let options = [
    Option<"stage", "stage", "std::string", /*default=*/"\"import\"",
           "The stage that the IR has left">
  ];
}

#endif // QTX_PIPELINES_PASSES
