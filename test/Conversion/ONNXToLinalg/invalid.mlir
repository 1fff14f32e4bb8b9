// RUN: qtx-opt %s --convert-onnx-to-linalg --split-input-file --verify-diagnostics

// expected-error-re@+1 {{unsupported operators:{{.*}}Blur (first, fourth){{.*}}my::Add (second){{.*}}Slice: 'axes', 'steps' and 'starts' do not match (third){{.*}}my::Loop: it loops (fifth)}}
func.func @leftovers(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = onnx.node "Blur"(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("first")
  %1 = onnx.node "Relu"(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = onnx.node "Add" domain "my"(%1) : (tensor<4xf32>) -> tensor<4xf32> loc("second")
  %3 = onnx.node "Slice"(%2) : (tensor<4xf32>) -> tensor<4xf32> loc("third")
  %4 = onnx.node "Blur"(%3) : (tensor<4xf32>) -> tensor<4xf32> loc("fourth")
  %5 = onnx.unsupported "Loop" domain "my" because "it loops"() : () -> tensor<4xf32> loc("fifth")
  %6 = onnx.node "Add"(%4, %5) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %6 : tensor<4xf32>
}

// -----

// expected-error-re@+1 {{unsupported operators:{{.*}}Relu: a size that no value has (y)}}
func.func @unknown(%x: tensor<4xf32>) -> tensor<?xf32, affine_map<()[s0] -> (s0)>> {
  %0 = onnx.node "Relu"(%x) : (tensor<4xf32>) -> tensor<?xf32, affine_map<()[s0] -> (s0)>> loc("y")
  return %0 : tensor<?xf32, affine_map<()[s0] -> (s0)>>
}

// -----

// expected-error-re@+1 {{unsupported operators:{{.*}}Relu: elements that are not computed with (y)}}
func.func @elements(%x: tensor<4xf8E4M3FN>) -> tensor<4xf8E4M3FN> {
  %0 = onnx.node "Relu"(%x) : (tensor<4xf8E4M3FN>) -> tensor<4xf8E4M3FN> loc("y")
  return %0 : tensor<4xf8E4M3FN>
}

// -----

!x = tensor<1x1x2x?xf32, affine_map<()[s0] -> (1, 1, 2, s0)>>

// expected-error-re@+1 {{unsupported operators:{{.*}}Attention: heads of dynamic size (y)}}
func.func @heads(%x: !x) -> !x {
  %0 = onnx.node "Attention"(%x, %x, %x) : (!x, !x, !x) -> !x loc("y")
  return %0 : !x
}

// -----

// expected-error-re@+1 {{unsupported operators:{{.*}}Resize: 'axes', 'scales' and 'roi' do not match (y)}}
func.func @resize(%x: tensor<4x5xf32>) -> tensor<4x9xf32> {
  %0 = onnx.node "Resize"(%x) attributes {axes = [1 : si64], roi = [0.0 : f32]} : (tensor<4x5xf32>) -> tensor<4x9xf32> loc("y")
  return %0 : tensor<4x9xf32>
}

// -----

// expected-error-re@+1 {{unsupported operators:{{.*}}Resize: 'axes', 'scales' and 'roi' do not match (y)}}
func.func @resize_to_other_rank(%x: tensor<4x5xf32>) -> tensor<1x4x9xf32> {
  %0 = onnx.node "Resize"(%x) attributes {axes = [1 : si64]} : (tensor<4x5xf32>) -> tensor<1x4x9xf32> loc("y")
  return %0 : tensor<1x4x9xf32>
}

// -----

!x = tensor<?x5xf32, affine_map<()[s0] -> (s0, 5)>>

// How wide the kernel is follows from the sizes.
// expected-error-re@+1 {{unsupported operators:{{.*}}Resize: 'antialias' of a dynamic size (y)}}
func.func @antialias(%x: !x) -> tensor<4x5xf32> {
  %0 = onnx.node "Resize"(%x) attributes {axes = [-2 : si64], mode = "linear", antialias = 1 : si64} : (!x) -> tensor<4x5xf32> loc("y")
  return %0 : tensor<4x5xf32>
}

// -----

// expected-error-re@+1 {{unsupported operators:{{.*}}Resize: interpolation of integers (y)}}
func.func @integers(%x: tensor<4x5xi8>) -> tensor<4x9xi8> {
  %0 = onnx.node "Resize"(%x) attributes {axes = [1 : si64], mode = "linear"} : (tensor<4x5xi8>) -> tensor<4x9xi8> loc("y")
  return %0 : tensor<4x9xi8>
}
