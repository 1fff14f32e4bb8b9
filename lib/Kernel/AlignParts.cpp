//===- AlignParts.cpp - The same rows for the same thread -----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Dialect/Qtx/IR/RowOps.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Kernel/Passes.h"
#include "qtx/Kernel/Threads.h"

namespace qtx {
#define GEN_PASS_DEF_QTXALIGNPARTSPASS
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

namespace {

/// What an operation does to a buffer.
struct Access {
  /// The allocation, global or argument that the buffer is in.
  Value root;
  bool isWritten;
  /// Whether each row of the operation touches its own row of the buffer alone,
  /// and all rows of both are these.
  bool isAligned;
  /// The elements of a row of the buffer, or dynamic: as many rows as there are
  /// of them in it are aligned.
  int64_t width;
};

/// Operations of one block that have the same rows, and touch of all buffers
/// that one of them writes nothing but their own rows.
struct Group {
  SmallVector<Operation *> ops;
  SmallVector<Access> accesses;
  /// Rows of the tiles of linears; 0 if there are none.
  int64_t unit = 0;
  /// From as many rows on, threads share the rows of all linears.
  int64_t minRows = 0;
};

/// An operation as part of a group.
struct Candidate {
  SmallVector<Access> accesses;
  int64_t unit = 0, minRows = 0;
};

} // namespace

/// The buffer that `value` is a view of all of; null for other views.
static Value getViewedWhole(Value value) {
  Operation *op = value.getDefiningOp();
  if (isa_and_present<memref::CastOp, memref::CollapseShapeOp,
                      memref::ExpandShapeOp>(op))
    return op->getOperand(0);
  return {};
}

/// Whether buffers of two such values do not overlap unless they are the same.
static bool isRoot(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return argument.getOwner()->isEntryBlock() &&
           isa<FunctionOpInterface>(argument.getOwner()->getParentOp());
  return isa<memref::AllocOp, memref::GetGlobalOp>(value.getDefiningOp());
}

/// Adds what an operation does to a buffer whose rows are its last dimension,
/// or single elements. False if nothing is known of the buffer.
static bool addAccess(SmallVectorImpl<Access> &accesses, Value buffer,
                      bool isWritten, bool isAligned, bool hasColumns = true) {
  auto type = dyn_cast<MemRefType>(buffer.getType());
  if (!type)
    return !isa<BaseMemRefType>(buffer.getType());
  hasColumns &= type.getRank() > 0;
  int64_t width = hasColumns ? type.getShape().back() : 1;
  Value root = buffer;
  while (Value source = getViewedWhole(root))
    root = source;
  while (auto view = root.getDefiningOp<ViewLikeOpInterface>()) {
    root = view.getViewSource();
    isAligned = false;
  }
  accesses.push_back({root, isWritten, isAligned, width});
  return isRoot(root);
}

/// Absent if threads do not share rows.
static std::optional<Candidate> describe(KernelOp op) {
  auto config = op.getParams().getAs<MicroKernelAttr>("config");
  Partition partition = Partition::get(op.getParams().get(kPartitionParam));
  if (op.getOp() != "qtx.linear" || op.getNumResults() > 0 || !config ||
      partition.threads == 1 || op.getOuts().size() != 1)
    return std::nullopt;
  KernelView<LinearOp> view(op);
  auto getRank = [](Value value) {
    auto type = dyn_cast_or_null<MemRefType>(value ? value.getType() : Type());
    return type ? type.getRank() : 0;
  };
  int64_t rank = getRank(view->getX());
  if (rank < 2)
    return std::nullopt;
  Candidate candidate;
  candidate.minRows = partition.rowSplit;
  const MicroKernel &row = *lookupMicroKernel(config.getKernel());
  candidate.unit = std::max(config.getRows(), row.getNumTileRows());
  for (Value input : op.getInputs()) {
    bool isOfRows = input == view->getX() || input == view->getXScale() ||
                    input == view->getXZeroPoint() || input == view->getBias();
    if (!addAccess(candidate.accesses, input, /*isWritten=*/false,
                   isOfRows && getRank(input) == rank))
      return std::nullopt;
  }
  if (!addAccess(candidate.accesses, op.getOuts().front(), /*isWritten=*/true,
                 /*isAligned=*/true))
    return std::nullopt;
  return candidate;
}

/// Whether `map` takes a row to the row with the same leading indices.
static bool keepsRows(AffineMap map) {
  unsigned leading = map.getNumDims() - 1;
  if (map.getNumResults() < leading)
    return false;
  for (unsigned i = 0; i < leading; ++i)
    if (map.getResult(i) != getAffineDimExpr(i, map.getContext()))
      return false;
  return map.getNumResults() <= leading + 1;
}

static std::optional<Candidate> describe(RowsOp op) {
  if (op.getNumResults() > 0 || op.getNumDims() < 2)
    return std::nullopt;
  Candidate candidate;
  auto hasColumns = [&](AffineMap map) {
    return map.getNumResults() == op.getNumDims();
  };
  for (auto [number, input] : llvm::enumerate(op.getInputs())) {
    AffineMap map = op.getInputMap(number);
    if (!addAccess(candidate.accesses, input, /*isWritten=*/false,
                   !op.getIdsOf(number) && keepsRows(map), hasColumns(map)))
      return std::nullopt;
  }
  for (auto [number, output] : llvm::enumerate(op.getOutputs())) {
    AffineMap map = op.getOutputMap(number);
    if (!addAccess(candidate.accesses, output, /*isWritten=*/true,
                   keepsRows(map), hasColumns(map)))
      return std::nullopt;
  }
  return candidate;
}

static std::optional<Candidate> describe(Operation *op) {
  if (auto kernel = dyn_cast<KernelOp>(op))
    return describe(kernel);
  if (auto rows = dyn_cast<RowsOp>(op))
    return describe(rows);
  return std::nullopt;
}

/// Whether the rows are those of the group, and no part of either waits for
/// another part.
static bool canJoin(const Candidate &candidate, const Group &group) {
  if (candidate.unit != 0 && group.unit != 0 && candidate.unit != group.unit)
    return false;
  bool areSameRows = false;
  for (const Access &own : candidate.accesses)
    for (const Access &other : group.accesses) {
      if (own.root != other.root)
        continue;
      bool isSame = own.isAligned && other.isAligned &&
                    own.width == other.width &&
                    !ShapedType::isDynamic(own.width);
      if ((own.isWritten || other.isWritten) && !isSame)
        return false;
      areSameRows |= isSame;
    }
  return areSameRows;
}

namespace {
struct QtxAlignPartsPass : qtx::impl::QtxAlignPartsPassBase<QtxAlignPartsPass> {
  void runOnOperation() override {
    getOperation()->walk([&](Block *block) { alignBlock(*block); });
  }

private:
  void alignBlock(Block &block) {
    Group group;
    for (Operation &op : block) {
      std::optional<Candidate> candidate;
      if (getMaxThreads(&op) > 1)
        candidate = describe(&op);
      if (!candidate) {
        // What has no effects can come before a group.
        if (!isMemoryEffectFree(&op) &&
            !isa<memref::AllocOp, memref::DeallocOp>(op))
          close(group);
        continue;
      }
      if (!canJoin(*candidate, group))
        close(group);
      group.ops.push_back(&op);
      llvm::append_range(group.accesses, candidate->accesses);
      group.unit = std::max(group.unit, candidate->unit);
      group.minRows = std::max(group.minRows, candidate->minRows);
    }
    close(group);
  }

  void close(Group &group) {
    if (group.ops.size() > 1) {
      Builder b(&getContext());
      auto attr = b.getDictionaryAttr(
          {b.getNamedAttr("group", b.getI64IntegerAttr(numGroups++)),
           b.getNamedAttr("min_rows", b.getI64IntegerAttr(group.minRows)),
           b.getNamedAttr(
               "unit", b.getI64IntegerAttr(std::max<int64_t>(group.unit, 1)))});
      for (Operation *op : group.ops)
        op->setAttr(kAlignedPartsAttrName, attr);
    }
    group = Group();
  }

  int64_t numGroups = 0;
};
} // namespace
