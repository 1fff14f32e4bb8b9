//===- VectorEmitter.cpp - Short names for loops and vectors --------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "VectorEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "qtx/Support/Rounding.h"

using namespace mlir;
using namespace qtx;

VectorEmitter::VectorEmitter(ImplicitLocOpBuilder &builder, int64_t lanes)
    : b(builder), lanes(lanes),
      floats(VectorType::get(lanes, builder.getF32Type())),
      words(VectorType::get(lanes, builder.getI32Type())), zero(index(0)) {}

Value VectorEmitter::index(int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

Value VectorEmitter::add(Value lhs, Value rhs) {
  return b.createOrFold<arith::AddIOp>(lhs, rhs);
}

Value VectorEmitter::sub(Value lhs, Value rhs) {
  return b.createOrFold<arith::SubIOp>(lhs, rhs);
}

Value VectorEmitter::mul(Value lhs, Value rhs) {
  return b.createOrFold<arith::MulIOp>(lhs, rhs);
}

Value VectorEmitter::splat(Value scalar) {
  return vector::BroadcastOp::create(
      b, VectorType::get(lanes, scalar.getType()), scalar);
}

Value VectorEmitter::splat(float value) {
  return arith::ConstantOp::create(b, DenseElementsAttr::get(floats, value));
}

Value VectorEmitter::splatInt(int64_t value) {
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(words, b.getI32IntegerAttr(value)));
}

Value VectorEmitter::f32(float value) {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
}

Value VectorEmitter::toFloats(Value vector) {
  return vector::BitCastOp::create(b, floats, vector);
}

Value VectorEmitter::toWords(Value vector) {
  return vector.getType() == words
             ? vector
             : vector::BitCastOp::create(b, words, vector);
}

Value VectorEmitter::convert(Value vector) {
  return arith::SIToFPOp::create(b, floats, vector);
}

Value VectorEmitter::roundToInteger(Value vector) {
  return createNearestIntegers(b, vector);
}

SmallVector<Value>
VectorEmitter::loop(Value lower, Value upper, int64_t stride,
                    ValueRange carried,
                    function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(
      b, lower, upper, index(stride), carried,
      [&](OpBuilder &, Location, Value i, ValueRange values) {
        scf::YieldOp::create(b, body(i, values));
      });
  return SmallVector<Value>(loop.getResults());
}

void VectorEmitter::loop(Value upper, int64_t stride,
                         function_ref<void(Value)> body) {
  loop(zero, upper, stride, {}, [&](Value i, ValueRange) {
    body(i);
    return SmallVector<Value>();
  });
}

SmallVector<Value>
VectorEmitter::branch(Value condition, function_ref<SmallVector<Value>()> then,
                      function_ref<SmallVector<Value>()> otherwise) {
  auto emitInto = [&](function_ref<SmallVector<Value>()> body) {
    return
        [&, body](OpBuilder &, Location) { scf::YieldOp::create(b, body()); };
  };
  auto ifOp =
      scf::IfOp::create(b, condition, emitInto(then), emitInto(otherwise));
  return SmallVector<Value>(ifOp.getResults());
}

void VectorEmitter::keepOrder() {
  LLVM::FenceOp::create(b, LLVM::AtomicOrdering::acq_rel, "singlethread");
}

SmallVector<Value> VectorEmitter::loopInTurns(
    Value first, Value count, int64_t turns, ValueRange carried,
    function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto emitTurns = [&](Value begin, int64_t number, ValueRange values) {
    SmallVector<Value> next(values);
    for (int64_t turn = 0; turn < number; ++turn) {
      // LLVM would load for the next turn before there are registers for that.
      if (turn > 0)
        keepOrder();
      next = body(add(begin, turn), next);
    }
    return next;
  };
  Value last = add(first, count);
  if (turns == 1)
    return loop(first, last, 1, carried, body);
  std::optional<int64_t> size = getConstantIntValue(count);
  if (size && *size <= turns)
    return emitTurns(first, *size, carried);
  Value rest = b.createOrFold<arith::RemUIOp>(count, index(turns));
  Value middle = add(first, sub(count, rest));
  SmallVector<Value> values =
      loop(first, middle, turns, carried, [&](Value i, ValueRange begin) {
        return emitTurns(i, turns, begin);
      });
  return isConstantIntValue(rest, 0) ? values
                                     : loop(middle, last, 1, values, body);
}

Value VectorEmitter::loadWords(Value buffer, Value position) {
  return vector::LoadOp::create(b, words, buffer, position);
}

void VectorEmitter::storeWords(Value vector, Value buffer, Value position) {
  vector::StoreOp::create(b, toWords(vector), buffer, position);
}

