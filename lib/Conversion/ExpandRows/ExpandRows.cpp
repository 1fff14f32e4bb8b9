//===- ExpandRows.cpp - Expand rows into vectors --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/ExpandRows/ExpandRows.h"
#include "../QtxToLinalg/LoweringUtils.h"
#include "ColumnRuns.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "qtx/Dialect/Qtx/IR/RowOps.h"
#include "qtx/Kernel/Target.h"
#include "qtx/Kernel/Threads.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"
#include <limits>

namespace qtx {
#define GEN_PASS_DEF_QTXEXPANDROWSPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

/// A value that takes more operations than this is kept and not computed again.
static constexpr unsigned kMaxRecomputed = 6;

/// Vectors of sums that are added to in turn, so that an addition need not wait
/// for the one before.
static constexpr unsigned kNumAccumulators = 4;

/// Bits of a line of the caches.
static constexpr unsigned kLineBits = 512;

/// Rows of a table are fetched so many rows before they are read.
static constexpr unsigned kRowsAhead = 4;

/// Rows whose pages are looked up at once: a row may lie on two, and the TLB of
/// a core of the Zen 4 class holds 3072.
static constexpr unsigned kMaxTouchedRows = 1024;

/// Tables of no more bytes stay in a cache.
static constexpr int64_t kMaxCachedTable = int64_t(1) << 20;

/// Fewer rows come one after the other: the first ones of many that take turns
/// have passes of their own.
static constexpr int64_t kMinRowsInTurns = 4;

/// The largest row that is kept on the stack.
static constexpr int64_t kMaxStackRow = 8192;

//===----------------------------------------------------------------------===//
// When values are known
//===----------------------------------------------------------------------===//

namespace {

/// Values of a body: whether they are the same for all columns of a row, and
/// after how many passes over the columns they are known.
class BodyAnalysis {
public:
  explicit BodyAnalysis(RowsOp op) : op(op), uniform(op.getUniformValues()) {
    for (Operation &nested : op.getBody().front().without_terminator())
      setLevel(nested);
    for (Value yielded : op.getYield()->getOperands())
      numPasses = std::max(numPasses, getLevel(yielded) + 1);
    findKept();
  }

  bool isUniform(Value value) const { return uniform.contains(value); }
  unsigned getLevel(Value value) const { return levels.lookup(value); }
  unsigned getNumPasses() const { return numPasses; }
  /// Values that later passes read and that are not computed again.
  ArrayRef<Value> getKept() const { return kept.getArrayRef(); }

private:
  void setLevel(Operation &nested) {
    unsigned level = 0;
    for (Value operand : nested.getOperands())
      level = std::max(level, getLevel(operand));
    if (isa<RowReduceOp>(nested))
      ++level;
    for (Value result : nested.getResults())
      levels[result] = level;
  }

  /// Operations that computing `value` takes in a pass behind its own.
  unsigned getCost(Value value, llvm::SmallDenseSet<Value> &seen) const {
    Operation *nested = value.getDefiningOp();
    if (!nested || isUniform(value) || kept.contains(value) ||
        !seen.insert(value).second)
      return 0;
    unsigned cost = 1;
    for (Value operand : nested->getOperands())
      cost += getCost(operand, seen);
    return cost;
  }

  void findKept() {
    for (Operation &nested : op.getBody().front().without_terminator()) {
      if (nested.getNumResults() != 1 || isUniform(nested.getResult(0)))
        continue;
      unsigned level = getLevel(nested.getResult(0));
      for (Value operand : nested.getOperands()) {
        if (isUniform(operand) || getLevel(operand) == level ||
            !operand.getType().isF32())
          continue;
        llvm::SmallDenseSet<Value> seen;
        if (getCost(operand, seen) > kMaxRecomputed)
          kept.insert(operand);
      }
    }
  }

  RowsOp op;
  llvm::DenseSet<Value> uniform;
  llvm::DenseMap<Value, unsigned> levels;
  llvm::SetVector<Value> kept;
  unsigned numPasses = 1;
};

//===----------------------------------------------------------------------===//
// Emission
//===----------------------------------------------------------------------===//

/// Emits the loops of one operation.
class RowsEmitter {
public:
  RowsEmitter(RowsOp op, unsigned lanes, RewriterBase &rewriter)
      : op(op), analysis(op), columnRuns(op), lanes(lanes),
        builder(op.getLoc(), rewriter) {}

  void emit() {
    zero = arith::ConstantIndexOp::create(builder, 0);
    one = arith::ConstantIndexOp::create(builder, 1);
    numColumns = getSize(op.getNumDims() - 1);
    endColumn = numColumns;
    maxThreads = op.getNumDims() > 1 ? getMaxThreads(op) : 1;
    if (maxThreads > 1)
      return emitParts();
    createBuffers();
    OpBuilder::InsertionGuard guard(builder);
    SmallVector<Value> outer;
    for (unsigned dim = 0; dim + 2 < op.getNumDims(); ++dim) {
      auto loop = scf::ForOp::create(builder, zero, getSize(dim), one);
      outer.push_back(loop.getInductionVar());
      builder.setInsertionPointToStart(loop.getBody());
    }
    if (op.getNumDims() == 1)
      return emitRow();
    emitRows(zero, getSize(outer.size()), [&](Value number) {
      row.indices = outer;
      row.indices.push_back(number);
    });
  }

