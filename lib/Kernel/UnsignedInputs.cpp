//===- UnsignedInputs.cpp - Inputs as kernels read them -------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Kernel/Passes.h"

namespace qtx {
#define GEN_PASS_DEF_QTXUNSIGNEDINPUTSPASS
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("UnsignedInputs").category("qtx-unsigned-inputs");

/// What unsigned bytes are larger by.
static constexpr int64_t kOffset = 128;

static bool isSignedByte(const QuantParams &params) {
  return params.isSigned() && !params.isDynamic() &&
         params.getStorageType().getWidth() == 8;
}

/// The type of the same values stored in unsigned bytes.
static Type getUnsigned(const QuantParams &params) {
  Type type = params.getType();
  MLIRContext *context = type.getContext();
  if (auto uniform = dyn_cast<quant::UniformQuantizedType>(type))
    return quant::UniformQuantizedType::get(
        /*flags=*/0, uniform.getStorageType(), uniform.getExpressedType(),
        uniform.getScale(), uniform.getZeroPoint() + kOffset,
        uniform.getStorageTypeMin() + kOffset,
        uniform.getStorageTypeMax() + kOffset);
  auto grouped = cast<GroupedType>(type);
  SmallVector<int64_t> zeroPoints = llvm::map_to_vector(
      grouped.getZeroPoints().asArrayRef(),
      [](int64_t zeroPoint) { return zeroPoint + kOffset; });
  return GroupedType::get(context, grouped.getStorageWidth(),
                          /*isSigned=*/false, grouped.getAxis(),
                          grouped.getGroupSizes(), grouped.getScales(),
                          DenseI64ArrayAttr::get(context, zeroPoints));
}

/// Whether `use` is the input of a micro-kernel for unsigned bytes.
static bool wantsUnsigned(OpOperand &use) {
  auto op = dyn_cast<LinearOp>(use.getOwner());
  auto config = op ? op->getAttrOfType<MicroKernelAttr>(kConfigAttrName)
                   : MicroKernelAttr();
  const MicroKernel *row =
      config ? lookupMicroKernel(config.getKernel()) : nullptr;
  if (!row || row->getOperands() != MicroKernelOperands::U8S8 ||
      &use != &op.getXMutable())
    return false;
  // A seed holds the zero-point terms of the integers as they are stored now.
  if (op.getSeed())
    return false;
  auto params = getQuantParams(op, op.getQuantEdges().front());
  return params && isSignedByte(*params);
}

/// Whether `op` moves stored integers as they are.
static bool isMove(Operation *op) {
  return isa<MergeHeadsOp, SplitHeadsOp, tensor::CastOp,
             tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op);
}

/// Collects the inputs that `value` reaches; whether there are no other
/// readers.
static bool collectInputs(Value value, SmallVectorImpl<LinearOp> &ops) {
  bool areAll = true;
  for (OpOperand &use : value.getUses()) {
    if (isMove(use.getOwner()))
      areAll &= collectInputs(use.getOwner()->getResult(0), ops);
    else if (wantsUnsigned(use))
      ops.push_back(cast<LinearOp>(use.getOwner()));
    else
      areAll = false;
  }
  return areAll;
}

namespace {
struct QtxUnsignedInputsPass
    : qtx::impl::QtxUnsignedInputsPassBase<QtxUnsignedInputsPass> {
  void runOnOperation() override {
    getOperation()->walk([](QuantizableOpInterface op) {
      for (const QuantEdge &edge : op.getQuantEdges())
        if (edge.value.getDefiningOp() == op)
          convert(op, edge);
    });
  }

  /// Stores one result unsigned if only micro-kernels read it.
  static void convert(Operation *op, const QuantEdge &edge) {
    auto params = getQuantParams(op, edge);
    if (!params || !isSignedByte(*params) || !op->hasAttr(edge.attrName))
      return;
    SmallVector<LinearOp> readers;
    bool isPrivate = collectInputs(edge.value, readers);
    if (readers.empty())
      return;
    if (!isPrivate) {
      remark::missed(op->getLoc(), kRemark)
          << remark::reason("not only micro-kernels read the result");
      return;
    }
    op->setAttr(edge.attrName, TypeAttr::get(getUnsigned(*params)));
    for (LinearOp reader : readers) {
      Type type =
          getUnsigned(*getQuantParams(reader, reader.getQuantEdges().front()));
      reader.setXQuantAttr(TypeAttr::get(type));
    }
    remark::passed(op->getLoc(), kRemark)
        << "stores the result in unsigned bytes";
  }
};
} // namespace
