// RUN: not qtx-opt %s --qtx-verify-stage=stage=configure 2>&1 | FileCheck %s --check-prefix=CONFIGURE
// RUN: not qtx-opt %s --qtx-verify-stage=stage=pack 2>&1 | FileCheck %s --check-prefix=PACK
// RUN: not qtx-opt %s --qtx-verify-stage=stage=tile 2>&1 | FileCheck %s --check-prefix=TILE
// RUN: not qtx-opt %s --qtx-verify-stage=stage=vector 2>&1 | FileCheck %s --check-prefix=VECTOR

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64-v3", features = <["+avx2", "+fma"]>>} {
  // CONFIGURE: 'qtx.linear' op cannot leave stage 'configure': expected a micro-kernel that the target runs, found 'x86-avx512-fma'
  // CONFIGURE: 'qtx.linear' op cannot leave stage 'configure': expected a micro-kernel that the target runs, found 'none'
  // CONFIGURE: 'qtx.linear' op cannot leave stage 'configure': expected a micro-kernel: nothing keeps the target from it
  // CONFIGURE-NOT: error
  // PACK: 'qtx.linear' op cannot leave stage 'pack': expected the kernel that it is configured for
  // TILE: 'qtx.linear' op cannot leave stage 'tile': expected a kernel or rows
  func.func @configured(%x: tensor<?x8xf32>, %w: tensor<8x8xf32>) {
    %0 = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"x86-avx512-fma", rows = 1, vectors = 1, block = 1>} : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
    %1 = qtx.linear %0, %w {qtx.config = #qtx.micro_kernel<"none", rows = 1, vectors = 1, block = 1>} : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
    %2 = qtx.linear %1, %w {qtx.config = #qtx.micro_kernel<"x86-avx2-fma", rows = 1, vectors = 1, block = 1>} : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
    return
  }

  func.func @forgotten(%x: tensor<?x8xf32>, %w: tensor<8x8xf32>) {
    %c = arith.constant dense<1.0> : tensor<8x8xf32>
    %0 = qtx.linear %x, %c : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
    // The weight is not a constant.
    %1 = qtx.linear %0, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
    return
  }

  // PACK: 'qtx.kernel' op cannot leave stage 'pack': expected a packed weight that is constant
  // PACK-NOT: 'qtx.kernel'
  // TILE-NOT: 'qtx.kernel'
  func.func @packed(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>, %w: tensor<1x8x8xf32>) {
    %c = arith.constant dense<1.0> : tensor<1x8x8xf32>
    %0 = qtx.kernel "qtx.linear"(%x, %w) outs(%y) {operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>} : (tensor<?x8xf32>, tensor<1x8x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
    %1 = qtx.kernel "qtx.linear"(%x, %c) outs(%y) {operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>} : (tensor<?x8xf32>, tensor<1x8x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
    return
  }

  // VECTOR: 'memref.alloc' op cannot leave stage 'vector': expected a place in the workspace
  // VECTOR: 'memref.dealloc' op cannot leave stage 'vector': expected a place in the workspace
  func.func @allocated() {
    %0 = memref.alloc() : memref<8xf32>
    memref.dealloc %0 : memref<8xf32>
    return
  }
}
