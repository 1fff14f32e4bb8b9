// Recipes on a feed-forward network; test/Integration/test_recipes.py runs models.

// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.npz 'x:<f4:3x4=1,2,-3,40,5,6,-7,8,-1,-2,3,-4'
// RUN: qtxc %s -o - --calibrate=%t.npz --recipe=w8a8 --stop-after=quantize --quiet | FileCheck %s
// RUN: qtxc %s -o - --calibrate=%t.npz --stop-after=quantize --quiet | FileCheck %s --check-prefix=INT8
// RUN: qtxc %s -o - --recipe=w8a8-dynamic --stop-after=quantize --quiet | FileCheck %s --check-prefix=DYNAMIC
// RUN: qtxc %s -o - --calibrate=%t.npz --recipe=peg:2 --stop-after=quantize --quiet | FileCheck %s --check-prefix=PEG
// RUN: qtxc %s -o - --recipe=none --stop-after=quantize --quiet | FileCheck %s --check-prefix=FLOAT
// RUN: not qtxc %s -o %t.out.mlir 2>&1 | FileCheck %s --check-prefix=NO-DATA
// RUN: qtxc %s -o %t.quantized.mlir --calibrate=%t.npz --recipe=w8a8 --stop-after=quantize --quiet
// RUN: qtxc %t.quantized.mlir -o - --recipe=peg:2 --stop-after=quantize --quiet 2>&1 | FileCheck %s --check-prefix=KEEPS

// CHECK: %[[X:.*]] = qtx.quantize %arg0 : tensor<?x4xf32> -> tensor<?x4x!quant.uniform<i8:f32, {{[0-9.]+}}:{{-?[0-9]+}}>>
// CHECK: %[[U:.*]] = qtx.linear %[[X]], %{{.*}} scale(%{{.*}}) bias(%{{.*}}) {{.*}} -> tensor<?x4xf32>
// CHECK: %[[A:.*]] = qtx.gelu %[[U]]
// CHECK: %[[Q:.*]] = qtx.quantize %[[A]]
// CHECK: qtx.linear %[[Q]], %{{.*}}tensor<4x4xi8>
// CHECK-NOT: qtx.dequantize

// Scaled and shifted in front of the quantizer; no zero point is left.
// INT8: qtx.scale_shift %arg0
// INT8: qtx.quantize %{{.*}} -> tensor<?x4x!quant.uniform<i8:f32, {{[0-9.]+}}>>

// Scales by the error of the results; a report says so.
// RUN: echo '{"base": "int8", "edges": [{"match": "*", "search": true}]}' > %t.search.json
// RUN: qtxc %s -o - --calibrate=%t.npz --recipe=%t.search.json --report=%t.report.json --stop-after=quantize --quiet | FileCheck %s --check-prefix=INT8
// RUN: FileCheck %s --check-prefix=SEARCHED < %t.report.json
// SEARCHED: "scaling": "search"

// The simulation has the same edges and float weights.
// RUN: qtxc %s -o - --calibrate=%t.npz --simulate --stop-after=quantize --quiet | FileCheck %s --check-prefix=SIMULATED
// SIMULATED: %[[Q:.*]] = qtx.quantize
// SIMULATED: %[[X:.*]] = qtx.dequantize %[[Q]]
// SIMULATED: qtx.linear %[[X]], {{.*}}(tensor<?x4xf32>, tensor<4x4xf32>
// SIMULATED-NOT: i8>
// RUN: not qtxc %t.quantized.mlir -o %t.out.mlir --simulate 2>&1 | FileCheck %s --check-prefix=TWICE
// TWICE: error: expected a float model to simulate, found one that is quantized already
// RUN: not qtxc %s -o %t.out.mlir --recipe=none --simulate 2>&1 | FileCheck %s --check-prefix=NOTHING
// NOTHING: qtxc: error: --simulate: expected a recipe that quantizes, found 'none'

