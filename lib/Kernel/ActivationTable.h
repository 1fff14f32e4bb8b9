//===- ActivationTable.h - Activations by tables ----------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What is quantized to bytes need not be computed to 24 bits. Where vectors can
// look numbers up in a register, an activation is `max(x, 0)` plus a cubic
// polynomial of the magnitude of `x` for each of a few intervals: GELU and SiLU
// differ from the maximum by an even function. Without lookups that function is
// the magnitude times a power of a polynomial.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_ACTIVATIONTABLE_H
#define QTX_LIB_KERNEL_ACTIVATIONTABLE_H

#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Kernel/MicroKernel.h"
#include <array>
#include <optional>

namespace qtx {

/// Polynomials on intervals. The unit of the argument and of the result is the
/// step from one interval to the next: interval `i` is centred at `i`, and from
/// the centre of the last one on, the activation is `max(x, 0)`.
struct ActivationTable {
  static constexpr int64_t kIntervals = 16;
  /// The centre of the last interval.
  static constexpr float kLast = kIntervals - 1;

  float step;
  /// Coefficients by power of the argument, for each interval.
  std::array<std::array<float, kIntervals>, 4> coefficients;
  /// The largest difference from the function, rounding included. Its unit is
  /// 1, not a step.
  double error;

  /// Null for activations that take few operations anyway.
  static const ActivationTable *get(Activation activation);
};

/// `max(x, 0) - t q(t)^(2^squarings)` with `t = min(abs(x), end)`, where
/// lookups would cost more than products.
struct ActivationPower {
  float end;
  int64_t squarings;
  /// Those of `q`, that of the highest power first.
  llvm::SmallVector<float, 8> coefficients;
  /// The largest difference from the function, rounding included.
  double error;

  /// Null for activations that take few operations anyway.
  static const ActivationPower *get(Activation activation);
};

/// The unit in which a kernel takes the activation from a table, the step, or
/// 1 for the power that it is nearly where `row` has no lookups: codes hardly
/// change. Absent where they might, or no approximation exists. At most
/// `codesPerUnit` codes are a unit of the activation.
std::optional<float> findActivationUnit(Activation activation,
                                        const MicroKernel &row,
                                        double codesPerUnit);

} // namespace qtx

#endif // QTX_LIB_KERNEL_ACTIVATIONTABLE_H
