//===- FuseRows.cpp - Join computations on the same rows ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "qtx/Conversion/QtxToRows/QtxToRows.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Dialect/Qtx/IR/RowOps.h"

namespace qtx {
#define GEN_PASS_DEF_QTXFUSEROWSPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

namespace {

/// The operands of the joint operation and where they come from.
struct JointOperands {
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  SmallVector<int64_t> rowIds;

  /// The number of an input, which is added unless it is there already.
  unsigned add(Value value, AffineMap map, int64_t ids) {
    for (unsigned i = 0; i < inputs.size(); ++i)
      if (inputs[i] == value && maps[i] == map && rowIds[i] == ids)
        return i;
    inputs.push_back(value);
    maps.push_back(map);
    rowIds.push_back(ids);
    return inputs.size() - 1;
  }
};

/// Joins `consumer` with `producer`, which computes some of its inputs, or is
/// another reader of one.
class Joiner {
public:
  Joiner(RowsOp producer, RowsOp consumer, PatternRewriter &rewriter)
      : producer(producer), consumer(consumer), rewriter(rewriter) {}

  /// Whether the rows are the same: each element that the consumer reads is the
  /// one that the producer has computed in that place.
  bool canJoin() {
    if (producer->getBlock() != consumer->getBlock() ||
        producer.getNumDims() != consumer.getNumDims() ||
        producer.getNumResults() == 0)
      return false;
    for (auto [number, input] : llvm::enumerate(consumer.getInputs()))
      if (input.getDefiningOp() == producer &&
          (consumer.getIdsOf(number) || !isSameElement(number)))
        return false;
    return findPlace() != nullptr;
  }

  void join() {
    rewriter.setInsertionPoint(findPlace());
    SmallVector<unsigned> producerInputs = addInputs(producer);
    SmallVector<unsigned> consumerInputs = addInputs(consumer);
    SmallVector<Value> outputs;
    SmallVector<AffineMap> maps(operands.maps);
    SmallVector<int64_t> columnIds;
    auto addOutput = [&](RowsOp op, unsigned number,
                         ArrayRef<unsigned> inputs) {
      outputs.push_back(op.getOutputs()[number]);
      maps.push_back(op.getOutputMap(number));
      std::optional<unsigned> columns = op.getColumnsOf(number);
      columnIds.push_back(columns ? int64_t(inputs[*columns]) : -1);
    };
    for (unsigned i = 0; i < consumer.getOutputs().size(); ++i)
      addOutput(consumer, i, consumerInputs);
    SmallVector<unsigned> kept = getKeptResults();
    for (unsigned result : kept)
      addOutput(producer, result, producerInputs);
    auto joint = RowsOp::create(
        rewriter, rewriter.getFusedLoc({producer.getLoc(), consumer.getLoc()}),
        ValueRange(outputs).getTypes(), operands.inputs, outputs,
        rewriter.getAffineMapArrayAttr(maps), getIds(operands.rowIds),
        getIds(columnIds));
    createBody(joint, producerInputs, consumerInputs, kept);
    auto results = joint.getResults();
    for (auto [number, result] : llvm::enumerate(kept))
      rewriter.replaceAllUsesWith(producer.getResult(result),
                                  results[consumer.getNumResults() + number]);
    rewriter.replaceOp(consumer, results.take_front(consumer.getNumResults()));
    rewriter.eraseOp(producer);
  }

private:
  /// Null if no entry names an input.
  DenseI64ArrayAttr getIds(ArrayRef<int64_t> ids) {
    bool isNeeded = llvm::any_of(ids, [](int64_t id) { return id != -1; });
    return isNeeded ? rewriter.getDenseI64ArrayAttr(ids) : nullptr;
  }

  bool isSameElement(unsigned input) {
    unsigned result =
        cast<OpResult>(consumer.getInputs()[input]).getResultNumber();
    AffineMap map = producer.getOutputMap(result);
    return map == consumer.getInputMap(input) && map.isIdentity() &&
           !producer.getColumnsOf(result);
  }

