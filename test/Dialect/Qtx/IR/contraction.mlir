// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --mlir-print-op-generic | qtx-opt | FileCheck %s

!uniform = !quant.uniform<i8:f32, 0.02:3>
!grouped = !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>
!dynamic = !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>
!out = !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?>

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @linear_float(
func.func @linear_float(%x: tensor<2x?x8xf32>, %w: tensor<4x8xf32>, %b: tensor<4xf32>) -> tensor<2x?x4xf32> {
  // CHECK: qtx.linear %{{.*}}, %{{.*}} bias(%{{.*}}) : (tensor<2x?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> tensor<2x?x4xf32>
  %y = qtx.linear %x, %w bias(%b) : (tensor<2x?x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> tensor<2x?x4xf32>
  return %y : tensor<2x?x4xf32>
}

// CHECK-LABEL: func @linear_weight_only(
func.func @linear_weight_only(%x: tensor<8xf32>, %w: tensor<4x8xi4>, %s: tensor<4x3xf32>) -> tensor<4xf32> {
  // CHECK: qtx.linear %{{.*}}, %{{.*}} scale(%{{.*}}) block 3 : (tensor<8xf32>, tensor<4x8xi4>, tensor<4x3xf32>) -> tensor<4xf32>
  %y = qtx.linear %x, %w scale(%s) block 3 : (tensor<8xf32>, tensor<4x8xi4>, tensor<4x3xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// CHECK-LABEL: func @linear_quantized_form(
func.func @linear_quantized_form(%x: tensor<?x8x!grouped>, %w: tensor<4x8xi8>, %s: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<?x4x!uniform> {
  // CHECK: qtx.linear %{{.*}}, %{{.*}} scale(%{{.*}}) bias(%{{.*}}) activation gelu : (tensor<?x8x!qtx.grouped<{{.*}}>>, tensor<4x8xi8>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4x!quant.uniform<{{.*}}>>
  %y = qtx.linear %x, %w scale(%s) bias(%b) activation gelu
      : (tensor<?x8x!grouped>, tensor<4x8xi8>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4x!uniform>
  return %y : tensor<?x4x!uniform>
}

// CHECK-LABEL: func @linear_storage_form(
func.func @linear_storage_form(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<1xf32>, %c: tensor<2x4xi32>) -> tensor<?x4xi8> {
  // CHECK: qtx.linear %{{.*}} as !qtx.grouped<i8:f32, axis=-1, [6, 2], {2.000000e-02:3, 5.000000e-01}>, %{{.*}} scale(%{{.*}}) seed(%{{.*}}) activation relu to !quant.uniform<i8:f32, 2.000000e-02:3> : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<1xf32>, tensor<2x4xi32>) -> tensor<?x4xi8>
  %y = qtx.linear %x as !grouped, %w scale(%s) seed(%c) activation relu to !uniform
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<1xf32>, tensor<2x4xi32>) -> tensor<?x4xi8>
  return %y : tensor<?x4xi8>
}

// CHECK-LABEL: func @linear_run_time(
func.func @linear_run_time(%x: tensor<?x8xi8>, %xs: tensor<?x2xf32>, %xz: tensor<?x2xi32>,
                           %w: tensor<4x8xi8>, %s: tensor<4xf32>, %ys: tensor<4xf32>, %yz: tensor<4xi32>) -> tensor<?x4xi8> {
  // CHECK: qtx.linear %{{.*}} scale(%{{.*}}) zero_point(%{{.*}}) as !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>, %{{.*}} scale(%{{.*}}) out_scale(%{{.*}}) out_zero_point(%{{.*}}) to !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?> :
  %y = qtx.linear %x scale(%xs) zero_point(%xz) as !dynamic, %w scale(%s)
      out_scale(%ys) out_zero_point(%yz) to !out
      : (tensor<?x8xi8>, tensor<?x2xf32>, tensor<?x2xi32>, tensor<4x8xi8>, tensor<4xf32>, tensor<4xf32>, tensor<4xi32>) -> tensor<?x4xi8>
  return %y : tensor<?x4xi8>
}

// Multiples up to rounding, in any order, and one group.
// CHECK-LABEL: func @linear_integer_join(
func.func @linear_integer_join(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>, %c: tensor<3x4xi32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  // CHECK: qtx.linear %{{.*}} as !qtx.grouped<u8:f32, axis=-1, [2, 5, 1], {4.000000e-01:9, 2.000000e-02:3, 4.000000e-01}>, %{{.*}} scale(%{{.*}}) seed(%{{.*}}) integer_join activation relu : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>, tensor<3x4xi32>) -> tensor<?x4xf32>
  %y = qtx.linear %x as !qtx.grouped<u8:f32, axis=-1, [2, 5, 1], {0.4:9, 0.02:3, 0.4}>, %w scale(%s) seed(%c) integer_join activation relu
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>, tensor<3x4xi32>) -> tensor<?x4xf32>
  // CHECK: qtx.linear %{{.*}} as !quant.uniform<{{.*}}>, %{{.*}} scale(%{{.*}}) integer_join :
  %z = qtx.linear %x as !uniform, %w scale(%s) integer_join : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}

// The outputs of a tile may be dynamic.
// CHECK-LABEL: func @linear_tile(
func.func @linear_tile(%x: tensor<?x8xi8>, %w: tensor<?x8xi8>, %s: tensor<?x3xf32>, %b: tensor<?xf32>, %c: tensor<3x?xi32>) -> tensor<?x?xi8> {
  // CHECK: qtx.linear %{{.*}} as !quant.uniform<{{.*}}>, %{{.*}} scale(%{{.*}}) block 3 bias(%{{.*}}) seed(%{{.*}}) to !quant.uniform<{{.*}}> : (tensor<?x8xi8>, tensor<?x8xi8>, tensor<?x3xf32>, tensor<?xf32>, tensor<3x?xi32>) -> tensor<?x?xi8>
  %y = qtx.linear %x as !uniform, %w scale(%s) block 3 bias(%b) seed(%c) to !uniform
      : (tensor<?x8xi8>, tensor<?x8xi8>, tensor<?x3xf32>, tensor<?xf32>, tensor<3x?xi32>) -> tensor<?x?xi8>
  return %y : tensor<?x?xi8>
}

//===----------------------------------------------------------------------===//
// batch_matmul
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @batch_matmul_float(
func.func @batch_matmul_float(%a: tensor<?x12x?x64xf32>, %b: tensor<?x12x?x64xf32>) -> tensor<?x12x?x?xf32> {
  // CHECK: qtx.batch_matmul %{{.*}}, %{{.*}} transpose_b : (tensor<?x12x?x64xf32>, tensor<?x12x?x64xf32>) -> tensor<?x12x?x?xf32>
  %y = qtx.batch_matmul %a, %b transpose_b : (tensor<?x12x?x64xf32>, tensor<?x12x?x64xf32>) -> tensor<?x12x?x?xf32>
  return %y : tensor<?x12x?x?xf32>
}

// CHECK-LABEL: func @batch_matmul_quantized(
func.func @batch_matmul_quantized(%a: tensor<2x?x8x!grouped>, %b: tensor<2x8x?x!uniform>) -> tensor<2x?x?x!uniform> {
  // CHECK: qtx.batch_matmul %{{.*}}, %{{.*}} : (tensor<2x?x8x!qtx.grouped<{{.*}}>>, tensor<2x8x?x!quant.uniform<{{.*}}>>) -> tensor<2x?x?x!quant.uniform<{{.*}}>>
  %y = qtx.batch_matmul %a, %b : (tensor<2x?x8x!grouped>, tensor<2x8x?x!uniform>) -> tensor<2x?x?x!uniform>
  return %y : tensor<2x?x?x!uniform>
}

// CHECK-LABEL: func @batch_matmul_storage(
func.func @batch_matmul_storage(%a: tensor<2x3x8xi8>, %as: tensor<2x3x2xf32>, %az: tensor<2x3x2xi32>,
                                %b: tensor<2x8x4xi8>, %bs: tensor<4xf32>, %ys: tensor<2xf32>) -> tensor<2x3x4xi8> {
  // CHECK: qtx.batch_matmul %{{.*}} scale(%{{.*}}) zero_point(%{{.*}}) as !qtx.grouped<{{.*}}, ?>, %{{.*}} scale(%{{.*}}) as !qtx.grouped<{{.*}}, ?> out_scale(%{{.*}}) to !qtx.grouped<i8:f32, axis=-3, [1 * 2], ?> :
  %y = qtx.batch_matmul %a scale(%as) zero_point(%az) as !dynamic, %b scale(%bs) as !out
      out_scale(%ys) to !qtx.grouped<i8:f32, axis=-3, [1 * 2], ?>
      : (tensor<2x3x8xi8>, tensor<2x3x2xf32>, tensor<2x3x2xi32>, tensor<2x8x4xi8>, tensor<4xf32>, tensor<2xf32>) -> tensor<2x3x4xi8>
  return %y : tensor<2x3x4xi8>
}