  /// After the loops.
  void freeBuffers() {
    for (Value buffer : allocated)
      memref::DeallocOp::create(builder, buffer);
  }

  /// The loop over the parts; null if there is none.
  scf::ParallelOp getParts() { return parts; }

private:
  //===--------------------------------------------------------------------===//
  // Parts
  //===--------------------------------------------------------------------===//

  /// Threads take ranges of the rows of all dimensions.
  void emitParts() {
    SmallVector<Value> sizes;
    Value numRows = one;
    for (unsigned dim = 0; dim + 1 < op.getNumDims(); ++dim) {
      sizes.push_back(getSize(dim));
      numRows = arith::MulIOp::create(builder, numRows, sizes.back());
    }
    Value elements = arith::MulIOp::create(builder, numRows, numColumns);
    forEachPart(builder, maxThreads, elements, [&](Part part) {
      parts = cast<scf::ParallelOp>(builder.getBlock()->getParentOp());
      createBuffers(part);
      PartRange rows = getRange(builder, part, numRows);
      emitRows(rows.begin, rows.end,
               [&](Value number) { setIndices(number, sizes); });
    });
  }

  /// The indices of a row that is counted through all dimensions.
  void setIndices(Value number, ArrayRef<Value> sizes) {
    row.indices.resize(sizes.size());
    for (unsigned dim = sizes.size() - 1; dim > 0; --dim) {
      row.indices[dim] = arith::RemUIOp::create(builder, number, sizes[dim]);
      number = arith::DivUIOp::create(builder, number, sizes[dim]);
    }
    row.indices[0] = number;
  }

  //===--------------------------------------------------------------------===//
  // Operands
  //===--------------------------------------------------------------------===//

  Value getSize(unsigned dim) {
    auto [operand, position] = op.getOperandWithDim(dim);
    int64_t size = cast<MemRefType>(operand.getType()).getDimSize(position);
    if (ShapedType::isStatic(size))
      return arith::ConstantIndexOp::create(builder, size);
    return memref::DimOp::create(builder, operand, position);
  }

  /// The indices of an operand at a column.
  SmallVector<Value> getIndices(unsigned operand, Value column) {
    SmallVector<Value> result;
    for (AffineExpr expr : op.getInputMap(operand).getResults()) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      if (!dim)
        result.push_back(zero);
      else
        result.push_back(dim.getPosition() < row.indices.size()
                             ? row.indices[dim.getPosition()]
                             : column);
    }
    if (operand < op.getInputs().size())
      if (std::optional<unsigned> ids = op.getIdsOf(operand))
        result.front() = row.tableRows[*ids];
    return result;
  }

  /// Buffers for the values that are kept: an output of the row that is written
  /// later, or memory of its own.
  void createBuffers(Part part = {}) {
    llvm::SmallDenseSet<unsigned> taken;
    for (Value value : analysis.getKept()) {
      std::optional<unsigned> output = findFreeOutput(value, taken);
      if (output) {
        taken.insert(*output);
        keptInOutput[value] = *output;
        continue;
      }
      keptInBuffer[value] = createBuffer(part);
    }
  }

  /// Only the last pass writes where no pass may read any more.
  std::optional<unsigned>
  findFreeOutput(Value value, const llvm::SmallDenseSet<unsigned> &taken) {
    for (auto [number, yielded] : llvm::enumerate(op.getYield()->getOperands()))
      if (!taken.contains(number) && yielded.getType().isF32() &&
          !isInPlace(number) && op.getOutputMap(number).isPermutation() &&
          !op.getColumnsOf(number) &&
          analysis.getLevel(yielded) + 1 == analysis.getNumPasses() &&
          analysis.getLevel(yielded) > analysis.getLevel(value))
        return number;
    return std::nullopt;
  }

  Value createBuffer(Part part) {
    APInt size;
    bool isStatic = matchPattern(numColumns, m_ConstantInt(&size));
    if (!isStatic || size.getSExtValue() > kMaxStackRow)
      return allocateBuffer(part);
    // In a loop, the stack would grow in every iteration.
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(
        part ? parts.getBody()
             : &op->getParentOfType<FunctionOpInterface>()
                    .getFunctionBody()
                    .front());
    auto type = MemRefType::get({size.getSExtValue()}, builder.getF32Type());
    return memref::AllocaOp::create(builder, type);
  }

