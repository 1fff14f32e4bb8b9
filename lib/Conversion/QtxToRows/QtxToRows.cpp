//===- QtxToRows.cpp - Operations that work row by row --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The bodies are docs/Numerics.md in the scalar operations of the reference
// lowering; only sums over a row are without an order.
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/QtxToRows/QtxToRows.h"
#include "../QtxToLinalg/LoweringUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Dialect/Qtx/IR/RowOps.h"
#include "qtx/Support/Polynomials.h"
#include "qtx/Support/Remarks.h"
#include <limits>

namespace qtx {
#define GEN_PASS_DEF_CONVERTQTXTOROWSPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// What can be taken
//===----------------------------------------------------------------------===//

/// Why the parameters of an edge have no form in rows; empty if they have.
static StringRef findProblem(const QuantParams &params) {
  if (params.getStorageType().getWidth() < 8)
    return "storage has less than 8 bits";
  if (params.isDynamic() && params.getNumGroups() > 1)
    return "several groups have run-time parameters";
  return {};
}

static StringRef findProblem(PermuteOp op) {
  auto indices = op.getConstantIndices();
  // A resource may hold less than its type says.
  if (op.getAxis() != uint64_t(-1) || !indices ||
      int64_t(indices->size()) != op.getX().getType().getShape().back())
    return "not a constant permutation of the last axis";
  Type element = op.getX().getType().getElementType();
  if (!element.isIntOrFloat() || element.getIntOrFloatBitWidth() < 8)
    return "storage has less than 8 bits";
  return {};
}

/// Why `op` has no form in rows; empty if it has.
static StringRef findProblem(Operation *op) {
  for (Type type : op->getResultTypes())
    if (auto tensor = dyn_cast<RankedTensorType>(type);
        tensor && tensor.getRank() == 0)
      return "the tensor has no dimensions";
  if (auto embedding = dyn_cast<EmbeddingOp>(op))
    if (embedding.getTable().getType().getElementType().isInteger(4))
      return "storage has less than 8 bits";
  if (auto permute = dyn_cast<PermuteOp>(op))
    return findProblem(permute);
  auto quantizable = dyn_cast<QuantizableOpInterface>(op);
  if (!quantizable)
    return {};
  for (const QuantEdge &edge : quantizable.getQuantEdges())
    if (std::optional<QuantParams> params = getQuantParams(op, edge))
      if (StringRef problem = findProblem(*params); !problem.empty())
        return problem;
  return {};
}

StringRef qtx::findRowsObstacle(Operation *op) {
  bool worksOnRows =
      isa<QuantizeOp, DequantizeOp, RequantizeOp, DynamicQuantizeOp, ReluOp,
          GeluOp, SiluOp, ScaleShiftOp, AddOp, EmbeddingOp, LayerNormOp,
          RmsNormOp, SoftmaxOp, ClippedSoftmaxOp, PermuteOp, SplitHeadsOp,
          MergeHeadsOp, RowsOp, KernelOp>(op);
  return worksOnRows ? findProblem(op) : "it does not work row by row";
}

static LogicalResult requireRows(Operation *op, PatternRewriter &rewriter) {
  if (failed(requireStorageForm(op, rewriter)))
    return failure();
  if (StringRef problem = findProblem(op); !problem.empty())
    return rewriter.notifyMatchFailure(op, problem);
  return success();
}

//===----------------------------------------------------------------------===//
// Building rows
//===----------------------------------------------------------------------===//

namespace {

/// Collects the operands of a `qtx.rows` and builds it.
class RowsBuilder {
public:
  RowsBuilder(Operation *op, PatternRewriter &rewriter, unsigned numDims)
      : op(op), rewriter(rewriter), builder(op->getLoc(), rewriter),
        numDims(numDims) {}

