//===- Sorting.cpp - ONNX operators that order or select elements ---------===//
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
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace qtx::onnx;

//===----------------------------------------------------------------------===//
// TopK
//===----------------------------------------------------------------------===//

/// The rank of each element along `axis`: how many come before it, counting
/// those that are equal at lower indices. NaN is above everything.
static Tensor createRanks(NodeLowering &b, Tensor x, int64_t axis,
                          bool isLargest) {
  int64_t rank = x.rank();
  MLIRContext *context = b.getContext();
  // The last loop is over the elements to compare with.
  SmallVector<AffineExpr> own, other;
  for (int64_t i = 0; i < rank; ++i) {
    own.push_back(b.getAffineDimExpr(i));
    other.push_back(b.getAffineDimExpr(i == axis ? rank : i));
  }
  AffineMap ownMap = AffineMap::get(rank + 1, 0, own, context);
  AffineMap otherMap = AffineMap::get(rank + 1, 0, other, context);
  Tensor init = b.filled(x.dims(), b.getI64Type(), 0);
  return b.reduceWith(
      init, ownMap, {x, x}, {ownMap, otherMap}, [&](Scalars &s, ValueRange v) {
        Value before = isLargest ? s.less(v[0], v[1]) : s.less(v[1], v[0]);
        Value ties = s.equal(v[0], v[1]);
        if (isa<FloatType>(v[0].getType())) {
          Value isNaN = s.isNaN(v[0]), otherIsNaN = s.isNaN(v[1]);
          Value higher = isLargest ? otherIsNaN : isNaN;
          Value lower = isLargest ? isNaN : otherIsNaN;
          before =
              s.logicalOr(before, s.logicalAnd(higher, s.logicalNot(lower)));
          ties = s.logicalOr(ties, s.logicalAnd(isNaN, otherIsNaN));
        }
        Value isEarlier = arith::CmpIOp::create(
            s, arith::CmpIPredicate::ult, linalg::IndexOp::create(s, rank),
            linalg::IndexOp::create(s, axis));
        Value counts = s.logicalOr(before, s.logicalAnd(ties, isEarlier));
        Value one = s.integer(v[2].getType(), 1);
        return s.select(counts, s.add(v[2], one), v[2]);
      });
}

/// Puts each value to the place of its rank, if that is among the first.
static Tensor placeByRank(NodeLowering &b, Tensor ranks, int64_t axis,
                          Tensor init,
                          function_ref<Value(Scalars &, ValueRange)> getValue) {
  int64_t rank = ranks.rank();
  // Loops over the result, then over the elements of the axis.
  SmallVector<AffineExpr> to, from;
  for (int64_t i = 0; i < rank; ++i) {
    to.push_back(b.getAffineDimExpr(i));
    from.push_back(b.getAffineDimExpr(i == axis ? rank : i));
  }
  MLIRContext *context = b.getContext();
  return b.reduceWith(
      init, AffineMap::get(rank + 1, 0, to, context), ranks,
      AffineMap::get(rank + 1, 0, from, context),
      [&](Scalars &s, ValueRange v) {
        SmallVector<Value> at;
        for (int64_t i = 0; i < rank; ++i)
          at.push_back(linalg::IndexOp::create(s, i == axis ? rank : i));
        Value place =
            s.fromIndex(linalg::IndexOp::create(s, axis), v[0].getType());
        return s.select(s.equal(v[0], place), getValue(s, at), v[1]);
      });
}

static Lowered lowerTopK(NodeLowering &b) {
  Tensor x = b.input(0);
  FailureOr<int64_t> axis = b.getAxis(x.rank(), -1);
  if (failed(axis))
    return failure();
  bool isLargest = b.node.getIntAttr("largest", 1) != 0;
  Tensor ranks = createRanks(b, x, *axis, isLargest);
  Tensor values =
      placeByRank(b, ranks, *axis, b.filled(b.resultDims(), x.element(), 0.0),
                  [&](Scalars &s, ValueRange at) {
                    return NodeLowering::extract(s, x, at);
                  });
  Tensor indices = placeByRank(b, ranks, *axis,
                               b.filled(b.resultDims(1), b.getI64Type(), 0.0),
                               [&](Scalars &s, ValueRange at) {
                                 return s.fromIndex(at[*axis], s.getI64Type());
                               });
  return SmallVector<Value>{values.value, indices.value};
}

