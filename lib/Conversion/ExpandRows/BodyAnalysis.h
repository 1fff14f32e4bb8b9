//===- BodyAnalysis.h - When values of rows are known -----------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_CONVERSION_EXPANDROWS_BODYANALYSIS_H
#define QTX_LIB_CONVERSION_EXPANDROWS_BODYANALYSIS_H

#include "qtx/Dialect/Qtx/IR/RowOps.h"
#include "llvm/ADT/SetVector.h"

namespace qtx {

/// Values of a body: whether they are the same for all columns of a row, and
/// after how many passes over the columns they are known.
class BodyAnalysis {
public:
  explicit BodyAnalysis(RowsOp op);

  bool isUniform(mlir::Value value) const { return uniform.contains(value); }
  unsigned getLevel(mlir::Value value) const { return levels.lookup(value); }
  unsigned getNumPasses() const { return numPasses; }
  /// Values that later passes read and that are not computed again.
  llvm::ArrayRef<mlir::Value> getKept() const { return kept.getArrayRef(); }

private:
  void setLevel(mlir::Operation &nested);

  /// Operations that computing `value` takes in a pass behind its own.
  unsigned getCost(mlir::Value value,
                   llvm::SmallDenseSet<mlir::Value> &seen) const;

  void findKept();

  RowsOp op;
  llvm::DenseSet<mlir::Value> uniform;
  llvm::DenseMap<mlir::Value, unsigned> levels;
  llvm::SetVector<mlir::Value> kept;
  unsigned numPasses = 1;
};

} // namespace qtx

#endif // QTX_LIB_CONVERSION_EXPANDROWS_BODYANALYSIS_H
