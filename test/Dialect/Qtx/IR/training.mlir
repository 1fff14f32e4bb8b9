// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --mlir-print-op-generic | qtx-opt | FileCheck %s

// CHECK-LABEL: @fake_quantize(
func.func @fake_quantize(%x: tensor<4x?xf32>, %s: tensor<1xf32>)
    -> (tensor<4x?xf32>, tensor<4x?xi32>) {
  // CHECK: qtx.fake_quantize %{{.*}} scale(%{{.*}}) bits 4 signed : tensor<4x?xf32>, tensor<1xf32>
  %y, %codes = qtx.fake_quantize %x scale(%s) bits 4 signed : tensor<4x?xf32>, tensor<1xf32>
  return %y, %codes : tensor<4x?xf32>, tensor<4x?xi32>
}

// CHECK-LABEL: @fake_quantize_per_channel(
func.func @fake_quantize_per_channel(%w: tensor<4x8xf32>, %s: tensor<4xf32>,
    %mask: tensor<4x8xi1>, %ints: tensor<4x8xi32>) -> (tensor<4x8xf32>, tensor<4x8xi32>) {
  // CHECK: qtx.fake_quantize %{{.*}} scale(%{{.*}}) frozen(%{{.*}}, %{{.*}}) bits 3 signed axis 0 surrogate ewgs parameter 2.500000e-01 : tensor<4x8xf32>, tensor<4xf32>
  %y, %codes = qtx.fake_quantize %w scale(%s) frozen(%mask, %ints) bits 3 signed axis 0
      surrogate ewgs parameter 0.25 : tensor<4x8xf32>, tensor<4xf32>
  return %y, %codes : tensor<4x8xf32>, tensor<4x8xi32>
}

// CHECK-LABEL: @fake_quantize_asymmetric(
func.func @fake_quantize_asymmetric(%x: tensor<?x?xf32>, %s: tensor<?xf32>, %z: tensor<?xf32>,
    %u: tensor<?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xi32>) {
  // CHECK: qtx.fake_quantize %{{.*}} scale(%{{.*}}) zero_point(%{{.*}}) noise(%{{.*}}) bits 8 asymmetric axis -1 surrogate stacked_sigmoid : tensor<?x?xf32>, tensor<?xf32>
  %y, %codes = qtx.fake_quantize %x scale(%s) zero_point(%z) noise(%u) bits 8 asymmetric axis -1
      surrogate stacked_sigmoid : tensor<?x?xf32>, tensor<?xf32>
  return %y, %codes : tensor<?x?xf32>, tensor<?x?xi32>
}

// CHECK-LABEL: @fake_quantize_backward(
func.func @fake_quantize_backward(%g: tensor<4x8xf32>, %w: tensor<4x8xf32>, %s: tensor<4xf32>,
    %mask: tensor<4x8xi1>, %ints: tensor<4x8xi32>) -> (tensor<4x8xf32>, tensor<4xf32>) {
  // CHECK: qtx.fake_quantize_backward %{{.*}}, %{{.*}} scale(%{{.*}}) frozen(%{{.*}}, %{{.*}}) bits 4 signed axis 0 surrogate ste_paper grad_scaling : tensor<4x8xf32>, tensor<4xf32>
  %gw, %gs = qtx.fake_quantize_backward %g, %w scale(%s) frozen(%mask, %ints) bits 4 signed axis 0
      surrogate ste_paper grad_scaling : tensor<4x8xf32>, tensor<4xf32>
  return %gw, %gs : tensor<4x8xf32>, tensor<4xf32>
}

// CHECK-LABEL: @fake_quantize_backward_asymmetric(
func.func @fake_quantize_backward_asymmetric(%g: tensor<?x8xf32>, %x: tensor<?x8xf32>,
    %s: tensor<1xf32>, %z: tensor<1xf32>) -> (tensor<?x8xf32>, tensor<1xf32>, tensor<1xf32>) {
  // CHECK: qtx.fake_quantize_backward %{{.*}}, %{{.*}} scale(%{{.*}}) zero_point(%{{.*}}) bits 8 asymmetric : tensor<?x8xf32>, tensor<1xf32>
  %gx, %gs, %gz = qtx.fake_quantize_backward %g, %x scale(%s) zero_point(%z) bits 8 asymmetric
      : tensor<?x8xf32>, tensor<1xf32>
  return %gx, %gs, %gz : tensor<?x8xf32>, tensor<1xf32>, tensor<1xf32>
}

