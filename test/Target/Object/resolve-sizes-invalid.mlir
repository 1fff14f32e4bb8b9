// RUN: qtx-opt %s --qtx-resolve-sizes --verify-diagnostics

func.func @dim(%x: tensor<?x4xf32>) -> index {
  %c7 = arith.constant 7 : index
  %y = qtx.silu %x : (tensor<?x4xf32>) -> tensor<?x4xf32>
  // expected-error @+1 {{expected a dimension below 2, found 7}}
  %d = tensor.dim %y, %c7 : tensor<?x4xf32>
  return %d : index
}
