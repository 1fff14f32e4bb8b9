// RUN: qtx-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// Quantized edges, on the simplest operations that have them
//===----------------------------------------------------------------------===//

func.func @not_quantized(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{'qtx.quantize' op expected a quantized result: a quantized element type, or storage integers with 'y_quant', found 'tensor<4xi8>'}}
  %q = qtx.quantize %x : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @operand_not_quantized(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{'qtx.dequantize' op expected a quantized operand: a quantized element type, or storage integers with 'x_quant', found 'tensor<4xf32>'}}
  %q = qtx.dequantize %x : tensor<4xf32> -> tensor<4xf32>
  return %q : tensor<4xf32>
}

// -----

func.func @shape(%x: tensor<4xf32>) -> tensor<5x!quant.uniform<i8:f32, 0.5>> {
  // expected-error@+1 {{expected operand and result of the same shape, found 'tensor<4xf32>' and 'tensor<5x!quant.uniform<i8:f32, 5.000000e-01>>'}}
  %q = qtx.quantize %x : tensor<4xf32> -> tensor<5x!quant.uniform<i8:f32, 0.5>>
  return %q : tensor<5x!quant.uniform<i8:f32, 0.5>>
}

// -----

func.func @dequantize_shape(%x: tensor<4xi8>) -> tensor<4x4xf32> {
  // expected-error@+1 {{expected operand and result of the same shape, found 'tensor<4xi8>' and 'tensor<4x4xf32>'}}
  %q = qtx.dequantize %x as !quant.uniform<i8:f32, 0.5> : tensor<4xi8> -> tensor<4x4xf32>
  return %q : tensor<4x4xf32>
}

// -----

func.func @both_forms(%x: tensor<4xf32>) -> tensor<4x!quant.uniform<i8:f32, 0.5>> {
  // expected-error@+1 {{expected no 'y_quant' beside the quantized element type '!quant.uniform<i8:f32, 5.000000e-01>'}}
  %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.5> : tensor<4xf32> -> tensor<4x!quant.uniform<i8:f32, 0.5>>
  return %q : tensor<4x!quant.uniform<i8:f32, 0.5>>
}

// -----

func.func @storage_type(%x: tensor<4xf32>) -> tensor<4xi16> {
  // expected-error@+1 {{expected element type 'i8', the storage type of 'y_quant', found 'i16'}}
  %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.5> : tensor<4xf32> -> tensor<4xi16>
  return %q : tensor<4xi16>
}

// -----

