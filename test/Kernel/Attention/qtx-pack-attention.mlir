// RUN: qtx-opt %s --qtx-pack-attention --canonicalize --split-input-file | FileCheck %s
// RUN: qtx-opt %s --qtx-pack-attention --split-input-file --remarks-filter-missed=qtx-pack-attention --remarks-filter-passed=qtx-pack-attention 2>&1 | FileCheck %s --check-prefix=REMARK

// REMARK: runs on 'x86-avx512-fma' and 'x86-avx512-fma'
// REMARK: runs on
// REMARK: runs on
// REMARK: runs on
// REMARK: a stage inside has groups, or not 8 bits
// REMARK: it is not in storage form
// REMARK: the target has no micro-kernel
// REMARK-COUNT-10: runs on

#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>

// Heads are read where the projection wrote them, and written where the next one
// reads them. A mask of booleans becomes one of bytes. The second destination is
// scratch memory whose size depends on the keys, up to rows that are not kept.
// CHECK-LABEL: func @encoder(
// CHECK-NOT: qtx.split_heads
// CHECK: %[[Q:.*]] = tensor.expand_shape %{{.*}} {{\[\[}}0], [1], [2, 3]] {{.*}} into tensor<?x?x4x16xf32>
// CHECK: %[[MASK:.*]] = arith.extui %{{.*}} : tensor<?x1x1x?xi1> to tensor<?x1x1x?xi8>
// CHECK: %[[SIZE:.*]] = affine.min
// CHECK: %[[SCRATCH:.*]] = tensor.empty(%[[SIZE]]) : tensor<?xi8>
// CHECK: %[[Y:.*]]:2 = qtx.kernel "qtx.attention"(%[[Q]], %{{.*}}, %{{.*}}, %[[MASK]]) outs(%{{.*}}, %[[SCRATCH]])
// CHECK-SAME: context_kernel = "x86-avx512-fma"
// CHECK-SAME: layouts = array<i64: 1, 1, 1, 1>
// CHECK-SAME: scores_kernel = "x86-avx512-fma"
// CHECK: tensor.collapse_shape %[[Y]]#0
// CHECK-NOT: qtx.merge_heads
module attributes {llvm.target = #avx512} {
  func.func @encoder(%q: tensor<?x?x64xf32>, %k: tensor<?x?x64xf32>, %v: tensor<?x?x64xf32>, %m: tensor<?x1x1x?xi1>) -> tensor<?x?x64xf32> {
    %0 = qtx.split_heads %q : tensor<?x?x64xf32> -> tensor<?x4x?x16xf32>
    %1 = qtx.split_heads %k : tensor<?x?x64xf32> -> tensor<?x4x?x16xf32>
    %2 = qtx.split_heads %v : tensor<?x?x64xf32> -> tensor<?x4x?x16xf32>
    %3 = qtx.attention %0, %1, %2 mask(%m) scale 0.25 : (tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?x1x1x?xi1>) -> tensor<?x4x?x16xf32>
    %4 = qtx.merge_heads %3 : tensor<?x4x?x16xf32> -> tensor<?x?x64xf32>
    return %4 : tensor<?x?x64xf32>
  }
}

// -----

// Integers where both factors are some; what has a float partner is dequantized.
#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>
// CHECK-LABEL: func @integers(
// CHECK: %[[V:.*]] = qtx.dequantize
// CHECK: qtx.kernel "qtx.attention"(%{{.*}}, %{{.*}}, %[[V]])
// CHECK-SAME: context_kernel = "x86-avx512-fma"
// CHECK-SAME: layouts = array<i64: 0, 0, 0, 0>
// CHECK-SAME: scores_kernel = "x86-avx512-vnni"
module attributes {llvm.target = #avx512} {
  func.func @integers(%q: tensor<1x2x8x16xi8>, %k: tensor<1x2x8x16xi8>, %v: tensor<1x2x8x16xi8>) -> tensor<1x2x8x16xf32> {
    %0 = qtx.attention %q as !quant.uniform<i8:f32, 0.5>, %k as !quant.uniform<i8:f32, 0.5>, %v as !quant.uniform<i8:f32, 0.5> scale 0.25
        : (tensor<1x2x8x16xi8>, tensor<1x2x8x16xi8>, tensor<1x2x8x16xi8>) -> tensor<1x2x8x16xf32>
    return %0 : tensor<1x2x8x16xf32>
  }
}

// -----

