//===- MicroKernel.cpp - Rows of micro-kernels ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Kernel/MicroKernel.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qtx;

int64_t MicroKernel::getStep() const {
  switch (getOperands()) {
  case MicroKernelOperands::F32:
    return 1;
  case MicroKernelOperands::U8S8:
  case MicroKernelOperands::S8S8:
    return 4;
  case MicroKernelOperands::S16S16:
    return 2;
  }
  llvm_unreachable("unknown operands");
}

int64_t MicroKernel::getStepOfKernel() const {
  return getStep() * std::max<int64_t>(getShortDots(), 1);
}

int64_t MicroKernel::getPaddedSize(int64_t size) const {
  return llvm::alignTo(size,
                       getTileStep() > 0 ? getTileStep() : getStepOfKernel());
}

Type MicroKernel::getElementType(MLIRContext *context) const {
  if (isFloat())
    return Float32Type::get(context);
  return IntegerType::get(context, 32 / getStep());
}

Type MicroKernel::getPackedType(MLIRContext *context) const {
  return isFloat() ? getElementType(context) : IntegerType::get(context, 8);
}

VectorType MicroKernel::getSumType(MLIRContext *context) const {
  Type type = isFloat() ? Type(Float32Type::get(context))
                        : IntegerType::get(context, 32);
  return VectorType::get(getNumLanes(), type);
}

VectorType MicroKernel::getVectorType(MLIRContext *context) const {
  return VectorType::get(getNumLanes() * getStep(), getElementType(context));
}

#define QTX_MICRO_KERNEL(NAME)                                                 \
  namespace qtx::rows {                                                        \
  const MicroKernel &get##NAME();                                              \
  }
#include "MicroKernels.inc"
#undef QTX_MICRO_KERNEL

/// Whether `a` is to be taken rather than `b`. Storage is signed, so of two as
/// fast ones that which takes signed bytes converts none.
static bool isBetter(const MicroKernel *a, const MicroKernel *b) {
  auto getRank = [](const MicroKernel *row) {
    return std::tuple(row->getProductsPerCycle(),
                      row->getOperands() != MicroKernelOperands::U8S8,
                      row->getName());
  };
  return getRank(a) > getRank(b);
}

ArrayRef<const MicroKernel *> qtx::getMicroKernels() {
  static const SmallVector<const MicroKernel *> sorted = [] {
    SmallVector<const MicroKernel *> all = {
#define QTX_MICRO_KERNEL(NAME) &rows::get##NAME(),
#include "MicroKernels.inc"
#undef QTX_MICRO_KERNEL
    };
    llvm::sort(all, isBetter);
    return all;
  }();
  return sorted;
}

const MicroKernel *qtx::lookupMicroKernel(StringRef name) {
  for (const MicroKernel *row : getMicroKernels())
    if (row->getName() == name)
      return row;
  return nullptr;
}
