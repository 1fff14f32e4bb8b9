//===- QtxAttributes.h - Attributes of the qtx dialect ----------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXATTRIBUTES_H
#define QTX_DIALECT_QTX_IR_QTXATTRIBUTES_H

#include "mlir/IR/Attributes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"

#include "qtx/Dialect/Qtx/IR/QtxEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "qtx/Dialect/Qtx/IR/QtxAttributes.h.inc"

#endif // QTX_DIALECT_QTX_IR_QTXATTRIBUTES_H
