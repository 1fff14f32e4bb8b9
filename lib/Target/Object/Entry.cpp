//===- Entry.cpp - Functions in entry form --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Target/Object.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace qtx;

func::FuncOp qtx::findEntry(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>())
    for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i)
      if (function.getArgAttr(i, kRoleAttr))
        return function;
  return {};
}

bool qtx::isInEntryForm(ModuleOp module) {
  WalkResult result = module.walk([](ModuleOp version) {
    return findEntry(version) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return result.wasInterrupted();
}

SmallVector<BlockArgument> qtx::getArguments(func::FuncOp function,
                                             StringRef role) {
  SmallVector<BlockArgument> found;
  for (BlockArgument argument : function.getArguments()) {
    auto attr = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                      kRoleAttr);
    if (attr && attr == role)
      found.push_back(argument);
  }
  return found;
}

SmallVector<StringRef> qtx::getDimNames(Attribute dims, int64_t rank) {
  SmallVector<StringRef> names(rank);
  if (auto array = dyn_cast_or_null<ArrayAttr>(dims))
    for (auto [name, attr] : llvm::zip(names, array))
      name = cast<StringAttr>(attr).getValue();
  return names;
}

//===----------------------------------------------------------------------===//
// SizeCloner
//===----------------------------------------------------------------------===//

SizeCloner::SizeCloner(func::FuncOp entry, ValueRange dims) : entry(entry) {
  for (auto [argument, dim] :
       llvm::zip_equal(getArguments(entry, kDimRole), dims))
    mapping.map(argument, dim);
}

/// The dim of the name that the size `index` of an input has.
static Value findDim(func::FuncOp entry, BlockArgument buffer, int64_t index) {
  auto type = cast<MemRefType>(buffer.getType());
  Attribute dims =
      entry.getArgAttr(buffer.getArgNumber(), QtxDialect::kDimsAttrName);
  StringRef name = getDimNames(dims, type.getRank())[index];
  for (BlockArgument dim : getArguments(entry, kDimRole))
    if (entry.getArgAttrOfType<StringAttr>(dim.getArgNumber(), kDimAttr) ==
        name)
      return dim;
  return {};
}

/// The result that holds the size `index` of an output.
static Value findOutputSize(func::FuncOp entry, BlockArgument buffer,
                            int64_t index) {
  Operation *terminator = entry.getBody().back().getTerminator();
  unsigned result = 1;
  for (BlockArgument output : getArguments(entry, kOutputRole)) {
    auto type = cast<MemRefType>(output.getType());
    for (int64_t i = 0; i < type.getRank(); ++i) {
      if (!type.isDynamicDim(i))
        continue;
      if (output == buffer && i == index)
        return terminator->getOperand(result);
      ++result;
    }
  }
  return {};
}

/// The buffer and its dimension that the dimension `index` of `buffer` is.
static std::pair<Value, int64_t> traceSize(Value buffer, int64_t index) {
  Operation *op = buffer.getDefiningOp();
  if (auto cast = dyn_cast_or_null<memref::CastOp>(op))
    return traceSize(cast.getSource(), index);
  if (auto collapse = dyn_cast_or_null<memref::CollapseShapeOp>(op)) {
    ReassociationIndices group = collapse.getReassociationIndices()[index];
    if (group.size() == 1)
      return traceSize(collapse.getSrc(), group.front());
  }
  return {buffer, index};
}

/// The size `index` of a buffer as the operation that makes the buffer has it;
/// null if that does not say.
static Value findSize(Value buffer, int64_t index) {
  Operation *op = buffer.getDefiningOp();
  if (auto expand = dyn_cast_or_null<memref::ExpandShapeOp>(op))
    return dyn_cast<Value>(expand.getMixedOutputShape()[index]);
  if (auto view = dyn_cast_or_null<memref::ReinterpretCastOp>(op))
    return dyn_cast<Value>(view.getMixedSizes()[index]);
  auto view = dyn_cast_or_null<memref::SubViewOp>(op);
  // Dimensions of size 1 may be left out.
  if (view && view.getDroppedDims().none())
    return dyn_cast<Value>(view.getMixedSizes()[index]);
  auto alloc = dyn_cast_or_null<memref::AllocOp>(op);
  if (!alloc || !alloc.getType().isDynamicDim(index))
    return {};
  return alloc.getDynamicSizes()[alloc.getType().getDynamicDimIndex(index)];
}

/// The size `index` of a buffer that the caller passed, as a dim or as a
/// result; null if there is no such.
static Value findCallerSize(func::FuncOp entry, Value value, int64_t index) {
  auto buffer = dyn_cast<BlockArgument>(value);
  if (!buffer || buffer.getOwner() != &entry.getBody().front())
    return {};
  auto role =
      entry.getArgAttrOfType<StringAttr>(buffer.getArgNumber(), kRoleAttr);
  if (role && role == kInputRole)
    return findDim(entry, buffer, index);
  if (role && role == kOutputRole)
    return findOutputSize(entry, buffer, index);
  return {};
}

void qtx::expandCollapsedSizes(func::FuncOp entry) {
  llvm::SetVector<memref::DimOp> worklist;
  entry.walk([&](memref::DimOp dim) { worklist.insert(dim); });
  while (!worklist.empty()) {
    memref::DimOp dim = worklist.pop_back_val();
    if (!isSpeculatable(dim))
      continue;
    auto [buffer, index] = traceSize(dim.getSource(), *dim.getConstantIndex());
    auto collapse = buffer.getDefiningOp<memref::CollapseShapeOp>();
    if (!collapse)
      continue;
    OpBuilder builder(dim);
    Value product;
    ReassociationIndices parts = collapse.getReassociationIndices()[index];
    for (int64_t part : parts) {
      Value size = builder.createOrFold<memref::DimOp>(dim.getLoc(),
                                                       collapse.getSrc(), part);
      if (auto inner = size.getDefiningOp<memref::DimOp>())
        worklist.insert(inner);
      product = product ? builder.createOrFold<arith::MulIOp>(dim.getLoc(),
                                                              product, size)
                        : size;
    }
    dim.replaceAllUsesWith(product);
    dim.erase();
  }
}

Value SizeCloner::resolve(Value value) {
  auto dim = value.getDefiningOp<memref::DimOp>();
  // Unknown dimensions, and those that do not exist, are not speculatable.
  if (!dim || !isSpeculatable(dim))
    return value;
  auto [buffer, index] = traceSize(dim.getSource(), *dim.getConstantIndex());
  if (Value size = findSize(buffer, index))
    return resolve(size);
  Value size = findCallerSize(entry, buffer, index);
  // What is returned may be the size of another buffer of the caller.
  return size && size != value ? resolve(size) : value;
}

bool SizeCloner::canClone(Value value) {
  value = resolve(value);
  if (mapping.contains(value))
    return true;
  auto [place, inserted] = known.try_emplace(value, false);
  if (!inserted)
    return place->second;
  Operation *op = value.getDefiningOp();
  bool isArithmetic =
      op && op->getNumRegions() == 0 && op->getNumResults() == 1 &&
      value.getType().isIntOrIndex() &&
      isa<arith::ArithDialect, affine::AffineDialect>(op->getDialect());
  bool can = isArithmetic &&
             llvm::all_of(op->getOperands(),
                          [&](Value operand) { return canClone(operand); });
  known[value] = can;
  return can;
}

Value SizeCloner::clone(OpBuilder &builder, Value value) {
  value = resolve(value);
  if (Value done = mapping.lookupOrNull(value))
    return done;
  Operation *op = value.getDefiningOp();
  for (Value operand : op->getOperands()) {
    Value cloned = clone(builder, operand);
    mapping.map(operand, cloned);
  }
  Value result = builder.clone(*op, mapping)->getResult(0);
  mapping.map(value, result);
  return result;
}
