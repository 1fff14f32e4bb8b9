//===- Emitter.h - Code of qtx.rows -----------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// From the outside in: parts for threads; rows; passes over the columns of a
// row, or of several rows beside each other; vectors of columns.
//
// The emitter's parts: Emitter.cpp has the loops over rows and what a row has
// one of, Turns.cpp rows whose passes run beside each other, Tables.cpp rows of
// tables and how they are fetched, Passes.cpp the loops over columns and their
// sums, Vectors.cpp the operations on a vector of columns. BodyAnalysis.h says
// which pass computes what.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_CONVERSION_EXPANDROWS_EMITTER_H
#define QTX_LIB_CONVERSION_EXPANDROWS_EMITTER_H

#include "BodyAnalysis.h"
#include "ColumnRuns.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "qtx/Dialect/Qtx/IR/RowOps.h"
#include "qtx/Kernel/Threads.h"
#include "qtx/Support/LLVM.h"

namespace qtx {

/// Emits the loops of one operation.
class RowsEmitter {
public:
  RowsEmitter(RowsOp op, unsigned lanes, mlir::RewriterBase &rewriter);

  void emit();

  /// After the loops.
  void freeBuffers();

  /// The loop over the parts; null if there is none.
  mlir::scf::ParallelOp getParts() { return parts; }

private:
  //===--------------------------------------------------------------------===//
  // Parts
  //===--------------------------------------------------------------------===//

  /// Threads take ranges of the rows of all dimensions.
  void emitParts();

  /// The indices of a row that is counted through all dimensions.
  void setIndices(Value number, llvm::ArrayRef<Value> sizes);

  //===--------------------------------------------------------------------===//
  // Operands
  //===--------------------------------------------------------------------===//

  Value getSize(unsigned dim);

  /// The indices of an operand at a column.
  SmallVector<Value> getIndices(unsigned operand, Value column);

  /// Whether an output is where an input is.
  bool isInPlace(unsigned output);

  bool hasColumn(unsigned operand);

  //===--------------------------------------------------------------------===//
  // Buffers
  //===--------------------------------------------------------------------===//

  /// Buffers for the values that are kept: an output of the row that is written
  /// later, or memory of its own.
  void createBuffers(Part part = {});

  /// Only the last pass writes where no pass may read any more.
  std::optional<unsigned>
  findFreeOutput(Value value, const llvm::SmallDenseSet<unsigned> &taken);

  Value createBuffer(Part part);

  /// Memory for a row, of which each part has its own.
  Value allocateBuffer(Part part);

  //===--------------------------------------------------------------------===//
  // Rows
  //===--------------------------------------------------------------------===//

  /// What is known of a row.
  struct Row {
    SmallVector<Value> indices;
    /// The row of a table by the input that holds its id.
    llvm::DenseMap<unsigned, Value> tableRows;
    /// Its uniform values.
    mlir::IRMapping scalars;
  };

  /// What one pass computes.
  struct Pass {
    unsigned level;
    SmallVector<RowReduceOp> reductions;
    SmallVector<unsigned> outputs;
    SmallVector<Value> kept;
    bool isEmpty() const {
      return reductions.empty() && outputs.empty() && kept.empty();
    }
  };

  /// A pass over a row.
  struct Stage {
    Pass pass;
    Row row;
  };

  /// A loop over rows, whose indices `setRow` sets by their numbers.
  void emitRows(Value begin, Value end, llvm::function_ref<void(Value)> setRow);
  void emitRowByRow(Value begin, Value end,
                    llvm::function_ref<void(Value)> setRow);

  void emitRow();

  /// What the current row has behind it when it comes to the pass `level`.
  void emitPassesBefore(unsigned level);

  /// Arguments of which a row has one, ids first.
  void loadUniform();

  /// Operations on uniform values that are known after `level` passes.
  void emitUniform(unsigned level);

  /// Outputs of which a row has one.
  void storeUniform();

  //===--------------------------------------------------------------------===//
  // Rows in turns
  //===--------------------------------------------------------------------===//

  /// Rows by their numbers.
  struct RowRange {
    Value begin, end, last;
    llvm::function_ref<void(Value)> setRow;
  };

  /// One loop over the columns runs the last pass of a row beside the passes
  /// before of rows behind: a row alone would wait for its sums between passes.
  /// Every other row of these is in a pass; those between have their sums added
  /// up and what follows from them computed, for which nothing waits. The last
  /// rows come again where there is none behind, and what becomes of that does
  /// not count.
  void emitRowsInTurns(Value begin, Value end,
                       llvm::function_ref<void(Value)> setRow);

  /// How far behind the row in the last pass that one is which enters the pass
  /// `level`.
  unsigned getDistance(unsigned level) {
    return 2 * (analysis.getNumPasses() - 1 - level);
  }

  /// The passes of one iteration; returns what the next one has to know.
  SmallVector<Value> emitTurn(const RowRange &rows, Value number,
                              ValueRange known);

  /// The passes that the first rows have behind them when the loop starts;
  /// returns what its first iteration has to know.
  SmallVector<Value> startRows(const RowRange &rows);

  /// The row that enters the pass `level`.
  Stage enterStage(const RowRange &rows, Value number, unsigned level,
                   ValueRange &known);

