//===- ChannelOrder.h - How operations relate channels ----------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What must change in an operation when the channels (the last axis) of its
// tensors are stored in another order.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_QTX_TRANSFORMS_CHANNELORDER_H
#define QTX_LIB_DIALECT_QTX_TRANSFORMS_CHANNELORDER_H

#include "mlir/IR/Operation.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"

namespace qtx {

/// An operation whose result has its channels in the order of its operands.
struct ChannelwiseOp {
  /// Operands with the same channels along their last axis.
  llvm::SmallVector<mlir::OpOperand *> moving;
  /// Operands with one value per channel along the given axis, which must be
  /// constants.
  llvm::SmallVector<std::pair<mlir::OpOperand *, int64_t>> constants;
  mlir::OpResult result;
};

/// `op` as such an operation, if it is one.
std::optional<ChannelwiseOp> getChannelwise(mlir::Operation *op);

/// An operand whose channels are contracted with the columns (dimension 1) of a
/// weight.
struct ChannelReader {
  mlir::OpOperand *weight;
  /// What keeps the columns where they are; empty if nothing does.
  llvm::StringRef obstacle;
};

/// `operand` as such an operand, if it is one.
std::optional<ChannelReader> getReader(mlir::OpOperand &operand);

/// The groups of `params` along the last axis when channel i is what channel
/// `order[i]` was. Neighbours with equal parameters join, so far as an
/// accumulator of their products with int8 cannot overflow.
struct ReorderedGroups {
  mlir::Type type;
  /// The former group of each group.
  llvm::SmallVector<int64_t> sources;
};
ReorderedGroups reorderGroups(const QuantParams &params,
                              llvm::ArrayRef<int64_t> order);

/// Whether the order of channels matters to `params`: several groups along the
/// last axis.
bool hasGroupsOnLastAxis(const QuantParams &params);

} // namespace qtx

#endif // QTX_LIB_DIALECT_QTX_TRANSFORMS_CHANNELORDER_H
