//===- AVXVnniInt8.cpp - AVX-VNNI-INT8, signed bytes ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "qtx/Kernel/MicroKernel.h"

using namespace mlir;
using namespace qtx;

namespace {
class AVXVnniInt8 : public MicroKernel {
public:
  StringRef getName() const override { return "x86-avx-vnni-int8"; }
  bool isSupported(const TargetFeatures &features) const override {
    return features.has("avxvnniint8");
  }
  MicroKernelOperands getOperands() const override {
    return MicroKernelOperands::S8S8;
  }
  int64_t getProductsPerCycle() const override { return 64; }
  int64_t getNumLanes() const override { return 8; }
  // 12 sums, 2 weights and a broadcast, of 16 registers.
  int64_t getNumRows() const override { return 6; }
  int64_t getNumVectors() const override { return 2; }
  Value emitDot(ImplicitLocOpBuilder &builder, Value sums, Value x,
                Value weight) const override {
    return LLVM::CallIntrinsicOp::create(
               builder, sums.getType(),
               builder.getStringAttr("llvm.x86.avx2.vpdpbssd.256"),
               ValueRange{sums, x, weight})
        .getResult(0);
  }
};
} // namespace

QTX_DEFINE_MICRO_KERNEL(AVXVnniInt8)
