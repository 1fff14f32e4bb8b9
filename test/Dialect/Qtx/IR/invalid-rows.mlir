// RUN: qtx-opt %s --split-input-file --verify-diagnostics

func.func @output() {
  // expected-error @below {{expected an output, found none}}
  "qtx.rows"() <{indexing_maps = [], operandSegmentSizes = array<i32: 0, 0>}> ({
    qtx.yield
  }) : () -> ()
  return
}

// -----

#map = affine_map<(c) -> (c)>
func.func @maps(%x: tensor<8xf32>) {
  // expected-error @below {{expected 2 indexing maps, one for each operand, found 1}}
  %y = qtx.rows ins(%x : tensor<8xf32>) outs(%x : tensor<8xf32>) maps [#map] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  } -> tensor<8xf32>
  return
}

// -----

#map = affine_map<(c) -> (c)>
#twice = affine_map<(c) -> (c, c)>
func.func @map(%x: tensor<8x8xf32>, %e: tensor<8xf32>) {
  // expected-error @below {{expected indexing map 0 to select from 1 dimensions the 2 of its operand, the column last, found affine_map<(d0) -> (d0, d0)>}}
  %y = qtx.rows ins(%x : tensor<8x8xf32>) outs(%e : tensor<8xf32>) maps [#twice, #map] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  } -> tensor<8xf32>
  return
}

// -----

#row = affine_map<(b, c) -> (b)>
func.func @dimension(%e: tensor<8xf32>) {
  // expected-error @below {{expected every dimension in a map, found none with 1}}
  %y = qtx.rows outs(%e : tensor<8xf32>) maps [#row] {
    %0 = arith.constant 0.0 : f32
    qtx.yield %0 : f32
  } -> tensor<8xf32>
  return
}

// -----

#map = affine_map<(c) -> (c)>
func.func @ids(%x: tensor<8xf32>, %e: tensor<8xf32>) {
  // expected-error @below {{expected for each input -1 or the number of an input of integers, one per row, found row_ids array<i64: 0>}}
  %y = qtx.rows ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) maps [#map, #map] row_ids [0] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  } -> tensor<8xf32>
  return
}

// -----

#row = affine_map<(r, c) -> (r)>
#map = affine_map<(r, c) -> (r, c)>
func.func @table(%x: tensor<?x8xf32>, %ids: tensor<4xi64>, %e: tensor<4x8xf32>) {
  // expected-error @below {{expected a table with a static number of rows for input 0, found 'tensor<?x8xf32>'}}
  %y = qtx.rows ins(%x, %ids : tensor<?x8xf32>, tensor<4xi64>) outs(%e : tensor<4x8xf32>) maps [#map, #row, #map] row_ids [1, -1] {
  ^bb0(%a: f32, %id: i64):
    qtx.yield %a : f32
  } -> tensor<4x8xf32>
  return
}

// -----

#map = affine_map<(c) -> (c)>
func.func @columns(%x: tensor<8xf32>, %e: tensor<8xf32>) {
  // expected-error @below {{expected for each output -1 or the number of an input of integers, one per column, found column_ids array<i64: 0>}}
  %y = qtx.rows ins(%x : tensor<8xf32>) outs(%e : tensor<8xf32>) maps [#map, #map] column_ids [0] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  } -> tensor<8xf32>
  return
}

// -----

#map = affine_map<(c) -> (c)>
#row = affine_map<(r, c) -> (r)>
#full = affine_map<(r, c) -> (r, c)>
func.func @ids_of_columns(%x: tensor<8xi32>, %e: tensor<8x8xi32>) {
  // expected-error @below {{expected for each output -1 or the number of an input of integers, one per column, found column_ids array<i64: 0>}}
  %y = qtx.rows ins(%x : tensor<8xi32>) outs(%e : tensor<8x8xi32>) maps [#row, #full] column_ids [0] {
  ^bb0(%a: i32):
    qtx.yield %a : i32
  } -> tensor<8x8xi32>
  return
}

// -----

#map = affine_map<(c) -> (c)>
func.func @arguments(%x: tensor<8xi8>, %e: tensor<8xf32>) {
  // expected-error @below {{expected the arguments of the body to be elements of the inputs}}
  %y = qtx.rows ins(%x : tensor<8xi8>) outs(%e : tensor<8xf32>) maps [#map, #map] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  } -> tensor<8xf32>
  return
}

// -----

#map = affine_map<(c) -> (c)>
func.func @yield(%x: tensor<8xi8>, %e: tensor<8xf32>) {
  // expected-error @below {{expected the body to yield elements of the outputs}}
  %y = qtx.rows ins(%x : tensor<8xi8>) outs(%e : tensor<8xf32>) maps [#map, #map] {
  ^bb0(%a: i8):
    qtx.yield %a : i8
  } -> tensor<8xf32>
  return
}

// -----

#map = affine_map<(c) -> (c)>
func.func @results(%x: memref<8xf32>, %e: tensor<8xf32>) {
  // expected-error @below {{expected a result for each output that is a tensor, found 0 results}}
  qtx.rows ins(%x : memref<8xf32>) outs(%e : tensor<8xf32>) maps [#map, #map] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  }
  return
}

// -----

#full = affine_map<(b, c) -> (b, c)>
#row = affine_map<(b, c) -> (b)>
func.func @per_row(%x: tensor<8x8xf32>, %e: tensor<8xf32>) {
  // expected-error @below {{expected one value per row for output 0, found one per column}}
  %y = qtx.rows ins(%x : tensor<8x8xf32>) outs(%e : tensor<8xf32>) maps [#full, #row] {
  ^bb0(%a: f32):
    qtx.yield %a : f32
  } -> tensor<8xf32>
  return
}
