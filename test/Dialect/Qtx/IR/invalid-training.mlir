// RUN: qtx-opt %s --split-input-file --verify-diagnostics

//===----------------------------------------------------------------------===//
// fake_quantize
//===----------------------------------------------------------------------===//

func.func @bits_one(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected a grid of 2 to 16 bits, found 1}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 1 signed : tensor<4x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @bits_seventeen(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected a grid of 2 to 16 bits, found 17}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 17 unsigned : tensor<4x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @axis_range(%x: tensor<4x8xf32>, %s: tensor<4xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op axis 2 is out of range for a tensor of rank 2}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed axis 2 : tensor<4x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @axis_negative(%x: tensor<4x8xf32>, %s: tensor<4xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op axis -3 is out of range for a tensor of rank 2}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed axis -3 : tensor<4x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @scale_shape(%x: tensor<4x8xf32>, %s: tensor<4xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected a scale of shape [1], found 'tensor<4xf32>'}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed : tensor<4x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @scale_shape_channels(%x: tensor<4x8xf32>, %s: tensor<4xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected a scale of shape [8], found 'tensor<4xf32>'}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed axis 1 : tensor<4x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @scale_shape_dynamic(%x: tensor<?x8xf32>, %s: tensor<4xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected a scale of shape [?], found 'tensor<4xf32>'}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed axis 0 : tensor<?x8xf32>, tensor<4xf32>
  return
}

// -----

func.func @scale_zero(%x: tensor<2x8xf32>) {
  %s = arith.constant dense<[0.5, 0.0]> : tensor<2xf32>
  // expected-error@+1 {{'qtx.fake_quantize' op expected positive and finite scales, found 0}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed axis 0 : tensor<2x8xf32>, tensor<2xf32>
  return
}

// -----

func.func @scale_nan(%x: tensor<2x8xf32>) {
  %s = arith.constant dense<0x7FC00000> : tensor<1xf32>
  // expected-error@+1 {{'qtx.fake_quantize' op expected positive and finite scales, found nan}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed : tensor<2x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @zero_point_missing(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op requires a zero point for the asymmetric grid}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 asymmetric : tensor<4x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @zero_point_superfluous(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected no zero point for the unsigned grid}}
  %y, %c = qtx.fake_quantize %x scale(%s) zero_point(%s) bits 4 unsigned : tensor<4x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @frozen_alone(%x: tensor<4x8xf32>, %s: tensor<1xf32>, %m: tensor<4x8xi1>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected 'frozen' and 'frozen_int' together, found one of them}}
  %y, %c = "qtx.fake_quantize"(%x, %s, %m) <{bits = 4 : i64, grid = #qtx<grid signed>,
      operandSegmentSizes = array<i32: 1, 1, 0, 1, 0, 0>}>
      : (tensor<4x8xf32>, tensor<1xf32>, tensor<4x8xi1>) -> (tensor<4x8xf32>, tensor<4x8xi32>)
  return
}

// -----

func.func @frozen_shape(%x: tensor<4x8xf32>, %s: tensor<1xf32>, %m: tensor<4x7xi1>, %i: tensor<4x7xi32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op failed to verify that 'frozen' is a tensor of i1 of the shape of 'x'}}
  %y, %c = "qtx.fake_quantize"(%x, %s, %m, %i) <{bits = 4 : i64, grid = #qtx<grid signed>,
      operandSegmentSizes = array<i32: 1, 1, 0, 1, 1, 0>}>
      : (tensor<4x8xf32>, tensor<1xf32>, tensor<4x7xi1>, tensor<4x7xi32>) -> (tensor<4x8xf32>, tensor<4x8xi32>)
  return
}

// -----

