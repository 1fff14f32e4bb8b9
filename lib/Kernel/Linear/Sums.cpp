//===- Sums.cpp - Sums of a tile of qtx.linear ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace qtx;

void LinearEmitter::emitTile(const Panel &panel, Value first) {
  SmallVector<Value> sums = row.isFloat() ? emitFloatSums(panel, first)
                                          : emitIntegerSums(panel, first);
  emitEpilogue(panel, first, sums);
}

SmallVector<Value> LinearEmitter::emitFloatSums(const Panel &panel,
                                                Value first) {
  return emitSegment(panel, first, runs.front(), getWhole(),
                     loadBias(panel, first));
}

SmallVector<Value> LinearEmitter::emitIntegerSums(const Panel &panel,
                                                  Value first) {
  if (joinsIntegers()) {
    SmallVector<Value> sums = emitJoinedSums(
        panel, first, createZeroSums(panel),
        [&](const SegmentRun &run, const SegmentAt &at,
            SmallVector<Value> sums) {
          return emitSegment(panel, first, run, at, std::move(sums));
        });
    return join(panel, first, getFinest(), sums, loadBias(panel, first));
  }
  SmallVector<Value> result;
  for (const SegmentRun &run : runs) {
    if (run.count == 1) {
      result =
          emitAndJoin(panel, first, run, getSegmentAt(run, index(0)), result);
      continue;
    }
    if (result.empty())
      result = loadBias(panel, first);
    result = loop(index(0), index(run.count), 1, result,
                  [&](Value i, ValueRange carried) {
                    return emitAndJoin(panel, first, run, getSegmentAt(run, i),
                                       llvm::to_vector(carried));
                  });
  }
  return result;
}

SmallVector<Value> LinearEmitter::emitAndJoin(const Panel &panel, Value first,
                                              const SegmentRun &run,
                                              const SegmentAt &at,
                                              SmallVector<Value> result) {
  SmallVector<Value> sums;
  if (sumsWeights())
    sums = emitWithWeightSums(panel, first, run, at);
  else if (takesZeroPointsOff())
    sums = emitWithoutZeroPoints(panel, first, run, at);
  else
    sums = emitSegment(panel, first, run, at, loadSeed(panel, first, at));
  if (result.empty())
    result = loadBias(panel, first);
  return join(panel, first, at, sums, result);
}

SmallVector<Value> LinearEmitter::join(const Panel &panel, Value first,
                                       const SegmentAt &at,
                                       ArrayRef<Value> sums,
                                       SmallVector<Value> result) {
  for (int64_t v = 0; v < panel.vectors; ++v) {
    Value scale = loadParam(view->getWeightScale(), at.index, panel, v);
    for (int64_t r = 0; r < tileRows; ++r) {
      Value multiplier = scale;
      if (view->getXScale())
        multiplier = arith::MulFOp::create(
            b, splat(loadOfRow(m.xScale, first, r, at.group)), scale);
      Value &sum = result[r * panel.vectors + v];
      Value value = sums[r * panel.vectors + v];
      if (sumFactor > 1)
        value = arith::ShRSIOp::create(
            b, value, createSplat(sumType, llvm::Log2_64(sumFactor)));
      value = arith::SIToFPOp::create(b, floats, value);
      sum = math::FmaOp::create(b, value, multiplier, sum);
    }
  }
  return result;
}

SmallVector<Value> LinearEmitter::emitSegment(const Panel &panel, Value first,
                                              const SegmentRun &run,
                                              const SegmentAt &at,
                                              SmallVector<Value> sums) {
  if (row.getTileStep() > 0)
    return emitWindows(panel, first, run, at, sums);
  if (hasShortNibbles())
    return emitShortNibbles(panel, first, run, at, sums);
  sums = emitSteps(panel, first, at, at.channel, 0, run.size / stepSize, sums);
  return emitRest(panel, first, run, at, sums);
}

