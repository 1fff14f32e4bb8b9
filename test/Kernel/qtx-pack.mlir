// RUN: qtx-opt %s -qtx-pack -split-input-file -verify-diagnostics | FileCheck %s
// RUN: not qtx-opt %s -qtx-pack -split-input-file --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

#fma = #qtx.micro_kernel<"x86-avx2-fma", rows = 6, vectors = 2, block = 96>

// Outputs are innermost, 8 lanes of which 2 are outputs.
// CHECK-LABEL: func.func @float
// CHECK: %[[W:.*]] = arith.constant dense_resource<{{.*}}> : tensor<24xf32>
// CHECK: %[[INIT:.*]] = tensor.empty(%{{.*}}) : tensor<?x2xf32>
// CHECK: qtx.kernel "qtx.linear"(%{{.*}}, %[[W]]) outs(%[[INIT]]) {
// CHECK-SAME: config = #qtx.micro_kernel<"x86-avx2-fma", rows = 6, vectors = 2, block = 96>
// CHECK-SAME: operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>
// CHECK-SAME: segments = array<i64: 3>
// REMARK: [Passed] Pack | Category:qtx-pack | Remark="packed for 'x86-avx2-fma'"
// CHECK: "0x400000000000803F0000804000000000000000000000000000000000000000000000000000000040
func.func @float(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %y = qtx.linear %x, %w {qtx.config = #fma} : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @unknown(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x3xf32>
  // expected-error @below {{expected a known micro-kernel, found 'abacus'}}
  %y = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"abacus", rows = 6, vectors = 2, block = 96>}
      : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// CHECK-LABEL: func.func @not_configured
// CHECK: qtx.linear
func.func @not_configured(%x: tensor<?x3xf32>, %w: tensor<2x3xf32>) -> tensor<?x2xf32> {
  %y = qtx.linear %x, %w : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
