//===- Elementwise.cpp - Elementwise ONNX operators -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"

using namespace mlir;
using namespace qtx::onnx;

/// `value` in the type of `x`.
static Value numberLike(Scalars &s, Value x, double value) {
  return s.number(x.getType(), value);
}

//===----------------------------------------------------------------------===//
// One operand
//===----------------------------------------------------------------------===//

/// An operator that is one `math` operation.
template <typename OpTy> static Lowered lowerMath(NodeLowering &b) {
  return b.mapToResult(b.input(0), [](Scalars &s, ValueRange v) -> Value {
    return OpTy::create(s, v[0]);
  });
}

/// An operator that is one function of `Scalars`.
template <Value (Scalars::*function)(Value)>
static Lowered lowerUnary(NodeLowering &b) {
  return b.mapToResult(
      b.input(0), [](Scalars &s, ValueRange v) { return (s.*function)(v[0]); });
}

static Lowered lowerReciprocal(NodeLowering &b) {
  return b.mapToResult(b.input(0), [](Scalars &s, ValueRange v) {
    return s.div(s.number(v[0].getType(), 1), v[0]);
  });
}

static Lowered lowerRelu(NodeLowering &b) {
  return b.mapToResult(b.input(0), [](Scalars &s, ValueRange v) {
    return s.max(v[0], s.number(v[0].getType(), 0));
  });
}

static Lowered lowerLeakyRelu(NodeLowering &b) {
  double alpha = b.node.getFloatAttr("alpha", 0.01f);
  return b.mapToResult(b.input(0), [&](Scalars &s, ValueRange v) {
    Value x = v[0];
    return s.select(s.less(x, s.number(x.getType(), 0)),
                    s.mul(x, s.number(x.getType(), alpha)), x);
  });
}

static Lowered lowerThresholdedRelu(NodeLowering &b) {
  double alpha = b.node.getFloatAttr("alpha", 1.0f);
  return b.mapToResult(b.input(0), [&](Scalars &s, ValueRange v) {
    Value x = v[0];
    return s.select(s.less(s.number(x.getType(), alpha), x), x,
                    s.number(x.getType(), 0));
  });
}

/// scale * x where x is positive, else scale * alpha * (e^(x / divisor) - 1).
static Lowered lowerExponentialUnit(NodeLowering &b, double alpha, double scale,
                                    double divisor) {
  return b.mapToResult(b.input(0), [&](Scalars &s, ValueRange v) {
    Value x = v[0];
    Type type = x.getType();
    Value isNegative = s.less(x, s.number(type, 0));
    // The branch that is not taken must not overflow into a NaN.
    Value argument = s.select(isNegative, x, s.number(type, 0));
    if (divisor != 1)
      argument = s.div(argument, s.number(type, divisor));
    Value low =
        s.mul(s.number(type, alpha), math::ExpM1Op::create(s, argument));
    Value result = s.select(isNegative, low, x);
    return scale == 1 ? result : s.mul(s.number(type, scale), result);
  });
}

static Lowered lowerElu(NodeLowering &b) {
  return lowerExponentialUnit(b, b.node.getFloatAttr("alpha", 1.0f), 1, 1);
}

static Lowered lowerSelu(NodeLowering &b) {
  return lowerExponentialUnit(b, b.node.getFloatAttr("alpha", 1.67326324f),
                              b.node.getFloatAttr("gamma", 1.05070098f), 1);
}

static Lowered lowerCelu(NodeLowering &b) {
  double alpha = b.node.getFloatAttr("alpha", 1.0f);
  return lowerExponentialUnit(b, alpha, 1, alpha);
}

/// clamp(alpha * x + beta, 0, 1)
static Value createHardSigmoid(Scalars &s, Value x, double alpha, double beta) {
  Type type = x.getType();
  Value line = s.add(s.mul(x, s.number(type, alpha)), s.number(type, beta));
  return s.min(s.max(line, s.number(type, 0)), s.number(type, 1));
}

static Lowered lowerHardSigmoid(NodeLowering &b) {
  double alpha = b.node.getFloatAttr("alpha", 0.2f);
  double beta = b.node.getFloatAttr("beta", 0.5f);
  return b.mapToResult(b.input(0), [&](Scalars &s, ValueRange v) {
    return createHardSigmoid(s, v[0], alpha, beta);
  });
}

static Lowered lowerHardSwish(NodeLowering &b) {
  return b.mapToResult(b.input(0), [](Scalars &s, ValueRange v) {
    return s.mul(v[0], createHardSigmoid(s, v[0], 1.0 / 6, 0.5));
  });
}

