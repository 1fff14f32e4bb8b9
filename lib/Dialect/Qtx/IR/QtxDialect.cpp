//===- QtxDialect.cpp - The qtx dialect -----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "qtx/Dialect/Qtx/IR/QtxAttributes.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace qtx;

#include "qtx/Dialect/Qtx/IR/QtxDialect.cpp.inc"
#include "qtx/Dialect/Qtx/IR/QtxEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "qtx/Dialect/Qtx/IR/QtxAttributes.cpp.inc"

void QtxDialect::initialize() {
  registerTypes();
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "qtx/Dialect/Qtx/IR/QuantizationOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "qtx/Dialect/Qtx/IR/ContractionOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "qtx/Dialect/Qtx/IR/NormalisationOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "qtx/Dialect/Qtx/IR/AttentionOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "qtx/Dialect/Qtx/IR/RowOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "qtx/Dialect/Qtx/IR/TrainingOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "qtx/Dialect/Qtx/IR/KernelOps.cpp.inc"
      >();
}

void QtxDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "qtx/Dialect/Qtx/IR/QtxAttributes.cpp.inc"
      >();
}

Operation *QtxDialect::materializeConstant(OpBuilder &builder, Attribute value,
                                           Type type, Location loc) {
  return arith::ConstantOp::materialize(builder, value, type, loc);
}

/// Checks `qtx.name` on the argument or result `index`, the first `index` of
/// which have passed. `getOther` returns the attribute on another one.
static LogicalResult verifyName(Operation *op, StringRef what, unsigned index,
                                Attribute value,
                                function_ref<Attribute(unsigned)> getOther) {
  auto name = dyn_cast<StringAttr>(value);
  if (!name || name.empty())
    return op->emitOpError()
           << "expected 'qtx.name' of " << what << " " << index
           << " to be a string that is not empty, found " << value;
  for (unsigned other = 0; other < index; ++other)
    if (getOther(other) == name)
      return op->emitOpError() << what << "s " << other << " and " << index
                               << " have the same name " << name;
  return success();
}

/// Checks `qtx.dims` on the argument or result `index` of type `type`.
static LogicalResult verifyDims(Operation *op, StringRef what, unsigned index,
                                Type type, Attribute value) {
  // Lowered functions keep the attribute on buffers.
  auto shaped = dyn_cast<ShapedType>(type);
  if (!shaped || !shaped.hasRank())
    return op->emitOpError() << "expected 'qtx.dims' on a ranked tensor, found "
                             << what << " " << index << " of type " << type;
  auto dims = dyn_cast<ArrayAttr>(value);
  if (!dims || int64_t(dims.size()) != shaped.getRank() ||
      !llvm::all_of(dims, llvm::IsaPred<StringAttr>))
    return op->emitOpError()
           << "expected 'qtx.dims' of " << what << " " << index << " to be "
           << shaped.getRank() << " strings, found " << value;
  for (auto [i, dim] : llvm::enumerate(dims.getAsRange<StringAttr>()))
    if (!dim.empty() && !shaped.isDynamicDim(i))
      return op->emitOpError()
             << "expected no name for the static size " << i << " of " << what
             << " " << index << ", found " << dim;
  return success();
}

LogicalResult QtxDialect::verifyRegionArgAttribute(Operation *op, unsigned,
                                                   unsigned index,
                                                   NamedAttribute attr) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (function && attr.getName() == kDimsAttrName)
    return verifyDims(op, "argument", index, function.getArgumentTypes()[index],
                      attr.getValue());
  if (!function || attr.getName() != kNameAttrName)
    return success();
  return verifyName(op, "argument", index, attr.getValue(), [&](unsigned i) {
    return function.getArgAttr(i, kNameAttrName);
  });
}

LogicalResult QtxDialect::verifyRegionResultAttribute(Operation *op, unsigned,
                                                      unsigned index,
                                                      NamedAttribute attr) {
  auto function = dyn_cast<FunctionOpInterface>(op);
  if (function && attr.getName() == kDimsAttrName)
    return verifyDims(op, "result", index, function.getResultTypes()[index],
                      attr.getValue());
  if (!function || attr.getName() != kNameAttrName)
    return success();
  return verifyName(op, "result", index, attr.getValue(), [&](unsigned i) {
    return function.getResultAttr(i, kNameAttrName);
  });
}
