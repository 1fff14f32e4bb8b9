//===- Training.cpp - Training operations to linalg -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Conversion/QtxToLinalg/QtxToLinalg.h"
#include "qtx/Dialect/Qtx/IR/TrainingOps.h"
#include "qtx/Support/Polynomials.h"
#include <cmath>

using namespace mlir;
using namespace qtx;

namespace {

using Body = function_ref<Value(ImplicitLocOpBuilder &, ValueRange)>;

//===----------------------------------------------------------------------===//
// Scalars and tensors
//===----------------------------------------------------------------------===//

Value createF32(ImplicitLocOpBuilder &b, double value) {
  return arith::ConstantOp::create(
      b, b.getF32FloatAttr(static_cast<float>(value)));
}

Value createCompare(ImplicitLocOpBuilder &b, arith::CmpFPredicate predicate,
                    Value lhs, Value rhs) {
  return arith::CmpFOp::create(b, predicate, lhs, rhs);
}

Value createCompare(ImplicitLocOpBuilder &b, arith::CmpIPredicate predicate,
                    Value lhs, Value rhs) {
  return arith::CmpIOp::create(b, predicate, lhs, rhs);
}

/// low <= x <= high
Value createIsWithin(ImplicitLocOpBuilder &b, Value x, Value low, Value high) {
  return arith::AndIOp::create(
      b, createCompare(b, arith::CmpFPredicate::OGE, x, low),
      createCompare(b, arith::CmpFPredicate::OLE, x, high));
}

/// Clamps to [low, high]; NaN becomes `low`.
Value createClamp(ImplicitLocOpBuilder &b, Value x, Value low, Value high) {
  return arith::MinNumFOp::create(b, arith::MaxNumFOp::create(b, x, low), high);
}

/// A tensor of rank 0 for every element of a space of `rank` dimensions.
MappedTensor broadcastScalar(Value scalar, int64_t rank) {
  return {scalar, AffineMap::get(rank, 0, scalar.getContext())};
}

/// The sum of a * b over all positions that `map` sends to the same element of
/// the result: fma(a, b, r) from zero in ascending order.
Value createSumOfProducts(ImplicitLocOpBuilder &builder, Value a, Value b,
                          AffineMap map, ArrayRef<OpFoldResult> resultSizes) {
  Value zeros = createElementwise(
      builder, resultSizes, builder.getF32Type(), {},
      [](ImplicitLocOpBuilder &b, ValueRange) { return createF32(b, 0.0); });
  SmallVector<utils::IteratorType> iterators(map.getNumDims(),
                                             utils::IteratorType::reduction);
  for (AffineExpr result : map.getResults())
    if (auto dim = dyn_cast<AffineDimExpr>(result))
      iterators[dim.getPosition()] = utils::IteratorType::parallel;
  auto generic = linalg::GenericOp::create(
      builder, zeros.getType(), ValueRange{a, b}, zeros,
      {withIdentityMap(a).map, withIdentityMap(b).map, map}, iterators,
      [](OpBuilder &nested, Location loc, ValueRange args) {
        Value sum = math::FmaOp::create(nested, loc, args[0], args[1], args[2]);
        linalg::YieldOp::create(nested, loc, sum);
      });
  return generic.getResult(0);
}

/// f32 of the product of `sizes`, at least 1.
Value createCount(ImplicitLocOpBuilder &builder, ArrayRef<OpFoldResult> sizes) {
  Value count = arith::ConstantIndexOp::create(builder, 1);
  for (OpFoldResult size : sizes)
    count = arith::MulIOp::create(
        builder, count,
        getValueOrCreateConstantIndexOp(builder, builder.getLoc(), size));
  Value number = arith::SIToFPOp::create(
      builder, builder.getF32Type(),
      arith::IndexCastOp::create(builder, builder.getI64Type(), count));
  return arith::MaxNumFOp::create(builder, number, createF32(builder, 1.0));
}

//===----------------------------------------------------------------------===//
// Fake quantization
//===----------------------------------------------------------------------===//

/// The scalars of one element of a fake quantizer. Absent ones are null.
struct Element {
  Value s;         // effective scale
  Value v;         // x / s
  Value rounded;   // v on the integers
  Value zero;      // zero point as f32
  Value clamped;   // rounded + zero within the grid
  Value frozen;    // i1
  Value frozenInt; // i32

