// RUN: qtx-opt %s --qtx-verify-stage=stage=import --split-input-file --verify-diagnostics

func.func @fine(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = qtx.gelu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

func.func @node(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{'onnx.node' op cannot leave stage 'import': expected an operation of qtx or on tensors}}
  %y = onnx.node "Sin"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

#dims = affine_map<()[s0] -> (s0)>

// expected-error@+1 {{'func.func' op cannot leave stage 'import': expected ranked tensors without an encoding, found (tensor<?xf32, affine_map<()[s0] -> (s0)>>) -> ()}}
func.func private @encoded(%x: tensor<?xf32, #dims>)
