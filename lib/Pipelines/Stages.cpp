//===- Stages.cpp - Stages of a compilation -------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Pipelines/Stages.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/OpenMP/OpenMPDialect.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/Pass.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/Transforms/TypeUtils.h"
#include "qtx/Pipelines/Passes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

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
// Contracts
//===----------------------------------------------------------------------===//

/// Whether `type` is or contains a tensor for which `matches` holds.
static bool containsTensor(Type type, function_ref<bool(TensorType)> matches) {
  WalkResult result = type.walk([&](TensorType tensor) {
    return matches(tensor) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return result.wasInterrupted();
}

static bool isTensor(Type type) {
  return containsTensor(type, [](TensorType) { return true; });
}

static bool isUnrankedOrEncoded(Type type) {
  return containsTensor(type, [](TensorType tensor) {
    auto ranked = dyn_cast<RankedTensorType>(tensor);
    return !ranked || ranked.getEncoding();
  });
}

/// Operations on values: what a model consists of until it has buffers.
static bool isTensorOp(Operation *op) {
  return isa<BuiltinDialect, QtxDialect, affine::AffineDialect,
             arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect,
             linalg::LinalgDialect, math::MathDialect, quant::QuantDialect,
             scf::SCFDialect, tensor::TensorDialect>(op->getDialect());
}

/// Operations with which the buffers of callers enter, from the storage stage
/// on.
static bool isBufferOp(Operation *op) {
  return isa<bufferization::BufferizationDialect, memref::MemRefDialect>(
      op->getDialect());
}

/// Why `op` may not be in the IR when it leaves `stage`; empty if it may.
static std::string findViolation(Operation *op, Stage stage) {
  auto describe = [](StringRef what, Type type) {
    return llvm::formatv("expected {0}, found {1}", what, type).str();
  };
  bool isAllowed =
      op->getDialect() &&
      (isTensorOp(op) || (stage >= Stage::Storage && isBufferOp(op)));
  if (stage <= Stage::Pack && !isAllowed)
    return "expected an operation of qtx or on tensors";
  if (stage <= Stage::Pack)
    if (Type type = findType(op, isUnrankedOrEncoded))
      return describe("ranked tensors without an encoding", type);
  if (stage >= Stage::Vector && isa<QtxDialect>(op->getDialect()))
    return "expected no operation of qtx";
  if (stage >= Stage::Storage)
    if (Type type = findType(op, containsQuantizedType))
      return describe("no quantized element type", type);
  if (stage >= Stage::Bufferize)
    if (Type type = findType(op, isTensor))
      return describe("no tensor", type);
  if (stage == Stage::Object &&
      !isa<BuiltinDialect, LLVM::LLVMDialect, omp::OpenMPDialect>(
          op->getDialect()))
    return "expected an operation of the llvm or omp dialect";
  return "";
}

LogicalResult qtx::verifyStage(ModuleOp module, Stage stage) {
  bool holds = true;
  module.walk([&](Operation *op) {
    std::string violation = findViolation(op, stage);
    if (violation.empty())
      return;
    op->emitOpError() << "cannot leave stage '" << getStageName(stage)
                      << "': " << violation;
    holds = false;
  });
  return success(holds);
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
