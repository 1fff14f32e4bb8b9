//===- Calibrate.cpp - Observe the ranges of edges ------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Calibrate.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Pass/Pass.h"
#include "qtx/Analysis/Passes.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SetVector.h"
#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace qtx;

namespace qtx {
#define GEN_PASS_DEF_QTXCALIBRATEPASS
#include "qtx/Analysis/Passes.h.inc"
} // namespace qtx

static constexpr auto kRemark =
    remark::RemarkOpts::name("Calibrate").category("qtx-calibrate");

//===----------------------------------------------------------------------===//
// Edges
//===----------------------------------------------------------------------===//

/// Whether `value` is a float tensor that changes with the inputs and has
/// channels.
static bool hasChannels(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getElementType().isF32() && type.getRank() >= 2 &&
         !type.isDynamicDim(type.getRank() - 1) &&
         !matchPattern(value, m_Constant()) &&
         !value.getDefiningOp<SplitHeadsOp>();
}

/// The tensors that `op` reads or writes as numbers: no additive masks, which
/// hold infinities.
static SmallVector<Value> getNumbers(Operation &op) {
  SmallVector<Value> values;
  auto attention = dyn_cast<AttentionOp>(op);
  for (Value operand : op.getOperands())
    if (!attention || operand != attention.getMask())
      values.push_back(operand);
  llvm::append_range(values, op.getResults());
  return values;
}

SmallVector<Value> qtx::getEdges(func::FuncOp function) {
  llvm::SetVector<Value> edges;
  for (Operation &op : function.getBody().front())
    if (isa_and_present<QtxDialect>(op.getDialect()))
      for (Value value : getNumbers(op))
        if (hasChannels(value) &&
            value.getParentRegion() == &function.getBody())
          edges.insert(value);
  return edges.takeVector();
}

//===----------------------------------------------------------------------===//
// Calibration
//===----------------------------------------------------------------------===//

namespace {
/// Observes the edges of one function, in two passes over the data where ranges
/// follow from distributions.
class Calibration {
public:
  Calibration(func::FuncOp function, const CalibrateOptions &options)
      : function(function), options(options), edges(getEdges(function)) {
    for (Value edge : edges)
      choices.push_back(options.getObserver
                            ? options.getObserver(getEdgeName(edge))
                            : options.observer);
  }

  LogicalResult run(const CalibrationData &data);

private:
  /// An element of an edge that is NaN or infinite.
  struct Problem {
    size_t feed;
    std::string text;
  };

  static bool needsDistribution(const ObserverOptions &choice) {
    return choice.kind == ObserverKind::Percentile ||
           choice.kind == ObserverKind::Mse;
  }
  bool needsSecondPass() const {
    return llvm::any_of(choices, needsDistribution);
  }
  void prepare();
  StreamOptions getStreamOptions(const CalibrationData &data) const;
  llvm::Error stream(StreamRunner &runner, const CalibrationData &data);
  void startDistribution(size_t edge);
  void finishDistribution(size_t edge);
  void extrapolate();
  llvm::Error observe(size_t edge, const LaneFeed &lane);
  void count(size_t edge, const StreamedValue &value);
  LogicalResult reportError(llvm::Error error);
  LogicalResult reportProblem(Value edge, const Problem &problem);
  void annotate();

  func::FuncOp function;
  const CalibrateOptions &options;
  SmallVector<Value> edges;
  /// How each edge is observed.
  std::vector<ObserverOptions> choices;
  std::vector<RangeObserver> observers;
  /// For `extrapolated` only.
  std::vector<std::optional<ExtremeObserver>> extremes;
  /// For `percentile` and `mse` only, while the second pass runs, and what it
  /// finds.
  std::vector<std::optional<TailObserver>> tails;
  std::vector<std::optional<HistogramObserver>> histograms;
  std::vector<std::optional<ChannelRanges>> refined;
  std::vector<ChannelRanges> ranges;
  std::vector<std::optional<Problem>> problems;
};
} // namespace

llvm::Error Calibration::observe(size_t edge, const LaneFeed &lane) {
  const StreamedValue &value = lane.values.front();
  std::optional<NonFinite> element = observers[edge].update(value);
  if (!element) {
    if (extremes[edge])
      extremes[edge]->update(value);
    return llvm::Error::success();
  }
  problems[edge] = {lane.feed.index,
                    describeNonFinite(*element, value, lane.feed)};
  return llvm::createStringError("not finite");
}

/// Whether normalisations alone read `value`, which bound what one channel of
/// a token can do.
static bool isNormalised(Value value) {
  return !value.use_empty() &&
         llvm::all_of(value.getUsers(),
                      [](Operation *op) { return isa<LayerNormOp>(op); });
}

