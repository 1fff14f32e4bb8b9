// RUN: qtx-opt %s -split-input-file -onnx-recognize | FileCheck %s
// RUN: qtx-opt %s -split-input-file -onnx-recognize --remark-format=emitRemark --remarks-filter="onnx-recognize.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

//===----------------------------------------------------------------------===//
// Linear layers
//===----------------------------------------------------------------------===//

#x = affine_map<()[s0, s1] -> (s0, s1, 2)>
#y = affine_map<()[s0, s1] -> (s0, s1, 3)>

// The weight is transposed, the bias joins in either order of the operands.
// CHECK-LABEL: func.func @matmul(
// CHECK-SAME: %[[ARG:.*]]: tensor<?x?x2xf32, #{{.*}}>)
// CHECK: %[[X:.*]] = builtin.unrealized_conversion_cast %[[ARG]] : tensor<?x?x2xf32, #{{.*}}> to tensor<?x?x2xf32>
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[1.000000e+00, 4.000000e+00], [2.000000e+00, 5.000000e+00], [3.000000e+00, 6.000000e+00]]> : tensor<3x2xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[5.000000e-01, 2.500000e-01, 1.250000e-01]> : tensor<3xf32>
// CHECK: %[[Y:.*]] = qtx.linear %[[X]], %[[W]] bias(%[[B]]) : (tensor<?x?x2xf32>, tensor<3x2xf32>, tensor<3xf32>) -> tensor<?x?x3xf32>
// CHECK: %[[R:.*]] = builtin.unrealized_conversion_cast %[[Y]]
// CHECK: return %[[R]]
// REMARK: remark: [Passed] RecognizeONNX | Category:onnx-recognize | Remark="found qtx.linear with bias"
func.func @matmul(%x: tensor<?x?x2xf32, #x>) -> tensor<?x?x3xf32, #y> {
  %w = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %b = arith.constant dense<[0.5, 0.25, 0.125]> : tensor<3xf32>
  %0 = onnx.node "MatMul"(%x, %w) : (tensor<?x?x2xf32, #x>, tensor<2x3xf32>) -> tensor<?x?x3xf32, #y>
  %1 = onnx.node "Add"(%b, %0) : (tensor<3xf32>, tensor<?x?x3xf32, #y>) -> tensor<?x?x3xf32, #y>
  return %1 : tensor<?x?x3xf32, #y>
}

// A transposition of a constant is not carried out twice.
// CHECK-LABEL: func.func @transposed_weight(
// CHECK: %[[W:.*]] = arith.constant dense<{{.*}}> : tensor<3x2xf32>
// CHECK: qtx.linear %{{.*}}, %[[W]] : (tensor<4x2xf32>, tensor<3x2xf32>) -> tensor<4x3xf32>
func.func @transposed_weight(%x: tensor<4x2xf32>) -> tensor<4x3xf32> {
  %w = arith.constant dense<[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]> : tensor<3x2xf32>
  %t = onnx.node "Transpose"(%w) attributes {perm = [1 : si64, 0 : si64]} : (tensor<3x2xf32>) -> tensor<2x3xf32>
  %0 = onnx.node "MatMul"(%x, %t) : (tensor<4x2xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}

// GPT-2: a product of matrices, and three projections in one.
// CHECK-LABEL: func.func @split_projection(
// CHECK-SAME: %[[X:.*]]: tensor<2x3x2xf32>)
// CHECK-DAG: %[[W0:.*]] = arith.constant dense<{{\[\[}}1.000000e+00, 3.000000e+00]]> : tensor<1x2xf32>
// CHECK-DAG: %[[B0:.*]] = arith.constant dense<5.000000e-01> : tensor<1xf32>
// CHECK: %[[Q:.*]] = qtx.linear %[[X]], %[[W0]] bias(%[[B0]]) : (tensor<2x3x2xf32>, tensor<1x2xf32>, tensor<1xf32>) -> tensor<2x3x1xf32>
// CHECK-DAG: %[[W1:.*]] = arith.constant dense<{{\[\[}}2.000000e+00, 4.000000e+00]]> : tensor<1x2xf32>
// CHECK: %[[K:.*]] = qtx.linear %[[X]], %[[W1]]
// CHECK: return %[[Q]], %[[K]]
// REMARK: Remark="found 2 qtx.linear: a projection that is split"
func.func @split_projection(%x: tensor<2x3x2xf32>) -> (tensor<2x3x1xf32>, tensor<2x3x1xf32>) {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %0 = onnx.node "Reshape"(%x) : (tensor<2x3x2xf32>) -> tensor<6x2xf32>
  %1 = onnx.node "Gemm"(%0, %w, %b) attributes {alpha = 1.0 : f32, beta = 1.0 : f32} : (tensor<6x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<6x2xf32>
  %2 = onnx.node "Reshape"(%1) : (tensor<6x2xf32>) -> tensor<2x3x2xf32>
  %3:2 = onnx.node "Split"(%2) attributes {axis = 2 : si64} : (tensor<2x3x2xf32>) -> (tensor<2x3x1xf32>, tensor<2x3x1xf32>)
  return %3#0, %3#1 : tensor<2x3x1xf32>, tensor<2x3x1xf32>
}

// CHECK-LABEL: func.func @gemm(
// CHECK: qtx.linear %{{.*}}, %{{.*}} bias(%{{.*}}) : (tensor<4x2xf32>, tensor<3x2xf32>, tensor<3xf32>) -> tensor<4x3xf32>
func.func @gemm(%x: tensor<4x2xf32>) -> tensor<4x3xf32> {
  %w = arith.constant dense<1.0> : tensor<3x2xf32>
  %b = arith.constant dense<[[0.5, 0.25, 0.125]]> : tensor<1x3xf32>
  %0 = onnx.node "Gemm"(%x, %w, %b) attributes {transB = 1 : si64} : (tensor<4x2xf32>, tensor<3x2xf32>, tensor<1x3xf32>) -> tensor<4x3xf32>
  return %0 : tensor<4x3xf32>
}

// CHECK-LABEL: func.func @left(
// CHECK-COUNT-4: onnx.node
// REMARK: [Missed] {{.*}} Reason="Gemm stays: the product is not that of a tensor and a weight"
// REMARK: [Missed] {{.*}} Reason="Gemm stays: the term that is added is not a constant vector"
// REMARK: [Missed] {{.*}} Reason="MatMul stays: the constant is not a matrix of f32"
// REMARK-NOT: stays
func.func @left(%x: tensor<2x2xf32>, %z: tensor<1x2x2xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>, tensor<1x2x2xf32>, tensor<2x2xf32>) {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %v = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0]]]> : tensor<1x2x2xf32>
  %none = onnx.none : none
  %0 = onnx.node "Gemm"(%x, %w, %none) attributes {alpha = 2.0 : f32} : (tensor<2x2xf32>, tensor<2x2xf32>, none) -> tensor<2x2xf32>
  %1 = onnx.node "Gemm"(%x, %w, %x) : (tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %2 = onnx.node "MatMul"(%z, %v) : (tensor<1x2x2xf32>, tensor<1x2x2xf32>) -> tensor<1x2x2xf32>
  %3 = onnx.node "MatMul"(%x, %x) : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %0, %1, %2, %3 : tensor<2x2xf32>, tensor<2x2xf32>, tensor<1x2x2xf32>, tensor<2x2xf32>
}

// ViT: patches of 2 x 2 of an image of one channel.
// CHECK-LABEL: func.func @patches(
// CHECK-SAME: %[[X:.*]]: tensor<1x1x4x4xf32>)
// CHECK: %[[S:.*]] = onnx.node "Reshape"(%[[X]]) : (tensor<1x1x4x4xf32>) -> tensor<1x1x2x2x2x2xf32>
// CHECK: %[[T:.*]] = onnx.node "Transpose"(%[[S]]) attributes {perm = [0 : si64, 2 : si64, 4 : si64, 1 : si64, 3 : si64, 5 : si64]}
// CHECK: %[[P:.*]] = onnx.node "Reshape"(%[[T]]) : ({{.*}}) -> tensor<1x2x2x4xf32>
// CHECK: %[[L:.*]] = qtx.linear %[[P]], %{{.*}} bias(%{{.*}}) : (tensor<1x2x2x4xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<1x2x2x3xf32>
// CHECK: onnx.node "Transpose"(%[[L]]) attributes {perm = [0 : si64, 3 : si64, 1 : si64, 2 : si64]} : (tensor<1x2x2x3xf32>) -> tensor<1x3x2x2xf32>
// REMARK: Remark="found qtx.linear of patches"
func.func @patches(%x: tensor<1x1x4x4xf32>) -> tensor<1x3x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<3x1x2x2xf32>
  %b = arith.constant dense<1.0> : tensor<3xf32>
  %0 = onnx.node "Conv"(%x, %w, %b) attributes {strides = [2 : si64, 2 : si64], kernel_shape = [2 : si64, 2 : si64], pads = [0 : si64, 0 : si64, 0 : si64, 0 : si64]} : (tensor<1x1x4x4xf32>, tensor<3x1x2x2xf32>, tensor<3xf32>) -> tensor<1x3x2x2xf32>
  return %0 : tensor<1x3x2x2xf32>
}

// CHECK-LABEL: func.func @overlapping_patches(
// CHECK: onnx.node "Conv"
// REMARK: Reason="Conv stays: its windows are not patches without overlap and gaps"
func.func @overlapping_patches(%x: tensor<1x1x4x4xf32>) -> tensor<1x3x3x3xf32> {
  %w = arith.constant dense<1.0> : tensor<3x1x2x2xf32>
  %0 = onnx.node "Conv"(%x, %w) attributes {strides = [1 : si64, 1 : si64]} : (tensor<1x1x4x4xf32>, tensor<3x1x2x2xf32>) -> tensor<1x3x3x3xf32>
  return %0 : tensor<1x3x3x3xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func.func @layer_norm(
// CHECK: qtx.layer_norm %{{.*}} gamma(%{{.*}}) beta(%{{.*}}) epsilon 9.99999996E-13
// REMARK: Remark="found qtx.layer_norm"
func.func @layer_norm(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %g = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %b = arith.constant dense<[3.0, 4.0]> : tensor<2xf32>
  %0 = onnx.node "LayerNormalization"(%x, %g, %b) attributes {axis = -1 : si64, epsilon = 1.0e-12 : f32} : (tensor<3x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %0 : tensor<3x2xf32>
}

// CHECK-LABEL: func.func @two_axes(
// CHECK: onnx.node "LayerNormalization"
// REMARK: Reason="LayerNormalization stays: it normalizes more than the last axis"
// REMARK: Reason="LayerNormalization stays: its scale or shift is not a constant vector"
func.func @two_axes(%x: tensor<3x2xf32>, %g: tensor<2xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %w = arith.constant dense<1.0> : tensor<3x2xf32>
  %0 = onnx.node "LayerNormalization"(%x, %w) attributes {axis = 0 : si64} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  %1 = onnx.node "LayerNormalization"(%x, %g) : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %0, %1 : tensor<3x2xf32>, tensor<3x2xf32>
}

// The difference computed twice, as old exporters do.
// CHECK-LABEL: func.func @layer_norm_formula(
// CHECK-SAME: %[[X:.*]]: tensor<3x2xf32>)
// CHECK: %[[Y:.*]] = qtx.layer_norm %[[X]] gamma(%{{.*}}) beta(%{{.*}}) epsilon 9.99999974E-6
// CHECK-NOT: onnx.
// CHECK: return %[[Y]]
// REMARK: Remark="found qtx.layer_norm in its formula"
func.func @layer_norm_formula(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %g = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %b = arith.constant dense<[3.0, 4.0]> : tensor<2xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-5> : tensor<f32>
  %m = onnx.node "ReduceMean"(%x) attributes {axes = [1 : si64], keepdims = 1 : si64} : (tensor<3x2xf32>) -> tensor<3x1xf32>
  %d0 = onnx.node "Sub"(%x, %m) : (tensor<3x2xf32>, tensor<3x1xf32>) -> tensor<3x2xf32>
  %d1 = onnx.node "Sub"(%x, %m) : (tensor<3x2xf32>, tensor<3x1xf32>) -> tensor<3x2xf32>
  %s = onnx.node "Pow"(%d0, %two) : (tensor<3x2xf32>, tensor<f32>) -> tensor<3x2xf32>
  %v = onnx.node "ReduceMean"(%s) attributes {axes = [1 : si64], keepdims = 1 : si64} : (tensor<3x2xf32>) -> tensor<3x1xf32>
  %e = onnx.node "Add"(%v, %eps) : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xf32>
  %r = onnx.node "Sqrt"(%e) : (tensor<3x1xf32>) -> tensor<3x1xf32>
  %q = onnx.node "Div"(%d1, %r) : (tensor<3x2xf32>, tensor<3x1xf32>) -> tensor<3x2xf32>
  %p = onnx.node "Mul"(%q, %g) : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  %y = onnx.node "Add"(%p, %b) : (tensor<3x2xf32>, tensor<2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// CHECK-LABEL: func.func @rms_norm_formula(
// CHECK-SAME: %[[X:.*]]: tensor<3x2xf32>)
// CHECK: %[[Y:.*]] = qtx.rms_norm %[[X]] gamma(%{{.*}}) epsilon 9.99999997E-7
// CHECK-NOT: onnx.
// CHECK: return %[[Y]]
// REMARK: Remark="found qtx.rms_norm in its formula"
func.func @rms_norm_formula(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %g = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %eps = arith.constant dense<1.0e-6> : tensor<f32>
  %s = onnx.node "Pow"(%x, %two) : (tensor<3x2xf32>, tensor<f32>) -> tensor<3x2xf32>
  %v = onnx.node "ReduceMean"(%s) attributes {axes = [1 : si64], keepdims = 1 : si64} : (tensor<3x2xf32>) -> tensor<3x1xf32>
  %e = onnx.node "Add"(%v, %eps) : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xf32>
  %r = onnx.node "Sqrt"(%e) : (tensor<3x1xf32>) -> tensor<3x1xf32>
  %i = onnx.node "Reciprocal"(%r) : (tensor<3x1xf32>) -> tensor<3x1xf32>
  %q = onnx.node "Mul"(%x, %i) : (tensor<3x2xf32>, tensor<3x1xf32>) -> tensor<3x2xf32>
  %y = onnx.node "Mul"(%g, %q) : (tensor<2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// Another variance than that of what is divided.
// CHECK-LABEL: func.func @other_variance(
// CHECK-NOT: qtx.
func.func @other_variance(%x: tensor<3x2xf32>, %z: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %eps = arith.constant dense<1.0e-6> : tensor<f32>
  %s = onnx.node "Mul"(%z, %z) : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  %v = onnx.node "ReduceMean"(%s) attributes {axes = [1 : si64], keepdims = 1 : si64} : (tensor<3x2xf32>) -> tensor<3x1xf32>
  %e = onnx.node "Add"(%v, %eps) : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xf32>
  %r = onnx.node "Sqrt"(%e) : (tensor<3x1xf32>) -> tensor<3x1xf32>
  %q = onnx.node "Div"(%x, %r) : (tensor<3x2xf32>, tensor<3x1xf32>) -> tensor<3x2xf32>
  return %q : tensor<3x2xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

// The factor 1/2 stands at the end, or in front of the sum.
// CHECK-LABEL: func.func @gelu(
// CHECK-SAME: %[[X:.*]]: tensor<2xf32>)
// CHECK: %[[A:.*]] = qtx.gelu %[[X]] : (tensor<2xf32>) -> tensor<2xf32>
// CHECK: %[[B:.*]] = qtx.gelu %[[X]] : (tensor<2xf32>) -> tensor<2xf32>
// CHECK: %[[C:.*]] = qtx.gelu %[[X]] approximate tanh
// CHECK: return %[[A]], %[[B]], %[[C]]
// REMARK-COUNT-3: Remark="found qtx.gelu"
func.func @gelu(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
  %root = arith.constant dense<1.41421354> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %0 = onnx.node "Div"(%x, %root) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = onnx.node "Erf"(%0) : (tensor<2xf32>) -> tensor<2xf32>
  %2 = onnx.node "Add"(%1, %one) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %3 = onnx.node "Mul"(%x, %2) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %4 = onnx.node "Mul"(%3, %half) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %5 = onnx.node "Mul"(%half, %2) : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %6 = onnx.node "Mul"(%x, %5) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %7 = onnx.node "Gelu"(%x) attributes {approximate = "tanh"} : (tensor<2xf32>) -> tensor<2xf32>
  return %4, %6, %7 : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
}

// CHECK-LABEL: func.func @gelu_tanh(
// CHECK-SAME: %[[X:.*]]: tensor<2xf32>)
// CHECK: %[[A:.*]] = qtx.gelu %[[X]] approximate tanh : (tensor<2xf32>) -> tensor<2xf32>
// CHECK: %[[B:.*]] = qtx.gelu %[[X]] approximate tanh : (tensor<2xf32>) -> tensor<2xf32>
// CHECK-NOT: onnx.
func.func @gelu_tanh(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %root = arith.constant dense<0.797884583> : tensor<f32>
  %cubic = arith.constant dense<4.471500e-02> : tensor<f32>
  %half = arith.constant dense<0.5> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %three = arith.constant dense<3.0> : tensor<f32>
  %0 = onnx.node "Pow"(%x, %three) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %1 = onnx.node "Mul"(%0, %cubic) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %2 = onnx.node "Add"(%x, %1) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %3 = onnx.node "Mul"(%2, %root) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %4 = onnx.node "Tanh"(%3) : (tensor<2xf32>) -> tensor<2xf32>
  %5 = onnx.node "Add"(%4, %one) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %6 = onnx.node "Mul"(%x, %half) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %7 = onnx.node "Mul"(%6, %5) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>

  // x * sqrt(2 / pi) * (1 + 0.044715 * x * x)
  %8 = onnx.node "Mul"(%x, %cubic) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %9 = onnx.node "Mul"(%8, %x) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %10 = onnx.node "Add"(%one, %9) : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %11 = onnx.node "Mul"(%x, %root) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %12 = onnx.node "Mul"(%11, %10) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %13 = onnx.node "Tanh"(%12) : (tensor<2xf32>) -> tensor<2xf32>
  %14 = onnx.node "Add"(%one, %13) : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %15 = onnx.node "Mul"(%half, %x) : (tensor<f32>, tensor<2xf32>) -> tensor<2xf32>
  %16 = onnx.node "Mul"(%15, %14) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %7, %16 : tensor<2xf32>, tensor<2xf32>
}

// Half of x times another function of x.
// CHECK-LABEL: func.func @no_gelu(
// CHECK-NOT: qtx.
func.func @no_gelu(%x: tensor<2xf32>) -> tensor<2xf32> {
  %half = arith.constant dense<0.5> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %1 = onnx.node "Erf"(%x) : (tensor<2xf32>) -> tensor<2xf32>
  %2 = onnx.node "Add"(%1, %one) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %3 = onnx.node "Mul"(%x, %2) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %4 = onnx.node "Mul"(%3, %half) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  return %4 : tensor<2xf32>
}

// CHECK-LABEL: func.func @others(
// CHECK-SAME: %[[X:.*]]: tensor<2xf32>)
// CHECK: qtx.relu %[[X]]
// CHECK: qtx.silu %[[X]]
// CHECK: onnx.node "Sigmoid"
// CHECK: onnx.node "Mul"
// REMARK: Remark="found qtx.relu"
// REMARK: Remark="found qtx.silu"
// REMARK: Reason="Mul stays: x * sigmoid(c * x) has no operation unless c is 1"
func.func @others(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
  %c = arith.constant dense<1.702> : tensor<f32>
  %0 = onnx.node "Relu"(%x) : (tensor<2xf32>) -> tensor<2xf32>
  %1 = onnx.node "Sigmoid"(%x) : (tensor<2xf32>) -> tensor<2xf32>
  %2 = onnx.node "Mul"(%1, %x) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %3 = onnx.node "Mul"(%x, %c) : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
  %4 = onnx.node "Sigmoid"(%3) : (tensor<2xf32>) -> tensor<2xf32>
  %5 = onnx.node "Mul"(%x, %4) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %0, %2, %5 : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Tables, sums and heads
//===----------------------------------------------------------------------===//

#ids = affine_map<()[s0, s1] -> (s0, s1)>
#positions = affine_map<()[s0, s1] -> (1, s1)>
#rows = affine_map<()[s0, s1] -> (s0, s1, 2)>
#row = affine_map<()[s0, s1] -> (1, s1, 2)>

// CHECK-LABEL: func.func @embeddings(
// CHECK: %[[X:.*]] = qtx.embedding %{{.*}}, %{{.*}} : (tensor<3x2xf32>, tensor<?x?xi64>) -> tensor<?x?x2xf32>
// CHECK: %[[P:.*]] = qtx.embedding %{{.*}}, %{{.*}} : (tensor<3x2xf32>, tensor<1x?xi64>) -> tensor<1x?x2xf32>
// CHECK: %[[Q:.*]] = tensor.collapse_shape %[[P]] {{\[}}[0, 1], [2]] : tensor<1x?x2xf32> into tensor<?x2xf32>
// CHECK: qtx.add %[[X]], %[[Q]] : (tensor<?x?x2xf32>, tensor<?x2xf32>) -> tensor<?x?x2xf32>
// REMARK-COUNT-2: Remark="found qtx.embedding"
// REMARK: Remark="found qtx.add"
func.func @embeddings(%ids: tensor<?x?xi64, #ids>, %at: tensor<1x?xi64, #positions>) -> tensor<?x?x2xf32, #rows> {
  %t = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %0 = onnx.node "Gather"(%t, %ids) attributes {axis = 0 : si64} : (tensor<3x2xf32>, tensor<?x?xi64, #ids>) -> tensor<?x?x2xf32, #rows>
  %1 = onnx.node "Gather"(%t, %at) attributes {axis = 0 : si64} : (tensor<3x2xf32>, tensor<1x?xi64, #positions>) -> tensor<1x?x2xf32, #row>
  %2 = onnx.node "Add"(%1, %0) : (tensor<1x?x2xf32, #row>, tensor<?x?x2xf32, #rows>) -> tensor<?x?x2xf32, #rows>
  return %2 : tensor<?x?x2xf32, #rows>
}

// CHECK-LABEL: func.func @heads(
// CHECK-SAME: %[[X:.*]]: tensor<1x3x4xf32>)
// CHECK: %[[H:.*]] = qtx.split_heads %[[X]] : tensor<1x3x4xf32> -> tensor<1x2x3x2xf32>
// CHECK: %[[Y:.*]] = qtx.merge_heads %[[H]] : tensor<1x2x3x2xf32> -> tensor<1x3x4xf32>
// CHECK: return %[[Y]]
// REMARK: Remark="found qtx.split_heads"
// REMARK: Remark="found qtx.merge_heads"
func.func @heads(%x: tensor<1x3x4xf32>) -> tensor<1x3x4xf32> {
  %0 = onnx.node "Reshape"(%x) : (tensor<1x3x4xf32>) -> tensor<1x3x2x2xf32>
  %1 = onnx.node "Transpose"(%0) attributes {perm = [0 : si64, 2 : si64, 1 : si64, 3 : si64]} : (tensor<1x3x2x2xf32>) -> tensor<1x2x3x2xf32>
  %2 = onnx.node "Transpose"(%1) attributes {perm = [0 : si64, 2 : si64, 1 : si64, 3 : si64]} : (tensor<1x2x3x2xf32>) -> tensor<1x3x2x2xf32>
  %3 = onnx.node "Reshape"(%2) : (tensor<1x3x2x2xf32>) -> tensor<1x3x4xf32>
  return %3 : tensor<1x3x4xf32>
}

// Queries and keys of one projection, taken apart by a gather or a split.
// CHECK-LABEL: func.func @stacked_heads(
// CHECK-SAME: %[[X:.*]]: tensor<1x3x2xf32>)
// CHECK-DAG: %[[W0:.*]] = arith.constant dense<{{\[}}[1.000000e+00, 5.000000e+00], [2.000000e+00, 6.000000e+00]]> : tensor<2x2xf32>
// CHECK-DAG: %[[W1:.*]] = arith.constant dense<{{\[}}[3.000000e+00, 7.000000e+00], [4.000000e+00, 8.000000e+00]]> : tensor<2x2xf32>
// CHECK-DAG: %[[K:.*]] = qtx.linear %[[X]], %[[W1]] : (tensor<1x3x2xf32>, tensor<2x2xf32>) -> tensor<1x3x2xf32>
// CHECK-DAG: %[[KH:.*]] = qtx.split_heads %[[K]] : tensor<1x3x2xf32> -> tensor<1x2x3x1xf32>
// CHECK-DAG: %[[Q:.*]] = qtx.linear %[[X]], %[[W0]]
// CHECK-DAG: %[[QH:.*]] = qtx.split_heads %[[Q]]
// CHECK-NOT: onnx.
// CHECK: return %[[KH]], %[[QH]]
// REMARK-COUNT-2: Remark="found qtx.linear and qtx.split_heads in a projection of several parts"
func.func @stacked_heads(%x: tensor<1x3x2xf32>) -> (tensor<1x2x3x1xf32>, tensor<1x2x3x1xf32>) {
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %one = arith.constant dense<1> : tensor<i64>
  %0 = onnx.node "MatMul"(%x, %w) : (tensor<1x3x2xf32>, tensor<2x4xf32>) -> tensor<1x3x4xf32>
  %1 = onnx.node "Reshape"(%0) : (tensor<1x3x4xf32>) -> tensor<1x3x2x2x1xf32>
  %2 = onnx.node "Transpose"(%1) attributes {perm = [2 : si64, 0 : si64, 3 : si64, 1 : si64, 4 : si64]} : (tensor<1x3x2x2x1xf32>) -> tensor<2x1x2x3x1xf32>
  %3 = onnx.node "Gather"(%2, %one) attributes {axis = 0 : si64} : (tensor<2x1x2x3x1xf32>, tensor<i64>) -> tensor<1x2x3x1xf32>
  %4:2 = onnx.node "Split"(%2) attributes {axis = 0 : si64} : (tensor<2x1x2x3x1xf32>) -> (tensor<1x1x2x3x1xf32>, tensor<1x1x2x3x1xf32>)
  %5 = onnx.node "Reshape"(%4#0) : (tensor<1x1x2x3x1xf32>) -> tensor<1x2x3x1xf32>
  return %3, %5 : tensor<1x2x3x1xf32>, tensor<1x2x3x1xf32>
}

// OPT: a layer on rows, whose reshapes meet at the end.
// CHECK-LABEL: func.func @rows(
// CHECK-SAME: %[[X:.*]]: tensor<2x3x2xf32>)
// CHECK: %[[N:.*]] = qtx.layer_norm %[[X]] {{.*}} -> tensor<2x3x2xf32>
// CHECK: %[[L:.*]] = qtx.linear %[[N]], {{.*}} -> tensor<2x3x2xf32>
// CHECK: %[[R:.*]] = qtx.relu %[[L]] : (tensor<2x3x2xf32>) -> tensor<2x3x2xf32>
// CHECK: %[[Y:.*]] = qtx.add %[[X]], %[[R]] : (tensor<2x3x2xf32>, tensor<2x3x2xf32>) -> tensor<2x3x2xf32>
// CHECK: return %[[Y]]
func.func @rows(%x: tensor<2x3x2xf32>) -> tensor<2x3x2xf32> {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %g = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %0 = onnx.node "Reshape"(%x) : (tensor<2x3x2xf32>) -> tensor<6x2xf32>
  %1 = onnx.node "LayerNormalization"(%0, %g, %g) : (tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<6x2xf32>
  %2 = onnx.node "Gemm"(%1, %w, %g) : (tensor<6x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<6x2xf32>
  %3 = onnx.node "Relu"(%2) : (tensor<6x2xf32>) -> tensor<6x2xf32>
  %4 = onnx.node "Add"(%0, %3) : (tensor<6x2xf32>, tensor<6x2xf32>) -> tensor<6x2xf32>
  %5 = onnx.node "Reshape"(%4) : (tensor<6x2xf32>) -> tensor<2x3x2xf32>
  return %5 : tensor<2x3x2xf32>
}

// Parts of other sizes than the projection has.
// CHECK-LABEL: func.func @invalid_split(
// CHECK: qtx.linear
// CHECK: onnx.node "Split"
func.func @invalid_split(%x: tensor<3x2xf32>) -> tensor<3x4xf32> {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = onnx.node "MatMul"(%x, %w) : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %1:2 = onnx.node "Split"(%0) attributes {axis = 1 : si64} : (tensor<3x2xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>)
  return %1#1 : tensor<3x4xf32>
}
