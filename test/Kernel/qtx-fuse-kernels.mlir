// RUN: qtx-opt %s --qtx-configure --qtx-pack --qtx-pack-attention --qtx-fuse-kernels --canonicalize --split-input-file | FileCheck %s
// RUN: qtx-opt %s --qtx-configure --qtx-pack --qtx-pack-attention --qtx-fuse-kernels --qtx-fuse-kernels --canonicalize --split-input-file | FileCheck %s
// RUN: qtx-opt %s --qtx-configure --qtx-pack --qtx-pack-attention --qtx-fuse-kernels --split-input-file --remarks-filter-missed=qtx-fuse-kernels --remarks-filter-passed=qtx-fuse-kernels 2>&1 | FileCheck %s --check-prefix=REMARK

// REMARK: joined to 'qtx.linear'
// REMARK: joined to 'qtx.linear'
// REMARK: joined to 'qtx.linear'
// REMARK: joined to 'qtx.attention'
// REMARK: attention takes no groups
// REMARK: the groups do not lie along the last axis
// REMARK: the result does not have 8 bits
// REMARK: the scales are run-time values
// REMARK-COUNT-6: added up by 'qtx.linear'
// REMARK-NOT: {{joined|added up}}

#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>

// Gain and shift come last; one zero point is enough for both groups. What the
// inputs can make fits an integer: no clamps. The activation comes from a table
// in steps of 0.33, so that gain and shift lead from these to codes.
// CHECK-LABEL: func @linear(
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x8xi8>
// CHECK-DAG: %[[R:.*]] = arith.constant dense_resource<{{.*}}> : tensor<3xf32>
// CHECK-DAG: %[[Z:.*]] = arith.constant dense_resource<{{.*}}> : tensor<1xi32>
// CHECK-DAG: %[[G:.*]] = arith.constant dense<[6.600000e-01, 1.320000e+00, 3.960000e+00]>
// CHECK-DAG: %[[S:.*]] = arith.constant dense<[1.500000e+01, 1.700000e+01, 3.100000e+01]>
// CHECK: %[[Y:.*]] = qtx.kernel "qtx.linear"(%{{.*}}, %[[R]], %[[Z]], %[[G]], %[[S]]) outs(%{{.*}}) {activation = #qtx<activation gelu>, bounded,
// CHECK-SAME: operandSegmentSizes = array<i32: 1, 0, 0, 1, 1, 0, 1, 1, 1>
// CHECK-SAME: result_range = array<i64: -128, 127>
// CHECK-SAME: scaled
// CHECK-SAME: tabulated
// CHECK-SAME: -> tensor<?x3xi8>
// CHECK-NEXT: return %[[Y]]
module attributes {llvm.target = #avx512} {
  func.func @linear(%x: tensor<?x8xi8>) -> tensor<?x3xi8> {
    %w = arith.constant dense<1> : tensor<3x8xi8>
    %s = arith.constant dense<0.5> : tensor<1xf32>
    %gain = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
    %shift = arith.constant dense<[4.0, 5.0, 6.0]> : tensor<3xf32>
    %0 = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) activation gelu
        : (tensor<?x8xi8>, tensor<3x8xi8>, tensor<1xf32>) -> tensor<?x3xf32>
    %1 = qtx.scale_shift %0 gain(%gain) shift(%shift) : (tensor<?x3xf32>, tensor<3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
    %2 = qtx.quantize %1 to !qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5:7, 0.25:7}> : tensor<?x3xf32> -> tensor<?x3xi8>
    return %2 : tensor<?x3xi8>
  }

  // Codes this fine would show what a table leaves out.
  // CHECK-LABEL: func @fine(
  // CHECK: qtx.kernel "qtx.linear"
  // CHECK-NOT: tabulated
  // CHECK: return
  func.func @fine(%x: tensor<?x8xi8>) -> tensor<?x3xi8> {
    %w = arith.constant dense<1> : tensor<3x8xi8>
    %s = arith.constant dense<0.5> : tensor<1xf32>
    %0 = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) activation gelu
        : (tensor<?x8xi8>, tensor<3x8xi8>, tensor<1xf32>) -> tensor<?x3xf32>
    %1 = qtx.quantize %0 to !quant.uniform<i8:f32, 0.0001> : tensor<?x3xf32> -> tensor<?x3xi8>
    return %1 : tensor<?x3xi8>
  }
}

