//===- Segments.cpp - Functions in segments -------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Segments.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "mlir/Transforms/RegionUtils.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "llvm/ADT/SetVector.h"
#include <deque>

using namespace mlir;
using namespace qtx;
using llvm::createStringError;
using llvm::Expected;

static constexpr auto kStreamRemark =
    remark::RemarkOpts::name("Calibrate").category("qtx-calibrate");

/// What dynamic sizes count: two of them are about the positions of a feed.
static constexpr int64_t kNominalSize = 22;
/// Copies of a constant while code with it is made: packed, in LLVM's IR, and
/// in the object.
static constexpr size_t kCopiesOfConstants = 3;
/// Of two cuts, the later one may let this much more cross.
static constexpr double kCrossingSlack = 1.25;
/// What cannot be kept must not cross.
static constexpr size_t kNeverCross = size_t(1) << 62;

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

/// Quantized values must say what they mean by their type alone.
static bool isStreamable(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getElementType().isF32())
    return bool(type);
  auto params = QuantParams::get(type.getElementType());
  return params && !params->isDynamic();
}

static llvm::Error checkValue(func::FuncOp function, Value value) {
  if (value.getParentRegion() == &function.getBody() && isStreamable(value))
    return llvm::Error::success();
  return createStringError("function '" + function.getName() +
                           "': expected f32 or statically quantized tensors at "
                           "its top level to look at");
}

/// `value` as f32.
static Value toFloat(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getElementType().isF32())
    return value;
  OpBuilder builder(value.getContext());
  builder.setInsertionPointAfterValue(value);
  return DequantizeOp::create(builder, value.getLoc(),
                              type.clone(builder.getF32Type()), value, Value(),
                              Value(), TypeAttr());
}

/// About what a value of the type takes.
static size_t getNominalBytes(Type type) {
  size_t bytes = 4;
  auto shaped = dyn_cast<RankedTensorType>(type);
  if (!shaped)
    return bytes;
  Type element = shaped.getElementType();
  if (auto params = QuantParams::get(element))
    element = params->getStorageType();
  if (element.isIntOrFloat())
    bytes = llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  for (int64_t size : shaped.getShape())
    bytes *= ShapedType::isDynamic(size) ? kNominalSize : size;
  return bytes;
}

/// Whether segments compute the results of `op` for themselves: constants,
/// tensors without content, sizes of arguments, and numbers that follow.
static bool isRepeated(Operation *op) {
  if (op->hasTrait<OpTrait::ConstantLike>() || isa<tensor::EmptyOp>(op))
    return true;
  if (auto dim = dyn_cast<tensor::DimOp>(op))
    return isa<BlockArgument>(dim.getSource());
  auto isNumber = [](Type type) { return type.isIntOrIndexOrFloat(); };
  return op->getNumRegions() == 0 && isPure(op) && op->getNumOperands() > 0 &&
         llvm::all_of(op->getOperandTypes(), isNumber) &&
         llvm::all_of(op->getResultTypes(), isNumber);
}

/// Values of the top level that `op` reads.
static SetVector<Value> getReadValues(Operation *op) {
  SetVector<Value> values(op->operand_begin(), op->operand_end());
  getUsedValuesDefinedAbove(op->getRegions(), values);
  return values;
}

//===----------------------------------------------------------------------===//
// One function
//===----------------------------------------------------------------------===//

namespace {
/// Copies of all functions as one, and its values to look at, as f32.
struct Joined {
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  SmallVector<Value> values;

  llvm::Error add(const StreamedFunction &streamed);

private:
  void take(ModuleOp other, func::FuncOp copy);
};
} // namespace

/// Moves the body of `copy` and what it calls in `other` here.
void Joined::take(ModuleOp other, func::FuncOp copy) {
  assert(copy.getArgumentTypes() == function.getArgumentTypes() &&
         "expected functions that take the same arguments");
  SymbolTable known(*module), symbols(other);
  for (Operation &op : llvm::make_early_inc_range(*other.getBody())) {
    if (&op == copy || !isa<SymbolOpInterface>(op))
      continue;
    // The entry leaves its table, and its name does not clash.
    (void)symbols.renameToUnique(&op, {&known});
    op.moveBefore(module->getBody(), module->getBody()->end());
  }
  Block &from = copy.getBody().front(), &to = function.getBody().front();
  for (auto [source, target] :
       llvm::zip_equal(from.getArguments(), to.getArguments()))
    source.replaceAllUsesWith(target);
  from.getTerminator()->erase();
  to.getOperations().splice(to.getTerminator()->getIterator(),
                            from.getOperations());
}