  /// The number of the input, and so of the argument of the body.
  unsigned addInput(Value tensor, AffineMap map, int64_t ids = -1) {
    inputs.push_back(tensor);
    inputMaps.push_back(map);
    rowIds.push_back(ids);
    return inputs.size() - 1;
  }
  /// `columns` is the number of the input that says where columns go.
  void addOutput(Type elementType, ArrayRef<OpFoldResult> sizes, AffineMap map,
                 int64_t columns = -1) {
    outputs.push_back(tensor::EmptyOp::create(builder, sizes, elementType));
    outputMaps.push_back(map);
    columnIds.push_back(columns);
  }

  AffineMap identity() { return builder.getMultiDimIdentityMap(numDims); }
  /// The last dimension alone.
  AffineMap column() { return select({numDims - 1}); }
  AffineMap select(ArrayRef<unsigned> dims) {
    SmallVector<AffineExpr> results;
    for (unsigned dim : dims)
      results.push_back(builder.getAffineDimExpr(dim));
    return AffineMap::get(numDims, 0, results, builder.getContext());
  }
  ImplicitLocOpBuilder &getBuilder() { return builder; }

  using Body = function_ref<SmallVector<Value>(ImplicitLocOpBuilder &,
                                               ValueRange arguments)>;
  ValueRange create(Body body) {
    SmallVector<AffineMap> maps(inputMaps);
    llvm::append_range(maps, outputMaps);
    SmallVector<Type> types;
    for (Value output : outputs)
      types.push_back(output.getType());
    auto rows = RowsOp::create(builder, types, inputs, outputs,
                               builder.getAffineMapArrayAttr(maps),
                               getIds(rowIds), getIds(columnIds));
    OpBuilder::InsertionGuard guard(rewriter);
    SmallVector<Type> elementTypes;
    for (Value input : inputs)
      elementTypes.push_back(getElementTypeOrSelf(input));
    Block *block = rewriter.createBlock(
        &rows.getBody(), {}, elementTypes,
        SmallVector<Location>(inputs.size(), op->getLoc()));
    ImplicitLocOpBuilder inner(op->getLoc(), rewriter);
    YieldOp::create(inner, body(inner, block->getArguments()));
    return rows.getResults();
  }

  /// Builds the operation in the place of `op`.
  void replace(Body body) {
    ValueRange results = create(body);
    replaceAllWithCasts(rewriter, op, results);
  }

private:
  /// Null if no entry names an input.
  DenseI64ArrayAttr getIds(ArrayRef<int64_t> ids) {
    bool isNeeded = llvm::any_of(ids, [](int64_t id) { return id != -1; });
    return isNeeded ? builder.getDenseI64ArrayAttr(ids) : nullptr;
  }

  Operation *op;
  PatternRewriter &rewriter;
  ImplicitLocOpBuilder builder;
  unsigned numDims;
  SmallVector<Value> inputs, outputs;
  SmallVector<AffineMap> inputMaps, outputMaps;
  SmallVector<int64_t> rowIds, columnIds;
};

/// Parameters of one edge in a body: constants, or arguments.
class EdgeParams {
public:
  /// `map` selects the elements of the edge. Scales of static groups are stored
  /// as reciprocals for a result.
  EdgeParams(RowsBuilder &rows, Operation *op, const QuantEdge &edge,
             AffineMap map, bool isResult)
      : params(getQuantParams(op, edge)), isResult(isResult) {
    if (!params)
      return;
    if (params->isDynamic())
      addDynamic(rows, edge, map);
    else if (params->isGrouped())
      addGrouped(rows, map);
  }

  const std::optional<QuantParams> &get() const { return params; }

