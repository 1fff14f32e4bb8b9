//===- OpenMP.h - LLVM's OpenMP library -------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_OPENMP_H
#define QTX_TARGET_OPENMP_H

#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/Error.h"
#include <string>

namespace qtx {

/// Whether code runs on threads of OpenMP.
bool needsOpenMP(const llvm::object::ObjectFile &object);

/// Loads the library that code with threads calls, unless this process has it
/// already, and returns its path.
llvm::Expected<std::string> loadOpenMP();

} // namespace qtx

#endif // QTX_TARGET_OPENMP_H
