//===- Target.h - What the target can do ------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_KERNEL_TARGET_H
#define QTX_KERNEL_TARGET_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/CodeGen.h"

namespace llvm {
class TargetMachine;
} // namespace llvm

namespace qtx {

/// Puts the target of `machine`, with the whole list of its CPU features, on
/// the module: the attribute `llvm.target`, which passes of the fast path read.
/// A process may use AMX only after it has asked the kernel (`requestAMX`):
/// without `allowAMX` its features are left out.
void setTarget(mlir::ModuleOp module, const llvm::TargetMachine &machine,
               bool allowAMX = false);

/// Asks the kernel to let this process use AMX; false if it may not.
bool requestAMX();

/// LLVM's level of code generation for a level of optimization, 0 to 3. At 0 it
/// cannot allocate the tile registers of AMX.
llvm::CodeGenOptLevel getCodeGenLevel(unsigned optLevel, bool hasTiles);

/// The CPU features of the target that surrounds an operation, such as
/// `avx512f`, and the name of the CPU. Without a target there are none.
class TargetFeatures {
public:
  explicit TargetFeatures(mlir::Operation *op);
  bool has(llvm::StringRef feature) const { return features.contains(feature); }
  llvm::StringRef getCPU() const { return cpu; }

private:
  llvm::StringRef cpu;
  llvm::StringSet<> features;
};

} // namespace qtx

#endif // QTX_KERNEL_TARGET_H
