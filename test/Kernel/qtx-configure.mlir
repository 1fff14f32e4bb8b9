// RUN: qtx-opt %s -qtx-configure -split-input-file | FileCheck %s
// RUN: qtx-opt %s -qtx-configure -split-input-file --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma", "+avx512f"]>>} {
// CHECK-LABEL: func.func @float
// CHECK: qtx.config = #qtx.micro_kernel<"x86-avx512-fma", rows = 16, vectors = 1, block = 512>
// REMARK: [Passed] Configure | Category:qtx-configure | Remark="runs on 'x86-avx512-fma'"
func.func @float(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  %y = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// The input or the result of a block stays in the cache.
// CHECK-LABEL: func.func @large
// CHECK: block = 512>
func.func @large(%x: tensor<?x1024xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x1024xf32>
  %y = qtx.linear %x, %w : (tensor<?x1024xf32>, tensor<2x1024xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: func.func @missed
// CHECK-NOT: qtx.config
// REMARK: [Missed] {{.*}} Reason="it is not in storage form"
// REMARK: [Missed] {{.*}} Reason="the weight is not a constant"
// REMARK: [Missed] {{.*}} Reason="the scales of the weight are not constant"
// REMARK: [Missed] {{.*}} Reason="the seed is not a constant"
// REMARK: [Missed] {{.*}} Reason="it has no channels"
// REMARK: [Missed] {{.*}} Reason="the input does not have 8 bits"
// REMARK: [Missed] {{.*}} Reason="the scales of the result are run-time values"
// REMARK: [Missed] {{.*}} Reason="the result does not have 8 bits"
func.func @missed(%q: tensor<?x4x!quant.uniform<i8:f32, 0.5>>, %x: tensor<?x4xf32>, %i: tensor<?x4xi8>,
                  %j: tensor<?x4xi16>, %e: tensor<?x0xf32>, %v: tensor<2x4xf32>, %s: tensor<1xf32>,
                  %seed: tensor<1x2xi32>) {
  %w = arith.constant dense<1> : tensor<2x4xi8>
  %f = arith.constant dense<1.0> : tensor<2x4xf32>
  %c = arith.constant dense<1.0> : tensor<1xf32>
  %n = arith.constant dense<1.0> : tensor<2x0xf32>
  %0 = qtx.linear %q, %w scale(%c) : (tensor<?x4x!quant.uniform<i8:f32, 0.5>>, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  %1 = qtx.linear %x, %v : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  %2 = qtx.linear %x, %w scale(%s) : (tensor<?x4xf32>, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  %3 = qtx.linear %i as !quant.uniform<i8:f32, 0.5>, %w scale(%c) seed(%seed)
      : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<1xf32>, tensor<1x2xi32>) -> tensor<?x2xf32>
  %4 = qtx.linear %e, %n : (tensor<?x0xf32>, tensor<2x0xf32>) -> tensor<?x2xf32>
  %5 = qtx.linear %j as !quant.uniform<i16:f32, 0.5>, %w scale(%c)
      : (tensor<?x4xi16>, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  %6 = qtx.linear %x, %f out_scale(%c) to !qtx.grouped<i8:f32, axis=-1, [2], ?>
      : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<1xf32>) -> tensor<?x2xi8>
  %7 = qtx.linear %x, %f to !quant.uniform<i16:f32, 0.5> : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xi16>
  return
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma"]>>} {
// CHECK-LABEL: func.func @avx2
// One vector of outputs: six sums would wait for each other.
// CHECK: "x86-avx2-fma", rows = 12, vectors = 1
func.func @avx2(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  %y = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+avx512bw", "+avx512vnni"]>>} {
// CHECK-LABEL: func.func @vnni
// CHECK: "x86-avx512-vnni", rows = 16, vectors = 1
func.func @vnni(%x: tensor<?x4xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1> : tensor<2x4xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512bw", "+avx512vnni", "+amx-tile", "+amx-int8"]>>} {
// CHECK-LABEL: func.func @amx
// CHECK: "x86-amx-int8", rows = 8, vectors = 2, block = 32
func.func @amx(%x: tensor<?x384xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1> : tensor<2x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<2x384xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Rows beyond the first-level cache gain nothing from a small block.
// CHECK-LABEL: func.func @amx_large
// CHECK: "x86-amx-int8", rows = 8, vectors = 2, block = 512
func.func @amx_large(%x: tensor<?x3072xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1> : tensor<2x3072xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x3072xi8>, tensor<2x3072xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Too short for tile registers, and too short segments.
// CHECK-LABEL: func.func @amx_short
// CHECK: "x86-avx512-vnni"
// CHECK-LABEL: func.func @amx_segments
// CHECK: "x86-avx512-vnni"
func.func @amx_short(%x: tensor<?x63xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1> : tensor<2x63xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x63xi8>, tensor<2x63xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
func.func @amx_segments(%x: tensor<?x64xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1> : tensor<2x64xi8>
  %s = arith.constant dense<1.0> : tensor<2x4xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) block 16 : (tensor<?x64xi8>, tensor<2x64xi8>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

// Storage is signed: so are the bytes that are multiplied, where they can be.
module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+avxvnni", "+avxvnniint8"]>>} {
// CHECK-LABEL: func.func @avx_vnni_int8
// CHECK: "x86-avx-vnni-int8", rows = 12, vectors = 1
func.func @avx_vnni_int8(%x: tensor<?x4xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1> : tensor<2x4xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+avxvnni"]>>} {
// CHECK-LABEL: func.func @avx_vnni
// One vector of outputs: six sums would wait for each other.
// CHECK: "x86-avx-vnni", rows = 12, vectors = 1
func.func @avx_vnni(%x: tensor<?x4xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1> : tensor<2x4xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2"]>>} {
// Two weights of one sign come to 129 in 16 bits.
// CHECK-LABEL: func.func @avx2_int16
// CHECK: "x86-avx2-int16", rows = 12, vectors = 1
// REMARK: [Missed] {{.*}} Reason="'x86-avx2-int8' would be faster: its sums of 16 bits do not hold products with these weights"
func.func @avx2_int16(%x: tensor<?x4xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[1, 2, 3, 4], [65, 64, -64, -64]]> : tensor<2x4xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: func.func @avx2_int8
// CHECK: "x86-avx2-int8", rows = 8, vectors = 1
func.func @avx2_int8(%x: tensor<?x4xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[1, 2, 3, 4], [64, 64, -64, -64]]> : tensor<2x4xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Channels 0, 1, 4 and 5 of a segment meet in a sum.
// CHECK-LABEL: func.func @avx2_int8_words
// CHECK: "x86-avx2-int16"
func.func @avx2_int8_words(%x: tensor<?x8xi8>) -> tensor<?x1xf32> {
  %w = arith.constant dense<[[60, 60, 0, 0, 0, 9, 0, 0]]> : tensor<1x8xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x8xi8>, tensor<1x8xi8>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// Segments have sums of their own.
// CHECK-LABEL: func.func @avx2_int8_segments
// CHECK: "x86-avx2-int8"
func.func @avx2_int8_segments(%x: tensor<?x8xi8>) -> tensor<?x1xf32> {
  %w = arith.constant dense<[[60, 60, 0, 0, 0, 9, 0, 0]]> : tensor<1x8xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [3, 5], {0.5:0, 0.25:0}>, %w scale(%s) : (tensor<?x8xi8>, tensor<1x8xi8>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// Weights of 4 bits fit, whatever they are.
// CHECK-LABEL: func.func @avx2_int8_of_nibbles
// CHECK: "x86-avx2-int8", rows = 6, vectors = 4
// CHECK-SAME: qtx.nibbles
func.func @avx2_int8_of_nibbles(%x: tensor<?x4xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<-8> : tensor<2x4xi4>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x4xi8>, tensor<2x4xi4>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

// CHECK-LABEL: func.func @no_target
// CHECK-NOT: qtx.config
// REMARK: [Missed] {{.*}} Reason="the target has no micro-kernel"
func.func @no_target(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  %y = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

module attributes {qtx.threads = 4 : i64, llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma"]>>} {
// CHECK-LABEL: func.func @threads
// CHECK: qtx.partition = {row_split = 128 : i64, threads = 4 : i64}
func.func @threads(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  %y = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// Weights that no core's cache holds are divided.
// CHECK-LABEL: func.func @large_weights
// CHECK: qtx.partition = {row_split = 512 : i64, threads = 4 : i64}
func.func @large_weights(%x: tensor<?x1024xf32>) -> tensor<?x512xf32> {
  %w = arith.constant dense<1.0> : tensor<512x1024xf32>
  %y = qtx.linear %x, %w : (tensor<?x1024xf32>, tensor<512x1024xf32>) -> tensor<?x512xf32>
  return %y : tensor<?x512xf32>
}
}

// -----

// REMARK: [Missed] {{.*}} Reason="no micro-kernel takes two activations outside of attention"
func.func @two_activations(%a: tensor<2x3x4xf32>) -> tensor<2x3x3xf32> {
  %y = qtx.batch_matmul %a, %a transpose_b : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x3xf32>
  return %y : tensor<2x3x3xf32>
}

// -----

// Weights of 4 bits stay in nibbles, but for tile registers, seeds, floats and
// integer joins.
module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni", "+amx-tile", "+amx-int8"]>>} {
// CHECK-LABEL: func.func @nibbles
// CHECK: "x86-avx512-vnni"
// CHECK-SAME: qtx.nibbles
// CHECK-LABEL: func.func @no_nibbles
// CHECK-NOT: qtx.nibbles
// CHECK: return
func.func @nibbles(%x: tensor<?x32xi8>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1> : tensor<2x32xi4>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x32xi8>, tensor<2x32xi4>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
func.func @no_nibbles(%x: tensor<?x64xi8>, %f: tensor<?x64xf32>, %z: tensor<?x32xi8>) {
  %w = arith.constant dense<1> : tensor<2x64xi4>
  %v = arith.constant dense<1> : tensor<2x32xi4>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %seed = arith.constant dense<1> : tensor<1x2xi32>
  %0 = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x64xi8>, tensor<2x64xi4>, tensor<1xf32>) -> tensor<?x2xf32>
  %1 = qtx.linear %f, %w scale(%s) : (tensor<?x64xf32>, tensor<2x64xi4>, tensor<1xf32>) -> tensor<?x2xf32>
  %2 = qtx.linear %z as !quant.uniform<i8:f32, 0.5>, %v scale(%s) seed(%seed) : (tensor<?x32xi8>, tensor<2x32xi4>, tensor<1xf32>, tensor<1x2xi32>) -> tensor<?x2xf32>
  %3 = qtx.linear %z as !qtx.grouped<i8:f32, axis=-1, [24, 8], {0.5, 1.0}>, %v scale(%s) integer_join : (tensor<?x32xi8>, tensor<2x32xi4>, tensor<1xf32>) -> tensor<?x2xf32>
  return
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma"]>>} {
// CHECK-LABEL: func.func @given
// CHECK: "x86-avx2-fma", rows = 4, vectors = 1, block = 8, panels = 2>
func.func @given(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  %y = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"x86-avx2-fma", rows = 4, vectors = 1, block = 8, panels = 2>}
      : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}