  Value dequantize(ImplicitLocOpBuilder &b, ValueRange args, Value x) const {
    if (!params)
      return x;
    return dequantizeScalar(b, x, getScale(b, args), getZeroPoint(b, args),
                            params->isSigned());
  }
  Value quantize(ImplicitLocOpBuilder &b, ValueRange args, Value x) const {
    if (!params)
      return x;
    Value scale = getScale(b, args), zeroPoint = getZeroPoint(b, args);
    if (params->isDynamic())
      return quantizeScalar(b, x, scale, zeroPoint, *params);
    return quantizeByReciprocal(b, x, scale, zeroPoint, *params);
  }

private:
  void addDynamic(RowsBuilder &rows, const QuantEdge &edge, AffineMap map) {
    // One group: all leading dimensions, or none.
    auto mapOf = [&](Value value) {
      int64_t rank = cast<RankedTensorType>(value.getType()).getRank();
      SmallVector<AffineExpr> results(map.getResults().take_front(rank - 1));
      results.push_back(getAffineConstantExpr(0, map.getContext()));
      return AffineMap::get(map.getNumDims(), 0, results, map.getContext());
    };
    scale = rows.addInput(edge.scale, mapOf(edge.scale));
    if (edge.zeroPoint)
      zeroPoint = rows.addInput(edge.zeroPoint, mapOf(edge.zeroPoint));
  }

  void addGrouped(RowsBuilder &rows, AffineMap map) {
    SmallVector<float> scales;
    SmallVector<int32_t> zeroPoints;
    for (int64_t group : params->getGroupOfChannel()) {
      scales.push_back(getFactor(group));
      zeroPoints.push_back(params->getZeroPoint(group));
    }
    int64_t size = scales.size();
    AffineMap axis =
        map.getSubMap(params->getAxis(int64_t(map.getNumResults())));
    scale =
        rows.addInput(createConstant(rows.getBuilder(), {size}, scales), axis);
    if (!llvm::all_equal(zeroPoints))
      zeroPoint = rows.addInput(
          createConstant(rows.getBuilder(), {size}, zeroPoints), axis);
  }

  /// The scale of a static group, or its reciprocal.
  float getFactor(int64_t group) const {
    float value = params->getScale(group);
    return isResult ? 1.0f / value : value;
  }
  Value getScale(ImplicitLocOpBuilder &b, ValueRange args) const {
    return scale ? args[*scale] : createF32(b, getFactor(0));
  }
  Value getZeroPoint(ImplicitLocOpBuilder &b, ValueRange args) const {
    if (zeroPoint)
      return args[*zeroPoint];
    int64_t value = params->isDynamic() ? 0 : params->getZeroPoint(0);
    return arith::ConstantIntOp::create(b, value, 32);
  }

