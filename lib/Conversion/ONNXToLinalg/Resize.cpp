//===- Resize.cpp - ONNX's Resize -----------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

using namespace mlir;
using namespace qtx::onnx;

//===----------------------------------------------------------------------===//
// Coordinates
//===----------------------------------------------------------------------===//

namespace {
/// One axis that gets another size. Coordinates are floats of `type`.
struct ResizedAxis {
  int64_t axis = 0;
  StringRef mode;
  Type type;
  /// The former and the new size.
  Value length, resized;
  /// The scale, and the former size times it: the new size is its whole part.
  Value scale, width;
  /// The scale if it is known.
  std::optional<double> knownScale;
  /// The part of the former size that is taken; of `tf_crop_and_resize` only.
  double begin = 0, end = 1;

  bool isCropped() const { return mode == "tf_crop_and_resize"; }
  /// Where the element `i` of the new size lies in the former one.
  Value getCoordinate(Scalars &s, Value i) const;
  Value getLast(Scalars &s) const {
    return s.sub(s.fromIndex(length, type), s.number(type, 1));
  }
  Value isInside(Scalars &s, Value coordinate) const {
    return s.logicalAnd(s.lessOrEqual(s.number(type, 0), coordinate),
                        s.lessOrEqual(coordinate, getLast(s)));
  }
  /// The position nearest to a whole coordinate.
  Value toPosition(Scalars &s, Value coordinate) const {
    Value inside = s.min(s.max(coordinate, s.number(type, 0)), getLast(s));
    return arith::FPToSIOp::create(s, s.getI64Type(), inside);
  }
};
} // namespace

Value ResizedAxis::getCoordinate(Scalars &s, Value i) const {
  auto number = [&](double value) { return s.number(type, value); };
  Value x = s.fromIndex(i, type);
  if (mode == "asymmetric")
    return s.div(x, scale);
  Value size = s.fromIndex(resized, type);
  Value isSingle = s.lessOrEqual(size, number(1));
  if (mode == "align_corners" || isCropped()) {
    Value first = s.mul(number(begin), getLast(s));
    Value span = s.mul(number(end - begin), getLast(s));
    Value step = s.div(span, s.sub(width, number(1)));
    // A single element is the first corner, or the middle of the region.
    Value single = isCropped() ? s.mul(span, number(0.5)) : number(0);
    return s.add(first, s.select(isSingle, single, s.mul(x, step)));
  }
  Value center = s.sub(s.div(s.add(x, number(0.5)), scale), number(0.5));
  if (mode == "pytorch_half_pixel")
    return s.select(isSingle, number(0), center);
  if (mode == "half_pixel")
    return center;
  // Symmetric: the middle stays in the middle although sizes are whole.
  Value middle = s.mul(s.fromIndex(length, type), number(0.5));
  Value beyond = s.sub(number(1), s.div(size, width));
  return s.add(center, s.mul(middle, beyond));
}

static SmallVector<double> getFloats(NodeOp node, StringRef name) {
  auto attr = dyn_cast_or_null<ArrayAttr>(node.getNodeAttr(name));
  if (!attr)
    return {};
  return llvm::map_to_vector(attr.getAsRange<FloatAttr>(), [](FloatAttr value) {
    return value.getValueAsDouble();
  });
}

static ResizedAxis getAxis(NodeLowering &b, int64_t axis, Type type,
                           std::optional<double> scale) {
  AffineExpr from = b.input(0).dim(axis), to = b.resultDims()[axis];
  Scalars s(b.getLoc(), b, type);
  ResizedAxis result;
  result.axis = axis;
  result.mode =
      b.node.getStringAttr("coordinate_transformation_mode", "half_pixel");
  result.type = type;
  result.length = b.index(from);
  result.resized = b.index(to);
  result.knownScale = scale;
  Value length = s.fromIndex(result.length, type);
  if (scale) {
    result.scale = s.number(type, *scale);
    result.width = s.mul(length, result.scale);
    return result;
  }
  auto fromSize = dyn_cast<AffineConstantExpr>(from);
  auto toSize = dyn_cast<AffineConstantExpr>(to);
  if (fromSize && toSize)
    result.knownScale = double(toSize.getValue()) / double(fromSize.getValue());
  result.width = s.fromIndex(result.resized, type);
  result.scale = s.div(result.width, length);
  return result;
}

