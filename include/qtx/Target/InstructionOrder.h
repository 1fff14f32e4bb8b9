//===- InstructionOrder.h - Order of machine instructions -------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_INSTRUCTIONORDER_H
#define QTX_TARGET_INSTRUCTIONORDER_H

namespace llvm {
class Module;
} // namespace llvm

namespace qtx {

/// Has no instruction of a kernel pass one of its fences between threads that
/// are signal handlers, which are no instruction. Kernels fill all registers:
/// what comes earlier or later than they say is spilled. Call it behind the
/// optimizer.
void keepInstructionOrder(llvm::Module &module);

} // namespace qtx

#endif // QTX_TARGET_INSTRUCTIONORDER_H