#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>
// CHECK-LABEL: func @groups(
// CHECK: %[[X:.*]] = qtx.dequantize %{{.*}} as !qtx.grouped<i8:f32, axis=-3
// CHECK: %[[Y:.*]]:2 = qtx.kernel "qtx.attention"(%[[X]], %{{.*}}, %{{.*}}) {{.*}} -> (tensor<1x2x8x4xf32>, tensor<{{.*}}xi8>)
// CHECK: %[[Q:.*]] = qtx.quantize %[[Y]]#0 to !qtx.grouped
// CHECK: qtx.merge_heads %[[Q]]
// What kernels take with one scale only is converted before and behind.
module attributes {llvm.target = #avx512} {
  func.func @groups(%x: tensor<1x8x8xi8>, %k: tensor<1x2x8x4xf32>) -> tensor<1x8x8xi8> {
    %q = qtx.split_heads %x : tensor<1x8x8xi8> -> tensor<1x2x8x4xi8>
    %0 = qtx.attention %q as !qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5, 0.25}>, %k, %k scale 0.25 to !qtx.grouped<i8:f32, axis=-1, [1 * 4], {0.5, 0.25, 1.0, 2.0}>
        : (tensor<1x2x8x4xi8>, tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>) -> tensor<1x2x8x4xi8>
    %1 = qtx.merge_heads %0 : tensor<1x2x8x4xi8> -> tensor<1x8x8xi8>
    return %1 : tensor<1x8x8xi8>
  }
}

// -----

#int8 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma", "+avxvnni", "+avxvnniint8"]>>

// Of two instructions as fast, each product has the one that takes its first operand as it
// is: queries are signed, probabilities are not.
// CHECK-LABEL: func @signedness(
// CHECK: context_kernel = "x86-avx-vnni"
// CHECK-SAME: scores_kernel = "x86-avx-vnni-int8"
module attributes {llvm.target = #int8} {
  func.func @signedness(%x: tensor<1x2x8x16xi8>) -> tensor<1x2x8x16xf32> {
    %0 = qtx.attention %x as !quant.uniform<i8:f32, 0.5>, %x as !quant.uniform<i8:f32, 0.5>, %x as !quant.uniform<i8:f32, 0.5> scale 0.25
        probs !quant.uniform<u8:f32, 0.004> : (tensor<1x2x8x16xi8>, tensor<1x2x8x16xi8>, tensor<1x2x8x16xi8>) -> tensor<1x2x8x16xf32>
    return %0 : tensor<1x2x8x16xf32>
  }
}

// -----

#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>
// CHECK-LABEL: func @kept(
// CHECK-NOT: qtx.kernel
// CHECK-COUNT-2: qtx.attention
module attributes {llvm.target = #avx512} {
  func.func @kept(%k: tensor<1x2x8x4xf32>, %s: tensor<1x2x8x4x!quant.uniform<i8:f32, 0.5>>) -> (tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>) {
    %0 = qtx.attention %k, %k, %k scale 0.25 scores !qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5, 0.25}>
        : (tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>) -> tensor<1x2x8x4xf32>
    %1 = qtx.attention %s, %k, %k scale 0.25
        : (tensor<1x2x8x4x!quant.uniform<i8:f32, 0.5>>, tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>) -> tensor<1x2x8x4xf32>
    return %0, %1 : tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>
  }
}

// -----

// CHECK-LABEL: func @no_target(
// CHECK: qtx.attention
func.func @no_target(%k: tensor<1x2x8x4xf32>) -> tensor<1x2x8x4xf32> {
  %0 = qtx.attention %k, %k, %k scale 0.25 : (tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>) -> tensor<1x2x8x4xf32>
  return %0 : tensor<1x2x8x4xf32>
}

// -----

// Longer rows of floats than the limit come in stretches of keys for blocks of
// queries, so memory does not grow with them. Rows that are clipped would be
// computed twice: they are kept as long as scores of a tile fit half of the
// second-level cache.
#zen4 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "znver4", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>
// CHECK-DAG: #[[$PLAIN:.*]] = affine_map<()[s0] -> ((s0 ceildiv 16) * 8896 + 4160, 2103616)>
// CHECK-LABEL: func @long(
// CHECK: affine.min #[[$PLAIN]]()
// CHECK: qtx.kernel
// CHECK-SAME: stretches = {keys = 384 : i64, limit = 3771 : i64, queries = 1024 : i64}
// CHECK: qtx.kernel
// CHECK-SAME: stretches = {keys = 384 : i64, limit = 16384 : i64, queries = 1024 : i64}
module attributes {llvm.target = #zen4} {
  func.func @long(%x: tensor<1x2x?x64xf32>) -> (tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) {
    %0 = qtx.attention %x, %x, %x scale 0.125
        : (tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) -> tensor<1x2x?x64xf32>
    %1 = qtx.attention %x, %x, %x scale 0.125 clip [-0.03, 1.0]
        : (tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) -> tensor<1x2x?x64xf32>
    return %0, %1 : tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>
  }

