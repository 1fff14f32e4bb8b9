//===- DataMovement.cpp - ONNX operators that move elements ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace qtx::onnx;

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

static Lowered lowerTranspose(NodeLowering &b) {
  Tensor x = b.input(0);
  auto permutation = b.node.getIntsAttr("perm");
  if (!permutation)
    permutation =
        llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, x.rank())));
  SmallVector<int64_t> sorted(*permutation);
  llvm::sort(sorted);
  if (!llvm::equal(sorted, llvm::seq<int64_t>(0, x.rank())))
    return b.fail("'perm' is no permutation of the axes");
  return b.transpose(x, *permutation);
}

static Lowered lowerReshape(NodeLowering &b) {
  return b.reshape(b.input(0), b.resultDims());
}

static Lowered lowerExpand(NodeLowering &b) {
  return b.expand(b.input(0), b.resultDims());
}

static Lowered lowerShape(NodeLowering &b) {
  Tensor x = b.input(0);
  int64_t rank = x.rank();
  auto clamp = [&](int64_t axis) {
    return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  int64_t start = clamp(b.node.getIntAttr("start", 0));
  int64_t end = clamp(b.node.getIntAttr("end", rank));
  Scalars s(b.getLoc(), b, b.resultElement());
  SmallVector<Value> sizes;
  for (int64_t axis = start; axis < end; ++axis)
    sizes.push_back(s.fromIndex(b.index(x.dim(axis)), b.getI64Type()));
  Value shape = tensor::FromElementsOp::create(
      b, RankedTensorType::get(int64_t(sizes.size()), b.getI64Type()), sizes);
  return shape;
}

static Lowered lowerSize(NodeLowering &b) {
  Scalars s(b.getLoc(), b, b.resultElement());
  Value count = s.fromIndex(b.count(b.input(0).dims()), b.getI64Type());
  return b.fromScalar(count, b.resultElement());
}

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

static Lowered lowerConcat(NodeLowering &b) {
  SmallVector<Tensor> parts = b.inputs();
  FailureOr<int64_t> axis = b.getAxis(parts.front().rank(), 0);
  if (failed(axis))
    return failure();
  Tensor result = b.empty(b.resultDims(), b.resultElement());
  Value offset = b.index(int64_t(0));
  for (Tensor part : parts) {
    result = b.insert(part, result, *axis, offset);
    offset = addIndex(b, offset, b.index(part.dim(*axis)));
  }
  return result;
}

static Lowered lowerSplit(NodeLowering &b) {
  Tensor x = b.input(0);
  FailureOr<int64_t> axis = b.getAxis(x.rank(), 0);
  if (failed(axis))
    return failure();
  SmallVector<Value> results;
  Value offset = b.index(int64_t(0));
  for (unsigned i = 0; i < b.node.getOutputs().size(); ++i) {
    AffineExpr size = b.resultDims(i)[*axis];
    results.push_back(b.slice(x, *axis, offset, size).value);
    offset = addIndex(b, offset, b.index(size));
  }
  return results;
}

namespace {
/// One axis of a slice: elements start, start + step, ...
struct SliceAxis {
  Value start;
  int64_t step = 1;
};
} // namespace

/// Starts lie within the dimension, but sizes may be at odds with a table's
/// when the model runs, so a start is brought into it.
static FailureOr<SmallVector<SliceAxis>> getSlices(NodeLowering &b) {
  Tensor x = b.input(0);
  SmallVector<SliceAxis> slices(x.rank());
  for (SliceAxis &slice : slices)
    slice.start = b.index(int64_t(0));
  auto axes = b.node.getIntsAttr("axes"), steps = b.node.getIntsAttr("steps");
  SmallVector<AffineExpr> starts = b.getPositions("starts");
  if (!axes || !steps || axes->size() != starts.size() ||
      steps->size() != starts.size() ||
      failed(b.normalizeAxes(*axes, x.rank())))
    return b.fail("'axes', 'steps' and 'starts' do not match");
  for (auto [axis, step, start] : llvm::zip_equal(*axes, *steps, starts)) {
    SliceAxis &slice = slices[axis < 0 ? axis + x.rank() : axis];
    slice.step = step;
    slice.start = maxIndex(b, b.index(start), b.index(int64_t(0)));
  }
  return slices;
}

static Lowered lowerSlice(NodeLowering &b) {
  Tensor x = b.input(0);
  if (NodeLowering::isEmpty(b.resultDims()))
    return b.empty(b.resultDims(), b.resultElement());
  auto slices = getSlices(b);
  if (failed(slices))
    return failure();
  if (llvm::all_of(*slices, [](SliceAxis s) { return s.step > 0; })) {
    SmallVector<OpFoldResult> offsets, strides;
    for (SliceAxis slice : *slices) {
      offsets.push_back(getAsOpFoldResult(slice.start));
      strides.push_back(b.getIndexAttr(slice.step));
    }
    Value part = tensor::ExtractSliceOp::create(
        b, x.value, offsets, b.sizes(b.resultDims()), strides);
    return b.wrap(part, b.resultType());
  }
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        SmallVector<Value> indices;
        for (auto [i, slice] : llvm::zip_equal(at, *slices))
          indices.push_back(arith::AddIOp::create(
              s, slice.start,
              arith::MulIOp::create(
                  s, i, arith::ConstantIndexOp::create(s, slice.step))));
        return NodeLowering::extract(s, x, indices);
      });
}