// -----

// Without lookups, too, an activation is no more exact than codes need.
// CHECK-LABEL: func @no_table(
// CHECK: qtx.kernel "qtx.linear"
// CHECK-SAME: tabulated
module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2"]>>} {
  func.func @no_table(%x: tensor<?x8xi8>) -> tensor<?x3xi8> {
    %w = arith.constant dense<1> : tensor<3x8xi8>
    %s = arith.constant dense<0.5> : tensor<1xf32>
    %0 = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) activation gelu
        : (tensor<?x8xi8>, tensor<3x8xi8>, tensor<1xf32>) -> tensor<?x3xf32>
    %1 = qtx.quantize %0 to !quant.uniform<i8:f32, 0.05> : tensor<?x3xf32> -> tensor<?x3xi8>
    return %1 : tensor<?x3xi8>
  }
}

// -----

#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>
// CHECK-LABEL: func @attention(
// CHECK-SAME: %[[G:[a-z0-9]+]]: tensor<8xf32>, %[[S:[a-z0-9]+]]: tensor<8xf32>
// CHECK: %[[Y:.*]]:2 = qtx.kernel "qtx.attention"(%{{.*}}, %[[G]], %[[S]]) outs(%{{.*}}) {{.*}}scaled
// CHECK-SAME: y_quant = !quant.uniform<i8:f32, 5.000000e-01>
// CHECK-SAME: -> (tensor<?x?x2x4xi8>, tensor<?xi8>)
// CHECK: %[[M:.*]] = tensor.collapse_shape %[[Y]]#0
// CHECK-NEXT: return %[[M]]
module attributes {llvm.target = #avx512} {
  func.func @attention(%q: tensor<?x2x?x4xf32>, %gain: tensor<8xf32>, %shift: tensor<8xf32>) -> tensor<?x?x8xi8> {
    %0 = qtx.attention %q, %q, %q scale 0.5 : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
    %1 = qtx.merge_heads %0 : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
    %2 = qtx.scale_shift %1 gain(%gain) shift(%shift) : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
    %3 = qtx.quantize %2 to !quant.uniform<i8:f32, 0.5> : tensor<?x?x8xf32> -> tensor<?x?x8xi8>
    return %3 : tensor<?x?x8xi8>
  }

