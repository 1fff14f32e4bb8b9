//===- Sizes.cpp - Arithmetic on symbolic sizes ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Sizes.h"
#include "mlir/IR/AffineMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/SaveAndRestore.h"
#include "llvm/Support/raw_ostream.h"
#include <map>

using namespace mlir;
using namespace qtx::importer;

//===----------------------------------------------------------------------===//
// Polynomials
//===----------------------------------------------------------------------===//

/// A total order that does not depend on addresses.
static int compare(AffineExpr lhs, AffineExpr rhs) {
  if (lhs == rhs)
    return 0;
  if (lhs.getKind() != rhs.getKind())
    return lhs.getKind() == AffineExprKind::SymbolId ||
                   (rhs.getKind() != AffineExprKind::SymbolId &&
                    lhs.getKind() < rhs.getKind())
               ? -1
               : 1;
  if (auto symbol = dyn_cast<AffineSymbolExpr>(lhs))
    return symbol.getPosition() < cast<AffineSymbolExpr>(rhs).getPosition() ? -1
                                                                            : 1;
  if (auto constant = dyn_cast<AffineConstantExpr>(lhs))
    return constant.getValue() < cast<AffineConstantExpr>(rhs).getValue() ? -1
                                                                          : 1;
  auto left = cast<AffineBinaryOpExpr>(lhs);
  auto right = cast<AffineBinaryOpExpr>(rhs);
  int first = compare(left.getLHS(), right.getLHS());
  return first != 0 ? first : compare(left.getRHS(), right.getRHS());
}

namespace {
/// A product of atoms (symbols, and divisions that do not simplify), sorted.
using Monomial = SmallVector<AffineExpr, 2>;

/// Higher degrees first, so that the first term leads in a division.
struct MonomialOrder {
  bool operator()(const Monomial &lhs, const Monomial &rhs) const {
    if (lhs.size() != rhs.size())
      return lhs.size() > rhs.size();
    for (auto [left, right] : llvm::zip_equal(lhs, rhs))
      if (int order = compare(left, right))
        return order < 0;
    return false;
  }
};

/// A sum of monomials with coefficients.
class Polynomial {
public:
  Polynomial(bool &overflow) : overflow(overflow) {}

  static Polynomial get(AffineExpr expr, bool &overflow);

  void add(const Monomial &monomial, int64_t coefficient) {
    int64_t &sum = terms[monomial];
    overflow |= llvm::AddOverflow(sum, coefficient, sum);
    if (sum == 0)
      terms.erase(monomial);
  }

  /// Adds `other * monomial * coefficient`.
  void add(const Polynomial &other, const Monomial &monomial,
           int64_t coefficient) {
    for (const auto &[factor, multiple] : other.terms) {
      Monomial product(factor);
      product.append(monomial);
      llvm::sort(product, [](AffineExpr lhs, AffineExpr rhs) {
        return compare(lhs, rhs) < 0;
      });
      int64_t value;
      overflow |= llvm::MulOverflow(multiple, coefficient, value);
      add(product, value);
    }
  }

  AffineExpr getExpr(MLIRContext *context) const;

  std::map<Monomial, int64_t, MonomialOrder> terms;

private:
  bool &overflow;
};
} // namespace

Polynomial Polynomial::get(AffineExpr expr, bool &overflow) {
  Polynomial result(overflow);
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    result.add({}, constant.getValue());
    return result;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  bool isSum = binary && binary.getKind() == AffineExprKind::Add;
  bool isProduct = binary && binary.getKind() == AffineExprKind::Mul;
  if (!isSum && !isProduct) {
    result.add({expr}, 1);
    return result;
  }
  Polynomial lhs = get(binary.getLHS(), overflow);
  Polynomial rhs = get(binary.getRHS(), overflow);
  if (isSum) {
    result.add(lhs, {}, 1);
    result.add(rhs, {}, 1);
    return result;
  }
  for (const auto &[monomial, coefficient] : rhs.terms)
    result.add(lhs, monomial, coefficient);
  return result;
}

