// RUN: qtx-opt %s -qtx-fold-scale-shift | FileCheck %s
// RUN: qtx-opt %s -qtx-fold-scale-shift --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

!x = tensor<?x2xf32>
!c = tensor<2xf32>

// CHECK-LABEL: func.func @layer_norm
// CHECK-DAG: %[[C:.*]] = arith.constant dense<[6.000000e+00, 2.000000e+00]>
// CHECK-DAG: %[[D:.*]] = arith.constant dense<[1.000000e+00, 2.000000e+00]>
// CHECK: %[[Y:.*]] = qtx.layer_norm %arg0 gamma(%[[C]]) beta(%[[D]])
// CHECK-NEXT: qtx.quantize %[[Y]]
// REMARK: [Passed] FoldScaleShift | Category:qtx-fold-scale-shift | Remark="scale and shift are part of other constants"
func.func @layer_norm(%x: !x) -> tensor<?x2x!quant.uniform<i8:f32, 0.1>> {
  %c = arith.constant dense<[3.0, 4.0]> : !c
  %d = arith.constant dense<[0.0, 6.0]> : !c
  %g = arith.constant dense<[2.0, 0.5]> : !c
  %s = arith.constant dense<[1.0, -1.0]> : !c
  %n = qtx.layer_norm %x gamma(%c) beta(%d) epsilon 1.0e-5 : (!x, !c, !c) -> !x
  %y = qtx.scale_shift %n gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %q = qtx.quantize %y : !x -> tensor<?x2x!quant.uniform<i8:f32, 0.1>>
  return %q : tensor<?x2x!quant.uniform<i8:f32, 0.1>>
}

// The residual keeps its own; gamma and beta need not be there. What was observed
// holds no more.
// CHECK-LABEL: func.func @residual
// CHECK: %[[N:.*]] = qtx.layer_norm %arg0 epsilon {{.*}}qtx.observed
// CHECK-DAG: %[[C:.*]] = arith.constant dense<[2.000000e+00, 5.000000e-01]>
// CHECK-DAG: %[[D:.*]] = arith.constant dense<[1.000000e+00, -1.000000e+00]>
// CHECK: %[[Y:.*]] = qtx.layer_norm %arg0 gamma(%[[C]]) beta(%[[D]]) epsilon
// CHECK-NOT: qtx.observed
// CHECK: return %[[N]], %[[Y]]
func.func @residual(%x: !x) -> (!x, !x) {
  %g = arith.constant dense<[2.0, 0.5]> : !c
  %s = arith.constant dense<[1.0, -1.0]> : !c
  %n = qtx.layer_norm %x epsilon 1.0e-5 {qtx.observed = [dense<0.0> : tensor<2x2xf32>]} : (!x) -> !x
  %y = qtx.scale_shift %n gain(%g) shift(%s) : (!x, !c, !c) -> !x
  return %n, %y : !x, !x
}

// CHECK-LABEL: func.func @linear
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[\[}}2.000000e+00, 4.000000e+00], [-1.500000e+00, -2.000000e+00]]>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[1.100000e+01, 7.000000e+00]>
// CHECK: qtx.linear %arg0, %[[W]] bias(%[[B]]) :
// CHECK-NEXT: return
func.func @linear(%x: !x) -> !x {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %b = arith.constant dense<[5.0, -16.0]> : !c
  %g = arith.constant dense<[2.0, -0.5]> : !c
  %s = arith.constant dense<[1.0, -1.0]> : !c
  %n = qtx.linear %x, %w bias(%b) : (!x, tensor<2x2xf32>, !c) -> !x
  %y = qtx.scale_shift %n gain(%g) shift(%s) : (!x, !c, !c) -> !x
  return %y : !x
}