// DYNAMIC: %[[X:.*]], %[[S:.*]], %[[Z:.*]] = qtx.dynamic_quantize %arg0
// DYNAMIC: qtx.linear %[[X]] scale(%[[S]]) zero_point(%[[Z]])

// The sum has the groups of the layer, too.
// PEG: qtx.permute %arg0
// PEG: qtx.quantize {{.*}} [2 * 2]
// PEG: qtx.add
// PEG: qtx.quantize {{.*}} [2 * 2]

// What is quantized stays as it is.
// KEEPS: remark: the model is quantized already and keeps its scales: recipe 'peg:2' is not applied
// KEEPS-NOT: qtx.permute

// FLOAT-NOT: qtx.quantize
// FLOAT: qtx.add

// RUN: not qtxc %s -o %t.out.mlir --recipe=int8 2>&1 | FileCheck %s --check-prefix=NO-DATA
// NO-DATA: error: recipe 'int8' needs observed ranges: calibrate the model with data (--calibrate=DATA.npz), or choose a recipe that takes none (--recipe=w8a8-dynamic or --recipe=none)
// RUN: not qtxc %s -o %t.out.mlir --calibrate=%t.npz --recipe=peg:3 2>&1 | FileCheck %s --check-prefix=DIVIDES
// DIVIDES: error: expected a number of groups that divides the 4 channels of '{{.*}}', found 3
// RUN: not qtxc %s -o %t.out.mlir --recipe=int9 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: qtxc: error: --recipe: expected a recipe (int8, int8-avx2, int8-all, w8a8, w8a8-dynamic, peg:K, peg-opt:K, peg-dynamic:K, w4a8, none) or a file that ends in .json, found 'int9'

// A file changes single edges and layers, by name.
// RUN: echo '{"base": "w8a8", "layers": [{"match": "down", "quantize": false}, {"match": "u*", "bits": 4}]}' > %t.json
// RUN: qtxc %s -o - --calibrate=%t.npz --recipe=%t.json --stop-after=quantize --quiet | FileCheck %s --check-prefix=FILE
// FILE: qtx.linear {{.*}}tensor<4x4xi4>
// FILE: qtx.linear {{.*}}(tensor<?x4xf32>, tensor<4x4xf32>
// RUN: echo '{"base": "w8a8", "edges": [{"match": "nowhere"}]}' > %t.json
// RUN: not qtxc %s -o %t.out.mlir --calibrate=%t.npz --recipe=%t.json 2>&1 | FileCheck %s --check-prefix=NOWHERE
// NOWHERE: error: {{.*}}.json: no edge matches 'nowhere'
// RUN: not qtxc %s -o %t.out.mlir --recipe=%t.none.json 2>&1 | FileCheck %s --check-prefix=NO-FILE
// NO-FILE: qtxc: error: --recipe: {{.*}}.none.json: No such file or directory

func.func @main(%x: tensor<?x4xf32> {qtx.name = "x", qtx.dims = ["batch", ""]}) -> (tensor<?x4xf32> {qtx.name = "y"}) {
  %w = arith.constant dense<[[1.0, 0.5, -0.25, 0.125], [-1.0, 2.0, 0.0, 1.0], [0.5, 0.5, 1.5, -1.0], [0.0, 1.0, -2.0, 0.25]]> : tensor<4x4xf32>
  %b = arith.constant dense<[0.5, -0.5, 0.0, 1.0]> : tensor<4xf32>
  %0 = qtx.linear %x, %w bias(%b) : (tensor<?x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<?x4xf32> loc("up")
  %1 = qtx.gelu %0 : (tensor<?x4xf32>) -> tensor<?x4xf32> loc("activation")
  %2 = qtx.linear %1, %w bias(%b) : (tensor<?x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<?x4xf32> loc("down")
  %3 = qtx.add %x, %2 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> loc("sum")
  %4 = qtx.layer_norm %3 epsilon 1.0e-5 : (tensor<?x4xf32>) -> tensor<?x4xf32> loc("norm")
  return %4 : tensor<?x4xf32>
}
