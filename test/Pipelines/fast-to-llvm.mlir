// RUN: qtx-opt %s --qtx-fast-to-llvm | FileCheck %s

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