  /// Memory for a row, of which each part has its own.
  Value allocateBuffer(Part part) {
    auto type = MemRefType::get({ShapedType::kDynamic}, builder.getF32Type());
    if (!part) {
      allocated.push_back(memref::AllocOp::create(builder, type, numColumns));
      return allocated.back();
    }
    {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPoint(parts);
      Value count = arith::ConstantIndexOp::create(builder, maxThreads);
      Value size = arith::MulIOp::create(builder, numColumns, count);
      allocated.push_back(memref::AllocOp::create(builder, type, size));
    }
    Value offset = arith::MulIOp::create(builder, part.number, numColumns);
    return memref::SubViewOp::create(
        builder, allocated.back(), OpFoldResult(offset),
        OpFoldResult(numColumns), OpFoldResult(builder.getIndexAttr(1)));
  }

  //===--------------------------------------------------------------------===//
  // Rows
  //===--------------------------------------------------------------------===//

  /// What is known of a row.
  struct Row {
    SmallVector<Value> indices;
    /// The row of a table by the input that holds its id.
    llvm::DenseMap<unsigned, Value> tableRows;
    /// Its uniform values.
    IRMapping scalars;
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
  void emitRows(Value begin, Value end, function_ref<void(Value)> setRow) {
    if (analysis.getNumPasses() > 1 && analysis.getKept().empty())
      return emitRowsInTurns(begin, end, setRow);
    emitRowByRow(begin, end, setRow);
  }

  void emitRow() {
    emitPassesBefore(analysis.getNumPasses());
    storeUniform();
  }

  /// What the current row has behind it when it comes to the pass `level`.
  void emitPassesBefore(unsigned level) {
    loadUniform();
    emitUniform(0);
    for (unsigned earlier = 0; earlier < level; ++earlier) {
      emitPass(earlier);
      emitUniform(earlier + 1);
    }
  }

  /// Outputs of which a row has one.
  void storeUniform() {
    for (auto [number, yielded] :
         llvm::enumerate(op.getYield()->getOperands())) {
      unsigned operand = op.getInputs().size() + number;
      if (!hasColumn(operand))
        memref::StoreOp::create(builder, row.scalars.lookup(yielded),
                                op.getOutputs()[number],
                                getIndices(operand, {}));
    }
  }

  //===--------------------------------------------------------------------===//
  // Rows in turns
  //===--------------------------------------------------------------------===//

  /// Rows by their numbers.
  struct RowRange {
    Value begin, end, last;
    function_ref<void(Value)> setRow;
  };

  /// One loop over the columns runs the last pass of a row beside the passes
  /// before of rows behind: a row alone would wait for its sums between passes.
  /// Every other row of these is in a pass; those between have their sums added
  /// up and what follows from them computed, for which nothing waits. The last
  /// rows come again where there is none behind, and what becomes of that does
  /// not count.
  void emitRowsInTurns(Value begin, Value end,
                       function_ref<void(Value)> setRow) {
    Value count = arith::SubIOp::create(builder, end, begin);
    Value areMany = arith::CmpIOp::create(
        builder, arith::CmpIPredicate::sge, count,
        arith::ConstantIndexOp::create(builder, kMinRowsInTurns));
    auto branch = scf::IfOp::create(builder, areMany, /*withElseRegion=*/true);
    builder.setInsertionPointToStart(branch.elseBlock());
    emitRowByRow(begin, end, setRow);
    builder.setInsertionPointToStart(branch.thenBlock());
    RowRange rows = {begin, end, arith::SubIOp::create(builder, end, one),
                     setRow};
    touchTables(rows);
    auto loop = scf::ForOp::create(builder, begin, end, one, startRows(rows));
    builder.setInsertionPointToStart(loop.getBody());
    scf::YieldOp::create(builder, emitTurn(rows, loop.getInductionVar(),
                                           loop.getRegionIterArgs()));
  }

  void emitRowByRow(Value begin, Value end, function_ref<void(Value)> setRow) {
    OpBuilder::InsertionGuard guard(builder);
    auto loop = scf::ForOp::create(builder, begin, end, one);
    builder.setInsertionPointToStart(loop.getBody());
    setRow(loop.getInductionVar());
    emitRow();
  }

  /// How far behind the row in the last pass that one is which enters the pass
  /// `level`.
  unsigned getDistance(unsigned level) {
    return 2 * (analysis.getNumPasses() - 1 - level);
  }

  /// The passes of one iteration; returns what the next one has to know.
  SmallVector<Value> emitTurn(const RowRange &rows, Value number,
                              ValueRange known) {
    unsigned numPasses = analysis.getNumPasses();
    SmallVector<Stage, 0> stages = {enterStage(rows, number, 0, known)};
    SmallVector<SmallVector<Value>> ready(numPasses);
    for (unsigned level = 1; level < numPasses; ++level) {
      stages.push_back(enterStage(rows, number, level, known));
      startRowBehind(rows, number, getDistance(level) + 1);
      takeCarried(level - 1, known);
      Pass before = getPass(level - 1);
      SmallVector<Value> sums = take(known, before.reductions.size());
      finishSums(before, sums);
      emitUniform(level);
      ready[level] = getCarried(level);
    }
    if (hasLargeTable()) {
      startRowBehind(rows, number, getDistance(0) + kRowsAhead);
      loadUniform();
      rowAhead = row;
    }
    SmallVector<Value> sums = sumUp(stages);
    rowAhead = Row();
    SmallVector<Value> next;
    ValueRange left = sums;
    for (unsigned level = 1; level < numPasses; ++level) {
      Stage &stage = stages[level - 1];
      row = stage.row;
      llvm::append_range(next, ready[level]);
      llvm::append_range(next, getCarried(level - 1));
      llvm::append_range(next, take(left, stage.pass.reductions.size()));
    }
    row = stages.back().row;
    finishSums(stages.back().pass, llvm::to_vector(left));
    emitUniform(numPasses);
    storeUniform();
    return next;
  }

