// RUN: not qtx-opt %s --qtx-verify-stage=stage=storage 2>&1 | FileCheck %s --check-prefix=STORAGE
// RUN: not qtx-opt %s --qtx-verify-stage=stage=bufferize 2>&1 | FileCheck %s --check-prefix=BUFFERIZE
// RUN: not qtx-opt %s --qtx-verify-stage=stage=vector 2>&1 | FileCheck %s --check-prefix=VECTOR
// RUN: not qtx-opt %s --qtx-verify-stage=stage=link 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: qtx-opt %s --qtx-reference-to-llvm --qtx-verify-stage=stage=object

// STORAGE: 'qtx.quantize' op cannot leave stage 'storage': expected no quantized element type, found
// BUFFERIZE: 'qtx.gelu' op cannot leave stage 'bufferize': expected a kernel or rows
// BUFFERIZE: 'func.func' op cannot leave stage 'bufferize': expected no tensor, found (tensor<8xf32>) -> tensor<8xf32>
// VECTOR: 'qtx.gelu' op cannot leave stage 'vector': expected no operation of qtx
// UNKNOWN: error: expected a stage (import, calibrate, quantize, fold, fuse, storage, configure, pack, tile, bufferize, vector, object), found 'link'
func.func @main(%x: tensor<8xf32>) -> tensor<8xf32> {
  %y = qtx.gelu %x : (tensor<8xf32>) -> tensor<8xf32>
  %q = qtx.quantize %y : tensor<8xf32> -> tensor<8x!quant.uniform<i8:f32, 0.5>>
  %z = qtx.dequantize %q : tensor<8x!quant.uniform<i8:f32, 0.5>> -> tensor<8xf32>
  return %z : tensor<8xf32>
}
