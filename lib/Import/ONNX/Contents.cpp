//===- Contents.cpp - What is known of a tensor's elements ----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Contents.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace mlir;
using namespace qtx::importer;

bool Contents::isConstant() const {
  return llvm::all_of(integers,
                      [](Size element) { return getConstant(element); });
}

bool Contents::isKnown() const {
  return llvm::all_of(integers, [](Size element) { return bool(element); });
}

std::optional<SmallVector<int64_t>> Contents::getIntegers() const {
  if (isFloat() || !isConstant())
    return std::nullopt;
  return llvm::map_to_vector(
      integers, [](Size element) { return *getConstant(element); });
}

bool qtx::importer::isFollowed(RankedTensorType type) {
  int64_t count = 1;
  for (int64_t size : type.getShape()) {
    if (ShapedType::isDynamic(size) || size > kMaxContents)
      return false;
    count *= size;
    if (count > kMaxContents)
      return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

/// The elements of a resource as `DenseElementsAttr`; null if there are none.
static DenseElementsAttr getDense(ElementsAttr attr) {
  if (auto dense = dyn_cast<DenseElementsAttr>(attr))
    return dense;
  auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
  AsmResourceBlob *blob =
      resource ? resource.getRawHandle().getBlob() : nullptr;
  if (!blob)
    return {};
  return DenseElementsAttr::getFromRawBuffer(resource.getType(),
                                             blob->getData());
}

static int64_t getInteger(const APInt &value, Type elementType) {
  return elementType.isUnsignedInteger() || elementType.isInteger(1)
             ? static_cast<int64_t>(value.getZExtValue())
             : value.getSExtValue();
}

std::optional<Contents> qtx::importer::readContents(ElementsAttr attr) {
  auto type = cast<RankedTensorType>(attr.getType());
  // Elements are signed numbers of 64 bits here.
  if (!isFollowed(type) || type.getElementType().isUnsignedInteger(64))
    return std::nullopt;
  DenseElementsAttr dense = getDense(attr);
  if (!dense)
    return std::nullopt;
  Type elementType = type.getElementType();
  Contents contents(type.getShape(), elementType);
  if (contents.isFloat()) {
    for (auto [element, value] :
         llvm::zip_equal(contents.floats, dense.getValues<APFloat>()))
      element = value.convertToDouble();
    return contents;
  }
  for (auto [element, value] :
       llvm::zip_equal(contents.integers, dense.getValues<APInt>()))
    element = getAffineConstantExpr(getInteger(value, elementType),
                                    attr.getContext());
  return contents;
}

static APFloat getFloat(double value, FloatType type) {
  APFloat result(value);
  bool losesInfo;
  result.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven,
                 &losesInfo);
  return result;
}

DenseElementsAttr qtx::importer::getElementsAttr(const Contents &contents) {
  RankedTensorType type = contents.getType();
  if (auto floatType = dyn_cast<FloatType>(contents.elementType)) {
    auto values = llvm::map_to_vector(contents.floats, [&](double value) {
      return getFloat(value, floatType);
    });
    return DenseElementsAttr::get(type, values);
  }
  unsigned width = contents.elementType.getIntOrFloatBitWidth();
  auto values = llvm::map_to_vector(contents.integers, [&](Size element) {
    return APInt(width, *getConstant(element), /*isSigned=*/false,
                 /*implicitTrunc=*/true);
  });
  return DenseElementsAttr::get(type, values);
}

double qtx::importer::roundTo(Type elementType, double value) {
  if (elementType.isF64())
    return value;
  if (elementType.isF32())
    return static_cast<float>(value);
  return getFloat(value, cast<FloatType>(elementType)).convertToDouble();
}

int64_t qtx::importer::wrapTo(Type elementType, int64_t value) {
  unsigned width = elementType.getIntOrFloatBitWidth();
  return getInteger(APInt(width, value, /*isSigned=*/false,
                          /*implicitTrunc=*/true),
                    elementType);
}

//===----------------------------------------------------------------------===//
// Indices
//===----------------------------------------------------------------------===//

SmallVector<int64_t> qtx::importer::getStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int64_t axis = static_cast<int64_t>(shape.size()) - 2; axis >= 0; --axis)
    strides[axis] = strides[axis + 1] * shape[axis + 1];
  return strides;
}

void qtx::importer::forEachIndex(
    ArrayRef<int64_t> shape,
    function_ref<void(int64_t, ArrayRef<int64_t>)> visit) {
  int64_t count = ShapedType::getNumElements(shape);
  SmallVector<int64_t> indices(shape.size(), 0);
  for (int64_t linear = 0; linear < count; ++linear) {
    visit(linear, indices);
    for (int64_t axis = static_cast<int64_t>(shape.size()) - 1; axis >= 0;
         --axis) {
      if (++indices[axis] < shape[axis])
        break;
      indices[axis] = 0;
    }
  }
}