  /// The passes that the first rows have behind them when the loop starts;
  /// returns what its first iteration has to know.
  SmallVector<Value> startRows(const RowRange &rows) {
    SmallVector<Value> known;
    for (unsigned level = 1; level < analysis.getNumPasses(); ++level) {
      startRowBehind(rows, rows.begin, getDistance(level));
      emitPassesBefore(level);
      llvm::append_range(known, getCarried(level));
      startRowBehind(rows, rows.begin, getDistance(level) + 1);
      emitPassesBefore(level - 1);
      llvm::append_range(known, getCarried(level - 1));
      Stage stage = {getPass(level - 1), row};
      llvm::append_range(known, sumUp(stage));
    }
    return known;
  }

  /// The row that enters the pass `level`.
  Stage enterStage(const RowRange &rows, Value number, unsigned level,
                   ValueRange &known) {
    startRowBehind(rows, number, getDistance(level));
    takeCarried(level, known);
    return {getPass(level), row};
  }

  /// The uniform values of a row that are known after `level` passes, and not
  /// before the first.
  SmallVector<Value> listCarried(unsigned level) {
    SmallVector<Value> values;
    for (Operation &nested : op.getBody().front().without_terminator())
      if (nested.getNumResults() == 1) {
        Value value = nested.getResult(0);
        if (analysis.isUniform(value) && analysis.getLevel(value) > 0 &&
            analysis.getLevel(value) <= level)
          values.push_back(value);
      }
    return values;
  }
  SmallVector<Value> getCarried(unsigned level) {
    return llvm::map_to_vector(listCarried(level), [&](Value value) {
      return row.scalars.lookup(value);
    });
  }
  void takeCarried(unsigned level, ValueRange &known) {
    loadUniform();
    emitUniform(0);
    SmallVector<Value> values = listCarried(level);
    row.scalars.map(values, take(known, values.size()));
  }
  static SmallVector<Value> take(ValueRange &values, size_t count) {
    auto first = llvm::to_vector(values.take_front(count));
    values = values.drop_front(count);
    return first;
  }

  /// Starts with the row that comes `distance` behind another one.
  void startRowBehind(const RowRange &rows, Value number, unsigned distance) {
    Value behind = arith::AddIOp::create(
        builder, number, arith::ConstantIndexOp::create(builder, distance));
    row = Row();
    rows.setRow(arith::MinUIOp::create(builder, behind, rows.last));
  }

  bool isLargeTable(unsigned input) {
    auto type = cast<MemRefType>(op.getInputs()[input].getType());
    return op.getIdsOf(input) && hasColumn(input) &&
           (!type.hasStaticShape() ||
            type.getNumElements() * type.getElementTypeBitWidth() / 8 >
                kMaxCachedTable);
  }
  bool hasLargeTable() {
    return llvm::any_of(llvm::seq<unsigned>(0, op.getInputs().size()),
                        [&](unsigned input) { return isLargeTable(input); });
  }

  /// Looks up the pages of rows of tables, many at a time: a prefetch that
  /// waits for its page holds up what comes behind it.
  void touchTables(const RowRange &rows) {
    if (!hasLargeTable())
      return;
    OpBuilder::InsertionGuard guard(builder);
    Value end = arith::MinUIOp::create(
        builder, rows.end,
        arith::AddIOp::create(
            builder, rows.begin,
            arith::ConstantIndexOp::create(builder, kMaxTouchedRows)));
    auto loop = scf::ForOp::create(builder, rows.begin, end, one);
    builder.setInsertionPointToStart(loop.getBody());
    startRowBehind(rows, loop.getInductionVar(), 0);
    loadUniform();
    Value lastColumn = arith::SubIOp::create(builder, numColumns, one);
    for (unsigned input = 0; input < op.getInputs().size(); ++input)
      if (isLargeTable(input)) {
        prefetch(input, zero);
        prefetch(input, lastColumn);
      }
  }

  /// Fetches what a vector of the first pass reads of tables, for a row that
  /// comes later: neither their cache lines nor their pages follow each other.
  void prefetchTables(Value column, unsigned number) {
    std::swap(row, rowAhead);
    for (unsigned input = 0; input < op.getInputs().size(); ++input) {
      auto type = cast<MemRefType>(op.getInputs()[input].getType());
      if (isLargeTable(input) &&
          number * lanes * type.getElementTypeBitWidth() % kLineBits == 0)
        prefetch(input, column);
    }
    std::swap(row, rowAhead);
  }

