//===- ContractionOps.td - Contractions --------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_CONTRACTIONOPS
#define QTX_DIALECT_QTX_IR_CONTRACTIONOPS

include "mlir/Interfaces/TilingInterface.td"
include "qtx/Dialect/Qtx/IR/QtxOpBase.td"

def Qtx_LinearOp : Qtx_QuantizableOp<"linear", [AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<TilingInterface, [
      "getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
      "getResultTilePosition", "generateResultTileValue"]>]> {
  let summary = "fully connected layer, float or quantized";
  let description = [{
    `y = activation(x * weight^T + bias)`, requantized when `y` is quantized.

    | operand | shape | element type |
    |---|---|---|
    | `x` | `[..., K]` | f32, or quantized per tensor or in groups along the last axis |
    | `weight` | `[N, K]` | f32, i8 or i4 |
    | `weight_scale` | `[1]`, `[N]` or `[N, ceil(K / weight_block)]` | f32 |
    | `bias` | `[N]` or the shape of `y` | f32 |
    | `seed` | `[S, N]` | i32 |
    | `y` | `[..., N]` | f32, or quantized per tensor or in groups along the last axis |

    The contracted axis is cut into S *segments* by the boundaries of the groups
    of `x` and of the weight blocks. For quantized `x`, every segment accumulates
    exactly in int32, `acc = sum (x - z) * w`, and the segments join in fp32 in
    ascending order: `r = bias; r = fma(f32(acc), s_x * s_w, r)` (Numerics.md,
    "Contractions"; PEG, Bondarenko et al. 2021, eq. 5). The verifier bounds the
    accumulator. `seed`, when present, replaces the zero-point terms: `acc = seed +
    sum x * w`.

    With `integer_join` the segments join in int32 instead: `r = fma(f32(sum m_k *
    acc_k), s_x * s_w, bias)`, where `s_x` is the smallest scale of `x` and `m_k` the
    multiple of it that the scale of segment `k` is. The scales are static and, from
    the smallest to the largest, integer multiples of each other, up to a relative
    error of 2^-21; the weight has no blocks (scales with integer factors: VS-Quant,
    Dai et al. 2021).

    Float `x` with integer `weight` computes with dequantized weights.

    K is static; N may be dynamic, as in a tile of the output axis. Tiling is over
    the dimensions of `y`, on the storage form: a tile has its part of the weight,
    the bias, the seed and the parameters.

    Example:

    ```mlir
    %y = qtx.linear %x, %w scale(%s) bias(%b)
        : (tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>>,
           tensor<4x8xi8>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    %z = qtx.linear %q as !quant.uniform<i8:f32, 0.02:3>, %w scale(%s) activation relu
        to !quant.uniform<i8:f32, 0.1:-128>
        : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xi8>
    ```
  }];
  let arguments = (ins Qtx_QuantizableTensor:$x,
                       Optional<Qtx_F32Tensor>:$x_scale,
                       Optional<Qtx_I32Tensor>:$x_zero_point,
                       Qtx_WeightTensor:$weight,
                       Optional<Qtx_F32Tensor>:$weight_scale,
                       Optional<Qtx_F32Tensor>:$bias,
                       Optional<Qtx_I32Tensor>:$seed,
                       Optional<Qtx_F32Tensor>:$y_scale,
                       Optional<Qtx_I32Tensor>:$y_zero_point,
                       OptionalAttr<Qtx_QuantTypeAttr>:$x_quant,
                       OptionalAttr<I64Attr>:$weight_block,
                       UnitAttr:$integer_join,
                       DefaultValuedAttr<Qtx_ActivationAttr, "::qtx::Activation::None">:$activation,
                       OptionalAttr<Qtx_QuantTypeAttr>:$y_quant);
  let results = (outs Qtx_QuantizableTensor:$y);
  let assemblyFormat = [{
    $x (`scale` `(` $x_scale^ `)`)? (`zero_point` `(` $x_zero_point^ `)`)?
    (`as` $x_quant^)? `,`
    $weight (`scale` `(` $weight_scale^ `)`)? (`block` $weight_block^)?
    (`bias` `(` $bias^ `)`)? (`seed` `(` $seed^ `)`)?
    (`integer_join` $integer_join^)? (`activation` `` $activation^)?
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    /// Size of the contracted axis and number of outputs.
    int64_t getContractedSize() { return getWeight().getType().getDimSize(1); }
    int64_t getNumOutputs() { return getWeight().getType().getDimSize(0); }
    /// Segments of the contracted axis, in ascending order.
    ::llvm::SmallVector<::qtx::Segment> getSegments();
    /// Whether the segments may join in int32.
    bool canJoinIntegers();
    /// What the sum of each segment counts times in an integer join.
    ::llvm::SmallVector<int64_t> getJoinMultipliers();
  }];
}