  std::optional<QuantParams> params;
  bool isResult;
  std::optional<unsigned> scale, zeroPoint;
};

/// An operand of an operation, as f32 in the body.
class EdgeInput {
public:
  EdgeInput(RowsBuilder &rows, Operation *op, const QuantEdge &edge,
            AffineMap map)
      : value(rows.addInput(edge.value, map)),
        params(rows, op, edge, map, /*isResult=*/false) {}
  Value get(ImplicitLocOpBuilder &b, ValueRange args) const {
    return params.dequantize(b, args, args[value]);
  }

private:
  unsigned value;
  EdgeParams params;
};

/// The only result of an operation, computed as f32 in the body.
class EdgeOutput {
public:
  EdgeOutput(RowsBuilder &rows, Operation *op, const QuantEdge &edge,
             ArrayRef<OpFoldResult> sizes)
      : params(rows, op, edge, rows.identity(), /*isResult=*/true) {
    rows.addOutput(getElementTypeOrSelf(getStorageForm(edge.value.getType())),
                   sizes, rows.identity());
  }
  SmallVector<Value> put(ImplicitLocOpBuilder &b, ValueRange args,
                         Value x) const {
    return {params.quantize(b, args, x)};
  }

private:
  EdgeParams params;
};

unsigned getRank(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getRank();
}

/// Replaces `op` by rows: `body` computes its last edge in f32 from the first.
void replaceUnary(
    Operation *op, PatternRewriter &rewriter, ArrayRef<Value> columns,
    function_ref<Value(ImplicitLocOpBuilder &, Value, ValueRange)> body) {
  SmallVector<QuantEdge> edges =
      cast<QuantizableOpInterface>(op).getQuantEdges();
  RowsBuilder rows(op, rewriter, getRank(op->getOperand(0)));
  QuantEdge xEdge = edges.front();
  if (edges.size() == 1) // Quantize or dequantize: the other side is float.
    xEdge = {op->getOperand(0), edges.front().attrName,
             isa<DequantizeOp>(op) ? edges.front().scale : Value(),
             isa<DequantizeOp>(op) ? edges.front().zeroPoint : Value()};
  SmallVector<OpFoldResult> sizes = getSizes(rows.getBuilder(), xEdge.value);
  std::optional<EdgeInput> input;
  std::optional<unsigned> plain;
  if (isa<QuantizeOp>(op))
    plain = rows.addInput(op->getOperand(0), rows.identity());
  else
    input.emplace(rows, op, xEdge, rows.identity());
  SmallVector<unsigned> numbers;
  for (Value column : columns)
    numbers.push_back(rows.addInput(column, rows.column()));
  std::optional<EdgeOutput> output;
  if (isa<DequantizeOp>(op))
    rows.addOutput(rows.getBuilder().getF32Type(), sizes, rows.identity());
  else
    output.emplace(rows, op, edges.back(), sizes);
  rows.replace(
      [&](ImplicitLocOpBuilder &b, ValueRange args) -> SmallVector<Value> {
        SmallVector<Value> others;
        for (unsigned number : numbers)
          others.push_back(args[number]);
        Value x = plain ? args[*plain] : input->get(b, args);
        Value y = body(b, x, others);
        return output ? output->put(b, args, y) : SmallVector<Value>{y};
      });
}

Value identity(ImplicitLocOpBuilder &, Value x, ValueRange) { return x; }

//===----------------------------------------------------------------------===//
// Element by element
//===----------------------------------------------------------------------===//

template <typename OpTy> struct CastToRows : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    replaceUnary(op, rewriter, {}, identity);
    return success();
  }
};

Activation getActivation(ReluOp) { return Activation::Relu; }
Activation getActivation(SiluOp) { return Activation::Silu; }
Activation getActivation(GeluOp op) {
  return op.getApproximate() == GeluApproximation::Tanh ? Activation::GeluTanh
                                                        : Activation::Gelu;
}

template <typename OpTy> struct ActivationToRows : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    replaceUnary(op, rewriter, {},
                 [&](ImplicitLocOpBuilder &b, Value x, ValueRange) {
                   return createActivation(b, x, getActivation(op));
                 });
    return success();
  }
};

struct ScaleShiftToRows : OpRewritePattern<ScaleShiftOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ScaleShiftOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    replaceUnary(
        op, rewriter, {op.getGain(), op.getShift()},
        [](ImplicitLocOpBuilder &b, Value x, ValueRange columns) -> Value {
          return math::FmaOp::create(b, x, columns[0], columns[1]);
        });
    return success();
  }
};

struct AddToRows : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AddOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    SmallVector<QuantEdge> edges = op.getQuantEdges();
    unsigned rank = getRank(op.getLhs());
    RowsBuilder rows(op, rewriter, rank);
    AffineMap trailing = AffineMap::getMinorIdentityMap(
        rank, getRank(op.getRhs()), op.getContext());
    EdgeInput lhs(rows, op, edges[0], rows.identity());
    EdgeInput rhs(rows, op, edges[1], trailing);
    EdgeOutput y(rows, op, edges[2], getSizes(rows.getBuilder(), op.getLhs()));
    rows.replace([&](ImplicitLocOpBuilder &b, ValueRange args) {
      Value sum = arith::AddFOp::create(b, lhs.get(b, args), rhs.get(b, args));
      return y.put(b, args, sum);
    });
    return success();
  }
};

