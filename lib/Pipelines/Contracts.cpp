//===- Contracts.cpp - Exit contracts of stages ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/Transforms/Contracts.h"
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
#include "mlir/IR/Matchers.h"
#include "qtx/Analysis/Observed.h"
#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Dialect/Qtx/IR/RowOps.h"
#include "qtx/Dialect/Qtx/Transforms/TypeUtils.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Kernel/Target.h"
#include "qtx/Pipelines/Stages.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace qtx;

/// Why an operation may not leave a stage; empty if it may.
using Violation = std::string;

static Violation describe(StringRef what, Type type) {
  return llvm::formatv("expected {0}, found {1}", what, type).str();
}

//===----------------------------------------------------------------------===//
// Operations and types
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

static Violation checkTypes(Operation *op, Stage stage) {
  if (stage <= Stage::Pack)
    if (Type type = findType(op, isUnrankedOrEncoded))
      return describe("ranked tensors without an encoding", type);
  if (stage >= Stage::Storage)
    if (Type type = findType(op, containsQuantizedType))
      return describe("no quantized element type", type);
  if (stage >= Stage::Bufferize)
    if (Type type = findType(op, isTensor))
      return describe("no tensor", type);
  return "";
}

static Violation checkDialect(Operation *op, Stage stage) {
  bool isAllowed =
      op->getDialect() &&
      (isTensorOp(op) || (stage >= Stage::Storage && isBufferOp(op)));
  if (stage <= Stage::Pack && !isAllowed)
    return "expected an operation of qtx or on tensors";
  bool isQtx = isa_and_present<QtxDialect>(op->getDialect());
  if (stage >= Stage::Vector && isQtx)
    return "expected no operation of qtx";
  if (stage >= Stage::Tile && isQtx &&
      !isa<KernelOp, RowsOp, RowReduceOp, YieldOp>(op))
    return "expected a kernel or rows";
  if (stage == Stage::Vector && isa<memref::AllocOp, memref::DeallocOp>(op))
    return "expected a place in the workspace";
  if (stage == Stage::Object &&
      !isa_and_present<BuiltinDialect, LLVM::LLVMDialect, omp::OpenMPDialect>(
          op->getDialect()))
    return "expected an operation of the llvm or omp dialect";
  return "";
}

//===----------------------------------------------------------------------===//
// Graph
//===----------------------------------------------------------------------===//

static Violation checkFeatures(LinearOp op) {
  auto weight = cast<RankedTensorType>(op.getWeight().getType());
  return weight.hasStaticShape() ? ""
                                 : describe("a weight of static shape", weight);
}

/// Checks what `qtx.observed` says of a value.
static Violation checkRanges(Attribute entry, Type type) {
  if (isa<UnitAttr>(entry))
    return "";
  auto tensor = dyn_cast<RankedTensorType>(type);
  auto ranges = dyn_cast<DenseFPElementsAttr>(entry);
  bool fits = tensor && tensor.getRank() > 0 && ranges &&
              ranges.getElementType().isF32() &&
              ranges.getType().getShape() ==
                  ArrayRef<int64_t>{2, tensor.getShape().back()};
  if (!fits)
    return llvm::formatv(
               "expected two numbers for each channel of {0} as observed range",
               type)
        .str();
  auto numbers = llvm::to_vector(ranges.getValues<float>());
  size_t channels = numbers.size() / 2;
  for (size_t i = 0; i < channels; ++i)
    if (!std::isfinite(numbers[i]) || !std::isfinite(numbers[channels + i]) ||
        numbers[i] > numbers[channels + i])
      return llvm::formatv(
                 "expected finite bounds in order, found {0:e} to {1:e} as "
                 "observed range of channel {2}",
                 numbers[i], numbers[channels + i], i)
          .str();
  return "";
}

static Violation checkObserved(func::FuncOp function) {
  for (BlockArgument argument : function.getArguments())
    if (Attribute entry =
            function.getArgAttr(argument.getArgNumber(), kObservedAttr))
      if (Violation found = checkRanges(entry, argument.getType());
          !found.empty())
        return found;
  return "";
}