func.func @not_a_quantized_type(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{failed to satisfy constraint: quantized element type}}
  %q = qtx.quantize %x to f32 : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @expressed(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{expected the expressed type f32, found 'f64'}}
  %q = qtx.quantize %x to !quant.uniform<i8:f64, 0.5> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @width(%x: tensor<4x!quant.uniform<i7:f32, 0.5>>) -> tensor<4xf32> {
  // expected-error@+1 {{expected a storage width of 4, 8, 16 or 32 bits, found 7}}
  %y = qtx.dequantize %x : tensor<4x!quant.uniform<i7:f32, 0.5>> -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func @scale(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{expected a scale that is a positive, finite, normal f32 number, found 1.000000e-40}}
  %q = qtx.quantize %x to !quant.uniform<i8:f32, 1.0e-40> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @zero_point(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{zero point 300 is outside the storage range [-128, 127]}}
  %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.5:300> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @zero_point_narrow(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{zero point -128 is outside the storage range [-127, 127]}}
  %q = qtx.quantize %x to !quant.uniform<i8<-127:127>:f32, 0.5:-128> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @axis(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{group axis -2 is out of range for a tensor of rank 1}}
  %q = qtx.quantize %x to !qtx.grouped<i8:f32, axis=-2, [2, 2], {0.5, 0.5}> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @axis_of_scalar(%x: tensor<f32>) -> tensor<i8> {
  // expected-error@+1 {{group axis -9223372036854775808 is out of range for a tensor of rank 0}}
  %q = qtx.quantize %x to !qtx.grouped<i8:f32, axis=-9223372036854775808, [2, 2], {0.5, 0.5}> : tensor<f32> -> tensor<i8>
  return %q : tensor<i8>
}

// -----

func.func @group_sum(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{group sizes sum to 5, expected the size of dimension 0, 4}}
  %q = qtx.quantize %x to !qtx.grouped<i8:f32, axis=-1, [3, 2], {0.5, 0.5}> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @group_dynamic(%x: tensor<3x?xf32>) -> tensor<3x?xi8> {
  // expected-error@+1 {{group sizes sum to 5, expected the size of dimension 1, which is dynamic}}
  %q = qtx.quantize %x to !qtx.grouped<i8:f32, axis=-1, [3, 2], {0.5, 0.5}> : tensor<3x?xf32> -> tensor<3x?xi8>
  return %q : tensor<3x?xi8>
}

// -----

func.func @run_time_beside_static(%x: tensor<4xf32>, %s: tensor<1xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{expected run-time parameters only beside a '!qtx.grouped' type whose parameters are '?'}}
  %q = qtx.quantize %x scale(%s : tensor<1xf32>) to !quant.uniform<i8:f32, 0.5> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @run_time_scale_missing(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{requires a run-time scale for the '?' parameters of '!qtx.grouped<i8:f32, axis=-1, [2 * 2], ?>'}}
  %q = qtx.quantize %x to !qtx.grouped<i8:f32, axis=-1, [2, 2], ?> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @run_time_scale_shape(%x: tensor<4xf32>, %s: tensor<3xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{expected run-time scales of shape [2], or with the leading dimensions of the tensor, found 'tensor<3xf32>'}}
  %q = qtx.quantize %x scale(%s : tensor<3xf32>) to !qtx.grouped<i8:f32, axis=-1, [2, 2], ?> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @run_time_scale_leading(%x: tensor<3x4xf32>, %s: tensor<5x2xf32>) -> tensor<3x4xi8> {
  // expected-error@+1 {{expected run-time scales of shape [2], or with the leading dimensions of the tensor, found 'tensor<5x2xf32>'}}
  %q = qtx.quantize %x scale(%s : tensor<5x2xf32>) to !qtx.grouped<i8:f32, axis=-1, [2, 2], ?> : tensor<3x4xf32> -> tensor<3x4xi8>
  return %q : tensor<3x4xi8>
}

// -----

func.func @run_time_zero_point_shape(%x: tensor<4xf32>, %s: tensor<2xf32>, %z: tensor<2x2xi32>) -> tensor<4xi8> {
  // expected-error@+1 {{expected run-time zero points of shape [2], or with the leading dimensions of the tensor, found 'tensor<2x2xi32>'}}
  %q = qtx.quantize %x scale(%s : tensor<2xf32>) zero_point(%z : tensor<2x2xi32>)
      to !qtx.grouped<i8:f32, axis=-1, [2, 2], ?> : tensor<4xf32> -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

//===----------------------------------------------------------------------===//
// requantize
//===----------------------------------------------------------------------===//

func.func @requantize_operand(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{'qtx.requantize' op expected a quantized operand: a quantized element type, or storage integers with 'x_quant', found 'tensor<4xf32>'}}
  %q = qtx.requantize %x to !quant.uniform<i8:f32, 0.5> : (tensor<4xf32>) -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @requantize_result(%x: tensor<4xi8>) -> tensor<4xi8> {
  // expected-error@+1 {{expected a quantized result: a quantized element type, or storage integers with 'y_quant', found 'tensor<4xi8>'}}
  %q = qtx.requantize %x as !quant.uniform<i8:f32, 0.5> : (tensor<4xi8>) -> tensor<4xi8>
  return %q : tensor<4xi8>
}

// -----

func.func @requantize_shape(%x: tensor<4xi8>) -> tensor<5xi8> {
  // expected-error@+1 {{expected operand and result of the same shape, found 'tensor<4xi8>' and 'tensor<5xi8>'}}
  %q = qtx.requantize %x as !quant.uniform<i8:f32, 0.5> to !quant.uniform<i8:f32, 1.0> : (tensor<4xi8>) -> tensor<5xi8>
  return %q : tensor<5xi8>
}

// -----

//===----------------------------------------------------------------------===//
// dynamic_quantize
//===----------------------------------------------------------------------===//

func.func @dynamic_bare(%x: tensor<4xi8>) -> tensor<4xi8> {
  // expected-error@+1 {{'qtx.dynamic_quantize' op expected 'x_quant' for the storage integers of 'x', found none}}
  %q, %s, %z = qtx.dynamic_quantize %x to !qtx.grouped<i8:f32, axis=-1, [4], ?> : (tensor<4xi8>) -> (tensor<4xi8>, tensor<1xf32>, tensor<1xi32>)
  return %q : tensor<4xi8>
}

// -----

func.func @dynamic_result(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{expected run-time parameters only beside a '!qtx.grouped' type whose parameters are '?'}}
  %q, %s, %z = qtx.dynamic_quantize %x : (tensor<4xf32>) -> (tensor<4xi8>, tensor<1xf32>, tensor<1xi32>)
  return %q : tensor<4xi8>
}

// -----

func.func @dynamic_axis(%x: tensor<4x2xf32>) -> tensor<4x2xi8> {
  // expected-error@+1 {{expected a result with '?' parameters along axis -1, found '!qtx.grouped<i8:f32, axis=-2, [4], ?>'}}
  %q, %s, %z = qtx.dynamic_quantize %x to !qtx.grouped<i8:f32, axis=-2, [4], ?> : (tensor<4x2xf32>) -> (tensor<4x2xi8>, tensor<1xf32>, tensor<1xi32>)
  return %q : tensor<4x2xi8>
}

// -----

func.func @dynamic_width(%x: tensor<4xf32>) -> tensor<4xi32> {
  // expected-error@+1 {{expected a storage width of at most 16 bits, found 32}}
  %q, %s, %z = qtx.dynamic_quantize %x to !qtx.grouped<i32:f32, axis=-1, [4], ?> : (tensor<4xf32>) -> (tensor<4xi32>, tensor<1xf32>, tensor<1xi32>)
  return %q : tensor<4xi32>
}

// -----

func.func @dynamic_unsigned(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{expected signed storage for symmetric parameters, found '!qtx.grouped<u8:f32, axis=-1, [4], ?>'}}
  %q, %s = qtx.dynamic_quantize %x symmetric to !qtx.grouped<u8:f32, axis=-1, [4], ?> : (tensor<4xf32>) -> (tensor<4xi8>, tensor<1xf32>)
  return %q : tensor<4xi8>
}

