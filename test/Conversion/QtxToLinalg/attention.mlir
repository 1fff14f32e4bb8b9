// RUN: qtx-opt %s --convert-qtx-to-linalg | FileCheck %s

// Quantized operands of both contractions: two integer reductions, each followed
// by one multiplication; the keys of a group of heads are shared.
// CHECK-DAG: #[[$QUERY:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d4)>
// CHECK-DAG: #[[$KEY:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1 floordiv 2, d3, d4)>
// CHECK-DAG: #[[$VALUE:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1 floordiv 2, d4, d3)>

// CHECK-LABEL: func @integer(
// CHECK-SAME: %[[Q:[^:]*]]: tensor<1x4x?x16xi8>, %[[K:[^:]*]]: tensor<1x2x?x16xi8>, %[[V:[^:]*]]: tensor<1x2x?x8xi8>
func.func @integer(%q: tensor<1x4x?x16xi8>, %k: tensor<1x2x?x16xi8>, %v: tensor<1x2x?x8xi8>) -> tensor<1x4x?x8xi8> {
  // CHECK: linalg.generic {indexing_maps = [#[[$QUERY]], #[[$KEY]], {{.*}} ins(%[[Q]], %[[K]], {{.*}} outs(%{{.*}} : tensor<1x4x?x?xi32>)
  // CHECK: arith.maximumf
  // CHECK: arith.divf
  // CHECK: math.roundeven
  // CHECK: linalg.generic {indexing_maps = [#[[$QUERY]], #[[$VALUE]], {{.*}} ins(%{{.*}}, %[[V]], {{.*}} outs(%{{.*}} : tensor<1x4x?x8xi32>)
  // CHECK: math.roundeven
  // CHECK-NOT: qtx.
  %y = qtx.attention %q as !quant.uniform<i8:f32, 0.02:3>, %k as !quant.uniform<i8:f32, 0.02:3>, %v as !quant.uniform<i8:f32, 0.1>
      scale 0.25 probs !quant.uniform<u8:f32, 0.00390625> to !quant.uniform<i8:f32, 0.1>
      : (tensor<1x4x?x16xi8>, tensor<1x2x?x16xi8>, tensor<1x2x?x8xi8>) -> tensor<1x4x?x8xi8>
  return %y : tensor<1x4x?x8xi8>
}

// A causal row i sees the keys up to i + T - S.
// CHECK-LABEL: func @causal(
func.func @causal(%q: tensor<1x4x?x16xf32>, %k: tensor<1x4x?x16xf32>) -> tensor<1x4x?x16xf32> {
  // CHECK: %[[OFFSET:.*]] = arith.subi
  // CHECK: %[[ROW:.*]] = linalg.index 2
  // CHECK: %[[COLUMN:.*]] = linalg.index 3
  // CHECK: %[[LAST:.*]] = arith.addi %[[ROW]], %[[OFFSET]]
  // CHECK: arith.cmpi sle, %[[COLUMN]], %[[LAST]]
  %y = qtx.attention %q, %k, %k causal scale 0.25
      : (tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>) -> tensor<1x4x?x16xf32>
  return %y : tensor<1x4x?x16xf32>
}

// CHECK-LABEL: func @clipped(
func.func @clipped(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  // CHECK: math.fma
  // CHECK: arith.maximumf
  // CHECK: arith.minimumf
  // CHECK-NOT: qtx.
  %y = qtx.clipped_softmax %x clip [-0.03, 1.0] : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}
