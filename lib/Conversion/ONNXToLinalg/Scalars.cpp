//===- Scalars.cpp - Arithmetic on the elements of tensors ----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Scalars.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace qtx::onnx;

bool qtx::onnx::isByteFloat(Type type) {
  return isa<FloatType>(type) && type.getIntOrFloatBitWidth() <= 8 &&
         !isa<Float8E8M0FNUType>(type);
}

Type qtx::onnx::getPlainElement(Type type) {
  if (isByteFloat(type))
    return IntegerType::get(type.getContext(), 8);
  if (auto integer = dyn_cast<IntegerType>(type))
    return IntegerType::get(type.getContext(), integer.getWidth());
  return type;
}

Type qtx::onnx::getComputeElement(Type type) {
  if (type.isF16() || type.isBF16())
    return Float32Type::get(type.getContext());
  return getPlainElement(type);
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

Value Scalars::number(Type type, double value) {
  if (isa<FloatType>(type))
    return arith::ConstantOp::create(*this, getFloatAttr(type, value));
  return integer(type, static_cast<int64_t>(value));
}

Value Scalars::integer(Type type, int64_t value) {
  if (type.isIndex())
    return arith::ConstantIndexOp::create(*this, value);
  APInt bits(type.getIntOrFloatBitWidth(), value, /*isSigned=*/true,
             /*implicitTrunc=*/true);
  return arith::ConstantOp::create(*this, getIntegerAttr(type, bits));
}

Value Scalars::highest(Type type) {
  if (isa<FloatType>(type))
    return number(type, std::numeric_limits<double>::infinity());
  unsigned width = type.getIntOrFloatBitWidth();
  APInt bits = isUnsigned() ? APInt::getMaxValue(width)
                            : APInt::getSignedMaxValue(width);
  return arith::ConstantOp::create(*this, getIntegerAttr(type, bits));
}

Value Scalars::lowest(Type type) {
  if (isa<FloatType>(type))
    return number(type, -std::numeric_limits<double>::infinity());
  unsigned width = type.getIntOrFloatBitWidth();
  APInt bits = isUnsigned() ? APInt::getMinValue(width)
                            : APInt::getSignedMinValue(width);
  return arith::ConstantOp::create(*this, getIntegerAttr(type, bits));
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

static bool isFloat(Value value) { return isa<FloatType>(value.getType()); }

Value Scalars::add(Value a, Value b) {
  if (isFloat(a))
    return arith::AddFOp::create(*this, a, b);
  return arith::AddIOp::create(*this, a, b);
}

Value Scalars::sub(Value a, Value b) {
  if (isFloat(a))
    return arith::SubFOp::create(*this, a, b);
  return arith::SubIOp::create(*this, a, b);
}

Value Scalars::mul(Value a, Value b) {
  if (isFloat(a))
    return arith::MulFOp::create(*this, a, b);
  return arith::MulIOp::create(*this, a, b);
}

/// Division by 0, and of the smallest number by -1, ends a process on some
/// targets.
Value Scalars::div(Value a, Value b) {
  if (isFloat(a))
    return arith::DivFOp::create(*this, a, b);
  Value zero = integer(a.getType(), 0), one = integer(a.getType(), 1);
  Value isZero = equal(b, zero);
  if (isUnsigned()) {
    Value divisor = select(isZero, one, b);
    return select(isZero, zero, arith::DivUIOp::create(*this, a, divisor));
  }
  Value isMinusOne = equal(b, integer(a.getType(), -1));
  Value divisor = select(logicalOr(isZero, isMinusOne), one, b);
  Value quotient = arith::DivSIOp::create(*this, a, divisor);
  return select(isZero, zero, select(isMinusOne, neg(a), quotient));
}

Value Scalars::fma(Value a, Value b, Value c) {
  if (isFloat(a))
    return math::FmaOp::create(*this, a, b, c);
  return add(mul(a, b), c);
}

Value Scalars::neg(Value a) {
  if (isFloat(a))
    return arith::NegFOp::create(*this, a);
  return sub(integer(a.getType(), 0), a);
}

Value Scalars::abs(Value a) {
  if (isFloat(a))
    return math::AbsFOp::create(*this, a);
  return isUnsigned() ? a : select(less(a, integer(a.getType(), 0)), neg(a), a);
}

Value Scalars::min(Value a, Value b) {
  if (isFloat(a))
    return arith::MinimumFOp::create(*this, a, b);
  return select(less(a, b), a, b);
}

Value Scalars::max(Value a, Value b) {
  if (isFloat(a))
    return arith::MaximumFOp::create(*this, a, b);
  return select(less(a, b), b, a);
}

/// The remainder of floats, exact while the quotient is below 2^53. The
/// quotient is rounded, so it may be one too large.
static Value createFloatRemainder(Scalars &s, Value a, Value b) {
  Type type = a.getType(), f64 = s.getF64Type();
  bool isNarrow = type != f64;
  if (isNarrow) {
    a = arith::ExtFOp::create(s, f64, a);
    b = arith::ExtFOp::create(s, f64, b);
  }
  Value x = s.abs(a), y = s.abs(b), zero = s.number(f64, 0);
  Value quotient = math::FloorOp::create(s, s.div(x, y));
  Value rest = s.fma(s.neg(quotient), y, x);
  rest = s.select(s.less(rest, zero), s.add(rest, y), rest);
  // The quotient by an infinite divisor is 0, but 0 * inf is NaN.
  Value isInfinite = s.equal(y, s.highest(f64));
  Value isFinite = s.less(x, s.highest(f64));
  rest = s.select(s.logicalAnd(isInfinite, isFinite), x, rest);
  rest = math::CopySignOp::create(s, rest, a);
  return isNarrow ? Value(arith::TruncFOp::create(s, type, rest)) : rest;
}

Value Scalars::remainder(Value a, Value b, bool signOfDividend) {
  Value rest = isFloat(a) ? createFloatRemainder(*this, a, b)
                          : sub(a, mul(div(a, b), b));
  if (signOfDividend || (!isFloat(a) && isUnsigned()))
    return rest;
  Value zero = number(a.getType(), 0);
  Value differs = notEqual(less(rest, zero), less(b, zero));
  Value isSome = notEqual(rest, zero);
  return select(logicalAnd(differs, isSome), add(rest, b), rest);
}

/// By squaring; a negative exponent leaves 0, but for the bases 1 and -1.
Value Scalars::integerPower(Value base, Value exponent) {
  Type type = base.getType();
  Value one = integer(type, 1), zero = integer(type, 0);
  Value isNegative =
      isUnsigned() ? Value(integer(getI1Type(), 0)) : less(exponent, zero);
  Value lower = arith::ConstantIndexOp::create(*this, 0);
  Value upper = arith::ConstantIndexOp::create(*this, 64);
  Value step = arith::ConstantIndexOp::create(*this, 1);
  auto loop = scf::ForOp::create(
      *this, lower, upper, step, ValueRange{one, base, abs(exponent)},
      [&](OpBuilder &nested, Location loc, Value, ValueRange state) {
        Scalars s(loc, nested, element);
        Value odd =
            s.notEqual(arith::AndIOp::create(s, state[2], s.integer(type, 1)),
                       s.integer(type, 0));
        Value product = s.select(odd, s.mul(state[0], state[1]), state[0]);
        Value half = type.getIntOrFloatBitWidth() == 1
                         ? s.integer(type, 0)
                         : Value(arith::ShRUIOp::create(s, state[2],
                                                        s.integer(type, 1)));
        scf::YieldOp::create(
            s, ValueRange{product, s.mul(state[1], state[1]), half});
      });
  Value result = loop.getResult(0);
  Value isUnit = logicalOr(equal(base, one), equal(base, integer(type, -1)));
  return select(isNegative, select(isUnit, result, zero), result);
}

Value Scalars::power(Value a, Value b) {
  return isFloat(a) ? Value(math::PowFOp::create(*this, a, b))
                    : integerPower(a, b);
}

Value Scalars::sign(Value a) {
  Type type = a.getType();
  Value zero = number(type, 0);
  Value result = isUnsigned() ? a : select(less(a, zero), number(type, -1), a);
  return select(less(zero, a), number(type, 1), result);
}

//===----------------------------------------------------------------------===//
// Comparisons
//===----------------------------------------------------------------------===//

Value Scalars::less(Value a, Value b) {
  if (isFloat(a))
    return arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT, a, b);
  auto predicate =
      isUnsigned() ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt;
  return arith::CmpIOp::create(*this, predicate, a, b);
}

Value Scalars::lessOrEqual(Value a, Value b) {
  if (isFloat(a))
    return arith::CmpFOp::create(*this, arith::CmpFPredicate::OLE, a, b);
  auto predicate =
      isUnsigned() ? arith::CmpIPredicate::ule : arith::CmpIPredicate::sle;
  return arith::CmpIOp::create(*this, predicate, a, b);
}

Value Scalars::equal(Value a, Value b) {
  if (isFloat(a))
    return arith::CmpFOp::create(*this, arith::CmpFPredicate::OEQ, a, b);
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::eq, a, b);
}

