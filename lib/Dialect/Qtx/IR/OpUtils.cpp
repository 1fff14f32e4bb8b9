//===- OpUtils.cpp - Shared pieces of operations --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;
using namespace qtx;

LogicalResult qtx::verifyClip(Operation *op, const APFloat &gamma,
                              const APFloat &zeta) {
  if (!gamma.isFinite() || gamma > APFloat(0.0f))
    return op->emitOpError() << "expected a finite gamma of at most 0, found "
                             << gamma.convertToFloat();
  if (!zeta.isFinite() || zeta < APFloat(1.0f))
    return op->emitOpError() << "expected a finite zeta of at least 1, found "
                             << zeta.convertToFloat();
  // An infinite stretch would make NaN of a probability that is 0.
  if (!(zeta - gamma).isFinite())
    return op->emitOpError()
           << "expected a finite zeta - gamma, found zeta "
           << zeta.convertToFloat() << " and gamma " << gamma.convertToFloat();
  return success();
}

ElementsAttr qtx::getConstantElements(Value value) {
  Operation *constant = value.getDefiningOp();
  if (!constant || !constant->hasTrait<OpTrait::ConstantLike>())
    return {};
  auto elements = constant->getAttrOfType<ElementsAttr>("value");
  if (!elements || elements.getShapedType() != value.getType())
    return {};
  return elements;
}

LogicalResult qtx::verifyTilesInStorageForm(Operation *op) {
  for (Type type :
       llvm::concat<const Type>(llvm::to_vector_of<Type>(op->getOperandTypes()),
                                llvm::to_vector_of<Type>(op->getResultTypes())))
    if (getStorageForm(type) != type)
      return op->emitOpError() << "cannot be tiled in quantized form, found "
                               << type << "; run 'qtx-to-storage' first";
  return success();
}

/// The only element of the constant `value`; null if it is something else.
template <typename ElementAttr>
static ElementAttr getOnlyConstant(Value value) {
  DenseElementsAttr elements;
  if (!matchPattern(value, m_Constant(&elements)) ||
      elements.getNumElements() != 1)
    return {};
  return dyn_cast<ElementAttr>(*elements.value_begin<Attribute>());
}

Type qtx::getPerTensorEquivalent(Operation *op, const QuantEdge &edge) {
  auto attr = op->getAttrOfType<TypeAttr>(edge.attrName);
  std::optional<QuantParams> params =
      attr ? QuantParams::get(attr.getValue()) : std::nullopt;
  if (!params || !params->isDynamic() || params->getNumGroups() != 1)
    return {};
  auto scaleAttr = getOnlyConstant<FloatAttr>(edge.scale);
  auto zeroPointAttr = edge.zeroPoint
                           ? getOnlyConstant<IntegerAttr>(edge.zeroPoint)
                           : IntegerAttr();
  if (!scaleAttr || (edge.zeroPoint && !zeroPointAttr))
    return {};
  // What a type cannot say stays an operand.
  float scale = scaleAttr.getValue().convertToFloat();
  int64_t zeroPoint = zeroPointAttr ? zeroPointAttr.getInt() : 0;
  if (!std::isnormal(scale) || scale < 0 ||
      zeroPoint < params->getStorageMin() ||
      zeroPoint > params->getStorageMax())
    return {};
  return quant::UniformQuantizedType::get(
      params->isSigned() ? quant::QuantizationFlags::Signed : 0,
      params->getStorageType(), Float32Type::get(op->getContext()), scale,
      zeroPoint, params->getStorageMin(), params->getStorageMax());
}
