//===- QuantParams.h - View of quantization parameters ----------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One read-only view over the quantized element types that qtx accepts, so that
// no other code tells them apart, and the edges of operations that carry them.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_QTX_IR_QUANTPARAMS_H
#define QTX_DIALECT_QTX_IR_QUANTPARAMS_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpDefinition.h"
#include <optional>

namespace qtx {

/// Scales and zero points of a quantized element type: `!quant.uniform` or
/// `!qtx.grouped`. A value means `scale * (stored - zeroPoint)`.
class QuantParams {
public:
  /// The view of `elementType`; absent if it is not a quantized type of qtx.
  static std::optional<QuantParams> get(mlir::Type elementType);

  mlir::Type getType() const { return type; }
  /// The signless integer type that tensors in storage form hold.
  mlir::IntegerType getStorageType() const;
  bool isSigned() const;
  int64_t getStorageMin() const;
  int64_t getStorageMax() const;

  bool isPerTensor() const;
  bool isGrouped() const { return !isPerTensor(); }
  /// Whether scales and zero points are run-time values.
  bool isDynamic() const;

  int64_t getNumGroups() const;
  /// Sizes of the groups; empty per tensor.
  llvm::ArrayRef<int64_t> getGroupSizes() const;
  /// Number of channels along the axis; grouped only.
  int64_t getNumChannels() const;
  /// The axis of the groups counted from the last dimension (-1, -2, ...);
  /// grouped only.
  int64_t getAxis() const;
  /// The same, counted from the first of `rank` dimensions.
  int64_t getAxis(int64_t rank) const { return rank + getAxis(); }

  /// Parameters of one group; not for run-time parameters.
  float getScale(int64_t group) const;
  int64_t getZeroPoint(int64_t group) const;
  bool hasOnlyZeroZeroPoints() const;

  /// The group of every channel along the axis.
  llvm::SmallVector<int64_t> getGroupOfChannel() const;

  /// The element type of the channels [offset, offset + size) of the axis,
  /// whose parameters are the same. A slice within one static group is per
  /// tensor.
  mlir::Type getSliced(int64_t offset, int64_t size) const;

private:
  explicit QuantParams(mlir::Type type) : type(type) {}
  mlir::Type type;
};

/// The smallest and largest integer of `width` bits, at most 32.
std::pair<int64_t, int64_t> getIntegerRange(unsigned width, bool isSigned);

/// Whether `type` is a quantized element type that qtx operations accept.
bool isQuantizedElementType(mlir::Type type);

/// Whether `type` is f32, a storage integer or a quantized element type.
bool isQuantizableElementType(mlir::Type type);

/// The tensor type in storage form: quantized element types become integers.
mlir::Type getStorageForm(mlir::Type type);

/// An operand or result of an operation that may be quantized.
struct QuantEdge {
  /// The tensor, in quantized form, storage form or float.
  mlir::Value value;
  /// The attribute that names the quantized element type in storage form.
  mlir::StringAttr attrName;
  /// Run-time parameters, null if absent. A missing zero point is zero.
  mlir::Value scale = {};
  mlir::Value zeroPoint = {};
};

/// The quantization parameters of `edge` of `op`, in either form.
std::optional<QuantParams> getQuantParams(mlir::Operation *op,
                                          const QuantEdge &edge);

/// Verifies that `params` can describe a tensor of the shape of `tensor`:
/// scale, zero point and storage type, group axis and sizes.
mlir::LogicalResult verifyQuantParams(mlir::Operation *op,
                                      const QuantParams &params,
                                      mlir::ShapedType tensor);

/// Verifies all edges of a QuantizableOpInterface operation: consistency of the
/// two forms, storage types, zero points, group sizes, run-time parameters.
mlir::LogicalResult verifyQuantEdges(mlir::Operation *op);

/// A range of channels of a contracted axis within which all parameters are the
/// same for one output.
struct Segment {
  int64_t offset;
  int64_t size;
  /// Group of the first operand and block of the second.
  int64_t group;
  int64_t block;
};

/// Cuts the axis of `size` channels at the boundaries of both partitions. Each
/// is the list of its part sizes; an empty list stands for one part.
llvm::SmallVector<Segment> getSegments(int64_t size,
                                       llvm::ArrayRef<int64_t> groups,
                                       llvm::ArrayRef<int64_t> blocks);

} // namespace qtx

#include "qtx/Dialect/Qtx/IR/QtxInterfaces.h.inc"

#endif // QTX_DIALECT_QTX_IR_QUANTPARAMS_H
