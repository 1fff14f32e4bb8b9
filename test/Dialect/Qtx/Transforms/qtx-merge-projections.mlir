// RUN: qtx-opt %s -qtx-merge-projections -mlir-print-debuginfo -mlir-print-local-scope | FileCheck %s
// RUN: qtx-opt %s -qtx-merge-projections --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

!u = !quant.uniform<i8:f32, 0.25:3>
!v = !quant.uniform<i8:f32, 0.5>

// One scale for a whole weight is repeated, and a missing bias is zero. The
// location names the three layers, and each slice its own.
// CHECK-LABEL: func.func @merge
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x3xi8>
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[1, 2, 3], [4, 5, 6], [-1, -2, -3], [-4, -5, -6], [7, 8, 9], [7, 8, 9]]> : tensor<6x3xi8>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<[1.000000e+00, 2.000000e+00, 5.000000e-01, 5.000000e-01, 3.000000e+00, 4.000000e+00]> : tensor<6xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[1.000000e+00, -1.000000e+00, 0.000000e+00, 0.000000e+00, 5.000000e+00, 6.000000e+00]> : tensor<6xf32>
// CHECK: %[[Y:.*]] = qtx.linear %[[X]] as !quant.uniform<i8:f32, 2.500000e-01:3>, %[[W]] scale(%[[S]]) bias(%[[B]])
// CHECK-SAME: to !qtx.grouped<i8:f32, axis=-1, [2, 1 * 2, 2], {2.500000e-01:3, 1.000000e+00, 2.000000e+00:-5, 5.000000e-01}>
// CHECK-SAME: -> tensor<?x?x6xi8> loc(fused["query", "key", "value"])
// CHECK: %[[Q:.*]] = tensor.extract_slice %[[Y]][0, 0, 0] [%{{.*}}, %{{.*}}, 2] [1, 1, 1] : tensor<?x?x6xi8> to tensor<?x?x2xi8> loc("query")
// CHECK: %[[K:.*]] = tensor.extract_slice %[[Y]][0, 0, 2] [%{{.*}}, %{{.*}}, 2] {{.*}} loc("key")
// CHECK: %[[V:.*]] = tensor.extract_slice %[[Y]][0, 0, 4] [%{{.*}}, %{{.*}}, 2] {{.*}} loc("value")
// CHECK-NOT: qtx.linear
// CHECK: qtx.split_heads %[[Q]]
// CHECK: qtx.split_heads %[[K]]
// CHECK: qtx.split_heads %[[V]]
// REMARK: remark: {{.*}}[Passed] MergeProjections | Category:qtx-merge-projections | Remark="merged 3 projections of one input"
func.func @merge(%x: tensor<?x?x3xi8>) -> (tensor<?x2x?x1xi8>, tensor<?x2x?x1xi8>, tensor<?x2x?x1xi8>) {
  %wq = arith.constant dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi8>
  %sq = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %bq = arith.constant dense<[1.0, -1.0]> : tensor<2xf32>
  %q = qtx.linear %x as !u, %wq scale(%sq) bias(%bq) to !u
      : (tensor<?x?x3xi8>, tensor<2x3xi8>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x?x2xi8> loc("query")
  %0 = qtx.split_heads %q : tensor<?x?x2xi8> -> tensor<?x2x?x1xi8>
  %wk = arith.constant dense<[[-1, -2, -3], [-4, -5, -6]]> : tensor<2x3xi8>
  %sk = arith.constant dense<0.5> : tensor<1xf32>
  %k = qtx.linear %x as !u, %wk scale(%sk) to !qtx.grouped<i8:f32, axis=-1, [1, 1], {1.0, 2.0:-5}>
      : (tensor<?x?x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<?x?x2xi8> loc("key")
  %1 = qtx.split_heads %k : tensor<?x?x2xi8> -> tensor<?x2x?x1xi8>
  %wv = arith.constant dense<[[7, 8, 9], [7, 8, 9]]> : tensor<2x3xi8>
  %sv = arith.constant dense<[3.0, 4.0]> : tensor<2xf32>
  %bv = arith.constant dense<[5.0, 6.0]> : tensor<2xf32>
  %v = qtx.linear %x as !u, %wv scale(%sv) bias(%bv) to !v
      : (tensor<?x?x3xi8>, tensor<2x3xi8>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x?x2xi8> loc("value")
  %2 = qtx.split_heads %v : tensor<?x?x2xi8> -> tensor<?x2x?x1xi8>
  return %0, %1, %2 : tensor<?x2x?x1xi8>, tensor<?x2x?x1xi8>, tensor<?x2x?x1xi8>
}

// Floats; results of one type keep it; seeds and blocks of weight scales.
// CHECK-LABEL: func.func @same_types
// CHECK: qtx.linear %{{.*}}, %{{.*}} : (tensor<1x4x3xf32>, tensor<4x3xf32>) -> tensor<1x4x4xf32>
// CHECK: %[[S:.*]] = arith.constant dense<{{.*}}> : tensor<4x2xf32>
// CHECK: %[[Z:.*]] = arith.constant dense<{{\[}}[1, 2, 5, 6], [3, 4, 7, 8]]> : tensor<2x4xi32>
// CHECK: qtx.linear %{{.*}} scale(%[[S]]) block 2 seed(%[[Z]]) to !quant.uniform<i8<-127:127>:f32, 5.000000e-01>
// CHECK-NOT: qtx.linear
func.func @same_types(%x: tensor<1x4x3xf32>, %i: tensor<1x4x3xi8>)
    -> (tensor<1x2x4x1xf32>, tensor<1x1x4x2xf32>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>) {
  %w0 = arith.constant dense<1.0> : tensor<2x3xf32>
  %w1 = arith.constant dense<2.0> : tensor<2x3xf32>
  %0 = qtx.linear %x, %w0 : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %1 = qtx.linear %x, %w1 : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %2 = qtx.split_heads %0 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %3 = qtx.split_heads %1 : tensor<1x4x2xf32> -> tensor<1x1x4x2xf32>
  %w2 = arith.constant dense<1> : tensor<2x3xi8>
  %s2 = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %z2 = arith.constant dense<[[1, 2], [3, 4]]> : tensor<2x2xi32>
  %z3 = arith.constant dense<[[5, 6], [7, 8]]> : tensor<2x2xi32>
  %4 = qtx.linear %i as !u, %w2 scale(%s2) block 2 seed(%z2) to !quant.uniform<i8<-127:127>:f32, 0.5>
      : (tensor<1x4x3xi8>, tensor<2x3xi8>, tensor<2x2xf32>, tensor<2x2xi32>) -> tensor<1x4x2xi8>
  %5 = qtx.linear %i as !u, %w2 scale(%s2) block 2 seed(%z3) to !quant.uniform<i8<-127:127>:f32, 0.5>
      : (tensor<1x4x3xi8>, tensor<2x3xi8>, tensor<2x2xf32>, tensor<2x2xi32>) -> tensor<1x4x2xi8>
  %6 = qtx.split_heads %4 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  %7 = qtx.split_heads %5 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  return %2, %3, %6, %7 : tensor<1x2x4x1xf32>, tensor<1x1x4x2xf32>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>
}

// Linears that go together merge, whatever stands between them.
// CHECK-LABEL: func.func @two_sets
// CHECK-COUNT-2: qtx.linear
// CHECK-NOT: qtx.linear
// REMARK: [Passed] {{.*}} Remark="merged 2 projections of one input"
// REMARK: [Passed] {{.*}} Remark="merged 2 projections of one input"
func.func @two_sets(%x: tensor<1x4x3xf32>)
    -> (tensor<1x2x4x1xf32>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xf32>, tensor<1x2x4x1xi8>) {
  %w = arith.constant dense<1.0> : tensor<2x3xf32>
  %0 = qtx.linear %x, %w : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %1 = qtx.linear %x, %w to !v : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xi8>
  %2 = qtx.linear %x, %w : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %3 = qtx.linear %x, %w to !v : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xi8>
  %4 = qtx.split_heads %0 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %5 = qtx.split_heads %1 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  %6 = qtx.split_heads %2 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %7 = qtx.split_heads %3 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  return %4, %5, %6, %7 : tensor<1x2x4x1xf32>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xf32>, tensor<1x2x4x1xi8>
}

// Other inputs, and results with other readers than heads.
// CHECK-LABEL: func.func @other_inputs
// CHECK-COUNT-4: qtx.linear
func.func @other_inputs(%x: tensor<1x4x3xf32>, %z: tensor<1x4x3xf32>)
    -> (tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>, tensor<1x4x2xf32>, tensor<1x2x4x1xf32>) {
  %w = arith.constant dense<1.0> : tensor<2x3xf32>
  %0 = qtx.linear %x, %w : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %1 = qtx.linear %z, %w : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %2 = qtx.linear %x, %w : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %3 = qtx.linear %x, %w : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %4 = qtx.split_heads %0 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %5 = qtx.split_heads %1 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %6 = qtx.split_heads %3 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  return %4, %5, %3, %6 : tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>, tensor<1x4x2xf32>, tensor<1x2x4x1xf32>
}

// What merges with nothing.
// CHECK-LABEL: func.func @alone
// CHECK-COUNT-7: qtx.linear
// REMARK: [Missed] {{.*}} Reason="a weight, scale, bias or seed is not a constant"
// REMARK: [Missed] {{.*}} Reason="the bias has rows of its own"
// REMARK: [Missed] {{.*}} Reason="it has an activation"
// REMARK: [Missed] {{.*}} Reason="the scales of the result are run-time values"
// REMARK: [Missed] {{.*}} Reason="it has attributes of its own"
// REMARK: [Missed] {{.*}} Reason="the weights are stored in another way"
// REMARK: [Missed] {{.*}} Reason="the weights are stored in another way"
func.func @alone(%x: tensor<1x4x3xf32>, %w: tensor<2x3xf32>)
    -> (tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>,
        tensor<1x2x4x1xi8>, tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>) {
  %c = arith.constant dense<1.0> : tensor<2x3xf32>
  %d = arith.constant dense<1> : tensor<2x3xi8>
  %b = arith.constant dense<1.0> : tensor<1x4x2xf32>
  %s = arith.constant dense<1.0> : tensor<2xf32>
  %0 = qtx.linear %x, %c : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %1 = qtx.linear %x, %w : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %2 = qtx.linear %x, %c bias(%b) : (tensor<1x4x3xf32>, tensor<2x3xf32>, tensor<1x4x2xf32>) -> tensor<1x4x2xf32>
  %3 = qtx.linear %x, %c activation relu : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %4 = qtx.linear %x, %c out_scale(%s) to !qtx.grouped<i8:f32, axis=-1, [1, 1], ?>
      : (tensor<1x4x3xf32>, tensor<2x3xf32>, tensor<2xf32>) -> tensor<1x4x2xi8>
  %5 = qtx.linear %x, %c {mine} : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %6 = qtx.linear %x, %d scale(%s) : (tensor<1x4x3xf32>, tensor<2x3xi8>, tensor<2xf32>) -> tensor<1x4x2xf32>
  %7 = qtx.split_heads %0 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %8 = qtx.split_heads %1 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %9 = qtx.split_heads %2 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %10 = qtx.split_heads %3 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %11 = qtx.split_heads %4 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  %12 = qtx.split_heads %5 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %13 = qtx.split_heads %6 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  return %7, %8, %9, %10, %11, %12, %13 : tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>,
      tensor<1x2x4x1xf32>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>
}

// REMARK: [Missed] {{.*}} Reason="only one of the results is quantized"
// REMARK: [Missed] {{.*}} Reason="only one of the results is quantized"
func.func @one_quantized(%x: tensor<1x4x3xf32>) -> (tensor<1x2x4x1xf32>, tensor<1x2x4x1xi8>) {
  %w = arith.constant dense<1.0> : tensor<2x3xf32>
  %0 = qtx.linear %x, %w : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xf32>
  %1 = qtx.linear %x, %w to !v : (tensor<1x4x3xf32>, tensor<2x3xf32>) -> tensor<1x4x2xi8>
  %2 = qtx.split_heads %0 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %3 = qtx.split_heads %1 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  return %2, %3 : tensor<1x2x4x1xf32>, tensor<1x2x4x1xi8>
}

// CHECK-LABEL: func.func @integers
// CHECK-COUNT-5: qtx.linear
// REMARK: [Missed] {{.*}} Reason="the input has other parameters"
// REMARK: [Missed] {{.*}} Reason="the input has other parameters"
// REMARK: [Missed] {{.*}} Reason="only one of them has a seed"
// REMARK: [Missed] {{.*}} Reason="no grouped type has the parameters of both results"
// REMARK: [Missed] {{.*}} Reason="no grouped type has the parameters of both results"
func.func @integers(%x: tensor<1x4x3xi8>)
    -> (tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>) {
  %w = arith.constant dense<1> : tensor<2x3xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %z = arith.constant dense<1> : tensor<1x2xi32>
  %0 = qtx.linear %x as !u, %w scale(%s) to !u : (tensor<1x4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<1x4x2xi8>
  %1 = qtx.linear %x as !v, %w scale(%s) to !u : (tensor<1x4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<1x4x2xi8>
  %2 = qtx.linear %x as !u, %w scale(%s) seed(%z) to !u : (tensor<1x4x3xi8>, tensor<2x3xi8>, tensor<1xf32>, tensor<1x2xi32>) -> tensor<1x4x2xi8>
  %3 = qtx.linear %x as !u, %w scale(%s) to !quant.uniform<u8:f32, 0.5> : (tensor<1x4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<1x4x2xi8>
  %4 = qtx.linear %x as !u, %w scale(%s) to !quant.uniform<i8<-127:127>:f32, 0.5> : (tensor<1x4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<1x4x2xi8>
  %5 = qtx.split_heads %0 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  %6 = qtx.split_heads %1 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  %7 = qtx.split_heads %2 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  %8 = qtx.split_heads %3 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  %9 = qtx.split_heads %4 : tensor<1x4x2xi8> -> tensor<1x2x4x1xi8>
  return %5, %6, %7, %8, %9 : tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>, tensor<1x2x4x1xi8>
}

// REMARK: [Missed] {{.*}} Reason="slices exist in storage form only; run 'qtx-to-storage' first"
func.func @quantized_form(%x: tensor<1x4x3x!u>) -> (tensor<1x2x4x1x!v>, tensor<1x2x4x1x!v>) {
  %w = arith.constant dense<1> : tensor<2x3xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %0 = qtx.linear %x, %w scale(%s) : (tensor<1x4x3x!u>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<1x4x2x!v>
  %1 = qtx.linear %x, %w scale(%s) : (tensor<1x4x3x!u>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<1x4x2x!v>
  %2 = qtx.split_heads %0 : tensor<1x4x2x!v> -> tensor<1x2x4x1x!v>
  %3 = qtx.split_heads %1 : tensor<1x4x2x!v> -> tensor<1x2x4x1x!v>
  return %2, %3 : tensor<1x2x4x1x!v>, tensor<1x2x4x1x!v>
}

// CHECK-LABEL: func.func @integer_joins
// CHECK-COUNT-2: qtx.linear
// REMARK: [Missed] {{.*}} Reason="only one of them joins segments in integers"
func.func @integer_joins(%x: tensor<1x4x3xi8>) -> (tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>) {
  %w = arith.constant dense<1> : tensor<2x3xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %0 = qtx.linear %x as !u, %w scale(%s) : (tensor<1x4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<1x4x2xf32>
  %1 = qtx.linear %x as !u, %w scale(%s) integer_join : (tensor<1x4x3xi8>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<1x4x2xf32>
  %2 = qtx.split_heads %0 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  %3 = qtx.split_heads %1 : tensor<1x4x2xf32> -> tensor<1x2x4x1xf32>
  return %2, %3 : tensor<1x2x4x1xf32>, tensor<1x2x4x1xf32>
}
