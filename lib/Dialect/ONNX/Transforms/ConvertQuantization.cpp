//===- ConvertQuantization.cpp - Models that are quantized already --------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CodedConstant.h"
#include "Matchers.h"
#include "QuantizationPairs.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/ONNX/Transforms/Passes.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include <cmath>

namespace qtx {
#define GEN_PASS_DEF_ONNXCONVERTQUANTIZATIONPASS
#include "qtx/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;
using namespace qtx::onnx;

static constexpr auto kRemark = remark::RemarkOpts::name("ConvertQuantization")
                                    .category("onnx-convert-quantization");

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

namespace {
/// A product with a coded constant.
struct CodedLinear {
  NodeOp product;
  Value x;
  CodedMatrix weight;
  /// What is added; null if nothing is.
  Value bias;
  /// What the layer computes.
  Value y;
};
} // namespace

/// The vector of floats that `value` is; null if it is none.
static Value getBias(Value value, int64_t outputs) {
  auto view = ConstantView::get(strip(value));
  bool isVector = view && view->getType().getElementType().isF32() &&
                  view->getNumElements() == outputs &&
                  view->getType().getRank() > 0 &&
                  view->getType().getShape().back() == outputs;
  return isVector ? strip(value) : Value();
}

/// Takes the bias of a `Gemm`, or the `Add` of one behind the product.
static bool takeBias(CodedLinear &linear) {
  int64_t outputs = linear.weight.getNumOutputs();
  if (Value c = linear.product.is("Gemm") ? linear.product.getOptionalInput(2)
                                          : Value()) {
    linear.bias = getBias(c, outputs);
    return bool(linear.bias);
  }
  NodeOp sum = getOnlyUser(linear.y);
  if (!sum || !sum.is("Add") || !haveSameDims(linear.y, sum.getOutputs()[0]))
    return true;
  for (unsigned index : {0, 1})
    if (strip(sum.getInputs()[index]) == strip(linear.y))
      linear.bias = getBias(sum.getInputs()[1 - index], outputs);
  if (linear.bias)
    linear.y = sum.getOutputs()[0];
  return true;
}

/// The product as a layer; nothing if it cannot be one.
static std::optional<CodedLinear> getCodedLinear(NodeOp node) {
  bool isGemm = node.is("Gemm");
  if (!isGemm && !node.is("MatMul"))
    return std::nullopt;
  Value x = node.getInputs()[0];
  bool isPlain = node.getIntAttr("transA", 0) == 0 &&
                 node.getFloatAttr("alpha", 1) == 1 &&
                 node.getFloatAttr("beta", 1) == 1;
  if (!isPlain || !isF32(x) || getRank(x) < 2)
    return std::nullopt;
  Value matrix = strip(node.getInputs()[1]);
  bool isTransposed = !node.getIntAttr("transB", 0);
  if (Value source = getTransposed(matrix, {1, 0})) {
    matrix = strip(source);
    isTransposed = !isTransposed;
  }
  std::optional<CodedConstant> coded =
      CodedConstant::get(getNode(matrix, "DequantizeLinear"));
  auto weight = coded ? CodedMatrix::get(*coded, isTransposed) : std::nullopt;
  if (!weight)
    return std::nullopt;
  CodedLinear linear{node, x, std::move(*weight), Value(),
                     node.getOutputs()[0]};
  if (!takeBias(linear))
    return std::nullopt;
  return linear;
}

/// A layer with 4 or 8 bits per weight in blocks, as ONNX Runtime writes it.
static std::optional<CodedLinear> getPackedLinear(NodeOp node) {
  if (node.getOpType() != "MatMulNBits" ||
      node.getDomain() != StringRef("com.microsoft") ||
      node.getInputs().size() < 3 || !isF32(node.getInputs()[0]) ||
      getRank(node.getInputs()[0]) < 2 || node.getOptionalInput(4))
    return std::nullopt;
  auto weight = CodedMatrix::getPacked(node);
  if (!weight)
    return std::nullopt;
  CodedLinear linear{node, node.getInputs()[0], std::move(*weight), Value(),
                     node.getOutputs()[0]};
  if (Value bias = node.getOptionalInput(5)) {
    linear.bias = getBias(bias, linear.weight.getNumOutputs());
    if (!linear.bias)
      return std::nullopt;
    return linear;
  }
  takeBias(linear);
  return linear;
}

/// The codes that `x` was before it became float, if it has one scale and
/// products with the weight can be added in 32 bits; else `x`.
static Value getCodes(Value x, const CodedMatrix &weight) {
  auto dequantize = strip(x).getDefiningOp<DequantizeOp>();
  if (!dequantize || !isa<quant::UniformQuantizedType>(
                         getElementTypeOrSelf(dequantize.getX().getType())))
    return x;
  // The largest product of 8 bits is 255 * 128.
  constexpr int64_t maxDepth =
      std::numeric_limits<int32_t>::max() / (255 * 128);
  return weight.getDepth() <= maxDepth ? dequantize.getX() : x;
}

static void createLinear(CodedLinear &linear) {
  OpBuilder builder(linear.y.getDefiningOp());
  Location loc = linear.product.getLoc();
  Value codes = getCodes(linear.x, linear.weight);
  Value x = getPlain(builder, codes);
  Value bias;
  int64_t outputs = linear.weight.getNumOutputs();
  if (linear.bias)
    bias = materializeRange(builder, linear.bias.getLoc(),
                            *ConstantView::get(linear.bias), {outputs});
  auto y = dropDims(cast<RankedTensorType>(linear.y.getType()));
  Value weight = linear.weight.createCodes(builder, loc);
  Value scale = linear.weight.createScales(builder, loc);
  auto op = LinearOp::create(
      builder, loc, y, x, /*x_scale=*/Value(), /*x_zero_point=*/Value(), weight,
      scale, bias, /*seed=*/Value(), /*y_scale=*/Value(),
      /*y_zero_point=*/Value(), /*x_quant=*/TypeAttr(),
      linear.weight.block == 0 ? IntegerAttr()
                               : builder.getI64IntegerAttr(linear.weight.block),
      /*integer_join=*/false, Activation::None, /*y_quant=*/TypeAttr());
  replace(builder, linear.y, op.getY());
  remark::passed(loc, kRemark)
      << (codes == linear.x ? "found qtx.linear with the model's weight codes"
                            : "found qtx.linear on codes");
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

/// Whether a product, perhaps behind a transposition, reads `value` as its
/// weight.
static bool isWeight(Value value) {
  return llvm::any_of(value.getUses(), [](OpOperand &use) {
    auto node = dyn_cast<NodeOp>(use.getOwner());
    if (node && node.is("Transpose"))
      return isWeight(node.getOutputs()[0]);
    return node && (node.is("MatMul") || node.is("Gemm")) &&
           use.getOperandNumber() == 1;
  });
}

/// A constant that is decoded becomes floats.
static void decode(NodeOp node) {
  std::optional<CodedConstant> coded = CodedConstant::get(node);
  if (!coded)
    return;
  bool hasZeroPoints =
      llvm::any_of(coded->zeroPoints, [](int32_t zero) { return zero != 0; });
  remark::missed(node.getLoc(), kRemark) << remark::reason(
      "{0}", isWeight(node.getOutputs()[0]) && hasZeroPoints
                 ? "decoded a weight whose codes do not fit 8 bits without "
                   "their zero points"
                 : "decoded a constant that is no weight of a layer");
  OpBuilder builder(node);
  node.getOutputs()[0].replaceAllUsesWith(
      coded->createFloats(builder, node.getLoc()));
  node->erase();
}

static void eraseUnused(func::FuncOp func) {
  SmallVector<Operation *> ops;
  func.walk([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : llvm::reverse(ops))
    if (isOpTriviallyDead(op))
      op->erase();
}

/// Encodes constants, and decodes those that are no weights, in the order of
/// the graph: what is encoded may be decoded, and encoded again.
static void foldConstants(func::FuncOp func) {
  for (NodeOp node : getNodes(func)) {
    if (node.is("QuantizeLinear")) {
      OpBuilder builder(node);
      if (Value codes = encodeConstant(builder, node))
        node.getOutputs()[0].replaceAllUsesWith(codes);
    }
    if (node.is("DequantizeLinear") && !isWeight(node.getOutputs()[0]))
      decode(node);
  }
  eraseUnused(func);
}

static void convertWeights(func::FuncOp func) {
  for (NodeOp node : getNodes(func)) {
    std::optional<CodedLinear> linear = getCodedLinear(node);
    if (!linear)
      linear = getPackedLinear(node);
    if (linear)
      createLinear(*linear);
  }
  eraseUnused(func);
  for (NodeOp node : getNodes(func))
    if (node.is("DequantizeLinear"))
      decode(node);
}

namespace {

struct ONNXConvertQuantizationPass
    : qtx::impl::ONNXConvertQuantizationPassBase<ONNXConvertQuantizationPass> {
  void runOnOperation() override {
    foldConstants(getOperation());
    convertPairs(getOperation());
    convertWeights(getOperation());
    eraseUnused(getOperation());
  }
};

} // namespace