// CHECK-LABEL: @oscillation_update(
func.func @oscillation_update(%codes: tensor<?x8xi32>, %prev: tensor<?x8xi32>,
    %dir: tensor<?x8xi8>, %f: tensor<?x8xf32>, %psi: tensor<?x8xf32>, %frozen: tensor<?x8xi1>,
    %int: tensor<?x8xi32>, %obs: tensor<i1>, %track: tensor<i1>, %m: tensor<f32>, %t: tensor<f32>)
    -> (tensor<?x8xi32>, tensor<?x8xi1>, tensor<i1>) {
  // CHECK: qtx.oscillation_update %{{.*}} state(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) momentum(%{{.*}}) threshold(%{{.*}}) : tensor<?x8xi32>
  %r:10 = qtx.oscillation_update %codes
      state(%prev, %dir, %f, %psi, %frozen, %int, %obs, %track)
      momentum(%m) threshold(%t) : tensor<?x8xi32>
  // CHECK: qtx.oscillation_update {{.*}} semantics reference_compat {use_ema_x_int = false} : tensor<?x8xi32>
  %q:10 = qtx.oscillation_update %r#0
      state(%r#2, %r#3, %r#4, %r#5, %r#6, %r#7, %r#8, %r#9)
      momentum(%m) threshold(%t) semantics reference_compat {use_ema_x_int = false}
      : tensor<?x8xi32>
  return %q#0, %q#1, %q#9 : tensor<?x8xi32>, tensor<?x8xi1>, tensor<i1>
}

// CHECK-LABEL: @dampening(
func.func @dampening(%w: tensor<4x8xf32>, %s: tensor<1xf32>, %mask: tensor<4x8xi1>,
    %ints: tensor<4x8xi32>) -> (tensor<f32>, tensor<4x8xf32>, tensor<1xf32>) {
  // CHECK: qtx.dampening_loss %{{.*}} scale(%{{.*}}) bits 4 signed : tensor<4x8xf32>, tensor<1xf32>
  %loss = qtx.dampening_loss %w scale(%s) bits 4 signed : tensor<4x8xf32>, tensor<1xf32>
  // CHECK: qtx.dampening_loss_backward %{{.*}}, %{{.*}} scale(%{{.*}}) frozen(%{{.*}}, %{{.*}}) bits 4 unsigned reduction mean : tensor<4x8xf32>, tensor<1xf32>
  %gw, %gs = qtx.dampening_loss_backward %loss, %w scale(%s) frozen(%mask, %ints)
      bits 4 unsigned reduction mean : tensor<4x8xf32>, tensor<1xf32>
  return %loss, %gw, %gs : tensor<f32>, tensor<4x8xf32>, tensor<1xf32>
}

// CHECK-LABEL: @cosine_schedule(
func.func @cosine_schedule(%step: tensor<i64>) -> (tensor<f32>, tensor<f32>) {
  // CHECK: qtx.cosine_schedule %{{.*}} from 1.000000e-01 to 0.00999999977 steps 1000 zero_before : tensor<i64>
  %t = qtx.cosine_schedule %step from 0.1 to 0.01 steps 1000 zero_before : tensor<i64>
  // CHECK: qtx.cosine_schedule %{{.*}} from 0.000000e+00 to 1.000000e-01 steps 1000 anneal_start 5.000000e-01 : tensor<i64>
  %l = qtx.cosine_schedule %step from 0.0 to 0.1 steps 1000 anneal_start 0.5 : tensor<i64>
  return %t, %l : tensor<f32>, tensor<f32>
}

// CHECK-LABEL: @clipped_softmax_backward(
func.func @clipped_softmax_backward(%g: tensor<?x4x?x?xf32>, %p: tensor<?x4x?x?xf32>)
    -> tensor<?x4x?x?xf32> {
  // CHECK: qtx.clipped_softmax_backward %{{.*}}, %{{.*}} clip [-3.000000e-02, 1.000000e+00] : tensor<?x4x?x?xf32>
  %gx = qtx.clipped_softmax_backward %g, %p clip [-0.03, 1.0] : tensor<?x4x?x?xf32>
  return %gx : tensor<?x4x?x?xf32>
}