  /// Starts with the row that comes `distance` behind another one.
  void startRowBehind(const RowRange &rows, Value number, unsigned distance);

  /// The uniform values of a row that are known after `level` passes, and not
  /// before the first.
  SmallVector<Value> listCarried(unsigned level);
  SmallVector<Value> getCarried(unsigned level);
  void takeCarried(unsigned level, ValueRange &known);

  //===--------------------------------------------------------------------===//
  // Tables
  //===--------------------------------------------------------------------===//

  /// The row that an id names, if its input holds ids.
  void createTableRow(unsigned ids, Value id);

  bool isLargeTable(unsigned input);
  bool hasLargeTable();

  /// Looks up the pages of rows of tables, many at a time: a prefetch that
  /// waits for its page holds up what comes behind it.
  void touchTables(const RowRange &rows);

  /// Has the first pass fetch tables, where there are large ones.
  void setRowAhead(const RowRange &rows, Value number);

  /// Fetches what a vector of the first pass reads of tables, for a row that
  /// comes later: neither their cache lines nor their pages follow each other.
  void prefetchTables(Value column, unsigned number);

  void prefetch(unsigned input, Value column);

  //===--------------------------------------------------------------------===//
  // Passes over the columns
  //===--------------------------------------------------------------------===//

  Pass getPass(unsigned level);

  /// A pass over the current row.
  void emitPass(unsigned level);

  /// Passes over different rows, beside each other; returns a vector for each
  /// of their sums.
  SmallVector<Value> sumUp(llvm::ArrayRef<Stage> stages);

  /// The sums of the current row, from vectors.
  void finishSums(const Pass &pass, llvm::ArrayRef<Value> sums);

  /// A pass without sums over each run of columns.
  void emitRuns(llvm::ArrayRef<Stage> stages);

  /// The largest multiple of `step` that is at most the number of columns.
  Value roundDown(unsigned step);

  /// A loop over the columns from `begin` to `end`, `unroll` vectors at a time.
  /// Vectors that reach beyond the last column are masked.
  SmallVector<Value> emitColumns(llvm::ArrayRef<Stage> stages, Value begin,
                                 Value end, unsigned unroll,
                                 llvm::ArrayRef<Value> sums, bool isMasked);

  /// One vector of columns.
  void emitVector(const Pass &pass, Value column, bool isMasked,
                  ValueRange sums, SmallVectorImpl<Value> &updated);

  //===--------------------------------------------------------------------===//
  // Reductions
  //===--------------------------------------------------------------------===//

  Value createIdentity(RowReduction kind);

  Value accumulate(RowReduction kind, Value x, Value sum);

  /// The larger or smaller of both, `sum` if `x` is NaN; or their sum.
  Value join(RowReduction kind, Value x, Value sum);

  SmallVector<Value> joinAccumulators(llvm::ArrayRef<Stage> stages,
                                      llvm::ArrayRef<Value> sums);

  /// One number from all lanes, halving the vector.
  Value reduceLanes(RowReduction kind, Value sum);

  //===--------------------------------------------------------------------===//
  // Vectors
  //===--------------------------------------------------------------------===//

  VectorType getVectorType(Type element) {
    return VectorType::get(lanes, element);
  }

  /// The value for all columns of the current vector.
  Value getVector(Value value);

  Value createVector(Value value);

  /// What is the same in all columns of the current run; else null.
  Value createConstant(Value value);

  //===--------------------------------------------------------------------===//
  // Quantization
  //===--------------------------------------------------------------------===//

  /// The larger or smaller of a value and a number, or the number where the
  /// value is NaN: one instruction, where LLVM makes four of `maxnum`. Null for
  /// other operations.
  Value createBounded(mlir::Operation *nested);
  Value bound(mlir::Operation *nested, Value x);

  /// The integer that a value is rounded to between two bounds. These are
  /// integers, so that rounding may come last, where it is part of the
  /// conversion. Null for other operations.
  Value createRounded(mlir::Operation *nested);

  //===--------------------------------------------------------------------===//
  // Loads and stores
  //===--------------------------------------------------------------------===//

  Value getKeptBuffer(Value value);
  SmallVector<Value> getKeptIndices(Value value);

  Value load(Value buffer, ValueRange at);
  void store(Value vector, Value buffer, ValueRange at);

  /// Whether the last vector has one column.
  bool isOneLaneLeft();

  void storeOutput(unsigned output, Value vector);

  RowsOp op;
  BodyAnalysis analysis;
  ColumnRuns columnRuns;
  unsigned lanes;
  mlir::ImplicitLocOpBuilder builder;
  Value zero, one, numColumns;
  /// Null unless columns are passed run by run.
  const ColumnRuns::Run *currentRun = nullptr;
  /// Behind the last column of the current pass.
  Value endColumn;
  int64_t maxThreads = 1;
  mlir::scf::ParallelOp parts;
  SmallVector<Value> allocated;
  llvm::DenseMap<Value, unsigned> keptInOutput;
  llvm::DenseMap<Value, Value> keptInBuffer;
  /// The current row, and one whose tables are fetched.
  Row row, rowAhead;
  // The current vector.
  llvm::DenseMap<Value, Value> vectors;
  unsigned passLevel = 0;
  Value currentColumn, mask;
};

} // namespace qtx

#endif // QTX_LIB_CONVERSION_EXPANDROWS_EMITTER_H
