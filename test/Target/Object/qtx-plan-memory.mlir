// RUN: qtx-opt %s --split-input-file --qtx-plan-memory --canonicalize | FileCheck %s

// What callers ask first: the status, the bytes, the sizes of outputs.
// CHECK-LABEL: func private @qtx_sizes
// CHECK-SAME: (%[[N:.*]]: index) -> (i32, index, index)
// CHECK: %[[FITS:.*]] = arith.cmpi ult, %[[N]]
// CHECK: %[[STATUS:.*]] = arith.select %[[FITS]], %c0_i32, %c2_i32
// CHECK: return %[[STATUS]], %{{.*}}, %[[N]]

// CHECK-LABEL: func @qtx_entry
// CHECK-SAME: %[[DIM:[^:]*]]: index {qtx.dim = "n", qtx.role = "dim"}
// CHECK-SAME: %[[W:[^:]*]]: memref<?xi8> {qtx.role = "workspace"}) -> i32
func.func @qtx_entry(
    %x: memref<?xf32> {qtx.role = "input", qtx.name = "x", qtx.element = "f32", qtx.dims = ["n"]},
    %y: memref<?xf32> {qtx.role = "output", qtx.name = "y", qtx.element = "f32", qtx.dims = [""]},
    %n: index {qtx.role = "dim", qtx.dim = "n"}) -> (i32, index) {
  // The first and the third buffer do not live together and share the place.
  // CHECK-DAG: %[[A:.*]] = memref.view %[[W]][%c0][%[[DIM]]] : memref<?xi8> to memref<?xf32>
  // CHECK-DAG: %[[B:.*]] = memref.view %[[W]][%[[OFFSET:.*]]][%[[DIM]]] : memref<?xi8> to memref<?xf32>
  // CHECK-DAG: %[[C:.*]] = memref.view %[[W]][%c0][%[[DIM]]] : memref<?xi8> to memref<?xf32>
  // CHECK-NOT: memref.alloc
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %limit = arith.constant 512 : index
  %fits = arith.cmpi ult, %n, %limit : index
  // CHECK: cf.assert %{{.*}}, "too long" {qtx.status = 2 : i32}
  cf.assert %fits, "too long"
  %v = memref.load %x[%c0] : memref<?xf32>
  %positive = arith.cmpf ogt, %v, %v : f32
  // CHECK: cf.assert %{{.*}}, "data" {qtx.status = 4 : i32}
  cf.assert %positive, "data"
  // CHECK: memref.copy %{{.*}}, %[[A]]
  // CHECK: memref.copy %[[A]], %[[B]]
  // CHECK: memref.copy %[[B]], %[[C]]
  %size = memref.dim %x, %c0 : memref<?xf32>
  %a = memref.alloc(%size) : memref<?xf32>
  memref.copy %x, %a : memref<?xf32> to memref<?xf32>
  %b = memref.alloc(%size) : memref<?xf32>
  memref.copy %a, %b : memref<?xf32> to memref<?xf32>
  %c = memref.alloc(%n) : memref<?xf32>
  memref.copy %b, %c : memref<?xf32> to memref<?xf32>
  memref.copy %c, %y : memref<?xf32> to memref<?xf32>
  return %ok, %size : i32, index
}

// -----

// The size of a view is what the view was made with.
// CHECK-LABEL: func private @qtx_sizes
// CHECK-SAME: (%[[N:.*]]: index) -> (i32, index, index)
// CHECK: arith.muli %[[N]], %c16
// CHECK-LABEL: func @qtx_entry
// CHECK-NOT: memref.alloc
func.func @qtx_entry(
    %x: memref<?xf32> {qtx.role = "input", qtx.name = "x", qtx.element = "f32", qtx.dims = ["n"]},
    %y: memref<4x?xf32> {qtx.role = "output", qtx.name = "y", qtx.element = "f32", qtx.dims = ["", ""]},
    %n: index {qtx.role = "dim", qtx.dim = "n"}) -> (i32, index) {
  %c1 = arith.constant 1 : index
  %ok = arith.constant 0 : i32
  %rows = memref.reinterpret_cast %x to offset: [0], sizes: [4, %n], strides: [%n, 1]
      : memref<?xf32> to memref<4x?xf32>
  %size = memref.dim %rows, %c1 : memref<4x?xf32>
  %a = memref.alloc(%size) : memref<4x?xf32>
  memref.copy %rows, %a : memref<4x?xf32> to memref<4x?xf32>
  memref.copy %a, %y : memref<4x?xf32> to memref<4x?xf32>
  return %ok, %n : i32, index
}

// -----

// A size of a buffer whose dimensions were made one is the product of theirs, also of one that
// was made so before.
// CHECK-LABEL: func private @qtx_sizes
// CHECK-SAME: (%[[M:.*]]: index, %[[N:.*]]: index) -> (i32, index, index)
// CHECK-DAG: arith.muli %[[M]], %[[N]]
// CHECK-LABEL: func @qtx_entry
// CHECK-NOT: memref.alloc
// CHECK-COUNT-2: memref.view
func.func @qtx_entry(
    %x: memref<?x?x2xf32> {qtx.role = "input", qtx.name = "x", qtx.element = "f32", qtx.dims = ["m", "n", ""]},
    %y: memref<?xf32> {qtx.role = "output", qtx.name = "y", qtx.element = "f32", qtx.dims = [""]},
    %m: index {qtx.role = "dim", qtx.dim = "m"}, %n: index {qtx.role = "dim", qtx.dim = "n"}) -> (i32, index) {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %rows = memref.collapse_shape %x [[0, 1], [2]] : memref<?x?x2xf32> into memref<?x2xf32>
  %row_count = memref.dim %rows, %c0 : memref<?x2xf32>
  %a = memref.alloc(%row_count) : memref<?x2xf32>
  memref.copy %rows, %a : memref<?x2xf32> to memref<?x2xf32>
  %flat = memref.collapse_shape %rows [[0, 1]] : memref<?x2xf32> into memref<?xf32>
  %count = memref.dim %flat, %c0 : memref<?xf32>
  %b = memref.alloc(%count) : memref<?xf32>
  memref.copy %flat, %b : memref<?xf32> to memref<?xf32>
  memref.copy %b, %y : memref<?xf32> to memref<?xf32>
  return %ok, %count : i32, index
}
