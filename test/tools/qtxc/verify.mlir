// Fast code is compared with the reference before anything is written.

// RUN: rm -rf %t && split-file %s %t
// RUN: qtxc %t/model.mlir -o %t/quiet.o --recipe=none --quiet --verify 2>&1 | count 0
// RUN: qtxc %t/model.mlir -o %t/model.o --recipe=none --verify 2>&1 | FileCheck %s --check-prefix=FLOAT
// RUN: %python %S/../qtx-run/Inputs/npz.py write %t/x.npz 'x:<f4:2x2=1,-2,3,-4'
// RUN: qtxc %t/model.mlir -o %t/model.so --recipe=w8a8 --calibrate=%t/x.npz --verify 2>&1 | FileCheck %s --check-prefix=QUANTIZED

// FLOAT: verify: there are no samples: running on generated inputs
// FLOAT-NEXT: verify: 2 bounded operations: relative error at most {{[-+0-9.e]+}}, qtx.
// FLOAT-NEXT: verify: output 'y', against the reference: relative error {{[-+0-9.e]+}}, {{[0-9]+}} of 4 elements differ
// FLOAT-NOT: float model

// QUANTIZED: verify: running 1 of 1 feeds of the samples
// QUANTIZED-NEXT: verify: 2 exact operations: the same bits as the reference
// QUANTIZED-NEXT: verify: 1 bounded operations: {{.*}}
// QUANTIZED-NEXT: verify: output 'y', against the reference: relative error {{[-+0-9.e]+}}, {{[0-9]+}} of 4 elements differ
// QUANTIZED-NEXT: verify: output 'y', against the float model: relative error {{[-+0-9.e]+}}, {{[0-9]+}} of 4 elements differ

//--- model.mlir
func.func @main(%x: tensor<?x2xf32> {qtx.name = "x", qtx.dims = ["n", ""]})
    -> (tensor<?x2xf32> {qtx.name = "y"}) {
  %w = arith.constant dense<[[1.0, 2.0], [-1.0, 0.5]]> : tensor<2x2xf32>
  %0 = qtx.linear %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = qtx.gelu %0 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = qtx.linear %1, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %2 : tensor<?x2xf32>
}

// What cannot be verified is not written.

// RUN: not qtxc %t/table.mlir -o %t/table.o --recipe=none --verify 2>&1 | FileCheck %s --check-prefix=REFUSED
// RUN: not ls %t/table.o
// RUN: not qtxc %t/model.mlir -o %t/none.o --recipe=none --verify --reference 2>&1 | FileCheck %s --check-prefix=REFERENCE
// RUN: not qtxc %t/model.mlir -o %t/none.mlir --recipe=none --verify 2>&1 | FileCheck %s --check-prefix=NO-CODE
// REFUSED: verify: there are no samples: running on generated inputs
// REFUSED: qtxc: error: --verify: table_run: index out of range (status 4)
// REFERENCE: qtxc: error: --verify: expected fast code to compare, found --reference
// NO-CODE: qtxc: error: --verify: expected to compile as far as to code

//--- table.mlir
func.func @main(%ids: tensor<?xi64> {qtx.name = "ids"}) -> tensor<?x2xf32> {
  %t = arith.constant dense<1.0> : tensor<1x2xf32>
  %0 = qtx.embedding %t, %ids : (tensor<1x2xf32>, tensor<?xi64>) -> tensor<?x2xf32>
  return %0 : tensor<?x2xf32>
}
