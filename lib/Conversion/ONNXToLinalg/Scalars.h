//===- Scalars.h - Arithmetic on the elements of tensors --------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_CONVERSION_ONNXTOLINALG_SCALARS_H
#define QTX_LIB_CONVERSION_ONNXTOLINALG_SCALARS_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace qtx::onnx {

/// Whether `type` is a float of 8 or 4 bits: values are bytes, which only
/// conversions read.
bool isByteFloat(mlir::Type type);

/// The type that holds elements of `type` in arithmetic: signless.
mlir::Type getPlainElement(mlir::Type type);

/// The type in which elements of `type` are computed: f32 for narrower floats.
mlir::Type getComputeElement(mlir::Type type);

/// Builds scalar operations that suit the type of their operands: floats or
/// integers, whose signedness is that of `element`.
class Scalars : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using Type = mlir::Type;

  /// `element` is the element type of the operands as ONNX has it: `ui8` is
  /// unsigned, `i8` signed, `i1` a boolean.
  Scalars(mlir::Location loc, mlir::OpBuilder &builder, Type element)
      : ImplicitLocOpBuilder(loc, builder), element(element) {}

  Type getElement() const { return element; }
  bool isUnsigned() const {
    return element.isUnsignedInteger() || element.isInteger(1);
  }

  /// The number `value` in the plain type `type`.
  Value number(Type type, double value);
  Value integer(Type type, int64_t value);
  /// The largest and smallest values of a type; infinities for floats.
  Value highest(Type type);
  Value lowest(Type type);

  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  /// Integers round towards zero; x / 0 is 0.
  Value div(Value a, Value b);
  /// a * b + c; fused for floats.
  Value fma(Value a, Value b, Value c);
  Value neg(Value a);
  Value abs(Value a);
  Value min(Value a, Value b);
  Value max(Value a, Value b);
  /// The remainder with the sign of the dividend (`fmod`) or of the divisor.
  Value remainder(Value a, Value b, bool signOfDividend);
  Value power(Value a, Value b);
  /// -1, 0 or 1; NaN stays.
  Value sign(Value a);

  Value less(Value a, Value b);
  Value lessOrEqual(Value a, Value b);
  Value equal(Value a, Value b);
  Value notEqual(Value a, Value b);
  Value isNaN(Value a);
  Value logicalAnd(Value a, Value b);
  Value logicalOr(Value a, Value b);
  Value logicalNot(Value a);
  Value select(Value condition, Value a, Value b);

  Value exp(Value a);
  Value log(Value a);
  Value sqrt(Value a);
  Value tanh(Value a);
  Value erf(Value a);
  Value sigmoid(Value a);
  /// log(1 + e^a) without overflow.
  Value softplus(Value a);

  /// `x` of the ONNX element type `from` as `to`, with the meaning of `Cast`.
  /// A float of 8 bits that is too small for `x` saturates, or becomes infinite
  /// or NaN.
  Value convert(Value x, Type from, Type to, bool saturates = true);
  /// `x` rounded half to even and saturated to the integer type `to`, after
  /// `zeroPoint`, of that type, was added.
  Value quantize(Value x, Value zeroPoint, Type to);
  /// An index as a number of the plain type `type`, and the inverse.
  Value fromIndex(Value index, Type type);
  Value toIndex(Value x);

private:
  Value floatToInteger(Value x, mlir::IntegerType to, bool toUnsigned);
  Value integerPower(Value base, Value exponent);
  Value decodeByte(Value bits, mlir::FloatType from);
  Value encodeByte(Value x, mlir::FloatType to, bool saturates);

  Type element;
};

} // namespace qtx::onnx

#endif // QTX_LIB_CONVERSION_ONNXTOLINALG_SCALARS_H