void Calibration::prepare() {
  for (auto [edge, choice] : llvm::zip_equal(edges, choices)) {
    observers.emplace_back(choice.kind == ObserverKind::Running
                               ? std::optional(choice.momentum)
                               : std::nullopt);
    std::optional<ExtremeObserver> &extreme = extremes.emplace_back();
    if (choice.kind == ObserverKind::Extrapolated)
      extreme.emplace(isNormalised(edge));
  }
  tails.resize(edges.size());
  histograms.resize(edges.size());
  refined.resize(edges.size());
  problems.resize(edges.size());
}

/// The result of the activation `op` for a positive number; empty if it is
/// none.
static std::optional<float> activate(Operation *op, float x) {
  if (isa_and_present<ReluOp>(op))
    return x;
  if (isa_and_present<SiluOp>(op))
    return x / (1 + std::exp(-x));
  // Both forms of GELU, within 0.001.
  if (isa_and_present<GeluOp>(op))
    return x * (1 + std::erf(x * std::sqrt(0.5f))) / 2;
  return std::nullopt;
}

/// Whether activations alone read `value`.
static bool isActivated(Value value) {
  return !value.use_empty() &&
         llvm::all_of(value.getUsers(), [](Operation *op) {
           return activate(op, 0).has_value();
         });
}

/// Channels that an activation lets pass for few samples, as those that answer
/// to a rare word, have no tail that could be extrapolated: they are expected
/// to reach as far as the median channel.
static void raiseSilent(ChannelRanges &ranges) {
  if (ranges.hi.empty())
    return;
  std::vector<float> sorted = ranges.hi;
  auto middle = sorted.begin() + (sorted.size() - 1) / 2;
  std::nth_element(sorted.begin(), middle, sorted.end());
  for (float &hi : ranges.hi)
    hi = std::max(hi, *middle);
}

/// Ranges that more samples would have. What passed an activation is zero
/// mostly and says little about its tail: its ranges follow from those of the
/// operand, and end at the observed ones below zero, where activations do.
void Calibration::extrapolate() {
  DenseMap<Value, size_t> indices;
  for (auto [i, edge] : llvm::enumerate(edges))
    indices[edge] = i;
  for (auto [i, extreme] : llvm::enumerate(extremes)) {
    if (!extreme)
      continue;
    Operation *op = edges[i].getDefiningOp();
    auto operand =
        activate(op, 0) ? indices.find(op->getOperand(0)) : indices.end();
    if (operand == indices.end()) {
      ranges[i] = extreme->getRanges(choices[i].samples);
      if (isActivated(edges[i]))
        raiseSilent(ranges[i]);
      continue;
    }
    // Operands come first.
    for (auto [hi, x] :
         llvm::zip_equal(ranges[i].hi, ranges[operand->second].hi))
      hi = std::max(hi, *activate(op, std::max(x, 0.0f)));
  }
}

/// Behind the first pass, whose bounds the distribution lies in.
void Calibration::startDistribution(size_t edge) {
  // Beyond that many values at an end a histogram takes less memory.
  constexpr int64_t kMaxTail = 64;
  const ObserverOptions &choice = choices[edge];
  const RangeObserver &known = observers[edge];
  int64_t rows = known.getNumRows();
  if (choice.kind == ObserverKind::Percentile &&
      TailObserver::getTailSize(rows, choice.percentile) <= kMaxTail)
    tails[edge].emplace(known.getRanges().getNumChannels(), rows,
                        choice.percentile);
  else if (needsDistribution(choice))
    histograms[edge].emplace(known.getRanges());
}

void Calibration::count(size_t edge, const StreamedValue &value) {
  if (tails[edge])
    tails[edge]->update(value);
  else if (histograms[edge])
    histograms[edge]->update(value);
}

void Calibration::finishDistribution(size_t edge) {
  const ObserverOptions &choice = choices[edge];
  if (tails[edge])
    refined[edge] = tails[edge]->getRanges();
  else if (choice.kind == ObserverKind::Percentile)
    refined[edge] = histograms[edge]->getQuantiles(choice.percentile);
  else if (choice.kind == ObserverKind::Mse)
    refined[edge] = histograms[edge]->getRangesOfLeastError(choice.bits);
  tails[edge].reset();
  histograms[edge].reset();
}

