//===- Linear.cpp - Products of ONNX --------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace qtx::onnx;

//===----------------------------------------------------------------------===//
// Sums of products
//===----------------------------------------------------------------------===//

namespace {
/// The loops of a sum of products: those of the result, then the reduced ones.
struct ContractionLoops {
  llvm::MapVector<unsigned, unsigned> loopOfLabel;
  /// Labels with some size that is not 1.
  llvm::DenseSet<unsigned> wide;
};
} // namespace

static ContractionLoops getLoops(ArrayRef<Tensor> inputs,
                                 ArrayRef<Labels> labels,
                                 ArrayRef<unsigned> resultLabels) {
  ContractionLoops loops;
  auto add = [&](unsigned label) {
    loops.loopOfLabel.insert({label, loops.loopOfLabel.size()});
  };
  for (unsigned label : resultLabels)
    add(label);
  for (auto [input, own] : llvm::zip_equal(inputs, labels))
    for (auto [label, dim] : llvm::zip_equal(own, input.dims())) {
      add(label);
      if (!NodeLowering::isOne(dim))
        loops.wide.insert(label);
    }
  return loops;
}

static AffineMap getMap(NodeLowering &b, const ContractionLoops &loops,
                        ArrayRef<unsigned> labels, ArrayRef<AffineExpr> dims) {
  SmallVector<AffineExpr> results;
  for (auto [label, dim] : llvm::zip_equal(labels, dims)) {
    bool isBroadcast = NodeLowering::isOne(dim) && loops.wide.contains(label);
    results.push_back(
        isBroadcast ? b.getAffineConstantExpr(0)
                    : b.getAffineDimExpr(loops.loopOfLabel.lookup(label)));
  }
  return AffineMap::get(loops.loopOfLabel.size(), 0, results, b.getContext());
}

Tensor qtx::onnx::contract(NodeLowering &b, ArrayRef<Tensor> inputs,
                           ArrayRef<Labels> labels,
                           ArrayRef<unsigned> resultLabels,
                           ArrayRef<AffineExpr> resultDims, Type element) {
  ContractionLoops loops = getLoops(inputs, labels, resultLabels);
  SmallVector<AffineMap> maps;
  for (auto [input, own] : llvm::zip_equal(inputs, labels))
    maps.push_back(getMap(b, loops, own, input.dims()));
  SmallVector<AffineExpr> results;
  for (unsigned i = 0; i < resultLabels.size(); ++i)
    results.push_back(b.getAffineDimExpr(i));
  AffineMap resultMap =
      AffineMap::get(loops.loopOfLabel.size(), 0, results, b.getContext());
  return b.reduceWith(b.filled(resultDims, element, 0.0), resultMap, inputs,
                      maps, [](Scalars &s, ValueRange v) {
                        if (v.size() == 2)
                          return s.add(v[1], v[0]);
                        Value product = v[0];
                        for (Value next : v.drop_front().drop_back(2))
                          product = s.mul(product, next);
                        return s.fma(product, v[v.size() - 2], v.back());
                      });
}

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

/// The labels of both operands and the result: 0 is the contracted axis, 1 the
/// rows, 2 the columns, and batches count from 3 on, the last one first.
static void labelMatmul(int64_t lhsRank, int64_t rhsRank, Labels &lhs,
                        Labels &rhs, Labels &result) {
  for (int64_t i = 0; i < lhsRank - 2; ++i)
    lhs.push_back(lhsRank - i);
  for (int64_t i = 0; i < rhsRank - 2; ++i)
    rhs.push_back(rhsRank - i);
  result = lhs.size() > rhs.size() ? lhs : rhs;
  if (lhsRank > 1) {
    lhs.push_back(1);
    result.push_back(1);
  }
  lhs.push_back(0);
  rhs.push_back(0);
  if (rhsRank > 1) {
    rhs.push_back(2);
    result.push_back(2);
  }
}

static Tensor createMatmul(NodeLowering &b, Tensor lhs, Tensor rhs,
                           Type element) {
  Labels lhsLabels, rhsLabels, resultLabels;
  labelMatmul(lhs.rank(), rhs.rank(), lhsLabels, rhsLabels, resultLabels);
  return contract(b, {lhs, rhs}, {lhsLabels, rhsLabels}, resultLabels,
                  b.resultDims(), element);
}