  Value addZero(ImplicitLocOpBuilder &b, Value value) const {
    return zero ? Value(arith::AddFOp::create(b, value, zero)) : value;
  }
  Value subtractZero(ImplicitLocOpBuilder &b, Value value) const {
    return zero ? Value(arith::SubFOp::create(b, value, zero)) : value;
  }
};

/// The tensors of a fake quantizer (Numerics.md, "Fake quantization").
class FakeQuantizer {
public:
  template <typename OpT>
  FakeQuantizer(ImplicitLocOpBuilder &builder, OpT op)
      : builder(builder), x(op.getX()), scale(op.getScale()),
        frozen(op.getFrozen()), frozenInt(op.getFrozenInt()),
        rank(cast<ShapedType>(x.getType()).getRank()),
        channelDim(getChannelDim(op.getAxis(), rank)) {
    std::tie(min, max) = getGridRange(op.getGrid(), op.getBits());
    if constexpr (!std::is_same_v<OpT, DampeningLossOp> &&
                  !std::is_same_v<OpT, DampeningLossBackwardOp>) {
      zeroPoint = op.getZeroPoint();
      noise = op.getNoise();
    }
  }

  SmallVector<OpFoldResult> getSizes() { return qtx::getSizes(builder, x); }

  /// One value for every element of `x`, from its scalars and those of `extra`,
  /// tensors of its shape.
  Value
  map(Type elementType, ArrayRef<MappedTensor> extra,
      function_ref<Value(ImplicitLocOpBuilder &, const Element &, ValueRange)>
          body) {
    SmallVector<MappedTensor> inputs(extra);
    inputs.push_back(withIdentityMap(x));
    inputs.push_back({scale, scaleMap()});
    if (zeroPoint)
      inputs.push_back({zeroPoint, scaleMap()});
    for (Value tensor : {noise, frozen, frozenInt})
      if (tensor)
        inputs.push_back(withIdentityMap(tensor));
    return createElementwise(
        builder, getSizes(), elementType, inputs,
        [&](ImplicitLocOpBuilder &b, ValueRange args) {
          Element element = createElement(b, args.drop_front(extra.size()));
          return body(b, element, args.take_front(extra.size()));
        });
  }

  /// The integer of an element.
  Value createCode(ImplicitLocOpBuilder &b, const Element &element) {
    Value code = arith::FPToSIOp::create(b, b.getI32Type(), element.clamped);
    if (!frozen)
      return code;
    return arith::SelectOp::create(b, element.frozen, element.frozenInt, code);
  }

  /// The integer minus the zero point, as f32.
  Value createLevel(ImplicitLocOpBuilder &b, const Element &element) {
    Value code =
        arith::SIToFPOp::create(b, b.getF32Type(), createCode(b, element));
    return element.subtractZero(b, code);
  }

  /// The gradient of the scale or zero point: the sum of grad * derivative for
  /// each of them.
  Value sumPerScale(Value grad, Value derivative) {
    return createSumOfProducts(builder, grad, derivative, scaleMap(),
                               qtx::getSizes(builder, scale));
  }

  /// `grad` of the scale, times `factor` if there is one: zero where the scale
  /// is below the smallest effective one.
  Value finishScaleGradient(Value grad, Value factor) {
    return createElementwise(
        builder, qtx::getSizes(builder, scale), builder.getF32Type(),
        {withIdentityMap(grad), withIdentityMap(scale)},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value isLearned = createCompare(b, arith::CmpFPredicate::OGE, args[1],
                                          createF32(b, minEffectiveScale));
          return selectScaled(b, isLearned, args[0], factor);
        });
  }

