//===- Npz.h - NumPy archives -----------------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads and writes `.npz`: a zip archive with one `.npy` file per array.
// Entries are stored or deflated, little-endian, in C or Fortran order; numbers
// and booleans only. Whatever a file holds, reading it ends in arrays or in one
// error.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_NPZ_H
#define QTX_SUPPORT_NPZ_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace qtx {

enum class NpyKind { Bool, Int, UInt, Float };

/// Memory from malloc: an allocation that fails is an error, not an abort.
struct FreeDeleter {
  void operator()(char *data) const { std::free(data); }
};
using NpyData = std::unique_ptr<char[], FreeDeleter>;

/// A dense array in C order.
struct NpyArray {
  NpyKind kind;
  /// Bytes of one element.
  unsigned itemSize;
  std::vector<int64_t> shape;
  NpyData data;

  size_t getNumElements() const;
  size_t getNumBytes() const { return getNumElements() * itemSize; }
  /// The type as NumPy spells it: `float32`, `int8`, `bool`, ...
  std::string getTypeName() const;
  /// The shape as NumPy spells it: `(2, 3)`.
  std::string getShapeName() const;
};

struct NamedArray {
  std::string name;
  NpyArray array;
};

/// An array of zeros. Fails if there is not enough memory.
llvm::Expected<NpyArray> createArray(NpyKind kind, unsigned itemSize,
                                     llvm::ArrayRef<int64_t> shape);

/// Reads all arrays of an archive, in its order.
llvm::Expected<std::vector<NamedArray>> readNpz(llvm::StringRef path);

/// Writes an archive with deflated entries, to a temporary name first, so that
/// `path` is either complete or untouched.
llvm::Error writeNpz(llvm::StringRef path, llvm::ArrayRef<NamedArray> arrays);

} // namespace qtx

#endif // QTX_SUPPORT_NPZ_H
