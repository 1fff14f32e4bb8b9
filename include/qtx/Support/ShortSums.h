//===- ShortSums.h - Products that 16 bits add up ---------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// AVX2 multiplies unsigned bytes by signed ones and adds the products of two
// neighbours up in 16 bits, where sums saturate (VPMADDUBSW). While weights are
// small enough together, no sum does, nor that of two such sums, which are then
// widened at once. Recipes that make such weights and the micro-kernel that
// needs them agree here on which weights meet in a sum.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_SHORTSUMS_H
#define QTX_SUPPORT_SHORTSUMS_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <vector>

namespace qtx {

/// Words of four channels whose products meet: one short sum takes the first
/// halves of the words, another one the second halves.
inline constexpr int64_t kShortDots = 2;

/// What weights of one sign in a short sum come to at most: 255 times as much
/// fits 16 bits.
inline constexpr int64_t kMaxShortSum = 32767 / 255;

/// Words of weights of 4 bits that fit a short sum, whatever they are: two
/// products in each, of a byte and 8 at most.
inline constexpr int64_t kShortNibbleDots = 32767 / (2 * 255 * 8);

/// The number of the short sum of each channel, for segments of these sizes.
std::vector<int64_t> getShortSums(llvm::ArrayRef<int64_t> segments);

/// What the weights of one output leave of its short sums.
class ShortSumRoom {
public:
  /// For channels with these short sums; no limits if there are none.
  explicit ShortSumRoom(llvm::ArrayRef<int64_t> sums);

  /// Takes `code` into the sum of `channel`, or as much of it as there is room
  /// for, and returns that.
  int64_t take(int64_t code, int64_t channel);

private:
  llvm::ArrayRef<int64_t> sums;
  /// Above and below zero.
  std::vector<int64_t> above, below;
};

/// Whether no short sum of `weights`, `[outputs, channels]`, saturates.
bool fitShortSums(llvm::ArrayRef<int64_t> weights, int64_t channels,
                  llvm::ArrayRef<int64_t> segments);

} // namespace qtx

#endif // QTX_SUPPORT_SHORTSUMS_H
