// RUN: qtxc %s -o - --emit=mlir --stop-after=pack --quiet --recipe=none -mtriple=x86_64-linux-gnu -mcpu=multi | FileCheck %s
// RUN: qtxc %s -o - --emit=llvm --quiet --recipe=none -mtriple=x86_64-linux-gnu -mcpu=multi | FileCheck %s --check-prefix=LLVM
// RUN: qtxc %s -o - --emit=header --quiet --recipe=none -mtriple=x86_64-linux-gnu -mcpu=multi | FileCheck %s --check-prefix=HEADER
// RUN: qtxc %s -o - --emit=mlir --stop-after=configure --quiet --recipe=none -mtriple=x86_64-linux-gnu -mcpu=sapphirerapids | FileCheck %s --check-prefix=SHARED
// RUN: qtxc %s -o - --emit=header --quiet --recipe=none -mtriple=x86_64-linux-gnu -mcpu=multi --reference | FileCheck %s --check-prefix=REFERENCE
// RUN: qtxc %s -o %t.o --quiet --recipe=none -mtriple=x86_64-linux-gnu -mcpu=multi -O0
// RUN: llvm-objdump -d %t.o | FileCheck %s --check-prefix=TILES
// RUN: not qtxc %s -o %t.o --quiet --recipe=none -mtriple=aarch64-linux-gnu -mcpu=multi 2>&1 | FileCheck %s --check-prefix=ARM

// CHECK: module @avx2
// CHECK: qtx.kernel "qtx.linear"{{.*}}x86-avx2-int8
// CHECK: module @avxvnni
// CHECK: qtx.kernel "qtx.linear"{{.*}}x86-avx-vnni
// CHECK: module @avx512vnni
// CHECK: qtx.kernel "qtx.linear"{{.*}}x86-avx512-vnni
// CHECK: module @"amx-int8"
// CHECK: qtx.kernel "qtx.linear"{{.*}}x86-amx-int8

// What chooses is compiled for any CPU.
// LLVM: define internal {{.*}} @qtx_entry.0({{.*}} #[[V3:[0-9]+]]
// LLVM: define {{.*}} @model_run({{.*}} #[[LEAST:[0-9]+]]
// LLVM-DAG: attributes #[[V3]] = {{.*}}"target-cpu"="x86-64-v3"
// LLVM-DAG: attributes #[[LEAST]] = {{.*}}"target-cpu"="x86-64" "target-features"="+sse2"

// Tile registers are allocated at every level.
// TILES: tdpbu{{.*}}%tmm

// HEADER: Versions of the code, of which the last one that the CPU can run runs:
// HEADER: 0: avx2, needs
// HEADER: 1: avxvnni, needs
// HEADER: 2: avx512vnni, needs
// HEADER: 3: amx-int8, needs
// HEADER: amx-tile amx-int8
// HEADER: int32_t model_code_version(void);

// Where AMX is refused, code that reads the weights of AMX runs.
// SHARED: module @avx512vnni
// SHARED: #qtx.micro_kernel<"x86-avx512-vnni", rows = {{.*}}, vectors = 2, block = 504>
// SHARED: module @"amx-int8"
// SHARED: #qtx.micro_kernel<"x86-amx-int8", rows = {{.*}}, vectors = 2, block = 32>

// REFERENCE: 0: avx2, needs
// REFERENCE-NOT: 1:

// ARM: error: -mcpu: expected a CPU of aarch64, found 'multi'
!q = !quant.uniform<i8:f32, 0.5:3>
func.func @main(%x: tensor<?x64xf32> {qtx.name = "x", qtx.dims = ["batch", ""]}) -> tensor<?x64xf32> {
  %w = arith.constant dense<3> : tensor<64x64xi8>
  %s = arith.constant dense<0.25> : tensor<64xf32>
  %q = qtx.quantize %x to !q : tensor<?x64xf32> -> tensor<?x64xi8>
  %y = qtx.linear %q as !q, %w scale(%s) : (tensor<?x64xi8>, tensor<64x64xi8>, tensor<64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
