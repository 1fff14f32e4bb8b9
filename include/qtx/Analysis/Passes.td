//===- Passes.td - Analysis passes --------------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_PASSES
#define QTX_ANALYSIS_PASSES

include "mlir/Pass/PassBase.td"

def QtxCalibratePass : Pass<"qtx-calibrate", "::mlir::ModuleOp"> {
  let summary = "observe the range of every edge on data";
  let description = [{
    Compiles the function and streams the samples of an archive through it. Every
    float tensor that an operation of qtx reads or writes, constants and masks
    apart, gets its range per channel of the last axis: the attribute
    `qtx.observed`, an array with a `tensor<2xCxf32>` (smallest values, largest
    values) for each result, or the tensor alone on an argument. The operand of
    `qtx.split_heads` carries the range of the view.

    The observers are `min_max`, `running:M` (a moving average over the feeds, with
    momentum M, 0.9 by default), `percentile:P` (all but the (100 - P) % smallest
    and as many of the largest values of a channel, 99.99 by default) `mse:B`
    (the range with the least error of a quantizer with B bits, 8 by default) and
    `extrapolated:N` (what N samples are expected to span, 4000 by default).
    `percentile` and `mse` take a second pass over the data. Ranges do not depend on
    the number of threads, nor on the segments into which the function is cut so that
    its code and values need not be in memory at once (docs/Rationale/Streaming.md).

    Positions where the input `attention_mask` is 0 are padding and do not count.
    NaN and infinities elsewhere are errors at the edge.

    ```mlir
    func.func @main(%x: tensor<?x2xf32> {qtx.name = "x"}) -> tensor<?x2xf32> {
      %y = qtx.relu %x : (tensor<?x2xf32>) -> tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    }
    ```

    becomes, with samples from -1 to 2,

    ```mlir
    func.func @main(%x: tensor<?x2xf32> {
        qtx.name = "x",
        qtx.observed = dense<[[-1.0, -1.0], [2.0, 2.0]]> : tensor<2x2xf32>}) -> tensor<?x2xf32> {
      %y = qtx.relu %x {qtx.observed = [dense<[[0.0, 0.0], [2.0, 2.0]]> : tensor<2x2xf32>]}
          : (tensor<?x2xf32>) -> tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    }
    ```
  }];
  let options = [
    Option<"data", "data", "std::string", "", "Archive (.npz) of samples">,
    Option<"entry", "entry", "std::string", "\"main\"",
           "Function to calibrate">,
    Option<"observer", "observer", "std::string", "\"min_max\"",
           "min_max, running[:MOMENTUM], percentile[:PERCENT], mse[:BITS] or "
           "extrapolated[:SAMPLES]">,
    Option<"threads", "threads", "unsigned", "1", "Threads to run on">,
    Option<"segmentBytes", "segment-bytes", "uint64_t", "1 << 28",
           "Memory that a segment of the function may take">,
  ];
}

#endif // QTX_ANALYSIS_PASSES
