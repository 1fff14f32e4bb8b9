//===- TypeUtils.h - Changing the types of values in place ------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_TRANSFORMS_TYPEUTILS_H
#define QTX_DIALECT_QTX_TRANSFORMS_TYPEUTILS_H

#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/Operation.h"

namespace qtx {

/// Whether `type` is or contains a quantized type, of qtx or of upstream.
bool containsQuantizedType(mlir::Type type);

/// The first type of an operand, result, block argument or signature of `op`
/// for which `matches` holds.
mlir::Type findType(mlir::Operation *op,
                    llvm::function_ref<bool(mlir::Type)> matches);

/// Changes the types of the results, block arguments and signature of `op`, and
/// of a constant that is a resource.
void retype(mlir::Operation *op, mlir::AttrTypeReplacer &replacer);

/// Whether `op` passes tensors on whatever their element type is: functions,
/// calls, control flow, and operations that only ask for sizes.
bool isTypeAgnostic(mlir::Operation *op);

} // namespace qtx

#endif // QTX_DIALECT_QTX_TRANSFORMS_TYPEUTILS_H
