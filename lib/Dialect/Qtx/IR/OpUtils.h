//===- OpUtils.h - Shared pieces of verifiers -------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_QTX_IR_OPUTILS_H
#define QTX_LIB_DIALECT_QTX_IR_OPUTILS_H

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/TypeUtilities.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

namespace qtx {

/// `edge` is quantized, in either form. `what` names it in the diagnostic.
inline mlir::LogicalResult verifyIsQuantized(mlir::Operation *op,
                                             const QuantEdge &edge,
                                             llvm::StringRef what) {
  if (getQuantParams(op, edge))
    return mlir::success();
  return op->emitOpError() << "expected a quantized " << what
                           << ": a quantized element type, or storage integers "
                              "with '"
                           << edge.attrName.getValue() << "', found "
                           << edge.value.getType();
}

/// The bounds of a stretch and clip, `clamp((zeta - gamma) * p + gamma, 0, 1)`.
mlir::LogicalResult verifyClip(mlir::Operation *op, const llvm::APFloat &gamma,
                               const llvm::APFloat &zeta);

/// The elements of a constant; null if `value` is none. It reads the attribute
/// and does not fold as `matchPattern` does: verifiers may use it on constants
/// of a block further down, which have not been verified yet.
mlir::ElementsAttr getConstantElements(mlir::Value value);

/// `shape` as diagnostics show it: `[2, ?, 4]`.
inline std::string formatShape(llvm::ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << '[';
  llvm::interleaveComma(shape, os, [&](int64_t size) {
    if (mlir::ShapedType::isDynamic(size))
      os << '?';
    else
      os << size;
  });
  os << ']';
  return text;
}

/// A float tensor, or a quantized one in either form; not bare integers.
inline mlir::LogicalResult verifyFloatOrQuantized(mlir::Operation *op,
                                                  const QuantEdge &edge,
                                                  llvm::StringRef what) {
  auto type = llvm::cast<mlir::ShapedType>(edge.value.getType());
  if (type.getElementType().isF32() || getQuantParams(op, edge))
    return mlir::success();
  return op->emitOpError() << "expected '" << edge.attrName.getValue()
                           << "' for the storage integers of '" << what
                           << "', found none";
}

/// Groups of a contraction operand lie along its contracted or output axis.
inline mlir::LogicalResult verifyLastAxis(mlir::Operation *op,
                                          const QuantEdge &edge,
                                          llvm::StringRef what) {
  std::optional<QuantParams> params = getQuantParams(op, edge);
  if (!params || params->isPerTensor() || params->getAxis() == -1)
    return mlir::success();
  return op->emitOpError() << "expected the groups of '" << what
                           << "' along axis -1, found axis "
                           << params->getAxis();
}

/// Largest magnitude of the difference of a stored value and its zero point.
inline int64_t getCenteredMagnitude(const QuantParams &params) {
  return params.getStorageMax() - params.getStorageMin();
}

/// How many products of factors of at most these magnitudes an int32
/// accumulator holds (Numerics.md, "Accumulation").
inline int64_t getAccumulatorLimit(int64_t lhs, int64_t rhs) {
  return std::numeric_limits<int32_t>::max() / std::max<int64_t>(lhs, 1) /
         std::max<int64_t>(rhs, 1);
}

/// `axis` counts from the last of `rank` dimensions.
inline mlir::LogicalResult verifyAxis(mlir::Operation *op, int64_t axis,
                                      int64_t rank) {
  if (-rank <= axis && axis < 0)
    return mlir::success();
  return op->emitOpError() << "expected an axis between " << -rank
                           << " and -1, found " << axis;
}

/// Tiling slices tensors, and a slice of a quantized one would have to slice
/// the parameters in its type: only the storage form is tiled.
mlir::LogicalResult verifyTilesInStorageForm(mlir::Operation *op);

/// The type that says per tensor what `edge`, in storage form, says with one
/// group and constant operands; null where it does not.
mlir::Type getPerTensorEquivalent(mlir::Operation *op, const QuantEdge &edge);

/// The type of a result of `shape` that is quantizable: storage integers if
/// `quantType` names their meaning, f32 otherwise.
inline mlir::Type inferQuantizable(mlir::MLIRContext *context,
                                   llvm::ArrayRef<int64_t> shape,
                                   mlir::TypeAttr quantType) {
  mlir::Type elementType = mlir::Float32Type::get(context);
  if (quantType)
    elementType = QuantParams::get(quantType.getValue())->getStorageType();
  return mlir::RankedTensorType::get(shape, elementType);
}

/// The result has a shape compatible with `expected`.
inline mlir::LogicalResult verifyResultShape(mlir::Operation *op,
                                             llvm::ArrayRef<int64_t> expected,
                                             mlir::ShapedType result) {
  if (succeeded(mlir::verifyCompatibleShape(expected, result.getShape())))
    return mlir::success();
  return op->emitOpError() << "expected a result of shape "
                           << formatShape(expected) << ", found " << result;
}

/// Operand and result have compatible shapes.
inline mlir::LogicalResult verifySameShape(mlir::Operation *op,
                                           mlir::ShapedType operand,
                                           mlir::ShapedType result) {
  if (succeeded(mlir::verifyCompatibleShape(operand, result)))
    return mlir::success();
  return op->emitOpError()
         << "expected operand and result of the same shape, found " << operand
         << " and " << result;
}

} // namespace qtx

#endif // QTX_LIB_DIALECT_QTX_IR_OPUTILS_H
