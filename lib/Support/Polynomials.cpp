//===- Polynomials.cpp - Elementary functions -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Coefficients are minimax fits over the stated interval, weighted for relative
// error and rounded to f32 one by one from the constant term up, the others
// being fitted again after each. test/Integration/test_numerics.py measures the
// errors.
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/Polynomials.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/APFloat.h"

using namespace mlir;
using namespace qtx;

namespace {

/// Short names for the operations below, on the type of one value.
class Emitter {
public:
  Emitter(ImplicitLocOpBuilder &builder, Value like)
      : builder(builder), type(like.getType()), intType(builder.getI32Type()) {
    if (auto vector = dyn_cast<VectorType>(type))
      intType = vector.clone(builder.getI32Type());
  }

  Value f32(float value) {
    return constant(type, builder.getF32FloatAttr(value));
  }
  Value i32(int32_t value) {
    return constant(intType, builder.getI32IntegerAttr(value));
  }

  Value fma(Value a, Value b, Value c) {
    return math::FmaOp::create(builder, a, b, c);
  }
  Value mul(Value a, Value b) { return arith::MulFOp::create(builder, a, b); }
  Value div(Value a, Value b) { return arith::DivFOp::create(builder, a, b); }
  Value add(Value a, Value b) { return arith::AddFOp::create(builder, a, b); }
  Value sub(Value a, Value b) { return arith::SubFOp::create(builder, a, b); }
  Value neg(Value a) { return arith::NegFOp::create(builder, a); }
  Value abs(Value a) { return math::AbsFOp::create(builder, a); }
  Value copySign(Value a, Value sign) {
    return math::CopySignOp::create(builder, a, sign);
  }
  Value less(Value a, Value b) {
    return arith::CmpFOp::create(builder, arith::CmpFPredicate::OLT, a, b);
  }
  Value equal(Value a, Value b) {
    return arith::CmpFOp::create(builder, arith::CmpFPredicate::OEQ, a, b);
  }
  Value select(Value condition, Value a, Value b) {
    return arith::SelectOp::create(builder, condition, a, b);
  }
  /// The smaller and the larger of `a` and a bound; a NaN stays.
  Value atMost(Value a, float bound) {
    return select(less(f32(bound), a), f32(bound), a);
  }
  Value atLeast(Value a, float bound) {
    return select(less(a, f32(bound)), f32(bound), a);
  }

  Value bits(Value a) { return arith::BitcastOp::create(builder, intType, a); }
  Value fromBits(Value a) { return arith::BitcastOp::create(builder, type, a); }
  Value addInt(Value a, Value b) {
    return arith::AddIOp::create(builder, a, b);
  }
  Value subInt(Value a, Value b) {
    return arith::SubIOp::create(builder, a, b);
  }
  Value shiftLeft(Value a, int32_t amount) {
    return arith::ShLIOp::create(builder, a, i32(amount));
  }
  Value shiftRight(Value a, int32_t amount) {
    return arith::ShRSIOp::create(builder, a, i32(amount));
  }
  /// Whether the bits of `mask` in `a` are all zero.
  Value isClear(Value a, int32_t mask) {
    Value masked = arith::AndIOp::create(builder, a, i32(mask));
    return arith::CmpIOp::create(builder, arith::CmpIPredicate::eq, masked,
                                 i32(0));
  }
  Value toFloat(Value a) { return arith::SIToFPOp::create(builder, type, a); }

  /// Horner's scheme; the coefficient of the highest power comes first.
  Value polynomial(Value x, ArrayRef<float> coefficients) {
    Value sum = f32(coefficients.front());
    for (float coefficient : coefficients.drop_front())
      sum = fma(sum, x, f32(coefficient));
    return sum;
  }

  /// 2^n for -126 <= n <= 127.
  Value powerOfTwo(Value n) {
    return fromBits(shiftLeft(addInt(n, i32(127)), 23));
  }

  /// a * 2^n, where that is a normal number and `bitsOfN` ends with n. The low
  /// bits of a NaN are zero, and so it stays one.
  Value scaleByPower(Value a, Value bitsOfN) {
    return fromBits(addInt(bits(a), shiftLeft(bitsOfN, 23)));
  }

private:
  Value constant(Type type, TypedAttr value) {
    if (auto vector = dyn_cast<VectorType>(type))
      value = DenseElementsAttr::get(vector, Attribute(value));
    return arith::ConstantOp::create(builder, value);
  }

  ImplicitLocOpBuilder &builder;
  Type type, intType;
};

/// The integer nearest to x * factor, half to even, its value as float, and
/// bits that end with it.
struct Nearest {
  Value integer, value, bits;
};

} // namespace

