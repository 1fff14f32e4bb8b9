// RUN: qtx-opt %s --qtx-to-storage --convert-qtx-to-rows --qtx-fuse-rows --cse --split-input-file | FileCheck %s
// RUN: qtx-opt %s --qtx-to-storage --convert-qtx-to-rows --qtx-fuse-rows --split-input-file --remarks-filter-passed=qtx-fuse-rows 2>&1 | FileCheck %s --check-prefix=REMARK

// REMARK: joined with the rows that it reads
// REMARK: joined with rows that reduce the same values

// A residual sum, a normalisation and a quantization are one pass over the data.
// The normalised value is read twice and stays a result.
// CHECK-LABEL: func @chain(
// CHECK: %[[Y:.*]]:2 = qtx.rows {{.*}} outs(%{{.*}}, %{{.*}} : tensor<?x8xi8>, tensor<?x8xf32>)
// CHECK: arith.addf
// CHECK: qtx.row_reduce sum
// CHECK: qtx.row_reduce square_sum
// CHECK: math.roundeven
// CHECK-NOT: qtx.rows
// CHECK: return %[[Y]]#1, %[[Y]]#0
func.func @chain(%x: tensor<?x8xf32>, %r: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xi8>) {
  %s = qtx.add %x, %r : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = qtx.layer_norm %s epsilon 1.0e-5 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %q = qtx.quantize %y to !quant.uniform<i8:f32, 0.5> : tensor<?x8xf32> -> tensor<?x8xi8>
  return %y, %q : tensor<?x8xf32>, tensor<?x8xi8>
}

// -----

