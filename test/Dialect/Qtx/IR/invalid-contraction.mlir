// RUN: qtx-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

func.func @weight_rank(%x: tensor<2x8xf32>, %w: tensor<4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{'qtx.linear' op expected a weight of static shape [N, K], found 'tensor<4xf32>'}}
  %y = qtx.linear %x, %w : (tensor<2x8xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @weight_dynamic(%x: tensor<2x8xf32>, %w: tensor<4x?xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected a weight of static shape [N, K], found 'tensor<4x?xf32>'}}
  %y = qtx.linear %x, %w : (tensor<2x8xf32>, tensor<4x?xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @contracted(%x: tensor<2x7xf32>, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected the last dimension of 'x' to be 8, the contracted size of the weight, found 'tensor<2x7xf32>'}}
  %y = qtx.linear %x, %w : (tensor<2x7xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @scalar(%x: tensor<f32>, %w: tensor<4x8xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{expected the last dimension of 'x' to be 8, the contracted size of the weight, found 'tensor<f32>'}}
  %y = qtx.linear %x, %w : (tensor<f32>, tensor<4x8xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func @result(%x: tensor<2x?x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x?x5xf32> {
  // expected-error@+1 {{expected a result of shape [2, ?, 4], found 'tensor<2x?x5xf32>'}}
  %y = qtx.linear %x, %w : (tensor<2x?x8xf32>, tensor<4x8xf32>) -> tensor<2x?x5xf32>
  return %y : tensor<2x?x5xf32>
}

// -----

func.func @result_rank(%x: tensor<8xf32>, %w: tensor<4x8xf32>) -> tensor<f32> {
  // expected-error@+1 {{expected a result of shape [4], found 'tensor<f32>'}}
  %y = qtx.linear %x, %w : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @bare_integers(%x: tensor<2x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected 'x_quant' for the storage integers of 'x', found none}}
  %y = qtx.linear %x, %w scale(%s) : (tensor<2x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @bare_result(%x: tensor<2x8xf32>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<2x4xi8> {
  // expected-error@+1 {{expected 'y_quant' for the storage integers of 'y', found none}}
  %y = qtx.linear %x, %w scale(%s) : (tensor<2x8xf32>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<2x4xi8>
  return %y : tensor<2x4xi8>
}

// -----

func.func @group_axis(%x: tensor<4x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<4x4xf32> {
  // expected-error@+1 {{expected the groups of 'x' along axis -1, found axis -2}}
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-2, [2, 2], {0.5, 1.0}>, %w scale(%s)
      : (tensor<4x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// -----

func.func @result_group_axis(%x: tensor<4x8xf32>, %w: tensor<4x8xf32>) -> tensor<4x4xi8> {
  // expected-error@+1 {{expected the groups of 'y' along axis -1, found axis -2}}
  %y = qtx.linear %x, %w to !qtx.grouped<i8:f32, axis=-2, [2, 2], {0.5, 1.0}>
      : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x4xi8>
  return %y : tensor<4x4xi8>
}

// -----

func.func @weight_scale_missing(%x: tensor<2x8xf32>, %w: tensor<4x8xi8>) -> tensor<2x4xf32> {
  // expected-error@+1 {{requires a weight scale for an integer weight}}
  %y = qtx.linear %x, %w : (tensor<2x8xf32>, tensor<4x8xi8>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @weight_scale_extra(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>, %s: tensor<4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected no weight scale for a float weight}}
  %y = qtx.linear %x, %w scale(%s) : (tensor<2x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @weight_block_extra(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected no weight block for a float weight}}
  %y = qtx.linear %x, %w block 4 : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @weight_block_zero(%x: tensor<2x8xf32>, %w: tensor<4x8xi8>, %s: tensor<4x2xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected a positive weight block, found 0}}
  %y = qtx.linear %x, %w scale(%s) block 0 : (tensor<2x8xf32>, tensor<4x8xi8>, tensor<4x2xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @weight_block_scales(%x: tensor<2x8xf32>, %w: tensor<4x8xi8>, %s: tensor<4x2xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected weight scales of shape [4, 3], found 'tensor<4x2xf32>'}}
  %y = qtx.linear %x, %w scale(%s) block 3 : (tensor<2x8xf32>, tensor<4x8xi8>, tensor<4x2xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @weight_scales(%x: tensor<2x8xf32>, %w: tensor<4x8xi8>, %s: tensor<8xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected weight scales of shape [1] or [4], found 'tensor<8xf32>'}}
  %y = qtx.linear %x, %w scale(%s) : (tensor<2x8xf32>, tensor<4x8xi8>, tensor<8xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @bias(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>, %b: tensor<8xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected a bias of shape [4] or of the shape of the result, found 'tensor<8xf32>'}}
  %y = qtx.linear %x, %w bias(%b) : (tensor<2x8xf32>, tensor<4x8xf32>, tensor<8xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @seed_float(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>, %c: tensor<1x4xi32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected no seed for a float 'x'}}
  %y = qtx.linear %x, %w seed(%c) : (tensor<2x8xf32>, tensor<4x8xf32>, tensor<1x4xi32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @seed_shape(%x: tensor<2x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>, %c: tensor<1x4xi32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected a seed of shape [2, 4], found 'tensor<1x4xi32>'}}
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.5, 1.0}>, %w scale(%s) seed(%c)
      : (tensor<2x8xi8>, tensor<4x8xi8>, tensor<4xf32>, tensor<1x4xi32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @float_weight(%x: tensor<2x8xi8>, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected an integer weight for a quantized 'x', found 'f32'}}
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w : (tensor<2x8xi8>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @accumulator(%x: tensor<65794xi8>, %w: tensor<4x65794xi8>, %s: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{int32 accumulator may overflow: expected at most 65793 channels in a segment of the contracted axis, found 65794}}
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<65794xi8>, tensor<4x65794xi8>, tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func @accumulator_wide(%x: tensor<8xi32>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{int32 accumulator may overflow: expected at most 0 channels in a segment of the contracted axis, found 8}}
  %y = qtx.linear %x as !quant.uniform<i32:f32, 0.5>, %w scale(%s) : (tensor<8xi32>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}
