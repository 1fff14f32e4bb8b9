//===- FoldPermute.cpp - Fold permutations of channels --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ChannelOrder.h"
#include "ConstantUtils.h"
#include "RewriteUtils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/TypeUtilities.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"
#include "qtx/Dialect/Qtx/IR/QuantizationOps.h"
#include "qtx/Dialect/Qtx/Transforms/Contracts.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "llvm/ADT/SetVector.h"

namespace qtx {
#define GEN_PASS_DEF_QTXFOLDPERMUTEPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("FoldPermute").category("qtx-fold-permute");

//===----------------------------------------------------------------------===//
// Permutations
//===----------------------------------------------------------------------===//

/// The constant indices of a permutation of channels.
static std::optional<SmallVector<int64_t>> getChannelIndices(Operation *op) {
  auto permute = dyn_cast_or_null<PermuteOp>(op);
  if (!permute || permute.getAxis() != uint64_t(-1))
    return std::nullopt;
  auto indices = permute.getConstantIndices();
  // A resource may hold less than its type says.
  if (!indices ||
      int64_t(indices->size()) != permute.getX().getType().getShape().back())
    return std::nullopt;
  return indices;
}

static SmallVector<int64_t> invert(ArrayRef<int64_t> indices) {
  SmallVector<int64_t> inverse(indices.size());
  for (auto [position, index] : llvm::enumerate(indices))
    inverse[index] = position;
  return inverse;
}

/// `outer[inner[i]]`
static SmallVector<int64_t> compose(ArrayRef<int64_t> outer,
                                    ArrayRef<int64_t> inner) {
  return llvm::map_to_vector(inner, [&](int64_t i) { return outer[i]; });
}

static bool isIdentity(ArrayRef<int64_t> indices) {
  return llvm::all_of(llvm::enumerate(indices), [](auto entry) {
    return entry.value() == int64_t(entry.index());
  });
}

//===----------------------------------------------------------------------===//
// Reordering
//===----------------------------------------------------------------------===//

namespace {

/// Stores the channels of a set of tensors in another order: channel i of each
/// is what channel `order[i]` was. The set is closed: every operation that
/// makes or uses one of its tensors either has its other tensors in the set as
/// well, or takes in the order through its constants, or is a permutation.
class Reordering {
public:
  explicit Reordering(SmallVector<int64_t> order) : order(std::move(order)) {}

  /// Grows the set from `value`. False if it cannot be closed; see
  /// `getBlocker`.
  bool plan(Value value) {
    enqueue(value);
    for (size_t next = 0; next < values.size() && blocker.empty(); ++next)
      visit(values[next]);
    for (size_t next = 0; next < ops.size() && blocker.empty(); ++next)
      checkEdges(ops[next]);
    return blocker.empty();
  }

  /// The element type of `type` in the new order.
  Type reorderElementType(RankedTensorType type) const {
    auto params = QuantParams::get(type.getElementType());
    if (!params || !hasGroupsOnLastAxis(*params))
      return type.getElementType();
    return reorderGroups(*params, order).type;
  }

  bool check(bool condition, StringRef otherwise) {
    if (!condition && blocker.empty())
      blocker = otherwise.str();
    return condition;
  }

  bool contains(Value value) const { return values.contains(value); }
  StringRef getBlocker() const { return blocker; }
  size_t getNumTensors() const { return values.size(); }

  /// Reorders everything; after a successful plan only.
  void apply(RewriterBase &rewriter);

private:
  //===--- Plan ---===//

  void block(Operation *op, const Twine &reason) {
    if (blocker.empty())
      blocker = ("'" + op->getName().getStringRef() + "' " + reason).str();
  }

  void enqueue(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type || type.getRank() == 0 ||
        type.getShape().back() != int64_t(order.size()))
      blocker = "a tensor has other channels";
    else
      values.insert(value);
  }

  void visit(Value value) {
    if (Operation *op = value.getDefiningOp())
      visitDefinition(op, value);
    else
      block(value.getParentBlock()->getParentOp(),
            "fixes the order of its arguments");
    for (OpOperand &use : value.getUses())
      visitUse(use);
  }

