// What people get wrong: one line that says so, and no file.

// RUN: rm -rf %t && mkdir -p %t/folder.npz
// RUN: %python %S/../qtx-run/Inputs/npz.py write %t/ids.npz 'ids:<i8:2x3=0,1,2,3,-4,4'
// RUN: %python %S/../qtx-run/Inputs/npz.py write %t/long.npz 'ids:<i8:1x6=0,1,2,3,0,1'
// RUN: %python -c "print('[' * 100000)" > %t/deep.json
// RUN: %python -c "print('{\n  \"base\": int8\n}')" > %t/syntax.json
// RUN: %python -c "print('\ufeff{\"base\": \"w8a8-dynamic\"}')" > %t/mark.json
// RUN: sed 's/0.5, /0x7fc00000, /' %s > %t/nan.mlir

// Names that LLVM would warn of and go on.
// RUN: not qtxc %s -o %t/x.o -mcpu=z80 --quiet 2>&1 | count 1
// RUN: not qtxc %s -o %t/x.o -mattr=+avx2,-foo --quiet 2>&1 | FileCheck %s --check-prefix=FEATURE
// RUN: not qtxc %s -o %t/x.o -mattr=+foo --quiet 2>&1 | count 1
// RUN: not qtxc %s -o %t/x.o -mtriple=mips-linux-gnu --quiet 2>&1 | FileCheck %s --check-prefix=TRIPLE
// RUN: not qtxc %s -o %t/x.o -mtriple=x86_64-pc-windows-msvc --quiet 2>&1 | FileCheck %s --check-prefix=TRIPLE
// RUN: not qtxc %s -o %t/x.o -mtriple=i686-linux-gnu --quiet 2>&1 | FileCheck %s --check-prefix=TRIPLE
// FEATURE: qtxc: error: -mattr: expected features of x86_64, as +avx2,-fma, found 'foo'
// TRIPLE: qtxc: error: -mtriple: expected a little-endian target of 64 bits with ELF objects, found '{{.*}}'

// RUN: not qtxc %s -o %t/x.o --weights= --quiet 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not qtxc %s -o %t/x.o --calibrate= --quiet 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not qtxc %s -o %t/x.o --tune= --quiet 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not qtxc %s -o %t/x.o --report= --quiet 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not qtxc %s -o %t/x.o --dump-stages= --quiet 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not qtxc %s -o %t/x.o --name= --quiet 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not qtxc %s -o %t/x.o --mtriple= --quiet 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not qtxc %s -o %t/x.o --mcpu= --quiet 2>&1 | FileCheck %s --check-prefix=EMPTY
// EMPTY: qtxc: error: expected a value after '--{{weights'|calibrate'|tune='|report'|dump-stages'|name'|mtriple'|mcpu'}}

// Recipes.
// RUN: not qtxc %s -o %t/x.o --recipe=%t/deep.json --quiet 2>&1 | FileCheck %s --check-prefix=DEEP
// RUN: not qtxc %s -o %t/x.o --recipe=%t/syntax.json --quiet 2>&1 | FileCheck %s --check-prefix=SYNTAX
// RUN: qtxc %s -o - --recipe=%t/mark.json --stop-after=fold --quiet
// DEEP: qtxc: error: --recipe: {{.*}}deep.json:1:64: expected at most 64 levels of brackets
// SYNTAX: qtxc: error: --recipe: {{.*}}syntax.json:2:{{[0-9]+}}: invalid JSON value

// Samples.
// RUN: not qtxc %s -o %t/x.o --recipe=w8a8 --calibrate=%t/ids.npz --quiet 2>&1 | FileCheck %s --check-prefix=IDS
// RUN: not qtxc %s -o %t/x.o --recipe=w8a8 --calibrate=%t/long.npz --quiet 2>&1 | FileCheck %s --check-prefix=LONG
// RUN: not qtxc %s -o %t/x.o --recipe=w8a8 --calibrate=%t/folder.npz --quiet 2>&1 | FileCheck %s --check-prefix=FOLDER
// IDS: error: {{.*}}ids.npz: input 'ids': expected ids of a table of 4 rows, found 4 at [1, 2]
// LONG: error: {{.*}}long.npz: input 'ids': expected at most 5 along 'sequence', found 6
// FOLDER: error: {{.*}}folder.npz: Is a directory

// Weights, which integers would hide.
// RUN: not qtxc %t/nan.mlir -o %t/x.o --recipe=w8a8-dynamic --quiet 2>&1 | FileCheck %s --check-prefix=NAN
// NAN: error: expected finite weights, found NaN for output 1

// RUN: ls %t | FileCheck %s --check-prefix=FILES
// FILES-NOT: {{^}}x
func.func @main(%ids: tensor<?x?xi64> {qtx.name = "ids", qtx.dims = ["batch", "sequence"]})
    -> tensor<?x?x2xf32> attributes {qtx.max_sizes = {sequence = 5}} {
  %table = arith.constant dense<[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]> : tensor<4x2xf32>
  %w = arith.constant dense<[[1.0, 0.0], [0.5, 1.0]]> : tensor<2x2xf32>
  %0 = qtx.embedding %table, %ids : (tensor<4x2xf32>, tensor<?x?xi64>) -> tensor<?x?x2xf32>
  %1 = qtx.linear %0, %w : (tensor<?x?x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
  return %1 : tensor<?x?x2xf32>
}
