// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --mlir-print-op-generic | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" | FileCheck %s --check-prefix=BUFFER

// CHECK-LABEL: func.func @tensors
// CHECK: qtx.kernel "qtx.gelu"(%{{.*}}) outs(%{{.*}}) {} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
// BUFFER-LABEL: func.func @tensors(
// BUFFER-SAME: %[[X:.*]]: memref<?x8xf32>, %[[INIT:.*]]: memref<?x8xf32>
// BUFFER: qtx.kernel "qtx.gelu"(%[[X]]) outs(%[[INIT]]) {} : (memref<?x8xf32>, memref<?x8xf32>) -> ()
// BUFFER: return %[[INIT]]
func.func @tensors(%x: tensor<?x8xf32>, %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = qtx.kernel "qtx.gelu"(%x) outs(%init) {} : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @memrefs
// CHECK: qtx.kernel "qtx.gelu"(%{{.*}}) outs(%{{.*}}) {a = 1 : i64} : (memref<?x8xf32>, memref<?x8xf32>) -> ()
func.func @memrefs(%x: memref<?x8xf32>, %y: memref<?x8xf32>) {
  qtx.kernel "qtx.gelu"(%x) outs(%y) {a = 1} : (memref<?x8xf32>, memref<?x8xf32>) -> ()
  return
}

// What a kernel overwrites and what it reads are not the same buffer.
// BUFFER-LABEL: func.func @in_place
// BUFFER: memref.alloc
// BUFFER: qtx.kernel "qtx.gelu"
func.func @in_place(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = qtx.kernel "qtx.gelu"(%x) outs(%x) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// Code takes vectors from the last dimension.
// BUFFER-LABEL: func.func @strided
// BUFFER: %[[COPY:.*]] = memref.alloc() : memref<4x2xf32>
// BUFFER: memref.copy %{{.*}}, %[[COPY]]
// BUFFER: qtx.kernel "qtx.gelu"(%[[COPY]])
func.func @strided(%x: tensor<4x8xf32>, %init: tensor<4x2xf32>) -> tensor<4x2xf32> {
  %s = tensor.extract_slice %x[0, 0] [4, 2] [1, 4] : tensor<4x8xf32> to tensor<4x2xf32>
  %y = qtx.kernel "qtx.gelu"(%s) outs(%init) {} : (tensor<4x2xf32>, tensor<4x2xf32>) -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// What is added to is read: in place, unless somebody reads it later.
// BUFFER-LABEL: func.func @accumulate(
// BUFFER-SAME: %[[X:.*]]: memref<4x8xf32>, %[[INIT:.*]]: memref<4x8xf32>
// BUFFER-NOT: memref.{{alloc|copy}}
// BUFFER: qtx.kernel "qtx.linear"(%[[X]]) outs(%[[INIT]]) {accumulate}
// BUFFER-NEXT: return %[[INIT]]
func.func @accumulate(%x: tensor<4x8xf32>, %init: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = qtx.kernel "qtx.linear"(%x) outs(%init) {accumulate} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// BUFFER-LABEL: func.func @accumulate_read_later(
// BUFFER-SAME: %[[X:[a-z0-9]+]]: memref<4x8xf32>, %[[INIT:[a-z0-9]+]]: memref<4x8xf32>
// BUFFER: %[[COPY:.*]] = memref.alloc
// BUFFER: memref.copy %[[INIT]], %[[COPY]]
// BUFFER: qtx.kernel "qtx.linear"(%[[X]]) outs(%[[COPY]]) {accumulate}
// BUFFER: qtx.kernel "qtx.gelu"(%[[INIT]])
func.func @accumulate_read_later(%x: tensor<4x8xf32>, %init: tensor<4x8xf32>, %e: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %y = qtx.kernel "qtx.linear"(%x) outs(%init) {accumulate} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %z = qtx.kernel "qtx.gelu"(%init) outs(%e) {} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %y, %z : tensor<4x8xf32>, tensor<4x8xf32>
}

// A linear reads a row after it has written some of it.
// BUFFER-LABEL: func.func @accumulate_to_input(
// BUFFER-SAME: %[[X:.*]]: memref<4x8xf32>
// BUFFER: %[[COPY:.*]] = memref.alloc
// BUFFER: memref.copy %[[X]], %[[COPY]]
// BUFFER: qtx.kernel "qtx.linear"(%[[X]]) outs(%[[COPY]]) {accumulate}
func.func @accumulate_to_input(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = qtx.kernel "qtx.linear"(%x) outs(%x) {accumulate} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}
