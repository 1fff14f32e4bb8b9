// RUN: qtx-opt %s --convert-scf-to-openmp --qtx-size-teams | FileCheck %s
// RUN: qtx-opt %s --convert-scf-to-openmp --qtx-size-teams --remark-format=emitRemark --remarks-filter=qtx-size-teams -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

func.func private @part(index, index)

// CHECK-LABEL: func @parts(
// CHECK-SAME: %[[N:.*]]: index)
// CHECK: %[[THREADS:.*]] = arith.index_cast %[[N]] : index to i32
// CHECK: omp.parallel num_threads(%[[THREADS]] : i32) {
// CHECK-NEXT: omp.wsloop nowait {
// CHECK: func.call @part
// REMARK: [Passed] SizeTeams | Category:qtx-size-teams | Remark="as many threads as iterations"
func.func @parts(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c0) to (%n) step (%c1) {
    func.call @part(%i, %n) : (index, index) -> ()
  }
  return
}

// CHECK-LABEL: func @others(
// CHECK: omp.parallel {
// CHECK-NEXT: omp.wsloop {
// CHECK: omp.parallel {
// CHECK-NEXT: omp.wsloop {
// REMARK: [Missed] SizeTeams | Category:qtx-size-teams | Reason="the region is not one loop from 0 by 1"
func.func @others(%n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.parallel (%i) = (%c1) to (%n) step (%c1) {
    func.call @part(%i, %n) : (index, index) -> ()
  }
  scf.parallel (%i, %j) = (%c0, %c0) to (%n, %n) step (%c1, %c1) {
    func.call @part(%i, %j) : (index, index) -> ()
  }
  return
}
