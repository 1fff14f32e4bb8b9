// Scales of each token are for linears. What other products read has static scales
// where there is data, and stays float where there is none.

// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.npz 'x:<f4:1x2x4=1,2,-3,40,5,6,-7,8'
// RUN: qtxc %s -o - --recipe=w8a8-dynamic --calibrate=%t.npz --stop-after=quantize --quiet | FileCheck %s
// RUN: qtxc %s -o - --recipe=peg-dynamic:1 --calibrate=%t.npz --stop-after=quantize --quiet | FileCheck %s
// RUN: qtxc %s -o %t.mlir --recipe=w8a8-dynamic --stop-after=quantize --remarks=missed --quiet 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: FileCheck %s --input-file=%t.mlir --check-prefix=NO-DATA

// CHECK: qtx.dynamic_quantize
// CHECK: %[[Y:.*]] = qtx.linear %{{.*}} scale(%{{.*}}) zero_point(
// CHECK: %[[Q:.*]] = qtx.quantize %[[Y]] : {{.*}} -> tensor<1x2x4x!quant.uniform<
// CHECK-NOT: qtx.dequantize
// CHECK: qtx.batch_matmul %[[Q]], %[[Q]]

// REMARK: 'up' stays float where products other than linears read it: they take no scales of each token, and without data there are no others
// NO-DATA: qtx.dynamic_quantize
// NO-DATA: %[[Y:.*]] = qtx.linear %{{.*}} scale(%{{.*}}) zero_point(
// NO-DATA: qtx.dynamic_quantize %[[Y]]
// NO-DATA: qtx.batch_matmul %[[Y]], %[[Y]]
func.func @main(%x: tensor<1x2x4xf32> {qtx.name = "x"}) -> (tensor<1x2x2xf32>, tensor<1x2x4xf32>) {
  %w = arith.constant dense<[[1.0, 0.5, -0.25, 0.125], [-1.0, 2.0, 0.0, 1.0], [0.5, 0.5, 1.5, -1.0], [0.0, 1.0, -2.0, 0.25]]> : tensor<4x4xf32>
  %0 = qtx.linear %x, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("up")
  %1 = qtx.batch_matmul %0, %0 transpose_b : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x2xf32> loc("product")
  %2 = qtx.linear %0, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("down")
  return %1, %2 : tensor<1x2x2xf32>, tensor<1x2x4xf32>
}
