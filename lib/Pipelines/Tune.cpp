//===- Tune.cpp - Time configurations of contractions ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each contraction is compiled alone, once for each configuration, as a loop
// that repeats it, and run in this process.
//
//===----------------------------------------------------------------------===//

#include "Tune.h"
#include "TuningFile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Kernel/Target.h"
#include "qtx/Kernel/Threads.h"
#include "qtx/Kernel/Tuning.h"
#include "qtx/Target/JIT.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/Path.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <chrono>

using namespace mlir;
using namespace qtx;

/// Rows of an input whose number is not known.
static constexpr int64_t kTimedRows = 128;

/// A configuration is run so often in turn with the others, and each time for
/// so many seconds.
static constexpr unsigned kRounds = 7;
static constexpr double kSeconds = 0.003;

/// Gains below this share of the time, or below what the time itself varies by,
/// are noise.
static constexpr double kNoise = 0.02;

llvm::Expected<std::string> qtx::getDefaultTuningFile() {
  SmallString<128> path;
  if (!llvm::sys::path::cache_directory(path))
    return llvm::createStringError(
        "expected a file, as there is no cache folder for this user");
  llvm::sys::path::append(path, "qtx", "tune.json");
  return path.str().str();
}

//===----------------------------------------------------------------------===//
// Timing
//===----------------------------------------------------------------------===//

static SmallVector<int64_t> chooseShape(ShapedType type) {
  SmallVector<int64_t> shape(type.getShape());
  bool isFirst = true;
  // Rows are in the last dimension that is not known.
  for (int64_t &size : llvm::reverse(shape)) {
    if (!ShapedType::isDynamic(size))
      continue;
    size = isFirst ? kTimedRows : 1;
    isFirst = false;
  }
  return shape;
}

namespace {
/// Times one contraction.
class Timer {
public:
  explicit Timer(LinearOp op) : op(op), configurations(listConfigurations(op)) {
    for (Value operand : op->getOperands())
      if (!matchPattern(operand, m_Constant()))
        arguments.insert(operand);
  }

  ArrayRef<Configuration> getConfigurations() const { return configurations; }

  /// Seconds of each configuration, one for each round.
  llvm::Expected<std::vector<std::vector<double>>> run() {
    if (llvm::Error error = compile())
      return error;
    makeInputs();
    std::vector<std::vector<double>> seconds(configurations.size());
    int64_t count = 1;
    for (;; count *= 2) {
      auto time = measure(0, count);
      if (!time)
        return time.takeError();
      if (*time * count >= kSeconds)
        break;
    }
    for (unsigned round = 0; round < kRounds; ++round)
      for (size_t i = 0; i < configurations.size(); ++i) {
        auto time = measure(i, count);
        if (!time)
          return time.takeError();
        seconds[i].push_back(*time);
      }
    return seconds;
  }

private:
  static std::string getName(size_t index) {
    return "configuration" + std::to_string(index);
  }

  llvm::Error compile() {
    OwningOpRef<ModuleOp> made = ModuleOp::create(op.getLoc());
    for (StringRef name :
         {LLVM::LLVMDialect::getTargetAttrName(), StringRef(kThreadsAttrName)})
      for (Operation *parent = op; parent; parent = parent->getParentOp())
        if (Attribute attr = parent->getAttr(name)) {
          (*made)->setAttr(name, attr);
          break;
        }
    for (size_t i = 0; i < configurations.size(); ++i)
      addFunction(*made, i);
    JITOptions options;
    options.fast = true;
    auto compiled = JITModule::create(*made, options);
    if (!compiled)
      return compiled.takeError();
    module = std::move(*compiled);
    return llvm::Error::success();
  }

