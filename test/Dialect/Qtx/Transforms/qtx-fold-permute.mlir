// RUN: qtx-opt %s -qtx-fold-permute | FileCheck %s
// RUN: qtx-opt %s -qtx-to-storage -qtx-fold-permute | FileCheck %s --check-prefix=STORAGE
// RUN: qtx-opt %s -qtx-fold-permute --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

!u = !quant.uniform<i8:f32, 0.25:3>
// Two groups, and the same channels one by one.
!pair = !qtx.grouped<i8:f32, axis=-1, [2, 2], {0.25:3, 0.5}>
!mixed = !qtx.grouped<i8:f32, axis=-1, [1, 1, 1, 1], {0.25:3, 0.5, 0.25:3, 0.5}>
!channels = !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?>

// CHECK-LABEL: func.func @columns
// CHECK-SAME: (%[[X:.*]]: tensor<?x3x!quant
// CHECK-NEXT: %[[W:.*]] = arith.constant dense<{{\[}}[2, 3, 1], [5, 6, 4]]> : tensor<2x3xi8>
// CHECK-NEXT: qtx.linear %[[X]], %[[W]]
// CHECK-NEXT: return
// STORAGE-LABEL: func.func @columns
// STORAGE-SAME: (%[[X:.*]]: tensor<?x3xi8>
// STORAGE: qtx.linear %[[X]] as !quant.uniform
// REMARK: remark: [Passed] FoldPermute | Category:qtx-fold-permute | Remark="stores 1 tensor(s) in the order of its operand"
func.func @columns(%x: tensor<?x3x!u>, %s: tensor<1xf32>) -> tensor<?x2xf32> {
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %w = arith.constant dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi8>
  %xp = qtx.permute %x by %p : (tensor<?x3x!u>, tensor<3xi32>) -> tensor<?x3x!u>
  %y = qtx.linear %xp, %w scale(%s) : (tensor<?x3x!u>, tensor<2x3xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Scales, bias, seed and per-channel parameters follow the rows.
// CHECK-LABEL: func.func @rows
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[5, 6], [1, 2], [7, 8], [3, 4]]> : tensor<4x2xi8>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<[3.000000e+00, 1.000000e+00, 4.000000e+00, 2.000000e+00]> : tensor<4xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[7.000000e+00, 5.000000e+00, 8.000000e+00, 6.000000e+00]> : tensor<4xf32>
// CHECK-DAG: %[[SEED:.*]] = arith.constant dense<{{\[}}[30, 10, 40, 20]]> : tensor<1x4xi32>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense<[3, 1, 4, 2]> : tensor<4xi32>
// CHECK: %[[Y:.*]] = qtx.linear %{{.*}} as !quant{{.*}}, %[[W]] scale(%[[S]]) bias(%[[B]]) seed(%[[SEED]]) out_scale(%{{.*}}) out_zero_point(%[[Z]]) to !qtx.grouped<i8:f32, axis=-1, [1 * 4], ?>
// CHECK-NEXT: return %[[Y]]
// REMARK: remark: [Passed] {{.*}} Remark="stores 1 tensor(s) in the order of its result"
func.func @rows(%x: tensor<?x2xi8>) -> tensor<?x4xi8> {
  %p = arith.constant dense<[2, 0, 3, 1]> : tensor<4xi64>
  %w = arith.constant dense<[[1, 2], [3, 4], [5, 6], [7, 8]]> : tensor<4x2xi8>
  %s = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %b = arith.constant dense<[5.0, 6.0, 7.0, 8.0]> : tensor<4xf32>
  %c = arith.constant dense<[[10, 20, 30, 40]]> : tensor<1x4xi32>
  %ys = arith.constant dense<[0.5, 0.25, 0.125, 1.0]> : tensor<4xf32>
  %yz = arith.constant dense<[1, 2, 3, 4]> : tensor<4xi32>
  %y = qtx.linear %x as !u, %w scale(%s) bias(%b) seed(%c) out_scale(%ys) out_zero_point(%yz) to !channels
      : (tensor<?x2xi8>, tensor<4x2xi8>, tensor<4xf32>, tensor<4xf32>, tensor<1x4xi32>, tensor<4xf32>, tensor<4xi32>) -> tensor<?x4xi8>
  %yp = qtx.permute %y by %p : (tensor<?x4xi8>, tensor<4xi64>) -> tensor<?x4xi8>
  return %yp : tensor<?x4xi8>
}

// PEG with permutation: the inverse goes into the columns, which gives the linear
// two groups instead of four; the one before the quantizer stays, since without it
// the quantizer would have four. In storage form as well.
// CHECK-LABEL: func.func @peg
// CHECK: %[[XP:.*]] = qtx.permute
// CHECK: %[[Q:.*]] = qtx.quantize %[[XP]] : {{.*}}[2 * 2], {2.500000e-01:3, 5.000000e-01}>>
// CHECK: qtx.linear %[[Q]], %{{.*}} : (tensor<?x4x!qtx.grouped<i8:f32, axis=-1, [2 * 2], {2.500000e-01:3, 5.000000e-01}>>
// STORAGE-LABEL: func.func @peg
// STORAGE: qtx.permute
// STORAGE-NOT: qtx.permute
// STORAGE: qtx.linear %{{.*}} as !qtx.grouped<i8:f32, axis=-1, [2 * 2], {2.500000e-01:3, 5.000000e-01}>
// REMARK: remark: [Passed]
func.func @peg(%x: tensor<?x4xf32>, %s: tensor<1xf32>) -> tensor<?x1xf32> {
  %p = arith.constant dense<[0, 2, 1, 3]> : tensor<4xi32>
  %w = arith.constant dense<[[1, 2, 3, 4]]> : tensor<1x4xi8>
  %xp = qtx.permute %x by %p : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
  %q = qtx.quantize %xp : tensor<?x4xf32> -> tensor<?x4x!pair>
  %r = qtx.permute %q by %p : (tensor<?x4x!pair>, tensor<4xi32>) -> tensor<?x4x!mixed>
  %y = qtx.linear %r, %w scale(%s) : (tensor<?x4x!mixed>, tensor<1x4xi8>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// Through elementwise operations, constants, casts and reshapes of other axes, to
// the inverse.
// CHECK-LABEL: func.func @through
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x3xf32>)
// CHECK-NOT: qtx.permute
// CHECK: %[[C:.*]] = arith.constant dense<{{\[}}[2.000000e+00, 3.000000e+00, 1.000000e+00]
// CHECK: arith.addf %{{.*}}, %[[C]]
// CHECK-NOT: qtx.permute
// CHECK: return
// REMARK: remark: [Passed] {{.*}} Remark="stores 5 tensor(s) in the order of its operand"
func.func @through(%x: tensor<2x3x3xf32>) -> tensor<?x3xf32> {
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %inverse = arith.constant dense<[1, 2, 0]> : tensor<3xi32>
  %c = arith.constant dense<[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]> : tensor<6x3xf32>
  %0 = qtx.permute %x by %p : (tensor<2x3x3xf32>, tensor<3xi32>) -> tensor<2x3x3xf32>
  %1 = tensor.collapse_shape %0 [[0, 1], [2]] : tensor<2x3x3xf32> into tensor<6x3xf32>
  %2 = arith.addf %1, %c : tensor<6x3xf32>
  %3 = math.absf %2 : tensor<6x3xf32>
  %4 = tensor.cast %3 : tensor<6x3xf32> to tensor<?x3xf32>
  %5 = qtx.permute %4 by %inverse : (tensor<?x3xf32>, tensor<3xi32>) -> tensor<?x3xf32>
  return %5 : tensor<?x3xf32>
}

// A residual: both ways to the sum are reordered together, or not at all.
// CHECK-LABEL: func.func @residual
// CHECK-NOT: qtx.permute
// CHECK: %[[H:.*]] = qtx.linear
// CHECK: arith.addf %{{.*}}, %[[H]]
// CHECK-NOT: qtx.permute
// CHECK: return
// REMARK: remark: [Passed] {{.*}} Remark="stores 4 tensor(s) in the order of its operand"
func.func @residual(%x: tensor<?x2x!u>) -> tensor<?x2xf32> {
  %p = arith.constant dense<[1, 0]> : tensor<2xi32>
  %w = arith.constant dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>
  %f = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %s = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %q = qtx.permute %x by %p : (tensor<?x2x!u>, tensor<2xi32>) -> tensor<?x2x!u>
  %d = qtx.dequantize %q : tensor<?x2x!u> -> tensor<?x2xf32>
  %h = qtx.linear %q, %w scale(%s) : (tensor<?x2x!u>, tensor<2x2xi8>, tensor<2xf32>) -> tensor<?x2xf32>
  %r = arith.addf %d, %h : tensor<?x2xf32>
  %y = qtx.linear %r, %f : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Normalisation, activation, residual sum and embedding: gain, shift, table and a
// constant operand are permuted. One fold removes both permutations.
// CHECK-LABEL: func.func @block
// CHECK: %[[T:.*]] = arith.constant dense<{{\[}}[2, 3, 1], [5, 6, 4]]> : tensor<2x3xi8>
// CHECK: qtx.embedding %[[T]]
// CHECK: %[[POSITION:.*]] = arith.constant dense<[5.000000e+00, 6.000000e+00, 4.000000e+00]>
// CHECK: qtx.add %{{.*}}, %[[POSITION]]
// CHECK-DAG: %[[G:.*]] = arith.constant dense<[2.000000e+00, 3.000000e+00, 1.000000e+00]>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[8.000000e+00, 9.000000e+00, 7.000000e+00]>
// CHECK: qtx.layer_norm %{{.*}} gamma(%[[G]]) beta(%[[B]])
// CHECK: qtx.rms_norm
// CHECK-NOT: qtx.permute
// CHECK: return
// REMARK: remark: [Passed] {{.*}} Remark="stores 5 tensor(s) in the order of its result"
func.func @block(%ids: tensor<?xi64>) -> tensor<?x3xf32> {
  %p = arith.constant dense<[1, 2, 0]> : tensor<3xi32>
  %t = arith.constant dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi8>
  %s = arith.constant dense<[0.5]> : tensor<1xf32>
  %position = arith.constant dense<[4.0, 5.0, 6.0]> : tensor<3xf32>
  %g = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %b = arith.constant dense<[7.0, 8.0, 9.0]> : tensor<3xf32>
  %0 = qtx.embedding %t scale(%s), %ids : (tensor<2x3xi8>, tensor<1xf32>, tensor<?xi64>) -> tensor<?x3xf32>
  %1 = qtx.add %0, %position : (tensor<?x3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  %2 = qtx.layer_norm %1 gamma(%g) beta(%b) epsilon 1.0e-5
      : (tensor<?x3xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  %3 = qtx.gelu %2 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %4 = qtx.permute %3 by %p : (tensor<?x3xf32>, tensor<3xi32>) -> tensor<?x3xf32>
  %5 = qtx.rms_norm %4 epsilon 1.0e-5 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %6 = qtx.silu %3 : (tensor<?x3xf32>) -> tensor<?x3xf32>
  %7 = qtx.permute %6 by %p : (tensor<?x3xf32>, tensor<3xi32>) -> tensor<?x3xf32>
  %8 = qtx.add %5, %7 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  return %8 : tensor<?x3xf32>
}

// CHECK-LABEL: func.func @scale_shift
// CHECK-DAG: %[[G:.*]] = arith.constant dense<[2.000000e+00, 3.000000e+00, 1.000000e+00]>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<[8.000000e+00, 9.000000e+00, 7.000000e+00]>
// CHECK: qtx.scale_shift %{{.*}} gain(%[[G]]) shift(%[[S]])
// CHECK-NOT: qtx.permute
// CHECK: return
// REMARK: remark: [Passed]
func.func @scale_shift(%ids: tensor<?xi64>) -> tensor<?x3xf32> {
  %p = arith.constant dense<[1, 2, 0]> : tensor<3xi32>
  %t = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %g = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %s = arith.constant dense<[7.0, 8.0, 9.0]> : tensor<3xf32>
  %0 = qtx.embedding %t, %ids : (tensor<2x3xf32>, tensor<?xi64>) -> tensor<?x3xf32>
  %1 = qtx.scale_shift %0 gain(%g) shift(%s) : (tensor<?x3xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
  %2 = qtx.permute %1 by %p : (tensor<?x3xf32>, tensor<3xi32>) -> tensor<?x3xf32>
  return %2 : tensor<?x3xf32>
}

// A gate that reads all channels takes the order into its weight; one that reads a
// slice per head cannot.
// CHECK-LABEL: func.func @gates
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x4xf32>
// CHECK: %[[W:.*]] = arith.constant dense<{{\[}}[2.000000e+00, 4.000000e+00, 1.000000e+00, 3.000000e+00]
// CHECK: qtx.gate_projection all_heads %[[X]] weight(%[[W]])
// CHECK: %[[P:.*]] = qtx.permute
// CHECK: qtx.gate_projection linear %[[P]]
// REMARK: remark: [Passed]
func.func @gates(%x: tensor<?x?x4xf32>, %b: tensor<2xf32>) -> (tensor<?x2x?xf32>, tensor<?x2x?xf32>) {
  %p = arith.constant dense<[2, 0, 3, 1]> : tensor<4xi32>
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %v = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = qtx.permute %x by %p : (tensor<?x?x4xf32>, tensor<4xi32>) -> tensor<?x?x4xf32>
  %1 = qtx.gate_projection all_heads %0 weight(%w) bias(%b)
      : (tensor<?x?x4xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<?x2x?xf32>
  %2 = qtx.permute %x by %p : (tensor<?x?x4xf32>, tensor<4xi32>) -> tensor<?x?x4xf32>
  %3 = qtx.gate_projection linear %2 weight(%v) bias(%b)
      : (tensor<?x?x4xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x2x?xf32>
  return %1, %3 : tensor<?x2x?xf32>, tensor<?x2x?xf32>
}

// Two permutations in a row, neither of which can go: they become one.
// CHECK-LABEL: func.func @compose
// CHECK: %[[P:.*]] = arith.constant dense<[1, 2, 0]> : tensor<3xi32>
// CHECK: qtx.permute %{{.*}} by %[[P]]
// CHECK-NOT: qtx.permute
// CHECK: return
// REMARK: remark: [Passed]
func.func @compose(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %0 = qtx.permute %x by %p : (tensor<?x3xf32>, tensor<3xi32>) -> tensor<?x3xf32>
  %1 = qtx.permute %0 by %p : (tensor<?x3xf32>, tensor<3xi32>) -> tensor<?x3xf32>
  return %1 : tensor<?x3xf32>
}

// A row of scores per token is the same set in any order.
// CHECK-LABEL: func.func @per_token
// CHECK-NOT: qtx.permute
// CHECK: return
// REMARK: remark: [Passed]
func.func @per_token(%x: tensor<?x2xf32>, %s: tensor<1xf32>) -> tensor<?x1xf32> {
  %p = arith.constant dense<[1, 0]> : tensor<2xi32>
  %w = arith.constant dense<[[1, 2]]> : tensor<1x2xi8>
  %0 = qtx.permute %x by %p : (tensor<?x2xf32>, tensor<2xi32>) -> tensor<?x2xf32>
  %q, %qs, %qz = qtx.dynamic_quantize %0 : (tensor<?x2xf32>)
      -> (tensor<?x2x!qtx.grouped<i8:f32, axis=-1, [2], ?>>, tensor<?x1xf32>, tensor<?x1xi32>)
  %y = qtx.linear %q scale(%qs) zero_point(%qz), %w scale(%s)
      : (tensor<?x2x!qtx.grouped<i8:f32, axis=-1, [2], ?>>, tensor<?x1xf32>, tensor<?x1xi32>, tensor<1x2xi8>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// The rows of a table, and rows beside others: the class token of a vision
// transformer in front of the patches, and the token that a classifier reads.
// CHECK-LABEL: func.func @tokens
// CHECK: qtx.linear
// CHECK-NOT: qtx.permute
// CHECK: %[[C:.*]] = arith.constant dense<{{\[}}[9.000000e+00, 7.000000e+00, 8.000000e+00]]>
// CHECK: tensor.insert_slice %[[C]]
// CHECK: tensor.concat
// CHECK: %[[T:.*]] = arith.constant dense<{{\[}}[3.000000e+00, 1.000000e+00, 2.000000e+00], [6.000000e+00, 4.000000e+00, 5.000000e+00]]>
// CHECK: tensor.extract_slice %[[T]]
// CHECK-NOT: qtx.permute
// CHECK: return
// REMARK: remark: [Passed] {{.*}} Remark="stores 6 tensor(s) in the order of its result"
func.func @tokens(%x: tensor<?x2xf32>, %n: index, %m: index) -> tensor<2xf32> {
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %table = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %class = arith.constant dense<[[7.0, 8.0, 9.0]]> : tensor<1x3xf32>
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %v = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %patches = qtx.linear %x, %w : (tensor<?x2xf32>, tensor<3x2xf32>) -> tensor<?x3xf32>
  %empty = tensor.empty(%n) : tensor<?x3xf32>
  %0 = tensor.insert_slice %class into %empty[0, 0] [1, 3] [1, 1] : tensor<1x3xf32> into tensor<?x3xf32>
  %1 = tensor.insert_slice %patches into %0[1, 0] [%m, 3] [1, 1] : tensor<?x3xf32> into tensor<?x3xf32>
  %2 = tensor.concat dim(0) %1, %1 : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %positions = tensor.extract_slice %table[0, 0] [%n, 3] [1, 1] : tensor<2x3xf32> to tensor<?x3xf32>
  %3 = qtx.add %2, %positions : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %4 = qtx.permute %3 by %p : (tensor<?x3xf32>, tensor<3xi32>) -> tensor<?x3xf32>
  %5 = tensor.extract_slice %4[0, 0] [1, 3] [1, 1] : tensor<?x3xf32> to tensor<3xf32>
  %6 = tensor.expand_shape %5 [[0, 1]] output_shape [1, 3] : tensor<3xf32> into tensor<1x3xf32>
  %7 = qtx.linear %6, %v : (tensor<1x3xf32>, tensor<2x3xf32>) -> tensor<1x2xf32>
  %8 = tensor.collapse_shape %7 [[0, 1]] : tensor<1x2xf32> into tensor<2xf32>
  return %8 : tensor<2xf32>
}

// Slices of channels keep them where they are.
// CHECK-LABEL: func.func @parts
// CHECK: qtx.permute
// CHECK: return
func.func @parts(%x: tensor<4x4xf32>) -> (tensor<4x2xf32>, tensor<4x8xf32>, tensor<4x4xf32>, tensor<4xf32>) {
  %p = arith.constant dense<[2, 0, 3, 1]> : tensor<4xi32>
  %q = arith.constant dense<[1, 0]> : tensor<2xi32>
  %0 = qtx.permute %x by %p : (tensor<4x4xf32>, tensor<4xi32>) -> tensor<4x4xf32>
  %1 = tensor.extract_slice %0[0, 1] [4, 2] [1, 1] : tensor<4x4xf32> to tensor<4x2xf32>
  %2 = tensor.concat dim(1) %0, %0 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
  %3 = qtx.permute %1 by %q : (tensor<4x2xf32>, tensor<2xi32>) -> tensor<4x2xf32>
  %4 = tensor.insert_slice %3 into %0[0, 2] [4, 2] [1, 1] : tensor<4x2xf32> into tensor<4x4xf32>
  %5 = tensor.extract_slice %0[0, 1] [4, 1] [1, 1] : tensor<4x4xf32> to tensor<4xf32>
  return %3, %2, %4, %5 : tensor<4x2xf32>, tensor<4x8xf32>, tensor<4x4xf32>, tensor<4xf32>
}

// The order of a result is left to what writes it.
// CHECK-LABEL: func.func @result
// CHECK: %[[N:.*]] = qtx.layer_norm
// CHECK-NEXT: qtx.permute %[[N]]
func.func @result(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %p = arith.constant dense<[1, 0]> : tensor<2xi32>
  %n = qtx.layer_norm %x epsilon 1.0e-5 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %y = qtx.permute %n by %p : (tensor<?x2xf32>, tensor<2xi32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// What stays, and why.
// REMARK: remark: [Missed] FoldPermute | Category:qtx-fold-permute | Reason="after it, 'qtx.quantize' would have 4 groups instead of 2; before it, 'func.func' fixes the order of its arguments"
// REMARK: remark: [Missed] {{.*}} Reason="after it, 'qtx.gate_projection' gives each head its own channels; before it, 'func.func' fixes the order of its arguments"
// REMARK: remark: [Missed] {{.*}} Reason="after it, 'func.return' fixes the order of its operand; before it, 'func.func' fixes the order of its arguments"
// REMARK: remark: [Missed] {{.*}} Reason="after it, 'tensor.extract_slice' fixes the order of its operand
// REMARK: remark: [Missed] {{.*}} before it, 'tensor.extract_slice' fixes the order of its result"
// REMARK: remark: [Passed] FoldPermute | Category:qtx-fold-permute | Remark="leaves the order to 'qtx.layer_norm', which stores each channel in its place: after it, 'func.return' fixes the order of its operand; before it, 'func.func' fixes the order of its arguments"
// REMARK: remark: [Missed] {{.*}} Reason="not a constant permutation of the last axis"
// REMARK: remark: [Missed] {{.*}} Reason="not a constant permutation of the last axis"
// REMARK: remark: [Missed] {{.*}} Reason="after it, 'qtx.linear' has a weight that is not constant
// REMARK: remark: [Missed] {{.*}} Reason="after it, 'qtx.linear' has weight blocks along the permuted axis
// REMARK: remark: [Missed] {{.*}} Reason="after it, 'qtx.linear' has a seed for each group of its input
// REMARK: remark: [Missed] {{.*}} Reason="{{.*}}; before it, 'qtx.linear' has weights or parameters that are not constant"
// REMARK: remark: [Missed] {{.*}} Reason="after it, 'qtx.dequantize' has run-time parameters for its groups
func.func @run_time_indices(%x: tensor<?x2x2xf32>, %p: tensor<2xi32>) -> tensor<?x2x2xf32> {
  %c = arith.constant dense<[1, 0]> : tensor<2xi32>
  %0 = qtx.permute %x by %p : (tensor<?x2x2xf32>, tensor<2xi32>) -> tensor<?x2x2xf32>
  %1 = qtx.permute %0 by %c axis -2 : (tensor<?x2x2xf32>, tensor<2xi32>) -> tensor<?x2x2xf32>
  return %1 : tensor<?x2x2xf32>
}

func.func @weights(%x: tensor<?x2xi8>, %v: tensor<1x2xi8>, %s: tensor<1xf32>, %t: tensor<1x2xf32>, %z: tensor<2x1xi32>)
    -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>) {
  %p = arith.constant dense<[1, 0]> : tensor<2xi32>
  %w = arith.constant dense<[[1, 2]]> : tensor<1x2xi8>
  %a = qtx.permute %x by %p : (tensor<?x2xi8>, tensor<2xi32>) -> tensor<?x2xi8>
  %0 = qtx.linear %a as !u, %v scale(%s) : (tensor<?x2xi8>, tensor<1x2xi8>, tensor<1xf32>) -> tensor<?x1xf32>
  %b = qtx.permute %x by %p : (tensor<?x2xi8>, tensor<2xi32>) -> tensor<?x2xi8>
  %1 = qtx.linear %b as !u, %w scale(%t) block 1 : (tensor<?x2xi8>, tensor<1x2xi8>, tensor<1x2xf32>) -> tensor<?x1xf32>
  %c = qtx.permute %x by %p : (tensor<?x2xi8>, tensor<2xi32>) -> tensor<?x2xi8>
  %2 = qtx.linear %c as !qtx.grouped<i8:f32, axis=-1, [1, 1], {0.5, 0.25}>, %w scale(%s) seed(%z)
      : (tensor<?x2xi8>, tensor<1x2xi8>, tensor<1xf32>, tensor<2x1xi32>) -> tensor<?x1xf32>
  return %0, %1, %2 : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}

func.func @parameters(%x: tensor<?x2xi8>, %w: tensor<2x2xi8>, %s: tensor<2xf32>, %q: tensor<?x2xi8>)
    -> (tensor<?x2xf32>, tensor<?x1xf32>) {
  %p = arith.constant dense<[1, 0]> : tensor<2xi32>
  %f = arith.constant dense<1.0> : tensor<1x2xf32>
  %y = qtx.linear %x as !u, %w scale(%s) : (tensor<?x2xi8>, tensor<2x2xi8>, tensor<2xf32>) -> tensor<?x2xf32>
  %a = qtx.permute %y by %p : (tensor<?x2xf32>, tensor<2xi32>) -> tensor<?x2xf32>
  %b = qtx.permute %q by %p : (tensor<?x2xi8>, tensor<2xi32>) -> tensor<?x2xi8>
  %d = qtx.dequantize %b scale(%s : tensor<2xf32>) as !qtx.grouped<i8:f32, axis=-1, [1, 1], ?> : tensor<?x2xi8> -> tensor<?x2xf32>
  %z = qtx.linear %d, %f : (tensor<?x2xf32>, tensor<1x2xf32>) -> tensor<?x1xf32>
  return %a, %z : tensor<?x2xf32>, tensor<?x1xf32>
}

// A cycle, in code that nothing reaches.
// CHECK-LABEL: func.func @cycle
// CHECK: qtx.permute
// REMARK: [Passed] {{.*}}after it, a cycle leads to its other side; before it, a cycle leads to its other side
func.func @cycle() {
  return
^unreachable:
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %a = qtx.relu %b : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %b = qtx.permute %a by %p : (tensor<2x3xf32>, tensor<3xi32>) -> tensor<2x3xf32>
  cf.br ^unreachable
}

// Resources that hold less than their type says.
// CHECK-LABEL: func.func @short
// CHECK: qtx.permute
func.func @short(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %p = arith.constant dense_resource<short> : tensor<3xi32>
  %0 = qtx.permute %x by %p : (tensor<?x3xf32>, tensor<3xi32>) -> tensor<?x3xf32>
  return %0 : tensor<?x3xf32>
}

{-# dialect_resources: { builtin: { short: "0x040000000100000000000000" } } #-}
