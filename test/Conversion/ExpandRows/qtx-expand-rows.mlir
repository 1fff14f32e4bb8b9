// RUN: qtx-opt %s --qtx-expand-rows=vector-bits=512 --canonicalize --split-input-file --verify-diagnostics | FileCheck %s

#full = affine_map<(b, c) -> (b, c)>
#column = affine_map<(b, c) -> (c)>

// One pass over the columns for the sum, with four sums at a time, and one to
// write, both in one loop: the first for the row after the next one, or the last one
// again. The sums of the next row are added up meanwhile. The first row has its sum
// before, the second one its vectors. The cheap subtraction is not kept.
// CHECK-LABEL: func @two_passes(
// CHECK-SAME: %[[X:.*]]: memref<?x128xf32>, %{{.*}}: memref<128xf32>, %[[Y:.*]]: memref<?x128xf32>)
// CHECK-NOT: memref.alloc
// CHECK: %[[ROWS:.*]] = memref.dim %[[X]]
// CHECK: %[[MANY:.*]] = arith.cmpi sge, %[[ROWS]], %c4
// CHECK: scf.if %[[MANY]] {
// CHECK: %[[LAST:.*]] = arith.subi %[[ROWS]], %c1
// CHECK: scf.for %{{.*}} iter_args({{.*}}) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK-NOT: vector.store
// CHECK: vector.load %[[X]][%c0,
// CHECK: %[[FIRST:.*]] = vector.extract
// CHECK: %[[SECOND:.*]] = arith.minui %[[LAST]], %c1
// CHECK: scf.for %{{.*}} iter_args({{.*}}) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK: vector.load %[[X]][%[[SECOND]],
// CHECK-NOT: vector.{{store|shuffle|extract}}
// CHECK: scf.for %[[ROW:.*]] = %c0 to %[[ROWS]] step %c1 iter_args(%[[OWN_SUM:.*]] = %[[FIRST]], %[[BETWEEN:.*]] = %{{.*}}) -> (f32, vector<16xf32>)
// CHECK: %[[NEXT:.*]] = arith.addi %[[ROW]], %c2
// CHECK: %[[BEHIND:.*]] = arith.minui %[[NEXT]], %[[LAST]]
// CHECK: %[[OWN:.*]] = arith.minui %[[ROW]], %[[LAST]]
// CHECK: vector.shuffle %[[BETWEEN]], %[[BETWEEN]]
// CHECK: %[[SUM:.*]] = vector.extract
// CHECK: scf.for %{{.*}} iter_args({{.*}}) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK: vector.load %[[X]][%[[BEHIND]],
// CHECK: vector.load %[[X]][%[[OWN]],
// CHECK: %[[KNOWN:.*]] = vector.broadcast %[[OWN_SUM]]
// CHECK: arith.subf %{{.*}}, %[[KNOWN]]
// CHECK: vector.store %{{.*}}, %[[Y]][%[[OWN]],
// CHECK-NOT: vector.{{shuffle|extract}}
// CHECK: scf.yield %[[SUM]], %{{.*}} : f32, vector<16xf32>
// Fewer rows come one after the other.
// CHECK: } else {
// CHECK: scf.for %[[ROW:.*]] = %c0 to %[[ROWS]] step %c1 {
// CHECK: vector.load %[[X]][%[[ROW]],
// CHECK: vector.extract
// CHECK: vector.load %[[X]][%[[ROW]],
// CHECK: vector.store %{{.*}}, %[[Y]][%[[ROW]],
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

// -----

// Pages of a table that no cache holds are looked up first, and each line of its
// rows is fetched some rows before: 16 floats or 64 bytes. A small table is not.
#ids = affine_map<(b, c) -> (b)>
#table = affine_map<(b, c) -> (0, c)>
#full = affine_map<(b, c) -> (b, c)>
// CHECK-LABEL: func @tables(
// CHECK-SAME: %{{.*}}: memref<?xi64>, %[[LARGE:.*]]: memref<9000x64xf32>, %[[BYTES:.*]]: memref<30000x64xi8>, %{{.*}}: memref<100x64xf32>,
// CHECK: scf.for
// CHECK: memref.prefetch %[[LARGE]][%{{.*}}, %c0], read, locality<3>, data
// CHECK-NEXT: memref.prefetch %[[LARGE]][%{{.*}}, %c63], read
// CHECK-NEXT: memref.prefetch %[[BYTES]][%{{.*}}, %c0], read
// CHECK-NEXT: memref.prefetch %[[BYTES]][%{{.*}}, %c63], read
// CHECK-NOT: memref.prefetch
// CHECK: scf.for %[[ROW:[a-z0-9_]+]] = %c0
// CHECK: arith.addi %[[ROW]], %c6
// CHECK: memref.prefetch %[[BYTES]]
// CHECK-NOT: memref.prefetch %[[BYTES]]
func.func @tables(%i: memref<?xi64>, %t: memref<9000x64xf32>, %b: memref<30000x64xi8>, %s: memref<100x64xf32>, %y: memref<?x64xf32>) {
  qtx.rows ins(%i, %t, %b, %s : memref<?xi64>, memref<9000x64xf32>, memref<30000x64xi8>, memref<100x64xf32>)
      outs(%y : memref<?x64xf32>) maps [#ids, #table, #table, #table, #full] row_ids [-1, 0, 0, 0] {
  ^bb0(%id: i64, %0: f32, %1: i8, %2: f32):
    %3 = arith.sitofp %1 : i8 to f32
    %4 = arith.addf %0, %3 : f32
    %5 = arith.addf %4, %2 : f32
    %sum = qtx.row_reduce sum %5 : f32
    %6 = arith.subf %5, %sum : f32
    qtx.yield %6 : f32
  }
  return
}

