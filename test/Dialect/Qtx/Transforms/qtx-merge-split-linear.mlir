// RUN: qtx-opt %s -qtx-merge-split-linear | FileCheck %s
// RUN: qtx-opt %s -qtx-merge-split-linear --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

!u = !quant.uniform<i8:f32, 0.25:3>
!v = !quant.uniform<i8:f32, 0.5>

// CHECK-LABEL: func.func @merge
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xi8>, %[[W:.*]]: tensor<2x8xi8>, %[[B:.*]]: tensor<2xf32>)
// CHECK: %[[Z:.*]] = arith.constant dense<{{\[}}[1, 2], [3, 4]]> : tensor<2x2xi32>
// CHECK: qtx.linear %[[X]] as !qtx.grouped<i8:f32, axis=-1, [3, 5], {2.500000e-01:3, 5.000000e-01}>, %[[W]] scale(%{{.*}}) bias(%[[B]]) seed(%[[Z]]) activation relu to !quant.uniform<i8:f32, 5.000000e-01>
// CHECK-NOT: qtx.linear
// REMARK: remark: [Passed] MergeSplitLinear | Category:qtx-merge-split-linear | Remark="merged with the linear that it adds to"
func.func @merge(%x: tensor<?x8xi8>, %w: tensor<2x8xi8>, %b: tensor<2xf32>) -> tensor<?x2xi8> {
  %c0 = arith.constant 0 : index
  %s = arith.constant dense<0.5> : tensor<2xf32>
  %t = arith.constant dense<[0.5, 0.5]> : tensor<2xf32>
  %z0 = arith.constant dense<[[1, 2]]> : tensor<1x2xi32>
  %z1 = arith.constant dense<[[3, 4]]> : tensor<1x2xi32>
  %n = tensor.dim %x, %c0 : tensor<?x8xi8>
  %x0 = tensor.extract_slice %x[0, 0] [%n, 3] [1, 1] : tensor<?x8xi8> to tensor<?x3xi8>
  %x1 = tensor.extract_slice %x[0, 3] [%n, 5] [1, 1] : tensor<?x8xi8> to tensor<?x5xi8>
  %w0 = tensor.extract_slice %w[0, 0] [2, 3] [1, 1] : tensor<2x8xi8> to tensor<2x3xi8>
  %w1 = tensor.extract_slice %w[0, 3] [2, 5] [1, 1] : tensor<2x8xi8> to tensor<2x5xi8>
  %r = qtx.linear %x0 as !u, %w0 scale(%s) bias(%b) seed(%z0)
      : (tensor<?x3xi8>, tensor<2x3xi8>, tensor<2xf32>, tensor<2xf32>, tensor<1x2xi32>) -> tensor<?x2xf32>
  %y = qtx.linear %x1 as !v, %w1 scale(%t) bias(%r) seed(%z1) activation relu to !v
      : (tensor<?x5xi8>, tensor<2x5xi8>, tensor<2xf32>, tensor<?x2xf32>, tensor<1x2xi32>) -> tensor<?x2xi8>
  return %y : tensor<?x2xi8>
}

