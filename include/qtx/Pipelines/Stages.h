//===- Stages.h - Stages of a compilation -----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A model flows through the stages in one order. Each has an exit contract,
// which `verifyStage` checks and docs/Pipeline.md describes.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_PIPELINES_STAGES_H
#define QTX_PIPELINES_STAGES_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>

namespace qtx {

enum class Stage {
  Import,
  Calibrate,
  Quantize,
  Fold,
  Fuse,
  Storage,
  Configure,
  Pack,
  Tile,
  Bufferize,
  Vector,
  Object
};

/// All stages in their order.
llvm::ArrayRef<Stage> getStages();

/// The name of a stage as users write it: `import`, `calibrate`, ...
llvm::StringRef getStageName(Stage stage);

/// The stage of that name.
std::optional<Stage> getStage(llvm::StringRef name);

/// The names of all stages, for messages.
std::string listStageNames();

/// Checks what the IR must hold when it leaves `stage`; one diagnostic for each
/// operation that breaks the contract.
mlir::LogicalResult verifyStage(mlir::ModuleOp module, Stage stage);

} // namespace qtx

#endif // QTX_PIPELINES_STAGES_H
