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

//===----------------------------------------------------------------------===//
// requantize
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @requantize(
func.func @requantize(%q: tensor<?x8x!uniform>, %s: tensor<?x8xi8>) -> (tensor<?x8x!grouped>, tensor<?x8xi8>) {
  // CHECK: qtx.requantize %{{.*}} : (tensor<?x8x!quant.uniform<{{.*}}>>) -> tensor<?x8x!qtx.grouped<{{.*}}>>
  %y = qtx.requantize %q : (tensor<?x8x!uniform>) -> tensor<?x8x!grouped>
  // CHECK: qtx.requantize %{{.*}} as !quant.uniform<{{.*}}> to !qtx.grouped<{{.*}}> : (tensor<?x8xi8>) -> tensor<?x8xi8>
  %z = qtx.requantize %s as !uniform to !grouped : (tensor<?x8xi8>) -> tensor<?x8xi8>
  return %y, %z : tensor<?x8x!grouped>, tensor<?x8xi8>
}

// CHECK-LABEL: func @requantize_run_time(
func.func @requantize_run_time(%q: tensor<?x8xi32>, %s: tensor<8xf32>, %t: tensor<?x2xf32>, %z: tensor<2xi32>) -> tensor<?x8xi8> {
  // CHECK: qtx.requantize %{{.*}} scale(%{{.*}}) as !qtx.grouped<i32:f32, axis=-1, [1 * 8], ?> out_scale(%{{.*}}) out_zero_point(%{{.*}}) to !qtx.grouped<i8:f32, axis=-1, [6, 2], ?> : (tensor<?x8xi32>, tensor<8xf32>, tensor<?x2xf32>, tensor<2xi32>) -> tensor<?x8xi8>
  %y = qtx.requantize %q scale(%s) as !qtx.grouped<i32:f32, axis=-1, [1 * 8], ?> out_scale(%t) out_zero_point(%z) to !dynamic
      : (tensor<?x8xi32>, tensor<8xf32>, tensor<?x2xf32>, tensor<2xi32>) -> tensor<?x8xi8>
  return %y : tensor<?x8xi8>
}

//===----------------------------------------------------------------------===//
// dynamic_quantize
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @dynamic_quantize(
func.func @dynamic_quantize(%x: tensor<?x8xf32>) -> (tensor<?x8x!dynamic>, tensor<?x8xi8>) {
  // CHECK: %{{.*}}, %{{.*}}, %{{.*}} = qtx.dynamic_quantize %{{.*}} : (tensor<?x8xf32>) -> (tensor<?x8x!qtx.grouped<{{.*}}, ?>>, tensor<?x2xf32>, tensor<?x2xi32>)
  %q, %s, %z = qtx.dynamic_quantize %x : (tensor<?x8xf32>) -> (tensor<?x8x!dynamic>, tensor<?x2xf32>, tensor<?x2xi32>)
  // CHECK: %{{.*}}, %{{.*}} = qtx.dynamic_quantize %{{.*}} symmetric to !qtx.grouped<{{.*}}, ?> : (tensor<?x8xf32>) -> (tensor<?x8xi8>, tensor<?x1xf32>)
  %r, %t = qtx.dynamic_quantize %x symmetric to !qtx.grouped<i8:f32, axis=-1, [8], ?>
      : (tensor<?x8xf32>) -> (tensor<?x8xi8>, tensor<?x1xf32>)
  return %q, %r : tensor<?x8x!dynamic>, tensor<?x8xi8>
}

// CHECK-LABEL: func @dynamic_requantize(
func.func @dynamic_requantize(%x: tensor<8xi32>, %u: tensor<8xf32>) -> tensor<8xi8> {
  // CHECK: qtx.dynamic_quantize %{{.*}} scale(%{{.*}}) as !qtx.grouped<i32:f32, axis=-1, [1 * 8], ?> to !qtx.grouped<i8:f32, axis=-1, [6, 2], ?> : (tensor<8xi32>, tensor<8xf32>) -> (tensor<8xi8>, tensor<2xf32>, tensor<2xi32>)
  %q, %s, %z = qtx.dynamic_quantize %x scale(%u) as !qtx.grouped<i32:f32, axis=-1, [1 * 8], ?> to !dynamic
      : (tensor<8xi32>, tensor<8xf32>) -> (tensor<8xi8>, tensor<2xf32>, tensor<2xi32>)
  return %q : tensor<8xi8>
}

//===----------------------------------------------------------------------===//
// permute
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @permute(
func.func @permute(%x: tensor<?x4xf32>, %w: tensor<4x3xi8>, %b: tensor<2x?xi1>, %i: tensor<?xi64>) -> (tensor<?x4xf32>, tensor<4x3xi8>, tensor<2x?xi1>) {
  %p = arith.constant dense<[2, 0, 3, 1]> : tensor<4xi32>
  // CHECK: qtx.permute %{{.*}} by %{{.*}} : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
  %y = qtx.permute %x by %p : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
  // CHECK: qtx.permute %{{.*}} by %{{.*}} axis -2 : (tensor<4x3xi8>, tensor<4xi32>) -> tensor<4x3xi8>
  %z = qtx.permute %w by %p axis -2 : (tensor<4x3xi8>, tensor<4xi32>) -> tensor<4x3xi8>
  // CHECK: qtx.permute %{{.*}} by %{{.*}} : (tensor<2x?xi1>, tensor<?xi64>) -> tensor<2x?xi1>
  %a = qtx.permute %b by %i : (tensor<2x?xi1>, tensor<?xi64>) -> tensor<2x?xi1>
  return %y, %z, %a : tensor<?x4xf32>, tensor<4x3xi8>, tensor<2x?xi1>
}

// Groups follow their channels.
// CHECK-LABEL: func @permute_groups(
func.func @permute_groups(%x: tensor<?x4x!qtx.grouped<i8:f32, axis=-1, [2, 2], {0.5:1, 2.0}>>,
                          %d: tensor<4x!qtx.grouped<i8:f32, axis=-1, [3, 1], ?>>)
    -> (tensor<?x4x!qtx.grouped<i8:f32, axis=-1, [1, 2, 1], {0.5:1, 2.0, 0.5:1}>>,
        tensor<4x!qtx.grouped<i8:f32, axis=-1, [1, 3], ?>>) {
  %p = arith.constant dense<[0, 2, 3, 1]> : tensor<4xindex>
  %y = qtx.permute %x by %p : (tensor<?x4x!qtx.grouped<i8:f32, axis=-1, [2, 2], {0.5:1, 2.0}>>, tensor<4xindex>)
      -> tensor<?x4x!qtx.grouped<i8:f32, axis=-1, [1, 2, 1], {0.5:1, 2.0, 0.5:1}>>
  %r = arith.constant dense_resource<reversed> : tensor<4xi32>
  %z = qtx.permute %d by %r : (tensor<4x!qtx.grouped<i8:f32, axis=-1, [3, 1], ?>>, tensor<4xi32>)
      -> tensor<4x!qtx.grouped<i8:f32, axis=-1, [1, 3], ?>>
  return %y, %z : tensor<?x4x!qtx.grouped<i8:f32, axis=-1, [1, 2, 1], {0.5:1, 2.0, 0.5:1}>>, tensor<4x!qtx.grouped<i8:f32, axis=-1, [1, 3], ?>>
}

//===----------------------------------------------------------------------===//
// observe
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @observe(
func.func @observe(%x: tensor<?x?x8xf32>, %lo: tensor<8xf32>, %hi: tensor<8xf32>, %m: tensor<?x?xi1>)
    -> (tensor<8xf32>, tensor<8xf32>) {
  // CHECK: %{{.*}}, %{{.*}} = qtx.observe %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
  %a, %b = qtx.observe %x, %lo, %hi : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
  // CHECK: qtx.observe %{{.*}}, %{{.*}}, %{{.*}} mask(%{{.*}}) observer running momentum {{0.899999976|0.9}} :
  %c, %d = qtx.observe %x, %a, %b mask(%m) observer running momentum 0.9
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?x?xi1>) -> (tensor<8xf32>, tensor<8xf32>)
  return %c, %d : tensor<8xf32>, tensor<8xf32>
}

// CHECK-LABEL: func @observe_axis(
func.func @observe_axis(%x: tensor<2x?x8xf32>, %lo: tensor<?xf32>, %hi: tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>) {
  // CHECK: qtx.observe %{{.*}}, %{{.*}}, %{{.*}} axis -2 observer current :
  %a, %b = qtx.observe %x, %lo, %hi axis -2 observer current
      : (tensor<2x?x8xf32>, tensor<?xf32>, tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>)
  return %a, %b : tensor<?xf32>, tensor<?xf32>
}

{-#
  dialect_resources: {
    builtin: {
      reversed: "0x0400000003000000020000000100000000000000"
    }
  }
#-}