/// Adding 1.5 * 2^23 leaves the integer in the low bits of the sum. Unlike a
/// conversion this is defined for NaN; |x * factor| must be below 2^22.
static Nearest createNearest(Emitter &e, Value x, float factor) {
  constexpr float magic = 12582912.0f;
  Value shifted = e.fma(x, e.f32(factor), e.f32(magic));
  return {e.subInt(e.bits(shifted), e.bits(e.f32(magic))),
          e.sub(shifted, e.f32(magic)), e.bits(shifted)};
}

/// e^r with n in x = n ln 2 + r, |r| <= ln 2 / 2.
static Value createExpOfRest(Emitter &e, Value x, Value n) {
  // ln 2 in two parts
  Value r = e.fma(n, e.f32(-0.693147182f), x);
  r = e.fma(n, e.f32(1.90465421e-9f), r);
  // e^r = 1 + r + r^2 q(r)
  Value q = e.polynomial(r, {0.00138201355f, 0.00836868584f, 0.0416682735f,
                             0.166665211f, 0.49999994f});
  return e.add(e.fma(e.mul(r, r), q, r), e.f32(1.0f));
}

Value qtx::createExp(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  // The bounds keep the exponents below in range and lie where the result has
  // become 0 or infinite.
  x = e.atMost(e.atLeast(x, -105.0f), 90.0f);
  Nearest n = createNearest(e, x, 1.44269504f);
  Value power = createExpOfRest(e, x, n.value);
  // 2^n in two factors: n reaches beyond the range of exponents where the
  // result is subnormal, which takes one rounding, or infinite.
  Value half = e.shiftRight(n.integer, 1);
  power = e.mul(power, e.powerOfTwo(half));
  return e.mul(power, e.powerOfTwo(e.subInt(n.integer, half)));
}

Value qtx::createNegativeExp(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  Nearest n = createNearest(e, x, 1.44269504f);
  Value power = createExpOfRest(e, x, n.value);
  // The exponent has room for n >= -125.
  Value scaled = e.scaleByPower(power, n.bits);
  return e.select(e.less(x, e.f32(-86.6433976f)), e.f32(0.0f), scaled);
}

/// 2^x for -125 <= x <= 126.
static Value createExp2(Emitter &e, Value x) {
  Nearest n = createNearest(e, x, 1.0f);
  Value f = e.sub(x, n.value);
  Value power = e.polynomial(f, {0.00132694072f, 0.00967129413f, 0.0555071123f,
                                 0.240222469f, 0.693147004f, 1.0f});
  return e.scaleByPower(power, n.bits);
}

Value qtx::createNegativeExp2(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  return createExp2(e, e.atLeast(x, -125.0f));
}

Value qtx::createLog(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  // Subnormal numbers are made normal first.
  Value isSmall = e.less(x, e.f32(0x1p-126f));
  Value normal = e.select(isSmall, e.mul(x, e.f32(0x1p23f)), x);
  // x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt 2
  Value bits = e.bits(normal);
  Value k = e.shiftRight(e.subInt(bits, e.i32(0x3f3504f3)), 23);
  Value f = e.sub(e.fromBits(e.subInt(bits, e.shiftLeft(k, 23))), e.f32(1.0f));
  Value exponent =
      e.toFloat(e.addInt(k, e.select(isSmall, e.i32(-23), e.i32(0))));
  // log(1 + f) = f - f^2 / 2 + f^3 p(f)
  Value p = e.polynomial(f, {0.067498371f, -0.116711669f, 0.11883875f,
                             -0.124061152f, 0.142203107f, -0.166679919f,
                             0.20002073f, -0.250000089f, 0.333333135f});
  Value square = e.mul(f, f);
  Value low = e.mul(exponent, e.f32(-1.90465421e-9f));
  low = e.fma(e.mul(f, square), p, low);
  low = e.fma(e.f32(-0.5f), square, low);
  Value result = e.fma(exponent, e.f32(0.693147182f), e.add(f, low));
  // 0 -> -inf, inf -> inf, negative numbers and NaN -> NaN
  constexpr float infinity = std::numeric_limits<float>::infinity();
  Value zero = e.f32(0.0f), inf = e.f32(infinity);
  Value special = e.select(e.less(zero, x), inf,
                           e.f32(std::numeric_limits<float>::quiet_NaN()));
  special = e.select(e.equal(x, zero), e.f32(-infinity), special);
  Value isRegular =
      arith::AndIOp::create(builder, e.less(zero, x), e.less(x, inf));
  return e.select(isRegular, result, special);
}