  /// The same for the zero point: zero where it rounds to beyond the grid.
  Value finishZeroPointGradient(Value grad, Value factor) {
    return createElementwise(
        builder, qtx::getSizes(builder, scale), builder.getF32Type(),
        {withIdentityMap(grad), withIdentityMap(zeroPoint)},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value rounded = math::RoundEvenOp::create(b, args[1]);
          Value isLearned =
              createIsWithin(b, rounded, createMin(b), createMax(b));
          return selectScaled(b, isLearned, args[0], factor);
        });
  }

  /// 1 / sqrt(p * N), N elements sharing a scale.
  Value createGradientScale() {
    SmallVector<OpFoldResult> sizes = getSizes();
    if (channelDim)
      sizes.erase(sizes.begin() + *channelDim);
    Value product = arith::MulFOp::create(builder, createMax(builder),
                                          createCount(builder, sizes));
    return arith::DivFOp::create(builder, createF32(builder, 1.0),
                                 math::SqrtOp::create(builder, product));
  }

  Value createMin(ImplicitLocOpBuilder &b) const { return createF32(b, min); }
  Value createMax(ImplicitLocOpBuilder &b) const { return createF32(b, max); }

private:
  static Value selectScaled(ImplicitLocOpBuilder &b, Value condition,
                            Value value, Value factor) {
    if (factor)
      value = arith::MulFOp::create(b, value, factor);
    return arith::SelectOp::create(b, condition, value, createF32(b, 0.0));
  }

  AffineMap scaleMap() {
    AffineExpr index = channelDim ? builder.getAffineDimExpr(*channelDim)
                                  : builder.getAffineConstantExpr(0);
    return AffineMap::get(rank, 0, index);
  }

  Element createElement(ImplicitLocOpBuilder &b, ValueRange args) {
    Element element;
    element.s =
        arith::MaximumFOp::create(b, args[1], createF32(b, minEffectiveScale));
    element.v = arith::DivFOp::create(b, args[0], element.s);
    args = args.drop_front(2);
    if (zeroPoint) {
      element.zero = createClamp(b, math::RoundEvenOp::create(b, args[0]),
                                 createMin(b), createMax(b));
      args = args.drop_front();
    }
    if (noise) {
      element.rounded = math::FloorOp::create(
          b, arith::AddFOp::create(b, element.v, args[0]));
      args = args.drop_front();
    } else {
      element.rounded = math::RoundEvenOp::create(b, element.v);
    }
    element.clamped = createClamp(b, element.addZero(b, element.rounded),
                                  createMin(b), createMax(b));
    if (frozen) {
      element.frozen = args[0];
      element.frozenInt = args[1];
    }
    return element;
  }

  ImplicitLocOpBuilder &builder;
  Value x, scale, zeroPoint, noise, frozen, frozenInt;
  int64_t rank;
  std::optional<int64_t> channelDim;
  double min, max;
};

struct LowerFakeQuantize : OpRewritePattern<FakeQuantizeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(FakeQuantizeOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    FakeQuantizer quantizer(builder, op);
    Value codes = quantizer.map(
        builder.getI32Type(), {},
        [&](ImplicitLocOpBuilder &b, const Element &e, ValueRange) -> Value {
          return quantizer.createCode(b, e);
        });
    Value y = quantizer.map(
        builder.getF32Type(), {},
        [&](ImplicitLocOpBuilder &b, const Element &e, ValueRange) -> Value {
          return arith::MulFOp::create(b, e.s, quantizer.createLevel(b, e));
        });
    replaceAllWithCasts(rewriter, op, {y, codes});
    return success();
  }
};