// A part of the tensor: the merged input is a slice of it.
// CHECK-LABEL: func.func @part
// CHECK: %[[X:.*]] = tensor.extract_slice %{{.*}}[0, 1] [4, 5] [1, 1] : tensor<4x8xi8> to tensor<4x5xi8>
// CHECK: qtx.linear %[[X]] scale(%{{.*}}) as !qtx.grouped<i8:f32, axis=-1, [2, 3], ?>, %{{.*}} scale(%{{.*}}) block 2
func.func @part(%x: tensor<4x8xi8>, %p: tensor<2xf32>, %s: tensor<2x3xf32>) -> tensor<4x2xf32> {
  %w0 = arith.constant dense<1> : tensor<2x2xi8>
  %w1 = arith.constant dense<2> : tensor<2x3xi8>
  %x0 = tensor.extract_slice %x[0, 1] [4, 2] [1, 1] : tensor<4x8xi8> to tensor<4x2xi8>
  %x1 = tensor.extract_slice %x[0, 3] [4, 3] [1, 1] : tensor<4x8xi8> to tensor<4x3xi8>
  %p0 = tensor.extract_slice %p[0] [1] [1] : tensor<2xf32> to tensor<1xf32>
  %p1 = tensor.extract_slice %p[1] [1] [1] : tensor<2xf32> to tensor<1xf32>
  %s0 = tensor.extract_slice %s[0, 0] [2, 1] [1, 1] : tensor<2x3xf32> to tensor<2x1xf32>
  %s1 = tensor.extract_slice %s[0, 1] [2, 2] [1, 1] : tensor<2x3xf32> to tensor<2x2xf32>
  %r = qtx.linear %x0 scale(%p0) as !qtx.grouped<i8:f32, axis=-1, [2], ?>, %w0 scale(%s0) block 2
      : (tensor<4x2xi8>, tensor<1xf32>, tensor<2x2xi8>, tensor<2x1xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x1 scale(%p1) as !qtx.grouped<i8:f32, axis=-1, [3], ?>, %w1 scale(%s1) block 2 bias(%r)
      : (tensor<4x3xi8>, tensor<1xf32>, tensor<2x3xi8>, tensor<2x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// REMARK: [Missed] {{.*}} Reason="the partial sum has other uses"
func.func @two_uses(%x: tensor<4x3xi8>, %w: tensor<2x3xi8>, %s: tensor<1xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
  %r = qtx.linear %x as !u, %w scale(%s) : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x as !u, %w scale(%s) bias(%r)
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %r, %y : tensor<4x2xf32>, tensor<4x2xf32>
}

// REMARK: [Missed] {{.*}} Reason="the partial sum is not a plain fp32 sum"
func.func @activation(%x: tensor<4x3xi8>, %w: tensor<2x3xi8>, %s: tensor<1xf32>) -> tensor<4x2xf32> {
  %r = qtx.linear %x as !u, %w scale(%s) activation relu : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x as !u, %w scale(%s) bias(%r)
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// REMARK: [Missed] {{.*}} Reason="an input is not quantized"
func.func @float(%x: tensor<4x3xf32>, %w: tensor<2x3xf32>) -> tensor<4x2xf32> {
  %r = qtx.linear %x, %w : (tensor<4x3xf32>, tensor<2x3xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x, %w bias(%r) : (tensor<4x3xf32>, tensor<2x3xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// REMARK: [Missed] {{.*}} Reason="only one of them has a seed"
func.func @seed(%x: tensor<4x3xi8>, %w: tensor<2x3xi8>, %s: tensor<1xf32>, %z: tensor<1x2xi32>) -> tensor<4x2xf32> {
  %r = qtx.linear %x as !u, %w scale(%s) : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x as !u, %w scale(%s) bias(%r) seed(%z)
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>, tensor<4x2xf32>, tensor<1x2xi32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// REMARK: [Missed] {{.*}} Reason="no grouped type has the parameters of both inputs"
func.func @signs(%x: tensor<4x3xi8>, %w: tensor<2x3xi8>, %s: tensor<1xf32>) -> tensor<4x2xf32> {
  %r = qtx.linear %x as !quant.uniform<u8:f32, 0.5>, %w scale(%s) : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x as !u, %w scale(%s) bias(%r)
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// REMARK: [Missed] {{.*}} Reason="the inputs are not neighbouring slices of one tensor"
func.func @same_input(%x: tensor<4x3xi8>, %w: tensor<2x3xi8>, %s: tensor<1xf32>) -> tensor<4x2xf32> {
  %r = qtx.linear %x as !u, %w scale(%s) : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x as !u, %w scale(%s) bias(%r)
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// REMARK: [Missed] {{.*}} Reason="the weights are neither constants nor neighbouring slices of one tensor"
// REMARK: [Missed] {{.*}} Reason="the weight scales do not form one scale per output or block"
func.func @slices(%x: tensor<4x6xi8>, %w0: tensor<2x3xi8>, %w: tensor<2x6xi8>, %s: tensor<2xf32>, %t: tensor<2xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
  %x0 = tensor.extract_slice %x[0, 0] [4, 3] [1, 1] : tensor<4x6xi8> to tensor<4x3xi8>
  %x1 = tensor.extract_slice %x[0, 3] [4, 3] [1, 1] : tensor<4x6xi8> to tensor<4x3xi8>
  %w1 = tensor.extract_slice %w[0, 0] [2, 3] [1, 1] : tensor<2x6xi8> to tensor<2x3xi8>
  %w2 = tensor.extract_slice %w[0, 3] [2, 3] [1, 1] : tensor<2x6xi8> to tensor<2x3xi8>
  %r = qtx.linear %x0 as !u, %w0 scale(%s) : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<2xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x1 as !u, %w2 scale(%s) bias(%r)
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  %r1 = qtx.linear %x0 as !u, %w1 scale(%s) : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<2xf32>) -> tensor<4x2xf32>
  %y1 = qtx.linear %x1 as !u, %w2 scale(%t) bias(%r1)
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y, %y1 : tensor<4x2xf32>, tensor<4x2xf32>
}

// REMARK: [Missed] {{.*}} Reason="slices exist in storage form only; run 'qtx-to-storage' first"
func.func @quantized_form(%x: tensor<4x3x!u>, %w: tensor<2x3xi8>, %s: tensor<1xf32>) -> tensor<4x2xf32> {
  %r = qtx.linear %x, %w scale(%s) : (tensor<4x3x!u>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x, %w scale(%s) bias(%r)
      : (tensor<4x3x!u>, tensor<2x3xi8>, tensor<1xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// No group has zero channels.
// CHECK-LABEL: func.func @no_channels
// CHECK-COUNT-2: qtx.linear
// REMARK: [Missed] {{.*}} Reason="no grouped type has the parameters of both inputs"
func.func @no_channels(%x: tensor<4x3xi8>, %s: tensor<1xf32>) -> tensor<4x2xf32> {
  %w0 = arith.constant dense<1> : tensor<2x0xi8>
  %w1 = arith.constant dense<1> : tensor<2x3xi8>
  %x0 = tensor.extract_slice %x[0, 0] [4, 0] [1, 1] : tensor<4x3xi8> to tensor<4x0xi8>
  %r = qtx.linear %x0 as !u, %w0 scale(%s)
      : (tensor<4x0xi8>, tensor<2x0xi8>, tensor<1xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x as !v, %w1 scale(%s) bias(%r)
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// CHECK-LABEL: func.func @integer_join
// CHECK-COUNT-2: qtx.linear
// REMARK: [Missed] {{.*}} Reason="one of them joins segments in integers"
func.func @integer_join(%x: tensor<4x6xi8>, %s: tensor<1xf32>) -> tensor<4x2xf32> {
  %w = arith.constant dense<1> : tensor<2x3xi8>
  %x0 = tensor.extract_slice %x[0, 0] [4, 3] [1, 1] : tensor<4x6xi8> to tensor<4x3xi8>
  %x1 = tensor.extract_slice %x[0, 3] [4, 3] [1, 1] : tensor<4x6xi8> to tensor<4x3xi8>
  %r = qtx.linear %x0 as !u, %w scale(%s) integer_join
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<4x2xf32>
  %y = qtx.linear %x1 as !v, %w scale(%s) bias(%r)
      : (tensor<4x3xi8>, tensor<2x3xi8>, tensor<1xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}
