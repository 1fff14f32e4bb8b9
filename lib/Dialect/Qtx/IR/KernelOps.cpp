//===- KernelOps.cpp - Leaves of the fast path ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/KernelOps.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace qtx;

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/KernelOps.cpp.inc"

bool qtx::canBecomeDestination(Value value, Operation *op) {
  Operation *producer = value.getDefiningOp();
  // What others make, such as constants and reshapes, may be the memory of an
  // argument or read-only.
  if (!producer || producer->getBlock() != op->getBlock() ||
      !(isa<DestinationStyleOpInterface>(producer) ||
        isa_and_present<QtxDialect>(producer->getDialect())))
    return false;
  return llvm::all_of(value.getUsers(), [&](Operation *user) {
    return user == op ||
           (user->getBlock() == op->getBlock() && user->isBeforeInBlock(op));
  });
}

void KernelOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  for (OpOperand &operand : getOperation()->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    if (isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand,
                           SideEffects::DefaultResource::get());
    if (!isDpsInit(&operand) || accumulates())
      effects.emplace_back(MemoryEffects::Read::get(), &operand,
                           SideEffects::DefaultResource::get());
  }
}

//===----------------------------------------------------------------------===//
// Bufferization
//===----------------------------------------------------------------------===//

bool KernelOp::bufferizesToMemoryRead(OpOperand &operand,
                                      const AnalysisState &) {
  return !isDpsInit(&operand) || accumulates();
}

bool KernelOp::bufferizesToMemoryWrite(OpOperand &operand,
                                       const AnalysisState &) {
  return isDpsInit(&operand);
}

AliasingValueList KernelOp::getAliasingValues(OpOperand &operand,
                                              const AnalysisState &) {
  if (!isDpsInit(&operand))
    return {};
  return {{getTiedOpResult(&operand), BufferRelation::Equivalent}};
}

/// Whether the last dimension of a buffer is dense.
static bool isLastDimDense(MemRefType type) {
  auto [strides, offset] = type.getStridesAndOffset();
  return strides.empty() || strides.back() == 1;
}

/// `buffer`, or a copy of it whose last dimension is dense.
static Value makeLastDimDense(RewriterBase &rewriter, Location loc,
                              Value buffer) {
  auto type = dyn_cast<MemRefType>(buffer.getType());
  if (!type || isLastDimDense(type))
    return buffer;
  SmallVector<Value> sizes;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    if (type.isDynamicDim(dim))
      sizes.push_back(memref::DimOp::create(rewriter, loc, buffer, dim));
  auto dense = MemRefType::get(type.getShape(), type.getElementType());
  Value copy = memref::AllocOp::create(rewriter, loc, dense, sizes);
  memref::CopyOp::create(rewriter, loc, buffer, copy);
  return copy;
}

LogicalResult KernelOp::bufferize(RewriterBase &rewriter,
                                  const BufferizationOptions &options,
                                  BufferizationState &state) {
  rewriter.setInsertionPoint(*this);
  SmallVector<Value> inputs, outs;
  for (OpOperand &operand : getOperation()->getOpOperands()) {
    Value value = operand.get();
    if (isa<TensorType>(value.getType())) {
      FailureOr<Value> buffer = getBuffer(rewriter, value, options, state);
      if (failed(buffer))
        return failure();
      value = *buffer;
    }
    if (isDpsInit(&operand))
      outs.push_back(value);
    else
      inputs.push_back(makeLastDimDense(rewriter, getLoc(), value));
  }
  if (llvm::any_of(outs, [](Value out) {
        return !isLastDimDense(cast<MemRefType>(out.getType()));
      }))
    return emitOpError("expected destinations with a dense last dimension");
  KernelOp::create(rewriter, getLoc(), TypeRange(), getOp(), inputs, outs,
                   getParams());
  replaceOpWithBufferizedValues(rewriter, *this, outs);
  return success();
}
