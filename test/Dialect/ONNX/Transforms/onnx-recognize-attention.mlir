// RUN: qtx-opt %s -split-input-file -onnx-recognize | FileCheck %s
// RUN: qtx-opt %s -split-input-file -onnx-recognize --remark-format=emitRemark --remarks-filter="onnx-recognize.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

// Scaled by a division.
// CHECK-LABEL: func.func @plain(
// CHECK-SAME: %[[Q:.*]]: tensor<2x4x3x5xf32>, %[[K:.*]]: tensor<2x4x3x5xf32>, %[[V:.*]]: tensor<2x4x3x5xf32>)
// CHECK-NEXT: %[[Y:.*]] = qtx.attention %[[Q]], %[[K]], %[[V]] scale 5.000000e-01 :
// CHECK-NEXT: return %[[Y]]
// REMARK: Remark="found qtx.attention"
func.func @plain(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %s = onnx.node "Div"(%p, %two) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%s) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// The root of the scale on both operands.
// CHECK-LABEL: func.func @scaled_operands(
// CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} scale 2.500000e-01 :
func.func @scaled_operands(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %half = arith.constant dense<0.5> : tensor<f32>
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %qs = onnx.node "Mul"(%q, %half) : (tensor<2x4x3x5xf32>, tensor<f32>) -> tensor<2x4x3x5xf32>
  %ks = onnx.node "Mul"(%half, %kt) : (tensor<f32>, tensor<2x4x5x3xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%qs, %ks) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%p) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// The keys are transposed as matrices, with all heads in one dimension.
