//===- CodedConstant.h - Constants stored as integers -----------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_ONNX_TRANSFORMS_CODEDCONSTANT_H
#define QTX_LIB_DIALECT_ONNX_TRANSFORMS_CODEDCONSTANT_H

#include "mlir/IR/Builders.h"
#include "qtx/Dialect/ONNX/IR/ONNX.h"
#include <optional>
#include <vector>

namespace qtx::onnx {

/// A constant that a `DequantizeLinear` decodes.
struct CodedConstant {
  /// Nothing if `node` is null or decodes something else.
  static std::optional<CodedConstant> get(NodeOp node);

  /// The scale that belongs to an element.
  int64_t getScaleIndex(int64_t element) const;
  mlir::Value createFloats(mlir::OpBuilder &builder, mlir::Location loc) const;

  llvm::SmallVector<int64_t> shape;
  unsigned width;
  /// Codes without sign have moved down to be signed, and the zero points with
  /// them.
  std::vector<int32_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> zeroPoints;
  /// Scales run along this axis, one for `block` elements of it; -1 for one
  /// scale.
  int64_t axis = -1;
  int64_t block = 1;
};

/// The codes of a constant that a `QuantizeLinear` encodes in 4 or 8 bits, as
/// models that were trained with quantization have their weights; null for
/// others.
mlir::Value encodeConstant(mlir::OpBuilder &builder, NodeOp node);

/// The weight [N, K] of a layer. Zero points are part of its codes, which may
/// then need more bits.
struct CodedMatrix {
  /// Nothing if a layer cannot have such a weight.
  static std::optional<CodedMatrix> get(const CodedConstant &constant,
                                        bool isTransposed);
  /// The weight of a `MatMulNBits`.
  static std::optional<CodedMatrix> getPacked(NodeOp node);

  int64_t getNumOutputs() const { return outputs; }
  int64_t getDepth() const { return depth; }
  mlir::Value createCodes(mlir::OpBuilder &builder, mlir::Location loc) const;
  mlir::Value createScales(mlir::OpBuilder &builder, mlir::Location loc) const;

  /// False if the code does not fit 8 bits.
  bool add(int32_t code);

  int64_t outputs, depth;
  unsigned width;
  std::vector<int8_t> codes;
  std::vector<float> scales;
  /// Elements of a row that share a scale; 0 for all.
  int64_t block = 0;
};

} // namespace qtx::onnx

#endif // QTX_LIB_DIALECT_ONNX_TRANSFORMS_CODEDCONSTANT_H
