// What the stage quantize leaves float, and what it does less well than the recipe has it.

// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.npz 'x:<f4:1x2x4=1,2,-3,40,5,6,-7,8' 'v:<f4:1x4x4=1,2,3,4,5,6,7,8,1,2,3,4,5,6,7,8' 'z:<f4:1x2x4=0,0,0,0,0,0,0,0'
// RUN: qtxc %s -o %t.mlir --recipe=int8 --calibrate=%t.npz --stop-after=quantize --remarks=all --report=%t.json --quiet 2>&1 | FileCheck %s
// RUN: FileCheck %s --input-file=%t.json --check-prefix=JSON

// CHECK-DAG: {{^}}up: remark: stays float: the recipe quantizes inputs of products alone [analysis: qtx-quantize]
// CHECK-DAG: {{^}}late: remark: stays float: its weights are not float constants [missed: qtx-quantize]
// CHECK-DAG: {{^}}before: remark: stays float: 'late' reads it: its weights are not float constants [missed: qtx-quantize]
// CHECK-DAG: {{^}}relu: remark: quantized to 8 bits in 2 group(s) [passed: qtx-quantize]
// CHECK-DAG: {{^}}down: remark: weights rounded to 8 bits by gptq [passed: qtx-quantize]
// CHECK-DAG: {{^}}act: remark: no group for 1 outlier(s): its channels have the order of what it is computed from [missed: qtx-quantize]
// CHECK-DAG: {{^}}both: remark: no group for 1 outlier(s): not only linears on integers read it [missed: qtx-quantize]
// CHECK-DAG: {{^}}shared: remark: weights rounded to the nearest: not only linears read its input [missed: qtx-quantize]
// CHECK-DAG: {{^}}shared: remark: bias not corrected: not only linears read its input [missed: qtx-quantize]
// CHECK-DAG: {{^}}zeros: remark: weights rounded to the nearest: its inputs are zeros, or too large [missed: qtx-quantize]
// CHECK-DAG: {{^}}constant: remark: stays float: 'table', by which it is multiplied, stays float [missed: qtx-quantize]
// CHECK-DAG: {{^}}by-constant: remark: stays float: 'table' stays float [missed: qtx-quantize]
// CHECK-DAG: {{^}}gate: remark: stays float: recipes leave gate projections float [analysis: qtx-quantize]

// JSON-LABEL: "edges": [
// JSON: "name": "relu",
// JSON: "observer": "extrapolated",
// JSON-NEXT: "margin": 1,
// JSON-NEXT: "scaled": true,
// JSON-LABEL: "layers": [
// JSON: "name": "down",
// JSON: "method": "gptq",
// JSON-NEXT: "bias_corrected": true,
// JSON: "name": "late",
// JSON: "type": "f32",
// JSON: "reason": "its weights are not float constants"

// What the recipe leaves is no missed remark.
// RUN: echo '{"base": "w8a8", "edges": [{"match": "act", "quantize": false}], "layers": [{"match": "down", "quantize": false}]}' > %t.recipe.json
// RUN: qtxc %s -o %t.mlir --recipe=%t.recipe.json --calibrate=%t.npz --stop-after=quantize --remarks=analysis --quiet 2>&1 | FileCheck %s --check-prefix=RECIPE
// RECIPE-DAG: {{^}}relu: remark: stays float: 'down' reads it: the recipe leaves it float [analysis: qtx-quantize]
// RECIPE-DAG: {{^}}act: remark: stays float: the recipe leaves it float [analysis: qtx-quantize]
// RECIPE-DAG: {{^}}down: remark: stays float: the recipe leaves it float [analysis: qtx-quantize]

