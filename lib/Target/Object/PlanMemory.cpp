//===- PlanMemory.cpp - Place intermediates in a workspace ----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "qtx/Target/Object.h"
#include "qtx/Target/Passes.h"
#include "llvm/ADT/SetVector.h"

namespace qtx {
#define GEN_PASS_DEF_QTXPLANMEMORYPASS
#include "qtx/Target/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

/// What a dynamic size counts for when buffers are compared.
static constexpr int64_t kTypicalSize = 64;

namespace {
/// A buffer of the model and the operations of the entry's block between which
/// it lives.
struct Intermediate {
  memref::AllocOp alloc;
  unsigned begin, end;
  /// The sizes that are dynamic, computed where the function starts.
  SmallVector<Value> sizes;
  unsigned slot = 0;
};

/// A part of the workspace that intermediates use one after another.
struct Slot {
  unsigned lastUse;
  int64_t typicalBytes;
  SmallVector<unsigned> intermediates;
};

class MemoryPlanner {
public:
  explicit MemoryPlanner(func::FuncOp entry)
      : entry(entry), block(&entry.getBody().front()),
        builder(entry.getLoc(), entry.getContext()), views(entry) {
    unsigned position = 0;
    for (Operation &op : *block)
      positions[&op] = position++;
  }

  LogicalResult run() {
    if (failed(collect()))
      return failure();
    assignSlots();
    if (failed(makeSizesFunction()))
      return failure();
    placeIntermediates();
    returnStatusOnly();
    return success();
  }

private:
  //===--- Lifetimes
  //----------------------------------------------------------//

  LogicalResult collect() {
    WalkResult result = entry.walk([&](memref::AllocOp alloc) {
      return WalkResult(addIntermediate(alloc));
    });
    llvm::stable_sort(intermediates, [](const auto &a, const auto &b) {
      return a.begin < b.begin;
    });
    return failure(result.wasInterrupted());
  }

  LogicalResult addIntermediate(memref::AllocOp alloc) {
    if (!alloc.getType().getLayout().isIdentity())
      return alloc.emitError("expected a buffer in row-major order, found ")
             << alloc.getType();
    Intermediate &added = intermediates.emplace_back();
    added.alloc = alloc;
    added.begin = added.end = getPosition(alloc);
    for (Value alias : views.resolve(alloc.getResult())) {
      if (isCarriedOutOfLoop(alloc, alias))
        return alloc.emitError(
            "expected a buffer that one iteration of a loop uses");
      for (Operation *user : alias.getUsers())
        added.end = std::max(added.end, getPosition(user));
    }
    return success();
  }

  /// The place of `op`, or of the operation that contains it, in the block of
  /// the entry.
  unsigned getPosition(Operation *op) {
    return positions.lookup(block->findAncestorOpInBlock(*op));
  }

  static bool isCarriedOutOfLoop(memref::AllocOp alloc, Value alias) {
    auto loop = alloc->getParentOfType<LoopLikeOpInterface>();
    return loop &&
           !loop->isProperAncestor(alias.getParentBlock()->getParentOp()) &&
           alias.getParentBlock()->getParentOp() != loop;
  }

  //===--- Slots
  //--------------------------------------------------------------//

  /// Each intermediate takes the free slot that fits best, or a new one.
  void assignSlots() {
    for (auto [index, value] : llvm::enumerate(intermediates)) {
      int64_t bytes = getTypicalBytes(value.alloc.getType());
      Slot *best = findSlot(value.begin, bytes);
      if (!best)
        best = &slots.emplace_back(Slot{0, bytes, {}});
      best->lastUse = value.end;
      best->typicalBytes = std::max(best->typicalBytes, bytes);
      best->intermediates.push_back(index);
      value.slot = best - slots.data();
    }
  }

  Slot *findSlot(unsigned begin, int64_t bytes) {
    Slot *best = nullptr;
    auto waste = [&](const Slot &slot) {
      return std::abs(slot.typicalBytes - bytes);
    };
    for (Slot &slot : slots)
      if (slot.lastUse < begin && (!best || waste(slot) < waste(*best)))
        best = &slot;
    return best;
  }

  static int64_t getElementBytes(MemRefType type) {
    Type element = type.getElementType();
    return element.isIndex()
               ? 8
               : llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  }

  static int64_t getTypicalBytes(MemRefType type) {
    int64_t bytes = getElementBytes(type);
    for (int64_t size : type.getShape())
      bytes *= ShapedType::isDynamic(size) ? kTypicalSize : size;
    return bytes;
  }

  //===--- Sizes
  //--------------------------------------------------------------//

  Value makeConstant(int64_t value) {
    return arith::ConstantIndexOp::create(builder, value);
  }

  /// The bytes of `type`, up to the next multiple of the alignment.
  Value computeBytes(MemRefType type, ValueRange sizes) {
    int64_t fixed = getElementBytes(type);
    for (int64_t size : type.getShape())
      fixed *= ShapedType::isDynamic(size) ? 1 : size;
    Value bytes = makeConstant(fixed);
    for (Value size : sizes)
      bytes = arith::MulIOp::create(builder, bytes, size);
    Value mask = makeConstant(-kBufferAlignment);
    bytes = arith::AddIOp::create(builder, bytes,
                                  makeConstant(kBufferAlignment - 1));
    return arith::AndIOp::create(builder, bytes, mask);
  }