  void prefetch(unsigned input, Value column) {
    memref::PrefetchOp::create(builder, op.getInputs()[input],
                               getIndices(input, column), /*isWrite=*/false,
                               /*localityHint=*/3, /*isDataCache=*/true);
  }

  /// Whether an output is where an input is.
  bool isInPlace(unsigned output) {
    return llvm::is_contained(op.getInputs(), op.getOutputs()[output]);
  }

  bool hasColumn(unsigned operand) {
    return op.getInputMap(operand).isFunctionOfDim(op.getNumDims() - 1);
  }

  /// Arguments of which a row has one, ids first.
  void loadUniform() {
    for (bool areInTables : {false, true})
      for (BlockArgument argument : op.getBody().getArguments()) {
        unsigned number = argument.getArgNumber();
        if (hasColumn(number) || op.getIdsOf(number).has_value() != areInTables)
          continue;
        Value loaded = memref::LoadOp::create(builder, op.getInputs()[number],
                                              getIndices(number, {}));
        row.scalars.map(argument, loaded);
        if (!areInTables)
          createTableRow(number, loaded);
      }
  }

  /// The row that an id names, if its input holds ids.
  void createTableRow(unsigned ids, Value id) {
    for (unsigned input = 0; input < op.getInputs().size(); ++input)
      if (op.getIdsOf(input) == ids) {
        auto type = cast<MemRefType>(op.getInputs()[input].getType());
        row.tableRows[ids] = createRowIndex(builder, id, type.getDimSize(0));
        return;
      }
  }

  /// Operations on uniform values that are known after `level` passes.
  void emitUniform(unsigned level) {
    for (Operation &nested : op.getBody().front().without_terminator()) {
      if (isa<RowReduceOp>(nested) || nested.getNumResults() != 1 ||
          !analysis.isUniform(nested.getResult(0)) ||
          analysis.getLevel(nested.getResult(0)) != level)
        continue;
      builder.clone(nested, row.scalars);
    }
  }

  //===--------------------------------------------------------------------===//
  // Passes over the columns
  //===--------------------------------------------------------------------===//

  Pass getPass(unsigned level) {
    Pass pass = {level, {}, {}, {}};
    for (auto reduction : op.getBody().getOps<RowReduceOp>())
      if (analysis.getLevel(reduction.getX()) == level)
        pass.reductions.push_back(reduction);
    // No pass reads what has been overwritten, nor does one come again.
    bool isLast = level + 1 == analysis.getNumPasses();
    for (auto [number, yielded] : llvm::enumerate(op.getYield()->getOperands()))
      if (hasColumn(op.getInputs().size() + number) &&
          (isInPlace(number) ? isLast : analysis.getLevel(yielded) == level))
        pass.outputs.push_back(number);
    for (Value value : analysis.getKept())
      if (analysis.getLevel(value) == level)
        pass.kept.push_back(value);
    return pass;
  }

  /// A pass over the current row.
  void emitPass(unsigned level) {
    Stage stage = {getPass(level), row};
    if (stage.pass.isEmpty())
      return;
    SmallVector<Value> sums = sumUp(stage);
    row = stage.row;
    finishSums(stage.pass, sums);
  }

  /// Passes over different rows, beside each other; returns a vector for each
  /// of their sums.
  SmallVector<Value> sumUp(ArrayRef<Stage> stages) {
    SmallVector<Value> sums;
    for (const Stage &stage : stages)
      for (RowReduceOp reduction : stage.pass.reductions)
        sums.push_back(createIdentity(RowReduceOp(reduction).getKind()));
    if (sums.empty() && columnRuns.areSeveral()) {
      emitRuns(stages);
      return sums;
    }
    Value begin = zero;
    if (!sums.empty()) {
      SmallVector<Value> joint(sums);
      for (unsigned i = 1; i < kNumAccumulators; ++i)
        llvm::append_range(sums, joint);
      Value end = roundDown(kNumAccumulators * lanes);
      sums = emitColumns(stages, begin, end, kNumAccumulators, sums,
                         /*isMasked=*/false);
      sums = joinAccumulators(stages, sums);
      begin = end;
    }
    Value end = roundDown(lanes);
    sums = emitColumns(stages, begin, end, 1, sums, /*isMasked=*/false);
    return emitColumns(stages, end, numColumns, 1, sums, /*isMasked=*/true);
  }

  /// The sums of the current row, from vectors.
  void finishSums(const Pass &pass, ArrayRef<Value> sums) {
    for (auto [of, sum] : llvm::zip_equal(pass.reductions, sums)) {
      RowReduceOp reduction = of;
      row.scalars.map(reduction.getY(), reduceLanes(reduction.getKind(), sum));
    }
  }

