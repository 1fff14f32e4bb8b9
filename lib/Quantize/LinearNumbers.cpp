//===- LinearNumbers.cpp - Weights of linears as numbers ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearNumbers.h"
#include "Dialect/Qtx/Transforms/ConstantUtils.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace qtx;

Value qtx::createFloats(OpBuilder &builder, Location loc,
                        ArrayRef<int64_t> shape, ArrayRef<float> values) {
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  return ConstantTensor::create(type, values).materialize(builder, loc);
}

bool qtx::isFloatTensor(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getElementType().isF32();
}

bool qtx::isAdjustable(LinearOp op) {
  if (!isFloatTensor(op.getX()) || !isFloatTensor(op.getWeight()) ||
      !op.getWeight().getType().hasStaticShape() ||
      !ConstantTensor::isConstant(op.getWeight()))
    return false;
  Value bias = op.getBias();
  return !bias || (cast<RankedTensorType>(bias.getType()).getRank() == 1 &&
                   ConstantTensor::isConstant(bias));
}

LinearNumbers::LinearNumbers(LinearOp op)
    : rows(op.getNumOutputs()), columns(op.getContractedSize()),
      weights(ConstantTensor::get(op.getWeight())->getFloats()),
      bias(rows, 0.0f) {
  if (op.getBias())
    bias = ConstantTensor::get(op.getBias())->getFloats();
}

DenseResourceElementsAttr LinearNumbers::storeWeights(LinearOp op) const {
  OpBuilder builder(op);
  Value constant =
      ConstantTensor::create(op.getWeight().getType(), ArrayRef(weights))
          .asResource()
          .materialize(builder, op.getWeight().getLoc());
  op.getWeightMutable().assign(constant);
  DenseResourceElementsAttr attr;
  matchPattern(constant, m_Constant(&attr));
  return attr;
}

void LinearNumbers::storeBias(LinearOp op) const {
  OpBuilder builder(op);
  Location loc = op.getBias() ? op.getBias().getLoc() : op.getLoc();
  op.getBiasMutable().assign(createFloats(builder, loc, {rows}, bias));
}
