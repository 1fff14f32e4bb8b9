//===- Segments.h - Functions in segments -----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Cuts functions where few values cross, so that memory holds the code and the
// values of one segment at a time (docs/Rationale/Streaming.md).
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_ANALYSIS_SEGMENTS_H
#define QTX_LIB_ANALYSIS_SEGMENTS_H

#include "mlir/IR/OwningOpRef.h"
#include "qtx/Analysis/Streaming.h"

namespace qtx {

/// Code that computes what some lanes look at.
struct StreamSegment {
  /// One public function. Its arguments are those of the functions that were
  /// cut, and `inputs`.
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// Ascending, and behind those of the segments before.
  llvm::SmallVector<size_t> lanes;
  /// The result that holds each value that lanes look at, by its number.
  llvm::DenseMap<size_t, size_t> resultOfValue;

  /// Values that segments before it kept, by numbers for all segments.
  llvm::SmallVector<size_t> inputs;
  /// Those that no segment behind it needs.
  llvm::SmallVector<size_t> lastUses;
  /// What it keeps: a number and the result that holds it.
  llvm::SmallVector<std::pair<size_t, size_t>> outputs;
};

/// Cuts `functions`, which take the same arguments. Values are numbered through
/// all of them, and each lane lists some. A segment takes about
/// `options.maxSegmentBytes`, or holds one lane.
llvm::Expected<std::vector<StreamSegment>>
cutIntoSegments(llvm::ArrayRef<StreamedFunction> functions,
                llvm::ArrayRef<llvm::SmallVector<size_t>> lanes,
                const StreamOptions &options);

} // namespace qtx

#endif // QTX_LIB_ANALYSIS_SEGMENTS_H
