// RUN: qtx-opt %s -qtx-expand-kernels -split-input-file -verify-diagnostics | FileCheck %s
// RUN: not qtx-opt %s -qtx-expand-kernels -split-input-file --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Both layers run the same code.
// CHECK-LABEL: func.func @twice
// CHECK: call @qtx_linear_kernel(%arg0, %arg1, %arg3)
// CHECK: call @qtx_linear_kernel(%arg0, %arg2, %arg4)
// REMARK: [Passed] ExpandKernels | Category:qtx-expand-kernels | Remark="'qtx.linear' is a call of 'qtx_linear_kernel'"
func.func @twice(%x: memref<?x3xf32>, %v: memref<24xf32>, %w: memref<24xf32>, %y: memref<?x8xf32>, %z: memref<?x8xf32>) {
  qtx.kernel "qtx.linear"(%x, %v) outs(%y) {activation = #qtx<activation none>,
      config = #qtx.micro_kernel<"x86-avx2-fma", rows = 2, vectors = 1, block = 96>,
      operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>, segments = array<i64: 3>}
      : (memref<?x3xf32>, memref<24xf32>, memref<?x8xf32>) -> ()
  qtx.kernel "qtx.linear"(%x, %w) outs(%z) {activation = #qtx<activation none>,
      config = #qtx.micro_kernel<"x86-avx2-fma", rows = 2, vectors = 1, block = 96>,
      operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>, segments = array<i64: 3>}
      : (memref<?x3xf32>, memref<24xf32>, memref<?x8xf32>) -> ()
  return
}
// CHECK: func.func private @qtx_linear_kernel(
// CHECK: arith.cmpi eq, %{{.*}}, %c2
// As many steps as an iteration has at most are no loop, but stay apart.
// CHECK: scf.for
// CHECK: %[[W:.*]] = vector.load %arg1[{{.*}}] : memref<24xf32>, vector<8xf32>
// CHECK: %[[A:.*]] = math.fma %{{.*}}, %[[W]], %
// CHECK: %[[B:.*]] = math.fma %{{.*}}, %[[W]], %
// CHECK: llvm.fence syncscope("singlethread") acq_rel
// CHECK: %[[C:.*]] = math.fma %{{.*}}, %{{.*}}, %[[A]]
// CHECK: %[[D:.*]] = math.fma %{{.*}}, %{{.*}}, %[[B]]
// CHECK: llvm.fence syncscope("singlethread") acq_rel
// CHECK: %[[SUM:.*]] = math.fma %{{.*}}, %{{.*}}, %[[C]]
// CHECK: math.fma %{{.*}}, %{{.*}}, %[[D]]
// CHECK: vector.store %[[SUM]], %arg2

// -----

// Threads take parts, on as many as the caller allows: here some of the outputs,
// or from 8 rows on some of the rows.
// CHECK-LABEL: func.func @parts
// CHECK: %[[MAX:.*]] = call @omp_get_max_threads() : () -> i32
// CHECK: %[[ALLOWED:.*]] = arith.index_cast %[[MAX]] : i32 to index
// CHECK: %[[FEW:.*]] = arith.minui %[[ALLOWED]], %c3
// CHECK: %[[PARTS:.*]] = arith.select %{{.*}}, %{{.*}}, %[[FEW]] : index
// CHECK: scf.parallel (%[[PART:.*]]) = (%{{.*}}) to (%[[PARTS]]) step
// CHECK: func.call @qtx_linear_kernel(%arg0, %arg1, %arg2, %[[PART]], %[[PARTS]])
// CHECK: func.func private @qtx_linear_kernel(%arg0: memref<?x3xf32>, %arg1: memref<24xf32>, %arg2: memref<?x8xf32>, %arg3: index, %arg4: index)
// CHECK: arith.cmpi uge, %{{.*}}, %c8
func.func @parts(%x: memref<?x3xf32>, %w: memref<24xf32>, %y: memref<?x8xf32>) {
  qtx.kernel "qtx.linear"(%x, %w) outs(%y) {activation = #qtx<activation none>,
      config = #qtx.micro_kernel<"x86-avx2-fma", rows = 2, vectors = 1, block = 96>,
      partition = {row_split = 8 : i64, threads = 3 : i64}, operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>, segments = array<i64: 3>}
      : (memref<?x3xf32>, memref<24xf32>, memref<?x8xf32>) -> ()
  return
}

// -----

func.func @unknown(%x: memref<?x3xf32>, %y: memref<?x3xf32>) {
  // expected-error @below {{expected an operation with a kernel, found 'qtx.abacus'}}
  qtx.kernel "qtx.abacus"(%x) outs(%y) {} : (memref<?x3xf32>, memref<?x3xf32>) -> ()
  return
}

// -----

func.func @tensors(%x: tensor<?x3xf32>, %w: tensor<24xf32>, %init: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{expected memrefs; bufferize first}}
  %y = qtx.kernel "qtx.linear"(%x, %w) outs(%init) {} : (tensor<?x3xf32>, tensor<24xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
