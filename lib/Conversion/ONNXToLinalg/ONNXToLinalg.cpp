//===- ONNXToLinalg.cpp - ONNX nodes to plain operations ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Conversion/ONNXToLinalg/ONNXToLinalg.h"
#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/ONNX/IR/Unsupported.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"

namespace qtx {
#define GEN_PASS_DEF_CONVERTONNXTOLINALGPASS
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx::onnx;

static Lowerings getLowerings() {
  Lowerings lowerings;
  populateAttentionLowerings(lowerings);
  populateCastLowerings(lowerings);
  populateDataMovementLowerings(lowerings);
  populateElementwiseLowerings(lowerings);
  populateGatherScatterLowerings(lowerings);
  populateGeneratorLowerings(lowerings);
  populateLinearLowerings(lowerings);
  populateNormalisationLowerings(lowerings);
  populatePoolingLowerings(lowerings);
  populateQuantizationLowerings(lowerings);
  populateReductionLowerings(lowerings);
  populateResizeLowerings(lowerings);
  populateSortingLowerings(lowerings);
  return lowerings;
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

/// Whether the sizes of `type` are all known, as constants or expressions.
static bool hasSizes(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return isa<NoneType>(type);
  auto map = dyn_cast_or_null<AffineMapAttr>(tensor.getEncoding());
  if (!map)
    return !tensor.getEncoding() && tensor.hasStaticShape();
  return map.getValue().getNumDims() == 0 &&
         map.getValue().getNumResults() == tensor.getRank();
}

/// Whether elements of this type can be held.
static bool hasPlainElements(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return true;
  Type element = tensor.getElementType();
  return element.isF16() || element.isBF16() || element.isF32() ||
         element.isF64() || isByteFloat(element) ||
         (isa<IntegerType>(element) &&
          cast<IntegerType>(element).getWidth() <= 64);
}

static bool isPlainType(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return !tensor || !hasPlainElements(type) || tensor == getPlainType(tensor);
}

/// Whether nothing of ONNX is left in `function`.
static bool isPlain(func::FuncOp function) {
  auto result = function.walk([](Operation *op) {
    bool isLeft = isa_and_present<ONNXDialect>(op->getDialect()) ||
                  !llvm::all_of(op->getResultTypes(), isPlainType);
    return isLeft ? WalkResult::interrupt() : WalkResult::advance();
  });
  return !result.wasInterrupted() &&
         llvm::all_of(function.getArgumentTypes(), isPlainType);
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

namespace {
/// Lowers the nodes of one function.
class FunctionLowering {
public:
  FunctionLowering(func::FuncOp function, const Lowerings &lowerings)
      : function(function), lowerings(lowerings),
        builder(function.getContext()) {}

  void run() {
    Block &entry = function.getBody().front();
    addPlainArguments(entry);
    for (Operation &op : entry)
      lowerOperation(&op);
    if (!leftovers.empty())
      return;
    replaceOldValues(entry);
    updateType();
  }

  /// Nodes without lowering.
  const UnsupportedOperators &getLeftovers() const { return leftovers; }

private:
  void addPlainArguments(Block &entry);
  void lowerOperation(Operation *op);
  bool forwardCast(Operation *op);
  void lowerNode(NodeOp node);
  void addLeftover(NodeOp node, StringRef reason);
  void skipUnsupported(UnsupportedOp node);
  Value createMissing(Location loc, RankedTensorType type);
  SmallVector<Value> createResults(NodeOp node, NodeLowering &lowering);
  void replaceConstant(arith::ConstantOp constant);
  void replaceOldValues(Block &entry);
  void updateType();

  /// `value` stands for `old` from here on.
  void set(Value old, Value value) {
    lowered[old] = value;
    if (auto type = dyn_cast<RankedTensorType>(old.getType()))
      if (hasSizes(type))
        symbols.bindAll(type, value);
  }

  func::FuncOp function;
  const Lowerings &lowerings;
  OpBuilder builder;
  SymbolValues symbols;
  DenseMap<Value, Value> lowered;
  SmallVector<Operation *> toErase;
  UnsupportedOperators leftovers;
  unsigned numArguments = 0;
};
} // namespace

/// Arguments without encodings behind those with them.
void FunctionLowering::addPlainArguments(Block &entry) {
  numArguments = entry.getNumArguments();
  for (unsigned i = 0; i < numArguments; ++i) {
    BlockArgument old = entry.getArgument(i);
    auto type = dyn_cast<RankedTensorType>(old.getType());
    bool isTensor = type && hasPlainElements(type);
    Type plain = isTensor ? Type(getPlainType(type)) : old.getType();
    set(old, entry.addArgument(plain, old.getLoc()));
    if (isTensor && type.getElementType().isUnsignedInteger())
      function.setArgAttr(i, qtx::kUnsignedAttrName, builder.getUnitAttr());
  }
}

/// Casts between types that differ in what is dropped here are no operations.
bool FunctionLowering::forwardCast(Operation *op) {
  if (!isa<UnrealizedConversionCastOp, tensor::CastOp>(op) ||
      op->getNumOperands() != 1 || op->getNumResults() != 1)
    return false;
  auto from = dyn_cast<RankedTensorType>(op->getOperand(0).getType());
  auto to = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!from || !to || (isPlainType(from) && isPlainType(to)) ||
      !hasPlainElements(from) || !hasPlainElements(to))
    return false;
  builder.setInsertionPoint(op);
  Value value = lowered.lookup(op->getOperand(0));
  if (value.getType() != getPlainType(to))
    value =
        tensor::CastOp::create(builder, op->getLoc(), getPlainType(to), value);
  set(op->getResult(0), value);
  toErase.push_back(op);
  return true;
}

/// Constants of unsigned integers become signless.
void FunctionLowering::replaceConstant(arith::ConstantOp constant) {
  auto type = dyn_cast<RankedTensorType>(constant.getType());
  if (!type || isPlainType(type)) {
    set(constant, constant);
    return;
  }
  RankedTensorType plain = getPlainType(type);
  TypedAttr attr;
  if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue()))
    attr = cast<TypedAttr>(dense.bitcast(plain.getElementType()));
  else if (auto resource =
               dyn_cast<DenseResourceElementsAttr>(constant.getValue()))
    attr = DenseResourceElementsAttr::get(plain, resource.getRawHandle());
  if (!attr) {
    set(constant, constant);
    return;
  }
  builder.setInsertionPoint(constant);
  set(constant,
      arith::ConstantOp::create(builder, constant.getLoc(), plain, attr));
  toErase.push_back(constant);
}

