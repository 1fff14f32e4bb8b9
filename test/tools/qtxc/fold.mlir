// Changes of channels fold one after the other, until none does; remarks are about those
// that stay.

// RUN: qtxc %s -o - --recipe=none --stop-after=fold --remarks=all 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

// The scale is read by a permutation until that has moved behind it.
// CHECK-NOT: qtx.permute
// CHECK-NOT: qtx.scale_shift
// CHECK: qtx.linear %arg0
// CHECK-NOT: qtx.permute
// CHECK-NOT: qtx.scale_shift
// REMARK-NOT: missed{{.*}}scale
// REMARK: scale and shift are part of other constants
// REMARK-NOT: missed{{.*}}scale
func.func @main(%x: tensor<?x4xf32> {qtx.name = "x"}) -> (tensor<?x4xf32> {qtx.name = "y"}) {
  %i = arith.constant dense<[2, 0, 3, 1]> : tensor<4xi32>
  %g = arith.constant dense<[2.0, 0.5, 4.0, 1.0]> : tensor<4xf32>
  %s = arith.constant dense<[1.0, -1.0, 0.0, 0.0]> : tensor<4xf32>
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [1.0, 0.0, 0.0, 0.0],
                             [0.0, 1.0, 0.0, 0.0]]> : tensor<4x4xf32>
  %0 = qtx.scale_shift %x gain(%g) shift(%s) : (tensor<?x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32> loc("scaled")
  %1 = qtx.permute %0 by %i : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32> loc("permuted")
  %y = qtx.linear %1, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32> loc("layer")
  return %y : tensor<?x4xf32>
}
