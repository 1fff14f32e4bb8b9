// RUN: qtx-opt %s --convert-qtx-to-linalg --verify-diagnostics --split-input-file

// The lowering takes the storage form only.
func.func @quantized_form(%x: tensor<4xf32>) -> tensor<4x!quant.uniform<i8:f32, 0.5>> {
  // expected-error@+1 {{'qtx.quantize' op requires the storage form; run 'qtx-to-storage' first}}
  %q = qtx.quantize %x : tensor<4xf32> -> tensor<4x!quant.uniform<i8:f32, 0.5>>
  return %q : tensor<4x!quant.uniform<i8:f32, 0.5>>
}