static Lowered lowerSwish(NodeLowering &b) {
  double alpha = b.node.getFloatAttr("alpha", 1.0f);
  return b.mapToResult(b.input(0), [&](Scalars &s, ValueRange v) {
    Value scaled = s.mul(v[0], s.number(v[0].getType(), alpha));
    return s.mul(v[0], s.sigmoid(scaled));
  });
}

static Lowered lowerSoftsign(NodeLowering &b) {
  return b.mapToResult(b.input(0), [](Scalars &s, ValueRange v) {
    return s.div(v[0], s.add(s.abs(v[0]), numberLike(s, v[0], 1)));
  });
}

static Lowered lowerMish(NodeLowering &b) {
  return b.mapToResult(b.input(0), [](Scalars &s, ValueRange v) {
    return s.mul(v[0], s.tanh(s.softplus(v[0])));
  });
}

static Lowered lowerShrink(NodeLowering &b) {
  double lambda = b.node.getFloatAttr("lambd", 0.5f);
  double bias = b.node.getFloatAttr("bias", 0.0f);
  return b.mapToResult(b.input(0), [&](Scalars &s, ValueRange v) {
    Value x = v[0];
    Type type = x.getType();
    Value offset = s.number(type, bias);
    Value above = s.select(s.less(s.number(type, lambda), x), s.sub(x, offset),
                           s.number(type, 0));
    return s.select(s.less(x, s.number(type, -lambda)), s.add(x, offset),
                    above);
  });
}

/// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
static Value createGeluTanh(Scalars &s, Value x) {
  Value cubic = s.mul(s.mul(x, x), s.mul(x, numberLike(s, x, 0.044715)));
  Value inner = s.mul(numberLike(s, x, 0.7978845608028654), s.add(x, cubic));
  return s.mul(s.mul(numberLike(s, x, 0.5), x),
               s.add(numberLike(s, x, 1), s.tanh(inner)));
}

static Value createGeluErf(Scalars &s, Value x) {
  Value erf = s.erf(s.mul(x, numberLike(s, x, 0.7071067811865476)));
  return s.mul(s.mul(numberLike(s, x, 0.5), x),
               s.add(numberLike(s, x, 1), erf));
}

static Lowered lowerGelu(NodeLowering &b) {
  bool isTanh = b.node.getStringAttr("approximate", "none") == "tanh";
  Tensor x = b.input(0);
  if (x.element().isF32()) {
    auto form =
        isTanh ? qtx::GeluApproximation::Tanh : qtx::GeluApproximation::None;
    Value gelu =
        qtx::GeluOp::create(b, x.value.getType(), x.value, Value(), Value(),
                            Value(), Value(), TypeAttr(), form, TypeAttr());
    return gelu;
  }
  return b.mapToResult(x, [&](Scalars &s, ValueRange v) {
    return isTanh ? createGeluTanh(s, v[0]) : createGeluErf(s, v[0]);
  });
}

static Lowered lowerIsInf(NodeLowering &b) {
  bool positive = b.node.getIntAttr("detect_positive", 1) != 0;
  bool negative = b.node.getIntAttr("detect_negative", 1) != 0;
  return b.mapToResult(b.input(0), [&](Scalars &s, ValueRange v) {
    Value x = v[0], none = s.integer(s.getI1Type(), 0);
    Value isHighest = s.equal(x, s.highest(x.getType()));
    Value isLowest = s.equal(x, s.lowest(x.getType()));
    return s.logicalOr(positive ? isHighest : none, negative ? isLowest : none);
  });
}

/// Bounds that are left out do not bind; NaN stays.
static Lowered lowerClip(NodeLowering &b) {
  SmallVector<Tensor> operands = b.inputs();
  bool hasMin = b.has(1), hasMax = b.has(2);
  return b.mapToResult(operands, [&](Scalars &s, ValueRange v) {
    Value x = v[0];
    if (hasMin)
      x = s.max(x, v[1]);
    return hasMax ? s.min(x, v.back()) : x;
  });
}

//===----------------------------------------------------------------------===//
// Two operands
//===----------------------------------------------------------------------===//

template <Value (Scalars::*function)(Value, Value)>
static Lowered lowerBinary(NodeLowering &b) {
  return b.mapToResult({b.input(0), b.input(1)}, [](Scalars &s, ValueRange v) {
    return (s.*function)(v[0], v[1]);
  });
}

