//===- SplitGroupedElementwise.cpp - Split operations at groups -----------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ChannelOrder.h"
#include "RewriteUtils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include <set>

namespace qtx {
#define GEN_PASS_DEF_QTXSPLITGROUPEDELEMENTWISEPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("SplitGroupedElementwise")
        .category("qtx-split-grouped-elementwise");

/// The parameters of `edge` if it has several groups along the last axis.
static std::optional<QuantParams> getGroups(Operation *op,
                                            const QuantEdge &edge) {
  std::optional<QuantParams> params = getQuantParams(op, edge);
  if (!params || !hasGroupsOnLastAxis(*params))
    return std::nullopt;
  return params;
}

/// Where the groups of any edge of `op` begin and end; empty without groups.
static std::set<int64_t> getBoundaries(QuantizableOpInterface op) {
  std::set<int64_t> boundaries;
  for (const QuantEdge &edge : op.getQuantEdges()) {
    std::optional<QuantParams> params = getGroups(op, edge);
    if (!params)
      continue;
    int64_t end = 0;
    boundaries.insert(end);
    for (int64_t size : params->getGroupSizes())
      boundaries.insert(end += size);
  }
  return boundaries;
}

namespace {

/// Splits one operation into pieces along the last axis.
class Splitter {
public:
  Splitter(RewriterBase &rewriter, QuantizableOpInterface op)
      : rewriter(rewriter), op(op), channels(*getChannelwise(op)) {}

  void split(const std::set<int64_t> &boundaries) {
    rewriter.setInsertionPoint(op);
    Value whole = createEmpty();
    int64_t offset = 0;
    for (int64_t end : llvm::drop_begin(boundaries)) {
      whole = insertLast(rewriter, createPiece(offset, end - offset), whole,
                         offset);
      offset = end;
    }
    rewriter.replaceOp(op, whole);
  }

private:
  RankedTensorType getResultType() {
    return cast<RankedTensorType>(channels.result.getType());
  }

  /// A tensor of the shape of the first operand, which is that of the result.
  Value createEmpty() {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(
        rewriter, op.getLoc(), channels.moving.front()->get());
    Value empty = tensor::EmptyOp::create(rewriter, op.getLoc(), sizes,
                                          getResultType().getElementType());
    if (empty.getType() != getResultType())
      empty =
          tensor::CastOp::create(rewriter, op.getLoc(), getResultType(), empty);
    return empty;
  }

  Value slice(Value tensor, int64_t offset, int64_t size) {
    int64_t rank = cast<ShapedType>(tensor.getType()).getRank();
    return sliceAxis(rewriter, op.getLoc(), tensor, rank - 1, offset, size);
  }

  /// The operation on the channels [offset, offset + size).
  Value createPiece(int64_t offset, int64_t size) {
    IRMapping mapping;
    for (OpOperand *operand : channels.moving)
      mapping.map(operand->get(), slice(operand->get(), offset, size));
    SmallVector<std::pair<StringAttr, Type>> types;
    for (const QuantEdge &edge : op.getQuantEdges()) {
      std::optional<QuantParams> params = getGroups(op, edge);
      if (!params)
        continue;
      types.push_back({edge.attrName, params->getSliced(offset, size)});
      int64_t group = params->getGroupOfChannel()[offset];
      for (Value param : {edge.scale, edge.zeroPoint})
        if (param)
          mapping.map(param, slice(param, group, 1));
    }
    Operation *piece = rewriter.clone(*op, mapping);
    for (auto [name, type] : types)
      piece->setAttr(name, TypeAttr::get(type));
    SmallVector<int64_t> shape(getResultType().getShape());
    shape.back() = size;
    piece->getResult(0).setType(getResultType().clone(shape));
    return piece->getResult(0);
  }

  RewriterBase &rewriter;
  QuantizableOpInterface op;
  ChannelwiseOp channels;
};

struct QtxSplitGroupedElementwisePass
    : qtx::impl::QtxSplitGroupedElementwisePassBase<
          QtxSplitGroupedElementwisePass> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    for (auto op : collectOps<QuantizableOpInterface>(getOperation())) {
      std::set<int64_t> boundaries = getBoundaries(op);
      if (boundaries.empty())
        continue;
      Location loc = op->getLoc();
      StringRef reason = getObstacle(op);
      if (!reason.empty()) {
        remark::missed(loc, kRemark) << remark::reason("{0}", reason);
        continue;
      }
      Splitter(rewriter, op).split(boundaries);
      remark::passed(loc, kRemark) << remark::add(
          "split into {0} operations at the groups", boundaries.size() - 1);
    }
  }

private:
  static StringRef getObstacle(Operation *op) {
    if (!isa<QuantizeOp, DequantizeOp, RequantizeOp, AddOp, ReluOp, GeluOp,
             SiluOp>(op))
      return "a result depends on more than one channel";
    if (isInQuantizedForm(op))
      return "slices exist in storage form only; run 'qtx-to-storage' first";
    // The same tensor cannot stand for a value and for a parameter here.
    if (hasSharedParams(op))
      return "a run-time parameter has several uses in the operation";
    return {};
  }

  static bool hasSharedParams(Operation *op) {
    for (const QuantEdge &edge :
         cast<QuantizableOpInterface>(op).getQuantEdges())
      for (Value param : {edge.scale, edge.zeroPoint})
        if (param && llvm::count(op->getOperands(), param) > 1)
          return true;
    return false;
  }
};

} // namespace