  /// A pass without sums over each run of columns.
  void emitRuns(ArrayRef<Stage> stages) {
    for (const ColumnRuns::Run &run : columnRuns.getRuns()) {
      currentRun = &run;
      int64_t rest = (run.end - run.begin) % lanes;
      Value begin = arith::ConstantIndexOp::create(builder, run.begin);
      Value whole = arith::ConstantIndexOp::create(builder, run.end - rest);
      endColumn = arith::ConstantIndexOp::create(builder, run.end);
      emitColumns(stages, begin, whole, 1, {}, /*isMasked=*/false);
      if (rest > 0)
        emitColumns(stages, whole, endColumn, 1, {}, /*isMasked=*/true);
    }
    currentRun = nullptr;
    endColumn = numColumns;
  }

  /// The largest multiple of `step` that is at most the number of columns.
  Value roundDown(unsigned step) {
    Value size = arith::ConstantIndexOp::create(builder, step);
    Value rest = arith::RemUIOp::create(builder, numColumns, size);
    return builder.createOrFold<arith::SubIOp>(numColumns, rest);
  }

  /// A loop over the columns from `begin` to `end`, `unroll` vectors at a time.
  /// Vectors that reach beyond the last column are masked.
  SmallVector<Value> emitColumns(ArrayRef<Stage> stages, Value begin, Value end,
                                 unsigned unroll, ArrayRef<Value> sums,
                                 bool isMasked) {
    Value step = arith::ConstantIndexOp::create(builder, unroll * lanes);
    auto loop = scf::ForOp::create(builder, begin, end, step, sums);
    OpBuilder::InsertionGuard guard(builder);
    Block *body = loop.getBody();
    if (sums.empty())
      builder.setInsertionPoint(body->getTerminator());
    else
      builder.setInsertionPointToEnd(body);
    SmallVector<Value> updated;
    ValueRange known = loop.getRegionIterArgs();
    for (unsigned i = 0; i < unroll; ++i) {
      Value column = loop.getInductionVar();
      if (i > 0)
        column = arith::AddIOp::create(
            builder, column,
            arith::ConstantIndexOp::create(builder, i * lanes));
      if (!rowAhead.indices.empty() && !isMasked)
        prefetchTables(column, i);
      for (const Stage &stage : stages) {
        size_t count = stage.pass.reductions.size();
        row = stage.row;
        emitVector(stage.pass, column, isMasked, known.take_front(count),
                   updated);
        known = known.drop_front(count);
      }
    }
    if (!sums.empty())
      scf::YieldOp::create(builder, updated);
    return SmallVector<Value>(loop.getResults());
  }

  /// One vector of columns.
  void emitVector(const Pass &pass, Value column, bool isMasked,
                  ValueRange sums, SmallVectorImpl<Value> &updated) {
    vectors.clear();
    passLevel = pass.level;
    currentColumn = column;
    mask = {};
    if (isMasked) {
      Value rest = arith::SubIOp::create(builder, endColumn, column);
      mask = vector::CreateMaskOp::create(
          builder, VectorType::get(lanes, builder.getI1Type()), rest);
    }
    for (Value value : pass.kept)
      store(getVector(value), getKeptBuffer(value), getKeptIndices(value));
    // All is read before an output overwrites it.
    for (unsigned output : pass.outputs)
      getVector(op.getYield()->getOperand(output));
    for (unsigned output : pass.outputs)
      storeOutput(output, getVector(op.getYield()->getOperand(output)));
    for (auto [of, sum] : llvm::zip_equal(pass.reductions, sums)) {
      RowReduceOp reduction = of;
      updated.push_back(
          accumulate(reduction.getKind(), getVector(reduction.getX()), sum));
    }
  }

  //===--------------------------------------------------------------------===//
  // Vectors
  //===--------------------------------------------------------------------===//

  VectorType getVectorType(Type element) {
    return VectorType::get(lanes, element);
  }

  /// The value for all columns of the current vector.
  Value getVector(Value value) {
    Value &vector = vectors[value];
    if (vector)
      return vector;
    Value created = createVector(value);
    return vectors[value] = created;
  }

  Value createVector(Value value) {
    if (analysis.isUniform(value))
      return vector::BroadcastOp::create(
          builder, getVectorType(value.getType()), row.scalars.lookup(value));
    if (passLevel > analysis.getLevel(value) &&
        (keptInOutput.contains(value) || keptInBuffer.contains(value)))
      return load(getKeptBuffer(value), getKeptIndices(value));
    if (Value constant = createConstant(value))
      return constant;
    if (auto argument = dyn_cast<BlockArgument>(value))
      return load(op.getInputs()[argument.getArgNumber()],
                  getIndices(argument.getArgNumber(), currentColumn));
    Operation *nested = value.getDefiningOp();
    if (Value bounded = createBounded(nested))
      return bounded;
    if (Value rounded = createRounded(nested))
      return rounded;
    IRMapping mapping;
    for (Value operand : nested->getOperands())
      mapping.map(operand, getVector(operand));
    Operation *clone = builder.clone(*nested, mapping);
    clone->getResult(0).setType(getVectorType(value.getType()));
    return clone->getResult(0);
  }