// Through heads, which one gain and shift serve; the scale of the weights becomes
// one per row.
// CHECK-LABEL: func.func @heads
// CHECK-DAG: %[[S:.*]] = arith.constant dense<[5.000000e-01, 2.000000e+00, 5.000000e-01, 2.000000e+00]>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[3.000000e+00, 4.000000e+00, 3.000000e+00, 4.000000e+00]>
// CHECK: %[[Y:.*]] = qtx.linear %arg0, %{{.*}} scale(%[[S]]) bias(%[[B]])
// CHECK-NEXT: %[[H:.*]] = qtx.split_heads %[[Y]]
// CHECK-NEXT: return %[[H]]
func.func @heads(%x: tensor<1x?x2xf32>, %w: tensor<4x2xi8>) -> tensor<1x2x?x2xf32> {
  %scale = arith.constant dense<0.5> : tensor<1xf32>
  %g = arith.constant dense<[1.0, 4.0]> : !c
  %s = arith.constant dense<[3.0, 4.0]> : !c
  %n = qtx.linear %x, %w scale(%scale) : (tensor<1x?x2xf32>, tensor<4x2xi8>, tensor<1xf32>) -> tensor<1x?x4xf32>
  %h = qtx.split_heads %n : tensor<1x?x4xf32> -> tensor<1x2x?x2xf32>
  %y = qtx.scale_shift %h gain(%g) shift(%s) : (tensor<1x2x?x2xf32>, !c, !c) -> tensor<1x2x?x2xf32>
  return %y : tensor<1x2x?x2xf32>
}

!h = tensor<1x2x?x1xf32>
!r = tensor<1x?x2xf32>

// Both query heads read one value head.
// CHECK-LABEL: func.func @attention
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[\[}}2.000000e+00, 4.000000e+00]]>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<3.000000e+00> : tensor<1xf32>
// CHECK: qtx.linear %{{.*}}, %[[W]] bias(%[[B]])
// CHECK: qtx.merge_heads
// CHECK-NEXT: return
func.func @attention(%q: !h, %k: tensor<1x1x?x1xf32>, %x: !r) -> !r {
  %w = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %g = arith.constant dense<2.0> : !c
  %s = arith.constant dense<3.0> : !c
  %n = qtx.linear %x, %w : (!r, tensor<1x2xf32>) -> tensor<1x?x1xf32>
  %v = qtx.split_heads %n : tensor<1x?x1xf32> -> tensor<1x1x?x1xf32>
  %c = qtx.attention %q, %k, %v scale 1.0 : (!h, tensor<1x1x?x1xf32>, tensor<1x1x?x1xf32>) -> !h
  %m = qtx.merge_heads %c : !h -> !r
  %y = qtx.scale_shift %m gain(%g) shift(%s) : (!r, !c, !c) -> !r
  return %y : !r
}

// Behind an activation, float linears take it.
// CHECK-LABEL: func.func @consumers
// CHECK: %[[X:.*]] = qtx.gelu
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[\[}}2.000000e+00, 1.000000e+00]]>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<-1.000000e+00> : tensor<1xf32>
// CHECK: qtx.linear %[[X]], %[[W]] bias(%[[B]])
// CHECK-DAG: %[[V:.*]] = arith.constant dense<{{\[\[}}6.000000e+00, 2.000000e+00]]>
// CHECK-DAG: %[[A:.*]] = arith.constant dense<4.000000e+00> : tensor<1xf32>
// CHECK: qtx.linear %[[X]], %[[V]] bias(%[[A]])
// CHECK-NEXT: return
func.func @consumers(%x: !x) -> (tensor<?x1xf32>, tensor<?x1xf32>) {
  %w = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %v = arith.constant dense<[[3.0, 4.0]]> : tensor<1x2xf32>
  %b = arith.constant dense<5.0> : tensor<1xf32>
  %g = arith.constant dense<[2.0, 0.5]> : !c
  %s = arith.constant dense<[1.0, -1.0]> : !c
  %n = qtx.gelu %x : (!x) -> !x
  %y = qtx.scale_shift %n gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %0 = qtx.linear %y, %w : (!x, tensor<1x2xf32>) -> tensor<?x1xf32>
  %1 = qtx.linear %y, %v bias(%b) : (!x, tensor<1x2xf32>, tensor<1xf32>) -> tensor<?x1xf32>
  return %0, %1 : tensor<?x1xf32>, tensor<?x1xf32>
}