/// Whether a node reads floats of 8 bits as numbers, or only moves them.
static bool takesByteFloats(NodeOp node) {
  return llvm::is_contained({"BitCast", "Cast", "Concat", "DequantizeLinear",
                             "Expand", "Gather", "QuantizeLinear", "Reshape",
                             "Slice", "Split", "Transpose"},
                            node.getOpType());
}

SmallVector<Value> FunctionLowering::createResults(NodeOp node,
                                                   NodeLowering &lowering) {
  bool takesBytes = takesByteFloats(node);
  auto isSupportedType = [&](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return hasPlainElements(type) &&
           (takesBytes || !tensor || !isByteFloat(tensor.getElementType()));
  };
  bool isSupported = llvm::all_of(node->getOperandTypes(), isSupportedType) &&
                     llvm::all_of(node->getResultTypes(), isSupportedType);
  StringRef domain = node.getDomain().value_or("");
  std::string name =
      (domain + (domain.empty() ? "" : ".") + node.getOpType()).str();
  auto found = lowerings.find(name);
  if (found == lowerings.end() || !isSupported) {
    addLeftover(node, isSupported ? "" : "elements that are not computed with");
    return {};
  }
  Lowered results = found->second(lowering);
  if (results.hasFailed() || symbols.takeMissing()) {
    addLeftover(node, results.hasFailed() ? lowering.getReason()
                                          : "a size that no value has");
    return {};
  }
  return SmallVector<Value>(results.getResults());
}

/// The name of a node: that of its location.
static StringRef getName(Operation *node) {
  auto name = node->getLoc()->findInstanceOf<NameLoc>();
  return name ? name.getName().getValue() : StringRef();
}

void FunctionLowering::addLeftover(NodeOp node, StringRef reason) {
  leftovers.add(node.getOpType(), node.getDomain().value_or(""), reason,
                getName(node));
}