  /// Computes the dynamic sizes of every intermediate with `cloner`.
  LogicalResult computeSizes(SizeCloner &cloner) {
    for (Intermediate &value : intermediates) {
      value.sizes.clear();
      for (Value size : value.alloc.getDynamicSizes()) {
        if (!cloner.canClone(size))
          return value.alloc.emitError(
              "expected a size that follows from the sizes of the inputs");
        value.sizes.push_back(cloner.clone(builder, size));
      }
    }
    return success();
  }

  /// The offsets of the slots and, last, the bytes of the workspace.
  SmallVector<Value> computeOffsets() {
    SmallVector<Value> offsets{makeConstant(0)};
    for (const Slot &slot : slots) {
      Value largest;
      for (unsigned index : slot.intermediates) {
        Intermediate &value = intermediates[index];
        Value bytes = computeBytes(value.alloc.getType(), value.sizes);
        largest =
            largest ? arith::MaxUIOp::create(builder, largest, bytes) : bytes;
      }
      offsets.push_back(
          arith::AddIOp::create(builder, offsets.back(), largest));
    }
    return offsets;
  }

  //===--- Rewriting
  //----------------------------------------------------------//

  /// Makes `qtx_sizes`, and marks each assertion with the status it gives.
  LogicalResult makeSizesFunction() {
    auto dims = getArguments(entry, kDimRole);
    SmallVector<Type> inputs(dims.size(), builder.getIndexType());
    auto terminator = cast<func::ReturnOp>(block->getTerminator());
    SmallVector<Type> results(terminator.getOperandTypes());
    results.insert(results.begin() + 1, builder.getIndexType());
    builder.setInsertionPoint(entry);
    auto sizes = func::FuncOp::create(builder, kSizesFunction,
                                      builder.getFunctionType(inputs, results));
    sizes.setPrivate();
    Block *body = sizes.addEntryBlock();
    builder.setInsertionPointToStart(body);
    SizeCloner cloner(entry, body->getArguments());
    SmallVector<Value> returned{computeStatus(cloner)};
    if (failed(computeSizes(cloner)))
      return failure();
    returned.push_back(computeOffsets().back());
    for (Value size : terminator.getOperands().drop_front()) {
      if (!cloner.canClone(size))
        return entry.emitError("expected results whose sizes follow from the "
                               "sizes of the inputs");
      returned.push_back(cloner.clone(builder, size));
    }
    func::ReturnOp::create(builder, returned);
    return success();
  }

  /// The status of the first assertion about the dims that fails.
  Value computeStatus(SizeCloner &cloner) {
    Value status = arith::ConstantIntOp::create(builder, kStatusOk, 32);
    Value outOfRange =
        arith::ConstantIntOp::create(builder, kStatusSizeOutOfRange, 32);
    entry.walk([&](cf::AssertOp assertion) {
      bool isAboutDims = cloner.canClone(assertion.getArg());
      bool isAboutSizes = isAboutDims || assertion->hasAttr(kSizesAgreeAttr);
      assertion->setAttr(
          kStatusAttr,
          builder.getI32IntegerAttr(isAboutSizes ? kStatusSizeOutOfRange
                                                 : kStatusIndexOutOfRange));
      if (isAboutDims)
        status = arith::SelectOp::create(
            builder, cloner.clone(builder, assertion.getArg()), status,
            outOfRange);
    });
    return status;
  }

  void placeIntermediates() {
    auto type = MemRefType::get({ShapedType::kDynamic}, builder.getI8Type());
    unsigned index = entry.getNumArguments();
    auto role =
        builder.getNamedAttr(kRoleAttr, builder.getStringAttr(kWorkspaceRole));
    (void)entry.insertArgument(index, type, builder.getDictionaryAttr(role),
                               entry.getLoc());
    builder.setInsertionPointToStart(block);
    SizeCloner cloner(entry, ValueRange(getArguments(entry, kDimRole)));
    // That it can be done is known from the other function.
    (void)computeSizes(cloner);
    SmallVector<Value> offsets = computeOffsets();
    for (Intermediate &value : intermediates) {
      Value view = memref::ViewOp::create(builder, value.alloc.getType(),
                                          entry.getArgument(index),
                                          offsets[value.slot], value.sizes);
      value.alloc.replaceAllUsesWith(view);
      value.alloc.erase();
    }
    entry.walk([](memref::DeallocOp op) { op.erase(); });
  }

  void returnStatusOnly() {
    auto terminator = cast<func::ReturnOp>(block->getTerminator());
    terminator.getOperandsMutable().assign(terminator.getOperand(0));
    entry.setType(builder.getFunctionType(entry.getArgumentTypes(),
                                          terminator.getOperand(0).getType()));
  }

  func::FuncOp entry;
  Block *block;
  ImplicitLocOpBuilder builder;
  BufferViewFlowAnalysis views;
  DenseMap<Operation *, unsigned> positions;
  SmallVector<Intermediate> intermediates;
  SmallVector<Slot> slots;
};

struct QtxPlanMemoryPass : qtx::impl::QtxPlanMemoryPassBase<QtxPlanMemoryPass> {
  void runOnOperation() override {
    func::FuncOp entry = findEntry(getOperation());
    if (!entry) {
      getOperation().emitError("expected a function in entry form, found none");
      return signalPassFailure();
    }
    expandCollapsedSizes(entry);
    if (failed(MemoryPlanner(entry).run()))
      signalPassFailure();
  }
};
} // namespace
