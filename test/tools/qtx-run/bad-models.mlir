// Models that cannot be run: one error, no output.

// RUN: rm -rf %t && split-file %s %t && mkdir %t/folder
// RUN: not qtx-run %t/syntax.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=SYNTAX
// RUN: not qtx-run %t/declaration.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=DECLARATION
// RUN: not qtx-run %t/unranked.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=UNRANKED
// RUN: not qtx-run %t/lowering.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=LOWERING
// RUN: not qtx-run %t/missing.mlir --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not qtx-run %S/Inputs/npz.py --outputs=%t/out.npz 2>&1 | FileCheck %s --check-prefix=SUFFIX
// RUN: not ls %t/out.npz
// RUN: not qtx-run %t/good.mlir --outputs=%t/no-such-folder/out.npz 2>&1 | FileCheck %s --check-prefix=FOLDER
// RUN: not qtx-run %t/good.mlir --outputs=%t/folder 2>&1 | FileCheck %s --check-prefix=IS-FOLDER
// RUN: ls %t | not grep tmp

// SYNTAX: syntax.mlir:1:17: error: expected
// SYNTAX: qtx-run: error: {{.*}}syntax.mlir: not valid IR
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

// LOWERING: lowering.mlir:3:8: error: op was not bufferized
// LOWERING: qtx-run: error: lowering failed
//--- lowering.mlir
func.func @main() -> tensor<2xf32> {
  %c = arith.constant 0 : i32
  %0 = builtin.unrealized_conversion_cast %c : i32 to tensor<2xf32>
  return %0 : tensor<2xf32>
}

//--- good.mlir
func.func @main() { return }

// MISSING: error: {{.*}}missing.mlir
// SUFFIX: npz.py: expected a file that ends in .mlir, .o or .so
// FOLDER: error: {{.*}}out.npz: No such file or directory
// IS-FOLDER: error: {{.*}}: Is a directory
