//===- Passes.td - Passes that make objects ----------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_PASSES
#define QTX_TARGET_PASSES

include "mlir/Pass/PassBase.td"

def QtxMakeEntryPass : Pass<"qtx-make-entry", "::mlir::ModuleOp"> {
  let summary = "give the model's function the form that becomes an object";
  let description = [{
    Turns the function that callers know into the *entry form*. Its tensors
    become buffers of the caller, its dynamic sizes become arguments, and it
    returns a status:

    ```mlir
    func.func @main(%x: memref<?x4xf32> {qtx.role = "input", ...},
                    %y: memref<?x4xf32> {qtx.role = "output", ...},
                    %batch: index {qtx.role = "dim", ...}) -> (i32, index)
    ```

    The results are the status and then every dynamic size of an output, so that
    later passes keep them as expressions of the dims. Outputs are written by
    `bufferization.materialize_in_destination`, which lets bufferization compute
    them in place. Dynamic sizes with the same name in `qtx.dims` are one dim.

    Ids that `qtx.embedding` looks up and that come from an input are checked
    before anything else runs, by `cf.assert`.

    Storage: `i1` and `i4` values are bytes and `index` is `i64` in the caller's
    buffers; plain numbers are buffers of rank 0. Other functions must have been
    inlined. Tensors must be in storage form.
  }];
  let options = [
    Option<"entry", "entry", "std::string", "",
           "Function to use (default: main, or the only public one)">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect",
    "::mlir::cf::ControlFlowDialect", "::mlir::func::FuncDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
}

def QtxCheckSlicesPass : Pass<"qtx-check-slices", "::mlir::ModuleOp"> {
  let summary = "check at run time that slices lie inside their sources";
  let description = [{
    Inserts a `cf.assert` where a `tensor.extract_slice` with a dynamic size could
    reach beyond a dimension of static size, such as that of a position table: a
    longer sequence than the model was made for is an error of the caller.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::cf::ControlFlowDialect",
                           "::mlir::tensor::TensorDialect"];
}

def QtxResolveSizesPass : Pass<"qtx-resolve-sizes", "::mlir::ModuleOp"> {
  let summary = "make sizes expressions of the dims";
  let description = [{
    Replaces each `tensor.dim` by what the operation that makes the tensor says of its
    size, through any number of operations and of loops that carry a tensor: the
    upstream patterns for both, to a fixpoint. Sizes that only data knows stay.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect",
                           "::mlir::arith::ArithDialect",
                           "::mlir::tensor::TensorDialect"];
}

def QtxSplitEmptyTensorsPass : Pass<"qtx-split-empty-tensors"> {
  let summary = "give each user of an empty tensor one of its own";
  let description = [{
    Before bufferization: common subexpressions make one `tensor.empty` of those of all
    layers, which then becomes one buffer that lives from the first layer to the last.
    Each user in the block of the `tensor.empty` gets its own, right before it, and
    `qtx-plan-memory` finds buffers that live shortly. Users in loops share theirs.
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect"];
}

def QtxPlanMemoryPass : Pass<"qtx-plan-memory", "::mlir::ModuleOp"> {
  let summary = "place all intermediates in one workspace";
  let description = [{
    Replaces every `memref.alloc` of a function in entry form by a view of one
    workspace argument. Buffers whose lifetimes do not overlap share memory; every
    buffer begins at a multiple of 64 bytes of the workspace. Sizes may be
    expressions of the dims: offsets are then computed when the function starts.

    What callers ask before a call becomes the function `qtx_sizes` of the dims: the
    status that assertions about the dims give, the bytes of the workspace, and every
    dynamic size of an output. The entry returns its status alone.

    A buffer whose size depends on data, or that a loop carries from one iteration
    to the next, is an error. No `memref.alloc` or `memref.dealloc` is left.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::cf::ControlFlowDialect",
                           "::mlir::func::FuncDialect",
                           "::mlir::memref::MemRefDialect"];
}

def QtxAssertsToStatusPass
    : Pass<"qtx-asserts-to-status", "::mlir::func::FuncOp"> {
  let summary = "return a status where an assertion fails";
  let description = [{
    Replaces each `cf.assert` of a function that returns an `i32` status by a
    branch to a return of the number in its attribute `qtx.status`. Regions must have
    been lowered to blocks.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::cf::ControlFlowDialect",
                           "::mlir::func::FuncDialect"];
}

#endif // QTX_TARGET_PASSES
