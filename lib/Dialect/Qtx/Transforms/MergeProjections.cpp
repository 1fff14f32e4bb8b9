//===- MergeProjections.cpp - Projections of one input as one linear ------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConstantUtils.h"
#include "RewriteUtils.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace qtx {
#define GEN_PASS_DEF_QTXMERGEPROJECTIONSPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark = remark::RemarkOpts::name("MergeProjections")
                                    .category("qtx-merge-projections");

//===----------------------------------------------------------------------===//
// Which linears merge
//===----------------------------------------------------------------------===//

/// Whether the result is heads and nothing else: attention reads its rows
/// wherever they stand, while other readers want them without gaps.
static bool isProjection(LinearOp op) {
  return !op.getY().use_empty() &&
         llvm::all_of(op.getY().getUsers(), llvm::IsaPred<SplitHeadsOp>);
}

namespace {
/// Channels of a result, and how they are quantized if they are.
struct Channels {
  int64_t count;
  std::optional<QuantParams> params;
};
} // namespace

static Channels getResult(LinearOp op) {
  return {op.getNumOutputs(), getQuantParams(op, op.getQuantEdges().back())};
}

/// The quantized type of both together; null if there is none.
static Type joinTypes(const Channels &first, const Channels &second) {
  Type type = first.params->getType();
  if (first.params->isPerTensor() && type == second.params->getType())
    return type;
  return joinGroups(*first.params, first.count, *second.params, second.count);
}

/// Why `op` merges with no other linear; empty if it may.
static StringRef check(LinearOp op) {
  if (isInQuantizedForm(op))
    return "slices exist in storage form only; run 'qtx-to-storage' first";
  if (!op->getDiscardableAttrs().empty())
    return "it has attributes of its own";
  for (Value value : {Value(op.getWeight()), Value(op.getWeightScale()),
                      Value(op.getBias()), Value(op.getSeed())})
    if (value && !ConstantTensor::isConstant(value))
      return "a weight, scale, bias or seed is not a constant";
  if (op.getBias() &&
      cast<RankedTensorType>(op.getBias().getType()).getRank() != 1)
    return "the bias has rows of its own";
  // Whether a table stands for an activation depends on all outputs.
  if (op.getActivation() != Activation::None)
    return "it has an activation";
  if (auto params = getResult(op).params; params && params->isDynamic())
    return "the scales of the result are run-time values";
  return {};
}

/// Why `op` does not merge with `first`; empty if it does.
static StringRef check(LinearOp first, LinearOp op) {
  if (first.getXScale() != op.getXScale() ||
      first.getXZeroPoint() != op.getXZeroPoint() ||
      first.getXQuantAttr() != op.getXQuantAttr())
    return "the input has other parameters";
  if (first.getWeight().getType().getElementType() !=
          op.getWeight().getType().getElementType() ||
      first.getWeightBlock() != op.getWeightBlock() ||
      bool(first.getWeightScale()) != bool(op.getWeightScale()))
    return "the weights are stored in another way";
  if (bool(first.getSeed()) != bool(op.getSeed()))
    return "only one of them has a seed";
  if (first.getIntegerJoin() != op.getIntegerJoin())
    return "only one of them joins segments in integers";
  Channels result = getResult(first), other = getResult(op);
  if (result.params.has_value() != other.params.has_value())
    return "only one of the results is quantized";
  if (result.params && !joinTypes(result, other))
    return "no grouped type has the parameters of both results";
  return {};
}

//===----------------------------------------------------------------------===//
// Merging
//===----------------------------------------------------------------------===//

namespace {
/// Makes one linear of several.
class ProjectionMerger {
public:
  explicit ProjectionMerger(ArrayRef<LinearOp> ops)
      : ops(ops), first(ops.front()), builder(first),
        loc(builder.getFusedLoc(llvm::map_to_vector(
            ops, [](LinearOp op) { return op.getLoc(); }))) {}

  void merge() {
    LinearOp merged = createMerged();
    int64_t offset = 0;
    for (LinearOp op : ops) {
      Value slice = sliceAxis(builder, op.getLoc(), merged.getY(),
                              merged.getY().getType().getRank() - 1, offset,
                              op.getNumOutputs());
      offset += op.getNumOutputs();
      op.getY().replaceAllUsesWith(slice);
    }
    for (LinearOp op : ops)
      op.erase();
  }

private:
  LinearOp createMerged() {
    auto merged = cast<LinearOp>(builder.clone(*first));
    merged->setLoc(loc);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(merged);
    auto assign = [&](MutableOperandRange operand, Value value) {
      if (value)
        operand.assign(value);
    };
    merged.getWeightMutable().set(
        join([](LinearOp op) { return op.getWeight(); }, 0));
    assign(merged.getWeightScaleMutable(), joinWeightScales());
    assign(merged.getBiasMutable(), joinBiases());
    if (first.getSeed())
      assign(merged.getSeedMutable(),
             join([](LinearOp op) { return op.getSeed(); }, 1));
    joinResults(merged);
    return merged;
  }