// -----

func.func @dynamic_symmetric_zero_point(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{expected no zero-point result for symmetric parameters}}
  %q, %s, %z = qtx.dynamic_quantize %x symmetric to !qtx.grouped<i8:f32, axis=-1, [4], ?> : (tensor<4xf32>) -> (tensor<4xi8>, tensor<1xf32>, tensor<1xi32>)
  return %q : tensor<4xi8>
}

// -----

func.func @dynamic_zero_point_missing(%x: tensor<4xf32>) -> tensor<4xi8> {
  // expected-error@+1 {{requires a zero-point result unless 'symmetric'}}
  %q, %s = qtx.dynamic_quantize %x to !qtx.grouped<i8:f32, axis=-1, [4], ?> : (tensor<4xf32>) -> (tensor<4xi8>, tensor<1xf32>)
  return %q : tensor<4xi8>
}

// -----

func.func @dynamic_shape(%x: tensor<3x4xf32>) -> tensor<2x4xi8> {
  // expected-error@+1 {{expected operand and result of the same shape, found 'tensor<3x4xf32>' and 'tensor<2x4xi8>'}}
  %q, %s, %z = qtx.dynamic_quantize %x to !qtx.grouped<i8:f32, axis=-1, [4], ?> : (tensor<3x4xf32>) -> (tensor<2x4xi8>, tensor<2x1xf32>, tensor<2x1xi32>)
  return %q : tensor<2x4xi8>
}

