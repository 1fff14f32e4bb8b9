//===- Groups.cpp - Keys without probabilities ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace qtx;

bool AttentionEmitter::skipsZeros() {
  return view->getGamma().isNegative() && isClipped() &&
         (!hasSeeds(plan.context) || prob.zeroPoint == 0);
}

Value AttentionEmitter::getGroupedEnd() {
  return arith::MinUIOp::create(b, groupedKeys, at.seen);
}

Value AttentionEmitter::getGroupPosition(Value key) {
  return arith::DivUIOp::create(b, key, index(plan.context.getStep()));
}

void AttentionEmitter::emitAndListGroups(function_ref<void()> body) {
  if (skipsZeros())
    loop(getGroupedEnd(), getGroupSize(), [&](Value key) {
      storeWords(splatInt(0), groupCodes, getGroupPosition(key));
    });
  body();
  if (skipsZeros())
    emitGroupList();
}

void AttentionEmitter::addToGroup(Value key, Value codes) {
  if (getGroupSize() > lanes)
    key = sub(key, arith::RemUIOp::create(b, key, index(getGroupSize())));
  Value group = getGroupPosition(key);
  storeWords(arith::OrIOp::create(b, loadWords(groupCodes, group), codes),
             groupCodes, group);
}

void AttentionEmitter::emitGroupList() {
  at.numGroups = loop(
      zero, getGroupedEnd(), getGroupSize(), zero,
      [&](Value key, ValueRange carried) -> SmallVector<Value> {
        Value any = vector::ReductionOp::create(
            b, vector::CombiningKind::OR,
            loadWords(groupCodes, getGroupPosition(key)));
        Value first = arith::IndexCastOp::create(b, b.getI32Type(), key);
        memref::StoreOp::create(b, first, groupList, carried[0]);
        Value counts =
            arith::CmpIOp::create(b, arith::CmpIPredicate::ne, any,
                                  arith::ConstantIntOp::create(b, 0, 32));
        if (plan.context.isFloat())
          counts = arith::SelectOp::create(
              b, at.areFinite, counts, arith::ConstantIntOp::create(b, 1, 1));
        return {
            arith::SelectOp::create(b, counts, add(carried[0], 1), carried[0])};
      })[0];
}

SmallVector<Value> AttentionEmitter::forEachCounted(
    ValueRange carried, int64_t stride,
    function_ref<SmallVector<Value>(Value, ValueRange)> group,
    function_ref<SmallVector<Value>(Value, ValueRange)> rest) {
  SmallVector<Value> sums =
      loop(zero, at.numGroups, 1, carried, [&](Value i, ValueRange values) {
        Value first = memref::LoadOp::create(b, groupList, i);
        return group(arith::IndexCastOp::create(b, b.getIndexType(), first),
                     values);
      });
  Value end = arith::MinUIOp::create(b, numKeys, at.seen);
  return loop(groupedKeys, end, stride, sums, rest);
}
