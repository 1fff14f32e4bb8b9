//===- AttentionOps.h - Attention operations --------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_ATTENTIONOPS_H
#define QTX_DIALECT_QTX_IR_ATTENTIONOPS_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/TilingInterface.h"
#include "qtx/Dialect/Qtx/IR/QtxAttributes.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/AttentionOps.h.inc"

#endif // QTX_DIALECT_QTX_IR_ATTENTIONOPS_H
