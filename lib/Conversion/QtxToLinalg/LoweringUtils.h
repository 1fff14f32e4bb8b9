//===- LoweringUtils.h - Shared pieces of lowerings -------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_CONVERSION_QTXTOLINALG_LOWERINGUTILS_H
#define QTX_LIB_CONVERSION_QTXTOLINALG_LOWERINGUTILS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "qtx/Dialect/Qtx/IR/QtxAttributes.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"

namespace qtx {

/// A tensor and the map from the iteration space of a generic operation to its
/// indices.
struct MappedTensor {
  mlir::Value value;
  mlir::AffineMap map;
};

/// Scales (f32) and zero points (i32) of a tensor. Both have the map from the
/// dimensions of that tensor to their own: none (per tensor), the axis (one per
/// channel), or all of them.
struct ParamTensors {
  MappedTensor scale;
  MappedTensor zeroPoint;
};

/// The parameters of `edge` for each element of its tensor.
ParamTensors materializeParams(mlir::ImplicitLocOpBuilder &builder,
                               mlir::Operation *op, const QuantEdge &edge);

/// The same of a tensor of `rank` dimensions with the compile-time parameters
/// `params`.
ParamTensors materializeParams(mlir::ImplicitLocOpBuilder &builder,
                               const QuantParams &params, int64_t rank);

/// The parameters of one group of `edge`: tensors of rank 0, or with the
/// leading dimensions of the tensor where they are run-time values per
/// position.
ParamTensors materializeGroupParams(mlir::ImplicitLocOpBuilder &builder,
                                    mlir::Operation *op, const QuantEdge &edge,
                                    int64_t group);

/// An elementwise generic operation over the space of `sizes`; `body` computes
/// the scalar of type `elementType` from the scalars of `inputs`.
mlir::Value
createElementwise(mlir::ImplicitLocOpBuilder &builder,
                  llvm::ArrayRef<mlir::OpFoldResult> sizes,
                  mlir::Type elementType, llvm::ArrayRef<MappedTensor> inputs,
                  llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &,
                                                 mlir::ValueRange)>
                      body);

/// A generic operation over the iteration space of `inputs` that updates
/// `init`, whose indices `initMap` gives; dimensions it leaves out are reduced
/// in ascending order. The last scalar that `body` is given is the value to
/// update.
mlir::Value
createReduction(mlir::ImplicitLocOpBuilder &builder, mlir::Value init,
                mlir::AffineMap initMap, llvm::ArrayRef<MappedTensor> inputs,
                llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &,
                                               mlir::ValueRange)>
                    body);

/// A tensor of `sizes` whose elements are all `value`.
mlir::Value createSplat(mlir::ImplicitLocOpBuilder &builder,
                        llvm::ArrayRef<mlir::OpFoldResult> sizes,
                        mlir::TypedAttr value);

/// An f32 constant, rounded from `value`.
mlir::Value createF32(mlir::ImplicitLocOpBuilder &builder, double value);

/// `tensor` with the identity map.
MappedTensor withIdentityMap(mlir::Value tensor);

/// A constant tensor.
mlir::Value createConstant(mlir::ImplicitLocOpBuilder &builder,
                           llvm::ArrayRef<int64_t> shape,
                           llvm::ArrayRef<float> values);
mlir::Value createConstant(mlir::ImplicitLocOpBuilder &builder,
                           llvm::ArrayRef<int64_t> shape,
                           llvm::ArrayRef<int32_t> values);

/// The sizes of `tensor`.
llvm::SmallVector<mlir::OpFoldResult>
getSizes(mlir::ImplicitLocOpBuilder &builder, mlir::Value tensor);

/// The stored integer `x`, sign- or zero-extended to i32.
mlir::Value extendStored(mlir::ImplicitLocOpBuilder &builder, mlir::Value x,
                         bool isSigned);

/// Numerics.md, "Quantize": clamp(roundeven(x * (1 / s)) + z).
mlir::Value quantizeScalar(mlir::ImplicitLocOpBuilder &builder, mlir::Value x,
                           mlir::Value scale, mlir::Value zeroPoint,
                           const QuantParams &params);

/// The same, given 1 / s.
mlir::Value quantizeByReciprocal(mlir::ImplicitLocOpBuilder &builder,
                                 mlir::Value x, mlir::Value reciprocal,
                                 mlir::Value zeroPoint,
                                 const QuantParams &params);

/// Numerics.md, "Dequantize": f32(x - z) * s.
mlir::Value dequantizeScalar(mlir::ImplicitLocOpBuilder &builder, mlir::Value x,
                             mlir::Value scale, mlir::Value zeroPoint,
                             bool isSigned);

/// Quantizes `x` (f32) with the parameters of `edge`, a result of `op`.
mlir::Value quantizeTensor(mlir::ImplicitLocOpBuilder &builder,
                           mlir::Operation *op, const QuantEdge &edge,
                           mlir::Value x);

/// Dequantizes the operand `edge` of `op`; a float operand stays as it is.
mlir::Value dequantizeTensor(mlir::ImplicitLocOpBuilder &builder,
                             mlir::Operation *op, const QuantEdge &edge);

/// Fails with a remark for the pattern driver when a tensor of `op` still has a
/// quantized element type.
mlir::LogicalResult requireStorageForm(mlir::Operation *op,
                                       mlir::PatternRewriter &rewriter);

/// Replaces the only result of `op`, with a cast where `value` knows more or
/// less of its static shape.
void replaceWithCast(mlir::PatternRewriter &rewriter, mlir::Operation *op,
                     mlir::Value value);

/// The same for all results of `op`.
void replaceAllWithCasts(mlir::PatternRewriter &rewriter, mlir::Operation *op,
                         mlir::ValueRange values);

/// Numerics.md, "Activations", of one f32 value.
mlir::Value createActivation(mlir::ImplicitLocOpBuilder &builder, mlir::Value x,
                             Activation activation);

/// Numerics.md, "Softmax and attention": clip((zeta - gamma) * p + gamma, 0, 1)
mlir::Value clipScalar(mlir::ImplicitLocOpBuilder &builder, mlir::Value p,
                       const llvm::APFloat &gamma, const llvm::APFloat &zeta);

/// The row of a table that an id names: from the end if negative, the nearest
/// otherwise.
mlir::Value createRowIndex(mlir::ImplicitLocOpBuilder &builder, mlir::Value id,
                           int64_t numRows);

/// The activation of an epilogue, element by element.
mlir::Value applyActivation(mlir::ImplicitLocOpBuilder &builder, mlir::Value x,
                            Activation activation);

} // namespace qtx

#endif // QTX_LIB_CONVERSION_QTXTOLINALG_LOWERINGUTILS_H