SmallVector<Value> LinearEmitter::emitRest(const Panel &panel, Value first,
                                           const SegmentRun &run,
                                           const SegmentAt &at,
                                           SmallVector<Value> sums) {
  int64_t full = run.size / stepSize, rest = run.size % stepSize;
  if (rest == 0)
    return sums;
  Value channel = add(at.channel, full * stepSize);
  return emitStep(panel, first, add(at.step, full), sums,
                  [&](Value rowIndex, int64_t offset) {
                    return loadPartialInput(rowIndex, add(channel, offset),
                                            rest - offset);
                  });
}

SmallVector<Value> LinearEmitter::emitWindows(const Panel &panel, Value first,
                                              const SegmentRun &run,
                                              const SegmentAt &at,
                                              SmallVector<Value> sums) {
  int64_t count = countSteps(run.size);
  if (!isLastWindowMoved(run))
    return emitSteps(panel, first, at, at.channel, 0, count, sums);
  int64_t window = row.getTileStep() / step;
  sums = emitSteps(panel, first, at, at.channel, 0, count - window, sums);
  Value channel = limitWindow(add(at.channel, (count - window) * step));
  return emitSteps(panel, first, at, channel, count - window, window, sums);
}

SmallVector<Value> LinearEmitter::emitSteps(const Panel &panel, Value first,
                                            const SegmentAt &at, Value channel,
                                            int64_t begin, int64_t count,
                                            SmallVector<Value> sums) {
  return emitRange(panel, first, at, channel, begin, index(0), count, sums);
}

SmallVector<Value> LinearEmitter::emitRange(const Panel &panel, Value first,
                                            const SegmentAt &at, Value channel,
                                            int64_t begin, Value from,
                                            int64_t count, ValueRange sums) {
  // Nibbles are several dot products in a step as it is. Rows that are left
  // over are too few to be worth the time that compiling long loops takes.
  bool isLeftOver = tileRows < config.getRows() && panel.panels == 1;
  int64_t turns = hasNibbles || isLeftOver ? 1 : row.getUnrolledSteps();
  int64_t turn = 0;
  return loopInTurns(
      from, index(count), turns, sums, [&](Value k, ValueRange carried) {
        Value current = add(channel, stepSize == 1 ? k : mul(k, stepSize));
        Value position = add(add(at.step, begin), k);
        if (turn++ % getPrefetchPeriod(panel) == 0)
          emitPrefetch(position);
        return emitStep(panel, first, position, carried,
                        [&](Value rowIndex, int64_t offset) {
                          return loadInput(rowIndex, add(current, offset));
                        });
      });
}

SmallVector<Value>
LinearEmitter::emitStep(const Panel &panel, Value first, Value position,
                        ValueRange sums,
                        function_ref<Value(Value, int64_t)> loadX) {
  if (row.getShortDots() > 0)
    return emitShortStep(panel, first, position, sums, loadX);
  if (hasNibbles && panel.panels > 1)
    fetchNibbles(panel, position, /*words=*/1);
  SmallVector<Value> weights, next(sums);
  for (int64_t v = 0; v < panel.vectors; ++v)
    weights.push_back(loadWeight(panel, position, v));
  auto multiply = [&](int64_t r, int64_t v, Value x, Value weight) {
    Value &sum = next[r * panel.vectors + v];
    sum = row.emitDot(b, sum, x, weight);
  };
  int64_t dots = stepSize / step, factors = tileRows + (sumsWeights() ? 1 : 0);
  auto loadFactor = [&](int64_t dot, int64_t r) -> Value {
    if (r == tileRows)
      return createWeightFactor();
    Value x = loadX(add(first, r), dot * step);
    return x ? broadcastInput(x) : Value();
  };
  // Registers keep what is less, while the other comes and goes.
  if (hasNibbles && dots * factors <= panel.vectors) {
    SmallVector<Value> inputs;
    for (int64_t i = 0; i < dots * factors; ++i)
      inputs.push_back(loadFactor(i / factors, i % factors));
    for (int64_t v = 0; v < panel.vectors; ++v)
      for (int64_t i = 0; i < dots * factors; ++i)
        if (inputs[i])
          multiply(i % factors, v, inputs[i], unpack(weights[v], i / factors));
    return next;
  }
  for (int64_t dot = 0; dot < dots; ++dot) {
    SmallVector<Value> current = weights;
    if (hasNibbles)
      for (Value &weight : current)
        weight = unpack(weight, dot);
    for (int64_t r = 0; r < factors; ++r)
      if (Value x = loadFactor(dot, r))
        for (int64_t v = 0; v < panel.vectors; ++v)
          multiply(r, v, x, current[v]);
  }
  return next;
}

