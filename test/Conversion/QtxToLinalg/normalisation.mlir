// RUN: qtx-opt %s --qtx-to-storage --convert-qtx-to-linalg | FileCheck %s

// Sums go over the last axis only, in two passes.
// CHECK-LABEL: func @layer_norm(
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]
// CHECK: arith.addf
// CHECK: arith.divf
// CHECK: arith.subf
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]
// CHECK: math.fma
// CHECK: math.sqrt
// CHECK: math.fma
// CHECK-NOT: qtx
func.func @layer_norm(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<?x8xf32> {
  %y = qtx.layer_norm %x gamma(%g) beta(%b) epsilon 1.0e-5 : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// A quantized result is quantized at the end.
// CHECK-LABEL: func @rms_norm(
// CHECK: math.sqrt
// CHECK: math.roundeven
// CHECK: return %{{.*}} : tensor<?x8xi8>
func.func @rms_norm(%x: tensor<?x8xf32>) -> tensor<?x8x!quant.uniform<i8:f32, 0.5:3>> {
  %y = qtx.rms_norm %x epsilon 1.0e-5 : (tensor<?x8xf32>) -> tensor<?x8x!quant.uniform<i8:f32, 0.5:3>>
  return %y : tensor<?x8x!quant.uniform<i8:f32, 0.5:3>>
}

// CHECK-LABEL: func @scale_shift(
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>, %[[G:.*]]: tensor<8xf32>, %[[S:.*]]: tensor<8xf32>
// CHECK: linalg.generic
// CHECK-SAME: ins(%[[X]], %[[G]], %[[S]] : tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>)
// CHECK: math.fma
// CHECK-NOT: arith.{{mulf|addf}}
func.func @scale_shift(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
  %y = qtx.scale_shift %x gain(%g) shift(%s) : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// No call and no branch.
// CHECK-LABEL: func @gelu(
// CHECK-NOT: math.{{erf|exp|tanh}}
// CHECK: math.fma
// CHECK-NOT: scf
// CHECK: return
func.func @gelu(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = qtx.gelu %x : (tensor<?xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// CHECK-LABEL: func @add(
// CHECK-SAME: %{{.*}}: tensor<?x8xf32>, %[[H:.*]]: tensor<8xf32>
// CHECK: linalg.generic
// CHECK-SAME: ins(%{{.*}}, %[[H]] : tensor<?x8xf32>, tensor<8xf32>)
// CHECK: arith.addf
func.func @add(%x: tensor<?x8xf32>, %h: tensor<8xf32>) -> tensor<?x8xf32> {
  %y = qtx.add %x, %h : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// The row is clamped to the table.
// CHECK-LABEL: func @embedding(
// CHECK: arith.maxsi
// CHECK: arith.minsi
// CHECK: tensor.extract
func.func @embedding(%t: tensor<5x8xf32>, %i: tensor<?xi32>) -> tensor<?x8xf32> {
  %y = qtx.embedding %t, %i : (tensor<5x8xf32>, tensor<?xi32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
