//===- FoldScaleShift.cpp - Scales and shifts into constants --------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Products and sums of constants are formed in fp64 and rounded once.
//
//===----------------------------------------------------------------------===//

#include "ConstantUtils.h"
#include "RewriteUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace qtx {
#define GEN_PASS_DEF_QTXFOLDSCALESHIFTPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("FoldScaleShift").category("qtx-fold-scale-shift");

static bool isFloat(Value value) {
  return cast<RankedTensorType>(value.getType()).getElementType().isF32();
}

namespace {
/// `x * gain + shift` of every channel. Heads count as channels side by side.
struct ScaleShift {
  std::vector<double> gain, shift;

  size_t size() const { return gain.size(); }
  bool hasShift() const {
    return llvm::any_of(shift, [](double number) { return number != 0; });
  }
  bool isPositive() const {
    return llvm::all_of(gain, [](double number) { return number > 0; });
  }
};
} // namespace

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

static std::optional<std::vector<double>> getNumbers(Value value) {
  auto constant = isFloat(value) ? ConstantTensor::get(value) : std::nullopt;
  if (!constant)
    return std::nullopt;
  std::vector<float> numbers = constant->getFloats();
  return std::vector<double>(numbers.begin(), numbers.end());
}

/// The numbers of `value`, or `size` times `otherwise` if it is null.
static std::optional<std::vector<double>> getNumbersOr(Value value, size_t size,
                                                       double otherwise) {
  if (!value)
    return std::vector<double>(size, otherwise);
  return getNumbers(value);
}

/// Replaces a constant, or adds one.
static void setNumbers(OpBuilder &builder, Location loc,
                       MutableOperandRange operand, ArrayRef<int64_t> shape,
                       ArrayRef<double> numbers) {
  std::vector<float> rounded(numbers.begin(), numbers.end());
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  operand.assign(
      ConstantTensor::create(type, rounded).materialize(builder, loc));
}

static void setWeights(OpBuilder &builder, LinearOp op,
                       ArrayRef<double> numbers) {
  Value weight = op.getWeight();
  std::vector<float> rounded(numbers.begin(), numbers.end());
  op.getWeightMutable().assign(
      ConstantTensor::get(weight)->withFloats(rounded).materialize(
          builder, weight.getLoc()));
}

/// `numbers[c] * gain[c] + shift[c]`
static void apply(std::vector<double> &numbers, const ScaleShift &change) {
  for (auto [number, gain, shift] :
       llvm::zip_equal(numbers, change.gain, change.shift))
    number = number * gain + shift;
}

/// Multiplies row `n` with `gain[n]`.
static void scaleRows(std::vector<double> &numbers, ArrayRef<double> gain) {
  size_t columns = gain.empty() ? 0 : numbers.size() / gain.size();
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] *= gain[i / columns];
}

/// What no longer holds of the results.
static void dropObservations(Operation *op) {
  op->removeDiscardableAttr("qtx.observed");
}

//===----------------------------------------------------------------------===//
// Producers
//===----------------------------------------------------------------------===//
//
// Each returns why it cannot take the change in; empty if it did, or would, as
// long as `isDry` holds.

namespace {
struct Fold {
  ScaleShift change;
  bool isDry;
};
} // namespace

static StringRef foldIntoProducer(OpOperand &use, Fold fold);

/// The operation itself if nothing else reads it, else a copy for `use`.
static Operation *getOwnCopy(Operation *op, OpOperand &use) {
  if (op->hasOneUse())
    return op;
  OpBuilder builder(op);
  builder.setInsertionPointAfter(op);
  Operation *copy = builder.clone(*op);
  use.set(copy->getResult(0));
  return copy;
}

static StringRef foldIntoLayerNorm(LayerNormOp op, OpOperand &use,
                                   const Fold &fold) {
  const ScaleShift &change = fold.change;
  auto gamma = getNumbersOr(op.getGamma(), change.size(), 1);
  auto beta = getNumbersOr(op.getBeta(), change.size(), 0);
  if (!gamma || !beta)
    return "gamma and beta of the layer_norm are not constants";
  if (fold.isDry)
    return {};
  scaleRows(*gamma, change.gain);
  apply(*beta, change);
  auto own = cast<LayerNormOp>(getOwnCopy(op, use));
  OpBuilder builder(own);
  int64_t size = change.size();
  setNumbers(builder, own.getLoc(), own.getGammaMutable(), size, *gamma);
  setNumbers(builder, own.getLoc(), own.getBetaMutable(), size, *beta);
  dropObservations(own);
  return {};
}

