// RUN: qtx-opt %s --canonicalize --split-input-file | FileCheck %s

!q = !quant.uniform<i8:f32, 0.5:3>
!g = !qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5:-1, 2.0:4}>

// CHECK-LABEL: func @quantize_of_dequantize(
// CHECK-SAME: %[[Q:.*]]: tensor<?x3x!qtx
// CHECK-NEXT: return %[[Q]]
func.func @quantize_of_dequantize(%q: tensor<?x3x!g>) -> tensor<?x3x!g> {
  %x = qtx.dequantize %q : tensor<?x3x!g> -> tensor<?x3xf32>
  %y = qtx.quantize %x : tensor<?x3xf32> -> tensor<?x3x!g>
  return %y : tensor<?x3x!g>
}

// CHECK-LABEL: func @quantize_of_dequantize_storage(
// CHECK-SAME: %[[Q:.*]]: tensor<?x3xi8>
// CHECK-NEXT: return %[[Q]]
func.func @quantize_of_dequantize_storage(%q: tensor<?x3xi8>, %s: tensor<2xf32>) -> tensor<?x3xi8> {
  %x = qtx.dequantize %q scale(%s : tensor<2xf32>) as !qtx.grouped<i8:f32, axis=-1, [2, 1], ?> : tensor<?x3xi8> -> tensor<?x3xf32>
  %y = qtx.quantize %x scale(%s : tensor<2xf32>) to !qtx.grouped<i8:f32, axis=-1, [2, 1], ?> : tensor<?x3xf32> -> tensor<?x3xi8>
  return %y : tensor<?x3xi8>
}

// CHECK-LABEL: func @other_parameters(
// CHECK: qtx.dequantize
// CHECK: qtx.quantize
func.func @other_parameters(%q: tensor<?x3xi8>) -> tensor<?x3xi8> {
  %x = qtx.dequantize %q as !q : tensor<?x3xi8> -> tensor<?x3xf32>
  %y = qtx.quantize %x to !g : tensor<?x3xf32> -> tensor<?x3xi8>
  return %y : tensor<?x3xi8>
}

// CHECK-LABEL: func @other_operands(
// CHECK: qtx.dequantize
// CHECK: qtx.quantize
func.func @other_operands(%q: tensor<?x3xi8>, %s: tensor<2xf32>, %z: tensor<2xi32>) -> tensor<?x3xi8> {
  %x = qtx.dequantize %q scale(%s : tensor<2xf32>) as !qtx.grouped<i8:f32, axis=-1, [2, 1], ?> : tensor<?x3xi8> -> tensor<?x3xf32>
  %y = qtx.quantize %x scale(%s : tensor<2xf32>) zero_point(%z : tensor<2xi32>) to !qtx.grouped<i8:f32, axis=-1, [2, 1], ?> : tensor<?x3xf32> -> tensor<?x3xi8>
  return %y : tensor<?x3xi8>
}

// A 32-bit integer may have more digits than f32 holds.
// CHECK-LABEL: func @wide(
// CHECK: qtx.dequantize
// CHECK: qtx.quantize
func.func @wide(%q: tensor<4x!quant.uniform<i32:f32, 0.5>>) -> tensor<4x!quant.uniform<i32:f32, 0.5>> {
  %x = qtx.dequantize %q : tensor<4x!quant.uniform<i32:f32, 0.5>> -> tensor<4xf32>
  %y = qtx.quantize %x : tensor<4xf32> -> tensor<4x!quant.uniform<i32:f32, 0.5>>
  return %y : tensor<4x!quant.uniform<i32:f32, 0.5>>
}

// 255 times this scale overflows.
// CHECK-LABEL: func @huge_scale(
// CHECK: qtx.requantize
func.func @huge_scale(%q: tensor<4x!quant.uniform<i8:f32, 3.0e38>>) -> tensor<4x!quant.uniform<i8:f32, 3.0e38>> {
  %x = qtx.requantize %q : (tensor<4x!quant.uniform<i8:f32, 3.0e38>>) -> tensor<4x!quant.uniform<i8:f32, 3.0e38>>
  return %x : tensor<4x!quant.uniform<i8:f32, 3.0e38>>
}

