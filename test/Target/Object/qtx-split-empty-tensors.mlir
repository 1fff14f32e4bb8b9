// RUN: qtx-opt %s --qtx-split-empty-tensors | FileCheck %s

// Each of the two kernels writes memory of its own, which begins to live with it.
// CHECK-LABEL: func @layers
// CHECK-NEXT: %[[A:.*]] = tensor.empty(%[[N:.*]]) : tensor<?x8xf32>
// CHECK-NEXT: qtx.kernel "qtx.gelu"(%{{.*}}) outs(%[[A]])
// CHECK-NEXT: %[[B:.*]] = tensor.empty(%[[N]]) : tensor<?x8xf32>
// CHECK-NEXT: qtx.kernel "qtx.gelu"(%{{.*}}) outs(%[[B]])
func.func @layers(%x: tensor<?x8xf32>, %n: index) -> tensor<?x8xf32> {
  %empty = tensor.empty(%n) : tensor<?x8xf32>
  %y = qtx.kernel "qtx.gelu"(%x) outs(%empty) {} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %z = qtx.kernel "qtx.gelu"(%y) outs(%empty) {} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}

// A loop does not take memory in every iteration.
// CHECK-LABEL: func @loop
// CHECK: %[[EMPTY:.*]] = tensor.empty() : tensor<8xf32>
// CHECK: scf.for
// CHECK-NOT: tensor.empty
// CHECK: outs(%[[EMPTY]])
func.func @loop(%x: tensor<8xf32>, %n: index) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %empty = tensor.empty() : tensor<8xf32>
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%z = %x) -> tensor<8xf32> {
    %w = qtx.kernel "qtx.gelu"(%z) outs(%empty) {} : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    scf.yield %w : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}
