//===- ColumnRuns.cpp - Columns with equal parameters ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ColumnRuns.h"
#include "../../Dialect/Qtx/Transforms/ConstantUtils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace qtx;

/// Runs of a row, which are a loop each.
static constexpr size_t kMaxRuns = 8;
/// Columns that a run has at least, on average: two vectors of AVX-512.
static constexpr int64_t kMinColumns = 32;

/// The bits of a constant that has an f32 or i32 for each column; empty for
/// others.
static SmallVector<uint32_t> getElements(RowsOp op, unsigned input) {
  auto type = cast<MemRefType>(op.getInputs()[input].getType());
  AffineMap map = op.getInputMap(input);
  auto source = op.getInputs()[input].getDefiningOp<memref::GetGlobalOp>();
  if (!source || type.getRank() != 1 || op.getIdsOf(input) ||
      !map.isFunctionOfDim(op.getNumDims() - 1))
    return {};
  auto global = SymbolTable::lookupNearestSymbolFrom<memref::GlobalOp>(
      source, source.getNameAttr());
  auto constant = global && global.getConstant()
                      ? ConstantTensor::get(global.getInitialValueAttr())
                      : std::nullopt;
  if (constant && type.getElementType().isF32())
    return llvm::map_to_vector(constant->getFloats(), [](float value) {
      return llvm::bit_cast<uint32_t>(value);
    });
  if (constant && type.getElementType().isInteger(32))
    return llvm::map_to_vector(constant->getIntegers(),
                               [](int64_t value) { return uint32_t(value); });
  return {};
}

ColumnRuns::ColumnRuns(RowsOp op) {
  SmallVector<bool> isBegin;
  for (unsigned input = 0; input < op.getInputs().size(); ++input) {
    SmallVector<uint32_t> elements = getElements(op, input);
    SmallVector<bool> changes(elements.size(), false);
    for (size_t i = 1; i < elements.size(); ++i)
      changes[i] = elements[i] != elements[i - 1];
    if (elements.empty() || size_t(llvm::count(changes, true)) >= kMaxRuns)
      continue;
    isBegin.resize(elements.size(), false);
    for (auto [begin, change] : llvm::zip_equal(isBegin, changes))
      begin |= change;
    inputs[input] = std::move(elements);
    types[input] =
        cast<MemRefType>(op.getInputs()[input].getType()).getElementType();
  }
  int64_t size = isBegin.size();
  if (!inputs.empty())
    runs.push_back({0, size});
  for (int64_t column = 1; column < size; ++column)
    if (isBegin[column]) {
      runs.back().end = column;
      runs.push_back({column, size});
    }
  if (runs.size() > kMaxRuns || size < int64_t(runs.size()) * kMinColumns)
    runs.clear();
}

TypedAttr ColumnRuns::getValue(unsigned input, const Run &run) const {
  auto elements = inputs.find(input);
  if (elements == inputs.end())
    return {};
  uint32_t bits = elements->second[run.begin];
  Type type = types.lookup(input);
  if (type.isF32())
    return FloatAttr::get(type, llvm::bit_cast<float>(bits));
  return IntegerAttr::get(type, int32_t(bits));
}
