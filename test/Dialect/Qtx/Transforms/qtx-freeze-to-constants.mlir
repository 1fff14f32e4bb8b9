// RUN: qtx-opt %s -qtx-freeze-to-constants -canonicalize | FileCheck %s
// RUN: qtx-opt %s -qtx-freeze-to-constants --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// The frozen integer where the mask is set, the rounded latent elsewhere: 0.6 / 0.25
// would round to 2, and 2.5 goes to the even 2.
// CHECK-LABEL: func.func @weight(
// CHECK-DAG: %[[S:.*]] = arith.constant dense<2.500000e-01> : tensor<1xf32>
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[3, -1], [2, 3]]> : tensor<2x2xi4>
// CHECK: qtx.linear %{{.*}}, %[[W]] scale(%[[S]]) : (tensor<?x2xf32>, tensor<2x2xi4>, tensor<1xf32>)
// REMARK: remark: [Passed] FreezeToConstants | Category:qtx-freeze-to-constants | DequantizedUses=0, IntegerWeights=1, Remark="4 integers, 1 of them frozen"
func.func @weight(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[0.6, -0.2], [0.625, 0.9]]> : tensor<2x2xf32>
  %s = arith.constant dense<0.25> : tensor<1xf32>
  %mask = arith.constant dense<[[true, false], [false, false]]> : tensor<2x2xi1>
  %ints = arith.constant dense<[[3, 0], [0, 0]]> : tensor<2x2xi32>
  %q, %codes = qtx.fake_quantize %w scale(%s) frozen(%mask, %ints) bits 3 signed
      : tensor<2x2xf32>, tensor<1xf32>
  %y = qtx.linear %x, %q : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// One scale per output; scales below 1e-8 become that.
// CHECK-LABEL: func.func @per_channel(
// CHECK-DAG: %[[S:.*]] = arith.constant dense<[5.000000e-01, 9.99999993E-9]> : tensor<2xf32>
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[100, -3], [127, -128]]> : tensor<2x2xi8>
// CHECK: qtx.linear %{{.*}}, %[[W]] scale(%[[S]])
func.func @per_channel(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[50.0, -1.5], [1.0, -1.0]]> : tensor<2x2xf32>
  %s = arith.constant dense<[0.5, 1.0e-9]> : tensor<2xf32>
  %q, %codes = qtx.fake_quantize %w scale(%s) bits 8 signed axis 0 : tensor<2x2xf32>, tensor<2xf32>
  %y = qtx.linear %x, %q : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// What is no weight of a float linear is dequantized, from signed storage; codes are
// constants as they are.
// CHECK-LABEL: func.func @others(
// CHECK-DAG: %[[CODES:.*]] = arith.constant dense<{{\[}}[128, 132], [126, 255]]> : tensor<2x2xi32>
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[0, 4], [-2, 127]]> : tensor<2x2xi8>
// CHECK: %[[Y:.*]] = qtx.dequantize %[[W]] as !quant.uniform<i8:f32, 5.000000e-01> : tensor<2x2xi8> -> tensor<2x2xf32>
// CHECK: return %[[Y]], %[[CODES]]
// REMARK: DequantizedUses=1, IntegerWeights=0, Remark="4 integers, 0 of them frozen"
func.func @others() -> (tensor<2x2xf32>, tensor<2x2xi32>) {
  %w = arith.constant dense<[[0.0, 2.0], [-1.0, 100.0]]> : tensor<2x2xf32>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %z = arith.constant dense<128.2> : tensor<1xf32>
  %q, %codes = qtx.fake_quantize %w scale(%s) zero_point(%z) bits 8 asymmetric : tensor<2x2xf32>, tensor<1xf32>
  return %q, %codes : tensor<2x2xf32>, tensor<2x2xi32>
}

// Along another axis there is one group per channel.
// CHECK-LABEL: func.func @other_axis(
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[1, 1], [2, -3]]> : tensor<2x2xi4>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<[-8, -7]> : tensor<2xi32>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<[5.000000e-01, 2.500000e-01]> : tensor<2xf32>
// CHECK: qtx.dequantize %{{.*}} scale(%[[S]] : tensor<2xf32>) zero_point(%[[Z]] : tensor<2xi32>) as !qtx.grouped<i4:f32, axis=-1, [1 * 2], ?>
func.func @other_axis(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[4.5, 2.0], [5.0, 1.0]]> : tensor<2x2xf32>
  %s = arith.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %z = arith.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %q, %codes = qtx.fake_quantize %w scale(%s) zero_point(%z) bits 4 asymmetric axis 1 : tensor<2x2xf32>, tensor<2xf32>
  %y = qtx.linear %x, %q : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: func.func @missed(
// CHECK-COUNT-6: qtx.fake_quantize
// REMARK: [Missed] {{.*}} Reason="the latent values are not a constant"
// REMARK: [Missed] {{.*}} Reason="the scale is not a constant"
// REMARK: [Missed] {{.*}} Reason="the zero point is not a constant"
// REMARK: [Missed] {{.*}} Reason="the frozen state is not a constant"
// REMARK: [Missed] {{.*}} Reason="a frozen integer is outside the grid"
// REMARK: [Missed] {{.*}} Reason="rounding is stochastic"
func.func @missed(%x: tensor<2xf32>, %rs: tensor<1xf32>, %mask: tensor<2xi1>)
    -> (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) {
  %w = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %true = arith.constant dense<true> : tensor<2xi1>
  %ints = arith.constant dense<[0, 8]> : tensor<2xi32>
  %0, %c0 = qtx.fake_quantize %x scale(%s) bits 4 signed : tensor<2xf32>, tensor<1xf32>
  %1, %c1 = qtx.fake_quantize %w scale(%rs) bits 4 signed : tensor<2xf32>, tensor<1xf32>
  %2, %c2 = qtx.fake_quantize %w scale(%s) zero_point(%rs) bits 4 asymmetric : tensor<2xf32>, tensor<1xf32>
  %3, %c3 = qtx.fake_quantize %w scale(%s) frozen(%mask, %ints) bits 4 signed : tensor<2xf32>, tensor<1xf32>
  %4, %c4 = qtx.fake_quantize %w scale(%s) frozen(%true, %ints) bits 4 signed : tensor<2xf32>, tensor<1xf32>
  %5, %c5 = qtx.fake_quantize %w scale(%s) noise(%x) bits 4 signed : tensor<2xf32>, tensor<1xf32>
  return %0, %1, %2, %3, %4, %5 : tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>
}
