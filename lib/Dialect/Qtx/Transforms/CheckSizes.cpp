//===- CheckSizes.cpp - Sizes that must agree -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Upstream's `generate-runtime-verification` was tried: it emits its checks
// without knowledge of which sizes are equal anyway, and for linalg inside
// branches, where sizes can no longer be told from the dims alone.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/TypeSwitch.h"

namespace qtx {
#define GEN_PASS_DEF_QTXCHECKSIZESPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Which sizes must agree
//===----------------------------------------------------------------------===//

namespace {
struct TensorSize {
  Value tensor;
  int64_t dim;
};

/// Pairs of sizes that an operation takes to be equal.
class EqualSizes {
public:
  SmallVector<std::pair<TensorSize, TensorSize>> pairs;

  void add(Value a, int64_t dimOfA, Value b, int64_t dimOfB) {
    pairs.push_back({{a, dimOfA}, {b, dimOfB}});
  }
  /// The first dimensions of `a` and `b` agree.
  void addLeading(Value a, Value b, int64_t number) {
    for (int64_t dim = 0; dim < number; ++dim)
      add(a, dim, b, dim);
  }
  /// All dimensions of `b` are the last ones of `a`.
  void addTrailing(Value a, Value b) {
    int64_t offset = getRank(a) - getRank(b);
    for (int64_t dim = 0; dim < getRank(b); ++dim)
      add(a, offset + dim, b, dim);
  }

  static int64_t getRank(Value tensor) {
    return cast<RankedTensorType>(tensor.getType()).getRank();
  }
};
} // namespace

/// Run-time parameters of an edge may have a value for each position.
static void addEdges(QuantizableOpInterface op, EqualSizes &sizes) {
  for (const QuantEdge &edge : op.getQuantEdges()) {
    int64_t rank = EqualSizes::getRank(edge.value);
    for (Value params : {edge.scale, edge.zeroPoint})
      if (params && rank > 1 && EqualSizes::getRank(params) == rank)
        sizes.addLeading(edge.value, params, rank - 1);
  }
}

static void addLinear(LinearOp op, EqualSizes &sizes) {
  Value weight = op.getWeight(), scale = op.getWeightScale();
  auto isSingle = [](Value value) {
    return cast<RankedTensorType>(value.getType()).getDimSize(0) == 1;
  };
  if (scale && !isSingle(scale))
    sizes.add(weight, 0, scale, 0);
  if (Value seed = op.getSeed())
    sizes.add(weight, 0, seed, 1);
  if (Value bias = op.getBias())
    sizes.addTrailing(op.getY(), bias);
}

static void addBatchMatmul(BatchMatmulOp op, EqualSizes &sizes) {
  int64_t rank = EqualSizes::getRank(op.getA());
  sizes.addLeading(op.getA(), op.getB(), rank - 2);
  sizes.add(op.getA(), rank - 1, op.getB(), rank + op.getContractedAxisOfB());
}

static void addAttention(AttentionOp op, EqualSizes &sizes) {
  Value query = op.getQuery(), key = op.getKey(), value = op.getValue();
  sizes.add(query, 0, key, 0);
  sizes.add(query, 0, value, 0);
  sizes.add(key, 2, value, 2);
  if (Value mask = op.getMask()) {
    auto type = cast<RankedTensorType>(mask.getType());
    for (int64_t dim = 0; dim < 3; ++dim)
      if (type.getDimSize(dim) != 1)
        sizes.add(query, dim, mask, dim);
    sizes.add(key, 2, mask, 3);
  }
  if (Value gate = op.getGate())
    sizes.addLeading(query, gate, 3);
}

static void addObserve(ObserveOp op, EqualSizes &sizes) {
  sizes.add(op.getX(), op.getDim(), op.getLo(), 0);
  sizes.add(op.getLo(), 0, op.getHi(), 0);
  if (Value mask = op.getMask())
    sizes.addLeading(op.getX(), mask, EqualSizes::getRank(mask));
}

/// All operands but plain numbers have the shape of the first one.
static void addSameShapes(ValueRange operands, EqualSizes &sizes) {
  for (Value operand : operands.drop_front())
    if (EqualSizes::getRank(operand) > 0)
      sizes.addLeading(operands.front(), operand, EqualSizes::getRank(operand));
}

/// Operations on latent values, whose scales and zero points are for channels.
template <typename OpTy> static void addLatent(OpTy op, EqualSizes &sizes) {
  Value x = op.getX();
  std::optional<int64_t> channel =
      getChannelDim(op.getAxis(), EqualSizes::getRank(x));
  SmallVector<Value> operands{x};
  for (Value operand : op->getOperands()) {
    bool isForChannels = operand == op.getScale() ||
                         operand.getType() == op.getScale().getType();
    if (isForChannels && channel)
      sizes.add(x, *channel, operand, 0);
    else if (!isForChannels && operand != x)
      operands.push_back(operand);
  }
  addSameShapes(operands, sizes);
}

static EqualSizes getEqualSizes(Operation *op) {
  EqualSizes sizes;
  if (auto quantizable = dyn_cast<QuantizableOpInterface>(op))
    addEdges(quantizable, sizes);
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](LinearOp op) { addLinear(op, sizes); })
      .Case([&](BatchMatmulOp op) { addBatchMatmul(op, sizes); })
      .Case([&](AttentionOp op) { addAttention(op, sizes); })
      .Case([&](AddOp op) { sizes.addTrailing(op.getLhs(), op.getRhs()); })
      .Case([&](PermuteOp op) {
        sizes.add(op.getX(), op.getDim(), op.getIndices(), 0);
      })
      .Case([&](ObserveOp op) { addObserve(op, sizes); })
      .Case<FakeQuantizeOp, FakeQuantizeBackwardOp, DampeningLossOp,
            DampeningLossBackwardOp>([&](auto op) { addLatent(op, sizes); })
      .Case<OscillationUpdateOp, ClippedSoftmaxBackwardOp>(
          [&](auto op) { addSameShapes(op->getOperands(), sizes); });
  if (OpTrait::hasElementwiseMappableTraits(op)) {
    SmallVector<Value> tensors =
        llvm::filter_to_vector(op->getOperands(), [](Value value) {
          return isa<RankedTensorType>(value.getType());
        });
    if (tensors.size() > 1)
      addSameShapes(tensors, sizes);
  }
  return sizes;
}

