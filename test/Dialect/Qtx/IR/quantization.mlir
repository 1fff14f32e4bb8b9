// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --mlir-print-op-generic | qtx-opt | FileCheck %s

!uniform = !quant.uniform<i8:f32, 0.02:3>
!grouped = !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>
!dynamic = !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>

//===----------------------------------------------------------------------===//
// quantize
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @quantize(
func.func @quantize(%x: tensor<?x8xf32>) -> (tensor<?x8x!uniform>, tensor<?x8xi8>) {
  // CHECK: qtx.quantize %{{.*}} : tensor<?x8xf32> -> tensor<?x8x!quant.uniform<i8:f32, 2.000000e-02:3>>
  %q = qtx.quantize %x : tensor<?x8xf32> -> tensor<?x8x!uniform>
  // CHECK: qtx.quantize %{{.*}} to !quant.uniform<i8:f32, 2.000000e-02:3> : tensor<?x8xf32> -> tensor<?x8xi8>
  %s = qtx.quantize %x to !uniform : tensor<?x8xf32> -> tensor<?x8xi8>
  return %q, %s : tensor<?x8x!uniform>, tensor<?x8xi8>
}

// CHECK-LABEL: func @quantize_groups(
func.func @quantize_groups(%x: tensor<?x8xf32>) -> (tensor<?x8x!grouped>, tensor<?x8xi8>) {
  // CHECK: qtx.quantize %{{.*}} : tensor<?x8xf32> -> tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], {2.000000e-02:3, 5.000000e-01}>>
  %q = qtx.quantize %x : tensor<?x8xf32> -> tensor<?x8x!grouped>
  // CHECK: qtx.quantize %{{.*}} to !qtx.grouped<{{.*}}> : tensor<?x8xf32> -> tensor<?x8xi8>
  %s = qtx.quantize %x to !grouped : tensor<?x8xf32> -> tensor<?x8xi8>
  return %q, %s : tensor<?x8x!grouped>, tensor<?x8xi8>
}

// CHECK-LABEL: func @quantize_run_time(
func.func @quantize_run_time(%x: tensor<?x8xf32>, %s: tensor<2xf32>, %z: tensor<?x2xi32>)
    -> (tensor<?x8x!dynamic>, tensor<?x8xi8>) {
  // CHECK: qtx.quantize %{{.*}} scale(%{{.*}} : tensor<2xf32>) : tensor<?x8xf32> -> tensor<?x8x!qtx.grouped<{{.*}}, ?>>
  %q = qtx.quantize %x scale(%s : tensor<2xf32>) : tensor<?x8xf32> -> tensor<?x8x!dynamic>
  // CHECK: qtx.quantize %{{.*}} scale(%{{.*}} : tensor<2xf32>) zero_point(%{{.*}} : tensor<?x2xi32>) to !qtx.grouped<{{.*}}, ?> : tensor<?x8xf32> -> tensor<?x8xi8>
  %r = qtx.quantize %x scale(%s : tensor<2xf32>) zero_point(%z : tensor<?x2xi32>) to !dynamic
      : tensor<?x8xf32> -> tensor<?x8xi8>
  return %q, %r : tensor<?x8x!dynamic>, tensor<?x8xi8>
}

//===----------------------------------------------------------------------===//
// dequantize
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @dequantize(
func.func @dequantize(%q: tensor<4x8x!grouped>, %s: tensor<4x8xi8>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  // CHECK: qtx.dequantize %{{.*}} : tensor<4x8x!qtx.grouped<{{.*}}>> -> tensor<4x8xf32>
  %y = qtx.dequantize %q : tensor<4x8x!grouped> -> tensor<4x8xf32>
  // CHECK: qtx.dequantize %{{.*}} as !quant.uniform<i8:f32, 2.000000e-02:3> : tensor<4x8xi8> -> tensor<4x8xf32>
  %z = qtx.dequantize %s as !uniform : tensor<4x8xi8> -> tensor<4x8xf32>
  return %y, %z : tensor<4x8xf32>, tensor<4x8xf32>
}

// CHECK-LABEL: func @dequantize_run_time(
func.func @dequantize_run_time(%q: tensor<4x8x!dynamic>, %s: tensor<4x2xf32>, %z: tensor<2xi32>) -> tensor<4x8xf32> {
  // CHECK: qtx.dequantize %{{.*}} scale(%{{.*}} : tensor<4x2xf32>) zero_point(%{{.*}} : tensor<2xi32>) : tensor<4x8x!qtx.grouped<{{.*}}, ?>> -> tensor<4x8xf32>
  %y = qtx.dequantize %q scale(%s : tensor<4x2xf32>) zero_point(%z : tensor<2xi32>)
      : tensor<4x8x!dynamic> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// A scalar is quantized per tensor.
// CHECK-LABEL: func @scalar(
func.func @scalar(%x: tensor<f32>) -> tensor<f32> {
  // CHECK: qtx.quantize %{{.*}} : tensor<f32> -> tensor<!quant.uniform<u4:f32, 5.000000e-01:8>>
  %q = qtx.quantize %x : tensor<f32> -> tensor<!quant.uniform<u4:f32, 0.5:8>>
  %y = qtx.dequantize %q : tensor<!quant.uniform<u4:f32, 0.5:8>> -> tensor<f32>
  return %y : tensor<f32>
}
