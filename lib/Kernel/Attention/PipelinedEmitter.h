//===- PipelinedEmitter.h - Overlapped blocks of attention ------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Dot products and exponentials run on different ports of a core, but no core
// looks far enough ahead to see that both are there. So three blocks of queries
// are under way: while the scores of one are multiplied, half of the rows of
// the block before become codes, and the other half while the codes of the
// block before that one meet the values.
//
// Scores and codes of a block stand vector by vector of the keys, in each the
// rows one after the other, so that what a step reads has one address. There
// are two places for either, which blocks take in turns.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_ATTENTION_PIPELINEDEMITTER_H
#define QTX_LIB_KERNEL_ATTENTION_PIPELINEDEMITTER_H

#include "Emitter.h"

namespace qtx {

class PipelinedEmitter : public AttentionEmitter {
public:
  PipelinedEmitter(ImplicitLocOpBuilder &builder, KernelOp op, Part part);

private:
  /// What rows add up while they become codes, row by row: a vector of their
  /// powers, and one of their codes where these are needed.
  using Sums = SmallVector<Value>;
  int64_t getNumSums() { return hasProbSums() ? 2 : 1; }

  /// Called between the steps of a product, `count` times in all.
  struct Beside {
    int64_t count = 0;
    llvm::function_ref<void(int64_t)> emit = nullptr;
  };

  void emitKeyHead(PartRange blocks) override;

  /// One turn of the pipeline. `number` counts turns; a block enters at each
  /// but the last two.
  void emitTurn(Value number, PartRange blocks);
  Sums emitScoresOf(Value number, Value hasPowers, RowRange rows);
  Sums emitContextOf(Value number, Value hasPowers, RowRange rows);

  /// Which of the two places block `number` has.
  Value getPlace(Value number);

  //===--------------------------------------------------------------------===//
  // Products
  //===--------------------------------------------------------------------===//

  /// Sums of a panel of keys from vector `number` on. The result has the
  /// largest of each row in its run of lanes.
  Value emitPanel(Value number, int64_t width, Beside beside);
  Value storeScores(Value number, int64_t width, llvm::ArrayRef<Value> sums);

  /// Products of all codes with some channels of the values, and beside those
  /// of a vector of keys the powers of some rows.
  Sums emitChannels(Value place, Value powerPlace, int64_t first, int64_t width,
                    RowRange rows);

  /// Dot products of a step, and after it what is due of `beside`.
  void emitBeside(const Beside &beside, int64_t step, int64_t numSteps);

  //===--------------------------------------------------------------------===//
  // Powers
  //===--------------------------------------------------------------------===//

  Sums createNoSums(RowRange rows);

  /// Powers without products beside them.
  Sums emitPowersAlone(Value place, RowRange rows, Value hasPowers);

  /// The power of the scores of a row and a vector of keys, and its code, in
  /// two halves: the products between them spare the second one the wait for
  /// the first, in which it would keep products out of the scheduler.
  void beginPower(Value place, Value number, RowRange rows, int64_t row);
  /// Nothing if none has begun.
  void endPower(Sums &sums);
  /// A code less its zero point.
  Value createCodeOf(Value power);
  void storeCodes();

  /// What all rows of a block leave for its result.
  void storeFactors(const Sums &sums);
  void storeLargest(Value joined);

  /// Where the scores of `row` and a vector of keys are, and the first word of
  /// its codes, and how far its words are apart.
  Value getScorePosition(Value number, int64_t row);
  Value getCodePosition(Value place, Value number, int64_t row);
  static constexpr int64_t kCodeStride = 4;

  PowerTable table;

  /// An argument of the table: the bits that have its interval, what it begins
  /// at, and what is left; the row among those of `Sums`, and of the block.
  struct Argument {
    Value bits, rounded, rest;
    int64_t row, inBlock;
  };
  std::optional<Argument> begun;

  /// Codes that wait for those of the next rows, and where they go.
  SmallVector<Value> waiting;
  Value codePosition;
};

} // namespace qtx

#endif // QTX_LIB_KERNEL_ATTENTION_PIPELINEDEMITTER_H
