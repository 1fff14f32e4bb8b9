//===- Reduction.cpp - Reductions of ONNX ---------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace qtx::onnx;

namespace {
/// The operand of a reduction, and over what it is reduced.
struct ReductionNode {
  Tensor x;
  SmallVector<int64_t> axes;
  bool keep;
};
} // namespace

static FailureOr<ReductionNode> getReduction(NodeLowering &b) {
  Tensor x = b.input(0);
  auto axes = b.node.getIntsAttr("axes");
  if (!axes)
    return b.fail("without 'axes'");
  auto normalized = b.normalizeAxes(*axes, x.rank());
  if (failed(normalized))
    return failure();
  bool keep = b.node.getIntAttr("keepdims", 1) != 0;
  return ReductionNode{b.widen(x), *normalized, keep};
}

/// Reduces with a function of (element, accumulator) from the number `initial`.
static Lowered lowerReduction(NodeLowering &b, double initial,
                              ScalarBody combine) {
  auto reduction = getReduction(b);
  if (failed(reduction))
    return failure();
  auto [x, axes, keep] = *reduction;
  Scalars s(b.getLoc(), b, x.element());
  Value start = s.number(getPlainElement(x.element()), initial);
  return b.narrow(b.reduce(x, axes, keep, start, combine));
}

static Value addProduct(Scalars &s, ValueRange v) {
  return s.fma(v[0], v[0], v[1]);
}
static Value addMagnitude(Scalars &s, ValueRange v) {
  return s.add(v[1], s.abs(v[0]));
}
static Value addElement(Scalars &s, ValueRange v) { return s.add(v[1], v[0]); }
static Value multiply(Scalars &s, ValueRange v) { return s.mul(v[1], v[0]); }

static Lowered lowerReduceSum(NodeLowering &b) {
  return lowerReduction(b, 0, addElement);
}
static Lowered lowerReduceSumSquare(NodeLowering &b) {
  return lowerReduction(b, 0, addProduct);
}
static Lowered lowerReduceL1(NodeLowering &b) {
  return lowerReduction(b, 0, addMagnitude);
}
static Lowered lowerReduceProd(NodeLowering &b) {
  return lowerReduction(b, 1, multiply);
}

template <bool isMax> static Lowered lowerReduceExtremum(NodeLowering &b) {
  auto reduction = getReduction(b);
  if (failed(reduction))
    return failure();
  auto [x, axes, keep] = *reduction;
  Scalars s(b.getLoc(), b, x.element());
  Type type = getPlainElement(x.element());
  Value start = isMax ? s.lowest(type) : s.highest(type);
  return b.narrow(b.reduce(x, axes, keep, start, [](Scalars &s, ValueRange v) {
    return isMax ? s.max(v[1], v[0]) : s.min(v[1], v[0]);
  }));
}

static Lowered lowerReduceMean(NodeLowering &b) {
  auto reduction = getReduction(b);
  if (failed(reduction))
    return failure();
  auto [x, axes, keep] = *reduction;
  return b.narrow(b.mean(x, axes, keep));
}

/// A function of a sum.
static Lowered lowerOfSum(NodeLowering &b, ScalarBody add,
                          ScalarBody function) {
  auto reduction = getReduction(b);
  if (failed(reduction))
    return failure();
  auto [x, axes, keep] = *reduction;
  Type element = x.element();
  // Integers have roots and logarithms by way of floats.
  Type computed = isa<FloatType>(element) ? element : Type(b.getF64Type());
  x = b.convert(x, computed);
  Scalars s(b.getLoc(), b, computed);
  Tensor sum = b.reduce(x, axes, keep, s.number(computed, 0), add);
  return b.narrow(b.map(sum.dims(), computed, sum, function));
}

static Value rootOf(Scalars &s, ValueRange v) { return s.sqrt(v[0]); }
static Value logOf(Scalars &s, ValueRange v) { return s.log(v[0]); }

static Lowered lowerReduceL2(NodeLowering &b) {
  return lowerOfSum(b, addProduct, rootOf);
}
static Lowered lowerReduceLogSum(NodeLowering &b) {
  return lowerOfSum(b, addElement, logOf);
}

/// The largest element is subtracted first; one that is infinite stays out of
/// it.
static Lowered lowerReduceLogSumExp(NodeLowering &b) {
  auto reduction = getReduction(b);
  if (failed(reduction))
    return failure();
  auto [x, axes, keep] = *reduction;
  Type element = x.element();
  Type computed = isa<FloatType>(element) ? element : Type(b.getF64Type());
  x = b.convert(x, computed);
  Tensor highest = b.maximum(x, axes, /*keep=*/true);
  Tensor shift = b.map(computed, highest, [](Scalars &s, ValueRange v) {
    Value infinity = s.highest(v[0].getType());
    return s.select(s.less(s.abs(v[0]), infinity), v[0],
                    s.number(v[0].getType(), 0));
  });
  Tensor powers =
      b.map(x.dims(), computed, {x, shift},
            [](Scalars &s, ValueRange v) { return s.exp(s.sub(v[0], v[1])); });
  Tensor sum = b.sum(powers, axes, /*keep=*/true);
  Tensor result =
      b.map(sum.dims(), computed, {sum, shift},
            [](Scalars &s, ValueRange v) { return s.add(s.log(v[0]), v[1]); });
  return b.narrow(b.reshape(result, b.reducedDims(x, axes, keep)));
}

//===----------------------------------------------------------------------===//
// Indices
//===----------------------------------------------------------------------===//

/// Whether `x` takes the place of the extremum `best` before it.
static Value isBetter(Scalars &s, Value x, Value best, bool isMax,
                      bool takesLast) {
  Value left = isMax ? best : x, right = isMax ? x : best;
  return takesLast ? s.lessOrEqual(left, right) : s.less(left, right);
}