/// A comparison with its operands swapped.
template <Value (Scalars::*function)(Value, Value)>
static Lowered lowerSwapped(NodeLowering &b) {
  return b.mapToResult({b.input(0), b.input(1)}, [](Scalars &s, ValueRange v) {
    return (s.*function)(v[1], v[0]);
  });
}

template <typename OpTy> static Lowered lowerBitwise(NodeLowering &b) {
  return b.mapToResult({b.input(0), b.input(1)},
                       [](Scalars &s, ValueRange v) -> Value {
                         return OpTy::create(s, v[0], v[1]);
                       });
}

static Lowered lowerMod(NodeLowering &b) {
  bool signOfDividend = b.node.getIntAttr("fmod", 0) != 0;
  return b.mapToResult({b.input(0), b.input(1)}, [&](Scalars &s, ValueRange v) {
    return s.remainder(v[0], v[1], signOfDividend);
  });
}

/// Powers that are products or roots.
static Value createSimplePower(Scalars &s, Value x, double exponent) {
  if (exponent == 1)
    return x;
  if (exponent == 2)
    return s.mul(x, x);
  if (exponent == 3)
    return s.mul(s.mul(x, x), x);
  // The root of -inf is no number, but its power is.
  if (exponent == -1 && isa<FloatType>(x.getType()))
    return s.div(s.number(x.getType(), 1), x);
  return {};
}

/// Computed in the base's type, or in floats where the exponent is one.
static Lowered lowerPow(NodeLowering &b) {
  Tensor base = b.input(0), exponent = b.input(1);
  if (std::optional<double> number = b.constantNumber(1)) {
    bool isSimple = *number == 1 || *number == 2 || *number == 3 ||
                    (*number == -1 && isa<FloatType>(base.element()));
    if (isSimple && base.rank() >= exponent.rank())
      return b.mapToResult(base, [&](Scalars &s, ValueRange v) {
        return createSimplePower(s, v[0], *number);
      });
  }
  Type type = base.element();
  if (isa<IntegerType>(type) && isa<FloatType>(exponent.element()))
    type = b.getF64Type();
  return b.mapToResult({base, exponent}, [&](Scalars &s, ValueRange v) {
    Value x = s.convert(v[0], base.element(), type);
    Value y = s.convert(v[1], exponent.element(), type);
    return s.convert(s.power(x, y), type, base.element());
  });
}

static Lowered lowerPRelu(NodeLowering &b) {
  return b.mapToResult({b.input(0), b.input(1)}, [](Scalars &s, ValueRange v) {
    Value zero = s.number(v[0].getType(), 0);
    return s.select(s.less(v[0], zero), s.mul(v[0], v[1]), v[0]);
  });
}

/// Shifts by the width of the type or more give 0, or copies of the sign.
static Lowered lowerBitShift(NodeLowering &b) {
  bool isLeft = b.node.getStringAttr("direction", "LEFT") == "LEFT";
  return b.mapToResult(
      {b.input(0), b.input(1)}, [&](Scalars &s, ValueRange v) -> Value {
        Type type = v[0].getType();
        Value last = s.integer(type, type.getIntOrFloatBitWidth() - 1);
        Value inRange =
            arith::CmpIOp::create(s, arith::CmpIPredicate::ule, v[1], last);
        Value amount = s.select(inRange, v[1], last);
        if (!isLeft && !s.isUnsigned())
          return arith::ShRSIOp::create(s, v[0], amount);
        Value shifted = isLeft ? Value(arith::ShLIOp::create(s, v[0], amount))
                               : Value(arith::ShRUIOp::create(s, v[0], amount));
        return s.select(inRange, shifted, s.integer(type, 0));
      });
}

//===----------------------------------------------------------------------===//
// More operands
//===----------------------------------------------------------------------===//

static Lowered lowerMean(NodeLowering &b) {
  return b.mapToResult(b.inputs(), [](Scalars &s, ValueRange v) {
    Value result = v[0];
    for (Value next : v.drop_front())
      result = s.add(result, next);
    return s.div(result, s.number(result.getType(), v.size()));
  });
}

static Lowered lowerWhere(NodeLowering &b) {
  return b.mapToResult(
      {b.input(0), b.input(1), b.input(2)},
      [](Scalars &s, ValueRange v) { return s.select(v[0], v[1], v[2]); });
}

//===----------------------------------------------------------------------===//

