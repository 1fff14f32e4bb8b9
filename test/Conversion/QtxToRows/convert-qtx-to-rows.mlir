// RUN: qtx-opt %s --qtx-to-storage --convert-qtx-to-rows --split-input-file | FileCheck %s
// RUN: qtx-opt %s --qtx-to-storage --convert-qtx-to-rows --split-input-file --remarks-filter-missed=convert-qtx-to-rows 2>&1 | FileCheck %s --check-prefix=REMARK

// REMARK: [Missed] ReferenceLowering | Category:convert-qtx-to-rows | Reason="storage has less than 8 bits"
// REMARK: Reason="several groups have run-time parameters"
// REMARK: Reason="the tensor has no dimensions"
// REMARK: Reason="it does not work row by row"
// REMARK: Reason="scalar loops compute 'math.sin'"
// REMARK: Reason="not a constant permutation of the last axis"
// REMARK: Reason="not a constant permutation of the last axis"
// REMARK: Reason="storage has less than 8 bits"
// REMARK-NOT: Reason=

// Two reductions: the mean, and the squares of what differs from it.
// CHECK-LABEL: func @layer_norm(
// CHECK: qtx.rows
// CHECK: %[[SUM:.*]] = qtx.row_reduce sum %[[X:.*]] : f32
// CHECK: %[[MEAN:.*]] = arith.divf %[[SUM]]
// CHECK: %[[C:.*]] = arith.subf %[[X]], %[[MEAN]]
// CHECK: qtx.row_reduce square_sum %[[C]]
// CHECK: math.fma
// CHECK: qtx.yield
func.func @layer_norm(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<?x8xf32> {
  %y = qtx.layer_norm %x gamma(%g) beta(%b) epsilon 1.0e-5 : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// A grouped result is multiplied by reciprocals, which are constants.
// CHECK-LABEL: func @grouped(
// CHECK-DAG: arith.constant dense<[2.000000e+00, 2.000000e+00, 4.000000e+00]> : tensor<3xf32>
// CHECK-DAG: arith.constant dense<[3, 3, 0]> : tensor<3xi32>
// CHECK: qtx.rows
// CHECK-NOT: arith.divf
// CHECK: math.roundeven
// CHECK: return
func.func @grouped(%x: tensor<?x3xf32>) -> tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5:3, 0.25}>> {
  %y = qtx.quantize %x : tensor<?x3xf32> -> tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5:3, 0.25}>>
  return %y : tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5:3, 0.25}>>
}

// -----

// The ids name the rows of the table and of its scales.
// CHECK-LABEL: func @embedding(
// CHECK: qtx.rows {{.*}} row_ids [-1, 0, 0]
func.func @embedding(%t: tensor<100x8xi8>, %s: tensor<100xf32>, %i: tensor<?x?xi64>) -> tensor<?x?x8xf32> {
  %y = qtx.embedding %t scale(%s), %i : (tensor<100x8xi8>, tensor<100xf32>, tensor<?x?xi64>) -> tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}

// -----

// One group per token: the parameters are values of a row.
// CHECK-LABEL: func @dynamic_quantize(
// CHECK: qtx.rows {{.*}} outs(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x8xi8>, tensor<?x1xf32>, tensor<?x1xi32>)
// CHECK: qtx.row_reduce min
// CHECK: qtx.row_reduce max
func.func @dynamic_quantize(%x: tensor<?x8xf32>) -> (tensor<?x8xi8>, tensor<?x1xf32>, tensor<?x1xi32>) {
  %q, %s, %z = qtx.dynamic_quantize %x to !qtx.grouped<i8:f32, axis=-1, [8], ?> : (tensor<?x8xf32>) -> (tensor<?x8xi8>, tensor<?x1xf32>, tensor<?x1xi32>)
  return %q, %s, %z : tensor<?x8xi8>, tensor<?x1xf32>, tensor<?x1xi32>
}

// -----

