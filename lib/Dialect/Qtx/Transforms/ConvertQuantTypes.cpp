//===- ConvertQuantTypes.cpp - Types of the quant dialect -----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Both directions change the types of all values at once, like
// `qtx-to-storage`. Casts of the quant dialect are rewritten before the types
// change, while their operands still say what they were.
//
//===----------------------------------------------------------------------===//

#include "RewriteUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "qtx/Dialect/Qtx/Transforms/TypeUtils.h"
#include <cmath>

namespace qtx {
#define GEN_PASS_DEF_QTXCONVERTQUANTTYPESPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;
using quant::QuantizedType;
using quant::UniformQuantizedPerAxisType;
using quant::UniformQuantizedSubChannelType;
using quant::UniformQuantizedType;

static constexpr auto kRemark = remark::RemarkOpts::name("ConvertQuantTypes")
                                    .category("qtx-convert-quant-types");

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

namespace {

/// The converted element type, or the reason why there is none.
struct Converted {
  Type elementType;
  StringRef reason = {};
  /// How far the stored integers move down.
  int64_t shift = 0;
  /// Whether the storage range became wider.
  bool isWidened = false;
};

/// Groups along one axis, from which types are built.
struct Groups {
  int64_t axis;
  SmallVector<int64_t> sizes;
  SmallVector<double> scales;
  SmallVector<int64_t> zeroPoints;
};

} // namespace

/// How far unsigned storage moves down to become signed.
static int64_t getShift(QuantizedType type) {
  return type.isSigned()
             ? 0
             : int64_t(1) << (type.getStorageTypeIntegralWidth() - 1);
}

static UniformQuantizedType getUniform(QuantizedType type, double scale,
                                       int64_t zeroPoint) {
  int64_t shift = getShift(type);
  return UniformQuantizedType::get(
      quant::QuantizationFlags::Signed, type.getStorageType(),
      type.getExpressedType(), scale, zeroPoint - shift,
      type.getStorageTypeMin() - shift, type.getStorageTypeMax() - shift);
}

/// `!qtx.grouped` with the storage of `type`.
static Converted getGrouped(QuantizedType type, const Groups &groups) {
  unsigned width = type.getStorageTypeIntegralWidth();
  if (!type.getExpressedType().isF32())
    return {{}, "its expressed type is not f32"};
  if (!llvm::is_contained({4u, 8u, 16u, 32u}, width))
    return {{}, "its storage width is not 4, 8, 16 or 32 bits"};
  int64_t shift = getShift(type);
  auto [min, max] = getIntegerRange(width, /*isSigned=*/true);
  SmallVector<float> scales;
  SmallVector<int64_t> zeroPoints;
  for (auto [scale, zeroPoint] :
       llvm::zip_equal(groups.scales, groups.zeroPoints)) {
    scales.push_back(static_cast<float>(scale));
    zeroPoints.push_back(zeroPoint - shift);
    if (!std::isnormal(scales.back()) || scales.back() < 0)
      return {{}, "a scale is not a positive, finite, normal f32 number"};
    if (zeroPoints.back() < min || zeroPoints.back() > max)
      return {{}, "a zero point is outside the storage range"};
  }
  if (groups.sizes.size() == 1)
    return {
        getUniform(type, groups.scales[0], groups.zeroPoints[0]), {}, shift};
  MLIRContext *context = type.getContext();
  bool isWidened = type.getStorageTypeMin() - shift > min ||
                   type.getStorageTypeMax() - shift < max;
  return {GroupedType::get(context, width, /*isSigned=*/true, groups.axis,
                           groups.sizes,
                           DenseF32ArrayAttr::get(context, scales),
                           DenseI64ArrayAttr::get(context, zeroPoints)),
          {},
          shift,
          isWidened};
}

static Converted convertPerAxis(UniformQuantizedPerAxisType type,
                                RankedTensorType tensor) {
  int64_t axis = type.getQuantizedDimension();
  int64_t channels = type.getScales().size();
  if (axis >= tensor.getRank() || tensor.getDimSize(axis) != channels ||
      channels == 0)
    return {{}, "its dimension has no static size equal to its scales"};
  return getGrouped(type,
                    {axis - tensor.getRank(), SmallVector<int64_t>(channels, 1),
                     llvm::to_vector(type.getScales()),
                     llvm::to_vector(type.getZeroPoints())});
}

static Converted convertSubChannel(UniformQuantizedSubChannelType type,
                                   RankedTensorType tensor) {
  ArrayRef<int64_t> shape = type.getScales().getType().getShape();
  if (int64_t(shape.size()) != tensor.getRank())
    return {{}, "its scales have another rank than the tensor"};
  int64_t axis = -1;
  for (auto [dim, blocks] : llvm::enumerate(shape)) {
    if (blocks == 1)
      continue;
    if (axis >= 0)
      return {{}, "it has blocks along several dimensions"};
    axis = dim;
  }
  // One scale in all: which dimension has it does not matter.
  bool isPerTensor = axis < 0;
  int64_t blocks = isPerTensor ? 1 : shape[axis], size = 1;
  if (!isPerTensor) {
    int64_t channels = tensor.getDimSize(axis);
    if (ShapedType::isDynamic(channels) || channels == 0 || blocks == 0 ||
        channels % blocks != 0)
      return {{}, "its dimension has no static size that the blocks divide"};
    size = channels / blocks;
  }
  Groups groups = {
      axis - tensor.getRank(), SmallVector<int64_t>(blocks, size), {}, {}};
  for (const APFloat &scale : type.getScales().getValues<APFloat>())
    groups.scales.push_back(scale.convertToDouble());
  for (const APInt &zeroPoint : type.getZeroPoints().getValues<APInt>())
    groups.zeroPoints.push_back(type.isSigned() ? zeroPoint.getSExtValue()
                                                : zeroPoint.getZExtValue());
  return getGrouped(type, groups);
}

static Converted convertToQtx(RankedTensorType tensor) {
  Type elementType = tensor.getElementType();
  if (auto perAxis = dyn_cast<UniformQuantizedPerAxisType>(elementType))
    return convertPerAxis(perAxis, tensor);
  if (auto subChannel = dyn_cast<UniformQuantizedSubChannelType>(elementType))
    return convertSubChannel(subChannel, tensor);
  if (auto uniform = dyn_cast<UniformQuantizedType>(elementType))
    if (!uniform.isSigned())
      return {getUniform(uniform, uniform.getScale(), uniform.getZeroPoint()),
              {},
              getShift(uniform)};
  auto grouped = dyn_cast<GroupedType>(elementType);
  if (!grouped || grouped.getIsSigned())
    return {elementType};
  int64_t shift = int64_t(1) << (grouped.getStorageWidth() - 1);
  DenseI64ArrayAttr zeroPoints = grouped.getZeroPoints();
  if (!zeroPoints)
    return {{}, "unsigned run-time zero points are not known"};
  SmallVector<int64_t> shifted =
      llvm::map_to_vector(zeroPoints.asArrayRef(),
                          [&](int64_t zeroPoint) { return zeroPoint - shift; });
  MLIRContext *context = grouped.getContext();
  return {GroupedType::get(context, grouped.getStorageWidth(), true,
                           grouped.getAxis(), grouped.getGroupSizes(),
                           grouped.getScales(),
                           DenseI64ArrayAttr::get(context, shifted)),
          {},
          shift};
}

/// Blocks of one size along `dim`: scales and zero points are tensors with the
/// rank of `tensor`.
static Type getSubChannel(GroupedType grouped, RankedTensorType tensor,
                          int64_t dim, IntegerType storage) {
  SmallVector<int64_t> shape(tensor.getRank(), 1);
  shape[dim] = grouped.getNumGroups();
  auto f32 = Float32Type::get(grouped.getContext());
  SmallVector<APInt> zeroPoints = llvm::map_to_vector(
      grouped.getZeroPoints().asArrayRef(), [&](int64_t zeroPoint) {
        return APInt(storage.getWidth(), zeroPoint, /*isSigned=*/true,
                     /*implicitTrunc=*/true);
      });
  auto [min, max] =
      getIntegerRange(grouped.getStorageWidth(), grouped.getIsSigned());
  return UniformQuantizedSubChannelType::get(
      grouped.getIsSigned() ? quant::QuantizationFlags::Signed : 0, storage,
      f32,
      DenseElementsAttr::get(RankedTensorType::get(shape, f32),
                             grouped.getScales().asArrayRef()),
      DenseElementsAttr::get(RankedTensorType::get(shape, storage), zeroPoints),
      {int32_t(dim)}, {grouped.getGroupSizes().front()}, min, max);
}

static Converted convertToUpstream(RankedTensorType tensor) {
  auto grouped = dyn_cast<GroupedType>(tensor.getElementType());
  if (!grouped)
    return {tensor.getElementType()};
  if (grouped.isDynamic())
    return {{}, "its parameters are run-time values"};
  if (!llvm::all_equal(grouped.getGroupSizes()))
    return {{}, "its groups have several sizes"};
  int64_t dim = tensor.getRank() + grouped.getAxis();
  if (dim < 0 || tensor.getDimSize(dim) != grouped.getNumChannels())
    return {{}, "its groups do not sum to the size of its axis"};
  MLIRContext *context = grouped.getContext();
  auto storage = IntegerType::get(context, grouped.getStorageWidth());
  if (grouped.getGroupSizes().front() != 1)
    return {getSubChannel(grouped, tensor, dim, storage)};
  SmallVector<double> scales(grouped.getScales().asArrayRef());
  auto [min, max] =
      getIntegerRange(grouped.getStorageWidth(), grouped.getIsSigned());
  return {UniformQuantizedPerAxisType::get(
      grouped.getIsSigned() ? quant::QuantizationFlags::Signed : 0, storage,
      Float32Type::get(context), scales, grouped.getZeroPoints(), dim, min,
      max)};
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

namespace {

class Converter {
public:
  Converter(ModuleOp module, bool toUpstream)
      : module(module), toUpstream(toUpstream) {
    replacer.addReplacement([this](RankedTensorType type) -> Type {
      Converted converted = convert(type);
      return converted.elementType ? type.clone(converted.elementType) : type;
    });
  }

  LogicalResult run() {
    bool allConvertible = true;
    module->walk([&](Operation *op) {
      allConvertible &= succeeded(verifyConvertible(op));
    });
    if (!allConvertible)
      return failure();
    module->walk([&](FunctionOpInterface op) { reportStorage(op); });
    if (toUpstream)
      castsToUpstream();
    else
      castsToQtx();
    module->walk([&](Operation *op) { retype(op, replacer); });
    return success();
  }

private:
  Converted convert(RankedTensorType type) const {
    return toUpstream ? convertToUpstream(type) : convertToQtx(type);
  }
  Converted convert(Value value) const {
    return convert(cast<RankedTensorType>(value.getType()));
  }

  //===--------------------------------------------------------------------===//
  // Legality
  //===--------------------------------------------------------------------===//

  LogicalResult verifyConvertible(Operation *op) {
    StringRef reason;
    Type type = findType(op, [&](Type type) {
      type.walk([&](RankedTensorType tensor) {
        reason = convert(tensor).reason;
        return reason.empty() ? WalkResult::advance() : WalkResult::interrupt();
      });
      return !reason.empty();
    });
    if (type)
      return op->emitOpError() << "cannot convert the quantized type of "
                               << type << ": " << reason;
    Type changed =
        findType(op, [&](Type type) { return replacer.replace(type) != type; });
    if (!changed)
      return reportStorageForm(op);
    if (auto function = dyn_cast<FunctionOpInterface>(op))
      if (function.isExternal())
        return op->emitOpError()
               << "cannot be converted: expected a body, since " << changed
               << " would change";
    if (canConvert(op))
      return verifyCast(op);
    return op->emitOpError()
           << "cannot be converted: expected a function, a call, control flow, "
              "a cast or a qtx operation to use "
           << changed;
  }

  bool canConvert(Operation *op) {
    if (isTypeAgnostic(op) ||
        isa<quant::StorageCastOp, quant::QuantizeCastOp,
            quant::DequantizeCastOp, UnrealizedConversionCastOp>(op))
      return true;
    return toUpstream ? isa<QuantizeOp, DequantizeOp>(op)
                      : isa<QuantizableOpInterface>(op);
  }

  LogicalResult verifyCast(Operation *op) {
    if (auto cast = dyn_cast<quant::QuantizeCastOp>(op))
      if (!toUpstream && convert(cast.getResult()).isWidened)
        return op->emitOpError()
               << "cannot be converted: expected the whole storage range of "
               << cast.getType() << " to quantize to";
    return success();
  }

  //===--------------------------------------------------------------------===//
  // Remarks
  //===--------------------------------------------------------------------===//

  /// Storage form has no types that change, but may name unsigned ones.
  LogicalResult reportStorageForm(Operation *op) {
    auto quantizable = dyn_cast<QuantizableOpInterface>(op);
    if (!quantizable || toUpstream)
      return success();
    for (const QuantEdge &edge : quantizable.getQuantEdges()) {
      std::optional<QuantParams> params = getQuantParams(op, edge);
      if (params && !params->isSigned())
        remark::missed(op->getLoc(), kRemark)
            << remark::reason("keeps unsigned storage in storage form");
    }
    return success();
  }

  void reportStorage(FunctionOpInterface op) {
    bool isShifted = false;
    op.getFunctionType().walk(
        [&](RankedTensorType type) { isShifted |= convert(type).shift != 0; });
    if (isShifted)
      remark::passed(op.getLoc(), kRemark)
          << remark::add("takes and returns signed integers for unsigned ones");
  }

  void reportCast(Operation *op, StringRef what) {
    remark::passed(op->getLoc(), kRemark) << remark::add("{0}", what);
  }

  //===--------------------------------------------------------------------===//
  // Casts
  //===--------------------------------------------------------------------===//

  void castsToQtx() {
    for (auto op : collectOps<quant::QuantizeCastOp>(module))
      if (isF32Tensor(op.getInput())) {
        reportCast(op, "becomes qtx.quantize");
        OpBuilder builder(op);
        replace(op, QuantizeOp::create(builder, op.getLoc(), op.getType(),
                                       op.getInput(), Value(), Value(),
                                       TypeAttr()));
      }
    for (auto op : collectOps<quant::DequantizeCastOp>(module))
      if (isF32Tensor(op.getResult())) {
        reportCast(op, "becomes qtx.dequantize");
        OpBuilder builder(op);
        replace(op, DequantizeOp::create(builder, op.getLoc(), op.getType(),
                                         op.getInput(), Value(), Value(),
                                         TypeAttr()));
      }
    for (auto op : collectOps<quant::StorageCastOp>(module))
      if (isa<RankedTensorType>(op.getType()) &&
          isa<RankedTensorType>(op.getInput().getType()))
        castStorage(op);
  }

  static bool isF32Tensor(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.getElementType().isF32();
  }

  /// Moves the integers that `op` reinterprets, and writes it as a cast that
  /// takes `!qtx.grouped`.
  void castStorage(quant::StorageCastOp op) {
    Value input = op.getInput();
    Converted from = convert(input), to = convert(op.getResult());
    OpBuilder builder(op);
    if (to.shift != 0)
      input = shiftStored<arith::SubIOp>(builder, op.getLoc(), input);
    bool isGrouped =
        isa<GroupedType>(from.elementType) || isa<GroupedType>(to.elementType);
    Operation *cast = op;
    if (isGrouped)
      cast = UnrealizedConversionCastOp::create(builder, op.getLoc(),
                                                op.getType(), input);
    else
      op->setOperand(0, input);
    Value result = cast->getResult(0);
    if (from.shift != 0) {
      builder.setInsertionPointAfter(cast);
      Value shifted = shiftStored<arith::AddIOp>(builder, op.getLoc(), result);
      op->replaceUsesWithIf(ValueRange(shifted), [&](OpOperand &use) {
        return use.getOwner() != shifted.getDefiningOp();
      });
      reportCast(op, "adds half the range to signed storage");
    } else if (cast != op) {
      op->replaceAllUsesWith(cast);
    }
    if (to.shift != 0)
      reportCast(op, "subtracts half the range from unsigned storage");
    if (cast != op)
      op->erase();
  }

  /// x -/+ 2^(width - 1), in the width of `x`, where both wrap.
  template <typename OpTy>
  static Value shiftStored(OpBuilder &builder, Location loc, Value x) {
    auto type = cast<RankedTensorType>(x.getType());
    unsigned width = type.getElementType().getIntOrFloatBitWidth();
    auto half = IntegerAttr::get(type.getElementType(),
                                 APInt::getSignedMinValue(width));
    Value splat;
    if (type.hasStaticShape()) {
      splat = arith::ConstantOp::create(builder, loc,
                                        DenseElementsAttr::get(type, half));
    } else {
      Value scalar = arith::ConstantOp::create(builder, loc, half);
      SmallVector<Value> sizes;
      for (int64_t dim = 0; dim < type.getRank(); ++dim)
        if (type.isDynamicDim(dim))
          sizes.push_back(tensor::DimOp::create(builder, loc, x, dim));
      splat = tensor::SplatOp::create(builder, loc, type, scalar, sizes);
    }
    return OpTy::create(builder, loc, x, splat);
  }

  void castsToUpstream() {
    // Storage form has no quantized type to cast to.
    for (auto op : collectOps<QuantizeOp>(module))
      if (isInQuantizedForm(op) && !op.getYScale()) {
        reportCast(op, "becomes quant.qcast");
        OpBuilder builder(op);
        replace(op, createCast<quant::QuantizeCastOp>(builder, op, op.getX()));
      }
    for (auto op : collectOps<DequantizeOp>(module))
      if (isInQuantizedForm(op) && !op.getXScale()) {
        reportCast(op, "becomes quant.dcast");
        OpBuilder builder(op);
        replace(op,
                createCast<quant::DequantizeCastOp>(builder, op, op.getX()));
      }
    for (auto op : collectOps<UnrealizedConversionCastOp>(module)) {
      if (op->getNumOperands() != 1 || op->getNumResults() != 1 ||
          getStorageForm(op.getOperand(0).getType()) !=
              getStorageForm(op.getResult(0).getType()))
        continue;
      OpBuilder builder(op);
      replace(op,
              createCast<quant::StorageCastOp>(builder, op, op.getOperand(0)));
    }
  }

  template <typename OpTy>
  static OpTy createCast(OpBuilder &builder, Operation *op, Value input) {
    return OpTy::create(builder, op->getLoc(), op->getResult(0).getType(),
                        input);
  }

  static void replace(Operation *op, Operation *replacement) {
    op->replaceAllUsesWith(replacement);
    op->erase();
  }

  ModuleOp module;
  bool toUpstream;
  AttrTypeReplacer replacer;
};

struct QtxConvertQuantTypesPass
    : qtx::impl::QtxConvertQuantTypesPassBase<QtxConvertQuantTypesPass> {
  using QtxConvertQuantTypesPassBase::QtxConvertQuantTypesPassBase;

  void runOnOperation() override {
    if (failed(Converter(getOperation(), toUpstream).run()))
      signalPassFailure();
  }
};

} // namespace
