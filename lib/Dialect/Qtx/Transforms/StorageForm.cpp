//===- StorageForm.cpp - Conversion to storage form -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/TypeUtilities.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "qtx/Dialect/Qtx/Transforms/TypeUtils.h"

namespace qtx {
#define GEN_PASS_DEF_QTXTOSTORAGEPASS
#define GEN_PASS_DEF_QTXVERIFYSTORAGEFORMPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Quantized types
//===----------------------------------------------------------------------===//

/// Replaces tensors by their storage form, inside function types too.
static AttrTypeReplacer createReplacer() {
  AttrTypeReplacer replacer;
  replacer.addReplacement(
      [](RankedTensorType type) -> Type { return getStorageForm(type); });
  return replacer;
}

//===----------------------------------------------------------------------===//
// Legality
//===----------------------------------------------------------------------===//

/// Every tensor of `op` that has a quantized type is one of its edges.
static bool hasOnlyQuantizedEdges(QuantizableOpInterface op) {
  SmallVector<QuantEdge> edges = op.getQuantEdges();
  auto isEdge = [&](Value value) {
    return !containsQuantizedType(value.getType()) ||
           llvm::any_of(edges, [&](const QuantEdge &edge) {
             return edge.value == value;
           });
  };
  return llvm::all_of(op->getOperands(), isEdge) &&
         llvm::all_of(op->getResults(), isEdge);
}

/// Collapsing and expanding keep the groups if their axis has the same size on
/// both sides; element types are equal anyway.
static bool keepsGroupAxis(Operation *op) {
  return llvm::all_of(
      llvm::concat<const Type>(llvm::to_vector_of<Type>(op->getOperandTypes()),
                               llvm::to_vector_of<Type>(op->getResultTypes())),
      [](Type type) {
        auto tensor = dyn_cast<RankedTensorType>(type);
        auto params =
            tensor ? QuantParams::get(tensor.getElementType()) : std::nullopt;
        if (!params || params->isPerTensor())
          return true;
        int64_t axis = params->getAxis(tensor.getRank());
        return axis >= 0 && tensor.getDimSize(axis) == params->getNumChannels();
      });
}

/// A quantized constant is a blob of storage integers.
static bool isQuantizedResource(arith::ConstantOp op) {
  return isa<DenseResourceElementsAttr>(op.getValue());
}

/// A cast between a quantized tensor and the integers that store it.
static bool isStorageCast(Operation *op) {
  if (isa<quant::StorageCastOp>(op))
    return true;
  return isa<UnrealizedConversionCastOp>(op) && op->getNumOperands() == 1 &&
         op->getNumResults() == 1 &&
         getStorageForm(op->getOperand(0).getType()) ==
             getStorageForm(op->getResult(0).getType());
}

/// Whether changing the element types of the tensors of `op` keeps its meaning.
static bool canRetype(Operation *op) {
  if (auto quantizable = dyn_cast<QuantizableOpInterface>(op))
    return hasOnlyQuantizedEdges(quantizable);
  if (isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
    return keepsGroupAxis(op);
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return isQuantizedResource(constant);
  // Views as heads move the elements, whatever they mean.
  return isTypeAgnostic(op) || isStorageCast(op) ||
         isa<SplitHeadsOp, MergeHeadsOp>(op);
}

/// One error per operation that cannot be converted.
static LogicalResult verifyConvertible(Operation *op,
                                       AttrTypeReplacer &replacer) {
  Type quantized = findType(op, containsQuantizedType);
  if (!quantized)
    return success();
  Type unsupported = findType(op, [&](Type type) {
    return containsQuantizedType(replacer.replace(type));
  });
  if (unsupported)
    return op->emitOpError()
           << "has no storage form: expected quantized types only as "
              "'!quant.uniform' or '!qtx.grouped' elements of ranked tensors, "
              "found "
           << unsupported;
  if (canRetype(op))
    return success();
  return op->emitOpError()
         << "has no storage form: expected a qtx operation, a function, a call "
            "or control flow to use "
         << quantized;
}

//===----------------------------------------------------------------------===//
// Conversion
//===----------------------------------------------------------------------===//

/// Names the quantized element type of each edge of `op` in its attribute. The
/// number of these edges.
static int64_t moveTypesToAttributes(QuantizableOpInterface op) {
  int64_t edges = 0;
  for (const QuantEdge &edge : op.getQuantEdges()) {
    Type elementType = getElementTypeOrSelf(edge.value.getType());
    if (!isQuantizedElementType(elementType))
      continue;
    op->setAttr(edge.attrName, TypeAttr::get(elementType));
    ++edges;
  }
  return edges;
}

namespace {

/// All values change at once, so the conversion is done in place: there is
/// never a use that sees the old type, and no cast between the two forms.
struct QtxToStoragePass : qtx::impl::QtxToStoragePassBase<QtxToStoragePass> {
  void runOnOperation() override {
    AttrTypeReplacer replacer = createReplacer();
    bool allConvertible = true;
    getOperation()->walk([&](Operation *op) {
      allConvertible &= succeeded(verifyConvertible(op, replacer));
    });
    if (!allConvertible)
      return signalPassFailure();
    int64_t edges = 0;
    getOperation()->walk(
        [&](QuantizableOpInterface op) { edges += moveTypesToAttributes(op); });
    getOperation()->walk([&](Operation *op) { retype(op, replacer); });
    getOperation()->walk([](Operation *op) {
      if (!isStorageCast(op) ||
          op->getOperand(0).getType() != op->getResult(0).getType())
        return;
      op->replaceAllUsesWith(op->getOperands());
      op->erase();
    });
    if (edges == 0)
      return;
    remark::passed(
        getOperation()->getLoc(),
        remark::RemarkOpts::name("ToStorage").category("qtx-to-storage"))
        << remark::add("moved {0} quantized type(s) into attributes", edges);
  }
};

struct QtxVerifyStorageFormPass
    : qtx::impl::QtxVerifyStorageFormPassBase<QtxVerifyStorageFormPass> {
  void runOnOperation() override {
    bool holds = true;
    getOperation()->walk([&](Operation *op) {
      Type type = findType(op, containsQuantizedType);
      if (!type)
        return;
      op->emitOpError() << "is not in storage form: found " << type;
      holds = false;
    });
    if (!holds)
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
