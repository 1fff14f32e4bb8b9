// Edges, groups and noise of a small model with permuted channels.

// RUN: %python %S/../tools/qtx-run/Inputs/npz.py write %t.npz 'x:<f4:2x4=0.25,8,1,1,-1,-6,3,2'
// RUN: qtx-opt %s --test-qtx-report="data=%t.npz output=%t.json" -o /dev/null
// RUN: FileCheck %s --input-file=%t.json
// RUN: qtx-opt %s --test-qtx-report="data=%t.npz output=%t.html" -o /dev/null
// RUN: FileCheck %s --input-file=%t.html --check-prefix=HTML

// A file of another kind is refused.
// RUN: not qtx-opt %s --test-qtx-report="output=%t.txt" 2>&1 | FileCheck %s --check-prefix=SUFFIX
// SUFFIX: error: expected a report that ends in .json or .html, found '{{.*}}.txt'

// CHECK: "version": 1,
// CHECK: "calibration": {
// CHECK: "samples": 2,
// CHECK: "totals": {
// CHECK-NEXT: "edges": 3,
// CHECK-NEXT: "quantized_edges": 1,
// CHECK-NEXT: "layers": 1,
// CHECK-NEXT: "quantized_layers": 1,

// The ranges in the order of the model; channel 1 is alone in the second group.
// CHECK: "name": "x",
// CHECK-NEXT: "block": "",
// CHECK-NEXT: "op": "argument",
// CHECK-NEXT: "type": "i8",
// CHECK-NEXT: "lo": [-1, -6, 1, 1],
// CHECK-NEXT: "hi": [0.25, 8, 3, 2],
// CHECK-NEXT: "outliers": [1],
// CHECK-NEXT: "groups": [
// CHECK-NEXT: {
// CHECK-NEXT: "size": 3,
// CHECK-NEXT: "scale": 0.0625,
// CHECK-NEXT: "zero_point": 4
// CHECK: "size": 1,
// CHECK-NEXT: "scale": 1,
// CHECK: "group_of_channel": [0, 1, 0, 0],
// All values are multiples of their scales.
// CHECK-NEXT: "sqnr_db": 200

// CHECK: "name": "layer.0.up",
// CHECK-NEXT: "block": "layer.0",
// CHECK-NEXT: "op": "qtx.linear",
// CHECK-NEXT: "type": "f32"

// CHECK: "layers": [
// CHECK: "name": "layer.0.up",
// CHECK: "shape": [2, 4],
// CHECK-NEXT: "type": "i8",
// One weight is 1 instead of 1.5: sqrt(0.25 / 9.25), 10 log10(328.125 / 25).
// CHECK-NEXT: "weight_error": 0.164
// CHECK-NEXT: "output_sqnr_db": 11.18

// HTML: <script type="application/json" id="data">{"version":1,
// HTML-SAME: "name":"layer.0.\u003cact>"
!x = tensor<?x4x!qtx.grouped<i8:f32, axis=-1, [3, 1], {0.0625:4, 1.0}>>

func.func @model(%x: tensor<?x4xf32> {
    qtx.name = "x",
    qtx.observed = dense<[[-1.0, -6.0, 1.0, 1.0], [0.25, 8.0, 3.0, 2.0]]> : tensor<2x4xf32>})
    -> tensor<?x2xf32> {
  %w = arith.constant dense<[[1.0, 1.0, 1.0, 1.0], [-1.0, 1.5, -1.0, 1.0]]> : tensor<2x4xf32>
  %h = qtx.linear %x, %w : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32> loc("layer.0.up")
  %y = qtx.relu %h : (tensor<?x2xf32>) -> tensor<?x2xf32> loc("layer.0.<act>")
  return %y : tensor<?x2xf32>
}

func.func @main(%x: tensor<?x4xf32> {qtx.name = "x"}) -> tensor<?x2xf32> {
  %i = arith.constant dense<[3, 0, 2, 1]> : tensor<4xi32>
  %w = arith.constant dense<[[1, 1, 1, 1], [1, -1, -1, 1]]> : tensor<2x4xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  %p = qtx.permute %x by %i : (tensor<?x4xf32>, tensor<4xi32>) -> tensor<?x4xf32>
  %q = qtx.quantize %p : tensor<?x4xf32> -> !x
  %h = qtx.linear %q, %w scale(%s) : (!x, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32> loc("layer.0.up")
  %y = qtx.relu %h : (tensor<?x2xf32>) -> tensor<?x2xf32> loc("layer.0.<act>")
  return %y : tensor<?x2xf32>
}
