//===- GPTQ.cpp - Weights as integers -------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/GPTQ.h"
#include "qtx/Support/ShortSums.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/ThreadPool.h"
#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <cmath>
#include <limits>

using namespace llvm;
using namespace qtx;

using Matrix =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixMap = Eigen::Map<Matrix>;

/// Columns whose errors go to the columns behind them in one matrix product.
static constexpr int64_t kColumns = 128;
/// Rows that a thread takes at a time. Products depend on it, so it must not
/// depend on the number of threads.
static constexpr int64_t kRows = 64;

//===----------------------------------------------------------------------===//
// To the nearest
//===----------------------------------------------------------------------===//

static double getLargestCode(unsigned bits) {
  return double((int64_t(1) << (bits - 1)) - 1);
}

/// 0 for what is not a number.
static double getCode(double weight, double scale, double largestCode) {
  double code = std::nearbyint(weight / scale);
  return std::isnan(code) ? 0 : std::clamp(code, -largestCode, largestCode);
}

static double getSquaredError(ArrayRef<float> weights, double scale,
                              double largestCode, ArrayRef<int64_t> sums) {
  double sum = 0;
  ShortSumRoom room(sums);
  for (auto [i, weight] : llvm::enumerate(weights)) {
    double nearest = getCode(weight, scale, largestCode);
    double error = weight - scale * double(room.take(int64_t(nearest), i));
    sum += error * error;
  }
  return sum;
}

/// The scale that `weights` share (Numerics.md, "Parameters from ranges").
/// `sums` are those of their columns.
static float getScale(ArrayRef<float> weights, ArrayRef<int64_t> sums,
                      const RoundingOptions &options) {
  constexpr float kSmallest = 1e-8f;
  constexpr float kLargest = std::numeric_limits<float>::max() / 2;
  constexpr int kNumSteps = 32;
  // The search ends at half the range: less cuts off more than it resolves.
  // Short sums have room for smaller codes, with scales that are larger by
  // this share at most.
  const float share = sums.empty() ? -0.5f : 1.5f;
  float largest = kSmallest;
  for (float weight : weights)
    largest = std::max(largest, std::fabs(weight));
  double largestCode = getLargestCode(options.bits);
  float widest = std::min(largest, kLargest) / float(largestCode);
  if (!options.searchesScales && sums.empty())
    return widest;
  float best = widest;
  double least = getSquaredError(weights, widest, largestCode, sums);
  for (int step = 1; step <= kNumSteps; ++step) {
    float scale = widest * (1 + share * float(step) / kNumSteps);
    double error = getSquaredError(weights, scale, largestCode, sums);
    if (error < least) {
      least = error;
      best = scale;
    }
  }
  return best;
}

/// The short sums of some columns.
static ArrayRef<int64_t> getSums(const RoundingOptions &options, int64_t begin,
                                 int64_t size) {
  ArrayRef<int64_t> sums = options.shortSums;
  return sums.empty() ? sums : sums.slice(begin, size);
}

RoundedWeights qtx::roundToNearest(const WeightMatrix &weights,
                                   const RoundingOptions &options) {
  RoundedWeights rounded;
  rounded.block = options.block == 0 ? weights.columns : options.block;
  double largestCode = getLargestCode(options.bits);
  rounded.codes.reserve(weights.numbers.size());
  for (int64_t row = 0; row < weights.rows; ++row)
    for (int64_t begin = 0; begin < weights.columns; begin += rounded.block) {
      int64_t size = std::min(rounded.block, weights.columns - begin);
      auto part = weights.numbers.slice(row * weights.columns + begin, size);
      ArrayRef<int64_t> sums = getSums(options, begin, size);
      float scale = getScale(part, sums, options);
      rounded.scales.push_back(scale);
      ShortSumRoom room(sums);
      for (auto [i, weight] : llvm::enumerate(part)) {
        double code = getCode(weight, scale, largestCode);
        rounded.codes.push_back(int8_t(room.take(int64_t(code), i)));
      }
    }
  return rounded;
}

//===----------------------------------------------------------------------===//
// With second moments
//===----------------------------------------------------------------------===//

/// The columns [begin, begin + size) of the inverse of a lower triangle: zeros
/// down to the diagonal.
static void invertColumns(const Matrix &triangle, int64_t begin, int64_t size,
                          Matrix &inverse) {
  int64_t rest = triangle.rows() - begin;
  Matrix columns = Matrix::Identity(rest, size);
  triangle.bottomRightCorner(rest, rest)
      .triangularView<Eigen::Lower>()
      .solveInPlace(columns);
  inverse.block(begin, begin, rest, size) = columns;
}

/// Leaves less of what inputs have in common.
static void shrink(MatrixMap matrix, double shrinkage) {
  if (shrinkage == 0)
    return;
  Eigen::VectorXd diagonal = matrix.diagonal();
  matrix *= 1 - shrinkage;
  matrix.diagonal() = diagonal;
}

