//===- ExpandRows.h - Expand rows into vectors ------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_EXPANDROWS_EXPANDROWS_H
#define QTX_CONVERSION_EXPANDROWS_EXPANDROWS_H

#include "mlir/Pass/Pass.h"

namespace qtx {
#define GEN_PASS_DECL_QTXEXPANDROWSPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

#endif // QTX_CONVERSION_EXPANDROWS_EXPANDROWS_H
