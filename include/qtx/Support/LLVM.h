//===- LLVM.h - Names of LLVM and MLIR --------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What classes that emit code name everywhere, without its namespace.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_LLVM_H
#define QTX_SUPPORT_LLVM_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/ValueRange.h"
#include "mlir/Support/LLVM.h"

namespace qtx {

using mlir::ImplicitLocOpBuilder;
using mlir::SmallVector;
using mlir::SmallVectorImpl;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
using mlir::VectorType;

} // namespace qtx

#endif // QTX_SUPPORT_LLVM_H
