// RUN: qtx-opt %s -qtx-output-groups-to-per-channel | FileCheck %s
// RUN: qtx-opt %s -qtx-output-groups-to-per-channel --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

!g = !qtx.grouped<i8:f32, axis=-1, [3, 1], {0.25:3, 0.5:-128}>
!u = !quant.uniform<i8:f32, 0.125>

// The user keeps its view of the groups.
// CHECK-LABEL: func.func @static
// CHECK-DAG: %[[S:.*]] = arith.constant dense<[2.500000e-01, 2.500000e-01, 2.500000e-01, 5.000000e-01]> : tensor<4xf32>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<[3, 3, 3, -128]> : tensor<4xi32>
// CHECK: %[[Y:.*]] = qtx.linear {{.*}} out_scale(%[[S]]) out_zero_point(%[[Z]]) to !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?>
// CHECK: qtx.dequantize %[[Y]] as !qtx.grouped<i8:f32, axis=-1, [3, 1], {2.500000e-01:3, 5.000000e-01:-128}>
// REMARK: remark: [Passed] OutputGroupsToPerChannel | Category:qtx-output-groups-to-per-channel | Remark="requantizes each of 4 channels with the parameters of its group"
func.func @static(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xf32> {
  %y = qtx.linear %x as !u, %w scale(%s) to !g
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xi8>
  %f = qtx.dequantize %y as !g : tensor<?x4xi8> -> tensor<?x4xf32>
  return %f : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @operations
// CHECK: qtx.quantize %{{.*}} scale(%{{.*}} : tensor<4xf32>) zero_point(%{{.*}} : tensor<4xi32>) to !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?>
// CHECK: qtx.add {{.*}} out_scale(%{{.*}}) out_zero_point(%{{.*}}) to !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?>
// CHECK: qtx.layer_norm {{.*}} out_scale(%{{.*}}) out_zero_point(%{{.*}}) to !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?>
// CHECK: qtx.requantize {{.*}} out_scale(%{{.*}}) out_zero_point(%{{.*}}) to !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?>
// REMARK-COUNT-4: remark: [Passed]
func.func @operations(%x: tensor<?x4xf32>) -> (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>) {
  %0 = qtx.quantize %x to !g : tensor<?x4xf32> -> tensor<?x4xi8>
  %1 = qtx.add %x, %x to !g : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xi8>
  %2 = qtx.layer_norm %x epsilon 1.0e-5 to !g : (tensor<?x4xf32>) -> tensor<?x4xi8>
  %3 = qtx.requantize %0 as !u to !g : (tensor<?x4xi8>) -> tensor<?x4xi8>
  return %0, %1, %2, %3 : tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x4xi8>
}

// CHECK-LABEL: func.func @others
// CHECK-NOT: out_scale
// REMARK: remark: [Missed] OutputGroupsToPerChannel | Category:qtx-output-groups-to-per-channel | Reason="users see the type of the result; run 'qtx-to-storage' first"
// REMARK-NOT: remark:
func.func @others(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> (tensor<?x4xi8>, tensor<?x4x!g>) {
  %y = qtx.linear %x as !u, %w scale(%s) to !u
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xi8>
  %z = qtx.linear %x as !u, %w scale(%s)
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4x!g>
  return %y, %z : tensor<?x4xi8>, tensor<?x4x!g>
}