struct EmbeddingToRows : OpRewritePattern<EmbeddingOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(EmbeddingOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    unsigned rank = getRank(op.getIds()) + 1;
    RowsBuilder rows(op, rewriter, rank);
    SmallVector<OpFoldResult> sizes = getSizes(rows.getBuilder(), op.getIds());
    sizes.push_back(rewriter.getIndexAttr(op.getRowSize()));
    unsigned ids =
        rows.addInput(op.getIds(), rows.identity().dropResult(rank - 1));
    AffineExpr zero = rewriter.getAffineConstantExpr(0);
    unsigned table = rows.addInput(
        op.getTable(),
        AffineMap::get(rank, 0, {zero, rewriter.getAffineDimExpr(rank - 1)},
                       op.getContext()),
        ids);
    std::optional<unsigned> scale;
    if (Value tableScale = op.getTableScale()) {
      bool isShared =
          cast<RankedTensorType>(tableScale.getType()).getDimSize(0) == 1;
      scale = rows.addInput(tableScale, AffineMap::get(rank, 0, zero),
                            isShared ? -1 : int64_t(ids));
    }
    EdgeOutput y(rows, op, op.getQuantEdges().back(), sizes);
    rows.replace([&](ImplicitLocOpBuilder &b, ValueRange args) {
      Value value = args[table];
      if (scale) {
        value = arith::SIToFPOp::create(b, b.getF32Type(), value);
        value = arith::MulFOp::create(b, value, args[*scale]);
      }
      return y.put(b, args, value);
    });
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Normalisation
//===----------------------------------------------------------------------===//

Value reduce(ImplicitLocOpBuilder &b, RowReduction kind, Value x) {
  return RowReduceOp::create(b, kind, x);
}

/// rsqrt((sum x^2) / f32(d) + epsilon)
Value createReciprocalRoot(ImplicitLocOpBuilder &b, Value x, int64_t size,
                           const APFloat &epsilon) {
  Value sum = reduce(b, RowReduction::SquareSum, x);
  Value mean = arith::DivFOp::create(b, sum, createF32(b, size));
  Value shift = createF32(b, epsilon.convertToDouble());
  return createRsqrt(b, arith::AddFOp::create(b, mean, shift));
}

struct LayerNormToRows : OpRewritePattern<LayerNormOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(LayerNormOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    SmallVector<Value> columns;
    if (op.getGamma())
      columns.push_back(op.getGamma());
    if (op.getBeta())
      columns.push_back(op.getBeta());
    replaceUnary(op, rewriter, columns,
                 [&](ImplicitLocOpBuilder &b, Value x, ValueRange args) {
                   return createBody(b, op, x, args);
                 });
    return success();
  }

  static Value createBody(ImplicitLocOpBuilder &b, LayerNormOp op, Value x,
                          ValueRange columns) {
    int64_t size = op.getX().getType().getShape().back();
    Value sum = reduce(b, RowReduction::Sum, x);
    Value mean = arith::DivFOp::create(b, sum, createF32(b, size));
    Value centred = arith::SubFOp::create(b, x, mean);
    Value root = createReciprocalRoot(b, centred, size, op.getEpsilon());
    Value normal = arith::MulFOp::create(b, centred, root);
    if (op.getGamma() && op.getBeta())
      return math::FmaOp::create(b, normal, columns[0], columns[1]);
    if (op.getGamma())
      return arith::MulFOp::create(b, normal, columns[0]);
    if (op.getBeta())
      return arith::AddFOp::create(b, normal, columns[0]);
    return normal;
  }
};

struct RmsNormToRows : OpRewritePattern<RmsNormOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RmsNormOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    SmallVector<Value> columns;
    if (op.getGamma())
      columns.push_back(op.getGamma());
    int64_t size = op.getX().getType().getShape().back();
    replaceUnary(op, rewriter, columns,
                 [&](ImplicitLocOpBuilder &b, Value x, ValueRange args) {
                   Value root =
                       createReciprocalRoot(b, x, size, op.getEpsilon());
                   Value y = arith::MulFOp::create(b, x, root);
                   if (!args.empty())
                     y = arith::MulFOp::create(b, y, args[0]);
                   return y;
                 });
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

