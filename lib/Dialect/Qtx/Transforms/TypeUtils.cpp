//===- TypeUtils.cpp - Changing the types of values in place --------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/Transforms/TypeUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"

using namespace mlir;
using namespace qtx;

bool qtx::containsQuantizedType(Type type) {
  WalkResult result = type.walk([](Type nested) {
    return isa<GroupedType, quant::QuantizedType>(nested)
               ? WalkResult::interrupt()
               : WalkResult::advance();
  });
  return result.wasInterrupted();
}

Type qtx::findType(Operation *op, function_ref<bool(Type)> matches) {
  for (Type type :
       llvm::concat<const Type>(llvm::to_vector_of<Type>(op->getOperandTypes()),
                                llvm::to_vector_of<Type>(op->getResultTypes())))
    if (matches(type))
      return type;
  if (auto function = dyn_cast<FunctionOpInterface>(op))
    if (matches(function.getFunctionType()))
      return function.getFunctionType();
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Type type : block.getArgumentTypes())
        if (matches(type))
          return type;
  return {};
}

void qtx::retype(Operation *op, AttrTypeReplacer &replacer) {
  if (auto function = dyn_cast<FunctionOpInterface>(op))
    function.setType(replacer.replace(function.getFunctionType()));
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    if (auto resource =
            dyn_cast<DenseResourceElementsAttr>(constant.getValue()))
      constant.setValueAttr(DenseResourceElementsAttr::get(
          cast<ShapedType>(replacer.replace(constant.getType())),
          resource.getRawHandle()));
  for (OpResult result : op->getResults())
    result.setType(replacer.replace(result.getType()));
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (BlockArgument argument : block.getArguments())
        argument.setType(replacer.replace(argument.getType()));
}

bool qtx::isTypeAgnostic(Operation *op) {
  // A permutation moves the elements, whatever they mean.
  return isa<FunctionOpInterface, CallOpInterface, RegionBranchOpInterface,
             BranchOpInterface, RegionBranchTerminatorOpInterface,
             func::ConstantOp, tensor::CastOp, tensor::DimOp, tensor::EmptyOp,
             arith::SelectOp, PermuteOp>(op) ||
         op->hasTrait<OpTrait::ReturnLike>();
}