  void visitDefinition(Operation *op, Value value) {
    ops.insert(op);
    if (getChannelIndices(op))
      return;
    std::optional<ChannelwiseOp> channels = getChannelwise(op);
    if (!channels || channels->result != value)
      return block(op, "fixes the order of its result");
    for (auto [operand, axis] : channels->constants)
      if (!ConstantTensor::isConstant(operand->get()))
        return block(op, "has weights or parameters that are not constant");
    // Constants get a copy in the new order instead.
    for (OpOperand *operand : channels->moving)
      if (!ConstantTensor::isConstant(operand->get()))
        enqueue(operand->get());
  }

  void visitUse(OpOperand &use) {
    Operation *op = use.getOwner();
    if (isa<tensor::DimOp>(op))
      return;
    ops.insert(op);
    if (use.getOperandNumber() == 0 && getChannelIndices(op))
      return;
    if (auto reader = getReader(use))
      return visitReader(op, *reader);
    std::optional<ChannelwiseOp> channels = getChannelwise(op);
    if (!channels || !llvm::is_contained(channels->moving, &use))
      return block(op, "fixes the order of its operand");
    enqueue(channels->result);
  }

  /// The contracted axis: the columns of the weight.
  void visitReader(Operation *op, const ChannelReader &reader) {
    if (!reader.obstacle.empty())
      block(op, reader.obstacle);
    else if (!ConstantTensor::isConstant(reader.weight->get()))
      block(op, "has a weight that is not constant");
  }

  //===--- Quantized edges ---===//

  /// Whether the tensor of `edge` changes its order.
  bool isReordered(Operation *op, const QuantEdge &edge) {
    if (values.contains(edge.value))
      return true;
    // A constant operand that moves with the result.
    std::optional<ChannelwiseOp> channels = getChannelwise(op);
    return channels && values.contains(channels->result) &&
           llvm::any_of(channels->moving, [&](OpOperand *operand) {
             return operand->get() == edge.value;
           });
  }

  /// The parameters of `edge` if they depend on the order of its channels.
  std::optional<QuantParams> getOrderedParams(Operation *op,
                                              const QuantEdge &edge) {
    std::optional<QuantParams> params = getQuantParams(op, edge);
    if (!params || !hasGroupsOnLastAxis(*params) || !isReordered(op, edge))
      return std::nullopt;
    return params;
  }

  void checkEdges(Operation *op) {
    auto quantizable = dyn_cast<QuantizableOpInterface>(op);
    if (!quantizable)
      return;
    for (const QuantEdge &edge : quantizable.getQuantEdges()) {
      std::optional<QuantParams> params = getOrderedParams(op, edge);
      if (!params)
        continue;
      int64_t groups = reorderGroups(*params, order).sources.size();
      if (groups > params->getNumGroups())
        return block(op, "would have " + Twine(groups) + " groups instead of " +
                             Twine(params->getNumGroups()));
      for (Value param : {edge.scale, edge.zeroPoint})
        if (param && (!ConstantTensor::isConstant(param) ||
                      llvm::count(op->getOperands(), param) != 1))
          return block(op, "has run-time parameters for its groups");
    }
  }

  //===--- Apply ---===//

  void reorderEdges(RewriterBase &rewriter, Operation *op);
  void reorderConstants(RewriterBase &rewriter, Operation *op);
  void reorderPermute(RewriterBase &rewriter, PermuteOp op);
  static void gather(RewriterBase &rewriter, OpOperand &operand, int64_t axis,
                     ArrayRef<int64_t> indices);

  SmallVector<int64_t> order;
  llvm::SetVector<Value> values;
  llvm::SetVector<Operation *> ops;
  std::string blocker;
};

} // namespace

