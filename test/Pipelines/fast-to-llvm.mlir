// RUN: qtx-opt %s --qtx-fast-to-llvm --split-input-file | FileCheck %s

// Nothing but the LLVM dialect is left.
// CHECK-NOT: {{(qtx|linalg|tensor|memref|arith|math|scf|vector|func|cf|ub|builtin.unrealized_conversion_cast)\.}}
// CHECK: llvm.func @_mlir_ciface_main
// CHECK: llvm.intr.fma({{.*}}) : (vector<16xf32>, vector<16xf32>, vector<16xf32>) -> vector<16xf32>
module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64-v4", features = <["+avx512f"]>>} {
  func.func @main(%x: tensor<?x8xf32>) -> tensor<?x4xf32> {
    %w = arith.constant dense<0.5> : tensor<4x8xf32>
    %y = qtx.linear %x, %w activation gelu : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

// Tile registers take 32 rows and 64 channels at once, dot products the rest.
// CHECK: llvm.call_intrinsic "llvm.x86.tileloadd64.internal"
// CHECK: llvm.call_intrinsic "llvm.x86.tdpbusd.internal"
// CHECK: llvm.call_intrinsic "llvm.x86.tilestored64.internal"
// CHECK: llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"
module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "sapphirerapids", features = <["+avx512bw", "+avx512vnni", "+amx-tile", "+amx-int8"]>>} {
  func.func @main(%x: tensor<?x70xi8>) -> tensor<?x4xf32> {
    %w = arith.constant dense<5> : tensor<4x70xi8>
    %s = arith.constant dense<0.5> : tensor<1xf32>
    %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) : (tensor<?x70xi8>, tensor<4x70xi8>, tensor<1xf32>) -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}