/// The factor of the surrogate gradient of rounding; null for 1.
Value createSurrogateFactor(ImplicitLocOpBuilder &b, FakeQuantizeBackwardOp op,
                            const Element &e, Value grad) {
  auto parameterOr = [&](double preset) {
    std::optional<APFloat> parameter = op.getSurrogateParameter();
    return parameter ? parameter->convertToFloat() : preset;
  };
  Value one = createF32(b, 1.0), zero = createF32(b, 0.0);
  if (op.getSurrogate() == Surrogate::Ewgs) {
    // sign(grad) * (v - r), with sign(0) = 0.
    Value difference = arith::SubFOp::create(b, e.v, e.rounded);
    Value isPositive = createCompare(b, arith::CmpFPredicate::OGT, grad, zero);
    Value isNegative = createCompare(b, arith::CmpFPredicate::OLT, grad, zero);
    Value negated = arith::SelectOp::create(
        b, isNegative, arith::NegFOp::create(b, difference), zero);
    Value error = arith::SelectOp::create(b, isPositive, difference, negated);
    return math::FmaOp::create(b, createF32(b, parameterOr(0.2)), error, one);
  }
  if (op.getSurrogate() == Surrogate::StackedSigmoid) {
    // The sigmoid runs from level to level, scaled to reach both.
    double alpha = parameterOr(1.0);
    Value fraction =
        arith::SubFOp::create(b, e.v, math::FloorOp::create(b, e.v));
    Value position = arith::MulFOp::create(
        b, arith::SubFOp::create(b, fraction, createF32(b, 0.5)),
        createF32(b, alpha));
    Value slope = arith::MulFOp::create(
        b, createSigmoid(b, position),
        createSigmoid(b, arith::NegFOp::create(b, position)));
    return arith::MulFOp::create(b, slope,
                                 createF32(b, alpha / std::tanh(alpha / 4)));
  }
  return nullptr;
}

/// Lowers one backward of a fake quantizer, a result at a time.
class FakeQuantizeBackwardLowering {
public:
  FakeQuantizeBackwardLowering(ImplicitLocOpBuilder &builder,
                               FakeQuantizeBackwardOp op)
      : builder(builder), op(op), quantizer(builder, op) {}

  SmallVector<Value> lower() {
    SmallVector<Value> results = {gradX()};
    Value factor;
    if (op.getGradScaling())
      factor = quantizer.createGradientScale();
    results.push_back(quantizer.finishScaleGradient(
        quantizer.sumPerScale(op.getGradY(), scaleDerivative()), factor));
    if (op.getZeroPoint())
      results.push_back(quantizer.finishZeroPointGradient(
          quantizer.sumPerScale(op.getGradY(), zeroPointDerivative()), factor));
    return results;
  }

private:
  Value createMask(ImplicitLocOpBuilder &b, const Element &e) {
    bool isPaper = op.getSurrogate() == Surrogate::StePaper;
    return createIsWithin(b, e.addZero(b, isPaper ? e.v : e.rounded),
                          quantizer.createMin(b), quantizer.createMax(b));
  }

  Value selectFrozen(ImplicitLocOpBuilder &b, const Element &e,
                     Value whereFrozen, Value otherwise) {
    if (!e.frozen)
      return otherwise;
    return arith::SelectOp::create(b, e.frozen, whereFrozen, otherwise);
  }

  /// grad_y * k * m
  Value gradX() {
    return quantizer.map(
        builder.getF32Type(), {withIdentityMap(op.getGradY())},
        [&](ImplicitLocOpBuilder &b, const Element &e, ValueRange args) {
          Value grad = args[0], zero = createF32(b, 0.0);
          if (Value factor = createSurrogateFactor(b, op, e, grad))
            grad = arith::MulFOp::create(b, grad, factor);
          grad = arith::SelectOp::create(b, createMask(b, e), grad, zero);
          return selectFrozen(b, e, zero, grad);
        });
  }

  /// c - k * v * m
  Value scaleDerivative() {
    return quantizer.map(
        builder.getF32Type(), {withIdentityMap(op.getGradY())},
        [&](ImplicitLocOpBuilder &b, const Element &e, ValueRange args) {
          Value inner = e.v;
          if (Value factor = createSurrogateFactor(b, op, e, args[0]))
            inner = arith::MulFOp::create(b, factor, inner);
          Value level = e.subtractZero(b, e.clamped);
          Value derivative = arith::SelectOp::create(
              b, createMask(b, e), arith::SubFOp::create(b, level, inner),
              level);
          return selectFrozen(b, e, quantizer.createLevel(b, e), derivative);
        });
  }

  /// -s * (1 - m)
  Value zeroPointDerivative() {
    return quantizer.map(
        builder.getF32Type(), {},
        [&](ImplicitLocOpBuilder &b, const Element &e, ValueRange) {
          Value negated = arith::NegFOp::create(b, e.s);
          Value derivative = arith::SelectOp::create(
              b, createMask(b, e), createF32(b, 0.0), negated);
          return selectFrozen(b, e, negated, derivative);
        });
  }

