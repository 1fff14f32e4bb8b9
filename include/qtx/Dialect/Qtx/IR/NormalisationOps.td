//===- NormalisationOps.td - Normalisation operations ------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_NORMALISATIONOPS
#define QTX_DIALECT_QTX_IR_NORMALISATIONOPS

include "qtx/Dialect/Qtx/IR/QtxOpBase.td"

// An operation with one quantizable result `y`, whose type is inferred: its shape
// from the operands, its element type from `y_quant`, or f32. A result in quantized
// form is written out, so the inferred type does not bind; the verifier compares
// the shapes.
class Qtx_InferredOp<string mnemonic, list<Trait> traits = []>
    : Qtx_QuantizableOp<mnemonic, !listconcat(traits, [
        AttrSizedOperandSegments, InferTypeOpAdaptorWithIsCompatible])> {
  dag xArguments = (ins Qtx_QuantizableTensor:$x,
                        Optional<Qtx_F32Tensor>:$x_scale,
                        Optional<Qtx_I32Tensor>:$x_zero_point);
  dag xQuantArgument = (ins OptionalAttr<Qtx_QuantTypeAttr>:$x_quant);
  dag yArguments = (ins Optional<Qtx_F32Tensor>:$y_scale,
                        Optional<Qtx_I32Tensor>:$y_zero_point);
  dag yQuantArgument = (ins OptionalAttr<Qtx_QuantTypeAttr>:$y_quant);
  let results = (outs Qtx_QuantizableTensor:$y);
  code compatibleDefinition = [{
    bool $cppClass::isCompatibleReturnTypes(::mlir::TypeRange, ::mlir::TypeRange) {
      return true;
    }
  }];
  let extraClassDefinition = compatibleDefinition;
}

// The result has the shape of the operand `x`.
class Qtx_ShapedLikeXOp<string mnemonic, list<Trait> traits = []>
    : Qtx_InferredOp<mnemonic, traits> {
  let extraClassDefinition = compatibleDefinition # [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(
        ::mlir::MLIRContext *context, std::optional<::mlir::Location>, Adaptor adaptor,
        ::llvm::SmallVectorImpl<::mlir::Type> &types) {
      auto x = ::llvm::cast<::mlir::RankedTensorType>(adaptor.getX().getType());
      types.push_back(::qtx::inferQuantizable(
          context, x.getShape(), adaptor.getYQuantAttr()));
      return ::mlir::success();
    }
    ::llvm::LogicalResult $cppClass::reifyResultShapes(
        ::mlir::OpBuilder &builder, ::mlir::ReifiedRankedShapedTypeDims &reified) {
      reified.push_back(::mlir::tensor::getMixedSizes(builder, getLoc(), getX()));
      return ::mlir::success();
    }
    ::llvm::SmallVector<::qtx::QuantEdge> $cppClass::getQuantEdges() {
      return {{getX(), getXQuantAttrName(), getXScale(), getXZeroPoint()},
              {getY(), getYQuantAttrName(), getYScale(), getYZeroPoint()}};
    }
  }];
}

