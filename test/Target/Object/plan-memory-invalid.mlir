// RUN: qtx-opt %s --qtx-plan-memory --split-input-file --verify-diagnostics

// expected-error@+1 {{expected a function in entry form, found none}}
module {
}

// -----

func.func @qtx_entry(%x: memref<4xindex> {qtx.role = "input", qtx.name = "x", qtx.element = "i64", qtx.dims = [""]}) -> i32 {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %n = memref.load %x[%c0] : memref<4xindex>
  // expected-error@+1 {{expected a size that follows from the sizes of the inputs}}
  %a = memref.alloc(%n) : memref<?xf32>
  return %ok : i32
}

// -----

// expected-error@+1 {{expected results whose sizes follow from the sizes of the inputs}}
func.func @qtx_entry(%x: memref<4xindex> {qtx.role = "input", qtx.name = "x", qtx.element = "i64", qtx.dims = [""]}) -> (i32, index) {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %n = memref.load %x[%c0] : memref<4xindex>
  return %ok, %n : i32, index
}

// -----

func.func @qtx_entry(%x: memref<4xf32> {qtx.role = "input", qtx.name = "x", qtx.element = "f32", qtx.dims = [""]}) -> i32 {
  %ok = arith.constant 0 : i32
  // expected-error@+1 {{expected a buffer in row-major order, found 'memref<4x4xf32, affine_map<(d0, d1) -> (d1, d0)>>'}}
  %a = memref.alloc() : memref<4x4xf32, affine_map<(d0, d1) -> (d1, d0)>>
  return %ok : i32
}

// -----

func.func @qtx_entry(%x: memref<4xf32> {qtx.role = "input", qtx.name = "x", qtx.element = "f32", qtx.dims = [""]}) -> i32 {
  %ok = arith.constant 0 : i32
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c9 = arith.constant 9 : index
  %r = scf.for %i = %c0 to %c9 step %c1 iter_args(%carried = %x) -> memref<4xf32> {
    // expected-error@+1 {{expected a buffer that one iteration of a loop uses}}
    %a = memref.alloc() : memref<4xf32>
    memref.copy %carried, %a : memref<4xf32> to memref<4xf32>
    scf.yield %a : memref<4xf32>
  }
  return %ok : i32
}