Value qtx::createErf(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  // |x| < 0.93: x + x p(x^2)
  Value p = e.polynomial(
      e.mul(x, x), {8.00277485e-05f, -0.000805080403f, 0.00519246049f,
                    -0.0268557407f, 0.112836257f, -0.376126289f, 0.128379166f});
  Value near = e.fma(x, p, x);
  // beyond: 1 - e^-(t + t q(t)), which is 1 in f32 from t = 4 on
  Value magnitude = e.abs(x);
  Value t = e.atMost(magnitude, 4.0f);
  Value q = e.polynomial(t, {5.29797398e-06f, -4.99511625e-05f,
                             -2.73885889e-05f, 0.00286901789f, -0.0225754939f,
                             0.105169423f, 0.635673165f, 0.12854144f});
  Value complement = createExp(builder, e.neg(e.fma(t, q, t)));
  Value far = e.copySign(e.sub(e.f32(1.0f), complement), x);
  return e.select(e.less(magnitude, e.f32(0.93f)), near, far);
}

Value qtx::createTanh(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  // |x| < 0.6: x + x^3 p(x^2)
  Value square = e.mul(x, x);
  Value p =
      e.polynomial(square, {0.00201066863f, -0.00802839827f, 0.0216386896f,
                            -0.0539351441f, 0.13333112f, -0.333333284f});
  Value near = e.fma(e.mul(x, square), p, x);
  // beyond: 1 - 2 / (e^2t + 1), which is 1 in f32 from t = 10 on
  Value magnitude = e.abs(x);
  Value t = e.atMost(magnitude, 10.0f);
  Value power = createExp(builder, e.add(t, t));
  Value quotient = e.div(e.f32(2.0f), e.add(power, e.f32(1.0f)));
  Value far = e.sub(e.f32(1.0f), quotient);
  // The sign is copied at the end, or -0 would become 0.
  return e.copySign(e.select(e.less(magnitude, e.f32(0.6f)), near, far), x);
}

Value qtx::createSigmoid(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  // With the exponential of -|x| nothing overflows and no digits cancel.
  Value power = createExp(builder, e.neg(e.abs(x)));
  Value numerator = e.select(e.less(x, e.f32(0.0f)), power, e.f32(1.0f));
  return e.div(numerator, e.add(power, e.f32(1.0f)));
}

Value qtx::createRsqrt(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  return e.div(e.f32(1.0f), math::SqrtOp::create(builder, x));
}

Value qtx::createCos(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  // x = n pi/2 + r, |r| <= pi/4; pi/2 in three parts.
  Nearest n = createNearest(e, x, 0.636619772f);
  Value r = e.fma(n.value, e.f32(-1.57079637f), x);
  r = e.fma(n.value, e.f32(4.37113883e-8f), r);
  r = e.fma(n.value, e.f32(1.71512451e-15f), r);
  Value square = e.mul(r, r);
  Value sinTail = e.polynomial(square, {2.83262943e-06f, -0.000198530688f,
                                        0.0083333794f, -0.166666672f});
  Value sin = e.fma(e.mul(r, square), sinTail, r);
  Value cosTail = e.polynomial(
      square, {-2.8878452e-07f, 2.48220076e-05f, -0.001388898f, 0.0416666679f});
  Value cos = e.fma(e.mul(square, square), cosTail,
                    e.fma(e.f32(-0.5f), square, e.f32(1.0f)));
  // By quadrant: cos r, -sin r, -cos r, sin r.
  Value result = e.select(e.isClear(n.integer, 1), cos, sin);
  Value isPositive = e.isClear(e.addInt(n.integer, e.i32(1)), 2);
  return e.select(isPositive, result, e.neg(result));
}

/// x, or the lowest finite number for -inf, so that its product with 0 is 0.
static Value createFinite(Emitter &e, Value x) {
  return e.atLeast(x, -std::numeric_limits<float>::max());
}

Value qtx::createGelu(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  // x Phi(x) = max(x, 0) - |x| h with h = erfc(|x| / sqrt 2) / 2, whose
  // logarithm is a polynomial as far as h counts.
  constexpr float end = 5.65685f;
  Value t = e.atMost(e.abs(x), end);
  Value h = createExp2(
      e, e.polynomial(t, {7.53223594e-06f, -4.62431817e-05f, -0.000444819249f,
                          0.00742369145f, -0.0527156629f, -0.459145248f,
                          -1.15111184f, -0.999999881f}));
  h = e.select(e.less(t, e.f32(end)), h, e.f32(0.0f));
  // -0 for negative numbers, so that -inf gives it; a maximum in the order in
  // which instructions have it.
  Value zero = e.f32(-0.0f);
  Value positive = e.select(e.less(x, zero), zero, x);
  return e.fma(e.neg(t), h, positive);
}

Value qtx::createGeluTanh(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  // (1 + tanh u) / 2 = sigmoid(2u); here 2u = x (a + b x^2).
  Value factor = e.fma(e.mul(x, x), e.f32(0.0713548163f), e.f32(1.59576912f));
  Value share = createSigmoid(builder, e.mul(x, factor));
  return e.mul(createFinite(e, x), share);
}

Value qtx::createSilu(ImplicitLocOpBuilder &builder, Value x) {
  Emitter e(builder, x);
  return e.mul(createFinite(e, x), createSigmoid(builder, x));
}
