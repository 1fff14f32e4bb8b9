//===- ShortSums.cpp - Products that 16 bits add up -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/ShortSums.h"
#include <algorithm>

using namespace qtx;
using llvm::ArrayRef;

/// Channels of a word, and of the part of it that one sum takes.
static constexpr int64_t kWord = 4, kHalf = 2;

std::vector<int64_t> qtx::getShortSums(ArrayRef<int64_t> segments) {
  constexpr int64_t step = kShortDots * kWord, sumsOfStep = kWord / kHalf;
  std::vector<int64_t> sums;
  int64_t first = 0;
  for (int64_t size : segments) {
    for (int64_t i = 0; i < size; ++i)
      sums.push_back(first + i / step * sumsOfStep + i % kWord / kHalf);
    first += (size + step - 1) / step * sumsOfStep;
  }
  return sums;
}

ShortSumRoom::ShortSumRoom(ArrayRef<int64_t> sums) : sums(sums) {
  if (sums.empty())
    return;
  auto [least, most] = std::minmax_element(sums.begin(), sums.end());
  above.assign(*most - *least + 1, kMaxShortSum);
  below.assign(*most - *least + 1, -kMaxShortSum);
}

int64_t ShortSumRoom::take(int64_t code, int64_t channel) {
  if (sums.empty())
    return code;
  int64_t sum = sums[channel] - sums.front();
  int64_t taken = std::clamp(code, below[sum], above[sum]);
  (taken > 0 ? above : below)[sum] -= taken;
  return taken;
}

bool qtx::fitShortSums(ArrayRef<int64_t> weights, int64_t channels,
                       ArrayRef<int64_t> segments) {
  std::vector<int64_t> sums = getShortSums(segments);
  for (; !weights.empty(); weights = weights.drop_front(channels)) {
    ShortSumRoom room(sums);
    for (int64_t k = 0; k < channels; ++k)
      if (room.take(weights[k], k) != weights[k])
        return false;
  }
  return true;
}
