// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --mlir-print-op-generic | qtx-opt | FileCheck %s

!uniform = !quant.uniform<i8:f32, 0.02:3>
!heads2 = !qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.04:3, 0.06}>
!heads4 = !qtx.grouped<i8:f32, axis=-3, [1 * 4], {0.1, 0.2, 0.3, 0.4}>
!channels = !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>
!probs = !quant.uniform<u8:f32, 0.00390625>

//===----------------------------------------------------------------------===//
// attention
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @attention_plain(
func.func @attention_plain(%q: tensor<?x4x?x16xf32>, %k: tensor<?x4x?x16xf32>, %v: tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32> {
  // CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} scale 2.500000e-01 : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  %y = qtx.attention %q, %k, %v scale 0.25
      : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
  return %y : tensor<?x4x?x8xf32>
}

// Every clause of a float attention.
// CHECK-LABEL: func @attention_float(
func.func @attention_float(%q: tensor<2x4x?x16xf32>, %k: tensor<2x2x?x16xf32>, %v: tensor<2x2x?x8xf32>, %m: tensor<2x1x1x?xi1>, %o: index, %s: tensor<4xf32>, %g: tensor<2x4x?x8xf32>) -> tensor<2x4x?x8xf32> {
  // CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} mask(%{{.*}}) causal offset(%{{.*}}) scale 2.500000e-01 soft_cap 3.000000e+01 sink(%{{.*}}) clip [-3.000000e-02, 1.000000e+00] gate(%{{.*}}) gain 2.000000e+00 :
  %y = qtx.attention %q, %k, %v mask(%m) causal offset(%o) scale 0.25 soft_cap 30.0
      sink(%s) clip [-0.03, 1.0] gate(%g) gain 2.0
      : (tensor<2x4x?x16xf32>, tensor<2x2x?x16xf32>, tensor<2x2x?x8xf32>, tensor<2x1x1x?xi1>, index, tensor<4xf32>, tensor<2x4x?x8xf32>) -> tensor<2x4x?x8xf32>
  return %y : tensor<2x4x?x8xf32>
}

// CHECK-LABEL: func @attention_quantized_form(
func.func @attention_quantized_form(%q: tensor<1x4x?x16x!uniform>, %k: tensor<1x2x?x16x!heads2>, %v: tensor<1x2x?x8x!channels>, %m: tensor<1x4x?x?xf32>, %g: tensor<1x4x?xf32>) -> tensor<1x4x?x8x!heads4> {
  // CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} mask(%{{.*}}) scale 1.000000e+00 scores !qtx.grouped<i8:f32, axis=-3, {{.*}}> clip [0.000000e+00, 1.030000e+00] probs !quant.uniform<u8:f32, 3.906250e-03> context !qtx.grouped<i8:f32, axis=-1, {{.*}}> gate(%{{.*}}) :
  %y = qtx.attention %q, %k, %v mask(%m) scale 1.0 scores !heads4 clip [0.0, 1.03] probs !probs context !channels gate(%g)
      : (tensor<1x4x?x16x!uniform>, tensor<1x2x?x16x!heads2>, tensor<1x2x?x8x!channels>, tensor<1x4x?x?xf32>, tensor<1x4x?xf32>) -> tensor<1x4x?x8x!heads4>
  return %y : tensor<1x4x?x8x!heads4>
}

// CHECK-LABEL: func @attention_storage_form(
func.func @attention_storage_form(%q: tensor<1x4x?x16xi8>, %k: tensor<1x2x?x16xi8>, %v: tensor<1x2x?x8xi8>) -> tensor<1x4x?x8xi8> {
  // CHECK: qtx.attention %{{.*}} as !quant.uniform<i8:f32, 2.000000e-02:3>, %{{.*}} as !qtx.grouped<i8:f32, axis=-3, {{.*}}>, %{{.*}} as !qtx.grouped<i8:f32, axis=-1, {{.*}}> scale 2.500000e-01 sink_logit 0.000000e+00 unnormalised probs !quant.uniform<u8:f32, 3.906250e-03> to !quant.uniform<i8:f32, 2.000000e-02:3> :
  %y = qtx.attention %q as !uniform, %k as !heads2, %v as !channels scale 0.25
      sink_logit 0.0 unnormalised probs !probs to !uniform
      : (tensor<1x4x?x16xi8>, tensor<1x2x?x16xi8>, tensor<1x2x?x8xi8>) -> tensor<1x4x?x8xi8>
  return %y : tensor<1x4x?x8xi8>
}

// clip [0, 1] is softmax: it is not written.
// CHECK-LABEL: func @attention_clip_of_softmax(
func.func @attention_clip_of_softmax(%q: tensor<1x4x1x16xf32>, %k: tensor<1x4x?x16xf32>) -> tensor<1x4x1x16xf32> {
  // CHECK: qtx.attention %{{.*}}, %{{.*}}, %{{.*}} scale 2.500000e-01 :
  %y = qtx.attention %q, %k, %k scale 0.25 clip [0.0, 1.0]
      : (tensor<1x4x1x16xf32>, tensor<1x4x?x16xf32>, tensor<1x4x?x16xf32>) -> tensor<1x4x1x16xf32>
  return %y : tensor<1x4x1x16xf32>
}

//===----------------------------------------------------------------------===//
// split_heads and merge_heads
//===----------------------------------------------------------------------===//

// Groups that are whole heads, and groups that every head has.
// CHECK-LABEL: func @heads(
func.func @heads(%x: tensor<?x3x8x!qtx.grouped<i8:f32, axis=-1, [4 * 2], {0.5:1, 0.25}>>, %c: tensor<2x2x?x3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5:1, 0.25}>>) -> (tensor<?x2x3x4x!qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5:1, 0.25}>>, tensor<2x?x6x!qtx.grouped<i8:f32, axis=-1, [2, 1, 2, 1], {0.5:1, 0.25, 0.5:1, 0.25}>>) {
  // CHECK: qtx.split_heads %{{.*}} : tensor<?x3x8x!qtx.grouped<i8:f32, axis=-1, [4 * 2], {{.*}}>> -> tensor<?x2x3x4x!qtx.grouped<i8:f32, axis=-3, [1 * 2], {{.*}}>>
  %y = qtx.split_heads %x : tensor<?x3x8x!qtx.grouped<i8:f32, axis=-1, [4 * 2], {0.5:1, 0.25}>> -> tensor<?x2x3x4x!qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5:1, 0.25}>>
  // CHECK: qtx.merge_heads %{{.*}} : tensor<2x2x?x3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {{.*}}>> -> tensor<2x?x6x!qtx.grouped<i8:f32, axis=-1, [2, 1, 2, 1], {{.*}}>>
  %m = qtx.merge_heads %c : tensor<2x2x?x3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5:1, 0.25}>> -> tensor<2x?x6x!qtx.grouped<i8:f32, axis=-1, [2, 1, 2, 1], {0.5:1, 0.25, 0.5:1, 0.25}>>
  return %y, %m : tensor<?x2x3x4x!qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5:1, 0.25}>>, tensor<2x?x6x!qtx.grouped<i8:f32, axis=-1, [2, 1, 2, 1], {0.5:1, 0.25, 0.5:1, 0.25}>>
}