def Qtx_BatchMatmulOp : Qtx_QuantizableOp<"batch_matmul", [AttrSizedOperandSegments]> {
  let summary = "batch of matrix products of two activations, float or quantized";
  let description = [{
    `y[..., m, n] = sum_k a[..., m, k] * b[..., k, n]`, requantized when `y` is
    quantized. With `transpose_b`, `b` is `[..., N, K]`.

    | operand | shape | element type |
    |---|---|---|
    | `a` | `[B..., M, K]` | f32 or quantized |
    | `b` | `[B..., K, N]` or `[B..., N, K]` | f32 or quantized, as `a` |
    | `y` | `[B..., M, N]` | f32 or quantized |

    The batch dimensions of both are equal. Groups of `a` lie along the contracted
    axis or a batch axis (per head); those of `b` along either or along `N`.

    The contracted axis is cut into segments by the boundaries of the groups that
    lie along it, of both operands. For quantized operands, every segment
    accumulates exactly in int32, `acc = sum (a - z_a) * (b - z_b)`, and the
    segments join in fp32 in ascending order, `r = fma(f32(acc), s_a * s_b, r)`
    from `r = 0` (Numerics.md, "Contractions"). The verifier bounds the accumulator.
    Where the size of the contracted axis is dynamic it cannot: the sum then wraps
    beyond that bound (33025 channels of 8 bits).

    Float operands: `r = fma(a, b, r)` in ascending order.

    Example:

    ```mlir
    %s = qtx.batch_matmul %q, %k transpose_b
        : (tensor<?x12x?x64x!quant.uniform<i8:f32, 0.02:3>>,
           tensor<?x12x?x64x!quant.uniform<i8:f32, 0.1>>) -> tensor<?x12x?x?xf32>
    %t = qtx.batch_matmul %a as !qtx.grouped<i8:f32, axis=-3, [1, 1], {0.5:1, 2.0}>,
        %b as !quant.uniform<i8:f32, 0.1> to !quant.uniform<i8:f32, 0.2>
        : (tensor<2x4x8xi8>, tensor<2x8x5xi8>) -> tensor<2x4x5xi8>
    ```
  }];
  let arguments = (ins Qtx_QuantizableTensor:$a,
                       Optional<Qtx_F32Tensor>:$a_scale,
                       Optional<Qtx_I32Tensor>:$a_zero_point,
                       Qtx_QuantizableTensor:$b,
                       Optional<Qtx_F32Tensor>:$b_scale,
                       Optional<Qtx_I32Tensor>:$b_zero_point,
                       Optional<Qtx_F32Tensor>:$y_scale,
                       Optional<Qtx_I32Tensor>:$y_zero_point,
                       OptionalAttr<Qtx_QuantTypeAttr>:$a_quant,
                       OptionalAttr<Qtx_QuantTypeAttr>:$b_quant,
                       UnitAttr:$transpose_b,
                       OptionalAttr<Qtx_QuantTypeAttr>:$y_quant);
  let results = (outs Qtx_QuantizableTensor:$y);
  let assemblyFormat = [{
    $a (`scale` `(` $a_scale^ `)`)? (`zero_point` `(` $a_zero_point^ `)`)?
    (`as` $a_quant^)? `,`
    $b (`scale` `(` $b_scale^ `)`)? (`zero_point` `(` $b_zero_point^ `)`)?
    (`as` $b_quant^)? (`transpose_b` $transpose_b^)?
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    /// The contracted axis of `b` and its other one, counted from the last.
    int64_t getContractedAxisOfB() { return getTransposeB() ? -1 : -2; }
    int64_t getOutputAxisOfB() { return getTransposeB() ? -2 : -1; }
    /// Size of the contracted axis; dynamic if neither operand knows it.
    int64_t getContractedSize();
    /// Segments of the contracted axis, in ascending order; `group` is that of
    /// `a` and `block` that of `b`.
    ::llvm::SmallVector<::qtx::Segment> getSegments();
  }];
}

#endif // QTX_DIALECT_QTX_IR_CONTRACTIONOPS
