// RUN: qtx-opt %s -qtx-merge-parts -split-input-file | FileCheck %s
// RUN: qtx-opt %s -qtx-merge-parts -split-input-file --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// REMARK: [Passed] MergeParts | Category:qtx-merge-parts | Remark="3 operations by one team of threads"
// REMARK-NOT: MergeParts

func.func private @omp_get_max_threads() -> i32
func.func private @rows(memref<?x?x8xf32>, index, index)
func.func private @kernel(memref<?x?x8xf32>, memref<?x?x8xf32>, index, index)

// What lies between the loops comes before, and memory is freed behind them. Parts
// are as many and have the same rows, or each operation has threads of its own.
// CHECK-LABEL: func @group
// CHECK: %[[PARTS:.*]] = arith.index_cast
// CHECK: %[[C:.*]] = memref.alloc
// CHECK: %[[OTHERS:.*]] = arith.index_cast
// CHECK: %[[SAME:.*]] = arith.cmpi eq, %[[PARTS]], %[[OTHERS]]
// CHECK: %[[A:.*]] = memref.dim %arg0
// CHECK: %[[S:.*]] = arith.muli %{{.*}}, %[[A]]
// CHECK: %[[B:.*]] = memref.dim %arg0
// CHECK: %[[ROWS:.*]] = arith.muli %[[S]], %[[B]]
// CHECK: %[[MANY:.*]] = arith.cmpi uge, %[[ROWS]], %c64
// CHECK: %[[BOTH:.*]] = arith.andi %{{.*}}, %[[MANY]]
// CHECK: scf.if %[[BOTH]] {
// CHECK-NEXT: scf.parallel (%[[I:.*]]) = (%{{.*}}) to (%[[PARTS]]) step
// CHECK-NEXT: call @rows(%arg0, %[[I]], %[[PARTS]])
// CHECK-NEXT: call @kernel(%arg0, %[[C]], %[[I]], %[[OTHERS]])
// CHECK-NEXT: call @rows(%[[C]], %[[I]], %[[PARTS]])
// CHECK-NEXT: scf.reduce
// CHECK-NEXT: }
// CHECK-NEXT: } else {
// CHECK-NEXT: scf.parallel
// CHECK-NEXT: call @rows(%arg0
// CHECK: scf.parallel
// CHECK-NEXT: call @kernel
// CHECK: scf.parallel
// CHECK-NEXT: call @rows(%[[C]]
// CHECK: memref.dealloc %arg1
// CHECK-NEXT: memref.dealloc %[[C]]
func.func @group(%x: memref<?x?x8xf32>, %b: memref<4xf32>, %n: index) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %0 = call @omp_get_max_threads() : () -> i32
  %parts = arith.index_cast %0 : i32 to index
  scf.parallel (%i) = (%zero) to (%parts) step (%one) {
    func.call @rows(%x, %i, %parts) : (memref<?x?x8xf32>, index, index) -> ()
  } {qtx.aligned_parts = {group = 0 : i64, min_rows = 64 : i64, unit = 8 : i64}}
  memref.dealloc %b : memref<4xf32>
  %c = memref.alloc(%n, %n) : memref<?x?x8xf32>
  %1 = call @omp_get_max_threads() : () -> i32
  %others = arith.index_cast %1 : i32 to index
  scf.parallel (%i) = (%zero) to (%others) step (%one) {
    func.call @kernel(%x, %c, %i, %others) {qtx.kernel_call} : (memref<?x?x8xf32>, memref<?x?x8xf32>, index, index) -> ()
  } {qtx.aligned_parts = {group = 0 : i64, min_rows = 64 : i64, unit = 8 : i64}}
  scf.parallel (%i) = (%zero) to (%parts) step (%one) {
    func.call @rows(%c, %i, %parts) : (memref<?x?x8xf32>, index, index) -> ()
  } {qtx.aligned_parts = {group = 0 : i64, min_rows = 64 : i64, unit = 8 : i64}}
  memref.dealloc %c : memref<?x?x8xf32>
  return
}

// -----

// Others run between these, or they are no group.
// CHECK-LABEL: func @apart
// CHECK-NOT: scf.if
// CHECK: return
func.func private @rows(memref<?x8xf32>, index, index)
func.func private @other()
func.func @apart(%x: memref<?x8xf32>, %parts: index) {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  scf.parallel (%i) = (%zero) to (%parts) step (%one) {
    func.call @rows(%x, %i, %parts) : (memref<?x8xf32>, index, index) -> ()
  } {qtx.aligned_parts = {group = 0 : i64, min_rows = 0 : i64, unit = 1 : i64}}
  func.call @other() : () -> ()
  scf.parallel (%i) = (%zero) to (%parts) step (%one) {
    func.call @rows(%x, %i, %parts) : (memref<?x8xf32>, index, index) -> ()
  } {qtx.aligned_parts = {group = 0 : i64, min_rows = 0 : i64, unit = 1 : i64}}
  scf.parallel (%i) = (%zero) to (%parts) step (%one) {
    func.call @rows(%x, %i, %parts) : (memref<?x8xf32>, index, index) -> ()
  } {qtx.aligned_parts = {group = 1 : i64, min_rows = 0 : i64, unit = 1 : i64}}
  scf.parallel (%i) = (%zero) to (%parts) step (%one) {
    func.call @rows(%x, %i, %parts) : (memref<?x8xf32>, index, index) -> ()
  }
  return
}