// y = f(x) element by element.
class Qtx_UnaryOp<string mnemonic, list<Trait> traits = []>
    : Qtx_ShapedLikeXOp<mnemonic, traits> {
  let arguments = !con(xArguments, yArguments, xQuantArgument, yQuantArgument);
  let assemblyFormat = [{
    $x (`scale` `(` $x_scale^ `)`)? (`zero_point` `(` $x_zero_point^ `)`)?
    (`as` $x_quant^)?
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Normalisation
//===----------------------------------------------------------------------===//

def Qtx_LayerNormOp : Qtx_ShapedLikeXOp<"layer_norm"> {
  let summary = "layer normalisation of the last axis";
  let description = [{
    Every row of `x` along the last axis is brought to mean 0 and variance 1, then
    scaled and shifted:

    ```
    y = (x - mean) / sqrt(var + epsilon) * gamma + beta
    ```

    with the population variance, in two passes and in fp32 (Numerics.md,
    "Normalisation"). A quantized `x` is dequantized first, a quantized `y` quantized
    last.

    | value | shape | element type |
    |---|---|---|
    | `x` | `[..., d]`, `d` static | f32 or quantized |
    | `gamma`, `beta` | `[d]` | f32 |
    | `y` | `[..., d]` | f32 or quantized |

    Source: Ba et al. 2016.

    Example:

    ```mlir
    %y = qtx.layer_norm %x gamma(%g) beta(%b) epsilon 1.0e-12
        : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>)
        -> tensor<?x?x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>>
    %z = qtx.layer_norm %q as !quant.uniform<i8:f32, 0.02:3> epsilon 1.0e-5
        : (tensor<2x8xi8>) -> tensor<2x8xf32>
    ```
  }];
  let arguments = !con(xArguments,
                       (ins Optional<Qtx_F32Tensor>:$gamma,
                            Optional<Qtx_F32Tensor>:$beta),
                       yArguments, (ins F32Attr:$epsilon), xQuantArgument,
                       yQuantArgument);
  let assemblyFormat = [{
    $x (`scale` `(` $x_scale^ `)`)? (`zero_point` `(` $x_zero_point^ `)`)?
    (`as` $x_quant^)? (`gamma` `(` $gamma^ `)`)? (`beta` `(` $beta^ `)`)?
    `epsilon` $epsilon
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Qtx_RmsNormOp : Qtx_ShapedLikeXOp<"rms_norm"> {
  let summary = "normalisation of the last axis by its root mean square";
  let description = [{
    `y = x / sqrt(mean(x^2) + epsilon) * gamma` for every row along the last axis, in
    fp32 (Numerics.md, "Normalisation"). Shapes and element types are those of
    `qtx.layer_norm`.

    Source: Zhang and Sennrich 2019.

    Example:

    ```mlir
    %y = qtx.rms_norm %x gamma(%g) epsilon 1.0e-6
        : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
    %q = qtx.rms_norm %x epsilon 1.0e-6 to !quant.uniform<i8:f32, 0.02:3>
        : (tensor<?x8xf32>) -> tensor<?x8xi8>
    ```
  }];
  let arguments = !con(xArguments, (ins Optional<Qtx_F32Tensor>:$gamma), yArguments,
                       (ins F32Attr:$epsilon), xQuantArgument, yQuantArgument);
  let assemblyFormat = [{
    $x (`scale` `(` $x_scale^ `)`)? (`zero_point` `(` $x_zero_point^ `)`)?
    (`as` $x_quant^)? (`gamma` `(` $gamma^ `)`)? `epsilon` $epsilon
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Qtx_ScaleShiftOp : Qtx_ShapedLikeXOp<"scale_shift"> {
  let summary = "scale and shift every channel of the last axis";
  let description = [{
    `y[..., c] = fma(x[..., c], gain[c], shift[c])` (Numerics.md, "Normalisation"). A
    quantized `x` is dequantized first, a quantized `y` quantized last.

    It brings channels of different ranges to one range before they are quantized.
    `qtx-fold-scale-shift` moves it into neighbouring constants; one that stays is
    meant for the epilogue of the operation that computes `x`.

    | value | shape | element type |
    |---|---|---|
    | `x` | `[..., d]`, `d` static | f32 or quantized |
    | `gain`, `shift` | `[d]` | f32 |
    | `y` | `[..., d]` | f32 or quantized |

    Sources: Outlier Suppression+ (Wei et al. 2023); SmoothQuant (Xiao et al. 2023).

    Example:

    ```mlir
    %y = qtx.scale_shift %x gain(%g) shift(%s)
        : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>)
        -> tensor<?x?x8x!quant.uniform<i8:f32, 0.02:3>>
    %z = qtx.scale_shift %q as !quant.uniform<i8:f32, 0.02:3> gain(%g) shift(%s)
        : (tensor<2x8xi8>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
    ```
  }];
  let arguments = !con(xArguments,
                       (ins Qtx_F32Tensor:$gain, Qtx_F32Tensor:$shift), yArguments,
                       xQuantArgument, yQuantArgument);
  let assemblyFormat = [{
    $x (`scale` `(` $x_scale^ `)`)? (`zero_point` `(` $x_zero_point^ `)`)?
    (`as` $x_quant^)? `gain` `(` $gain `)` `shift` `(` $shift `)`
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

def Qtx_ReluOp : Qtx_UnaryOp<"relu"> {
  let summary = "rectified linear unit";
  let description = [{
    `y = max(x, 0)` element by element; NaN propagates (Numerics.md, "Activations").
    `x` and `y` have the same shape and are f32 or quantized.

    Example:

    ```mlir
    %y = qtx.relu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %z = qtx.relu %q as !quant.uniform<i8:f32, 0.02:3> to !quant.uniform<i8:f32, 0.01:-128>
        : (tensor<?x8xi8>) -> tensor<?x8xi8>
    ```
  }];
  let hasFolder = 1;
}

def Qtx_GeluOp : Qtx_ShapedLikeXOp<"gelu"> {
  let summary = "Gaussian error linear unit";
  let description = [{
    Element by element (Numerics.md, "Activations"):

    - `none`: `y = x / 2 * (1 + erf(x / sqrt 2))`;
    - `tanh`: `y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.

    `x` and `y` have the same shape and are f32 or quantized.

    Source: Hendrycks and Gimpel 2016.

    Example:

    ```mlir
    %y = qtx.gelu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %q = qtx.gelu %x approximate tanh
        : (tensor<?x8xf32>) -> tensor<?x8x!quant.uniform<i8:f32, 0.02:-128>>
    ```
  }];
  let arguments = !con(xArguments, yArguments, xQuantArgument,
      (ins DefaultValuedAttr<Qtx_GeluApproximationAttr,
                             "::qtx::GeluApproximation::None">:$approximate),
      yQuantArgument);
  let assemblyFormat = [{
    $x (`scale` `(` $x_scale^ `)`)? (`zero_point` `(` $x_zero_point^ `)`)?
    (`as` $x_quant^)? (`approximate` $approximate^)?
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Qtx_SiluOp : Qtx_UnaryOp<"silu"> {
  let summary = "sigmoid linear unit";
  let description = [{
    `y = x / (1 + e^-x)` element by element (Numerics.md, "Activations"). `x` and `y`
    have the same shape and are f32 or quantized.

    Example:

    ```mlir
    %y = qtx.silu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %q = qtx.silu %x to !quant.uniform<i8:f32, 0.02:-128>
        : (tensor<?x8xf32>) -> tensor<?x8xi8>
    ```
  }];
}

//===----------------------------------------------------------------------===//
// Residual sum and embedding
//===----------------------------------------------------------------------===//

def Qtx_AddOp : Qtx_InferredOp<"add"> {
  let summary = "residual sum, float or quantized";
  let description = [{
    `y = lhs + rhs` element by element: quantized operands are dequantized, the sum is
    one fp32 addition, a quantized result is quantized (Numerics.md,
    "Normalisation"). Each of the three has its own parameters.

    | value | shape | element type |
    |---|---|---|
    | `lhs` | `[...]` | f32 or quantized |
    | `rhs` | that of `lhs`, or its trailing dimensions | f32 or quantized |
    | `y` | that of `lhs` | f32 or quantized |

    Example:

    ```mlir
    %y = qtx.add %x, %h : (tensor<?x8x!quant.uniform<i8:f32, 0.02:3>>, tensor<?x8xf32>)
        -> tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>>
    %e = qtx.add %words, %positions : (tensor<?x4x8xf32>, tensor<4x8xf32>) -> tensor<?x4x8xf32>
    ```
  }];
  let arguments = !con((ins Qtx_QuantizableTensor:$lhs,
                            Optional<Qtx_F32Tensor>:$lhs_scale,
                            Optional<Qtx_I32Tensor>:$lhs_zero_point,
                            Qtx_QuantizableTensor:$rhs,
                            Optional<Qtx_F32Tensor>:$rhs_scale,
                            Optional<Qtx_I32Tensor>:$rhs_zero_point),
                       yArguments,
                       (ins OptionalAttr<Qtx_QuantTypeAttr>:$lhs_quant,
                            OptionalAttr<Qtx_QuantTypeAttr>:$rhs_quant),
                       yQuantArgument);
  let assemblyFormat = [{
    $lhs (`scale` `(` $lhs_scale^ `)`)? (`zero_point` `(` $lhs_zero_point^ `)`)?
    (`as` $lhs_quant^)? `,`
    $rhs (`scale` `(` $rhs_scale^ `)`)? (`zero_point` `(` $rhs_zero_point^ `)`)?
    (`as` $rhs_quant^)?
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Qtx_EmbeddingOp : Qtx_InferredOp<"embedding"> {
  let summary = "rows of a table";
  let description = [{
    `y[..., :] = table[ids[...], :]`, dequantized with the scale of the row where the
    table holds integers: `f32(q) * s` (Numerics.md, "Normalisation").

    | value | shape | element type |
    |---|---|---|
    | `table` | `[V, d]`, static | f32, i8 or i4 |
    | `table_scale` | `[1]` or `[V]` | f32 |
    | `ids` | `[...]` | i8, i16, i32, i64 or index |
    | `y` | `[..., d]` | f32 or quantized |

    Ids are signed; a negative one counts from the end of the table, so that -1 is the
    last row. An id outside `[-V, V - 1]` is an error of the caller: a compiled model
    checks its inputs and returns a status; this operation takes the nearest row, so
    that nothing is read out of bounds.

    Example:

    ```mlir
    %y = qtx.embedding %t, %i : (tensor<100x8xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
    %z = qtx.embedding %q scale(%s), %i to !quant.uniform<i8:f32, 0.02:3>
        : (tensor<100x8xi8>, tensor<100xf32>, tensor<?x?xi64>) -> tensor<?x?x8xi8>
    ```
  }];
  let arguments = !con((ins Qtx_WeightTensor:$table,
                            Optional<Qtx_F32Tensor>:$table_scale,
                            RankedTensorOf<[I8, I16, I32, I64, Index]>:$ids),
                       yArguments, yQuantArgument);
  let assemblyFormat = [{
    $table (`scale` `(` $table_scale^ `)`)? `,` $ids
    (`out_scale` `(` $y_scale^ `)`)? (`out_zero_point` `(` $y_zero_point^ `)`)?
    (`to` $y_quant^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Number of rows of the table and size of each.
    int64_t getNumRows() { return getTable().getType().getDimSize(0); }
    int64_t getRowSize() { return getTable().getType().getDimSize(1); }
  }];
}

#endif // QTX_DIALECT_QTX_IR_NORMALISATIONOPS
