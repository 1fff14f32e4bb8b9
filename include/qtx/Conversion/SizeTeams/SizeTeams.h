//===- SizeTeams.h - Size OpenMP teams --------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_SIZETEAMS_SIZETEAMS_H
#define QTX_CONVERSION_SIZETEAMS_SIZETEAMS_H

#include "mlir/Pass/Pass.h"

namespace qtx {
#define GEN_PASS_DECL_QTXSIZETEAMSPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

#endif // QTX_CONVERSION_SIZETEAMS_SIZETEAMS_H
