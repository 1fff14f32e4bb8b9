// Heads that a product reads besides an attention: their channels have the ranges of all
// heads, which are observed in front of the split.

// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.npz 'x:<f4:1x2x4=1,2,-3,40,5,6,-7,8'
// RUN: qtxc %s -o - --calibrate=%t.npz --recipe=w8a8 --stop-after=quantize --quiet | FileCheck %s

// From -7 to 40.
// CHECK: %[[H:.*]] = qtx.split_heads
// CHECK: %[[Q:.*]] = qtx.quantize %[[H]] {{.*}} -> tensor<1x2x2x2x!quant.uniform<i8:f32, 0.18431
// CHECK: qtx.batch_matmul %[[Q]], %[[Q]]
func.func @main(%x: tensor<1x2x4xf32> {qtx.name = "x"}) -> (tensor<1x2x4xf32>, tensor<1x2x2x2xf32>) {
  %w = arith.constant dense<[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0],
                             [0.0, 0.0, 0.0, 1.0]]> : tensor<4x4xf32>
  %y = qtx.linear %x, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32>
  %h = qtx.split_heads %y : tensor<1x2x4xf32> -> tensor<1x2x2x2xf32>
  %p = qtx.batch_matmul %h, %h transpose_b : (tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  %a = qtx.attention %h, %h, %h scale 0.5 : (tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  %m = qtx.merge_heads %a : tensor<1x2x2x2xf32> -> tensor<1x2x4xf32>
  return %m, %p : tensor<1x2x4xf32>, tensor<1x2x2x2xf32>
}
