//===- Epilogue.cpp - From sums to results of qtx.linear ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "qtx/Support/Polynomials.h"

using namespace mlir;
using namespace qtx;

/// The most vectors that are narrowed at once.
static constexpr int64_t kNarrowedTogether = 4;

void LinearEmitter::addZeroPoint(ResultParams &params, Value zeroPoint) {
  params.zeroPoint = zeroPoint;
  if (isBounded)
    return;
  auto bound = [&](int64_t value) -> Value {
    Value limit = arith::ConstantOp::create(
        b, DenseElementsAttr::get(cast<VectorType>(zeroPoint.getType()),
                                  b.getI32IntegerAttr(value)));
    return arith::SIToFPOp::create(b, floats,
                                   arith::SubIOp::create(b, limit, zeroPoint));
  };
  params.lower = bound(resultRange->first);
  params.upper = bound(resultRange->second);
}

void LinearEmitter::emitResultParams() {
  if (!resultRange)
    return;
  auto loadSplat = [&](Value memref) {
    return splat(memref::LoadOp::create(b, memref, index(0)));
  };
  if (getLast(view->getYScale()) == 1)
    sharedParams.reciprocal = loadSplat(view->getYScale());
  if (getLast(view->getYZeroPoint()) == 1)
    addZeroPoint(sharedParams, loadSplat(view->getYZeroPoint()));
}

SmallVector<LinearEmitter::ResultParams>
LinearEmitter::loadResultParams(const Panel &panel) {
  SmallVector<ResultParams> params(panel.vectors, sharedParams);
  for (auto [v, own] : llvm::enumerate(params)) {
    if (isScaled) {
      own.gain = load(op.getInputs().take_back(2)[0], {}, panel, v);
      own.shift = load(op.getInputs().back(), {}, panel, v);
    }
    if (!resultRange || (isCoarse() && isScaled))
      continue;
    if (!own.reciprocal)
      own.reciprocal = load(view->getYScale(), {}, panel, v);
    if (!own.zeroPoint)
      addZeroPoint(own, load(view->getYZeroPoint(), {}, panel, v));
    if (isCoarse()) {
      own.gain = own.reciprocal;
      own.shift = arith::SIToFPOp::create(b, floats, own.zeroPoint);
    }
  }
  return params;
}

void LinearEmitter::createTiles() {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&op->getParentRegion()->front());
  auto create = [&](int64_t rows, int64_t columns, Type elementType) -> Value {
    auto type = MemRefType::get({rows, columns}, elementType);
    return memref::AllocaOp::create(b, type, b.getI64IntegerAttr(64));
  };
  if (isElementary() && !power)
    tile =
        create(config.getRows(), kMaxWidePanels * getWidth(), b.getF32Type());
  if (stagedRows == 0)
    return;
  size_t places = 0;
  for (const Stage &stage : stages)
    places = std::max(places, stage.runs.size());
  if (joinsIntegers() && row.getNumTileRows() == 0)
    places = 1;
  stagedSums = create(places * stagedRows, getWidth(), b.getI32Type());
  if (countStages() > 1)
    stagedJoined = create(stagedRows, getWidth(), b.getF32Type());
}

void LinearEmitter::emitEpilogue(const Panel &panel, Value first,
                                 ArrayRef<Value> sums) {
  if (!isElementary() || power || tileRows * panel.panels == 1) {
    SmallVector<ResultParams> params = loadResultParams(panel);
    for (int64_t r = 0; r < tileRows; r += kNarrowedTogether) {
      int64_t rows = std::min(tileRows - r, kNarrowedTogether);
      SmallVector<Value> activated = llvm::map_to_vector(
          sums.slice(r * panel.vectors, rows * panel.vectors),
          [&](Value sum) { return applyActivation(sum); });
      finishRows(panel, add(first, r), rows, activated, params);
    }
    return;
  }
  // The code of an elementary function is long: loops over panels and rows.
  for (int64_t r = 0; r < tileRows; ++r)
    for (int64_t v = 0; v < panel.vectors; ++v)
      vector::StoreOp::create(b, sums[r * panel.vectors + v], tile,
                              ValueRange{index(r), index(v * lanes)});
  loop(index(0), index(panel.panels), 1, {}, [&](Value number, ValueRange) {
    Value begin = mul(number, panel.getOwnVectors() * lanes);
    Panel own{{panel.getOwnVectors(), panel.lastLanes},
              add(panel.output, begin),
              panel.weight,
              panel.weightStride,
              panel.params,
              panel.paramStride};
    SmallVector<ResultParams> params = loadResultParams(own);
    loop(index(0), index(tileRows), 1, {}, [&](Value r, ValueRange) {
      for (int64_t v = 0; v < own.vectors; ++v) {
        Value sum = vector::LoadOp::create(
            b, floats, tile, ValueRange{r, add(begin, v * lanes)});
        finish(own, add(first, r), v, applyActivation(sum), params);
      }
      return SmallVector<Value>();
    });
    return SmallVector<Value>();
  });
}

