// RUN: qtx-opt %s --canonicalize | FileCheck %s

!q = !quant.uniform<i8:f32, 0.5:3>

// One group of constant parameters is per tensor.
// CHECK-LABEL: func @one_group(
// CHECK: qtx.linear %{{.*}} as !quant.uniform<i8:f32, 5.000000e-01:3>, %{{.*}} scale(%{{.*}}) to !quant.uniform<i8:f32, 5.000000e-01> : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xi8>
func.func @one_group(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %ws: tensor<4xf32>) -> tensor<?x4xi8> {
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %z = arith.constant dense<3> : tensor<1xi32>
  %y = qtx.linear %x scale(%s) zero_point(%z) as !qtx.grouped<i8:f32, axis=-1, [8], ?>, %w scale(%ws)
      out_scale(%s) to !qtx.grouped<i8:f32, axis=-1, [4], ?>
      : (tensor<?x8xi8>, tensor<1xf32>, tensor<1xi32>, tensor<4x8xi8>, tensor<4xf32>, tensor<1xf32>) -> tensor<?x4xi8>
  return %y : tensor<?x4xi8>
}

// CHECK-LABEL: func @one_group_of_each(
// CHECK: qtx.batch_matmul %{{.*}} as !quant.uniform<i8:f32, 5.000000e-01:3>, %{{.*}} as !quant.uniform<i8:f32, 5.000000e-01> to !quant.uniform<i8:f32, 5.000000e-01:3> :
func.func @one_group_of_each(%a: tensor<2x4x8xi8>, %b: tensor<2x8x4xi8>) -> tensor<2x4x4xi8> {
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %z = arith.constant dense<3> : tensor<1xi32>
  %y = qtx.batch_matmul %a scale(%s) zero_point(%z) as !qtx.grouped<i8:f32, axis=-1, [8], ?>,
      %b scale(%s) as !qtx.grouped<i8:f32, axis=-2, [8], ?>
      out_scale(%s) out_zero_point(%z) to !qtx.grouped<i8:f32, axis=-3, [2], ?>
      : (tensor<2x4x8xi8>, tensor<1xf32>, tensor<1xi32>, tensor<2x8x4xi8>, tensor<1xf32>, tensor<1xf32>, tensor<1xi32>) -> tensor<2x4x4xi8>
  return %y : tensor<2x4x4xi8>
}

// Run-time values stay.
// CHECK-LABEL: func @one_group_run_time(
// CHECK: qtx.linear %{{.*}} scale(%{{.*}}) as !qtx.grouped
func.func @one_group_run_time(%x: tensor<?x8xi8>, %s: tensor<1xf32>, %w: tensor<4x8xi8>, %ws: tensor<4xf32>) -> tensor<?x4xf32> {
  %y = qtx.linear %x scale(%s) as !qtx.grouped<i8:f32, axis=-1, [8], ?>, %w scale(%ws)
      : (tensor<?x8xi8>, tensor<1xf32>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// A sum starts from +0.0 without a bias; -0.0 is another value.
// CHECK-LABEL: func @zero_bias(
// CHECK-NOT: bias
// CHECK: qtx.linear
// CHECK-NOT: bias
// CHECK: qtx.linear %{{.*}} bias(
// CHECK: qtx.linear %{{.*}} bias(
func.func @zero_bias(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) {
  %p = arith.constant dense<0.0> : tensor<4xf32>
  %n = arith.constant dense<-0.0> : tensor<4xf32>
  %o = arith.constant dense<[0.0, 0.0, 1.0, 0.0]> : tensor<4xf32>
  %a = qtx.linear %x, %w bias(%p) : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %b = qtx.linear %x, %w bias(%n) : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %c = qtx.linear %x, %w bias(%o) : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %a, %b, %c : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
}

// A seed of zero says that the zero points are zero.
// CHECK-LABEL: func @zero_seed(
// CHECK-NOT: seed(
// CHECK: qtx.linear
// CHECK-NOT: seed(
// CHECK: qtx.linear %{{.*}} seed(
func.func @zero_seed(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %c = arith.constant dense<0> : tensor<1x4xi32>
  %a = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) seed(%c)
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>, tensor<1x4xi32>) -> tensor<?x4xf32>
  %b = qtx.linear %x as !q, %w scale(%s) seed(%c)
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>, tensor<1x4xi32>) -> tensor<?x4xf32>
  return %a, %b : tensor<?x4xf32>, tensor<?x4xf32>
}
