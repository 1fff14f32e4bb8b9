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

// There is no combined multiplier: f32 values in the middle.
// CHECK-LABEL: func @requantize(
// CHECK: arith.sitofp
// CHECK: arith.mulf
// CHECK: arith.divf
// CHECK: arith.mulf
// CHECK: math.roundeven
func.func @requantize(%q: tensor<?x3xi8>) -> tensor<?x3xi8> {
  %y = qtx.requantize %q as !quant.uniform<i8:f32, 0.5> to !quant.uniform<i8:f32, 0.25:3> : (tensor<?x3xi8>) -> tensor<?x3xi8>
  return %y : tensor<?x3xi8>
}

// 32-bit storage saturates in 64 bits.
// CHECK-LABEL: func @quantize_wide(
// CHECK: math.roundeven
// CHECK: arith.extf {{.*}} : f32 to f64
// CHECK: arith.fptosi {{.*}} : f64 to i64
// CHECK: arith.trunci {{.*}} : i64 to i32
func.func @quantize_wide(%x: tensor<3xf32>) -> tensor<3xi32> {
  %q = qtx.quantize %x to !quant.uniform<i32:f32, 0.5> : tensor<3xf32> -> tensor<3xi32>
  return %q : tensor<3xi32>
}

// One loop over the channels of a group, in a space of tokens and groups.
// CHECK-LABEL: func @dynamic_quantize(
// CHECK: arith.constant dense<[0, 2, 3]> : tensor<3xi32>
// CHECK: scf.for
// CHECK: arith.minnumf
// CHECK: scf.for
// CHECK: arith.maxnumf
// CHECK: math.roundeven
func.func @dynamic_quantize(%x: tensor<?x3xf32>) -> (tensor<?x3xi8>, tensor<?x2xf32>, tensor<?x2xi32>) {
  %q, %s, %z = qtx.dynamic_quantize %x to !qtx.grouped<i8:f32, axis=-1, [2, 1], ?>
      : (tensor<?x3xf32>) -> (tensor<?x3xi8>, tensor<?x2xf32>, tensor<?x2xi32>)
  return %q, %s, %z : tensor<?x3xi8>, tensor<?x2xf32>, tensor<?x2xi32>
}

// Constant indices are a permutation; others are clamped to the axis.
// CHECK-LABEL: func @permute(
// CHECK: linalg.generic
// CHECK-NOT: arith.minsi
// CHECK: tensor.extract
// CHECK: linalg.generic
// CHECK: arith.minsi
// CHECK: arith.maxsi
// CHECK: tensor.extract
func.func @permute(%x: tensor<?x3xi8>, %i: tensor<3xi32>) -> tensor<?x3xi8> {
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %y = qtx.permute %x by %p : (tensor<?x3xi8>, tensor<3xi32>) -> tensor<?x3xi8>
  %z = qtx.permute %y by %i : (tensor<?x3xi8>, tensor<3xi32>) -> tensor<?x3xi8>
  return %z : tensor<?x3xi8>
}

// CHECK-LABEL: func @observe(
// CHECK: iterator_types = ["reduction", "parallel"]
// CHECK: arith.select
// CHECK: arith.minnumf
// CHECK: iterator_types = ["reduction", "parallel"]
// CHECK: arith.maxnumf
// CHECK: math.fma
func.func @observe(%x: tensor<?x3xf32>, %lo: tensor<3xf32>, %hi: tensor<3xf32>, %m: tensor<?xi1>) -> (tensor<3xf32>, tensor<3xf32>) {
  %a, %b = qtx.observe %x, %lo, %hi mask(%m) observer running momentum 0.9
      : (tensor<?x3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<?xi1>) -> (tensor<3xf32>, tensor<3xf32>)
  return %a, %b : tensor<3xf32>, tensor<3xf32>
}
