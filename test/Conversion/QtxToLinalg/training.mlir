// RUN: qtx-opt %s --convert-qtx-to-linalg | FileCheck %s

// CHECK: #[[$SCALE:.*]] = affine_map<(d0, d1) -> (d1)>

// The scale is divided by, and rounding is half to even.
// CHECK-LABEL: @fake_quantize(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x4xf32>, %[[S:[^:]*]]: tensor<4xf32>
// CHECK: linalg.generic
// CHECK-SAME: ins(%[[X]], %[[S]] : tensor<?x4xf32>, tensor<4xf32>)
// CHECK: %[[SCALE:.*]] = arith.maximumf %{{.*}}, %{{.*}} : f32
// CHECK: %[[V:.*]] = arith.divf %{{.*}}, %[[SCALE]] : f32
// CHECK: %[[R:.*]] = math.roundeven %[[V]] : f32
// CHECK: %[[LOW:.*]] = arith.maxnumf %[[R]]
// CHECK: arith.minnumf %[[LOW]]
// CHECK-NOT: qtx.
func.func @fake_quantize(%x: tensor<?x4xf32>, %s: tensor<4xf32>)
    -> (tensor<?x4xf32>, tensor<?x4xi32>) {
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed axis -1 : tensor<?x4xf32>, tensor<4xf32>
  return %y, %c : tensor<?x4xf32>, tensor<?x4xi32>
}

// Gradients of scales are sums over everything but the channels.
// CHECK-LABEL: @fake_quantize_backward(
// CHECK: math.sqrt
// CHECK: linalg.generic {indexing_maps = [{{.*}}, {{.*}}, #[[$SCALE]]], iterator_types = ["reduction", "parallel"]}
// CHECK: math.fma
// CHECK-NOT: qtx.
func.func @fake_quantize_backward(%g: tensor<?x4xf32>, %x: tensor<?x4xf32>, %s: tensor<4xf32>)
    -> (tensor<?x4xf32>, tensor<4xf32>) {
  %gx, %gs = qtx.fake_quantize_backward %g, %x scale(%s) bits 4 signed axis -1 grad_scaling
      : tensor<?x4xf32>, tensor<4xf32>
  return %gx, %gs : tensor<?x4xf32>, tensor<4xf32>
}

// The cosine is qtx's own.
// CHECK-LABEL: @cosine_schedule(
// CHECK-NOT: math.cos
// CHECK-NOT: qtx.
func.func @cosine_schedule(%t: tensor<i64>) -> tensor<f32> {
  %v = qtx.cosine_schedule %t from 0.1 to 0.01 steps 10 : tensor<i64>
  return %v : tensor<f32>
}

// One row sum corrects the gradient of every row.
// CHECK-LABEL: @clipped_softmax_backward(
// CHECK: iterator_types = ["parallel", "reduction"]
// CHECK-NOT: qtx.
func.func @clipped_softmax_backward(%g: tensor<?x4xf32>, %p: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %gx = qtx.clipped_softmax_backward %g, %p clip [-0.03, 1.0] : tensor<?x4xf32>
  return %gx : tensor<?x4xf32>
}
