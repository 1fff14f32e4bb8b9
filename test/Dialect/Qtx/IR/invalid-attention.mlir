// RUN: qtx-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// attention
//===----------------------------------------------------------------------===//

func.func @query_rank(%q: tensor<4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{'qtx.attention' op expected 'query' of rank 4, found 'tensor<4x3x16xf32>'}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @key_heads(%q: tensor<1x4x3x16xf32>, %k: tensor<1x?x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected static, positive numbers of heads and channels of 'key', found 'tensor<1x?x5x16xf32>'}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x?x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @head_multiple(%q: tensor<1x4x3x16xf32>, %k: tensor<1x3x5x16xf32>, %v: tensor<1x3x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected the number of heads of 'query', 4, to be a multiple of that of 'key', 3}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x3x5x16xf32>, tensor<1x3x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @key_shape(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x8xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected 'key' of shape [1, 2, 5, 16], found 'tensor<1x2x5x8xf32>'}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @key_batch(%q: tensor<?x4x3x16xf32>, %k: tensor<2x2x5x8xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected 'key' of shape [?, 2, 5, 16], found}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<?x4x3x16xf32>, tensor<2x2x5x8xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @value_shape(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x6x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected 'value' of shape [1, 2, 5, 8], found 'tensor<1x2x6x8xf32>'}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x6x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @result_shape(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x16xf32> {
  // expected-error@+1 {{expected 'y' of shape [1, 4, 3, 8], found 'tensor<1x4x3x16xf32>'}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x16xf32>
  return %y : tensor<1x4x3x16xf32>
}

// -----

func.func @result_heads(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x?x3x8xf32> {
  // expected-error@+1 {{expected static, positive numbers of heads and channels of 'y', found 'tensor<1x?x3x8xf32>'}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x?x3x8xf32>
  return %y : tensor<1x?x3x8xf32>
}

// -----

func.func @mask_rank(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>, %e0: tensor<3x5xi1>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a mask of shape [1, 4, 3, 5], or with 1 in its first three dimensions, found 'tensor<3x5xi1>'}}
  %y = qtx.attention %q, %k, %v mask(%e0) scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>, tensor<3x5xi1>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @mask_keys(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>, %e0: tensor<1x1x1x1xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a mask of shape [1, 4, 3, 5], or with 1 in its first three dimensions, found 'tensor<1x1x1x1xf32>'}}
  %y = qtx.attention %q, %k, %v mask(%e0) scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>, tensor<1x1x1x1xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @offset_without_causal(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>, %e0: index) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected an offset only beside 'causal'}}
  %y = qtx.attention %q, %k, %v offset(%e0) scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>, index) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @scale(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a finite scale, found nan}}
  %y = qtx.attention %q, %k, %v scale 0x7FC00000
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @soft_cap(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a soft cap that is a positive, finite, normal f32 number, found 0.000000e+00}}
  %y = qtx.attention %q, %k, %v scale 0.25 soft_cap 0.0
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @soft_cap_negative(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a soft cap that is a positive, finite, normal f32 number, found -3.000000e+01}}
  %y = qtx.attention %q, %k, %v scale 0.25 soft_cap -30.0
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @both_sinks(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>, %e0: tensor<4xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected 'sink' or 'sink_logit', found both}}
  %y = qtx.attention %q, %k, %v scale 0.25 sink(%e0) sink_logit 0.0
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>, tensor<4xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @sink_shape(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>, %e0: tensor<2xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected 'sink' of shape [4], found 'tensor<2xf32>'}}
  %y = qtx.attention %q, %k, %v scale 0.25 sink(%e0)
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>, tensor<2xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @sink_logit(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a finite sink logit, found INF}}
  %y = qtx.attention %q, %k, %v scale 0.25 sink_logit 0x7F800000
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @gamma(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a finite gamma of at most 0, found 1.000000e-01}}
  %y = qtx.attention %q, %k, %v scale 0.25 clip [0.1, 1.0]
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @gamma_infinite(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a finite gamma of at most 0, found -INF}}
  %y = qtx.attention %q, %k, %v scale 0.25 clip [0xFF800000, 1.0]
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @zeta(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a finite zeta of at least 1, found 5.000000e-01}}
  %y = qtx.attention %q, %k, %v scale 0.25 clip [-0.1, 0.5]
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @zeta_nan(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a finite zeta of at least 1, found nan}}
  %y = qtx.attention %q, %k, %v scale 0.25 clip [-0.1, 0x7FC00000]
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @unnormalised_clip(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected no 'unnormalised' beside 'clip', which needs the final normaliser}}
  %y = qtx.attention %q, %k, %v scale 0.25 clip [-0.1, 1.0] unnormalised
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @gate_shape(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>, %e0: tensor<1x4xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a gate of shape [1, 4, 3] or [1, 4, 3, 8], found 'tensor<1x4xf32>'}}
  %y = qtx.attention %q, %k, %v scale 0.25 gate(%e0)
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>, tensor<1x4xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @gain_alone(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a gain only beside a gate}}
  %y = qtx.attention %q, %k, %v scale 0.25 gain 2.0
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @gain(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>, %e0: tensor<1x4x3xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected a finite gain, found INF}}
  %y = qtx.attention %q, %k, %v scale 0.25 gate(%e0) gain 0x7F800000
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>, tensor<1x4x3xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @bare_integers(%q: tensor<1x4x3x16xi8>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected 'query_quant' for the storage integers of 'query', found none}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16xi8>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @key_axis(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16x!qtx.grouped<i8:f32, axis=-1, [8 * 2], {0.1, 0.2}>>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected the groups of 'key' along axis -3, found axis -1}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16x!qtx.grouped<i8:f32, axis=-1, [8 * 2], {0.1, 0.2}>>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @value_axis(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8x!qtx.grouped<i8:f32, axis=-2, [3, 2], {0.1, 0.2}>>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected the groups of 'value' along axis -3 or -1, found axis -2}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8x!qtx.grouped<i8:f32, axis=-2, [3, 2], {0.1, 0.2}>>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @scores_axis(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected the groups of 'scores' along axis -3, found axis -1}}
  %y = qtx.attention %q, %k, %v scale 0.25 scores !qtx.grouped<i8:f32, axis=-1, [3, 2], {0.1, 0.2}>
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @probs_dynamic(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{expected compile-time parameters of 'probs', found '!qtx.grouped<i8:f32, axis=-3, [1 * 4], ?>'}}
  %y = qtx.attention %q, %k, %v scale 0.25 probs !qtx.grouped<i8:f32, axis=-3, [1 * 4], ?>
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @context_groups(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{group sizes sum to 9, expected the size of dimension 3, 8}}
  %y = qtx.attention %q, %k, %v scale 0.25 context !qtx.grouped<i8:f32, axis=-1, [4, 5], {0.1, 0.2}>
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @probs_scale(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x5x16xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{zero point 200 is outside the storage range [-128, 127]}}
  %y = qtx.attention %q, %k, %v scale 0.25 probs !quant.uniform<i8:f32, 0.5:200>
      : (tensor<1x4x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @scores_accumulator(%q: tensor<1x4x3x40000x!quant.uniform<i8:f32, 0.5>>, %k: tensor<1x2x5x40000x!quant.uniform<i8:f32, 0.5>>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{int32 accumulator of the scores may overflow: expected at most 33025 products, found 40000}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x40000x!quant.uniform<i8:f32, 0.5>>, tensor<1x2x5x40000x!quant.uniform<i8:f32, 0.5>>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @context_accumulator(%q: tensor<1x4x3x16xf32>, %k: tensor<1x2x40000x16xf32>, %v: tensor<1x2x40000x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{int32 accumulator of the context may overflow: expected at most 33025 products, found 40000}}
  %y = qtx.attention %q, %k, %v scale 0.25 probs !quant.uniform<u8:f32, 0.5>
      : (tensor<1x4x3x16xf32>, tensor<1x2x40000x16xf32>, tensor<1x2x40000x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

func.func @wide_accumulator(%q: tensor<1x4x3x16x!quant.uniform<i32:f32, 0.5>>, %k: tensor<1x2x5x16x!quant.uniform<i32:f32, 0.5>>, %v: tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32> {
  // expected-error@+1 {{int32 accumulator of the scores may overflow: expected at most 0 products, found 16}}
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<1x4x3x16x!quant.uniform<i32:f32, 0.5>>, tensor<1x2x5x16x!quant.uniform<i32:f32, 0.5>>, tensor<1x2x5x8xf32>) -> tensor<1x4x3x8xf32>
  return %y : tensor<1x4x3x8xf32>
}

// -----

//===----------------------------------------------------------------------===//
// softmax and clipped_softmax
//===----------------------------------------------------------------------===//

func.func @softmax_rank(%x: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{'qtx.softmax' op expected a tensor of rank 1 or more, found 'tensor<f32>'}}
  %y = qtx.softmax %x : tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @clipped_rank(%x: tensor<f32>) -> tensor<f32> {
  // expected-error@+1 {{'qtx.clipped_softmax' op expected a tensor of rank 1 or more, found 'tensor<f32>'}}
  %y = qtx.clipped_softmax %x clip [-0.1, 1.0] : tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @clipped_gamma(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{expected a finite gamma of at most 0, found 1.000000e-01}}
  %y = qtx.clipped_softmax %x clip [0.1, 1.0] : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func @clipped_stretch(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{expected a finite zeta - gamma, found zeta 3.000000e+38 and gamma -3.000000e+38}}
  %y = qtx.clipped_softmax %x clip [-3.0e38, 3.0e38] : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func @clipped_zeta(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{expected a finite zeta of at least 1, found 9.000000e-01}}
  %y = qtx.clipped_softmax %x clip [-0.1, 0.9] : tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

//===----------------------------------------------------------------------===//
// gate_projection
//===----------------------------------------------------------------------===//

func.func @gate_dynamic_weight(%x: tensor<1x3x8xf32>, %w: tensor<2x?xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{'qtx.gate_projection' op expected weights and biases of static shape, found 'tensor<2x?xf32>'}}
  %y = qtx.gate_projection linear %x weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<2x?xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_bias(%x: tensor<1x3x8xf32>, %w: tensor<2x4xf32>, %b: tensor<2x1xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected a bias of shape [H], one value per head, found 'tensor<2x1xf32>'}}
  %y = qtx.gate_projection linear %x weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_x(%x: tensor<1x3x?xf32>, %w: tensor<2x4xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected 'x' of shape [B, S, d] with a static d, found 'tensor<1x3x?xf32>'}}
  %y = qtx.gate_projection linear %x weight(%w) bias(%b)
      : (tensor<1x3x?xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_channels(%x: tensor<1x3x8xf32>, %w: tensor<3x4xf32>, %b: tensor<3xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected the channels of 'x' to be a multiple of 3, the number of heads, found 8}}
  %y = qtx.gate_projection linear %x weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_weight(%x: tensor<1x3x8xf32>, %w: tensor<2x8xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected 'weight' of shape [2, 4], found 'tensor<2x8xf32>'}}
  %y = qtx.gate_projection linear %x weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<2x8xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_weight_all_heads(%x: tensor<1x3x8xf32>, %w: tensor<2x4xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected 'weight' of shape [2, 8], found 'tensor<2x4xf32>'}}
  %y = qtx.gate_projection all_heads %x weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_no_hidden(%x: tensor<1x3x8xf32>, %w: tensor<2x4xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{requires a hidden weight and bias for an mlp gate}}
  %y = qtx.gate_projection mlp %x weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_hidden(%x: tensor<1x3x8xf32>, %hw: tensor<2x3x4xf32>, %hb: tensor<2x3xf32>, %w: tensor<2x4xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected a hidden weight and bias only for an mlp gate}}
  %y = qtx.gate_projection linear %x hidden(%hw, %hb) weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_hidden_weight(%x: tensor<1x3x8xf32>, %hw: tensor<2x3x8xf32>, %hb: tensor<2x3xf32>, %w: tensor<2x3xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected 'hidden_weight' of shape [2, 3, 4], found 'tensor<2x3x8xf32>'}}
  %y = qtx.gate_projection mlp %x hidden(%hw, %hb) weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<2x3x8xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_hidden_bias(%x: tensor<1x3x8xf32>, %hw: tensor<2x3x4xf32>, %hb: tensor<2x4xf32>, %w: tensor<2x3xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected 'hidden_bias' of shape [2, 3], found 'tensor<2x4xf32>'}}
  %y = qtx.gate_projection mlp %x hidden(%hw, %hb) weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<2x3x4xf32>, tensor<2x4xf32>, tensor<2x3xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_logits(%x: tensor<1x3x8xf32>, %w: tensor<2x4xf32>, %b: tensor<2xf32>) -> tensor<1x3x2xf32> {
  // expected-error@+1 {{expected 'logits' of shape [1, 2, 3], found 'tensor<1x3x2xf32>'}}
  %y = qtx.gate_projection linear %x weight(%w) bias(%b)
      : (tensor<1x3x8xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}

// -----

func.func @gate_integers(%x: tensor<1x3x8xi8>, %w: tensor<2x4xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected 'x_quant' for the storage integers of 'x', found none}}
  %y = qtx.gate_projection linear %x weight(%w) bias(%b)
      : (tensor<1x3x8xi8>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

func.func @gate_axis(%x: tensor<1x3x8x!qtx.grouped<i8:f32, axis=-2, [1, 2], {0.1, 0.2}>>, %w: tensor<2x4xf32>, %b: tensor<2xf32>) -> tensor<1x2x3xf32> {
  // expected-error@+1 {{expected the groups of 'x' along axis -1, found axis -2}}
  %y = qtx.gate_projection linear %x weight(%w) bias(%b)
      : (tensor<1x3x8x!qtx.grouped<i8:f32, axis=-2, [1, 2], {0.1, 0.2}>>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}

// -----

//===----------------------------------------------------------------------===//
// split_heads and merge_heads
//===----------------------------------------------------------------------===//

func.func @split_channels(%x: tensor<2x3x8xf32>) -> tensor<2x3x3x3xf32> {
  // expected-error@+1 {{'qtx.split_heads' op expected shapes [B, S, d] and [B, H, S, d / H] with static d and H, found 'tensor<2x3x8xf32>' and 'tensor<2x3x3x3xf32>'}}
  %y = qtx.split_heads %x : tensor<2x3x8xf32> -> tensor<2x3x3x3xf32>
  return %y : tensor<2x3x3x3xf32>
}

// -----

func.func @merge_dynamic(%x: tensor<2x?x3x4xf32>) -> tensor<2x3x8xf32> {
  // expected-error@+1 {{'qtx.merge_heads' op expected shapes [B, S, d] and [B, H, S, d / H] with static d and H, found 'tensor<2x3x8xf32>' and 'tensor<2x?x3x4xf32>'}}
  %y = qtx.merge_heads %x : tensor<2x?x3x4xf32> -> tensor<2x3x8xf32>
  return %y : tensor<2x3x8xf32>
}

// -----

func.func @split_groups(%x: tensor<2x3x8x!qtx.grouped<i8:f32, axis=-1, [3, 5], {0.5, 0.25}>>) -> tensor<2x2x3x4x!qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5, 0.25}>> {
  // expected-error@+1 {{'qtx.split_heads' op expected element types with the same parameters for every element, found 'tensor<2x3x8x!qtx.grouped<i8:f32, axis=-1, [3, 5], {5.000000e-01, 2.500000e-01}>>' and 'tensor<2x2x3x4x!qtx.grouped<i8:f32, axis=-3, [1 * 2], {5.000000e-01, 2.500000e-01}>>'}}
  %y = qtx.split_heads %x : tensor<2x3x8x!qtx.grouped<i8:f32, axis=-1, [3, 5], {0.5, 0.25}>> -> tensor<2x2x3x4x!qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5, 0.25}>>
  return %y : tensor<2x2x3x4x!qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5, 0.25}>>
}