func.func @parameter_of_ste(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected no parameter for the surrogate 'ste_paper'}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed surrogate ste_paper parameter 1.0 : tensor<4x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @parameter_negative(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected a non-negative and finite parameter of the surrogate, found -1.000000e+00}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed surrogate ewgs parameter -1.0 : tensor<4x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @parameter_zero(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize' op expected a positive and finite parameter of the surrogate, found 0.000000e+00}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed surrogate stacked_sigmoid parameter 0.0 : tensor<4x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @scale_rank(%x: tensor<4x8xf32>, %s: tensor<f32>) {
  // expected-error@+1 {{custom op 'qtx.fake_quantize' 'scale' must be 1D tensor of 32-bit float values, but got 'tensor<f32>'}}
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed : tensor<4x8xf32>, tensor<f32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// fake_quantize_backward
//===----------------------------------------------------------------------===//

func.func @backward_bits(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.fake_quantize_backward' op expected a grid of 2 to 16 bits, found 0}}
  %y, %c = qtx.fake_quantize_backward %x, %x scale(%s) bits 0 signed : tensor<4x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @backward_results(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+2 {{failed to infer returned types}}
  // expected-error@+1 {{'qtx.fake_quantize_backward' op inferred type(s) 'tensor<4x8xf32>', 'tensor<1xf32>' are incompatible with return type(s) of operation 'tensor<4x8xf32>', 'tensor<1xf32>', 'tensor<1xf32>'}}
  %g, %h, %i = "qtx.fake_quantize_backward"(%x, %x, %s) <{bits = 4 : i64, grid = #qtx<grid signed>,
      operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0>}>
      : (tensor<4x8xf32>, tensor<4x8xf32>, tensor<1xf32>) -> (tensor<4x8xf32>, tensor<1xf32>, tensor<1xf32>)
  return
}

// -----

//===----------------------------------------------------------------------===//
// oscillation_update
//===----------------------------------------------------------------------===//

func.func @momentum(%c: tensor<4xi32>, %d: tensor<4xi8>, %f: tensor<4xf32>, %b: tensor<4xi1>,
                    %o: tensor<i1>, %t: tensor<f32>) {
  %m = arith.constant dense<1.5> : tensor<f32>
  // expected-error@+1 {{'qtx.oscillation_update' op expected a momentum in [0, 1], found 1.500000e+00}}
  %r:10 = qtx.oscillation_update %c state(%c, %d, %f, %f, %b, %c, %o, %o)
      momentum(%m) threshold(%t) : tensor<4xi32>
  return
}

// -----

func.func @threshold(%c: tensor<4xi32>, %d: tensor<4xi8>, %f: tensor<4xf32>, %b: tensor<4xi1>,
                     %o: tensor<i1>, %m: tensor<f32>) {
  %t = arith.constant dense<-0.5> : tensor<f32>
  // expected-error@+1 {{'qtx.oscillation_update' op expected a threshold that is not negative, found -5.000000e-01}}
  %r:10 = qtx.oscillation_update %c state(%c, %d, %f, %f, %b, %c, %o, %o)
      momentum(%m) threshold(%t) : tensor<4xi32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// dampening_loss
//===----------------------------------------------------------------------===//

func.func @loss_grid(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.dampening_loss' op expected a signed or unsigned grid, found an asymmetric one}}
  %l = qtx.dampening_loss %x scale(%s) bits 4 asymmetric : tensor<4x8xf32>, tensor<1xf32>
  return
}

// -----

func.func @loss_rank(%x: tensor<f32>, %s: tensor<1xf32>) {
  // expected-error@+1 {{'qtx.dampening_loss' op expected 'x' of rank 1 or more, found 'tensor<f32>'}}
  %l = qtx.dampening_loss %x scale(%s) bits 4 signed : tensor<f32>, tensor<1xf32>
  return
}

// -----

func.func @loss_scale(%g: tensor<f32>, %x: tensor<4x8xf32>, %s: tensor<2xf32>) {
  // expected-error@+1 {{'qtx.dampening_loss_backward' op expected a scale of shape [1], found 'tensor<2xf32>'}}
  %gx, %gs = qtx.dampening_loss_backward %g, %x scale(%s) bits 4 signed : tensor<4x8xf32>, tensor<2xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// cosine_schedule
//===----------------------------------------------------------------------===//

func.func @steps(%t: tensor<i64>) {
  // expected-error@+1 {{'qtx.cosine_schedule' op expected a positive number of steps, found -3}}
  %v = qtx.cosine_schedule %t from 0.1 to 0.01 steps -3 : tensor<i64>
  return
}

// -----

func.func @anneal_start(%t: tensor<i64>) {
  // expected-error@+1 {{'qtx.cosine_schedule' op expected 'anneal_start' in [0, 1), found 1.000000e+00}}
  %v = qtx.cosine_schedule %t from 0.1 to 0.01 steps 10 anneal_start 1.0 : tensor<i64>
  return
}

// -----

func.func @bounds(%t: tensor<i64>) {
  // expected-error@+1 {{'qtx.cosine_schedule' op expected finite bounds of the schedule, found 1.000000e-01 and INF}}
  %v = qtx.cosine_schedule %t from 0.1 to 0x7F800000 steps 10 : tensor<i64>
  return
}

// -----

//===----------------------------------------------------------------------===//
// clipped_softmax_backward
//===----------------------------------------------------------------------===//

func.func @softmax_rank(%p: tensor<f32>) {
  // expected-error@+1 {{'qtx.clipped_softmax_backward' op expected 'p' of rank 1 or more, found 'tensor<f32>'}}
  %g = qtx.clipped_softmax_backward %p, %p clip [-0.03, 1.0] : tensor<f32>
  return
}

// -----

func.func @zeta(%p: tensor<4xf32>) {
  // expected-error@+1 {{'qtx.clipped_softmax_backward' op expected a finite zeta of at least 1, found 5.000000e-01}}
  %g = qtx.clipped_softmax_backward %p, %p clip [-0.03, 0.5] : tensor<4xf32>
  return
}

// -----

func.func @gamma(%p: tensor<4xf32>) {
  // expected-error@+1 {{'qtx.clipped_softmax_backward' op expected a finite gamma of at most 0, found 3.000000e-02}}
  %g = qtx.clipped_softmax_backward %p, %p clip [0.03, 1.0] : tensor<4xf32>
  return
}

// -----

// The scale comes from a block that is verified later: nothing is known of it.
func.func @scale_unverified(%x: tensor<4x8xf32>) {
  cf.br ^constant
^use:
  %y, %c = qtx.fake_quantize %x scale(%s) bits 4 signed : tensor<4x8xf32>, tensor<1xf32>
  return
^constant:
  // expected-error@+1 {{'arith.constant' op requires attribute 'value'}}
  %s = "arith.constant"() : () -> tensor<1xf32>
  cf.br ^use
}
