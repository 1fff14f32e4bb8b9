// RUN: qtx-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

func.func @result_shape(%x: tensor<2x8xf32>) -> tensor<3x8xf32> {
  // expected-error@+1 {{'qtx.gelu' op expected a result of shape [2, 8], found 'tensor<3x8xf32>'}}
  %y = qtx.gelu %x : (tensor<2x8xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

func.func @embedding_shape(%t: tensor<9x4xf32>, %i: tensor<?xi32>) -> tensor<?x5xf32> {
  // expected-error@+1 {{'qtx.embedding' op expected a result of shape [?, 4], found 'tensor<?x5xf32>'}}
  %y = qtx.embedding %t, %i : (tensor<9x4xf32>, tensor<?xi32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// -----

func.func @operand_type(%x: f32) -> tensor<2xf32> {
  // expected-error@+1 {{'qtx.relu' op operand #0 must be ranked tensor of f32, storage integer or quantized element type values, but got 'f32'}}
  %y = qtx.relu %x : (f32) -> tensor<2xf32>
  return %y : tensor<2xf32>
}

// -----

func.func @x_without_type(%x: tensor<2xi8>) -> tensor<2xf32> {
  // expected-error@+1 {{'qtx.silu' op expected 'x_quant' for the storage integers of 'x', found none}}
  %y = qtx.silu %x : (tensor<2xi8>) -> tensor<2xf32>
  return %y : tensor<2xf32>
}

// -----

func.func @y_without_type(%x: tensor<2xf32>) -> tensor<2xi8> {
  // expected-error@+1 {{'qtx.gelu' op expected 'y_quant' for the storage integers of 'y', found none}}
  %y = qtx.gelu %x : (tensor<2xf32>) -> tensor<2xi8>
  return %y : tensor<2xi8>
}

// -----

//===----------------------------------------------------------------------===//
// layer_norm, rms_norm, scale_shift
//===----------------------------------------------------------------------===//

func.func @dynamic_row(%x: tensor<2x?xf32>) -> tensor<2x?xf32> {
  // expected-error@+1 {{'qtx.layer_norm' op expected an 'x' whose last dimension is static, found 'tensor<2x?xf32>'}}
  %y = qtx.layer_norm %x epsilon 1.0e-5 : (tensor<2x?xf32>) -> tensor<2x?xf32>
  return %y : tensor<2x?xf32>
}

// -----

func.func @scalar_row(%x: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{'qtx.rms_norm' op expected an 'x' whose last dimension is static, found 'tensor<f32>'}}
  %y = qtx.rms_norm %x epsilon 1.0e-5 : (tensor<f32>) -> tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @scale_shift_dynamic_row(%x: tensor<2x?xf32>, %g: tensor<8xf32>) -> tensor<2x?xf32> {
  // expected-error@+1 {{'qtx.scale_shift' op expected an 'x' whose last dimension is static, found 'tensor<2x?xf32>'}}
  %y = qtx.scale_shift %x gain(%g) shift(%g) : (tensor<2x?xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x?xf32>
  return %y : tensor<2x?xf32>
}

// -----

func.func @gain_shape(%x: tensor<2x8xf32>, %g: tensor<4xf32>, %s: tensor<8xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{'qtx.scale_shift' op expected 'gain' of shape [8], found 'tensor<4xf32>'}}
  %y = qtx.scale_shift %x gain(%g) shift(%s) : (tensor<2x8xf32>, tensor<4xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @shift_shape(%x: tensor<2x8xf32>, %g: tensor<8xf32>, %s: tensor<1x8xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{'qtx.scale_shift' op expected 'shift' of shape [8], found 'tensor<1x8xf32>'}}
  %y = qtx.scale_shift %x gain(%g) shift(%s) : (tensor<2x8xf32>, tensor<8xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @epsilon_zero(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{'qtx.layer_norm' op expected a positive, finite epsilon, found 0.000000e+00 : f32}}
  %y = qtx.layer_norm %x epsilon 0.0 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @epsilon_infinite(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{'qtx.rms_norm' op expected a positive, finite epsilon, found 0x7F800000 : f32}}
  %y = qtx.rms_norm %x epsilon 0x7F800000 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @gamma_shape(%x: tensor<2x8xf32>, %g: tensor<4xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{'qtx.layer_norm' op expected 'gamma' of shape [8], found 'tensor<4xf32>'}}
  %y = qtx.layer_norm %x gamma(%g) epsilon 1.0e-5 : (tensor<2x8xf32>, tensor<4xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @beta_shape(%x: tensor<2x8xf32>, %b: tensor<1x8xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{'qtx.layer_norm' op expected 'beta' of shape [8], found 'tensor<1x8xf32>'}}
  %y = qtx.layer_norm %x beta(%b) epsilon 1.0e-5 : (tensor<2x8xf32>, tensor<1x8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

//===----------------------------------------------------------------------===//
// add
//===----------------------------------------------------------------------===//

func.func @add_shapes(%x: tensor<2x8xf32>, %h: tensor<2xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{'qtx.add' op expected 'rhs' to have the shape of 'lhs' or its trailing dimensions, found 'tensor<2x8xf32>' and 'tensor<2xf32>'}}
  %y = qtx.add %x, %h : (tensor<2x8xf32>, tensor<2xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

func.func @add_result(%x: tensor<2x8xf32>) -> tensor<3x8xf32> {
  // expected-error@+1 {{'qtx.add' op expected a result of shape [2, 8], found 'tensor<3x8xf32>'}}
  %y = qtx.add %x, %x : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

func.func @add_wider_rhs(%x: tensor<8xf32>, %h: tensor<2x8xf32>) -> tensor<8xf32> {
  // expected-error@+1 {{expected 'rhs' to have the shape of 'lhs' or its trailing dimensions, found 'tensor<8xf32>' and 'tensor<2x8xf32>'}}
  %y = qtx.add %x, %h : (tensor<8xf32>, tensor<2x8xf32>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

func.func @add_rhs_without_type(%x: tensor<8xf32>, %h: tensor<8xi8>) -> tensor<8xf32> {
  // expected-error@+1 {{'qtx.add' op expected 'rhs_quant' for the storage integers of 'rhs', found none}}
  %y = qtx.add %x, %h : (tensor<8xf32>, tensor<8xi8>) -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

//===----------------------------------------------------------------------===//
// embedding
//===----------------------------------------------------------------------===//

func.func @table_rank(%t: tensor<9xf32>, %i: tensor<2xi32>) -> tensor<2x?xf32> {
  // expected-error@+1 {{'qtx.embedding' op expected a table of static shape [V, d] with at least one row, found 'tensor<9xf32>'}}
  %y = qtx.embedding %t, %i : (tensor<9xf32>, tensor<2xi32>) -> tensor<2x?xf32>
  return %y : tensor<2x?xf32>
}

// -----

func.func @table_empty(%t: tensor<0x4xf32>, %i: tensor<2xi32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected a table of static shape [V, d] with at least one row, found 'tensor<0x4xf32>'}}
  %y = qtx.embedding %t, %i : (tensor<0x4xf32>, tensor<2xi32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @table_without_scale(%t: tensor<9x4xi8>, %i: tensor<2xi32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{'qtx.embedding' op requires a table scale for an integer table}}
  %y = qtx.embedding %t, %i : (tensor<9x4xi8>, tensor<2xi32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @float_table_with_scale(%t: tensor<9x4xf32>, %s: tensor<9xf32>, %i: tensor<2xi32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{'qtx.embedding' op expected no table scale for a float table}}
  %y = qtx.embedding %t scale(%s), %i : (tensor<9x4xf32>, tensor<9xf32>, tensor<2xi32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @table_scale_shape(%t: tensor<9x4xi8>, %s: tensor<4xf32>, %i: tensor<2xi32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{'qtx.embedding' op expected table scales of shape [1] or [9], found 'tensor<4xf32>'}}
  %y = qtx.embedding %t scale(%s), %i : (tensor<9x4xi8>, tensor<4xf32>, tensor<2xi32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