/// A reduction to the index of the extremum; the element at the index so far is
/// the one to compare with.
template <bool isMax> static Lowered lowerArgExtremum(NodeLowering &b) {
  Tensor x = b.input(0);
  FailureOr<int64_t> axis = b.getAxis(x.rank(), 0);
  if (failed(axis))
    return failure();
  bool keep = b.node.getIntAttr("keepdims", 1) != 0;
  bool takesLast = b.node.getIntAttr("select_last_index", 0) != 0;
  SmallVector<AffineExpr> kept;
  for (int64_t i = 0; i < x.rank(); ++i)
    if (i != *axis)
      kept.push_back(b.getAffineDimExpr(i));
  Type i64 = b.getI64Type();
  Tensor init = b.filled(b.reducedDims(x, *axis, /*keep=*/false), i64, 0);
  Tensor result = b.reduceWith(
      init, AffineMap::get(x.rank(), 0, kept, b.getContext()), x,
      b.getMultiDimIdentityMap(x.rank()), [&](Scalars &s, ValueRange v) {
        SmallVector<Value> indices;
        for (int64_t i = 0; i < x.rank(); ++i)
          indices.push_back(linalg::IndexOp::create(s, i));
        Value here = s.fromIndex(indices[*axis], i64);
        indices[*axis] = arith::IndexCastOp::create(s, s.getIndexType(), v[1]);
        Value best = NodeLowering::extract(s, x, indices);
        return s.select(isBetter(s, v[0], best, isMax, takesLast), here, v[1]);
      });
  return b.reshape(result, b.reducedDims(x, *axis, keep));
}

//===----------------------------------------------------------------------===//
// Running sums
//===----------------------------------------------------------------------===//

namespace {
/// A running sum or product along `axis`.
struct Running {
  Tensor x;
  int64_t axis;
  Value size;
  bool isExclusive, isReverse;
};
} // namespace

/// The loop along the axis, at the indices `at` of the others.
static SmallVector<Value> createRunningLoop(Scalars &s, const Running &running,
                                            ArrayRef<Value> at, Value into,
                                            Value initial, ScalarBody combine) {
  Type element = running.x.element();
  Value zero = arith::ConstantIndexOp::create(s, 0);
  Value one = arith::ConstantIndexOp::create(s, 1);
  auto loop = scf::ForOp::create(
      s, zero, running.size, one, ValueRange{into, initial},
      [&](OpBuilder &nested, Location loc, Value i, ValueRange state) {
        Scalars inner(loc, nested, element);
        if (running.isReverse)
          i = arith::SubIOp::create(
              inner, arith::SubIOp::create(inner, running.size, one), i);
        SmallVector<Value> indices(at);
        indices[running.axis] = i;
        Value x = NodeLowering::extract(inner, running.x, indices);
        Value total = combine(inner, ValueRange{x, state[1]});
        Value stored =
            NodeLowering::store(inner, running.isExclusive ? state[1] : total,
                                state[0], element, indices);
        scf::YieldOp::create(inner, ValueRange{stored, total});
      });
  return {loop.getResult(0)};
}

/// The sum or product of all elements before each, in a loop along the axis.
static Lowered lowerCumulative(NodeLowering &b, double initial,
                               ScalarBody combine) {
  Tensor x = b.widen(b.input(0));
  FailureOr<int64_t> found = b.getAxis(x.rank(), 0);
  if (failed(found))
    return failure();
  int64_t axis = *found;
  Running running{x, axis, b.index(x.dim(axis)),
                  b.node.getIntAttr("exclusive", 0) != 0,
                  b.node.getIntAttr("reverse", 0) != 0};
  Type type = getPlainElement(x.element());
  // The loop along the axis is the innermost, so the state is one number.
  SmallVector<AffineExpr> outer = x.dims();
  outer.erase(outer.begin() + axis);
  Value init = b.empty(x.dims(), x.element()).value;
  SmallVector<Value> results =
      b.loops(outer, init, x.element(),
              [&](Scalars &s, ValueRange indices, ValueRange state) {
                SmallVector<Value> at(indices);
                at.insert(at.begin() + axis, Value());
                return createRunningLoop(s, running, at, state[0],
                                         s.number(type, initial), combine);
              });
  return b.narrow(b.wrap(results[0], x.type));
}

static Lowered lowerCumSum(NodeLowering &b) {
  return lowerCumulative(b, 0, addElement);
}
static Lowered lowerCumProd(NodeLowering &b) {
  return lowerCumulative(b, 1, multiply);
}

void qtx::onnx::populateReductionLowerings(Lowerings &lowerings) {
  lowerings["ArgMax"] = lowerArgExtremum<true>;
  lowerings["ArgMin"] = lowerArgExtremum<false>;
  lowerings["CumProd"] = lowerCumProd;
  lowerings["CumSum"] = lowerCumSum;
  lowerings["ReduceL1"] = lowerReduceL1;
  lowerings["ReduceL2"] = lowerReduceL2;
  lowerings["ReduceLogSum"] = lowerReduceLogSum;
  lowerings["ReduceLogSumExp"] = lowerReduceLogSumExp;
  lowerings["ReduceMax"] = lowerReduceExtremum<true>;
  lowerings["ReduceMean"] = lowerReduceMean;
  lowerings["ReduceMin"] = lowerReduceExtremum<false>;
  lowerings["ReduceProd"] = lowerReduceProd;
  lowerings["ReduceSum"] = lowerReduceSum;
  lowerings["ReduceSumSquare"] = lowerReduceSumSquare;
}
