// RUN: qtx-opt %s -qtx-fuse-linear | FileCheck %s
// RUN: qtx-opt %s -qtx-fuse-linear --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

!q = !quant.uniform<i8:f32, 0.5:3>
!d = !qtx.grouped<i8:f32, axis=-1, [1, 1], ?>
!a = !qtx.grouped<i8:f32, axis=-2, [1, 1], {0.5, 0.25}>

// CHECK-LABEL: func.func @storage
// CHECK: %[[Y:.*]] = qtx.linear %arg0, %arg1 bias(%arg2) activation gelu to !quant.uniform<i8:f32, 5.000000e-01:3>
// CHECK-NEXT: return %[[Y]]
// REMARK: [Passed] FuseLinear | Category:qtx-fuse-linear | Remark="joined 'qtx.gelu' to a linear"
// REMARK: Remark="joined 'qtx.quantize' to a linear"
func.func @storage(%x: tensor<?x4xf32>, %w: tensor<2x4xf32>, %b: tensor<2xf32>) -> tensor<?x2xi8> {
  %y = qtx.linear %x, %w bias(%b) : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %z = qtx.gelu %y : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %q = qtx.quantize %z to !q : tensor<?x2xf32> -> tensor<?x2xi8>
  return %q : tensor<?x2xi8>
}

// CHECK-LABEL: func.func @quantized
// CHECK: qtx.linear %arg0, %arg1 scale(%arg2) activation gelu_tanh : ({{.*}}) -> tensor<?x2x!quant.uniform<i8:f32, 5.000000e-01:3>>
// CHECK-NEXT: return
func.func @quantized(%x: tensor<?x4x!q>, %w: tensor<2x4xi8>, %s: tensor<2xf32>) -> tensor<?x2x!q> {
  %y = qtx.linear %x, %w scale(%s) : (tensor<?x4x!q>, tensor<2x4xi8>, tensor<2xf32>) -> tensor<?x2xf32>
  %z = qtx.gelu %y approximate tanh : (tensor<?x2xf32>) -> tensor<?x2x!q>
  return %z : tensor<?x2x!q>
}

// CHECK-LABEL: func.func @activations
// CHECK: activation relu
// CHECK: activation silu
func.func @activations(%x: tensor<?x4xf32>, %w: tensor<2x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %0 = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %1 = qtx.relu %0 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %3 = qtx.silu %2 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  return %1, %3 : tensor<?x2xf32>, tensor<?x2xf32>
}

// CHECK-LABEL: func.func @missed
// CHECK: qtx.gelu
// CHECK: qtx.silu
// CHECK-COUNT-3: qtx.quantize
// REMARK: [Missed] {{.*}} Reason="the result of the linear has other readers"
// REMARK: [Missed] {{.*}} Reason="the linear has an activation"
// REMARK: [Missed] {{.*}} Reason="the groups of the result do not lie along its last axis"
// REMARK: [Missed] {{.*}} Reason="the scales of the result are run-time values"
// REMARK: [Missed] {{.*}} Reason="the result does not have 8 bits"
func.func @missed(%x: tensor<2x4xf32>, %w: tensor<2x4xf32>, %s: tensor<2xf32>)
    -> (tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xi8>, tensor<2x2xi8>, tensor<2x2xi16>) {
  %0 = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  %1 = qtx.gelu %0 : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %2 = qtx.linear %x, %w activation relu : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  %3 = qtx.silu %2 : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %4 = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  %5 = qtx.quantize %4 to !a : tensor<2x2xf32> -> tensor<2x2xi8>
  %6 = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  %7 = qtx.quantize %6 scale(%s : tensor<2xf32>) to !d : tensor<2x2xf32> -> tensor<2x2xi8>
  %8 = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  %9 = qtx.quantize %8 to !quant.uniform<i16:f32, 0.5> : tensor<2x2xf32> -> tensor<2x2xi16>
  return %0, %1, %3, %5, %7, %9 : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xi8>, tensor<2x2xi8>, tensor<2x2xi16>
}

// REMARK: [Missed] {{.*}} Reason="the linear is in another block"
// CHECK-LABEL: func.func @loop
// CHECK: scf.for
// CHECK: qtx.gelu
func.func @loop(%x: tensor<2x4xf32>, %w: tensor<2x4xf32>, %i: index, %j: index) -> tensor<2x2xf32> {
  %0 = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  %init = tensor.empty() : tensor<2x2xf32>
  %r = scf.for %k = %i to %j step %j iter_args(%a = %init) -> tensor<2x2xf32> {
    %1 = qtx.gelu %0 : (tensor<2x2xf32>) -> tensor<2x2xf32>
    scf.yield %1 : tensor<2x2xf32>
  }
  return %r : tensor<2x2xf32>
}

// A quantized input of an activation is not what the linear computes.
// CHECK-LABEL: func.func @between
// CHECK: qtx.linear
// CHECK: qtx.gelu
func.func @between(%x: tensor<?x4xf32>, %w: tensor<2x4xf32>) -> tensor<?x2xf32> {
  %0 = qtx.linear %x, %w to !q : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xi8>
  %1 = qtx.gelu %0 as !q : (tensor<?x2xi8>) -> tensor<?x2xf32>
  return %1 : tensor<?x2xf32>
}