//===----------------------------------------------------------------------===//
// Elements for which something holds
//===----------------------------------------------------------------------===//

static Value isNonZero(Scalars &s, Value x) {
  return s.notEqual(x, s.number(x.getType(), 0));
}

static Value countNonZero(NodeLowering &b, Tensor x) {
  Value zero = arith::ConstantIndexOp::create(b, 0);
  return b
      .loops(x.dims(), zero, x.element(),
             [&](Scalars &s, ValueRange at,
                 ValueRange state) -> SmallVector<Value> {
               Value holds = isNonZero(s, NodeLowering::extract(s, x, at));
               Value one = arith::ConstantIndexOp::create(s, 1);
               Value next = arith::AddIOp::create(s, state[0], one);
               return {s.select(holds, next, state[0])};
             })
      .front();
}

/// Calls `write` where `x` is not 0, with the number of such elements before
/// it.
static Value writeWhere(
    NodeLowering &b, Tensor x, Value into,
    function_ref<Value(Scalars &, ValueRange at, Value place, Value into)>
        write) {
  Value zero = arith::ConstantIndexOp::create(b, 0);
  return b
      .loops(x.dims(), ValueRange{into, zero}, x.element(),
             [&](Scalars &s, ValueRange at,
                 ValueRange state) -> SmallVector<Value> {
               Value holds = isNonZero(s, NodeLowering::extract(s, x, at));
               auto branch = scf::IfOp::create(
                   s, holds,
                   [&](OpBuilder &nested, Location loc) {
                     Scalars inner(loc, nested, s.getElement());
                     Value one = arith::ConstantIndexOp::create(inner, 1);
                     Value next = arith::AddIOp::create(inner, state[1], one);
                     Value written = write(inner, at, state[1], state[0]);
                     scf::YieldOp::create(inner, ValueRange{written, next});
                   },
                   [&](OpBuilder &nested, Location loc) {
                     scf::YieldOp::create(nested, loc, state);
                   });
               return SmallVector<Value>(branch.getResults());
             })
      .front();
}

static Lowered lowerNonZero(NodeLowering &b) {
  Tensor x = b.input(0);
  AffineExpr count = b.resultDims()[1];
  if (!b.isBound(count))
    b.bind(count, countNonZero(b, x));
  Tensor result = b.empty(b.resultDims(), b.resultElement());
  return writeWhere(b, x, result.value,
                    [&](Scalars &s, ValueRange at, Value place, Value into) {
                      for (auto [axis, i] : llvm::enumerate(at)) {
                        Value row = arith::ConstantIndexOp::create(s, axis);
                        into = tensor::InsertOp::create(
                            s, s.fromIndex(i, s.getI64Type()), into,
                            ValueRange{row, place});
                      }
                      return into;
                    });
}

/// Where the condition is shorter than the axis, the rest is left out.
static Lowered lowerCompress(NodeLowering &b) {
  Tensor x = b.input(0), condition = b.input(1);
  FailureOr<int64_t> axis = 0;
  if (!b.node.getNodeAttr("axis")) {
    AffineExpr total = b.constantDim(1);
    for (AffineExpr dim : x.dims())
      total = total * dim;
    x = b.reshape(x, total);
  } else {
    axis = b.getAxis(x.rank(), 0);
  }
  if (failed(axis))
    return failure();
  AffineExpr size = b.resultDims()[*axis];
  if (!b.isBound(size))
    b.bind(size, countNonZero(b, condition));
  // First the indices of what stays, then the elements.
  Tensor places = b.empty(size, b.getI64Type());
  Value written = writeWhere(
      b, condition, places.value,
      [&](Scalars &s, ValueRange at, Value place, Value into) -> Value {
        return tensor::InsertOp::create(s, s.fromIndex(at[0], s.getI64Type()),
                                        into, place);
      });
  places.value = written;
  Value limit = b.index(x.dim(*axis));
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        SmallVector<Value> from(at);
        Value place = NodeLowering::extract(s, places, at[*axis]);
        place = arith::IndexCastOp::create(s, s.getIndexType(), place);
        from[*axis] = NodeLowering::normalizeIndex(s, place, limit);
        return NodeLowering::extract(s, x, from);
      });
}

void qtx::onnx::populateSortingLowerings(Lowerings &lowerings) {
  lowerings["Compress"] = lowerCompress;
  lowerings["NonZero"] = lowerNonZero;
  lowerings["TopK"] = lowerTopK;
}
