// RUN: qtx-opt %s -split-input-file -verify-diagnostics

func.func @too_few(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{expected at least 2 inputs of 'Add', found 1}}
  %y = onnx.node "Add"(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func @absent(%x: tensor<4xf32>) -> tensor<4xf32> {
  %none = onnx.none : none
  // expected-error @below {{expected input 1 of 'Add', found none}}
  %y = onnx.node "Add"(%x, %none) : (tensor<4xf32>, none) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

func.func @no_output(%x: tensor<4xf32>) {
  // expected-error @below {{expected an output of 'Relu'}}
  onnx.node "Relu"(%x) : (tensor<4xf32>) -> ()
  return
}

// -----

func.func @no_sizes(%x: tensor<?xf32>) {
  // expected-error @below {{expected tensors that say all sizes, found 'tensor<?xf32>'}}
  %y = onnx.node "Relu"(%x) : (tensor<?xf32>) -> tensor<?xf32>
  return
}

// -----

func.func @no_rank(%x: tensor<*xf32>) {
  // expected-error @below {{expected tensors that say all sizes, found 'tensor<*xf32>'}}
  %y = onnx.node "Relu"(%x) : (tensor<*xf32>) -> tensor<*xf32>
  return
}

// -----

func.func @other_sizes(%x: tensor<?x4xf32, affine_map<()[s0] -> (s0, 5)>>) {
  // expected-error @below {{expected tensors that say all sizes}}
  %y = onnx.node "Relu"(%x) : (tensor<?x4xf32, affine_map<()[s0] -> (s0, 5)>>) -> tensor<4xf32>
  return
}