SmallVector<Value>
LinearEmitter::emitShortStep(const Panel &panel, Value first, Value position,
                             ValueRange sums,
                             function_ref<Value(Value, int64_t)> loadX) {
  SmallVector<Value> next(sums);
  int64_t dots = row.getShortDots(), own = panel.getOwnVectors();
  auto loadFactor = [&](int64_t r, int64_t dot) -> Value {
    Value x = loadX(add(first, r), dot * step);
    return x ? broadcastInput(x) : Value();
  };
  // Few rows meet several panels.
  SmallVector<Value> inputs;
  if (panel.panels > 1)
    for (int64_t i = 0; i < tileRows * dots; ++i)
      inputs.push_back(loadFactor(i / dots, i % dots));
  for (int64_t begin = 0; begin < panel.vectors; begin += own) {
    // There are registers for the weights of one dot product alone.
    SmallVector<Value> kept;
    for (int64_t v = begin; v < begin + own; ++v)
      kept.push_back(loadWeight(panel, position, v));
    for (int64_t r = 0; r < tileRows; ++r) {
      SmallVector<Value> shortSums(own);
      for (int64_t dot = 0; dot < dots; ++dot) {
        Value x = inputs.empty() ? loadFactor(r, dot) : inputs[r * dots + dot];
        if (!x)
          continue;
        for (auto [v, sum] : llvm::enumerate(shortSums)) {
          Value weight =
              dot == 0 ? kept[v] : loadWeight(panel, position, begin + v, dot);
          sum = row.emitShortDot(b, sum, x, weight);
        }
      }
      for (auto [v, sum] : llvm::enumerate(shortSums)) {
        Value &wide = next[r * panel.vectors + begin + v];
        wide = row.emitWidened(b, wide, sum);
      }
      // LLVM would load the inputs of all rows first.
      keepOrder();
    }
  }
  return next;
}

SmallVector<Value> LinearEmitter::emitShortNibbles(const Panel &panel,
                                                   Value first,
                                                   const SegmentRun &run,
                                                   const SegmentAt &at,
                                                   SmallVector<Value> sums) {
  int64_t words = row.getShortNibbleDots() * step / kNibbles;
  int64_t groups = run.size / (words * kNibbles);
  int64_t rest = run.size % (words * kNibbles);
  auto getChannel = [&](Value position) {
    return add(at.channel, mul(position, kNibbles));
  };
  sums = loop(index(0), index(groups), 1, sums, [&](Value i, ValueRange begin) {
    Value position = mul(i, words), channel = getChannel(position);
    return emitShortWords(panel, first, add(at.step, position), words, begin,
                          [&](Value rowIndex, int64_t offset) {
                            return loadInput(rowIndex, add(channel, offset));
                          });
  });
  if (rest == 0)
    return sums;
  Value position = index(groups * words), channel = getChannel(position);
  return emitShortWords(
      panel, first, add(at.step, position), llvm::divideCeil(rest, kNibbles),
      sums, [&](Value rowIndex, int64_t offset) {
        if (offset + step <= rest)
          return loadInput(rowIndex, add(channel, offset));
        return loadPartialInput(rowIndex, add(channel, offset), rest - offset);
      });
}

SmallVector<Value>
LinearEmitter::emitShortWords(const Panel &panel, Value first, Value position,
                              int64_t words, ValueRange sums,
                              function_ref<Value(Value, int64_t)> loadX) {
  emitPrefetch(position);
  if (tileRows <= kMaxFewRows)
    fetchNibbles(panel, position, words);
  SmallVector<Value> next(sums);
  for (int64_t v = 0; v < panel.vectors; ++v)
    for (auto [r, sum] :
         llvm::enumerate(sumUpWords(panel, v, first, position, words, loadX))) {
      Value &wide = next[r * panel.vectors + v];
      wide = row.emitWidened(b, wide, sum);
    }
  return next;
}

