//===- Normalisation.cpp - Normalisations of ONNX -------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"

using namespace mlir;
using namespace qtx::onnx;

static Value subtract(Scalars &s, ValueRange v) { return s.sub(v[0], v[1]); }
static Value multiply(Scalars &s, ValueRange v) { return s.mul(v[0], v[1]); }
static Value divide(Scalars &s, ValueRange v) { return s.div(v[0], v[1]); }
static Value square(Scalars &s, ValueRange v) { return s.mul(v[0], v[0]); }

/// x * scale + shift, of which either may be absent or of another float type.
static Tensor scaleAndShift(NodeLowering &b, Tensor x, Tensor scale,
                            Tensor shift) {
  SmallVector<Tensor> operands = {x};
  if (scale)
    operands.push_back(b.convert(scale, x.element()));
  if (shift)
    operands.push_back(b.convert(shift, x.element()));
  return b.mapToResult(operands, [&](Scalars &s, ValueRange v) {
    Value y = scale ? s.mul(v[0], v[1]) : v[0];
    return shift ? s.add(y, v.back()) : y;
  });
}

/// `[C]` as `[1, C, 1, ...]`.
static Tensor alongChannels(NodeLowering &b, Tensor vector, int64_t rank) {
  SmallVector<AffineExpr> dims(rank, b.constantDim(1));
  dims[1] = vector.dim(0);
  return b.reshape(vector, dims);
}

static SmallVector<int64_t> axesFrom(int64_t first, int64_t rank) {
  return llvm::to_vector(llvm::seq<int64_t>(first, rank));
}

/// 1 / sqrt(x + epsilon)
static Tensor inverseRoot(NodeLowering &b, Tensor x, double epsilon) {
  return b.map(x.dims(), x.element(), x,
               [&](Scalars &s, ValueRange v) -> Value {
                 Type type = v[0].getType();
                 return s.div(s.number(type, 1),
                              s.sqrt(s.add(v[0], s.number(type, epsilon))));
               });
}

namespace {
struct Normalised {
  Tensor value, mean, inverse;
};
} // namespace

/// (x - mean) / sqrt(variance + epsilon) over `axes`, in two passes.
static Normalised normalise(NodeLowering &b, Tensor x, ArrayRef<int64_t> axes,
                            double epsilon) {
  Tensor mean = b.mean(x, axes, /*keep=*/true);
  Tensor centered = b.map(x.dims(), x.element(), {x, mean}, subtract);
  Tensor squares = b.map(x.dims(), x.element(), centered, square);
  Tensor inverse =
      inverseRoot(b, b.mean(squares, axes, /*keep=*/true), epsilon);
  Tensor value = b.map(x.dims(), x.element(), {centered, inverse}, multiply);
  return {value, mean, inverse};
}

//===----------------------------------------------------------------------===//
// Along axes
//===----------------------------------------------------------------------===//

/// The scale or shift `index`, if there is one.
static Tensor getOptional(NodeLowering &b, unsigned index) {
  return b.has(index) ? b.input(index) : Tensor();
}

static Lowered lowerLayerNormalization(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  FailureOr<int64_t> axis = b.getAxis(x.rank(), -1);
  if (failed(axis))
    return failure();
  Normalised normalised = normalise(b, x, axesFrom(*axis, x.rank()),
                                    b.node.getFloatAttr("epsilon", 1e-5f));
  SmallVector<Value> results = {
      scaleAndShift(b, normalised.value, getOptional(b, 1), getOptional(b, 2))
          .value};
  if (b.node.getOutputs().size() > 1)
    results.push_back(b.hasResult(1) ? b.narrow(normalised.mean, 1).value
                                     : Value());
  if (b.hasResult(2))
    results.push_back(b.narrow(normalised.inverse, 2).value);
  return results;
}