/// Whether `qtx.batch_matmul` takes the operands: f32, with the same batches.
static bool isBatchMatmul(Tensor lhs, Tensor rhs) {
  if (!lhs.element().isF32() || lhs.rank() != rhs.rank() || lhs.rank() < 2)
    return false;
  return ArrayRef<AffineExpr>(lhs.dims()).drop_back(2) ==
         ArrayRef<AffineExpr>(rhs.dims()).drop_back(2);
}

static Lowered lowerMatMul(NodeLowering &b) {
  Tensor lhs = b.input(0), rhs = b.input(1);
  if (isBatchMatmul(lhs, rhs)) {
    Value product = qtx::BatchMatmulOp::create(
        b, getPlainType(b.resultType()), lhs.value, Value(), Value(), rhs.value,
        Value(), Value(), Value(), Value(), TypeAttr(), TypeAttr(), UnitAttr(),
        TypeAttr());
    return product;
  }
  return b.narrow(
      createMatmul(b, lhs, rhs, getComputeElement(b.resultElement())));
}

/// alpha * A * B + beta * C
static Lowered lowerGemm(NodeLowering &b) {
  Tensor lhs = b.input(0), rhs = b.input(1);
  if (b.node.getIntAttr("transA", 0) != 0)
    lhs = b.transpose(lhs, {1, 0});
  if (b.node.getIntAttr("transB", 0) != 0)
    rhs = b.transpose(rhs, {1, 0});
  double alpha = b.node.getFloatAttr("alpha", 1.0f);
  double beta = b.node.getFloatAttr("beta", 1.0f);
  Type element = getComputeElement(b.resultElement());
  SmallVector<Tensor> operands = {createMatmul(b, lhs, rhs, element)};
  if (b.has(2))
    operands.push_back(b.input(2));
  return b.mapToResult(operands, [&](Scalars &s, ValueRange v) {
    Type type = v[0].getType();
    Value y = alpha == 1 ? v[0] : s.mul(s.number(type, alpha), v[0]);
    if (v.size() == 1)
      return y;
    Value c = beta == 1 ? v[1] : s.mul(s.number(type, beta), v[1]);
    return s.add(y, c);
  });
}

//===----------------------------------------------------------------------===//
// Einsum
//===----------------------------------------------------------------------===//

/// The labels of one term: its letters.
static std::optional<Labels> parseTerm(StringRef term, int64_t rank) {
  if (int64_t(term.size()) != rank)
    return std::nullopt;
  return Labels(term.bytes_begin(), term.bytes_end());
}

static Lowered lowerEinsum(NodeLowering &b) {
  auto [left, right] = b.node.getStringAttr("equation", "").split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  SmallVector<Tensor> inputs = b.inputs();
  if (terms.size() != inputs.size())
    return b.fail("the equation does not match the inputs");
  SmallVector<Labels> labels;
  for (auto [term, input] : llvm::zip_equal(terms, inputs)) {
    auto own = parseTerm(term, input.rank());
    if (!own)
      return b.fail("the equation does not match the inputs");
    labels.push_back(*own);
  }
  auto resultLabels = parseTerm(right, b.resultType().getRank());
  if (!resultLabels)
    return b.fail("the equation does not match the result");
  Type element = getComputeElement(b.resultElement());
  return b.narrow(
      contract(b, inputs, labels, *resultLabels, b.resultDims(), element));
}

//===----------------------------------------------------------------------===//
// Convolution
//===----------------------------------------------------------------------===//

namespace {
struct Convolution {
  SmallVector<int64_t> strides, dilations, low, high;
  int64_t group;
};
} // namespace

static FailureOr<Convolution> getConvolution(NodeLowering &b, int64_t spatial) {
  auto strides = b.node.getIntsAttr("strides");
  auto dilations = b.node.getIntsAttr("dilations");
  auto pads = b.node.getIntsAttr("pads");
  if (!strides || !dilations || !pads || int64_t(strides->size()) != spatial ||
      int64_t(dilations->size()) != spatial ||
      int64_t(pads->size()) != 2 * spatial)
    return b.fail("'strides', 'dilations' and 'pads' do not match");
  ArrayRef<int64_t> all(*pads);
  return Convolution{
      *strides, *dilations, llvm::to_vector(all.take_front(spatial)),
      llvm::to_vector(all.drop_front(spatial)), b.node.getIntAttr("group", 1)};
}

