// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" | FileCheck %s --check-prefix=BUFFER

#full = affine_map<(b, c) -> (b, c)>
#column = affine_map<(b, c) -> (c)>
#row = affine_map<(b, c) -> (b)>
#table = affine_map<(b, c) -> (0, c)>

// CHECK-LABEL: func @reductions(
// CHECK: qtx.rows ins(%{{.*}}, %{{.*}} : tensor<?x8xf32>, tensor<8xf32>) outs(%{{.*}} : tensor<?x8xf32>) maps [#{{.*}}, #{{.*}}, #{{.*}}] {
// CHECK-NEXT: ^bb0(%[[X:.*]]: f32, %{{.*}}: f32):
// CHECK-NEXT: %{{.*}} = qtx.row_reduce sum %[[X]] : f32
// CHECK-NEXT: qtx.row_reduce square_sum
// CHECK-NEXT: qtx.row_reduce max
// CHECK-NEXT: qtx.row_reduce min
// CHECK: qtx.yield %{{.*}} : f32
// CHECK-NEXT: } -> tensor<?x8xf32>
func.func @reductions(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %e: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = qtx.rows ins(%x, %g : tensor<?x8xf32>, tensor<8xf32>) outs(%e : tensor<?x8xf32>) maps [#full, #column, #full] {
  ^bb0(%a: f32, %gain: f32):
    %sum = qtx.row_reduce sum %a : f32
    %squares = qtx.row_reduce square_sum %a : f32
    %max = qtx.row_reduce max %a : f32
    %min = qtx.row_reduce min %a : f32
    %0 = arith.addf %sum, %squares : f32
    %1 = arith.addf %max, %min : f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.mulf %2, %gain : f32
    qtx.yield %3 : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// Two outputs, one of them with one value per row, and a table.
// CHECK-LABEL: func @table(
// CHECK: qtx.rows {{.*}} row_ids [-1, 0] {
// CHECK: } -> tensor<?x8xf32>, tensor<?xf32>
func.func @table(%ids: tensor<?xi64>, %t: tensor<100x8xf32>, %e: tensor<?x8xf32>, %f: tensor<?xf32>) -> (tensor<?x8xf32>, tensor<?xf32>) {
  %y:2 = qtx.rows ins(%ids, %t : tensor<?xi64>, tensor<100x8xf32>) outs(%e, %f : tensor<?x8xf32>, tensor<?xf32>)
      maps [#row, #table, #full, #row] row_ids [-1, 0] {
  ^bb0(%id: i64, %a: f32):
    %sum = qtx.row_reduce sum %a : f32
    qtx.yield %a, %sum : f32, f32
  } -> tensor<?x8xf32>, tensor<?xf32>
  return %y#0, %y#1 : tensor<?x8xf32>, tensor<?xf32>
}

// On memrefs there are no results.
// CHECK-LABEL: func @memrefs(
// CHECK: qtx.rows ins(%{{.*}} : memref<?x8xf32>) outs(%{{.*}} : memref<?x8xf32>)
func.func @memrefs(%x: memref<?x8xf32>, %y: memref<?x8xf32>) {
  qtx.rows ins(%x : memref<?x8xf32>) outs(%y : memref<?x8xf32>) maps [#full, #full] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  }
  return
}

// The columns of an output in another order.
// CHECK-LABEL: func @columns(
// CHECK: qtx.rows {{.*}} column_ids [1] {
func.func @columns(%x: tensor<?x8xf32>, %p: tensor<8xi32>, %e: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = qtx.rows ins(%x, %p : tensor<?x8xf32>, tensor<8xi32>) outs(%e : tensor<?x8xf32>)
      maps [#full, #column, #full] column_ids [1] {
  ^bb0(%a: f32, %place: i32):
    qtx.yield %a : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// A row is written after all of it has been read: it may take the place of one that
// nothing else reads.
// BUFFER-LABEL: func.func @in_place(
// BUFFER-SAME: %[[X:.*]]: memref<?x8xf32>
// BUFFER-NOT: memref.{{alloc|copy}}
// BUFFER: qtx.rows ins(%[[X]] : {{.*}}) outs(%[[X]] :
// BUFFER: return %[[X]]
func.func @in_place(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = qtx.rows ins(%x : tensor<?x8xf32>) outs(%x : tensor<?x8xf32>) maps [#full, #full] {
  ^bb0(%a: f32):
    %sum = qtx.row_reduce sum %a : f32
    %0 = arith.subf %a, %sum : f32
    qtx.yield %0 : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// BUFFER-LABEL: func.func @read_later(
// BUFFER-SAME: %[[X:.*]]: memref<?x8xf32>
// BUFFER: %[[Y:.*]] = memref.alloc
// BUFFER: qtx.rows ins(%[[X]] : {{.*}}) outs(%[[Y]] :
// BUFFER: return %[[Y]], %[[X]]
func.func @read_later(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %y = qtx.rows ins(%x : tensor<?x8xf32>) outs(%x : tensor<?x8xf32>) maps [#full, #full] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  } -> tensor<?x8xf32>
  return %y, %x : tensor<?x8xf32>, tensor<?x8xf32>
}

// Rows of another order, and rows of a table, are read after others are written.
// BUFFER-LABEL: func.func @other_rows(
// BUFFER-SAME: %[[X:.*]]: memref<4x4xf32>
// BUFFER: %[[Y:.*]] = memref.alloc
// BUFFER: qtx.rows ins(%[[X]] : {{.*}}) outs(%[[Y]] :
#first = affine_map<(b, c) -> (0, c)>
func.func @other_rows(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %y = qtx.rows ins(%x : tensor<4x4xf32>) outs(%x : tensor<4x4xf32>) maps [#first, #full] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  } -> tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// BUFFER-LABEL: func.func @table_in_place(
// BUFFER-SAME: %{{.*}}: memref<8xi64>, %[[T:.*]]: memref<8x8xf32>
// BUFFER: %[[Y:.*]] = memref.alloc
// BUFFER: qtx.rows ins(%{{.*}}, %[[T]] : {{.*}}) outs(%[[Y]] :
func.func @table_in_place(%ids: tensor<8xi64>, %t: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %y = qtx.rows ins(%ids, %t : tensor<8xi64>, tensor<8x8xf32>) outs(%t : tensor<8x8xf32>) maps [#row, #table, #full] row_ids [-1, 0] {
  ^bb0(%id: i64, %a: f32):
    qtx.yield %a : f32
  } -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// Columns that move overwrite others that are still to be read.
// BUFFER-LABEL: func.func @columns_in_place(
// BUFFER-SAME: %[[X:.*]]: memref<?x4xf32>
// BUFFER: %[[Y:.*]] = memref.alloc
// BUFFER: qtx.rows ins(%[[X]], %{{.*}}) outs(%[[Y]] :
func.func @columns_in_place(%x: tensor<?x4xf32>, %p: tensor<4xi32>) -> tensor<?x4xf32> {
  %y = qtx.rows ins(%x, %p : tensor<?x4xf32>, tensor<4xi32>) outs(%x : tensor<?x4xf32>) maps [#full, #column, #full] column_ids [1] {
  ^bb0(%a: f32, %place: i32):
    qtx.yield %a : f32
  } -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