SmallVector<Value>
LinearEmitter::sumUpWords(const Panel &panel, int64_t v, Value first,
                          Value position, int64_t words,
                          function_ref<Value(Value, int64_t)> loadX) {
  SmallVector<Value> sums(tileRows);
  Value weightSum;
  auto multiply = [&](int64_t dot, Value weight) {
    if (!zeroPoints.empty())
      weightSum =
          weightSum ? arith::AddIOp::create(b, weightSum, weight) : weight;
    for (int64_t r = 0; r < tileRows; ++r)
      if (Value x = loadX(add(first, r), dot * step))
        sums[r] = row.emitShortDot(b, sums[r], broadcastInput(x), weight);
  };
  int64_t dots = kNibbles / step;
  for (int64_t i = 0; i < words; ++i) {
    Value word = loadWeight(panel, add(position, i), v);
    for (int64_t dot = 0; dot < dots; ++dot)
      multiply(i * dots + dot, unpack(word, dot));
    // LLVM would unpack the weights of all words first.
    keepOrder();
  }
  // Bytes hold sums of eight weights, and 16 bits two of them times a zero
  // point. The difference is as small as a sum: inputs are a byte from a zero
  // point.
  if (weightSum)
    for (auto [sum, zeroPoint] : llvm::zip_equal(sums, zeroPoints))
      sum = arith::SubIOp::create(
          b, sum, row.emitShortDot(b, {}, zeroPoint, weightSum));
  return sums;
}

int64_t LinearEmitter::getVectorOffset(const Panel &panel, int64_t v,
                                       int64_t dot) {
  int64_t own = panel.getOwnVectors();
  return v / own * own * lanes * laneSize * steps +
         (dot * own + v % own) * getVectorSize();
}

Value LinearEmitter::getStepOffset(const Panel &panel, Value position) {
  return add(panel.weight, mul(position, panel.weightStride));
}

/// Bytes that nibbles of a panel are fetched ahead: unpacking them fills what a
/// core looks ahead before there are enough loads in it to keep memory busy.
static constexpr int64_t kNibblesAhead = 2048;

void LinearEmitter::fetchNibbles(const Panel &panel, Value position,
                                 int64_t words) {
  Value offset =
      add(getStepOffset(panel, position), kNibblesAhead / getElementBytes());
  int64_t own = panel.getOwnVectors(), line = kLineBytes / getElementBytes();
  int64_t size = words * panel.weightStride;
  // Those behind the last ones are not there.
  int64_t last =
      getWeightSize() - size - getVectorOffset(panel, panel.vectors - own);
  offset = arith::MinUIOp::create(b, offset, index(last));
  for (int64_t v = 0; v < panel.vectors; v += own)
    for (int64_t i = 0; i < size; i += line)
      memref::PrefetchOp::create(b, view->getWeight(),
                                 add(offset, getVectorOffset(panel, v) + i),
                                 /*isWrite=*/false, /*localityHint=*/3,
                                 /*isDataCache=*/true);
}

Value LinearEmitter::loadWeight(const Panel &panel, Value position, int64_t v,
                                int64_t dot) {
  auto type = VectorType::get(
      getVectorSize(),
      cast<MemRefType>(view->getWeight().getType()).getElementType());
  VectorType operands = row.getVectorType(b.getContext());
  Value weight = vector::LoadOp::create(
      b, type, view->getWeight(),
      add(getStepOffset(panel, position), getVectorOffset(panel, v, dot)));
  if (hasNibbles || type == operands)
    return weight;
  return arith::ExtSIOp::create(b, operands, weight);
}

Value LinearEmitter::unpack(Value words, int64_t dot) {
  VectorType type = row.getVectorType(b.getContext());
  Value elements = vector::BitCastOp::create(b, type, words);
  if (hasShortNibbles())
    return unpackShort(elements, dot);
  // x86 shifts no bytes, nor extends the signs of parts of them.
  if (dot == 0)
    elements = arith::ShLIOp::create(b, elements, createSplat(type, 4));
  return arith::AndIOp::create(b, elements, createSplat(type, 0xF0));
}

