//===- PowerTable.cpp - Powers of two by a table --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PowerTable.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace qtx;

PowerTable::PowerTable(double factor) {
  // The polynomial through three Chebyshev nodes, -d, 0 and d.
  double d = std::cos(llvm::numbers::pi / 6) / (2 * kIntervals);
  double above = std::exp2(d), below = std::exp2(-d);
  for (int64_t i = 0; i < kIntervals; ++i) {
    double power = factor * std::exp2(double(i) / kIntervals);
    coefficients[0][i] = power;
    coefficients[1][i] = power * (above - below) / (2 * d);
    coefficients[2][i] = power * (above + below - 2) / (2 * d * d);
  }
}
