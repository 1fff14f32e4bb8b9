// RUN: qtx-opt %s --canonicalize | FileCheck %s
// RUN: qtx-opt %s --resolve-ranked-shaped-type-result-dims --canonicalize | FileCheck %s --check-prefix=SHAPE

// CHECK-LABEL: func @gamma_of_ones(
// CHECK: qtx.layer_norm %{{[a-z0-9]+}} beta(%{{.*}}) epsilon
// CHECK: qtx.rms_norm %{{[a-z0-9]+}} epsilon
func.func @gamma_of_ones(%x: tensor<2x4xf32>, %b: tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  %g = arith.constant dense<1.0> : tensor<4xf32>
  %0 = qtx.layer_norm %x gamma(%g) beta(%b) epsilon 1.0e-5 : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %1 = qtx.rms_norm %x gamma(%g) epsilon 1.0e-5 : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %0, %1 : tensor<2x4xf32>, tensor<2x4xf32>
}

// CHECK-LABEL: func @other_gamma(
// CHECK: qtx.layer_norm %{{.*}} gamma(
func.func @other_gamma(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %g = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %0 = qtx.layer_norm %x gamma(%g) epsilon 1.0e-5 : (tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}

// CHECK-LABEL: func @unit_scale_shift(
// CHECK-SAME: %[[X:.*]]: tensor
// CHECK-NEXT: return %[[X]]
func.func @unit_scale_shift(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %g = arith.constant dense<1.0> : tensor<2xf32>
  %s = arith.constant dense<-0.0> : tensor<2xf32>
  %0 = qtx.scale_shift %x gain(%g) shift(%s) : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  return %0 : tensor<?x2xf32>
}

// A shift of +0 changes -0, and a quantized result is quantized.
// CHECK-LABEL: func @other_scale_shift(
// CHECK-COUNT-2: qtx.scale_shift
func.func @other_scale_shift(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xi8>) {
  %g = arith.constant dense<1.0> : tensor<2xf32>
  %s = arith.constant dense<0.0> : tensor<2xf32>
  %t = arith.constant dense<-0.0> : tensor<2xf32>
  %0 = qtx.scale_shift %x gain(%g) shift(%s) : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %1 = qtx.scale_shift %x gain(%g) shift(%t) to !quant.uniform<i8:f32, 0.5> : (tensor<?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x2xi8>
  return %0, %1 : tensor<?x2xf32>, tensor<?x2xi8>
}

// CHECK-LABEL: func @relu_of_relu(
// CHECK: %[[Y:.*]] = qtx.relu
// CHECK-NEXT: return %[[Y]]
func.func @relu_of_relu(%x: tensor<?xf32>) -> tensor<?xf32> {
  %0 = qtx.relu %x : (tensor<?xf32>) -> tensor<?xf32>
  %1 = qtx.relu %0 : (tensor<?xf32>) -> tensor<?xf32>
  return %1 : tensor<?xf32>
}

// A quantized relu rounds.
// CHECK-LABEL: func @relu_of_quantized_relu(
// CHECK-COUNT-2: qtx.relu
func.func @relu_of_quantized_relu(%x: tensor<?xf32>) -> tensor<?xi8> {
  %0 = qtx.relu %x to !quant.uniform<i8:f32, 0.5> : (tensor<?xf32>) -> tensor<?xi8>
  %1 = qtx.relu %0 as !quant.uniform<i8:f32, 0.5> to !quant.uniform<i8:f32, 0.25> : (tensor<?xi8>) -> tensor<?xi8>
  return %1 : tensor<?xi8>
}

// CHECK-LABEL: func @unused(
// CHECK-NEXT: return
func.func @unused(%x: tensor<?xf32>) {
  %0 = qtx.gelu %x : (tensor<?xf32>) -> tensor<?xf32>
  return
}

// Sizes of results come from the operands.
// SHAPE-LABEL: func @sizes(
// SHAPE-SAME: %[[X:.*]]: tensor<?x4xf32>, %[[T:.*]]: tensor<9x4xf32>, %[[I:.*]]: tensor<3x?xi32>
// SHAPE-DAG: tensor.dim %[[X]]
// SHAPE-DAG: tensor.dim %[[I]]
// SHAPE-NOT: qtx
func.func @sizes(%x: tensor<?x4xf32>, %t: tensor<9x4xf32>, %i: tensor<3x?xi32>) -> (index, index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %0 = qtx.layer_norm %x epsilon 1.0e-5 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %1 = qtx.silu %0 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %2 = qtx.add %1, %1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %3 = qtx.embedding %t, %i : (tensor<9x4xf32>, tensor<3x?xi32>) -> tensor<3x?x4xf32>
  %d0 = tensor.dim %2, %c0 : tensor<?x4xf32>
  %d1 = tensor.dim %3, %c1 : tensor<3x?x4xf32>
  %d2 = tensor.dim %3, %c2 : tensor<3x?x4xf32>
  return %d0, %d1, %d2 : index, index, index
}