// Two normalisations of one sum share its mean and variance.
// CHECK-LABEL: func @twice(
// CHECK: %{{.*}}:2 = qtx.rows
// CHECK: qtx.row_reduce sum
// CHECK: qtx.row_reduce square_sum
// CHECK-NOT: qtx.row_reduce
// CHECK: return
func.func @twice(%x: tensor<?x8xf32>, %r: tensor<?x8xf32>, %g: tensor<8xf32>, %h: tensor<8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %s = qtx.add %x, %r : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = qtx.layer_norm %s gamma(%g) epsilon 1.0e-5 : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %z = qtx.layer_norm %s gamma(%h) epsilon 1.0e-5 : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// So they do where one of them is read behind the reader of the other.
// CHECK-LABEL: func @stream(
// CHECK: %[[Y:.*]]:2 = qtx.rows
// CHECK: qtx.row_reduce sum
// CHECK: qtx.row_reduce square_sum
// CHECK-NOT: qtx.row_reduce
// CHECK: %[[L:.*]] = qtx.linear %[[Y]]#0
// CHECK: qtx.rows ins(%[[L]], %[[Y]]#1
// CHECK-NEXT: ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32):
// CHECK-NEXT: arith.addf %[[A]], %[[B]]
// CHECK-NEXT: qtx.yield
func.func @stream(%x: tensor<?x8xf32>, %r: tensor<?x8xf32>, %g: tensor<8xf32>, %h: tensor<8xf32>, %w: tensor<8x8xf32>) -> tensor<?x8xf32> {
  %s = qtx.add %x, %r : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = qtx.layer_norm %s gamma(%g) epsilon 1.0e-5 : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %z = qtx.layer_norm %s gamma(%h) epsilon 1.0e-5 : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %q = qtx.relu %z : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %l = qtx.linear %q, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %o = qtx.add %l, %y : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %o : tensor<?x8xf32>
}

// -----

// Rows of another order are computed before.
// CHECK-LABEL: func @order(
// CHECK-COUNT-2: qtx.rows
func.func @order(%x: tensor<?x?x8xf32>) -> tensor<?x2x?x4xf32> {
  %r = qtx.relu %x : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %y = qtx.split_heads %r : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  return %y : tensor<?x2x?x4xf32>
}

// -----

// The result is read before the consumer could compute it.
// CHECK-LABEL: func @between(
// CHECK: qtx.rows
// CHECK: qtx.linear
// CHECK: qtx.rows
func.func @between(%x: tensor<?x8xf32>, %w: tensor<8x8xf32>) -> tensor<?x8xf32> {
  %r = qtx.relu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %l = qtx.linear %r, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %y = qtx.add %r, %l : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Channels move where the rows are written. What reads them comes behind.
// CHECK-LABEL: func @permute(
// CHECK: %[[P:.*]] = arith.constant dense<[1, 3, 0, 2]> : tensor<4xi32>
// CHECK: %[[Y:.*]]:2 = qtx.rows ins(%{{.*}}, %[[P]] : {{.*}}) outs(%{{.*}}, %{{.*}}) {{.*}} column_ids [1, -1]
// CHECK: qtx.row_reduce square_sum
// CHECK: qtx.rows ins(%[[Y]]#0 :
// CHECK-NOT: qtx.row_reduce
// CHECK-NOT: column_ids
// CHECK: return
func.func @permute(%x: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %p = arith.constant dense<[2, 0, 3, 1]> : tensor<4xi32>
  %n = qtx.layer_norm %x epsilon 1.0e-5 : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = qtx.permute %n by %p : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
  %z = qtx.relu %y : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %n, %z : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

// Two normalisations of what is no rows are one pass over it, too. One of them takes
// its place, where nothing else reads it.
// CHECK-LABEL: func @siblings(
// CHECK: %[[L:.*]] = qtx.linear
// CHECK: %[[Y:.*]]:2 = qtx.rows ins(%[[L]], {{.*}}) outs(%[[L]], %{{.*}} :
// CHECK: qtx.row_reduce sum
// CHECK: qtx.row_reduce square_sum
// CHECK-NOT: qtx.row
// CHECK: return %[[Y]]#1, %[[Y]]#0
func.func @siblings(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %h: tensor<8xf32>, %w: tensor<8x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %l = qtx.linear %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %y = qtx.layer_norm %l gamma(%g) epsilon 1.0e-5 : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %z = qtx.layer_norm %l gamma(%h) epsilon 1.0e-5 : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// One that needs the other has to wait.
// CHECK-LABEL: func @dependent(
// CHECK: qtx.rows ins(%arg0
// CHECK: qtx.linear
// CHECK: qtx.rows ins(%arg0
func.func @dependent(%x: tensor<8xf32>, %w: tensor<8x8xf32>) -> tensor<8xf32> {
  %y = qtx.layer_norm %x epsilon 1.0e-5 : (tensor<8xf32>) -> tensor<8xf32>
  %l = qtx.linear %y, %w : (tensor<8xf32>, tensor<8x8xf32>) -> tensor<8xf32>
  %z = qtx.layer_norm %x gamma(%l) epsilon 1.0e-5 : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  return %z : tensor<8xf32>
}

// -----

// Without sums there is little to share.
// CHECK-LABEL: func @no_sums(
// CHECK-COUNT-2: qtx.rows ins(%arg0
func.func @no_sums(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %y = qtx.relu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %z = qtx.layer_norm %x epsilon 1.0e-5 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// Each output takes the place of another input.
// CHECK-LABEL: func @places(
// CHECK: %[[A:.*]] = qtx.linear
// CHECK: %[[B:.*]] = qtx.linear
// CHECK: qtx.rows ins(%[[A]], %[[B]] : {{.*}}) outs(%[[A]], %[[B]] :
func.func @places(%x: tensor<?x8xf32>, %w: tensor<8x8xf32>, %v: tensor<8x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %a = qtx.linear %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %b = qtx.linear %x, %v : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %s = qtx.add %a, %b : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %n = qtx.layer_norm %s epsilon 1.0e-5 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %n, %s : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----

// What is read later, belongs to the caller, has other elements, or is read in another
// order, stays.
// CHECK-LABEL: func @read_later(
// CHECK: %[[L:.*]] = qtx.linear
// CHECK: %[[E:.*]] = tensor.empty
// CHECK: qtx.rows ins(%[[L]] : {{.*}}) outs(%[[E]] :
func.func @read_later(%x: tensor<?x8xf32>, %w: tensor<8x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %l = qtx.linear %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %y = qtx.relu %l : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y, %l : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: func @argument(
// CHECK: %[[E:.*]] = tensor.empty
// CHECK: qtx.rows ins(%arg0 : {{.*}}) outs(%[[E]] :
func.func @argument(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = qtx.relu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func @view_of_argument(
// CHECK: %[[V:.*]] = tensor.collapse_shape %arg0
// CHECK: %[[E:.*]] = tensor.empty
// CHECK: qtx.rows ins(%[[V]] : {{.*}}) outs(%[[E]] :
func.func @view_of_argument(%x: tensor<?x1x8xf32>) -> tensor<?x8xf32> {
  %v = tensor.collapse_shape %x [[0, 1], [2]] : tensor<?x1x8xf32> into tensor<?x8xf32>
  %y = qtx.relu %v : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func @other_type(
// CHECK: %[[L:.*]] = qtx.linear
// CHECK: %[[E:.*]] = tensor.empty
// CHECK: qtx.rows ins(%[[L]] : {{.*}}) outs(%[[E]] :
func.func @other_type(%x: tensor<?x8xf32>, %w: tensor<8x8xf32>) -> tensor<?x8xi8> {
  %l = qtx.linear %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %y = qtx.quantize %l to !quant.uniform<i8:f32, 0.5> : tensor<?x8xf32> -> tensor<?x8xi8>
  return %y : tensor<?x8xi8>
}

#first = affine_map<(b, c) -> (0, c)>
#full = affine_map<(b, c) -> (b, c)>
// CHECK-LABEL: func @other_order(
// CHECK: %[[L:.*]] = qtx.linear
// CHECK: %[[E:.*]] = tensor.empty
// CHECK: qtx.rows ins(%[[L]], %[[L]] : {{.*}}) outs(%[[E]] :
func.func @other_order(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %l = qtx.linear %x, %w : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %e = tensor.empty() : tensor<8x8xf32>
  %y = qtx.rows ins(%l, %l : tensor<8x8xf32>, tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) maps [#full, #first, #full] {
  ^bb0(%a: f32, %b: f32):
    %0 = arith.addf %a, %b : f32
    qtx.yield %0 : f32
  } -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// CHECK-LABEL: func @moved_columns(
// CHECK: %[[L:.*]] = qtx.linear
// CHECK: %[[E:.*]] = tensor.empty
// CHECK: qtx.rows ins(%[[L]], {{.*}}) outs(%[[E]] :
func.func @moved_columns(%x: tensor<?x8xf32>, %w: tensor<8x8xf32>) -> tensor<?x8xf32> {
  %p = arith.constant dense<[2, 0, 3, 1, 4, 5, 6, 7]> : tensor<8xi32>
  %l = qtx.linear %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  %y = qtx.permute %l by %p : (tensor<?x8xf32>, tensor<8xi32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
