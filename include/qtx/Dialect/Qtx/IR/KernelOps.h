//===- KernelOps.h - Leaves of the fast path --------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_KERNELOPS_H
#define QTX_DIALECT_QTX_IR_KERNELOPS_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "qtx/Dialect/Qtx/IR/QtxAttributes.h"

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/KernelOps.h.inc"

namespace qtx {

/// The operands and attributes of a `qtx.kernel` by the names that the
/// operation `OpTy`, which it stands for, gives them.
template <typename OpTy> class KernelView {
public:
  explicit KernelView(KernelOp op)
      : properties(parse(op)),
        adaptor(op.getInputs(), op.getParams(), properties) {}
  KernelView(const KernelView &) = delete;

  typename OpTy::Adaptor *operator->() { return &adaptor; }

private:
  static typename OpTy::Properties parse(KernelOp op) {
    typename OpTy::Properties properties;
    (void)OpTy::setPropertiesFromAttr(properties, op.getParams(),
                                      [&] { return op.emitOpError(); });
    return properties;
  }

  typename OpTy::Properties properties;
  typename OpTy::Adaptor adaptor;
};

/// Whether `op`, a reader of `value`, may as well write there: another
/// operation has computed it in the same block, and nothing reads it later.
bool canBecomeDestination(mlir::Value value, mlir::Operation *op);

} // namespace qtx

#endif // QTX_DIALECT_QTX_IR_KERNELOPS_H
