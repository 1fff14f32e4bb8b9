// RUN: qtx-opt %s --resolve-ranked-shaped-type-result-dims --canonicalize --cse | FileCheck %s

// The sizes of results are those of the operands.
// CHECK-LABEL: func.func @sizes(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x?xf32>, %[[S:[^:]*]]: tensor<?xf32>, %[[C:[^:]*]]: tensor<?xi32>
// CHECK-NOT: qtx.
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C1:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[X0:.*]] = tensor.dim %[[X]], %[[C0]]
// CHECK-DAG: %[[X1:.*]] = tensor.dim %[[X]], %[[C1]]
// CHECK-DAG: %[[S0:.*]] = tensor.dim %[[S]], %[[C0]]
// CHECK-DAG: %[[N:.*]] = tensor.dim %[[C]], %[[C0]]
// CHECK: return %[[X0]], %[[X1]], %[[X0]], %[[S0]], %[[S0]], %[[X1]], %[[S0]], %[[X0]], %[[N]], %[[N]]
func.func @sizes(%x: tensor<?x?xf32>, %s: tensor<?xf32>, %c: tensor<?xi32>, %d: tensor<?xi8>,
    %f: tensor<?xf32>, %b: tensor<?xi1>, %o: tensor<i1>, %m: tensor<f32>)
    -> (index, index, index, index, index, index, index, index, index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y, %codes = qtx.fake_quantize %x scale(%s) bits 4 signed axis 0 : tensor<?x?xf32>, tensor<?xf32>
  %0 = tensor.dim %y, %c0 : tensor<?x?xf32>
  %1 = tensor.dim %codes, %c1 : tensor<?x?xi32>
  %gx, %gs, %gz = qtx.fake_quantize_backward %x, %x scale(%s) zero_point(%s) bits 4 asymmetric axis 0
      : tensor<?x?xf32>, tensor<?xf32>
  %2 = tensor.dim %gx, %c0 : tensor<?x?xf32>
  %3 = tensor.dim %gs, %c0 : tensor<?xf32>
  %4 = tensor.dim %gz, %c0 : tensor<?xf32>
  %dx, %ds = qtx.dampening_loss_backward %m, %x scale(%s) bits 4 signed axis 0
      : tensor<?x?xf32>, tensor<?xf32>
  %5 = tensor.dim %dx, %c1 : tensor<?x?xf32>
  %6 = tensor.dim %ds, %c0 : tensor<?xf32>
  %g = qtx.clipped_softmax_backward %x, %x clip [-0.03, 1.0] : tensor<?x?xf32>
  %7 = tensor.dim %g, %c0 : tensor<?x?xf32>
  %r:10 = qtx.oscillation_update %c state(%c, %d, %f, %f, %b, %c, %o, %o)
      momentum(%m) threshold(%m) : tensor<?xi32>
  %8 = tensor.dim %r#0, %c0 : tensor<?xi32>
  %9 = tensor.dim %r#7, %c0 : tensor<?xi32>
  return %0, %1, %2, %3, %4, %5, %6, %7, %8, %9
      : index, index, index, index, index, index, index, index, index, index
}
