//===- QtxTypes.h - Types of the qtx dialect --------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXTYPES_H
#define QTX_DIALECT_QTX_IR_QTXTYPES_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"

#define GET_TYPEDEF_CLASSES
#include "qtx/Dialect/Qtx/IR/QtxTypes.h.inc"

#endif // QTX_DIALECT_QTX_IR_QTXTYPES_H
