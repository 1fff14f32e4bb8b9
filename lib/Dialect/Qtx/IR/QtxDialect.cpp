//===- QtxDialect.cpp - The qtx dialect -----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
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