  /// A function that runs the contraction so often as its last argument says.
  void addFunction(ModuleOp module, size_t number) {
    OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
    Location loc = op.getLoc();
    SmallVector<Type> types(ValueRange(arguments.getArrayRef()).getTypes());
    types.push_back(b.getIndexType());
    Type element = op.getY().getType().getElementType();
    auto function = func::FuncOp::create(b, loc, getName(number),
                                         b.getFunctionType(types, element));
    b.setInsertionPointToStart(function.addEntryBlock());
    IRMapping mapping;
    mapping.map(arguments.getArrayRef(), function.getArguments().drop_back());
    for (Value operand : op->getOperands())
      if (!arguments.contains(operand) && !mapping.contains(operand))
        b.clone(*operand.getDefiningOp(), mapping);
    Value zero = arith::ConstantIndexOp::create(b, loc, 0);
    Value one = arith::ConstantIndexOp::create(b, loc, 1);
    Value none = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
    auto loop = scf::ForOp::create(b, loc, zero, function.getArguments().back(),
                                   one, none);
    func::ReturnOp::create(b, loc, loop.getResults());
    b.setInsertionPointToEnd(loop.getBody());
    auto copy = cast<LinearOp>(b.clone(*op, mapping));
    configurations[number].setOn(copy);
    // A result that nothing reads would go away.
    SmallVector<Value> first(copy.getY().getType().getRank(), zero);
    Value read = tensor::ExtractOp::create(b, loc, copy.getY(), first);
    Value sum = loop.getRegionIterArgs()[0];
    Value next = isa<FloatType>(element)
                     ? Value(arith::MaximumFOp::create(b, loc, sum, read))
                     : Value(arith::XOrIOp::create(b, loc, sum, read));
    scf::YieldOp::create(b, loc, next);
  }

  void makeInputs() {
    auto signature = llvm::cantFail(module->getSignature(getName(0)));
    for (auto [value, argument] : llvm::zip(arguments, signature.inputs)) {
      SmallVector<int64_t> shape =
          chooseShape(cast<ShapedType>(value.getType()));
      size_t bytes =
          ShapedType::getNumElements(shape) * getElementSize(argument.element);
      memory.emplace_back(new char[bytes]());
      shapes.push_back(std::move(shape));
      views.push_back({memory.back().get(), {}, argument.element});
    }
    views.push_back({&count, {}, ElementKind::Index});
    // Only now do the shapes stay where they are.
    for (auto [view, shape] : llvm::zip(views, shapes))
      view.shape = shape;
  }

  llvm::Expected<double> measure(size_t number, int64_t repetitions) {
    count = repetitions;
    auto start = std::chrono::steady_clock::now();
    auto result = module->invoke(getName(number), views);
    if (!result)
      return result.takeError();
    std::chrono::duration<double> time =
        std::chrono::steady_clock::now() - start;
    return time.count() / repetitions;
  }

  LinearOp op;
  SmallVector<Configuration> configurations;
  llvm::SetVector<Value> arguments;
  std::unique_ptr<JITModule> module;
  std::vector<std::unique_ptr<char[]>> memory;
  std::vector<SmallVector<int64_t>> shapes;
  std::vector<BufferView> views;
  int64_t count = 0;
};
} // namespace

/// The number of the best configuration: the first, unless another is better by
/// more than noise.
static size_t chooseBest(ArrayRef<std::vector<double>> seconds) {
  std::vector<double> own = seconds.front();
  llvm::sort(own);
  double noise = std::max(kNoise, own[own.size() / 4] / own.front() - 1);
  size_t best = 0;
  double least = own.front() * (1 - noise);
  for (auto [i, times] : llvm::enumerate(seconds)) {
    double time = *llvm::min_element(times);
    if (i > 0 && time < least) {
      least = time;
      best = i;
    }
  }
  return best;
}

static TunedEntry makeEntry(const Configuration &configuration, double seconds,
                            double modelSeconds) {
  MicroKernelAttr kernel = configuration.kernel;
  return {kernel.getKernel().str(),
          kernel.getRows(),
          kernel.getVectors(),
          kernel.getBlock(),
          kernel.getPanels(),
          Partition::get(configuration.partition).rowSplit,
          seconds * 1e6,
          modelSeconds * 1e6};
}

