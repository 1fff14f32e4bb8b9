// RUN: qtx-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

func.func @weight_rank(%x: tensor<2x8xf32>, %w: tensor<4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{'qtx.linear' op expected a weight of shape [N, K] with a static K, found 'tensor<4xf32>'}}
  %y = qtx.linear %x, %w : (tensor<2x8xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

func.func @weight_dynamic(%x: tensor<2x8xf32>, %w: tensor<4x?xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected a weight of shape [N, K] with a static K, found 'tensor<4x?xf32>'}}
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

func.func @weight_blocks(%x: tensor<2x9223372036854775807xf32>, %w: tensor<4x9223372036854775807xi8>, %s: tensor<4x9223372036854775807xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected at most 65536 weight blocks along the contracted axis, found 9223372036854775807}}
  %y = qtx.linear %x, %w scale(%s) block 1
      : (tensor<2x9223372036854775807xf32>, tensor<4x9223372036854775807xi8>, tensor<4x9223372036854775807xf32>) -> tensor<2x4xf32>
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

// -----

func.func @dynamic_output(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x?xf32> {
  // expected-error@+1 {{expected a result of shape [2, 4], found 'tensor<2x?xf32>'}}
  %y = qtx.linear %x, %w : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x?xf32>
  return %y : tensor<2x?xf32>
}

// -----

//===----------------------------------------------------------------------===//
// batch_matmul
//===----------------------------------------------------------------------===//

func.func @rank(%a: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<f32> {
  // expected-error@+1 {{'qtx.batch_matmul' op expected operands of the same rank, at least 2, found 'tensor<8xf32>' and 'tensor<8xf32>'}}
  %y = qtx.batch_matmul %a, %b : (tensor<8xf32>, tensor<8xf32>) -> tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @ranks(%a: tensor<2x4x8xf32>, %b: tensor<8x4xf32>) -> tensor<2x4x4xf32> {
  // expected-error@+1 {{expected operands of the same rank, at least 2, found 'tensor<2x4x8xf32>' and 'tensor<8x4xf32>'}}
  %y = qtx.batch_matmul %a, %b : (tensor<2x4x8xf32>, tensor<8x4xf32>) -> tensor<2x4x4xf32>
  return %y : tensor<2x4x4xf32>
}

// -----

func.func @batch(%a: tensor<2x4x8xf32>, %b: tensor<3x8x4xf32>) -> tensor<2x4x4xf32> {
  // expected-error@+1 {{expected equal batch dimensions, found 'tensor<2x4x8xf32>' and 'tensor<3x8x4xf32>'}}
  %y = qtx.batch_matmul %a, %b : (tensor<2x4x8xf32>, tensor<3x8x4xf32>) -> tensor<2x4x4xf32>
  return %y : tensor<2x4x4xf32>
}

// -----

func.func @batch_contracted(%a: tensor<2x4x8xf32>, %b: tensor<2x8x5xf32>) -> tensor<2x4x8xf32> {
  // expected-error@+1 {{expected contracted dimensions of the same size, found 8 and 5}}
  %y = qtx.batch_matmul %a, %b transpose_b : (tensor<2x4x8xf32>, tensor<2x8x5xf32>) -> tensor<2x4x8xf32>
  return %y : tensor<2x4x8xf32>
}

// -----

func.func @batch_result(%a: tensor<2x4x8xf32>, %b: tensor<2x8x5xf32>) -> tensor<2x5x4xf32> {
  // expected-error@+1 {{expected a result of shape [2, 4, 5], found 'tensor<2x5x4xf32>'}}
  %y = qtx.batch_matmul %a, %b : (tensor<2x4x8xf32>, tensor<2x8x5xf32>) -> tensor<2x5x4xf32>
  return %y : tensor<2x5x4xf32>
}

// -----

func.func @batch_bare(%a: tensor<4x8xi8>, %b: tensor<8x5xi8>) -> tensor<4x5xf32> {
  // expected-error@+1 {{expected 'a_quant' for the storage integers of 'a', found none}}
  %y = qtx.batch_matmul %a, %b : (tensor<4x8xi8>, tensor<8x5xi8>) -> tensor<4x5xf32>
  return %y : tensor<4x5xf32>
}

// -----

func.func @batch_mixed(%a: tensor<4x8xf32>, %b: tensor<8x5xi8>) -> tensor<4x5xf32> {
  // expected-error@+1 {{expected both operands float or both quantized, found 'tensor<4x8xf32>' and 'tensor<8x5xi8>'}}
  %y = qtx.batch_matmul %a, %b as !quant.uniform<i8:f32, 0.5> : (tensor<4x8xf32>, tensor<8x5xi8>) -> tensor<4x5xf32>
  return %y : tensor<4x5xf32>
}

// -----

func.func @batch_rows(%a: tensor<4x8xi8>, %b: tensor<8x5xi8>) -> tensor<4x5xf32> {
  // expected-error@+1 {{expected the groups of 'a' along the contracted axis or a batch axis, found axis -2}}
  %y = qtx.batch_matmul %a as !qtx.grouped<i8:f32, axis=-2, [2, 2], {0.5, 1.0}>, %b as !quant.uniform<i8:f32, 0.5>
      : (tensor<4x8xi8>, tensor<8x5xi8>) -> tensor<4x5xf32>
  return %y : tensor<4x5xf32>
}

// -----

func.func @batch_positions(%a: tensor<4x8xi8>, %b: tensor<8x5xi8>, %s: tensor<8x2xf32>) -> tensor<4x5xf32> {
  // expected-error@+1 {{expected run-time parameters of 'b' of shape [2], since its groups are not along the contracted axis, found 'tensor<8x2xf32>'}}
  %y = qtx.batch_matmul %a as !quant.uniform<i8:f32, 0.5>, %b scale(%s) as !qtx.grouped<i8:f32, axis=-1, [3, 2], ?>
      : (tensor<4x8xi8>, tensor<8x5xi8>, tensor<8x2xf32>) -> tensor<4x5xf32>
  return %y : tensor<4x5xf32>
}

// -----

func.func @batch_accumulator(%a: tensor<4x33026xi8>, %b: tensor<33026x5xi8>) -> tensor<4x5xf32> {
  // expected-error@+1 {{int32 accumulator may overflow: expected at most 33025 channels in a segment of the contracted axis, found 33026}}
  %y = qtx.batch_matmul %a as !quant.uniform<i8:f32, 0.5>, %b as !quant.uniform<i8:f32, 0.5>
      : (tensor<4x33026xi8>, tensor<33026x5xi8>) -> tensor<4x5xf32>
  return %y : tensor<4x5xf32>
}

// -----

func.func @join_float(%x: tensor<?x8xf32>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{expected static scales of 'x' for an integer join, found a float 'x'}}
  %y = qtx.linear %x, %w scale(%s) integer_join : (tensor<?x8xf32>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @join_run_time(%x: tensor<?x8xi8>, %xs: tensor<2xf32>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{expected static scales of 'x' for an integer join, found run-time scales}}
  %y = qtx.linear %x scale(%xs) as !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>, %w scale(%s) integer_join
      : (tensor<?x8xi8>, tensor<2xf32>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @join_blocks(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4x2xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{expected no weight block for an integer join, found 4}}
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.5, 1.0}>, %w scale(%s) block 4 integer_join
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4x2xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @join_multiples(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{expected each scale of 'x' to be an integer multiple of the next smaller one, at most 65536 times it, for an integer join, found 3.000000e+00 and 2.000000e+00}}
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [4, 2, 2], {2.0, 3.0, 1.0}>, %w scale(%s) integer_join
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @join_far(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{at most 65536 times it, for an integer join, found 1.310720e+05 and 1.000000e+00}}
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [6, 2], {1.0, 131072.0}>, %w scale(%s) integer_join
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @join_accumulator(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{int32 accumulator may overflow: expected at most 65793 channels, each as often as its scale is a multiple of the smallest, found 65794}}
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [6, 2], {1.0, 32894.0}>, %w scale(%s) integer_join
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @join_saturates(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{a multiple of the smallest, found 36893}}
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [1 * 8], {1.0e-12, 6.5536e-8, 4.294967296e-3, 2.81474976710656e2, 1.0e-12, 1.0e-12, 1.8446744073709552e7, 1.2089258196146292e12}>, %w scale(%s) integer_join
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
