//===- Matchers.h - Reading an ONNX graph backwards -------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_ONNX_TRANSFORMS_MATCHERS_H
#define QTX_LIB_DIALECT_ONNX_TRANSFORMS_MATCHERS_H

#include "Constants.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "qtx/Dialect/ONNX/IR/ONNX.h"

namespace qtx::onnx {

/// Whether `node` is one that an importer could have made: the inputs that its
/// operator needs, tensors of known sizes. Patterns look at no other ones.
bool isWellFormed(NodeOp node);

/// The value that `value` is a copy of: looks through `Identity`, dropout,
/// casts and reshapes that change nothing, and conversions between tensors with
/// and without symbolic sizes.
mlir::Value strip(mlir::Value value);

/// The node that computes `value`, copies aside, if it is the operator `op`;
/// else null.
NodeOp getNode(mlir::Value value, llvm::StringRef op);
/// The node that computes `value`, whatever it is; or null.
NodeOp getNode(mlir::Value value);

/// The type with symbolic sizes, also of a value that has lost them on the way
/// to a qtx operation.
mlir::RankedTensorType getType(mlir::Value value);
llvm::SmallVector<mlir::AffineExpr> getDims(mlir::Value value);
int64_t getRank(mlir::Value value);
/// Whether two values have the same sizes for all inputs.
bool haveSameDims(mlir::Value lhs, mlir::Value rhs);
bool isF32(mlir::Value value);

/// The number that all elements of `value` are: of a constant, or one that is
/// broadcast.
std::optional<double> getScalar(mlir::Value value);
/// Whether `value` is the number, up to fp32 rounding of how it was computed.
bool isScalar(mlir::Value value, double number);
bool isClose(double lhs, double rhs);

/// A scalar and the other operand of a node with two inputs, in either order.
struct ScalarAndValue {
  double scalar;
  mlir::Value value;
};
std::optional<ScalarAndValue> getScalarOperand(NodeOp node);

/// A value that is quantized and at once turned back.
struct Requantized {
  mlir::Value source;
  mlir::quant::UniformQuantizedType type;
};
/// What `value` was before it was quantized with one scale; nothing if it is
/// not.
std::optional<Requantized> getRequantized(mlir::Value value);
/// What `number` becomes when it is quantized and turned back.
float requantize(mlir::quant::UniformQuantizedType type, double number);

/// The factor c and x of `x * c` or `x / c`, through any number of them. The
/// shape of x is that of `value`.
struct Scaled {
  double factor = 1;
  mlir::Value value;
};
Scaled getScaled(mlir::Value value);

/// The coefficients, constant first, of `value` as a polynomial of degree 3 at
/// most in `x`.
std::optional<llvm::SmallVector<double, 4>> getPolynomial(mlir::Value value,
                                                          mlir::Value x);

/// The axes of a node in ascending order, from the attribute or the input
/// `axes`; all counted from the front.
std::optional<llvm::SmallVector<int64_t>> getAxes(NodeOp node, int64_t rank);
/// The attribute `axis`, counted from the front.
int64_t getAxis(NodeOp node, int64_t absent, int64_t rank);

/// The input of a transposition by `permutation`; null if `value` is none.
mlir::Value getTransposed(mlir::Value value,
                          llvm::ArrayRef<int64_t> permutation);

/// x of a reshape of `x`, [B, S, H * dh], to [B, S, H, dh]; null if `value` is
/// none.
mlir::Value getUnsplit(mlir::Value value);

/// The only node that reads `value`, conversions aside; or null.
NodeOp getOnlyUser(mlir::Value value);

/// For each dimension of `from` other than 1 its place in `to`, if `to` has the
/// same dimensions and ones between them; -1 for those of 1.
std::optional<llvm::SmallVector<int64_t>>
mapUnitReshape(llvm::ArrayRef<mlir::AffineExpr> from,
               llvm::ArrayRef<mlir::AffineExpr> to);

} // namespace qtx::onnx

#endif // QTX_LIB_DIALECT_ONNX_TRANSFORMS_MATCHERS_H
