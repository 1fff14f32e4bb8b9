//===- Tune.h - Time configurations of contractions -------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A search that refines what the cost model chose, and the file that keeps what
// it found: see docs/HowTo/Tune.md.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_PIPELINES_TUNE_H
#define QTX_LIB_PIPELINES_TUNE_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"

namespace qtx {

/// Where the found configurations are kept if no file is named.
llvm::Expected<std::string> getDefaultTuningFile();

/// Gives the contractions of `module`, which `qtx-configure` has seen, the
/// configurations that the file at `path` has for them; times those that it
/// does not have, and adds them to the file. Fails if this machine cannot run
/// code for the module's target, or the file is none of qtx.
llvm::Error
tuneContractions(mlir::ModuleOp module, llvm::StringRef path,
                 llvm::function_ref<void(size_t done, size_t total)> progress);

} // namespace qtx

#endif // QTX_LIB_PIPELINES_TUNE_H