/// The linear index into a tensor that is broadcast from `shape`.
static int64_t getBroadcastIndex(ArrayRef<int64_t> shape,
                                 ArrayRef<int64_t> indices) {
  int64_t linear = 0;
  size_t leading = indices.size() - shape.size();
  for (auto [axis, size] : llvm::enumerate(shape))
    linear = linear * size + (size == 1 ? 0 : indices[leading + axis]);
  return linear;
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

/// Evaluates a unary operator on floats; nothing if it is not implemented.
static std::optional<double> evaluateUnary(StringRef op, double x) {
  if (op == "Neg")
    return -x;
  if (op == "Abs")
    return std::fabs(x);
  if (op == "Sqrt")
    return std::sqrt(x);
  if (op == "Reciprocal")
    return 1 / x;
  if (op == "Floor")
    return std::floor(x);
  if (op == "Ceil")
    return std::ceil(x);
  if (op == "Round")
    return std::nearbyint(x);
  if (op == "Exp")
    return std::exp(x);
  if (op == "Log")
    return std::log(x);
  if (op == "Sin")
    return std::sin(x);
  if (op == "Cos")
    return std::cos(x);
  return std::nullopt;
}

static std::optional<double> evaluateBinary(StringRef op, double x, double y) {
  if (op == "Add")
    return x + y;
  if (op == "Sub")
    return x - y;
  if (op == "Mul")
    return x * y;
  if (op == "Div")
    return x / y;
  if (op == "Pow")
    return std::pow(x, y);
  if (op == "Min")
    return std::isnan(x) || x < y ? x : y;
  if (op == "Max")
    return std::isnan(x) || x > y ? x : y;
  return std::nullopt;
}

static std::optional<bool> evaluateComparison(StringRef op, double x,
                                              double y) {
  if (op == "Equal")
    return x == y;
  if (op == "Less")
    return x < y;
  if (op == "LessOrEqual")
    return x <= y;
  if (op == "Greater")
    return x > y;
  if (op == "GreaterOrEqual")
    return x >= y;
  return std::nullopt;
}

namespace {
/// Evaluates operators on integers that may be symbolic. A null result is an
/// element that is not known.
class IntegerFolder {
public:
  IntegerFolder(Sizes &sizes, Type elementType)
      : sizes(sizes), elementType(elementType) {}

  Size evaluate(StringRef op, ArrayRef<Size> x) {
    if (!llvm::all_of(x, [](Size size) { return bool(size); }))
      return {};
    if (x.size() == 1)
      return wrap(evaluateUnary(op, x[0]));
    if (x.size() == 2)
      return wrap(evaluateBinary(op, x[0], x[1]));
    return {};
  }

private:
  Size getBool(bool value) { return sizes.get(value ? 1 : 0); }

  Size wrap(Size size) {
    if (auto constant = size ? getConstant(size) : std::nullopt)
      return sizes.get(wrapTo(elementType, *constant));
    return size;
  }

  Size evaluateUnary(StringRef op, Size x);
  Size evaluateBinary(StringRef op, Size x, Size y);
  Size evaluateConstants(StringRef op, int64_t x, int64_t y);
  Size evaluateRelation(StringRef op, Size x, Size y);
  Size divide(Size x, Size y);
  Size modulo(Size x, Size y);

  Sizes &sizes;
  Type elementType;
};
} // namespace

Size IntegerFolder::evaluateUnary(StringRef op, Size x) {
  std::optional<int64_t> lower = sizes.getLowerBound(x);
  if (op == "Neg")
    return sizes.mul(x, sizes.get(-1));
  if (op == "Abs" && lower && *lower >= 0)
    return x;
  if (op == "Abs" && getConstant(x))
    return sizes.mul(x, sizes.get(-1));
  if (op == "Not" && getConstant(x))
    return getBool(*getConstant(x) == 0);
  if (op == "Sign" && lower && *lower > 0)
    return sizes.get(1);
  return {};
}

/// Integers wrap where sizes overflow.
Size IntegerFolder::evaluateConstants(StringRef op, int64_t x, int64_t y) {
  uint64_t left = x, right = y;
  if (op == "Add")
    return sizes.get(left + right);
  if (op == "Sub")
    return sizes.get(left - right);
  if (op == "Mul")
    return sizes.get(left * right);
  if (op == "And" || op == "BitwiseAnd")
    return sizes.get(left & right);
  if (op == "Or" || op == "BitwiseOr")
    return sizes.get(left | right);
  if (op == "Xor" || op == "BitwiseXor")
    return sizes.get(left ^ right);
  return {};
}

/// ONNX rounds towards zero.
Size IntegerFolder::divide(Size x, Size y) {
  std::optional<int64_t> left = getConstant(x), right = getConstant(y);
  if (left && right) {
    bool isDefined = *right != 0 && !(*left == INT64_MIN && *right == -1);
    return isDefined ? sizes.get(*left / *right) : Size();
  }
  std::optional<int64_t> lower = sizes.getLowerBound(x);
  std::optional<int64_t> divisor = sizes.getLowerBound(y);
  if (lower && *lower >= 0 && divisor && *divisor > 0)
    return sizes.floorDiv(x, y);
  return sizes.divideExactly(x, y);
}

/// The sign follows the divisor.
Size IntegerFolder::modulo(Size x, Size y) {
  std::optional<int64_t> dividend = getConstant(x), divisor = getConstant(y);
  if (dividend && divisor && *divisor < -1) {
    int64_t rest = *dividend % *divisor;
    return sizes.get(rest > 0 ? rest + *divisor : rest);
  }
  return divisor && *divisor > 0 ? sizes.mod(x, y) : Size();
}

Size IntegerFolder::evaluateRelation(StringRef op, Size x, Size y) {
  if (op == "Equal")
    return x == y                ? getBool(true)
           : sizes.isNever(x, y) ? getBool(false)
                                 : Size();
  if (op == "Greater" || op == "GreaterOrEqual")
    return evaluateRelation(op == "Greater" ? "Less" : "LessOrEqual", y, x);
  if (op != "Less" && op != "LessOrEqual")
    return {};
  Size one = sizes.get(1);
  if (getConstant(x) && getConstant(y))
    return getBool(op == "Less" ? *getConstant(x) < *getConstant(y)
                                : *getConstant(x) <= *getConstant(y));
  if (op == "LessOrEqual")
    return sizes.isAtLeast(y, x)                   ? getBool(true)
           : sizes.isAtLeast(x, sizes.add(y, one)) ? getBool(false)
                                                   : Size();
  return sizes.isAtLeast(y, sizes.add(x, one)) ? getBool(true)
         : sizes.isAtLeast(x, y)               ? getBool(false)
                                               : Size();
}

Size IntegerFolder::evaluateBinary(StringRef op, Size x, Size y) {
  std::optional<int64_t> left = getConstant(x), right = getConstant(y);
  if (left && right)
    if (Size result = evaluateConstants(op, *left, *right))
      return result;
  if (op == "Add")
    return sizes.add(x, y);
  if (op == "Sub")
    return sizes.sub(x, y);
  if (op == "Mul")
    return sizes.mul(x, y);
  if (op == "Div")
    return divide(x, y);
  if (op == "Mod")
    return modulo(x, y);
  if (op == "Min")
    return sizes.isAtLeast(x, y) ? y : sizes.isAtLeast(y, x) ? x : Size();
  if (op == "Max")
    return sizes.isAtLeast(x, y) ? x : sizes.isAtLeast(y, x) ? y : Size();
  return evaluateRelation(op, x, y);
}

/// One element of a `Where`.
static bool foldWhere(ArrayRef<const Contents *> inputs, ArrayRef<int64_t> at,
                      Contents &result, int64_t linear) {
  Size condition = inputs[0]->integers[at[0]];
  std::optional<int64_t> value =
      condition ? getConstant(condition) : std::nullopt;
  if (value) {
    unsigned chosen = *value != 0 ? 1 : 2;
    result.copyElement(linear, *inputs[chosen], at[chosen]);
    return true;
  }
  if (result.isFloat())
    return false;
  Size then = inputs[1]->integers[at[1]];
  if (then == inputs[2]->integers[at[2]])
    result.integers[linear] = then;
  return true;
}

/// One element of a `Cast`.
static bool foldCast(const Contents &input, int64_t at, Contents &result,
                     int64_t linear, Sizes &sizes) {
  Type type = result.elementType;
  if (result.isFloat()) {
    if (input.isFloat()) {
      result.floats[linear] = roundTo(type, input.floats[at]);
      return true;
    }
    Size element = input.integers[at];
    std::optional<int64_t> value =
        element ? getConstant(element) : std::nullopt;
    if (!value)
      return false;
    result.floats[linear] = roundTo(type, static_cast<double>(*value));
    return true;
  }
  if (!input.isFloat()) {
    Size element = input.integers[at];
    std::optional<int64_t> value =
        element ? getConstant(element) : std::nullopt;
    if (value)
      element =
          sizes.get(type.isInteger(1) ? *value != 0 : wrapTo(type, *value));
    else if (element && type.isInteger(1))
      element = sizes.isNever(element, sizes.get(0)) ? sizes.get(1) : Size();
    result.integers[linear] = element;
    return true;
  }
  double value = input.floats[at];
  if (type.isInteger(1))
    result.integers[linear] = sizes.get(value != 0);
  else if (std::fabs(value) < 9e18)
    result.integers[linear] =
        sizes.get(wrapTo(type, static_cast<int64_t>(value)));
  return true;
}

/// One element of an arithmetic operator or a comparison on floats.
static bool foldFloats(StringRef op, ArrayRef<double> x, Contents &result,
                       int64_t linear, Sizes &sizes) {
  if (!result.isFloat()) {
    std::optional<bool> holds =
        x.size() == 2 ? evaluateComparison(op, x[0], x[1]) : std::nullopt;
    if (holds)
      result.integers[linear] = sizes.get(*holds);
    return holds.has_value();
  }
  std::optional<double> value = x.size() == 1   ? evaluateUnary(op, x[0])
                                : x.size() == 2 ? evaluateBinary(op, x[0], x[1])
                                                : std::nullopt;
  if (value)
    result.floats[linear] = roundTo(result.elementType, *value);
  return value.has_value();
}

static bool foldElement(StringRef op, ArrayRef<const Contents *> inputs,
                        ArrayRef<int64_t> at, Contents &result, int64_t linear,
                        Sizes &sizes) {
  if (op == "Where")
    return foldWhere(inputs, at, result, linear);
  if (op == "Cast")
    return foldCast(*inputs[0], at[0], result, linear, sizes);
  if (inputs[0]->isFloat()) {
    SmallVector<double, 2> values;
    for (auto [input, index] : llvm::zip_equal(inputs, at)) {
      if (!input->isFloat())
        return false;
      values.push_back(input->floats[index]);
    }
    return foldFloats(op, values, result, linear, sizes);
  }
  SmallVector<Size, 2> values;
  for (auto [input, index] : llvm::zip_equal(inputs, at)) {
    if (input->isFloat())
      return false;
    values.push_back(input->integers[index]);
  }
  if (result.isFloat())
    return false;
  result.integers[linear] =
      IntegerFolder(sizes, result.elementType).evaluate(op, values);
  return true;
}

std::optional<Contents>
qtx::importer::foldElementwise(StringRef op, ArrayRef<const Contents *> inputs,
                               RankedTensorType type, Sizes &sizes) {
  if (!isFollowed(type) || llvm::is_contained(inputs, nullptr))
    return std::nullopt;
  Contents result(type.getShape(), type.getElementType());
  bool isFolded = true;
  SmallVector<int64_t, 3> at(inputs.size());
  forEachIndex(type.getShape(), [&](int64_t linear, ArrayRef<int64_t> indices) {
    if (!isFolded)
      return;
    for (auto [index, input] : llvm::zip_equal(at, inputs))
      index = getBroadcastIndex(input->shape, indices);
    isFolded = foldElement(op, inputs, at, result, linear, sizes);
  });
  if (!isFolded)
    return std::nullopt;
  return result;
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

std::optional<Contents> qtx::importer::foldReduction(StringRef op,
                                                     const Contents &input,
                                                     ArrayRef<int64_t> axes,
                                                     RankedTensorType type,
                                                     Sizes &sizes) {
  StringRef step = llvm::StringSwitch<StringRef>(op)
                       .Case("ReduceSum", "Add")
                       .Case("ReduceProd", "Mul")
                       .Case("ReduceMin", "Min")
                       .Case("ReduceMax", "Max")
                       .Default("");
  if (step.empty() || input.isFloat() || input.getNumElements() == 0 ||
      !isFollowed(type))
    return std::nullopt;
  SmallVector<int64_t> kept(input.shape);
  for (int64_t axis : axes)
    kept[axis] = 1;
  Contents result(type.getShape(), type.getElementType());
  IntegerFolder folder(sizes, result.elementType);
  std::vector<bool> isStarted(result.integers.size());
  forEachIndex(input.shape, [&](int64_t linear, ArrayRef<int64_t> indices) {
    int64_t at = getBroadcastIndex(kept, indices);
    Size element = input.integers[linear];
    Size &sum = result.integers[at];
    sum = isStarted[at] ? folder.evaluate(step, {sum, element}) : element;
    isStarted[at] = true;
  });
  return result;
}
