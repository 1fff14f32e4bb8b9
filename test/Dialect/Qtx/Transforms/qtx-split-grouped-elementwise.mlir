// RUN: qtx-opt %s -qtx-split-grouped-elementwise | FileCheck %s
// RUN: qtx-opt %s -qtx-split-grouped-elementwise --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

!g = !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.25:3, 0.5}>
!h = !qtx.grouped<i8:f32, axis=-1, [4, 4], {2.0, 4.0:1}>
!run = !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>

// CHECK-LABEL: func.func @quantize
// CHECK-SAME: (%[[X:.*]]: tensor<4x8xf32>)
// CHECK: %[[EMPTY:.*]] = tensor.empty() : tensor<4x8xi8>
// CHECK: %[[X0:.*]] = tensor.extract_slice %[[X]][0, 0] [4, 6] [1, 1]
// CHECK: %[[Y0:.*]] = qtx.quantize %[[X0]] to !quant.uniform<i8:f32, 2.500000e-01:3> : tensor<4x6xf32> -> tensor<4x6xi8>
// CHECK: %[[I:.*]] = tensor.insert_slice %[[Y0]] into %[[EMPTY]][0, 0] [4, 6] [1, 1]
// CHECK: %[[X1:.*]] = tensor.extract_slice %[[X]][0, 6] [4, 2] [1, 1]
// CHECK: %[[Y1:.*]] = qtx.quantize %[[X1]] to !quant.uniform<i8:f32, 5.000000e-01> : tensor<4x2xf32> -> tensor<4x2xi8>
// CHECK: tensor.insert_slice %[[Y1]] into %[[I]][0, 6] [4, 2] [1, 1]
// REMARK: remark: [Passed] SplitGroupedElementwise | Category:qtx-split-grouped-elementwise | Remark="split into 2 operations at the groups"
func.func @quantize(%x: tensor<4x8xf32>) -> tensor<4x8xi8> {
  %y = qtx.quantize %x to !g : tensor<4x8xf32> -> tensor<4x8xi8>
  return %y : tensor<4x8xi8>
}

// The boundaries of all tensors cut, and constants are sliced.
// CHECK-LABEL: func.func @add
// CHECK: arith.constant dense<[1, 2, 3, 4]> : tensor<4xi8>
// CHECK: qtx.add %{{.*}} as !quant.uniform<i8:f32, 2.500000e-01:3>, %{{.*}} as !quant.uniform<i8:f32, 2.000000e+00> to !quant.uniform<i8:f32, 2.500000e-01:3> : (tensor<?x4xi8>, tensor<4xi8>)
// CHECK: arith.constant dense<[5, 6]> : tensor<2xi8>
// CHECK: qtx.add %{{.*}} as !quant.uniform<i8:f32, 2.500000e-01:3>, %{{.*}} as !quant.uniform<i8:f32, 4.000000e+00:1> to
// CHECK: qtx.add %{{.*}} as !quant.uniform<i8:f32, 5.000000e-01>, %{{.*}} as !quant.uniform<i8:f32, 4.000000e+00:1> to
// REMARK: remark: [Passed] {{.*}} Remark="split into 3 operations at the groups"
func.func @add(%x: tensor<?x8xi8>) -> tensor<?x8xi8> {
  %c = arith.constant dense<[1, 2, 3, 4, 5, 6, 7, 8]> : tensor<8xi8>
  %y = qtx.add %x as !g, %c as !h to !g : (tensor<?x8xi8>, tensor<8xi8>) -> tensor<?x8xi8>
  return %y : tensor<?x8xi8>
}

// CHECK-LABEL: func.func @run_time
// CHECK-SAME: %[[S:[a-z0-9]+]]: tensor<?x2xf32>)
// CHECK: %[[S0:.*]] = tensor.extract_slice %[[S]][0, 0] [%{{.*}}, 1] [1, 1]
// CHECK: qtx.dequantize %{{.*}} scale(%[[S0]] : tensor<?x1xf32>) as !qtx.grouped<i8:f32, axis=-1, [6], ?>
// REMARK: remark: [Passed]
func.func @run_time(%x: tensor<?x8xi8>, %s: tensor<?x2xf32>) -> tensor<?x8xf32> {
  %y = qtx.dequantize %x scale(%s : tensor<?x2xf32>) as !run : tensor<?x8xi8> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @missed
// CHECK-NOT: extract_slice
// REMARK: remark: [Missed] SplitGroupedElementwise | Category:qtx-split-grouped-elementwise | Reason="a result depends on more than one channel"
// REMARK: remark: [Missed] {{.*}} Reason="a run-time parameter has several uses in the operation"
// REMARK: remark: [Missed] {{.*}} Reason="slices exist in storage form only; run 'qtx-to-storage' first"
func.func @missed(%x: tensor<?x8xi8>, %s: tensor<2xf32>, %q: tensor<?x8x!g>) -> (tensor<?x8xf32>, tensor<?x8xi8>, tensor<?x8xf32>) {
  %0 = qtx.layer_norm %x as !g epsilon 1.0e-5 : (tensor<?x8xi8>) -> tensor<?x8xf32>
  %1 = qtx.requantize %x scale(%s) as !run out_scale(%s) to !run : (tensor<?x8xi8>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x8xi8>
  %2 = qtx.dequantize %q : tensor<?x8x!g> -> tensor<?x8xf32>
  return %0, %1, %2 : tensor<?x8xf32>, tensor<?x8xi8>, tensor<?x8xf32>
}
