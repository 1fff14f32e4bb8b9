// RUN: qtx-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(test-qtx-tile{sizes=0,2},canonicalize,cse)" | FileCheck %s

// One key head for each query head: any number of them.
// CHECK-LABEL: func @separate_keys(
// CHECK: scf.for %[[H:[a-z0-9]+]] =
// CHECK: tensor.extract_slice %{{.*}}[0, %[[H]], 0, 0] [%{{.*}}, 2, 5, 8]
// CHECK: tensor.extract_slice %{{.*}}[0, %[[H]], 0, 0] [%{{.*}}, 2, 5, 8]
// CHECK: qtx.attention
func.func @separate_keys(%q: tensor<?x4x5x8xf32>, %k: tensor<?x4x5x8xf32>) -> tensor<?x4x5x8xf32> {
  %y = qtx.attention %q, %k, %k scale 0.25
      : (tensor<?x4x5x8xf32>, tensor<?x4x5x8xf32>, tensor<?x4x5x8xf32>) -> tensor<?x4x5x8xf32>
  return %y : tensor<?x4x5x8xf32>
}

// -----

func.func @shared_keys(%q: tensor<2x4x5x8xf32>, %k: tensor<2x2x5x8xf32>) -> tensor<2x4x5x8xf32> {
  // expected-error@+3 {{'qtx.attention' op cannot be tiled by 2 heads: expected one head, or whole groups of the 2 heads that share a key, at a place known at compile time}}
  // expected-error-re@+2 {{fail{{e?}}d to tile operation}}
  // expected-error@+1 {{failed to generate tiling loops}}
  %y = qtx.attention %q, %k, %k scale 0.25
      : (tensor<2x4x5x8xf32>, tensor<2x2x5x8xf32>, tensor<2x2x5x8xf32>) -> tensor<2x4x5x8xf32>
  return %y : tensor<2x4x5x8xf32>
}
