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
    | `import` to `fuse` | the weight of a linear has a static shape |
    | `calibrate` | what is observed of a value is a finite range for each of its channels; a linear that was observed has an observed input |
    | `fold` | no permutation that `qtx-fold-permute` would remove |
    | `fuse` | no activation or quantizer that `qtx-fuse-linear` would join to the linear in front of it |
    | from `storage` | no quantized element type |
    | `configure` | chosen micro-kernels run on the target; a linear without one has a reason |
    | `pack` | what has a micro-kernel is a `qtx.kernel`; the weight of a linear one is constant |
    | from `tile` | of qtx, kernels and rows only |
    | from `bufferize` | no tensor |
    | from `vector` | no operation of qtx |
    | `vector` | no buffer outside of the workspace |
    | `object` | operations of the llvm and omp dialects |
  }];
  let options = [
    Option<"stage", "stage", "std::string", /*default=*/"\"import\"",
           "The stage that the IR has left">
  ];
}

#endif // QTX_PIPELINES_PASSES
