//===- QtxDialect.h - The qtx dialect ---------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXDIALECT_H
#define QTX_DIALECT_QTX_IR_QTXDIALECT_H

#include "mlir/IR/Dialect.h"

#include "qtx/Dialect/Qtx/IR/QtxDialect.h.inc"

#endif // QTX_DIALECT_QTX_IR_QTXDIALECT_H
