// RUN: qtx-opt %s --qtx-resolve-sizes --canonicalize | FileCheck %s

// The size of what loops fill, element by element, is that of what they start with.
// CHECK-LABEL: func @loops
// CHECK-SAME: %{{.*}}: tensor<?xf32>, %[[N:.*]]: index
func.func @loops(%x: tensor<?xf32>, %n: index) -> (tensor<?x4xf32>, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %empty = tensor.empty(%n) : tensor<?x4xf32>
  // CHECK-NOT: tensor.dim
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%outer = %empty) -> tensor<?x4xf32> {
    %row = scf.for %j = %c0 to %c4 step %c1 iter_args(%inner = %outer) -> tensor<?x4xf32> {
      %size = tensor.dim %inner, %c0 : tensor<?x4xf32>
      %last = arith.subi %size, %c1 : index
      %k = arith.minsi %i, %last : index
      %e = tensor.extract %x[%k] : tensor<?xf32>
      %z = tensor.insert %e into %inner[%i, %j] : tensor<?x4xf32>
      scf.yield %z : tensor<?x4xf32>
    }
    scf.yield %row : tensor<?x4xf32>
  }
  // Through a loop, what copies, and a loop again.
  %copy = linalg.copy ins(%y : tensor<?x4xf32>) outs(%empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %again = scf.for %i = %c0 to %n step %c1 iter_args(%t = %copy) -> tensor<?x4xf32> {
    %e = tensor.extract %x[%i] : tensor<?xf32>
    %z = tensor.insert %e into %t[%i, %c0] : tensor<?x4xf32>
    scf.yield %z : tensor<?x4xf32>
  }
  %rows = tensor.dim %again, %c0 : tensor<?x4xf32>
  // CHECK: return %{{.*}}, %[[N]]
  return %again, %rows : tensor<?x4xf32>, index
}

// CHECK-LABEL: func @grows
func.func @grows(%x: tensor<?xf32>, %n: index) -> index {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%t = %x) -> tensor<?xf32> {
    %z = tensor.pad %t low[0] high[1] {
    ^bb0(%j: index):
      tensor.yield %zero : f32
    } : tensor<?xf32> to tensor<?xf32>
    scf.yield %z : tensor<?xf32>
  }
  // CHECK: %[[Y:.*]] = scf.for
  // CHECK: %[[SIZE:.*]] = tensor.dim %[[Y]]
  // CHECK: return %[[SIZE]]
  %size = tensor.dim %y, %c0 : tensor<?xf32>
  return %size : index
}
