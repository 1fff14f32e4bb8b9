// RUN: qtx-opt %s --split-input-file --verify-diagnostics --qtx-convert-quant-types=to-upstream | FileCheck %s

// CHECK-LABEL: func @groups(
// CHECK-SAME: %[[X:.*]]: tensor<2x6xf32>
// CHECK: %[[A:.*]] = quant.qcast %[[X]] : tensor<2x6xf32> to tensor<2x6x!quant.uniform<i8:f32:{1:3}, {{\{}}{5.000000e-01:3, 2.000000e+00:-128}}>>
// CHECK: %[[I:.*]] = quant.scast %[[A]] : tensor<2x6x!quant.uniform<{{.*}}>> to tensor<2x6xi8>
// CHECK: %[[B:.*]] = quant.scast %[[I]] : tensor<2x6xi8> to tensor<2x6x!quant.uniform<i8:f32:0, {1.000000e+00,2.000000e+00:-7}>>
// CHECK: quant.dcast %[[B]] : tensor<2x6x!quant.uniform<i8:f32:0, {1.000000e+00,2.000000e+00:-7}>> to tensor<2x6xf32>
func.func @groups(%x: tensor<2x6xf32>) -> tensor<2x6xf32> {
  %a = qtx.quantize %x : tensor<2x6xf32> -> tensor<2x6x!qtx.grouped<i8:f32, axis=-1, [3, 3], {0.5:3, 2.0:-128}>>
  %i = builtin.unrealized_conversion_cast %a : tensor<2x6x!qtx.grouped<i8:f32, axis=-1, [3, 3], {0.5:3, 2.0:-128}>> to tensor<2x6xi8>
  %b = builtin.unrealized_conversion_cast %i : tensor<2x6xi8> to tensor<2x6x!qtx.grouped<i8:f32, axis=-2, [1, 1], {1.0, 2.0:-7}>>
  %y = qtx.dequantize %b : tensor<2x6x!qtx.grouped<i8:f32, axis=-2, [1, 1], {1.0, 2.0:-7}>> -> tensor<2x6xf32>
  return %y : tensor<2x6xf32>
}

// -----

// Unsigned storage is upstream's own.
// CHECK-LABEL: func @unsigned(
// CHECK-SAME: tensor<2x!quant.uniform<u8:f32:0, {1.000000e+00:128,2.000000e+00:255}>>
func.func @unsigned(%x: tensor<2x!qtx.grouped<u8:f32, axis=-1, [1, 1], {1.0:128, 2.0:255}>>) {
  return
}

// -----

// expected-error@+1 {{cannot convert the quantized type of '(tensor<3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {1.000000e+00, 2.000000e+00}>>) -> ()': its groups have several sizes}}
func.func @unequal(%x: tensor<3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {1.0, 2.0}>>) {
  return
}

// -----

// expected-error@+1 {{its parameters are run-time values}}
func.func @run_time(%x: tensor<2x!qtx.grouped<i8:f32, axis=-1, [1, 1], ?>>) {
  return
}

// -----

// expected-error@+1 {{its groups do not sum to the size of its axis}}
func.func @sum(%x: tensor<3x!qtx.grouped<i8:f32, axis=-1, [1, 1], {1.0, 2.0}>>) {
  return
}

// -----

func.func @linear(%x: tensor<2x!qtx.grouped<i8:f32, axis=-1, [1, 1], {1.0, 2.0}>>, %w: tensor<3x2xi8>, %s: tensor<3xf32>) -> tensor<3xf32> {
  // expected-error@+1 {{'qtx.linear' op cannot be converted: expected a function, a call, control flow, a cast or a qtx operation to use}}
  %y = qtx.linear %x, %w scale(%s) : (tensor<2x!qtx.grouped<i8:f32, axis=-1, [1, 1], {1.0, 2.0}>>, tensor<3x2xi8>, tensor<3xf32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}
