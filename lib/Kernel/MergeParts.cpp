//===- MergeParts.cpp - One team of threads for several operations --------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Kernel/Passes.h"
#include "qtx/Kernel/Threads.h"

namespace qtx {
#define GEN_PASS_DEF_QTXMERGEPARTSPASS
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static DictionaryAttr getGroup(Operation *op) {
  return isa<scf::ParallelOp>(op)
             ? op->getAttrOfType<DictionaryAttr>(kAlignedPartsAttrName)
             : DictionaryAttr();
}

/// The rows that the first operand of a call has: that of a kernel is its
/// input.
static Value countRows(ImplicitLocOpBuilder &b, func::CallOp call) {
  Value x = call.getOperand(0);
  int64_t rank = cast<MemRefType>(x.getType()).getRank();
  Value rows = arith::ConstantIndexOp::create(b, 1);
  for (int64_t dim = 0; dim + 1 < rank; ++dim)
    rows = arith::MulIOp::create(b, rows, memref::DimOp::create(b, x, dim));
  return rows;
}

namespace {

/// Loops over parts of one group with nothing between them that has to stay
/// there.
class Run {
public:
  /// False if `op` may not lie between the loops.
  bool add(Operation &op) {
    if (getGroup(&op)) {
      if (!loops.empty() && getGroup(&op) != getGroup(loops.front()))
        return false;
      loops.push_back(cast<scf::ParallelOp>(op));
      llvm::append_range(before, std::exchange(between, {}));
      llvm::append_range(behind, std::exchange(freed, {}));
      return true;
    }
    if (loops.empty())
      return false;
    if (isa<memref::DeallocOp>(op)) {
      freed.push_back(&op);
      return true;
    }
    auto call = dyn_cast<func::CallOp>(op);
    bool isMovable = isMemoryEffectFree(&op) || isa<memref::AllocOp>(op) ||
                     (call && isMaxThreadsCall(call));
    if (isMovable)
      between.push_back(&op);
    return isMovable;
  }

  /// Makes one loop of them, where the parts of each have the same rows.
  void merge() {
    if (loops.size() < 2)
      return;
    for (Operation *op : before)
      op->moveBefore(loops.front());
    for (Operation *op : llvm::reverse(behind))
      op->moveAfter(loops.back());
    ImplicitLocOpBuilder b(loops.front().getLoc(), loops.front());
    auto branch = scf::IfOp::create(b, createCondition(b),
                                    /*withElseRegion=*/true);
    b.setInsertionPoint(branch.thenYield());
    auto merged = cast<scf::ParallelOp>(b.clone(*loops.front()));
    merged->removeAttr(kAlignedPartsAttrName);
    b.setInsertionPoint(merged.getBody()->getTerminator());
    for (scf::ParallelOp loop : ArrayRef(loops).drop_front()) {
      IRMapping mapping;
      mapping.map(loop.getInductionVars(), merged.getInductionVars());
      for (Operation &op : loop.getBody()->without_terminator())
        b.clone(op, mapping);
    }
    for (scf::ParallelOp loop : loops) {
      loop->removeAttr(kAlignedPartsAttrName);
      loop->moveBefore(branch.elseYield());
    }
    remark::passed(
        branch.getLoc(),
        remark::RemarkOpts::name("MergeParts").category("qtx-merge-parts"))
        << remark::add("{0} operations by one team of threads", loops.size());
  }

private:
  /// As many parts of all, and rows enough that linears are shared by rows.
  Value createCondition(ImplicitLocOpBuilder &b) {
    Value parts = loops.front().getUpperBound().front();
    Value condition = arith::ConstantIntOp::create(b, 1, 1);
    for (scf::ParallelOp loop : ArrayRef(loops).drop_front())
      condition = arith::AndIOp::create(
          b, condition,
          arith::CmpIOp::create(b, arith::CmpIPredicate::eq, parts,
                                loop.getUpperBound().front()));
    auto minRows =
        getGroup(loops.front()).getAs<IntegerAttr>("min_rows").getInt();
    for (scf::ParallelOp loop : loops)
      for (auto call : loop.getBody()->getOps<func::CallOp>())
        if (call->hasAttr(kKernelCallAttrName))
          return arith::AndIOp::create(
              b, condition,
              arith::CmpIOp::create(
                  b, arith::CmpIPredicate::uge, countRows(b, call),
                  arith::ConstantIndexOp::create(b, minRows)));
    return condition;
  }

  SmallVector<scf::ParallelOp> loops;
  /// What goes before and behind them, and what does so if another loop comes.
  SmallVector<Operation *> before, behind, between, freed;
};

struct QtxMergePartsPass : qtx::impl::QtxMergePartsPassBase<QtxMergePartsPass> {
  void runOnOperation() override {
    SmallVector<Run, 0> runs;
    getOperation()->walk([&](Block *block) {
      Run run;
      for (Operation &op : *block)
        if (!run.add(op)) {
          runs.push_back(std::exchange(run, Run()));
          run.add(op);
        }
      runs.push_back(std::move(run));
    });
    for (Run &run : runs)
      run.merge();
  }
};

} // namespace
