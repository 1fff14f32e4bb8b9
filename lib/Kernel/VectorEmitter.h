//===- VectorEmitter.h - Short names for loops and vectors ------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_VECTOREMITTER_H
#define QTX_LIB_KERNEL_VECTOREMITTER_H

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "qtx/Support/LLVM.h"

namespace qtx {

/// Emits loops, vectors of words of 32 bits, and what joins their lanes.
class VectorEmitter {
protected:
  VectorEmitter(ImplicitLocOpBuilder &builder, int64_t lanes);

  Value index(int64_t value);
  Value add(Value lhs, Value rhs);
  Value add(Value lhs, int64_t rhs) {
    return rhs == 0 ? lhs : add(lhs, index(rhs));
  }
  Value sub(Value lhs, Value rhs);
  Value mul(Value lhs, Value rhs);
  Value mul(Value lhs, int64_t rhs) { return mul(lhs, index(rhs)); }
  Value splat(Value scalar);
  Value splat(float value);
  Value splatInt(int64_t value);
  Value f32(float value);
  Value toFloats(Value vector);
  Value toWords(Value vector);
  Value convert(Value vector);

  /// The nearest integers of floats, see qtx/Support/Rounding.h.
  Value roundToInteger(Value vector);

  /// Runs `body` in a loop with values that it carries along.
  SmallVector<Value>
  loop(Value lower, Value upper, int64_t stride, ValueRange carried,
       llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body);

  void loop(Value upper, int64_t stride, llvm::function_ref<void(Value)> body);

  /// What `then` or `otherwise` emits, as `condition` says.
  SmallVector<Value> branch(Value condition,
                            llvm::function_ref<SmallVector<Value>()> then,
                            llvm::function_ref<SmallVector<Value>()> otherwise);

  /// Has what is emitted before come first, and what is emitted behind it
  /// later: a fence within the thread, which is no instruction (see
  /// qtx/Target/InstructionOrder.h).
  void keepOrder();

  /// The same for `count` numbers from `first` on, `turns` of them in an
  /// iteration, and those that are left one by one. No more than `turns` are no
  /// loop.
  SmallVector<Value>
  loopInTurns(Value first, Value count, int64_t turns, ValueRange carried,
              llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body);

  Value loadWords(Value buffer, Value position);
  void storeWords(Value vector, Value buffer, Value position);
  Value loadFloats(Value buffer, Value position) {
    return toFloats(loadWords(buffer, position));
  }

  /// Stores a vector in two parts where it has 512 bits: on cores of the Zen 4
  /// class a whole one keeps more dot products from starting.
  void storeHalves(Value vector, Value buffer, ValueRange position);

  /// The bytes that `vectors` vectors of words were packed to (see
  /// `MicroKernel::emitPacked`), one vector behind the other.
  Value inOrder(Value packed, int64_t vectors);

  /// The larger one; the second if the first is NaN.
  Value larger(Value x, Value y);

  /// One number from all lanes.
  Value reduce(Value vector, llvm::function_ref<Value(Value, Value)> join);

  Value reduceSum(Value vector);

  /// One vector of what all lanes of each of `rows` make, in a run of lanes for
  /// each. The number of rows is a power of two.
  Value joinRows(llvm::ArrayRef<Value> rows, mlir::vector::CombiningKind kind);

  /// A vector of one number for each of the runs of `joined`.
  Value reduceRuns(Value joined, int64_t numRows,
                   mlir::vector::CombiningKind kind);

  Value joinAll(llvm::ArrayRef<Value> values,
                llvm::function_ref<Value(Value, Value)> join);

  /// A square of words, by exchanging ever larger parts.
  void transpose(llvm::MutableArrayRef<Value> rows);

  ImplicitLocOpBuilder &b;
  int64_t lanes;
  VectorType floats, words;
  Value zero;
};

} // namespace qtx

#endif // QTX_LIB_KERNEL_VECTOREMITTER_H
