//===- Quantization.cpp - Quantization of ONNX as plain arithmetic --------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace qtx::onnx;

/// A scale or zero point as a tensor that broadcasts to `x`: one value, one per
/// slice of the axis, or one per block of it.
static FailureOr<Tensor> spread(NodeLowering &b, Tensor param, Tensor x) {
  if (!b.node.getNodeAttr("axis"))
    return b.reshape(param, {});
  FailureOr<int64_t> axis = b.getAxis(x.rank(), 1);
  if (failed(axis))
    return failure();
  int64_t block = b.node.getIntAttr("block_size", 0);
  if (block == 0) {
    SmallVector<AffineExpr> dims(x.rank(), b.constantDim(1));
    dims[*axis] = param.dim(0);
    return b.reshape(param, dims);
  }
  return b.generate(x.dims(), param.element(), [&](Scalars &s, ValueRange at) {
    SmallVector<Value> indices(at);
    indices[*axis] = arith::DivUIOp::create(
        s, at[*axis], arith::ConstantIndexOp::create(s, block));
    return NodeLowering::extract(s, param, indices);
  });
}

/// Division by the scale, as ONNX has it.
static Lowered lowerQuantizeLinear(NodeLowering &b) {
  Tensor x = b.input(0);
  Type to = b.resultElement();
  if (!isa<IntegerType>(to) && !isByteFloat(to))
    return b.fail("codes that are no integers and no floats of 8 bits");
  FailureOr<Tensor> scale = spread(b, b.input(1), x);
  FailureOr<Tensor> zeroPoint =
      b.has(2) ? spread(b, b.input(2), x) : b.number(to, 0);
  if (failed(scale) || failed(zeroPoint))
    return failure();
  Type from = x.element();
  bool saturates = b.node.getIntAttr("saturate", 1) != 0;
  return b.mapToResult({x, *scale, *zeroPoint}, [&](Scalars &s, ValueRange v) {
    Type type = v[1].getType();
    Value quotient = s.div(s.convert(v[0], from, type), v[1]);
    if (isByteFloat(to))
      return s.convert(s.add(quotient, s.convert(v[2], to, type)), type, to,
                       saturates);
    return s.quantize(quotient, v[2], to);
  });
}

static Lowered lowerDequantizeLinear(NodeLowering &b) {
  Tensor x = b.input(0);
  Type from = x.element();
  if (!isa<IntegerType>(from) && !isByteFloat(from))
    return b.fail("codes that are no integers and no floats of 8 bits");
  FailureOr<Tensor> scale = spread(b, b.input(1), x);
  FailureOr<Tensor> zeroPoint =
      b.has(2) ? spread(b, b.input(2), x) : b.number(from, 0);
  if (failed(scale) || failed(zeroPoint))
    return failure();
  return b.mapToResult({x, *scale, *zeroPoint}, [&](Scalars &s, ValueRange v) {
    // 64 bits hold the difference of all codes.
    Type i64 = s.getI64Type(), type = v[1].getType();
    if (isByteFloat(from))
      return s.mul(
          s.sub(s.convert(v[0], from, type), s.convert(v[2], from, type)),
          v[1]);
    Value difference =
        s.sub(s.convert(v[0], from, i64), s.convert(v[2], from, i64));
    return s.mul(s.convert(difference, i64, type), v[1]);
  });
}

/// To ui8, with a range that holds 0.
static Lowered lowerDynamicQuantizeLinear(NodeLowering &b) {
  Tensor x = b.input(0);
  Type f32 = b.getF32Type(), ui8 = b.resultElement(0);
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, x.rank()));
  Scalars outer(b.getLoc(), b, f32);
  Value zero = outer.number(f32, 0);
  Tensor low =
      b.reduce(x, axes, /*keep=*/false, zero,
               [](Scalars &s, ValueRange v) { return s.min(v[1], v[0]); });
  Tensor high =
      b.reduce(x, axes, /*keep=*/false, zero,
               [](Scalars &s, ValueRange v) { return s.max(v[1], v[0]); });
  Tensor scale = b.map({}, f32, {low, high}, [&](Scalars &s, ValueRange v) {
    return s.div(s.sub(v[1], v[0]), s.number(f32, 255));
  });
  Tensor zeroPoint =
      b.map({}, ui8, {low, scale}, [&](Scalars &s, ValueRange v) {
        Value offset = s.div(s.neg(v[0]), v[1]);
        return s.quantize(offset, s.integer(s.getI8Type(), 0), ui8);
      });
  Tensor codes =
      b.mapToResult({x, scale, zeroPoint}, [&](Scalars &s, ValueRange v) {
        return s.quantize(s.div(v[0], v[1]), v[2], ui8);
      });
  return SmallVector<Value>{codes.value, scale.value, zeroPoint.value};
}

void qtx::onnx::populateQuantizationLowerings(Lowerings &lowerings) {
  lowerings["DequantizeLinear"] = lowerDequantizeLinear;
  lowerings["DynamicQuantizeLinear"] = lowerDynamicQuantizeLinear;
  lowerings["QuantizeLinear"] = lowerQuantizeLinear;
}