void LinearEmitter::finishRows(const Panel &panel, Value first, int64_t rows,
                               ArrayRef<Value> values,
                               ArrayRef<ResultParams> params) {
  for (int64_t v = 0; v < panel.vectors;) {
    bool isPair =
        narrowsTogether() && v + 1 < panel.vectors && isWhole(panel, v + 1);
    int64_t vectors = isPair ? 2 : 1;
    int64_t most = narrowsTogether() && isWhole(panel, v)
                       ? kNarrowedTogether / vectors
                       : 1;
    for (int64_t r = 0; r < rows;) {
      // Two vectors or four in all, or one alone.
      int64_t few = llvm::bit_floor<uint64_t>(std::min(most, rows - r));
      ArrayRef<Value> own = values.drop_front(r * panel.vectors);
      if (few * vectors > 1)
        finishTogether(panel, add(first, r), few, v, vectors, own, params);
      else
        finish(panel, add(first, r), v, own[v], params);
      r += few;
    }
    v += vectors;
  }
}

bool LinearEmitter::narrowsTogether() {
  return row.packs() && isBounded && resultRange &&
         resultRange->second - resultRange->first == 255;
}

void LinearEmitter::finishTogether(const Panel &panel, Value first,
                                   int64_t rows, int64_t begin, int64_t vectors,
                                   ArrayRef<Value> values,
                                   ArrayRef<ResultParams> params) {
  SmallVector<Value> codes, zeroPoints;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t v = begin; v < begin + vectors; ++v) {
      Value value = applyGain(v, values[r * panel.vectors + v], params);
      codes.push_back(isCoarse() ? roundToInteger(value)
                                 : scale(value, params[v]));
      if (!isCoarse())
        zeroPoints.push_back(params[v].zeroPoint);
    }
  Value bytes =
      inOrder(row.emitPacked(b, codes, zeroPoints, resultRange->first < 0),
              codes.size());
  int64_t size = vectors * lanes;
  for (int64_t r = 0; r < rows; ++r)
    store(panel, add(first, r), begin,
          vector::ExtractStridedSliceOp::create(b, bytes, r * size, size, 1));
}

Value LinearEmitter::toStored(int64_t v, Value value,
                              ArrayRef<ResultParams> params) {
  value = applyGain(v, value, params);
  if (isCoarse())
    return roundToInteger(value);
  return arith::AddIOp::create(b, scale(value, params[v]), params[v].zeroPoint);
}

Value LinearEmitter::applyGain(int64_t v, Value value,
                               ArrayRef<ResultParams> params) {
  if (isCoarse() || isScaled)
    value = math::FmaOp::create(b, value, params[v].gain, params[v].shift);
  return value;
}

void LinearEmitter::finish(const Panel &panel, Value rowIndex, int64_t v,
                           Value value, ArrayRef<ResultParams> params) {
  value = isCoarse() || resultRange ? narrow(toStored(v, value, params))
                                    : applyGain(v, value, params);
  if (op.accumulates())
    value = arith::AddFOp::create(b, loadRow(m.y, rowIndex, panel, v), value);
  store(panel, rowIndex, v, value);
}

void LinearEmitter::store(const Panel &panel, Value rowIndex, int64_t v,
                          Value value) {
  SmallVector<Value> indices = {rowIndex, add(panel.output, v * lanes)};
  if (isWhole(panel, v))
    vector::StoreOp::create(b, value, m.y, indices);
  else if (panel.lastLanes == 1)
    // LLVM 22 makes four bytes of a masked store of one truncated lane.
    memref::StoreOp::create(b, vector::ExtractOp::create(b, value, 0), m.y,
                            indices);
  else
    vector::MaskedStoreOp::create(b, m.y, indices, createMask(panel), value);
}