// CHECK-LABEL: func.func @keys_in_matrices(
// CHECK-NOT: onnx.node
// CHECK: qtx.attention
func.func @keys_in_matrices(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %k0 = onnx.node "Reshape"(%k) : (tensor<2x4x3x5xf32>) -> tensor<8x3x5xf32>
  %k1 = onnx.node "Transpose"(%k0) attributes {perm = [0 : si64, 2 : si64, 1 : si64]} : (tensor<8x3x5xf32>) -> tensor<8x5x3xf32>
  %kt = onnx.node "Reshape"(%k1) : (tensor<8x5x3xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%p) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// All heads are in one dimension, except where the mask is added.
// CHECK-LABEL: func.func @products_of_matrices(
// CHECK-SAME: %[[Q:.*]]: tensor<2x4x3x5xf32>, %[[K:.*]]: tensor<2x4x3x5xf32>, %[[V:.*]]: tensor<2x4x3x5xf32>, %[[M:.*]]: tensor<2x1x3x3xf32>)
// CHECK-NEXT: %[[Y:.*]] = qtx.attention %[[Q]], %[[K]], %[[V]] mask(%[[M]]) scale 5.000000e-01 :
// CHECK-NEXT: return %[[Y]]
// REMARK: Remark="found qtx.attention, with an additive mask"
func.func @products_of_matrices(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x1x3x3xf32>) -> tensor<2x4x3x5xf32> {
  %half = arith.constant dense<0.5> : tensor<f32>
  %q0 = onnx.node "Reshape"(%q) : (tensor<2x4x3x5xf32>) -> tensor<8x3x5xf32>
  %k0 = onnx.node "Reshape"(%k) : (tensor<2x4x3x5xf32>) -> tensor<8x3x5xf32>
  %v0 = onnx.node "Reshape"(%v) : (tensor<2x4x3x5xf32>) -> tensor<8x3x5xf32>
  %q1 = onnx.node "Mul"(%q0, %half) : (tensor<8x3x5xf32>, tensor<f32>) -> tensor<8x3x5xf32>
  %kt = onnx.node "Transpose"(%k0) attributes {perm = [0 : si64, 2 : si64, 1 : si64]} : (tensor<8x3x5xf32>) -> tensor<8x5x3xf32>
  %p = onnx.node "MatMul"(%q1, %kt) : (tensor<8x3x5xf32>, tensor<8x5x3xf32>) -> tensor<8x3x3xf32>
  %s = onnx.node "Reshape"(%p) : (tensor<8x3x3xf32>) -> tensor<2x4x3x3xf32>
  %a = onnx.node "Add"(%s, %m) : (tensor<2x4x3x3xf32>, tensor<2x1x3x3xf32>) -> tensor<2x4x3x3xf32>
  %a0 = onnx.node "Reshape"(%a) : (tensor<2x4x3x3xf32>) -> tensor<8x3x3xf32>
  %sm = onnx.node "Softmax"(%a0) attributes {axis = 2 : si64} : (tensor<8x3x3xf32>) -> tensor<8x3x3xf32>
  %c = onnx.node "MatMul"(%sm, %v0) : (tensor<8x3x3xf32>, tensor<8x3x5xf32>) -> tensor<8x3x5xf32>
  %y = onnx.node "Reshape"(%c) : (tensor<8x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// Keys that come transposed.
// CHECK-LABEL: func.func @transposed_keys(
// CHECK: %[[K:.*]] = onnx.node "Transpose"
// CHECK: qtx.attention %{{.*}}, %[[K]]
func.func @transposed_keys(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%p) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// 30 * tanh(s / 30)
// CHECK-LABEL: func.func @soft_cap(
// CHECK: qtx.attention {{.*}} scale 5.000000e-01 soft_cap 3.000000e+01 :
// REMARK: Remark="found qtx.attention, with a soft cap"
func.func @soft_cap(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %cap = arith.constant dense<30.0> : tensor<f32>
  %a = onnx.node "Div"(%s, %cap) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %b = onnx.node "Tanh"(%a) : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %c = onnx.node "Mul"(%b, %cap) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%c) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// Two query heads read one key head.
// CHECK-LABEL: func.func @shared_heads(
// CHECK-SAME: %[[Q:.*]]: tensor<2x4x3x5xf32>, %[[K:.*]]: tensor<2x2x3x5xf32>, %[[V:.*]]: tensor<2x2x3x5xf32>)
// CHECK-NEXT: qtx.attention %[[Q]], %[[K]], %[[V]]
func.func @shared_heads(%q: tensor<2x4x3x5xf32>, %k: tensor<2x2x3x5xf32>, %v: tensor<2x2x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %k1 = onnx.node "Reshape"(%k) : (tensor<2x2x3x5xf32>) -> tensor<2x2x1x3x5xf32>
  %k2 = onnx.node "Expand"(%k1) : (tensor<2x2x1x3x5xf32>) -> tensor<2x2x2x3x5xf32>
  %k3 = onnx.node "Reshape"(%k2) : (tensor<2x2x2x3x5xf32>) -> tensor<2x4x3x5xf32>
  %v1 = onnx.node "Reshape"(%v) : (tensor<2x2x3x5xf32>) -> tensor<2x2x1x3x5xf32>
  %v2 = onnx.node "Expand"(%v1) : (tensor<2x2x1x3x5xf32>) -> tensor<2x2x2x3x5xf32>
  %v3 = onnx.node "Reshape"(%v2) : (tensor<2x2x2x3x5xf32>) -> tensor<2x4x3x5xf32>
  %kt = onnx.node "Transpose"(%k3) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%p) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v3) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// -----

// The same where one step repeats the heads of the keys and merges them with the batch.
// CHECK-LABEL: func.func @merged_shared_heads(
// CHECK-SAME: %[[Q:.*]]: tensor<2x4x3x5xf32>, %[[K:.*]]: tensor<2x2x3x5xf32>, %[[V:.*]]: tensor<2x2x3x5xf32>)
// CHECK-NEXT: qtx.attention %[[Q]], %[[K]], %[[V]]
func.func @merged_shared_heads(%q: tensor<2x4x3x5xf32>, %k: tensor<2x2x3x5xf32>, %v: tensor<2x2x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %k1 = onnx.node "Reshape"(%k) : (tensor<2x2x3x5xf32>) -> tensor<2x2x1x3x5xf32>
  %k2 = onnx.node "Expand"(%k1) : (tensor<2x2x1x3x5xf32>) -> tensor<2x2x2x3x5xf32>
  %k3 = onnx.node "Reshape"(%k2) : (tensor<2x2x2x3x5xf32>) -> tensor<8x3x5xf32>
  %v1 = onnx.node "Reshape"(%v) : (tensor<2x2x3x5xf32>) -> tensor<2x2x1x3x5xf32>
  %v2 = onnx.node "Expand"(%v1) : (tensor<2x2x1x3x5xf32>) -> tensor<2x2x2x3x5xf32>
  %v3 = onnx.node "Reshape"(%v2) : (tensor<2x2x2x3x5xf32>) -> tensor<2x4x3x5xf32>
  %t = onnx.node "Transpose"(%k3) attributes {perm = [0 : si64, 2 : si64, 1 : si64]} : (tensor<8x3x5xf32>) -> tensor<8x5x3xf32>
  %kt = onnx.node "Reshape"(%t) : (tensor<8x5x3xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%p) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v3) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Masks
//===----------------------------------------------------------------------===//

// (1 - mask) * min: flags per key.
// CHECK-LABEL: func.func @padding(
// CHECK: %[[C:.*]] = onnx.node "Cast"(%{{.*}}) : (tensor<2x3xi64>) -> tensor<2x3xi1>
// CHECK: %[[M:.*]] = onnx.node "Reshape"(%[[C]]) : (tensor<2x3xi1>) -> tensor<2x1x1x3xi1>
// CHECK: qtx.attention {{.*}} mask(%[[M]]) scale 5.000000e-01 :
// REMARK: Remark="found qtx.attention, with a mask of flags"
func.func @padding(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x3xi64>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %min = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %m0 = onnx.node "Reshape"(%m) : (tensor<2x3xi64>) -> tensor<2x1x1x3xi64>
  %m1 = onnx.node "Cast"(%m0) : (tensor<2x1x1x3xi64>) -> tensor<2x1x1x3xf32>
  %m2 = onnx.node "Sub"(%one, %m1) : (tensor<f32>, tensor<2x1x1x3xf32>) -> tensor<2x1x1x3xf32>
  %m3 = onnx.node "Mul"(%m2, %min) : (tensor<2x1x1x3xf32>, tensor<f32>) -> tensor<2x1x1x3xf32>
  %a = onnx.node "Add"(%s, %m3) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%a) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// A number that another could outweigh stays one.
// CHECK-LABEL: func.func @finite_padding(
// CHECK: %[[M:.*]] = onnx.node "Mul"
// CHECK: qtx.attention {{.*}} mask(%[[M]]) {{.*}}tensor<2x1x1x3xf32>) ->
// REMARK: Remark="found qtx.attention, with an additive mask"
func.func @finite_padding(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x3xi64>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %min = arith.constant dense<-1.0E+4> : tensor<f32>
  %m0 = onnx.node "Reshape"(%m) : (tensor<2x3xi64>) -> tensor<2x1x1x3xi64>
  %m1 = onnx.node "Cast"(%m0) : (tensor<2x1x1x3xi64>) -> tensor<2x1x1x3xf32>
  %m2 = onnx.node "Sub"(%one, %m1) : (tensor<f32>, tensor<2x1x1x3xf32>) -> tensor<2x1x1x3xf32>
  %m3 = onnx.node "Mul"(%m2, %min) : (tensor<2x1x1x3xf32>, tensor<f32>) -> tensor<2x1x1x3xf32>
  %a = onnx.node "Add"(%s, %m3) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%a) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// masked_fill where a flag says padding.
// CHECK-LABEL: func.func @filled_padding(
// CHECK: %[[N:.*]] = onnx.node "Not"
// CHECK: %[[M:.*]] = onnx.node "Reshape"(%[[N]])
// CHECK: qtx.attention {{.*}} mask(%[[M]]) {{.*}}tensor<2x1x1x3xi1>) ->
func.func @filled_padding(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x3xi1>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %min = arith.constant dense<0xFF800000> : tensor<f32>
  %m0 = onnx.node "Reshape"(%m) : (tensor<2x3xi1>) -> tensor<2x1x1x3xi1>
  %a = onnx.node "Where"(%m0, %min, %s) : (tensor<2x1x1x3xi1>, tensor<f32>, tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%a) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// Any flags, with infinity and a guard for rows without a key.
// CHECK-LABEL: func.func @guarded(
// CHECK-SAME: %[[M:[^ ]*]]: tensor<2x4x3x3xi1>)
// CHECK-NEXT: qtx.attention {{.*}} mask(%[[M]])
func.func @guarded(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x4x3x3xi1>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %zero = arith.constant dense<0.0> : tensor<f32>
  %min = arith.constant dense<0xFF800000> : tensor<f32>
  %w = onnx.node "Where"(%m, %zero, %min) : (tensor<2x4x3x3xi1>, tensor<f32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %a = onnx.node "Add"(%w, %s) : (tensor<2x4x3x3xf32>, tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%a) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %n = onnx.node "IsNaN"(%sm) : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xi1>
  %g = onnx.node "Where"(%n, %zero, %sm) : (tensor<2x4x3x3xi1>, tensor<f32>, tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%g, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// A row may be without a key: its probabilities are even, not zero.
// CHECK-LABEL: func.func @finite_flags(
// CHECK: %[[M:.*]] = onnx.node "Where"
// CHECK: qtx.attention {{.*}} mask(%[[M]]) {{.*}}tensor<2x1x3x3xf32>) ->
func.func @finite_flags(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x1x3x3xi1>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %min = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %a = onnx.node "Where"(%m, %s, %min) : (tensor<2x1x3x3xi1>, tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%a) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// A bias per head.
// CHECK-LABEL: func.func @bias(
// CHECK: %[[M:.*]] = onnx.node "Reshape"(%{{.*}}) : (tensor<4x3x3xf32>) -> tensor<1x4x3x3xf32>
// CHECK: qtx.attention {{.*}} mask(%[[M]])
func.func @bias(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<4x3x3xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %a = onnx.node "Add"(%s, %m) : (tensor<2x4x3x3xf32>, tensor<4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%a) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

#b = affine_map<()[s0, s1] -> (s0)>
#s = affine_map<()[s0, s1] -> (s1)>
#bs = affine_map<()[s0, s1] -> (s0, s1)>
#b111 = affine_map<()[s0, s1] -> (s0, 1, 1, 1)>
#i = affine_map<()[s0, s1] -> (1, 1, s1, 1)>
#j = affine_map<()[s0, s1] -> (1, 1, 1, s1)>
#ij = affine_map<()[s0, s1] -> (1, 1, s1, s1)>
#bj = affine_map<()[s0, s1] -> (s0, 1, 1, s1)>
#bj1 = affine_map<()[s0, s1] -> (s0, 1, 1, s1, 1)>
#bij = affine_map<()[s0, s1] -> (s0, 1, s1, s1)>
#flat = affine_map<()[s0, s1] -> (s0 * s1, 1)>
#line = affine_map<()[s0, s1] -> (s0 * s1)>
#q = affine_map<()[s0, s1] -> (s0, 4, s1, 5)>
#kt = affine_map<()[s0, s1] -> (s0, 4, 5, s1)>
#p = affine_map<()[s0, s1] -> (s0, 4, s1, s1)>
#size = affine_map<()[s0, s1] -> (s1)>

// Flags gathered by index, and keys compared with queries.
// CHECK-LABEL: func.func @gathered(
// CHECK-NOT: Gather
// CHECK: %[[M:.*]] = onnx.node "Reshape"(%{{.*}}) : (tensor<?x?xi1, #{{.*}}>) -> tensor<?x1x1x?xi1, #{{.*}}>
// CHECK: %[[N:.*]] = builtin.unrealized_conversion_cast %[[M]]
// CHECK: qtx.attention {{.*}} mask(%[[N]]) causal scale 1.000000e+00 :
// REMARK: Remark="found qtx.attention, causal, with a mask of flags"
func.func @gathered(%q: tensor<?x4x?x5xf32, #q>, %k: tensor<?x4x?x5xf32, #q>, %v: tensor<?x4x?x5xf32, #q>, %m: tensor<?x?xi64, #bs>) -> tensor<?x4x?x5xf32, #q> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<?x4x?x5xf32, #q>) -> tensor<?x4x5x?xf32, #kt>
  %s = onnx.node "MatMul"(%q, %kt) : (tensor<?x4x?x5xf32, #q>, tensor<?x4x5x?xf32, #kt>) -> tensor<?x4x?x?xf32, #p>
  %zero = arith.constant dense<0> : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %keep = arith.constant dense<0.0> : tensor<f32>
  %min = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %rb = onnx.node "Range"(%zero, %one) : (tensor<i64>, tensor<i64>) -> tensor<?xi64, #b>
  %rs = onnx.node "Range"(%zero, %one) : (tensor<i64>, tensor<i64>) -> tensor<?xi64, #s>
  %b = onnx.node "Reshape"(%rb) : (tensor<?xi64, #b>) -> tensor<?x1x1x1xi64, #b111>
  %i = onnx.node "Reshape"(%rs) : (tensor<?xi64, #s>) -> tensor<1x1x?x1xi64, #i>
  %j = onnx.node "Reshape"(%rs) : (tensor<?xi64, #s>) -> tensor<1x1x1x?xi64, #j>
  %c = onnx.node "LessOrEqual"(%j, %i) : (tensor<1x1x1x?xi64, #j>, tensor<1x1x?x1xi64, #i>) -> tensor<1x1x?x?xi1, #ij>
  %mb = onnx.node "Cast"(%m) : (tensor<?x?xi64, #bs>) -> tensor<?x?xi1, #bs>
  %flat = onnx.node "Reshape"(%mb) : (tensor<?x?xi1, #bs>) -> tensor<?x1xi1, #flat>
  %size = onnx.node "Sizes" domain "qtx"() attributes {values = #size} : () -> tensor<1xi64>
  %o = onnx.node "Mul"(%b, %size) : (tensor<?x1x1x1xi64, #b111>, tensor<1xi64>) -> tensor<?x1x1x1xi64, #b111>
  %at = onnx.node "Add"(%j, %o) : (tensor<1x1x1x?xi64, #j>, tensor<?x1x1x1xi64, #b111>) -> tensor<?x1x1x?xi64, #bj>
  %g = onnx.node "Gather"(%flat, %at) attributes {axis = 0 : si64} : (tensor<?x1xi1, #flat>, tensor<?x1x1x?xi64, #bj>) -> tensor<?x1x1x?x1xi1, #bj1>
  %g0 = onnx.node "Reshape"(%g) : (tensor<?x1x1x?x1xi1, #bj1>) -> tensor<?xi1, #line>
  %g1 = onnx.node "Reshape"(%g0) : (tensor<?xi1, #line>) -> tensor<?x1x1x?xi1, #bj>
  %and = onnx.node "And"(%c, %g1) : (tensor<1x1x?x?xi1, #ij>, tensor<?x1x1x?xi1, #bj>) -> tensor<?x1x?x?xi1, #bij>
  %wh = onnx.node "Where"(%and, %keep, %min) : (tensor<?x1x?x?xi1, #bij>, tensor<f32>, tensor<f32>) -> tensor<?x1x?x?xf32, #bij>
  %a = onnx.node "Add"(%s, %wh) : (tensor<?x4x?x?xf32, #p>, tensor<?x1x?x?xf32, #bij>) -> tensor<?x4x?x?xf32, #p>
  %sm = onnx.node "Softmax"(%a) attributes {axis = 3 : si64} : (tensor<?x4x?x?xf32, #p>) -> tensor<?x4x?x?xf32, #p>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<?x4x?x?xf32, #p>, tensor<?x4x?x5xf32, #q>) -> tensor<?x4x?x5xf32, #q>
  return %y : tensor<?x4x?x5xf32, #q>
}

// A triangle of ones.
// CHECK-LABEL: func.func @triangle(
// CHECK-NOT: onnx.node
// CHECK: qtx.attention {{.*}} causal scale
// REMARK: Remark="found qtx.attention, causal"
func.func @triangle(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %ones = arith.constant dense<1.0> : tensor<3x3xf32>
  %zero = arith.constant dense<0.0> : tensor<f32>
  %min = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %t = onnx.node "Trilu"(%ones) attributes {upper = 0 : si64} : (tensor<3x3xf32>) -> tensor<3x3xf32>
  %e = onnx.node "Equal"(%t, %zero) : (tensor<3x3xf32>, tensor<f32>) -> tensor<3x3xi1>
  %a = onnx.node "Where"(%e, %min, %s) : (tensor<3x3xi1>, tensor<f32>, tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%a) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// A constant with infinities above its diagonal.
// CHECK-LABEL: func.func @constant_triangle(
// CHECK: qtx.attention {{.*}} causal scale
func.func @constant_triangle(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %m = arith.constant dense<[[0.0, 0xFF800000, 0xFF800000], [0.0, 0.0, 0xFF800000], [0.0, 0.0, 0.0]]> : tensor<3x3xf32>
  %a = onnx.node "Add"(%s, %m) : (tensor<2x4x3x3xf32>, tensor<3x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%a) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Clipped and gated attention
//===----------------------------------------------------------------------===//

// clip(1.1 * p - 0.1, 0, 1)
// CHECK-LABEL: func.func @clipped(
// CHECK: qtx.attention {{.*}} clip [-1.000000e-01, 1.000000e+00] :
// REMARK: Remark="found qtx.attention, clipped"
func.func @clipped(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %slope = arith.constant dense<1.1> : tensor<f32>
  %shift = arith.constant dense<-0.1> : tensor<f32>
  %zero = arith.constant dense<0.0> : tensor<f32>
  %one = arith.constant dense<1.0> : tensor<f32>
  %sm = onnx.node "Softmax"(%s) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %a = onnx.node "Mul"(%sm, %slope) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %b = onnx.node "Add"(%a, %shift) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %c = onnx.node "Clip"(%b, %zero, %one) : (tensor<2x4x3x3xf32>, tensor<f32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%c, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// 2 * sigmoid of a logit per head and query.
// CHECK-LABEL: func.func @gated(
// CHECK: %[[G:.*]] = onnx.node "Reshape"(%{{.*}}) : (tensor<2x4x3x1xf32>) -> tensor<2x4x3xf32>
// CHECK: qtx.attention {{.*}} gate(%[[G]]) gain 2.000000e+00 :
// REMARK: Remark="found qtx.attention, gated"
func.func @gated(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %g: tensor<2x4x3x1xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %sm = onnx.node "Softmax"(%s) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %o = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %sg = onnx.node "Sigmoid"(%g) : (tensor<2x4x3x1xf32>) -> tensor<2x4x3x1xf32>
  %g2 = onnx.node "Mul"(%sg, %two) : (tensor<2x4x3x1xf32>, tensor<f32>) -> tensor<2x4x3x1xf32>
  %y = onnx.node "Mul"(%o, %g2) : (tensor<2x4x3x5xf32>, tensor<2x4x3x1xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// A logit per channel.
// CHECK-LABEL: func.func @gated_channels(
// CHECK-SAME: %[[G:[^ ]*]]: tensor<2x4x3x5xf32>)
// CHECK-NEXT: qtx.attention {{.*}} gate(%[[G]])
func.func @gated_channels(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %g: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%s) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %o = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %sg = onnx.node "Sigmoid"(%g) : (tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %y = onnx.node "Mul"(%sg, %o) : (tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// Heads are merged first: a logit per merged channel.
// CHECK-LABEL: func.func @gated_behind_heads(
// CHECK: %[[G:.*]] = qtx.split_heads %{{.*}} : tensor<2x3x20xf32> -> tensor<2x4x3x5xf32>
// CHECK: %[[Y:.*]] = qtx.attention {{.*}} gate(%[[G]])
// CHECK: %[[M:.*]] = qtx.merge_heads %[[Y]]
// CHECK: return %[[M]]
func.func @gated_behind_heads(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %g: tensor<2x3x20xf32>) -> tensor<2x3x20xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%p) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %o = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %t = onnx.node "Transpose"(%o) attributes {perm = [0 : si64, 2 : si64, 1 : si64, 3 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x3x4x5xf32>
  %m = onnx.node "Reshape"(%t) : (tensor<2x3x4x5xf32>) -> tensor<2x3x20xf32>
  %sg = onnx.node "Sigmoid"(%g) : (tensor<2x3x20xf32>) -> tensor<2x3x20xf32>
  %y = onnx.node "Mul"(%m, %sg) : (tensor<2x3x20xf32>, tensor<2x3x20xf32>) -> tensor<2x3x20xf32>
  return %y : tensor<2x3x20xf32>
}

// Between the transposition and the reshape: a logit per query and head.
// CHECK-LABEL: func.func @gated_behind_queries(
// CHECK: %[[R:.*]] = onnx.node "Reshape"(%{{.*}}) : (tensor<2x3x4x1xf32>) -> tensor<2x3x4xf32>
// CHECK: %[[G:.*]] = onnx.node "Transpose"(%[[R]]) attributes {perm = [0 : si64, 2 : si64, 1 : si64]}
// CHECK: %[[Y:.*]] = qtx.attention {{.*}} gate(%[[G]])
// CHECK: qtx.merge_heads %[[Y]]
func.func @gated_behind_queries(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %g: tensor<2x3x4x1xf32>) -> tensor<2x3x20xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%p) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %o = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %t = onnx.node "Transpose"(%o) attributes {perm = [0 : si64, 2 : si64, 1 : si64, 3 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x3x4x5xf32>
  %sg = onnx.node "Sigmoid"(%g) : (tensor<2x3x4x1xf32>) -> tensor<2x3x4x1xf32>
  %y = onnx.node "Mul"(%t, %sg) : (tensor<2x3x4x5xf32>, tensor<2x3x4x1xf32>) -> tensor<2x3x4x5xf32>
  %m = onnx.node "Reshape"(%y) : (tensor<2x3x4x5xf32>) -> tensor<2x3x20xf32>
  return %m : tensor<2x3x20xf32>
}

// One logit for all heads of a query.
// CHECK-LABEL: func.func @gated_alike(
// CHECK: qtx.attention
// CHECK-NOT: gate(
// CHECK: onnx.node "Mul"
// REMARK: Reason="Mul stays: its gate is not one per head and query, or per channel of these"
func.func @gated_alike(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %g: tensor<2x1x3x1xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%p) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %o = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  %sg = onnx.node "Sigmoid"(%g) : (tensor<2x1x3x1xf32>) -> tensor<2x1x3x1xf32>
  %y = onnx.node "Mul"(%o, %sg) : (tensor<2x4x3x5xf32>, tensor<2x1x3x1xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Quantizers
//===----------------------------------------------------------------------===//

// Scores are scaled behind their quantizer, which is scaled with them; the mask comes
// after it.
// CHECK-LABEL: func.func @quantized(
// CHECK: qtx.attention {{.*}} mask(%{{.*}}) scale 5.000000e-01 scores !quant.uniform<i8:f32, 6.250000e-02:3> probs !quant.uniform<i8:f32, 4.000000e-03:-128> :
// REMARK: Remark="found qtx.attention, with an additive mask, with quantized scores, with quantized probabilities"
func.func @quantized(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x1x1x3xf32>) -> tensor<2x4x3x5xf32> {
  %half = arith.constant dense<0.5> : tensor<f32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %pq_codes = qtx.quantize %p : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.125:3>>
  %pq = qtx.dequantize %pq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.125:3>> -> tensor<2x4x3x3xf32>
  %s = onnx.node "Mul"(%pq, %half) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Add"(%s, %m) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sm) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %wq_codes = qtx.quantize %w : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.004:-128>>
  %wq = qtx.dequantize %wq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.004:-128>> -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%wq, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// Once more behind the factor, with the same codes.
// CHECK-LABEL: func.func @quantized_twice(
// CHECK: qtx.attention {{.*}} scale 5.000000e-01 scores !quant.uniform<i8:f32, 6.250000e-02:3> :
func.func @quantized_twice(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x1x1x3xf32>) -> tensor<2x4x3x5xf32> {
  %half = arith.constant dense<0.5> : tensor<f32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %pq_codes = qtx.quantize %p : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.125:3>>
  %pq = qtx.dequantize %pq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.125:3>> -> tensor<2x4x3x3xf32>
  %s = onnx.node "Mul"(%pq, %half) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sq_codes = qtx.quantize %s : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.0625:3>>
  %sq = qtx.dequantize %sq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.0625:3>> -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sq) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// With other codes, and behind a mask.
// CHECK-LABEL: func.func @quantized_otherwise(
// CHECK-NOT: qtx.attention
// REMARK: Reason="Softmax stays: its argument is not a product of rank 4 with scales, a quantizer and masks in this order"
func.func @quantized_otherwise(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x1x1x3xf32>) -> tensor<2x4x3x5xf32> {
  %half = arith.constant dense<0.5> : tensor<f32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %pq_codes = qtx.quantize %p : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.125:3>>
  %pq = qtx.dequantize %pq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.125:3>> -> tensor<2x4x3x3xf32>
  %s = onnx.node "Mul"(%pq, %half) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sq_codes = qtx.quantize %s : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.06:3>>
  %sq = qtx.dequantize %sq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.06:3>> -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sq) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// Behind a mask of padding, after which the scores lie far above the number that excludes; the
// flags of the mask and the mask are quantized too.
// CHECK-LABEL: func.func @quantized_behind_padding(
// CHECK: qtx.attention {{.*}} mask(%{{.*}}) scale 1.000000e+00 scores !quant.uniform<i8:f32, 5.000000e-01:90> : ({{.*}}, tensor<2x1x1x3xi1>)
// REMARK: Remark="found qtx.attention, with a mask of flags, with quantized scores"
func.func @quantized_behind_padding(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x3xi64>) -> tensor<2x4x3x5xf32> {
  %one = arith.constant dense<1.0> : tensor<f32>
  %never = arith.constant dense<-100.0> : tensor<f32>
  %m4 = onnx.node "Reshape"(%m) : (tensor<2x3xi64>) -> tensor<2x1x1x3xi64>
  %f = onnx.node "Cast"(%m4) : (tensor<2x1x1x3xi64>) -> tensor<2x1x1x3xf32>
  %fq_codes = qtx.quantize %f : tensor<2x1x1x3xf32> -> tensor<2x1x1x3x!quant.uniform<i8:f32, 0.00392156886:-128>>
  %fq = qtx.dequantize %fq_codes : tensor<2x1x1x3x!quant.uniform<i8:f32, 0.00392156886:-128>> -> tensor<2x1x1x3xf32>
  %i = onnx.node "Sub"(%one, %fq) : (tensor<f32>, tensor<2x1x1x3xf32>) -> tensor<2x1x1x3xf32>
  %n = onnx.node "Mul"(%i, %never) : (tensor<2x1x1x3xf32>, tensor<f32>) -> tensor<2x1x1x3xf32>
  %nq_codes = qtx.quantize %n : tensor<2x1x1x3xf32> -> tensor<2x1x1x3x!quant.uniform<i8:f32, 0.4:127>>
  %nq = qtx.dequantize %nq_codes : tensor<2x1x1x3x!quant.uniform<i8:f32, 0.4:127>> -> tensor<2x1x1x3xf32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %s = onnx.node "Add"(%p, %nq) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %sq_codes = qtx.quantize %s : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>>
  %sq = qtx.dequantize %sq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>> -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sq) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// The same codes in front of the mask and behind it.
// CHECK-LABEL: func.func @quantized_around_padding(
// CHECK: qtx.attention {{.*}} scores !quant.uniform<i8:f32, 5.000000e-01:90> : ({{.*}}, tensor<2x1x1x3xi1>)
func.func @quantized_around_padding(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x3xi64>) -> tensor<2x4x3x5xf32> {
  %one = arith.constant dense<1.0> : tensor<f32>
  %never = arith.constant dense<-100.0> : tensor<f32>
  %m4 = onnx.node "Reshape"(%m) : (tensor<2x3xi64>) -> tensor<2x1x1x3xi64>
  %f = onnx.node "Cast"(%m4) : (tensor<2x1x1x3xi64>) -> tensor<2x1x1x3xf32>
  %i = onnx.node "Sub"(%one, %f) : (tensor<f32>, tensor<2x1x1x3xf32>) -> tensor<2x1x1x3xf32>
  %n = onnx.node "Mul"(%i, %never) : (tensor<2x1x1x3xf32>, tensor<f32>) -> tensor<2x1x1x3xf32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %pq_codes = qtx.quantize %p : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>>
  %pq = qtx.dequantize %pq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>> -> tensor<2x4x3x3xf32>
  %s = onnx.node "Add"(%pq, %n) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %sq_codes = qtx.quantize %s : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>>
  %sq = qtx.dequantize %sq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>> -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sq) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// The least code of what is excluded is -7.86.
// CHECK-LABEL: func.func @quantized_narrowly(
// CHECK-NOT: qtx.attention
// REMARK: Reason="Softmax stays: its scores are quantized behind the mask to numbers above -16, which leave a weight to keys that are excluded"
func.func @quantized_narrowly(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x3xi64>) -> tensor<2x4x3x5xf32> {
  %one = arith.constant dense<1.0> : tensor<f32>
  %never = arith.constant dense<-3.40282347E+38> : tensor<f32>
  %m4 = onnx.node "Reshape"(%m) : (tensor<2x3xi64>) -> tensor<2x1x1x3xi64>
  %f = onnx.node "Cast"(%m4) : (tensor<2x1x1x3xi64>) -> tensor<2x1x1x3xf32>
  %i = onnx.node "Sub"(%one, %f) : (tensor<f32>, tensor<2x1x1x3xf32>) -> tensor<2x1x1x3xf32>
  %n = onnx.node "Mul"(%i, %never) : (tensor<2x1x1x3xf32>, tensor<f32>) -> tensor<2x1x1x3xf32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %s = onnx.node "Add"(%p, %n) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %sq_codes = qtx.quantize %s : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.06:3>>
  %sq = qtx.dequantize %sq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.06:3>> -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sq) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// Scores of up to 18.5 reach above what is excluded.
// CHECK-LABEL: func.func @quantized_near(
// CHECK-NOT: qtx.attention
// REMARK: Reason="Softmax stays: its scores are quantized behind a mask that is not one of padding and order, or that is no lower than scores"
func.func @quantized_near(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x3xi64>) -> tensor<2x4x3x5xf32> {
  %one = arith.constant dense<1.0> : tensor<f32>
  %never = arith.constant dense<-30.0> : tensor<f32>
  %m4 = onnx.node "Reshape"(%m) : (tensor<2x3xi64>) -> tensor<2x1x1x3xi64>
  %f = onnx.node "Cast"(%m4) : (tensor<2x1x1x3xi64>) -> tensor<2x1x1x3xf32>
  %i = onnx.node "Sub"(%one, %f) : (tensor<f32>, tensor<2x1x1x3xf32>) -> tensor<2x1x1x3xf32>
  %n = onnx.node "Mul"(%i, %never) : (tensor<2x1x1x3xf32>, tensor<f32>) -> tensor<2x1x1x3xf32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %s = onnx.node "Add"(%p, %n) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %sq_codes = qtx.quantize %s : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>>
  %sq = qtx.dequantize %sq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>> -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sq) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// A mask that is quantized to what scores reach.
// CHECK-LABEL: func.func @quantized_mask(
// CHECK-NOT: qtx.attention
func.func @quantized_mask(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x3xi64>) -> tensor<2x4x3x5xf32> {
  %one = arith.constant dense<1.0> : tensor<f32>
  %never = arith.constant dense<-100.0> : tensor<f32>
  %m4 = onnx.node "Reshape"(%m) : (tensor<2x3xi64>) -> tensor<2x1x1x3xi64>
  %f = onnx.node "Cast"(%m4) : (tensor<2x1x1x3xi64>) -> tensor<2x1x1x3xf32>
  %i = onnx.node "Sub"(%one, %f) : (tensor<f32>, tensor<2x1x1x3xf32>) -> tensor<2x1x1x3xf32>
  %n = onnx.node "Mul"(%i, %never) : (tensor<2x1x1x3xf32>, tensor<f32>) -> tensor<2x1x1x3xf32>
  %nq_codes = qtx.quantize %n : tensor<2x1x1x3xf32> -> tensor<2x1x1x3x!quant.uniform<i8:f32, 0.1:127>>
  %nq = qtx.dequantize %nq_codes : tensor<2x1x1x3x!quant.uniform<i8:f32, 0.1:127>> -> tensor<2x1x1x3xf32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %s = onnx.node "Add"(%p, %nq) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %sq_codes = qtx.quantize %s : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>>
  %sq = qtx.dequantize %sq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>> -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sq) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// CHECK-LABEL: func.func @quantized_differently(
// CHECK-NOT: qtx.attention
// REMARK: Reason="Softmax stays: its scores are quantized in front of the mask, and in another way behind it"
func.func @quantized_differently(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x3xi64>) -> tensor<2x4x3x5xf32> {
  %one = arith.constant dense<1.0> : tensor<f32>
  %never = arith.constant dense<-100.0> : tensor<f32>
  %m4 = onnx.node "Reshape"(%m) : (tensor<2x3xi64>) -> tensor<2x1x1x3xi64>
  %f = onnx.node "Cast"(%m4) : (tensor<2x1x1x3xi64>) -> tensor<2x1x1x3xf32>
  %i = onnx.node "Sub"(%one, %f) : (tensor<f32>, tensor<2x1x1x3xf32>) -> tensor<2x1x1x3xf32>
  %n = onnx.node "Mul"(%i, %never) : (tensor<2x1x1x3xf32>, tensor<f32>) -> tensor<2x1x1x3xf32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %pq_codes = qtx.quantize %p : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.1:3>>
  %pq = qtx.dequantize %pq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.1:3>> -> tensor<2x4x3x3xf32>
  %s = onnx.node "Add"(%pq, %n) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %sq_codes = qtx.quantize %s : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>>
  %sq = qtx.dequantize %sq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>> -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sq) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// A number that takes the place of scores is no mask of its own.
// CHECK-LABEL: func.func @replaced(
// CHECK-NOT: qtx.attention
// REMARK: Reason="Softmax stays: a number that scores may reach takes their place"
func.func @replaced(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x1x1x3xi1>) -> tensor<2x4x3x5xf32> {
  %never = arith.constant dense<-100.0> : tensor<f32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %s = onnx.node "Where"(%m, %p, %never) : (tensor<2x1x1x3xi1>, tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%s) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// CHECK-LABEL: func.func @replaced_and_quantized(
// CHECK: qtx.attention {{.*}} scores !quant.uniform<i8:f32, 5.000000e-01:90> : ({{.*}}, tensor<2x1x1x3xi1>)
func.func @replaced_and_quantized(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x5x3xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x1x1x3xi1>) -> tensor<2x4x3x5xf32> {
  %never = arith.constant dense<-100.0> : tensor<f32>
  %p = onnx.node "MatMul"(%q, %k) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %s = onnx.node "Where"(%m, %p, %never) : (tensor<2x1x1x3xi1>, tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sq_codes = qtx.quantize %s : tensor<2x4x3x3xf32> -> tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>>
  %sq = qtx.dequantize %sq_codes : tensor<2x4x3x3x!quant.uniform<i8:f32, 0.5:90>> -> tensor<2x4x3x3xf32>
  %w = onnx.node "Softmax"(%sq) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%w, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// -----

//===----------------------------------------------------------------------===//
// The operator
//===----------------------------------------------------------------------===//

// Its causal mask begins at the first key, whatever the number of queries.
// CHECK-LABEL: func.func @operator(
// CHECK-COUNT-3: qtx.split_heads
// CHECK: %[[O:.*]] = arith.constant 0 : index
// CHECK: %[[Y:.*]] = qtx.attention {{.*}} causal offset(%[[O]]) scale 5.000000e-01 : (tensor<2x2x3x4xf32>, tensor<2x1x6x4xf32>, tensor<2x1x6x4xf32>, index)
// CHECK: qtx.merge_heads %[[Y]]
// REMARK: Remark="found qtx.attention, causal"
func.func @operator(%q: tensor<2x3x8xf32>, %k: tensor<2x6x4xf32>, %v: tensor<2x6x4xf32>) -> tensor<2x3x8xf32> {
  %y = onnx.node "Attention"(%q, %k, %v) attributes {is_causal = 1 : si64, kv_num_heads = 1 : si64, q_num_heads = 2 : si64} : (tensor<2x3x8xf32>, tensor<2x6x4xf32>, tensor<2x6x4xf32>) -> tensor<2x3x8xf32>
  return %y : tensor<2x3x8xf32>
}

// A gate behind it.
// CHECK-LABEL: func.func @operator_gated(
// CHECK-SAME: %[[L:[^ ]*]]: tensor<2x3x8xf32>) ->
// CHECK: %[[G:.*]] = qtx.split_heads %[[L]] :
// CHECK: %[[Y:.*]] = qtx.attention {{.*}} gate(%[[G]])
// CHECK: %[[M:.*]] = qtx.merge_heads %[[Y]]
// CHECK: return %[[M]]
func.func @operator_gated(%q: tensor<2x3x8xf32>, %k: tensor<2x6x4xf32>, %v: tensor<2x6x4xf32>, %g: tensor<2x3x8xf32>) -> tensor<2x3x8xf32> {
  %a = onnx.node "Attention"(%q, %k, %v) attributes {kv_num_heads = 1 : si64, q_num_heads = 2 : si64} : (tensor<2x3x8xf32>, tensor<2x6x4xf32>, tensor<2x6x4xf32>) -> tensor<2x3x8xf32>
  %sg = onnx.node "Sigmoid"(%g) : (tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  %y = onnx.node "Mul"(%a, %sg) : (tensor<2x3x8xf32>, tensor<2x3x8xf32>) -> tensor<2x3x8xf32>
  return %y : tensor<2x3x8xf32>
}

// Flags of a lower rank.
// CHECK-LABEL: func.func @operator_mask(
// CHECK: %[[M:.*]] = onnx.node "Reshape"(%{{.*}}) : (tensor<3x3xi1>) -> tensor<1x1x3x3xi1>
// CHECK: qtx.attention {{.*}} mask(%[[M]]) scale 2.500000e-01
func.func @operator_mask(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<3x3xi1>) -> tensor<2x4x3x5xf32> {
  %y = onnx.node "Attention"(%q, %k, %v, %m) attributes {scale = 0.25 : f32} : (tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>, tensor<3x3xi1>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// -----

//===----------------------------------------------------------------------===//
// What stays
//===----------------------------------------------------------------------===//

// The scale multiplies the mask too.
// CHECK-LABEL: func.func @scaled_mask(
// CHECK-NOT: qtx.
// REMARK: Reason="Softmax stays: its argument is not a product of rank 4 with scales, a quantizer and masks in this order"
func.func @scaled_mask(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %m: tensor<2x1x1x3xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %a = onnx.node "Add"(%p, %m) : (tensor<2x4x3x3xf32>, tensor<2x1x1x3xf32>) -> tensor<2x4x3x3xf32>
  %s = onnx.node "Mul"(%a, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%s) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// No values.
// CHECK-LABEL: func.func @alone(
// CHECK: onnx.node "Softmax"
// REMARK: Reason="Softmax stays: no product with values follows"
func.func @alone(%x: tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32> {
  %y = onnx.node "Softmax"(%x) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  return %y : tensor<2x4x3x3xf32>
}

// Values that broadcast.
// CHECK-LABEL: func.func @other_values(
// CHECK-NOT: qtx.
// REMARK: Reason="Softmax stays: its operands do not have the shapes of queries, keys and values"
func.func @other_values(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<1x1x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %kt = onnx.node "Transpose"(%k) attributes {perm = [0 : si64, 1 : si64, 3 : si64, 2 : si64]} : (tensor<2x4x3x5xf32>) -> tensor<2x4x5x3xf32>
  %p = onnx.node "MatMul"(%q, %kt) : (tensor<2x4x3x5xf32>, tensor<2x4x5x3xf32>) -> tensor<2x4x3x3xf32>
  %scale = arith.constant dense<0.5> : tensor<f32>
  %s = onnx.node "Mul"(%p, %scale) : (tensor<2x4x3x3xf32>, tensor<f32>) -> tensor<2x4x3x3xf32>
  %sm = onnx.node "Softmax"(%s) attributes {axis = 3 : si64} : (tensor<2x4x3x3xf32>) -> tensor<2x4x3x3xf32>
  %y = onnx.node "MatMul"(%sm, %v) : (tensor<2x4x3x3xf32>, tensor<1x1x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// A cache.
// CHECK-LABEL: func.func @cache(
// CHECK: onnx.node "Attention"
// REMARK: Reason="Attention stays: it reads a cache of keys and values"
func.func @cache(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>, %c: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %none = onnx.none : none
  %y = onnx.node "Attention"(%q, %k, %v, %none, %c, %c) : (tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>, none, tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// CHECK-LABEL: func.func @window(
// CHECK: onnx.node "Attention"
// REMARK: Reason="Attention stays: its queries see a window of the keys"
func.func @window(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %y = onnx.node "Attention"(%q, %k, %v) attributes {left_window_size = 1 : si64} : (tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}

// The operator caps what it has masked.
// CHECK-LABEL: func.func @mask_before_cap(
// CHECK: onnx.node "Attention"
// REMARK: Reason="Attention stays: it masks before the soft cap"
func.func @mask_before_cap(%q: tensor<2x4x3x5xf32>, %k: tensor<2x4x3x5xf32>, %v: tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32> {
  %y = onnx.node "Attention"(%q, %k, %v) attributes {is_causal = 1 : si64, softcap = 30.0 : f32} : (tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>, tensor<2x4x3x5xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}
