//===- Passes.td - Passes of the fast path -----------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_KERNEL_PASSES
#define QTX_KERNEL_PASSES

include "mlir/Pass/PassBase.td"

def QtxConfigurePass : Pass<"qtx-configure"> {
  let summary = "choose the micro-kernel that runs each contraction";
  let description = [{
    Puts the attribute `qtx.config`, a `#qtx.micro_kernel`, on each `qtx.linear` in
    storage form that a micro-kernel takes. The row depends on the CPU features of the
    target, the attribute `llvm.target` of the module or function; its tile and block on
    an estimate of cycles for the named CPU, whose caches are known, or for one with such
    features. Later passes only read the attribute. An operation that has one keeps it.

    Where the attribute `qtx.threads` of the module allows several threads, the
    attribute `qtx.partition` says how they share the operation: at most `threads` of
    them take some of the outputs each, or from `row_split` rows on some of the rows.

    The unit attribute `qtx.nibbles` says that weights of 4 bits stay packed.

    An operation without `qtx.config` takes the reference lowering; a missed remark
    says why.
  }];
}

def QtxUnsignedInputsPass : Pass<"qtx-unsigned-inputs"> {
  let summary = "store the inputs of micro-kernels in unsigned bytes";
  let description = [{
    Some micro-kernels multiply unsigned bytes. Where the result of an operation in
    storage form goes to the inputs of such operations alone, it is stored as
    `u8` with a zero point that is larger by 128: the quantized type of the result
    and of the inputs changes, their values do not. Otherwise `qtx-pack` converts the
    input, once for all readers.

    ```mlir
    %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.5:3> : tensor<?x4xf32> -> tensor<?x4xi8>
    ```

    becomes, before a `qtx.linear` that takes unsigned bytes,

    ```mlir
    %q = qtx.quantize %x to !quant.uniform<u8:f32, 0.5:131> : tensor<?x4xf32> -> tensor<?x4xi8>
    ```

    Results with other readers, parameters that are run-time values, and function
    arguments stay as they are.
  }];
}

