//===- SumsOfProducts.h - Sums that LLVM leaves in order --------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_X86_SUMSOFPRODUCTS_H
#define QTX_LIB_KERNEL_X86_SUMSOFPRODUCTS_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace qtx {

/// `sums` plus `products`, integers of 256 bits together. LLVM would add the
/// products of several steps up first, for which there are no registers. It
/// takes fences of floats alone; they are no instruction.
inline mlir::Value addInOrder(mlir::ImplicitLocOpBuilder &builder,
                              mlir::Value sums, mlir::Value products) {
  auto floats = mlir::VectorType::get(8, builder.getF32Type());
  mlir::Value added = mlir::arith::AddIOp::create(builder, sums, products);
  mlir::Value fenced =
      mlir::LLVM::CallIntrinsicOp::create(
          builder, floats, builder.getStringAttr("llvm.arithmetic.fence.v8f32"),
          mlir::LLVM::BitcastOp::create(builder, floats, added).getResult())
          .getResult(0);
  return mlir::LLVM::BitcastOp::create(builder, sums.getType(), fenced);
}

} // namespace qtx

#endif // QTX_LIB_KERNEL_X86_SUMSOFPRODUCTS_H
