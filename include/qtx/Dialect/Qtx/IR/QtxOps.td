//===- QtxOps.td - All of the qtx dialect ------------------*- tablegen -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The umbrella from which the reference documentation is generated.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXOPS
#define QTX_DIALECT_QTX_IR_QTXOPS

include "qtx/Dialect/Qtx/IR/QuantizationOps.td"
include "qtx/Dialect/Qtx/IR/ContractionOps.td"
include "qtx/Dialect/Qtx/IR/AttentionOps.td"
include "qtx/Dialect/Qtx/IR/KernelOps.td"
include "qtx/Dialect/Qtx/IR/NormalisationOps.td"
include "qtx/Dialect/Qtx/IR/RowOps.td"
include "qtx/Dialect/Qtx/IR/TrainingOps.td"

#endif // QTX_DIALECT_QTX_IR_QTXOPS