def QtxPackPass : Pass<"qtx-pack"> {
  let summary = "lay out the constants of configured operations for their kernels";
  let description = [{
    Replaces each `qtx.linear` that `qtx-configure` chose a micro-kernel for by a
    `qtx.kernel` with packed operands:

    | operand | is |
    |---|---|
    | `x` | as it was; unsigned (x + 128) or widened where the micro-kernel wants that |
    | `weight` | panels of as many outputs as fit the sums of a tile. Within a panel the contracted axis is outermost, in steps of the neighbours that one lane takes; each segment is padded with zeros to whole steps |
    | `weight_scale` | for each panel `[S, N]`, the product of both scales, or that of the weight where those of `x` are run-time values; N fills whole vectors |
    | `seed` | likewise, zero points included; where those are run-time values, sums of the weight |
    | `y_scale`, `y_zero_point` | `[1]` or `[N]`, the reciprocal of the scale of `y` and its zero point |

    Float operations with integer weights get the dequantized weights. With the unit
    attribute `qtx.nibbles` the weight is words of eight channels of 4 bits (8 larger than the
    weights where the micro-kernel adds products up in 16 bits), the
    parameter `zero_point` is what all weights of an output are multiplied by for its
    seed, and `sum_factor`, if there, what sums have to be divided by. With an integer
    join, `join_multipliers` is what the sum of each segment counts times; all have
    the smallest scale, and the last one that counts once has the seed of all.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

def QtxPackAttentionPass : Pass<"qtx-pack-attention"> {
  let summary = "turn attention into kernels";
  let description = [{
    Replaces each `qtx.attention` in storage form that a micro-kernel of the target
    takes by a `qtx.kernel` with the operands and attributes of the operation and

    | parameter | is |
    |---|---|
    | `scores_kernel`, `context_kernel` | the names of the micro-kernels that multiply queries with keys, and probabilities with values |
    | `layouts` | for query, key, value and result: 1 where positions stand before heads, 0 where heads do |
    | `partition` | the most threads that share the kernel, each with scratch memory of its own; absent for one |

    `qtx.split_heads` before it and `qtx.merge_heads` behind it become views: the
    kernel reads the heads where the projections wrote them. Booleans of a mask
    become bytes. A quantized operand that is no tensor of bytes with one scale, or
    whose partner is none, is dequantized before, and such a result is quantized
    behind the kernel. The second destination is scratch memory.

    With groups inside, of scores, probabilities or context, an operation takes the
    reference lowering, and a missed remark says why.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

def QtxFuseKernelsPass : Pass<"qtx-fuse-kernels"> {
  let summary = "scale, shift, quantize and add up the results of kernels in them";
  let description = [{
    Joins `qtx.quantize`, and a `qtx.scale_shift` before it, to the kernel of a
    `qtx.linear` or `qtx.attention` in f32 that it alone reads:

    ```mlir
    %0:2 = qtx.kernel "qtx.attention"(...) outs(...) {...} : ... tensor<?x?x4x8xf32> ...
    %1 = tensor.collapse_shape %0#0 [[0], [1], [2, 3]] : tensor<?x?x4x8xf32> into tensor<?x?x32xf32>
    %2 = qtx.scale_shift %1 gain(%g) shift(%s) : ...
    %3 = qtx.quantize %2 to !quant.uniform<i8:f32, 0.5> : tensor<?x?x32xf32> -> tensor<?x?x32xi8>
    ```

    becomes a kernel with a result of bytes and the parameter `scaled`, which says
    that gain and shift, one per channel, stand behind the operands of the
    operation. They apply behind all that the operation does, before the quantizer.
    An activation that is quantized so coarsely that a table of the micro-kernel, or
    a power of a polynomial, is accurate enough has the parameter `tabulated`.

    A quantizer with run-time parameters, of other than 8 bits, or with groups that
    a kernel does not take stays, and a missed remark says so.

    A `qtx.add` in f32 of a linear, which it alone reads, and of what nothing reads
    later joins the linear: that takes the other operand as its destination, with the
    parameter `accumulate`.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"
  ];
}

def QtxAlignPartsPass : Pass<"qtx-align-parts"> {
  let summary = "give threads the same rows of several operations";
  let description = [{
    Finds `qtx.rows` and `qtx.kernel`s of `qtx.linear` on memrefs that come one after
    the other, have the same rows, and touch of every buffer that one of them writes
    nothing but the row itself. No thread waits for another one between them if it has
    the same rows of each. They get the attribute `qtx.aligned_parts`: the number of
    their `group`; `unit`, the rows of a tile, which no thread shares with another one;
    and `min_rows`, from which on threads share the rows of all of these linears.
  }];
}

def QtxMergePartsPass : Pass<"qtx-merge-parts"> {
  let summary = "let one team of threads run several operations";
  let description = [{
    Makes one `scf.parallel` of those of a group that `qtx-align-parts` found, so that
    threads start and meet once for all of them:

    ```mlir
    scf.parallel (%i) = (%zero) to (%parts) step (%one) { func.call @rows(%x, %i, %parts) }
    scf.parallel (%i) = (%zero) to (%parts_0) step (%one) { func.call @kernel(%x, %y, %i, %parts_0) }
    ```

    becomes

    ```mlir
    scf.if %rows_are_shared {
      scf.parallel (%i) = (%zero) to (%parts) step (%one) {
        func.call @rows(%x, %i, %parts)
        func.call @kernel(%x, %y, %i, %parts_0)
      }
    } else { ... }
    ```

    The other branch has the loops as they were, for fewer rows than `min_rows`. What
    lies between them comes first; where that has effects, there is no joint loop.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect"
  ];
}

def QtxExpandKernelsPass : Pass<"qtx-expand-kernels", "::mlir::ModuleOp"> {
  let summary = "expand kernels into loops and vectors";
  let description = [{
    Replaces each `qtx.kernel` on memrefs by a call of a private function that
    holds its loops and vectors. Kernels that differ in their operands alone share
    the function, so the layers of a model do not repeat its code.

    A kernel that threads share becomes a `scf.parallel` over the parts of its work;
    the function computes one part, and takes its number and the number of parts.

    A kernel on tensors, or one for an operation that no emitter knows, is an error.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
}

def QtxShareKernelsPass : Pass<"qtx-share-kernels", "::mlir::ModuleOp"> {
  let summary = "make one function of those that differ in numbers alone";
  let description = [{
    Attention of every layer has scales of its own, as constants in thousands of
    operations that are otherwise the same. Private functions with the same
    operations become one: floats, and numbers that all lanes of a vector have, are
    arguments where they differ. Integers that are no vectors stay: loops and places
    in memory are better known when code is made.

    ```mlir
    func.call @kernel(%a)
    func.call @kernel_0(%b)
    func.func private @kernel(%x: f32) { %c = arith.constant 2.0 : f32 ... }
    func.func private @kernel_0(%x: f32) { %c = arith.constant 3.0 : f32 ... }
    ```

    becomes

    ```mlir
    %two = arith.constant 2.0 : f32
    func.call @kernel(%a, %two)
    %three = arith.constant 3.0 : f32
    func.call @kernel(%b, %three)
    func.func private @kernel(%x: f32, %c: f32) { ... }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::vector::VectorDialect"];
}

#endif // QTX_KERNEL_PASSES
