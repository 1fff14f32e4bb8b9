// What has no buffer form cannot be kept, and the segment goes on behind it.

// RUN: %python %S/../tools/qtx-run/Inputs/npz.py write %t.npz 'x:<f4:1x2=1,-2'
// RUN: qtx-opt %s --qtx-calibrate="data=%t.npz segment-bytes=1" --remark-format=emitRemark --remarks-filter=.* 2>&1 | FileCheck %s

// CHECK: remark: [Missed] Calibrate | Category:qtx-calibrate | Reason="a part of the model that is larger than memory is meant for runs at once: values that cross it have types that cannot be kept"
// CHECK: remark: [Passed] Calibrate | Category:qtx-calibrate | Remark="observed 6 edges in 1 samples"
// CHECK: qtx.add
// CHECK-SAME{LITERAL}: qtx.observed = [dense<[[2.000000e+00, -2.000000e+00], [2.000000e+00, -2.000000e+00]]> : tensor<2x2xf32>]
// CHECK: qtx.relu
// CHECK: qtx.relu
// CHECK-SAME{LITERAL}: qtx.observed = [dense<[[3.000000e+00, 0.000000e+00], [3.000000e+00, 0.000000e+00]]> : tensor<2x2xf32>]
#map = affine_map<(i, j) -> (i, j)>
func.func @main(%x: tensor<1x2xf32> {qtx.name = "x"}) -> tensor<1x2xf32> {
  %zero = arith.constant 0.0 : f32
  %codes = tensor.empty() : tensor<1x2xi128>
  %floats = tensor.empty() : tensor<1x2xf32>
  %wide = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<1x2xf32>) outs(%codes : tensor<1x2xi128>) {
  ^bb0(%in: f32, %out: i128):
    %positive = arith.cmpf ogt, %in, %zero : f32
    %code = arith.extui %positive : i1 to i128
    linalg.yield %code : i128
  } -> tensor<1x2xi128>
  %a = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel", "parallel"]}
      ins(%wide : tensor<1x2xi128>) outs(%floats : tensor<1x2xf32>) {
  ^bb0(%in: i128, %out: f32):
    %code = arith.trunci %in : i128 to i32
    %number = arith.sitofp %code : i32 to f32
    linalg.yield %number : f32
  } -> tensor<1x2xf32>
  %early = qtx.add %x, %a : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
  %y = qtx.relu %early : (tensor<1x2xf32>) -> tensor<1x2xf32>
  %b = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel", "parallel"]}
      ins(%y, %wide : tensor<1x2xf32>, tensor<1x2xi128>) outs(%floats : tensor<1x2xf32>) {
  ^bb0(%in: f32, %wideIn: i128, %out: f32):
    %code = arith.trunci %wideIn : i128 to i32
    %number = arith.sitofp %code : i32 to f32
    %sum = arith.addf %in, %number : f32
    linalg.yield %sum : f32
  } -> tensor<1x2xf32>
  %z = qtx.relu %b : (tensor<1x2xf32>) -> tensor<1x2xf32>
  return %z : tensor<1x2xf32>
}
