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
