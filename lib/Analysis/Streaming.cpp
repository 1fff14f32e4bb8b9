//===- Streaming.cpp - Stream data through functions ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Streaming.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "llvm/Support/ThreadPool.h"
#include <atomic>

using namespace mlir;
using namespace qtx;
using llvm::createStringError;
using llvm::Expected;

//===----------------------------------------------------------------------===//
// Functions that return values of their bodies
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
static Value toFloat(OpBuilder &builder, Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getElementType().isF32())
    return value;
  return DequantizeOp::create(builder, value.getLoc(),
                              type.clone(builder.getF32Type()), value, Value(),
                              Value(), TypeAttr());
}

/// Makes `function` return `values` as f32 and nothing else.
static void returnValues(func::FuncOp function, ArrayRef<Value> values) {
  Operation *terminator = function.getBody().front().getTerminator();
  OpBuilder builder(terminator);
  SmallVector<Value> results = llvm::map_to_vector(
      values, [&](Value value) { return toFloat(builder, value); });
  terminator->setOperands(results);
  SmallVector<Type> types = llvm::to_vector(ValueRange(results).getTypes());
  function.setAllResultAttrs(
      ArrayRef<DictionaryAttr>(SmallVector<DictionaryAttr>(
          types.size(), builder.getDictionaryAttr({}))));
  function.setType(builder.getFunctionType(function.getArgumentTypes(), types));
}

/// Removes what the values do not need.
static LogicalResult removeUnused(ModuleOp module) {
  PassManager passManager(module.getContext());
  passManager.addPass(createSymbolDCEPass());
  passManager.addPass(createRemoveDeadValuesPass());
  passManager.addPass(createCSEPass());
  return passManager.run(module);
}

/// Compiles a copy of the function that returns its values.
static Expected<std::unique_ptr<JITModule>>
compile(const StreamedFunction &streamed, const JITOptions &options) {
  func::FuncOp function = streamed.function;
  auto module = function->getParentOfType<ModuleOp>();
  if (!module || !function.getBody().hasOneBlock())
    return createStringError("function '" + function.getName() +
                             "': expected one block, in a module");
  for (Value value : streamed.values)
    if (llvm::Error error = checkValue(function, value))
      return error;
  IRMapping mapping;
  OwningOpRef<ModuleOp> copy = cast<ModuleOp>(module->clone(mapping));
  for (auto other : copy->getOps<func::FuncOp>())
    if (!other.isDeclaration())
      other.setPrivate();
  auto target = copy->lookupSymbol<func::FuncOp>(function.getName());
  target.setPublic();
  returnValues(target, llvm::map_to_vector(streamed.values, [&](Value value) {
                 return mapping.lookup(value);
               }));
  if (failed(removeUnused(*copy)))
    return createStringError("lowering failed");
  return JITModule::create(*copy, options);
}

//===----------------------------------------------------------------------===//
// Threads
//===----------------------------------------------------------------------===//

/// Calls `body(0)` to `body(count - 1)` on the threads of `pool`, or on this
/// one without a pool.
static void parallelFor(llvm::ThreadPoolInterface *pool, size_t count,
                        llvm::function_ref<void(size_t)> body) {
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i; (i = next++) < count;)
      body(i);
  };
  if (!pool)
    return work();
  for (unsigned i = 0; i < pool->getMaxConcurrency(); ++i)
    pool->async(work);
  pool->wait();
}

//===----------------------------------------------------------------------===//
// Streaming
//===----------------------------------------------------------------------===//

struct StreamRunner::Slot {
  std::optional<Feed> feed;
  /// Of all functions, in the numbering of the values.
  std::vector<Buffer> values;
  /// Rows that count, one list for each value.
  std::vector<std::vector<uint8_t>> rows;
  /// Why there are no values; empty if there are.
  std::string error;

  size_t getNumBytes() const {
    size_t bytes = 0;
    for (const Buffer &value : values)
      bytes += llvm::cantFail(getNumElements(value.shape, value.element)) *
               getElementSize(value.element);
    return bytes;
  }
};

/// The first failure of a lane in the feeds that memory holds.
struct StreamRunner::LaneError {
  /// Which of the feeds; past the last one if there is none.
  size_t slot;
  std::string text;
};

StreamRunner::~StreamRunner() = default;

Expected<std::unique_ptr<StreamRunner>>
StreamRunner::create(ArrayRef<StreamedFunction> functions,
                     ArrayRef<SmallVector<size_t>> lanes,
                     const StreamOptions &options) {
  std::unique_ptr<StreamRunner> runner(new StreamRunner);
  runner->options = options;
  for (const StreamedFunction &function : functions) {
    for (Value value : function.values)
      runner->types.push_back(
          llvm::to_vector(cast<RankedTensorType>(value.getType()).getShape()));
    auto module = compile(function, options.jit);
    if (!module)
      return module.takeError();
    runner->functions.push_back(
        {std::move(*module), func::FuncOp(function.function).getName().str()});
  }
  runner->lanes = lanes.vec();
  if (lanes.empty())
    for (size_t i = 0; i < runner->types.size(); ++i)
      runner->lanes.push_back({i});
  return runner;
}

