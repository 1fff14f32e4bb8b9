// Which function runs.

// RUN: split-file %s %t

// RUN: qtx-run %t/one.mlir --outputs=%t/out.npz
// RUN: %python %S/Inputs/npz.py print %t/out.npz | FileCheck %s --check-prefix=ONE
// ONE: out0.npy <i4 () False [1]
//--- one.mlir
func.func @only() -> i32 {
  %c = arith.constant 1 : i32
  return %c : i32
}
func.func private @hidden() -> i32 {
  %c = arith.constant 2 : i32
  return %c : i32
}

// RUN: qtx-run %t/main.mlir --outputs=%t/out.npz
// RUN: %python %S/Inputs/npz.py print %t/out.npz | FileCheck %s --check-prefix=MAIN
// RUN: qtx-run %t/main.mlir --entry=other --outputs=%t/out.npz
// RUN: %python %S/Inputs/npz.py print %t/out.npz | FileCheck %s --check-prefix=OTHER
// MAIN: out0.npy <i8 () False [2]
// OTHER: out0.npy <f8 () False [3.5]
//--- main.mlir
func.func @other() -> f64 {
  %c = arith.constant 3.5 : f64
  return %c : f64
}
func.func @main() -> index {
  %c = arith.constant 2 : index
  return %c : index
}

// RUN: not qtx-run %t/several.mlir 2>&1 | FileCheck %s --check-prefix=SEVERAL
// RUN: qtx-run %t/several.mlir --entry=b --outputs=%t/none.npz
// RUN: %python %S/Inputs/npz.py print %t/none.npz | count 0
// RUN: not qtx-run %t/several.mlir --entry=c 2>&1 | FileCheck %s --check-prefix=MISSING
// SEVERAL: error: {{.*}}several.mlir: several functions, choose one by --entry: a, b
// MISSING: error: no public function 'c'
//--- several.mlir
func.func @a() { return }
func.func @b() { return }
func.func private @c() { return }

// RUN: not qtx-run %t/none.mlir 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: {{.*}}none.mlir: no public function
//--- none.mlir
func.func private @c() { return }
