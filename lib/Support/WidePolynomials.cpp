//===- WidePolynomials.cpp - Elementary functions by way of f64 -----------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Functions that no kernel needs fast: Taylor series in f64, rounded once. Half
// of the digits of f64 are to spare for f32, so that no care is taken of the
// last ones.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "qtx/Support/Polynomials.h"
#include <limits>

using namespace mlir;
using namespace qtx;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();
static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
static constexpr double kHalfPi = 1.5707963267948966;

namespace {

/// Short names for operations on f64, or vectors of it.
class Wide {
public:
  Wide(ImplicitLocOpBuilder &builder, Value like)
      : builder(builder), narrow(like.getType()),
        wide(withElement(builder.getF64Type())),
        integer(withElement(builder.getI64Type())) {}

  Value widen(Value x) {
    return narrow == wide ? x : arith::ExtFOp::create(builder, wide, x);
  }
  Value round(Value x) {
    return narrow == wide ? x : arith::TruncFOp::create(builder, narrow, x);
  }

  Value number(double value) {
    return constant(wide, builder.getF64FloatAttr(value));
  }
  Value bits(int64_t value) {
    return constant(integer, builder.getI64IntegerAttr(value));
  }
  Value add(Value a, Value b) { return arith::AddFOp::create(builder, a, b); }
  Value sub(Value a, Value b) { return arith::SubFOp::create(builder, a, b); }
  Value mul(Value a, Value b) { return arith::MulFOp::create(builder, a, b); }
  Value div(Value a, Value b) { return arith::DivFOp::create(builder, a, b); }
  Value fma(Value a, Value b, Value c) {
    return math::FmaOp::create(builder, a, b, c);
  }
  Value sqrt(Value a) { return math::SqrtOp::create(builder, a); }
  Value abs(Value a) { return math::AbsFOp::create(builder, a); }
  Value neg(Value a) { return arith::NegFOp::create(builder, a); }
  Value nearest(Value a) { return math::RoundEvenOp::create(builder, a); }
  Value copySign(Value a, Value sign) {
    return math::CopySignOp::create(builder, a, sign);
  }
  Value compare(arith::CmpFPredicate predicate, Value a, Value b) {
    return arith::CmpFOp::create(builder, predicate, a, b);
  }
  Value less(Value a, Value b) {
    return compare(arith::CmpFPredicate::OLT, a, b);
  }
  Value equal(Value a, Value b) {
    return compare(arith::CmpFPredicate::OEQ, a, b);
  }
  Value isNaN(Value a) { return compare(arith::CmpFPredicate::UNO, a, a); }
  Value both(Value a, Value b) { return arith::AndIOp::create(builder, a, b); }
  Value either(Value a, Value b) { return arith::OrIOp::create(builder, a, b); }
  Value negate(Value a) {
    auto yes = constant(a.getType(), builder.getBoolAttr(true));
    return arith::XOrIOp::create(builder, a, yes);
  }
  Value select(Value condition, Value a, Value b) {
    return arith::SelectOp::create(builder, condition, a, b);
  }
  /// To [low, high]; a NaN stays.
  Value clamp(Value a, double low, double high) {
    a = select(less(a, number(low)), number(low), a);
    return select(less(number(high), a), number(high), a);
  }
  Value toInteger(Value a) {
    // What is no number has no integer.
    a = select(isNaN(a), number(0), a);
    return arith::FPToSIOp::create(builder, integer, a);
  }
  Value toFloat(Value a) { return arith::SIToFPOp::create(builder, wide, a); }
  Value toBits(Value a) {
    return arith::BitcastOp::create(builder, integer, a);
  }
  Value fromBits(Value a) { return arith::BitcastOp::create(builder, wide, a); }
  Value addBits(Value a, Value b) {
    return arith::AddIOp::create(builder, a, b);
  }
  Value subBits(Value a, Value b) {
    return arith::SubIOp::create(builder, a, b);
  }
  Value andBits(Value a, int64_t mask) {
    return arith::AndIOp::create(builder, a, bits(mask));
  }
  Value shiftLeft(Value a, int64_t amount) {
    return arith::ShLIOp::create(builder, a, bits(amount));
  }
  Value shiftRight(Value a, int64_t amount) {
    return arith::ShRSIOp::create(builder, a, bits(amount));
  }
  Value isClear(Value a, int64_t mask) {
    return arith::CmpIOp::create(builder, arith::CmpIPredicate::eq,
                                 andBits(a, mask), bits(0));
  }