// -----

// Between bounds that are integers, rounding is part of the conversion. Groups
// have loops of their own, with their parameters, and a vector for their rest.
// CHECK-LABEL: func @groups(
// CHECK-SAME: %[[X:.*]]: memref<?x81xf32>, %[[Y:.*]]: memref<?x81xi32>)
// CHECK-DAG: %[[FINE:.*]] = arith.constant dense<2.000000e+00> : vector<16xf32>
// CHECK-DAG: %[[COARSE:.*]] = arith.constant dense<5.000000e-01> : vector<16xf32>
// CHECK-DAG: %[[LOW:.*]] = arith.constant dense<-3.000000e+00> : vector<16xf32>
// CHECK-DAG: %[[ZERO:.*]] = arith.constant dense<0.000000e+00> : vector<16xf32>
// CHECK-NOT: memref.get_global
// CHECK: scf.for %[[ROW:.*]] = %c0
// CHECK: scf.for %[[COLUMN:.*]] = %c0{{.*}} to %c32{{.*}} step %c16
// CHECK: %[[V:.*]] = vector.load %[[X]][%[[ROW]], %[[COLUMN]]]
// CHECK: %[[SCALED:.*]] = arith.mulf %[[V]], %[[FINE]]
// CHECK: %[[ABOVE:.*]] = arith.cmpf ogt, %[[SCALED]], %[[LOW]]
// CHECK: %[[MAX:.*]] = arith.select %[[ABOVE]], %[[SCALED]], %[[LOW]]
// CHECK: arith.cmpf olt, %[[MAX]]
// CHECK: llvm.call_intrinsic "llvm.lrint.v16i32.v16f32"
// CHECK-NOT: roundeven
// CHECK: vector.store
// CHECK: vector.maskedload %[[X]]
// CHECK: arith.mulf %{{.*}}, %[[FINE]]
// CHECK: memref.store
// CHECK: scf.for %{{.*}} = %c33{{.*}} to %c81{{.*}} step %c16
// CHECK: arith.mulf %{{.*}}, %[[COARSE]]
// CHECK: arith.cmpf ogt, %{{.*}}, %[[ZERO]]
#full = affine_map<(b, c) -> (b, c)>
#column = affine_map<(b, c) -> (c)>
memref.global "private" constant @gain : memref<81xf32> = dense_resource<gain>
memref.global "private" constant @zero_point : memref<81xi32> = dense_resource<zero_point>
func.func @groups(%x: memref<?x81xf32>, %y: memref<?x81xi32>) {
  %g = memref.get_global @gain : memref<81xf32>
  %z = memref.get_global @zero_point : memref<81xi32>
  qtx.rows ins(%x, %g, %z : memref<?x81xf32>, memref<81xf32>, memref<81xi32>) outs(%y : memref<?x81xi32>) maps [#full, #column, #column, #full] {
  ^bb0(%a: f32, %gain: f32, %zero: i32):
    %c0 = arith.constant 0 : i32
    %high = arith.constant 7.0 : f32
    %scaled = arith.mulf %a, %gain : f32
    %rounded = math.roundeven %scaled : f32
    %below = arith.subi %c0, %zero : i32
    %low = arith.sitofp %below : i32 to f32
    %0 = arith.maxnumf %rounded, %low : f32
    %1 = arith.minnumf %0, %high : f32
    %r = arith.fptosi %1 : f32 to i32
    qtx.yield %r : i32
  }
  return
}
{-# dialect_resources: { builtin: {
  gain: "0x040000000000004000000040000000400000004000000040000000400000004000000040000000400000004000000040000000400000004000000040000000400000004000000040000000400000004000000040000000400000004000000040000000400000004000000040000000400000004000000040000000400000004000000040000000400000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F0000003F",
  zero_point: "0x04000000030000000300000003000000030000000300000003000000030000000300000003000000030000000300000003000000030000000300000003000000030000000300000003000000030000000300000003000000030000000300000003000000030000000300000003000000030000000300000003000000030000000300000003000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
} } #-}

// -----

