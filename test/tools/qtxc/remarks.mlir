// What passes did not do, and why, reaches users: as lines, as one line of the summary, and in the report.

// RUN: qtxc %s -o %t.o -mcpu=x86-64-v4 --recipe=none --remarks=missed --report=%t.json --quiet 2>&1 | FileCheck %s --implicit-check-not=remark
// RUN: FileCheck %s --input-file=%t.json --check-prefix=JSON

// CHECK: {{^}}product: remark: no micro-kernel takes two activations outside of attention [missed: qtx-configure]
// CHECK: {{^}}late: remark: the weight is not a constant [missed: qtx-configure]
// CHECK: {{^}}gate: remark: it does not work row by row [missed: convert-qtx-to-rows]
// CHECK: {{^}}sine: remark: scalar loops compute 'math.sin' [missed: convert-qtx-to-rows]

// JSON: "reference_operations": 4,
// JSON: "layers": [
// JSON: "name": "product",
// JSON-NEXT: "block": "",
// JSON-NEXT: "op": "qtx.batch_matmul",
// JSON-NEXT: "shape": [],
// JSON-NEXT: "type": "f32",
// JSON-NEXT: "kernel": "reference",
// JSON-NEXT: "kernel_reason": "no micro-kernel takes two activations outside of attention"
// JSON: "name": "layer",
// JSON: "kernel": "x86-avx512-fma",
// JSON-NEXT: "reason": "the recipe leaves the model float"
// JSON: "name": "late",
// JSON: "kernel": "reference",
// JSON-NEXT: "kernel_reason": "the weight is not a constant"
// JSON: "name": "gate",
// JSON-NEXT: "block": "",
// JSON-NEXT: "op": "qtx.gate_projection",
// JSON-NEXT: "shape": [2, 2],
// JSON: "kernel": "reference",
// JSON-NEXT: "kernel_reason": "it does not work row by row"
// JSON: "name": "attention",
// JSON: "kernel": "x86-avx512-fma",
// JSON-NEXT: "reason": "the recipe leaves the model float"
// JSON: "remarks": [
// JSON-NEXT: {
// JSON-NEXT: "pass": "qtx-configure",
// JSON-NEXT: "name": "product",
// JSON-NEXT: "text": "no micro-kernel takes two activations outside of attention"
// JSON: "name": "sine",

// Only what was done.
// RUN: qtxc %s -o %t.o -mcpu=x86-64-v4 --recipe=none --remarks=passed --quiet 2>&1 | FileCheck %s --check-prefix=PASSED
// PASSED-NOT: missed:
// PASSED: {{^}}layer: remark: runs on 'x86-avx512-fma' [passed: qtx-configure]
// PASSED: {{^}}attention: remark: runs on 'x86-avx512-fma' and 'x86-avx512-fma' [passed: qtx-pack-attention]
// PASSED-NOT: missed:

// Both.
// RUN: qtxc %s -o %t.o -mcpu=x86-64-v4 --recipe=none --remarks=all --quiet 2>&1 | FileCheck %s --check-prefix=ALL
// ALL-DAG: {{\[}}missed: qtx-configure]
// ALL-DAG: {{\[}}passed: qtx-configure]

// The summary counts; versions of the code do not count again.
// RUN: qtxc %s -o %t.o -mcpu=multi --recipe=none 2>&1 | FileCheck %s --check-prefix=SUMMARY --implicit-check-not=remark:
// SUMMARY: {{^}}4 operations take the reference lowering; --remarks=missed says why
// RUN: qtxc %s -o %t.o -mcpu=x86-64-v4 --recipe=none --remarks=missed 2>&1 | FileCheck %s --check-prefix=SAID
// SAID: {{^}}4 operations take the reference lowering{{$}}

// The reference is what was asked for here.
// RUN: qtxc %s -o %t.o --reference --recipe=none --remarks=missed 2>&1 | FileCheck %s --check-prefix=REFERENCE --allow-empty --implicit-check-not="take the reference" --implicit-check-not=remark:
// REFERENCE: object

// RUN: not qtxc %s -o %t.o --remarks=some 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: qtxc: error: --remarks: expected missed, passed, analysis or all, found 'some'

func.func @main(%x: tensor<1x2x4xf32> {qtx.name = "x"}, %v: tensor<4x4xf32> {qtx.name = "v"}) -> (tensor<1x2x4xf32> {qtx.name = "y"}) {
  %w = arith.constant dense<0.5> : tensor<4x4xf32>
  %b = arith.constant dense<0.25> : tensor<2xf32>
  %gw = arith.constant dense<0.25> : tensor<2x2xf32>
  %0 = qtx.batch_matmul %x, %x transpose_b : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x2xf32> loc("product")
  %1 = qtx.batch_matmul %0, %x : (tensor<1x2x2xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("product")
  %2 = qtx.linear %1, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("layer")
  %3 = qtx.linear %2, %v : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("late")
  %g = qtx.gate_projection linear %3 weight(%gw) bias(%b) : (tensor<1x2x4xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<1x2x2xf32> loc("gate")
  %h = qtx.split_heads %3 : tensor<1x2x4xf32> -> tensor<1x2x2x2xf32> loc("heads")
  %a = qtx.attention %h, %h, %h scale 0.5 gate(%g) : (tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2xf32>) -> tensor<1x2x2x2xf32> loc("attention")
  %m = qtx.merge_heads %a : tensor<1x2x2x2xf32> -> tensor<1x2x4xf32> loc("heads")
  %s = math.sin %m : tensor<1x2x4xf32> loc("sine")
  return %s : tensor<1x2x4xf32>
}
