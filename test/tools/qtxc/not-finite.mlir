// Numbers that are finite in the float model and not behind a quantizer: the edge is named.

// RUN: %python %S/../qtx-run/Inputs/npz.py write %t.npz 'x:<f4:2x2=100,1,0.01,2'
// RUN: qtxc %s -o - --recipe=w8a8 --calibrate=%t.npz --stop-after=calibrate --quiet | FileCheck %s --check-prefix=FINITE
// RUN: rm -f %t.mlir
// RUN: echo '{"base": "w8a8", "layers": [{"match": "*", "gptq": true}]}' > %t.json
// RUN: not qtxc %s -o %t.mlir --recipe=%t.json --calibrate=%t.npz --stop-after=quantize --quiet 2>&1 | FileCheck %s
// RUN: not ls %t.mlir

// FINITE: arith.divf {{.*}}qtx.observed
// CHECK: error: edge 'inverse' of the quantized model: expected finite numbers, found infinity in channel 0 in sample 1
// CHECK-NOT: error
func.func @main(%x: tensor<?x2xf32> {qtx.name = "x"}) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[1.0, 0.0], [0.0, 1.0]]> : tensor<2x2xf32>
  %0 = qtx.linear %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32> loc("up")
  %1 = arith.divf %x, %0 : tensor<?x2xf32> loc("inverse")
  %2 = qtx.linear %1, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32> loc("down")
  return %2 : tensor<?x2xf32>
}
