// RUN: qtx-opt %s --canonicalize | FileCheck %s

// A mask that freezes nothing goes away.
// CHECK-LABEL: func.func @nothing_frozen(
// CHECK-SAME: %[[X:[^:]*]]: tensor<2x4xf32>, %[[S:[^:]*]]: tensor<1xf32>, %{{[^:]*}}: tensor<2x4xi32>, %[[G:[^:]*]]: tensor<f32>
// CHECK-NOT: frozen
// CHECK: qtx.fake_quantize %[[X]] scale(%[[S]]) bits 4 signed
// CHECK: qtx.fake_quantize_backward %[[X]], %[[X]] scale(%[[S]]) bits 4 signed
// CHECK: qtx.dampening_loss %[[X]] scale(%[[S]]) bits 4 signed
// CHECK: qtx.dampening_loss_backward %[[G]], %[[X]] scale(%[[S]]) bits 4 signed
func.func @nothing_frozen(%x: tensor<2x4xf32>, %s: tensor<1xf32>, %ints: tensor<2x4xi32>, %g: tensor<f32>)
    -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<f32>, tensor<2x4xf32>) {
  %mask = arith.constant dense<false> : tensor<2x4xi1>
  %y, %c = qtx.fake_quantize %x scale(%s) frozen(%mask, %ints) bits 4 signed : tensor<2x4xf32>, tensor<1xf32>
  %gx, %gs = qtx.fake_quantize_backward %x, %x scale(%s) frozen(%mask, %ints) bits 4 signed : tensor<2x4xf32>, tensor<1xf32>
  %l = qtx.dampening_loss %x scale(%s) frozen(%mask, %ints) bits 4 signed : tensor<2x4xf32>, tensor<1xf32>
  %dx, %ds = qtx.dampening_loss_backward %g, %x scale(%s) frozen(%mask, %ints) bits 4 signed : tensor<2x4xf32>, tensor<1xf32>
  return %y, %gx, %l, %dx : tensor<2x4xf32>, tensor<2x4xf32>, tensor<f32>, tensor<2x4xf32>
}

// CHECK-LABEL: func.func @one_frozen(
// CHECK: qtx.fake_quantize {{.*}} frozen(
func.func @one_frozen(%x: tensor<2xf32>, %s: tensor<1xf32>, %ints: tensor<2xi32>) -> tensor<2xf32> {
  %mask = arith.constant dense<[false, true]> : tensor<2xi1>
  %y, %c = qtx.fake_quantize %x scale(%s) frozen(%mask, %ints) bits 4 signed : tensor<2xf32>, tensor<1xf32>
  return %y : tensor<2xf32>
}
