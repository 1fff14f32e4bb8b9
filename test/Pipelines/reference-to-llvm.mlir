// RUN: qtx-opt %s --qtx-reference-to-llvm | FileCheck %s

// Nothing but the LLVM dialect is left.
// CHECK-NOT: {{(qtx|linalg|tensor|memref|arith|math|scf|func|cf|ub|builtin.unrealized_conversion_cast)\.}}
// CHECK: llvm.func @_mlir_ciface_main
func.func @main(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>) -> tensor<?x4xi8> {
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>, %w scale(%s) activation relu
      to !quant.uniform<i8:f32, 0.1:-128>
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x4xi8>
  return %y : tensor<?x4xi8>
}