// -----

func.func @merge_queries(%x: tensor<2x2x3x4x!qtx.grouped<i8:f32, axis=-2, [1, 2], {0.5, 0.25}>>) -> tensor<2x3x8x!quant.uniform<i8:f32, 0.5>> {
  // expected-error@+1 {{'qtx.merge_heads' op expected element types with the same parameters for every element, found 'tensor<2x3x8x!quant.uniform<i8:f32, 5.000000e-01>>' and 'tensor<2x2x3x4x!qtx.grouped<i8:f32, axis=-2, [1, 2], {5.000000e-01, 2.500000e-01}>>'}}
  %y = qtx.merge_heads %x : tensor<2x2x3x4x!qtx.grouped<i8:f32, axis=-2, [1, 2], {0.5, 0.25}>> -> tensor<2x3x8x!quant.uniform<i8:f32, 0.5>>
  return %y : tensor<2x3x8x!quant.uniform<i8:f32, 0.5>>
}

// -----

// The product of heads and their channels does not fit 64 bits.
func.func @split_overflow(%x: tensor<?x?x0xf32>) {
  // expected-error@+1 {{expected shapes [B, S, d] and [B, H, S, d / H] with static d and H}}
  %y = qtx.split_heads %x : tensor<?x?x0xf32> -> tensor<?x4294967296x?x4294967296xf32>
  return
}

// -----

// More groups than any type has.
func.func @split_many(%x: tensor<1x1x4000000000x!quant.uniform<i8:f32, 0.5>>) {
  // expected-error@+1 {{expected element types with the same parameters for every element}}
  %y = qtx.split_heads %x : tensor<1x1x4000000000x!quant.uniform<i8:f32, 0.5>>
      -> tensor<1x2000000000x1x2x!qtx.grouped<i8:f32, axis=-1, [1 * 2], {0.5, 0.25}>>
  return
}