/// Replaces the symmetric `matrix`, damped, by the upper triangular U with
/// U^T U its inverse; false if it has none.
static bool factorInverse(MatrixMap matrix, double damping,
                          ThreadPoolInterface &pool) {
  int64_t size = matrix.rows();
  double mean = size > 0 ? matrix.diagonal().mean() : 0;
  if (!std::isfinite(mean) || mean <= 0)
    return false;
  // An input that is always zero only has this share: it takes part in nothing.
  matrix.diagonal().array() += damping * mean;
  // With both axes reversed, the factor L L^T becomes V V^T with V upper
  // triangular; U is the inverse of V.
  Matrix triangle = matrix.reverse();
  Eigen::LLT<Eigen::Ref<Matrix>> factor(triangle);
  if (factor.info() != Eigen::Success)
    return false;
  Matrix inverse = Matrix::Zero(size, size);
  for (int64_t begin = 0; begin < size; begin += kColumns)
    pool.async([&, begin, count = std::min(kColumns, size - begin)] {
      invertColumns(triangle, begin, count, inverse);
    });
  pool.wait();
  matrix = inverse.reverse();
  return matrix.allFinite();
}

/// The columns in the order in which they are rounded: large inputs first,
/// while many columns are left to make up for the error.
static Eigen::VectorX<int64_t> getOrder(const MatrixMap &moments,
                                        int64_t block) {
  int64_t size = moments.rows();
  auto order = Eigen::VectorX<int64_t>::LinSpaced(size, 0, size - 1).eval();
  // Blocks choose their scales one after the other.
  if (block == size && moments.diagonal().allFinite())
    llvm::stable_sort(order, [&](int64_t a, int64_t b) {
      return moments(a, a) > moments(b, b);
    });
  return order;
}

namespace {
/// Rounds some rows after `roundToNearest` has chosen the scales of rows and
/// of the first blocks.
struct RowRounder {
  const WeightMatrix &weights;
  /// Its columns and rows, and all that are numbered, are in this order.
  const Eigen::VectorX<int64_t> &order;
  const MatrixMap &factor;
  const RoundingOptions &options;
  RoundedWeights &rounded;

  int64_t getScaleIndex(int64_t row, int64_t column) const {
    return row * divideCeil(weights.columns, rounded.block) +
           column / rounded.block;
  }

  /// Blocks that begin behind the first column choose their scale when their
  /// weights hold the errors of the columns before.
  void updateScale(ArrayRef<double> row, int64_t rowIndex,
                   int64_t column) const {
    if (column == 0 || column % rounded.block != 0)
      return;
    ArrayRef<double> rest = row.drop_front(column);
    SmallVector<float> block(rest.take_front(rounded.block));
    rounded.scales[getScaleIndex(rowIndex, column)] =
        getScale(block, getSums(options, column, block.size()), options);
  }

  /// One column of one row; the error in units of the diagonal.
  double roundOne(double weight, int64_t row, int64_t column,
                  ShortSumRoom &room) const {
    double scale = rounded.scales[getScaleIndex(row, column)];
    double nearest = getCode(weight, scale, getLargestCode(options.bits));
    int64_t code = room.take(int64_t(nearest), order[column]);
    rounded.codes[row * weights.columns + order[column]] = int8_t(code);
    return (weight - double(code) * scale) / factor(column, column);
  }

  void round(int64_t firstRow, int64_t numRows) const {
    Matrix exact =
        Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic,
                                       Eigen::RowMajor>>(
            weights.numbers.data() + firstRow * weights.columns, numRows,
            weights.columns)(Eigen::all, order)
            .cast<double>();
    std::vector<ShortSumRoom> rooms(numRows, ShortSumRoom(options.shortSums));
    for (int64_t begin = 0; begin < weights.columns; begin += kColumns) {
      int64_t size = std::min(kColumns, weights.columns - begin);
      Matrix errors(numRows, size);
      for (int64_t row = 0; row < numRows; ++row)
        for (int64_t i = 0; i < size; ++i) {
          int64_t column = begin + i, behind = size - i - 1;
          updateScale(ArrayRef(exact.row(row).data(), weights.columns),
                      firstRow + row, column);
          errors(row, i) =
              roundOne(exact(row, column), firstRow + row, column, rooms[row]);
          exact.row(row).segment(column + 1, behind) -=
              errors(row, i) * factor.row(column).segment(column + 1, behind);
        }
      int64_t rest = weights.columns - begin - size;
      exact.rightCols(rest).noalias() -=
          errors * factor.block(begin, begin + size, size, rest);
    }
  }
};
} // namespace

RoundedWeights qtx::roundMinimisingError(const WeightMatrix &weights,
                                         std::vector<double> moments,
                                         const RoundingOptions &options) {
  RoundedWeights rounded = roundToNearest(weights, options);
  MatrixMap factor(moments.data(), weights.columns, weights.columns);
  Eigen::VectorX<int64_t> order = getOrder(factor, rounded.block);
  // In place: there is one matrix for each channel of a wide layer already.
  Eigen::PermutationMatrix<Eigen::Dynamic, Eigen::Dynamic, int64_t> sorted(
      order);
  factor = factor * sorted;
  factor = sorted.transpose() * factor;
  shrink(factor, options.shrinkage);
  DefaultThreadPool pool(hardware_concurrency(options.numThreads));
  if (!factorInverse(factor, options.damping, pool))
    return rounded;
  rounded.isErrorMinimised = true;
  RowRounder rounder{weights, order, factor, options, rounded};
  for (int64_t row = 0; row < weights.rows; row += kRows)
    pool.async([&rounder, row, count = std::min(kRows, weights.rows - row)] {
      rounder.round(row, count);
    });
  pool.wait();
  return rounded;
}
