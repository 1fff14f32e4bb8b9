// RUN: qtx-opt %s --convert-onnx-to-linalg --split-input-file --verify-diagnostics

// expected-error@+1 {{cannot lower 3 ONNX nodes: Blur 'first'; my.Add 'second'; Slice 'third' ('axes', 'steps' and 'starts' do not match)}}
func.func @leftovers(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = onnx.node "Blur"(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("first")
  %1 = onnx.node "Relu"(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = onnx.node "Add" domain "my"(%1) : (tensor<4xf32>) -> tensor<4xf32> loc("second")
  %3 = onnx.node "Slice"(%2) : (tensor<4xf32>) -> tensor<4xf32> loc("third")
  return %3 : tensor<4xf32>
}

// -----

// expected-error@+1 {{cannot lower 1 ONNX nodes: Relu 'y' (a size that no value has)}}
func.func @unknown(%x: tensor<4xf32>) -> tensor<?xf32, affine_map<()[s0] -> (s0)>> {
  %0 = onnx.node "Relu"(%x) : (tensor<4xf32>) -> tensor<?xf32, affine_map<()[s0] -> (s0)>> loc("y")
  return %0 : tensor<?xf32, affine_map<()[s0] -> (s0)>>
}

// -----

// expected-error@+1 {{cannot lower 1 ONNX nodes: Relu 'y' (elements that are not computed with)}}
func.func @elements(%x: tensor<4xf8E4M3FN>) -> tensor<4xf8E4M3FN> {
  %0 = onnx.node "Relu"(%x) : (tensor<4xf8E4M3FN>) -> tensor<4xf8E4M3FN> loc("y")
  return %0 : tensor<4xf8E4M3FN>
}

// -----

!x = tensor<1x1x2x?xf32, affine_map<()[s0] -> (1, 1, 2, s0)>>

// expected-error@+1 {{cannot lower 1 ONNX nodes: Attention 'y' (heads of dynamic size)}}
func.func @heads(%x: !x) -> !x {
  %0 = onnx.node "Attention"(%x, %x, %x) : (!x, !x, !x) -> !x loc("y")
  return %0 : !x
}