// RUN: qtxc %s -o %t.mlir --recipe=w8a8-dynamic --stop-after=quantize --remarks=missed --quiet 2>&1 | FileCheck %s --check-prefix=DYNAMIC
// DYNAMIC-DAG: remark: stays float: products take no scales of each token, and there is no data [missed: qtx-quantize]
// DYNAMIC-DAG: {{^}}square: remark: stays float: 'product' stays float [missed: qtx-quantize]
// RUN: qtxc %s -o %t.mlir --recipe=peg-opt:2 --calibrate=%t.npz --stop-after=quantize --remarks=missed --quiet 2>&1 | FileCheck %s --check-prefix=GROUPS
// GROUPS-DAG: {{^}}relu: remark: 1 group(s) instead of 2: more would not lower the error [missed: qtx-quantize]
// GROUPS-DAG: {{^}}product: remark: 1 group(s) instead of 2: not only linears read it [missed: qtx-quantize]
// RUN: qtxc %s -o %t.mlir --recipe=int8-all --calibrate=%t.npz --stop-after=quantize --remarks=missed --quiet 2>&1 | FileCheck %s --check-prefix=EVERY
// EVERY: {{^}}sum: remark: stays float: no operation that takes integers reads it [missed: qtx-quantize]

// Without data, ranges alone do not do.
// RUN: qtxc %s -o %t.calibrated.mlir --recipe=int8 --calibrate=%t.npz --stop-after=calibrate --quiet
// RUN: qtxc %t.calibrated.mlir -o %t.mlir --recipe=int8 --stop-after=quantize --remarks=missed --quiet 2>&1 | FileCheck %s --check-prefix=NO-DATA
// NO-DATA-DAG: remark: weights rounded to the nearest: there is no data [missed: qtx-quantize]
// NO-DATA-DAG: remark: bias not corrected: there is no data [missed: qtx-quantize]

// In the report alone: nothing was asked for.
// RUN: qtxc %s -o %t.mlir --recipe=none --stop-after=quantize --remarks=all --report=%t.json --quiet 2>&1 | count 0
// RUN: FileCheck %s --input-file=%t.json --check-prefix=NONE-JSON
// NONE-JSON-LABEL: "edges": [
// NONE-JSON: "reason": "the recipe leaves the model float"
// NONE-JSON-LABEL: "layers": [
// NONE-JSON: "reason": "the recipe leaves the model float"

func.func @main(%x: tensor<1x2x4xf32> {qtx.name = "x"}, %v: tensor<1x4x4xf32> {qtx.name = "v"}, %z: tensor<1x2x4xf32> {qtx.name = "z"})
    -> (tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>) {
  %w = arith.constant dense<[[1.0, 0.5, -0.25, 0.125], [-1.0, 2.0, 0.0, 1.0], [0.5, 0.5, 1.5, -1.0], [9.0, 1.0, -2.0, 90.25]]> : tensor<4x4xf32>
  %gw = arith.constant dense<0.25> : tensor<2x4xf32>
  %gb = arith.constant dense<0.25> : tensor<2xf32>
  %up = qtx.linear %x, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("up")
  %relu = qtx.relu %up : (tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("relu")
  %down = qtx.linear %relu, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("down")
  // Its channels are those of the residual sum.
  %act = qtx.add %x, %down : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("act")
  %both = qtx.linear %act, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("both")
  %after = qtx.linear %both, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("after")
  %before = qtx.add %both, %after : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("before")
  %v1 = tensor.collapse_shape %v [[0, 1], [2]] : tensor<1x4x4xf32> into tensor<4x4xf32>
  %late = qtx.linear %before, %v1 : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("late")
  // Two activations, and one with a constant.
  %product = qtx.batch_matmul %late, %v : (tensor<1x2x4xf32>, tensor<1x4x4xf32>) -> tensor<1x2x4xf32> loc("product")
  %square = qtx.batch_matmul %product, %product transpose_b : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x2xf32> loc("square")
  %shared = qtx.linear %product, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("shared")
  %c = arith.constant dense<0.5> : tensor<1x4x4xf32> loc("table")
  %constant = qtx.layer_norm %shared epsilon 1.0e-5 : (tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("constant")
  %by = qtx.batch_matmul %constant, %c : (tensor<1x2x4xf32>, tensor<1x4x4xf32>) -> tensor<1x2x4xf32> loc("by-constant")
  %zeros = qtx.linear %z, %w : (tensor<1x2x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4xf32> loc("zeros")
  %g = qtx.gate_projection all_heads %act weight(%gw) bias(%gb) : (tensor<1x2x4xf32>, tensor<2x4xf32>, tensor<2xf32>) -> tensor<1x2x2xf32> loc("gate")
  %sum = qtx.add %by, %zeros : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("sum")
  return %sum, %by, %zeros, %late, %square, %g : tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>
}
