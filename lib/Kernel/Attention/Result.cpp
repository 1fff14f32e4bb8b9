//===- Result.cpp - Results of qtx.attention ------------------------------===//
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
#include "qtx/Support/Polynomials.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// A row of the result
//===----------------------------------------------------------------------===//

void AttentionEmitter::emitResult(Value row) {
  at.row = row;
  Value term = createContextTerm(), factor = createContextFactor(), gate;
  SmallVector<Value> gateIndices = {at.batch, at.head, add(at.query, row)};
  bool isGatePerRow =
      view->getGate() &&
      cast<MemRefType>(view->getGate().getType()).getRank() == 3;
  if (isGatePerRow)
    gate = splat(
        createGate(memref::LoadOp::create(b, view->getGate(), gateIndices)));
  gateIndices.push_back(zero);
  for (int64_t channel = 0; channel < valueSize; channel += lanes) {
    Value c = loadContext(row, channel, term);
    if (factor)
      c = arith::MulFOp::create(b, c, factor);
    if (view->getContextQuant())
      c = roundTrip(c, *QuantParams::get(*view->getContextQuant()));
    if (view->getGate()) {
      if (!isGatePerRow)
        gate = createGate(loadElements(view->getGate(), gateIndices, channel,
                                       lanes, valueSize));
      c = arith::MulFOp::create(b, c, gate);
    }
    if (op.getParams().contains(kScaledAttrName))
      c = math::FmaOp::create(b, c, loadOfChannels(2, channel),
                              loadOfChannels(1, channel));
    storeResult(c, channel);
  }
}

Value AttentionEmitter::loadOfChannels(unsigned fromEnd, int64_t channel) {
  Value memref = op.getInputs().take_back(fromEnd).front();
  Value first = add(mul(at.head, valueSize), channel);
  if (channel + lanes <= valueSize)
    return vector::LoadOp::create(b, floats, memref, first);
  Value mask = vector::ConstantMaskOp::create(
      b, VectorType::get(lanes, b.getI1Type()), ArrayRef{valueSize - channel});
  return vector::MaskedLoadOp::create(b, floats, memref, first, mask,
                                      splat(0.0f));
}

Value AttentionEmitter::createContextTerm() {
  if (!hasSeeds(plan.context) || value.zeroPoint == 0)
    return {};
  Value sum = memref::LoadOp::create(b, probSums, at.row);
  Value term = createTerm(sum, value.zeroPoint, 0);
  Value keys = arith::IndexCastOp::create(b, b.getI32Type(),
                                          hasIntegerRows ? at.seen : numKeys);
  Value both =
      arith::ConstantIntOp::create(b, prob.zeroPoint * value.zeroPoint, 32);
  return arith::AddIOp::create(b, term, arith::MulIOp::create(b, keys, both));
}

Value AttentionEmitter::createContextFactor() {
  Value scale, factor;
  if (!plan.context.isFloat())
    scale = f32(prob.scale * value.scale);
  if (isDivisionLast())
    factor = loadFactor();
  if (scale && factor)
    factor = arith::MulFOp::create(b, factor, scale);
  else if (scale)
    factor = scale;
  return factor ? splat(factor) : Value();
}

Value AttentionEmitter::loadContext(Value row, int64_t channel, Value term) {
  Value sums = loadWords(contextRows, add(mul(row, plan.values), channel));
  if (plan.context.isFloat())
    return toFloats(sums);
  if (term)
    sums = arith::AddIOp::create(b, sums, splat(term));
  return convert(sums);
}

Value AttentionEmitter::createGate(Value logit) {
  Value gain = f32(view->getGain().convertToFloat());
  if (isa<VectorType>(logit.getType()))
    gain = splat(gain);
  return arith::MulFOp::create(b, createSigmoid(b, logit), gain);
}

void AttentionEmitter::storeResult(Value c, int64_t channel) {
  Value y = op.getOuts().front();
  SmallVector<Value> indices = getIndices(3, at.head, add(at.query, at.row));
  indices.back() = index(channel);
  if (view->getYQuant()) {
    QuantParams params = *QuantParams::get(*view->getYQuant());
    c = arith::AddIOp::create(b, quantize(c, params),
                              splatInt(params.getZeroPoint(0)));
    c = arith::TruncIOp::create(b, VectorType::get(lanes, b.getI8Type()), c);
  }
  int64_t count = valueSize - channel;
  if (count >= lanes)
    vector::StoreOp::create(b, c, y, indices);
  else if (count == 1)
    // LLVM 22 makes four bytes of a masked store of one truncated lane.
    memref::StoreOp::create(b, vector::ExtractOp::create(b, c, 0), y, indices);
  else
    vector::MaskedStoreOp::create(
        b, y, indices,
        vector::ConstantMaskOp::create(b, VectorType::get(lanes, b.getI1Type()),
                                       ArrayRef{count}),
        c);
}