//===----------------------------------------------------------------------===//
// Padding
//===----------------------------------------------------------------------===//

/// The index into an axis of `size` elements for one that may lie outside.
static Value mapPadIndex(Scalars &s, Value i, Value size, StringRef mode) {
  Value zero = arith::ConstantIndexOp::create(s, 0);
  Value one = arith::ConstantIndexOp::create(s, 1);
  if (mode == "wrap")
    return s.remainder(i, size, /*signOfDividend=*/false);
  Value last = arith::SubIOp::create(s, size, one);
  if (mode == "reflect") {
    // Back and forth has the period 2 * (size - 1).
    Value period = arith::AddIOp::create(s, last, last);
    period = arith::MaxSIOp::create(s, period, one);
    Value at = s.remainder(i, period, /*signOfDividend=*/false);
    Value back = arith::SubIOp::create(s, period, at);
    i = arith::MinSIOp::create(s, at, back);
  }
  return arith::MaxSIOp::create(s, arith::MinSIOp::create(s, i, last), zero);
}

static Value isInside(Scalars &s, Value i, Value size) {
  // Negative indices are large unsigned ones.
  return arith::CmpIOp::create(s, arith::CmpIPredicate::ult, i, size);
}

static Lowered lowerPad(NodeLowering &b) {
  Tensor x = b.input(0);
  StringRef mode = b.node.getStringAttr("mode", "constant");
  SmallVector<AffineExpr> pads = b.getPositions("pads");
  if (int64_t(pads.size()) != 2 * x.rank())
    return b.fail("'pads' does not match the operand");
  SmallVector<Value> low =
      b.indices(ArrayRef<AffineExpr>(pads).take_front(x.rank()));
  Scalars outer(b.getLoc(), b, x.element());
  Value value = b.has(1) ? b.toScalar(b.input(1))
                         : outer.number(getComputeElement(x.element()), 0);
  SmallVector<Value> sizes = b.indices(x.dims());
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        SmallVector<Value> indices;
        Value inside;
        for (auto [i, offset, size] : llvm::zip_equal(at, low, sizes)) {
          Value index = arith::SubIOp::create(s, i, offset);
          Value here = isInside(s, index, size);
          inside = inside ? s.logicalAnd(inside, here) : here;
          indices.push_back(mapPadIndex(s, index, size, mode));
        }
        Value element = NodeLowering::extract(s, x, indices);
        return mode == "constant" && inside ? s.select(inside, element, value)
                                            : element;
      });
}

//===----------------------------------------------------------------------===//
// Rearrangements
//===----------------------------------------------------------------------===//

static Lowered lowerTile(NodeLowering &b) {
  Tensor x = b.input(0);
  SmallVector<Value> sizes = b.indices(x.dims());
  return b.generate(b.resultDims(), b.resultElement(),
                    [&](Scalars &s, ValueRange at) {
                      SmallVector<Value> indices;
                      for (auto [i, size] : llvm::zip_equal(at, sizes))
                        indices.push_back(arith::RemUIOp::create(s, i, size));
                      return NodeLowering::extract(s, x, indices);
                    });
}

