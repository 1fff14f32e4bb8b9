//===- Normalisation.cpp - Normalisation to linalg ------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// docs/Numerics.md, "Normalisation", step by step.
//
//===----------------------------------------------------------------------===//

#include "LoweringUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Conversion/QtxToLinalg/QtxToLinalg.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"
#include "qtx/Support/Polynomials.h"

using namespace mlir;
using namespace qtx;

/// Replaces `op` by `value` (f32), quantized with the parameters of its result.
static void replaceQuantized(QuantizableOpInterface op,
                             ImplicitLocOpBuilder &builder,
                             PatternRewriter &rewriter, Value value) {
  QuantEdge y = op.getQuantEdges().back();
  if (getQuantParams(op, y))
    value = quantizeTensor(builder, op, y, value);
  replaceWithCast(rewriter, op, value);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

namespace {

/// The rows of a tensor along its last axis. Row values have its leading
/// dimensions.
class Rows {
public:
  Rows(ImplicitLocOpBuilder &builder, Value x)
      : builder(builder), sizes(getSizes(builder, x)), rank(sizes.size()),
        size(cast<ShapedType>(x.getType()).getShape().back()) {}

  /// `body(args, sum)` accumulated from 0 in ascending order.
  Value
  accumulate(ArrayRef<MappedTensor> inputs,
             function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
    Value zeros = createSplat(builder, ArrayRef(sizes).drop_back(),
                              builder.getF32FloatAttr(0.0f));
    return createReduction(builder, zeros, leadingMap(), inputs, body);
  }
  /// sum / f32(d)
  Value divideBySize(Value sum) {
    return createElementwise(
        builder, ArrayRef(sizes).drop_back(), builder.getF32Type(),
        {withIdentityMap(sum)},
        [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          return arith::DivFOp::create(b, args[0], createF32(b, size));
        });
  }
  /// rsqrt((sum x^2) / f32(d) + epsilon)
  Value reciprocalRoot(Value x, const APFloat &epsilon) {
    Value sum =
        accumulate({withIdentityMap(x)},
                   [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                     return math::FmaOp::create(b, args[0], args[0], args[1]);
                   });
    Value mean = divideBySize(sum);
    return createElementwise(
        builder, ArrayRef(sizes).drop_back(), builder.getF32Type(),
        {withIdentityMap(mean)}, [&](ImplicitLocOpBuilder &b, ValueRange args) {
          Value shift = createF32(b, epsilon.convertToDouble());
          return createRsqrt(b, arith::AddFOp::create(b, args[0], shift));
        });
  }
  /// An elementwise operation over all elements.
  Value map(ArrayRef<MappedTensor> inputs,
            function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
    return createElementwise(builder, sizes, builder.getF32Type(), inputs,
                             body);
  }

  /// One value per row, and one per position within a row.
  MappedTensor perRow(Value tensor) { return {tensor, leadingMap()}; }
  MappedTensor perChannel(Value tensor) {
    return {tensor,
            AffineMap::get(rank, 0, builder.getAffineDimExpr(rank - 1))};
  }

private:
  AffineMap leadingMap() {
    return builder.getMultiDimIdentityMap(rank).dropResult(rank - 1);
  }

  ImplicitLocOpBuilder &builder;
  SmallVector<OpFoldResult> sizes;
  int64_t rank;
  int64_t size;
};

/// The arguments of a body by the tensors they stand for, some of them absent.
struct RowInputs {
  SmallVector<MappedTensor> tensors;
  std::optional<unsigned> gamma, beta;

  RowInputs(Rows &rows, ArrayRef<MappedTensor> first, Value gammaTensor,
            Value betaTensor = {})
      : tensors(first) {
    gamma = append(rows, gammaTensor);
    beta = append(rows, betaTensor);
  }

private:
  std::optional<unsigned> append(Rows &rows, Value tensor) {
    if (!tensor)
      return std::nullopt;
    tensors.push_back(rows.perChannel(tensor));
    return tensors.size() - 1;
  }
};

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

struct LowerLayerNorm : OpRewritePattern<LayerNormOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LayerNormOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    Value x = dequantizeTensor(builder, op, op.getQuantEdges().front());
    Rows rows(builder, x);
    Value centered = subtractMean(rows, x);
    Value root = rows.reciprocalRoot(centered, op.getEpsilon());
    RowInputs inputs(rows, {withIdentityMap(centered), rows.perRow(root)},
                     op.getGamma(), op.getBeta());
    Value y = rows.map(
        inputs.tensors, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value normal = arith::MulFOp::create(b, args[0], args[1]);
          if (inputs.gamma && inputs.beta)
            return math::FmaOp::create(b, normal, args[*inputs.gamma],
                                       args[*inputs.beta]);
          if (inputs.gamma)
            return arith::MulFOp::create(b, normal, args[*inputs.gamma]);
          if (inputs.beta)
            return arith::AddFOp::create(b, normal, args[*inputs.beta]);
          return normal;
        });
    replaceQuantized(op, builder, rewriter, y);
    return success();
  }

  static Value subtractMean(Rows &rows, Value x) {
    Value sum =
        rows.accumulate({withIdentityMap(x)},
                        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                          return arith::AddFOp::create(b, args[1], args[0]);
                        });
    return rows.map({withIdentityMap(x), rows.perRow(rows.divideBySize(sum))},
                    [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                      return arith::SubFOp::create(b, args[0], args[1]);
                    });
  }
};

