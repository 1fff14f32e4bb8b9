// RUN: qtx-opt %s -qtx-configure -split-input-file | FileCheck %s

// What the cost model decides for CPUs that differ in caches and ports.

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "znver4", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>} {
// CHECK-LABEL: func.func @zen4_square
// Whole panels of three vectors; all rows fit half of 1 MiB.
// CHECK: rows = 8, vectors = 3, block = 512>
func.func @zen4_square(%x: tensor<?x384xi8>) -> tensor<?x384xf32> {
  %w = arith.constant dense<1> : tensor<384x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<384x384xi8>, tensor<1xf32>) -> tensor<?x384xf32>
  return %y : tensor<?x384xf32>
}

// CHECK-LABEL: func.func @zen4_long
// 3 KiB of a row: 170 rows fit half of 1 MiB.
// CHECK: rows = 8, vectors = 3, block = 168>
func.func @zen4_long(%x: tensor<?x3072xi8>) -> tensor<?x768xf32> {
  %w = arith.constant dense<1> : tensor<768x3072xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x3072xi8>, tensor<768x3072xi8>, tensor<1xf32>) -> tensor<?x768xf32>
  return %y : tensor<?x768xf32>
}

// CHECK-LABEL: func.func @zen4_tail
// Vectors run in halves, one dot product in a cycle: a narrow last panel costs nothing.
// CHECK: rows = 8, vectors = 3,
func.func @zen4_tail(%x: tensor<?x384xi8>) -> tensor<?x64xf32> {
  %w = arith.constant dense<1> : tensor<64x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<64x384xi8>, tensor<1xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "sapphirerapids", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>} {
// CHECK-LABEL: func.func @sapphire_square
// CHECK: rows = 8, vectors = 3, block = 512>
func.func @sapphire_square(%x: tensor<?x384xi8>) -> tensor<?x384xf32> {
  %w = arith.constant dense<1> : tensor<384x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<384x384xi8>, tensor<1xf32>) -> tensor<?x384xf32>
  return %y : tensor<?x384xf32>
}

// CHECK-LABEL: func.func @sapphire_long
// Twice the cache, twice the rows.
// CHECK: rows = 8, vectors = 3, block = 336>
func.func @sapphire_long(%x: tensor<?x3072xi8>) -> tensor<?x768xf32> {
  %w = arith.constant dense<1> : tensor<768x3072xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x3072xi8>, tensor<768x3072xi8>, tensor<1xf32>) -> tensor<?x768xf32>
  return %y : tensor<?x768xf32>
}

// CHECK-LABEL: func.func @sapphire_tail
// Four vectors: panels of three and one would leave the one waiting for loads.
// CHECK: rows = 12, vectors = 2, block = 504>
func.func @sapphire_tail(%x: tensor<?x384xi8>) -> tensor<?x64xf32> {
  %w = arith.constant dense<1> : tensor<64x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<64x384xi8>, tensor<1xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func.func @sapphire_narrow
// CHECK: rows = 16, vectors = 1,
func.func @sapphire_narrow(%x: tensor<?x384xi8>) -> tensor<?x16xf32> {
  %w = arith.constant dense<1> : tensor<16x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<16x384xi8>, tensor<1xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "sapphirerapids", features = <["+avx512f", "+avx512bw", "+avx512vnni", "+amx-tile", "+amx-int8"]>>} {
// CHECK-LABEL: func.func @amx_square
// Rows of a tile and all weights stay in the first and second cache.
// CHECK: "x86-amx-int8", rows = 8, vectors = 2, block = 32>
func.func @amx_square(%x: tensor<?x384xi8>) -> tensor<?x384xf32> {
  %w = arith.constant dense<1> : tensor<384x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<384x384xi8>, tensor<1xf32>) -> tensor<?x384xf32>
  return %y : tensor<?x384xf32>
}

// CHECK-LABEL: func.func @amx_wide
// 2.25 MiB of weights do not stay: a fifth of them meets all rows before the next.
// CHECK: rows = 8, vectors = 2, block = 32, panels = 20>
func.func @amx_wide(%x: tensor<?x768xi8>) -> tensor<?x3072xf32> {
  %w = arith.constant dense<1> : tensor<3072x768xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x768xi8>, tensor<3072x768xi8>, tensor<1xf32>) -> tensor<?x3072xf32>
  return %y : tensor<?x3072xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "haswell", features = <["+avx2"]>>} {
// CHECK-LABEL: func.func @haswell_square
// Elements of 16 bits: 170 rows of 768 bytes fit half of 256 KiB.
// CHECK: rows = 6, vectors = 2, block = 168>
func.func @haswell_square(%x: tensor<?x384xi8>) -> tensor<?x384xf32> {
  %w = arith.constant dense<100> : tensor<384x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<384x384xi8>, tensor<1xf32>) -> tensor<?x384xf32>
  return %y : tensor<?x384xf32>
}