  // The number of keys may be known, and sums of bytes have room for so few that
  // their rows are kept.
  // CHECK-LABEL: func @known(
  // CHECK: qtx.kernel
  // CHECK-NOT: stretches
  // CHECK-SAME: tensor<1x2x3771x64xf32>
  // CHECK: tensor.empty() : tensor<2103616xi8>
  // CHECK: qtx.kernel
  // CHECK-SAME: stretches
  // CHECK: qtx.kernel
  // CHECK-NOT: stretches
  // CHECK-SAME: tensor<1x2x?x64xi8>
  func.func @known(%x: tensor<1x2x3771x64xf32>, %y: tensor<1x2x9000x64xf32>, %z: tensor<1x2x?x64xi8>)
      -> (tensor<1x2x3771x64xf32>, tensor<1x2x9000x64xf32>, tensor<1x2x?x64xf32>) {
    %0 = qtx.attention %x, %x, %x scale 0.125
        : (tensor<1x2x3771x64xf32>, tensor<1x2x3771x64xf32>, tensor<1x2x3771x64xf32>) -> tensor<1x2x3771x64xf32>
    %1 = qtx.attention %y, %y, %y scale 0.125
        : (tensor<1x2x9000x64xf32>, tensor<1x2x9000x64xf32>, tensor<1x2x9000x64xf32>) -> tensor<1x2x9000x64xf32>
    %2 = qtx.attention %z as !quant.uniform<i8:f32, 0.5>, %z as !quant.uniform<i8:f32, 0.5>, %z as !quant.uniform<i8:f32, 0.5>
        scale 0.25 probs !quant.uniform<u8:f32, 0.0039>
        : (tensor<1x2x?x64xi8>, tensor<1x2x?x64xi8>, tensor<1x2x?x64xi8>) -> tensor<1x2x?x64xf32>
    return %0, %1, %2 : tensor<1x2x3771x64xf32>, tensor<1x2x9000x64xf32>, tensor<1x2x?x64xf32>
  }
}

// -----

// A smaller cache, and smaller vectors.
#haswell = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "haswell", features = <["+avx2", "+fma"]>>
// CHECK-LABEL: func @small_cache(
// CHECK: stretches = {keys = 256 : i64, limit = 1235 : i64, queries = 1026 : i64}
module attributes {llvm.target = #haswell} {
  func.func @small_cache(%x: tensor<1x2x?x64xf32>) -> tensor<1x2x?x64xf32> {
    %0 = qtx.attention %x, %x, %x scale 0.125
        : (tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) -> tensor<1x2x?x64xf32>
    return %0 : tensor<1x2x?x64xf32>
  }
}

// -----

// Exponentials run beside products where plain scores stay integers. A step of
// many channels would be long code, and causal rows end at different keys.
#avx512 = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>
!q = !quant.uniform<i8:f32, 0.02>
!p = !quant.uniform<u8:f32, 0.0039>
// CHECK-LABEL: func @pipelined(
// CHECK: qtx.kernel
// CHECK-SAME: pipelined
// CHECK-COUNT-3: qtx.kernel
// CHECK-NOT: pipelined
// CHECK: return
module attributes {llvm.target = #avx512} {
  func.func @pipelined(%x: tensor<1x2x?x64xi8>, %wide: tensor<1x2x?x257xi8>)
      -> (tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>) {
    %0 = qtx.attention %x as !q, %x as !q, %x as !q scale 0.125 unnormalised probs !p
        : (tensor<1x2x?x64xi8>, tensor<1x2x?x64xi8>, tensor<1x2x?x64xi8>) -> tensor<1x2x?x64xf32>
    %1 = qtx.attention %x as !q, %x as !q, %x as !q causal scale 0.125 unnormalised probs !p
        : (tensor<1x2x?x64xi8>, tensor<1x2x?x64xi8>, tensor<1x2x?x64xi8>) -> tensor<1x2x?x64xf32>
    %2 = qtx.attention %x as !q, %x as !q, %x as !q scale 0.125 soft_cap 30.0 unnormalised probs !p
        : (tensor<1x2x?x64xi8>, tensor<1x2x?x64xi8>, tensor<1x2x?x64xi8>) -> tensor<1x2x?x64xf32>
    %3 = qtx.attention %wide as !q, %wide as !q, %x as !q scale 0.125 unnormalised probs !p
        : (tensor<1x2x?x257xi8>, tensor<1x2x?x257xi8>, tensor<1x2x?x64xi8>) -> tensor<1x2x?x64xf32>
    return %0, %1, %2, %3 : tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>, tensor<1x2x?x64xf32>
  }
}