  /// What is the same in all columns of the current run; else null.
  Value createConstant(Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    TypedAttr number =
        argument && currentRun
            ? columnRuns.getValue(argument.getArgNumber(), *currentRun)
            : TypedAttr();
    if (!number)
      return {};
    return arith::ConstantOp::create(
        builder, DenseElementsAttr::get(getVectorType(number.getType()),
                                        Attribute(number)));
  }

  /// The larger or smaller of a value and a number, or the number where the
  /// value is NaN: one instruction, where LLVM makes four of `maxnum`. Null for
  /// other operations.
  Value createBounded(Operation *nested) {
    if (!isBounded(nested))
      return {};
    return bound(nested, getVector(nested->getOperand(0)));
  }

  /// Whether `nested` is the larger or smaller of a value and a number.
  static bool isBounded(Operation *nested) {
    if (!isa_and_present<arith::MaxNumFOp, arith::MinNumFOp>(nested))
      return false;
    APFloat number(0.0f);
    if (matchPattern(nested->getOperand(1), m_ConstantFloat(&number)))
      return !number.isNaN();
    return isIntegral(nested->getOperand(1));
  }

  static bool isIntegral(Value value) {
    APFloat number(0.0f);
    if (matchPattern(value, m_ConstantFloat(&number)))
      return number.isInteger();
    return isa_and_present<arith::SIToFPOp>(value.getDefiningOp());
  }

  Value bound(Operation *nested, Value x) {
    Value limit = getVector(nested->getOperand(1));
    auto predicate = isa<arith::MaxNumFOp>(nested) ? arith::CmpFPredicate::OGT
                                                   : arith::CmpFPredicate::OLT;
    Value isInside = arith::CmpFOp::create(builder, predicate, x, limit);
    return arith::SelectOp::create(builder, isInside, x, limit);
  }

  /// The integer that a value is rounded to between two bounds. These are
  /// integers, so that rounding may come last, where it is part of the
  /// conversion. Null for other operations.
  Value createRounded(Operation *nested) {
    if (!isa<arith::FPToSIOp>(nested) ||
        !nested->getResult(0).getType().isInteger(32))
      return {};
    Operation *upper = nested->getOperand(0).getDefiningOp();
    Operation *lower =
        isBounded(upper) ? upper->getOperand(0).getDefiningOp() : nullptr;
    if (!isBounded(lower) || !isIntegral(upper->getOperand(1)) ||
        !isIntegral(lower->getOperand(1)))
      return {};
    auto rounded = lower->getOperand(0).getDefiningOp<math::RoundEvenOp>();
    if (!rounded || !rounded.getType().isF32())
      return {};
    Value x = bound(upper, bound(lower, getVector(rounded.getOperand())));
    std::string name = llvm::formatv("llvm.lrint.v{0}i32.v{0}f32", lanes);
    return LLVM::CallIntrinsicOp::create(builder,
                                         getVectorType(builder.getI32Type()),
                                         builder.getStringAttr(name), x)
        .getResult(0);
  }

  Value getKeptBuffer(Value value) {
    auto output = keptInOutput.find(value);
    return output == keptInOutput.end() ? keptInBuffer.lookup(value)
                                        : op.getOutputs()[output->second];
  }
  SmallVector<Value> getKeptIndices(Value value) {
    auto output = keptInOutput.find(value);
    if (output == keptInOutput.end())
      return {currentColumn};
    return getIndices(op.getInputs().size() + output->second, currentColumn);
  }

  Value load(Value buffer, ValueRange at) {
    Type element = cast<MemRefType>(buffer.getType()).getElementType();
    VectorType type = getVectorType(element);
    if (!mask)
      return vector::LoadOp::create(builder, type, buffer, at);
    Value padding =
        arith::ConstantOp::create(builder, builder.getZeroAttr(type));
    return vector::MaskedLoadOp::create(builder, type, buffer, at, mask,
                                        padding);
  }

  void store(Value vector, Value buffer, ValueRange at) {
    if (mask && isOneLaneLeft())
      // LLVM 22 makes four bytes of a masked store of one truncated lane.
      memref::StoreOp::create(
          builder, vector::ExtractOp::create(builder, vector, 0), buffer, at);
    else if (mask)
      vector::MaskedStoreOp::create(builder, buffer, at, mask, vector);
    else
      vector::StoreOp::create(builder, vector, buffer, at);
  }

  /// Whether the last vector has one column.
  bool isOneLaneLeft() {
    if (currentRun)
      return (currentRun->end - currentRun->begin) % lanes == 1;
    APInt size;
    return matchPattern(numColumns, m_ConstantInt(&size)) &&
           size.urem(lanes) == 1;
  }

  void storeOutput(unsigned output, Value vector) {
    Value buffer = op.getOutputs()[output];
    unsigned operand = op.getInputs().size() + output;
    std::optional<unsigned> columns = op.getColumnsOf(output);
    if (!columns)
      return store(vector, buffer, getIndices(operand, currentColumn));
    Value stored = mask;
    if (!stored)
      stored = vector::ConstantMaskOp::create(
          builder, VectorType::get(lanes, builder.getI1Type()),
          vector::ConstantMaskKind::AllTrue);
    vector::ScatterOp::create(
        builder, Type(), buffer, getIndices(operand, zero),
        getVector(op.getBody().getArgument(*columns)), stored, vector);
  }

