//===- ReductionRules.cpp - ONNX operators along axes -------------------===//
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

/// The axes of an operator that has them as an input since version `inputSince`
/// and as an attribute before. Nothing if it has none; unsupported if they are
/// not constant.
static FailureOr<std::optional<SmallVector<int64_t>>>
takeAxes(Node &node, int64_t inputSince) {
  if (node.version < inputSince)
    return node.getIntList("axes");
  if (!node.hasInput(1))
    return std::optional<SmallVector<int64_t>>();
  std::optional<SmallVector<int64_t>> axes = node.getInts(1);
  if (!axes)
    return node.unsupported("axes that are not constant");
  return axes;
}

static Dims reduceDims(Node &node, ArrayRef<int64_t> axes, bool keepsDims) {
  Dims result;
  for (auto [axis, size] : llvm::enumerate(node.getDims()))
    if (!llvm::is_contained(axes, axis))
      result.push_back(size);
    else if (keepsDims)
      result.push_back(node.sizes().get(1));
  return result;
}

static LogicalResult inferReductionSince(Node &node, int64_t inputSince) {
  auto taken = takeAxes(node, inputSince);
  if (failed(taken))
    return failure();
  int64_t rank = node.getRank();
  bool hasNone = !*taken || (*taken)->empty();
  if (hasNone && node.getInt("noop_with_empty_axes", 0) != 0)
    return node.replace(node.inputs[0]);
  FailureOr<SmallVector<int64_t>> axes =
      hasNone ? llvm::to_vector(llvm::seq<int64_t>(0, rank))
              : node.normalizeAxes(**taken, rank);
  if (failed(axes))
    return failure();
  llvm::sort(*axes);
  bool keepsDims = node.getInt("keepdims", 1) != 0;
  const Contents *contents = node.getContents(0);
  node.keepInputs(1);
  node.attributes.erase("noop_with_empty_axes");
  node.setInts("axes", *axes);
  node.setInt("keepdims", keepsDims);
  if (failed(node.infer(reduceDims(node, *axes, keepsDims),
                        node.getElementType())))
    return failure();
  std::optional<Contents> folded =
      contents ? foldReduction(node.op, *contents, *axes, node.types[0],
                               node.sizes())
               : std::nullopt;
  return folded ? node.fold(std::move(*folded)) : success();
}

static LogicalResult inferReduceSum(Node &node) {
  return inferReductionSince(node, 13);
}

static LogicalResult inferReduction(Node &node) {
  return inferReductionSince(node, 18);
}

static LogicalResult inferArgMax(Node &node) {
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", 0), node.getRank());
  if (failed(axis))
    return failure();
  bool keepsDims = node.getInt("keepdims", 1) != 0;
  node.setInt("axis", *axis);
  node.setInt("keepdims", keepsDims);
  return node.infer(reduceDims(node, *axis, keepsDims),
                    node.builder.getI64Type());
}

static LogicalResult inferSoftmax(Node &node) {
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", -1), node.getRank());
  if (failed(axis))
    return failure();
  node.setInt("axis", *axis);
  return node.infer(node.getDims(), node.getElementType());
}

static LogicalResult inferCumulative(Node &node) {
  std::optional<SmallVector<int64_t>> axes = node.getInts(1);
  if (!axes || axes->size() != 1)
    return node.unsupported("axis that is not constant");
  FailureOr<int64_t> axis = node.normalizeAxis(axes->front(), node.getRank());
  if (failed(axis))
    return failure();
  node.keepInputs(1);
  node.setInt("axis", *axis);
  return node.infer(node.getDims(), node.getElementType());
}

static LogicalResult inferTopK(Node &node) {
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", -1), node.getRank());
  if (failed(axis))
    return failure();
  std::optional<Dims> count = node.getSizes(1);
  if (count && count->size() != 1)
    return node.emitError() << "expected one number k, found " << count->size();
  Dims dims = node.getDims();
  if (!count || !count->front())
    return node.unsupported("k that is not a function of sizes");
  dims[*axis] = count->front();
  node.keepInputs(1);
  node.setInt("axis", *axis);
  if (failed(node.infer(dims, node.getElementType(), 0)))
    return failure();
  return node.infer(dims, node.builder.getI64Type(), 1);
}

void qtx::importer::addReductionRules(RuleTable &rules) {
  for (StringRef op :
       {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
        "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"})
    rules[op] = {1, 2, 1, inferReduction};
  rules["ReduceSum"] = {1, 2, 1, inferReduceSum};
  for (StringRef op : {"ArgMax", "ArgMin"})
    rules[op] = {1, 1, 1, inferArgMax};
  for (StringRef op : {"Softmax", "LogSoftmax", "Hardmax", "LpNormalization"})
    rules[op] = {1, 1, 1, inferSoftmax};
  for (StringRef op : {"CumProd", "CumSum"})
    rules[op] = {2, 2, 1, inferCumulative};
  rules["TopK"] = {2, 2, 2, inferTopK};
}