  // CHECK-LABEL: func @groups_of_attention(
  // CHECK: qtx.quantize
  func.func @groups_of_attention(%q: tensor<?x2x?x4xf32>) -> tensor<?x?x8xi8> {
    %0 = qtx.attention %q, %q, %q scale 0.5 : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>) -> tensor<?x2x?x4xf32>
    %1 = qtx.merge_heads %0 : tensor<?x2x?x4xf32> -> tensor<?x?x8xf32>
    %2 = qtx.quantize %1 to !qtx.grouped<i8:f32, axis=-1, [4, 4], {0.5, 0.25}> : tensor<?x?x8xf32> -> tensor<?x?x8xi8>
    return %2 : tensor<?x?x8xi8>
  }

  // CHECK-LABEL: func @other_axis(
  // CHECK: qtx.quantize
  func.func @other_axis(%x: tensor<2x4xf32>, %b: tensor<4xf32>) -> tensor<2x4xi8> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %0 = qtx.linear %x, %w bias(%b) : (tensor<2x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
    %1 = qtx.quantize %0 to !qtx.grouped<i8:f32, axis=-2, [1, 1], {0.5, 0.25}> : tensor<2x4xf32> -> tensor<2x4xi8>
    return %1 : tensor<2x4xi8>
  }

  // CHECK-LABEL: func @wide(
  // CHECK: qtx.quantize
  func.func @wide(%x: tensor<2x4xf32>) -> tensor<2x4xi16> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %0 = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %1 = qtx.quantize %0 to !quant.uniform<i16:f32, 0.5> : tensor<2x4xf32> -> tensor<2x4xi16>
    return %1 : tensor<2x4xi16>
  }

  // CHECK-LABEL: func @run_time_scale(
  // CHECK: qtx.quantize
  func.func @run_time_scale(%x: tensor<2x4xf32>, %s: tensor<1xf32>) -> tensor<2x4xi8> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %0 = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %1 = qtx.quantize %0 scale(%s : tensor<1xf32>) to !qtx.grouped<i8:f32, axis=-1, [4], ?> : tensor<2x4xf32> -> tensor<2x4xi8>
    return %1 : tensor<2x4xi8>
  }

  // Others read the scaled values.
  // CHECK-LABEL: func @readers(
  // CHECK: qtx.scale_shift
  // CHECK: qtx.quantize
  func.func @readers(%x: tensor<2x4xf32>, %gain: tensor<4xf32>, %shift: tensor<4xf32>) -> (tensor<2x4xi8>, tensor<2x4xf32>) {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %0 = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %1 = qtx.scale_shift %0 gain(%gain) shift(%shift) : (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
    %2 = qtx.quantize %1 to !quant.uniform<i8:f32, 0.5> : tensor<2x4xf32> -> tensor<2x4xi8>
    return %2, %1 : tensor<2x4xi8>, tensor<2x4xf32>
  }
}

// -----

#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>
module attributes {llvm.target = #avx512} {
  // CHECK-LABEL: func @residual_rhs(
  // CHECK: %[[R:.*]] = qtx.relu
  // CHECK-NEXT: %[[Y:.*]] = qtx.kernel "qtx.linear"(%{{.*}}) outs(%[[R]]) {accumulate,
  // CHECK-NEXT: return %[[Y]]
  func.func @residual_rhs(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %r = qtx.relu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
    %l = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %y = qtx.add %r, %l : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }

