// RUN: qtx-opt %s --split-input-file --qtx-make-entry --canonicalize | FileCheck %s

// CHECK-LABEL: func @qtx_entry
// CHECK-SAME: %[[IDS:[^:]*]]: memref<?x?xi64> {qtx.dims = ["batch", "sequence"], qtx.element = "i64", qtx.name = "ids", qtx.role = "input"}
// CHECK-SAME: %[[Y:[^:]*]]: memref<?x?x4xf32> {qtx.dims = ["", "", ""], qtx.element = "f32", qtx.name = "out0", qtx.role = "output"}
// CHECK-SAME: %[[B:[^:]*]]: index {qtx.dim = "batch", qtx.role = "dim"}
// CHECK-SAME: %[[S:[^:]*]]: index {qtx.dim = "sequence", qtx.role = "dim"}
// CHECK-SAME: -> (i32, index, index)
func.func @main(%ids: tensor<?x?xi64> {qtx.name = "ids", qtx.dims = ["batch", "sequence"]}) -> tensor<?x?x4xf32> {
  // CHECK: %[[OUT:.*]] = bufferization.to_tensor %[[Y]] restrict writable
  // CHECK: %[[VALID:.*]] = scf.for
  // CHECK: cf.assert %[[VALID]], "expected an id of the table"
  // CHECK: %[[IN:.*]] = bufferization.to_tensor %[[IDS]] restrict
  // CHECK: %[[ROWS:.*]] = qtx.embedding %{{.*}}, %[[IN]]
  // CHECK: %[[WRITTEN:.*]] = bufferization.materialize_in_destination %[[ROWS]] in %[[OUT]]
  // CHECK: bufferization.materialize_in_destination %[[WRITTEN]] in writable %[[Y]]
  %table = arith.constant dense<0.5> : tensor<10x4xf32>
  %y = qtx.embedding %table, %ids : (tensor<10x4xf32>, tensor<?x?xi64>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}

// -----

// The size of a dimension that does not exist is undefined.
// CHECK-LABEL: func @qtx_entry
// CHECK: %[[C:.*]] = arith.constant 65536 : index
// CHECK: memref.dim %{{.*}}, %[[C]]
func.func @no_such_dimension(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c = arith.constant 65536 : index
  %n = tensor.dim %x, %c : tensor<?x8xf32>
  %y = tensor.extract_slice %x[0, 0] [%n, 8] [1, 1] : tensor<?x8xf32> to tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
