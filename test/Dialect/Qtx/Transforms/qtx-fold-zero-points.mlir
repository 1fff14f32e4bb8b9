// RUN: qtx-opt %s -qtx-fold-zero-points | FileCheck %s
// RUN: qtx-opt %s -qtx-fold-zero-points --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

!g = !qtx.grouped<i8:f32, axis=-1, [3, 1], {0.25:3, 0.5:-128}>

// One row of the seed per segment, one column per output: -z * sum w.
// CHECK-LABEL: func.func @groups
// CHECK: %[[SEED:.*]] = arith.constant dense<{{\[}}[-18, 9], [512, -896]]> : tensor<2x2xi32>
// CHECK: qtx.linear {{.*}} seed(%[[SEED]])
// REMARK: remark: [Passed] FoldZeroPoints | Category:qtx-fold-zero-points | Remark="the zero points of the input seed the accumulator"
func.func @groups(%x: tensor<?x4xi8>, %s: tensor<2xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[1, 2, 3, 4], [-8, 7, -2, -7]]> : tensor<2x4xi4>
  %y = qtx.linear %x as !g, %w scale(%s) : (tensor<?x4xi8>, tensor<2x4xi4>, tensor<2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Weight blocks cut segments as well; quantized form is as good.
// CHECK-LABEL: func.func @blocks
// CHECK: arith.constant dense<{{\[}}[-3], [-21]]> : tensor<2x1xi32>
func.func @blocks(%x: tensor<?x4x!quant.uniform<i8:f32, 0.5:3>>, %s: tensor<1x2xf32>) -> tensor<?x1xf32> {
  %w = arith.constant dense_resource<weight> : tensor<1x4xi8>
  %y = qtx.linear %x, %w scale(%s) block 2
      : (tensor<?x4x!quant.uniform<i8:f32, 0.5:3>>, tensor<1x4xi8>, tensor<1x2xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// CHECK-LABEL: func.func @missed
// CHECK-NOT: seed
// REMARK: [Missed] {{.*}} Reason="the weight is not a constant"
// REMARK: [Missed] {{.*}} Reason="all zero points are zero"
// REMARK: [Missed] {{.*}} Reason="the zero points are run-time values"
// REMARK: [Missed] {{.*}} Reason="the weight is not a constant"
func.func @missed(%x: tensor<?x4xi8>, %w: tensor<2x4xi8>, %s: tensor<2xf32>, %p: tensor<1xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %bad = arith.constant dense_resource<short> : tensor<2x4xi8>
  %0 = qtx.linear %x as !g, %w scale(%s) : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<2xf32>) -> tensor<?x2xf32>
  %1 = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s)
      : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<2xf32>) -> tensor<?x2xf32>
  %2 = qtx.linear %x scale(%p) as !qtx.grouped<i8:f32, axis=-1, [4], ?>, %w scale(%s)
      : (tensor<?x4xi8>, tensor<1xf32>, tensor<2x4xi8>, tensor<2xf32>) -> tensor<?x2xf32>
  %3 = qtx.linear %x as !g, %bad scale(%s) : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<2xf32>) -> tensor<?x2xf32>
  return %0, %1, %2, %3 : tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}

{-# dialect_resources: { builtin: { weight: "0x04000000FF020304", short: "0x04000000FF020304" } } #-}
