// Comparison with expected outputs.

// RUN: %python %S/Inputs/npz.py write %t.in.npz 'x:<f4:2x2=1,2,inf,nan' 'n:<i4:2=5,-5' 'other:<f4:=0'
// RUN: %python %S/Inputs/npz.py write %t.same.npz 'y:<f8:2x2=1,2,inf,nan' 'm:<i8:2=5,-5'
// RUN: qtx-run %s --inputs=%t.in.npz --expected=%t.same.npz 2>&1 | FileCheck %s --check-prefix=SAME
// SAME: qtx-run: warning: the model has no input 'other'
// SAME-NOT: {{.}}

// RUN: %python %S/Inputs/npz.py write %t.near.npz 'y:<f4:2x2=1.0625,2.125,inf,nan' 'm:<i4:2=5,-4' 'z:<i4:=0'
// RUN: not qtx-run %s --inputs=%t.in.npz --expected=%t.near.npz --outputs=%t.out.npz 2>&1 | FileCheck %s --check-prefix=NEAR
// RUN: ls %t.out.npz
// NEAR: qtx-run: error: output 'y': 2 of 4 elements differ; first at [0, 0]: expected 1.0625, found 1; largest at [0, 1]: expected 2.125, found 2
// NEAR: qtx-run: error: output 'm': 1 of 2 elements differ; first at [1]: expected -4, found -5
// NEAR: qtx-run: warning: the model has no output 'z'
// RUN: qtx-run %s --inputs=%t.in.npz --expected=%t.near.npz --atol=1
// RUN: qtx-run %s --inputs=%t.in.npz --expected=%t.near.npz --rtol=0.25
// RUN: not qtx-run %s --inputs=%t.in.npz --expected=%t.near.npz --rtol=0.24 2>&1 | FileCheck %s --check-prefix=RTOL
// RTOL-NOT: output 'y'
// RTOL: output 'm': 1 of 2

// No tolerance makes infinities, NaN and numbers agree.
// RUN: %python %S/Inputs/npz.py write %t.special.npz 'y:<f4:2x2=nan,inf,-inf,0' 'm:<i4:2=5,-5'
// RUN: not qtx-run %s --inputs=%t.in.npz --expected=%t.special.npz --rtol=10 --atol=10 2>&1 | FileCheck %s --check-prefix=SPECIAL
// SPECIAL: output 'y': 4 of 4 elements differ; first at [0, 0]: expected nan, found 1

// RUN: %python %S/Inputs/npz.py write %t.shape.npz 'y:<f4:4=1,2,3,4'
// RUN: not qtx-run %s --inputs=%t.in.npz --expected=%t.shape.npz 2>&1 | FileCheck %s --check-prefix=SHAPE
// SHAPE: output 'y': expected shape (4,), found (2, 2)
// SHAPE: output 'm': no expected array

// RUN: not qtx-run %s --inputs=%t.in.npz --expected=%t.missing.npz 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: error: {{.*}}.missing.npz: No such file
func.func @main(%x: tensor<?x2xf32> {qtx.name = "x"}, %n: tensor<2xi32> {qtx.name = "n"})
    -> (tensor<?x2xf32> {qtx.name = "y"}, tensor<2xi32> {qtx.name = "m"}) {
  return %x, %n : tensor<?x2xf32>, tensor<2xi32>
}