static Lowered lowerRMSNormalization(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  FailureOr<int64_t> axis = b.getAxis(x.rank(), -1);
  if (failed(axis))
    return failure();
  Tensor squares = b.map(x.dims(), x.element(), x, square);
  Tensor inverse =
      inverseRoot(b, b.mean(squares, axesFrom(*axis, x.rank()), /*keep=*/true),
                  b.node.getFloatAttr("epsilon", 1e-5f));
  Tensor value = b.map(x.dims(), x.element(), {x, inverse}, multiply);
  return scaleAndShift(b, value, getOptional(b, 1), Tensor());
}

static Lowered lowerMeanVarianceNormalization(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  auto axes = b.node.getIntsAttr("axes");
  if (!axes)
    axes = {0, 2, 3};
  auto normalized = b.normalizeAxes(*axes, x.rank());
  if (failed(normalized))
    return failure();
  return b.narrow(normalise(b, x, *normalized, 1e-9).value);
}

/// Divided by the norm, or 0 where that is 0.
static Lowered lowerLpNormalization(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  FailureOr<int64_t> axis = b.getAxis(x.rank(), -1);
  if (failed(axis))
    return failure();
  bool isL1 = b.node.getIntAttr("p", 2) == 1;
  Tensor powers =
      b.map(x.dims(), x.element(), x, [&](Scalars &s, ValueRange v) {
        return isL1 ? s.abs(v[0]) : s.mul(v[0], v[0]);
      });
  Tensor sum = b.sum(powers, *axis, /*keep=*/true);
  return b.mapToResult({x, sum}, [&](Scalars &s, ValueRange v) {
    Value norm = isL1 ? v[1] : s.sqrt(v[1]);
    Value zero = s.number(v[0].getType(), 0);
    return s.select(s.equal(norm, zero), zero, s.div(v[0], norm));
  });
}

//===----------------------------------------------------------------------===//
// Per channel
//===----------------------------------------------------------------------===//

/// (x - mean) * (scale / sqrt(variance + epsilon)) + bias
static Lowered lowerBatchNormalization(NodeLowering &b) {
  if (b.node.getIntAttr("training_mode", 0) != 0)
    return b.fail("in training mode");
  Tensor x = b.widen(b.input(0));
  SmallVector<Tensor> params;
  for (unsigned i = 1; i < 5; ++i)
    params.push_back(
        b.convert(alongChannels(b, b.input(i), x.rank()), x.element()));
  Tensor inverse =
      inverseRoot(b, params[3], b.node.getFloatAttr("epsilon", 1e-5f));
  Tensor scale =
      b.map(inverse.dims(), x.element(), {params[0], inverse}, multiply);
  Tensor centered = b.map(x.dims(), x.element(), {x, params[2]}, subtract);
  return scaleAndShift(b, centered, scale, params[1]);
}

static Lowered lowerInstanceNormalization(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  Normalised normalised = normalise(b, x, axesFrom(2, x.rank()),
                                    b.node.getFloatAttr("epsilon", 1e-5f));
  return scaleAndShift(b, normalised.value,
                       alongChannels(b, b.input(1), x.rank()),
                       alongChannels(b, b.input(2), x.rank()));
}

static Lowered lowerGroupNormalization(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  int64_t groups = b.node.getIntAttr("num_groups", 1);
  SmallVector<AffineExpr> dims = x.dims();
  AffineExpr inGroup = dims[1].floorDiv(groups);
  dims[1] = b.constantDim(groups);
  dims.insert(dims.begin() + 2, inGroup);
  Tensor grouped = b.reshape(x, dims);
  Normalised normalised = normalise(b, grouped, axesFrom(2, grouped.rank()),
                                    b.node.getFloatAttr("epsilon", 1e-5f));
  // Before version 21 there is one scale per group.
  bool isPerGroup = b.input(1).dim(0) != x.dim(1);
  if (!isPerGroup)
    return scaleAndShift(b, b.reshape(normalised.value, x.dims()),
                         alongChannels(b, b.input(1), x.rank()),
                         alongChannels(b, b.input(2), x.rank()));
  auto getPerGroup = [&](unsigned index) {
    return b.convert(alongChannels(b, b.input(index), grouped.rank()),
                     x.element());
  };
  Tensor scaled = b.map(
      dims, x.element(), {normalised.value, getPerGroup(1), getPerGroup(2)},
      [](Scalars &s, ValueRange v) { return s.add(s.mul(v[0], v[1]), v[2]); });
  return b.narrow(b.reshape(scaled, x.dims()));
}

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

