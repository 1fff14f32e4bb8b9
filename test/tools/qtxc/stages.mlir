// RUN: qtxc %s -o - --stop-after=storage --quiet | FileCheck %s --check-prefix=STORAGE
// RUN: qtxc %s -o - --stop-after tile 2>&1 | FileCheck %s --check-prefix=TILE
// RUN: rm -rf %t && qtxc %s -o %t.mlir -stop-after=fold --dump-stages=%t --quiet
// RUN: ls %t | FileCheck %s --check-prefix=DUMPS
// RUN: FileCheck %s --check-prefix=LARGE --input-file=%t/01-import.mlir
// RUN: FileCheck %s --check-prefix=WHOLE --input-file=%t.mlir
// RUN: not qtxc %t/01-import.mlir -o %t.o 2>&1 | FileCheck %s --check-prefix=DUMP
// RUN: qtxc %t.mlir -o %t.o --quiet
// RUN: qtxc %s -o %t.late.mlir --stop-after=pack -mtriple=x86_64-linux-gnu -mcpu=multi --quiet
// RUN: not qtxc %t.late.mlir -o %t.o 2>&1 | FileCheck %s --check-prefix=LATE

// STORAGE: qtx.quantize %{{.*}} to !quant.uniform<i8:f32, 5.000000e-01>
// TILE: [ 1/12] import
// TILE: [ 9/12] tile
// TILE: qtx.rows
// DUMPS: 01-import.mlir
// DUMPS: 04-fold.mlir
// DUMPS-NOT: 05
// LARGE: // The IR when it leaves the stage 'import', to be read: without the data of constants of more than 64 elements.
// LARGE-NEXT: // With them: --stop-after=import -o FILE.mlir
// LARGE: dense_resource<__elided__> : tensor<128xf32>
// WHOLE: dense<"0x
// DUMP: 01-import.mlir:{{.*}}: error: expected the data of all constants, found a dump without: '--stop-after=STAGE -o FILE.mlir' writes it
// DUMP-NOT: error
// LATE: error: expected a model at the exit of a stage up to 'fuse', found one behind 'storage'
// LATE-NOT: error
func.func @main(%x: tensor<?x8xf32>) -> (tensor<?x8x!quant.uniform<i8:f32, 0.5>>, tensor<128xf32>) {
  %c = arith.constant dense<"0x000000000000803F0000004000004040000080400000A0400000C0400000E0400000004100001041000020410000304100004041000050410000604100007041000080410000884100009041000098410000A0410000A8410000B0410000B8410000C0410000C8410000D0410000D8410000E0410000E8410000F0410000F84100000042000004420000084200000C4200001042000014420000184200001C4200002042000024420000284200002C4200003042000034420000384200003C4200004042000044420000484200004C4200005042000054420000584200005C4200006042000064420000684200006C4200007042000074420000784200007C42000080420000824200008442000086420000884200008A4200008C4200008E42000090420000924200009442000096420000984200009A4200009C4200009E420000A0420000A2420000A4420000A6420000A8420000AA420000AC420000AE420000B0420000B2420000B4420000B6420000B8420000BA420000BC420000BE420000C0420000C2420000C4420000C6420000C8420000CA420000CC420000CE420000D0420000D2420000D4420000D6420000D8420000DA420000DC420000DE420000E0420000E2420000E4420000E6420000E8420000EA420000EC420000EE420000F0420000F2420000F4420000F6420000F8420000FA420000FC420000FE42"> : tensor<128xf32>
  %q = qtx.quantize %x : tensor<?x8xf32> -> tensor<?x8x!quant.uniform<i8:f32, 0.5>>
  return %q, %c : tensor<?x8x!quant.uniform<i8:f32, 0.5>>, tensor<128xf32>
}
