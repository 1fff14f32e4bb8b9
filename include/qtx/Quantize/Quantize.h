//===- Quantize.h - The stage quantize --------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Takes the float model with observed ranges to quantized form, by a recipe.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_QUANTIZE_QUANTIZE_H
#define QTX_QUANTIZE_QUANTIZE_H

#include "qtx/Analysis/Report.h"
#include "qtx/Analysis/Streaming.h"
#include "qtx/Quantize/Recipe.h"

namespace qtx {

struct QuantizeOptions {
  /// What the model was calibrated with; null if it is not at hand. Biases are
  /// corrected and errors minimised with it only.
  const CalibrationData *data = nullptr;
  StreamOptions stream;
  /// Called when channels are scaled and shifted inside of the float model,
  /// which computes the same: what the quantized one is compared with. Not
  /// called if nothing is quantized.
  std::function<void()> prepared;
  /// Null for no report.
  Report *report = nullptr;
  /// Leave the simulation: edges are quantized and dequantized at once, weights
  /// hold the numbers that their integers mean, and all else is float.
  bool simulate = false;
};

/// Quantizes the edges and weights at the top level of `function` that `recipe`
/// chooses (docs/Recipes.md).
mlir::LogicalResult quantizeModel(mlir::func::FuncOp function,
                                  const Recipe &recipe,
                                  const QuantizeOptions &options);

/// Lets operations take the quantized operands of the `qtx.dequantize` that
/// they read: linears with integer weights, attention whose three inputs are
/// quantized, and elementwise operations.
void useQuantizedOperands(mlir::func::FuncOp function);

} // namespace qtx

#endif // QTX_QUANTIZE_QUANTIZE_H
