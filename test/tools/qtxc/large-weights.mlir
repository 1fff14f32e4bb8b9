// What would make code for AVX2 faster is said in the summary; other CPUs multiply any weights as fast.

// RUN: qtxc %s -o %t.o --recipe=none -mtriple=x86_64-linux-gnu -mcpu=haswell 2>&1 | FileCheck %s
// CHECK: {{^}}1 layer has weights that are too large for the fastest code of AVX2; --recipe=int8-avx2 makes smaller ones
// RUN: qtxc %s -o %t.o --recipe=none -mtriple=x86_64-linux-gnu -mcpu=icelake-server 2>&1 | FileCheck %s --check-prefix=VNNI --implicit-check-not="too large"
// VNNI: object
// RUN: qtxc %s -o - --recipe=none -mtriple=x86_64-linux-gnu -mcpu=haswell --remarks=missed --emit=header --quiet 2>&1 | FileCheck %s --check-prefix=REMARK
// REMARK: {{^}}large: remark: 'x86-avx2-int8' would be faster: its sums of 16 bits do not hold products with these weights [missed: qtx-configure]

!q = !quant.uniform<i8:f32, 0.5:3>
func.func @main(%x: tensor<?x8xf32> {qtx.name = "x", qtx.dims = ["n", ""]}) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %v = arith.constant dense<32> : tensor<8x8xi8>
  %w = arith.constant dense<33> : tensor<8x8xi8>
  %s = arith.constant dense<0.25> : tensor<8xf32>
  %q = qtx.quantize %x to !q : tensor<?x8xf32> -> tensor<?x8xi8>
  %y = qtx.linear %q as !q, %v scale(%s) : (tensor<?x8xi8>, tensor<8x8xi8>, tensor<8xf32>) -> tensor<?x8xf32> loc("small")
  %z = qtx.linear %q as !q, %w scale(%s) : (tensor<?x8xi8>, tensor<8x8xi8>, tensor<8xf32>) -> tensor<?x8xf32> loc("large")
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}
