// Keeps what the script finds interesting, and drops the operation beside it. The
// interesting operation must have a use: MLIR's reducer crashes when its own cleaning
// up removes it.
// RUN: qtx-reduce %s --reduction-tree='traversal-mode=0 test=%S/Inputs/has-dequantize.sh' | FileCheck %s

// CHECK-NOT: func @g(
// CHECK-LABEL: func @f(
// CHECK-NEXT: qtx.dequantize
// CHECK-NEXT: return
// CHECK-NOT: func @g(
func.func @f(%x: tensor<4xf32>, %q: tensor<4xi8>) -> tensor<4xf32> {
  %a = qtx.quantize %x to !quant.uniform<i8:f32, 0.5> : tensor<4xf32> -> tensor<4xi8>
  %b = qtx.dequantize %q as !quant.uniform<i8:f32, 0.5> : tensor<4xi8> -> tensor<4xf32>
  return %b : tensor<4xf32>
}
func.func @g(%x: tensor<4xf32>) -> tensor<4xi8> {
  %a = qtx.quantize %x to !quant.uniform<i8:f32, 0.5> : tensor<4xf32> -> tensor<4xi8>
  return %a : tensor<4xi8>
}
