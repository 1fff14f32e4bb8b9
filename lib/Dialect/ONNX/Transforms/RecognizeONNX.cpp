//===- RecognizeONNX.cpp - The pass onnx-recognize ------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Recognizer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Dialect/ONNX/Transforms/Passes.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"

namespace qtx {
#define GEN_PASS_DEF_ONNXRECOGNIZEPASS
#include "qtx/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

namespace {

struct ONNXRecognizePass : qtx::impl::ONNXRecognizePassBase<ONNXRecognizePass> {
  void runOnOperation() override {
    SmallVector<ElementsAttr> copied;
    getOperation().walk([&](func::FuncOp func) {
      onnx::Recognizer recognizer(func);
      recognizer.run();
      llvm::append_range(copied, recognizer.getCopiedConstants());
    });
    onnx::releaseUnused(getOperation(), copied);
  }
};

} // namespace