/// Sets `operand` and drops the constant that it had, if nothing else uses it.
static void replaceConstant(RewriterBase &rewriter, OpOperand &operand,
                            const ConstantTensor &constant) {
  Operation *op = operand.getOwner();
  Operation *former = operand.get().getDefiningOp();
  rewriter.setInsertionPoint(op);
  operand.set(constant.materialize(rewriter, op->getLoc()));
  if (former->use_empty())
    rewriter.eraseOp(former);
}

void Reordering::gather(RewriterBase &rewriter, OpOperand &operand,
                        int64_t axis, ArrayRef<int64_t> indices) {
  auto constant = ConstantTensor::get(operand.get());
  replaceConstant(rewriter, operand, constant->gather(axis, indices));
}

/// The attributes and run-time parameters of the edges in storage form. In
/// quantized form, the types are those of the values.
void Reordering::reorderEdges(RewriterBase &rewriter, Operation *op) {
  auto quantizable = dyn_cast<QuantizableOpInterface>(op);
  if (!quantizable)
    return;
  for (const QuantEdge &edge : quantizable.getQuantEdges()) {
    std::optional<QuantParams> params = getOrderedParams(op, edge);
    if (!params)
      continue;
    ReorderedGroups groups = reorderGroups(*params, order);
    if (op->hasAttr(edge.attrName))
      op->setAttr(edge.attrName, TypeAttr::get(groups.type));
    for (OpOperand &operand : op->getOpOperands())
      if (operand.get() == edge.scale || operand.get() == edge.zeroPoint) {
        int64_t rank = cast<ShapedType>(operand.get().getType()).getRank();
        gather(rewriter, operand, rank - 1, groups.sources);
      }
  }
}

/// Weights, biases, gains and constant operands.
void Reordering::reorderConstants(RewriterBase &rewriter, Operation *op) {
  for (OpOperand &operand : op->getOpOperands())
    if (values.contains(operand.get()))
      if (auto reader = getReader(operand))
        gather(rewriter, *reader->weight, 1, order);
  std::optional<ChannelwiseOp> channels = getChannelwise(op);
  if (!channels || !values.contains(channels->result))
    return;
  for (auto [operand, axis] : channels->constants)
    gather(rewriter, *operand, axis, order);
  for (OpOperand *operand : channels->moving)
    if (!values.contains(operand->get())) {
      int64_t rank = cast<ShapedType>(operand->get().getType()).getRank();
      gather(rewriter, *operand, rank - 1, order);
    }
}

/// A permutation at the border of the set takes the order in.
void Reordering::reorderPermute(RewriterBase &rewriter, PermuteOp op) {
  SmallVector<int64_t> indices = *op.getConstantIndices();
  if (values.contains(op.getY()))
    indices = compose(indices, order);
  if (values.contains(op.getX()))
    indices = compose(invert(order), indices);
  auto type = cast<RankedTensorType>(op.getIndices().getType());
  replaceConstant(rewriter, op.getIndicesMutable(),
                  ConstantTensor::create(type, ArrayRef<int64_t>(indices)));
}

/// Replaces a permutation that moves nothing by its operand.
static void removeIdentity(RewriterBase &rewriter, Operation *op) {
  auto indices = getChannelIndices(op);
  if (!indices || !isIdentity(*indices))
    return;
  Value x = op->getOperand(0);
  Type type = op->getResult(0).getType();
  if (getElementTypeOrSelf(x.getType()) != getElementTypeOrSelf(type))
    return;
  rewriter.setInsertionPoint(op);
  if (x.getType() != type)
    x = tensor::CastOp::create(rewriter, op->getLoc(), type, x);
  Operation *constant = cast<PermuteOp>(op).getIndices().getDefiningOp();
  rewriter.replaceOp(op, x);
  if (constant->use_empty())
    rewriter.eraseOp(constant);
}

void Reordering::apply(RewriterBase &rewriter) {
  for (Operation *op : ops) {
    reorderEdges(rewriter, op);
    reorderConstants(rewriter, op);
    if (getChannelIndices(op))
      reorderPermute(rewriter, cast<PermuteOp>(op));
  }
  for (Value value : values) {
    auto type = cast<RankedTensorType>(value.getType());
    value.setType(type.clone(reorderElementType(type)));
  }
  for (Operation *op : ops)
    removeIdentity(rewriter, op);
}

