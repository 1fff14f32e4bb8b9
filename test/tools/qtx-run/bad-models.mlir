// Models that cannot be run: one error, no output.

// RUN: rm -rf %t && split-file %s %t && mkdir %t/folder
// RUN: not qtx-run %t/syntax.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=SYNTAX
// RUN: not qtx-run %t/declaration.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=DECLARATION
// RUN: not qtx-run %t/unranked.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=UNRANKED
// RUN: not qtx-run %t/lowering.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=LOWERING
// RUN: not qtx-run %t/missing.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not qtx-run %t/missing.onnx --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=NO-GRAPH
// RUN: not qtx-run %t/broken.onnx --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=BROKEN
// RUN: not qtx-run %t/broken.onnx --recipe=int9 2>&1 | FileCheck %s --check-prefix=RECIPE
// RUN: not qtx-run %t/broken.onnx --entry=main 2>&1 | FileCheck %s --check-prefix=ENTRY
// RUN: not qtx-run %t/good.mlir --recipe=none 2>&1 | FileCheck %s --check-prefix=GRAPH-ONLY
// RUN: not qtx-run %t/good.mlir --calibrate=data.npz 2>&1 | FileCheck %s --check-prefix=NO-SAMPLES
// RUN: not qtx-run %t/good.mlir --reference --threads=2 2>&1 | FileCheck %s --check-prefix=THREADS
// RUN: not qtx-run %S/Inputs/npz.py --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=SUFFIX
// RUN: not ls %t/out.npz
// RUN: not qtx-run %t/good.mlir --outputs=%t/no-such-folder/out.npz 2>&1 | FileCheck %s --check-prefix=FOLDER
// RUN: not qtx-run %t/good.mlir --outputs=%t/folder 2>&1 | FileCheck %s --check-prefix=IS-FOLDER
// RUN: ls %t | not grep tmp

// SYNTAX: qtx-run: error: {{.*}}syntax.mlir:1:17: expected
// SYNTAX-NOT: error
//--- syntax.mlir
func.func @main( {
  return
}

// DECLARATION: error: function 'f' has no body
//--- declaration.mlir
func.func private @f()
func.func @main() {
  func.call @f() : () -> ()
  return
}

// UNRANKED: error: function 'main' cannot be called: argument 0 has type tensor<*xf32>
//--- unranked.mlir
func.func @main(%x: tensor<*xf32>) { return }

// LOWERING: qtx-run: error: {{.*}}lowering.mlir:3:8: op was not bufferized
// LOWERING-NOT: error
//--- lowering.mlir
func.func @main() -> tensor<2xf32> {
  %c = arith.constant 0 : i32
  %0 = builtin.unrealized_conversion_cast %c : i32 to tensor<2xf32>
  return %0 : tensor<2xf32>
}

//--- good.mlir
func.func @main() { return }

// NO-GRAPH: qtx-run: error: {{.*}}missing.onnx: cannot open the model: No such file or directory
// NO-GRAPH-NOT: error
// BROKEN: qtx-run: error: {{.*}}broken.onnx: expected an ONNX model, found {{[0-9]+}} bytes that are none or are incomplete
// BROKEN-NOT: error
// RECIPE: qtx-run: error: --recipe: expected a recipe (int8, {{.*}} found 'int9'
// ENTRY: qtx-run: error: --entry: expected a model in .mlir, found {{.*}}broken.onnx
// THREADS: qtx-run: error: --threads: expected no --reference beside it, which uses one thread
// GRAPH-ONLY: qtx-run: error: --recipe: expected a model in .onnx, found {{.*}}good.mlir
// NO-SAMPLES: qtx-run: error: --calibrate: expected a model in .onnx, found {{.*}}good.mlir
//--- broken.onnx
This is no model.

// MISSING: error: {{.*}}missing.mlir
// SUFFIX: npz.py: expected a file that ends in .onnx, .mlir, .o or .so
// FOLDER: error: {{.*}}out.npz: No such file or directory
// IS-FOLDER: error: {{.*}}: Is a directory