/// `then` where `value == bound`, else `otherwise`.
Value selectEqual(ImplicitLocOpBuilder &b, Value value, float bound, Value then,
                  Value otherwise) {
  Value isEqual = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, value,
                                        createF32(b, bound));
  return arith::SelectOp::create(b, isEqual, then, otherwise);
}

/// The maximum leaves out NaN, whose exponential makes the sum NaN and so the
/// whole row.
Value createSoftmax(ImplicitLocOpBuilder &b, Value x) {
  Value max = reduce(b, RowReduction::Max, x);
  Value zero = createF32(b, 0.0);
  Value shift =
      selectEqual(b, max, -std::numeric_limits<float>::infinity(), zero, max);
  Value numerator = createExp(b, arith::SubFOp::create(b, x, shift));
  Value sum = reduce(b, RowReduction::Sum, numerator);
  Value factor = arith::DivFOp::create(b, createF32(b, 1.0), sum);
  factor = selectEqual(b, sum, 0.0f, zero, factor);
  return arith::MulFOp::create(b, numerator, factor);
}

Value clip(ImplicitLocOpBuilder &, SoftmaxOp, Value p) { return p; }
Value clip(ImplicitLocOpBuilder &b, ClippedSoftmaxOp op, Value p) {
  return clipScalar(b, p, op.getGamma(), op.getZeta());
}

