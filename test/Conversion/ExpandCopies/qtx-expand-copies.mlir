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
