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
}

#endif // QTX_DIALECT_QTX_IR_QUANTIZATIONOPS
