//===- GlobalsToBytes.h - Constants as bytes --------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_GLOBALSTOBYTES_GLOBALSTOBYTES_H
#define QTX_CONVERSION_GLOBALSTOBYTES_GLOBALSTOBYTES_H

#include "mlir/Pass/Pass.h"

namespace qtx {
#define GEN_PASS_DECL_QTXGLOBALSTOBYTESPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

#endif // QTX_CONVERSION_GLOBALSTOBYTES_GLOBALSTOBYTES_H
