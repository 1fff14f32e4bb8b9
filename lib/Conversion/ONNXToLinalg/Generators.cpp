//===- Generators.cpp - ONNX operators that make tensors ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace qtx::onnx;

/// Sizes of the function as a vector of integers.
static Lowered lowerSizes(NodeLowering &b) {
  Scalars s(b.getLoc(), b, b.resultElement());
  Type plain = getPlainElement(b.resultElement());
  SmallVector<Value> elements;
  for (AffineExpr expr : b.getPositions("values"))
    elements.push_back(s.fromIndex(b.index(expr), plain));
  Value sizes =
      tensor::FromElementsOp::create(b, getPlainType(b.resultType()), elements);
  return sizes;
}

static Lowered lowerRange(NodeLowering &b) {
  Value start = b.toScalar(b.input(0)), delta = b.toScalar(b.input(1));
  return b.generate(b.resultDims(), b.resultElement(),
                    [&](Scalars &s, ValueRange at) {
                      Value steps = s.fromIndex(at[0], start.getType());
                      return s.add(start, s.mul(steps, delta));
                    });
}

static Lowered lowerConstantOfShape(NodeLowering &b) {
  Type element = b.resultElement(), plain = getPlainElement(element);
  Value scalar;
  if (auto value =
          dyn_cast_or_null<DenseElementsAttr>(b.node.getNodeAttr("value"))) {
    TypedAttr attr;
    if (isa<FloatType>(plain))
      attr = FloatAttr::get(plain, *value.value_begin<APFloat>());
    else
      attr = IntegerAttr::get(plain, *value.value_begin<APInt>());
    scalar = arith::ConstantOp::create(b, attr);
  } else {
    scalar = Scalars(b.getLoc(), b, element).number(plain, 0);
  }
  return b.filled(b.resultDims(), element, scalar);
}

static Lowered lowerEyeLike(NodeLowering &b) {
  int64_t diagonal = b.node.getIntAttr("k", 0);
  Type plain = getComputeElement(b.resultElement());
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        Value column = arith::AddIOp::create(
            s, at[0], arith::ConstantIndexOp::create(s, diagonal));
        return s.select(s.equal(column, at[1]), s.number(plain, 1),
                        s.number(plain, 0));
      });
}

/// The value of on where the index is that of the position, else the value of
/// off.
static Lowered lowerOneHot(NodeLowering &b) {
  Tensor indices = b.input(0), values = b.input(1);
  int64_t rank = indices.rank() + 1;
  FailureOr<int64_t> axis = b.getAxis(rank, -1);
  if (failed(axis))
    return failure();
  Value size = b.index(b.resultDims()[*axis]);
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        SmallVector<Value> where(at);
        where.erase(where.begin() + *axis);
        Value index = NodeLowering::extract(s, indices, where);
        index = s.convert(index, indices.element(), s.getI64Type());
        index = arith::IndexCastOp::create(s, s.getIndexType(), index);
        Value zero = arith::ConstantIndexOp::create(s, 0);
        Value isNegative =
            arith::CmpIOp::create(s, arith::CmpIPredicate::slt, index, zero);
        index = s.select(isNegative, s.add(index, size), index);
        Value on = s.equal(index, at[*axis]);
        Value one = arith::ConstantIndexOp::create(s, 1);
        Value off = NodeLowering::extract(s, values, zero);
        return s.select(on, NodeLowering::extract(s, values, one), off);
      });
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

/// a - b cos(2 pi i / n) + c cos(4 pi i / n), with n the size or one less.
static Lowered lowerWindow(NodeLowering &b, double first, double second,
                           double third) {
  AffineExpr size = b.resultDims()[0];
  bool isPeriodic = b.node.getIntAttr("periodic", 1) != 0;
  Type type = getComputeElement(b.resultElement());
  Value length = subIndex(b, b.index(size), b.index(isPeriodic ? 0 : 1));
  return b.generate(size, b.resultElement(), [&](Scalars &s, ValueRange at) {
    Value count = s.fromIndex(length, type);
    Value angle = s.div(
        s.mul(s.fromIndex(at[0], type), s.number(type, 6.283185307179586)),
        count);
    Value cosine = math::CosOp::create(s, angle);
    Value twice = math::CosOp::create(s, s.add(angle, angle));
    Value sum =
        s.sub(s.number(type, first), s.mul(s.number(type, second), cosine));
    return s.add(sum, s.mul(s.number(type, third), twice));
  });
}

static Lowered lowerHannWindow(NodeLowering &b) {
  return lowerWindow(b, 0.5, 0.5, 0);
}
static Lowered lowerHammingWindow(NodeLowering &b) {
  return lowerWindow(b, 25.0 / 46, 21.0 / 46, 0);
}
static Lowered lowerBlackmanWindow(NodeLowering &b) {
  return lowerWindow(b, 0.42, 0.5, 0.08);
}

void qtx::onnx::populateGeneratorLowerings(Lowerings &lowerings) {
  lowerings["BlackmanWindow"] = lowerBlackmanWindow;
  lowerings["ConstantOfShape"] = lowerConstantOfShape;
  lowerings["EyeLike"] = lowerEyeLike;
  lowerings["HammingWindow"] = lowerHammingWindow;
  lowerings["HannWindow"] = lowerHannWindow;
  lowerings["OneHot"] = lowerOneHot;
  lowerings["Range"] = lowerRange;
  lowerings["qtx.Sizes"] = lowerSizes;
}