// CHECK-LABEL: func.func @missed
// CHECK-COUNT-10: qtx.scale_shift
// REMARK: [Missed] FoldScaleShift | Category:qtx-fold-scale-shift | Reason="no operation computes the operand"
// REMARK: [Missed] {{.*}} Reason="its gain and shift are not constants"
// REMARK: [Missed] {{.*}} Reason="its tensors are quantized"
// REMARK: [Missed] {{.*}} Reason="the operation that computes the operand has no scale and shift of channels"
// REMARK: [Missed] {{.*}} Reason="gamma and beta of the layer_norm are not constants"
// REMARK: [Missed] {{.*}} Reason="the linear has an activation"
// REMARK: [Missed] {{.*}} Reason="the result of the linear has other readers"
// REMARK: [Missed] {{.*}} Reason="the bias of the linear is not a constant"
// REMARK: [Missed] {{.*}} Reason="the bias of the linear is not one number per channel"
// REMARK: [Missed] {{.*}} Reason="the weights of the linear are not constants"
func.func @missed(%x: !x, %c: !c, %w: tensor<2x2xf32>) -> (!x, !x, tensor<?x2xi8>, !x, !x, !x, !x, !x, !x, !x, !x) {
  %g = arith.constant dense<[2.0, -0.5]> : !c
  %s = arith.constant dense<[1.0, -1.0]> : !c
  %0 = qtx.scale_shift %x gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %1 = qtx.scale_shift %x gain(%c) shift(%s) : (!x, !c, !c) -> !x
  %2 = qtx.scale_shift %x gain(%g) shift(%s) to !quant.uniform<i8:f32, 0.1> : (!x, !c, !c) -> tensor<?x2xi8>
  %gelu = qtx.gelu %x : (!x) -> !x
  %3 = qtx.scale_shift %gelu gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %norm = qtx.layer_norm %x gamma(%c) beta(%s) epsilon 1.0e-5 : (!x, !c, !c) -> !x
  %4 = qtx.scale_shift %norm gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %relu = qtx.linear %x, %w activation relu : (!x, tensor<2x2xf32>) -> !x
  %5 = qtx.scale_shift %relu gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %read = qtx.linear %x, %w : (!x, tensor<2x2xf32>) -> !x
  %6 = qtx.scale_shift %read gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %biased = qtx.linear %x, %w bias(%c) : (!x, tensor<2x2xf32>, !c) -> !x
  %7 = qtx.scale_shift %biased gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %full = qtx.linear %x, %w bias(%x) : (!x, tensor<2x2xf32>, !x) -> !x
  %8 = qtx.scale_shift %full gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %linear = qtx.linear %x, %w : (!x, tensor<2x2xf32>) -> !x
  %9 = qtx.scale_shift %linear gain(%g) shift(%s) : (!x, !c, !c) -> !x
  return %0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %read : !x, !x, tensor<?x2xi8>, !x, !x, !x, !x, !x, !x, !x, !x
}

// CHECK-LABEL: func.func @missed_scales
// CHECK-COUNT-2: qtx.scale_shift
// REMARK: [Missed] {{.*}} Reason="the weight scales of the linear are not constants"
// REMARK: [Missed] {{.*}} Reason="a gain is not positive, as weight scales are"
func.func @missed_scales(%x: !x, %c: !c, %w: tensor<2x2xi8>) -> (!x, !x) {
  %g = arith.constant dense<[2.0, -0.5]> : !c
  %s = arith.constant dense<[1.0, -1.0]> : !c
  %0 = qtx.linear %x, %w scale(%c) : (!x, tensor<2x2xi8>, !c) -> !x
  %1 = qtx.scale_shift %0 gain(%g) shift(%s) : (!x, !c, !c) -> !x
  %p = arith.constant dense<0.5> : !c
  %2 = qtx.linear %x, %w scale(%p) : (!x, tensor<2x2xi8>, !c) -> !x
  %3 = qtx.scale_shift %2 gain(%g) shift(%s) : (!x, !c, !c) -> !x
  return %1, %3 : !x, !x
}

