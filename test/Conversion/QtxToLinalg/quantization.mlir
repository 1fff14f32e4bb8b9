// RUN: qtx-opt %s --convert-qtx-to-linalg | FileCheck %s

// CHECK-LABEL: func @quantize(
// CHECK-NOT: qtx.
// CHECK: linalg.generic
// CHECK: arith.divf
// CHECK: arith.mulf
// CHECK: math.roundeven
// CHECK: arith.maxnumf
// CHECK: arith.minnumf
// CHECK: arith.fptosi
func.func @quantize(%x: tensor<?x8xf32>) -> tensor<?x8xi8> {
  %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.02:3> : tensor<?x8xf32> -> tensor<?x8xi8>
  return %q : tensor<?x8xi8>
}

// One constant per channel: the scales of the groups are spread.
// CHECK-LABEL: func @dequantize(
// CHECK-DAG: arith.constant dense<[5.000000e-01, 5.000000e-01, 2.000000e+00]>
// CHECK-DAG: arith.constant dense<[-1, -1, 4]>
// CHECK: linalg.generic
// CHECK: arith.subi
// CHECK: arith.sitofp
// CHECK: arith.mulf
func.func @dequantize(%q: tensor<?x3xi8>) -> tensor<?x3xf32> {
  %y = qtx.dequantize %q as !qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5:-1, 2.0:4}> : tensor<?x3xi8> -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
