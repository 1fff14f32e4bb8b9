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
// Interoperation
//===----------------------------------------------------------------------===//

def QtxConvertQuantTypesPass : Pass<"qtx-convert-quant-types", "::mlir::ModuleOp"> {
  let summary = "convert between upstream's quantized types and those of qtx";
  let description = [{
    Reads what other compilers write with the quant dialect:

    - A `!quant.uniform` with one scale per channel, or in blocks along one
      dimension, becomes `!qtx.grouped`; with one scale in all it becomes per tensor.
      Types with blocks along several dimensions have no counterpart.
    - Unsigned storage becomes signed: zero point and storage range move down by
      half the number of values (128 for u8), and so do the stored integers. Values
      stay what they are. A `quant.scast` gets the integer subtraction or addition;
      arguments and results of functions hold the signed integers afterwards.
    - `quant.qcast` and `quant.dcast` of f32 tensors become `qtx.quantize` and
      `qtx.dequantize`. Upstream leaves their rounding open; qtx does not.
    - A `quant.scast`, which takes upstream's types only, becomes
      `builtin.unrealized_conversion_cast` beside `!qtx.grouped`. `qtx-to-storage`
      removes both.

    A narrow storage range (`i8<-127:127>`) of several scales is dropped: its values
    lie in the whole range. Only a cast that would have to saturate to it is an error.

    With `to-upstream`, groups of equal sizes become upstream types, groups of one
    channel one scale per channel, and `qtx.quantize` and `qtx.dequantize` become
    casts. Run-time parameters and unequal groups are errors.

    Each cast that changes is a passed remark. Operations of qtx in storage form
    keep unsigned storage, which is a missed remark.

    ```mlir
    func.func @f(%i: tensor<4x2xi8>) -> tensor<4x2xf32> {
      %q = quant.scast %i : tensor<4x2xi8> to tensor<4x2x!quant.uniform<u8:f32:1, {0.5:128, 2.0:3}>>
      %x = quant.dcast %q : tensor<4x2x!quant.uniform<u8:f32:1, {0.5:128, 2.0:3}>> to tensor<4x2xf32>
      return %x : tensor<4x2xf32>
    }
    ```

    becomes

    ```mlir
    func.func @f(%i: tensor<4x2xi8>) -> tensor<4x2xf32> {
      %c = arith.constant dense<-128> : tensor<4x2xi8>
      %j = arith.subi %i, %c : tensor<4x2xi8>
      %q = builtin.unrealized_conversion_cast %j
          : tensor<4x2xi8> to tensor<4x2x!qtx.grouped<i8:f32, axis=-1, [1, 1], {0.5, 2.0:-125}>>
      %x = qtx.dequantize %q : tensor<4x2x!qtx.grouped<i8:f32, axis=-1, [1, 1], {0.5, 2.0:-125}>> -> tensor<4x2xf32>
      return %x : tensor<4x2xf32>
    }
    ```
  }];
  let options = [
    Option<"toUpstream", "to-upstream", "bool", "false",
           "Convert the types of qtx to upstream's">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::quant::QuantDialect",
    "::mlir::tensor::TensorDialect", "::qtx::QtxDialect"
  ];
}

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
    `quant.scast`. Storage casts disappear, as does a
    `builtin.unrealized_conversion_cast` between a tensor and its storage form.

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

//===----------------------------------------------------------------------===//
// Rewrites of grouped quantization
//===----------------------------------------------------------------------===//

def QtxSplitGroupedLinearPass : Pass<"qtx-split-grouped-linear"> {
  let summary = "split a linear with groups into linears with one group each";
  let description = [{
    Writes a linear whose input is quantized in K groups (PEG) as K linears on
    slices of the input, for hardware that knows one scale per tensor (Bondarenko et
    al. 2021, figure 4). Each linear takes the columns of the weight that belong to
    its group and starts from the fp32 result of the one before it, through `bias`;
    the last one has the activation and requantizes. The order of operations is that
    of the original, so the results are equal bit for bit. With run-time parameters,
    each linear takes its own ones, `[1]` or one per position.

    Weight blocks stay where a group begins at the boundary of a block. A group
    that begins within a block is cut further, into one linear per block.

    With `split-outputs`, a linear whose result is quantized in K groups becomes K
    linears on the rows of the weight, inserted into one tensor: the other half of
    the figure. Constant weights, scales and seeds are sliced here and not at run
    time.

    It works in storage form; a linear in quantized form is a missed remark, and so is
    one whose segments join in integers.

    ```mlir
    %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>, %w
        scale(%s) bias(%b) activation relu to !quant.uniform<i8:f32, 0.1>
        : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>, tensor<4xf32>)
        -> tensor<?x4xi8>
    ```

    becomes (with `%x0`, `%x1`, `%w0`, `%w1` the slices)

    ```mlir
    %r = qtx.linear %x0 as !quant.uniform<i8:f32, 0.02:3>, %w0 scale(%s) bias(%b)
        : (tensor<?x6xi8>, tensor<4x6xi8>, tensor<4xf32>, tensor<4xf32>)
        -> tensor<?x4xf32>
    %y = qtx.linear %x1 as !quant.uniform<i8:f32, 0.5>, %w1 scale(%s) bias(%r)
        activation relu to !quant.uniform<i8:f32, 0.1>
        : (tensor<?x2xi8>, tensor<4x2xi8>, tensor<4xf32>, tensor<?x4xf32>)
        -> tensor<?x4xi8>
    ```
  }];
  let options = [
    Option<"splitInputs", "split-inputs", "bool", "true",
           "Split at the groups of the input">,
    Option<"splitOutputs", "split-outputs", "bool", "false",
           "Split at the groups of the result">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"
  ];
}