  ImplicitLocOpBuilder &builder;
  FakeQuantizeBackwardOp op;
  FakeQuantizer quantizer;
};

struct LowerFakeQuantizeBackward : OpRewritePattern<FakeQuantizeBackwardOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(FakeQuantizeBackwardOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    replaceAllWithCasts(rewriter, op,
                        FakeQuantizeBackwardLowering(builder, op).lower());
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Oscillation
//===----------------------------------------------------------------------===//

/// Lowers one step of the detector (Numerics.md, "Oscillation").
class OscillationLowering {
public:
  OscillationLowering(ImplicitLocOpBuilder &builder, OscillationUpdateOp op)
      : builder(builder), op(op), rank(op.getCodes().getType().getRank()) {}

  /// The results of the operation, in its order.
  SmallVector<Value> lower() {
    Value out = select(op.getFrozen(), op.getFrozenInt(), op.getCodes());
    Value direction = createDirection(out);
    Value oscillated = createOscillated(direction);
    Value frequency = average(op.getFrequency(), oscillated);
    // The moving average of the integers as it is before this step.
    Value smoothed = createSmoothed(out);
    Value fires = createFires(frequency);
    return {out,
            oscillated,
            out,
            createNewDirection(direction),
            frequency,
            createNewSmoothed(smoothed, out),
            map(builder.getI1Type(), {op.getFrozen(), fires},
                [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                  return arith::OrIOp::create(b, args[0], args[1]);
                }),
            createNewFrozenInt(fires, smoothed, out),
            createTrue(),
            createNewTracking()};
  }

private:
  Value map(Type elementType, ArrayRef<Value> tensors, Body body) {
    SmallVector<MappedTensor> inputs;
    for (Value tensor : tensors)
      inputs.push_back(cast<ShapedType>(tensor.getType()).getRank() == 0
                           ? broadcastScalar(tensor, rank)
                           : withIdentityMap(tensor));
    return createElementwise(builder, getSizes(builder, op.getCodes()),
                             elementType, inputs, body);
  }

  Value select(Value condition, Value whereTrue, Value whereFalse) {
    Type elementType = cast<ShapedType>(whereTrue.getType()).getElementType();
    return map(elementType, {condition, whereTrue, whereFalse},
               [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                 return arith::SelectOp::create(b, args[0], args[1], args[2]);
               });
  }

  /// sign(x - prev_code) in i8, 0 in the first step.
  Value createDirection(Value out) {
    return map(
        builder.getI8Type(), {out, op.getPrevCode(), op.getObserved()},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          auto step = [&](arith::CmpIPredicate predicate) -> Value {
            Value isStep = arith::AndIOp::create(
                b, args[2], createCompare(b, predicate, args[0], args[1]));
            return arith::ExtUIOp::create(b, b.getI8Type(), isStep);
          };
          return arith::SubIOp::create(b, step(arith::CmpIPredicate::sgt),
                                       step(arith::CmpIPredicate::slt));
        });
  }

  /// d != 0 and d == -prev_direction
  Value createOscillated(Value direction) {
    return map(
        builder.getI1Type(), {direction, op.getPrevDirection()},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value zero = arith::ConstantIntOp::create(b, 0, 8);
          Value opposite = arith::SubIOp::create(b, zero, args[1]);
          return arith::AndIOp::create(
              b, createCompare(b, arith::CmpIPredicate::ne, args[0], zero),
              createCompare(b, arith::CmpIPredicate::eq, args[0], opposite));
        });
  }

  Value createNewDirection(Value direction) {
    return map(builder.getI8Type(), {direction, op.getPrevDirection()},
               [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                 Value zero = arith::ConstantIntOp::create(b, 0, 8);
                 Value isChange =
                     createCompare(b, arith::CmpIPredicate::ne, args[0], zero);
                 return arith::SelectOp::create(b, isChange, args[0], args[1]);
               });
  }

  /// m * sample + (1 - m) * state, each operation rounded; `sample` is i1 or
  /// i32.
  Value average(Value state, Value sample) {
    return map(builder.getF32Type(), {state, sample, op.getMomentum()},
               [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                 Value number = toF32(b, args[1]);
                 Value rest =
                     arith::SubFOp::create(b, createF32(b, 1.0), args[2]);
                 return arith::AddFOp::create(
                     b, arith::MulFOp::create(b, args[2], number),
                     arith::MulFOp::create(b, rest, args[0]));
               });
  }

  static Value toF32(ImplicitLocOpBuilder &b, Value value) {
    if (value.getType().isInteger(1))
      return arith::UIToFPOp::create(b, b.getF32Type(), value);
    return arith::SIToFPOp::create(b, b.getF32Type(), value);
  }

  static Value createIsEnabled(ImplicitLocOpBuilder &b, Value threshold) {
    return createCompare(b, arith::CmpFPredicate::OGT, threshold,
                         createF32(b, 0.0));
  }

  /// `smoothed`, or x in the step in which it starts.
  Value createSmoothed(Value out) {
    return map(
        builder.getF32Type(),
        {op.getTracking(), op.getThreshold(), op.getSmoothed(), out},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value isEnabled = createIsEnabled(b, args[1]);
          Value starts = arith::SelectOp::create(
              b, args[0], arith::ConstantIntOp::create(b, 0, 1), isEnabled);
          return arith::SelectOp::create(b, starts, toF32(b, args[3]), args[2]);
        });
  }

  Value createNewSmoothed(Value smoothed, Value out) {
    Value updated = average(smoothed, out);
    return map(builder.getF32Type(), {op.getThreshold(), updated, smoothed},
               [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                 return arith::SelectOp::create(b, createIsEnabled(b, args[0]),
                                                args[1], args[2]);
               });
  }

  /// Whether the entry freezes in this step, or would if it were not frozen.
  Value createFires(Value frequency) {
    return map(
        builder.getI1Type(), {frequency, op.getThreshold()},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value exceeds =
              createCompare(b, arith::CmpFPredicate::OGT, args[0], args[1]);
          return arith::AndIOp::create(b, exceeds, createIsEnabled(b, args[1]));
        });
  }

  Value createNewFrozenInt(Value fires, Value smoothed, Value out) {
    bool isLatch = op.getSemantics() == FreezeSemantics::Latch;
    bool usesSmoothed = op.getUseEmaXInt();
    return map(builder.getI32Type(),
               {fires, op.getFrozen(), op.getFrozenInt(), smoothed, out},
               [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                 Value value = args[4];
                 if (usesSmoothed)
                   value = createRounded(b, args[3]);
                 Value written =
                     arith::SelectOp::create(b, args[0], value, args[2]);
                 if (!isLatch)
                   return written;
                 return arith::SelectOp::create(b, args[1], args[2], written);
               });
  }

  /// The nearest integer. The bound makes the conversion total.
  static Value createRounded(ImplicitLocOpBuilder &b, Value x) {
    double bound = 1 << 24;
    Value rounded = createClamp(b, math::RoundEvenOp::create(b, x),
                                createF32(b, -bound), createF32(b, bound));
    return arith::FPToSIOp::create(b, b.getI32Type(), rounded);
  }

  Value createTrue() {
    auto type = RankedTensorType::get({}, builder.getI1Type());
    return arith::ConstantOp::create(builder,
                                     DenseElementsAttr::get(type, true));
  }

  Value createNewTracking() {
    return createElementwise(
        builder, {}, builder.getI1Type(),
        {withIdentityMap(op.getTracking()), withIdentityMap(op.getThreshold())},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          return arith::OrIOp::create(b, args[0], createIsEnabled(b, args[1]));
        });
  }

  ImplicitLocOpBuilder &builder;
  OscillationUpdateOp op;
  int64_t rank;
};