//===----------------------------------------------------------------------===//
// softmax and clipped_softmax
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @softmax(
func.func @softmax(%x: tensor<?x12x?x128xf32>) -> tensor<?x12x?x128xf32> {
  // CHECK: qtx.softmax %{{.*}} : tensor<?x12x?x128xf32>
  %y = qtx.softmax %x : tensor<?x12x?x128xf32>
  // CHECK: qtx.clipped_softmax %{{.*}} clip [-2.343750e-02, 1.000000e+00] : tensor<?x12x?x128xf32>
  %z = qtx.clipped_softmax %y clip [-0.0234375, 1.0] : tensor<?x12x?x128xf32>
  return %z : tensor<?x12x?x128xf32>
}

//===----------------------------------------------------------------------===//
// gate_projection
//===----------------------------------------------------------------------===//

// CHECK-LABEL: func @gate_linear(
func.func @gate_linear(%x: tensor<?x?x8x!channels>, %w: tensor<2x4xf32>, %b: tensor<2xf32>) -> tensor<?x2x?xf32> {
  // CHECK: qtx.gate_projection linear %{{.*}} weight(%{{.*}}) bias(%{{.*}}) : (tensor<?x?x8x!qtx.grouped<{{.*}}>>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<?x2x?xf32>
  %g = qtx.gate_projection linear %x weight(%w) bias(%b) : (tensor<?x?x8x!channels>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<?x2x?xf32>
  return %g : tensor<?x2x?xf32>
}

// CHECK-LABEL: func @gate_mlp(
func.func @gate_mlp(%x: tensor<?x?x8xf32>, %hw: tensor<2x3x4xf32>, %hb: tensor<2x3xf32>, %w: tensor<2x3xf32>, %b: tensor<2xf32>) -> tensor<?x2x?xf32> {
  // CHECK: qtx.gate_projection mlp %{{.*}} hidden(%{{.*}}, %{{.*}}) weight(%{{.*}}) bias(%{{.*}}) :
  %g = qtx.gate_projection mlp %x hidden(%hw, %hb) weight(%w) bias(%b)
      : (tensor<?x?x8xf32>, tensor<2x3x4xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2xf32>) -> tensor<?x2x?xf32>
  return %g : tensor<?x2x?xf32>
}

// CHECK-LABEL: func @gate_all_heads(
func.func @gate_all_heads(%x: tensor<2x?x8xi8>, %w: tensor<2x8xf32>, %b: tensor<2xf32>) -> tensor<2x2x?xf32> {
  // CHECK: qtx.gate_projection all_heads %{{.*}} as !quant.uniform<i8:f32, 2.000000e-02:3> weight(%{{.*}}) bias(%{{.*}}) :
  %g = qtx.gate_projection all_heads %x as !uniform weight(%w) bias(%b) : (tensor<2x?x8xi8>, tensor<2x8xf32>, tensor<2xf32>) -> tensor<2x2x?xf32>
  return %g : tensor<2x2x?xf32>
}