Value LinearEmitter::applyActivation(Value value) {
  return table   ? lookUpActivation(value)
         : power ? raiseActivation(value)
                 : activate(value);
}

Value LinearEmitter::activate(Value value) {
  switch (view->getActivation()) {
  case Activation::None:
    return value;
  case Activation::Relu: {
    // `maximum(x, 0)`: NaN is not below zero and stays.
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(floats));
    Value below =
        arith::CmpFOp::create(b, arith::CmpFPredicate::OLE, value, zero);
    return arith::SelectOp::create(b, below, zero, value);
  }
  case Activation::Gelu:
    return createGelu(b, value);
  case Activation::GeluTanh:
    return createGeluTanh(b, value);
  case Activation::Silu:
    return createSilu(b, value);
  }
  llvm_unreachable("unknown activation");
}

/// `value`, or a number where that is not on this side of it.
static Value limit(ImplicitLocOpBuilder &b, arith::CmpFPredicate predicate,
                   Value value, float bound) {
  Value splat = arith::ConstantOp::create(
      b, DenseElementsAttr::get(cast<VectorType>(value.getType()), bound));
  Value isInside = arith::CmpFOp::create(b, predicate, value, splat);
  return arith::SelectOp::create(b, isInside, value, splat);
}

Value LinearEmitter::lookUpActivation(Value value) {
  return addPositivePart(value, lookUpEvenPart(createMagnitude(value)));
}

Value LinearEmitter::createMagnitude(Value value) {
  return limit(b, arith::CmpFPredicate::OLT, math::AbsFOp::create(b, value),
               table->kLast);
}

Value LinearEmitter::lookUpEvenPart(Value magnitude) {
  // The number of an interval ends the bits of a sum with 1.5 * 2^23.
  Value number = arith::AddFOp::create(b, magnitude, splat(12582912.0f));
  Value bits = vector::BitCastOp::create(
      b, VectorType::get(lanes, b.getI32Type()), number);
  auto lookUp = [&](int64_t power) {
    return row.emitLookup(b, table->coefficients[power], bits);
  };
  Value result = lookUp(3);
  for (int64_t power = 2; power >= 0; --power)
    result = math::FmaOp::create(b, result, magnitude, lookUp(power));
  return result;
}

Value LinearEmitter::addPositivePart(Value value, Value even) {
  Value positive = limit(b, arith::CmpFPredicate::OGT, value, 0);
  return arith::AddFOp::create(b, positive, even);
}

Value LinearEmitter::raiseActivation(Value value) {
  Value magnitude = limit(b, arith::CmpFPredicate::OLT,
                          math::AbsFOp::create(b, value), power->end);
  Value result = splat(power->coefficients.front());
  for (float coefficient : ArrayRef(power->coefficients).drop_front())
    result = math::FmaOp::create(b, result, magnitude, splat(coefficient));
  for (int64_t i = 0; i < power->squarings; ++i)
    result = arith::MulFOp::create(b, result, result);
  Value positive = limit(b, arith::CmpFPredicate::OGT, value, 0);
  return math::FmaOp::create(b, arith::NegFOp::create(b, magnitude), result,
                             positive);
}

Value LinearEmitter::scale(Value value, const ResultParams &params) {
  Value scaled = arith::MulFOp::create(b, value, params.reciprocal);
  if (!isBounded)
    scaled = clamp(scaled, params);
  return roundToInteger(scaled);
}

Value LinearEmitter::narrow(Value stored) {
  if (isBounded)
    stored = saturate(stored);
  return arith::TruncIOp::create(b, VectorType::get(lanes, b.getI8Type()),
                                 stored);
}

Value LinearEmitter::clamp(Value scaled, const ResultParams &params) {
  Value above =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, scaled, params.lower);
  scaled = arith::SelectOp::create(b, above, scaled, params.lower);
  Value below =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, scaled, params.upper);
  return arith::SelectOp::create(b, below, scaled, params.upper);
}

Value LinearEmitter::saturate(Value stored) {
  auto type = cast<VectorType>(stored.getType());
  stored =
      arith::MaxSIOp::create(b, stored, createSplat(type, resultRange->first));
  return arith::MinSIOp::create(b, stored,
                                createSplat(type, resultRange->second));
}
