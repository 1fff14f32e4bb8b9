// Groups that products know of, and groups whose scales are folded into weights;
// test/Integration/test_recipes.py compares both with NumPy.

// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.npz 'x:<f4:2x24=100,100,100,100,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,-100,-100,-100,-100,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1'
// RUN: echo '{"base": "w8a8", "edges": [{"match": "*", "grouping": "optimal", "groups": 2}]}' > %t.grouped.json
// RUN: echo '{"base": "w8a8", "edges": [{"match": "*", "grouping": "optimal", "groups": 2, "form": "folded"}]}' > %t.folded.json
// RUN: echo '{"base": "w8a8", "edges": [{"match": "*", "grouping": "equal", "groups": 2, "form": "auto"}]}' > %t.auto.json
// RUN: qtxc %s -o - --recipe=%t.grouped.json --calibrate=%t.npz --stop-after=quantize --quiet | FileCheck %s --check-prefix=GROUPED
// RUN: qtxc %s -o %t.mlir --recipe=%t.folded.json --calibrate=%t.npz --stop-after=quantize --quiet --remarks=passed 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: FileCheck %s --input-file=%t.mlir --check-prefix=FOLDED
// RUN: qtxc %s -o - --recipe=%t.auto.json --calibrate=%t.npz --stop-after=quantize --quiet --remarks=all 2>&1 | FileCheck %s --check-prefix=AUTO
// RUN: echo '{"base": "w8a8", "edges": [{"match": "*", "grouping": "optimal", "groups": 2, "form": "auto"}]}' > %t.apart.json
// RUN: qtxc %s -o - --recipe=%t.apart.json --calibrate=%t.npz --stop-after=quantize --quiet --remarks=all 2>&1 | FileCheck %s --check-prefix=APART

// GROUPED-LABEL: func.func @main
// GROUPED: qtx.permute %arg0
// GROUPED: qtx.quantize {{.*}} [20, 4]

// No order, and one scale.
// FOLDED-LABEL: func.func @main
// FOLDED-NOT: qtx.permute
// FOLDED: %[[X:.*]] = qtx.scale_shift %arg0
// FOLDED: %[[Q:.*]] = qtx.quantize %[[X]] : {{.*}} -> tensor<?x24x!quant.uniform<
// FOLDED: qtx.linear %[[Q]]
// FOLDED-NOT: qtx.permute
// REMARK: 'x' has the scales of 2 groups folded into weights: {{[0-9.]+}} times the error in a share of 0.60 of the time

// Twelve channels in a group of wide ones lose more than their weights would; four
// wide ones alone lose less.
// AUTO: 'x' has the scales of 2 groups folded into weights
// APART: 'x' keeps 2 groups apart: folded, the product would have {{[0-9.]+}} times the error in a share of 0.60 of the time
func.func @main(%x: tensor<?x24xf32> {qtx.name = "x"}) -> tensor<?x4xf32> {
  %w = arith.constant dense<1.0> : tensor<4x24xf32>
  %0 = qtx.linear %x, %w : (tensor<?x24xf32>, tensor<4x24xf32>) -> tensor<?x4xf32> loc("up")
  return %0 : tensor<?x4xf32>
}
