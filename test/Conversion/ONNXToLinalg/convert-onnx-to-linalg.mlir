// RUN: qtx-opt %s --convert-onnx-to-linalg --split-input-file | FileCheck %s
// RUN: qtx-opt %s --convert-onnx-to-linalg --split-input-file \
// RUN:   --remark-format=emitRemark --remarks-filter=convert-onnx-to-linalg 2>&1 \
// RUN:   | FileCheck %s --check-prefix=REMARK

!s = tensor<?x4xf32, affine_map<()[s0] -> (s0, 4)>>

// Equal expressions are equal sizes, 1 is broadcast, symbolic sizes are gone.
// CHECK-LABEL: func @broadcast(
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>, %[[Y:.*]]: tensor<1x4xf32>) -> tensor<?x4xf32>
// CHECK: tensor.dim %[[X]]
// CHECK: linalg.generic {{.*}} ins(%[[X]], %[[Y]] : tensor<?x4xf32>, tensor<1x4xf32>)
// CHECK: arith.addf
// CHECK-NOT: onnx
// REMARK: lowered 'Add' by itself
func.func @broadcast(%x: !s, %y: tensor<1x4xf32>) -> !s {
  %0 = onnx.node "Add"(%x, %y) : (!s, tensor<1x4xf32>) -> !s
  return %0 : !s
}

// -----

// Unsigned integers become signless, and the argument says what it was.
// CHECK-LABEL: func @unsigned(
// CHECK-SAME: %{{.*}}: tensor<3xi8> {qtx.unsigned}) -> (tensor<3xi8> {qtx.unsigned})
// CHECK: arith.divui
func.func @unsigned(%x: tensor<3xui8>) -> tensor<3xui8> {
  %c = arith.constant dense<[200, 2, 3]> : tensor<3xui8>
  %0 = onnx.node "Div"(%x, %c) : (tensor<3xui8>, tensor<3xui8>) -> tensor<3xui8>
  return %0 : tensor<3xui8>
}

// -----

!a = tensor<?x?x8xf32, affine_map<()[s0, s1] -> (s0, s1, 8)>>
!b = tensor<?x?x2x4xf32, affine_map<()[s0, s1] -> (s0, s1, 2, 4)>>
!c = tensor<?x2x?x4xf32, affine_map<()[s0, s1] -> (s0, 2, s1, 4)>>

// What qtx operations made of a node meets nodes through casts.
// CHECK-LABEL: func @heads(
// CHECK: tensor.expand_shape %{{.*}} {{\[\[}}0], [1], [2, 3]]
// CHECK: linalg.transpose
// CHECK: qtx.softmax
// CHECK-NOT: unrealized
func.func @heads(%x: !a) -> tensor<?x2x?x4xf32> {
  %0 = onnx.node "Reshape"(%x) : (!a) -> !b
  %1 = onnx.node "Transpose"(%0) attributes {perm = [0 : si64, 2 : si64, 1 : si64, 3 : si64]} : (!b) -> !c
  %2 = builtin.unrealized_conversion_cast %1 : !c to tensor<?x2x?x4xf32>
  %3 = qtx.softmax %2 : tensor<?x2x?x4xf32>
  return %3 : tensor<?x2x?x4xf32>
}

// -----

!a = tensor<?xf32, affine_map<()[s0] -> (s0)>>
!b = tensor<?xf32, affine_map<()[s0] -> (s0 - 1)>>

// A size is computed from those of the arguments.
// CHECK-LABEL: func @slice(
// CHECK: %[[D:.*]] = tensor.dim
// CHECK: %[[SIZE:.*]] = arith.addi %[[D]]
// CHECK: tensor.extract_slice %{{.*}}[1] [%[[SIZE]]] [1]
func.func @slice(%x: !a) -> !b {
  %0 = onnx.node "Slice"(%x) attributes {axes = [0 : si64], steps = [1 : si64], starts = affine_map<()[s0] -> (1)>} : (!a) -> !b
  return %0 : !b
}

// -----

// A size that only the data knows comes from the result.
!n = tensor<1x?xi64, affine_map<()[s0] -> (1, s0)>>
!m = tensor<?xi64, affine_map<()[s0] -> (s0)>>