// Small weights are multiplied as bytes.
// CHECK-LABEL: func.func @haswell_short_sums
// CHECK: "x86-avx2-int8", rows = 4, vectors = 2, block = 340>
func.func @haswell_short_sums(%x: tensor<?x384xi8>) -> tensor<?x384xf32> {
  %w = arith.constant dense<32> : tensor<384x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<384x384xi8>, tensor<1xf32>) -> tensor<?x384xf32>
  return %y : tensor<?x384xf32>
}

// CHECK-LABEL: func.func @haswell_long
// CHECK: rows = 6, vectors = 2, block = 18>
func.func @haswell_long(%x: tensor<?x3072xi8>) -> tensor<?x768xf32> {
  %w = arith.constant dense<100> : tensor<768x3072xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x3072xi8>, tensor<768x3072xi8>, tensor<1xf32>) -> tensor<?x768xf32>
  return %y : tensor<?x768xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "no-such-cpu", features = <["+avx2"]>>} {
// CHECK-LABEL: func.func @unknown
// The least that has such features.
// CHECK: rows = 6, vectors = 2, block = 168>
func.func @unknown(%x: tensor<?x384xi8>) -> tensor<?x384xf32> {
  %w = arith.constant dense<100> : tensor<384x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<384x384xi8>, tensor<1xf32>) -> tensor<?x384xf32>
  return %y : tensor<?x384xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "alderlake", features = <["+avx2", "+avxvnni"]>>} {
// CHECK-LABEL: func.func @alder_tail
// Three vectors: two and one would leave the one waiting for its sums.
// CHECK: "x86-avx-vnni", rows = 12, vectors = 1, block = 504>
func.func @alder_tail(%x: tensor<?x384xi8>) -> tensor<?x24xf32> {
  %w = arith.constant dense<1> : tensor<24x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<24x384xi8>, tensor<1xf32>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// CHECK-LABEL: func.func @alder_square
// CHECK: rows = 6, vectors = 2, block = 510>
func.func @alder_square(%x: tensor<?x384xi8>) -> tensor<?x384xf32> {
  %w = arith.constant dense<1> : tensor<384x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<384x384xi8>, tensor<1xf32>) -> tensor<?x384xf32>
  return %y : tensor<?x384xf32>
}
}

// -----

module attributes {qtx.threads = 2 : i64, llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "znver4", features = <["+avx512f", "+avx512bw", "+avx512vnni"]>>} {
// CHECK-LABEL: func.func @zen4_shared
// 576 KiB of weights pass through both cores.
// CHECK: qtx.partition = {row_split = 64 : i64, threads = 2 : i64}
func.func @zen4_shared(%x: tensor<?x384xi8>) -> tensor<?x1536xf32> {
  %w = arith.constant dense<1> : tensor<1536x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<1536x384xi8>, tensor<1xf32>) -> tensor<?x1536xf32>
  return %y : tensor<?x1536xf32>
}

// CHECK-LABEL: func.func @zen4_divided
// 1.7 MiB do not fit beside the rows: each core has a part of them.
// CHECK: qtx.partition = {row_split = 2304 : i64, threads = 2 : i64}
func.func @zen4_divided(%x: tensor<?x768xi8>) -> tensor<?x2304xf32> {
  %w = arith.constant dense<1> : tensor<2304x768xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x768xi8>, tensor<2304x768xi8>, tensor<1xf32>) -> tensor<?x2304xf32>
  return %y : tensor<?x2304xf32>
}
}

// -----

module attributes {qtx.threads = 2 : i64, llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "haswell", features = <["+avx2"]>>} {
// CHECK-LABEL: func.func @haswell_divided
// Weights of 288 KiB do not stay in one core.
// CHECK: qtx.partition = {row_split = 768 : i64, threads = 2 : i64}
func.func @haswell_divided(%x: tensor<?x384xi8>) -> tensor<?x768xf32> {
  %w = arith.constant dense<1> : tensor<768x384xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x384xi8>, tensor<768x384xi8>, tensor<1xf32>) -> tensor<?x768xf32>
  return %y : tensor<?x768xf32>
}
}