llvm::Error Joined::add(const StreamedFunction &streamed) {
  func::FuncOp original = streamed.function;
  auto parent = original->getParentOfType<ModuleOp>();
  if (!parent || !original.getBody().hasOneBlock())
    return createStringError("function '" + original.getName() +
                             "': expected one block, in a module");
  for (Value value : streamed.values)
    if (llvm::Error error = checkValue(original, value))
      return error;
  IRMapping mapping;
  OwningOpRef<ModuleOp> copy = cast<ModuleOp>(parent->clone(mapping));
  for (auto other : copy->getOps<func::FuncOp>())
    if (!other.isDeclaration())
      other.setPrivate();
  auto target = copy->lookupSymbol<func::FuncOp>(original.getName());
  bool isFirst = !module;
  if (isFirst) {
    module = std::move(copy);
    function = target;
  } else {
    take(*copy, target);
  }
  for (Value value : streamed.values) {
    Value mapped = mapping.lookup(value);
    if (auto argument = dyn_cast<BlockArgument>(mapped))
      mapped = function.getArgument(argument.getArgNumber());
    values.push_back(toFloat(mapped));
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Where to cut
//===----------------------------------------------------------------------===//

namespace {
/// Finds cuts between lanes.
class Segmenter {
public:
  Segmenter(Joined &joined, ArrayRef<SmallVector<size_t>> lanes,
            const StreamOptions &options)
      : joined(joined), lanes(lanes), options(options),
        opsOfLane(lanes.size()) {}

  Expected<std::vector<StreamSegment>> run();

private:
  void schedule();
  SmallVector<Value> getInputs(Value value) const;
  SmallVector<Value> getInputs(Operation *op) const;
  void addUse(Value value, size_t lane);
  void addNeeded(SmallVector<Value> values, size_t lane);
  size_t getLane(Value value) const {
    return laneOfOp.lookup(value.getDefiningOp());
  }
  size_t getCost(size_t lane) const;
  std::vector<size_t> getCrossing() const;
  void explainUncut() const;
  std::vector<size_t> findEnds() const;
  StreamSegment connect(size_t begin, size_t end,
                        SmallVectorImpl<Value> &inputs,
                        SmallVectorImpl<Value> &outputs) const;
  Expected<StreamSegment> build(size_t begin, size_t end);

  Joined &joined;
  ArrayRef<SmallVector<size_t>> lanes;
  const StreamOptions &options;
  /// The operations that each lane needs beyond those of the lanes before.
  std::vector<std::vector<Operation *>> opsOfLane;
  DenseMap<Operation *, size_t> laneOfOp;
  /// Their places in the function.
  DenseMap<Operation *, size_t> order;
  /// The lanes that need each result, ascending. Values are numbered as here.
  llvm::MapVector<Value, SmallVector<size_t>> usersOf;
};
} // namespace

/// What must be there before `value`, which segments may compute for
/// themselves: results of other operations.
SmallVector<Value> Segmenter::getInputs(Value value) const {
  Operation *op = value.getDefiningOp();
  if (!op)
    return {};
  if (isRepeated(op))
    return getInputs(op);
  return {value};
}

SmallVector<Value> Segmenter::getInputs(Operation *op) const {
  SmallVector<Value> inputs;
  for (Value value : getReadValues(op))
    llvm::append_range(inputs, getInputs(value));
  return inputs;
}

void Segmenter::addUse(Value value, size_t lane) {
  SmallVector<size_t> &users = usersOf[value];
  if (users.empty() || users.back() != lane)
    users.push_back(lane);
}

/// Adds what `values` need to the lane, apart from what a lane before it has.
void Segmenter::addNeeded(SmallVector<Value> values, size_t lane) {
  while (!values.empty()) {
    Value value = values.pop_back_val();
    addUse(value, lane);
    Operation *op = value.getDefiningOp();
    if (!laneOfOp.try_emplace(op, lane).second)
      continue;
    opsOfLane[lane].push_back(op);
    llvm::append_range(values, getInputs(op));
  }
}

/// Brings operations into the order in which lanes need them. Checks go with
/// the operations around them.
void Segmenter::schedule() {
  std::deque<Operation *> checks;
  for (auto [i, op] : llvm::enumerate(joined.function.getBody().front())) {
    order[&op] = i;
    if (op.getNumResults() == 0 && !op.hasTrait<OpTrait::IsTerminator>())
      checks.push_back(&op);
  }
  for (size_t lane = 0; lane < lanes.size(); ++lane) {
    SmallVector<Value> values;
    for (size_t value : lanes[lane])
      llvm::append_range(values, getInputs(joined.values[value]));
    addNeeded(values, lane);
    size_t end = lane + 1 == lanes.size() ? order.size() : 0;
    for (Operation *op : opsOfLane[lane])
      end = std::max(end, order[op]);
    for (; !checks.empty() && order[checks.front()] < end; checks.pop_front()) {
      opsOfLane[lane].push_back(checks.front());
      addNeeded(getInputs(checks.front()), lane);
    }
  }
}

/// About what the code and the values of a lane take.
size_t Segmenter::getCost(size_t lane) const {
  size_t bytes = lane < options.laneBytes.size() ? options.laneBytes[lane] : 0;
  for (size_t value : lanes[lane])
    bytes += getNominalBytes(joined.values[value].getType());
  SetVector<Value> constants;
  for (Operation *op : opsOfLane[lane])
    for (Value value : getReadValues(op))
      if (matchPattern(value, m_Constant()))
        constants.insert(value);
  for (Value constant : constants)
    bytes += kCopiesOfConstants * getNominalBytes(constant.getType());
  return bytes;
}

/// What would have to be kept if there were a cut behind each lane.
std::vector<size_t> Segmenter::getCrossing() const {
  std::vector<size_t> crossing(lanes.size());
  for (const auto &[value, users] : usersOf) {
    size_t bytes = hasBufferForm(value.getType())
                       ? getNominalBytes(value.getType())
                       : kNeverCross;
    for (size_t lane = getLane(value); lane < users.back(); ++lane)
      crossing[lane] = std::min(crossing[lane] + bytes, kNeverCross);
  }
  return crossing;
}

/// Why memory will not keep to its bound.
void Segmenter::explainUncut() const {
  remark::missed(joined.function.getLoc(), kStreamRemark) << remark::reason(
      "a part of the model that is larger than memory is meant for runs at "
      "once: values that cross it have types that cannot be kept");
}

/// The lanes behind the last ones of segments: as many lanes as memory takes,
/// back to a place where few values cross.
std::vector<size_t> Segmenter::findEnds() const {
  std::vector<size_t> crossing = getCrossing(), ends;
  for (size_t begin = 0; begin < lanes.size(); begin = ends.back()) {
    size_t end = begin + 1, bytes = getCost(begin);
    while (end < lanes.size() &&
           (bytes += getCost(end)) <= options.maxSegmentBytes)
      ++end;
    if (end == lanes.size()) {
      ends.push_back(end);
      break;
    }
    auto here = ArrayRef(crossing).slice(begin, end - begin);
    size_t most = *llvm::min_element(here) * kCrossingSlack;
    bool isUncut = *llvm::min_element(here) >= kNeverCross;
    if (isUncut)
      explainUncut();
    while (isUncut && end < lanes.size() && crossing[end - 1] >= kNeverCross)
      ++end;
    while (!isUncut && crossing[end - 1] > most)
      --end;
    ends.push_back(end);
  }
  return ends;
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

/// Removes what the values do not need.
static LogicalResult removeUnused(ModuleOp module) {
  PassManager passManager(module.getContext());
  passManager.addPass(createSymbolDCEPass());
  passManager.addPass(createRemoveDeadValuesPass());
  passManager.addPass(createCSEPass());
  return passManager.run(module);
}

namespace {
/// The function of one segment.
class SegmentFunction {
public:
  SegmentFunction(func::FuncOp source, func::FuncOp target)
      : target(target), builder(OpBuilder::atBlockEnd(target.addEntryBlock())) {
    mapping.map(source.getArguments(),
                target.getArguments().take_front(source.getNumArguments()));
  }

  void map(Value value, size_t argument) {
    mapping.map(value, target.getArgument(argument));
  }
  /// Copies what segments compute for themselves.
  Value get(Value value) {
    if (!mapping.contains(value))
      clone(value.getDefiningOp());
    return mapping.lookup(value);
  }
  void clone(Operation *op) {
    for (Value value : getReadValues(op))
      (void)get(value);
    builder.clone(*op, mapping);
  }
  /// The number of the result that holds `value`.
  size_t addResult(Value value) {
    auto [entry, isNew] = resultOf.try_emplace(value, results.size());
    if (isNew)
      results.push_back(get(value));
    return entry->second;
  }
  void finish() {
    func::ReturnOp::create(builder, target.getLoc(), results);
    target.setType(builder.getFunctionType(target.getArgumentTypes(),
                                           ValueRange(results).getTypes()));
  }

private:
  func::FuncOp target;
  OpBuilder builder;
  IRMapping mapping;
  DenseMap<Value, size_t> resultOf;
  SmallVector<Value> results;
};
} // namespace

/// A module with all but `function`, and a function of its name and arguments.
static std::pair<OwningOpRef<ModuleOp>, func::FuncOp>
makeModule(ModuleOp module, func::FuncOp function, ArrayRef<Value> inputs) {
  OwningOpRef<ModuleOp> result = cast<ModuleOp>(module->cloneWithoutRegions());
  result->getBodyRegion().emplaceBlock();
  OpBuilder builder = OpBuilder::atBlockEnd(result->getBody());
  for (Operation &op : *module.getBody())
    if (&op != function)
      builder.clone(op);
  SmallVector<Type> types(function.getArgumentTypes());
  llvm::append_range(types, ValueRange(inputs).getTypes());
  auto target =
      func::FuncOp::create(builder, function.getLoc(), function.getName(),
                           builder.getFunctionType(types, {}));
  for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i)
    if (DictionaryAttr attrs = function.getArgAttrDict(i))
      target.setArgAttrs(i, attrs);
  return {std::move(result), target};
}

/// What the segment of the lanes [begin, end) takes and leaves.
StreamSegment Segmenter::connect(size_t begin, size_t end,
                                 SmallVectorImpl<Value> &inputs,
                                 SmallVectorImpl<Value> &outputs) const {
  StreamSegment segment;
  for (auto [number, entry] : llvm::enumerate(usersOf)) {
    const auto &[value, users] = entry;
    size_t lane = getLane(value);
    if (lane >= begin && lane < end && users.back() >= end) {
      segment.outputs.push_back({number, 0});
      outputs.push_back(value);
    }
    bool isRead = llvm::any_of(
        users, [&](size_t user) { return user >= begin && user < end; });
    if (lane >= begin || !isRead)
      continue;
    segment.inputs.push_back(number);
    inputs.push_back(value);
    if (users.back() < end)
      segment.lastUses.push_back(number);
  }
  return segment;
}

Expected<StreamSegment> Segmenter::build(size_t begin, size_t end) {
  SmallVector<Value> inputs, outputs;
  StreamSegment segment = connect(begin, end, inputs, outputs);
  auto [module, target] = makeModule(*joined.module, joined.function, inputs);
  SegmentFunction function(joined.function, target);
  size_t numArguments = joined.function.getNumArguments();
  for (auto [i, input] : llvm::enumerate(inputs))
    function.map(input, numArguments + i);
  std::vector<Operation *> ops;
  for (size_t lane = begin; lane < end; ++lane)
    llvm::append_range(ops, opsOfLane[lane]);
  llvm::sort(ops, [&](Operation *a, Operation *b) {
    return order.lookup(a) < order.lookup(b);
  });
  for (Operation *op : ops)
    function.clone(op);
  for (size_t lane = begin; lane < end; ++lane) {
    segment.lanes.push_back(lane);
    for (size_t value : lanes[lane])
      segment.resultOfValue[value] = function.addResult(joined.values[value]);
  }
  for (auto [output, value] : llvm::zip_equal(segment.outputs, outputs))
    output.second = function.addResult(value);
  function.finish();
  if (failed(removeUnused(*module)))
    return createStringError("lowering failed");
  segment.module = std::move(module);
  return segment;
}

Expected<std::vector<StreamSegment>> Segmenter::run() {
  schedule();
  std::vector<StreamSegment> segments;
  size_t begin = 0;
  for (size_t end : findEnds()) {
    auto segment = build(begin, end);
    if (!segment)
      return segment.takeError();
    segments.push_back(std::move(*segment));
    begin = end;
  }
  return segments;
}

Expected<std::vector<StreamSegment>>
qtx::cutIntoSegments(ArrayRef<StreamedFunction> functions,
                     ArrayRef<SmallVector<size_t>> lanes,
                     const StreamOptions &options) {
  Joined joined;
  for (const StreamedFunction &function : functions)
    if (llvm::Error error = joined.add(function))
      return error;
  return Segmenter(joined, lanes, options).run();
}
