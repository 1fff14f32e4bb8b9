//===- PowerTable.h - Powers of two by a table ------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Where vectors can look numbers up in a register, 2^x takes two products less
// than by a polynomial alone: a sixteenth of its argument, rounded, has a
// square polynomial of its own for what rounding leaves.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_ATTENTION_POWERTABLE_H
#define QTX_LIB_KERNEL_ATTENTION_POWERTABLE_H

#include <array>
#include <cstdint>

namespace qtx {

/// `factor * 2^(i / 16 + r)` for `|r| <= 1 / 32`.
struct PowerTable {
  static constexpr int64_t kIntervals = 16;

  explicit PowerTable(double factor);

  /// Coefficients by power of `r`, for each `i`: within 5e-7 of the power,
  /// relatively.
  std::array<std::array<float, kIntervals>, 3> coefficients;
};

} // namespace qtx

#endif // QTX_LIB_KERNEL_ATTENTION_POWERTABLE_H