  /// The operand of all linears, one behind the other.
  Value join(function_ref<Value(LinearOp)> get, int64_t axis) {
    SmallVector<ConstantTensor> parts = llvm::map_to_vector(
        ops, [&](LinearOp op) { return *ConstantTensor::get(get(op)); });
    return join(parts, axis);
  }
  Value join(ArrayRef<ConstantTensor> parts, int64_t axis) {
    ConstantTensor joined = parts.front();
    for (const ConstantTensor &part : parts.drop_front())
      joined = joined.concat(part, axis);
    return joined.materialize(builder, loc);
  }

  /// One scale for all outputs, or one for each.
  Value joinWeightScales() {
    Value scale = first.getWeightScale();
    if (!scale || llvm::all_of(ops, [&](LinearOp op) {
          return cast<ShapedType>(scale.getType()).getNumElements() == 1 &&
                 isSameTensor(scale, op.getWeightScale());
        }))
      return scale;
    SmallVector<ConstantTensor> parts;
    for (LinearOp op : ops) {
      auto part = *ConstantTensor::get(op.getWeightScale());
      bool isShared =
          part.getType().getRank() == 1 && part.getType().getDimSize(0) == 1;
      parts.push_back(isShared ? repeat(part.getFloats()[0], op) : part);
    }
    return join(parts, 0);
  }

  /// A linear without a bias adds zeros.
  Value joinBiases() {
    if (llvm::none_of(ops, [](LinearOp op) { return bool(op.getBias()); }))
      return {};
    SmallVector<ConstantTensor> parts =
        llvm::map_to_vector(ops, [&](LinearOp op) {
          return op.getBias() ? *ConstantTensor::get(op.getBias())
                              : repeat(0.0f, op);
        });
    return join(parts, 0);
  }

  /// `value` for each output.
  ConstantTensor repeat(float value, LinearOp op) {
    int64_t count = op.getNumOutputs();
    return ConstantTensor::create(
        RankedTensorType::get({count}, builder.getF32Type()),
        SmallVector<float>(count, value));
  }

  void joinResults(LinearOp merged) {
    Channels result = getResult(first);
    for (LinearOp op : ops.drop_front()) {
      Channels next = getResult(op);
      if (result.params)
        result.params = QuantParams::get(joinTypes(result, next));
      result.count += next.count;
    }
    SmallVector<int64_t> shape(first.getY().getType().getShape());
    shape.back() = result.count;
    merged.getY().setType(first.getY().getType().clone(shape));
    if (result.params)
      merged.setYQuantAttr(TypeAttr::get(result.params->getType()));
  }

  ArrayRef<LinearOp> ops;
  LinearOp first;
  OpBuilder builder;
  Location loc;
};

struct QtxMergeProjectionsPass
    : qtx::impl::QtxMergeProjectionsPassBase<QtxMergeProjectionsPass> {
  void runOnOperation() override {
    llvm::MapVector<std::pair<Block *, Value>, SmallVector<LinearOp>> readers;
    for (LinearOp op : collectOps<LinearOp>(getOperation()))
      if (isProjection(op))
        readers[{op->getBlock(), op.getX()}].push_back(op);
    for (const auto &entry : readers)
      if (entry.second.size() > 1)
        mergeReaders(entry.second);
  }

  /// Merges those of `ops` that go together.
  static void mergeReaders(ArrayRef<LinearOp> ops) {
    SmallVector<SmallVector<LinearOp>> sets;
    for (LinearOp op : ops) {
      if (StringRef reason = check(op); !reason.empty())
        explain(op, reason);
      else
        addToSet(op, sets);
    }
    // All remarks first: merging erases what they compare.
    for (ArrayRef<LinearOp> set : sets)
      explain(set, sets);
    for (ArrayRef<LinearOp> set : sets)
      if (set.size() > 1)
        ProjectionMerger(set).merge();
  }

  static void addToSet(LinearOp op,
                       SmallVectorImpl<SmallVector<LinearOp>> &sets) {
    for (SmallVector<LinearOp> &set : sets)
      if (check(set.front(), op).empty())
        return set.push_back(op);
    sets.push_back({op});
  }

  /// Reports that the linears of `set` merge, or why a single one does not with
  /// another one.
  static void explain(ArrayRef<LinearOp> set,
                      ArrayRef<SmallVector<LinearOp>> sets) {
    LinearOp op = set.front();
    if (set.size() > 1)
      remark::passed(op.getLoc(), kRemark)
          << remark::add("merged {0} projections of one input", set.size());
    else if (sets.size() > 1)
      explain(op, check(op, sets[sets.front().front() == op].front()));
  }

  static void explain(LinearOp op, StringRef reason) {
    remark::missed(op.getLoc(), kRemark) << remark::reason("{0}", reason);
  }
};
} // namespace
