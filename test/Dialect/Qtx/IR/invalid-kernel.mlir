// RUN: qtx-opt %s --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" --verify-diagnostics

func.func @strided(%x: tensor<4x2xf32>, %to: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %s = tensor.extract_slice %to[0, 0] [4, 2] [1, 4] : tensor<4x8xf32> to tensor<4x2xf32>
  // expected-error @+2 {{expected destinations with a dense last dimension}}
  // expected-error @+1 {{failed to bufferize op}}
  %y = qtx.kernel "qtx.gelu"(%x) outs(%s) {} : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  %z = tensor.insert_slice %y into %to[0, 0] [4, 2] [1, 4] : tensor<4x2xf32> into tensor<4x8xf32>
  return %z : tensor<4x8xf32>
}
