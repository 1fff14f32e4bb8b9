// RUN: qtx-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(test-qtx-tile{sizes=4,3},canonicalize,cse)" | FileCheck %s

// A tile carries its part of every operand; the contracted axis stays whole.
// CHECK-LABEL: func @linear(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x8xi8>, %[[W:[a-z0-9]+]]: tensor<7x8xi8>, %[[S:[a-z0-9]+]]: tensor<7x3xf32>, %[[B:[a-z0-9]+]]: tensor<7xf32>, %[[C:[a-z0-9]+]]: tensor<3x7xi32>
// CHECK: scf.for %[[I:[a-z0-9]+]] =
// CHECK: scf.for %[[J:[a-z0-9]+]] =
// CHECK-DAG: %[[M:.*]] = affine.min #{{.*}}(%[[I]])
// CHECK-DAG: %[[N:.*]] = affine.min #{{.*}}(%[[J]])
// CHECK-DAG: %[[XT:.*]] = tensor.extract_slice %[[X]][%[[I]], 0] [%[[M]], 8] [1, 1]
// CHECK-DAG: %[[WT:.*]] = tensor.extract_slice %[[W]][%[[J]], 0] [%[[N]], 8] [1, 1]
// CHECK-DAG: %[[ST:.*]] = tensor.extract_slice %[[S]][%[[J]], 0] [%[[N]], 3] [1, 1]
// CHECK-DAG: %[[BT:.*]] = tensor.extract_slice %[[B]][%[[J]]] [%[[N]]] [1]
// CHECK-DAG: %[[CT:.*]] = tensor.extract_slice %[[C]][0, %[[J]]] [3, %[[N]]] [1, 1]
// CHECK: %[[T:.*]] = qtx.linear %[[XT]] as !quant.uniform<{{.*}}>, %[[WT]] scale(%[[ST]]) block 3 bias(%[[BT]]) seed(%[[CT]]) activation relu to !quant.uniform<{{.*}}>
// CHECK: tensor.insert_slice %[[T]] into %{{.*}}[%[[I]], %[[J]]] [%[[M]], %[[N]]] [1, 1]
func.func @linear(%x: tensor<?x8xi8>, %w: tensor<7x8xi8>, %s: tensor<7x3xf32>, %b: tensor<7xf32>, %c: tensor<3x7xi32>) -> tensor<?x7xi8> {
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5:3>, %w scale(%s) block 3 bias(%b) seed(%c) activation relu to !quant.uniform<i8:f32, 0.5>
      : (tensor<?x8xi8>, tensor<7x8xi8>, tensor<7x3xf32>, tensor<7xf32>, tensor<3x7xi32>) -> tensor<?x7xi8>
  return %y : tensor<?x7xi8>
}

// -----

// The groups of a tile depend on its place: they become parameters per channel.
// CHECK-LABEL: func @result_groups(
// CHECK-DAG: %[[S:.*]] = arith.constant dense<[5.0{{.*}}, 5.0{{.*}}, 5.0{{.*}}, 5.0{{.*}}, 2.0{{.*}}, 2.0{{.*}}]> : tensor<6xf32>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<[1, 1, 1, 1, 0, 0]> : tensor<6xi32>
// CHECK: scf.for
// CHECK: scf.for %[[J:[a-z0-9]+]] =
// CHECK-DAG: %[[ST:.*]] = tensor.extract_slice %[[S]][%[[J]]] [3] [1]
// CHECK-DAG: %[[ZT:.*]] = tensor.extract_slice %[[Z]][%[[J]]] [3] [1]
// CHECK: qtx.linear %{{.*}} out_scale(%[[ST]]) out_zero_point(%[[ZT]]) to !qtx.grouped<i8:f32, axis=-1, [1 * 3], ?>
func.func @result_groups(%x: tensor<?x8xf32>, %w: tensor<6x8xf32>) -> tensor<?x6xi8> {
  %y = qtx.linear %x, %w to !qtx.grouped<i8:f32, axis=-1, [4, 2], {0.5:1, 2.0}>
      : (tensor<?x8xf32>, tensor<6x8xf32>) -> tensor<?x6xi8>
  return %y : tensor<?x6xi8>
}

// -----

func.func @quantized_form(%x: tensor<?x8x!quant.uniform<i8:f32, 0.5>>, %w: tensor<6x8xi8>, %s: tensor<6xf32>) -> tensor<?x6xf32> {
  // expected-error-re@+3 {{fail{{e?}}d to tile operation}}
  // expected-error@+2 {{failed to generate tiling loops}}
  // expected-error@+1 {{'qtx.linear' op cannot be tiled in quantized form, found 'tensor<?x8x!quant.uniform<i8:f32, 5.000000e-01>>'; run 'qtx-to-storage' first}}
  %y = qtx.linear %x, %w scale(%s) : (tensor<?x8x!quant.uniform<i8:f32, 0.5>>, tensor<6x8xi8>, tensor<6xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// -----

func.func @remainder(%x: tensor<?x8xf32>, %w: tensor<7x8xf32>) -> tensor<?x7xi8> {
  // expected-error-re@+3 {{fail{{e?}}d to tile operation}}
  // expected-error@+2 {{failed to generate tiling loops}}
  // expected-error@+1 {{cannot be tiled: expected a tile size that divides the 7 outputs of a result that is quantized in groups}}
  %y = qtx.linear %x, %w to !qtx.grouped<i8:f32, axis=-1, [4, 3], {0.5:1, 2.0}>
      : (tensor<?x8xf32>, tensor<7x8xf32>) -> tensor<?x7xi8>
  return %y : tensor<?x7xi8>
}

// -----

func.func @run_time_groups(%x: tensor<?x8xf32>, %w: tensor<6x8xf32>, %s: tensor<2xf32>) -> tensor<?x6xi8> {
  // expected-error-re@+3 {{fail{{e?}}d to tile operation}}
  // expected-error@+2 {{failed to generate tiling loops}}
  // expected-error@+1 {{cannot be tiled: expected run-time parameters of the result for each of its 6 outputs, found 2 groups}}
  %y = qtx.linear %x, %w out_scale(%s) to !qtx.grouped<i8:f32, axis=-1, [4, 2], ?>
      : (tensor<?x8xf32>, tensor<6x8xf32>, tensor<2xf32>) -> tensor<?x6xi8>
  return %y : tensor<?x6xi8>
}
