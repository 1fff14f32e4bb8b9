//===- FreezeToConstants.cpp - Training to integers -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConstantUtils.h"
#include "RewriteUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "qtx/Dialect/Qtx/IR/TrainingOps.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include <cmath>

namespace qtx {
#define GEN_PASS_DEF_QTXFREEZETOCONSTANTSPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark = remark::RemarkOpts::name("FreezeToConstants")
                                    .category("qtx-freeze-to-constants");

/// The elements of a constant tensor of i1.
static std::optional<SmallVector<bool>> getConstantMask(Value value) {
  Attribute attr;
  if (!matchPattern(value, m_Constant(&attr)))
    return std::nullopt;
  if (auto dense = dyn_cast<DenseElementsAttr>(attr))
    return llvm::to_vector(dense.getValues<bool>());
  auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
  AsmResourceBlob *blob =
      resource ? resource.getRawHandle().getBlob() : nullptr;
  if (!blob || int64_t(blob->getData().size()) != resource.getNumElements())
    return std::nullopt;
  return llvm::map_to_vector(blob->getData(),
                             [](char byte) { return byte != 0; });
}

namespace {

/// A fake quantizer of constants, computed as Numerics.md, "Fake quantization",
/// says.
class FrozenQuantizer {
public:
  FrozenQuantizer(FakeQuantizeOp op) : op(op) {
    std::tie(min, max) = getGridRange(op.getGrid(), op.getBits());
  }

  /// Computes the integers. Empty on success, else the reason why not.
  StringRef compute();
  /// Replaces all uses of the operation.
  void replace();

private:
  StringRef readOperands();
  int64_t roundLatent(int64_t index);
  int64_t getScaleIndex(int64_t index);
  int64_t getZeroPoint(int64_t index) {
    return zeroPoints.empty() ? 0 : zeroPoints[getScaleIndex(index)];
  }

  bool replaceWeight(OpOperand &use);
  Value createWeight();
  Value createDequantized();
  Value createConstant(ArrayRef<int64_t> values, unsigned width);
  Value createScale();

