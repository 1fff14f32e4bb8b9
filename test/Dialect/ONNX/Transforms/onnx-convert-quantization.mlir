// RUN: qtx-opt %s -split-input-file -onnx-convert-quantization | FileCheck %s
// RUN: qtx-opt %s -split-input-file -onnx-convert-quantization --remark-format=emitRemark --remarks-filter="onnx-convert-quantization.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

#x = affine_map<()[s0] -> (s0, 2)>
#y = affine_map<()[s0] -> (s0, 3)>

// Codes without sign move down by 128, weights keep one scale per output.
// REMARK: Remark="kept the model's scale"
// REMARK: Remark="found qtx.linear on codes"
// CHECK-LABEL: func @layer
func.func @layer(%x: tensor<?x2xf32, #x>) -> tensor<?x3xf32, #y> {
  // CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[1, 4], [2, 5], [3, -6]]> : tensor<3x2xi8>
  // CHECK-DAG: %[[S:.*]] = arith.constant dense<[2.500000e-01, 5.000000e-01, 1.000000e+00]> : tensor<3xf32>
  // CHECK-DAG: %[[B:.*]] = arith.constant dense<[1.000000e+00, 2.000000e+00, -3.000000e+00]> : tensor<3xf32>
  // CHECK-DAG: %[[X:.*]] = builtin.unrealized_conversion_cast %arg0
  // CHECK-DAG: %[[Q:.*]] = qtx.quantize %[[X]] : tensor<?x2xf32> -> tensor<?x2x!quant.uniform<i8:f32, 5.000000e-01:2>>
  // CHECK: %[[Y:.*]] = qtx.linear %[[Q]], %[[W]] scale(%[[S]]) bias(%[[B]])
  // CHECK: builtin.unrealized_conversion_cast %[[Y]] : tensor<?x3xf32> to tensor<?x3xf32, #
  // CHECK-NOT: onnx.node
  %s = arith.constant dense<0.5> : tensor<f32>
  %z = arith.constant dense<130> : tensor<ui8>
  %w = arith.constant dense<[[1, 2, 3], [4, 5, -6]]> : tensor<2x3xi8>
  %ws = arith.constant dense<[0.25, 0.5, 1.0]> : tensor<3xf32>
  %wz = arith.constant dense<0> : tensor<3xi8>
  %b = arith.constant dense<[2, 4, -6]> : tensor<3xi32>
  %0 = onnx.node "QuantizeLinear"(%x, %s, %z) : (tensor<?x2xf32, #x>, tensor<f32>, tensor<ui8>) -> tensor<?x2xui8, #x>
  %1 = onnx.node "DequantizeLinear"(%0, %s, %z) : (tensor<?x2xui8, #x>, tensor<f32>, tensor<ui8>) -> tensor<?x2xf32, #x>
  %2 = onnx.node "DequantizeLinear"(%w, %ws, %wz) attributes {axis = 1 : si64} : (tensor<2x3xi8>, tensor<3xf32>, tensor<3xi8>) -> tensor<2x3xf32>
  %3 = onnx.node "MatMul"(%1, %2) : (tensor<?x2xf32, #x>, tensor<2x3xf32>) -> tensor<?x3xf32, #y>
  %4 = onnx.node "DequantizeLinear"(%b, %s) : (tensor<3xi32>, tensor<f32>) -> tensor<3xf32>
  %5 = onnx.node "Add"(%3, %4) : (tensor<?x3xf32, #y>, tensor<3xf32>) -> tensor<?x3xf32, #y>
  return %5 : tensor<?x3xf32, #y>
}

// -----

// Weights only; codes without sign around 128, transposed by the product.
// REMARK: Remark="found qtx.linear with the model's weight codes"
// CHECK-LABEL: func @weights_only
func.func @weights_only(%x: tensor<4x2xf32>) -> tensor<4x3xf32> {
  // CHECK: %[[W:.*]] = arith.constant dense<{{\[}}[-128, 0], [127, 1], [-1, 2]]> : tensor<3x2xi8>
  // CHECK: qtx.linear %arg0, %[[W]] scale(%{{.*}}) : (tensor<4x2xf32>, tensor<3x2xi8>, tensor<1xf32>) -> tensor<4x3xf32>
  %w = arith.constant dense<[[0, 128], [255, 129], [127, 130]]> : tensor<3x2xui8>
  %s = arith.constant dense<0.5> : tensor<f32>
  %z = arith.constant dense<128> : tensor<ui8>
  %0 = onnx.node "DequantizeLinear"(%w, %s, %z) : (tensor<3x2xui8>, tensor<f32>, tensor<ui8>) -> tensor<3x2xf32>
  %1 = onnx.node "Gemm"(%x, %0) attributes {transB = 1 : si64} : (tensor<4x2xf32>, tensor<3x2xf32>) -> tensor<4x3xf32>
  return %1 : tensor<4x3xf32>
}

// -----

// Blocks along the contracted axis, the last one smaller.
// CHECK-LABEL: func @blocks
func.func @blocks(%x: tensor<4x3xf32>) -> tensor<4x2xf32> {
  // CHECK-DAG: %[[W:.*]] = arith.constant dense<{{\[}}[1, 3, 5], [2, -4, -8]]> : tensor<2x3xi4>
  // CHECK-DAG: %[[S:.*]] = arith.constant dense<{{\[}}[1.000000e+00, 3.000000e+00], [2.000000e+00, 4.000000e+00]]> : tensor<2x2xf32>
  // CHECK: qtx.linear %arg0, %[[W]] scale(%[[S]]) block 2
  %w = arith.constant dense<[[1, 2], [3, -4], [5, -8]]> : tensor<3x2xi4>
  %s = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = onnx.node "DequantizeLinear"(%w, %s) attributes {axis = 0 : si64, block_size = 2 : si64} : (tensor<3x2xi4>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %1 = onnx.node "MatMul"(%x, %0) : (tensor<4x3xf32>, tensor<3x2xf32>) -> tensor<4x2xf32>
  return %1 : tensor<4x2xf32>
}

// -----

// A byte holds two codes, the first one in the low bits; 8 is zero.
// CHECK-LABEL: func @packed
func.func @packed(%x: tensor<4x16xf32>) -> tensor<4x1xf32> {
  // CHECK-DAG: arith.constant dense<{{\[}}[-7, -6, -8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]> : tensor<1x16xi4>
  // CHECK-DAG: arith.constant dense<5.000000e-01> : tensor<1x1xf32>
  // CHECK: qtx.linear %arg0, %{{.*}} scale(%{{.*}}) block 16
  %w = arith.constant dense<[[[33, 240, 136, 136, 136, 136, 136, 136]]]> : tensor<1x1x8xui8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %0 = onnx.node "MatMulNBits" domain "com.microsoft"(%x, %w, %s) attributes {K = 16 : si64, N = 1 : si64, bits = 4 : si64, block_size = 16 : si64} : (tensor<4x16xf32>, tensor<1x1x8xui8>, tensor<1xf32>) -> tensor<4x1xf32>
  return %0 : tensor<4x1xf32>
}

// -----

// What is no weight of a layer is decoded, and so is one whose codes need more than 8 bits.
// REMARK: Reason="decoded a constant that is no weight of a layer
// CHECK-LABEL: func @decoded
func.func @decoded(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  // CHECK: %[[W:.*]] = arith.constant dense<{{\[}}[5.000000e-01, 4.000000e+00], [1.500000e+00, 8.000000e+00]]> : tensor<2x2xf32>
  // CHECK: onnx.node "Einsum"(%{{.*}}, %[[W]])
  %w = arith.constant dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>
  %s = arith.constant dense<[0.5, 2.0]> : tensor<2xf32>
  %z = arith.constant dense<[0, 0]> : tensor<2xi8>
  %z1 = arith.constant dense<[-126, 1]> : tensor<2xi8>
  %0 = onnx.node "DequantizeLinear"(%w, %s, %z) attributes {axis = 1 : si64} : (tensor<2x2xi8>, tensor<2xf32>, tensor<2xi8>) -> tensor<2x2xf32>
  %1 = onnx.node "Mul"(%x, %x) : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  %2 = onnx.node "Einsum"(%1, %0) attributes {equation = "ij,jk->ik"} : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  // CHECK: %[[Z:.*]] = arith.constant dense<{{\[}}[6.350000e+01, 2.000000e+00], [6.450000e+01, 6.000000e+00]]> : tensor<2x2xf32>
  // REMARK: Reason="decoded a weight whose codes do not fit 8 bits without their zero points"
  %3 = onnx.node "DequantizeLinear"(%w, %s, %z1) attributes {axis = 1 : si64} : (tensor<2x2xi8>, tensor<2xf32>, tensor<2xi8>) -> tensor<2x2xf32>
  %4 = onnx.node "MatMul"(%2, %3) : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  return %4 : tensor<4x2xf32>
}

// -----

// Zero points are part of the codes, which then have 8 bits.
// CHECK-LABEL: func @zero_points
func.func @zero_points(%x: tensor<4x2xf32>) -> tensor<4x2xf32> {
  // CHECK: %[[W:.*]] = arith.constant dense<{{\[}}[14, -1], [-8, 0]]> : tensor<2x2xi8>
  // CHECK: qtx.linear %arg0, %[[W]] scale(%{{.*}}) : (tensor<4x2xf32>, tensor<2x2xi8>, tensor<2xf32>) -> tensor<4x2xf32>
  %w = arith.constant dense<[[7, 1], [-8, 9]]> : tensor<2x2xi8>
  %s = arith.constant dense<[0.5, 2.0]> : tensor<2xf32>
  %z = arith.constant dense<[-7, 9]> : tensor<2xi8>
  %0 = onnx.node "DequantizeLinear"(%w, %s, %z) attributes {axis = 1 : si64} : (tensor<2x2xi8>, tensor<2xf32>, tensor<2xi8>) -> tensor<2x2xf32>
  %1 = onnx.node "MatMul"(%x, %0) : (tensor<4x2xf32>, tensor<2x2xf32>) -> tensor<4x2xf32>
  return %1 : tensor<4x2xf32>
}

// CHECK-LABEL: func @packed_zero_points
func.func @packed_zero_points(%x: tensor<4x16xf32>) -> tensor<4x1xf32> {
  // CHECK-DAG: arith.constant dense<{{\[}}[-2, -1, -3, 12, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]]> : tensor<1x16xi8>
  // CHECK: qtx.linear %arg0, %{{.*}} scale(%{{.*}}) block 16
  %w = arith.constant dense<[[[33, 240, 136, 136, 136, 136, 136, 136]]]> : tensor<1x1x8xui8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %z = arith.constant dense<3> : tensor<1xui8>
  %0 = onnx.node "MatMulNBits" domain "com.microsoft"(%x, %w, %s, %z) attributes {K = 16 : si64, N = 1 : si64, bits = 4 : si64, block_size = 16 : si64} : (tensor<4x16xf32>, tensor<1x1x8xui8>, tensor<1xf32>, tensor<1xui8>) -> tensor<4x1xf32>
  return %0 : tensor<4x1xf32>
}

// -----

// One scale per channel: channels that follow each other with the same one are a group,
// and the integers of the groups are summed.
// REMARK: Remark="kept the model's scales"
// CHECK-LABEL: func @channels
func.func @channels(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  // CHECK: qtx.quantize %arg0 : tensor<4x8xf32> -> tensor<4x8x!qtx.grouped<i8:f32, axis=-1, [5, 1, 2], {5.000000e-01:2, 5.000000e-01:3, 2.500000e-01:-128}>>
  %s = arith.constant dense<[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]> : tensor<8xf32>
  %z = arith.constant dense<[130, 130, 130, 130, 130, 131, 0, 0]> : tensor<8xui8>
  %0 = onnx.node "QuantizeLinear"(%x, %s, %z) attributes {axis = 1 : si64} : (tensor<4x8xf32>, tensor<8xf32>, tensor<8xui8>) -> tensor<4x8xui8>
  %1 = onnx.node "DequantizeLinear"(%0, %s, %z) attributes {axis = 1 : si64} : (tensor<4x8xui8>, tensor<8xf32>, tensor<8xui8>) -> tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}

// The same scales of blocks in all rows, the last block smaller.
// CHECK-LABEL: func @channel_blocks
func.func @channel_blocks(%x: tensor<2x5xf32>) -> tensor<2x5xf32> {
  // CHECK: qtx.quantize %arg0 : tensor<2x5xf32> -> tensor<2x5x!qtx.grouped<i8:f32, axis=-1, [2 * 2, 1], {5.000000e-01, 2.500000e-01, 1.000000e+00}>>
  %s = arith.constant dense<[[0.5, 0.25, 1.0], [0.5, 0.25, 1.0]]> : tensor<2x3xf32>
  %0 = onnx.node "QuantizeLinear"(%x, %s) attributes {axis = 1 : si64, block_size = 2 : si64} : (tensor<2x5xf32>, tensor<2x3xf32>) -> tensor<2x5xi8>
  %1 = onnx.node "DequantizeLinear"(%0, %s) attributes {axis = 1 : si64, block_size = 2 : si64} : (tensor<2x5xi8>, tensor<2x3xf32>) -> tensor<2x5xf32>
  return %1 : tensor<2x5xf32>
}

// Other ones in each row, and along another axis.
// REMARK: Reason="QuantizeLinear stays: nothing turns its codes back with constant scales along the last axis"
// CHECK-LABEL: func @rows
func.func @rows(%x: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  // CHECK-COUNT-2: onnx.node "QuantizeLinear"
  %s = arith.constant dense<[[0.5, 0.25], [0.5, 0.125]]> : tensor<2x2xf32>
  %0 = onnx.node "QuantizeLinear"(%x, %s) attributes {axis = 1 : si64, block_size = 2 : si64} : (tensor<2x4xf32>, tensor<2x2xf32>) -> tensor<2x4xi8>
  %1 = onnx.node "DequantizeLinear"(%0, %s) attributes {axis = 1 : si64, block_size = 2 : si64} : (tensor<2x4xi8>, tensor<2x2xf32>) -> tensor<2x4xf32>
  %t = arith.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %2 = onnx.node "QuantizeLinear"(%x, %t) attributes {axis = 0 : si64} : (tensor<2x4xf32>, tensor<2xf32>) -> tensor<2x4xi8>
  %3 = onnx.node "DequantizeLinear"(%2, %t) attributes {axis = 0 : si64} : (tensor<2x4xi8>, tensor<2xf32>) -> tensor<2x4xf32>
  return %1, %3 : tensor<2x4xf32>, tensor<2x4xf32>
}

// -----

#flat = affine_map<()[s0] -> (s0, 2, 3)>
#turned = affine_map<()[s0] -> (s0, 3, 2)>
#in = affine_map<()[s0] -> (s0, 6)>

// A pair moves to what computes its input.
// CHECK-LABEL: func @moved
func.func @moved(%x: tensor<?x6xf32, #in>) -> tensor<?x3x2xf32, #turned> {
  // CHECK: %[[R:.*]] = onnx.node "Relu"
  // CHECK: %[[X:.*]] = builtin.unrealized_conversion_cast %[[R]]
  // CHECK: %[[Q:.*]] = qtx.quantize %[[X]] : tensor<?x6xf32> -> tensor<?x6x!quant.uniform<i8:f32, 5.000000e-01>>
  // CHECK: %[[D:.*]] = qtx.dequantize %[[Q]]
  // CHECK: %[[B:.*]] = builtin.unrealized_conversion_cast %[[D]]
  // CHECK: %[[S:.*]] = onnx.node "Reshape"(%[[B]])
  // CHECK: onnx.node "Transpose"(%[[S]])
  %s = arith.constant dense<0.5> : tensor<f32>
  %z = arith.constant dense<0> : tensor<i8>
  %0 = onnx.node "Relu"(%x) : (tensor<?x6xf32, #in>) -> tensor<?x6xf32, #in>
  %1 = onnx.node "Reshape"(%0) : (tensor<?x6xf32, #in>) -> tensor<?x2x3xf32, #flat>
  %2 = onnx.node "Transpose"(%1) attributes {perm = [0 : si64, 2 : si64, 1 : si64]} : (tensor<?x2x3xf32, #flat>) -> tensor<?x3x2xf32, #turned>
  %3 = onnx.node "QuantizeLinear"(%2, %s, %z) : (tensor<?x3x2xf32, #turned>, tensor<f32>, tensor<i8>) -> tensor<?x3x2xi8, #turned>
  %4 = onnx.node "DequantizeLinear"(%3, %s, %z) : (tensor<?x3x2xi8, #turned>, tensor<f32>, tensor<i8>) -> tensor<?x3x2xf32, #turned>
  return %4 : tensor<?x3x2xf32, #turned>
}

// -----

// Through a factor behind a movement, with the scale that yields the same codes; a
// factor by itself may be part of an activation.
// CHECK-LABEL: func @moved_through_factors
func.func @moved_through_factors(%x: tensor<2x3xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>, tensor<2x3xf32>) {
  // CHECK: %[[R:.*]] = onnx.node "Relu"
  // CHECK: qtx.quantize %[[R]] : tensor<2x3xf32> -> tensor<2x3x!quant.uniform<i8:f32, 2.000000e+00>>
  // CHECK: onnx.node "Transpose"
  // CHECK: onnx.node "Mul"
  // CHECK: qtx.quantize %[[R]] : tensor<2x3xf32> -> tensor<2x3x!quant.uniform<i8:f32, 1.250000e-01>>
  // CHECK: onnx.node "Transpose"
  // CHECK: onnx.node "Div"
  // CHECK: %[[M:.*]] = onnx.node "Mul"(%[[R]]
  // CHECK: qtx.quantize %[[M]] : tensor<2x3xf32> -> tensor<2x3x!quant.uniform<i8:f32, 5.000000e-01>>
  %s = arith.constant dense<0.5> : tensor<f32>
  %z = arith.constant dense<0> : tensor<i8>
  %c = arith.constant dense<0.25> : tensor<f32>
  %0 = onnx.node "Relu"(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %1 = onnx.node "Transpose"(%0) attributes {perm = [1 : si64, 0 : si64]} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %2 = onnx.node "Mul"(%c, %1) : (tensor<f32>, tensor<3x2xf32>) -> tensor<3x2xf32>
  %3 = onnx.node "QuantizeLinear"(%2, %s, %z) : (tensor<3x2xf32>, tensor<f32>, tensor<i8>) -> tensor<3x2xi8>
  %4 = onnx.node "DequantizeLinear"(%3, %s, %z) : (tensor<3x2xi8>, tensor<f32>, tensor<i8>) -> tensor<3x2xf32>
  %5 = onnx.node "Transpose"(%0) attributes {perm = [1 : si64, 0 : si64]} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %6 = onnx.node "Div"(%5, %c) : (tensor<3x2xf32>, tensor<f32>) -> tensor<3x2xf32>
  %7 = onnx.node "QuantizeLinear"(%6, %s, %z) : (tensor<3x2xf32>, tensor<f32>, tensor<i8>) -> tensor<3x2xi8>
  %8 = onnx.node "DequantizeLinear"(%7, %s, %z) : (tensor<3x2xi8>, tensor<f32>, tensor<i8>) -> tensor<3x2xf32>
  %9 = onnx.node "Mul"(%0, %c) : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
  %10 = onnx.node "QuantizeLinear"(%9, %s, %z) : (tensor<2x3xf32>, tensor<f32>, tensor<i8>) -> tensor<2x3xi8>
  %11 = onnx.node "DequantizeLinear"(%10, %s, %z) : (tensor<2x3xi8>, tensor<f32>, tensor<i8>) -> tensor<2x3xf32>
  return %4, %8, %11 : tensor<3x2xf32>, tensor<3x2xf32>, tensor<2x3xf32>
}

// -----

// Codes that are read as codes, and scales that differ, stay.
// CHECK-LABEL: func @stays
func.func @stays(%x: tensor<4xf32>) -> (tensor<4xui8>, tensor<4xf32>) {
  // CHECK: onnx.node "QuantizeLinear"
  // CHECK: onnx.node "QuantizeLinear"
  // CHECK: onnx.node "DequantizeLinear"
  %s = arith.constant dense<0.5> : tensor<f32>
  %t = arith.constant dense<0.25> : tensor<f32>
  %0 = onnx.node "QuantizeLinear"(%x, %s) : (tensor<4xf32>, tensor<f32>) -> tensor<4xui8>
  %1 = onnx.node "QuantizeLinear"(%x, %t) : (tensor<4xf32>, tensor<f32>) -> tensor<4xui8>
  %2 = onnx.node "DequantizeLinear"(%1, %s) : (tensor<4xui8>, tensor<f32>) -> tensor<4xf32>
  return %0, %2 : tensor<4xui8>, tensor<4xf32>
}

// -----

// Weights of training are encoded: half to even, saturating, one scale per output.
// CHECK-LABEL: func @encoded
func.func @encoded(%x: tensor<4x2xf32>) -> tensor<4x3xf32> {
  // CHECK: %[[W:.*]] = arith.constant dense<{{\[}}[1, 127], [2, 2], [-128, -1]]> : tensor<3x2xi8>
  // CHECK: qtx.linear %arg0, %[[W]] scale(%{{.*}})
  %w = arith.constant dense<[[0.5, 1.25, -900.0], [99.0, 1.0, -1.0]]> : tensor<2x3xf32>
  %s = arith.constant dense<[0.5, 0.5, 1.0]> : tensor<3xf32>
  %z = arith.constant dense<128> : tensor<3xui8>
  %0 = onnx.node "QuantizeLinear"(%w, %s, %z) attributes {axis = 1 : si64} : (tensor<2x3xf32>, tensor<3xf32>, tensor<3xui8>) -> tensor<2x3xui8>
  %1 = onnx.node "DequantizeLinear"(%0, %s, %z) attributes {axis = 1 : si64} : (tensor<2x3xui8>, tensor<3xf32>, tensor<3xui8>) -> tensor<2x3xf32>
  %2 = onnx.node "MatMul"(%x, %1) : (tensor<4x2xf32>, tensor<2x3xf32>) -> tensor<4x3xf32>
  return %2 : tensor<4x3xf32>
}
