//===- Observed.cpp - Observed ranges of edges ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Observed.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"

using namespace mlir;
using namespace qtx;

/// The function of which `value` is an argument; null if it is none.
static FunctionOpInterface getFunction(BlockArgument value) {
  Block *block = value.getOwner();
  if (!block->isEntryBlock())
    return {};
  return dyn_cast_or_null<FunctionOpInterface>(block->getParentOp());
}

static Attribute getEntry(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    FunctionOpInterface function = getFunction(argument);
    return function
               ? function.getArgAttr(argument.getArgNumber(), kObservedAttr)
               : Attribute();
  }
  auto result = cast<OpResult>(value);
  auto entries = result.getOwner()->getAttrOfType<ArrayAttr>(kObservedAttr);
  if (!entries || result.getResultNumber() >= entries.size())
    return {};
  return entries[result.getResultNumber()];
}

std::optional<ChannelRanges> qtx::getObserved(Value value) {
  while (auto split = value.getDefiningOp<SplitHeadsOp>())
    value = split.getX();
  auto elements = dyn_cast_or_null<DenseFPElementsAttr>(getEntry(value));
  if (!elements || elements.getType().getRank() != 2 ||
      elements.getType().getDimSize(0) != 2 ||
      !elements.getElementType().isF32())
    return std::nullopt;
  auto numbers = llvm::to_vector(elements.getValues<float>());
  auto middle = numbers.begin() + numbers.size() / 2;
  return ChannelRanges{{numbers.begin(), middle}, {middle, numbers.end()}};
}

static DenseElementsAttr makeEntry(MLIRContext *context,
                                   const ChannelRanges &ranges) {
  std::vector<float> numbers = ranges.lo;
  numbers.insert(numbers.end(), ranges.hi.begin(), ranges.hi.end());
  auto type = RankedTensorType::get({2, int64_t(ranges.getNumChannels())},
                                    Float32Type::get(context));
  return DenseElementsAttr::get(type, ArrayRef(numbers));
}

void qtx::setObserved(Value value, const ChannelRanges &ranges) {
  MLIRContext *context = value.getContext();
  Attribute entry = makeEntry(context, ranges);
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (FunctionOpInterface function = getFunction(argument))
      function.setArgAttr(argument.getArgNumber(), kObservedAttr, entry);
    return;
  }
  auto result = cast<OpResult>(value);
  Operation *op = result.getOwner();
  SmallVector<Attribute> entries(op->getNumResults(), UnitAttr::get(context));
  if (auto known = op->getAttrOfType<ArrayAttr>(kObservedAttr))
    if (known.size() == entries.size())
      entries = llvm::to_vector(known.getValue());
  entries[result.getResultNumber()] = entry;
  op->setAttr(kObservedAttr, ArrayAttr::get(context, entries));
}

void qtx::removeObserved(Operation *root) {
  root->walk([](Operation *op) {
    op->removeAttr(kObservedAttr);
    if (auto function = dyn_cast<FunctionOpInterface>(op))
      for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i)
        function.removeArgAttr(i, kObservedAttr);
  });
}

/// A name of `op`, made at `location`.
static std::string getName(Operation *op, Location location) {
  std::string name = op->getName().stripDialect().str();
  if (auto known = location->findInstanceOf<NameLoc>())
    name = known.getName().str();
  else if (auto place = location->findInstanceOf<FileLineColLoc>())
    name += "@" + std::to_string(place.getStartLine());
  return name;
}

std::string qtx::getEdgeName(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (FunctionOpInterface function = getFunction(argument))
      if (auto name = function.getArgAttrOfType<StringAttr>(
              argument.getArgNumber(), QtxDialect::kNameAttrName))
        return name.str();
    return "argument " + std::to_string(argument.getArgNumber());
  }
  auto result = cast<OpResult>(value);
  Operation *op = result.getOwner();
  std::string name = getName(op, op->getLoc());
  if (op->getNumResults() > 1)
    name += "#" + std::to_string(result.getResultNumber());
  return name;
}

SmallVector<std::string> qtx::getLayerNames(Operation *op) {
  auto fused = dyn_cast<FusedLoc>(op->getLoc());
  if (!fused)
    return {getEdgeName(op->getResult(0))};
  return llvm::map_to_vector(fused.getLocations(), [&](Location location) {
    return getName(op, location);
  });
}