  /// The sum of coefficient(k) * x^k for k < count.
  Value series(Value x, int count, function_ref<double(int)> coefficient) {
    Value sum = number(coefficient(count - 1));
    for (int k = count - 2; k >= 0; --k)
      sum = fma(sum, x, number(coefficient(k)));
    return sum;
  }

private:
  Type withElement(Type element) {
    auto vector = dyn_cast<VectorType>(narrow);
    return vector ? vector.clone(element) : element;
  }
  Value constant(Type type, TypedAttr value) {
    if (auto vector = dyn_cast<VectorType>(type))
      value = DenseElementsAttr::get(vector, Attribute(value));
    return arith::ConstantOp::create(builder, value);
  }

  ImplicitLocOpBuilder &builder;
  Type narrow, wide, integer;
};

} // namespace

static double inverseFactorial(int n) {
  double product = 1;
  for (int i = 2; i <= n; ++i)
    product *= i;
  return 1 / product;
}

/// 2^n for -1022 <= n <= 1023
static Value powerOfTwo(Wide &w, Value n) {
  return w.fromBits(w.shiftLeft(w.addBits(n, w.bits(1023)), 52));
}

static Value expOf(Wide &w, Value x) {
  x = w.clamp(x, -750, 710);
  Value n = w.nearest(w.mul(x, w.number(1.4426950408889634)));
  Value r = w.fma(n, w.number(-0.69314718036912382), x);
  r = w.fma(n, w.number(-1.9082149292705877e-10), r);
  Value power = w.series(r, 15, inverseFactorial);
  Value integer = w.toInteger(n), half = w.shiftRight(integer, 1);
  power = w.mul(power, powerOfTwo(w, half));
  return w.mul(power, powerOfTwo(w, w.subBits(integer, half)));
}

static Value logOf(Wide &w, Value x) {
  Value isSmall = w.less(x, w.number(0x1p-1022));
  Value normal = w.select(isSmall, w.mul(x, w.number(0x1p52)), x);
  // x = 2^k m, sqrt(1/2) <= m < sqrt 2
  Value bits = w.toBits(normal);
  Value k = w.shiftRight(w.subBits(bits, w.bits(0x3fe6a09e667f3bcd)), 52);
  Value m = w.fromBits(w.subBits(bits, w.shiftLeft(k, 52)));
  Value f = w.sub(m, w.number(1));
  // log m = 2 atanh(f / (2 + f)) = 2 s + s^3 p(s^2)
  Value s = w.div(f, w.add(f, w.number(2)));
  Value square = w.mul(s, s);
  Value p = w.series(square, 11, [](int i) { return 2.0 / (2 * i + 3); });
  Value tail = w.fma(w.mul(s, square), p, w.add(s, s));
  Value exponent = w.toFloat(k);
  exponent = w.sub(exponent, w.select(isSmall, w.number(52), w.number(0)));
  Value result = w.fma(exponent, w.number(1.9082149292705877e-10), tail);
  result = w.fma(exponent, w.number(0.69314718036912382), result);
  Value zero = w.number(0), infinity = w.number(kInfinity);
  Value special = w.select(w.less(zero, x), infinity, w.number(kNaN));
  special = w.select(w.equal(x, zero), w.number(-kInfinity), special);
  Value isRegular = w.both(w.less(zero, x), w.less(x, infinity));
  return w.select(isRegular, result, special);
}

/// log(1 + x), corrected by what is lost in the sum.
static Value log1pOf(Wide &w, Value x) {
  Value one = w.number(1), sum = w.add(x, one);
  Value lost = w.sub(x, w.sub(sum, one));
  Value result = w.add(logOf(w, sum), w.div(lost, sum));
  Value isFinite =
      w.both(w.less(w.number(-1), x), w.less(x, w.number(kInfinity)));
  result = w.select(isFinite, result, logOf(w, sum));
  return w.select(w.equal(x, w.number(0)), x, result);
}

