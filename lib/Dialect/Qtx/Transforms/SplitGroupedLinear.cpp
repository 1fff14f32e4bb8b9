//===- SplitGroupedLinear.cpp - Split a PEG linear ------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConstantUtils.h"
#include "RewriteUtils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"

namespace qtx {
#define GEN_PASS_DEF_QTXSPLITGROUPEDLINEARPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark = remark::RemarkOpts::name("SplitGroupedLinear")
                                    .category("qtx-split-grouped-linear");

namespace {

/// A part of the contracted axis that becomes one linear.
struct Piece {
  int64_t offset;
  int64_t size;
  /// Group of the input, and the segments of the original.
  int64_t group;
  int64_t firstSegment;
  int64_t numSegments;
  /// Weight blocks of the piece. When it is not made of whole blocks (but for
  /// the last), it lies within the first one and has no block structure.
  int64_t firstBlock;
  int64_t numBlocks;
  bool keepsBlocks;
};

} // namespace

static int64_t getLastDim(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getRank() - 1;
}

//===----------------------------------------------------------------------===//
// Input groups
//===----------------------------------------------------------------------===//

/// The piece that begins at segment `first`: all segments of its group, or that
/// segment alone where the group begins within a weight block.
static Piece getPiece(ArrayRef<Segment> segments, size_t first,
                      std::optional<uint64_t> block) {
  const Segment &begin = segments[first];
  bool isAligned = !block || begin.offset % int64_t(*block) == 0;
  size_t end = first + 1;
  while (isAligned && end < segments.size() &&
         segments[end].group == begin.group)
    ++end;
  const Segment &last = segments[end - 1];
  return {begin.offset,
          last.offset + last.size - begin.offset,
          begin.group,
          int64_t(first),
          int64_t(end - first),
          begin.block,
          last.block - begin.block + 1,
          block && isAligned};
}

static SmallVector<Piece> getPieces(LinearOp op) {
  SmallVector<Segment> segments = op.getSegments();
  SmallVector<Piece> pieces;
  for (size_t first = 0; first < segments.size();) {
    pieces.push_back(getPiece(segments, first, op.getWeightBlock()));
    first += pieces.back().numSegments;
  }
  return pieces;
}

/// One column of the weight scales `[N, blocks]` as `[N]`.
static Value sliceScaleColumn(OpBuilder &builder, Location loc, Value scale,
                              int64_t block) {
  if (auto constant = ConstantTensor::get(scale))
    return constant->slice(1, block, 1)
        .reshape(constant->getType().getDimSize(0))
        .materialize(builder, loc);
  Value column = sliceAxis(builder, loc, scale, 1, block, 1);
  return tensor::CollapseShapeOp::create(
      builder, loc, column, ArrayRef<ReassociationIndices>{{0, 1}});
}

static void sliceWeight(RewriterBase &rewriter, LinearOp op, LinearOp piece,
                        const Piece &part) {
  Location loc = op.getLoc();
  piece.getWeightMutable().assign(
      sliceAxis(rewriter, loc, op.getWeight(), 1, part.offset, part.size));
  if (!op.getWeightBlock())
    return;
  Value scale = op.getWeightScale();
  if (part.keepsBlocks) {
    scale = sliceAxis(rewriter, loc, scale, 1, part.firstBlock, part.numBlocks);
  } else {
    scale = sliceScaleColumn(rewriter, loc, scale, part.firstBlock);
    piece.removeWeightBlockAttr();
  }
  piece.getWeightScaleMutable().assign(scale);
}

/// The input of `piece`, with the parameters of its group.
static void sliceInput(RewriterBase &rewriter, LinearOp op, LinearOp piece,
                       const Piece &part) {
  Location loc = op.getLoc();
  QuantParams params = *getQuantParams(op, op.getQuantEdges().front());
  piece.getXMutable().assign(sliceAxis(
      rewriter, loc, op.getX(), getLastDim(op.getX()), part.offset, part.size));
  piece.setXQuantAttr(TypeAttr::get(params.getSliced(part.offset, part.size)));
  if (Value scale = op.getXScale())
    piece.getXScaleMutable().assign(
        sliceAxis(rewriter, loc, scale, getLastDim(scale), part.group, 1));
  if (Value zeroPoint = op.getXZeroPoint())
    piece.getXZeroPointMutable().assign(sliceAxis(
        rewriter, loc, zeroPoint, getLastDim(zeroPoint), part.group, 1));
  if (Value seed = op.getSeed())
    piece.getSeedMutable().assign(
        sliceAxis(rewriter, loc, seed, 0, part.firstSegment, part.numSegments));
}

/// The result of `piece` is the fp32 sum so far, which the next one starts
/// from.
static void makePartialSum(LinearOp piece) {
  piece.getYScaleMutable().clear();
  piece.getYZeroPointMutable().clear();
  piece.removeYQuantAttr();
  piece.setActivation(Activation::None);
  piece.getY().setType(
      piece.getY().getType().clone(Float32Type::get(piece.getContext())));
}

static void splitInput(RewriterBase &rewriter, LinearOp op) {
  SmallVector<Piece> pieces = getPieces(op);
  rewriter.setInsertionPoint(op);
  Value sum = op.getBias();
  for (const Piece &part : pieces) {
    // The slices are created before the operation that takes them.
    OpBuilder::InsertionGuard guard(rewriter);
    auto piece = cast<LinearOp>(rewriter.clone(*op));
    rewriter.setInsertionPoint(piece);
    sliceInput(rewriter, op, piece, part);
    sliceWeight(rewriter, op, piece, part);
    if (sum)
      piece.getBiasMutable().assign(sum);
    if (&part != &pieces.back())
      makePartialSum(piece);
    sum = piece.getY();
  }
  remark::passed(op.getLoc(), kRemark) << remark::add(
      "split into {0} linears at the groups of the input", pieces.size());
  rewriter.replaceOp(op, sum);
}

//===----------------------------------------------------------------------===//
// Output groups
//===----------------------------------------------------------------------===//

/// A bias or another tensor whose last axis is the outputs.
static void sliceOutputs(RewriterBase &rewriter, Value tensor,
                         MutableOperandRange operand, int64_t offset,
                         int64_t size) {
  if (tensor)
    operand.assign(sliceAxis(rewriter, tensor.getLoc(), tensor,
                             getLastDim(tensor), offset, size));
}

/// The rows [offset, offset + size) of the weight, with all that belongs to
/// them.
static void sliceRows(RewriterBase &rewriter, LinearOp op, LinearOp piece,
                      int64_t offset, int64_t size) {
  Location loc = op.getLoc();
  piece.getWeightMutable().assign(
      sliceAxis(rewriter, loc, op.getWeight(), 0, offset, size));
  if (Value scale = op.getWeightScale())
    if (cast<ShapedType>(scale.getType()).getDimSize(0) == op.getNumOutputs())
      piece.getWeightScaleMutable().assign(
          sliceAxis(rewriter, loc, scale, 0, offset, size));
  sliceOutputs(rewriter, op.getBias(), piece.getBiasMutable(), offset, size);
  sliceOutputs(rewriter, op.getSeed(), piece.getSeedMutable(), offset, size);
}

/// The result of `piece` with the parameters of `group`.
static void sliceResult(RewriterBase &rewriter, LinearOp op, LinearOp piece,
                        int64_t group, int64_t offset, int64_t size) {
  Location loc = op.getLoc();
  QuantParams params = *getQuantParams(op, op.getQuantEdges()[1]);
  SmallVector<int64_t> shape(op.getY().getType().getShape());
  shape.back() = size;
  piece.getY().setType(op.getY().getType().clone(shape));
  piece.setYQuantAttr(TypeAttr::get(params.getSliced(offset, size)));
  if (Value scale = op.getYScale())
    piece.getYScaleMutable().assign(
        sliceAxis(rewriter, loc, scale, getLastDim(scale), group, 1));
  if (Value zeroPoint = op.getYZeroPoint())
    piece.getYZeroPointMutable().assign(
        sliceAxis(rewriter, loc, zeroPoint, getLastDim(zeroPoint), group, 1));
}

static void splitOutput(RewriterBase &rewriter, LinearOp op) {
  Location loc = op.getLoc();
  rewriter.setInsertionPoint(op);
  QuantParams params = *getQuantParams(op, op.getQuantEdges()[1]);
  ReifiedRankedShapedTypeDims sizes;
  if (failed(op.reifyResultShapes(rewriter, sizes)))
    return;
  Value whole = tensor::EmptyOp::create(rewriter, loc, sizes.front(),
                                        op.getY().getType().getElementType());
  int64_t offset = 0;
  for (auto [group, size] : llvm::enumerate(params.getGroupSizes())) {
    auto piece = cast<LinearOp>(rewriter.clone(*op));
    rewriter.setInsertionPoint(piece);
    sliceRows(rewriter, op, piece, offset, size);
    sliceResult(rewriter, op, piece, group, offset, size);
    rewriter.setInsertionPoint(op);
    whole = insertLast(rewriter, piece.getY(), whole, offset);
    offset += size;
  }
  remark::passed(loc, kRemark)
      << remark::add("split into {0} linears at the groups of the result",
                     params.getNumGroups());
  if (whole.getType() != op.getY().getType())
    whole = tensor::CastOp::create(rewriter, loc, op.getY().getType(), whole);
  rewriter.replaceOp(op, whole);
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

static bool hasSeveralGroups(LinearOp op, const QuantEdge &edge) {
  std::optional<QuantParams> params = getQuantParams(op, edge);
  return params && params->getNumGroups() > 1;
}

namespace {

struct QtxSplitGroupedLinearPass
    : qtx::impl::QtxSplitGroupedLinearPassBase<QtxSplitGroupedLinearPass> {
  using QtxSplitGroupedLinearPassBase::QtxSplitGroupedLinearPassBase;

  void runOnOperation() override {
    // Outputs first: each of their pieces may still have input groups.
    if (splitOutputs)
      splitEdges(1, splitOutput);
    if (splitInputs)
      splitEdges(0, splitInput);
  }

private:
  void splitEdges(size_t edge, void (*split)(RewriterBase &, LinearOp)) {
    IRRewriter rewriter(&getContext());
    for (LinearOp op : collectOps<LinearOp>(getOperation())) {
      if (!hasSeveralGroups(op, op.getQuantEdges()[edge]))
        continue;
      if (isInQuantizedForm(op))
        remark::missed(op.getLoc(), kRemark) << remark::reason(
            "slices exist in storage form only; run 'qtx-to-storage' first");
      else if (edge == 0 && op.getIntegerJoin())
        remark::missed(op.getLoc(), kRemark)
            << remark::reason("its segments join in integers");
      else
        split(rewriter, op);
    }
  }
};

} // namespace
