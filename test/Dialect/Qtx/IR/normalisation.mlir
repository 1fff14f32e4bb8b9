// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --mlir-print-op-generic | qtx-opt | FileCheck %s

!uniform = !quant.uniform<i8:f32, 0.02:3>
!grouped = !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>
!dynamic = !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>

//===----------------------------------------------------------------------===//
// layer_norm, rms_norm, scale_shift
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @layer_norm(
func.func @layer_norm(%x: tensor<2x?x8xf32>, %g: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<2x?x8xf32> {
  // CHECK: qtx.layer_norm %{{.*}} gamma(%{{.*}}) beta(%{{.*}}) epsilon 9.99999996E-13 : (tensor<2x?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x?x8xf32>
  %y = qtx.layer_norm %x gamma(%g) beta(%b) epsilon 1.0e-12 : (tensor<2x?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x?x8xf32>
  return %y : tensor<2x?x8xf32>
}

// CHECK-LABEL: func @layer_norm_quantized(
func.func @layer_norm_quantized(%x: tensor<?x8x!uniform>, %b: tensor<8xf32>) -> tensor<?x8x!grouped> {
  // CHECK: qtx.layer_norm %{{.*}} beta(%{{.*}}) epsilon {{.*}} : (tensor<?x8x!quant.uniform<i8:f32, 2.000000e-02:3>>, tensor<8xf32>) -> tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], {2.000000e-02:3, 5.000000e-01}>>
  %y = qtx.layer_norm %x beta(%b) epsilon 1.0e-5 : (tensor<?x8x!uniform>, tensor<8xf32>) -> tensor<?x8x!grouped>
  return %y : tensor<?x8x!grouped>
}

// CHECK-LABEL: func @layer_norm_storage(
func.func @layer_norm_storage(%x: tensor<?x8xi8>, %xs: tensor<?x2xf32>, %xz: tensor<2xi32>, %ys: tensor<2xf32>) -> tensor<?x8xi8> {
  // CHECK: qtx.layer_norm %{{.*}} scale(%{{.*}}) zero_point(%{{.*}}) as !qtx.grouped<i8:f32, axis=-1, [6, 2], ?> epsilon {{.*}} out_scale(%{{.*}}) to !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>
  %y = qtx.layer_norm %x scale(%xs) zero_point(%xz) as !dynamic epsilon 1.0e-5 out_scale(%ys) to !dynamic
      : (tensor<?x8xi8>, tensor<?x2xf32>, tensor<2xi32>, tensor<2xf32>) -> tensor<?x8xi8>
  return %y : tensor<?x8xi8>
}

// CHECK-LABEL: func @rms_norm(
func.func @rms_norm(%x: tensor<8xf32>, %g: tensor<8xf32>) -> tensor<8xi8> {
  // CHECK: qtx.rms_norm %{{.*}} gamma(%{{.*}}) epsilon {{.*}} to !quant.uniform<i8:f32, 2.000000e-02:3> : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xi8>
  %y = qtx.rms_norm %x gamma(%g) epsilon 1.0e-6 to !uniform : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xi8>
  return %y : tensor<8xi8>
}

// CHECK-LABEL: func @scale_shift(
func.func @scale_shift(%x: tensor<?x8xf32>, %q: tensor<8xi8>, %g: tensor<8xf32>, %s: tensor<8xf32>) -> (tensor<?x8x!grouped>, tensor<8xi8>) {
  // CHECK: qtx.scale_shift %{{.*}} gain(%{{.*}}) shift(%{{.*}}) : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], {2.000000e-02:3, 5.000000e-01}>>
  %0 = qtx.scale_shift %x gain(%g) shift(%s) : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8x!grouped>
  // CHECK: qtx.scale_shift %{{.*}} as !quant.uniform<i8:f32, 2.000000e-02:3> gain(%{{.*}}) shift(%{{.*}}) out_scale(%{{.*}}) to !qtx.grouped<i8:f32, axis=-1, [1 * 8], ?>
  %1 = qtx.scale_shift %q as !uniform gain(%g) shift(%s) out_scale(%g) to !qtx.grouped<i8:f32, axis=-1, [1 * 8], ?>
      : (tensor<8xi8>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<8xi8>
  return %0, %1 : tensor<?x8x!grouped>, tensor<8xi8>
}

//===----------------------------------------------------------------------===//
// relu, gelu, silu
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @activations(
func.func @activations(%x: tensor<?x8xf32>, %q: tensor<?x8xi8>) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8x!uniform>, tensor<?x8xi8>) {
  // CHECK: qtx.relu %{{.*}} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %0 = qtx.relu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: qtx.gelu %{{.*}} : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = qtx.gelu %x approximate none : (tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: qtx.gelu %{{.*}} approximate tanh : (tensor<?x8xf32>) -> tensor<?x8x!quant.uniform<i8:f32, 2.000000e-02:3>>
  %2 = qtx.gelu %x approximate tanh : (tensor<?x8xf32>) -> tensor<?x8x!uniform>
  // CHECK: qtx.silu %{{.*}} as !quant.uniform<i8:f32, 2.000000e-02:3> to !qtx.grouped<i8:f32, axis=-1, [6, 2], {2.000000e-02:3, 5.000000e-01}>
  %3 = qtx.silu %q as !uniform to !grouped : (tensor<?x8xi8>) -> tensor<?x8xi8>
  return %0, %1, %2, %3 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8x!uniform>, tensor<?x8xi8>
}

//===----------------------------------------------------------------------===//
// add, embedding
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @add(
func.func @add(%x: tensor<?x8x!uniform>, %h: tensor<?x8xf32>, %p: tensor<8xf32>) -> tensor<?x8xf32> {
  // CHECK: qtx.add %{{.*}}, %{{.*}} : (tensor<?x8x!quant.uniform<i8:f32, 2.000000e-02:3>>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %0 = qtx.add %x, %h : (tensor<?x8x!uniform>, tensor<?x8xf32>) -> tensor<?x8xf32>
  // CHECK: qtx.add %{{.*}}, %{{.*}} : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %1 = qtx.add %0, %p : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}

// CHECK-LABEL: func @add_storage(
func.func @add_storage(%x: tensor<?x8xi8>, %h: tensor<?x8xi8>, %s: tensor<2xf32>) -> tensor<?x8xi8> {
  // CHECK: qtx.add %{{.*}} as !quant.uniform<i8:f32, 2.000000e-02:3>, %{{.*}} scale(%{{.*}}) as !qtx.grouped<i8:f32, axis=-1, [6, 2], ?> to !quant.uniform<i8:f32, 2.000000e-02:3>
  %0 = qtx.add %x as !uniform, %h scale(%s) as !dynamic to !uniform : (tensor<?x8xi8>, tensor<?x8xi8>, tensor<2xf32>) -> tensor<?x8xi8>
  return %0 : tensor<?x8xi8>
}

// CHECK-LABEL: func @embedding(
func.func @embedding(%t: tensor<5x8xf32>, %q: tensor<5x8xi8>, %s: tensor<5xf32>, %i: tensor<?x3xi64>, %j: tensor<index>) -> (tensor<?x3x8xf32>, tensor<8x!grouped>) {
  // CHECK: qtx.embedding %{{.*}}, %{{.*}} : (tensor<5x8xf32>, tensor<?x3xi64>) -> tensor<?x3x8xf32>
  %0 = qtx.embedding %t, %i : (tensor<5x8xf32>, tensor<?x3xi64>) -> tensor<?x3x8xf32>
  // CHECK: qtx.embedding %{{.*}} scale(%{{.*}}), %{{.*}} : (tensor<5x8xi8>, tensor<5xf32>, tensor<index>) -> tensor<8x!qtx.grouped<{{.*}}>>
  %1 = qtx.embedding %q scale(%s), %j : (tensor<5x8xi8>, tensor<5xf32>, tensor<index>) -> tensor<8x!grouped>
  return %0, %1 : tensor<?x3x8xf32>, tensor<8x!grouped>
}