static FailureOr<SmallVector<ResizedAxis>> getAxes(NodeLowering &b) {
  auto axes = b.node.getIntsAttr("axes");
  SmallVector<double> scales = getFloats(b.node, "scales");
  SmallVector<double> roi = getFloats(b.node, "roi");
  bool hasRank = int64_t(b.resultDims().size()) == b.input(0).rank();
  if (!axes || !hasRank || failed(b.normalizeAxes(*axes, b.input(0).rank())) ||
      (!scales.empty() && scales.size() != axes->size()) ||
      (!roi.empty() && roi.size() != 2 * axes->size()))
    return b.fail("'axes', 'scales' and 'roi' do not match");
  Type element = b.input(0).element();
  Type type = isa<FloatType>(element) ? getComputeElement(element)
                                      : Type(b.getF32Type());
  SmallVector<ResizedAxis> result;
  for (auto [at, given] : llvm::enumerate(*axes)) {
    // Counted from the end where negative; scales follow the order given.
    int64_t axis = given < 0 ? given + b.input(0).rank() : given;
    auto scale = scales.empty() ? std::nullopt : std::optional(scales[at]);
    result.push_back(getAxis(b, axis, type, scale));
    if (!roi.empty()) {
      result.back().begin = roi[at];
      result.back().end = roi[axes->size() + at];
    }
  }
  return result;
}

//===----------------------------------------------------------------------===//
// The nearest element
//===----------------------------------------------------------------------===//

static Value roundCoordinate(Scalars &s, Value x, StringRef mode) {
  if (mode == "ceil")
    return math::CeilOp::create(s, x);
  Value below = math::FloorOp::create(s, x);
  if (mode == "floor")
    return below;
  Value rest = s.sub(x, below), half = s.number(x.getType(), 0.5);
  Value isUp = mode == "round_prefer_ceil" ? s.lessOrEqual(half, rest)
                                           : s.less(half, rest);
  return s.select(isUp, s.add(below, s.number(x.getType(), 1)), below);
}

static Lowered takeNearest(NodeLowering &b, ArrayRef<ResizedAxis> axes) {
  Tensor x = b.input(0);
  StringRef mode = b.node.getStringAttr("nearest_mode", "round_prefer_floor");
  double beyond = b.node.getFloatAttr("extrapolation_value", 0);
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        SmallVector<Value> from(at);
        Value inside = s.integer(s.getI1Type(), 1);
        for (const ResizedAxis &axis : axes) {
          Value coordinate = axis.getCoordinate(s, at[axis.axis]);
          if (axis.isCropped())
            inside = s.logicalAnd(inside, axis.isInside(s, coordinate));
          Value position =
              axis.toPosition(s, roundCoordinate(s, coordinate, mode));
          from[axis.axis] =
              arith::IndexCastOp::create(s, s.getIndexType(), position);
        }
        Value element = NodeLowering::extract(s, x, from);
        return s.select(inside, element, s.number(element.getType(), beyond));
      });
}

//===----------------------------------------------------------------------===//
// Interpolation
//===----------------------------------------------------------------------===//

namespace {
/// How much elements count, by their distance.
struct Kernel {
  explicit Kernel(NodeOp node)
      : isCubic(node.getStringAttr("mode", "nearest") == "cubic"),
        a(node.getFloatAttr("cubic_coeff_a", -0.75f)),
        isAntialiased(node.getIntAttr("antialias", 0) != 0),
        excludesOutside(node.getIntAttr("exclude_outside", 0) != 0) {}

  bool isCubic;
  /// The parameter of the cubic one.
  double a;
  /// Whether it is as wide as the elements of a smaller result.
  bool isAntialiased;
  bool excludesOutside;

  /// The first element that counts, from the one in front of the coordinate.
  int64_t getFirst(const ResizedAxis &axis) const {
    double scale = isAntialiased ? std::min(*axis.knownScale, 1.0) : 1.0;
    return static_cast<int64_t>(std::floor((isCubic ? -2 : -1) / scale)) + 1;
  }
  /// The number of elements that count.
  int64_t getCount(const ResizedAxis &axis) const {
    return 2 - 2 * getFirst(axis);
  }
  Value getWeight(Scalars &s, Value distance) const;
};
} // namespace

/// The polynomial of `x` with these coefficients, constant first.
static Value createCubic(Scalars &s, Value x, std::array<double, 4> factors) {
  Value result = s.number(x.getType(), factors[3]);
  for (unsigned i : {2u, 1u, 0u})
    result = s.fma(result, x, s.number(x.getType(), factors[i]));
  return result;
}

Value Kernel::getWeight(Scalars &s, Value distance) const {
  auto number = [&](double value) {
    return s.number(distance.getType(), value);
  };
  if (!isCubic)
    return s.max(s.sub(number(1), distance), number(0));
  Value near = createCubic(s, distance, {1, 0, -(a + 3), a + 2});
  Value far = createCubic(s, distance, {-4 * a, 8 * a, -5 * a, a});
  far = s.select(s.less(distance, number(2)), far, number(0));
  return s.select(s.lessOrEqual(distance, number(1)), near, far);
}

/// The coordinate of the element `i` of those that count.
static Value getNeighbor(Scalars &s, const ResizedAxis &axis,
                         const Kernel &kernel, Value coordinate, Value i) {
  Value first = arith::ConstantIndexOp::create(s, kernel.getFirst(axis));
  Value offset = arith::AddIOp::create(s, i, first);
  return s.add(math::FloorOp::create(s, coordinate),
               s.fromIndex(offset, axis.type));
}