/// Runs all functions on one feed.
llvm::Error StreamRunner::fill(Slot &slot, const CalibrationData &data,
                               size_t index) const {
  slot.values.clear();
  slot.rows.clear();
  auto feed = data.getFeed(index);
  if (!feed)
    return feed.takeError();
  slot.feed = std::move(*feed);
  for (const Compiled &function : functions) {
    auto values = function.module->invoke(function.name, slot.feed->views);
    if (!values)
      return createStringError(slot.feed->describe(0) + ": " +
                               llvm::toString(values.takeError()));
    for (Buffer &value : *values)
      slot.values.push_back(std::move(value));
  }
  for (auto [value, type] : llvm::zip_equal(slot.values, types))
    slot.rows.push_back(slot.feed->mask
                            ? slot.feed->mask->getRows(value.shape, type)
                            : std::vector<uint8_t>());
  return llvm::Error::success();
}

/// Shows one lane the feeds in `slots`, up to one that it refuses.
StreamRunner::LaneError StreamRunner::consumeLane(ArrayRef<Slot> slots,
                                                  size_t lane,
                                                  ConsumeFn consume) const {
  for (auto [i, slot] : llvm::enumerate(slots)) {
    SmallVector<StreamedValue> values;
    for (size_t index : lanes[lane]) {
      const Buffer &value = slot.values[index];
      values.push_back({reinterpret_cast<const float *>(value.data.get()),
                        value.shape, slot.rows[index]});
    }
    if (llvm::Error error = consume({lane, *slot.feed, values}))
      return {i, llvm::toString(std::move(error))};
  }
  return {slots.size(), ""};
}

/// Shows all lanes the feeds in `slots` up to the first that failed. The error
/// is that of the earliest feed, so it does not depend on how many slots there
/// are.
llvm::Error StreamRunner::consumeAll(llvm::ThreadPoolInterface *pool,
                                     ArrayRef<Slot> slots,
                                     ConsumeFn consume) const {
  auto *failed = llvm::find_if(
      slots, [](const Slot &slot) { return !slot.error.empty(); });
  ArrayRef<Slot> good = slots.take_front(failed - slots.begin());
  std::vector<LaneError> errors(lanes.size());
  parallelFor(pool, lanes.size(), [&](size_t lane) {
    errors[lane] = consumeLane(good, lane, consume);
  });
  auto first = std::min_element(
      errors.begin(), errors.end(),
      [](const LaneError &a, const LaneError &b) { return a.slot < b.slot; });
  if (first != errors.end() && first->slot < good.size())
    return createStringError(first->text);
  if (failed != slots.end())
    return createStringError(failed->error);
  return llvm::Error::success();
}

llvm::Error StreamRunner::run(const CalibrationData &data,
                              ConsumeFn consume) const {
  size_t total = data.getNumFeeds();
  if (options.maxFeeds > 0)
    total = std::min(total, options.maxFeeds);
  size_t numThreads = std::clamp<size_t>(options.numThreads, 1, total);
  std::optional<llvm::DefaultThreadPool> threads;
  if (numThreads > 1)
    threads.emplace(llvm::hardware_concurrency(numThreads));
  llvm::ThreadPoolInterface *pool = threads ? &*threads : nullptr;

  // The first feed alone shows how much memory one takes.
  std::vector<Slot> slots(numThreads);
  size_t largest = 0;
  for (size_t first = 0, count = 1; first < total; first += count) {
    if (largest > 0)
      count = std::clamp<size_t>(options.maxBytes / largest, 1, numThreads);
    count = std::min(count, total - first);
    parallelFor(pool, count, [&](size_t i) {
      if (llvm::Error error = fill(slots[i], data, first + i))
        slots[i].error = llvm::toString(std::move(error));
    });
    if (llvm::Error error =
            consumeAll(pool, ArrayRef(slots).take_front(count), consume))
      return error;
    for (const Slot &slot : ArrayRef(slots).take_front(count))
      largest = std::max(largest, slot.getNumBytes());
    if (options.progress)
      options.progress(first + count, total);
  }
  return llvm::Error::success();
}

llvm::Error qtx::stream(const StreamedFunction &function,
                        const CalibrationData &data,
                        const StreamOptions &options, ConsumeFn consume) {
  auto runner = StreamRunner::create(function, /*lanes=*/{}, options);
  if (!runner)
    return runner.takeError();
  return (*runner)->run(data, consume);
}
