//===- ActivationTable.cpp - Activations by tables ------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ActivationTable.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>
#include <cmath>

using namespace qtx;

/// What a table may add to a quotient by the scale, before it is rounded. About
/// twice as large a share of the codes changes by one.
static constexpr double kMaxErrorOfCode = 1.0 / 128;

using Function = double (*)(double);
using Cubic = std::array<double, 4>;

static double gelu(double x) {
  return x * 0.5 * std::erfc(-x * llvm::numbers::inv_sqrt2);
}
static double geluTanh(double x) {
  double scale = std::sqrt(2 / llvm::numbers::pi);
  return x * 0.5 * (1 + std::tanh(scale * (x + 0.044715 * x * x * x)));
}
static double silu(double x) { return x / (1 + std::exp(-x)); }

/// The polynomial through four Chebyshev nodes, by powers of `x`.
static Cubic interpolate(Function function, double center, double step) {
  Cubic nodes, differences;
  for (int i = 0; i < 4; ++i) {
    nodes[i] =
        center + step / 2 * std::cos((2 * i + 1) * llvm::numbers::pi / 8);
    differences[i] = function(nodes[i]);
  }
  for (int order = 1; order < 4; ++order)
    for (int i = 3; i >= order; --i)
      differences[i] =
          (differences[i] - differences[i - 1]) / (nodes[i] - nodes[i - order]);
  // Newton's form, expanded from the inside out.
  Cubic result = {differences[3], 0, 0, 0};
  for (int i = 2; i >= 0; --i) {
    for (int power = 3; power > 0; --power)
      result[power] = result[power - 1] - nodes[i] * result[power];
    result[0] = differences[i] - nodes[i] * result[0];
  }
  return result;
}

static float evaluate(const ActivationTable &table, float x) {
  float argument = x / table.step;
  float magnitude = std::min(std::abs(argument), ActivationTable::kLast);
  int64_t interval = std::lrint(magnitude);
  float result = table.coefficients[3][interval];
  for (int power = 2; power >= 0; --power)
    result = std::fma(result, magnitude, table.coefficients[power][interval]);
  return (std::max(argument, 0.0f) + result) * table.step;
}

static float evaluate(const ActivationPower &power, float x) {
  float magnitude = std::min(std::abs(x), power.end), result = 0;
  for (float coefficient : power.coefficients)
    result = std::fma(result, magnitude, coefficient);
  for (int64_t i = 0; i < power.squarings; ++i)
    result *= result;
  return std::fma(-magnitude, result, std::max(x, 0.0f));
}

/// The largest difference up to twice as far as `approximation` is no
/// `max(x, 0)`.
template <typename T>
static double measure(const T &approximation, float last, Function function) {
  constexpr int64_t samples = 2048;
  double error = 0;
  for (int64_t i = -samples; i < samples; ++i) {
    float x = 2.0 * i / samples * last;
    error = std::max(error, std::abs(evaluate(approximation, x) - function(x)));
  }
  return error;
}

/// The approximation of `activation`; null if it needs none.
template <typename T>
static const T *select(Activation activation, const T &ofGelu,
                       const T &ofGeluTanh, const T &ofSilu) {
  switch (activation) {
  case Activation::Gelu:
    return &ofGelu;
  case Activation::GeluTanh:
    return &ofGeluTanh;
  case Activation::Silu:
    return &ofSilu;
  case Activation::None:
  case Activation::Relu:
    return nullptr;
  }
  llvm_unreachable("unknown activation");
}

/// `function` minus the maximum of its argument and 0.
static ActivationTable create(Function function, float step) {
  ActivationTable table = {step, {}, 0};
  // The first interval has a right half alone, the last one is zero.
  for (int64_t i = 0; i + 1 < ActivationTable::kIntervals; ++i) {
    double center = i * double(step);
    Cubic cubic = i == 0 ? interpolate(function, center + step / 4, step / 2)
                         : interpolate(function, center, step);
    cubic[1] -= 1;
    for (int power = 0; power < 4; ++power)
      table.coefficients[power][i] =
          cubic[power] * std::pow(double(step), power - 1);
  }
  table.error = measure(table, ActivationTable::kLast * step, function);
  return table;
}

const ActivationTable *ActivationTable::get(Activation activation) {
  // The steps are those for which intervals and what lies beyond them are about
  // equally wrong.
  static const ActivationTable ofGelu = create(gelu, 0.33f);
  static const ActivationTable ofGeluTanh = create(geluTanh, 0.3125f);
  static const ActivationTable ofSilu = create(silu, 0.9f);
  return select(activation, ofGelu, ofGeluTanh, ofSilu);
}

static ActivationPower create(Function function, float end, int64_t squarings,
                              llvm::SmallVector<float, 8> coefficients) {
  ActivationPower power = {end, squarings, std::move(coefficients), 0};
  power.error = measure(power, end, function);
  return power;
}

const ActivationPower *ActivationPower::get(Activation activation) {
  // Minimax fits of the whole, so that roots need be accurate only where their
  // powers count.
  static const ActivationPower ofGelu =
      create(gelu, 5.3f, 3,
             {-0.000190942897f, 0.00193963316f, -0.00110813847f, -0.0317216478f,
              -0.0914909765f, 0.917003453f});
  static const ActivationPower ofGeluTanh =
      create(geluTanh, 4.85f, 3,
             {3.69738082e-05f, -0.000467569625f, 0.00244217017f,
              -0.00137880561f, -0.0316047072f, -0.0915049762f, 0.91700387f});
  static const ActivationPower ofSilu = create(
      silu, 11.75f, 4,
      {-1.17852181e-07f, 3.62004516e-06f, -3.76439311e-05f, 9.08773873e-05f,
       0.00110451656f, -0.00816966128f, -0.0292934459f, 0.957495987f});
  return select(activation, ofGelu, ofGeluTanh, ofSilu);
}

std::optional<float> qtx::findActivationUnit(Activation activation,
                                             const MicroKernel &row,
                                             double codesPerUnit) {
  auto isAccurate = [&](const auto *approximation) {
    return approximation &&
           approximation->error * codesPerUnit <= kMaxErrorOfCode;
  };
  if (row.getTableSize() == ActivationTable::kIntervals) {
    const ActivationTable *table = ActivationTable::get(activation);
    return isAccurate(table) ? std::optional(table->step) : std::nullopt;
  }
  return isAccurate(ActivationPower::get(activation)) ? std::optional(1.0f)
                                                      : std::nullopt;
}