/// Blocks of channels become blocks of positions.
static Lowered lowerDepthToSpace(NodeLowering &b) {
  Tensor x = b.input(0);
  SmallVector<AffineExpr> dims = x.dims();
  AffineExpr block = b.constantDim(b.node.getIntAttr("blocksize", 1));
  AffineExpr channels = b.resultDims()[1];
  if (b.node.getStringAttr("mode", "DCR") == "DCR") {
    Tensor parts =
        b.reshape(x, {dims[0], block, block, channels, dims[2], dims[3]});
    return b.reshape(b.transpose(parts, {0, 3, 4, 1, 5, 2}), b.resultDims());
  }
  Tensor parts =
      b.reshape(x, {dims[0], channels, block, block, dims[2], dims[3]});
  return b.reshape(b.transpose(parts, {0, 1, 4, 2, 5, 3}), b.resultDims());
}

static Lowered lowerSpaceToDepth(NodeLowering &b) {
  Tensor x = b.input(0);
  SmallVector<AffineExpr> dims = x.dims(), results = b.resultDims();
  AffineExpr block = b.constantDim(b.node.getIntAttr("blocksize", 1));
  Tensor parts =
      b.reshape(x, {dims[0], dims[1], results[2], block, results[3], block});
  bool isCRD = b.node.getStringAttr("mode", "DCR") == "CRD";
  Tensor moved = isCRD ? b.transpose(parts, {0, 1, 3, 5, 2, 4})
                       : b.transpose(parts, {0, 3, 5, 1, 2, 4});
  return b.reshape(moved, results);
}

/// The first elements of each sequence in reverse order.
static Lowered lowerReverseSequence(NodeLowering &b) {
  Tensor x = b.input(0), lengths = b.input(1);
  FailureOr<int64_t> time = b.getAxis(x.rank(), 0, "time_axis");
  FailureOr<int64_t> batch = b.getAxis(x.rank(), 1, "batch_axis");
  if (failed(time) || failed(batch))
    return failure();
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        SmallVector<Value> indices(at);
        Value one = arith::ConstantIndexOp::create(s, 1);
        Value length =
            s.toIndex(NodeLowering::extract(s, lengths, indices[*batch]));
        Value back = arith::SubIOp::create(
            s, arith::SubIOp::create(s, length, one), at[*time]);
        Value inside = arith::CmpIOp::create(s, arith::CmpIPredicate::slt,
                                             at[*time], length);
        indices[*time] = s.select(inside, back, at[*time]);
        return NodeLowering::extract(s, x, indices);
      });
}

/// Keeps the elements on one side of a diagonal.
static Lowered lowerTrilu(NodeLowering &b) {
  Tensor x = b.input(0);
  bool upper = b.node.getIntAttr("upper", 1) != 0;
  SmallVector<AffineExpr> k = b.getPositions("k");
  Value diagonal = k.empty() ? b.index(int64_t(0)) : b.index(k.front());
  return b.generate(
      b.resultDims(), b.resultElement(), [&](Scalars &s, ValueRange at) {
        Value distance = arith::SubIOp::create(s, at.back(), at[at.size() - 2]);
        Value keeps = arith::CmpIOp::create(
            s, upper ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle,
            distance, diagonal);
        Value element = NodeLowering::extract(s, x, at);
        return s.select(keeps, element, s.number(element.getType(), 0));
      });
}

void qtx::onnx::populateDataMovementLowerings(Lowerings &lowerings) {
  lowerings["Concat"] = lowerConcat;
  lowerings["DepthToSpace"] = lowerDepthToSpace;
  lowerings["Expand"] = lowerExpand;
  lowerings["Pad"] = lowerPad;
  lowerings["Reshape"] = lowerReshape;
  lowerings["ReverseSequence"] = lowerReverseSequence;
  lowerings["Shape"] = lowerShape;
  lowerings["Size"] = lowerSize;
  lowerings["Slice"] = lowerSlice;
  lowerings["SpaceToDepth"] = lowerSpaceToDepth;
  lowerings["Split"] = lowerSplit;
  lowerings["Tile"] = lowerTile;
  lowerings["Transpose"] = lowerTranspose;
  lowerings["Trilu"] = lowerTrilu;
}
