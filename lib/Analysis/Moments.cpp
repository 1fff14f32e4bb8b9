//===- Moments.cpp - Second moments of channels ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Moments.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace qtx;

/// Channels in a panel: a panel of kMaxRows rows fits the L1 cache.
static constexpr int64_t kPanel = 32;
/// Rows that are summed in fp32.
static constexpr int64_t kMaxRows = 256;

//===----------------------------------------------------------------------===//
// The product of two panels
//===----------------------------------------------------------------------===//

namespace {
/// `target[i][j] += sum over rows of a[row][i] * b[row][j]`, of one pair of
/// panels; the rows of `target` are `stride` apart.
using MultiplyFn = void (*)(const float *a, const float *b, int64_t rows,
                            double *target, int64_t stride);

template <unsigned Width> struct VectorOf {
  typedef float Type __attribute__((vector_size(Width * sizeof(float)),
                                    aligned(sizeof(float))));
};
} // namespace

/// Tiles of `Rows` x `Columns` vectors stay in registers over all rows.
template <unsigned Width, unsigned Rows, unsigned Columns>
__attribute__((always_inline)) static inline void
multiplyPanels(const float *a, const float *b, int64_t rows, double *target,
               int64_t stride) {
  using Vector = typename VectorOf<Width>::Type;
  constexpr unsigned kColumns = Width * Columns;
  static_assert(kPanel % Rows == 0 && kPanel % kColumns == 0);
  for (unsigned i = 0; i < kPanel; i += Rows)
    for (unsigned j = 0; j < kPanel; j += kColumns) {
      Vector sums[Rows][Columns] = {};
      for (int64_t row = 0; row < rows; ++row) {
        const float *left = a + row * kPanel + i;
        const float *right = b + row * kPanel + j;
        for (unsigned n = 0; n < Columns; ++n) {
          Vector factor = *reinterpret_cast<const Vector *>(right + n * Width);
          for (unsigned m = 0; m < Rows; ++m)
            sums[m][n] += left[m] * factor;
        }
      }
      for (unsigned m = 0; m < Rows; ++m)
        for (unsigned n = 0; n < kColumns; ++n)
          target[(i + m) * stride + j + n] += sums[m][n / Width][n % Width];
    }
}

static void multiplyBaseline(const float *a, const float *b, int64_t rows,
                             double *target, int64_t stride) {
  multiplyPanels<4, 4, 2>(a, b, rows, target, stride);
}

#ifdef __x86_64__
__attribute__((target("avx2,fma"))) static void
multiplyAVX2(const float *a, const float *b, int64_t rows, double *target,
             int64_t stride) {
  multiplyPanels<8, 4, 2>(a, b, rows, target, stride);
}

__attribute__((target("avx512f"))) static void
multiplyAVX512(const float *a, const float *b, int64_t rows, double *target,
               int64_t stride) {
  multiplyPanels<16, 8, 2>(a, b, rows, target, stride);
}
#endif

/// The widest one that this machine runs.
static MultiplyFn selectMultiply() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f"))
    return multiplyAVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return multiplyAVX2;
#endif
  return multiplyBaseline;
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

SecondMoments::SecondMoments(int64_t numChannels)
    : numChannels(numChannels), sums(numChannels) {
  int64_t padded = alignTo(numChannels, kPanel);
  products.resize(padded * padded);
  panels.resize(padded * kMaxRows);
}

void SecondMoments::update(const StreamedValue &value) {
  for (int64_t row = 0, e = value.getNumRows(); row < e; ++row) {
    if (!value.isValid(row))
      continue;
    ArrayRef<float> numbers = value.getRow(row);
    for (auto [sum, number] : zip_equal(sums, numbers))
      sum += number;
    if (numRows == 0)
      origin = numbers.vec();
    ArrayRef<float> middle = origin;
    float *target = panels.data() + numWaiting * kPanel;
    for (; !numbers.empty(); target += kMaxRows * kPanel) {
      size_t count = std::min<size_t>(numbers.size(), kPanel);
      for (size_t i = 0; i < count; ++i)
        target[i] = numbers[i] - middle[i];
      numbers = numbers.drop_front(count);
      middle = middle.drop_front(count);
    }
    ++numRows;
    if (++numWaiting == kMaxRows)
      addRows();
  }
  if (numWaiting > 0)
    addRows();
}

void SecondMoments::addRows() {
  static const MultiplyFn multiply = selectMultiply();
  int64_t padded = alignTo(numChannels, kPanel);
  for (int64_t i = 0; i < padded; i += kPanel)
    for (int64_t j = 0; j <= i; j += kPanel)
      multiply(panels.data() + i * kMaxRows, panels.data() + j * kMaxRows,
               numWaiting, products.data() + i * padded + j, padded);
  numWaiting = 0;
}

/// The symmetric matrix of `get(i, j)`, which is called for `j <= i`.
template <typename GetFn>
static std::vector<double> makeSymmetric(int64_t size, GetFn get) {
  std::vector<double> matrix(size * size);
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j <= i; ++j)
      matrix[i * size + j] = matrix[j * size + i] = get(i, j);
  return matrix;
}

std::vector<double> SecondMoments::getDistances() const {
  std::vector<double> distances = sums;
  for (size_t i = 0; i < origin.size(); ++i)
    distances[i] -= double(origin[i]) * double(numRows);
  return distances;
}

std::vector<double> SecondMoments::getProducts() const {
  int64_t padded = alignTo(numChannels, kPanel);
  std::vector<double> distances = getDistances(), middle(numChannels);
  llvm::copy(origin, middle.begin());
  return makeSymmetric(numChannels, [&](int64_t i, int64_t j) {
    return products[i * padded + j] + middle[i] * sums[j] +
           middle[j] * distances[i];
  });
}

std::vector<double> SecondMoments::getCentredProducts() const {
  int64_t padded = alignTo(numChannels, kPanel);
  std::vector<double> distances = getDistances();
  double count = std::max<double>(numRows, 1);
  return makeSymmetric(numChannels, [&](int64_t i, int64_t j) {
    return products[i * padded + j] - distances[i] * distances[j] / count;
  });
}