static Tensor padSpatial(NodeLowering &b, Tensor x, const Convolution &conv) {
  SmallVector<int64_t> low = {0, 0}, high = {0, 0};
  llvm::append_range(low, conv.low);
  llvm::append_range(high, conv.high);
  SmallVector<AffineExpr> dims = x.dims();
  for (auto [axis, dim] : llvm::enumerate(dims))
    dim = dim + (low[axis] + high[axis]);
  Scalars s(b.getLoc(), b, x.element());
  return b.pad(x, low, high, s.number(getPlainElement(x.element()), 0), dims);
}

/// `axis` of static size as `groups` times the rest.
static Tensor splitGroups(NodeLowering &b, Tensor x, int64_t axis,
                          int64_t groups) {
  SmallVector<AffineExpr> dims = x.dims();
  AffineExpr inner = dims[axis].floorDiv(groups);
  dims[axis] = b.constantDim(groups);
  dims.insert(dims.begin() + axis + 1, inner);
  return b.reshape(x, dims);
}

/// Loops over batch, group, filter, position, channel, and position in the
/// kernel.
static Tensor createConvolution(NodeLowering &b, Tensor x, Tensor weight,
                                const Convolution &conv,
                                ArrayRef<AffineExpr> resultDims, Type element) {
  int64_t spatial = x.rank() - 2, loops = 2 * spatial + 4;
  auto dim = [&](int64_t i) { return b.getAffineDimExpr(i); };
  SmallVector<AffineExpr> xs = {dim(0), dim(1), dim(3 + spatial)};
  SmallVector<AffineExpr> ws = {dim(1), dim(2), dim(3 + spatial)};
  SmallVector<AffineExpr> ys = {dim(0), dim(1), dim(2)};
  for (int64_t i = 0; i < spatial; ++i) {
    AffineExpr position = dim(3 + i), inKernel = dim(4 + spatial + i);
    xs.push_back(position * conv.strides[i] + inKernel * conv.dilations[i]);
    ws.push_back(inKernel);
    ys.push_back(position);
  }
  MLIRContext *context = b.getContext();
  Tensor groups = splitGroups(b, padSpatial(b, x, conv), 1, conv.group);
  Tensor filters = splitGroups(b, weight, 0, conv.group);
  Tensor init =
      splitGroups(b, b.filled(resultDims, element, 0.0), 1, conv.group);
  Tensor sums = b.reduceWith(
      init, AffineMap::get(loops, 0, ys, context), {groups, filters},
      {AffineMap::get(loops, 0, xs, context),
       AffineMap::get(loops, 0, ws, context)},
      [](Scalars &s, ValueRange v) { return s.fma(v[0], v[1], v[2]); });
  return b.reshape(sums, resultDims);
}

/// `[C]` as `[1, C, 1, ...]`.
static Tensor alongChannels(NodeLowering &b, Tensor vector, int64_t rank) {
  SmallVector<AffineExpr> dims(rank, b.constantDim(1));
  dims[1] = vector.dim(0);
  return b.reshape(vector, dims);
}