llvm::Error Calibration::stream(StreamRunner &runner,
                                const CalibrationData &data) {
  auto observe = [&](const LaneFeed &lane) {
    return this->observe(lane.lane, lane);
  };
  auto start = [&](ArrayRef<size_t> lanes) {
    llvm::for_each(lanes, [&](size_t edge) { startDistribution(edge); });
    return llvm::Error::success();
  };
  auto count = [&](const LaneFeed &lane) {
    this->count(lane.lane, lane.values.front());
    return llvm::Error::success();
  };
  auto finish = [&](ArrayRef<size_t> lanes) {
    llvm::for_each(lanes, [&](size_t edge) { finishDistribution(edge); });
    return llvm::Error::success();
  };
  StreamPass passes[] = {{observe, start}, {count, finish}};
  return runner.run(data, ArrayRef(passes).take_front(needsSecondPass() + 1));
}

LogicalResult Calibration::reportProblem(Value edge, const Problem &problem) {
  return emitError(edge.getLoc())
         << "edge '" << getEdgeName(edge)
         << "': expected finite numbers, found " << problem.text;
}

/// The error of a pass: that of an edge, of the earliest feed, if there is one.
LogicalResult Calibration::reportError(llvm::Error error) {
  std::string text = llvm::toString(std::move(error));
  size_t first = edges.size();
  for (auto [i, problem] : llvm::enumerate(problems))
    if (problem &&
        (first == edges.size() || problem->feed < problems[first]->feed))
      first = i;
  if (first < edges.size())
    return reportProblem(edges[first], *problems[first]);
  return function.emitError() << "calibration failed: " << text;
}

void Calibration::annotate() {
  removeObserved(function);
  for (auto [edge, observed] : llvm::zip_equal(edges, ranges))
    if (!observed.lo.empty() && observed.lo.front() <= observed.hi.front())
      setObserved(edge, observed);
}

StreamOptions Calibration::getStreamOptions(const CalibrationData &data) const {
  StreamOptions stream = options.stream;
  // The fast path does not compare sizes.
  stream.jit.fast &= data.isConsistent();
  for (auto [edge, choice] : llvm::zip_equal(edges, choices)) {
    int64_t channels = cast<RankedTensorType>(edge.getType()).getShape().back();
    stream.laneBytes.push_back(needsDistribution(choice)
                                   ? HistogramObserver::kNumBins *
                                         sizeof(uint32_t) * channels
                                   : 0);
  }
  return stream;
}

LogicalResult Calibration::run(const CalibrationData &data) {
  if (edges.empty()) {
    remark::missed(function.getLoc(), kRemark)
        << remark::reason("no edge to observe");
    return success();
  }
  prepare();
  auto runner = StreamRunner::create(StreamedFunction{function, edges},
                                     /*lanes=*/{}, getStreamOptions(data));
  if (!runner)
    return reportError(runner.takeError());
  if (llvm::Error error = stream(**runner, data))
    return reportError(std::move(error));
  for (const RangeObserver &observer : observers)
    ranges.push_back(observer.getRanges());
  extrapolate();
  for (auto [target, found] : llvm::zip_equal(ranges, refined))
    if (found)
      target = std::move(*found);
  annotate();
  remark::passed(function.getLoc(), kRemark) << remark::add(
      "observed {0} edges in {1} samples", edges.size(), data.getNumSamples());
  return success();
}

LogicalResult qtx::calibrate(func::FuncOp function, const CalibrationData &data,
                             const CalibrateOptions &options) {
  return Calibration(function, options).run(data);
}

FailureOr<CalibrationData> qtx::readCalibrationData(func::FuncOp function,
                                                    StringRef path) {
  auto warn = [&](const Twine &text) { function.emitWarning() << text; };
  auto data = CalibrationData::read(function, path, warn);
  if (data)
    return std::move(*data);
  function.emitError() << llvm::toString(data.takeError());
  return failure();
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {
struct QtxCalibratePass : qtx::impl::QtxCalibratePassBase<QtxCalibratePass> {
  using QtxCalibratePassBase::QtxCalibratePassBase;

  void runOnOperation() override {
    auto function = getOperation().lookupSymbol<func::FuncOp>(entry);
    if (!function || function.isDeclaration()) {
      getOperation().emitError() << "expected a function '" << entry
                                 << "' with a body to calibrate, found none";
      return signalPassFailure();
    }
    auto parsed = parseObserver(observer);
    if (!parsed) {
      getOperation().emitError() << llvm::toString(parsed.takeError());
      return signalPassFailure();
    }
    CalibrateOptions options;
    options.observer = *parsed;
    options.stream.numThreads = threads;
    options.stream.maxSegmentBytes = segmentBytes;
    FailureOr<CalibrationData> samples = readCalibrationData(function, data);
    if (failed(samples) || failed(calibrate(function, *samples, options)))
      signalPassFailure();
  }
};
} // namespace
