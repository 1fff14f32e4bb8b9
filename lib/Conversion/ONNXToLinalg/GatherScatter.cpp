//===- GatherScatter.cpp - ONNX operators with indices --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace qtx::onnx;

/// The index along an axis of `size` elements that an element of `indices`
/// means.
static Value readIndex(Scalars &s, Tensor indices, ValueRange at, Value size) {
  Value index = NodeLowering::extract(s, indices, at);
  index = arith::IndexCastOp::create(s, s.getIndexType(), index);
  return NodeLowering::normalizeIndex(s, index, size);
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

static Lowered lowerGather(NodeLowering &b) {
  Tensor x = b.input(0), indices = b.input(1);
  FailureOr<int64_t> axis = b.getAxis(x.rank(), 0);
  if (failed(axis))
    return failure();
  Value size = b.index(x.dim(*axis));
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        ValueRange where = at.slice(*axis, indices.rank());
        SmallVector<Value> from(at.take_front(*axis));
        from.push_back(readIndex(s, indices, where, size));
        llvm::append_range(from, at.drop_front(*axis + indices.rank()));
        return NodeLowering::extract(s, x, from);
      });
}

static Lowered lowerGatherElements(NodeLowering &b) {
  Tensor x = b.input(0), indices = b.input(1);
  FailureOr<int64_t> axis = b.getAxis(x.rank(), 0);
  if (failed(axis))
    return failure();
  Value size = b.index(x.dim(*axis));
  return b.generate(b.resultDims(), b.resultElement(),
                    [&](Scalars &s, ValueRange at) {
                      SmallVector<Value> from(at);
                      from[*axis] = readIndex(s, indices, at, size);
                      return NodeLowering::extract(s, x, from);
                    });
}

/// The last axis of `indices` holds positions in the axes of `x` from `first`
/// on.
static SmallVector<Value> readPosition(Scalars &s, Tensor indices,
                                       ValueRange at, ArrayRef<Value> sizes) {
  SmallVector<Value> position, where(at);
  where.push_back(Value());
  for (auto [i, size] : llvm::enumerate(sizes)) {
    where.back() = arith::ConstantIndexOp::create(s, i);
    position.push_back(readIndex(s, indices, where, size));
  }
  return position;
}

/// The number of axes that a position tells of; absent if it is not known.
static std::optional<int64_t> getPositionSize(Tensor indices) {
  int64_t size = indices.type.getDimSize(indices.rank() - 1);
  return ShapedType::isDynamic(size) ? std::nullopt : std::optional(size);
}

static Lowered lowerGatherND(NodeLowering &b) {
  Tensor x = b.input(0), indices = b.input(1);
  int64_t batch = b.node.getIntAttr("batch_dims", 0);
  std::optional<int64_t> count = getPositionSize(indices);
  if (!count)
    return b.fail("the last size of the indices is not constant");
  int64_t outer = indices.rank() - 1;
  SmallVector<Value> sizes =
      b.indices(ArrayRef<AffineExpr>(x.dims()).slice(batch, *count));
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        SmallVector<Value> from(at.take_front(batch));
        llvm::append_range(
            from, readPosition(s, indices, at.take_front(outer), sizes));
        llvm::append_range(from, at.drop_front(outer));
        return NodeLowering::extract(s, x, from);
      });
}

//===----------------------------------------------------------------------===//
// Scatter
//===----------------------------------------------------------------------===//

/// What an element becomes when `update` is scattered to it.
static Value combine(Scalars &s, StringRef reduction, Value old, Value update) {
  if (reduction == "add")
    return s.getElement().isInteger(1) ? s.logicalOr(old, update)
                                       : s.add(old, update);
  if (reduction == "mul")
    return s.mul(old, update);
  if (reduction == "max")
    return s.max(old, update);
  if (reduction == "min")
    return s.min(old, update);
  return update;
}