Value LinearEmitter::unpackShort(Value elements, int64_t dot) {
  auto type = cast<VectorType>(elements.getType());
  if (dot > 0)
    elements = arith::ShRUIOp::create(b, elements, createSplat(type, 4));
  else
    elements = arith::AndIOp::create(b, elements, createSplat(type, 15));
  return arith::SubIOp::create(b, elements, createSplat(type, 8));
}

Value LinearEmitter::loadInput(Value rowIndex, Value channel) {
  auto type = VectorType::get(step, row.getElementType(b.getContext()));
  return vector::LoadOp::create(b, type, m.x, ValueRange{rowIndex, channel});
}

Value LinearEmitter::loadPartialInput(Value rowIndex, Value channel,
                                      int64_t count) {
  if (count <= 0)
    return {};
  Type elementType = row.getElementType(b.getContext());
  auto type = VectorType::get(step, elementType);
  Value result = arith::ConstantOp::create(b, b.getZeroAttr(type));
  for (int64_t i = 0; i < std::min(count, step); ++i) {
    Value element =
        memref::LoadOp::create(b, m.x, ValueRange{rowIndex, add(channel, i)});
    result = vector::InsertOp::create(b, element, result, i);
  }
  return result;
}

Value LinearEmitter::broadcastInput(Value x) {
  auto lane = VectorType::get(1, row.isFloat() ? Type(b.getF32Type())
                                               : Type(b.getI32Type()));
  if (x.getType() != lane)
    x = vector::BitCastOp::create(b, lane, x);
  Value all = vector::BroadcastOp::create(
      b, VectorType::get(lanes, lane.getElementType()),
      vector::ExtractOp::create(b, x, 0));
  VectorType type = row.getVectorType(b.getContext());
  return all.getType() == type ? all : vector::BitCastOp::create(b, type, all);
}

//===----------------------------------------------------------------------===//
// Operands of a tile
//===----------------------------------------------------------------------===//

Value LinearEmitter::load(Value memref, SmallVector<Value> indices,
                          const Panel &panel, int64_t v) {
  auto type = VectorType::get(
      lanes, cast<MemRefType>(memref.getType()).getElementType());
  indices.push_back(add(panel.output, v * lanes));
  if (isWhole(panel, v))
    return vector::LoadOp::create(b, type, memref, indices);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return vector::MaskedLoadOp::create(b, type, memref, indices,
                                      createMask(panel), zero);
}

Value LinearEmitter::loadRow(Value memref, Value rowIndex, const Panel &panel,
                             int64_t v) {
  return load(memref, {rowIndex}, panel, v);
}

Value LinearEmitter::getParam(Value segment, const Panel &panel) {
  return add(panel.params, mul(segment, panel.paramStride));
}

Value LinearEmitter::loadParam(Value memref, Value segment, const Panel &panel,
                               int64_t v) {
  auto type = VectorType::get(
      lanes, cast<MemRefType>(memref.getType()).getElementType());
  int64_t own = panel.getOwnVectors();
  int64_t offset = (v / own * own * countSegments() + v % own) * lanes;
  return vector::LoadOp::create(b, type, memref,
                                add(getParam(segment, panel), offset));
}

bool LinearEmitter::isWhole(const Panel &panel, int64_t v) {
  return v + 1 < panel.vectors || panel.lastLanes == lanes;
}

Value LinearEmitter::createMask(const Panel &panel) {
  return vector::ConstantMaskOp::create(
      b, VectorType::get(lanes, b.getI1Type()), ArrayRef{panel.lastLanes});
}

Value LinearEmitter::loadOfRow(Value memref, Value first, int64_t r,
                               Value group) {
  if (cast<MemRefType>(memref.getType()).getRank() == 1)
    return memref::LoadOp::create(b, memref, group);
  return memref::LoadOp::create(b, memref, ValueRange{add(first, r), group});
}

SmallVector<Value> LinearEmitter::loadBias(const Panel &panel, Value first) {
  SmallVector<Value> result(tileRows * panel.vectors);
  for (int64_t v = 0; v < panel.vectors; ++v) {
    Value shared = loadSharedBias(panel, v);
    for (int64_t r = 0; r < tileRows; ++r)
      result[r * panel.vectors + v] =
          shared ? shared : loadRow(m.bias, add(first, r), panel, v);
  }
  return result;
}