// Quantizing loses what lies between the steps.
// CHECK-LABEL: func @dequantize_of_quantize(
// CHECK: qtx.quantize
// CHECK: qtx.dequantize
func.func @dequantize_of_quantize(%x: tensor<4xf32>) -> tensor<4xf32> {
  %q = qtx.quantize %x to !q : tensor<4xf32> -> tensor<4xi8>
  %y = qtx.dequantize %q as !q : tensor<4xi8> -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// CHECK-LABEL: func @requantize_same(
// CHECK-SAME: %[[Q:.*]]: tensor<4xi8>
// CHECK-NEXT: return %[[Q]]
func.func @requantize_same(%q: tensor<4xi8>) -> tensor<4xi8> {
  %y = qtx.requantize %q as !q to !q : (tensor<4xi8>) -> tensor<4xi8>
  return %y : tensor<4xi8>
}

// CHECK-LABEL: func @requantize_of_requantize(
// CHECK: qtx.requantize
// CHECK: qtx.requantize
func.func @requantize_of_requantize(%q: tensor<3xi8>) -> tensor<3xi8> {
  %x = qtx.requantize %q as !q to !g : (tensor<3xi8>) -> tensor<3xi8>
  %y = qtx.requantize %x as !g to !q : (tensor<3xi8>) -> tensor<3xi8>
  return %y : tensor<3xi8>
}

// One group with constant parameters is per tensor.
// CHECK-LABEL: func @one_group(
// CHECK: qtx.quantize %{{.*}} to !quant.uniform<i8:f32, 5.000000e-01:3> : tensor<?x3xf32>
// CHECK: qtx.requantize %{{.*}} as !quant.uniform<i8:f32, 5.000000e-01:3> to !quant.uniform<i8:f32, 5.000000e-01> : (tensor<?x3xi8>)
// CHECK: qtx.dequantize %{{.*}} as !quant.uniform<i8:f32, 5.000000e-01> : tensor<?x3xi8>
func.func @one_group(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %z = arith.constant dense<3> : tensor<1xi32>
  %q = qtx.quantize %x scale(%s : tensor<1xf32>) zero_point(%z : tensor<1xi32>) to !qtx.grouped<i8:f32, axis=-1, [3], ?> : tensor<?x3xf32> -> tensor<?x3xi8>
  %r = qtx.requantize %q scale(%s) zero_point(%z) as !qtx.grouped<i8:f32, axis=-1, [3], ?> out_scale(%s) to !qtx.grouped<i8:f32, axis=-1, [3], ?>
      : (tensor<?x3xi8>, tensor<1xf32>, tensor<1xi32>, tensor<1xf32>) -> tensor<?x3xi8>
  %y = qtx.dequantize %r scale(%s : tensor<1xf32>) as !qtx.grouped<i8:f32, axis=-1, [3], ?> : tensor<?x3xi8> -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// What the type cannot say stays an operand.
// CHECK-LABEL: func @one_group_invalid(
// CHECK: qtx.quantize %{{.*}} scale(
// CHECK: qtx.quantize %{{.*}} scale(
func.func @one_group_invalid(%x: tensor<?x3xf32>) -> (tensor<?x3xi8>, tensor<?x3xi8>) {
  %s = arith.constant dense<-0.5> : tensor<1xf32>
  %t = arith.constant dense<0.5> : tensor<1xf32>
  %z = arith.constant dense<300> : tensor<1xi32>
  %q = qtx.quantize %x scale(%s : tensor<1xf32>) to !qtx.grouped<i8:f32, axis=-1, [3], ?> : tensor<?x3xf32> -> tensor<?x3xi8>
  %r = qtx.quantize %x scale(%t : tensor<1xf32>) zero_point(%z : tensor<1xi32>) to !qtx.grouped<i8:f32, axis=-1, [3], ?> : tensor<?x3xf32> -> tensor<?x3xi8>
  return %q, %r : tensor<?x3xi8>, tensor<?x3xi8>
}

// CHECK-LABEL: func @permute_of_permute(
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>
// CHECK: %[[P:.*]] = arith.constant dense<[3, 2, 1, 0]> : tensor<4xi64>
// CHECK: qtx.permute %[[X]] by %[[P]] :
func.func @permute_of_permute(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %p = arith.constant dense<[1, 2, 3, 0]> : tensor<4xi32>
  %q = arith.constant dense<[2, 1, 0, 3]> : tensor<4xi64>
  %y = qtx.permute %x by %p : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
  %z = qtx.permute %y by %q : (tensor<?x4xf32>, tensor<4xi64>) -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// A permutation and its inverse are nothing.
// CHECK-LABEL: func @permute_inverse(
// CHECK-SAME: %[[X:.*]]: tensor<?x3x!qtx
// CHECK-NEXT: return %[[X]]
func.func @permute_inverse(%x: tensor<?x3x!g>) -> tensor<?x3x!g> {
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %q = arith.constant dense<[1, 2, 0]> : tensor<3xi32>
  %y = qtx.permute %x by %p : (tensor<?x3x!g>, tensor<3xi32>) -> tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [1, 2], {2.0:4, 0.5:-1}>>
  %z = qtx.permute %y by %q : (tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [1, 2], {2.0:4, 0.5:-1}>>, tensor<3xi32>) -> tensor<?x3x!g>
  return %z : tensor<?x3x!g>
}

// CHECK-LABEL: func @permute_other_axis(
// CHECK-COUNT-2: qtx.permute
func.func @permute_other_axis(%x: tensor<3x3xf32>) -> tensor<3x3xf32> {
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %y = qtx.permute %x by %p : (tensor<3x3xf32>, tensor<3xi32>) -> tensor<3x3xf32>
  %z = qtx.permute %y by %p axis -2 : (tensor<3x3xf32>, tensor<3xi32>) -> tensor<3x3xf32>
  return %z : tensor<3x3xf32>
}

// CHECK-LABEL: func @permute_run_time(
// CHECK-COUNT-2: qtx.permute
func.func @permute_run_time(%x: tensor<3xf32>, %p: tensor<3xi32>) -> tensor<3xf32> {
  %y = qtx.permute %x by %p : (tensor<3xf32>, tensor<3xi32>) -> tensor<3xf32>
  %z = qtx.permute %y by %p : (tensor<3xf32>, tensor<3xi32>) -> tensor<3xf32>
  return %z : tensor<3xf32>
}

// CHECK-LABEL: func @permute_constant(
// CHECK-DAG: %[[A:.*]] = arith.constant dense<{{\[}}[4, 5], [0, 1], [2, 3]]> : tensor<3x2xi8>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<{{\[}}[2.0{{.*}}, 1.0{{.*}}], [4.0{{.*}}, 3.0{{.*}}]]> : tensor<2x2xf32>
// CHECK-DAG: %[[C:.*]] = arith.constant dense<7> : tensor<100000x2xi8>
// CHECK: return %[[A]], %[[B]], %[[C]]
func.func @permute_constant() -> (tensor<3x2xi8>, tensor<2x2xf32>, tensor<100000x2xi8>) {
  %w = arith.constant dense<[[0, 1], [2, 3], [4, 5]]> : tensor<3x2xi8>
  %v = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %u = arith.constant dense<7> : tensor<100000x2xi8>
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %q = arith.constant dense<[1, 0]> : tensor<2xi32>
  %a = qtx.permute %w by %p axis -2 : (tensor<3x2xi8>, tensor<3xi32>) -> tensor<3x2xi8>
  %b = qtx.permute %v by %q : (tensor<2x2xf32>, tensor<2xi32>) -> tensor<2x2xf32>
  %c = qtx.permute %u by %q : (tensor<100000x2xi8>, tensor<2xi32>) -> tensor<100000x2xi8>
  return %a, %b, %c : tensor<3x2xi8>, tensor<2x2xf32>, tensor<100000x2xi8>
}

// The first indices are fewer than their type says.
// CHECK-LABEL: func.func @permute_short_resource
// CHECK-COUNT-2: qtx.permute
func.func @permute_short_resource(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %p = arith.constant dense_resource<short> : tensor<4xi32>
  %q = arith.constant dense<[3, 2, 1, 0]> : tensor<4xi32>
  %0 = qtx.permute %x by %p : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
  %1 = qtx.permute %0 by %q : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
  return %1 : tensor<?x4xf32>
}

{-# dialect_resources: { builtin: { short: "0x040000000100000000000000" } } #-}
