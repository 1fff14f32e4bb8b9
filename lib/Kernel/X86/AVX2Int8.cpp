//===- AVX2Int8.cpp - AVX2, bytes with small weights ----------------------===//
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
#include "qtx/Support/ShortSums.h"

using namespace mlir;
using namespace qtx;

namespace {
class AVX2Int8 : public MicroKernel {
public:
  StringRef getName() const override { return "x86-avx2-int8"; }
  bool isSupported(const TargetFeatures &features) const override {
    return features.has("avx2");
  }
  MicroKernelOperands getOperands() const override {
    return MicroKernelOperands::U8S8;
  }
  // Two of four pipes multiply; of three such operations two are 64 products.
  int64_t getProductsPerCycle() const override { return 42; }
  int64_t getNumLanes() const override { return 8; }
  // 8 sums, 2 weights, ones, a broadcast and 3 short sums, of 16 registers.
  int64_t getNumRows() const override { return 4; }
  int64_t getNumVectors() const override { return 2; }
  int64_t getUnrolledSteps() const override { return 4; }
  int64_t getShortDots() const override { return kShortDots; }
  int64_t getShortNibbleDots() const override { return kShortNibbleDots; }
  // 6 short sums and 6 others, 2 weights and an input, of 16 registers.
  int64_t getNibbleRows() const override { return 6; }
  int64_t getNibbleVectors() const override { return 4; }
  Value emitShortDot(ImplicitLocOpBuilder &builder, Value sums, Value x,
                     Value weight) const override {
    auto type = VectorType::get(16, builder.getI16Type());
    Value products =
        call(builder, "llvm.x86.avx2.pmadd.ub.sw", type, {x, weight});
    return sums ? addInOrder(builder, sums, products) : products;
  }
  Value emitWidened(ImplicitLocOpBuilder &builder, Value sums,
                    Value shortSums) const override {
    Value ones = arith::ConstantOp::create(
        builder, DenseElementsAttr::get(cast<VectorType>(shortSums.getType()),
                                        int16_t(1)));
    Value pairs = call(builder, "llvm.x86.avx2.pmadd.wd", sums.getType(),
                       {shortSums, ones});
    return addInOrder(builder, sums, pairs);
  }
  Value emitDot(ImplicitLocOpBuilder &builder, Value sums, Value x,
                Value weight) const override {
    return emitWidened(builder, sums, emitShortDot(builder, {}, x, weight));
  }

private:
  static Value call(ImplicitLocOpBuilder &builder, StringRef name, Type type,
                    ValueRange operands) {
    return LLVM::CallIntrinsicOp::create(builder, type,
                                         builder.getStringAttr(name), operands)
        .getResult(0);
  }
};
} // namespace

QTX_DEFINE_MICRO_KERNEL(AVX2Int8)