/// x less the largest element along the axis.
static Tensor shiftByMaximum(NodeLowering &b, Tensor x, int64_t axis) {
  Tensor highest = b.maximum(x, axis, /*keep=*/true);
  return b.map(x.dims(), x.element(), {x, highest}, subtract);
}

static Lowered lowerSoftmax(NodeLowering &b) {
  Tensor x = b.input(0);
  FailureOr<int64_t> axis = b.getAxis(x.rank(), -1);
  if (failed(axis))
    return failure();
  if (x.element().isF32() && *axis == x.rank() - 1) {
    Value softmax = qtx::SoftmaxOp::create(b, x.value.getType(), x.value);
    return softmax;
  }
  Tensor shifted = shiftByMaximum(b, b.widen(x), *axis);
  Tensor powers = b.map(x.dims(), shifted.element(), shifted,
                        [](Scalars &s, ValueRange v) { return s.exp(v[0]); });
  return b.mapToResult({powers, b.sum(powers, *axis, /*keep=*/true)}, divide);
}

static Lowered lowerLogSoftmax(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  FailureOr<int64_t> axis = b.getAxis(x.rank(), -1);
  if (failed(axis))
    return failure();
  Tensor shifted = shiftByMaximum(b, x, *axis);
  Tensor powers = b.map(x.dims(), x.element(), shifted,
                        [](Scalars &s, ValueRange v) { return s.exp(v[0]); });
  return b.mapToResult(
      {shifted, b.sum(powers, *axis, /*keep=*/true)},
      [](Scalars &s, ValueRange v) { return s.sub(v[0], s.log(v[1])); });
}

/// 1 at the first of the largest elements, else 0.
static Lowered lowerHardmax(NodeLowering &b) {
  Tensor x = b.widen(b.input(0));
  FailureOr<int64_t> axis = b.getAxis(x.rank(), -1);
  if (failed(axis))
    return failure();
  Tensor highest = b.maximum(x, *axis, /*keep=*/true);
  Type i64 = b.getI64Type();
  SmallVector<AffineExpr> line(x.rank(), b.constantDim(1));
  line[*axis] = x.dim(*axis);
  Tensor positions = b.generate(line, i64, [&](Scalars &s, ValueRange at) {
    return s.fromIndex(at[*axis], i64);
  });
  Tensor candidates = b.map(
      x.dims(), i64, {positions, x, highest}, [&](Scalars &s, ValueRange v) {
        return s.select(s.equal(v[1], v[2]), v[0], s.highest(i64));
      });
  Scalars s(b.getLoc(), b, i64);
  Tensor first =
      b.reduce(candidates, *axis, /*keep=*/true, s.highest(i64),
               [](Scalars &s, ValueRange v) { return s.min(v[0], v[1]); });
  Type to = getComputeElement(b.resultElement());
  return b.mapToResult({positions, first}, [&](Scalars &s, ValueRange v) {
    return s.select(s.equal(v[0], v[1]), s.number(to, 1), s.number(to, 0));
  });
}

void qtx::onnx::populateNormalisationLowerings(Lowerings &lowerings) {
  lowerings["BatchNormalization"] = lowerBatchNormalization;
  lowerings["GroupNormalization"] = lowerGroupNormalization;
  lowerings["Hardmax"] = lowerHardmax;
  lowerings["InstanceNormalization"] = lowerInstanceNormalization;
  lowerings["LayerNormalization"] = lowerLayerNormalization;
  lowerings["LogSoftmax"] = lowerLogSoftmax;
  lowerings["LpNormalization"] = lowerLpNormalization;
  lowerings["MeanVarianceNormalization"] = lowerMeanVarianceNormalization;
  lowerings["RMSNormalization"] = lowerRMSNormalization;
  lowerings["Softmax"] = lowerSoftmax;
}
