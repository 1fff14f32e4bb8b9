// One order of channels through the residual stream: where the model ends is the
// only place at which channels move at run time. A recipe file can ask for an order
// of each layer instead.

// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.npz 'x:<f4:3x4=1,2,-3,4,5,6,-7,8,-1,-2,3,-4'
// RUN: echo '{"base": "peg:2", "order": "layer"}' > %t.json
// RUN: qtxc %s -o - --calibrate=%t.npz --recipe=peg:2 --stop-after=fold --quiet | FileCheck %s
// RUN: qtxc %s -o - --calibrate=%t.npz --recipe=peg-opt:2 --stop-after=fold --quiet | FileCheck %s --check-prefix=SMALL
// RUN: qtxc %s -o - --calibrate=%t.npz --recipe=peg-dynamic:2 --stop-after=fold --quiet | FileCheck %s
// RUN: qtxc %s -o - --calibrate=%t.npz --recipe=%t.json --stop-after=fold --quiet | FileCheck %s --check-prefix=LAYER

// CHECK-NOT: qtx.permute
// CHECK: %[[Y:.*]] = qtx.permute
// CHECK-NEXT: return %[[Y]]

// Boundaries of unequal groups are multiples of 16: one group, and no order.
// SMALL-NOT: qtx.permute

// LAYER: qtx.permute
// LAYER: qtx.linear
// LAYER: qtx.permute
func.func @net(%x: tensor<?x4xf32> {qtx.name = "x"}) -> tensor<?x4xf32> {
  %w = arith.constant dense<[[9.0, 0.5, 0.0, -0.5], [0.0, 0.25, 0.5, 0.25], [-1.0, 0.0, 7.0, 0.5], [0.0, 0.25, 0.125, 0.5]]> : tensor<4x4xf32>
  %v = arith.constant dense<[[7.0, 0.5, 0.0, -5.5], [0.0, 0.25, 0.5, 0.25], [-0.25, 0.0, 0.5, 0.5], [0.0, 0.25, 3.0, 6.0]]> : tensor<4x4xf32>
  %one = arith.constant dense<[4.0, 0.5, 2.0, 1.5]> : tensor<4xf32>
  %zero = arith.constant dense<0.0> : tensor<4xf32>
  %e = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %n0 = qtx.layer_norm %e gamma(%one) beta(%zero) epsilon 1.0e-5 : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %u0 = qtx.linear %n0, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %a0 = qtx.gelu %u0 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %h0 = qtx.linear %a0, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %y0 = qtx.add %n0, %h0 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %n1 = qtx.layer_norm %y0 gamma(%one) beta(%zero) epsilon 1.0e-5 : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %u1 = qtx.linear %n1, %v : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %a1 = qtx.gelu %u1 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %h1 = qtx.linear %a1, %v : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %y1 = qtx.add %n1, %h1 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %n2 = qtx.layer_norm %y1 gamma(%one) beta(%zero) epsilon 1.0e-5 : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %n2 : tensor<?x4xf32>
}