template <typename OpTy> struct SoftmaxToRows : OpRewritePattern<OpTy> {
  using OpRewritePattern<OpTy>::OpRewritePattern;

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    RowsBuilder rows(op, rewriter, getRank(op.getX()));
    rows.addInput(op.getX(), rows.identity());
    rows.addOutput(rewriter.getF32Type(),
                   getSizes(rows.getBuilder(), op.getX()), rows.identity());
    rows.replace([&](ImplicitLocOpBuilder &b, ValueRange args) {
      return SmallVector<Value>{clip(b, op, createSoftmax(b, args[0]))};
    });
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Dynamic quantization
//===----------------------------------------------------------------------===//

/// The scale and zero point of one row, by docs/Numerics.md, "Parameters from
/// ranges".
struct RowParams {
  RowParams(ImplicitLocOpBuilder &b, Value x, bool isSymmetric,
            const QuantParams &params) {
    float limit = std::numeric_limits<float>::max() / 2;
    Value lo = arith::MinNumFOp::create(b, reduce(b, RowReduction::Min, x),
                                        createF32(b, 0.0));
    lo = arith::MaxNumFOp::create(b, lo, createF32(b, -limit));
    Value hi = arith::MaxNumFOp::create(b, reduce(b, RowReduction::Max, x),
                                        createF32(b, 1e-8));
    hi = arith::MinNumFOp::create(b, hi, createF32(b, limit));
    int64_t qmin = params.getStorageMin(), qmax = params.getStorageMax();
    Value negated = arith::NegFOp::create(b, lo);
    if (isSymmetric) {
      Value magnitude = arith::MaxNumFOp::create(b, negated, hi);
      scale = arith::DivFOp::create(b, magnitude, createF32(b, qmax));
      zeroPoint = arith::ConstantIntOp::create(b, 0, 32);
      return;
    }
    scale = arith::DivFOp::create(b, arith::SubFOp::create(b, hi, lo),
                                  createF32(b, qmax - qmin));
    Value reciprocal = arith::DivFOp::create(b, createF32(b, 1.0), scale);
    Value steps = math::RoundEvenOp::create(
        b, arith::MulFOp::create(b, negated, reciprocal));
    Value min = arith::ConstantIntOp::create(b, qmin, 32);
    zeroPoint = arith::AddIOp::create(
        b, arith::FPToSIOp::create(b, b.getI32Type(), steps), min);
    zeroPoint =
        arith::MinSIOp::create(b, arith::MaxSIOp::create(b, zeroPoint, min),
                               arith::ConstantIntOp::create(b, qmax, 32));
  }
  Value scale, zeroPoint;
};

struct DynamicQuantizeToRows : OpRewritePattern<DynamicQuantizeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(DynamicQuantizeOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    SmallVector<QuantEdge> edges = op.getQuantEdges();
    QuantParams params = *getQuantParams(op, edges[1]);
    unsigned rank = getRank(op.getX());
    RowsBuilder rows(op, rewriter, rank);
    EdgeInput input(rows, op, edges[0], rows.identity());
    SmallVector<OpFoldResult> sizes = getSizes(rows.getBuilder(), op.getX());
    rows.addOutput(params.getStorageType(), sizes, rows.identity());
    AffineMap perRow = AffineMap::get(
        rank, 0,
        llvm::to_vector(llvm::concat<const AffineExpr>(
            rows.identity().getResults().drop_back(),
            ArrayRef<AffineExpr>{rewriter.getAffineConstantExpr(0)})),
        op.getContext());
    sizes.back() = rewriter.getIndexAttr(1);
    rows.addOutput(rewriter.getF32Type(), sizes, perRow);
    if (!op.getSymmetric())
      rows.addOutput(rewriter.getI32Type(), sizes, perRow);
    rows.replace([&](ImplicitLocOpBuilder &b, ValueRange args) {
      Value x = input.get(b, args);
      RowParams row(b, x, op.getSymmetric(), params);
      SmallVector<Value> results = {
          quantizeScalar(b, x, row.scale, row.zeroPoint, params), row.scale};
      if (!op.getSymmetric())
        results.push_back(row.zeroPoint);
      return results;
    });
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Permutations
//===----------------------------------------------------------------------===//

/// What writes the rows stores the channels at their places.
struct PermuteToRows : OpRewritePattern<PermuteOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(PermuteOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    RowsBuilder rows(op, rewriter, getRank(op.getX()));
    std::vector<int32_t> places(op.getX().getType().getShape().back());
    for (auto [place, channel] : llvm::enumerate(*op.getConstantIndices()))
      places[channel] = place;
    unsigned x = rows.addInput(op.getX(), rows.identity());
    unsigned columns = rows.addInput(
        createConstant(rows.getBuilder(), {int64_t(places.size())}, places),
        rows.column());
    rows.addOutput(op.getX().getType().getElementType(),
                   getSizes(rows.getBuilder(), op.getX()), rows.identity(),
                   columns);
    rows.replace([&](ImplicitLocOpBuilder &, ValueRange args) {
      return SmallVector<Value>{args[x]};
    });
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Heads
//===----------------------------------------------------------------------===//

/// [B, S, d] and [B, S, H, dh]
const SmallVector<ReassociationIndices> kHeadsOfChannels = {{0}, {1}, {2, 3}};

struct SplitHeadsToRows : OpRewritePattern<SplitHeadsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(SplitHeadsOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    RowsBuilder rows(op, rewriter, 4);
    RankedTensorType type = op.getY().getType();
    SmallVector<OpFoldResult> sizes = getSizes(rows.getBuilder(), op.getX());
    OpFoldResult heads = rewriter.getIndexAttr(type.getDimSize(1));
    OpFoldResult size = rewriter.getIndexAttr(type.getDimSize(3));
    ArrayRef<int64_t> shape = op.getX().getType().getShape();
    auto split = RankedTensorType::get(
        {shape[0], shape[1], type.getDimSize(1), type.getDimSize(3)},
        type.getElementType());
    Value x = tensor::ExpandShapeOp::create(
        rows.getBuilder(), split, op.getX(), kHeadsOfChannels,
        ArrayRef<OpFoldResult>{sizes[0], sizes[1], heads, size});
    rows.addInput(x, rows.select({0, 2, 1, 3}));
    rows.addOutput(type.getElementType(), {sizes[0], heads, sizes[1], size},
                   rows.identity());
    rows.replace([](ImplicitLocOpBuilder &, ValueRange args) {
      return SmallVector<Value>(args);
    });
    return success();
  }
};

struct MergeHeadsToRows : OpRewritePattern<MergeHeadsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MergeHeadsOp op,
                                PatternRewriter &rewriter) const override {
    if (failed(requireRows(op, rewriter)))
      return failure();
    RowsBuilder rows(op, rewriter, 4);
    SmallVector<OpFoldResult> sizes = getSizes(rows.getBuilder(), op.getX());
    rows.addInput(op.getX(), rows.identity());
    rows.addOutput(op.getX().getType().getElementType(),
                   {sizes[0], sizes[2], sizes[1], sizes[3]},
                   rows.select({0, 2, 1, 3}));
    Value split = rows.create([](ImplicitLocOpBuilder &, ValueRange args) {
                        return SmallVector<Value>(args);
                      })
                      .front();
    Value merged = tensor::CollapseShapeOp::create(rows.getBuilder(), split,
                                                   kHeadsOfChannels);
    replaceWithCast(rewriter, op, merged);
    return success();
  }
};

} // namespace

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

