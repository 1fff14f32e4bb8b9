// RUN: qtx-opt %s -qtx-align-parts -split-input-file | FileCheck %s

#row = affine_map<(b, c) -> (b, c)>
#column = affine_map<(b, c) -> (c)>
#number = affine_map<(b, c) -> (b)>
#last = affine_map<(b, c) -> (b, 0)>
#rows = affine_map<(a, b, c) -> (a, b)>
#cube = affine_map<(a, b, c) -> (a, b, c)>
#across = affine_map<(a, b, c) -> (b, a, c)>
#config = #qtx.micro_kernel<"x86-avx2-fma", rows = 6, vectors = 2, block = 96>
#other = #qtx.micro_kernel<"x86-avx2-fma", rows = 4, vectors = 2, block = 96>

module attributes {qtx.threads = 2 : i64} {
  // A normalisation, two layers and what adds to the first buffer. Allocations and
  // other views of a buffer may lie between them.
  // CHECK-LABEL: func @chain
  // CHECK: memref.get_global
  // CHECK: qtx.rows {{.*}} attributes {qtx.aligned_parts = {group = 0 : i64, min_rows = 64 : i64, unit = 6 : i64}}
  // CHECK: qtx.kernel "qtx.linear"{{.*}} {qtx.aligned_parts = {group = 0 : i64, min_rows = 64 : i64, unit = 6 : i64}}
  // CHECK: memref.alloc
  // CHECK: qtx.kernel "qtx.linear"{{.*}} {qtx.aligned_parts = {group = 0 : i64
  // CHECK: qtx.rows {{.*}} attributes {qtx.aligned_parts = {group = 0 : i64
  // CHECK: return
  memref.global "private" constant @w : memref<64xf32> = dense<1.0>
  func.func @chain(%x: memref<?x8xf32>, %g: memref<8xf32>, %n: index) {
    %w = memref.get_global @w : memref<64xf32>
    %a = memref.alloc(%n) : memref<?x8xf32>
    qtx.rows ins(%x, %g : memref<?x8xf32>, memref<8xf32>) outs(%a : memref<?x8xf32>) maps [#row, #column, #row] {
    ^bb0(%p: f32, %q: f32):
      %r = arith.addf %p, %q : f32
      qtx.yield %r : f32
    }
    %b = memref.alloc(%n) : memref<?x8xf32>
    qtx.kernel "qtx.linear"(%a, %w) outs(%b) {activation = #qtx<activation none>, config = #config,
        partition = {row_split = 64 : i64, threads = 2 : i64}, operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>, segments = array<i64: 8>}
        : (memref<?x8xf32>, memref<64xf32>, memref<?x8xf32>) -> ()
    %c = memref.alloc(%n) : memref<?x8xf32>
    %cast = memref.cast %b : memref<?x8xf32> to memref<?x?xf32>
    %back = memref.cast %cast : memref<?x?xf32> to memref<?x8xf32>
    qtx.kernel "qtx.linear"(%back, %w) outs(%c) {accumulate, activation = #qtx<activation none>, config = #config,
        partition = {row_split = 32 : i64, threads = 2 : i64}, operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>, segments = array<i64: 8>}
        : (memref<?x8xf32>, memref<64xf32>, memref<?x8xf32>) -> ()
    qtx.rows ins(%c, %x : memref<?x8xf32>, memref<?x8xf32>) outs(%c : memref<?x8xf32>) maps [#row, #row, #row] {
    ^bb0(%p: f32, %q: f32):
      %r = arith.mulf %p, %q : f32
      qtx.yield %r : f32
    }
    return
  }

  // What a thread reads of another one's rows, a table here, starts a group anew.
  // CHECK-LABEL: func @table
  // CHECK-NOT: aligned_parts
  // CHECK: return
  func.func @table(%x: memref<?x8xf32>, %ids: memref<?xi64>, %a: memref<4x8xf32>, %y: memref<?x8xf32>) {
    qtx.rows ins(%x : memref<?x8xf32>) outs(%a : memref<4x8xf32>) maps [#row, #row] {
    ^bb0(%p: f32):
      qtx.yield %p : f32
    }
    qtx.rows ins(%ids, %a : memref<?xi64>, memref<4x8xf32>) outs(%y : memref<?x8xf32>) maps [#number, #last, #row] row_ids [-1, 0] {
    ^bb0(%i: i64, %p: f32):
      qtx.yield %p : f32
    }
    return
  }

