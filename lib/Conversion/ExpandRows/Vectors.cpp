//===- Vectors.cpp - Values in vectors of columns -------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "qtx/Support/Rounding.h"

using namespace mlir;
using namespace qtx;

Value RowsEmitter::getVector(Value value) {
  Value &vector = vectors[value];
  if (vector)
    return vector;
  Value created = createVector(value);
  return vectors[value] = created;
}

Value RowsEmitter::createVector(Value value) {
  if (analysis.isUniform(value))
    return vector::BroadcastOp::create(builder, getVectorType(value.getType()),
                                       row.scalars.lookup(value));
  if (passLevel > analysis.getLevel(value) &&
      (keptInOutput.contains(value) || keptInBuffer.contains(value)))
    return load(getKeptBuffer(value), getKeptIndices(value));
  if (Value constant = createConstant(value))
    return constant;
  if (auto argument = dyn_cast<BlockArgument>(value))
    return load(op.getInputs()[argument.getArgNumber()],
                getIndices(argument.getArgNumber(), currentColumn));
  Operation *nested = value.getDefiningOp();
  if (Value bounded = createBounded(nested))
    return bounded;
  if (Value rounded = createRounded(nested))
    return rounded;
  IRMapping mapping;
  for (Value operand : nested->getOperands())
    mapping.map(operand, getVector(operand));
  Operation *clone = builder.clone(*nested, mapping);
  clone->getResult(0).setType(getVectorType(value.getType()));
  return clone->getResult(0);
}

Value RowsEmitter::createConstant(Value value) {
  auto argument = dyn_cast<BlockArgument>(value);
  TypedAttr number =
      argument && currentRun
          ? columnRuns.getValue(argument.getArgNumber(), *currentRun)
          : TypedAttr();
  if (!number)
    return {};
  return arith::ConstantOp::create(
      builder, DenseElementsAttr::get(getVectorType(number.getType()),
                                      Attribute(number)));
}

//===----------------------------------------------------------------------===//
// Quantization
//===----------------------------------------------------------------------===//

static bool isIntegral(Value value) {
  APFloat number(0.0f);
  if (matchPattern(value, m_ConstantFloat(&number)))
    return number.isInteger();
  return isa_and_present<arith::SIToFPOp>(value.getDefiningOp());
}

/// Whether `nested` is the larger or smaller of a value and a number.
static bool isBounded(Operation *nested) {
  if (!isa_and_present<arith::MaxNumFOp, arith::MinNumFOp>(nested))
    return false;
  APFloat number(0.0f);
  if (matchPattern(nested->getOperand(1), m_ConstantFloat(&number)))
    return !number.isNaN();
  return isIntegral(nested->getOperand(1));
}

Value RowsEmitter::createBounded(Operation *nested) {
  if (!isBounded(nested))
    return {};
  return bound(nested, getVector(nested->getOperand(0)));
}

Value RowsEmitter::bound(Operation *nested, Value x) {
  Value limit = getVector(nested->getOperand(1));
  auto predicate = isa<arith::MaxNumFOp>(nested) ? arith::CmpFPredicate::OGT
                                                 : arith::CmpFPredicate::OLT;
  Value isInside = arith::CmpFOp::create(builder, predicate, x, limit);
  return arith::SelectOp::create(builder, isInside, x, limit);
}

Value RowsEmitter::createRounded(Operation *nested) {
  if (!isa<arith::FPToSIOp>(nested) ||
      !nested->getResult(0).getType().isInteger(32))
    return {};
  Operation *upper = nested->getOperand(0).getDefiningOp();
  Operation *lower =
      isBounded(upper) ? upper->getOperand(0).getDefiningOp() : nullptr;
  if (!isBounded(lower) || !isIntegral(upper->getOperand(1)) ||
      !isIntegral(lower->getOperand(1)))
    return {};
  auto rounded = lower->getOperand(0).getDefiningOp<math::RoundEvenOp>();
  if (!rounded || !rounded.getType().isF32())
    return {};
  Value x = bound(upper, bound(lower, getVector(rounded.getOperand())));
  return createNearestIntegers(builder, x);
}

//===----------------------------------------------------------------------===//
// Loads and stores
//===----------------------------------------------------------------------===//

Value RowsEmitter::getKeptBuffer(Value value) {
  auto output = keptInOutput.find(value);
  return output == keptInOutput.end() ? keptInBuffer.lookup(value)
                                      : op.getOutputs()[output->second];
}

SmallVector<Value> RowsEmitter::getKeptIndices(Value value) {
  auto output = keptInOutput.find(value);
  if (output == keptInOutput.end())
    return {currentColumn};
  return getIndices(op.getInputs().size() + output->second, currentColumn);
}

Value RowsEmitter::load(Value buffer, ValueRange at) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  VectorType type = getVectorType(element);
  if (!mask)
    return vector::LoadOp::create(builder, type, buffer, at);
  Value padding = arith::ConstantOp::create(builder, builder.getZeroAttr(type));
  return vector::MaskedLoadOp::create(builder, type, buffer, at, mask, padding);
}

void RowsEmitter::store(Value vector, Value buffer, ValueRange at) {
  if (mask && isOneLaneLeft())
    // LLVM 22 makes four bytes of a masked store of one truncated lane.
    memref::StoreOp::create(
        builder, vector::ExtractOp::create(builder, vector, 0), buffer, at);
  else if (mask)
    vector::MaskedStoreOp::create(builder, buffer, at, mask, vector);
  else
    vector::StoreOp::create(builder, vector, buffer, at);
}

bool RowsEmitter::isOneLaneLeft() {
  if (currentRun)
    return (currentRun->end - currentRun->begin) % lanes == 1;
  APInt size;
  return matchPattern(numColumns, m_ConstantInt(&size)) &&
         size.urem(lanes) == 1;
}

void RowsEmitter::storeOutput(unsigned output, Value vector) {
  Value buffer = op.getOutputs()[output];
  unsigned operand = op.getInputs().size() + output;
  std::optional<unsigned> columns = op.getColumnsOf(output);
  if (!columns)
    return store(vector, buffer, getIndices(operand, currentColumn));
  Value stored = mask;
  if (!stored)
    stored = vector::ConstantMaskOp::create(
        builder, VectorType::get(lanes, builder.getI1Type()),
        vector::ConstantMaskKind::AllTrue);
  vector::ScatterOp::create(builder, Type(), buffer, getIndices(operand, zero),
                            getVector(op.getBody().getArgument(*columns)),
                            stored, vector);
}
