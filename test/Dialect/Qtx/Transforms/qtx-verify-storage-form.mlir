// RUN: qtx-opt %s -split-input-file -qtx-verify-storage-form -verify-diagnostics

func.func @storage(%x: tensor<4xi8>) -> tensor<4xf32> {
  %y = qtx.dequantize %x as !quant.uniform<i8:f32, 0.5> : tensor<4xi8> -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

!u = !quant.uniform<i8:f32, 0.5>

// expected-error @+1 {{'func.func' op is not in storage form: found '(tensor<4x!quant.uniform<i8:f32, 5.000000e-01>>) -> ()'}}
func.func private @argument(tensor<4x!u>)

// -----

!u = !quant.uniform<i8:f32, 0.5>

func.func @result(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @+1 {{'qtx.quantize' op is not in storage form: found 'tensor<4x!quant.uniform<i8:f32, 5.000000e-01>>'}}
  %q = qtx.quantize %x : tensor<4xf32> -> tensor<4x!u>
  // expected-error @+1 {{'qtx.dequantize' op is not in storage form: found 'tensor<4x!quant.uniform<i8:f32, 5.000000e-01>>'}}
  %y = qtx.dequantize %q : tensor<4x!u> -> tensor<4xf32>
  return %y : tensor<4xf32>
}
