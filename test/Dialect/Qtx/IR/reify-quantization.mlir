// RUN: qtx-opt %s --resolve-ranked-shaped-type-result-dims --cse | FileCheck %s

!u = !quant.uniform<i8:f32, 0.5:3>
!d = !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>

// CHECK-LABEL: func @elementwise(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x8xf32>, %[[I:[a-z0-9]+]]: tensor<8xi32>
// CHECK: %[[C0:.*]] = arith.constant 0 : index
// CHECK: %[[D:.*]] = tensor.dim %[[X]], %[[C0]]
// CHECK: return %[[D]], %[[D]], %[[D]], %[[D]]
func.func @elementwise(%x: tensor<?x8xf32>, %i: tensor<8xi32>) -> (index, index, index, index) {
  %c0 = arith.constant 0 : index
  %q = qtx.quantize %x : tensor<?x8xf32> -> tensor<?x8x!u>
  %r = qtx.requantize %q : (tensor<?x8x!u>) -> tensor<?x8x!u>
  %y = qtx.dequantize %r : tensor<?x8x!u> -> tensor<?x8xf32>
  %p = qtx.permute %y by %i : (tensor<?x8xf32>, tensor<8xi32>) -> tensor<?x8xf32>
  %0 = tensor.dim %q, %c0 : tensor<?x8x!u>
  %1 = tensor.dim %r, %c0 : tensor<?x8x!u>
  %2 = tensor.dim %y, %c0 : tensor<?x8xf32>
  %3 = tensor.dim %p, %c0 : tensor<?x8xf32>
  return %0, %1, %2, %3 : index, index, index, index
}

// Scales and zero points have the leading dimensions of the operand.
// CHECK-LABEL: func @dynamic_quantize(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x8xf32>
// CHECK: %[[D:.*]] = tensor.dim %[[X]], %{{.*}}
// CHECK: return %[[D]], %[[D]], %[[D]]
func.func @dynamic_quantize(%x: tensor<?x8xf32>) -> (index, index, index) {
  %c0 = arith.constant 0 : index
  %q, %s, %z = qtx.dynamic_quantize %x : (tensor<?x8xf32>) -> (tensor<?x8x!d>, tensor<?x2xf32>, tensor<?x2xi32>)
  %0 = tensor.dim %q, %c0 : tensor<?x8x!d>
  %1 = tensor.dim %s, %c0 : tensor<?x2xf32>
  %2 = tensor.dim %z, %c0 : tensor<?x2xi32>
  return %0, %1, %2 : index, index, index
}

// CHECK-LABEL: func @observe(
// CHECK-SAME: %[[L:[a-z0-9]+]]: tensor<?xf32>
// CHECK: %[[D:.*]] = tensor.dim %[[L]], %{{.*}}
// CHECK: return %[[D]], %[[D]]
func.func @observe(%l: tensor<?xf32>, %x: tensor<2x?xf32>) -> (index, index) {
  %c0 = arith.constant 0 : index
  %a, %b = qtx.observe %x, %l, %l : (tensor<2x?xf32>, tensor<?xf32>, tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>)
  %0 = tensor.dim %a, %c0 : tensor<?xf32>
  %1 = tensor.dim %b, %c0 : tensor<?xf32>
  return %0, %1 : index, index
}