  // Nor may rows be in another order, of another size, or written by what is no
  // such operation.
  // CHECK-LABEL: func @across
  // CHECK-NOT: aligned_parts
  // CHECK: return
  func.func @across(%x: memref<?x?x8xf32>, %a: memref<?x?x8xf32>, %b: memref<?x?x8xf32>, %c: memref<?x4xf32>, %d: memref<?x2xf32>, %n: index) {
    qtx.rows ins(%x : memref<?x?x8xf32>) outs(%a : memref<?x?x8xf32>) maps [#cube, #cube] {
    ^bb0(%p: f32):
      qtx.yield %p : f32
    }
    qtx.rows ins(%a : memref<?x?x8xf32>) outs(%b : memref<?x?x8xf32>) maps [#across, #cube] {
    ^bb0(%p: f32):
      qtx.yield %p : f32
    }
    %view = memref.expand_shape %b [[0], [1], [2, 3]] output_shape [%n, %n, 2, 4] : memref<?x?x8xf32> into memref<?x?x2x4xf32>
    %rows = memref.collapse_shape %view [[0, 1, 2], [3]] : memref<?x?x2x4xf32> into memref<?x4xf32>
    qtx.rows ins(%rows : memref<?x4xf32>) outs(%c : memref<?x4xf32>) maps [#row, #row] {
    ^bb0(%p: f32):
      qtx.yield %p : f32
    }
    %zero = arith.constant 0.0 : f32
    linalg.fill ins(%zero : f32) outs(%c : memref<?x4xf32>)
    qtx.rows ins(%c : memref<?x4xf32>) outs(%c : memref<?x4xf32>) maps [#row, #row] {
    ^bb0(%p: f32):
      qtx.yield %p : f32
    }
    return
  }

  // Parts of tiles of other sizes have other rows.
  // CHECK-LABEL: func @tiles
  // CHECK-NOT: aligned_parts
  // CHECK: return
  func.func @tiles(%x: memref<?x8xf32>, %w: memref<64xf32>, %a: memref<?x8xf32>, %b: memref<?x8xf32>) {
    qtx.kernel "qtx.linear"(%x, %w) outs(%a) {activation = #qtx<activation none>, config = #config,
        partition = {row_split = 64 : i64, threads = 2 : i64}, operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>, segments = array<i64: 8>}
        : (memref<?x8xf32>, memref<64xf32>, memref<?x8xf32>) -> ()
    qtx.kernel "qtx.linear"(%a, %w) outs(%b) {activation = #qtx<activation none>, config = #other,
        partition = {row_split = 32 : i64, threads = 2 : i64}, operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>, segments = array<i64: 8>}
        : (memref<?x8xf32>, memref<64xf32>, memref<?x8xf32>) -> ()
    return
  }

  // Eight numbers, one for each row, are one row of what reads them.
  // CHECK-LABEL: func @numbers
  // CHECK-NOT: aligned_parts
  // CHECK: return
  func.func @numbers(%x: memref<?x8x4xf32>, %w: memref<64xf32>, %a: memref<?x8xf32>, %b: memref<?x8xf32>) {
    qtx.rows ins(%x : memref<?x8x4xf32>) outs(%a : memref<?x8xf32>) maps [#cube, #rows] {
    ^bb0(%p: f32):
      %sum = qtx.row_reduce sum %p : f32
      qtx.yield %sum : f32
    }
    qtx.kernel "qtx.linear"(%a, %w) outs(%b) {activation = #qtx<activation none>, config = #config,
        partition = {row_split = 64 : i64, threads = 2 : i64}, operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>, segments = array<i64: 8>}
        : (memref<?x8xf32>, memref<64xf32>, memref<?x8xf32>) -> ()
    return
  }

  // Nothing is known of other buffers that a buffer may overlap.
  // CHECK-LABEL: func @unknown
  // CHECK-NOT: aligned_parts
  // CHECK: return
  func.func @unknown(%x: memref<?x8xf32>, %a: memref<?x8xf32>, %i: i1) {
    %b = arith.select %i, %x, %a : memref<?x8xf32>
    qtx.rows ins(%x : memref<?x8xf32>) outs(%a : memref<?x8xf32>) maps [#row, #row] {
    ^bb0(%p: f32):
      qtx.yield %p : f32
    }
    qtx.rows ins(%a : memref<?x8xf32>) outs(%b : memref<?x8xf32>) maps [#row, #row] {
    ^bb0(%p: f32):
      qtx.yield %p : f32
    }
    return
  }
}

// -----

// One thread needs no parts.
// CHECK-LABEL: func @one
// CHECK-NOT: aligned_parts
// CHECK: return
#row = affine_map<(b, c) -> (b, c)>
func.func @one(%x: memref<?x8xf32>, %a: memref<?x8xf32>, %b: memref<?x8xf32>) {
  qtx.rows ins(%x : memref<?x8xf32>) outs(%a : memref<?x8xf32>) maps [#row, #row] {
  ^bb0(%p: f32):
    qtx.yield %p : f32
  }
  qtx.rows ins(%a : memref<?x8xf32>) outs(%b : memref<?x8xf32>) maps [#row, #row] {
  ^bb0(%p: f32):
    qtx.yield %p : f32
  }
  return
}