/// Stands for a value that nothing computes, so that nodes behind it are still
/// looked at.
Value FunctionLowering::createMissing(Location loc, RankedTensorType type) {
  Type plain = hasPlainElements(type) ? getPlainType(type) : type;
  return UnrealizedConversionCastOp::create(builder, loc, plain, ValueRange())
      .getResult(0);
}

/// A node that the import refused already.
void FunctionLowering::skipUnsupported(UnsupportedOp node) {
  leftovers.add(node.getOpType(), node.getDomain().value_or(""),
                node.getReason().value_or(""), getName(node));
  builder.setInsertionPoint(node);
  for (Value output : node.getOutputs())
    set(output,
        createMissing(node.getLoc(), cast<RankedTensorType>(output.getType())));
}

void FunctionLowering::lowerNode(NodeOp node) {
  builder.setInsertionPoint(node);
  NodeLowering lowering(node, builder, symbols, lowered);
  SmallVector<Value> results = createResults(node, lowering);
  for (auto [i, output] : llvm::enumerate(node.getOutputs())) {
    auto type = dyn_cast<RankedTensorType>(output.getType());
    if (!type)
      continue;
    Value value = i < results.size() ? results[i] : Value();
    if (!value) {
      if (!output.use_empty() && !results.empty())
        addLeftover(node, "a result that is not computed");
      value = createMissing(node.getLoc(), type);
    }
    if (hasPlainElements(type) && value.getType() != getPlainType(type))
      value = tensor::CastOp::create(builder, node.getLoc(), getPlainType(type),
                                     value);
    set(output, value);
  }
  toErase.push_back(node);
}

void FunctionLowering::lowerOperation(Operation *op) {
  if (auto node = dyn_cast<NodeOp>(op))
    return lowerNode(node);
  if (auto node = dyn_cast<UnsupportedOp>(op))
    return skipUnsupported(node);
  if (auto none = dyn_cast<NoneOp>(op)) {
    toErase.push_back(none);
    return;
  }
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return replaceConstant(constant);
  if (forwardCast(op))
    return;
  for (Value result : op->getResults())
    set(result, result);
  for (Region &region : op->getRegions())
    region.walk([&](NodeOp node) { addLeftover(node, "a nested region"); });
}

void FunctionLowering::replaceOldValues(Block &entry) {
  for (auto [old, value] : lowered)
    if (old != value)
      old.replaceAllUsesWith(value);
  for (Operation *op : llvm::reverse(toErase))
    op->erase();
  entry.eraseArguments(0, numArguments);
}

void FunctionLowering::updateType() {
  Operation *terminator = function.getBody().front().getTerminator();
  for (auto [i, type] : llvm::enumerate(function.getResultTypes())) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (tensor && tensor.getElementType().isUnsignedInteger())
      function.setResultAttr(i, qtx::kUnsignedAttrName, builder.getUnitAttr());
  }
  function.setFunctionType(
      builder.getFunctionType(function.getBody().front().getArgumentTypes(),
                              terminator->getOperandTypes()));
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

static void remarkNodes(func::FuncOp function) {
  auto options = remark::RemarkOpts::name("ONNXToLinalg")
                     .category("convert-onnx-to-linalg");
  function.walk([&](NodeOp node) {
    remark::passed(node.getLoc(), options)
        << remark::add("lowered '{0}' by itself", node.getOpType());
  });
}

static LogicalResult lowerFunction(func::FuncOp function,
                                   const Lowerings &lowerings) {
  if (function.isExternal() || isPlain(function))
    return success();
  remarkNodes(function);
  FunctionLowering lowering(function, lowerings);
  lowering.run();
  if (lowering.getLeftovers().empty())
    return success();
  return lowering.getLeftovers().report(function.getLoc());
}

namespace {
struct ConvertONNXToLinalgPass
    : qtx::impl::ConvertONNXToLinalgPassBase<ConvertONNXToLinalgPass> {
  LogicalResult initialize(MLIRContext *) override {
    lowerings = getLowerings();
    return success();
  }

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(lowerFunction(function, lowerings)))
        return signalPassFailure();
  }

  Lowerings lowerings;
};
} // namespace
