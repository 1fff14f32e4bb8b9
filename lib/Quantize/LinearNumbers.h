//===- LinearNumbers.h - Weights of linears as numbers ----------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads and writes the float constants of linears.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_QUANTIZE_LINEARNUMBERS_H
#define QTX_LIB_QUANTIZE_LINEARNUMBERS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include <vector>

namespace qtx {

/// A constant of 32-bit floats.
mlir::Value createFloats(mlir::OpBuilder &builder, mlir::Location loc,
                         llvm::ArrayRef<int64_t> shape,
                         llvm::ArrayRef<float> values);

/// Whether `value` is a tensor of 32-bit floats.
bool isFloatTensor(mlir::Value value);

/// Whether the weights and bias of `op` are float constants that can change.
bool isAdjustable(LinearOp op);

/// The weights and bias of a linear.
struct LinearNumbers {
  explicit LinearNumbers(LinearOp op);

  /// Returns the new constant.
  mlir::DenseResourceElementsAttr storeWeights(LinearOp op) const;
  void storeBias(LinearOp op) const;

  int64_t rows, columns;
  std::vector<float> weights, bias;
};

} // namespace qtx

#endif // QTX_LIB_QUANTIZE_LINEARNUMBERS_H
