// RUN: qtx-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func @clip_of_softmax(
func.func @clip_of_softmax(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  // CHECK: %[[PLAIN:.*]] = qtx.softmax
  // CHECK: %[[CLIPPED:.*]] = qtx.clipped_softmax
  // CHECK: return %[[PLAIN]], %[[CLIPPED]]
  %y = qtx.clipped_softmax %x clip [0.0, 1.0] : tensor<4x8xf32>
  %z = qtx.clipped_softmax %x clip [-0.1, 1.0] : tensor<4x8xf32>
  return %y, %z : tensor<4x8xf32>, tensor<4x8xf32>
}

// CHECK-LABEL: func @neutral_masks(
func.func @neutral_masks(%q: tensor<1x4x3x16xf32>) -> (tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>) {
  // CHECK-NOT: mask
  // CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} scale
  // CHECK-NOT: mask
  // CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} scale
  %true = arith.constant dense<true> : tensor<1x1x1x3xi1>
  %zero = arith.constant dense<0.0> : tensor<1x1x3x3xf32>
  %y = qtx.attention %q, %q, %q mask(%true) scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>, tensor<1x1x1x3xi1>) -> tensor<1x4x3x16xf32>
  %z = qtx.attention %q, %q, %q mask(%zero) scale 0.5
      : (tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>, tensor<1x1x3x3xf32>) -> tensor<1x4x3x16xf32>
  return %y, %z : tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>
}

// CHECK-LABEL: func @other_masks_stay(
func.func @other_masks_stay(%q: tensor<1x4x3x16xf32>) -> (tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>) {
  // CHECK-COUNT-2: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} mask
  %false = arith.constant dense<false> : tensor<1x1x1x3xi1>
  %some = arith.constant dense<[[[[true, false, true]]]]> : tensor<1x1x1x3xi1>
  %y = qtx.attention %q, %q, %q mask(%false) scale 0.25
      : (tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>, tensor<1x1x1x3xi1>) -> tensor<1x4x3x16xf32>
  %z = qtx.attention %q, %q, %q mask(%some) scale 0.5
      : (tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>, tensor<1x1x1x3xi1>) -> tensor<1x4x3x16xf32>
  return %y, %z : tensor<1x4x3x16xf32>, tensor<1x4x3x16xf32>
}

// The only query, at the end of the keys, sees all of them.
// CHECK-LABEL: func @decoding(
func.func @decoding(%q: tensor<1x4x1x16xf32>, %k: tensor<1x4x?x16xf32>, %o: index) -> (tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32>) {
  // CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} scale
  // CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} causal offset
  %y = qtx.attention %q, %k, %k causal scale 0.25
      : (tensor<1x4x1x16xf32>, tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>) -> tensor<1x4x1x16xf32>
  %z = qtx.attention %q, %k, %k causal offset(%o) scale 0.25
      : (tensor<1x4x1x16xf32>, tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>, index) -> tensor<1x4x1x16xf32>
  return %y, %z : tensor<1x4x1x16xf32>, tensor<1x4x1x16xf32>
}

// CHECK-LABEL: func @heads_and_back(
// CHECK-SAME: %[[X:.*]]: tensor<?x?x8xf32>, %[[Y:.*]]: tensor<?x2x?x4xf32>
func.func @heads_and_back(%x: tensor<?x?x8xf32>, %y: tensor<?x2x?x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x4x?x2xf32>) {
  // CHECK: %[[M:.*]] = qtx.merge_heads %[[Y]]
  // CHECK: %[[S:.*]] = qtx.split_heads %[[M]]
  // CHECK: return %[[X]], %[[Y]], %[[S]]
  %0 = qtx.split_heads %x : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  %1 = qtx.merge_heads %0 : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
  %2 = qtx.merge_heads %y : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
  %3 = qtx.split_heads %2 : tensor<?x?x8xf32> -> tensor<?x2x?x4xf32>
  %4 = qtx.split_heads %2 : tensor<?x?x8xf32> -> tensor<?x4x?x2xf32>
  return %1, %3, %4 : tensor<?x?x8xf32>, tensor<?x2x?x4xf32>, tensor<?x4x?x2xf32>
}