void qtx::populateQtxToRowsPatterns(RewritePatternSet &patterns) {
  patterns.add<CastToRows<QuantizeOp>, CastToRows<DequantizeOp>,
               CastToRows<RequantizeOp>, ActivationToRows<ReluOp>,
               ActivationToRows<GeluOp>, ActivationToRows<SiluOp>,
               ScaleShiftToRows, AddToRows, EmbeddingToRows, LayerNormToRows,
               RmsNormToRows, SoftmaxToRows<SoftmaxOp>,
               SoftmaxToRows<ClippedSoftmaxOp>, DynamicQuantizeToRows,
               PermuteToRows, SplitHeadsToRows, MergeHeadsToRows>(
      patterns.getContext());
}

static constexpr auto kMissedRemark =
    remark::RemarkOpts::name(kReferenceRemark).category("convert-qtx-to-rows");

/// Whether loops over scalars compute floats for `op`.
static bool isFloatLoop(Operation *op) {
  auto isFloat = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && isa<FloatType>(tensor.getElementType());
  };
  bool isLoop = isa<linalg::LinalgOp>(op) && !isa<linalg::FillOp>(op);
  return (isLoop || OpTrait::hasElementwiseMappableTraits(op)) &&
         (llvm::any_of(op->getOperandTypes(), isFloat) ||
          llvm::any_of(op->getResultTypes(), isFloat));
}

namespace {
struct ConvertQtxToRowsPass
    : qtx::impl::ConvertQtxToRowsPassBase<ConvertQtxToRowsPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateQtxToRowsPatterns(patterns);
    walkAndApply(std::move(patterns));
    getOperation()->walk(explain);
  }

  /// Micro-kernels explain themselves why they do not take an operation.
  static void explain(Operation *op) {
    if (isa<LinearOp, BatchMatmulOp, AttentionOp, RowReduceOp, YieldOp>(op))
      return;
    std::string obstacle;
    if (isa_and_present<QtxDialect>(op->getDialect()))
      obstacle = findRowsObstacle(op).str();
    else if (isFloatLoop(op))
      obstacle =
          ("scalar loops compute '" + op->getName().getStringRef() + "'").str();
    if (!obstacle.empty())
      remark::missed(op->getLoc(), kMissedRemark)
          << remark::reason("{0}", obstacle);
  }

  void walkAndApply(RewritePatternSet patterns) {
    // No folding: a fold could undo what a stage before has arranged.
    GreedyRewriteConfig config;
    config.enableFolding(false).setRegionSimplificationLevel(
        GreedySimplifyRegionLevel::Disabled);
    (void)applyPatternsGreedily(getOperation(), std::move(patterns), config);
  }
};
} // namespace
