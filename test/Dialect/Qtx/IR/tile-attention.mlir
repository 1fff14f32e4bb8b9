// RUN: qtx-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(test-qtx-tile{sizes=1,1,4,3},canonicalize,cse)" | FileCheck %s

// A tile has one head, the key and value head that it reads, its rows of the mask
// and the gate, and the place of its first query among the keys.
// CHECK-DAG: #[[$KEY_HEAD:.*]] = affine_map<(d0) -> (d0 floordiv 2)>
// CHECK-LABEL: func @clauses(
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<2x4x?x8xi8>, %[[K:[a-z0-9]+]]: tensor<2x2x?x8xi8>, %[[V:[a-z0-9]+]]: tensor<2x2x?x6xf32>, %[[M:[a-z0-9]+]]: tensor<2x1x?x?xi1>, %[[S:[a-z0-9]+]]: tensor<4xf32>, %[[G:[a-z0-9]+]]: tensor<2x4x?x6xf32>
// CHECK: scf.for %[[B:[a-z0-9]+]] =
// CHECK: scf.for %[[H:[a-z0-9]+]] =
// CHECK: scf.for %[[I:[a-z0-9]+]] =
// CHECK: scf.for %[[C:[a-z0-9]+]] =
// CHECK-DAG: %[[ROWS:.*]] = affine.min #{{.*}}(%[[I]])
// CHECK-DAG: %[[KH:.*]] = affine.apply #[[$KEY_HEAD]](%[[H]])
// CHECK-DAG: %[[QT:.*]] = tensor.extract_slice %[[Q]][%[[B]], %[[H]], %[[I]], 0] [1, 1, %[[ROWS]], 8] [1, 1, 1, 1]
// CHECK-DAG: %[[KT:.*]] = tensor.extract_slice %[[K]][%[[B]], %[[KH]], 0, 0] [1, 1, %{{.*}}, 8] [1, 1, 1, 1]
// CHECK-DAG: %[[VT:.*]] = tensor.extract_slice %[[V]][%[[B]], %[[KH]], 0, %[[C]]] [1, 1, %{{.*}}, 3] [1, 1, 1, 1]
// CHECK-DAG: %[[MT:.*]] = tensor.extract_slice %[[M]][%[[B]], 0, %[[I]], 0] [1, 1, %[[ROWS]], %{{.*}}] [1, 1, 1, 1]
// CHECK-DAG: %[[ST:.*]] = tensor.extract_slice %[[S]][%[[H]]] [1] [1]
// CHECK-DAG: %[[GT:.*]] = tensor.extract_slice %[[G]][%[[B]], %[[H]], %[[I]], %[[C]]] [1, 1, %[[ROWS]], 3] [1, 1, 1, 1]
// CHECK-DAG: %[[OFFSET:.*]] = affine.apply #{{.*}}(%[[I]])
// CHECK: %[[T:.*]] = qtx.attention %[[QT]] as !quant.uniform<{{.*}}>, %[[KT]] as !quant.uniform<{{.*}}>, %[[VT]] mask(%[[MT]]) causal offset(%[[OFFSET]]) scale 2.500000e-01 sink(%[[ST]]) clip [-3.000000e-02, 1.000000e+00] gate(%[[GT]]) gain 2.000000e+00
// CHECK: tensor.insert_slice %[[T]] into %{{.*}}[%[[B]], %[[H]], %[[I]], %[[C]]] [1, 1, %[[ROWS]], 3] [1, 1, 1, 1]
func.func @clauses(%q: tensor<2x4x?x8xi8>, %k: tensor<2x2x?x8xi8>, %v: tensor<2x2x?x6xf32>, %m: tensor<2x1x?x?xi1>, %s: tensor<4xf32>, %g: tensor<2x4x?x6xf32>) -> tensor<2x4x?x6xf32> {
  %y = qtx.attention %q as !quant.uniform<i8:f32, 0.5:3>, %k as !quant.uniform<i8:f32, 0.5>, %v
      mask(%m) causal scale 0.25 sink(%s) clip [-0.03, 1.0] gate(%g) gain 2.0
      : (tensor<2x4x?x8xi8>, tensor<2x2x?x8xi8>, tensor<2x2x?x6xf32>, tensor<2x1x?x?xi1>, tensor<4xf32>, tensor<2x4x?x6xf32>) -> tensor<2x4x?x6xf32>
  return %y : tensor<2x4x?x6xf32>
}

// -----

func.func @quantized_form(%q: tensor<2x4x5x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<2x4x5x8xf32> {
  // expected-error@+3 {{'qtx.attention' op cannot be tiled in quantized form, found 'tensor<2x4x5x8x!quant.uniform<i8:f32, 5.000000e-01>>'; run 'qtx-to-storage' first}}
  // expected-error-re@+2 {{fail{{e?}}d to tile operation}}
  // expected-error@+1 {{failed to generate tiling loops}}
  %y = qtx.attention %q, %q, %q scale 0.25
      : (tensor<2x4x5x8x!quant.uniform<i8:f32, 0.5>>, tensor<2x4x5x8x!quant.uniform<i8:f32, 0.5>>, tensor<2x4x5x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<2x4x5x8xf32>
  return %y : tensor<2x4x5x8xf32>
}

// -----

func.func @channels_left_over(%q: tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32> {
  // expected-error@+3 {{'qtx.attention' op cannot be tiled by this size along the channels: expected one that divides their number}}
  // expected-error-re@+2 {{fail{{e?}}d to tile operation}}
  // expected-error@+1 {{failed to generate tiling loops}}
  %y = qtx.attention %q, %q, %q scale 0.25
      : (tensor<2x4x5x8xf32>, tensor<2x4x5x8xf32>, tensor<2x4x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %y : tensor<2x4x5x8xf32>
}

// -----

func.func @heads_with_parameters(%q: tensor<2x4x5x6xi8>, %k: tensor<2x4x5x6xf32>) -> tensor<2x4x5x6xf32> {
  // expected-error@+3 {{'qtx.attention' op cannot be tiled along the heads, which have their own parameters, at a place not known at compile time}}
  // expected-error-re@+2 {{fail{{e?}}d to tile operation}}
  // expected-error@+1 {{failed to generate tiling loops}}
  %y = qtx.attention %q as !qtx.grouped<i8:f32, axis=-3, [2 * 2], {0.5, 0.25}>, %k, %k scale 0.25
      : (tensor<2x4x5x6xi8>, tensor<2x4x5x6xf32>, tensor<2x4x5x6xf32>) -> tensor<2x4x5x6xf32>
  return %y : tensor<2x4x5x6xf32>
}
