//===- InitAll.h - Registration of everything in qtx ------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_INITALL_H
#define QTX_INITALL_H

#include "mlir/IR/DialectRegistry.h"

namespace qtx {

/// Adds the qtx dialect and the upstream dialects that its lowerings produce,
/// with the interface implementations that the pipelines need.
void registerDialects(mlir::DialectRegistry &registry);

/// Registers all qtx passes and pipelines by name.
void registerPasses();

} // namespace qtx

#endif // QTX_INITALL_H
