//===- AVX512Vnni.cpp - AVX512-VNNI, bytes --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "qtx/Kernel/MicroKernel.h"

using namespace mlir;
using namespace qtx;

namespace {
class AVX512Vnni : public MicroKernel {
public:
  StringRef getName() const override { return "x86-avx512-vnni"; }
  bool isSupported(const TargetFeatures &features) const override {
    return features.has("avx512vnni") && features.has("avx512bw");
  }
  MicroKernelOperands getOperands() const override {
    return MicroKernelOperands::U8S8;
  }
  int64_t getProductsPerCycle() const override { return 128; }
  int64_t getNumLanes() const override { return 16; }
  // 24 sums, 3 weights and a broadcast, of 32 registers.
  int64_t getNumRows() const override { return 8; }
  int64_t getNumVectors() const override { return 3; }
  Value emitDot(ImplicitLocOpBuilder &builder, Value sums, Value x,
                Value weight) const override {
    return LLVM::CallIntrinsicOp::create(
               builder, sums.getType(),
               builder.getStringAttr("llvm.x86.avx512.vpdpbusd.512"),
               ValueRange{sums, x, weight})
        .getResult(0);
  }
  // One register: a lookup in two takes the place of a dot product on Zen 4.
  int64_t getTableSize() const override { return 16; }
  Value emitLookup(ImplicitLocOpBuilder &builder, ArrayRef<float> table,
                   Value indices) const override {
    auto type = VectorType::get(16, builder.getF32Type());
    Value numbers =
        arith::ConstantOp::create(builder, DenseElementsAttr::get(type, table));
    return LLVM::CallIntrinsicOp::create(
               builder, type,
               builder.getStringAttr("llvm.x86.avx512.permvar.sf.512"),
               ValueRange{numbers, indices})
        .getResult(0);
  }
};
} // namespace

QTX_DEFINE_MICRO_KERNEL(AVX512Vnni)