static Lowered lowerConv(NodeLowering &b) {
  Tensor x = b.input(0), weight = b.input(1);
  auto conv = getConvolution(b, x.rank() - 2);
  if (failed(conv))
    return failure();
  Tensor sums = createConvolution(b, x, weight, *conv, b.resultDims(),
                                  getComputeElement(b.resultElement()));
  if (!b.has(2))
    return b.narrow(sums);
  return b.mapToResult(
      {sums, alongChannels(b, b.input(2), x.rank())},
      [](Scalars &s, ValueRange v) { return s.add(v[0], v[1]); });
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

/// `x` less its zero point in 32 bits. A zero point per slice lies along
/// `axis`.
static Tensor center(NodeLowering &b, Tensor x, unsigned zeroPoint,
                     int64_t axis) {
  Tensor wide = b.convert(x, b.getI32Type());
  if (!b.has(zeroPoint))
    return wide;
  Tensor z = b.convert(b.input(zeroPoint), b.getI32Type());
  if (z.rank() == 1) {
    SmallVector<AffineExpr> dims(x.rank(), b.constantDim(1));
    dims[axis] = z.dim(0);
    z = b.reshape(z, dims);
  }
  return b.map(wide.dims(), b.getI32Type(), {wide, z},
               [](Scalars &s, ValueRange v) { return s.sub(v[0], v[1]); });
}

static Lowered lowerMatMulInteger(NodeLowering &b) {
  Tensor lhs = b.input(0), rhs = b.input(1);
  lhs = center(b, lhs, 2, std::max<int64_t>(lhs.rank() - 2, 0));
  rhs = center(b, rhs, 3, rhs.rank() - 1);
  return createMatmul(b, lhs, rhs, b.getI32Type());
}

static Lowered lowerConvInteger(NodeLowering &b) {
  Tensor x = b.input(0), weight = b.input(1);
  auto conv = getConvolution(b, x.rank() - 2);
  if (failed(conv))
    return failure();
  return createConvolution(b, center(b, x, 2, 0), center(b, weight, 3, 0),
                           *conv, b.resultDims(), b.getI32Type());
}

/// A scale or zero point per slice, shaped to meet `axis` of the result.
static Tensor alongAxis(NodeLowering &b, Tensor param, int64_t rank,
                        int64_t axis) {
  if (param.rank() != 1)
    return param;
  SmallVector<AffineExpr> dims(rank, b.constantDim(1));
  dims[axis] = param.dim(0);
  return b.reshape(param, dims);
}

/// Sums of integers, times the scales of both operands, quantized.
static Tensor requantize(NodeLowering &b, Tensor sums, Tensor lhsScale,
                         Tensor rhsScale, Tensor scale, Tensor zeroPoint) {
  Type to = b.resultElement();
  return b.mapToResult(
      {sums, lhsScale, rhsScale, scale, zeroPoint},
      [&](Scalars &s, ValueRange v) {
        Type f32 = s.getF32Type();
        Value factor = s.div(s.mul(s.convert(v[1], f32, f32), v[2]), v[3]);
        Value real = s.mul(s.convert(v[0], s.getI32Type(), f32), factor);
        return s.quantize(real, v[4], to);
      });
}

static Lowered lowerQLinearMatMul(NodeLowering &b) {
  Tensor lhs = b.input(0), rhs = b.input(3);
  int64_t rank = b.resultType().getRank();
  int64_t row = std::max<int64_t>(lhs.rank() - 2, 0);
  Tensor sums = createMatmul(b, center(b, lhs, 2, row),
                             center(b, rhs, 5, rhs.rank() - 1), b.getI32Type());
  return requantize(
      b, sums, alongAxis(b, b.input(1), rank, std::max<int64_t>(rank - 2, 0)),
      alongAxis(b, b.input(4), rank, rank - 1), b.input(6), b.input(7));
}

static Lowered lowerQLinearConv(NodeLowering &b) {
  Tensor x = b.input(0), weight = b.input(3);
  auto conv = getConvolution(b, x.rank() - 2);
  if (failed(conv))
    return failure();
  Tensor sums =
      createConvolution(b, center(b, x, 2, 0), center(b, weight, 5, 0), *conv,
                        b.resultDims(), b.getI32Type());
  if (b.has(8))
    sums = b.map(sums.dims(), sums.element(),
                 {sums, alongChannels(b, b.input(8), x.rank())},
                 [](Scalars &s, ValueRange v) { return s.add(v[0], v[1]); });
  return requantize(b, sums, b.input(1), alongAxis(b, b.input(4), x.rank(), 1),
                    b.input(6), b.input(7));
}

void qtx::onnx::populateLinearLowerings(Lowerings &lowerings) {
  lowerings["Conv"] = lowerConv;
  lowerings["ConvInteger"] = lowerConvInteger;
  lowerings["Einsum"] = lowerEinsum;
  lowerings["Gemm"] = lowerGemm;
  lowerings["MatMul"] = lowerMatMul;
  lowerings["MatMulInteger"] = lowerMatMulInteger;
  lowerings["QLinearConv"] = lowerQLinearConv;
  lowerings["QLinearMatMul"] = lowerQLinearMatMul;
}
