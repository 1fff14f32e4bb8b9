// RUN: qtx-opt %s -qtx-unsigned-inputs | FileCheck %s
// RUN: qtx-opt %s -qtx-unsigned-inputs --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

#vnni = #qtx.micro_kernel<"x86-avx512-vnni", rows = 8, vectors = 3, block = 512>
#wide = #qtx.micro_kernel<"x86-avx2-int16", rows = 6, vectors = 2, block = 510>
!s = !quant.uniform<i8:f32, 0.5:3>
!g = !qtx.grouped<i8:f32, axis=-1, [3, 1], {0.5:-128, 2.0:127}>

// CHECK-LABEL: func.func @producers
// CHECK: qtx.quantize %{{.*}} to !quant.uniform<u8:f32, 5.000000e-01:131>
// CHECK: qtx.linear %{{.*}} as !quant.uniform<u8:f32, 5.000000e-01:131>, %{{.*}} to !qtx.grouped<u8:f32, axis=-1, [3, 1], {5.000000e-01, 2.000000e+00:255}>
// CHECK: qtx.linear %{{.*}} as !qtx.grouped<u8:f32, axis=-1, [3, 1], {5.000000e-01, 2.000000e+00:255}>, %{{.*}} to !quant.uniform<i8:f32, 5.000000e-01:3>
// REMARK: [Passed] UnsignedInputs | Category:qtx-unsigned-inputs | Remark="stores the result in unsigned bytes"
// REMARK: [Passed] UnsignedInputs
func.func @producers(%x: tensor<?x4xf32>, %w: tensor<4x4xi8>, %s: tensor<1xf32>) -> tensor<?x4xi8> {
  %q = qtx.quantize %x to !s : tensor<?x4xf32> -> tensor<?x4xi8>
  %y = qtx.linear %q as !s, %w scale(%s) to !g {qtx.config = #vnni} : (tensor<?x4xi8>, tensor<4x4xi8>, tensor<1xf32>) -> tensor<?x4xi8>
  %z = qtx.linear %y as !g, %w scale(%s) to !s {qtx.config = #vnni} : (tensor<?x4xi8>, tensor<4x4xi8>, tensor<1xf32>) -> tensor<?x4xi8>
  return %z : tensor<?x4xi8>
}

// CHECK-LABEL: func.func @moved
// CHECK: qtx.quantize %{{.*}} to !quant.uniform<u8:f32, 5.000000e-01:131>
func.func @moved(%x: tensor<1x2x?x2xf32>, %w: tensor<4x4xi8>, %s: tensor<1xf32>) -> tensor<1x?x4xf32> {
  %q = qtx.quantize %x to !s : tensor<1x2x?x2xf32> -> tensor<1x2x?x2xi8>
  %m = qtx.merge_heads %q : tensor<1x2x?x2xi8> -> tensor<1x?x4xi8>
  %y = qtx.linear %m as !s, %w scale(%s) {qtx.config = #vnni} : (tensor<1x?x4xi8>, tensor<4x4xi8>, tensor<1xf32>) -> tensor<1x?x4xf32>
  return %y : tensor<1x?x4xf32>
}

// CHECK-LABEL: func.func @other_readers
// CHECK-NOT: u8
// REMARK: [Missed] {{.*}} Reason="not only micro-kernels read the result"
func.func @other_readers(%x: tensor<?x4xf32>, %w: tensor<4x4xi8>, %s: tensor<1xf32>) -> (tensor<?x4xf32>, tensor<?x4xi8>) {
  %q = qtx.quantize %x to !s : tensor<?x4xf32> -> tensor<?x4xi8>
  %y = qtx.linear %q as !s, %w scale(%s) {qtx.config = #vnni} : (tensor<?x4xi8>, tensor<4x4xi8>, tensor<1xf32>) -> tensor<?x4xf32>
  return %y, %q : tensor<?x4xf32>, tensor<?x4xi8>
}

// Arguments are the caller's, and not every micro-kernel wants unsigned bytes.
// CHECK-LABEL: func.func @others
// CHECK-NOT: u8
func.func @others(%x: tensor<?x4xf32>, %a: tensor<?x4xi8>, %w: tensor<4x4xi8>, %s: tensor<1xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %q = qtx.quantize %x to !s : tensor<?x4xf32> -> tensor<?x4xi8>
  %y = qtx.linear %q as !s, %w scale(%s) {qtx.config = #wide} : (tensor<?x4xi8>, tensor<4x4xi8>, tensor<1xf32>) -> tensor<?x4xf32>
  %z = qtx.linear %a as !s, %w scale(%s) {qtx.config = #vnni} : (tensor<?x4xi8>, tensor<4x4xi8>, tensor<1xf32>) -> tensor<?x4xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}