// A bound that is no integer keeps the rounding before it.
// CHECK-LABEL: func @no_integers(
// CHECK: math.roundeven
// CHECK-NOT: lrint
#map = affine_map<(c) -> (c)>
func.func @no_integers(%x: memref<?xf32>, %y: memref<?xi32>) {
  qtx.rows ins(%x : memref<?xf32>) outs(%y : memref<?xi32>) maps [#map, #map] {
  ^bb0(%a: f32):
    %low = arith.constant -2.5 : f32
    %high = arith.constant 7.0 : f32
    %rounded = math.roundeven %a : f32
    %0 = arith.maxnumf %rounded, %low : f32
    %1 = arith.minnumf %0, %high : f32
    %r = arith.fptosi %1 : f32 to i32
    qtx.yield %r : i32
  }
  return
}

// -----

// An output in the place of an input keeps nothing: the input is read again.
#full = affine_map<(b, c) -> (b, c)>
// CHECK-LABEL: func @kept_in_place(
// CHECK-SAME: %[[X:.*]]: memref<?x32xf32>)
// CHECK: %[[BUFFER:.*]] = memref.alloca() : memref<32xf32>
// CHECK: vector.load %[[X]]
// CHECK-NOT: vector.store {{.*}}, %[[X]]
// CHECK: vector.store %{{.*}}, %[[BUFFER]]
// CHECK: vector.load %[[BUFFER]]
// CHECK: vector.load %[[X]]
// CHECK: vector.store {{.*}}, %[[X]]
func.func @kept_in_place(%x: memref<?x32xf32>) {
  qtx.rows ins(%x : memref<?x32xf32>) outs(%x : memref<?x32xf32>) maps [#full, #full] {
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
    %8 = arith.addf %7, %a : f32
    qtx.yield %8 : f32
  }
  return
}

// -----

// The sum is known in the first pass, but written in the last one: both passes read
// what lies there. All is read before something is written.
#full = affine_map<(b, c) -> (b, c)>
// CHECK-LABEL: func @early_in_place(
// CHECK-SAME: %[[X:.*]]: memref<?x16xf32>, %[[R:.*]]: memref<?x16xf32>)
// CHECK-NOT: vector.store
// CHECK: scf.for %{{.*}} iter_args(%{{.*}}, %{{.*}}) -> (f32, vector<16xf32>)
// CHECK: vector.load %[[X]]
// CHECK-NEXT: vector.load %[[R]]
// CHECK-NEXT: arith.addf
// CHECK-NEXT: arith.addf
// CHECK-NEXT: vector.load %[[X]]
// CHECK-NEXT: vector.load %[[R]]
// CHECK-NEXT: %[[SUM:.*]] = arith.addf
// CHECK-NEXT: vector.broadcast
// CHECK-NEXT: %[[C:.*]] = arith.subf %[[SUM]]
// CHECK-NEXT: vector.store %[[SUM]], %[[R]]
// CHECK-NEXT: vector.store %[[C]], %[[X]]
// CHECK: } else {
// CHECK: scf.for
// CHECK-NOT: vector.store
// CHECK: %[[C:.*]] = arith.subf %[[SUM:.*]], %{{.*}}
// CHECK-NEXT: vector.store %[[SUM]], %[[R]]
// CHECK-NEXT: vector.store %[[C]], %[[X]]
func.func @early_in_place(%x: memref<?x16xf32>, %r: memref<?x16xf32>) {
  qtx.rows ins(%x, %r : memref<?x16xf32>, memref<?x16xf32>) outs(%r, %x : memref<?x16xf32>, memref<?x16xf32>)
      maps [#full, #full, #full, #full] {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    %sum = qtx.row_reduce sum %0 : f32
    %1 = arith.subf %0, %sum : f32
    qtx.yield %0, %1 : f32, f32
  }
  return
}

// -----

// What an early pass writes keeps nothing for a later one.
#full = affine_map<(b, c) -> (b, c)>
// CHECK-LABEL: func @kept_longer(
// CHECK-SAME: %{{.*}}: memref<?x32xf32>, %[[Y:.*]]: memref<?x32xf32>, %[[Z:.*]]: memref<?x32xf32>)
// CHECK-NOT: memref.alloc
// CHECK: vector.store %{{.*}}, %[[Z]]
// CHECK: vector.store %{{.*}}, %[[Y]]
// CHECK-NOT: vector.store %{{.*}}, %[[Y]]
// CHECK: vector.load %[[Z]]
// CHECK: vector.store %{{.*}}, %[[Z]]
func.func @kept_longer(%x: memref<?x32xf32>, %y: memref<?x32xf32>, %z: memref<?x32xf32>) {
  qtx.rows ins(%x : memref<?x32xf32>) outs(%y, %z : memref<?x32xf32>, memref<?x32xf32>) maps [#full, #full, #full] {
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
    %max = qtx.row_reduce max %7 : f32
    %8 = arith.divf %6, %max : f32
    qtx.yield %7, %8 : f32, f32
  }
  return
}
