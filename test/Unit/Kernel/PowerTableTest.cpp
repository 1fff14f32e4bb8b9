//===- PowerTableTest.cpp - Tests of powers by a table --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Attention/PowerTable.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace qtx;

/// What docs/Numerics.md says of the exponential of attention. Kernels evaluate
/// it in fp32; here it is the polynomials' own error.
TEST(PowerTableTest, WithinBound) {
  for (double factor : {1.0, 255.0, 1 / 3.0}) {
    PowerTable table(factor);
    for (int64_t i = 0; i < PowerTable::kIntervals; ++i)
      for (int64_t step = -1000; step <= 1000; ++step) {
        double r = double(step) / (1000 * 2 * PowerTable::kIntervals);
        double found = (double(table.coefficients[2][i]) * r +
                        double(table.coefficients[1][i])) *
                           r +
                       double(table.coefficients[0][i]);
        double power =
            factor * std::exp2(double(i) / PowerTable::kIntervals + r);
        ASSERT_LT(std::abs(found / power - 1), 5e-7) << i << ", " << r;
      }
  }
}

TEST(PowerTableTest, MiddlesAreRounded) {
  PowerTable table(255);
  for (int64_t i = 0; i < PowerTable::kIntervals; ++i)
    EXPECT_EQ(table.coefficients[0][i], float(255 * std::exp2(i / 16.0)));
}
