// RUN: qtx-opt %s --split-input-file --onnx-recognize | FileCheck %s
// RUN: qtx-opt %s --split-input-file --onnx-recognize --remark-format=emitRemark --remarks-filter="onnx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// A linear layer for each head: its row of the weight, and its bias.
// CHECK-LABEL: func.func @linear(
// CHECK-SAME: %[[X:.*]]: tensor<2x3x4xf32>)
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00]]> : tensor<2x2xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[5.000000e-01, 0.000000e+00]> : tensor<2xf32>
// CHECK: %[[G:.*]] = qtx.gate_projection linear %[[X]] weight(%[[W]]) bias(%[[B]])
// CHECK-NEXT: onnx.node "Reshape"(%[[G]]) : (tensor<2x2x3xf32>) -> tensor<2x2x3x1xf32>
// REMARK: Remark="found qtx.gate_projection"
func.func @linear(%x: tensor<2x3x4xf32>) -> tensor<2x2x3x1xf32> {
  %c0 = arith.constant dense<0> : tensor<i64>
  %c1 = arith.constant dense<1> : tensor<i64>
  %w0 = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %w1 = arith.constant dense<[[3.0], [4.0]]> : tensor<2x1xf32>
  %b0 = arith.constant dense<0.5> : tensor<1xf32>
  %s = onnx.node "Reshape"(%x) : (tensor<2x3x4xf32>) -> tensor<2x3x2x2xf32>
  %h = onnx.node "Transpose"(%s) attributes {perm = [0 : si64, 2 : si64, 1 : si64, 3 : si64]} : (tensor<2x3x2x2xf32>) -> tensor<2x2x3x2xf32>
  %h0 = onnx.node "Gather"(%h, %c0) attributes {axis = 1 : si64} : (tensor<2x2x3x2xf32>, tensor<i64>) -> tensor<2x3x2xf32>
  %p0 = onnx.node "MatMul"(%h0, %w0) : (tensor<2x3x2xf32>, tensor<2x1xf32>) -> tensor<2x3x1xf32>
  %a0 = onnx.node "Add"(%b0, %p0) : (tensor<1xf32>, tensor<2x3x1xf32>) -> tensor<2x3x1xf32>
  %u0 = onnx.node "Reshape"(%a0) : (tensor<2x3x1xf32>) -> tensor<2x1x3x1xf32>
  %h1 = onnx.node "Gather"(%h, %c1) attributes {axis = 1 : si64} : (tensor<2x2x3x2xf32>, tensor<i64>) -> tensor<2x3x2xf32>
  %p1 = onnx.node "MatMul"(%h1, %w1) : (tensor<2x3x2xf32>, tensor<2x1xf32>) -> tensor<2x3x1xf32>
  %u1 = onnx.node "Reshape"(%p1) : (tensor<2x3x1xf32>) -> tensor<2x1x3x1xf32>
  %y = onnx.node "Concat"(%u0, %u1) attributes {axis = 1 : si64} : (tensor<2x1x3x1xf32>, tensor<2x1x3x1xf32>) -> tensor<2x2x3x1xf32>
  return %y : tensor<2x2x3x1xf32>
}

// -----

// Heads in another order are no gate.
// CHECK-LABEL: func.func @order(
// CHECK-NOT: qtx.gate_projection
// CHECK: return
func.func @order(%z: tensor<2x3x4xf32>) -> tensor<2x3x2xf32> {
  %x = onnx.node "Reshape"(%z) : (tensor<2x3x4xf32>) -> tensor<2x3x2x2xf32>
  %c0 = arith.constant dense<0> : tensor<i64>
  %c1 = arith.constant dense<1> : tensor<i64>
  %w = arith.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
  %h0 = onnx.node "Gather"(%x, %c1) attributes {axis = 2 : si64} : (tensor<2x3x2x2xf32>, tensor<i64>) -> tensor<2x3x2xf32>
  %p0 = onnx.node "MatMul"(%h0, %w) : (tensor<2x3x2xf32>, tensor<2x1xf32>) -> tensor<2x3x1xf32>
  %h1 = onnx.node "Gather"(%x, %c0) attributes {axis = 2 : si64} : (tensor<2x3x2x2xf32>, tensor<i64>) -> tensor<2x3x2xf32>
  %p1 = onnx.node "MatMul"(%h1, %w) : (tensor<2x3x2xf32>, tensor<2x1xf32>) -> tensor<2x3x1xf32>
  %y = onnx.node "Concat"(%p0, %p1) attributes {axis = 2 : si64} : (tensor<2x3x1xf32>, tensor<2x3x1xf32>) -> tensor<2x3x2xf32>
  return %y : tensor<2x3x2xf32>
}
