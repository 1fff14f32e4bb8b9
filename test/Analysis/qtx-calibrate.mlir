// Ranges per channel on every edge, without padding, for any number of threads.

// RUN: %python %S/../tools/qtx-run/Inputs/npz.py write %t.npz 'x:<f4:2x2x2=1,-2,7,7,3,4,100,-100' 'attention_mask:<i8:2x2=1,1,1,0'
// RUN: qtx-opt %s --qtx-calibrate=data=%t.npz --remark-format=emitRemark --remarks-filter=.* 2>&1 | FileCheck %s
// RUN: qtx-opt %s --qtx-calibrate="data=%t.npz threads=4" | FileCheck %s --check-prefix=RANGES
// RUN: qtx-opt %s --qtx-calibrate="data=%t.npz observer=running:0.5" | FileCheck %s --check-prefix=RANGES
// RUN: qtx-opt %s --qtx-calibrate="data=%t.npz observer=percentile:75" | FileCheck %s --check-prefix=QUARTILES
// RUN: qtx-opt %s --qtx-calibrate="data=%t.npz observer=mse:16" | FileCheck %s --check-prefix=MSE

// In segments of one edge.
// RUN: qtx-opt %s --qtx-calibrate="data=%t.npz threads=3 segment-bytes=1" | FileCheck %s --check-prefix=RANGES
// RUN: qtx-opt %s --qtx-calibrate="data=%t.npz observer=percentile:75 segment-bytes=1" | FileCheck %s --check-prefix=QUARTILES

// A second run replaces what the first one left.
// RUN: qtx-opt %s --qtx-calibrate=data=%t.npz --qtx-calibrate=data=%t.npz | FileCheck %s --check-prefix=RANGES

// CHECK: remark: [Passed] Calibrate | Category:qtx-calibrate | Remark="observed 6 edges in 2 samples"
// RUN: %python %S/../tools/qtx-run/Inputs/npz.py write %t.x.npz 'x:<f4:1=1'
// RUN: qtx-opt %s --qtx-calibrate="data=%t.x.npz entry=nothing" --remark-format=emitRemark --remarks-filter=.* 2>&1 | FileCheck %s --check-prefix=NOTHING
// NOTHING: remark: [Missed] Calibrate | Category:qtx-calibrate | Reason="no edge to observe"

// Three rows count: (1, -2), (7, 7) and (3, 4).
// RANGES: func.func @main(%{{.*}}: tensor<?x?x2xf32>
// RANGES-SAME{LITERAL}: qtx.observed = dense<[[1.000000e+00, -2.000000e+00], [7.000000e+00, 7.000000e+00]]> : tensor<2x2xf32>
// RANGES: qtx.linear
// RANGES-SAME{LITERAL}: {qtx.observed = [dense<[[-4.000000e+00, -2.000000e+00], [1.400000e+01, 7.000000e+00]]> : tensor<2x2xf32>]}
// RANGES: qtx.split_heads %{{[0-9]+}} : tensor
// RANGES: qtx.attention
// RANGES-SAME: {qtx.observed = [dense<{{.*}}> : tensor<2x1xf32>]}
// RANGES: qtx.merge_heads
// RANGES-SAME: {qtx.observed = [dense<{{.*}}> : tensor<2x2xf32>]}
// RANGES: qtx.relu
// RANGES-SAME{LITERAL}: {qtx.observed = [dense<[[0.000000e+00, 0.000000e+00], [1.400000e+01, 7.000000e+00]]> : tensor<2x2xf32>]}
// RANGES: func.func @nothing

// QUARTILES: func.func @main(
// QUARTILES-SAME{LITERAL}: qtx.observed = dense<[[2.000000e+00, 1.000000e+00], [5.000000e+00, 5.500000e+00]]> : tensor<2x2xf32>

// Sixteen bits lose nothing by the largest range.
// MSE: func.func @main(
// MSE-SAME{LITERAL}: qtx.observed = dense<[[1.000000e+00, -2.000000e+00], [7.000000e+00, 7.000000e+00]]> : tensor<2x2xf32>
func.func @main(%x: tensor<?x?x2xf32> {qtx.name = "x", qtx.dims = ["batch", "sequence", ""]},
                %m: tensor<?x?xi64> {qtx.name = "attention_mask", qtx.dims = ["batch", "sequence"]})
    -> tensor<?x?x2xf32> {
  %w = arith.constant dense<[[0.0, 2.0], [0.0, 1.0]]> : tensor<2x2xf32>
  %c0 = arith.constant 0 : i64
  %h = qtx.linear %x, %w : (tensor<?x?x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
  %s = qtx.split_heads %h : tensor<?x?x2xf32> -> tensor<?x2x?x1xf32>
  %a = qtx.attention %s, %s, %s scale 1.0
      : (tensor<?x2x?x1xf32>, tensor<?x2x?x1xf32>, tensor<?x2x?x1xf32>) -> tensor<?x2x?x1xf32>
  %c = qtx.merge_heads %a : tensor<?x2x?x1xf32> -> tensor<?x?x2xf32>
  %y = qtx.relu %h : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %z = qtx.add %y, %c : (tensor<?x?x2xf32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  return %z : tensor<?x?x2xf32>
}

func.func @nothing(%x: tensor<1xf32> {qtx.name = "x"}) {
  return
}