static Value expm1Of(Wide &w, Value x) {
  Value near =
      w.mul(x, w.series(x, 15, [](int i) { return inverseFactorial(i + 1); }));
  Value far = w.sub(expOf(w, x), w.number(1));
  return w.select(w.less(w.abs(x), w.number(0.5)), near, far);
}

/// The sine or cosine of x = n pi/2 + r: by quadrant one of the two series.
static Value sineOf(Wide &w, Value x, bool isCosine) {
  Value n = w.nearest(w.mul(x, w.number(0.63661977236758134)));
  Value r = w.fma(n, w.number(-kHalfPi), x);
  r = w.fma(n, w.number(-6.123233995736766e-17), r);
  Value square = w.mul(r, r);
  auto sign = [](int i) { return i % 2 == 0 ? 1.0 : -1.0; };
  Value sine = w.mul(r, w.series(square, 9, [&](int i) {
    return sign(i) * inverseFactorial(2 * i + 1);
  }));
  Value cosine = w.series(
      square, 9, [&](int i) { return sign(i) * inverseFactorial(2 * i); });
  Value quadrant = w.toInteger(w.clamp(n, -0x1p62, 0x1p62));
  if (isCosine)
    quadrant = w.addBits(quadrant, w.bits(1));
  Value result = w.select(w.isClear(quadrant, 1), sine, cosine);
  result = w.select(w.isClear(quadrant, 2), result, w.neg(result));
  // Zeros keep their sign.
  if (!isCosine)
    result = w.select(w.equal(x, w.number(0)), x, result);
  return result;
}

static Value atanOf(Wide &w, Value x) {
  Value one = w.number(1), magnitude = w.abs(x);
  Value isLarge = w.less(one, magnitude);
  Value z = w.select(isLarge, w.div(one, magnitude), magnitude);
  // atan z = pi/4 + atan((z - 1) / (z + 1)) beyond tan(pi/8)
  Value isMiddle = w.less(w.number(0.41421356237309503), z);
  Value moved = w.div(w.sub(z, one), w.add(z, one));
  Value t = w.select(isMiddle, moved, z);
  Value series = w.series(w.mul(t, t), 21, [](int i) {
    return (i % 2 == 0 ? 1.0 : -1.0) / (2 * i + 1);
  });
  Value angle = w.mul(t, series);
  angle = w.select(isMiddle, w.add(angle, w.number(kHalfPi / 2)), angle);
  angle = w.select(isLarge, w.sub(w.number(kHalfPi), angle), angle);
  return w.copySign(angle, x);
}

static Value asinOf(Wide &w, Value x) {
  Value one = w.number(1);
  Value cosine = w.sqrt(w.mul(w.sub(one, x), w.add(one, x)));
  return atanOf(w, w.div(x, cosine));
}

static Value sinhOf(Wide &w, Value x) {
  Value square = w.mul(x, x);
  Value near = w.mul(x, w.series(square, 8, [](int i) {
    return inverseFactorial(2 * i + 1);
  }));
  // Half of the power first: it overflows later than the whole.
  Value half = expOf(w, w.sub(w.abs(x), w.number(0.69314718055994531)));
  Value far = w.sub(half, w.div(w.number(0.25), half));
  return w.select(w.less(w.abs(x), w.number(0.5)), near, w.copySign(far, x));
}

static Value coshOf(Wide &w, Value x) {
  Value half = expOf(w, w.sub(w.abs(x), w.number(0.69314718055994531)));
  return w.add(half, w.div(w.number(0.25), half));
}

static Value tanhOf(Wide &w, Value x) {
  Value t = w.clamp(x, -20, 20);
  Value result = w.div(sinhOf(w, t), coshOf(w, t));
  return w.select(w.isNaN(x), x, result);
}

