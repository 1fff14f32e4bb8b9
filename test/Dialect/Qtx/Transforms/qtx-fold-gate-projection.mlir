// RUN: qtx-opt %s -qtx-fold-gate-projection | FileCheck %s
// RUN: qtx-opt %s -qtx-fold-gate-projection --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// The rows of a per-head gate are block-diagonal; a missing bias is zeros.
// CHECK-LABEL: func.func @per_head(
// CHECK-SAME: %[[X:.*]]: tensor<?x?x4xf32>
// CHECK: %[[W:.*]] = arith.constant dense<{{\[}}[1.{{[^]]*}}], [5.000000e-01, -5.000000e-01, 0.000000e+00, 0.000000e+00], [0.000000e+00, 0.000000e+00, 2.000000e+00, 3.000000e+00]]> : tensor<3x4xf32>
// CHECK: %[[B:.*]] = arith.constant dense<[0.000000e+00, 1.000000e+00, -1.000000e+00]> : tensor<3xf32>
// CHECK: %[[Y:.*]] = qtx.linear %[[X]], %[[W]] bias(%[[B]]) : (tensor<?x?x4xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<?x?x3xf32>
// CHECK: %[[Q:.*]] = tensor.extract_slice %[[Y]][0, 0, 0] [%{{.*}}, %{{.*}}, 1] [1, 1, 1]
// CHECK: %[[ROWS:.*]] = tensor.extract_slice %[[Y]][0, 0, 1] [%{{.*}}, %{{.*}}, 2] [1, 1, 1]
// CHECK: %[[G:.*]] = linalg.transpose ins(%[[ROWS]] : tensor<?x?x2xf32>) {{.*}} permutation = [0, 2, 1]
// CHECK-NOT: qtx.
// CHECK: return %[[Q]], %[[G]]
// REMARK: remark: [Passed] FoldGateProjection | Category:qtx-fold-gate-projection | Remark="2 logits are rows of the projection"
func.func @per_head(%x: tensor<?x?x4xf32>) -> (tensor<?x?x1xf32>, tensor<?x2x?xf32>) {
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>
  %gw = arith.constant dense<[[0.5, -0.5], [2.0, 3.0]]> : tensor<2x2xf32>
  %gb = arith.constant dense<[1.0, -1.0]> : tensor<2xf32>
  %q = qtx.linear %x, %w : (tensor<?x?x4xf32>, tensor<1x4xf32>) -> tensor<?x?x1xf32>
  %g = qtx.gate_projection linear %x weight(%gw) bias(%gb) : (tensor<?x?x4xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2x?xf32>
  return %q, %g : tensor<?x?x1xf32>, tensor<?x2x?xf32>
}

// The gate comes first; the first projection that can takes its rows.
// CHECK-LABEL: func.func @all_heads(
// CHECK: qtx.linear {{.*}} activation relu : {{.*}} -> tensor<2x5x2xf32>
// CHECK: qtx.linear {{.*}} : (tensor<2x5x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<2x5x4xf32>
// CHECK: qtx.linear {{.*}} -> tensor<2x5x2xf32>
// REMARK: [Passed] {{.*}} Remark="2 logits are rows of the projection"
func.func @all_heads(%x: tensor<2x5x4xf32>) -> (tensor<2x5x2xf32>, tensor<2x2x5xf32>, tensor<2x5x2xf32>, tensor<2x5x2xf32>) {
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %b = arith.constant dense<1.0> : tensor<2xf32>
  %r = qtx.linear %x, %w activation relu : (tensor<2x5x4xf32>, tensor<2x4xf32>) -> tensor<2x5x2xf32>
  %g = qtx.gate_projection all_heads %x weight(%w) bias(%b) : (tensor<2x5x4xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<2x2x5xf32>
  %q = qtx.linear %x, %w bias(%b) : (tensor<2x5x4xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<2x5x2xf32>
  %k = qtx.linear %x, %w : (tensor<2x5x4xf32>, tensor<2x4xf32>) -> tensor<2x5x2xf32>
  return %r, %g, %q, %k : tensor<2x5x2xf32>, tensor<2x2x5xf32>, tensor<2x5x2xf32>, tensor<2x5x2xf32>
}

// CHECK-LABEL: func.func @missed(
// CHECK-COUNT-4: qtx.gate_projection
// REMARK: [Missed] {{.*}} Reason="an mlp gate is not linear"
// REMARK: [Missed] {{.*}} Reason="the input is quantized"
// REMARK: [Missed] {{.*}} Reason="the weight and the bias of the gate are not constants"
// REMARK: [Missed] {{.*}} Reason="no float projection of the same input, with a constant weight and bias and no activation, is in the block"
func.func @missed(%x: tensor<2x5x4xf32>, %i: tensor<2x5x4xi8>, %v: tensor<2x2xf32>) -> (tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>) {
  %h = arith.constant dense<1.0> : tensor<2x2x2xf32>
  %w = arith.constant dense<1.0> : tensor<2x2xf32>
  %b = arith.constant dense<1.0> : tensor<2xf32>
  %0 = qtx.gate_projection mlp %x hidden(%h, %w) weight(%w) bias(%b) : (tensor<2x5x4xf32>, tensor<2x2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2x5xf32>
  %1 = qtx.gate_projection linear %i as !quant.uniform<i8:f32, 0.5> weight(%w) bias(%b) : (tensor<2x5x4xi8>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2x5xf32>
  %2 = qtx.gate_projection linear %x weight(%v) bias(%b) : (tensor<2x5x4xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2x5xf32>
  %3 = qtx.gate_projection linear %x weight(%w) bias(%b) : (tensor<2x5x4xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<2x2x5xf32>
  return %0, %1, %2, %3 : tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>
}