/// Float weights are scaled, integer weights keep their codes.
static StringRef scaleOutputs(LinearOp op, const Fold &fold) {
  ArrayRef<double> gain = fold.change.gain;
  OpBuilder builder(op);
  if (!op.getWeightScale()) {
    auto weights = getNumbers(op.getWeight());
    if (!weights)
      return "the weights of the linear are not constants";
    if (fold.isDry)
      return {};
    scaleRows(*weights, gain);
    setWeights(builder, op, *weights);
    return {};
  }
  auto scales = getNumbers(op.getWeightScale());
  if (!scales)
    return "the weight scales of the linear are not constants";
  if (!fold.change.isPositive())
    return "a gain is not positive, as weight scales are";
  if (fold.isDry)
    return {};
  SmallVector<int64_t> shape(
      cast<RankedTensorType>(op.getWeightScale().getType()).getShape());
  if (scales->size() == 1) {
    shape = {int64_t(gain.size())};
    scales->assign(gain.size(), scales->front());
  }
  scaleRows(*scales, gain);
  setNumbers(builder, op.getLoc(), op.getWeightScaleMutable(), shape, *scales);
  return {};
}

static StringRef foldIntoLinear(LinearOp op, const Fold &fold) {
  if (op.getActivation() != Activation::None)
    return "the linear has an activation";
  if (!op->hasOneUse())
    return "the result of the linear has other readers";
  if (op.getBias() &&
      cast<RankedTensorType>(op.getBias().getType()).getRank() != 1)
    return "the bias of the linear is not one number per channel";
  int64_t size = fold.change.size();
  auto bias = getNumbersOr(op.getBias(), size, 0);
  if (!bias)
    return "the bias of the linear is not a constant";
  if (StringRef reason = scaleOutputs(op, fold); !reason.empty() || fold.isDry)
    return reason;
  apply(*bias, fold.change);
  OpBuilder builder(op);
  setNumbers(builder, op.getLoc(), op.getBiasMutable(), size, *bias);
  dropObservations(op);
  return {};
}

/// One view of the channels, with one reader.
static StringRef foldIntoView(Operation *op, Fold fold) {
  if (!op->hasOneUse())
    return "the heads have other readers";
  return foldIntoProducer(op->getOpOperand(0), std::move(fold));
}

/// The change of the values for that of the context; absent if heads that share
/// values need different ones.
static std::optional<ScaleShift> getChangeOfValues(AttentionOp op,
                                                   const ScaleShift &change) {
  int64_t shared = op.getHeadsPerKeyValueHead(), size = op.getValueSize();
  ScaleShift values;
  for (int64_t i = 0; i < int64_t(change.size()); ++i) {
    int64_t first = i / size / shared * shared * size + i % size;
    if (change.gain[i] != change.gain[first] ||
        change.shift[i] != change.shift[first])
      return std::nullopt;
    if (i / size % shared != 0)
      continue;
    values.gain.push_back(change.gain[i]);
    values.shift.push_back(change.shift[i]);
  }
  return values;
}

/// Whether the probabilities of every query sum to one.
static bool hasUnitSums(AttentionOp op) {
  return !op.isClipped() && !op.getSink() && !op.getSinkLogit() &&
         !op.getProbsQuant() && !op.getMask() && !op.getCausal();
}

/// A mean commutes with a scale, and with a shift if its weights sum to one.
static StringRef foldIntoAttention(AttentionOp op, const Fold &fold) {
  if (!op->hasOneUse())
    return "the result of the attention has other readers";
  if (op.getContextQuant())
    return "the attention quantizes its context";
  bool isGated = op.getGate() || !op.getGain().isExactlyValue(1);
  if (fold.change.hasShift() && (isGated || !hasUnitSums(op)))
    return "the probabilities of the attention may not sum to one";
  auto values = getChangeOfValues(op, fold.change);
  if (!values)
    return "heads that share values have different scales or shifts";
  if (!isFloat(op.getValue()))
    return "the values of the attention are quantized";
  return foldIntoProducer(op.getValueMutable(), {*values, fold.isDry});
}

