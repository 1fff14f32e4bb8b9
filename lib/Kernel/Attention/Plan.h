//===- Plan.h - How attention runs ------------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The micro-kernels of an attention and the memory that it needs, which the
// pass that makes the kernel and the code of the kernel agree on.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_ATTENTION_PLAN_H
#define QTX_LIB_KERNEL_ATTENTION_PLAN_H

#include "PowerTable.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"
#include "qtx/Kernel/MicroKernel.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

namespace qtx {

/// A part of the scratch memory: `fixed + perKey * keys` bytes, keys rounded up
/// to the plan's unit.
struct ScratchPart {
  int64_t fixed = 0;
  int64_t perKey = 0;
};

/// How rows of scores run that are too long to be kept: in stretches of keys,
/// each for a block of queries.
struct Stretches {
  /// The most keys of rows that are kept.
  int64_t limit = 0;
  int64_t keys = 0;
  int64_t queries = 0;

  /// As a parameter of a kernel.
  mlir::DictionaryAttr getAttr(mlir::MLIRContext *context) const;
  static Stretches get(mlir::DictionaryAttr attr);
};

inline constexpr llvm::StringLiteral kStretchesParam = "stretches";
/// The parameter of kernels that are pipelined.
inline constexpr llvm::StringLiteral kPipelinedParam = "pipelined";

/// Whether clipping changes probabilities. `attention` is the operation, or a
/// view of its kernel.
template <typename AttentionT> bool isClipped(AttentionT &attention) {
  return !attention.getGamma().isZero() ||
         !attention.getZeta().isExactlyValue(1.0);
}

/// Whether probabilities are divided by their sum behind the values.
template <typename AttentionT> bool isDivisionLast(AttentionT &attention) {
  return attention.getUnnormalised() ||
         (!isClipped(attention) && !attention.getProbsQuant());
}

/// Whether probabilities may be relative to a maximum that later keys change:
/// all that happens to them is linear.
template <typename AttentionT> bool isOnline(AttentionT &attention) {
  return isDivisionLast(attention) && !attention.getProbsQuant();
}

/// The sum of a query and a key that is excluded, give or take what products
/// add: in magnitude below `kMaxSum`, as every other sum.
inline constexpr int64_t kExcludedSum = -(int64_t(1) << 30);
inline constexpr int64_t kMaxSum = int64_t(1) << 29;

/// What turns a sum of products into the logarithm of a power of two.
template <typename AttentionT> float getSumScale(AttentionT &attention) {
  float multiplier = QuantParams::get(*attention.getQueryQuant())->getScale(0) *
                     QuantParams::get(*attention.getKeyQuant())->getScale(0);
  multiplier = multiplier * attention.getScale().convertToFloat();
  return multiplier * std::log2(std::exp(1.0));
}

/// The channels of a query and a key.
template <typename AttentionT>
int64_t getNumKeyChannels(AttentionT &attention) {
  mlir::Type type = attention.getKey().getType();
  return mlir::cast<mlir::ShapedType>(type).getShape().back();
}

/// Whether scores stay sums of products until their exponentials: all that
/// happens to them is a positive factor, and sums that exclude keys are small
/// enough for an exponential of zero.
template <typename AttentionT>
bool areRowsIntegers(AttentionT &attention, const MicroKernel &scores,
                     const MicroKernel &context) {
  if (scores.isFloat() || context.isFloat())
    return false;
  if (attention.getSoftCap() || attention.getScoresQuant() ||
      attention.getSinkLogit() || attention.getSink())
    return false;
  if (mlir::Value mask = attention.getMask()) {
    auto type = mlir::cast<mlir::ShapedType>(mask.getType());
    if (type.getElementType().isF32() || type.getDimSize(1) != 1 ||
        type.getDimSize(2) != 1)
      return false;
  }
  constexpr int64_t maxProduct = 255 * 255;
  float lowest = getSumScale(attention) * kMaxSum;
  return getNumKeyChannels(attention) * maxProduct < kMaxSum &&
         lowest > 128.0f && std::isfinite(lowest);
}

/// Whether the rows of a block are made into codes beside the products of the
/// blocks next to it. A tile of products has to leave registers, the table of
/// powers is one, and a step of many channels is long code.
template <typename AttentionT>
bool isPipelined(AttentionT &attention, const MicroKernel &scores,
                 const MicroKernel &context) {
  constexpr int64_t minLanes = 16, maxChannels = 256;
  return areRowsIntegers(attention, scores, context) &&
         isDivisionLast(attention) && !attention.getCausal() &&
         scores.getNumTileRows() == 0 && scores.getNumLanes() >= minLanes &&
         context.getTableSize() >= PowerTable::kIntervals && context.packs() &&
         getNumKeyChannels(attention) <= maxChannels;
}

/// Some rows of a block.
struct RowRange {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

/// Static sizes of one attention. All sizes of memory are multiples of 64
/// bytes.
struct AttentionPlan {
  /// With `stretches`, of rows that are not kept.
  AttentionPlan(const MicroKernel &scores, const MicroKernel &context,
                int64_t keySize, int64_t valueSize,
                std::optional<Stretches> stretches = std::nullopt,
                bool isPipelined = false)
      : scores(scores), context(context), lanes(scores.getNumLanes()),
        hasTiles(scores.getNumTileRows() > 0), isPipelined(isPipelined),
        rows(hasTiles ? scores.getNumTileRows() : scores.getNumRows()),
        blockRows(stretches ? stretches->queries : rows),
        keyUnit(hasTiles ? context.getTileStep() : lanes),
        keySteps(
            llvm::divideCeil(scores.getPaddedSize(keySize), scores.getStep())),
        values(llvm::alignTo(valueSize, lanes)) {
    // Two vectors of sums leave registers for what runs beside the products.
    constexpr int64_t pipelinedWidth = 2;
    keyWidth = isPipelined ? pipelinedWidth : scores.getNumVectors();
    int64_t vectors = values / lanes;
    int64_t maxWidth = isPipelined ? pipelinedWidth : context.getNumVectors();
    width = llvm::divideCeil(vectors, llvm::divideCeil(vectors, maxWidth));
    // The keys of one head: steps of their channels, a lane for each key.
    packedKeys.perKey = keySteps * 4;
    // What the sums of a key start from.
    keySums.perKey = 4;
    query.fixed = llvm::alignTo(blockRows * keySteps * 4, 64);
    scoreRows.perKey = rows * 4;
    factors.fixed = llvm::alignTo(blockRows * 4, 64);
    tile.fixed = rows * values * 4;
    if (stretches) {
      maxima.fixed = rowSums.fixed = factors.fixed;
      contextRows.fixed = blockRows * values * 4;
    }
    int64_t bytes = 4 / context.getStep();
    packedValues.perKey = values * bytes;
    // All codes of a group together, and the groups that count.
    groupCodes.perKey = groupList.perKey = 4;
    if (context.isFloat())
      return;
    probs.perKey = rows * bytes;
    probSums.fixed = llvm::alignTo(rows * 4, 64);
    valueSums.fixed = values * 4;
    if (!isPipelined)
      return;
    packedRows.push_back({0, rows / 2});
    for (int64_t pass = 0; pass < countPasses(); ++pass)
      if (RowRange part = getRowsOfPass(pass); part.size() > 0)
        packedRows.push_back(part);
    // Codes of one block are made while those of another are read.
    probs.perKey = 2 * packedRows.size() * sizeof(int32_t);
    groupCodes.perKey = groupList.perKey = 0;
    maxima.fixed = probSums.fixed;
  }