// CHECK-LABEL: func.func @missed_attention
// CHECK-COUNT-7: qtx.scale_shift
// REMARK: [Missed] {{.*}} Reason="the result of the attention has other readers"
// REMARK: [Missed] {{.*}} Reason="the attention quantizes its context"
// REMARK: [Missed] {{.*}} Reason="the probabilities of the attention may not sum to one"
// REMARK: [Missed] {{.*}} Reason="heads that share values have different scales or shifts"
// REMARK: [Missed] {{.*}} Reason="the values of the attention are quantized"
// REMARK: [Missed] {{.*}} Reason="the heads have other readers"
// REMARK: [Missed] {{.*}} Reason="the heads share their constants"
func.func @missed_attention(%q: !h, %v: tensor<1x1x?x1xf32>, %i: tensor<1x1x?x1xi8>) -> (!h, !h, !h, !h, !r, !h, !r, !r, !r) {
  %g1 = arith.constant dense<2.0> : tensor<1xf32>
  %s1 = arith.constant dense<3.0> : tensor<1xf32>
  %g2 = arith.constant dense<[2.0, -0.5]> : !c
  %0 = qtx.attention %q, %v, %v scale 1.0 : (!h, tensor<1x1x?x1xf32>, tensor<1x1x?x1xf32>) -> !h
  %1 = qtx.scale_shift %0 gain(%g1) shift(%s1) : (!h, tensor<1xf32>, tensor<1xf32>) -> !h
  %2 = qtx.attention %q, %v, %v scale 1.0 context !quant.uniform<i8:f32, 0.1> : (!h, tensor<1x1x?x1xf32>, tensor<1x1x?x1xf32>) -> !h
  %3 = qtx.scale_shift %2 gain(%g1) shift(%s1) : (!h, tensor<1xf32>, tensor<1xf32>) -> !h
  %4 = qtx.attention %q, %v, %v scale 1.0 clip [-0.1, 1.0] : (!h, tensor<1x1x?x1xf32>, tensor<1x1x?x1xf32>) -> !h
  %5 = qtx.scale_shift %4 gain(%g1) shift(%s1) : (!h, tensor<1xf32>, tensor<1xf32>) -> !h
  %6 = qtx.attention %q, %v, %v scale 1.0 : (!h, tensor<1x1x?x1xf32>, tensor<1x1x?x1xf32>) -> !h
  %7 = qtx.merge_heads %6 : !h -> !r
  %8 = qtx.scale_shift %7 gain(%g2) shift(%g2) : (!r, !c, !c) -> !r
  %9 = qtx.attention %q, %v, %i as !quant.uniform<i8:f32, 0.1> scale 1.0 : (!h, tensor<1x1x?x1xf32>, tensor<1x1x?x1xi8>) -> !h
  %10 = qtx.scale_shift %9 gain(%g1) shift(%s1) : (!h, tensor<1xf32>, tensor<1xf32>) -> !h
  %11 = qtx.merge_heads %q : !h -> !r
  %12 = qtx.scale_shift %11 gain(%g2) shift(%g2) : (!r, !c, !c) -> !r
  %13 = qtx.layer_norm %q epsilon 1.0e-5 : (!h) -> !h
  %14 = qtx.merge_heads %13 : !h -> !r
  %15 = qtx.scale_shift %14 gain(%g2) shift(%g2) : (!r, !c, !c) -> !r
  return %0, %1, %3, %5, %8, %10, %12, %11, %15 : !h, !h, !h, !h, !r, !h, !r, !r, !r
}