  /// Where all operands are there and nothing has been read: at the consumer if
  /// nobody reads the producer before, or at the producer if the consumer has
  /// no other operand of later.
  Operation *findPlace() {
    auto isBehind = [&](Operation *user) {
      Operation *ancestor = consumer->getBlock()->findAncestorOpInBlock(*user);
      return ancestor &&
             (ancestor == consumer || consumer->isBeforeInBlock(ancestor));
    };
    if (llvm::all_of(producer->getUsers(), isBehind))
      return consumer;
    auto isThere = [&](Value operand) {
      Operation *op = operand.getDefiningOp();
      if (!op || op == producer)
        return true;
      Operation *ancestor = producer->getBlock()->findAncestorOpInBlock(*op);
      return !ancestor || ancestor->isBeforeInBlock(producer);
    };
    if (llvm::all_of(consumer->getOperands(), isThere))
      return producer;
    return nullptr;
  }

  /// The number in the joint operation of every input of `op`. Inputs that the
  /// producer computes have none.
  SmallVector<unsigned> addInputs(RowsOp op) {
    SmallVector<unsigned> numbers(op.getInputs().size(), ~0u);
    // Ids come before the tables that they index.
    for (bool areTables : {false, true})
      for (auto [i, input] : llvm::enumerate(op.getInputs())) {
        std::optional<unsigned> ids = op.getIdsOf(i);
        if (ids.has_value() != areTables ||
            (op == consumer && input.getDefiningOp() == producer))
          continue;
        numbers[i] = operands.add(input, op.getInputMap(i),
                                  ids ? int64_t(numbers[*ids]) : -1);
      }
    return numbers;
  }

  /// Results of the producer that others read.
  SmallVector<unsigned> getKeptResults() {
    SmallVector<unsigned> kept;
    for (OpResult result : producer->getResults())
      if (llvm::any_of(result.getUsers(),
                       [&](Operation *user) { return user != consumer; }))
        kept.push_back(result.getResultNumber());
    return kept;
  }

  void createBody(RowsOp joint, ArrayRef<unsigned> producerInputs,
                  ArrayRef<unsigned> consumerInputs, ArrayRef<unsigned> kept) {
    SmallVector<Type> types;
    for (Value input : operands.inputs)
      types.push_back(cast<ShapedType>(input.getType()).getElementType());
    Block *block = rewriter.createBlock(
        &joint.getBody(), {}, types,
        SmallVector<Location>(types.size(), joint.getLoc()));
    IRMapping mapping;
    cloneBody(producer, block, producerInputs, mapping);
    Operation *produced = producer.getYield();
    for (auto [i, input] : llvm::enumerate(consumer.getInputs()))
      if (input.getDefiningOp() == producer)
        mapping.map(consumer.getBody().getArgument(i),
                    mapping.lookup(produced->getOperand(
                        cast<OpResult>(input).getResultNumber())));
    cloneBody(consumer, block, consumerInputs, mapping);
    SmallVector<Value> yielded;
    for (Value value : consumer.getYield()->getOperands())
      yielded.push_back(mapping.lookup(value));
    for (unsigned result : kept)
      yielded.push_back(mapping.lookup(produced->getOperand(result)));
    YieldOp::create(rewriter, joint.getLoc(), yielded);
  }

  void cloneBody(RowsOp op, Block *block, ArrayRef<unsigned> inputs,
                 IRMapping &mapping) {
    for (auto [i, number] : llvm::enumerate(inputs))
      if (number != ~0u)
        mapping.map(op.getBody().getArgument(i), block->getArgument(number));
    for (Operation &nested : op.getBody().front().without_terminator())
      rewriter.clone(nested, mapping);
  }

