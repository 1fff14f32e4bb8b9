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
/// Observes the edges of one function in one or two passes over the data.
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
  llvm::Error observeRanges(const StreamRunner &runner,
                            const CalibrationData &data);
  llvm::Error refineRanges(const StreamRunner &runner,
                           const CalibrationData &data);
  void extrapolate();
  llvm::Error observe(size_t edge, const LaneFeed &lane);
  ProgressFn getProgress();
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
  std::vector<ChannelRanges> ranges;
  std::vector<std::optional<Problem>> problems;
  /// Passes over the data that are done.
  size_t numPasses = 0;
};
} // namespace

/// Both passes together make one progress.
ProgressFn Calibration::getProgress() {
  if (!options.stream.progress)
    return {};
  return [this](size_t done, size_t total) {
    size_t passes = needsSecondPass() ? 2 : 1;
    options.stream.progress(numPasses * total + done, passes * total);
  };
}

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

/// The first pass: smallest and largest values, and how many there are.
llvm::Error Calibration::observeRanges(const StreamRunner &runner,
                                       const CalibrationData &data) {
  extremes.resize(edges.size());
  for (auto [choice, extreme] : llvm::zip_equal(choices, extremes)) {
    observers.emplace_back(choice.kind == ObserverKind::Running
                               ? std::optional(choice.momentum)
                               : std::nullopt);
    if (choice.kind == ObserverKind::Extrapolated)
      extreme.emplace();
  }
  problems.resize(edges.size());
  if (llvm::Error error = runner.run(
          data, [&](const LaneFeed &lane) { return observe(lane.lane, lane); }))
    return error;
  ++numPasses;
  for (const RangeObserver &observer : observers)
    ranges.push_back(observer.getRanges());
  extrapolate();
  return llvm::Error::success();
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
      continue;
    }
    // Operands come first.
    for (auto [hi, x] :
         llvm::zip_equal(ranges[i].hi, ranges[operand->second].hi))
      hi = std::max(hi, *activate(op, std::max(x, 0.0f)));
  }
}

/// The second pass: the distribution within the bounds of the first one.
llvm::Error Calibration::refineRanges(const StreamRunner &runner,
                                      const CalibrationData &data) {
  // Beyond that many values at an end a histogram takes less memory.
  constexpr int64_t kMaxTail = 64;
  std::vector<std::optional<TailObserver>> tails(edges.size());
  std::vector<std::optional<HistogramObserver>> histograms(edges.size());
  for (auto [i, known] : llvm::enumerate(observers)) {
    const ObserverOptions &choice = choices[i];
    int64_t rows = known.getNumRows();
    if (!needsDistribution(choice))
      continue;
    if (choice.kind == ObserverKind::Percentile &&
        TailObserver::getTailSize(rows, choice.percentile) <= kMaxTail)
      tails[i].emplace(ranges[i].getNumChannels(), rows, choice.percentile);
    else
      histograms[i].emplace(ranges[i]);
  }
  if (llvm::Error error = runner.run(data, [&](const LaneFeed &lane) {
        if (tails[lane.lane])
          tails[lane.lane]->update(lane.values.front());
        else if (histograms[lane.lane])
          histograms[lane.lane]->update(lane.values.front());
        return llvm::Error::success();
      }))
    return error;
  for (auto [i, choice] : llvm::enumerate(choices)) {
    if (tails[i])
      ranges[i] = tails[i]->getRanges();
    else if (choice.kind == ObserverKind::Percentile)
      ranges[i] = histograms[i]->getQuantiles(choice.percentile);
    else if (choice.kind == ObserverKind::Mse)
      ranges[i] = histograms[i]->getRangesOfLeastError(choice.bits);
  }
  return llvm::Error::success();
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

LogicalResult Calibration::run(const CalibrationData &data) {
  if (edges.empty()) {
    remark::missed(function.getLoc(), kRemark)
        << remark::reason("no edge to observe");
    return success();
  }
  StreamOptions stream = options.stream;
  stream.progress = getProgress();
  // The fast path does not compare sizes.
  stream.jit.fast &= data.isConsistent();
  auto runner = StreamRunner::create(StreamedFunction{function, edges},
                                     /*lanes=*/{}, stream);
  if (!runner)
    return reportError(runner.takeError());
  if (llvm::Error error = observeRanges(**runner, data))
    return reportError(std::move(error));
  if (needsSecondPass())
    if (llvm::Error error = refineRanges(**runner, data))
      return reportError(std::move(error));
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
    FailureOr<CalibrationData> samples = readCalibrationData(function, data);
    if (failed(samples) || failed(calibrate(function, *samples, options)))
      signalPassFailure();
  }
};
} // namespace