AffineExpr Polynomial::getExpr(MLIRContext *context) const {
  AffineExpr sum = getAffineConstantExpr(0, context);
  for (const auto &[monomial, coefficient] : terms) {
    AffineExpr term = getAffineConstantExpr(1, context);
    for (AffineExpr atom : monomial)
      term = term * atom;
    sum = sum + term * coefficient;
  }
  return sum;
}

/// Removes the atoms of `divisor` from `monomial`; nothing if one is not there.
static std::optional<Monomial> divide(Monomial monomial,
                                      const Monomial &divisor) {
  for (AffineExpr atom : divisor) {
    auto *found = llvm::find(monomial, atom);
    if (found == monomial.end())
      return std::nullopt;
    monomial.erase(found);
  }
  return monomial;
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

SmallVector<Size> Sizes::get(ArrayRef<int64_t> values) const {
  return llvm::map_to_vector(values, [&](int64_t value) { return get(value); });
}

Size Sizes::addSymbol(int64_t atLeast) {
  lowerBounds.push_back(atLeast);
  return getAffineSymbolExpr(lowerBounds.size() - 1, context);
}

Size Sizes::add(Size lhs, Size rhs) {
  std::optional<int64_t> left = getConstant(lhs), right = getConstant(rhs);
  if (left && right) {
    int64_t sum;
    overflow |= llvm::AddOverflow(*left, *right, sum);
    return get(sum);
  }
  Polynomial result = Polynomial::get(lhs, overflow);
  result.add(Polynomial::get(rhs, overflow), {}, 1);
  return result.getExpr(context);
}

Size Sizes::sub(Size lhs, Size rhs) { return add(lhs, mul(rhs, get(-1))); }

Size Sizes::mul(Size lhs, Size rhs) {
  std::optional<int64_t> left = getConstant(lhs), right = getConstant(rhs);
  if (left && right) {
    int64_t product;
    overflow |= llvm::MulOverflow(*left, *right, product);
    return get(product);
  }
  Polynomial result(overflow);
  Polynomial multiplicand = Polynomial::get(lhs, overflow);
  for (const auto &[monomial, coefficient] :
       Polynomial::get(rhs, overflow).terms)
    result.add(multiplicand, monomial, coefficient);
  return result.getExpr(context);
}

Size Sizes::product(ArrayRef<Size> sizes) {
  Size result = get(1);
  for (Size size : sizes)
    result = mul(result, size);
  return result;
}

Size Sizes::divideExactly(Size lhs, Size rhs) {
  Polynomial rest = Polynomial::get(lhs, overflow);
  Polynomial divisor = Polynomial::get(rhs, overflow);
  Polynomial quotient(overflow);
  if (divisor.terms.empty())
    return {};
  const auto &[lead, leadCoefficient] = *divisor.terms.begin();
  while (!rest.terms.empty() && !overflow) {
    const auto &[monomial, coefficient] = *rest.terms.begin();
    std::optional<Monomial> factor = divide(monomial, lead);
    bool isSafe = coefficient != std::numeric_limits<int64_t>::min();
    if (!factor || !isSafe || coefficient % leadCoefficient != 0)
      return {};
    int64_t multiple = coefficient / leadCoefficient;
    quotient.add(*factor, multiple);
    rest.add(divisor, *factor, -multiple);
  }
  return quotient.getExpr(context);
}

Size Sizes::floorDiv(Size lhs, Size rhs) {
  std::optional<int64_t> left = getConstant(lhs), right = getConstant(rhs);
  if (right && *right == 0)
    return {};
  if (Size exact = divideExactly(lhs, rhs))
    return exact;
  if (!right || *right < 0)
    return {};
  if (left)
    return get(llvm::divideFloorSigned(*left, *right));
  // What the divisor divides leaves the division: (4 * s0 + s1) / 4.
  Polynomial whole(overflow), rest(overflow);
  for (const auto &[monomial, coefficient] :
       Polynomial::get(lhs, overflow).terms) {
    int64_t quotient = llvm::divideFloorSigned(coefficient, *right);
    bool isWhole = quotient * *right == coefficient;
    if (isWhole || monomial.empty())
      whole.add(monomial, quotient);
    if (!isWhole)
      rest.add(monomial, monomial.empty() ? coefficient - quotient * *right
                                          : coefficient);
  }
  return add(whole.getExpr(context), rest.getExpr(context).floorDiv(*right));
}

Size Sizes::mod(Size lhs, Size rhs) {
  Size quotient = floorDiv(lhs, rhs);
  return quotient ? sub(lhs, mul(quotient, rhs)) : Size();
}

Size Sizes::ceilDiv(Size lhs, int64_t rhs) {
  return floorDiv(add(lhs, get(rhs - 1)), get(rhs));
}

//===----------------------------------------------------------------------===//
// Bounds
//===----------------------------------------------------------------------===//

std::optional<int64_t> Sizes::getLowerBound(Size size) {
  if (auto constant = getConstant(size))
    return constant;
  if (auto symbol = dyn_cast<AffineSymbolExpr>(size))
    return lowerBounds[symbol.getPosition()];
  auto binary = cast<AffineBinaryOpExpr>(size);
  if (binary.getKind() != AffineExprKind::Add &&
      binary.getKind() != AffineExprKind::Mul) {
    std::optional<int64_t> divisor = getConstant(binary.getRHS());
    if (!divisor || *divisor <= 0)
      return std::nullopt;
    // A remainder is 0 or more.
    if (binary.getKind() == AffineExprKind::Mod)
      return 0;
    std::optional<int64_t> bound = getLowerBound(binary.getLHS());
    if (bound)
      return llvm::divideFloorSigned(*bound, *divisor);
    return std::nullopt;
  }
  int64_t bound = 0;
  for (const auto &[monomial, coefficient] :
       Polynomial::get(size, overflow).terms) {
    if (coefficient < 0 && !monomial.empty())
      return std::nullopt;
    int64_t least = coefficient;
    for (AffineExpr atom : monomial) {
      std::optional<int64_t> factor = getLowerBound(atom);
      if (!factor || *factor < 0 || llvm::MulOverflow(least, *factor, least))
        return std::nullopt;
    }
    if (llvm::AddOverflow(bound, least, bound))
      return std::nullopt;
  }
  return bound;
}

std::optional<int64_t> Sizes::getUpperBound(Size size) {
  llvm::SaveAndRestore keep(overflow, false);
  std::optional<int64_t> bound = getLowerBound(mul(size, get(-1)));
  if (!bound || overflow || *bound == std::numeric_limits<int64_t>::min())
    return std::nullopt;
  return -*bound;
}

bool Sizes::isAtLeast(Size lhs, Size rhs) {
  llvm::SaveAndRestore keep(overflow, false);
  std::optional<int64_t> bound = getLowerBound(sub(lhs, rhs));
  return !overflow && bound && *bound >= 0;
}

bool Sizes::isNever(Size lhs, Size rhs) {
  llvm::SaveAndRestore keep(overflow, false);
  Size difference = sub(lhs, rhs);
  if (overflow)
    return getConstant(lhs) && getConstant(rhs);
  std::optional<int64_t> lower = getLowerBound(difference);
  std::optional<int64_t> upper = getUpperBound(difference);
  return (lower && *lower > 0) || (upper && *upper < 0);
}

AffineMapAttr qtx::importer::getSizesAttr(ArrayRef<Size> sizes,
                                          MLIRContext *context) {
  unsigned numSymbols = 0;
  for (Size size : sizes)
    size.walk([&](AffineExpr expr) {
      if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
        numSymbols = std::max(numSymbols, symbol.getPosition() + 1);
    });
  return AffineMapAttr::get(AffineMap::get(0, numSymbols, sizes, context));
}

std::string qtx::importer::formatSizes(ArrayRef<Size> sizes) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "[";
  llvm::interleaveComma(sizes, os, [&](Size size) { size.print(os); });
  os << "]";
  return text;
}