  RowsOp producer, consumer;
  PatternRewriter &rewriter;
  JointOperands operands;
};

/// The rows that `consumer` reads and can be joined with, or null.
RowsOp findProducer(RowsOp consumer, PatternRewriter &rewriter) {
  for (Value input : consumer.getInputs())
    if (auto producer = input.getDefiningOp<RowsOp>())
      if (Joiner(producer, consumer, rewriter).canJoin())
        return producer;
  return nullptr;
}

struct FuseProducer : OpRewritePattern<RowsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RowsOp consumer,
                                PatternRewriter &rewriter) const override {
    RowsOp producer = findProducer(consumer, rewriter);
    // From the first on: two normalisations of one sum, of which one is read
    // much later, join with the sum and not the later one with its reader.
    if (!producer || findProducer(producer, rewriter))
      return failure();
    remark::passed(consumer.getLoc(),
                   remark::RemarkOpts::name("fuse").category("qtx-fuse-rows"))
        << remark::add("joined with the rows that it reads");
    Joiner(producer, consumer, rewriter).join();
    return success();
  }
};

bool isReadElementwise(RowsOp op, OpOperand &operand) {
  return op.isDpsInput(&operand) && op.isElementwise(operand);
}

/// Rows before `later` that reduce what it reduces, too, and can be joined with
/// it; or null.
RowsOp findSibling(RowsOp later, PatternRewriter &rewriter) {
  auto reduces = [](RowsOp op) {
    return !op.getBody().getOps<RowReduceOp>().empty();
  };
  if (!reduces(later))
    return nullptr;
  for (OpOperand &input : later->getOpOperands()) {
    if (!isReadElementwise(later, input))
      continue;
    for (OpOperand &use : input.get().getUses()) {
      auto earlier = dyn_cast<RowsOp>(use.getOwner());
      if (earlier && earlier != later && isReadElementwise(earlier, use) &&
          reduces(earlier) && earlier->getBlock() == later->getBlock() &&
          earlier->isBeforeInBlock(later) &&
          Joiner(earlier, later, rewriter).canJoin())
        return earlier;
    }
  }
  return nullptr;
}

struct FuseSibling : OpRewritePattern<RowsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RowsOp later,
                                PatternRewriter &rewriter) const override {
    RowsOp earlier = findSibling(later, rewriter);
    if (!earlier)
      return failure();
    remark::passed(later.getLoc(),
                   remark::RemarkOpts::name("fuse").category("qtx-fuse-rows"))
        << remark::add("joined with rows that reduce the same values");
    Joiner(earlier, later, rewriter).join();
    return success();
  }
};

/// The input in whose place `output` may be: its last reader is `op`. Null if
/// there is none.
Value findPlaceOf(RowsOp op, unsigned output) {
  if (!op.isElementwise(op.getOutputsMutable()[output]))
    return {};
  for (Value input : op.getInputs())
    if (input.getType() == op.getOutputs()[output].getType() &&
        !llvm::is_contained(op.getOutputs(), input) &&
        canBecomeDestination(input, op) &&
        llvm::all_of(input.getUses(), [&](OpOperand &use) {
          return use.getOwner() != op || isReadElementwise(op, use);
        }))
      return input;
  return {};
}

/// Outputs take the places of inputs where they can: fewer lines pass through
/// the caches.
void reuseInputs(RowsOp op) {
  for (unsigned i = 0; i < op.getOutputs().size(); ++i)
    if (Value place = findPlaceOf(op, i))
      op.getOutputsMutable()[i].set(place);
}

struct QtxFuseRowsPass : qtx::impl::QtxFuseRowsPassBase<QtxFuseRowsPass> {
  void runOnOperation() override {
    // Sizes of what a producer computes would count as readers of it.
    RewritePatternSet sizes(&getContext());
    tensor::DimOp::getCanonicalizationPatterns(sizes, &getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(sizes))))
      return signalPassFailure();
    RewritePatternSet patterns(&getContext());
    populateFuseRowsPatterns(patterns);
    // Chains are joined from their heads on.
    GreedyRewriteConfig config;
    config.setUseTopDownTraversal();
    if (failed(
            applyPatternsGreedily(getOperation(), std::move(patterns), config)))
      return signalPassFailure();
    getOperation()->walk(reuseInputs);
  }
};

} // namespace

void qtx::populateFuseRowsPatterns(RewritePatternSet &patterns) {
  patterns.add<FuseProducer, FuseSibling>(patterns.getContext());
}
