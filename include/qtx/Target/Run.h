//===- Run.h - Run a function on named arrays -------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The rules by which arrays of an archive become inputs of a function and
// outputs are compared with expected ones; `qtx-run` and the verification of
// compiled models share them.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_RUN_H
#define QTX_TARGET_RUN_H

#include "qtx/Support/Npz.h"
#include "qtx/Target/JIT.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace qtx {

/// Finds the array of every input of `signature` by its name and converts it to
/// the element type of the input. A missing array is an error, an extra one a
/// warning.
llvm::Expected<std::vector<NpyArray>>
bindInputs(const FunctionSignature &signature,
           llvm::ArrayRef<NamedArray> arrays,
           llvm::function_ref<void(const llvm::Twine &)> warn);

/// `array` in the element type `kind`. Integers and booleans of another width
/// are converted if no value changes; a floating-point type of another width is
/// an error.
llvm::Expected<NpyArray> convertArray(const NpyArray &array, ElementKind kind);

/// The first of the integers `array` that is outside of `[minimum, maximum]`,
/// as `7 at [1, 2]`; empty if there is none.
std::string findOutside(const NpyArray &array, int64_t minimum,
                        int64_t maximum);

/// A view of an array that has the element type `kind`.
BufferView getView(const NpyArray &array, ElementKind kind);

/// The outputs of a call under their names.
llvm::Expected<std::vector<NamedArray>>
nameOutputs(const FunctionSignature &signature, llvm::ArrayRef<Buffer> outputs);

/// Elements `a` and `b` agree if |a - b| <= absolute + relative * |b|, or if
/// both are NaN or the same infinity.
struct Tolerance {
  double relative = 0;
  double absolute = 0;
};

/// Compares each array of `expected` with the output of its name. Every
/// difference is reported, with the first and the largest one of each output. A
/// missing array is a difference, an extra one a warning.
bool compareOutputs(llvm::ArrayRef<NamedArray> outputs,
                    llvm::ArrayRef<NamedArray> expected,
                    const Tolerance &tolerance,
                    llvm::function_ref<void(const llvm::Twine &)> report,
                    llvm::function_ref<void(const llvm::Twine &)> warn);

} // namespace qtx

#endif // QTX_TARGET_RUN_H