struct LowerOscillationUpdate : OpRewritePattern<OscillationUpdateOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(OscillationUpdateOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    replaceAllWithCasts(rewriter, op, OscillationLowering(builder, op).lower());
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Dampening
//===----------------------------------------------------------------------===//

/// The scalars of one element of the dampening loss.
struct DampenedElement {
  Value isBelow, isAbove; // beyond the grid
  Value error;            // clamp(x, s * n, s * p) - s * code
};

DampenedElement createDampened(ImplicitLocOpBuilder &b,
                               FakeQuantizer &quantizer, const Element &e,
                               Value x) {
  Value low = arith::MulFOp::create(b, e.s, quantizer.createMin(b));
  Value high = arith::MulFOp::create(b, e.s, quantizer.createMax(b));
  Value isBelow = createCompare(b, arith::CmpFPredicate::OLT, x, low);
  Value isAbove = createCompare(b, arith::CmpFPredicate::OGT, x, high);
  Value clipped = arith::SelectOp::create(
      b, isBelow, low, arith::SelectOp::create(b, isAbove, high, x));
  Value target = arith::MulFOp::create(b, e.s, quantizer.createLevel(b, e));
  return {isBelow, isAbove, arith::SubFOp::create(b, clipped, target)};
}

/// What the sum of squares is divided by; null for 1.
template <typename OpT>
Value createDivisor(ImplicitLocOpBuilder &builder, OpT op) {
  SmallVector<OpFoldResult> sizes = getSizes(builder, op.getX());
  switch (op.getReduction()) {
  case Reduction::Sum:
    return nullptr;
  case Reduction::Mean:
    return createCount(builder, sizes);
  case Reduction::KernelMean:
    return createCount(builder, ArrayRef(sizes).drop_front());
  }
  llvm_unreachable("unknown reduction");
}

struct LowerDampeningLoss : OpRewritePattern<DampeningLossOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(DampeningLossOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    FakeQuantizer quantizer(builder, op);
    Value error = quantizer.map(
        builder.getF32Type(), {withIdentityMap(op.getX())},
        [&](ImplicitLocOpBuilder &b, const Element &e, ValueRange args) {
          return createDampened(b, quantizer, e, args[0]).error;
        });
    int64_t rank = op.getX().getType().getRank();
    Value loss = createSumOfProducts(builder, error, error,
                                     AffineMap::get(rank, 0, getContext()), {});
    if (Value divisor = createDivisor(builder, op))
      loss = createElementwise(
          builder, {}, builder.getF32Type(), {withIdentityMap(loss)},
          [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
            return arith::DivFOp::create(b, args[0], divisor);
          });
    rewriter.replaceOp(op, loss);
    return success();
  }
};

