// RUN: qtx-opt %s -qtx-split-grouped-linear | FileCheck %s
// RUN: qtx-opt %s -qtx-split-grouped-linear="split-inputs=false split-outputs=true" | FileCheck %s --check-prefix=OUT
// RUN: qtx-opt %s -qtx-split-grouped-linear="split-inputs=false split-outputs=true" --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=OUTREMARK
// RUN: qtx-opt %s -qtx-split-grouped-linear --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

!g = !qtx.grouped<i8:f32, axis=-1, [3, 5], {0.25:3, 0.5}>
!run = !qtx.grouped<i8:f32, axis=-1, [3, 5], ?>
!u = !quant.uniform<i8:f32, 0.125:-7>

// The partial sum is fp32 and seeds the second linear, which has the epilogue.
// CHECK-LABEL: func.func @constants
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xi8>, %[[B:.*]]: tensor<2xf32>)
// CHECK-DAG: %[[S:.*]] = arith.constant dense<5.000000e-01> : tensor<2xf32>
// CHECK-DAG: %[[X0:.*]] = tensor.extract_slice %[[X]][0, 0] [%{{.*}}, 3] [1, 1]
// CHECK-DAG: %[[W0:.*]] = arith.constant dense<{{\[}}[1, 2, 3], [-1, -2, -3]]> : tensor<2x3xi8>
// CHECK-DAG: %[[Z0:.*]] = arith.constant dense<{{\[}}[10, 20]]> : tensor<1x2xi32>
// CHECK: %[[R:.*]] = qtx.linear %[[X0]] as !quant.uniform<i8:f32, 2.500000e-01:3>, %[[W0]] scale(%[[S]]) bias(%[[B]]) seed(%[[Z0]]) : {{.*}} -> tensor<?x2xf32>
// CHECK-DAG: %[[X1:.*]] = tensor.extract_slice %[[X]][0, 3] [%{{.*}}, 5] [1, 1]
// CHECK-DAG: %[[W1:.*]] = arith.constant dense<{{\[}}[4, 5, 6, 7, 8], [-4, -5, -6, -7, -8]]> : tensor<2x5xi8>
// CHECK-DAG: %[[Z1:.*]] = arith.constant dense<{{\[}}[30, 40]]> : tensor<1x2xi32>
// CHECK: %[[Y:.*]] = qtx.linear %[[X1]] as !quant.uniform<i8:f32, 5.000000e-01>, %[[W1]] scale(%[[S]]) bias(%[[R]]) seed(%[[Z1]]) activation relu to !quant.uniform<i8:f32, 1.250000e-01:-7> : {{.*}} -> tensor<?x2xi8>
// CHECK: return %[[Y]]
// REMARK: [[@LINE+5]]:{{.*}}: remark: [Passed] SplitGroupedLinear | Category:qtx-split-grouped-linear | Remark="split into 2 linears at the groups of the input"
func.func @constants(%x: tensor<?x8xi8>, %b: tensor<2xf32>) -> tensor<?x2xi8> {
  %w = arith.constant dense<[[1, 2, 3, 4, 5, 6, 7, 8], [-1, -2, -3, -4, -5, -6, -7, -8]]> : tensor<2x8xi8>
  %s = arith.constant dense<0.5> : tensor<2xf32>
  %z = arith.constant dense<[[10, 20], [30, 40]]> : tensor<2x2xi32>
  %y = qtx.linear %x as !g, %w scale(%s) bias(%b) seed(%z) activation relu to !u
      : (tensor<?x8xi8>, tensor<2x8xi8>, tensor<2xf32>, tensor<2xf32>, tensor<2x2xi32>) -> tensor<?x2xi8>
  return %y : tensor<?x2xi8>
}