static void populateUnaryLowerings(Lowerings &lowerings) {
  lowerings["Abs"] = lowerUnary<&Scalars::abs>;
  lowerings["Acos"] = lowerMath<math::AcosOp>;
  lowerings["Acosh"] = lowerMath<math::AcoshOp>;
  lowerings["Asin"] = lowerMath<math::AsinOp>;
  lowerings["Asinh"] = lowerMath<math::AsinhOp>;
  lowerings["Atan"] = lowerMath<math::AtanOp>;
  lowerings["Atanh"] = lowerMath<math::AtanhOp>;
  lowerings["BitwiseNot"] = lowerUnary<&Scalars::logicalNot>;
  lowerings["Ceil"] = lowerMath<math::CeilOp>;
  lowerings["Celu"] = lowerCelu;
  lowerings["Clip"] = lowerClip;
  lowerings["Cos"] = lowerMath<math::CosOp>;
  lowerings["Cosh"] = lowerMath<math::CoshOp>;
  lowerings["Elu"] = lowerElu;
  lowerings["Erf"] = lowerUnary<&Scalars::erf>;
  lowerings["Exp"] = lowerUnary<&Scalars::exp>;
  lowerings["Floor"] = lowerMath<math::FloorOp>;
  lowerings["Gelu"] = lowerGelu;
  lowerings["HardSigmoid"] = lowerHardSigmoid;
  lowerings["HardSwish"] = lowerHardSwish;
  lowerings["IsInf"] = lowerIsInf;
  lowerings["IsNaN"] = lowerUnary<&Scalars::isNaN>;
  lowerings["LeakyRelu"] = lowerLeakyRelu;
  lowerings["Log"] = lowerUnary<&Scalars::log>;
  lowerings["Mish"] = lowerMish;
  lowerings["Neg"] = lowerUnary<&Scalars::neg>;
  lowerings["Not"] = lowerUnary<&Scalars::logicalNot>;
  lowerings["Reciprocal"] = lowerReciprocal;
  lowerings["Relu"] = lowerRelu;
  lowerings["Round"] = lowerMath<math::RoundEvenOp>;
  lowerings["Selu"] = lowerSelu;
  lowerings["Shrink"] = lowerShrink;
  lowerings["Sigmoid"] = lowerUnary<&Scalars::sigmoid>;
  lowerings["Sign"] = lowerUnary<&Scalars::sign>;
  lowerings["Sin"] = lowerMath<math::SinOp>;
  lowerings["Sinh"] = lowerMath<math::SinhOp>;
  lowerings["Softplus"] = lowerUnary<&Scalars::softplus>;
  lowerings["Softsign"] = lowerSoftsign;
  lowerings["Sqrt"] = lowerUnary<&Scalars::sqrt>;
  lowerings["Swish"] = lowerSwish;
  lowerings["Tan"] = lowerMath<math::TanOp>;
  lowerings["Tanh"] = lowerUnary<&Scalars::tanh>;
  lowerings["ThresholdedRelu"] = lowerThresholdedRelu;
}

void qtx::onnx::populateElementwiseLowerings(Lowerings &lowerings) {
  populateUnaryLowerings(lowerings);
  lowerings["Add"] = lowerBinary<&Scalars::add>;
  lowerings["And"] = lowerBinary<&Scalars::logicalAnd>;
  lowerings["BitShift"] = lowerBitShift;
  lowerings["BitwiseAnd"] = lowerBitwise<arith::AndIOp>;
  lowerings["BitwiseOr"] = lowerBitwise<arith::OrIOp>;
  lowerings["BitwiseXor"] = lowerBitwise<arith::XOrIOp>;
  lowerings["Div"] = lowerBinary<&Scalars::div>;
  lowerings["Equal"] = lowerBinary<&Scalars::equal>;
  lowerings["Greater"] = lowerSwapped<&Scalars::less>;
  lowerings["GreaterOrEqual"] = lowerSwapped<&Scalars::lessOrEqual>;
  lowerings["Less"] = lowerBinary<&Scalars::less>;
  lowerings["LessOrEqual"] = lowerBinary<&Scalars::lessOrEqual>;
  lowerings["Max"] = lowerBinary<&Scalars::max>;
  lowerings["Mean"] = lowerMean;
  lowerings["Min"] = lowerBinary<&Scalars::min>;
  lowerings["Mod"] = lowerMod;
  lowerings["Mul"] = lowerBinary<&Scalars::mul>;
  lowerings["Or"] = lowerBinary<&Scalars::logicalOr>;
  lowerings["PRelu"] = lowerPRelu;
  lowerings["Pow"] = lowerPow;
  lowerings["Sub"] = lowerBinary<&Scalars::sub>;
  lowerings["Where"] = lowerWhere;
  lowerings["Xor"] = lowerBitwise<arith::XOrIOp>;
}