  FakeQuantizeOp op;
  int64_t min, max;
  std::vector<float> latent, scales;
  SmallVector<int64_t> zeroPoints;
  SmallVector<bool> mask;
  std::vector<int64_t> frozenIntegers;
  SmallVector<int64_t> codes;
};

} // namespace

StringRef FrozenQuantizer::readOperands() {
  auto x = ConstantTensor::get(op.getX());
  if (!x)
    return "the latent values are not a constant";
  auto scale = ConstantTensor::get(op.getScale());
  if (!scale)
    return "the scale is not a constant";
  latent = x->getFloats();
  scales = scale->getFloats();
  for (float &value : scales)
    value = std::max(value, minEffectiveScale);
  if (op.getZeroPoint()) {
    auto zeroPoint = ConstantTensor::get(op.getZeroPoint());
    if (!zeroPoint)
      return "the zero point is not a constant";
    for (float value : zeroPoint->getFloats())
      zeroPoints.push_back(
          std::fmin(std::fmax(std::nearbyint(value), float(min)), float(max)));
  }
  if (!op.getFrozen())
    return {};
  auto frozen = getConstantMask(op.getFrozen());
  auto integers = ConstantTensor::get(op.getFrozenInt());
  if (!frozen || !integers)
    return "the frozen state is not a constant";
  mask = std::move(*frozen);
  frozenIntegers = integers->getIntegers();
  return {};
}

int64_t FrozenQuantizer::getScaleIndex(int64_t index) {
  auto type = cast<ShapedType>(op.getX().getType());
  std::optional<int64_t> dim = getChannelDim(op.getAxis(), type.getRank());
  if (!dim)
    return 0;
  for (int64_t inner : type.getShape().drop_front(*dim + 1))
    index /= inner;
  return index % type.getDimSize(*dim);
}

int64_t FrozenQuantizer::roundLatent(int64_t index) {
  float rounded = std::nearbyint(latent[index] / scales[getScaleIndex(index)]);
  float shifted = rounded + float(getZeroPoint(index));
  // fmax turns NaN into the lower bound.
  return std::fmin(std::fmax(shifted, float(min)), float(max));
}

StringRef FrozenQuantizer::compute() {
  if (op.getNoise())
    return "rounding is stochastic";
  if (StringRef reason = readOperands(); !reason.empty())
    return reason;
  for (int64_t index = 0, e = latent.size(); index < e; ++index) {
    bool isFrozen = !mask.empty() && mask[index];
    codes.push_back(isFrozen ? frozenIntegers[index] : roundLatent(index));
    if (codes.back() < min || codes.back() > max)
      return "a frozen integer is outside the grid";
  }
  return {};
}

Value FrozenQuantizer::createConstant(ArrayRef<int64_t> values,
                                      unsigned width) {
  OpBuilder builder(op);
  SmallVector<int64_t> stored(values);
  if (width == 4)
    for (int64_t &value : stored)
      value &= 0xF;
  auto type = cast<RankedTensorType>(op.getX().getType())
                  .clone(IntegerType::get(op.getContext(), width));
  return ConstantTensor::create(type, stored).materialize(builder, op.getLoc());
}

/// The effective scale.
Value FrozenQuantizer::createScale() {
  OpBuilder builder(op);
  auto type = RankedTensorType::get({int64_t(scales.size())},
                                    Float32Type::get(op.getContext()));
  return ConstantTensor::create(type, ArrayRef<float>(scales))
      .materialize(builder, op.getLoc());
}

/// The integers without their zero point, as the weight of a linear; null if
/// they do not fit.
Value FrozenQuantizer::createWeight() {
  SmallVector<int64_t> values;
  for (auto [index, code] : llvm::enumerate(codes))
    values.push_back(code - getZeroPoint(index));
  auto fits = [&](unsigned width) {
    auto [low, high] = getIntegerRange(width, /*isSigned=*/true);
    return llvm::all_of(values, [low = low, high = high](int64_t value) {
      return value >= low && value <= high;
    });
  };
  if (op.getBits() <= 4 && fits(4))
    return createConstant(values, 4);
  return fits(8) ? createConstant(values, 8) : Value();
}

/// Makes an integer weight of a use that is the weight of a float linear.
bool FrozenQuantizer::replaceWeight(OpOperand &use) {
  auto linear = dyn_cast<LinearOp>(use.getOwner());
  if (!linear || use.get() != linear.getWeight() ||
      use.getOperandNumber() != linear.getWeightMutable().getOperandNumber())
    return false;
  std::optional<int64_t> dim = getChannelDim(op.getAxis(), 2);
  if (!linear.getX().getType().getElementType().isF32() || (dim && *dim != 0))
    return false;
  Value weight = createWeight();
  if (!weight)
    return false;
  linear.getWeightMutable().assign(weight);
  linear.getWeightScaleMutable().assign(createScale());
  return true;
}

/// The fake-quantized values from integers in canonical (signed) storage.
Value FrozenQuantizer::createDequantized() {
  OpBuilder builder(op);
  MLIRContext *context = op.getContext();
  int64_t bits = op.getBits();
  unsigned width = bits <= 4 ? 4 : bits <= 8 ? 8 : 16;
  bool needsShift = op.getGrid() != Grid::Signed && bits == width;
  int64_t shift = needsShift ? int64_t(1) << (bits - 1) : 0;
  Value storage = createConstant(
      llvm::map_to_vector(codes, [&](int64_t code) { return code - shift; }),
      width);
  SmallVector<int64_t> zeros(scales.size(), -shift);
  for (auto [zero, zeroPoint] : llvm::zip(zeros, zeroPoints))
    zero += zeroPoint;

  Type f32 = Float32Type::get(context);
  auto type = cast<RankedTensorType>(op.getX().getType());
  if (scales.size() == 1) {
    auto [low, high] = getIntegerRange(width, /*isSigned=*/true);
    Type quantized = quant::UniformQuantizedType::get(
        quant::QuantizationFlags::Signed, IntegerType::get(context, width), f32,
        scales.front(), zeros.front(), low, high);
    return DequantizeOp::create(builder, op.getLoc(), type, storage, Value(),
                                Value(), TypeAttr::get(quantized));
  }
  int64_t dim = *getChannelDim(op.getAxis(), type.getRank());
  SmallVector<int64_t> sizes(scales.size(), 1);
  Type quantized =
      GroupedType::get(context, width, /*isSigned=*/true, dim - type.getRank(),
                       sizes, DenseF32ArrayAttr(), DenseI64ArrayAttr());
  Value zeroPoint;
  if (llvm::any_of(zeros, [](int64_t zero) { return zero != 0; })) {
    auto zeroType = RankedTensorType::get({int64_t(zeros.size())},
                                          IntegerType::get(context, 32));
    zeroPoint = ConstantTensor::create(zeroType, zeros)
                    .materialize(builder, op.getLoc());
  }
  return DequantizeOp::create(builder, op.getLoc(), type, storage,
                              createScale(), zeroPoint,
                              TypeAttr::get(quantized));
}

void FrozenQuantizer::replace() {
  int64_t weights = 0, others = 0;
  for (OpOperand &use : llvm::make_early_inc_range(op.getY().getUses()))
    weights += replaceWeight(use);
  others = std::distance(op.getY().use_begin(), op.getY().use_end());
  if (others > 0)
    op.getY().replaceAllUsesWith(createDequantized());
  if (!op.getCodes().use_empty())
    op.getCodes().replaceAllUsesWith(createConstant(codes, 32));
  int64_t frozen = llvm::count(mask, true);
  remark::passed(op.getLoc(), kRemark)
      << remark::add("{0} integers, {1} of them frozen", codes.size(), frozen)
      << remark::metric("IntegerWeights", weights)
      << remark::metric("DequantizedUses", others);
  op.erase();
}

namespace {

struct QtxFreezeToConstantsPass
    : qtx::impl::QtxFreezeToConstantsPassBase<QtxFreezeToConstantsPass> {
  void runOnOperation() override {
    for (FakeQuantizeOp op : collectOps<FakeQuantizeOp>(getOperation())) {
      FrozenQuantizer quantizer(op);
      StringRef reason = quantizer.compute();
      if (reason.empty())
        quantizer.replace();
      else
        remark::missed(op.getLoc(), kRemark) << remark::reason("{0}", reason);
    }
  }
};

} // namespace
