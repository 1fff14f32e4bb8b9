// RUN: qtx-opt %s -qtx-check-sizes -canonicalize -cse | FileCheck %s

// Sizes of one name are equal, and so are those of what is computed from them.
// CHECK-LABEL: func.func @equal
// CHECK-NOT: cf.assert
func.func @equal(%a: tensor<?x8xf32> {qtx.dims = ["n", ""]}, %b: tensor<?x8xf32> {qtx.dims = ["n", ""]})
    -> tensor<?x8xf32> {
  %0 = qtx.gelu %a : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = arith.mulf %0, %b : tensor<?x8xf32>
  %2 = qtx.add %1, %a : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %3 = linalg.exp ins(%2 : tensor<?x8xf32>) outs(%a : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %3 : tensor<?x8xf32>
}

// Sizes of arguments are compared once, where the function begins.
// CHECK-LABEL: func.func @arguments
// CHECK-SAME: (%[[A:.*]]: tensor<?x8xf32> {{.*}}, %[[B:.*]]: tensor<?x8xf32> {{.*}})
// CHECK-DAG: %[[N:.*]] = tensor.dim %[[A]], %c0
// CHECK-DAG: %[[M:.*]] = tensor.dim %[[B]], %c0
// CHECK: %[[AGREE:.*]] = arith.cmpi eq, %[[N]], %[[M]]
// CHECK: cf.assert %[[AGREE]], "expected sizes that agree" {qtx.sizes_agree}
// CHECK-NOT: cf.assert
func.func @arguments(%a: tensor<?x8xf32> {qtx.dims = ["n", ""]}, %b: tensor<?x8xf32> {qtx.dims = ["m", ""]})
    -> tensor<?x8xf32> {
  %0 = qtx.gelu %a : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %1 = qtx.add %0, %b : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %2 = arith.addf %1, %b : tensor<?x8xf32>
  return %2 : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @linear
// CHECK-COUNT-3: cf.assert
// CHECK-NOT: cf.assert
func.func @linear(%x: tensor<?x4xf32>, %w: tensor<?x4xf32>, %b: tensor<?x?xf32>, %c: tensor<?xf32>)
    -> (tensor<?x?xf32>, tensor<?x?xf32>) {
  %0 = qtx.linear %x, %w bias(%b) : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x?xf32>) -> tensor<?x?xf32>
  %1 = qtx.linear %x, %w bias(%c) : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?xf32>) -> tensor<?x?xf32>
  return %0, %1 : tensor<?x?xf32>, tensor<?x?xf32>
}

// Batch sizes of key, value, mask and gate; keys of value and mask; queries of
// mask and gate.
// CHECK-LABEL: func.func @attention
// CHECK-COUNT-8: cf.assert
// CHECK-NOT: cf.assert
func.func @attention(%q: tensor<?x2x?x4xf32>, %k: tensor<?x2x?x4xf32>, %v: tensor<?x2x?x4xf32>,
                     %m: tensor<?x1x?x?xi1>, %g: tensor<?x2x?xf32>) -> tensor<?x2x?x4xf32> {
  %y = qtx.attention %q, %k, %v mask(%m) scale 0.5 gate(%g)
      : (tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x2x?x4xf32>, tensor<?x1x?x?xi1>, tensor<?x2x?xf32>) -> tensor<?x2x?x4xf32>
  return %y : tensor<?x2x?x4xf32>
}

// CHECK-LABEL: func.func @products
// CHECK-COUNT-2: cf.assert
// CHECK-NOT: cf.assert
func.func @products(%a: tensor<?x3x?xf32>, %b: tensor<?x?x5xf32>) -> tensor<?x3x5xf32> {
  %y = qtx.batch_matmul %a, %b : (tensor<?x3x?xf32>, tensor<?x?x5xf32>) -> tensor<?x3x5xf32>
  return %y : tensor<?x3x5xf32>
}

// Run-time parameters of each row.
// CHECK-LABEL: func.func @parameters
// CHECK-COUNT-1: cf.assert
// CHECK-NOT: cf.assert
func.func @parameters(%x: tensor<?x4xi8>, %s: tensor<?x2xf32>, %i: tensor<4xi32>) -> tensor<?x4xf32> {
  %y = qtx.dequantize %x scale(%s : tensor<?x2xf32>) as !qtx.grouped<i8:f32, axis=-1, [2, 2], ?>
      : tensor<?x4xi8> -> tensor<?x4xf32>
  %p = qtx.permute %y by %i : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
  return %p : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @latent
// CHECK-COUNT-4: cf.assert
// CHECK-NOT: cf.assert
func.func @latent(%w: tensor<?x8xf32>, %s: tensor<?xf32>, %f: tensor<?x8xi1>, %i: tensor<?x8xi32>,
                  %g: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %y, %c = qtx.fake_quantize %w scale(%s) frozen(%f, %i) bits 4 signed axis 0 : tensor<?x8xf32>, tensor<?xf32>
  %x = qtx.clipped_softmax_backward %g, %w clip [-0.03, 1.0] : tensor<?x8xf32>
  return %y, %x : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: func.func @observed
// CHECK-COUNT-3: cf.assert
// CHECK-NOT: cf.assert
func.func @observed(%x: tensor<?x?xf32>, %lo: tensor<?xf32>, %hi: tensor<?xf32>, %m: tensor<?xi1>)
    -> (tensor<?xf32>, tensor<?xf32>) {
  %l, %h = qtx.observe %x, %lo, %hi mask(%m)
      : (tensor<?x?xf32>, tensor<?xf32>, tensor<?xf32>, tensor<?xi1>) -> (tensor<?xf32>, tensor<?xf32>)
  return %l, %h : tensor<?xf32>, tensor<?xf32>
}

// CHECK-LABEL: func.func @cast
// CHECK: arith.cmpi eq, %{{.*}}, %c3
// CHECK: cf.assert
func.func @cast(%x: tensor<?xf32>) -> tensor<3xf32> {
  %0 = tensor.cast %x : tensor<?xf32> to tensor<3xf32>
  return %0 : tensor<3xf32>
}

// CHECK-LABEL: func.func @expanded
// CHECK: %[[PRODUCT:.*]] = arith.muli %arg1, %c4
// CHECK: arith.cmpi eq, %{{.*}}, %[[PRODUCT]]
func.func @expanded(%x: tensor<?xf32>, %n: index) -> tensor<?x4xf32> {
  %0 = tensor.expand_shape %x [[0, 1]] output_shape [%n, 4] : tensor<?xf32> into tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @inserted
// CHECK-COUNT-1: cf.assert
// CHECK-NOT: cf.assert
func.func @inserted(%x: tensor<?xf32>, %y: tensor<4x?xf32>, %n: index) -> tensor<4x?xf32> {
  %0 = tensor.insert_slice %x into %y[0, 0] [1, %n] [1, 1] : tensor<?xf32> into tensor<4x?xf32>
  return %0 : tensor<4x?xf32>
}

// Inside of regions, and of what loops carry.
// CHECK-LABEL: func.func @loop
// CHECK: scf.for
// CHECK: cf.assert
func.func @loop(%x: tensor<?xf32>, %n: index) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%a = %x) -> tensor<?xf32> {
    %s = qtx.add %a, %x : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
    scf.yield %s : tensor<?xf32>
  }
  return %y : tensor<?xf32>
}