def QtxSplitGroupedElementwisePass : Pass<"qtx-split-grouped-elementwise"> {
  let summary = "split operations on channels at the groups of their tensors";
  let description = [{
    Writes quantizers, residual sums and activations whose tensors are quantized in
    groups along the last axis as one operation per group, on slices and with one
    scale per tensor; the results are inserted into one tensor. With
    `qtx-split-grouped-linear` this is all of figure 4 of Bondarenko et al. 2021, for
    hardware that knows one scale per tensor. Where two tensors of an operation have
    different groups, the boundaries of both count. The results are equal bit for bit.

    It works in storage form. An operation that mixes channels, such as a
    normalisation, and one in quantized form are missed remarks.

    ```mlir
    %y = qtx.quantize %x to !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>
        : tensor<4x8xf32> -> tensor<4x8xi8>
    ```

    becomes (with `%x0`, `%x1` the slices)

    ```mlir
    %e = tensor.empty() : tensor<4x8xi8>
    %y0 = qtx.quantize %x0 to !quant.uniform<i8:f32, 0.02:3>
        : tensor<4x6xf32> -> tensor<4x6xi8>
    %i = tensor.insert_slice %y0 into %e[0, 0] [4, 6] [1, 1]
        : tensor<4x6xi8> into tensor<4x8xi8>
    %y1 = qtx.quantize %x1 to !quant.uniform<i8:f32, 0.5>
        : tensor<4x2xf32> -> tensor<4x2xi8>
    %y = tensor.insert_slice %y1 into %i[0, 6] [4, 2] [1, 1]
        : tensor<4x2xi8> into tensor<4x8xi8>
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"
  ];
}

def QtxMergeSplitLinearPass : Pass<"qtx-merge-split-linear"> {
  let summary = "merge linears that continue one sum into one with groups";
  let description = [{
    The inverse of `qtx-split-grouped-linear` at the groups of the input: a linear that adds to the fp32 result
    of another (through `bias`, its only use) merges with it where their inputs are
    neighbouring slices of one tensor, their weights neighbouring slices or
    constants, and their weight scales the same, or whole blocks of one size. The
    result has the groups of both, in the same order, and equal bits.

    A chain that cannot be merged is a missed remark with the reason.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"
  ];
}

def QtxMergeProjectionsPass : Pass<"qtx-merge-projections"> {
  let summary = "merge projections of one input into one linear";
  let description = [{
    Linears with the same input whose results become heads, and nothing else, become
    one with the outputs of all: queries, keys and values, or the keys and values of
    cross-attention. Each reader gets its slice of the result. Every bit stays
    (Numerics.md, "Rewrites"). The input is read once, and one row of it, as in
    decoding, has more weights to wait for at a time.

    Weights, their scales, bias and seed are constants, which are joined; a bias that
    is missing is zero. Results are all float or all quantized with static parameters:
    different ones become groups of the merged result. Activations other than none
    keep a linear from being merged, as do storage types that differ.

    It works in storage form. A linear that stays apart though another one reads the
    same input is a missed remark with the reason.

    ```mlir
    %q = qtx.linear %x, %wq to !quant.uniform<i8:f32, 0.02>
        : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xi8>
    %k = qtx.linear %x, %wk to !quant.uniform<i8:f32, 0.05:3>
        : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xi8>
    ```

    becomes

    ```mlir
    %y = qtx.linear %x, %w to !qtx.grouped<i8:f32, axis=-1, [4, 4], {0.02, 0.05:3}>
        : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xi8>
    %q = tensor.extract_slice %y[0, 0] [%n, 4] [1, 1] : tensor<?x8xi8> to tensor<?x4xi8>
    %k = tensor.extract_slice %y[0, 4] [%n, 4] [1, 1] : tensor<?x8xi8> to tensor<?x4xi8>
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"
  ];
}

def QtxOutputGroupsToPerChannelPass : Pass<"qtx-output-groups-to-per-channel"> {
  let summary = "requantize results in groups with one scale per channel";
  let description = [{
    Groups on a result cost nothing where requantization takes one scale and zero
    point per channel: channel i uses those of its group. This writes them so, for
    linears, residual sums, normalisations and quantizers: the type becomes
    `!qtx.grouped` with one channel per group and run-time parameters, which are
    constant operands. The stored integers are the same bit for bit, and users of the
    tensor keep their own view of its groups.

    It works in storage form; an operation in quantized form is a missed remark.

    ```mlir
    %y = qtx.linear %x as !quant.uniform<i8:f32, 0.1>, %w scale(%s)
        to !qtx.grouped<i8:f32, axis=-1, [3, 1], {0.02:3, 0.5}>
        : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xi8>
    ```

    becomes

    ```mlir
    %ys = arith.constant dense<[0.02, 0.02, 0.02, 0.5]> : tensor<4xf32>
    %yz = arith.constant dense<[3, 3, 3, 0]> : tensor<4xi32>
    %y = qtx.linear %x as !quant.uniform<i8:f32, 0.1>, %w scale(%s)
        out_scale(%ys) out_zero_point(%yz)
        to !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?>
        : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>, tensor<4xf32>,
           tensor<4xi32>) -> tensor<?x4xi8>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def QtxFoldZeroPointsPass : Pass<"qtx-fold-zero-points"> {
  let summary = "fold the zero points of an input into the accumulator's seed";
  let description = [{
    For a constant weight and compile-time zero points, the terms `-z * sum w` of
    every segment and output are constants. They become the int32 `seed` of the
    linear, so that the inner loop multiplies the stored integers as they are. The
    accumulators, and so the results, are equal bit for bit.

    Run-time zero points and weights that are not constant are missed remarks.

    ```mlir
    %w = arith.constant dense<[[1, 2, 3, 4]]> : tensor<1x4xi8>
    %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5:3>, %w scale(%s)
        : (tensor<?x4xi8>, tensor<1x4xi8>, tensor<1xf32>) -> tensor<?x1xf32>
    ```

    becomes

    ```mlir
    %w = arith.constant dense<[[1, 2, 3, 4]]> : tensor<1x4xi8>
    %z = arith.constant dense<-30> : tensor<1x1xi32>
    %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5:3>, %w scale(%s) seed(%z)
        : (tensor<?x4xi8>, tensor<1x4xi8>, tensor<1xf32>, tensor<1x1xi32>)
        -> tensor<?x1xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

//===----------------------------------------------------------------------===//
// Permutations
//===----------------------------------------------------------------------===//

def QtxFoldPermutePass : Pass<"qtx-fold-permute"> {
  let summary = "fold permutations of channels into neighbouring constants";
  let description = [{
    Removes a `qtx.permute` of the last axis by storing the tensors around it in
    another order (Bondarenko et al. 2021, figure 4 with permutation). Either the
    tensors that follow keep the order of the operand, or those that lead to it come
    in the order of the result. The change spreads until every operation at its border
    takes the order in:

    - `qtx.linear`: the columns of the weight for its input; the rows of the weight
      with their scales, bias, seed and per-channel parameters for its result;
    - normalisations: gain and shift;
    - elementwise operations, residual sums, quantizers, casts, and reshapes, slices
      and concatenations of other axes: all their tensors; constants get a permuted
      copy;
    - another `qtx.permute`: its indices. An inverse pair disappears.

    Types keep describing channels in stored order: the groups of a reordered tensor
    move with its channels, and a change that would cut them into more groups is not
    made. Weights and other constants are permuted at compile time, so they must be
    constants.

    Everything that works channel by channel, and integer sums within a group, keep
    their bits. Sums in fp32 (normalisation, float contractions, the join of
    groups) run in another order, so those results differ by rounding.

    A permutation of what a normalisation, a sum or another operation on rows yields
    takes no pass of its own: they store each channel in its place (a passed remark).
    Any other that stays is a missed remark that names the operation in the way
    on either side.

    ```mlir
    %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
    %w = arith.constant dense<[[1, 2, 3]]> : tensor<1x3xi8>
    %x = qtx.permute %q by %p : (tensor<?x3xi8>, tensor<3xi32>) -> tensor<?x3xi8>
    %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s)
        : (tensor<?x3xi8>, tensor<1x3xi8>, tensor<1xf32>) -> tensor<?x1xf32>
    ```

    becomes

    ```mlir
    %w = arith.constant dense<[[2, 3, 1]]> : tensor<1x3xi8>
    %y = qtx.linear %q as !quant.uniform<i8:f32, 0.5>, %w scale(%s)
        : (tensor<?x3xi8>, tensor<1x3xi8>, tensor<1xf32>) -> tensor<?x1xf32>
    ```
  }];
  let options = [
    Option<"explain", "explain", "bool", /*default=*/"true",
           "Say why permutations stay">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

//===----------------------------------------------------------------------===//
// Scales and shifts
//===----------------------------------------------------------------------===//

def QtxFoldScaleShiftPass : Pass<"qtx-fold-scale-shift"> {
  let summary = "fold scales and shifts of channels into neighbouring constants";
  let description = [{
    Removes a float `qtx.scale_shift` with constant gain and shift. Where float linears
    alone read its result, it becomes part of their weights and biases. Else it becomes
    part of the operation that computes its operand:

    - `qtx.layer_norm`: gamma and beta. Where other operations read its result, too,
      such as a residual sum, the layer_norm is duplicated.
    - `qtx.linear` without an activation, which nothing else reads: the rows of float
      weights, or the scales of integer weights, and the bias.
    - `qtx.split_heads` and `qtx.merge_heads`: the operation that computes their operand.
    - `qtx.attention` with float values: the projection of the values. This takes a
      shift only where the probabilities of every query sum to one: without a clip, sink,
      gate, mask and quantizer of the probabilities.

    Constants are multiplied and added in fp64 and rounded once. Results differ by
    rounding (Numerics.md, "Rewrites").

    A scale_shift that stays is a missed remark with the reason. Behind an activation
    this is intended: it joins the epilogue.

    ```mlir
    %g = arith.constant dense<[2.0, 0.5]> : tensor<2xf32>
    %s = arith.constant dense<[1.0, -1.0]> : tensor<2xf32>
    %n = qtx.layer_norm %x gamma(%c) beta(%d) epsilon 1.0e-5
        : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
    %y = qtx.scale_shift %n gain(%g) shift(%s)
        : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
    %q = qtx.quantize %y : tensor<?x2xf32> -> tensor<?x2x!quant.uniform<i8:f32, 0.1>>
    ```

    becomes, for `%c` of [3.0, 4.0] and `%d` of [0.0, 6.0]

    ```mlir
    %c = arith.constant dense<[6.0, 2.0]> : tensor<2xf32>
    %d = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
    %y = qtx.layer_norm %x gamma(%c) beta(%d) epsilon 1.0e-5
        : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
    %q = qtx.quantize %y : tensor<?x2xf32> -> tensor<?x2x!quant.uniform<i8:f32, 0.1>>
    ```
  }];
  let options = [
    Option<"explain", "explain", "bool", /*default=*/"true",
           "Say why scales and shifts stay">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

//===----------------------------------------------------------------------===//
// Training
//===----------------------------------------------------------------------===//

def QtxFreezeToConstantsPass : Pass<"qtx-freeze-to-constants"> {
  let summary = "turn fake-quantized constants of a finished model into integers";
  let description = [{
    The way of a trained model out of training: every `qtx.fake_quantize` whose
    latent values, scale and state are constants becomes the integers that training
    ended with: the frozen integer where the mask is set, the latent rounded by the
    same division elsewhere. The results are equal bit for bit.

    The weight of a `qtx.linear` with float input becomes an i4 (up to 4 bits) or i8
    weight with its scale, where they fit. Any other use gets a `qtx.dequantize` of
    the integers in signed storage.

    Values that are not constant, stochastic rounding and frozen integers beyond the
    grid are missed remarks.

    ```mlir
    %w = arith.constant dense<[[0.6, -0.2], [0.2, 0.9]]> : tensor<2x2xf32>
    %s = arith.constant dense<0.25> : tensor<1xf32>
    %mask = arith.constant dense<[[true, false], [false, false]]> : tensor<2x2xi1>
    %ints = arith.constant dense<[[3, 0], [0, 0]]> : tensor<2x2xi32>
    %q, %codes = qtx.fake_quantize %w scale(%s) frozen(%mask, %ints) bits 3 signed
        : tensor<2x2xf32>, tensor<1xf32>
    %y = qtx.linear %x, %q : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
    ```

    becomes

    ```mlir
    %w = arith.constant dense<[[3, -1], [1, 3]]> : tensor<2x2xi4>
    %s = arith.constant dense<0.25> : tensor<1xf32>
    %y = qtx.linear %x, %w scale(%s)
        : (tensor<?x2xf32>, tensor<2x2xi4>, tensor<1xf32>) -> tensor<?x2xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def QtxFoldGateProjectionPass : Pass<"qtx-fold-gate-projection"> {
  let summary = "make the gate of an attention rows of a projection";
  let description = [{
    A `linear` or `all_heads` gate is a matrix product with the input that the
    query, key and value projections read, too. Its H rows join the weight of the
    first of these projections: one linear and two slices take the place of both.
    The rows of the per-head gate (`linear`) are block-diagonal. For finite inputs
    every result is equal bit for bit, but for the sign of zeros.

    The projection is float, has no activation, and reads the same tensor in the
    same block; its weight and bias and those of the gate are constants. Where there
    is none, and for gates that are not linear or whose input is quantized, a missed
    remark says why. Run it before projections are quantized.

    ```mlir
    %w = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
    %gw = arith.constant dense<[[3.0], [4.0]]> : tensor<2x1xf32>
    %gb = arith.constant dense<[0.5, 0.0]> : tensor<2xf32>
    %q = qtx.linear %x, %w : (tensor<?x?x2xf32>, tensor<1x2xf32>) -> tensor<?x?x1xf32>
    %g = qtx.gate_projection linear %x weight(%gw) bias(%gb)
        : (tensor<?x?x2xf32>, tensor<2x1xf32>, tensor<2xf32>) -> tensor<?x2x?xf32>
    ```

    becomes (with `%q` and, transposed, `%g` slices of `%y`)

    ```mlir
    %w = arith.constant dense<[[1.0, 2.0], [3.0, 0.0], [0.0, 4.0]]> : tensor<3x2xf32>
    %b = arith.constant dense<[0.0, 0.5, 0.0]> : tensor<3xf32>
    %y = qtx.linear %x, %w bias(%b)
        : (tensor<?x?x2xf32>, tensor<3x2xf32>, tensor<3xf32>) -> tensor<?x?x3xf32>
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

//===----------------------------------------------------------------------===//
// Fusion
//===----------------------------------------------------------------------===//

def QtxFuseLinearPass : Pass<"qtx-fuse-linear"> {
  let summary = "make activations and quantizers epilogues of linear layers";
  let description = [{
    `qtx.relu`, `qtx.gelu`, `qtx.silu` and `qtx.quantize` become the activation and the
    quantized result of the float `qtx.linear` that they alone read. Every bit stays
    (Numerics.md, "Contractions"): a linear does these steps itself, in this order. A
    missed remark says why a reader of a linear stays apart.

    ```mlir
    %y = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
    %z = qtx.gelu %y to !quant.uniform<i8:f32, 0.02:-128> : (tensor<?x8xf32>) -> tensor<?x8xi8>
    ```

    becomes

    ```mlir
    %z = qtx.linear %x, %w activation gelu to !quant.uniform<i8:f32, 0.02:-128>
        : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xi8>
    ```
  }];
}

//===----------------------------------------------------------------------===//
// Checks at run time
//===----------------------------------------------------------------------===//

def QtxCheckSizesPass : Pass<"qtx-check-sizes"> {
  let summary = "check at run time that sizes agree where operations need it";
  let description = [{
    Code that is lowered from an operation takes for granted that its operands agree on
    the sizes that the operation's verifier compares, but verifiers know nothing of
    dynamic sizes. This pass inserts a `cf.assert`, with the attribute
    `qtx.sizes_agree`, for each pair of sizes that operations of qtx, linalg or the
    elementwise ones take to be equal, and for sizes that `tensor.cast`,
    `tensor.expand_shape` and `tensor.insert_slice` claim.

    Each size is traced to where it comes from: sizes that are equal by construction, or
    that have one name in `qtx.dims`, are not compared. Sizes of arguments are compared
    once, when the function begins.

    ```mlir
    func.func @main(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>) -> tensor<?x8xf32> {
      %z = qtx.add %x, %y : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
      return %z : tensor<?x8xf32>
    }
    ```

    begins with

    ```mlir
    %n = tensor.dim %x, %c0 : tensor<?x8xf32>
    %m = tensor.dim %y, %c0 : tensor<?x8xf32>
    %agree = arith.cmpi eq, %n, %m : index
    cf.assert %agree, "expected sizes that agree" {qtx.sizes_agree}
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

#endif // QTX_DIALECT_QTX_TRANSFORMS_PASSES