/// The sizes that operands give to one loop equal the first of them.
static void addLoops(linalg::LinalgOp op, EqualSizes &sizes) {
  SmallVector<std::optional<TensorSize>> loops(op.getNumLoops());
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    for (auto [dim, expr] : llvm::enumerate(map.getResults())) {
      auto loop = dyn_cast<AffineDimExpr>(expr);
      if (!loop)
        continue;
      TensorSize size{operand.get(), int64_t(dim)};
      std::optional<TensorSize> &known = loops[loop.getPosition()];
      if (known)
        sizes.pairs.push_back({*known, size});
      else
        known = size;
    }
  }
}

//===----------------------------------------------------------------------===//
// Where sizes come from
//===----------------------------------------------------------------------===//

namespace {
/// A size, traced to where it comes from: a dimension of `source`, the index
/// `source`, or a constant.
struct Size {
  Value source;
  int64_t dimOrValue;

  bool operator==(const Size &other) const {
    return source == other.source && dimOrValue == other.dimOrValue;
  }
  bool isConstant() const { return !source; }
};

class SizeTracer {
public:
  ~SizeTracer() {
    // In reverse, so that users go first.
    for (Operation *op : llvm::reverse(listener.made))
      if (isOpTriviallyDead(op))
        op->erase();
  }

  Size traceDim(Value tensor, int64_t dim) {
    auto type = dyn_cast<RankedTensorType>(tensor.getType());
    if (type && !type.isDynamicDim(dim))
      return {Value(), type.getDimSize(dim)};
    auto [place, inserted] =
        known.try_emplace({tensor, dim}, Size{tensor, dim});
    if (!inserted)
      return place->second;
    Size size = isa<BlockArgument>(tensor) ? traceArgument(tensor, dim)
                                           : traceResult(tensor, dim);
    known[{tensor, dim}] = size;
    return size;
  }

