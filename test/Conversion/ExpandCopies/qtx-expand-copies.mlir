// RUN: qtx-opt %s --qtx-expand-copies | FileCheck %s
// RUN: qtx-opt %s --qtx-expand-copies --remark-format=emitRemark --remarks-filter=qtx-expand-copies 2>&1 | FileCheck %s --check-prefix=REMARK

// CHECK-LABEL: func @dense
// CHECK: memref.copy
// CHECK-NOT: linalg.generic
func.func @dense(%a: memref<4x?xf32>, %b: memref<4x?xf32>) {
  memref.copy %a, %b : memref<4x?xf32> to memref<4x?xf32>
  return
}

// CHECK-LABEL: func @strided
// CHECK-NOT: memref.copy
// CHECK: linalg.generic {{.*}} ins(%{{.*}} : memref<4x?xi8>) outs(%{{.*}} : memref<4x?xi8, strided<[8, 1], offset: ?>>)
// REMARK: expanded a strided copy
func.func @strided(%a: memref<4x?xi8>, %b: memref<4x?xi8, strided<[8, 1], offset: ?>>) {
  memref.copy %a, %b : memref<4x?xi8> to memref<4x?xi8, strided<[8, 1], offset: ?>>
  return
}

// CHECK-LABEL: func @unranked
// CHECK: memref.copy
// REMARK: kept a copy of unranked memrefs
func.func @unranked(%a: memref<*xi8>, %b: memref<*xi8>) {
  memref.copy %a, %b : memref<*xi8> to memref<*xi8>
  return
}

// Batch and sequence of flattened rows.
// CHECK-LABEL: func @expand_shape
// CHECK-SAME: %[[A:.*]]: memref<?x24xf32>, %[[B:.*]]: index, %[[S:.*]]: index)
// CHECK: %[[BASE:.*]], %{{.*}}, %{{.*}}:2, %{{.*}}:2 = memref.extract_strided_metadata %[[A]]
// CHECK: %[[C24:.*]] = arith.constant 24 : index
// CHECK: %[[STRIDE:.*]] = arith.muli %[[C24]], %[[S]] : index
// CHECK: memref.reinterpret_cast %[[BASE]] to offset: [0], sizes: [%[[B]], %[[S]], 24], strides: [%[[STRIDE]], 24, 1] : memref<f32> to memref<?x?x24xf32>
func.func @expand_shape(%a: memref<?x24xf32>, %b: index, %s: index) -> memref<?x?x24xf32> {
  %0 = memref.expand_shape %a [[0, 1], [2]] output_shape [%b, %s, 24] : memref<?x24xf32> into memref<?x?x24xf32>
  return %0 : memref<?x?x24xf32>
}

// CHECK-LABEL: func @expand_shape_one_dynamic
// CHECK: memref.expand_shape
func.func @expand_shape_one_dynamic(%a: memref<?xf32>, %b: index) -> memref<?x24xf32> {
  %0 = memref.expand_shape %a [[0, 1]] output_shape [%b, 24] : memref<?xf32> into memref<?x24xf32>
  return %0 : memref<?x24xf32>
}
