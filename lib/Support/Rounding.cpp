//===- Rounding.cpp - Rounding to integers --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/Rounding.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

Value qtx::createNearestIntegers(ImplicitLocOpBuilder &builder, Value vector) {
  // The operation of the dialect takes scalars alone.
  auto type = VectorType::get(cast<VectorType>(vector.getType()).getShape(),
                              builder.getI32Type());
  std::string name =
      llvm::formatv("llvm.lrint.v{0}i32.v{0}f32", type.getNumElements());
  return LLVM::CallIntrinsicOp::create(builder, type,
                                       builder.getStringAttr(name), vector)
      .getResult(0);
}
