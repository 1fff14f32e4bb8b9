// RUN: rm -rf %t && mkdir %t
// RUN: qtxc %s -o %t/gelu-8.o --quiet && FileCheck %s --check-prefix=HEADER --input-file=%t/gelu-8.h
// RUN: llvm-nm --defined-only --extern-only %t/gelu-8.o | FileCheck %s --check-prefix=SYMBOLS
// RUN: llvm-nm --undefined-only %t/gelu-8.o | FileCheck %s --check-prefix=UNDEFINED --allow-empty
// RUN: qtxc %s -o %t/x.s --name=m --quiet && FileCheck %s --check-prefix=ASM --input-file=%t/x.s
// RUN: qtxc %s -o - --emit=llvm --quiet -mtriple=aarch64-linux-gnu | FileCheck %s --check-prefix=ARM
// RUN: qtxc %s -o - --emit=llvm --quiet -mcpu=x86-64-v3 -mattr=+avx512f,-fma | FileCheck %s --check-prefix=FEATURES
// RUN: qtxc %s -o - --emit=header --quiet | FileCheck %s --check-prefix=MODEL
// RUN: qtxc %s -o - --emit=linalg --quiet --reference | FileCheck %s --check-prefix=LINALG
// RUN: qtxc %s -o %t/m.so --quiet && llvm-nm -D --defined-only %t/m.so | FileCheck %s --check-prefix=LIBRARY
// RUN: not qtxc %s -o %t/bad.o -mcpu=z80 --quiet 2>&1 | FileCheck %s --check-prefix=CPU
// RUN: not qtxc %s -o %t/bad.o -mtriple=z80-none-none --quiet 2>&1 | FileCheck %s --check-prefix=TRIPLE
// RUN: not qtxc %s -o %t/none/x.o --quiet 2>&1 | FileCheck %s --check-prefix=FOLDER
// RUN: not qtxc %s -o %t/bad.o --report=%t/none/r.json --quiet 2>&1 | FileCheck %s --check-prefix=REPORT-FOLDER
// RUN: not qtxc %s -o %t/bad.h --emit=obj --quiet 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not qtxc %s -o %t/bad.o --weights=%t/../%{t:stem}.tmp/bad.o --quiet 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not qtxc %s -o %t/bad.json --emit=llvm --report=%t/bad.json --quiet 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: mkdir %t/folder.h && not qtxc %s -o %t/folder.o --quiet 2>&1 | FileCheck %s --check-prefix=IS-FOLDER
// RUN: cp %s %t/model.mlir && not qtxc %t/model.mlir -o %t/model.mlir --quiet 2>&1 | FileCheck %s --check-prefix=READ
// RUN: cmp %s %t/model.mlir
// RUN: not qtxc %s -o - --emit=llvm --quiet 2>&1 >/dev/full | FileCheck %s --check-prefix=FULL
// RUN: qtxc %s -o /dev/null --emit=llvm --quiet && test -c /dev/null
// Nothing is left of what failed.
// RUN: ls %t | FileCheck %s --check-prefix=FILES

// HEADER: input  x: f32 [batch, 8]
// HEADER: output out0: f32 [?, 8]
// HEADER: dims[0]: batch
// HEADER: gelu_8_workspace_too_small = 3,
// HEADER: int32_t gelu_8_run(const float *x, float *out0, const int64_t *dims,
// SYMBOLS: R gelu_8_abi_version
// SYMBOLS: T gelu_8_code_version
// SYMBOLS: T gelu_8_output_shape
// SYMBOLS: T gelu_8_run
// SYMBOLS: R gelu_8_signature
// SYMBOLS: T gelu_8_workspace_size
// SYMBOLS-NOT: {{.}}
// UNDEFINED-NOT: U
// ASM: m_run:
// ASM: {{.*}}qtx_abi{{.*}}
// ARM: target triple = "aarch64-unknown-linux-gnu"
// FEATURES: features{{.*}}+avx512f{{.*}}-fma
// MODEL: int32_t model_run(
// LINALG: linalg.generic
// LIBRARY: m_run
// CPU: error: -mcpu: expected a CPU of x86_64, found 'z80'
// TRIPLE: error: -mtriple: {{.*}}z80
// FOLDER: error: {{.*}}No such file or directory
// REPORT-FOLDER: qtxc: error: {{.*}}r.json: No such file or directory
// TWICE: qtxc: error: expected distinct files to write, found '{{.*}}bad.{{h|o|json}}' twice
// IS-FOLDER: qtxc: error: {{.*}}folder.h: Is a directory
// READ: qtxc: error: expected other files to write than to read, found '{{.*}}model.mlir'
// FULL: qtxc: error: -: No space left on device
// FILES-NOT: bad
// FILES-NOT: folder.o
// FILES-NOT: tmp
func.func @main(%x: tensor<?x8xf32> {qtx.name = "x", qtx.dims = ["batch", ""]}) -> tensor<?x8xf32> {
  %y = qtx.gelu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
