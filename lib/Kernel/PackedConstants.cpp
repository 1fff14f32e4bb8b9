//===- PackedConstants.cpp - Constants of kernels -------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PackedConstants.h"
#include "../Dialect/Qtx/Transforms/ConstantUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace qtx;

Value qtx::createResource(OpBuilder &builder, Location loc,
                          RankedTensorType type, ArrayRef<char> bytes) {
  auto attr = DenseResourceElementsAttr::get(
      type, "qtx_packed",
      HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, /*align=*/64,
                                                    /*dataIsMutable=*/false));
  return arith::ConstantOp::create(builder, loc, attr);
}

int64_t qtx::getFinestSegment(ArrayRef<int64_t> joinMultipliers) {
  for (int64_t segment = joinMultipliers.size() - 1; segment > 0; --segment)
    if (joinMultipliers[segment] == 1)
      return segment;
  return 0;
}

template <typename T>
static Value packParams(OpBuilder &builder, Location loc, Type type,
                        const QuantParams &params,
                        function_ref<T(int64_t)> get) {
  SmallVector<int64_t> groups = {0};
  if (params.isGrouped())
    groups = params.getGroupOfChannel();
  SmallVector<T> values = llvm::map_to_vector(groups, get);
  if (llvm::all_equal(values))
    values.resize(1);
  return createTensor<T>(builder, loc, {int64_t(values.size())}, type, values);
}

Value qtx::packReciprocals(OpBuilder &builder, Location loc,
                           const QuantParams &params, float unit) {
  return packParams<float>(
      builder, loc, builder.getF32Type(), params,
      [&](int64_t group) { return unit / params.getScale(group); });
}

Value qtx::packZeroPoints(OpBuilder &builder, Location loc,
                          const QuantParams &params) {
  return packParams<int32_t>(
      builder, loc, builder.getI32Type(), params,
      [&](int64_t group) { return int32_t(params.getZeroPoint(group)); });
}

Value qtx::packInUnits(OpBuilder &builder, Location loc, Value value,
                       float unit) {
  if (!value || unit == 1)
    return value;
  auto constant = ConstantTensor::get(value);
  std::vector<float> values = constant->getFloats();
  for (float &element : values)
    element /= unit;
  return createTensor<float>(builder, loc, constant->getType().getShape(),
                             builder.getF32Type(), values);
}
