//===- Passes.td - Conversion passes ------------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_PASSES
#define QTX_CONVERSION_PASSES

include "mlir/Pass/PassBase.td"

def ConvertONNXToLinalgPass : Pass<"convert-onnx-to-linalg", "::mlir::ModuleOp"> {
  let summary = "lower ONNX nodes to tensor, linalg, arith, math and scf";
  let description = [{
    Lowers every `onnx.node` to operations of `tensor`, `linalg`, `arith`, `math`
    and `scf`, or of `qtx` where one means the same, on tensors without symbolic
    sizes and without signedness. Nodes have the form that docs/Import.md states.
    A dynamic size becomes a `tensor.dim` of the argument that has it. Arguments and
    results that were unsigned integers carry `qtx.unsigned`.

    Floats of 16 bits are computed as f32 and rounded once per node. Integers wrap, and
    x / 0 is 0. Indices out of range are brought into it.

    Nodes without a lowering are one error that lists them all.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect", "::qtx::QtxDialect"
  ];
}

def ConvertQtxToLinalgPass : Pass<"convert-qtx-to-linalg", "::mlir::ModuleOp"> {
  let summary = "lower qtx operations to linalg: the reference semantics";
  let description = [{
    Lowers every qtx operation in storage form to `linalg`, `tensor`, `arith` and
    `math` operations that spell out docs/Numerics.md step by step. The result is
    obviously right before it is fast; every other lowering is tested against
    it.

    Operations whose tensors still have quantized element types are an error:
    run `qtx-to-storage` first.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
}

def QtxExpandCopiesPass : Pass<"qtx-expand-copies"> {
  let summary = "expand copies of strided memrefs into linalg";
  let description = [{
    Replaces each `memref.copy` whose source or target is not dense by a
    `linalg.generic`. Otherwise it becomes a call of a function of MLIR's runtime
    library, which compiled models do not need. Dense copies stay: they become
    `memcpy`.

    A `memref.expand_shape` of one dimension into several of dynamic size becomes a
    `memref.reinterpret_cast`; `expand-strided-metadata` crashes on it.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::memref::MemRefDialect"
  ];
}

def QtxExpandMathPass : Pass<"qtx-expand-math"> {
  let summary = "expand elementary functions of f32 into qtx's own";
  let description = [{
    Replaces `math.exp`, `math.log`, `math.erf`, `math.tanh`, `math.cos` and
    `math.rsqrt` on f32, or vectors of f32, by the polynomials of
    docs/Numerics.md, "Elementary functions", so that a result does not depend on
    the libm of the target. The same operations on other element types stay.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::math::MathDialect"];
}

def ConvertQtxToRowsPass : Pass<"convert-qtx-to-rows"> {
  let summary = "turn operations that work row by row into qtx.rows";
  let description = [{
    Replaces quantization, normalisation, activations, softmax, sums, embeddings and
    views of heads, in storage form, by `qtx.rows`. Their bodies hold the scalar
    operations of the reference lowering, so exact operations stay exact; sums over
    a row may be taken in another order (docs/Numerics.md, "Exact and bounded
    results").

    What has no such form stays for the reference lowering: storage of less than 8
    bits, several groups of run-time parameters, tensors without dimensions.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

def QtxFuseRowsPass : Pass<"qtx-fuse-rows"> {
  let summary = "join qtx.rows with those that compute their inputs";
  let description = [{
    Where a `qtx.rows` reads what another one over the same rows computes, both become
    one: a residual sum, the normalisation behind it and the quantization behind that
    pass over the data once. What others read too stays a result. Two
    normalisations of one value become one operation, too, and share its mean and
    variance.

    Outputs take the places of inputs that nothing else reads.
  }];
}

def QtxExpandRowsPass : Pass<"qtx-expand-rows", "::mlir::ModuleOp"> {
  let summary = "expand qtx.rows into loops over vectors";
  let description = [{
    Replaces each `qtx.rows` on memrefs by loops over its rows and, within a row, one
    pass over the columns for each reduction that depends on another and one to
    write. Each pass holds what it needs; a value of an earlier pass is computed
    again where that is cheap, and else kept in an output or in a buffer. Where none
    is kept, one loop over the columns has the passes of a row and of rows behind
    it, between which lie rows whose sums are added up meanwhile; rows of large tables
    are prefetched.

    Vectors have `vector-bits` bits, or what the features of the target allow; the last
    columns are masked. On memrefs whose columns are not dense it fails.

    Where the attribute `qtx.threads` of the module allows several threads, the rows
    are divided into parts: a `scf.parallel` calls a function for each, which has
    the loop over its rows. The buffer of a row is then one for each thread.
  }];
  let options = [Option<"vectorBits", "vector-bits", "unsigned", "0",
                        "size of vectors, or 0 for that of the target">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
}

def QtxSizeTeamsPass : Pass<"qtx-size-teams", "::mlir::ModuleOp"> {
  let summary = "give OpenMP regions as many threads as their loops have iterations";
  let description = [{
    `convert-scf-to-openmp` makes a parallel region with a work-sharing loop in it of
    each `scf.parallel`. Parts of a kernel are one for each thread, so the region gets
    as many threads as the loop has iterations. The threads wait for each other at
    the end of the region: the loop before it need not.

    ```mlir
    omp.parallel { omp.wsloop { omp.loop_nest (%i) : index = (%c0) to (%n) step (%c1) {...} } omp.terminator }
    ```

    becomes

    ```mlir
    omp.parallel num_threads(%threads : i32) { omp.wsloop nowait {...} omp.terminator }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::omp::OpenMPDialect"];
}

def QtxGlobalsToBytesPass : Pass<"qtx-globals-to-bytes", "::mlir::ModuleOp"> {
  let summary = "spell the constants of the LLVM dialect as bytes";
  let description = [{
    LLVM writes arrays of i8 into files at once, but others one element after the
    other, which for the weights of a model takes seconds. An `llvm.mlir.global` with
    different elements of more than one byte becomes an array of their bytes, as they
    lie in memory on little-endian machines, with the alignment of the elements.
    Pointers have no element type, so that its uses stay as they are.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // QTX_CONVERSION_PASSES