// The second group begins within a block of two: one column of that block goes
// alone, with its scales per output.
// CHECK-LABEL: func.func @blocks
// CHECK-SAME: (%[[X:.*]]: tensor<4x8xi8>, %[[W:.*]]: tensor<2x8xi4>, %[[S:.*]]: tensor<2x4xf32>)
// CHECK: %[[S0:.*]] = tensor.extract_slice %[[S]][0, 0] [2, 2] [1, 1]
// CHECK: %[[R0:.*]] = qtx.linear {{.*}} scale(%[[S0]]) block 2 : (tensor<4x3xi8>, tensor<2x3xi4>, tensor<2x2xf32>)
// CHECK: %[[COLUMN:.*]] = tensor.extract_slice %[[S]][0, 1] [2, 1] [1, 1]
// CHECK: %[[S1:.*]] = tensor.collapse_shape %[[COLUMN]] {{\[}}[0, 1]]
// CHECK: %[[R1:.*]] = qtx.linear {{.*}} scale(%[[S1]]) bias(%[[R0]]) : (tensor<4x1xi8>, tensor<2x1xi4>, tensor<2xf32>
// CHECK: %[[S2:.*]] = tensor.extract_slice %[[S]][0, 2] [2, 2] [1, 1]
// CHECK: qtx.linear {{.*}} scale(%[[S2]]) block 2 bias(%[[R1]]) : (tensor<4x4xi8>, tensor<2x4xi4>, tensor<2x2xf32>
// REMARK: [[@LINE+2]]:{{.*}}: remark: [Passed] {{.*}} Remark="split into 3 linears at the groups of the input"
func.func @blocks(%x: tensor<4x8xi8>, %w: tensor<2x8xi4>, %s: tensor<2x4xf32>) -> tensor<4x2xf32> {
  %y = qtx.linear %x as !g, %w scale(%s) block 2
      : (tensor<4x8xi8>, tensor<2x8xi4>, tensor<2x4xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// The columns of constant weights and block scales come from resources too.
// CHECK-LABEL: func.func @resources
// CHECK: arith.constant dense_resource<{{.*}}> : tensor<1x2xi8>
// CHECK: arith.constant dense<1.000000e+00> : tensor<1xf32>
func.func @resources(%x: tensor<4x4xi8>) -> tensor<4x1xf32> {
  %w = arith.constant dense_resource<weight> : tensor<1x4xi8>
  %s = arith.constant dense<[[1.0, 3.0]]> : tensor<1x2xf32>
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [2, 2], {0.5, 0.25}>, %w scale(%s) block 3
      : (tensor<4x4xi8>, tensor<1x4xi8>, tensor<1x2xf32>) -> tensor<4x1xf32>
  return %y : tensor<4x1xf32>
}

// CHECK-LABEL: func.func @run_time
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xi8>, %[[XS:.*]]: tensor<?x2xf32>, %[[XZ:.*]]: tensor<2xi32>
// CHECK-DAG: %[[S1:.*]] = tensor.extract_slice %[[XS]][0, 1] [%{{.*}}, 1] [1, 1]
// CHECK-DAG: %[[Z1:.*]] = tensor.extract_slice %[[XZ]][1] [1] [1]
// CHECK: qtx.linear %{{.*}} scale(%[[S1]]) zero_point(%[[Z1]]) as !qtx.grouped<i8:f32, axis=-1, [5], ?>
func.func @run_time(%x: tensor<?x8xi8>, %xs: tensor<?x2xf32>, %xz: tensor<2xi32>, %w: tensor<2x8xi8>, %s: tensor<1xf32>) -> tensor<?x2xf32> {
  %y = qtx.linear %x scale(%xs) zero_point(%xz) as !run, %w scale(%s)
      : (tensor<?x8xi8>, tensor<?x2xf32>, tensor<2xi32>, tensor<2x8xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// OUTREMARK: remark: [Passed] SplitGroupedLinear {{.*}} Remark="split into 2 linears at the groups of the result"
// OUT-LABEL: func.func @outputs
// OUT-SAME: (%[[X:.*]]: tensor<?x2xi8>, %[[W:.*]]: tensor<8x2xi8>, %[[S:.*]]: tensor<8xf32>, %[[B:.*]]: tensor<?x8xf32>)
// OUT: %[[EMPTY:.*]] = tensor.empty(%{{.*}}) : tensor<?x8xi8>
// OUT-DAG: %[[W0:.*]] = tensor.extract_slice %[[W]][0, 0] [3, 2] [1, 1]
// OUT-DAG: %[[S0:.*]] = tensor.extract_slice %[[S]][0] [3] [1]
// OUT-DAG: %[[B0:.*]] = tensor.extract_slice %[[B]][0, 0] [%{{.*}}, 3] [1, 1]
// OUT: %[[Y0:.*]] = qtx.linear %[[X]] as !quant.uniform<i8:f32, 1.250000e-01:-7>, %[[W0]] scale(%[[S0]]) bias(%[[B0]]) to !quant.uniform<i8:f32, 2.500000e-01:3>
// OUT: %[[Y1:.*]] = tensor.insert_slice %[[Y0]] into %[[EMPTY]][0, 0]
// OUT: qtx.linear {{.*}} to !quant.uniform<i8:f32, 5.000000e-01>
// OUT: tensor.insert_slice %{{.*}} into %[[Y1]][0, 3]
func.func @outputs(%x: tensor<?x2xi8>, %w: tensor<8x2xi8>, %s: tensor<8xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xi8> {
  %y = qtx.linear %x as !u, %w scale(%s) bias(%b) to !g
      : (tensor<?x2xi8>, tensor<8x2xi8>, tensor<8xf32>, tensor<?x8xf32>) -> tensor<?x8xi8>
  return %y : tensor<?x8xi8>
}

// CHECK-LABEL: func.func @integer_join
// CHECK-NOT: extract_slice
// REMARK: [[@LINE+2]]:{{.*}}: remark: [Missed] SplitGroupedLinear | Category:qtx-split-grouped-linear | Reason="its segments join in integers"
func.func @integer_join(%x: tensor<?x8xi8>, %w: tensor<2x8xi8>, %s: tensor<1xf32>) -> tensor<?x2xf32> {
  %y = qtx.linear %x as !g, %w scale(%s) integer_join : (tensor<?x8xi8>, tensor<2x8xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: func.func @quantized_form
// CHECK-NOT: extract_slice
// REMARK: [[@LINE+2]]:{{.*}}: remark: [Missed] SplitGroupedLinear | Category:qtx-split-grouped-linear | Reason="slices exist in storage form only; run 'qtx-to-storage' first"
func.func @quantized_form(%x: tensor<?x8x!g>, %w: tensor<2x8xi8>, %s: tensor<1xf32>) -> tensor<?x2xf32> {
  %y = qtx.linear %x, %w scale(%s) : (tensor<?x8x!g>, tensor<2x8xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

{-# dialect_resources: { builtin: { weight: "0x0100000001020304" } } #-}
