//===- Stages.cpp - Stages of a compilation -------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Pipelines/Stages.h"
#include "mlir/Pass/Pass.h"
#include "qtx/Pipelines/Passes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace qtx;

namespace qtx {
#define GEN_PASS_DEF_QTXVERIFYSTAGEPASS
#include "qtx/Pipelines/Passes.h.inc"
} // namespace qtx

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

static constexpr std::pair<Stage, llvm::StringLiteral> kNames[] = {
    {Stage::Import, "import"},       {Stage::Calibrate, "calibrate"},
    {Stage::Quantize, "quantize"},   {Stage::Fold, "fold"},
    {Stage::Fuse, "fuse"},           {Stage::Storage, "storage"},
    {Stage::Configure, "configure"}, {Stage::Pack, "pack"},
    {Stage::Tile, "tile"},           {Stage::Bufferize, "bufferize"},
    {Stage::Vector, "vector"},       {Stage::Object, "object"}};

ArrayRef<Stage> qtx::getStages() {
  static const auto stages = llvm::map_to_vector(
      kNames, [](const auto &entry) { return entry.first; });
  return stages;
}

StringRef qtx::getStageName(Stage stage) {
  return llvm::find_if(kNames,
                       [&](const auto &entry) { return entry.first == stage; })
      ->second;
}

std::optional<Stage> qtx::getStage(StringRef name) {
  auto *entry = llvm::find_if(
      kNames, [&](const auto &entry) { return entry.second == name; });
  if (entry == std::end(kNames))
    return std::nullopt;
  return entry->first;
}

std::string qtx::listStageNames() {
  return llvm::join(llvm::map_range(getStages(), getStageName), ", ");
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {
struct QtxVerifyStagePass
    : qtx::impl::QtxVerifyStagePassBase<QtxVerifyStagePass> {
  using QtxVerifyStagePassBase::QtxVerifyStagePassBase;

  void runOnOperation() override {
    std::optional<Stage> parsed = getStage(stage);
    if (!parsed) {
      getOperation()->emitError() << "expected a stage (" << listStageNames()
                                  << "), found '" << stage << "'";
      return signalPassFailure();
    }
    if (failed(verifyStage(getOperation(), *parsed)))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};
} // namespace
