// RUN: qtx-opt %s --qtx-expand-rows=vector-bits=512 --canonicalize --split-input-file --verify-diagnostics | FileCheck %s

#full = affine_map<(b, c) -> (b, c)>
#column = affine_map<(b, c) -> (c)>

// One pass over the columns for the sum, with four sums at a time, and one to
// write. The cheap subtraction is not kept.
// CHECK-LABEL: func @two_passes(
// CHECK-NOT: memref.alloc
// CHECK: scf.for
// CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step %{{.*}} iter_args({{.*}}) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK: vector.shuffle
// CHECK: scf.for
// CHECK: vector.load
// CHECK: arith.subf
// CHECK: vector.store
// CHECK-NOT: vector.mask
func.func @two_passes(%x: memref<?x128xf32>, %g: memref<128xf32>, %y: memref<?x128xf32>) {
  qtx.rows ins(%x, %g : memref<?x128xf32>, memref<128xf32>) outs(%y : memref<?x128xf32>) maps [#full, #column, #full] {
  ^bb0(%a: f32, %gain: f32):
    %sum = qtx.row_reduce sum %a : f32
    %c = arith.subf %a, %sum : f32
    %r = arith.mulf %c, %gain : f32
    qtx.yield %r : f32
  }
  return
}

// -----

// The last columns are masked, and masked columns do not count.
// CHECK-LABEL: func @tail(
// CHECK: vector.create_mask
// CHECK: vector.maskedload
// CHECK: arith.select
#map = affine_map<(c) -> (c)>
#none = affine_map<(c) -> ()>
func.func @tail(%x: memref<?xf32>, %y: memref<f32>) {
  qtx.rows ins(%x : memref<?xf32>) outs(%y : memref<f32>) maps [#map, #none] {
  ^bb0(%a: f32):
    %max = qtx.row_reduce max %a : f32
    qtx.yield %max : f32
  }
  return
}

// -----

// What is expensive to compute is kept: in an output of the row if there is one,
// else in a buffer outside of the loops.
#full = affine_map<(b, c) -> (b, c)>
// CHECK-LABEL: func @kept(
// CHECK: %[[BUFFER:.*]] = memref.alloc(
// CHECK: scf.for
// CHECK: vector.store %{{.*}}, %[[BUFFER]]
// CHECK: vector.load %[[BUFFER]]
// CHECK: memref.dealloc %[[BUFFER]]
func.func @kept(%x: memref<?x?xf32>, %y: memref<?x?xi8>) {
  qtx.rows ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xi8>) maps [#full, #full] {
  ^bb0(%a: f32):
    %0 = arith.mulf %a, %a : f32
    %1 = arith.mulf %0, %a : f32
    %2 = arith.mulf %1, %a : f32
    %3 = arith.mulf %2, %a : f32
    %4 = arith.mulf %3, %a : f32
    %5 = arith.mulf %4, %a : f32
    %6 = arith.mulf %5, %a : f32
    %sum = qtx.row_reduce sum %6 : f32
    %7 = arith.divf %6, %sum : f32
    %8 = arith.fptosi %7 : f32 to i8
    qtx.yield %8 : i8
  }
  return
}

// -----

#map = affine_map<(c) -> (c)>
func.func @tensors(%x: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{expected memrefs, found tensors; bufferize first}}
  %y = qtx.rows ins(%x : tensor<8xf32>) outs(%x : tensor<8xf32>) maps [#map, #map] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

// Threads take ranges of the rows of all dimensions; each has a buffer of its
// own.
#full = affine_map<(b, s, c) -> (b, s, c)>
module attributes {qtx.threads = 3 : i64} {
// CHECK: func.func private @qtx_rows(
// CHECK: memref.subview
// CHECK: scf.for
// CHECK: arith.remui
// CHECK: scf.for
// CHECK-LABEL: func @parts(
// CHECK: arith.muli %[[COLUMNS:.*]], %c3
// CHECK: %[[BUFFER:.*]] = memref.alloc(
// CHECK: scf.parallel (%[[PART:.*]]) = (%{{.*}}) to (%[[PARTS:.*]]) step
// CHECK: func.call @qtx_rows(
// CHECK: memref.dealloc %[[BUFFER]]
func.func @parts(%x: memref<?x?x?xf32>, %y: memref<?x?x?xi8>) {
  qtx.rows ins(%x : memref<?x?x?xf32>) outs(%y : memref<?x?x?xi8>) maps [#full, #full] {
  ^bb0(%a: f32):
    %0 = arith.mulf %a, %a : f32
    %1 = arith.mulf %0, %a : f32
    %2 = arith.mulf %1, %a : f32
    %3 = arith.mulf %2, %a : f32
    %4 = arith.mulf %3, %a : f32
    %5 = arith.mulf %4, %a : f32
    %6 = arith.mulf %5, %a : f32
    %sum = qtx.row_reduce sum %6 : f32
    %7 = arith.divf %6, %sum : f32
    %8 = arith.fptosi %7 : f32 to i8
    qtx.yield %8 : i8
  }
  return
}
}

// -----

// Each lane goes to its own column. The value that is kept for the second pass has
// memory of its own: columns of the output are taken out of order.
#full = affine_map<(b, c) -> (b, c)>
#column = affine_map<(b, c) -> (c)>
// CHECK-LABEL: func @scattered(
// CHECK-SAME: %[[X:.*]]: memref<?x24xf32>, %[[P:.*]]: memref<24xi32>, %[[Y:.*]]: memref<?x24xf32>)
// CHECK: memref.alloca() : memref<24xf32>
// CHECK-NOT: vector.{{(masked)?}}store {{.*}} %[[Y]]
// CHECK: %[[PLACES:.*]] = vector.load %[[P]]
// CHECK: vector.scatter %[[Y]][%{{.*}}, %c0] [%[[PLACES]]], %{{.*}} : memref<?x24xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32>
// CHECK: %[[MASK:.*]] = vector.constant_mask [8]
// CHECK: %[[REST:.*]] = vector.maskedload %[[P]]
// CHECK: vector.scatter %[[Y]][%{{.*}}, %c0] [%[[REST]]], %[[MASK]]
func.func @scattered(%x: memref<?x24xf32>, %p: memref<24xi32>, %y: memref<?x24xf32>) {
  qtx.rows ins(%x, %p : memref<?x24xf32>, memref<24xi32>) outs(%y : memref<?x24xf32>)
      maps [#full, #column, #full] column_ids [1] {
  ^bb0(%a: f32, %place: i32):
    %0 = arith.mulf %a, %a : f32
    %1 = arith.mulf %0, %a : f32
    %2 = arith.mulf %1, %a : f32
    %3 = arith.mulf %2, %a : f32
    %4 = arith.mulf %3, %a : f32
    %5 = arith.mulf %4, %a : f32
    %6 = arith.mulf %5, %a : f32
    %sum = qtx.row_reduce sum %6 : f32
    %7 = arith.divf %6, %sum : f32
    qtx.yield %7 : f32
  }
  return
}
