//===- AVX2Fma.cpp - AVX2, fp32 -------------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Math/IR/Math.h"
#include "qtx/Kernel/MicroKernel.h"

using namespace mlir;
using namespace qtx;

namespace {
class AVX2Fma : public MicroKernel {
public:
  StringRef getName() const override { return "x86-avx2-fma"; }
  bool isSupported(const TargetFeatures &features) const override {
    return features.has("avx2") && features.has("fma");
  }
  MicroKernelOperands getOperands() const override {
    return MicroKernelOperands::F32;
  }
  int64_t getProductsPerCycle() const override { return 16; }
  int64_t getNumLanes() const override { return 8; }
  // 12 sums, 2 weights and a broadcast, of 16 registers.
  int64_t getNumRows() const override { return 6; }
  int64_t getNumVectors() const override { return 2; }
  int64_t getUnrolledSteps() const override { return 8; }
  Value emitDot(ImplicitLocOpBuilder &builder, Value sums, Value x,
                Value weight) const override {
    return math::FmaOp::create(builder, x, weight, sums);
  }
};
} // namespace

QTX_DEFINE_MICRO_KERNEL(AVX2Fma)