// -----

func.func @dynamic_shared(%x: tensor<3x4xf32>) -> tensor<3x4xi8> {
  // expected-error@+1 {{expected parameters with the leading dimensions of the operand, found 'tensor<1xf32>'}}
  %q, %s, %z = qtx.dynamic_quantize %x to !qtx.grouped<i8:f32, axis=-1, [4], ?> : (tensor<3x4xf32>) -> (tensor<3x4xi8>, tensor<1xf32>, tensor<1xi32>)
  return %q : tensor<3x4xi8>
}

// -----

//===----------------------------------------------------------------------===//
// permute
//===----------------------------------------------------------------------===//

func.func @permute_axis(%x: tensor<4x4xf32>, %p: tensor<4xi32>) -> tensor<4x4xf32> {
  // expected-error@+1 {{'qtx.permute' op expected an axis between -2 and -1, found 1}}
  %y = qtx.permute %x by %p axis 1 : (tensor<4x4xf32>, tensor<4xi32>) -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// -----

func.func @permute_shape(%x: tensor<4xf32>, %p: tensor<4xi32>) -> tensor<3xf32> {
  // expected-error@+1 {{expected operand and result of the same shape, found 'tensor<4xf32>' and 'tensor<3xf32>'}}
  %y = qtx.permute %x by %p : (tensor<4xf32>, tensor<4xi32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}

// -----

func.func @permute_size(%x: tensor<4xf32>, %p: tensor<3xi32>) -> tensor<4xf32> {
  // expected-error@+1 {{expected one index for each of the 4 channels, found 'tensor<3xi32>'}}
  %y = qtx.permute %x by %p : (tensor<4xf32>, tensor<3xi32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// The indices come from a block that is verified later: nothing is known of them.
func.func @permute_unverified(%x: tensor<4xf32>) -> tensor<4xf32> {
  cf.br ^constant
^use:
  %y = qtx.permute %x by %p : (tensor<4xf32>, tensor<4xi32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
^constant:
  // expected-error@+1 {{'arith.constant' op requires attribute 'value'}}
  %p = "arith.constant"() : () -> tensor<4xi32>
  cf.br ^use
}

// -----

func.func @permute_range(%x: tensor<3xf32>) -> tensor<3xf32> {
  %p = arith.constant dense<[0, 3, 1]> : tensor<3xi32>
  // expected-error@+1 {{expected constant indices to be a permutation, found index 3 outside [0, 3)}}
  %y = qtx.permute %x by %p : (tensor<3xf32>, tensor<3xi32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}

// -----

func.func @permute_twice(%x: tensor<3xf32>) -> tensor<3xf32> {
  %p = arith.constant dense<[0, 2, 2]> : tensor<3xi32>
  // expected-error@+1 {{expected constant indices to be a permutation, found index 2 twice}}
  %y = qtx.permute %x by %p : (tensor<3xf32>, tensor<3xi32>) -> tensor<3xf32>
  return %y : tensor<3xf32>
}

// -----

func.func @permute_element(%x: tensor<3xf32>, %p: tensor<3xi32>) -> tensor<3xi8> {
  // expected-error@+1 {{expected a result of element type 'f32', found 'i8'}}
  %y = qtx.permute %x by %p : (tensor<3xf32>, tensor<3xi32>) -> tensor<3xi8>
  return %y : tensor<3xi8>
}

// -----

!x = !qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5, 2.0}>
func.func @permute_ungrouped(%x: tensor<3x!x>, %p: tensor<3xi32>) -> tensor<3x!quant.uniform<i8:f32, 0.5>> {
  // expected-error@+1 {{expected the channels of the result to be grouped like those of '!qtx.grouped<i8:f32, axis=-1, [2, 1], {5.000000e-01, 2.000000e+00}>', found '!quant.uniform<i8:f32, 5.000000e-01>'}}
  %y = qtx.permute %x by %p : (tensor<3x!x>, tensor<3xi32>) -> tensor<3x!quant.uniform<i8:f32, 0.5>>
  return %y : tensor<3x!quant.uniform<i8:f32, 0.5>>
}

// -----

!x = !qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5, 2.0}>
func.func @permute_sum(%x: tensor<4x!x>, %p: tensor<4xi32>) -> tensor<4x!x> {
  // expected-error@+1 {{group sizes sum to 3, expected the size of the permuted axis}}
  %y = qtx.permute %x by %p : (tensor<4x!x>, tensor<4xi32>) -> tensor<4x!x>
  return %y : tensor<4x!x>
}

// -----

!x = !qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5, 2.0}>
func.func @permute_run_time(%x: tensor<3x!x>, %p: tensor<3xi32>) -> tensor<3x!x> {
  // expected-error@+1 {{requires constant indices for groups along the permuted axis}}
  %y = qtx.permute %x by %p : (tensor<3x!x>, tensor<3xi32>) -> tensor<3x!x>
  return %y : tensor<3x!x>
}

// -----

!x = !qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5, 2.0}>
func.func @permute_groups(%x: tensor<3x!x>) -> tensor<3x!x> {
  %p = arith.constant dense<[1, 2, 0]> : tensor<3xi32>
  // expected-error@+1 {{expected channel 1 of the result to have the parameters of channel 2 of the operand}}
  %y = qtx.permute %x by %p : (tensor<3x!x>, tensor<3xi32>) -> tensor<3x!x>
  return %y : tensor<3x!x>
}

// -----

!x = !qtx.grouped<i8:f32, axis=-1, [2, 1], ?>
func.func @permute_dynamic_groups(%x: tensor<3x!x>) -> tensor<3x!x> {
  %p = arith.constant dense<[1, 2, 0]> : tensor<3xi32>
  // expected-error@+1 {{expected group 0 of the result to take its channels from one group of the operand}}
  %y = qtx.permute %x by %p : (tensor<3x!x>, tensor<3xi32>) -> tensor<3x!x>
  return %y : tensor<3x!x>
}

// -----

//===----------------------------------------------------------------------===//
// observe
//===----------------------------------------------------------------------===//

func.func @observe_axis(%x: tensor<2x4xf32>, %r: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{'qtx.observe' op expected an axis between -2 and -1, found -3}}
  %a, %b = qtx.observe %x, %r, %r axis -3 : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %a : tensor<4xf32>
}

// -----

func.func @observe_range(%x: tensor<2x4xf32>, %r: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error@+1 {{expected one range for each of the 4 channels, found 'tensor<2xf32>'}}
  %a, %b = qtx.observe %x, %r, %r : (tensor<2x4xf32>, tensor<2xf32>, tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>)
  return %a : tensor<2xf32>
}

// -----

func.func @observe_mask(%x: tensor<2x4xf32>, %r: tensor<4xf32>, %m: tensor<4xi1>) -> tensor<4xf32> {
  // expected-error@+1 {{expected a mask with leading dimensions of the operand, found 'tensor<4xi1>'}}
  %a, %b = qtx.observe %x, %r, %r mask(%m) : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xi1>) -> (tensor<4xf32>, tensor<4xf32>)
  return %a : tensor<4xf32>
}

// -----

func.func @observe_momentum_missing(%x: tensor<2x4xf32>, %r: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{requires a momentum for a running observer}}
  %a, %b = qtx.observe %x, %r, %r observer running : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %a : tensor<4xf32>
}

// -----

func.func @observe_momentum_extra(%x: tensor<2x4xf32>, %r: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{expected a momentum only for a running observer}}
  %a, %b = qtx.observe %x, %r, %r momentum 0.5 : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %a : tensor<4xf32>
}

// -----

func.func @observe_momentum(%x: tensor<2x4xf32>, %r: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{expected a momentum in [0, 1), found 1.000000e+00}}
  %a, %b = qtx.observe %x, %r, %r observer running momentum 1.0 : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %a : tensor<4xf32>
}
