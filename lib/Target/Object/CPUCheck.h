//===- CPUCheck.h - Which CPUs run an object --------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An object finds out at its first call what the CPU and its operating system
// can do. What does so is compiled for the least of CPUs.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_TARGET_OBJECT_CPUCHECK_H
#define QTX_LIB_TARGET_OBJECT_CPUCHECK_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "qtx/Target/Object.h"

namespace qtx {

/// Adds `i32 qtx_version()`: the best of the versions that can run here, as an
/// index into those of `interface`; -1 if none can. Objects for targets other
/// than x86-64 check nothing and have one version.
mlir::LLVM::LLVMFuncOp addVersionFunction(mlir::ModuleOp module,
                                          const ObjectInterface &interface);

/// Has `function` compiled for the least CPU of the object's target.
void compileForLeastCPU(mlir::LLVM::LLVMFuncOp function,
                        const ObjectInterface &interface);

} // namespace qtx

#endif // QTX_LIB_TARGET_OBJECT_CPUCHECK_H
