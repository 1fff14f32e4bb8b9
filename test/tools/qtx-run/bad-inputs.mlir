// Arrays that do not fit the model: one error each.

// RUN: %python %S/Inputs/npz.py write %t.npz 'n:|i1:2=0,0'
// RUN: not qtx-run %s --inputs=%t.npz 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not qtx-run %s 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: qtx-run: error: no array for the input 'x' (?x2xf32)

// RUN: %python %S/Inputs/npz.py write %t.npz 'x:<f8:1x2=0,0' 'n:|i1:2=0,0'
// RUN: not qtx-run %s --inputs=%t.npz 2>&1 | FileCheck %s --check-prefix=WIDTH
// WIDTH: qtx-run: error: input 'x': expected f32, found float64

// RUN: %python %S/Inputs/npz.py write %t.npz 'x:<i4:1x2=0,0' 'n:|i1:2=0,0'
// RUN: not qtx-run %s --inputs=%t.npz 2>&1 | FileCheck %s --check-prefix=INTEGER
// INTEGER: qtx-run: error: input 'x': expected f32, found int32

// RUN: %python %S/Inputs/npz.py write %t.npz 'x:<f4:1x2=0,0' 'n:<f4:2=0,0'
// RUN: not qtx-run %s --inputs=%t.npz 2>&1 | FileCheck %s --check-prefix=FLOAT
// FLOAT: qtx-run: error: input 'n': expected i8, found float32

// RUN: %python %S/Inputs/npz.py write %t.npz 'x:<f4:1x2=0,0' 'n:<i8:2=127,-129'
// RUN: not qtx-run %s --inputs=%t.npz 2>&1 | FileCheck %s --check-prefix=RANGE
// RANGE: qtx-run: error: input 'n': -129 at [1] is out of the range of i8

// RUN: %python %S/Inputs/npz.py write %t.npz 'x:<f4:1x2=0,0' 'n:<u8:2=127,18446744073709551615'
// RUN: not qtx-run %s --inputs=%t.npz 2>&1 | FileCheck %s --check-prefix=LARGE
// LARGE: qtx-run: error: input 'n': 18446744073709551615 at [1] is out of the range of i8

// RUN: %python %S/Inputs/npz.py write %t.npz 'x:<f4:2=0,0' 'n:|i1:2=0,0'
// RUN: not qtx-run %s --inputs=%t.npz 2>&1 | FileCheck %s --check-prefix=RANK
// RANK: qtx-run: error: function 'main', argument 0 ('x'): expected ?x2xf32, found 2xf32

// RUN: %python %S/Inputs/npz.py write %t.npz 'x:<f4:0x2=' 'n:|i1:3=0,0,0'
// RUN: not qtx-run %s --inputs=%t.npz 2>&1 | FileCheck %s --check-prefix=SIZE
// SIZE: qtx-run: error: function 'main', argument 1 ('n'): expected 2xi8, found 3xi8

// RUN: %python %S/Inputs/npz.py write %t.npz 'x:<f4:0x2=' 'n:|b1:2=0,1'
// RUN: qtx-run %s --inputs=%t.npz
func.func @main(%x: tensor<?x2xf32> {qtx.name = "x"}, %n: tensor<2xi8> {qtx.name = "n"}) {
  return
}