static StringRef foldIntoProducer(OpOperand &use, Fold fold) {
  using Result = StringRef;
  Operation *producer = use.get().getDefiningOp();
  if (!producer)
    return "no operation computes the operand";
  int64_t size = cast<RankedTensorType>(use.get().getType()).getShape().back();
  if (isa<LayerNormOp, LinearOp>(producer) &&
      size != int64_t(fold.change.size()))
    return "the heads share their constants";
  return llvm::TypeSwitch<Operation *, Result>(producer)
      .Case([&](LayerNormOp op) { return foldIntoLayerNorm(op, use, fold); })
      .Case([&](LinearOp op) { return foldIntoLinear(op, fold); })
      .Case<SplitHeadsOp, MergeHeadsOp>(
          [&](Operation *op) { return foldIntoView(op, fold); })
      .Case([&](AttentionOp op) { return foldIntoAttention(op, fold); })
      .Default([](Operation *) -> Result {
        return "the operation that computes the operand has no scale and shift "
               "of channels";
      });
}

//===----------------------------------------------------------------------===//
// Consumers
//===----------------------------------------------------------------------===//

/// Whether `use` is the input of a float linear with constants.
static bool canTakeInput(OpOperand &use) {
  auto op = dyn_cast<LinearOp>(use.getOwner());
  if (!op || &use != &op.getXMutable() || op.getWeightScale() ||
      !isFloat(op.getWeight()) || !ConstantTensor::isConstant(op.getWeight()))
    return false;
  Value bias = op.getBias();
  return !bias || (cast<RankedTensorType>(bias.getType()).getRank() == 1 &&
                   ConstantTensor::isConstant(bias));
}

/// `W (x * gain + shift) + b = (W * gain) x + (W shift + b)`
static void foldIntoConsumer(LinearOp op, const ScaleShift &change) {
  size_t rows = op.getNumOutputs(), columns = change.size();
  std::vector<double> weights = *getNumbers(op.getWeight());
  std::vector<double> bias = *getNumbersOr(op.getBias(), rows, 0);
  for (size_t i = 0; i < weights.size(); ++i) {
    bias[i / columns] += weights[i] * change.shift[i % columns];
    weights[i] *= change.gain[i % columns];
  }
  OpBuilder builder(op);
  setWeights(builder, op, weights);
  if (op.getBias() || change.hasShift())
    setNumbers(builder, op.getLoc(), op.getBiasMutable(), int64_t(rows), bias);
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

/// The constants of `op`. Of one head, they are repeated for all.
static std::optional<ScaleShift> getChange(ScaleShiftOp op) {
  auto gain = getNumbers(op.getGain()), shift = getNumbers(op.getShift());
  if (!gain || !shift)
    return std::nullopt;
  ScaleShift change{*gain, *shift};
  auto producer = op.getX().getDefiningOp();
  if (!isa_and_present<SplitHeadsOp, AttentionOp>(producer))
    return change;
  for (int64_t head = 1; head < op.getX().getType().getDimSize(1); ++head) {
    llvm::append_range(change.gain, *gain);
    llvm::append_range(change.shift, *shift);
  }
  return change;
}

/// Why `op` stays; empty if it does not.
static StringRef fold(ScaleShiftOp op) {
  if (!isFloat(op.getX()) || !isFloat(op.getY()))
    return "its tensors are quantized";
  auto change = getChange(op);
  if (!change)
    return "its gain and shift are not constants";
  if (!op->use_empty() && llvm::all_of(op->getUses(), canTakeInput)) {
    for (Operation *user : llvm::to_vector(op->getUsers()))
      foldIntoConsumer(cast<LinearOp>(user), *change);
  } else {
    OpOperand &use = op.getXMutable();
    StringRef reason = foldIntoProducer(use, {*change, /*isDry=*/true});
    if (!reason.empty())
      return reason;
    foldIntoProducer(use, {*change, /*isDry=*/false});
  }
  op.getY().replaceAllUsesWith(op.getX());
  op.erase();
  return {};
}

namespace {
struct QtxFoldScaleShiftPass
    : qtx::impl::QtxFoldScaleShiftPassBase<QtxFoldScaleShiftPass> {
  using QtxFoldScaleShiftPassBase::QtxFoldScaleShiftPassBase;

  void runOnOperation() override {
    for (auto op : collectOps<ScaleShiftOp>(getOperation())) {
      Location loc = op.getLoc();
      StringRef reason = fold(op);
      if (reason.empty())
        remark::passed(loc, kRemark)
            << remark::add("scale and shift are part of other constants");
      else if (explain)
        remark::missed(loc, kRemark) << remark::reason("{0}", reason);
    }
  }
};
} // namespace
