//===- QuantizationRules.cpp - ONNX operators that quantize -------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "Tensors.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::importer;

/// Brings `axis` and `block_size` into the form that the rank of the scale asks
/// for: none for one scale, an axis for one per slice, both for one per block.
static LogicalResult normalizeScale(Node &node) {
  int64_t scaleRank = node.getRank(1), rank = node.getRank();
  int64_t block = node.getInt("block_size", 0);
  bool isScalar = scaleRank == 0 || (scaleRank == 1 && block == 0 &&
                                     getConstant(node.getDims(1)[0]) == 1);
  if (isScalar) {
    node.attributes.erase("axis");
    node.attributes.erase("block_size");
    return success();
  }
  if (node.hasInput(2) && node.getRank(2) != scaleRank)
    return node.emitError() << "expected a zero point of the scale's shape";
  FailureOr<int64_t> axis = node.normalizeAxis(node.getInt("axis", 1), rank);
  if (failed(axis))
    return failure();
  node.setInt("axis", *axis);
  if (block == 0) {
    node.attributes.erase("block_size");
    if (failed(node.expectRank(1, 1)))
      return failure();
    return node.expectEqual(node.getDims()[*axis], node.getDims(1)[0]);
  }
  if (failed(node.expectRank(1, rank)))
    return failure();
  if (block < 0)
    return node.emitError() << "expected blocks of at least 1, found " << block;
  Dims expected = node.getDims(), found = node.getDims(1);
  expected[*axis] = node.sizes().ceilDiv(expected[*axis], block);
  for (auto [left, right] : llvm::zip_equal(expected, found))
    if (failed(node.expectEqual(left, right)))
      return failure();
  return success();
}

static LogicalResult inferQuantizeLinear(Node &node) {
  if (failed(normalizeScale(node)))
    return failure();
  MLIRContext *context = node.builder.getContext();
  int64_t given = node.getInt("output_dtype", 0);
  Type type = IntegerType::get(context, 8, IntegerType::Unsigned);
  if (node.hasInput(2))
    type = node.getElementType(2);
  else if (given != 0)
    type = getElementType(given, context);
  if (!type)
    return node.unsupported("output_dtype " + Twine(given));
  node.attributes.erase("output_dtype");
  return node.infer(node.getDims(), type);
}

static LogicalResult inferDequantizeLinear(Node &node) {
  if (failed(normalizeScale(node)))
    return failure();
  MLIRContext *context = node.builder.getContext();
  int64_t given = node.getInt("output_dtype", 0);
  Type type =
      given == 0 ? node.getElementType(1) : getElementType(given, context);
  if (!type)
    return node.unsupported("output_dtype " + Twine(given));
  node.attributes.erase("output_dtype");
  return node.infer(node.getDims(), type);
}

static LogicalResult inferDynamicQuantizeLinear(Node &node) {
  Type type =
      IntegerType::get(node.builder.getContext(), 8, IntegerType::Unsigned);
  if (failed(node.infer(node.getDims(), type, 0)) ||
      failed(node.infer({}, node.builder.getF32Type(), 1)))
    return failure();
  return node.infer({}, type, 2);
}

void qtx::importer::addQuantizationRules(RuleTable &rules) {
  for (StringRef domain : {"", "com.microsoft::"}) {
    rules[(domain + "QuantizeLinear").str()] = {2, 3, 1, inferQuantizeLinear};
    rules[(domain + "DequantizeLinear").str()] = {2, 3, 1,
                                                  inferDequantizeLinear};
  }
  rules["DynamicQuantizeLinear"] = {1, 1, 3, inferDynamicQuantizeLinear};
}
