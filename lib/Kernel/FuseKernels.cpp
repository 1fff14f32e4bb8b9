//===- FuseKernels.cpp - Epilogues of kernels -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../Dialect/Qtx/Transforms/ConstantUtils.h"
#include "ActivationTable.h"
#include "PackedConstants.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Kernel/Kernels.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Kernel/Passes.h"

namespace qtx {
#define GEN_PASS_DEF_QTXFUSEKERNELSPASS
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("FuseKernels").category("qtx-fuse-kernels");

namespace {

/// A quantizer and what lies between it and the kernel that it joins.
struct Epilogue {
  QuantizeOp quantize;
  QuantParams params;
  ScaleShiftOp scale;
  /// Merges the heads of attention.
  tensor::CollapseShapeOp merge;
  KernelOp kernel;

  bool isAttention() { return kernel.getOp() == "qtx.attention"; }
};

} // namespace

template <typename OpTy> static OpTy getOnlyProducer(Value value) {
  return value.hasOneUse() ? value.getDefiningOp<OpTy>() : OpTy();
}

/// The kernel whose result `quantize` reads; absent if there is none.
static std::optional<Epilogue> match(QuantizeOp quantize) {
  Value x = quantize.getX();
  auto scale = getOnlyProducer<ScaleShiftOp>(x);
  if (scale)
    x = scale.getX();
  auto merge = getOnlyProducer<tensor::CollapseShapeOp>(x);
  if (merge)
    x = merge.getSrc();
  auto kernel = getOnlyProducer<KernelOp>(x);
  if (!kernel || kernel.getResult(0) != x ||
      !cast<RankedTensorType>(x.getType()).getElementType().isF32())
    return std::nullopt;
  auto params = getQuantParams(quantize, quantize.getQuantEdges().back());
  if (!params)
    return std::nullopt;
  return Epilogue{quantize, *params, scale, merge, kernel};
}

/// Why the kernel cannot take the epilogue; empty if it can.
static StringRef check(Epilogue &epilogue) {
  const QuantParams &params = epilogue.params;
  if (params.isDynamic())
    return "the scales are run-time values";
  if (params.getStorageType().getWidth() != 8)
    return "the result does not have 8 bits";
  if (!epilogue.isAttention() && params.isGrouped() && params.getAxis() != -1)
    return "the groups do not lie along the last axis";
  if (epilogue.isAttention() && !params.isPerTensor())
    return "attention takes no groups";
  return {};
}

/// Whether the shapes are those of a kernel and its epilogue: only attention
/// has heads to merge, and only channels of merged heads have a gain each.
static bool areShapesKnown(Epilogue &epilogue) {
  if (!epilogue.isAttention())
    return epilogue.kernel.getOp() == "qtx.linear" && !epilogue.merge;
  auto layouts =
      epilogue.kernel.getParams().getAs<DenseI64ArrayAttr>("layouts");
  return bool(epilogue.merge) == (layouts[3] != 0) &&
         (epilogue.merge || !epilogue.scale);
}

static bool isPlain(ScaleShiftOp scale) {
  return !scale.getXQuant() && !scale.getYQuant() &&
         scale.getX().getType().getElementType().isF32();
}

/// Whether the kernel quantizes already.
static bool hasQuantizer(KernelOp kernel) {
  DictionaryAttr params = kernel.getParams();
  return params.contains("y_quant") || params.contains("result_range") ||
         params.contains("scaled");
}

/// The linear whose result `op` adds to `other`, if that can take its place.
static KernelOp matchResidual(AddOp op, Value linear, Value other) {
  auto kernel = getOnlyProducer<KernelOp>(linear);
  bool isPlain = kernel && kernel.getOp() == "qtx.linear" &&
                 !hasQuantizer(kernel) && !kernel.accumulates();
  if (!isPlain || kernel->getBlock() != op->getBlock() ||
      linear.getType() != op.getY().getType() ||
      other.getType() != op.getY().getType() ||
      !canBecomeDestination(other, op))
    return {};
  return kernel;
}

/// A residual sum: the linear before it adds to the other operand where that
/// is. Then what comes next reads one operand instead of two, and the sum costs
/// nothing beside products.
static void accumulateInto(AddOp op) {
  if (!op.getY().getType().getElementType().isF32())
    return;
  for (auto [linear, other] : {std::pair(op.getRhs(), op.getLhs()),
                               std::pair(op.getLhs(), op.getRhs())}) {
    KernelOp kernel = matchResidual(op, linear, other);
    if (!kernel)
      continue;
    remark::passed(op.getLoc(), kRemark)
        << remark::add("added up by '{0}'", kernel.getOp());
    NamedAttrList params(kernel.getParams());
    OpBuilder builder(op);
    params.set(KernelOp::kAccumulateParam, builder.getUnitAttr());
    auto sum = KernelOp::create(builder, kernel.getLoc(), other.getType(),
                                kernel.getOpAttr(), kernel.getInputs(), other,
                                params.getDictionary(builder.getContext()));
    op.getY().replaceAllUsesWith(sum.getResult(0));
    op.erase();
    kernel.erase();
    return;
  }
}

namespace {

/// Makes a kernel with its epilogue.
class Fuser {
public:
  explicit Fuser(Epilogue &epilogue)
      : epilogue(epilogue), kernel(epilogue.kernel), builder(epilogue.quantize),
        loc(epilogue.quantize.getLoc()), params(kernel.getParams()),
        inputs(kernel.getInputs()) {}

