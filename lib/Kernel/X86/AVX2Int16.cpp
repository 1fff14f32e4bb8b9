//===- AVX2Int16.cpp - AVX2, bytes widened to 16 bits ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SumsOfProducts.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "qtx/Kernel/MicroKernel.h"

using namespace mlir;
using namespace qtx;

namespace {
class AVX2Int16 : public MicroKernel {
public:
  StringRef getName() const override { return "x86-avx2-int16"; }
  bool isSupported(const TargetFeatures &features) const override {
    return features.has("avx2");
  }
  MicroKernelOperands getOperands() const override {
    return MicroKernelOperands::S16S16;
  }
  int64_t getProductsPerCycle() const override { return 32; }
  int64_t getNumLanes() const override { return 8; }
  // 12 sums, 2 weights and a broadcast, of 16 registers; the products take one.
  int64_t getNumRows() const override { return 6; }
  int64_t getNumVectors() const override { return 2; }
  int64_t getUnrolledSteps() const override { return 8; }
  Value emitDot(ImplicitLocOpBuilder &builder, Value sums, Value x,
                Value weight) const override {
    // Not vpmaddubsw, which saturates.
    Value products = LLVM::CallIntrinsicOp::create(
                         builder, sums.getType(),
                         builder.getStringAttr("llvm.x86.avx2.pmadd.wd"),
                         ValueRange{x, weight})
                         .getResult(0);
    return addInOrder(builder, sums, products);
  }
};
} // namespace

QTX_DEFINE_MICRO_KERNEL(AVX2Int16)