//===----------------------------------------------------------------------===//
// Folds
//===----------------------------------------------------------------------===//

/// Plans to reorder `value`, one side of a permutation, so that it is equal
/// to the other side.
static bool planAcross(Reordering &reordering,
                       TypedValue<RankedTensorType> value,
                       TypedValue<RankedTensorType> other) {
  if (!reordering.plan(value) ||
      !reordering.check(!reordering.contains(other),
                        "a cycle leads to its other side"))
    return false;
  Type type = reordering.reorderElementType(value.getType());
  return reordering.check(type == other.getType().getElementType(),
                          "its groups are written in another way");
}

bool qtx::canFoldPermute(PermuteOp op) {
  auto indices = getChannelIndices(op);
  if (!indices)
    return false;
  Reordering users(invert(*indices)), operand(*indices);
  return planAcross(users, op.getY(), op.getX()) ||
         planAcross(operand, op.getX(), op.getY());
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {

struct QtxFoldPermutePass
    : qtx::impl::QtxFoldPermutePassBase<QtxFoldPermutePass> {
  using QtxFoldPermutePassBase::QtxFoldPermutePassBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    // Each fold removes a permutation, adds none, and may enable others.
    while (foldAny(rewriter))
      ;
    if (!explain)
      return;
    for (PermuteOp op : collectOps<PermuteOp>(getOperation()))
      explainLeft(op);
  }

private:
  bool foldAny(RewriterBase &rewriter) {
    for (PermuteOp op : collectOps<PermuteOp>(getOperation()))
      if (fold(rewriter, op))
        return true;
    return false;
  }

  /// The users of `op` take the channels of its operand, or the operand comes
  /// in the order of the result.
  static bool fold(RewriterBase &rewriter, PermuteOp op) {
    auto indices = getChannelIndices(op);
    if (!indices)
      return false;
    Reordering users(invert(*indices)), operand(*indices);
    Location loc = op.getLoc();
    Reordering *chosen = planAcross(users, op.getY(), op.getX())     ? &users
                         : planAcross(operand, op.getX(), op.getY()) ? &operand
                                                                     : nullptr;
    if (!chosen)
      return false;
    chosen->apply(rewriter);
    remark::passed(loc, kRemark) << remark::add(
        "stores {0} tensor(s) in the order of its {1}", chosen->getNumTensors(),
        chosen == &users ? "operand" : "result");
    return true;
  }

  /// The operation that writes the rows of which `op` moves the channels, if it
  /// is one that `qtx-fuse-rows` joins `op` with.
  static Operation *getRowWriter(PermuteOp op) {
    Operation *writer = op.getX().getDefiningOp();
    bool writesRows =
        isa_and_present<AddOp, EmbeddingOp, LayerNormOp, RmsNormOp, GeluOp,
                        ReluOp, SiluOp, ScaleShiftOp>(writer);
    return writesRows && writer->hasOneUse() ? writer : nullptr;
  }

  static void explainLeft(PermuteOp op) {
    auto indices = getChannelIndices(op);
    if (!indices) {
      remark::missed(op.getLoc(), kRemark)
          << remark::reason("not a constant permutation of the last axis");
      return;
    }
    Reordering users(invert(*indices)), operand(*indices);
    planAcross(users, op.getY(), op.getX());
    planAcross(operand, op.getX(), op.getY());
    if (Operation *writer = getRowWriter(op)) {
      remark::passed(op.getLoc(), kRemark) << remark::add(
          "leaves the order to '{0}', which stores each channel in its place: "
          "after it, {1}; before it, {2}",
          writer->getName().getStringRef(), users.getBlocker(),
          operand.getBlocker());
      return;
    }
    remark::missed(op.getLoc(), kRemark)
        << remark::reason("after it, {0}; before it, {1}", users.getBlocker(),
                          operand.getBlocker());
  }
};

} // namespace
