// RUN: qtx-opt %s --qtx-check-slices | FileCheck %s

// CHECK-LABEL: func @positions
// CHECK-SAME: %[[S:.*]]: index
func.func @positions(%s: index) -> tensor<?x8xf32> {
  %table = arith.constant dense<1.0> : tensor<512x8xf32>
  // CHECK: %[[LIMIT:.*]] = arith.constant 512 : index
  // CHECK: %[[LAST:.*]] = arith.addi %[[LIMIT]], %{{.*}}
  // CHECK: %[[FITS:.*]] = arith.cmpi ult, %{{.*}}, %[[LAST]]
  // CHECK: cf.assert %[[FITS]], "expected a slice inside of its source"
  // CHECK: tensor.extract_slice
  %y = tensor.extract_slice %table[0, 0] [%s, 8] [1, 1] : tensor<512x8xf32> to tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func @static
func.func @static(%x: tensor<?x8xf32>) -> tensor<4x8xf32> {
  // CHECK-NOT: cf.assert
  %y = tensor.extract_slice %x[0, 0] [4, 8] [1, 1] : tensor<?x8xf32> to tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}
