// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s

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
