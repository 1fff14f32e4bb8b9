// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s

// CHECK-LABEL: func @gemm
func.func @gemm(%a: tensor<4x8xf32>, %b: tensor<16x8xf32>) -> tensor<4x16xf32> {
  // CHECK: %[[NONE:.*]] = onnx.none : none
  %none = onnx.none : none
  // CHECK: onnx.node "Gemm"(%{{.*}}, %{{.*}}, %[[NONE]]) attributes {transB = 1 : si64}
  %y = onnx.node "Gemm"(%a, %b, %none) attributes {transB = 1 : si64}
      : (tensor<4x8xf32>, tensor<16x8xf32>, none) -> tensor<4x16xf32>
  return %y : tensor<4x16xf32>
}

#dims = affine_map<()[s0, s1] -> (s0, s1, 384)>

// CHECK-LABEL: func @unsupported
func.func @unsupported() -> tensor<?x?x384xf32, #dims> {
  // CHECK: onnx.unsupported "Scan" domain "my" because "no reason"() : () -> (tensor<2xf32>, tensor<i64>)
  %0:2 = onnx.unsupported "Scan" domain "my" because "no reason"() : () -> (tensor<2xf32>, tensor<i64>)
  // CHECK: onnx.unsupported "Loop"(%{{.*}}#0) : (tensor<2xf32>) -> tensor<?x?x384xf32, #{{.*}}>
  %1 = onnx.unsupported "Loop"(%0#0) : (tensor<2xf32>) -> tensor<?x?x384xf32, #dims>
  return %1 : tensor<?x?x384xf32, #dims>
}

// CHECK-LABEL: func @other_domain
func.func @other_domain(%x: tensor<?x?x384xf32, #dims>) -> tensor<?x?x384xf32, #dims> {
  // CHECK: onnx.node "Gelu" domain "com.microsoft"(%{{.*}})
  %y = onnx.node "Gelu" domain "com.microsoft"(%x)
      : (tensor<?x?x384xf32, #dims>) -> tensor<?x?x384xf32, #dims>
  return %y : tensor<?x?x384xf32, #dims>
}