  void fuse() {
    if (epilogue.isAttention())
      params.set("y_quant", epilogue.quantize.getYQuantAttr());
    else
      addResultParams();
    if (epilogue.scale) {
      params.set(kScaledAttrName, builder.getUnitAttr());
      if (params.get(kTabulatedAttrName))
        addJoinedScale();
      else
        llvm::append_values(inputs, epilogue.scale.getGain(),
                            epilogue.scale.getShift());
    }
    SmallVector<Value> outs(kernel.getOuts());
    outs[0] = createBytes(outs[0]);
    auto fused = KernelOp::create(builder, loc, ValueRange(outs).getTypes(),
                                  kernel.getOpAttr(), inputs, outs,
                                  params.getDictionary(builder.getContext()));
    replace(fused.getResult(0));
  }

private:
  /// The last two operands of a linear.
  void addResultParams() {
    auto counts = params.get("operandSegmentSizes");
    SmallVector<int32_t> sizes(cast<DenseI32ArrayAttr>(counts).asArrayRef());
    sizes[sizes.size() - 2] = sizes[sizes.size() - 1] = 1;
    params.set("operandSegmentSizes", builder.getDenseI32ArrayAttr(sizes));
    params.set("result_range",
               builder.getDenseI64ArrayAttr({epilogue.params.getStorageMin(),
                                             epilogue.params.getStorageMax()}));
    if (isBounded()) {
      params.set("bounded", builder.getUnitAttr());
      if (std::optional<float> found = findUnit())
        changeUnit(*found);
    }
    inputs.push_back(packReciprocals(builder, loc, epilogue.params, unit));
    inputs.push_back(packZeroPoints(builder, loc, epilogue.params));
  }

  /// The activation comes from a table, whose unit it has from here on.
  void changeUnit(float found) {
    params.set(kTabulatedAttrName, builder.getUnitAttr());
    unit = found;
    KernelView<LinearOp> view(kernel);
    for (Value &input : inputs)
      if (input == view->getWeightScale() || input == view->getBias())
        input = packInUnits(builder, loc, input, unit);
  }

  /// Gain and shift from an activation to its code: where it comes from a
  /// table, no bits are to be kept.
  void addJoinedScale() {
    auto gain = ConstantTensor::get(epilogue.scale.getGain())->getFloats();
    auto shift = ConstantTensor::get(epilogue.scale.getShift())->getFloats();
    SmallVector<int64_t> groups(gain.size(), 0);
    if (epilogue.params.isGrouped())
      groups = epilogue.params.getGroupOfChannel();
    SmallVector<float> gains, shifts;
    for (auto [channel, group] : llvm::enumerate(groups)) {
      float reciprocal = 1.0f / epilogue.params.getScale(group);
      gains.push_back(gain[channel] * reciprocal * unit);
      shifts.push_back(std::fma(float(shift[channel]), reciprocal,
                                float(epilogue.params.getZeroPoint(group))));
    }
    auto type = epilogue.scale.getGain().getType();
    for (ArrayRef<float> values : {gains, shifts})
      inputs.push_back(arith::ConstantOp::create(
          builder, loc, DenseElementsAttr::get(type, values)));
  }