Value LinearEmitter::loadSharedBias(const Panel &panel, int64_t v) {
  if (!m.bias)
    return arith::ConstantOp::create(b, b.getZeroAttr(floats));
  if (cast<MemRefType>(m.bias.getType()).getRank() == 1)
    return load(m.bias, {}, panel, v);
  return {};
}

SmallVector<Value> LinearEmitter::loadSeed(const Panel &panel, Value first,
                                           const SegmentAt &at) {
  SmallVector<Value> result(tileRows * panel.vectors);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
  for (int64_t v = 0; v < panel.vectors; ++v) {
    Value seed =
        view->getSeed() ? loadParam(view->getSeed(), at.index, panel, v) : zero;
    for (int64_t r = 0; r < tileRows; ++r)
      result[r * panel.vectors + v] =
          view->getXZeroPoint() && view->getSeed()
              ? emitRunTimeSeed(seed, zero, first, r, at.group)
              : seed;
  }
  return result;
}

bool LinearEmitter::avoidsSeeds() {
  return hasNibbles && view->getSeed() && tileRows <= kMaxFewRows &&
         (staticZeroPoint || view->getXZeroPoint());
}

bool LinearEmitter::sumsWeights() {
  return avoidsSeeds() && !takesZeroPointsOff();
}

bool LinearEmitter::takesZeroPointsOff() {
  return avoidsSeeds() && hasShortNibbles();
}

SmallVector<Value> LinearEmitter::emitWithoutZeroPoints(const Panel &panel,
                                                        Value first,
                                                        const SegmentRun &run,
                                                        const SegmentAt &at) {
  for (int64_t r = 0; r < tileRows; ++r)
    zeroPoints.push_back(createZeroPoint(first, r, at.group));
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
  SmallVector<Value> start(tileRows * panel.vectors, zero);
  SmallVector<Value> sums = emitSegment(panel, first, run, at, start);
  zeroPoints.clear();
  return sums;
}

Value LinearEmitter::createZeroPoint(Value first, int64_t r, Value group) {
  VectorType type = row.getVectorType(b.getContext());
  if (staticZeroPoint)
    return createSplat(type, *staticZeroPoint);
  return vector::BroadcastOp::create(
      b, type,
      arith::TruncIOp::create(b, type.getElementType(),
                              loadZeroPoint(first, r, group)));
}

SmallVector<Value> LinearEmitter::emitWithWeightSums(const Panel &panel,
                                                     Value first,
                                                     const SegmentRun &run,
                                                     const SegmentAt &at) {
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
  SmallVector<Value> start((tileRows + 1) * panel.vectors, zero);
  SmallVector<Value> sums = emitSegment(panel, first, run, at, start);
  for (int64_t r = 0; r < tileRows; ++r)
    for (int64_t v = 0; v < panel.vectors; ++v) {
      Value product = sums[tileRows * panel.vectors + v];
      if (!staticZeroPoint)
        product = arith::MulIOp::create(
            b, splat(loadZeroPoint(first, r, at.group)), product);
      Value &sum = sums[r * panel.vectors + v];
      sum = arith::SubIOp::create(b, sum, product);
    }
  sums.truncate(tileRows * panel.vectors);
  return sums;
}

Value LinearEmitter::createWeightFactor() {
  return createSplat(row.getVectorType(b.getContext()),
                     staticZeroPoint.value_or(1));
}

Value LinearEmitter::loadZeroPoint(Value first, int64_t r, Value group) {
  Value zeroPoint = loadOfRow(m.xZeroPoint, first, r, group);
  if (inputOffset == 0)
    return zeroPoint;
  return arith::AddIOp::create(
      b, zeroPoint, arith::ConstantIntOp::create(b, inputOffset, 32));
}

Value LinearEmitter::emitRunTimeSeed(Value sum, Value zero, Value first,
                                     int64_t r, Value group) {
  Value zeroPoint = splat(loadZeroPoint(first, r, group));
  return arith::SubIOp::create(b, zero,
                               arith::MulIOp::create(b, zeroPoint, sum));
}