  Size traceIndex(OpFoldResult index) {
    if (std::optional<int64_t> value = getConstantIntValue(index))
      return {Value(), *value};
    auto value = cast<Value>(index);
    // Unknown dimensions, and those that do not exist, are not speculatable.
    if (auto dim = value.getDefiningOp<tensor::DimOp>())
      if (isSpeculatable(dim))
        return traceDim(dim.getSource(), *dim.getConstantIndex());
    return {value, 0};
  }

private:
  /// Sizes of one name are equal.
  Size traceArgument(Value argument, int64_t dim) {
    Size size{argument, dim};
    auto function =
        dyn_cast<FunctionOpInterface>(argument.getParentBlock()->getParentOp());
    if (!function)
      return size;
    auto dims = function.getArgAttrOfType<ArrayAttr>(
        cast<BlockArgument>(argument).getArgNumber(),
        QtxDialect::kDimsAttrName);
    auto name = dims ? cast<StringAttr>(dims[dim]) : StringAttr();
    if (!name || name.empty())
      return size;
    return named.try_emplace({function, name}, size).first->second;
  }

  Size traceResult(Value tensor, int64_t dim) {
    Operation *op = tensor.getDefiningOp();
    if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
      return traceDim(linalgOp.getTiedOpOperand(cast<OpResult>(tensor))->get(),
                      dim);
    if (auto cast = dyn_cast<tensor::CastOp>(op))
      return traceDim(cast.getSource(), dim);
    if (OpTrait::hasElementwiseMappableTraits(op))
      for (Value operand : op->getOperands())
        if (isa<RankedTensorType>(operand.getType()))
          return traceDim(operand, dim);
    OpBuilder builder(op, &listener);
    FailureOr<OpFoldResult> size = reifyDimOfResult(
        builder, op, cast<OpResult>(tensor).getResultNumber(), dim);
    return succeeded(size) ? traceIndex(*size) : Size{tensor, dim};
  }

  /// Keeps track of what was made to learn about sizes.
  struct Listener : OpBuilder::Listener {
    void notifyOperationInserted(Operation *op,
                                 OpBuilder::InsertPoint) override {
      made.push_back(op);
    }
    std::vector<Operation *> made;
  };

  Listener listener;
  DenseMap<std::pair<Value, int64_t>, Size> known;
  DenseMap<std::pair<Operation *, StringAttr>, Size> named;
};

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

class CheckInserter {
public:
  void check(Operation *op) {
    EqualSizes sizes = getEqualSizes(op);
    if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
        linalgOp && linalgOp.hasPureTensorSemantics())
      addLoops(linalgOp, sizes);
    for (auto [a, b] : sizes.pairs)
      checkEqual(op, tracer.traceDim(a.tensor, a.dim),
                 tracer.traceDim(b.tensor, b.dim));
    if (auto cast = dyn_cast<tensor::CastOp>(op))
      checkCast(cast);
    if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
      checkExpansion(expand);
    if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
      checkInsertion(insert);
  }

private:
  /// A cast may claim that a dynamic size is a certain one.
  void checkCast(tensor::CastOp op) {
    auto from = dyn_cast<RankedTensorType>(op.getSource().getType());
    auto to = dyn_cast<RankedTensorType>(op.getType());
    if (!from || !to)
      return;
    for (int64_t dim = 0; dim < to.getRank(); ++dim)
      if (!to.isDynamicDim(dim))
        checkEqual(op, tracer.traceDim(op.getSource(), dim),
                   Size{Value(), to.getDimSize(dim)});
  }