  /// The unit of the table that is accurate enough, gain and scale considered.
  std::optional<float> findUnit() {
    double gain = 1, codes = 0;
    if (epilogue.scale)
      gain = getLargest(*ConstantTensor::get(epilogue.scale.getGain()));
    for (int64_t group = 0; group < epilogue.params.getNumGroups(); ++group)
      codes = std::max(codes, gain / epilogue.params.getScale(group));
    KernelView<LinearOp> view(kernel);
    auto config = kernel.getParams().getAs<MicroKernelAttr>("config");
    return findActivationUnit(view->getActivation(),
                              *lookupMicroKernel(config.getKernel()), codes);
  }

  /// As for a quantizer that the operation had before, see `qtx-pack`.
  bool isBounded() {
    auto magnitude = kernel->getAttrOfType<FloatAttr>(kMagnitudeAttrName);
    if (!magnitude)
      return false;
    double largest = magnitude.getValueAsDouble();
    if (ScaleShiftOp scale = epilogue.scale) {
      auto gain = ConstantTensor::get(scale.getGain());
      auto shift = ConstantTensor::get(scale.getShift());
      if (!gain || !shift)
        return false;
      largest = largest * getLargest(*gain) + getLargest(*shift);
    }
    for (int64_t group = 0; group < epilogue.params.getNumGroups(); ++group)
      if (!(largest / epilogue.params.getScale(group) < kMaxQuotient))
        return false;
    return true;
  }

  static double getLargest(const ConstantTensor &tensor) {
    double largest = 0;
    for (float value : tensor.getFloats())
      // A NaN is not below.
      largest = std::abs(value) <= largest ? largest : std::abs(value);
    return largest;
  }

  Value createBytes(Value out) {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, out);
    Type type = out.getType();
    Value empty =
        tensor::EmptyOp::create(builder, loc, sizes, builder.getI8Type());
    type = cast<RankedTensorType>(type).clone(builder.getI8Type());
    return empty.getType() == type
               ? empty
               : Value(tensor::CastOp::create(builder, loc, type, empty));
  }

  void replace(Value result) {
    if (epilogue.merge)
      result = tensor::CollapseShapeOp::create(
          builder, loc, result, epilogue.merge.getReassociationIndices());
    Type type = epilogue.quantize.getY().getType();
    if (result.getType() != type)
      result = tensor::CastOp::create(builder, loc, type, result);
    epilogue.quantize.getY().replaceAllUsesWith(result);
    epilogue.quantize.erase();
    if (epilogue.scale)
      epilogue.scale.erase();
    if (epilogue.merge)
      epilogue.merge.erase();
    kernel.erase();
  }

  Epilogue &epilogue;
  KernelOp kernel;
  OpBuilder builder;
  Location loc;
  NamedAttrList params;
  SmallVector<Value> inputs;
  /// Of what enters and leaves the activation.
  float unit = 1;
};

struct QtxFuseKernelsPass
    : qtx::impl::QtxFuseKernelsPassBase<QtxFuseKernelsPass> {
  void runOnOperation() override {
    SmallVector<QuantizeOp> ops;
    getOperation()->walk([&](QuantizeOp op) { ops.push_back(op); });
    for (QuantizeOp op : ops)
      tryToFuse(op);
    SmallVector<AddOp> sums;
    getOperation()->walk([&](AddOp op) { sums.push_back(op); });
    for (AddOp op : sums)
      accumulateInto(op);
  }

  static void tryToFuse(QuantizeOp op) {
    std::optional<Epilogue> epilogue = match(op);
    if (!epilogue || !areShapesKnown(*epilogue) ||
        hasQuantizer(epilogue->kernel) || epilogue->kernel.accumulates() ||
        (epilogue->scale && !isPlain(epilogue->scale)))
      return;
    StringRef reason = check(*epilogue);
    if (!reason.empty()) {
      remark::missed(op.getLoc(), kRemark) << remark::reason("{0}", reason);
      return;
    }
    remark::passed(op.getLoc(), kRemark)
        << remark::add("joined to '{0}'", epilogue->kernel.getOp());
    Fuser(*epilogue).fuse();
  }
};

} // namespace
