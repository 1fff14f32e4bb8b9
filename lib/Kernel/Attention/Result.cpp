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
// Rows of the result
//===----------------------------------------------------------------------===//

/// Vectors of codes that are packed together.
static constexpr int64_t kPackedVectors = 4;

void AttentionEmitter::emitResults(Value count) {
  Value inWhole = zero;
  if (int64_t rows = countRowsPackedTogether()) {
    inWhole = sub(count, arith::RemUIOp::create(b, count, index(rows)));
    loop(inWhole, rows, [&](Value first) { emitPackedResults(first, rows); });
  }
  loop(inWhole, count, 1, {}, [&](Value row, ValueRange) {
    ResultRow result = enterResultRow(row);
    for (int64_t channel = 0; channel < valueSize; channel += lanes)
      storeResult(createResult(result, channel), channel);
    return SmallVector<Value>();
  });
}

int64_t AttentionEmitter::countRowsPackedTogether() {
  if (!view->getYQuant() || !plan.context.packs() ||
      plan.context.getNumLanes() != lanes || valueSize % lanes != 0)
    return 0;
  int64_t vectors = valueSize / lanes;
  if (vectors % kPackedVectors == 0)
    return 1;
  return kPackedVectors % vectors == 0 ? kPackedVectors / vectors : 0;
}

void AttentionEmitter::emitPackedResults(Value first, int64_t numRows) {
  QuantParams params = *QuantParams::get(*view->getYQuant());
  SmallVector<Value> codes;
  for (int64_t r = 0; r < numRows; ++r) {
    ResultRow row = enterResultRow(add(first, r));
    for (int64_t channel = 0; channel < valueSize; channel += lanes)
      codes.push_back(quantize(createResult(row, channel), params));
  }
  SmallVector<Value> zeroPoints;
  if (int64_t zeroPoint = params.getZeroPoint(0))
    zeroPoints.assign(kPackedVectors, splatInt(zeroPoint));
  int64_t size = kPackedVectors * lanes / numRows;
  for (ArrayRef<Value> left = codes; !left.empty();
       left = left.drop_front(kPackedVectors)) {
    Value bytes =
        inOrder(plan.context.emitPacked(b, left.take_front(kPackedVectors),
                                        zeroPoints, params.getStorageMin() < 0),
                kPackedVectors);
    int64_t channel = (codes.size() - left.size()) * lanes % valueSize;
    for (int64_t r = 0; r < numRows; ++r) {
      at.row = add(first, r);
      vector::StoreOp::create(
          b, vector::ExtractStridedSliceOp::create(b, bytes, r * size, size, 1),
          op.getOuts().front(), getResultIndices(channel));
    }
  }
}

AttentionEmitter::ResultRow AttentionEmitter::enterResultRow(Value row) {
  at.row = row;
  ResultRow result = {createContextTerm(), createContextFactor(), {}};
  if (view->getGate() &&
      cast<MemRefType>(view->getGate().getType()).getRank() == 3)
    result.gate = splat(createGate(memref::LoadOp::create(
        b, view->getGate(),
        ValueRange{at.batch, at.head, add(at.query, row)})));
  return result;
}

Value AttentionEmitter::createResult(const ResultRow &row, int64_t channel) {
  Value c = loadContext(at.row, channel, row.term);
  if (row.factor)
    c = arith::MulFOp::create(b, c, row.factor);
  if (view->getContextQuant())
    c = roundTrip(c, *QuantParams::get(*view->getContextQuant()));
  if (view->getGate()) {
    Value gate = row.gate;
    if (!gate)
      gate = createGate(loadElements(
          view->getGate(), {at.batch, at.head, add(at.query, at.row), zero},
          channel, lanes, valueSize));
    c = arith::MulFOp::create(b, c, gate);
  }
  if (op.getParams().contains(kScaledAttrName))
    c = math::FmaOp::create(b, c, loadOfChannels(2, channel),
                            loadOfChannels(1, channel));
  return c;
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

SmallVector<Value> AttentionEmitter::getResultIndices(int64_t channel) {
  SmallVector<Value> indices = getIndices(3, at.head, add(at.query, at.row));
  indices.back() = index(channel);
  return indices;
}

void AttentionEmitter::storeResult(Value c, int64_t channel) {
  Value y = op.getOuts().front();
  SmallVector<Value> indices = getResultIndices(channel);
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
