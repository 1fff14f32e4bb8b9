//===- Calibrate.h - Observe the ranges of edges ----------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The stage `calibrate`: streams data through the float model and leaves the
// range of every edge on the IR.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_ANALYSIS_CALIBRATE_H
#define QTX_ANALYSIS_CALIBRATE_H

#include "qtx/Analysis/Observers.h"
#include "qtx/Analysis/Streaming.h"
#include <functional>

namespace qtx {

struct CalibrateOptions {
  ObserverOptions observer;
  /// For single edges, by name; may be null.
  std::function<ObserverOptions(llvm::StringRef edgeName)> getObserver;
  StreamOptions stream;
};

/// The float tensors that operations of qtx at the top level of `function` read
/// or write and that could be quantized, in the order of the function: no
/// constants, no masks, and no views (`qtx.split_heads`), whose operand carries
/// the range.
llvm::SmallVector<mlir::Value> getEdges(mlir::func::FuncOp function);

/// Reads the archive `path` for the inputs of `function`. Reports what is wrong
/// at the function.
mlir::FailureOr<CalibrationData>
readCalibrationData(mlir::func::FuncOp function, llvm::StringRef path);

/// Sets `qtx.observed` on all edges of `function`, in place of what is there.
/// NaN and infinities in the data that counts are errors at the edge.
mlir::LogicalResult calibrate(mlir::func::FuncOp function,
                              const CalibrationData &data,
                              const CalibrateOptions &options = {});

} // namespace qtx

#endif // QTX_ANALYSIS_CALIBRATE_H