struct LowerDampeningLossBackward : OpRewritePattern<DampeningLossBackwardOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(DampeningLossBackwardOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    FakeQuantizer quantizer(builder, op);
    Value divisor = createDivisor(builder, op);
    int64_t rank = op.getX().getType().getRank();
    SmallVector<MappedTensor> inputs = {
        withIdentityMap(op.getX()), broadcastScalar(op.getGradLoss(), rank)};
    Type f32 = builder.getF32Type();

    // The gradient of the clamped latent: k * e.
    auto createGrad = [&](ImplicitLocOpBuilder &b, const DampenedElement &d,
                          Value gradLoss) -> Value {
      Value k = arith::MulFOp::create(b, createF32(b, 2.0), gradLoss);
      if (divisor)
        k = arith::DivFOp::create(b, k, divisor);
      return arith::MulFOp::create(b, k, d.error);
    };
    Value grad = quantizer.map(
        f32, inputs,
        [&](ImplicitLocOpBuilder &b, const Element &e, ValueRange args) {
          return createGrad(b, createDampened(b, quantizer, e, args[0]),
                            args[1]);
        });
    Value gradX = quantizer.map(
        f32, {inputs[0], withIdentityMap(grad)},
        [&](ImplicitLocOpBuilder &b, const Element &e,
            ValueRange args) -> Value {
          DampenedElement d = createDampened(b, quantizer, e, args[0]);
          Value isBeyond = arith::OrIOp::create(b, d.isBelow, d.isAbove);
          return arith::SelectOp::create(b, isBeyond, createF32(b, 0.0),
                                         args[1]);
        });
    // The derivative of the clamped latent by the scale: the bound's integer.
    Value derivative = quantizer.map(
        f32, {inputs[0]},
        [&](ImplicitLocOpBuilder &b, const Element &e,
            ValueRange args) -> Value {
          DampenedElement d = createDampened(b, quantizer, e, args[0]);
          Value above = arith::SelectOp::create(
              b, d.isAbove, quantizer.createMax(b), createF32(b, 0.0));
          return arith::SelectOp::create(b, d.isBelow, quantizer.createMin(b),
                                         above);
        });
    Value gradScale = quantizer.finishScaleGradient(
        quantizer.sumPerScale(grad, derivative), nullptr);
    replaceAllWithCasts(rewriter, op, {gradX, gradScale});
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Schedules and attention
//===----------------------------------------------------------------------===//

struct LowerCosineSchedule : OpRewritePattern<CosineScheduleOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(CosineScheduleOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    float start = op.getStart().convertToFloat();
    float end = op.getEnd().convertToFloat();
    double steps = op.getSteps();
    double begin = op.getAnnealStart().convertToFloat() * steps;
    Value value = createElementwise(
        builder, {}, builder.getF32Type(), {withIdentityMap(op.getStep())},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value t = arith::SIToFPOp::create(b, b.getF32Type(), args[0]);
          Value t0 = createF32(b, begin);
          Value progress = createClamp(
              b,
              arith::DivFOp::create(b, arith::SubFOp::create(b, t, t0),
                                    createF32(b, steps - begin)),
              createF32(b, 0.0), createF32(b, 1.0));
          Value cosine = createCos(
              b, arith::MulFOp::create(b, progress, createF32(b, M_PI)));
          Value half = createF32(b, 0.5 * (double(start) - double(end)));
          Value annealed = math::FmaOp::create(
              b, half, arith::AddFOp::create(b, createF32(b, 1.0), cosine),
              createF32(b, end));
          Value before = createF32(b, op.getZeroBefore() ? 0.0 : start);
          Value isBefore = createCompare(b, arith::CmpFPredicate::OLT, t, t0);
          return arith::SelectOp::create(b, isBefore, before, annealed);
        });
    rewriter.replaceOp(op, value);
    return success();
  }
};

