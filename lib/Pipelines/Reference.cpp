//===- Reference.cpp - The reference pipeline -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "qtx/Conversion/Passes.h"
#include "qtx/Dialect/ONNX/Transforms/Passes.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "qtx/Kernel/Passes.h"
#include "qtx/Pipelines/Passes.h"
#include "qtx/Pipelines/Pipelines.h"

using namespace mlir;

void qtx::buildFuse(OpPassManager &passManager) {
  passManager.addPass(createQtxFuseLinearPass());
}

void qtx::buildImport(OpPassManager &passManager) {
  passManager.addNestedPass<func::FuncOp>(createONNXConvertQuantizationPass());
  passManager.addPass(createONNXRecognizePass());
  passManager.addPass(createConvertONNXToLinalgPass());
  passManager.addPass(createCanonicalizerPass());
  passManager.addPass(createCSEPass());
}

void qtx::buildStorage(OpPassManager &passManager) {
  passManager.addPass(createQtxToStoragePass());
}

void qtx::buildFastStorage(OpPassManager &passManager) {
  buildStorage(passManager);
  passManager.addPass(createQtxMergeProjectionsPass());
}

void qtx::buildConfigure(OpPassManager &passManager) {
  passManager.addPass(createQtxConfigurePass());
  passManager.addPass(createQtxUnsignedInputsPass());
}

void qtx::buildPack(OpPassManager &passManager) {
  passManager.addPass(createQtxPackPass());
  passManager.addPass(createQtxPackAttentionPass());
  passManager.addPass(createQtxFuseKernelsPass());
  // Readers of one value share what was made of it.
  passManager.addPass(createCanonicalizerPass());
  passManager.addPass(createCSEPass());
}

void qtx::buildReferenceTile(OpPassManager &passManager) {
  passManager.addPass(createConvertQtxToLinalgPass());
  // Elementwise operations on whole tensors, such as arith.addf.
  passManager.addPass(createConvertElementwiseToLinalgPass());
  passManager.addPass(createQtxExpandMathPass());
  passManager.addPass(createCanonicalizerPass());
  passManager.addPass(createCSEPass());
}

void qtx::buildTile(OpPassManager &passManager) {
  passManager.addPass(createConvertQtxToRowsPass());
  passManager.addPass(createQtxFuseRowsPass());
  buildReferenceTile(passManager);
}

void qtx::buildBufferize(OpPassManager &passManager) {
  passManager.addPass(bufferization::createEmptyTensorEliminationPass());
  bufferization::OneShotBufferizePassOptions options;
  options.bufferizeFunctionBoundaries = true;
  // A loop over layers carries a tensor that every iteration makes anew.
  options.allowReturnAllocsFromLoops = true;
  options.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  passManager.addPass(bufferization::createOneShotBufferizePass(options));
  passManager.addPass(createCanonicalizerPass());
  passManager.addPass(createCSEPass());
}

/// Frees the buffers of intermediates.
static void buildDeallocation(OpPassManager &passManager) {
  bufferization::BufferDeallocationPipelineOptions deallocation;
  bufferization::buildBufferDeallocationPipeline(passManager, deallocation);
  passManager.addPass(createConvertBufferizationToMemRefPass());
}

void qtx::buildVector(OpPassManager &passManager) {
  passManager.addPass(createQtxAlignPartsPass());
  passManager.addPass(createQtxExpandKernelsPass());
  passManager.addPass(createQtxExpandRowsPass());
  passManager.addPass(createQtxShareKernelsPass());
  passManager.addPass(createQtxMergePartsPass());
  passManager.addPass(createQtxExpandCopiesPass());
  passManager.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  passManager.addPass(createCanonicalizerPass());
  passManager.addPass(createCSEPass());
}

void qtx::buildOpenMP(OpPassManager &passManager) {
  passManager.addPass(createConvertSCFToOpenMPPass());
  passManager.addPass(createQtxSizeTeamsPass());
}

void qtx::buildLLVM(OpPassManager &passManager) {
  buildOpenMP(passManager);
  passManager.addPass(createSCFToControlFlowPass());
  passManager.addPass(memref::createExpandStridedMetadataPass());
  passManager.addPass(createLowerAffinePass());
  passManager.addPass(arith::createArithExpandOpsPass());
  passManager.addPass(createConvertVectorToLLVMPass());
  passManager.addPass(createConvertMathToLLVMPass());
  passManager.addPass(createArithToLLVMConversionPass());
  passManager.addPass(createFinalizeMemRefToLLVMConversionPass());
  passManager.addPass(createConvertFuncToLLVMPass());
  passManager.addPass(createConvertControlFlowToLLVMPass());
  passManager.addPass(createConvertOpenMPToLLVMPass());
  passManager.addPass(createUBToLLVMConversionPass());
  passManager.addPass(createCanonicalizerPass());
  passManager.addPass(createReconcileUnrealizedCastsPass());
  passManager.addPass(createQtxGlobalsToBytesPass());
}

void qtx::buildFold(OpPassManager &passManager) {
  // More rounds than any model has changes in a row.
  constexpr int kMaxRounds = 1000;
  passManager.addPass(createCSEPass());
  // A change of one kind that is folded may let one of the other kind fold.
  auto addRound = [](OpPassManager &round) {
    round.addPass(createQtxFoldScaleShiftPass({/*explain=*/false}));
    round.addPass(createQtxFoldPermutePass({/*explain=*/false}));
  };
  passManager.addPass(
      createCompositeFixedPointPass("qtx-fold", addRound, kMaxRounds));
  passManager.addPass(createQtxFoldScaleShiftPass());
  passManager.addPass(createQtxFoldPermutePass());
}

void qtx::buildReferenceToLinalg(OpPassManager &passManager) {
  buildStorage(passManager);
  buildReferenceTile(passManager);
}

void qtx::buildFastToLinalg(OpPassManager &passManager) {
  buildFuse(passManager);
  buildFastStorage(passManager);
  buildConfigure(passManager);
  buildPack(passManager);
  buildTile(passManager);
}

void qtx::buildLinalgToLLVM(OpPassManager &passManager) {
  buildBufferize(passManager);
  buildDeallocation(passManager);
  passManager.addNestedPass<func::FuncOp>(
      LLVM::createLLVMRequestCWrappersPass());
  buildVector(passManager);
  buildLLVM(passManager);
}

void qtx::buildReferencePipeline(OpPassManager &passManager) {
  buildReferenceToLinalg(passManager);
  buildLinalgToLLVM(passManager);
}

void qtx::buildFastPipeline(OpPassManager &passManager) {
  buildFastToLinalg(passManager);
  buildLinalgToLLVM(passManager);
}

void qtx::registerPipelines() {
  registerQtxPipelinesPasses();
  PassPipelineRegistration<>(
      "qtx-reference-to-llvm",
      "Lower qtx operations by the reference path to the LLVM dialect",
      buildReferencePipeline);
  PassPipelineRegistration<>(
      "qtx-fast-to-llvm",
      "Lower qtx operations through micro-kernels to the LLVM dialect",
      buildFastPipeline);
}