  //===--------------------------------------------------------------------===//
  // Reductions
  //===--------------------------------------------------------------------===//

  Value createIdentity(RowReduction kind) {
    float value = 0.0f;
    if (kind == RowReduction::Max)
      value = -std::numeric_limits<float>::infinity();
    if (kind == RowReduction::Min)
      value = std::numeric_limits<float>::infinity();
    VectorType type = getVectorType(builder.getF32Type());
    return arith::ConstantOp::create(builder,
                                     DenseElementsAttr::get(type, value));
  }

  Value accumulate(RowReduction kind, Value x, Value sum) {
    if (mask)
      x = arith::SelectOp::create(builder, mask, x, createIdentity(kind));
    if (kind == RowReduction::SquareSum)
      return math::FmaOp::create(builder, x, x, sum);
    return join(kind, x, sum);
  }

  /// The larger or smaller of both, `sum` if `x` is NaN; or their sum.
  Value join(RowReduction kind, Value x, Value sum) {
    if (kind == RowReduction::Sum || kind == RowReduction::SquareSum)
      return arith::AddFOp::create(builder, sum, x);
    auto predicate = kind == RowReduction::Max ? arith::CmpFPredicate::OGT
                                               : arith::CmpFPredicate::OLT;
    Value isBetter = arith::CmpFOp::create(builder, predicate, x, sum);
    return arith::SelectOp::create(builder, isBetter, x, sum);
  }

  SmallVector<Value> joinAccumulators(ArrayRef<Stage> stages,
                                      ArrayRef<Value> sums) {
    size_t count = sums.size() / kNumAccumulators;
    SmallVector<RowReduction> kinds;
    for (const Stage &stage : stages)
      for (RowReduceOp reduction : stage.pass.reductions)
        kinds.push_back(RowReduceOp(reduction).getKind());
    SmallVector<Value> joint(sums.take_front(count));
    for (size_t i = count; i < sums.size(); ++i)
      joint[i % count] = join(kinds[i % count], sums[i], joint[i % count]);
    return joint;
  }

  /// One number from all lanes, halving the vector.
  Value reduceLanes(RowReduction kind, Value sum) {
    for (int64_t half = lanes / 2; half > 0; half /= 2) {
      auto low = llvm::to_vector(llvm::seq<int64_t>(0, half));
      auto high = llvm::to_vector(llvm::seq<int64_t>(half, 2 * half));
      Value lower = vector::ShuffleOp::create(builder, sum, sum, low);
      Value upper = vector::ShuffleOp::create(builder, sum, sum, high);
      sum = join(kind, upper, lower);
    }
    return vector::ExtractOp::create(builder, sum, 0);
  }

  RowsOp op;
  BodyAnalysis analysis;
  ColumnRuns columnRuns;
  unsigned lanes;
  ImplicitLocOpBuilder builder;
  Value zero, one, numColumns;
  /// Null unless columns are passed run by run.
  const ColumnRuns::Run *currentRun = nullptr;
  /// Behind the last column of the current pass.
  Value endColumn;
  int64_t maxThreads = 1;
  scf::ParallelOp parts;
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

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

/// The size of the vectors of the target.
static unsigned getVectorBits(Operation *op) {
  TargetFeatures features(op);
  if (features.has("avx512f"))
    return 512;
  return features.has("avx2") ? 256 : 128;
}

struct QtxExpandRowsPass : qtx::impl::QtxExpandRowsPassBase<QtxExpandRowsPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<RowsOp> ops;
    getOperation()->walk([&](RowsOp op) { ops.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (RowsOp op : ops) {
      if (op.getNumResults() != 0) {
        op.emitOpError() << "expected memrefs, found tensors; bufferize first";
        return signalPassFailure();
      }
      rewriter.setInsertionPoint(op);
      unsigned bits = vectorBits ? unsigned(vectorBits) : getVectorBits(op);
      RowsEmitter emitter(op, bits / 32, rewriter);
      emitter.emit();
      emitter.freeBuffers();
      if (scf::ParallelOp parts = emitter.getParts())
        outline(parts, rewriter);
      rewriter.eraseOp(op);
    }
  }

  /// Makes a function of the code of a part: OpenMP wants one block.
  void outline(scf::ParallelOp parts, IRRewriter &rewriter) {
    std::string name = "qtx_rows";
    for (unsigned i = 0; getOperation().lookupSymbol(name); ++i)
      name = "qtx_rows_" + std::to_string(i);
    FailureOr<func::FuncOp> function = outlineSingleBlockRegion(
        rewriter, parts.getLoc(), parts.getRegion(), name);
    // It only fails on a region of several blocks.
    function->setPrivate();
  }
};

} // namespace
