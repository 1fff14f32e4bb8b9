//===- Measure.h - What quantization costs ----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Fills a report from the IR and by running models. Entries of the float and
// the quantized model meet by the names of their locations.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_MEASURE_H
#define QTX_ANALYSIS_MEASURE_H

#include "qtx/Analysis/Report.h"
#include "qtx/Analysis/Streaming.h"
#include "qtx/Support/Remarks.h"

namespace qtx {

/// The entries of `value` and of the layer that makes it, by the names of their
/// locations; appended if there are none.
EdgeReport &getEdgeReport(Report &report, mlir::Value value);
LayerReport &getLayerReport(Report &report, mlir::Value value);

/// What a layer multiplies: its weights, or else its second factor; null if
/// `op` is no layer.
mlir::Value getFactor(mlir::Operation *op);

/// Adds the edges of the float model `function`, with the ranges that
/// calibration observed, and its layers.
void reportModel(mlir::func::FuncOp function, Report &report);

/// Adds the types and groups that the edges and weights have in `function`, the
/// quantized form of the model. Channels are traced back through permutations.
void reportQuantization(mlir::func::FuncOp function, Report &report);

/// Adds how far the weights of `quantized`, before anything is folded into
/// them, are off those of `model`. Permutations and scales of the inputs are
/// undone.
void reportWeightErrors(mlir::func::FuncOp model, mlir::func::FuncOp quantized,
                        Report &report);

/// Adds a remark, under the name that entries of its location have.
void addRemark(Report &report, const PassRemark &remark);

/// Adds what runs the layers in `function`, which is configured, and why the
/// reference lowering does where no kernel can.
void reportKernels(mlir::func::FuncOp function, Report &report);

/// Runs the quantized form on data and adds the noise of each edge that it
/// quantizes. With `model`, the float function, also the noise of the results
/// of layers against it.
llvm::Error measureNoise(mlir::func::FuncOp model, mlir::func::FuncOp quantized,
                         const CalibrationData &data,
                         const StreamOptions &options, Report &report);

} // namespace qtx

#endif // QTX_ANALYSIS_MEASURE_H
