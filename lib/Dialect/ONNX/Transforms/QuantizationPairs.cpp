//===- QuantizationPairs.cpp - Values quantized and turned back ---------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizationPairs.h"
#include "Matchers.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

static constexpr auto kRemark = remark::RemarkOpts::name("ConvertQuantization")
                                    .category("onnx-convert-quantization");

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

/// `value` without symbolic sizes.
Value qtx::onnx::getPlain(OpBuilder &builder, Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (!type.getEncoding())
    return value;
  return UnrealizedConversionCastOp::create(builder, value.getLoc(),
                                            TypeRange(dropDims(type)), value)
      .getResult(0);
}

/// `plain` takes the place of `old`.
void qtx::onnx::replace(OpBuilder &builder, Value old, Value plain) {
  if (plain.getType() != old.getType())
    plain = UnrealizedConversionCastOp::create(builder, plain.getLoc(),
                                               TypeRange(old.getType()), plain)
                .getResult(0);
  old.replaceAllUsesWith(plain);
}

SmallVector<NodeOp> qtx::onnx::getNodes(func::FuncOp func) {
  SmallVector<NodeOp> nodes;
  func.walk([&](NodeOp node) { nodes.push_back(node); });
  return nodes;
}

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

namespace {
/// The constants that say how a node quantizes to, or dequantizes from, 8 bits.
struct Parameters {
  ConstantView scales;
  std::optional<ConstantView> zeroPoints;
  bool isUnsigned;

  int64_t getCount() const { return scales.getNumElements(); }
  /// Codes of 0 to 255 move down once, so that all are signed.
  int64_t getZeroPoint(int64_t index) const {
    auto zero =
        zeroPoints ? static_cast<int64_t>(zeroPoints->getNumber(index)) : 0;
    return isUnsigned ? (zero & 0xFF) - 128 : zero;
  }
};
} // namespace

static std::optional<Parameters> getParameters(NodeOp node) {
  auto scales = ConstantView::get(strip(node.getInputs()[1]));
  if (!scales || !scales->getType().getElementType().isF32())
    return std::nullopt;
  Type coded = getElementTypeOrSelf(node.is("QuantizeLinear")
                                        ? node.getOutputs()[0].getType()
                                        : node.getInputs()[0].getType());
  bool isUnsigned = coded.isUnsignedInteger(8);
  if (!isUnsigned && !coded.isSignlessInteger(8))
    return std::nullopt;
  Parameters parameters{*scales, std::nullopt, isUnsigned};
  if (Value given = node.getOptionalInput(2)) {
    parameters.zeroPoints = ConstantView::get(strip(given));
    if (!parameters.zeroPoints ||
        parameters.zeroPoints->getNumElements() != parameters.getCount())
      return std::nullopt;
  }
  for (int64_t i = 0; i < parameters.getCount(); ++i)
    if (!std::isnormal(scales->getFloat(i)) || scales->getFloat(i) < 0)
      return std::nullopt;
  return parameters;
}

/// Groups of adjacent channels with the same of the first `count` parameters,
/// one for each `block` of `channels`.
static Type getGroups(MLIRContext *context, const Parameters &parameters,
                      int64_t count, int64_t block, int64_t channels) {
  SmallVector<int64_t> sizes, zeroPoints;
  SmallVector<float> scales;
  for (int64_t i = 0; i < count; ++i) {
    int64_t size = std::min(block, channels - i * block);
    float scale = parameters.scales.getFloat(i);
    int64_t zeroPoint = parameters.getZeroPoint(i);
    if (!sizes.empty() && scales.back() == scale &&
        zeroPoints.back() == zeroPoint) {
      sizes.back() += size;
      continue;
    }
    sizes.push_back(size);
    scales.push_back(scale);
    zeroPoints.push_back(zeroPoint);
  }
  if (sizes.size() == 1)
    return quant::UniformQuantizedType::get(
        quant::QuantizationFlags::Signed, IntegerType::get(context, 8),
        Float32Type::get(context), scales.front(), zeroPoints.front(), -128,
        127);
  return GroupedType::get(context, /*storageWidth=*/8, /*isSigned=*/true,
                          /*axis=*/-1, sizes,
                          DenseF32ArrayAttr::get(context, scales),
                          DenseI64ArrayAttr::get(context, zeroPoints));
}

/// The element type of what a node quantizes to, or dequantizes from, 8 bits
/// with one scale, or with the same ones along the last axis of every row; null
/// for others.
static Type getQuantizedType(NodeOp node) {
  std::optional<Parameters> parameters = getParameters(node);
  if (!parameters)
    return {};
  if (parameters->getCount() == 1)
    return getGroups(node.getContext(), *parameters, 1, 1, 1);
  auto type = cast<RankedTensorType>(node.getInputs()[0].getType());
  int64_t last = type.getRank() - 1, block = node.getIntAttr("block_size", 1);
  if (last < 0 || node.getIntAttr("axis", -1) != last ||
      type.isDynamicDim(last) || block < 1)
    return {};
  int64_t channels = type.getDimSize(last);
  int64_t count = llvm::divideCeil(channels, block);
  if (count == 0 || parameters->getCount() % count != 0)
    return {};
  for (int64_t i = count; i < parameters->getCount(); ++i)
    if (parameters->scales.getFloat(i) !=
            parameters->scales.getFloat(i % count) ||
        parameters->getZeroPoint(i) != parameters->getZeroPoint(i % count))
      return {};
  return getGroups(node.getContext(), *parameters, count, block, channels);
}