/// How much each element counts for each of the new ones.
static Tensor getWeights(NodeLowering &b, const ResizedAxis &axis,
                         const Kernel &kernel, ArrayRef<AffineExpr> dims) {
  Tensor weights = b.generate(dims, axis.type, [&](Scalars &s, ValueRange at) {
    Value coordinate = axis.getCoordinate(s, at[0]);
    Value neighbor = getNeighbor(s, axis, kernel, coordinate, at[1]);
    Value distance = s.abs(s.sub(neighbor, coordinate));
    if (kernel.isAntialiased)
      distance = s.mul(distance, s.min(axis.scale, s.number(axis.type, 1)));
    Value weight = kernel.getWeight(s, distance);
    if (!kernel.excludesOutside)
      return weight;
    return s.select(axis.isInside(s, neighbor), weight, s.number(axis.type, 0));
  });
  if (!kernel.isAntialiased && !kernel.excludesOutside)
    return weights;
  return b.map(axis.type, {weights, b.sum(weights, 1, /*keep=*/true)},
               [](Scalars &s, ValueRange v) { return s.div(v[0], v[1]); });
}

/// Which elements count; beyond the edge it is the last one.
static Tensor getPositions(NodeLowering &b, const ResizedAxis &axis,
                           const Kernel &kernel, ArrayRef<AffineExpr> dims) {
  return b.generate(dims, b.getI64Type(), [&](Scalars &s, ValueRange at) {
    Value coordinate = axis.getCoordinate(s, at[0]);
    return axis.toPosition(s, getNeighbor(s, axis, kernel, coordinate, at[1]));
  });
}

/// What lies outside of the region has a value of its own.
static Tensor extrapolate(NodeLowering &b, Tensor x, const ResizedAxis &axis) {
  double beyond = b.node.getFloatAttr("extrapolation_value", 0);
  return b.map(x.element(), x, [&](Scalars &s, ValueRange v) {
    Value i = linalg::IndexOp::create(s, axis.axis);
    Value inside = axis.isInside(s, axis.getCoordinate(s, i));
    return s.select(inside, v[0], s.number(axis.type, beyond));
  });
}

static Tensor interpolate(NodeLowering &b, Tensor x, const ResizedAxis &axis,
                          const Kernel &kernel) {
  SmallVector<AffineExpr> dims = x.dims(), places;
  dims[axis.axis] = b.resultDims()[axis.axis];
  SmallVector<AffineExpr> counted = {dims[axis.axis],
                                     b.constantDim(kernel.getCount(axis))};
  for (int64_t i = 0; i < x.rank(); ++i)
    places.push_back(b.getAffineDimExpr(i));
  AffineExpr neighbor = b.getAffineDimExpr(x.rank());
  auto getMap = [&](ArrayRef<AffineExpr> results) {
    return AffineMap::get(x.rank() + 1, 0, results, b.getContext());
  };
  AffineMap map = getMap({places[axis.axis], neighbor});
  Tensor result =
      b.reduceWith(b.filled(dims, axis.type, 0.0), getMap(places),
                   {getWeights(b, axis, kernel, counted),
                    getPositions(b, axis, kernel, counted)},
                   {map, map}, [&](Scalars &s, ValueRange v) {
                     SmallVector<Value> at;
                     for (int64_t i = 0; i < x.rank(); ++i)
                       at.push_back(linalg::IndexOp::create(s, i));
                     at[axis.axis] =
                         arith::IndexCastOp::create(s, s.getIndexType(), v[1]);
                     return s.fma(v[0], NodeLowering::extract(s, x, at), v[2]);
                   });
  return axis.isCropped() ? extrapolate(b, result, axis) : result;
}

/// Kernels are products over the axes, so one axis after the other is resized.
static Lowered lowerResize(NodeLowering &b) {
  if (NodeLowering::isEmpty(b.resultDims()))
    return b.empty(b.resultDims(), b.resultElement());
  FailureOr<SmallVector<ResizedAxis>> axes = getAxes(b);
  if (failed(axes))
    return failure();
  if (b.node.getStringAttr("mode", "nearest") == "nearest")
    return takeNearest(b, *axes);
  Kernel kernel(b.node);
  Tensor x = b.input(0);
  if (!isa<FloatType>(x.element()))
    return b.fail("interpolation of integers");
  for (const ResizedAxis &axis : *axes) {
    if (kernel.isAntialiased && !axis.knownScale)
      return b.fail("'antialias' of a dynamic size");
    x = interpolate(b, x, axis, kernel);
  }
  return b.narrow(x);
}

void qtx::onnx::populateResizeLowerings(Lowerings &lowerings) {
  lowerings["Resize"] = lowerResize;
}
