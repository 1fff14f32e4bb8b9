// RUN: qtx-opt %s --resolve-ranked-shaped-type-result-dims --cse | FileCheck %s

// CHECK-LABEL: func @linear(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x8xf32>, %[[W:[a-z0-9]+]]: tensor<?x8xf32>
// CHECK: %[[M:.*]] = tensor.dim %[[X]], %{{.*}}
// CHECK: %[[N:.*]] = tensor.dim %[[W]], %{{.*}}
// CHECK: return %[[M]], %[[N]]
func.func @linear(%x: tensor<?x8xf32>, %w: tensor<?x8xf32>) -> (index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y = qtx.linear %x, %w : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x?xf32>
  %0 = tensor.dim %y, %c0 : tensor<?x?xf32>
  %1 = tensor.dim %y, %c1 : tensor<?x?xf32>
  return %0, %1 : index, index
}

// CHECK-LABEL: func @batch_matmul(
// CHECK-SAME: %[[A:[a-z0-9]+]]: tensor<?x?x?xf32>, %[[B:[a-z0-9]+]]: tensor<?x?x?xf32>
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C1:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[C2:.*]] = arith.constant 2 : index
// CHECK-DAG: %[[G:.*]] = tensor.dim %[[A]], %[[C0]]
// CHECK-DAG: %[[M:.*]] = tensor.dim %[[A]], %[[C1]]
// CHECK-DAG: %[[N:.*]] = tensor.dim %[[B]], %[[C2]]
// CHECK-DAG: %[[T:.*]] = tensor.dim %[[B]], %[[C1]]
// CHECK: return %[[G]], %[[M]], %[[N]], %[[T]]
func.func @batch_matmul(%a: tensor<?x?x?xf32>, %b: tensor<?x?x?xf32>) -> (index, index, index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %y = qtx.batch_matmul %a, %b : (tensor<?x?x?xf32>, tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  %z = qtx.batch_matmul %a, %b transpose_b : (tensor<?x?x?xf32>, tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  %0 = tensor.dim %y, %c0 : tensor<?x?x?xf32>
  %1 = tensor.dim %y, %c1 : tensor<?x?x?xf32>
  %2 = tensor.dim %y, %c2 : tensor<?x?x?xf32>
  %3 = tensor.dim %z, %c2 : tensor<?x?x?xf32>
  return %0, %1, %2, %3 : index, index, index, index
}
