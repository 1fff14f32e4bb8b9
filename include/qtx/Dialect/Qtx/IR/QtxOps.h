//===- QtxOps.h - All operations of the qtx dialect -------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QTXOPS_H
#define QTX_DIALECT_QTX_IR_QTXOPS_H

#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "qtx/Dialect/Qtx/IR/RowOps.h"
#include "qtx/Dialect/Qtx/IR/TrainingOps.h"

#endif // QTX_DIALECT_QTX_IR_QTXOPS_H
