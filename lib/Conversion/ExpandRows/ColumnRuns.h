//===- ColumnRuns.h - Columns with equal parameters -------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_CONVERSION_EXPANDROWS_COLUMNRUNS_H
#define QTX_LIB_CONVERSION_EXPANDROWS_COLUMNRUNS_H

#include "qtx/Dialect/Qtx/IR/RowOps.h"

namespace qtx {

/// Runs of columns within which constant inputs are the same, as scales and
/// zero points of groups are: a run needs no vectors of them, which for a long
/// row are more than the row itself.
class ColumnRuns {
public:
  /// No runs if there are none that are worth a loop each.
  explicit ColumnRuns(RowsOp op);

  struct Run {
    int64_t begin, end;
  };
  llvm::ArrayRef<Run> getRuns() const { return runs; }
  bool areSeveral() const { return runs.size() > 1; }

  /// What `input` is in a run; null if it is not the same for all columns.
  mlir::TypedAttr getValue(unsigned input, const Run &run) const;

private:
  llvm::SmallVector<Run> runs;
  /// The bits of the elements of inputs that are the same for runs of columns.
  llvm::DenseMap<unsigned, llvm::SmallVector<uint32_t>> inputs;
  llvm::DenseMap<unsigned, mlir::Type> types;
};

} // namespace qtx

#endif // QTX_LIB_CONVERSION_EXPANDROWS_COLUMNRUNS_H
