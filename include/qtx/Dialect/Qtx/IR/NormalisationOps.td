//===- NormalisationOps.td - Normalisation operations ------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_NORMALISATIONOPS
#define QTX_DIALECT_QTX_IR_NORMALISATIONOPS

include "qtx/Dialect/Qtx/IR/QtxOpBase.td"

#endif // QTX_DIALECT_QTX_IR_NORMALISATIONOPS
