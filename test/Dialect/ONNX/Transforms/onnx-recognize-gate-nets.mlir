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

// -----

// One product for all heads.
// CHECK-LABEL: func.func @stacked(
// CHECK-SAME: %[[X:.*]]: tensor<2x3x4xf32>)
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00]]> : tensor<2x2xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[5.000000e-01, 6.000000e-01]> : tensor<2xf32>
// CHECK: %[[G:.*]] = qtx.gate_projection linear %[[X]] weight(%[[W]]) bias(%[[B]])
// CHECK-NEXT: onnx.node "Reshape"(%[[G]]) : (tensor<2x2x3xf32>) -> tensor<2x2x3x1xf32>
func.func @stacked(%x: tensor<2x3x4xf32>) -> tensor<2x2x3x1xf32> {
  %w = arith.constant dense<[[[1.0], [2.0]], [[3.0], [4.0]]]> : tensor<2x2x1xf32>
  %b = arith.constant dense<[[[0.5]], [[0.6]]]> : tensor<2x1x1xf32>
  %s = onnx.node "Reshape"(%x) : (tensor<2x3x4xf32>) -> tensor<2x3x2x2xf32>
  %h = onnx.node "Transpose"(%s) attributes {perm = [0 : si64, 2 : si64, 1 : si64, 3 : si64]} : (tensor<2x3x2x2xf32>) -> tensor<2x2x3x2xf32>
  %p = onnx.node "MatMul"(%h, %w) : (tensor<2x2x3x2xf32>, tensor<2x2x1xf32>) -> tensor<2x2x3x1xf32>
  %y = onnx.node "Add"(%p, %b) : (tensor<2x2x3x1xf32>, tensor<2x1x1xf32>) -> tensor<2x2x3x1xf32>
  return %y : tensor<2x2x3x1xf32>
}

// -----

// Two sums over letters: the weights [n, k, h] and [k, h] are turned to rows for each head.
// CHECK-LABEL: func.func @einsum(
// CHECK-SAME: %[[X:.*]]: tensor<2x5x4xf32>)
// CHECK-DAG: %[[H:.*]] = arith.constant dense<{{\[\[\[}}1.000000e+00, 3.000000e+00], [5.000000e+00, 7.000000e+00], [9.000000e+00, 1.100000e+01]], {{\[\[}}2.000000e+00, 4.000000e+00], [6.000000e+00, 8.000000e+00], [1.000000e+01, 1.200000e+01]]]> : tensor<2x3x2xf32>
// CHECK-DAG: %[[C:.*]] = arith.constant dense<{{\[\[}}1.000000e-01, 2.000000e-01, 3.000000e-01], [1.000000e-01, 2.000000e-01, 3.000000e-01]]> : tensor<2x3xf32>
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[\[}}1.000000e+00, 3.000000e+00, 5.000000e+00], [2.000000e+00, 4.000000e+00, 6.000000e+00]]> : tensor<2x3xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<0.000000e+00> : tensor<2xf32>
// CHECK: %[[G:.*]] = qtx.gate_projection mlp %[[X]] hidden(%[[H]], %[[C]]) weight(%[[W]]) bias(%[[B]])
// CHECK-NEXT: %[[T:.*]] = onnx.node "Transpose"(%[[G]]) attributes {perm = [0 : si64, 2 : si64, 1 : si64]}
// CHECK: return %[[T]]
func.func @einsum(%x: tensor<2x5x4xf32>) -> tensor<2x5x2xf32> {
  %w0 = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]], [[9.0, 10.0], [11.0, 12.0]]]> : tensor<3x2x2xf32>
  %b0 = arith.constant dense<[0.1, 0.2, 0.3]> : tensor<3xf32>
  %w1 = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %s = onnx.node "Reshape"(%x) : (tensor<2x5x4xf32>) -> tensor<2x5x2x2xf32>
  %p = onnx.node "Einsum"(%s, %w0) attributes {equation = "bshk,nkh->bhsn"} : (tensor<2x5x2x2xf32>, tensor<3x2x2xf32>) -> tensor<2x2x5x3xf32>
  %a = onnx.node "Add"(%p, %b0) : (tensor<2x2x5x3xf32>, tensor<3xf32>) -> tensor<2x2x5x3xf32>
  %r = onnx.node "Relu"(%a) : (tensor<2x2x5x3xf32>) -> tensor<2x2x5x3xf32>
  %y = onnx.node "Einsum"(%w1, %r) attributes {equation = "kh,bhsk->bsh"} : (tensor<3x2xf32>, tensor<2x2x5x3xf32>) -> tensor<2x5x2xf32>
  return %y : tensor<2x5x2xf32>
}

// -----

// What is added depends on the query.
// CHECK-LABEL: func.func @positions(
// CHECK: qtx.gate_projection
// CHECK: onnx.node "Add"
func.func @positions(%x: tensor<2x3x4xf32>) -> tensor<2x2x3x1xf32> {
  %w = arith.constant dense<[[[1.0], [2.0]], [[3.0], [4.0]]]> : tensor<2x2x1xf32>
  %b = arith.constant dense<[[[0.5], [0.6], [0.7]]]> : tensor<1x3x1xf32>
  %s = onnx.node "Reshape"(%x) : (tensor<2x3x4xf32>) -> tensor<2x3x2x2xf32>
  %h = onnx.node "Transpose"(%s) attributes {perm = [0 : si64, 2 : si64, 1 : si64, 3 : si64]} : (tensor<2x3x2x2xf32>) -> tensor<2x2x3x2xf32>
  %p = onnx.node "MatMul"(%h, %w) : (tensor<2x2x3x2xf32>, tensor<2x2x1xf32>) -> tensor<2x2x3x1xf32>
  %y = onnx.node "Add"(%p, %b) : (tensor<2x2x3x1xf32>, tensor<1x3x1xf32>) -> tensor<2x2x3x1xf32>
  return %y : tensor<2x2x3x1xf32>
}

// -----

// Not the same query in what is read and what is yielded, and no heads of a tensor.
// CHECK-LABEL: func.func @others(
// CHECK-NOT: qtx.gate_projection
// CHECK: return
func.func @others(%x: tensor<2x3x6xf32>, %h: tensor<2x3x3x2xf32>) -> (tensor<2x3x3xf32>, tensor<2x3x3xf32>) {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %s = onnx.node "Reshape"(%x) : (tensor<2x3x6xf32>) -> tensor<2x3x3x2xf32>
  %a = onnx.node "Einsum"(%s, %w) attributes {equation = "bshk,hk->sbh"} : (tensor<2x3x3x2xf32>, tensor<3x2xf32>) -> tensor<2x3x3xf32>
  %b = onnx.node "Einsum"(%h, %w) attributes {equation = "bshk,hk->bsh"} : (tensor<2x3x3x2xf32>, tensor<3x2xf32>) -> tensor<2x3x3xf32>
  return %a, %b : tensor<2x3x3xf32>, tensor<2x3x3xf32>
}