  /// The sizes that one dimension is expanded into make up its size.
  void checkExpansion(tensor::ExpandShapeOp op) {
    SmallVector<OpFoldResult> shape = op.getMixedOutputShape();
    for (auto [dim, group] : llvm::enumerate(op.getReassociationIndices())) {
      int64_t fixed = 1;
      SmallVector<Value> sizes;
      for (int64_t result : group) {
        Size size = tracer.traceIndex(shape[result]);
        if (size.isConstant())
          fixed *= size.dimOrValue;
        else
          sizes.push_back(cast<Value>(shape[result]));
      }
      Size source = tracer.traceDim(op.getSrc(), dim);
      if (sizes.empty())
        checkEqual(op, source, Size{Value(), fixed});
      else if (sizes.size() == 1 && fixed == 1)
        checkEqual(op, source, tracer.traceIndex(sizes.front()));
      else
        checkProduct(op, source, fixed, sizes);
    }
  }

  void checkProduct(tensor::ExpandShapeOp op, const Size &source, int64_t fixed,
                    ValueRange sizes) {
    ImplicitLocOpBuilder builder(op.getLoc(), op);
    Value product = arith::ConstantIndexOp::create(builder, fixed);
    for (Value size : sizes)
      product = arith::MulIOp::create(builder, product, size);
    compare(builder, materialize(builder, source), product);
  }

  void checkInsertion(tensor::InsertSliceOp op) {
    llvm::SmallBitVector dropped = op.getDroppedDims();
    int64_t dim = 0;
    for (auto [index, size] : llvm::enumerate(op.getMixedSizes()))
      if (!dropped.test(index))
        checkEqual(op, tracer.traceIndex(size),
                   tracer.traceDim(op.getSource(), dim++));
  }

  void checkEqual(Operation *op, const Size &first, const Size &second) {
    if (first == second)
      return;
    ImplicitLocOpBuilder builder(op->getLoc(), op);
    auto function = dyn_cast<FunctionOpInterface>(op->getParentOp());
    bool isConstant = first.isConstant() && second.isConstant();
    if (!function || isConstant || !isOfArgument(function, first) ||
        !isOfArgument(function, second))
      return compare(builder, materialize(builder, first),
                     materialize(builder, second));
    // What depends on arguments alone is known at the beginning of a function;
    // one check there will do.
    if (!done.insert({{first.source, first.dimOrValue},
                      {second.source, second.dimOrValue}})
             .second)
      return;
    placeAtBeginning(function, builder);
    compare(builder, materialize(builder, first), materialize(builder, second));
    lastAtBeginning[function] = &*std::prev(builder.getInsertionPoint());
  }

  static bool isOfArgument(FunctionOpInterface function, const Size &size) {
    auto argument = dyn_cast_or_null<BlockArgument>(size.source);
    return size.isConstant() ||
           (argument && argument.getOwner() == &function.front());
  }

  void placeAtBeginning(FunctionOpInterface function,
                        ImplicitLocOpBuilder &builder) {
    if (Operation *last = lastAtBeginning.lookup(function))
      builder.setInsertionPointAfter(last);
    else
      builder.setInsertionPointToStart(&function.front());
  }

  static Value materialize(ImplicitLocOpBuilder &builder, const Size &size) {
    if (size.isConstant())
      return arith::ConstantIndexOp::create(builder, size.dimOrValue);
    if (size.source.getType().isIndex())
      return size.source;
    return tensor::DimOp::create(builder, size.source, size.dimOrValue);
  }

  static void compare(ImplicitLocOpBuilder &builder, Value a, Value b) {
    Value equal =
        arith::CmpIOp::create(builder, arith::CmpIPredicate::eq, a, b);
    auto op = cf::AssertOp::create(builder, equal, "expected sizes that agree");
    op->setAttr(kSizesAgreeAttr, builder.getUnitAttr());
  }

  using Key = std::pair<Value, int64_t>;
  SizeTracer tracer;
  DenseSet<std::pair<Key, Key>> done;
  /// The last check at the beginning of each function.
  DenseMap<Operation *, Operation *> lastAtBeginning;
};

struct QtxCheckSizesPass : qtx::impl::QtxCheckSizesPassBase<QtxCheckSizesPass> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) { ops.push_back(op); });
    CheckInserter inserter;
    for (Operation *op : ops)
      inserter.check(op);
  }
};
} // namespace