Value Scalars::notEqual(Value a, Value b) {
  if (isFloat(a))
    return arith::CmpFOp::create(*this, arith::CmpFPredicate::UNE, a, b);
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::ne, a, b);
}

Value Scalars::isNaN(Value a) {
  return arith::CmpFOp::create(*this, arith::CmpFPredicate::UNO, a, a);
}

Value Scalars::logicalAnd(Value a, Value b) {
  return arith::AndIOp::create(*this, a, b);
}

Value Scalars::logicalOr(Value a, Value b) {
  return arith::OrIOp::create(*this, a, b);
}

Value Scalars::logicalNot(Value a) {
  return arith::XOrIOp::create(*this, a, integer(a.getType(), -1));
}

Value Scalars::select(Value condition, Value a, Value b) {
  return arith::SelectOp::create(*this, condition, a, b);
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

Value Scalars::exp(Value a) { return math::ExpOp::create(*this, a); }
Value Scalars::log(Value a) { return math::LogOp::create(*this, a); }
Value Scalars::sqrt(Value a) { return math::SqrtOp::create(*this, a); }
Value Scalars::tanh(Value a) { return math::TanhOp::create(*this, a); }

/// There is none of f64: it has the digits of f32.
Value Scalars::erf(Value a) {
  if (!a.getType().isF64())
    return math::ErfOp::create(*this, a);
  Value narrow = arith::TruncFOp::create(*this, getF32Type(), a);
  Value result = math::ErfOp::create(*this, narrow);
  return arith::ExtFOp::create(*this, getF64Type(), result);
}

Value Scalars::sigmoid(Value a) {
  Type type = a.getType();
  Value one = number(type, 1);
  Value power = exp(neg(abs(a)));
  Value numerator = select(less(a, number(type, 0)), power, one);
  return div(numerator, add(power, one));
}

Value Scalars::softplus(Value a) {
  Value tail = math::Log1pOp::create(*this, exp(neg(abs(a))));
  return add(max(a, number(a.getType(), 0)), tail);
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

/// Conversions of what is out of range are undefined below, so `x` is clamped
/// to what 64 bits hold; narrower integers take the low bits. NaN becomes 0.
Value Scalars::floatToInteger(Value x, IntegerType to, bool toUnsigned) {
  Type i64 = getI64Type();
  Value zero = number(x.getType(), 0);
  x = select(isNaN(x), zero, x);
  Value result;
  if (toUnsigned && to.getWidth() == 64) {
    // The largest numbers of both float types below 2^64 and 2^63.
    double bound = x.getType().isF64() ? 0x1.fffffffffffffp63 : 0x1.fffffep63;
    x = min(max(x, zero), number(x.getType(), bound));
    result = arith::FPToUIOp::create(*this, i64, x);
  } else {
    double bound = x.getType().isF64() ? 0x1.fffffffffffffp62 : 0x1.fffffep62;
    x = min(max(x, number(x.getType(), -0x1p63)), number(x.getType(), bound));
    result = arith::FPToSIOp::create(*this, i64, x);
  }
  if (to.getWidth() < 64)
    result = arith::TruncIOp::create(*this, to, result);
  return result;
}

namespace {
/// How a float of 8 or 4 bits is written: sign, exponent, fraction.
struct ByteFormat {
  explicit ByteFormat(FloatType type)
      : semantics(type.getFloatSemantics()), width(type.getWidth()),
        fraction(APFloat::semanticsPrecision(semantics) - 1),
        minExponent(APFloat::semanticsMinExponent(semantics)),
        largest(APFloat::getLargest(semantics).convertToDouble()),
        hasInfinity(APFloat::semanticsHasInf(semantics)),
        hasNaN(APFloat::semanticsHasNaN(semantics)) {}

  int64_t bits(const APFloat &value) const {
    return value.bitcastToAPInt().getZExtValue();
  }
  int64_t sign() const { return int64_t(1) << (width - 1); }
  int64_t infinity() const { return bits(APFloat::getInf(semantics)); }
  /// Where there is none, -0, as ONNX's reference has it.
  int64_t nan() const {
    return hasNaN ? bits(APFloat::getNaN(semantics)) : sign();
  }
  /// Whether there is no -0, whose bits are NaN's.
  bool isUnsignedZero() const { return hasNaN && nan() == sign(); }
  /// The distance of exponents from those of f32.
  int shift() const { return minExponent + 126; }

  const llvm::fltSemantics &semantics;
  unsigned width, fraction;
  int minExponent;
  double largest;
  bool hasInfinity, hasNaN;
};
} // namespace

/// Exponent and fraction are those of an f32 that is smaller by a power of two.
Value Scalars::decodeByte(Value bits, FloatType from) {
  ByteFormat format(from);
  Type i32 = getI32Type(), f32 = getF32Type();
  Value all = arith::ExtUIOp::create(*this, i32, bits);
  Value magnitude =
      arith::AndIOp::create(*this, all, integer(i32, format.sign() - 1));
  Value small = arith::BitcastOp::create(
      *this, f32,
      arith::ShLIOp::create(*this, magnitude,
                            integer(i32, 23 - format.fraction)));
  Value value = mul(small, number(f32, std::ldexp(1.0, format.shift())));
  auto replace = [&](Value found, int64_t special, double by) {
    Value isSpecial = equal(found, integer(i32, special));
    value = select(isSpecial, number(f32, by), value);
  };
  double nan = std::numeric_limits<double>::quiet_NaN();
  if (format.hasInfinity) {
    // What lies above the infinity is NaN.
    Value isAbove =
        arith::CmpIOp::create(*this, arith::CmpIPredicate::ugt, magnitude,
                              integer(i32, format.infinity()));
    value = select(isAbove, number(f32, nan), value);
    replace(magnitude, format.infinity(),
            std::numeric_limits<double>::infinity());
  } else if (format.hasNaN) {
    replace(format.isUnsignedZero() ? all : magnitude, format.nan(), nan);
  }
  Value sign = arith::AndIOp::create(*this, all, integer(i32, format.sign()));
  Value isNegative = notEqual(sign, integer(i32, 0));
  return select(isNegative, neg(value), value);
}

/// Rounds half to even at the last bit of the fraction, which is fixed below
/// the smallest normal number.
Value Scalars::encodeByte(Value x, FloatType to, bool saturates) {
  ByteFormat format(to);
  Type i32 = getI32Type(), f32 = getF32Type();
  Value zero = integer(i32, 0), largest = number(f32, format.largest);
  Value magnitude = abs(x);
  // The quotient below is finite.
  Value bounded = arith::MinNumFOp::create(*this, magnitude,
                                           number(f32, 2 * format.largest));
  Value exponent = arith::AndIOp::create(
      *this, arith::BitcastOp::create(*this, i32, bounded),
      integer(i32, 0x7f800000));
  Value power = arith::BitcastOp::create(*this, f32, exponent);
  Value least = number(f32, std::ldexp(1.0, format.minExponent));
  Value unit = mul(arith::MaxNumFOp::create(*this, power, least),
                   number(f32, std::ldexp(1.0, -int(format.fraction))));
  Value rounded =
      mul(math::RoundEvenOp::create(*this, div(bounded, unit)), unit);
  Value isOver = less(largest, rounded);
  rounded = select(isOver, largest, rounded);
  Value small = mul(rounded, number(f32, std::ldexp(1.0, -format.shift())));
  Value bits =
      arith::ShRUIOp::create(*this, arith::BitcastOp::create(*this, i32, small),
                             integer(i32, 23 - format.fraction));
  if (!saturates && (format.hasInfinity || format.hasNaN))
    bits = select(
        isOver,
        integer(i32, format.hasInfinity ? format.infinity() : format.nan()),
        bits);
  Value negative =
      arith::CmpIOp::create(*this, arith::CmpIPredicate::slt,
                            arith::BitcastOp::create(*this, i32, x), zero);
  if (format.isUnsignedZero())
    negative = logicalAnd(negative, notEqual(bits, zero));
  Value sign = select(negative, integer(i32, format.sign()), zero);
  bits = arith::OrIOp::create(*this, bits, sign);
  bits = select(isNaN(x), integer(i32, format.nan()), bits);
  return arith::TruncIOp::create(*this, getI8Type(), bits);
}

Value Scalars::convert(Value x, Type from, Type to, bool saturates) {
  if (isByteFloat(from)) {
    if (from == to)
      return x;
    Value value = decodeByte(x, cast<FloatType>(from));
    return convert(value, getF32Type(), to, saturates);
  }
  if (isByteFloat(to))
    return encodeByte(convert(x, from, getF32Type()), cast<FloatType>(to),
                      saturates);
  bool fromUnsigned = from.isUnsignedInteger() || from.isInteger(1);
  bool toUnsigned = to.isUnsignedInteger();
  Type target = getComputeElement(to);
  if (isFloat(x)) {
    if (to.isInteger(1))
      return notEqual(x, number(x.getType(), 0));
    if (auto integer = dyn_cast<IntegerType>(target))
      return floatToInteger(x, integer, toUnsigned);
    if (x.getType() == target)
      return x;
    if (x.getType().isF64())
      return arith::TruncFOp::create(*this, target, x);
    return arith::ExtFOp::create(*this, target, x);
  }
  if (to.isInteger(1))
    return notEqual(x, integer(x.getType(), 0));
  if (isa<FloatType>(target)) {
    if (fromUnsigned)
      return arith::UIToFPOp::create(*this, target, x);
    return arith::SIToFPOp::create(*this, target, x);
  }
  unsigned width = x.getType().getIntOrFloatBitWidth();
  unsigned targetWidth = target.getIntOrFloatBitWidth();
  if (width == targetWidth)
    return x;
  if (width > targetWidth)
    return arith::TruncIOp::create(*this, target, x);
  if (fromUnsigned)
    return arith::ExtUIOp::create(*this, target, x);
  return arith::ExtSIOp::create(*this, target, x);
}

Value Scalars::quantize(Value x, Value zeroPoint, Type to) {
  auto type = cast<IntegerType>(getPlainElement(to));
  bool toUnsigned = to.isUnsignedInteger();
  unsigned width = type.getWidth();
  Type f64 = getF64Type();
  Value rounded = math::RoundEvenOp::create(*this, x);
  // f64 holds sums of all integers of up to 32 bits.
  if (rounded.getType() != f64)
    rounded = arith::ExtFOp::create(*this, f64, rounded);
  rounded = add(rounded, convert(zeroPoint, to, f64));
  double low = toUnsigned ? 0 : -std::ldexp(1.0, width - 1);
  double high = std::ldexp(1.0, toUnsigned ? width : width - 1) - 1;
  rounded = arith::MaxNumFOp::create(*this, rounded, number(f64, low));
  rounded = arith::MinNumFOp::create(*this, rounded, number(f64, high));
  return floatToInteger(rounded, type, toUnsigned);
}

Value Scalars::fromIndex(Value index, Type type) {
  if (type.isIndex())
    return index;
  Type i64 = getI64Type();
  Value value = arith::IndexCastOp::create(*this, i64, index);
  if (isa<FloatType>(type))
    return arith::SIToFPOp::create(*this, type, value);
  if (type == i64)
    return value;
  return arith::TruncIOp::create(*this, type, value);
}

Value Scalars::toIndex(Value x) {
  if (x.getType().isIndex())
    return x;
  if (isUnsigned())
    return arith::IndexCastUIOp::create(*this, getIndexType(), x);
  return arith::IndexCastOp::create(*this, getIndexType(), x);
}