// CHECK-LABEL: func @nonzero(
// CHECK: scf.for
// CHECK: scf.if
// CHECK: tensor.collapse_shape
func.func @nonzero(%x: tensor<5xf32>) -> !m {
  %0 = onnx.node "NonZero"(%x) : (tensor<5xf32>) -> !n
  %1 = onnx.node "Reshape"(%0) : (!n) -> !m
  return %1 : !m
}

// -----

// A slice without elements may start behind the last one.
// CHECK-LABEL: func @empty_slice(
// CHECK: tensor.empty() : tensor<0xf32>
// CHECK-NOT: extract_slice
func.func @empty_slice(%x: tensor<8xf32>) -> tensor<0xf32> {
  %0 = onnx.node "Slice"(%x) attributes {axes = [0 : si64], steps = [1 : si64], starts = affine_map<() -> (8)>} : (tensor<8xf32>) -> tensor<0xf32>
  return %0 : tensor<0xf32>
}

// -----

// A sum of one operand has no products.
// CHECK-LABEL: func @einsum(
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]
// CHECK-NOT: mulf
// CHECK: arith.addf
func.func @einsum(%x: tensor<2x3xf32>) -> tensor<2xf32> {
  %0 = onnx.node "Einsum"(%x) attributes {equation = "ij->i"} : (tensor<2x3xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

// CHECK-LABEL: func @empty_part(
// CHECK-COUNT-1: tensor.insert_slice
// CHECK-NOT: insert_slice
func.func @empty_part(%x: tensor<8xf32>, %y: tensor<0xf32>) -> tensor<8xf32> {
  %0 = onnx.node "Concat"(%x, %y) attributes {axis = 0 : si64} : (tensor<8xf32>, tensor<0xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

!q = tensor<2x4x3x8xf32>
!k = tensor<2x2x?x8xf32, affine_map<()[s0] -> (2, 2, s0, 8)>>
!p = tensor<2x2x?x8xf32, affine_map<()[s0] -> (2, 2, s0 + 1, 8)>>

// Attention that no pattern takes: with keys of earlier calls, and results besides the first.
// CHECK-LABEL: func @attention(
// CHECK: tensor.insert_slice
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction"]
// CHECK: math.exp
// CHECK-NOT: onnx.node
func.func @attention(%q: !q, %k: !k, %past: tensor<2x2x1x8xf32>) -> (!q, !p) {
  %none = onnx.none : none
  %y, %present = onnx.node "Attention"(%q, %k, %k, %none, %past, %past) attributes {is_causal = 1 : si64}
      : (!q, !k, !k, none, tensor<2x2x1x8xf32>, tensor<2x2x1x8xf32>) -> (!q, !p)
  return %y, %present : !q, !p
}

// -----

// Floats of 8 bits are bytes.
// CHECK-LABEL: func @bytes(
// CHECK-SAME: %{{.*}}: tensor<2x2xi8>) -> tensor<2x2xf32>
// CHECK: linalg.transpose
// CHECK: arith.shli
// CHECK: arith.bitcast %{{.*}} : i32 to f32
func.func @bytes(%x: tensor<2x2xf8E4M3FN>) -> tensor<2x2xf32> {
  %0 = onnx.node "Transpose"(%x) attributes {perm = [1 : si64, 0 : si64]} : (tensor<2x2xf8E4M3FN>) -> tensor<2x2xf8E4M3FN>
  %1 = onnx.node "Cast"(%0) : (tensor<2x2xf8E4M3FN>) -> tensor<2x2xf32>
  return %1 : tensor<2x2xf32>
}

// -----

!x = tensor<?x5xf32, affine_map<()[s0] -> (s0, 5)>>
!y = tensor<?x5xf32, affine_map<()[s0] -> (s0 + 3, 5)>>

// Weights and positions of the two elements that count for each new one, and then their sum.
// CHECK-LABEL: func @resize(
// CHECK: %[[INIT:.*]] = tensor.empty(%{{.*}}) : tensor<?x2xf32>
// CHECK: %[[W:.*]] = linalg.generic {{.*}} outs(%[[INIT]]
// CHECK: math.floor
// CHECK: %[[P:.*]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x2xi64>)
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "reduction"]{{.*}} ins(%[[W]], %[[P]]
// CHECK: tensor.extract
// CHECK: math.fma
func.func @resize(%x: !x) -> !y {
  %0 = onnx.node "Resize"(%x) attributes {axes = [0 : si64], mode = "linear"} : (!x) -> !y
  return %0 : !y
}