  /// Panels of channels, which products pass one after the other.
  int64_t countPasses() const {
    return llvm::divideCeil(values / lanes, width);
  }

  /// Rows that become codes beside the products of a panel of channels.
  RowRange getRowsOfPass(int64_t pass) const {
    int64_t half = rows / 2, passes = countPasses();
    return {half + (rows - half) * pass / passes,
            half + (rows - half) * (pass + 1) / passes};
  }

  const MicroKernel &scores, &context;
  int64_t lanes;
  /// Whether tile registers multiply; if so, in both contractions.
  bool hasTiles;
  /// Whether the rows of a block become codes beside products of others.
  bool isPipelined;
  /// Rows whose codes beside the same products are packed into one vector, in
  /// which their words take turns; empty where rows are no such.
  llvm::SmallVector<RowRange> packedRows;
  /// Queries of a tile, and of a block of them.
  int64_t rows, blockRows;
  /// Rows of scores and probabilities have room for a multiple of as many keys.
  int64_t keyUnit;
  int64_t keySteps;
  /// Vectors of a panel of keys.
  int64_t keyWidth;
  /// The channels of a value, in whole vectors, and vectors of a panel of them.
  int64_t values, width;

  ScratchPart packedKeys, keySums, query, scoreRows, factors, probSums, tile,
      probs, packedValues, valueSums, groupCodes, groupList, maxima, rowSums,
      contextRows;

  /// All parts in their order.
  llvm::SmallVector<ScratchPart> getParts() const {
    return {packedKeys, keySums,   query,        scoreRows, factors,
            probSums,   tile,      packedValues, probs,     valueSums,
            groupCodes, groupList, maxima,       rowSums,   contextRows};
  }

  /// All parts together.
  ScratchPart getWhole() const {
    ScratchPart sum;
    for (const ScratchPart &part : getParts()) {
      sum.fixed += part.fixed;
      sum.perKey += part.perKey;
    }
    return sum;
  }
};

} // namespace qtx

#endif // QTX_LIB_KERNEL_ATTENTION_PLAN_H
