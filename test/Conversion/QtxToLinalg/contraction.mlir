// RUN: qtx-opt %s --convert-qtx-to-linalg --canonicalize | FileCheck %s

// Two groups: two integer contractions, joined in ascending order by fma.
// CHECK-LABEL: func @linear(
// CHECK-NOT: qtx.
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [%{{.*}}, 6] [1, 1]
// CHECK: linalg.generic {{.*}}"reduction"]
// CHECK: arith.muli
// CHECK: math.fma
// CHECK: tensor.extract_slice %{{.*}}[0, 6] [%{{.*}}, 2] [1, 1]
// CHECK: linalg.generic {{.*}}"reduction"]
// CHECK: arith.muli
// CHECK: math.fma
func.func @linear(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>, %w scale(%s)
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Equal but for rounding: the scale of the sum is the smallest.
// CHECK-LABEL: func @nearly_equal(
// CHECK: arith.constant dense<1.000000e+00> : tensor<f32>
// CHECK-NOT: dense<1.0000003{{.*}}>
// CHECK: return
func.func @nearly_equal(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [4, 4], {1.0, 1.0000004}>, %w scale(%s) integer_join
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// A contraction of nothing is the bias.
// CHECK-LABEL: func @no_channels(
func.func @no_channels(%x: tensor<?x0xi8>, %w: tensor<4x0xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) integer_join
      : (tensor<?x0xi8>, tensor<4x0xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// The sums of the coarse group count twenty times; one fma has the finest scale.
// CHECK-LABEL: func @integer_join(
// CHECK-DAG: %[[TWENTY:.*]] = arith.constant 20 : i32
// CHECK-DAG: arith.constant dense<2.000000e-02>
// CHECK-NOT: dense<4.000000e-01>
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [%{{.*}}, 2] [1, 1]
// CHECK: linalg.generic {{.*}}"reduction"]
// CHECK: arith.muli %{{.*}}, %[[TWENTY]]
// CHECK: tensor.extract_slice %{{.*}}[0, 2] [%{{.*}}, 6] [1, 1]
// CHECK: linalg.generic {{.*}}"reduction"]
// CHECK-NOT: %[[TWENTY]]
// CHECK: math.fma
// CHECK-NOT: math.fma
func.func @integer_join(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [2, 6], {0.4, 0.02:3}>, %w scale(%s) integer_join
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