static llvm::Expected<TunedEntry> search(LinearOp op) {
  Timer timer(op);
  auto seconds = timer.run();
  if (!seconds)
    return seconds.takeError();
  size_t best = chooseBest(*seconds);
  return makeEntry(timer.getConfigurations()[best],
                   *llvm::min_element((*seconds)[best]),
                   *llvm::min_element(seconds->front()));
}

//===----------------------------------------------------------------------===//
// Reuse
//===----------------------------------------------------------------------===//

/// Gives `op` the configuration of an entry.
static llvm::Error apply(const TunedEntry &entry, LinearOp op, StringRef path,
                         StringRef contraction) {
  Configuration own = Configuration::get(op);
  auto kernel =
      MicroKernelAttr::get(op.getContext(), own.kernel.getKernel(), entry.rows,
                           entry.vectors, entry.block, entry.panels);
  if (entry.panels < 0 || entry.rowSplit < 0)
    return llvm::createStringError(
        "'" + path + "': expected panels and a row split of 0 or more, found " +
        Twine(entry.panels) + " and " + Twine(entry.rowSplit) + " (" +
        contraction + ")");
  if (entry.kernel != own.kernel.getKernel() || !isPossible(kernel))
    return llvm::createStringError(
        "'" + path + "': expected a tile that '" + own.kernel.getKernel() +
        "' has registers for, found " + Twine(entry.rows) + " x " +
        Twine(entry.vectors) + " in blocks of " + Twine(entry.block) +
        " for '" + entry.kernel + "' (" + contraction + ")");
  int64_t threads = getMaxThreads(op);
  Configuration{kernel,
                Partition{threads, entry.rowSplit}.getAttr(op.getContext())}
      .setOn(op);
  op->setAttr(kTunedAttrName, UnitAttr::get(op.getContext()));
  return llvm::Error::success();
}

/// Fails unless this machine runs code for the target of `module`.
static llvm::Error checkTarget(LLVM::TargetAttr target) {
  auto fail = [](const Twine &found) {
    return llvm::createStringError(
        "expected a target that this machine can time, found " + found);
  };
  llvm::Triple triple(target.getTriple().getValue());
  if (triple.getArch() != llvm::Triple(llvm::sys::getProcessTriple()).getArch())
    return fail("'" + triple.str() + "'");
  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  for (StringAttr feature : target.getFeatures().getFeatures()) {
    StringRef name = feature.getValue();
    auto known = host.find(name.drop_front());
    if (known != host.end() && !known->second)
      return fail("one with '" + name + "'");
  }
  return llvm::Error::success();
}

/// What times hold for: the machine that they come from, and the target.
static std::string describeTarget(LLVM::TargetAttr target) {
  std::string text = llvm::sys::getHostCPUName().str() + " for " +
                     target.getChip().getValue().str() + ":";
  for (StringAttr feature : target.getFeatures().getFeatures())
    text += feature.getValue();
  return text;
}

llvm::Error qtx::tuneContractions(ModuleOp module, StringRef path,
                                  function_ref<void(size_t, size_t)> progress) {
  auto target = module->getAttrOfType<LLVM::TargetAttr>(
      LLVM::LLVMDialect::getTargetAttrName());
  if (llvm::Error error = checkTarget(target))
    return error;
  auto file = TuningFile::read(path);
  if (!file)
    return file.takeError();
  std::string targetText = describeTarget(target);
  std::map<std::string, SmallVector<LinearOp>> ops;
  module.walk([&](LinearOp op) {
    if (op->hasAttr(kConfigAttrName))
      ops[describeContraction(op)].push_back(op);
  });
  TuningFile found;
  size_t done = 0;
  for (const auto &[contraction, all] : ops) {
    const TunedEntry *known = file->lookup(targetText, contraction);
    if (!known) {
      auto entry = search(all.front());
      if (!entry)
        return entry.takeError();
      found.add(targetText, contraction, *entry);
      known = found.lookup(targetText, contraction);
    }
    for (LinearOp op : all)
      if (llvm::Error error = apply(*known, op, path, contraction))
        return error;
    if (progress)
      progress(++done, ops.size());
  }
  return found.isEmpty() ? llvm::Error::success() : found.mergeInto(path);
}
