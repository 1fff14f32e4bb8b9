//===- MicroKernel.cpp - Rows of micro-kernels ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Kernel/MicroKernel.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qtx;

int64_t MicroKernel::getStep() const {
  switch (getOperands()) {
  case MicroKernelOperands::F32:
    return 1;
  case MicroKernelOperands::U8S8:
    return 4;
  case MicroKernelOperands::S16S16:
    return 2;
  }
  llvm_unreachable("unknown operands");
}

int64_t MicroKernel::getPaddedSize(int64_t size) const {
  return llvm::alignTo(size, getTileStep() > 0 ? getTileStep() : getStep());
}

Type MicroKernel::getElementType(MLIRContext *context) const {
  if (isFloat())
    return Float32Type::get(context);
  return IntegerType::get(context, 32 / getStep());
}

VectorType MicroKernel::getSumType(MLIRContext *context) const {
  Type type = isFloat() ? Type(Float32Type::get(context))
                        : IntegerType::get(context, 32);
  return VectorType::get(getNumLanes(), type);
}

VectorType MicroKernel::getVectorType(MLIRContext *context) const {
  return VectorType::get(getNumLanes() * getStep(), getElementType(context));
}

ArrayRef<const MicroKernel *> qtx::getMicroKernels() {
  static const MicroKernel *const rows[] = {&avx512Fma,  &avx2Fma, &amxInt8,
                                            &avx512Vnni, &avxVnni, &avx2Int16};
  return rows;
}

const MicroKernel *qtx::lookupMicroKernel(StringRef name) {
  for (const MicroKernel *row : getMicroKernels())
    if (row->getName() == name)
      return row;
  return nullptr;
}
