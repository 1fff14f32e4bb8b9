//===- Passes.td - Passes on ONNX graphs -------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_ONNX_TRANSFORMS_PASSES
#define QTX_DIALECT_ONNX_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

def ONNXConvertQuantizationPass
    : Pass<"onnx-convert-quantization", "::mlir::func::FuncOp"> {
  let summary = "keep the scales and codes of a quantized ONNX graph";
  let description = [{
    Turns what a quantized model says with `QuantizeLinear` and `DequantizeLinear` into
    `qtx` operations. It runs in front of `onnx-recognize`.

    - A pair of 8 bits with one constant scale becomes `qtx.quantize` and
      `qtx.dequantize`; so does one with a scale per channel or block of the last axis,
      whose adjacent channels with the same parameters become a group. Pairs with one scale move in front of `Reshape` and `Transpose`, and of a positive
      factor behind one of these, to the operation that computes what they quantize. Codes
      without sign become signed: minus 128.
    - A constant that is encoded becomes its codes.
    - A `MatMul` or `Gemm` by a decoded constant becomes `qtx.linear` with the model's own
      codes as the weight: 8 or 4 bits, one scale, one per output, or blocks along the
      contracted axis. Zero points are subtracted from the codes, where they then fit 8
      bits. So does `MatMulNBits` of
      `com.microsoft`. Where its input was quantized with one scale it reads the codes.
    - Any other decoded constant becomes floats, with a missed remark.

    What stays is lowered as arithmetic by `convert-onnx-to-linalg`.

    ```mlir
    func.func @main(%x: tensor<4x2xf32>) -> tensor<4x3xf32> {
      %s = arith.constant dense<0.5> : tensor<f32>
      %z = arith.constant dense<130> : tensor<ui8>
      %w = arith.constant dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi8>
      %0 = onnx.node "QuantizeLinear"(%x, %s, %z)
          : (tensor<4x2xf32>, tensor<f32>, tensor<ui8>) -> tensor<4x2xui8>
      %1 = onnx.node "DequantizeLinear"(%0, %s, %z)
          : (tensor<4x2xui8>, tensor<f32>, tensor<ui8>) -> tensor<4x2xf32>
      %2 = onnx.node "DequantizeLinear"(%w, %s) : (tensor<2x3xi8>, tensor<f32>) -> tensor<2x3xf32>
      %3 = onnx.node "MatMul"(%1, %2) : (tensor<4x2xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
      return %3 : tensor<4x3xf32>
    }
    ```

    becomes

    ```mlir
    func.func @main(%x: tensor<4x2xf32>) -> tensor<4x3xf32> {
      %w = arith.constant dense<[[1, 4], [2, 5], [3, 6]]> : tensor<3x2xi8>
      %s = arith.constant dense<0.5> : tensor<1xf32>
      %0 = qtx.quantize %x : tensor<4x2xf32> -> tensor<4x2x!quant.uniform<i8:f32, 0.5:2>>
      %1 = qtx.linear %0, %w scale(%s)
          : (tensor<4x2x!quant.uniform<i8:f32, 0.5:2>>, tensor<3x2xi8>, tensor<1xf32>)
          -> tensor<4x3xf32>
      return %1 : tensor<4x3xf32>
    }
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::quant::QuantDialect",
    "::qtx::onnx::ONNXDialect", "::qtx::QtxDialect"
  ];
}

def ONNXRecognizePass : Pass<"onnx-recognize", "::mlir::ModuleOp"> {
  let summary = "find qtx operations in an ONNX graph";
  let description = [{
    Replaces nodes, and groups of nodes as exporters write them, by the `qtx` operation
    that computes the same:

    | operation | found as |
    |---|---|
    | `qtx.linear` | `MatMul` or `Gemm` by a constant, with the bias added to it, also on rows between two `Reshape`; `Conv` of patches; a projection that is split becomes one per part |
    | `qtx.layer_norm`, `qtx.rms_norm` | the operator, or its formula with `ReduceMean` |
    | `qtx.gelu`, `qtx.silu`, `qtx.relu` | the operator, or its formula with `Erf`, `Tanh` or `Sigmoid`, the factors in any order |
    | `qtx.embedding` | `Gather` of rows of a constant |
    | `qtx.split_heads`, `qtx.merge_heads` | `Reshape` and `Transpose` |
    | `qtx.attention` | `Softmax` between two `MatMul`, with scales, masks, clip, soft cap, quantizers of scores and probabilities, gate (also behind merged heads) and shared key heads, also where heads and batch are one dimension; the `Attention` operator and its gate |
    | `qtx.gate_projection` | `Concat` of the results of one linear layer for each head, or of two with a `Relu` between, each of which reads the `Gather` of the head's part of a tensor |
    | `qtx.add` | an `Add` to the result of one of these |

    Everything else stays for `convert-onnx-to-linalg`, so that what is not found is
    slower and never wrong. What the operations read and yield are tensors without
    symbolic sizes; `builtin.unrealized_conversion_cast` stands between them and the
    nodes that stay. Weights become `[N, K]` constants, transposed where they need to be;
    a constant that is read no more gives its memory back.

    A mask of padding, one flag per key, becomes an i1 mask, and one that excludes the
    keys behind the query becomes `causal`, where that follows from the graph
    (docs/Rationale/RecognizingONNX.md says when they are the same). Any other mask
    stays what it is, a tensor that is added or tested.

    Each operation that is found is a passed remark. A softmax that is part of no
    attention, a product with a constant and a normalization that stay are missed
    remarks with the reason.

    ```mlir
    func.func @main(%x: tensor<4x2xf32>) -> tensor<4x3xf32> {
      %w = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
      %b = arith.constant dense<[0.5, 0.25, 0.125]> : tensor<3xf32>
      %0 = onnx.node "MatMul"(%x, %w) : (tensor<4x2xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
      %1 = onnx.node "Add"(%b, %0) : (tensor<3xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
      return %1 : tensor<4x3xf32>
    }
    ```

    becomes

    ```mlir
    func.func @main(%x: tensor<4x2xf32>) -> tensor<4x3xf32> {
      %b = arith.constant dense<[0.5, 0.25, 0.125]> : tensor<3xf32>
      %w = arith.constant dense<[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]> : tensor<3x2xf32>
      %0 = qtx.linear %x, %w bias(%b)
          : (tensor<4x2xf32>, tensor<3x2xf32>, tensor<3xf32>) -> tensor<4x3xf32>
      return %0 : tensor<4x3xf32>
    }
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect",
    "::qtx::onnx::ONNXDialect", "::qtx::QtxDialect"
  ];
}

#endif // QTX_DIALECT_ONNX_TRANSFORMS_PASSES