static Violation checkObserved(Operation *op) {
  if (auto function = dyn_cast<func::FuncOp>(op);
      function && !function.isExternal())
    return checkObserved(function);
  Attribute attr = op->getAttr(kObservedAttr);
  if (!attr)
    return "";
  auto entries = dyn_cast<ArrayAttr>(attr);
  if (!entries || entries.size() != op->getNumResults())
    return "expected an observed range for each result";
  for (auto [entry, type] : llvm::zip_equal(entries, op->getResultTypes()))
    if (Violation found = checkRanges(entry, type); !found.empty())
      return found;
  return "";
}

/// A linear layer is quantized by every recipe, so its input was observed if
/// its result was.
static Violation checkInputObserved(LinearOp op) {
  bool isObserved = op->hasAttr(kObservedAttr) &&
                    op.getX().getType().getElementType().isF32() &&
                    op.getX().getType().getRank() >= 2 &&
                    !matchPattern(op.getX(), m_Constant());
  return isObserved && !getObserved(op.getX())
             ? "expected an observed range of its input"
             : "";
}

static Violation checkGraph(Operation *op, Stage stage) {
  auto linear = dyn_cast<LinearOp>(op);
  Violation found = linear ? checkFeatures(linear) : "";
  if (stage == Stage::Calibrate && found.empty())
    found = checkObserved(op);
  if (stage == Stage::Calibrate && found.empty() && linear)
    found = checkInputObserved(linear);
  if (!found.empty())
    return found;
  if (auto permute = dyn_cast<PermuteOp>(op);
      permute && stage == Stage::Fold && canFoldPermute(permute))
    return "expected to be part of the constants around it";
  if (stage == Stage::Fuse && canFuseIntoLinear(op))
    return "expected to be the epilogue of the linear that it reads";
  return "";
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

static Violation checkConfig(Operation *op) {
  auto config = op->getAttrOfType<MicroKernelAttr>(kConfigAttrName);
  auto linear = dyn_cast<LinearOp>(op);
  if (!config && linear && findObstacle(linear, TargetFeatures(op)).empty())
    return "expected a micro-kernel: nothing keeps the target from it";
  if (!config)
    return "";
  const MicroKernel *kernel = lookupMicroKernel(config.getKernel());
  if (kernel && kernel->isSupported(TargetFeatures(op)))
    return "";
  return llvm::formatv(
             "expected a micro-kernel that the target runs, found '{0}'",
             config.getKernel())
      .str();
}

/// The weight of the kernel of a linear; null if there is none. Operands that
/// are absent count as 0.
static Value getWeight(KernelOp kernel) {
  constexpr unsigned kWeight = 3;
  auto counts =
      kernel.getParams().getAs<DenseI32ArrayAttr>("operandSegmentSizes");
  if (!counts || counts.size() <= kWeight)
    return {};
  auto before = counts.asArrayRef().take_front(kWeight);
  unsigned index = std::accumulate(before.begin(), before.end(), 0);
  return index < kernel.getInputs().size() ? kernel.getInputs()[index]
                                           : Value();
}

static Violation checkPacked(Operation *op) {
  if (op->hasAttr(kConfigAttrName))
    return "expected the kernel that it is configured for";
  auto kernel = dyn_cast<KernelOp>(op);
  if (!kernel || kernel.getOp() != LinearOp::getOperationName())
    return "";
  Value weight = getWeight(kernel);
  return weight && matchPattern(weight, m_Constant())
             ? ""
             : "expected a packed weight that is constant";
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

static Violation findViolation(Operation *op, Stage stage) {
  Violation found = checkDialect(op, stage);
  if (found.empty())
    found = checkTypes(op, stage);
  if (found.empty() && stage < Stage::Storage)
    found = checkGraph(op, stage);
  if (found.empty() && stage == Stage::Configure)
    found = checkConfig(op);
  if (found.empty() && stage == Stage::Pack)
    found = checkPacked(op);
  return found;
}

LogicalResult qtx::verifyStage(ModuleOp module, Stage stage) {
  bool holds = true;
  module.walk([&](Operation *op) {
    Violation violation = findViolation(op, stage);
    if (violation.empty())
      return;
    op->emitOpError() << "cannot leave stage '" << getStageName(stage)
                      << "': " << violation;
    holds = false;
  });
  return success(holds);
}