struct LowerRmsNorm : OpRewritePattern<RmsNormOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RmsNormOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    Value x = dequantizeTensor(builder, op, op.getQuantEdges().front());
    Rows rows(builder, x);
    Value root = rows.reciprocalRoot(x, op.getEpsilon());
    RowInputs inputs(rows, {withIdentityMap(x), rows.perRow(root)},
                     op.getGamma());
    Value y = rows.map(
        inputs.tensors, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value normal = arith::MulFOp::create(b, args[0], args[1]);
          if (inputs.gamma)
            return arith::MulFOp::create(b, normal, args[*inputs.gamma]);
          return normal;
        });
    replaceQuantized(op, builder, rewriter, y);
    return success();
  }
};

struct LowerScaleShift : OpRewritePattern<ScaleShiftOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ScaleShiftOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    Value x = dequantizeTensor(builder, op, op.getQuantEdges().front());
    Rows rows(builder, x);
    Value y =
        rows.map({withIdentityMap(x), rows.perChannel(op.getGain()),
                  rows.perChannel(op.getShift())},
                 [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                   return math::FmaOp::create(b, args[0], args[1], args[2]);
                 });
    replaceQuantized(op, builder, rewriter, y);
    return success();
  }
};

} // namespace

static Activation getActivation(ReluOp) { return Activation::Relu; }
static Activation getActivation(SiluOp) { return Activation::Silu; }
static Activation getActivation(GeluOp op) {
  return op.getApproximate() == GeluApproximation::Tanh ? Activation::GeluTanh
                                                        : Activation::Gelu;
}

namespace {

template <typename OpTy> struct LowerActivation : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    Value x = dequantizeTensor(builder, op, op.getQuantEdges().front());
    replaceQuantized(op, builder, rewriter,
                     applyActivation(builder, x, getActivation(op)));
    return success();
  }
};

struct LowerAdd : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AddOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    SmallVector<QuantEdge> edges = op.getQuantEdges();
    Value lhs = dequantizeTensor(builder, op, edges[0]);
    Value rhs = dequantizeTensor(builder, op, edges[1]);
    unsigned rank = op.getLhs().getType().getRank();
    AffineMap trailing = AffineMap::getMinorIdentityMap(
        rank, op.getRhs().getType().getRank(), builder.getContext());
    Value sum = createElementwise(
        builder, getSizes(builder, lhs), builder.getF32Type(),
        {withIdentityMap(lhs), {rhs, trailing}},
        [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          return arith::AddFOp::create(b, args[0], args[1]);
        });
    replaceQuantized(op, builder, rewriter, sum);
    return success();
  }
};

} // namespace

namespace {

struct LowerEmbedding : OpRewritePattern<EmbeddingOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(EmbeddingOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireStorageForm(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder builder(op.getLoc(), rewriter);
    SmallVector<OpFoldResult> sizes = getSizes(builder, op.getIds());
    sizes.push_back(builder.getIndexAttr(op.getRowSize()));
    int64_t rank = sizes.size();
    AffineMap leading =
        builder.getMultiDimIdentityMap(rank).dropResult(rank - 1);
    Value y = createElementwise(
        builder, sizes, builder.getF32Type(), {{op.getIds(), leading}},
        [&](ImplicitLocOpBuilder &b, ValueRange args) {
          return createElement(b, op, args[0], rank - 1);
        });
    replaceQuantized(op, builder, rewriter, y);
    return success();
  }

  static Value createElement(ImplicitLocOpBuilder &b, EmbeddingOp op, Value id,
                             int64_t lastDim) {
    Value row = createRowIndex(b, id, op.getNumRows());
    Value column = linalg::IndexOp::create(b, lastDim);
    Value value =
        tensor::ExtractOp::create(b, op.getTable(), ValueRange{row, column});
    if (!op.getTableScale())
      return value;
    if (op.getTableScale().getType().getDimSize(0) == 1)
      row = arith::ConstantIndexOp::create(b, 0);
    Value scale = tensor::ExtractOp::create(b, op.getTableScale(), row);
    value = arith::SIToFPOp::create(b, b.getF32Type(), value);
    return arith::MulFOp::create(b, value, scale);
  }
};

} // namespace

void qtx::populateNormalisationToLinalgPatterns(RewritePatternSet &patterns) {
  patterns.add<LowerLayerNorm, LowerRmsNorm, LowerScaleShift,
               LowerActivation<ReluOp>, LowerActivation<GeluOp>,
               LowerActivation<SiluOp>, LowerAdd, LowerEmbedding>(
      patterns.getContext());
}
