// RUN: not qtx-opt %s --qtx-verify-stage=stage=import 2>&1 | FileCheck %s --check-prefix=IMPORT
// RUN: not qtx-opt %s --qtx-verify-stage=stage=calibrate 2>&1 | FileCheck %s --check-prefix=CALIBRATE
// RUN: not qtx-opt %s --qtx-verify-stage=stage=fold 2>&1 | FileCheck %s --check-prefix=FOLD
// RUN: not qtx-opt %s --qtx-verify-stage=stage=fuse 2>&1 | FileCheck %s --check-prefix=FUSE
// RUN: qtx-opt %s --qtx-fold-permute --qtx-fuse-linear 2>&1 | not qtx-opt --qtx-verify-stage=stage=fuse 2>&1 | FileCheck %s --check-prefix=FUSED

// IMPORT: 'qtx.linear' op cannot leave stage 'import': expected a weight of static shape, found tensor<?x8xf32>
// IMPORT-NOT: error
func.func @features(%x: tensor<?x8xf32>, %w: tensor<?x8xf32>) -> tensor<?x?xf32> {
  %y = qtx.linear %x, %w : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// CALIBRATE: 'qtx.gelu' op cannot leave stage 'calibrate': expected an observed range for each result
// CALIBRATE: 'qtx.gelu' op cannot leave stage 'calibrate': expected two numbers for each channel of tensor<?x2xf32> as observed range
// CALIBRATE: 'qtx.gelu' op cannot leave stage 'calibrate': expected finite bounds in order, found 1.000000e+00 to -1.000000e+00 as observed range of channel 1
// CALIBRATE: 'func.func' op cannot leave stage 'calibrate': expected finite bounds in order, found 0.000000e+00 to INF as observed range of channel 0
// CALIBRATE: 'qtx.linear' op cannot leave stage 'calibrate': expected an observed range of its input
func.func @count(%x: tensor<?x2xf32>) {
  %0 = qtx.gelu %x {qtx.observed = []} : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %1 = qtx.gelu %0 {qtx.observed = [dense<0.0> : tensor<2x3xf32>]} : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = qtx.gelu %1 {qtx.observed = [dense<[[0.0, 1.0], [1.0, -1.0]]> : tensor<2x2xf32>]} : (tensor<?x2xf32>) -> tensor<?x2xf32>
  return
}
func.func @argument(%x: tensor<?x1xf32> {qtx.observed = dense<[[0.0], [0x7F800000]]> : tensor<2x1xf32>}) {
  return
}
func.func @input(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x2xf32>
  %y = qtx.linear %x, %w {qtx.observed = [dense<[[0.0, 1.0], [1.0, 1.0]]> : tensor<2x2xf32>]} : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// FOLD: 'qtx.permute' op cannot leave stage 'fold': expected to be part of the constants around it
// FOLD-NOT: 'qtx.permute'
func.func @permute(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %i = arith.constant dense<[1, 0]> : tensor<2xi32>
  %0 = qtx.linear %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = qtx.permute %0 by %i : (tensor<?x2xf32>, tensor<2xi32>) -> tensor<?x2xf32>
  %2 = qtx.linear %1, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  // The caller decides.
  %3 = qtx.permute %x by %i : (tensor<?x2xf32>, tensor<2xi32>) -> tensor<?x2xf32>
  return %2, %3 : tensor<?x2xf32>, tensor<?x2xf32>
}

// FUSE: 'qtx.relu' op cannot leave stage 'fuse': expected to be the epilogue of the linear that it reads
// FUSE: 'qtx.quantize' op cannot leave stage 'fuse': expected to be the epilogue of the linear that it reads
// FUSE-NOT: epilogue
// FUSED: expected a weight of static shape
// FUSED-NOT: epilogue
func.func @epilogues(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2x!quant.uniform<i8:f32, 0.5>>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %0 = qtx.linear %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %1 = qtx.relu %0 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %2 = qtx.linear %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %3 = qtx.quantize %2 : tensor<?x2xf32> -> tensor<?x2x!quant.uniform<i8:f32, 0.5>>
  // Read by two, or by something that has an activation.
  %4 = qtx.linear %x, %w : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %5 = qtx.relu %4 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  %6 = qtx.add %4, %5 : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
  %7 = qtx.linear %x, %w activation gelu : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
  %8 = qtx.silu %7 : (tensor<?x2xf32>) -> tensor<?x2xf32>
  return %1, %3, %6, %8 : tensor<?x2xf32>, tensor<?x2x!quant.uniform<i8:f32, 0.5>>, tensor<?x2xf32>, tensor<?x2xf32>
}
