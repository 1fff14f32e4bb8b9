// Layers that one kernel computes keep their names: each has its kernel in the report.

// RUN: qtxc %s -o %t.o -mcpu=x86-64-v4 --recipe=none --remarks=passed --report=%t.json --quiet 2>&1 | FileCheck %s
// RUN: FileCheck %s --input-file=%t.json --check-prefix=JSON

// CHECK: {{^}}query: remark: merged 3 projections of one input [passed: qtx-merge-projections]

// JSON: "layers": [
// JSON: "name": "query",
// JSON: "kernel": "x86-avx512-fma",
// JSON: "name": "key",
// JSON: "kernel": "x86-avx512-fma",
// JSON: "name": "value",
// JSON: "kernel": "x86-avx512-fma",
// JSON: "name": "attention",
// JSON: "kernel": "x86-avx512-fma",
// JSON: "remarks": []

func.func @main(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %wq = arith.constant dense<1.0> : tensor<4x4xf32>
  %wk = arith.constant dense<2.0> : tensor<4x4xf32>
  %wv = arith.constant dense<3.0> : tensor<4x4xf32>
  %q = qtx.linear %x, %wq : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32> loc("query")
  %k = qtx.linear %x, %wk : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32> loc("key")
  %v = qtx.linear %x, %wv : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32> loc("value")
  %0 = qtx.split_heads %q : tensor<?x?x4xf32> -> tensor<?x2x?x2xf32>
  %1 = qtx.split_heads %k : tensor<?x?x4xf32> -> tensor<?x2x?x2xf32>
  %2 = qtx.split_heads %v : tensor<?x?x4xf32> -> tensor<?x2x?x2xf32>
  %3 = qtx.attention %0, %1, %2 scale 0.5 : (tensor<?x2x?x2xf32>, tensor<?x2x?x2xf32>, tensor<?x2x?x2xf32>) -> tensor<?x2x?x2xf32> loc("attention")
  %4 = qtx.merge_heads %3 : tensor<?x2x?x2xf32> -> tensor<?x?x4xf32>
  return %4 : tensor<?x?x4xf32>
}
