//===- Tables.cpp - Rows of tables ----------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../QtxToLinalg/LoweringUtils.h"
#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace qtx;

/// Bits of a line of the caches.
static constexpr unsigned kLineBits = 512;

/// Rows of a table are fetched so many rows before they are read.
static constexpr unsigned kRowsAhead = 4;

/// Rows whose pages are looked up at once: a row may lie on two, and the TLB of
/// a core of the Zen 4 class holds 3072.
static constexpr unsigned kMaxTouchedRows = 1024;

/// Tables of no more bytes stay in a cache.
static constexpr int64_t kMaxCachedTable = int64_t(1) << 20;

void RowsEmitter::createTableRow(unsigned ids, Value id) {
  for (unsigned input = 0; input < op.getInputs().size(); ++input)
    if (op.getIdsOf(input) == ids) {
      auto type = cast<MemRefType>(op.getInputs()[input].getType());
      row.tableRows[ids] = createRowIndex(builder, id, type.getDimSize(0));
      return;
    }
}

bool RowsEmitter::isLargeTable(unsigned input) {
  auto type = cast<MemRefType>(op.getInputs()[input].getType());
  return op.getIdsOf(input) && hasColumn(input) &&
         (!type.hasStaticShape() ||
          type.getNumElements() * type.getElementTypeBitWidth() / 8 >
              kMaxCachedTable);
}

bool RowsEmitter::hasLargeTable() {
  return llvm::any_of(llvm::seq<unsigned>(0, op.getInputs().size()),
                      [&](unsigned input) { return isLargeTable(input); });
}

void RowsEmitter::touchTables(const RowRange &rows) {
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

void RowsEmitter::setRowAhead(const RowRange &rows, Value number) {
  if (!hasLargeTable())
    return;
  startRowBehind(rows, number, getDistance(0) + kRowsAhead);
  loadUniform();
  rowAhead = row;
}

void RowsEmitter::prefetchTables(Value column, unsigned number) {
  std::swap(row, rowAhead);
  for (unsigned input = 0; input < op.getInputs().size(); ++input) {
    auto type = cast<MemRefType>(op.getInputs()[input].getType());
    if (isLargeTable(input) &&
        number * lanes * type.getElementTypeBitWidth() % kLineBits == 0)
      prefetch(input, column);
  }
  std::swap(row, rowAhead);
}

void RowsEmitter::prefetch(unsigned input, Value column) {
  memref::PrefetchOp::create(builder, op.getInputs()[input],
                             getIndices(input, column), /*isWrite=*/false,
                             /*localityHint=*/3, /*isDataCache=*/true);
}