/// The only node that reads the codes, if it turns them back with the same
/// parameters; else null.
static NodeOp getInverse(NodeOp quantize) {
  NodeOp inverse = getOnlyUser(quantize.getOutputs()[0]);
  bool isPair = inverse && inverse.is("DequantizeLinear") &&
                strip(inverse.getInputs()[0]) == quantize.getOutputs()[0] &&
                isF32(inverse.getOutputs()[0]) &&
                isF32(quantize.getInputs()[0]) && getQuantizedType(quantize) &&
                getQuantizedType(quantize) == getQuantizedType(inverse);
  return isPair ? inverse : NodeOp();
}

namespace {
/// A node that moves the elements of an operand, and multiplies them.
struct Move {
  unsigned operand = 0;
  double factor = 1;
};
} // namespace

static bool isMovement(NodeOp node) {
  return node && (node.is("Reshape") || node.is("Transpose"));
}

/// How `node` moves elements; nothing if it does anything else. A factor by
/// itself may be part of an activation, and counts only behind a movement.
static std::optional<Move> getMove(NodeOp node) {
  if (isMovement(node))
    return Move();
  bool isDivision = node.is("Div");
  auto operands =
      isDivision || node.is("Mul") ? getScalarOperand(node) : std::nullopt;
  if (!operands || !(operands->scalar > 0) ||
      !isMovement(operands->value.getDefiningOp<NodeOp>()) ||
      !haveSameDims(operands->value, node.getOutputs()[0]))
    return std::nullopt;
  unsigned operand = operands->value == node.getInputs()[0] ? 0 : 1;
  if (isDivision)
    return operand == 0 ? std::optional(Move{0, 1 / operands->scalar})
                        : std::nullopt;
  return Move{operand, operands->scalar};
}

/// Gives the pair the scale that yields the same codes for values that are
/// smaller by `factor`; false if it is not a normal number.
static bool divideScale(NodeOp quantize, NodeOp inverse, double factor) {
  if (factor == 1)
    return true;
  auto view = ConstantView::get(strip(quantize.getInputs()[1]));
  auto scale = static_cast<float>(view->getFloat(0) / factor);
  if (!std::isnormal(scale))
    return false;
  OpBuilder builder(quantize);
  Value divided =
      arith::ConstantOp::create(builder, quantize.getLoc(),
                                DenseElementsAttr::get(view->getType(), scale));
  quantize->setOperand(1, divided);
  inverse->setOperand(1, divided);
  return true;
}

/// Moves a pair in front of the node that only moves what is quantized, so that
/// it follows the operation that computes it.
static bool hoistPair(NodeOp quantize, NodeOp inverse) {
  auto moved = quantize.getInputs()[0].getDefiningOp<NodeOp>();
  auto move = moved && moved->hasOneUse() ? getMove(moved) : std::nullopt;
  // Channels move too.
  if (!move || !isa<quant::UniformQuantizedType>(getQuantizedType(quantize)))
    return false;
  Value source = moved.getInputs()[move->operand];
  if (isa_and_present<arith::ConstantOp>(source.getDefiningOp()) ||
      !divideScale(quantize, inverse, move->factor))
    return false;
  auto codes = cast<RankedTensorType>(quantize.getOutputs()[0].getType());
  quantize->setOperand(0, source);
  quantize.getOutputs()[0].setType(
      getTensorType(getDims(source), codes.getElementType()));
  inverse.getOutputs()[0].replaceAllUsesWith(moved.getOutputs()[0]);
  inverse.getOutputs()[0].setType(source.getType());
  moved->setOperand(move->operand, inverse.getOutputs()[0]);
  moved->moveAfter(inverse);
  return true;
}

static void convertPair(NodeOp quantize, NodeOp inverse) {
  OpBuilder builder(quantize);
  Value plain = getPlain(builder, quantize.getInputs()[0]);
  auto type = cast<RankedTensorType>(plain.getType());
  Location loc = quantize.getLoc();
  bool isGrouped = isa<GroupedType>(getQuantizedType(quantize));
  Value codes = QuantizeOp::create(
      builder, loc,
      RankedTensorType::get(type.getShape(), getQuantizedType(quantize)), plain,
      /*y_scale=*/Value(), /*y_zero_point=*/Value(),
      /*y_quant=*/TypeAttr());
  Value back = DequantizeOp::create(
      builder, inverse.getLoc(), type, codes, /*x_scale=*/Value(),
      /*x_zero_point=*/Value(), /*x_quant=*/TypeAttr());
  replace(builder, inverse.getOutputs()[0], back);
  inverse->erase();
  quantize->erase();
  remark::passed(loc, kRemark)
      << (isGrouped ? "kept the model's scales" : "kept the model's scale");
}

void qtx::onnx::convertPairs(func::FuncOp func) {
  for (NodeOp node : getNodes(func)) {
    if (!node.is("QuantizeLinear"))
      continue;
    NodeOp inverse = getInverse(node);
    while (inverse && hoistPair(node, inverse)) {
    }
  }
  SmallVector<std::pair<NodeOp, NodeOp>> pairs;
  for (NodeOp node : getNodes(func))
    if (NodeOp inverse =
            node.is("QuantizeLinear") ? getInverse(node) : NodeOp())
      pairs.emplace_back(node, inverse);
  for (auto [quantize, inverse] : pairs)
    convertPair(quantize, inverse);
  for (NodeOp node : getNodes(func))
    if (node.is("QuantizeLinear"))
      remark::missed(node.getLoc(), kRemark) << remark::reason(
          "QuantizeLinear stays: nothing turns its codes back with constant "
          "scales along the last axis");
}
