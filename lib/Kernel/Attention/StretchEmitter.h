//===- StretchEmitter.h - Long rows of qtx.attention ------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rows of scores that are too long to be kept, of float probabilities. Keys and
// values come in stretches, which are packed for a block of many queries; a
// tile of these has the scores of one stretch. So memory does not grow with the
// keys.
//
// What is linear in the probabilities takes one pass: sums are relative to the
// largest score so far, and scaled when that grows. Clipping and quantizing
// need the whole row first: a pass finds its maximum and sum, and another one
// computes the scores again.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_ATTENTION_STRETCHEMITTER_H
#define QTX_LIB_KERNEL_ATTENTION_STRETCHEMITTER_H

#include "Emitter.h"

namespace qtx {

class StretchEmitter : public AttentionEmitter {
public:
  StretchEmitter(ImplicitLocOpBuilder &builder, KernelOp op, Part part,
                 const Stretches &stretches);

private:
  /// As many as there is room for, but some blocks for each part.
  Value createBlockRows() override;
  void createRows() override;
  void packKeyHead() override {}
  void emitBlock() override;

  bool isOnline() { return qtx::isOnline(*view.operator->()); }

  /// Calls `row` for the rows of each tile of `count` queries, which then hold
  /// the sums of a stretch. What it leaves is multiplied with the values.
  void forEachStretch(Value count, bool hasValues,
                      llvm::function_ref<void()> row);
  void emitAndMultiply(Value tile, Value count,
                       llvm::function_ref<void()> emitRows);
  void forEachRow(Value tile, Value count,
                  llvm::function_ref<void(Value)> body);

  /// A row of no keys but the sink.
  void startRow(Value row);

  /// Adds exponentials to the sum of a row. What was added up before them is
  /// multiplied by the factor of the row.
  void joinExponentials();

  /// Probabilities by the maximum and the sum of the row.
  void emitFinalProbs();

  /// Adds the products of a tile to row `inTile` of it.
  void joinContext(Value inTile);

  int64_t stretchKeys;
};

} // namespace qtx

#endif // QTX_LIB_KERNEL_ATTENTION_STRETCHEMITTER_H
