//===- QuantizationOps.td - Quantization operations --------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QUANTIZATIONOPS
#define QTX_DIALECT_QTX_IR_QUANTIZATIONOPS

include "qtx/Dialect/Qtx/IR/QtxOpBase.td"

def Qtx_QuantizeOp : Qtx_QuantizableOp<"quantize", [AttrSizedOperandSegments]> {
  let summary = "quantize a float tensor with given parameters";
  let description = [{
    `y = clamp(roundeven(x * (1 / s)) + z, qmin, qmax)` element by element, with
    the scale `s` and zero point `z` of the element's group (Numerics.md,
    "Quantize"). Rounding is half to even; values outside the range saturate, NaN
    becomes the smallest storage value.

    `x` is f32 of any rank; `y` has its shape. When the parameters are run-time
    values (`?`), `y_scale` (f32) and optionally `y_zero_point` (i32) hold one value
    per group, either of shape `[groups]` or with the leading dimensions of `x`.

    Example:

    ```mlir
    %q = qtx.quantize %x : tensor<4x8xf32>
        -> tensor<4x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>>
    %s = qtx.quantize %x to !quant.uniform<i8:f32, 0.02:3>
        : tensor<4x8xf32> -> tensor<4x8xi8>
    ```
  }];
  let arguments = (ins Qtx_F32Tensor:$x,
                       Optional<Qtx_F32Tensor>:$y_scale,
                       Optional<Qtx_I32Tensor>:$y_zero_point,
                       OptionalAttr<Qtx_QuantTypeAttr>:$y_quant);
  let results = (outs Qtx_QuantizableTensor:$y);
  let assemblyFormat = [{
    $x (`scale` `(` $y_scale^ `:` type($y_scale) `)`)?
    (`zero_point` `(` $y_zero_point^ `:` type($y_zero_point) `)`)?
    (`to` $y_quant^)? attr-dict `:` type($x) `->` type($y)
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Qtx_DequantizeOp : Qtx_QuantizableOp<"dequantize", [AttrSizedOperandSegments]> {
  let summary = "turn a quantized tensor into float";
  let description = [{
    `y = f32(x - z) * s` element by element (Numerics.md, "Dequantize"). Operands and
    parameters are those of `qtx.quantize`.

    Example:

    ```mlir
    %y = qtx.dequantize %q : tensor<4x8x!quant.uniform<i8:f32, 0.02:3>> -> tensor<4x8xf32>
    %z = qtx.dequantize %s as !quant.uniform<i8:f32, 0.02:3>
        : tensor<4x8xi8> -> tensor<4x8xf32>
    ```
  }];
  let arguments = (ins Qtx_QuantizableTensor:$x,
                       Optional<Qtx_F32Tensor>:$x_scale,
                       Optional<Qtx_I32Tensor>:$x_zero_point,
                       OptionalAttr<Qtx_QuantTypeAttr>:$x_quant);
  let results = (outs Qtx_F32Tensor:$y);
  let assemblyFormat = [{
    $x (`scale` `(` $x_scale^ `:` type($x_scale) `)`)?
    (`zero_point` `(` $x_zero_point^ `:` type($x_zero_point) `)`)?
    (`as` $x_quant^)? attr-dict `:` type($x) `->` type($y)
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Qtx_RequantizeOp : Qtx_QuantizableOp<"requantize", [AttrSizedOperandSegments]> {
  let summary = "change the parameters of a quantized tensor";
  let description = [{
    `y = quantize(dequantize(x))` element by element: the result is exactly that of
    `qtx.dequantize` with the parameters of `x` followed by `qtx.quantize` with those
    of `y` (Numerics.md, "Requantize"). `x` may hold 32-bit accumulators with one
    scale per channel.

    `x` and `y` are quantized, of the same shape. Either side may have run-time
    parameters (`?`), with operands as in `qtx.quantize`. A result whose parameters
    are found from the values is made by `qtx.dynamic_quantize`, which takes a
    quantized operand as well.

    Example:

    ```mlir
    %y = qtx.requantize %x : (tensor<4x8x!quant.uniform<i8:f32, 0.02:3>>)
        -> tensor<4x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>>
    %z = qtx.requantize %acc scale(%s) as !qtx.grouped<i32:f32, axis=-1, [1 * 8], ?>
        to !quant.uniform<i8:f32, 0.1:-128>
        : (tensor<4x8xi32>, tensor<8xf32>) -> tensor<4x8xi8>
    ```
  }];
  let arguments = (ins Qtx_QuantizableTensor:$x,
                       Optional<Qtx_F32Tensor>:$x_scale,
                       Optional<Qtx_I32Tensor>:$x_zero_point,
                       Optional<Qtx_F32Tensor>:$y_scale,
                       Optional<Qtx_I32Tensor>:$y_zero_point,
                       OptionalAttr<Qtx_QuantTypeAttr>:$x_quant,
                       OptionalAttr<Qtx_QuantTypeAttr>:$y_quant);
  let results = (outs Qtx_QuantizableTensor:$y);
  let assemblyFormat = [{
    $x (`scale` `(` $x_scale^ `)`)? (`zero_point` `(` $x_zero_point^ `)`)?
    (`as` $x_quant^)?
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Qtx_DynamicQuantizeOp : Qtx_QuantizableOp<"dynamic_quantize", [AttrSizedOperandSegments]> {
  let summary = "quantize with parameters found from the values";
  let description = [{
    Cuts the last axis of `x` into the groups of the type of `y` and quantizes every
    group of every leading position (token) with its own parameters, which are
    results too. One group is per token; several are per token and group.

    With `lo = min(min x, 0)` and `hi = max(max x, 1e-8)` over the group, clamped to
    half of the largest f32:

    - asymmetric: `s = (hi - lo) / (qmax - qmin)`,
      `z = clamp(roundeven(-lo * (1 / s)) + qmin, qmin, qmax)`;
    - `symmetric`: `s = max(-lo, hi) / qmax`, `z = 0`, and there is no zero-point
      result.

    Then `y = quantize(x)` with `s` and `z`. NaN does not count for the range. `s` is
    always a normal number (Numerics.md, "Parameters from ranges").

    | value | shape | element type |
    |---|---|---|
    | `x` | `[..., d]` | f32, or quantized: it is dequantized first |
    | `y` | `[..., d]` | `!qtx.grouped<_, axis=-1, [sizes], ?>`, storage of at most 16 bits |
    | `y_scale` | `[..., groups]` | f32 |
    | `y_zero_point` | `[..., groups]` | i32 |

    Example:

    ```mlir
    %q, %s, %z = qtx.dynamic_quantize %x : (tensor<?x8xf32>)
        -> (tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], ?>>,
            tensor<?x2xf32>, tensor<?x2xi32>)
    %r, %t = qtx.dynamic_quantize %x symmetric to !qtx.grouped<i8:f32, axis=-1, [8], ?>
        : (tensor<?x8xf32>) -> (tensor<?x8xi8>, tensor<?x1xf32>)
    ```
  }];
  let arguments = (ins Qtx_QuantizableTensor:$x,
                       Optional<Qtx_F32Tensor>:$x_scale,
                       Optional<Qtx_I32Tensor>:$x_zero_point,
                       OptionalAttr<Qtx_QuantTypeAttr>:$x_quant,
                       UnitAttr:$symmetric,
                       OptionalAttr<Qtx_QuantTypeAttr>:$y_quant);
  let results = (outs Qtx_QuantizableTensor:$y,
                      Qtx_F32Tensor:$y_scale,
                      Optional<Qtx_I32Tensor>:$y_zero_point);
  let assemblyFormat = [{
    $x (`scale` `(` $x_scale^ `)`)? (`zero_point` `(` $x_zero_point^ `)`)?
    (`as` $x_quant^)? (`symmetric` $symmetric^)? (`to` $y_quant^)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Qtx_PermuteOp : Qtx_Op<"permute"> {
  let summary = "reorder the channels of one axis";
  let description = [{
    `y[..., i, ...] = x[..., indices[i], ...]` along `axis`, which counts from the
    last dimension. Elements of any type move unchanged.

    `indices` is a 1-D tensor of i32, i64 or index. Constant indices must be a
    permutation of the axis. Run-time indices are expected to be one; an index
    outside the axis reads the nearest channel, so nothing is read out of bounds.

    Types describe channels in stored order. Where `x` is quantized in groups along
    `axis`, the indices are constant and every channel of `y` has the parameters of
    its source channel; with run-time parameters (`?`), every group of `y` takes its
    channels from one group of `x`. In every other case the element types are equal.

    Source: the "+P" of PEG (Bondarenko et al. 2021, section 4).

    Example:

    ```mlir
    %p = arith.constant dense<[2, 0, 3, 1]> : tensor<4xi32>
    %y = qtx.permute %x by %p : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
    %z = qtx.permute %w by %p axis -2 : (tensor<4x3xi8>, tensor<4xi32>) -> tensor<4x3xi8>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$x, Qtx_PermutationTensor:$indices,
                       DefaultValuedAttr<I64Attr, "-1">:$axis);
  let results = (outs AnyRankedTensor:$y);
  let assemblyFormat = [{
    $x `by` $indices (`axis` $axis^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    /// The permuted dimension, counted from the first.
    int64_t getDim() { return getX().getType().getRank() + getAxis(); }
    /// The indices, where they are constant.
    ::std::optional<::llvm::SmallVector<int64_t>> getConstantIndices();
  }];
}

def Qtx_ObserveOp : Qtx_Op<"observe", [
    AllTypesMatch<["lo", "hi", "new_lo", "new_hi"]>]> {
  let summary = "update observed ranges per channel";
  let description = [{
    Updates the range `[lo, hi]` of every channel of `x` along `axis`, which counts
    from the last dimension, with the smallest and largest value `[b_lo, b_hi]` of
    that channel in `x` (Numerics.md, "Observers"):

    | observer | new range |
    |---|---|
    | `min_max` | `[min(lo, b_lo), max(hi, b_hi)]` |
    | `current` | `[b_lo, b_hi]` |
    | `running` | `fma(momentum, lo, (1 - momentum) * b_lo)` and the same of `hi`; the first range is taken as it is |

    The state is plain tensors. A range with `lo > hi` is empty; the initial state is
    `lo = +inf`, `hi = -inf`. NaN does not count, and neither do positions where
    `mask` is false (padding). A channel in which nothing counts keeps its range.

    | operand | shape | element type |
    |---|---|---|
    | `x` | any, rank at least 1 | f32 |
    | `lo`, `hi` | `[channels]` | f32 |
    | `mask` | leading dimensions of `x`, at least one | i1 |

    Example:

    ```mlir
    %l, %h = qtx.observe %x, %lo, %hi mask(%m) observer running momentum 0.9
        : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?x?xi1>)
        -> (tensor<8xf32>, tensor<8xf32>)
    ```
  }];
  let arguments = (ins Qtx_F32Tensor:$x, Qtx_F32Tensor:$lo, Qtx_F32Tensor:$hi,
                       Optional<Qtx_BoolTensor>:$mask,
                       DefaultValuedAttr<I64Attr, "-1">:$axis,
                       DefaultValuedAttr<Qtx_ObserverAttr, "::qtx::Observer::MinMax">:$observer,
                       OptionalAttr<F32Attr>:$momentum);
  let results = (outs Qtx_F32Tensor:$new_lo, Qtx_F32Tensor:$new_hi);
  let assemblyFormat = [{
    $x `,` $lo `,` $hi (`mask` `(` $mask^ `)`)? (`axis` $axis^)?
    (`observer` $observer^)? (`momentum` $momentum^)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The dimension of the channels, counted from the first.
    int64_t getDim() { return getX().getType().getRank() + getAxis(); }
  }];
}

#endif // QTX_DIALECT_QTX_IR_QUANTIZATIONOPS