static Value asinhOf(Wide &w, Value x) {
  Value one = w.number(1), magnitude = w.abs(x), square = w.mul(x, x);
  Value root = w.sqrt(w.add(square, one));
  // Beyond 2^26 the root is the number itself.
  Value far = w.add(logOf(w, magnitude), w.number(0.69314718055994531));
  Value near = log1pOf(w, w.add(magnitude, w.div(square, w.add(one, root))));
  Value result = w.select(w.less(magnitude, w.number(0x1p26)), near, far);
  return w.copySign(result, x);
}

static Value acoshOf(Wide &w, Value x) {
  Value t = w.sub(x, w.number(1));
  Value near = log1pOf(w, w.add(t, w.sqrt(w.mul(t, w.add(t, w.number(2))))));
  Value far = w.add(logOf(w, x), w.number(0.69314718055994531));
  return w.select(w.less(w.number(0x1p26), x), far, near);
}

static Value atanhOf(Wide &w, Value x) {
  Value one = w.number(1), magnitude = w.abs(x);
  Value ratio = w.div(w.add(magnitude, magnitude), w.sub(one, magnitude));
  Value result = w.mul(w.number(0.5), log1pOf(w, ratio));
  return w.copySign(result, x);
}

/// |x|^y by e^(y log |x|), with the sign and the special cases of IEEE 754.
static Value powOf(Wide &w, Value x, Value y) {
  Value zero = w.number(0), one = w.number(1), infinity = w.number(kInfinity);
  Value power = expOf(w, w.mul(y, logOf(w, w.abs(x))));
  Value halfOfY = w.mul(y, w.number(0.5));
  Value isInteger = w.equal(w.nearest(y), y);
  Value isEven = w.equal(w.nearest(halfOfY), halfOfY);
  Value isOdd = w.both(isInteger, w.negate(isEven));
  Value isNegative = w.less(w.copySign(one, x), zero);
  power = w.select(w.both(isNegative, isOdd), w.neg(power), power);
  // A negative number has no power that is not an integer, unless it is
  // infinite.
  Value isFinite = w.less(w.abs(x), infinity);
  Value hasNone =
      w.both(w.both(w.less(x, zero), isFinite), w.negate(isInteger));
  power = w.select(hasNone, w.number(kNaN), power);
  Value isUnit = w.equal(w.abs(x), one);
  Value isInfinite = w.equal(w.abs(y), infinity);
  power = w.select(w.both(isUnit, isInfinite), one, power);
  return w.select(w.either(w.equal(y, zero), w.equal(x, one)), one, power);
}

/// `function` of `x`, rounded to its type.
static Value apply(ImplicitLocOpBuilder &builder, Value x,
                   function_ref<Value(Wide &, Value)> function) {
  Wide w(builder, x);
  return w.round(function(w, w.widen(x)));
}

Value qtx::createWideExp(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, expOf);
}
Value qtx::createWideLog(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, logOf);
}
Value qtx::createExpm1(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, expm1Of);
}
Value qtx::createLog1p(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, log1pOf);
}
Value qtx::createSin(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, [](Wide &w, Value x) { return sineOf(w, x, false); });
}
Value qtx::createWideCos(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, [](Wide &w, Value x) { return sineOf(w, x, true); });
}
Value qtx::createTan(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, [](Wide &w, Value x) {
    return w.div(sineOf(w, x, false), sineOf(w, x, true));
  });
}
Value qtx::createAsin(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, asinOf);
}
Value qtx::createAcos(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, [](Wide &w, Value x) {
    return w.sub(w.number(kHalfPi), asinOf(w, x));
  });
}
Value qtx::createAtan(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, atanOf);
}
Value qtx::createSinh(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, sinhOf);
}
Value qtx::createCosh(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, coshOf);
}
Value qtx::createWideTanh(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, tanhOf);
}
Value qtx::createAsinh(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, asinhOf);
}
Value qtx::createAcosh(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, acoshOf);
}
Value qtx::createAtanh(ImplicitLocOpBuilder &b, Value x) {
  return apply(b, x, atanhOf);
}
Value qtx::createPow(ImplicitLocOpBuilder &b, Value x, Value y) {
  Wide w(b, x);
  return w.round(powOf(w, w.widen(x), w.widen(y)));
}