void VectorEmitter::storeHalves(Value vector, Value buffer,
                                ValueRange position) {
  auto type = cast<VectorType>(vector.getType());
  if (type.getNumElements() * type.getElementTypeBitWidth() != 512) {
    vector::StoreOp::create(b, vector, buffer, position);
    return;
  }
  int64_t size = type.getNumElements() / 2;
  for (int64_t half : {0, 1}) {
    // LLVM would join the halves again.
    if (half > 0)
      keepOrder();
    Value part = vector::ExtractStridedSliceOp::create(
        b, vector, ArrayRef(half * size), ArrayRef(size), ArrayRef<int64_t>(1));
    SmallVector<Value> at(position);
    at.back() = add(at.back(), half * size);
    vector::StoreOp::create(b, part, buffer, at);
  }
  // Or the second one with the first of the next vector, which crosses a line.
  keepOrder();
}

Value VectorEmitter::inOrder(Value packed, int64_t vectors) {
  // A word of each vector stands in four.
  constexpr int64_t turns = 4;
  SmallVector<int64_t> order;
  for (int64_t v = 0; v < vectors; ++v)
    for (int64_t i = 0; i < lanes / turns; ++i)
      order.push_back(i * turns + v);
  Value turned = vector::BitCastOp::create(b, words, packed);
  turned = vector::ShuffleOp::create(b, turned, turned, order);
  return vector::BitCastOp::create(
      b, VectorType::get(vectors * lanes, b.getI8Type()), turned);
}

Value VectorEmitter::larger(Value x, Value y) {
  Value isLarger = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y);
  return arith::SelectOp::create(b, isLarger, x, y);
}

Value VectorEmitter::reduce(Value vector,
                            function_ref<Value(Value, Value)> join) {
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    auto low = llvm::to_vector(llvm::seq<int64_t>(0, half));
    auto high = llvm::to_vector(llvm::seq<int64_t>(half, 2 * half));
    Value lower = vector::ShuffleOp::create(b, vector, vector, low);
    Value upper = vector::ShuffleOp::create(b, vector, vector, high);
    vector = join(upper, lower);
  }
  return vector::ExtractOp::create(b, vector, 0);
}

Value VectorEmitter::reduceSum(Value vector) {
  bool isFloat = cast<VectorType>(vector.getType()).getElementType().isF32();
  return reduce(vector, [&](Value x, Value y) -> Value {
    if (isFloat)
      return arith::AddFOp::create(b, x, y);
    return arith::AddIOp::create(b, x, y);
  });
}

Value VectorEmitter::joinRows(ArrayRef<Value> rows,
                              vector::CombiningKind kind) {
  SmallVector<Value> vectors(rows);
  // Each vector has a run of `run` lanes for each of its rows.
  int64_t run = lanes;
  auto pick = [&](Value x, Value y, int64_t offset) -> Value {
    SmallVector<int64_t> picked;
    for (int64_t lane = 0; lane < 2 * lanes; lane += run)
      for (int64_t i = 0; i < run / 2; ++i)
        picked.push_back(lane + offset + i);
    return vector::ShuffleOp::create(b, x, y, picked);
  };
  for (; vectors.size() > 1; run /= 2) {
    for (size_t i = 0; i < vectors.size() / 2; ++i) {
      Value x = vectors[2 * i], y = vectors[2 * i + 1];
      vectors[i] = vector::makeArithReduction(
          b, b.getLoc(), kind, pick(x, y, 0), pick(x, y, run / 2));
    }
    vectors.resize(vectors.size() / 2);
  }
  return vectors.front();
}

Value VectorEmitter::reduceRuns(Value joined, int64_t numRows,
                                vector::CombiningKind kind) {
  for (int64_t run = lanes / numRows; run > 1; run /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < numRows * run; lane += run)
      for (int64_t i = 0; i < run / 2; ++i) {
        low.push_back(lane + i);
        high.push_back(lane + run / 2 + i);
      }
    joined = vector::makeArithReduction(
        b, b.getLoc(), kind, vector::ShuffleOp::create(b, joined, joined, low),
        vector::ShuffleOp::create(b, joined, joined, high));
  }
  return joined;
}

Value VectorEmitter::joinAll(ArrayRef<Value> values,
                             function_ref<Value(Value, Value)> join) {
  Value all = values.front();
  for (Value value : values.drop_front())
    all = join(all, value);
  return all;
}

void VectorEmitter::transpose(MutableArrayRef<Value> rows) {
  for (int64_t size = 1; size < lanes; size *= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      bool isOther = lane & size;
      low.push_back(isOther ? lanes + lane - size : lane);
      high.push_back(isOther ? lanes + lane : lane + size);
    }
    for (int64_t row = 0; row < lanes; ++row) {
      if (row & size)
        continue;
      Value first = rows[row], second = rows[row + size];
      rows[row] = vector::ShuffleOp::create(b, first, second, low);
      rows[row + size] = vector::ShuffleOp::create(b, first, second, high);
    }
  }
}
