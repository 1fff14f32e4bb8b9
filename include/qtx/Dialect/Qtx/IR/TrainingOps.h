//===- TrainingOps.h - Training operations ----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_TRAININGOPS_H
#define QTX_DIALECT_QTX_IR_TRAININGOPS_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "qtx/Dialect/Qtx/IR/QtxAttributes.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"

namespace qtx {

/// The tensor type of the shape of `type` with elements of the named type:
/// "f32", or "i" and a width. Types that are no ranked tensors stay as they
/// are.
mlir::Type getTypeLike(mlir::Type type, llvm::StringRef elementType);

/// The tensor type of rank 0 with elements of the named type.
mlir::Type getScalarTypeLike(mlir::Type type, llvm::StringRef elementType);

/// The least and largest integer of a training grid.
std::pair<int64_t, int64_t> getGridRange(Grid grid, int64_t bits);

/// The scale that a fake quantizer divides by is never smaller than this.
constexpr float minEffectiveScale = 1e-8f;

/// The dimension that `axis` (negative: from the last) names, if any.
std::optional<int64_t> getChannelDim(std::optional<int64_t> axis, int64_t rank);

} // namespace qtx

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/TrainingOps.h.inc"

#endif // QTX_DIALECT_QTX_IR_TRAININGOPS_H
