//===- MatrixUtils.cpp - Memrefs as matrices ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace qtx;

/// All dimensions but the last in one.
static SmallVector<ReassociationIndices> getMatrixReassociation(int64_t rank) {
  SmallVector<ReassociationIndices> result(2);
  for (int64_t dim = 0; dim < rank - 1; ++dim)
    result[0].push_back(dim);
  result[1].push_back(rank - 1);
  return result;
}

static int64_t getRank(Value value) {
  return cast<MemRefType>(value.getType()).getRank();
}

static bool isMatrix(Value value) {
  return !value || getRank(value) <= 2 ||
         memref::CollapseShapeOp::isGuaranteedCollapsible(
             cast<MemRefType>(value.getType()),
             getMatrixReassociation(getRank(value)));
}

static Value toMatrix(ImplicitLocOpBuilder &builder, Value value) {
  if (!value || getRank(value) == 2)
    return value;
  if (getRank(value) > 2)
    return memref::CollapseShapeOp::create(
        builder, value, getMatrixReassociation(getRank(value)));
  auto type = cast<MemRefType>(value.getType());
  SmallVector<ReassociationIndices> reassociation = {{0, 1}};
  SmallVector<OpFoldResult> sizes = {
      builder.getIndexAttr(1),
      memref::getMixedSize(builder, builder.getLoc(), value, 0)};
  return memref::ExpandShapeOp::create(builder,
                                       ArrayRef<int64_t>{1, type.getDimSize(0)},
                                       value, reassociation, sizes);
}

/// `value` without its first dimension, at `index`.
static Value dropFirst(ImplicitLocOpBuilder &builder, Value value,
                       Value index) {
  if (!value)
    return value;
  int64_t rank = getRank(value);
  SmallVector<OpFoldResult> offsets(rank, builder.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(rank, builder.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes =
      memref::getMixedSizes(builder, builder.getLoc(), value);
  offsets[0] = index;
  sizes[0] = builder.getIndexAttr(1);
  auto source = cast<MemRefType>(value.getType());
  auto type = memref::SubViewOp::inferRankReducedResultType(
      source.getShape().drop_front(), source, offsets, sizes, strides);
  return memref::SubViewOp::create(builder, type, value, offsets, sizes,
                                   strides);
}

void qtx::forEachMatrix(
    ImplicitLocOpBuilder &builder, ValueRange values,
    function_ref<void(ImplicitLocOpBuilder &, ValueRange)> body) {
  if (llvm::all_of(values, isMatrix)) {
    SmallVector<Value> matrices;
    for (Value value : values)
      matrices.push_back(toMatrix(builder, value));
    body(builder, matrices);
    return;
  }
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  Value one = arith::ConstantIndexOp::create(builder, 1);
  Value size = memref::DimOp::create(builder, values.front(), 0);
  auto loop = scf::ForOp::create(builder, zero, size, one);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(loop.getBody()->getTerminator());
  SmallVector<Value> inner;
  for (Value value : values)
    inner.push_back(dropFirst(builder, value, loop.getInductionVar()));
  forEachMatrix(builder, inner, body);
}
