//===- ExpandMath.h - Expand elementary functions ---------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_EXPANDMATH_EXPANDMATH_H
#define QTX_CONVERSION_EXPANDMATH_EXPANDMATH_H

#include "mlir/Pass/Pass.h"

namespace qtx {
#define GEN_PASS_DECL_QTXEXPANDMATHPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

#endif // QTX_CONVERSION_EXPANDMATH_EXPANDMATH_H