  // The other operand may come after the linear.
  // CHECK-LABEL: func @residual_lhs(
  // CHECK: %[[R:.*]] = qtx.relu
  // CHECK-NEXT: %[[Y:.*]] = qtx.kernel "qtx.linear"(%{{.*}}) outs(%[[R]]) {accumulate,
  // CHECK-NEXT: return %[[Y]]
  func.func @residual_lhs(%x: tensor<?x8xi8>, %r: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %w = arith.constant dense<1> : tensor<4x8xi8>
    %s = arith.constant dense<0.5> : tensor<1xf32>
    %l = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) activation relu
        : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<1xf32>) -> tensor<?x4xf32>
    %a = qtx.relu %r : (tensor<?x4xf32>) -> tensor<?x4xf32>
    %y = qtx.add %l, %a : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }

  // Two linears in turn add to one stream, which they read as well.
  // CHECK-LABEL: func @stream(
  // CHECK: %[[R:.*]] = qtx.relu
  // CHECK: %[[S:.*]] = qtx.kernel "qtx.linear"(%[[R]], %{{.*}}) outs(%[[R]]) {accumulate,
  // CHECK: %[[Y:.*]] = qtx.kernel "qtx.linear"(%[[S]], %{{.*}}) outs(%[[S]]) {accumulate,
  // CHECK-NEXT: return %[[Y]]
  func.func @stream(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %v = arith.constant dense<2.0> : tensor<4x4xf32>
    %r = qtx.relu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
    %l = qtx.linear %r, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %s = qtx.add %r, %l : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    %m = qtx.linear %s, %v : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %y = qtx.add %m, %s : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }

  // Of two linears, one adds to the other.
  // CHECK-LABEL: func @both(
  // CHECK: %[[L:.*]] = qtx.kernel "qtx.linear"(%{{.*}}) outs(%{{.*}}) {activation
  // CHECK: %[[Y:.*]] = qtx.kernel "qtx.linear"(%{{.*}}) outs(%[[L]]) {accumulate,
  // CHECK-NEXT: return %[[Y]]
  func.func @both(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %v = arith.constant dense<2.0> : tensor<4x4xf32>
    %l = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %m = qtx.linear %x, %v : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %y = qtx.add %l, %m : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

// What others read is not written to, and what is not computed here neither.
// CHECK-NOT: accumulate
#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>
module attributes {llvm.target = #avx512} {
  func.func @read_later(%x: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %r = qtx.relu %x : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %y = qtx.add %r, %l : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
    return %y, %r : tensor<2x4xf32>, tensor<2x4xf32>
  }

  func.func @argument(%x: tensor<2x4xf32>, %r: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %y = qtx.add %r, %l : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }

  // The argument in another shape is the caller's memory, too.
  func.func @view_of_argument(%x: tensor<2x4xf32>, %r: tensor<1x2x4xf32>) -> tensor<2x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %v = tensor.collapse_shape %r [[0, 1], [2]] : tensor<1x2x4xf32> into tensor<2x4xf32>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %y = qtx.add %v, %l : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }

  func.func @constant(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %c = arith.constant dense<2.0> : tensor<2x4xf32>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %y = qtx.add %l, %c : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }

  func.func @other_block(%x: tensor<2x4xf32>, %is: i1) -> tensor<2x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %r = qtx.relu %x : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %y = scf.if %is -> tensor<2x4xf32> {
      %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
      %s = qtx.add %r, %l : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
      scf.yield %s : tensor<2x4xf32>
    } else {
      scf.yield %x : tensor<2x4xf32>
    }
    return %y : tensor<2x4xf32>
  }

  func.func @two_readers(%x: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %r = qtx.relu %x : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %y = qtx.add %r, %l : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
    return %y, %l : tensor<2x4xf32>, tensor<2x4xf32>
  }

  func.func @twice(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %y = qtx.add %l, %l : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }

  func.func @broadcast(%x: tensor<2x4xf32>, %b: tensor<4xf32>) -> tensor<2x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %r = qtx.relu %b : (tensor<4xf32>) -> tensor<4xf32>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %y = qtx.add %l, %r : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }

  func.func @quantized_operand(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %r = qtx.relu %x to !quant.uniform<i8:f32, 0.5> : (tensor<2x4xf32>) -> tensor<2x4xi8>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %y = qtx.add %r as !quant.uniform<i8:f32, 0.5>, %l : (tensor<2x4xi8>, tensor<2x4xf32>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }

  func.func @quantized_sum(%x: tensor<2x4xf32>) -> tensor<2x4xi8> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %r = qtx.relu %x : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %y = qtx.add %r, %l to !quant.uniform<i8:f32, 0.5> : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xi8>
    return %y : tensor<2x4xi8>
  }

  func.func @quantizer(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %r = qtx.relu %x : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %l = qtx.linear %x, %w to !quant.uniform<i8:f32, 0.5> : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xi8>
    %y = qtx.add %r, %l as !quant.uniform<i8:f32, 0.5> : (tensor<2x4xf32>, tensor<2x4xi8>) -> tensor<2x4xf32>
    return %y : tensor<2x4xf32>
  }
}

// -----

// A quantizer of the sum has no place in the kernel, which could not add codes.
// CHECK-LABEL: func @quantizer_of_sum(
// CHECK: qtx.kernel "qtx.linear"{{.*}} outs(%[[R:.*]]) {accumulate,{{.*}} -> tensor<2x4xf32>
// CHECK: qtx.quantize
#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>
module attributes {llvm.target = #avx512} {
  func.func @quantizer_of_sum(%x: tensor<2x4xf32>) -> tensor<2x4xi8> {
    %w = arith.constant dense<1.0> : tensor<4x4xf32>
    %r = qtx.relu %x : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %l = qtx.linear %x, %w : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
    %s = qtx.add %r, %l : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
    %y = qtx.quantize %s to !quant.uniform<i8:f32, 0.5> : tensor<2x4xf32> -> tensor<2x4xi8>
    return %y : tensor<2x4xi8>
  }
}