struct LowerClippedSoftmaxBackward
    : OpRewritePattern<ClippedSoftmaxBackwardOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ClippedSoftmaxBackwardOp op,
                                PatternRewriter &rewriter) const override {
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    float gamma = op.getGamma().convertToFloat();
    float stretch = op.getZeta().convertToFloat() - gamma;
    SmallVector<OpFoldResult> sizes = getSizes(builder, op.getP());
    int64_t rank = sizes.size();
    Value grads = createElementwise(
        builder, sizes, builder.getF32Type(),
        {withIdentityMap(op.getGradY()), withIdentityMap(op.getP())},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value factor = createF32(b, stretch), zero = createF32(b, 0.0);
          Value y =
              math::FmaOp::create(b, factor, args[1], createF32(b, gamma));
          Value isKept = arith::AndIOp::create(
              b, createCompare(b, arith::CmpFPredicate::OGT, y, zero),
              createCompare(b, arith::CmpFPredicate::OLT, y,
                            createF32(b, 1.0)));
          return arith::SelectOp::create(
              b, isKept, arith::MulFOp::create(b, factor, args[0]), zero);
        });
    AffineMap rowMap = AffineMap::getMultiDimIdentityMap(rank, getContext())
                           .dropResult(rank - 1);
    Value rowSums = createSumOfProducts(builder, op.getP(), grads, rowMap,
                                        ArrayRef(sizes).drop_back());
    Value result = createElementwise(
        builder, sizes, builder.getF32Type(),
        {withIdentityMap(op.getP()), withIdentityMap(grads), {rowSums, rowMap}},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          return arith::MulFOp::create(
              b, args[0], arith::SubFOp::create(b, args[1], args[2]));
        });
    replaceWithCast(rewriter, op, result);
    return success();
  }
};

} // namespace

void qtx::populateTrainingToLinalgPatterns(RewritePatternSet &patterns) {
  patterns
      .add<LowerClippedSoftmaxBackward, LowerCosineSchedule, LowerDampeningLoss,
           LowerDampeningLossBackward, LowerFakeQuantize,
           LowerFakeQuantizeBackward, LowerOscillationUpdate>(
          patterns.getContext());
}