// Views of heads are rows of another order.
// CHECK-LABEL: func @heads(
// CHECK: %[[X:.*]] = tensor.expand_shape %{{.*}} {{\[\[}}0], [1], [2, 3]]
// CHECK: %[[Y:.*]] = qtx.rows ins(%[[X]] : tensor<?x?x2x4xf32>) outs(%{{.*}} : tensor<?x2x?x4xf32>)
// CHECK: %[[Z:.*]] = qtx.rows ins(%[[Y]] : tensor<?x2x?x4xf32>) outs(%{{.*}} : tensor<?x?x2x4xf32>)
// CHECK: tensor.collapse_shape %[[Z]] {{\[\[}}0], [1], [2, 3]]
func.func @heads(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  %y = qtx.split_heads %x : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  %z = qtx.merge_heads %y : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
  return %z : tensor<?x?x8xf32>
}

// -----

// What has no form in rows stays.
// CHECK-LABEL: func @kept(
// CHECK: qtx.quantize
// CHECK: qtx.dynamic_quantize
// CHECK: qtx.relu
func.func @kept(%x: tensor<?x8xf32>, %y: tensor<f32>) -> (tensor<?x8xi4>, tensor<?x8xi8>, tensor<f32>) {
  %q = qtx.quantize %x to !quant.uniform<i4:f32, 0.5> : tensor<?x8xf32> -> tensor<?x8xi4>
  %d, %s = qtx.dynamic_quantize %x symmetric to !qtx.grouped<i8:f32, axis=-1, [6, 2], ?> : (tensor<?x8xf32>) -> (tensor<?x8xi8>, tensor<?x2xf32>)
  %r = qtx.relu %y : (tensor<f32>) -> tensor<f32>
  return %q, %d, %r : tensor<?x8xi4>, tensor<?x8xi8>, tensor<f32>
}

// -----

// What is not for rows stays; masks and positions are integers.
// CHECK-LABEL: func @others(
// CHECK: qtx.linear
// CHECK: qtx.gate_projection
// CHECK: math.sin
// CHECK: arith.addi
func.func @others(%x: tensor<?x?x2xf32>, %w: tensor<2x2xf32>, %b: tensor<2xf32>, %n: tensor<4xi64>) -> (tensor<?x2x?xf32>, tensor<4xi64>) {
  %0 = qtx.linear %x, %w : (tensor<?x?x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
  %1 = qtx.gate_projection all_heads %0 weight(%w) bias(%b) : (tensor<?x?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2x?xf32>
  %2 = math.sin %1 : tensor<?x2x?xf32>
  %3 = arith.addi %n, %n : tensor<4xi64>
  return %2, %3 : tensor<?x2x?xf32>, tensor<4xi64>
}

// -----

// Channel i of the result was channel indices[i]: that one goes to column i.
// CHECK-LABEL: func @permute(
// CHECK: %[[P:.*]] = arith.constant dense<[1, 2, 0]> : tensor<3xi32>
// CHECK: qtx.rows ins(%{{.*}}, %[[P]] : tensor<?x3xi8>, tensor<3xi32>) {{.*}} column_ids [1]
// CHECK: ^bb0(%[[X:.*]]: i8, %{{.*}}: i32):
// CHECK-NEXT: qtx.yield %[[X]]
func.func @permute(%x: tensor<?x3xi8>) -> tensor<?x3xi8> {
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %y = qtx.permute %x by %p : (tensor<?x3xi8>, tensor<3xi32>) -> tensor<?x3xi8>
  return %y : tensor<?x3xi8>
}

// -----

// CHECK-LABEL: func @kept_permutes(
// CHECK-COUNT-3: qtx.permute
func.func @kept_permutes(%x: tensor<2x2xf32>, %i: tensor<2xi32>, %n: tensor<?x2xi4>) -> (tensor<2x2xf32>, tensor<?x2xi4>) {
  %p = arith.constant dense<[1, 0]> : tensor<2xi32>
  %y = qtx.permute %x by %i : (tensor<2x2xf32>, tensor<2xi32>) -> tensor<2x2xf32>
  %z = qtx.permute %y by %p axis -2 : (tensor<2x2xf32>, tensor<2xi32>) -> tensor<2x2xf32>
  %m = qtx.permute %n by %p : (tensor<?x2xi4>, tensor<2xi32>) -> tensor<?x2xi4>
  return %z, %m : tensor<2x2xf32>, tensor<?x2xi4>
}
