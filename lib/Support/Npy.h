//===- Npy.h - One NumPy array in a file ------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_SUPPORT_NPY_H
#define QTX_LIB_SUPPORT_NPY_H

#include "qtx/Support/Npz.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace qtx {

/// What the header of a `.npy` file says.
struct NpyHeader {
  NpyKind kind = NpyKind::Bool;
  unsigned itemSize = 1;
  bool isFortranOrder = false;
  std::vector<int64_t> shape;
};

/// Fails on sizes that no machine has memory for.
llvm::Expected<size_t> getNumBytes(unsigned itemSize,
                                   llvm::ArrayRef<int64_t> shape);

/// Fills in the next bytes of a file, at least one, and returns their number; 0
/// at the end.
using NpyReader =
    llvm::function_ref<llvm::Expected<size_t>(llvm::MutableArrayRef<char>)>;

/// Reads a `.npy` file of `size` bytes.
llvm::Expected<NpyArray> readNpy(NpyReader read, uint64_t size);

/// The bytes of a `.npy` file up to the elements.
std::string createNpyHeader(const NpyArray &array);

} // namespace qtx

#endif // QTX_LIB_SUPPORT_NPY_H
