//===- ExpandRows.cpp - Expand rows into vectors --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/ExpandRows/ExpandRows.h"
#include "../QtxToLinalg/LoweringUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
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
      : op(op), analysis(op), lanes(lanes), builder(op.getLoc(), rewriter) {}

  void emit() {
    zero = arith::ConstantIndexOp::create(builder, 0);
    one = arith::ConstantIndexOp::create(builder, 1);
    numColumns = getSize(op.getNumDims() - 1);
    maxThreads = op.getNumDims() > 1 ? getMaxThreads(op) : 1;
    if (maxThreads > 1)
      return emitParts();
    createBuffers();
    OpBuilder::InsertionGuard guard(builder);
    for (unsigned dim = 0; dim + 1 < op.getNumDims(); ++dim) {
      auto loop = scf::ForOp::create(builder, zero, getSize(dim), one);
      indices.push_back(loop.getInductionVar());
      builder.setInsertionPointToStart(loop.getBody());
    }
    emitRow();
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
      auto loop = scf::ForOp::create(builder, rows.begin, rows.end, one);
      builder.setInsertionPointToStart(loop.getBody());
      setIndices(loop.getInductionVar(), sizes);
      emitRow();
    });
  }

  /// The indices of a row that is counted through all dimensions.
  void setIndices(Value row, ArrayRef<Value> sizes) {
    indices.resize(sizes.size());
    for (unsigned dim = sizes.size() - 1; dim > 0; --dim) {
      indices[dim] = arith::RemUIOp::create(builder, row, sizes[dim]);
      row = arith::DivUIOp::create(builder, row, sizes[dim]);
    }
    indices[0] = row;
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
        result.push_back(dim.getPosition() < indices.size()
                             ? indices[dim.getPosition()]
                             : column);
    }
    if (operand < op.getInputs().size())
      if (std::optional<unsigned> ids = op.getIdsOf(operand))
        result.front() = tableRows[*ids];
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

  std::optional<unsigned>
  findFreeOutput(Value value, const llvm::SmallDenseSet<unsigned> &taken) {
    for (auto [number, yielded] : llvm::enumerate(op.getYield()->getOperands()))
      if (!taken.contains(number) && yielded.getType().isF32() &&
          op.getOutputMap(number).isPermutation() && !op.getColumnsOf(number) &&
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

  void emitRow() {
    loadUniform();
    emitUniform(0);
    for (unsigned pass = 0; pass < analysis.getNumPasses(); ++pass) {
      emitPass(pass);
      emitUniform(pass + 1);
    }
    for (auto [number, yielded] :
         llvm::enumerate(op.getYield()->getOperands())) {
      unsigned operand = op.getInputs().size() + number;
      if (!hasColumn(operand))
        memref::StoreOp::create(builder, scalars.lookup(yielded),
                                op.getOutputs()[number],
                                getIndices(operand, {}));
    }
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
        scalars.map(argument, loaded);
        if (!areInTables)
          createTableRow(number, loaded);
      }
  }

  /// The row that an id names, if its input holds ids.
  void createTableRow(unsigned ids, Value id) {
    for (unsigned input = 0; input < op.getInputs().size(); ++input)
      if (op.getIdsOf(input) == ids) {
        auto type = cast<MemRefType>(op.getInputs()[input].getType());
        tableRows[ids] = createRowIndex(builder, id, type.getDimSize(0));
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
      builder.clone(nested, scalars);
    }
  }

  //===--------------------------------------------------------------------===//
  // Passes over the columns
  //===--------------------------------------------------------------------===//

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

  Pass getPass(unsigned level) {
    Pass pass = {level, {}, {}, {}};
    for (auto reduction : op.getBody().getOps<RowReduceOp>())
      if (analysis.getLevel(reduction.getX()) == level)
        pass.reductions.push_back(reduction);
    for (auto [number, yielded] : llvm::enumerate(op.getYield()->getOperands()))
      if (hasColumn(op.getInputs().size() + number) &&
          analysis.getLevel(yielded) == level)
        pass.outputs.push_back(number);
    for (Value value : analysis.getKept())
      if (analysis.getLevel(value) == level)
        pass.kept.push_back(value);
    return pass;
  }

  void emitPass(unsigned level) {
    Pass pass = getPass(level);
    if (pass.isEmpty())
      return;
    unsigned unroll = pass.reductions.empty() ? 1 : kNumAccumulators;
    SmallVector<Value> sums;
    for (unsigned i = 0; i < unroll; ++i)
      for (RowReduceOp reduction : pass.reductions)
        sums.push_back(createIdentity(reduction.getKind()));
    Value begin = zero;
    if (unroll > 1) {
      Value end = roundDown(unroll * lanes);
      sums = emitColumns(pass, begin, end, unroll, sums, /*isMasked=*/false);
      sums = joinAccumulators(pass, sums);
      begin = end;
    }
    Value end = roundDown(lanes);
    sums = emitColumns(pass, begin, end, 1, sums, /*isMasked=*/false);
    sums = emitColumns(pass, end, numColumns, 1, sums, /*isMasked=*/true);
    for (auto [reduction, sum] : llvm::zip_equal(pass.reductions, sums))
      scalars.map(reduction.getY(), reduceLanes(reduction.getKind(), sum));
  }

  /// The largest multiple of `step` that is at most the number of columns.
  Value roundDown(unsigned step) {
    Value size = arith::ConstantIndexOp::create(builder, step);
    Value rest = arith::RemUIOp::create(builder, numColumns, size);
    return builder.createOrFold<arith::SubIOp>(numColumns, rest);
  }

  /// A loop over the columns from `begin` to `end`, `unroll` vectors at a time.
  /// Vectors that reach beyond the last column are masked.
  SmallVector<Value> emitColumns(Pass &pass, Value begin, Value end,
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
    for (unsigned i = 0; i < unroll; ++i) {
      Value column = loop.getInductionVar();
      if (i > 0)
        column = arith::AddIOp::create(
            builder, column,
            arith::ConstantIndexOp::create(builder, i * lanes));
      size_t count = pass.reductions.size();
      emitVector(pass, column, isMasked,
                 loop.getRegionIterArgs().slice(i * count, count), updated);
    }
    if (!sums.empty())
      scf::YieldOp::create(builder, updated);
    return SmallVector<Value>(loop.getResults());
  }

  /// One vector of columns.
  void emitVector(Pass &pass, Value column, bool isMasked, ValueRange sums,
                  SmallVectorImpl<Value> &updated) {
    vectors.clear();
    passLevel = pass.level;
    currentColumn = column;
    mask = {};
    if (isMasked) {
      Value rest = arith::SubIOp::create(builder, numColumns, column);
      mask = vector::CreateMaskOp::create(
          builder, VectorType::get(lanes, builder.getI1Type()), rest);
    }
    for (Value value : pass.kept)
      store(getVector(value), getKeptBuffer(value), getKeptIndices(value));
    for (unsigned output : pass.outputs)
      storeOutput(output, getVector(op.getYield()->getOperand(output)));
    for (auto [reduction, sum] : llvm::zip_equal(pass.reductions, sums))
      updated.push_back(
          accumulate(reduction.getKind(), getVector(reduction.getX()), sum));
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
          builder, getVectorType(value.getType()), scalars.lookup(value));
    if (passLevel > analysis.getLevel(value) &&
        (keptInOutput.contains(value) || keptInBuffer.contains(value)))
      return load(getKeptBuffer(value), getKeptIndices(value));
    if (auto argument = dyn_cast<BlockArgument>(value))
      return load(op.getInputs()[argument.getArgNumber()],
                  getIndices(argument.getArgNumber(), currentColumn));
    Operation *nested = value.getDefiningOp();
    if (Value bounded = createBounded(nested))
      return bounded;
    IRMapping mapping;
    for (Value operand : nested->getOperands())
      mapping.map(operand, getVector(operand));
    Operation *clone = builder.clone(*nested, mapping);
    clone->getResult(0).setType(getVectorType(value.getType()));
    return clone->getResult(0);
  }

  /// The larger or smaller of a value and a number, or the number where the
  /// value is NaN: one instruction, where LLVM makes four of `maxnum`. Null for
  /// other operations.
  Value createBounded(Operation *nested) {
    APFloat number(0.0f);
    if (!isa<arith::MaxNumFOp, arith::MinNumFOp>(nested) ||
        !matchPattern(nested->getOperand(1), m_ConstantFloat(&number)) ||
        number.isNaN())
      return {};
    Value x = getVector(nested->getOperand(0));
    Value bound = getVector(nested->getOperand(1));
    auto predicate = isa<arith::MaxNumFOp>(nested) ? arith::CmpFPredicate::OGT
                                                   : arith::CmpFPredicate::OLT;
    Value isInside = arith::CmpFOp::create(builder, predicate, x, bound);
    return arith::SelectOp::create(builder, isInside, x, bound);
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
    APInt size;
    if (mask && matchPattern(numColumns, m_ConstantInt(&size)) &&
        size.urem(lanes) == 1)
      // LLVM 22 makes four bytes of a masked store of one truncated lane.
      memref::StoreOp::create(
          builder, vector::ExtractOp::create(builder, vector, 0), buffer, at);
    else if (mask)
      vector::MaskedStoreOp::create(builder, buffer, at, mask, vector);
    else
      vector::StoreOp::create(builder, vector, buffer, at);
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

  SmallVector<Value> joinAccumulators(Pass &pass, ArrayRef<Value> sums) {
    size_t count = pass.reductions.size();
    SmallVector<Value> joint(sums.take_front(count));
    for (size_t i = count; i < sums.size(); ++i)
      joint[i % count] =
          join(pass.reductions[i % count].getKind(), sums[i], joint[i % count]);
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
  unsigned lanes;
  ImplicitLocOpBuilder builder;
  Value zero, one, numColumns;
  int64_t maxThreads = 1;
  scf::ParallelOp parts;
  SmallVector<Value> indices;
  SmallVector<Value> allocated;
  llvm::DenseMap<Value, unsigned> keptInOutput;
  llvm::DenseMap<Value, Value> keptInBuffer;
  /// The row of a table by the input that holds its id.
  llvm::DenseMap<unsigned, Value> tableRows;
  /// Uniform values of the current row.
  IRMapping scalars;
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
