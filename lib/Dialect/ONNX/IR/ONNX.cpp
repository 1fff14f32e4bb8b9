//===- ONNX.cpp - The ONNX dialect ----------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/ONNX/IR/ONNX.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace qtx::onnx;

#include "qtx/Dialect/ONNX/IR/ONNXDialect.cpp.inc"

#define GET_OP_CLASSES
#include "qtx/Dialect/ONNX/IR/ONNX.cpp.inc"

void ONNXDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "qtx/Dialect/ONNX/IR/ONNX.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Symbolic sizes
//===----------------------------------------------------------------------===//

SmallVector<AffineExpr> qtx::onnx::getDims(RankedTensorType type) {
  if (auto map = dyn_cast_or_null<AffineMapAttr>(type.getEncoding()))
    return llvm::to_vector(map.getValue().getResults());
  return llvm::map_to_vector(type.getShape(), [&](int64_t size) {
    assert(!ShapedType::isDynamic(size) && "a dynamic size has an expression");
    return getAffineConstantExpr(size, type.getContext());
  });
}

/// The number of symbols that `dims` need.
static unsigned countSymbols(ArrayRef<AffineExpr> dims) {
  unsigned count = 0;
  for (AffineExpr dim : dims)
    dim.walk([&](AffineExpr expr) {
      if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
        count = std::max(count, symbol.getPosition() + 1);
    });
  return count;
}

RankedTensorType qtx::onnx::getTensorType(ArrayRef<AffineExpr> dims,
                                          Type elementType) {
  auto shape = llvm::map_to_vector(dims, [](AffineExpr dim) {
    auto constant = dyn_cast<AffineConstantExpr>(dim);
    return constant ? constant.getValue() : ShapedType::kDynamic;
  });
  if (!ShapedType::isDynamicShape(shape))
    return RankedTensorType::get(shape, elementType);
  AffineMap map =
      AffineMap::get(0, countSymbols(dims), dims, elementType.getContext());
  return RankedTensorType::get(shape, elementType, AffineMapAttr::get(map));
}

RankedTensorType qtx::onnx::dropDims(RankedTensorType type) {
  return RankedTensorType::get(type.getShape(), type.getElementType());
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

/// How many inputs an operator of ONNX's own domain has at least, in the form
/// that the importer yields.
static unsigned getMinInputs(StringRef op) {
  return llvm::StringSwitch<unsigned>(op)
      .Cases({"BlackmanWindow", "Constant", "ConstantOfShape", "EyeLike",
              "HammingWindow", "HannWindow"},
             0)
      .Cases({"Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
              "CastLike", "Compress"},
             2)
      .Cases({"Conv", "ConvInteger", "DequantizeLinear", "Div", "Equal",
              "Gather", "GatherElements", "GatherND"},
             2)
      .Cases({"Gemm", "Greater", "GreaterOrEqual", "LayerNormalization", "Less",
              "LessOrEqual", "MatMul", "MatMulInteger"},
             2)
      .Cases({"Mod", "Mul", "OneHot", "Or", "PRelu", "Pow", "QuantizeLinear",
              "RMSNormalization"},
             2)
      .Cases({"Range", "ReverseSequence", "Sub", "Xor"}, 2)
      .Cases({"Attention", "GroupNormalization", "InstanceNormalization",
              "RotaryEmbedding", "ScatterElements", "ScatterND", "Where"},
             3)
      .Case("BatchNormalization", 5)
      .Cases({"QLinearConv", "QLinearMatMul"}, 8)
      .Default(1);
}

/// Whether the encoding of a tensor says its sizes.
static bool hasKnownDims(RankedTensorType type) {
  if (!type.getEncoding())
    return type.hasStaticShape();
  auto attr = dyn_cast<AffineMapAttr>(type.getEncoding());
  if (!attr || attr.getValue().getNumDims() != 0 ||
      attr.getValue().getNumResults() != type.getRank())
    return false;
  return llvm::all_of(
      llvm::zip_equal(type.getShape(), attr.getValue().getResults()),
      [](auto entry) {
        auto constant = dyn_cast<AffineConstantExpr>(std::get<1>(entry));
        int64_t size = std::get<0>(entry);
        return constant ? constant.getValue() == size
                        : ShapedType::isDynamic(size);
      });
}

LogicalResult NodeOp::verify() {
  unsigned minInputs = getDomain() ? 0 : getMinInputs(getOpType());
  if (getInputs().size() < minInputs)
    return emitOpError() << "expected at least " << minInputs << " inputs of '"
                         << getOpType() << "', found " << getInputs().size();
  for (unsigned index = 0; index < minInputs; ++index)
    if (isa<NoneType>(getInputs()[index].getType()))
      return emitOpError() << "expected input " << index << " of '"
                           << getOpType() << "', found none";
  if (getOutputs().empty())
    return emitOpError() << "expected an output of '" << getOpType() << "'";
  auto types = llvm::concat<const Type>(SmallVector<Type>(getOperandTypes()),
                                        SmallVector<Type>(getResultTypes()));
  for (Type type : types) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!isa<NoneType>(type) && (!tensor || !hasKnownDims(tensor)))
      return emitOpError() << "expected tensors that say all sizes, found "
                           << type;
  }
  return success();
}

Value NodeOp::getOptionalInput(unsigned index) {
  if (index >= getInputs().size())
    return {};
  Value input = getInputs()[index];
  return isa<NoneType>(input.getType()) ? Value() : input;
}

Attribute NodeOp::getNodeAttr(StringRef name) {
  return getNodeAttributes() ? getNodeAttributes()->get(name) : Attribute();
}

int64_t NodeOp::getIntAttr(StringRef name, int64_t absent) {
  auto attr = dyn_cast_or_null<IntegerAttr>(getNodeAttr(name));
  return attr ? attr.getValue().getSExtValue() : absent;
}

float NodeOp::getFloatAttr(StringRef name, float absent) {
  auto attr = dyn_cast_or_null<FloatAttr>(getNodeAttr(name));
  return attr ? attr.getValue().convertToFloat() : absent;
}

StringRef NodeOp::getStringAttr(StringRef name, StringRef absent) {
  auto attr = dyn_cast_or_null<StringAttr>(getNodeAttr(name));
  return attr ? attr.getValue() : absent;
}

std::optional<SmallVector<int64_t>> NodeOp::getIntsAttr(StringRef name) {
  auto attr = dyn_cast_or_null<ArrayAttr>(getNodeAttr(name));
  if (!attr)
    return std::nullopt;
  return llvm::map_to_vector(
      attr.getAsRange<IntegerAttr>(),
      [](IntegerAttr element) { return element.getValue().getSExtValue(); });
}