/// Combines `update` with the element of `into` at `indices`.
static Value scatterElement(Scalars &s, StringRef reduction, Tensor x,
                            Value into, ValueRange indices, Value update) {
  if (reduction != "none") {
    Value old = NodeLowering::extract(s, {into, x.type}, indices);
    update = combine(s, reduction, old, update);
  }
  return NodeLowering::store(s, update, into, x.element(), indices);
}

/// Updates follow one another: a later one of the same element counts.
static Lowered lowerScatterElements(NodeLowering &b) {
  Tensor x = b.input(0), indices = b.input(1), updates = b.input(2);
  FailureOr<int64_t> axis = b.getAxis(x.rank(), 0);
  if (failed(axis))
    return failure();
  StringRef reduction = b.node.getStringAttr("reduction", "none");
  Value size = b.index(x.dim(*axis));
  return b.loops(
      indices.dims(), x.value, x.element(),
      [&](Scalars &s, ValueRange at, ValueRange state) -> SmallVector<Value> {
        SmallVector<Value> to(at);
        to[*axis] = readIndex(s, indices, at, size);
        Value update = NodeLowering::extract(s, updates, at);
        return {scatterElement(s, reduction, x, state[0], to, update)};
      });
}

static Lowered lowerScatterND(NodeLowering &b) {
  Tensor x = b.input(0), indices = b.input(1), updates = b.input(2);
  StringRef reduction = b.node.getStringAttr("reduction", "none");
  std::optional<int64_t> count = getPositionSize(indices);
  if (!count)
    return b.fail("the last size of the indices is not constant");
  int64_t outer = indices.rank() - 1;
  SmallVector<Value> sizes =
      b.indices(ArrayRef<AffineExpr>(x.dims()).take_front(*count));
  return b.loops(
      updates.dims(), x.value, x.element(),
      [&](Scalars &s, ValueRange at, ValueRange state) -> SmallVector<Value> {
        SmallVector<Value> to =
            readPosition(s, indices, at.take_front(outer), sizes);
        llvm::append_range(to, at.drop_front(outer));
        Value update = NodeLowering::extract(s, updates, at);
        return {scatterElement(s, reduction, x, state[0], to, update)};
      });
}

/// Writes a slice of `updates` to each position of `write_indices`.
static Lowered lowerTensorScatter(NodeLowering &b) {
  Tensor x = b.input(0), updates = b.input(1);
  FailureOr<int64_t> axis = b.getAxis(x.rank(), -2);
  if (failed(axis))
    return failure();
  bool isCircular = b.node.getStringAttr("mode", "linear") == "circular";
  Value size = b.index(x.dim(*axis));
  return b.loops(
      updates.dims(), x.value, x.element(),
      [&](Scalars &s, ValueRange at, ValueRange state) -> SmallVector<Value> {
        SmallVector<Value> to(at);
        if (b.has(2)) {
          Value first = NodeLowering::extract(s, b.input(2), at.front());
          first = arith::IndexCastOp::create(s, s.getIndexType(), first);
          to[*axis] = arith::AddIOp::create(s, first, to[*axis]);
        }
        if (isCircular)
          to[*axis] = arith::RemUIOp::create(s, to[*axis], size);
        to[*axis] = NodeLowering::normalizeIndex(s, to[*axis], size);
        Value update = NodeLowering::extract(s, updates, at);
        return {NodeLowering::store(s, update, state[0], x.element(), to)};
      });
}

void qtx::onnx::populateGatherScatterLowerings(Lowerings &lowerings) {
  lowerings["Gather"] = lowerGather;
  lowerings["GatherElements"] = lowerGatherElements;
  lowerings["GatherND"] = lowerGatherND;
  lowerings["Scatter"] = lowerScatterElements;
  lowerings["ScatterElements"] = lowerScatterElements;
  lowerings["ScatterND"] = lowerScatterND;
  lowerings["TensorScatter"] = lowerTensorScatter;
}
