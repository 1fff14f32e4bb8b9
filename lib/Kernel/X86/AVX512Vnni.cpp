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
  // Loop control takes ports that also multiply on Intel.
  int64_t getUnrolledSteps() const override { return 4; }
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

  Value emitScaled(ImplicitLocOpBuilder &builder, Value values,
                   Value exponents) const override {
    Type type = values.getType();
    auto number = [&](int64_t value, unsigned width) -> Value {
      return arith::ConstantIntOp::create(builder, value, width);
    };
    constexpr int64_t allLanes = -1, currentRounding = 4;
    return LLVM::CallIntrinsicOp::create(
               builder, type,
               builder.getStringAttr("llvm.x86.avx512.mask.scalef.ps.512"),
               ValueRange{values, exponents, values, number(allLanes, 16),
                          number(currentRounding, 32)})
        .getResult(0);
  }

  // On Intel, VPMOVSDB takes two operations of a port that multiplies, for each
  // vector.
  bool packs() const override { return true; }
  Value emitPacked(ImplicitLocOpBuilder &b, ValueRange vectors,
                   ValueRange offsets, bool isSigned) const override {
    auto pack = [&](StringRef name, Type element, Value lhs, Value rhs) {
      int64_t size = kBits / element.getIntOrFloatBitWidth();
      return LLVM::CallIntrinsicOp::create(
                 b, VectorType::get(size, element),
                 b.getStringAttr("llvm.x86.avx512.pack" + name + ".512"),
                 ValueRange{lhs, rhs})
          .getResult(0);
    };
    auto packPair = [&](ValueRange pair) {
      return pack("ssdw", b.getI16Type(), pair[0], pair[1]);
    };
    auto packTwo = [&](size_t first) -> Value {
      Value halves = packPair(vectors.slice(first, 2));
      if (offsets.empty())
        return halves;
      return LLVM::SAddSat::create(b, halves.getType(), halves,
                                   packPair(offsets.slice(first, 2)));
    };
    Value low = packTwo(0), high = vectors.size() > 2 ? packTwo(2) : low;
    return pack(isSigned ? "sswb" : "uswb", b.getI8Type(), low, high);
  }

private:
  static constexpr int64_t kBits = 512;
};
} // namespace

QTX_DEFINE_MICRO_KERNEL(AVX512Vnni)
