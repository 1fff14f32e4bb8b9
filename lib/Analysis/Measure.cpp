//===- Measure.cpp - What quantization costs ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/Measure.h"
#include "mlir/IR/IRMapping.h"
#include "qtx/Analysis/Calibrate.h"
#include "qtx/Conversion/QtxToRows/QtxToRows.h"
#include "qtx/Dialect/Qtx/IR/QtxAttributes.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Kernel/Tuning.h"
#include "qtx/Support/Diagnostics.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include <numeric>

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

static std::string getOpName(Value value) {
  Operation *op = value.getDefiningOp();
  return op ? op->getName().getStringRef().str() : "argument";
}

/// The entry `name` of an `op`. Operations that a pattern made of one node may
/// share a name: the later ones get that of the operation added.
template <typename EntryT>
static EntryT &getEntry(StringRef name, StringRef op,
                        llvm::function_ref<EntryT &(StringRef)> get) {
  EntryT *entry = &get(name);
  if (!entry->op.empty() && entry->op != op)
    entry = &get((name + " (" + op + ")").str());
  entry->op = op;
  return *entry;
}

EdgeReport &qtx::getEdgeReport(Report &report, Value value) {
  return getEntry<EdgeReport>(
      getEdgeName(value), getOpName(value),
      [&](StringRef name) -> EdgeReport & { return report.getEdge(name); });
}

static LayerReport &getLayerReport(Report &report, StringRef name,
                                   StringRef op) {
  return getEntry<LayerReport>(name, op, [&](StringRef name) -> LayerReport & {
    return report.getLayer(name);
  });
}

LayerReport &qtx::getLayerReport(Report &report, Value value) {
  return ::getLayerReport(report, getEdgeName(value), getOpName(value));
}

static std::string getTypeName(Type type) {
  if (std::optional<QuantParams> params = QuantParams::get(type)) {
    std::string width = std::to_string(params->getStorageType().getWidth());
    return (params->isSigned() ? "i" : "u") + width;
  }
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

//===----------------------------------------------------------------------===//
// Models
//===----------------------------------------------------------------------===//

/// The weights of `op`; null if it has none.
static Value getWeights(Operation *op) {
  if (auto linear = dyn_cast<LinearOp>(op))
    return linear.getWeight();
  if (auto embedding = dyn_cast<EmbeddingOp>(op))
    return embedding.getTable();
  if (auto gate = dyn_cast<GateProjectionOp>(op))
    return gate.getWeight();
  return {};
}

Value qtx::getFactor(Operation *op) {
  if (auto attention = dyn_cast<AttentionOp>(op))
    return attention.getKey();
  if (auto product = dyn_cast<BatchMatmulOp>(op))
    return product.getB();
  return getWeights(op);
}

static void reportLayers(func::FuncOp function, Report &report) {
  for (Operation &op : function.getBody().front()) {
    Value factor = getFactor(&op);
    if (!factor)
      continue;
    LayerReport &layer = getLayerReport(report, op.getResult(0));
    auto type = cast<RankedTensorType>(factor.getType());
    layer.type = getTypeName(type.getElementType());
    if (getWeights(&op))
      layer.shape.assign(type.getShape().begin(), type.getShape().end());
  }
}

void qtx::reportModel(func::FuncOp function, Report &report) {
  for (Value value : getEdges(function)) {
    EdgeReport &edge = getEdgeReport(report, value);
    if (std::optional<ChannelRanges> ranges = getObserved(value)) {
      edge.lo = ranges->lo;
      edge.hi = ranges->hi;
    }
  }
  reportLayers(function, report);
}

//===----------------------------------------------------------------------===//
// Types and groups
//===----------------------------------------------------------------------===//

namespace {
/// The edge of the model from which a value descends.
struct Origin {
  Value edge;
  /// The channel of the edge that each channel of the value is; empty if they
  /// are the same.
  SmallVector<int64_t> channels;
};
} // namespace

/// The operand that `op` only rearranges, rescales or requantizes.
static Value getSource(Operation *op) {
  if (isa<QuantizeOp, RequantizeOp, DequantizeOp, ScaleShiftOp, PermuteOp>(
          op) ||
      isa<DynamicQuantizeOp, SplitHeadsOp, MergeHeadsOp>(op))
    return op->getOperand(0);
  return {};
}

static Origin getOrigin(Value value) {
  Origin origin{value, {}};
  while (Operation *op = origin.edge.getDefiningOp()) {
    Value source = getSource(op);
    if (!source || isa<SplitHeadsOp, MergeHeadsOp>(op))
      break;
    if (auto permute = dyn_cast<PermuteOp>(op)) {
      auto indices = permute.getConstantIndices();
      if (!indices || int64_t(permute.getAxis()) != -1)
        break;
      if (origin.channels.empty())
        origin.channels = *indices;
      else
        for (int64_t &channel : origin.channels)
          channel = (*indices)[channel];
    }
    origin.edge = source;
  }
  return origin;
}

/// The group of each channel of the model, for groups of the last axis.
static std::vector<int64_t> getGroupOfChannel(const QuantParams &params,
                                              const Origin &origin) {
  if (params.isPerTensor() || params.getAxis() != -1)
    return {};
  auto stored = params.getGroupOfChannel();
  std::vector<int64_t> groups(stored.begin(), stored.end());
  if (origin.channels.size() == groups.size())
    for (auto [position, channel] : llvm::enumerate(origin.channels))
      groups[channel] = stored[position];
  return groups;
}

static std::vector<GroupReport> getGroups(const QuantParams &params) {
  std::vector<GroupReport> groups(params.getNumGroups());
  for (auto [i, group] : llvm::enumerate(groups)) {
    if (params.isGrouped())
      group.size = params.getGroupSizes()[i];
    if (params.isDynamic())
      continue;
    group.scale = params.getScale(i);
    group.zeroPoint = params.getZeroPoint(i);
  }
  return groups;
}

void qtx::reportQuantization(func::FuncOp function, Report &report) {
  for (Operation &op : function.getBody().front())
    for (Value value : op.getResults()) {
      auto type = dyn_cast<RankedTensorType>(value.getType());
      auto params = QuantParams::get(type ? type.getElementType() : Type());
      if (!params || isa<SplitHeadsOp, MergeHeadsOp>(op))
        continue;
      Origin origin = getOrigin(value);
      EdgeReport &edge = getEdgeReport(report, origin.edge);
      if (!edge.groups.empty())
        continue;
      edge.type = getTypeName(type.getElementType());
      edge.groups = getGroups(*params);
      edge.groupOfChannel = getGroupOfChannel(*params, origin);
      if (params->isPerTensor())
        edge.groups[0].size = edge.lo.size();
    }
  reportLayers(function, report);
}

void qtx::addRemark(Report &report, const PassRemark &remark) {
  auto name = remark.location->findInstanceOf<NameLoc>();
  report.remarks.push_back(
      {remark.pass,
       name ? name.getName().str() : describeLocation(remark.location),
       remark.text});
  report.numReferenceRemarks += remark.name == kReferenceRemark;
  report.numLargeWeights += remark.name == kLargeWeightsRemark;
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// Why the reference lowering runs a layer; empty if a kernel does.
static StringRef explainReference(Operation *op,
                                  const TargetFeatures &features) {
  return llvm::TypeSwitch<Operation *, StringRef>(op)
      .Case<LinearOp, BatchMatmulOp, AttentionOp>(
          [&](auto layer) { return findObstacle(layer, features); })
      .Default(findRowsObstacle);
}

static std::string getKernelName(MicroKernelAttr config, bool isTuned) {
  std::string name = config.getKernel().str();
  if (isTuned)
    name +=
        llvm::formatv(", tuned: {0} x {1} in blocks of {2}", config.getRows(),
                      config.getVectors(), config.getBlock())
            .str();
  return name;
}

/// What runs a layer that has no obstacle.
static std::string getKernelName(Operation *op,
                                 const TargetFeatures &features) {
  if (auto config = op->getAttrOfType<MicroKernelAttr>(kConfigAttrName))
    return getKernelName(config, op->hasAttr(kTunedAttrName));
  auto attention = dyn_cast<AttentionOp>(op);
  if (!attention)
    return "rows";
  auto [scores, context] = getMicroKernels(attention, features);
  if (scores == context)
    return scores->getName().str();
  return (scores->getName() + ", " + context->getName()).str();
}

void qtx::reportKernels(func::FuncOp function, Report &report) {
  TargetFeatures features(function->getParentOfType<ModuleOp>());
  for (Operation &op : function.getBody().front()) {
    if (!getFactor(&op))
      continue;
    StringRef obstacle = explainReference(&op, features);
    for (StringRef name : getLayerNames(&op)) {
      LayerReport &layer =
          ::getLayerReport(report, name, op.getName().getStringRef());
      layer.kernel =
          obstacle.empty() ? getKernelName(&op, features) : "reference";
      layer.kernelReason = obstacle.str();
    }
  }
}

//===----------------------------------------------------------------------===//
// Noise
//===----------------------------------------------------------------------===//

namespace {
/// Two values that would be equal without quantization, and where their
/// difference belongs.
struct Pair {
  Value exact;
  Value approximate;
  std::optional<double> *target;
  double signal = 0;
  double noise = 0;
};
} // namespace

static bool isFloatTensor(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getElementType().isF32();
}

static bool isStaticallyQuantized(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  auto params = QuantParams::get(type ? type.getElementType() : Type());
  return params && !params->isDynamic();
}

/// The result of `op` before it is quantized: its operand, or that of a copy
/// with a float result. Null if `op` only moves what is quantized already.
static Value getExact(Operation *op) {
  if (auto quantize = dyn_cast<QuantizeOp>(op))
    return quantize.getX();
  if (isa<PermuteOp, SplitHeadsOp, MergeHeadsOp>(op) ||
      op->getNumResults() != 1)
    return {};
  OpBuilder builder(op);
  Operation *copy = builder.clone(*op);
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  copy->getResult(0).setType(type.clone(builder.getF32Type()));
  return copy->getResult(0);
}

/// The edges that `function` quantizes. Adds operations to it.
static void addEdgePairs(func::FuncOp function, Report &report,
                         std::deque<Pair> &pairs) {
  for (Operation &op : llvm::make_early_inc_range(function.getBody().front()))
    for (Value value : op.getResults()) {
      if (!isStaticallyQuantized(value) || isa<SplitHeadsOp, MergeHeadsOp>(op))
        continue;
      EdgeReport &edge = getEdgeReport(report, getOrigin(value).edge);
      if (edge.sqnr)
        continue;
      Value exact = getExact(&op);
      if (!exact)
        continue;
      edge.sqnr = kMaxSqnr;
      pairs.push_back({exact, value, &edge.sqnr});
    }
}

/// Results of layers that are float in both functions.
static void addLayerPairs(func::FuncOp model, func::FuncOp quantized,
                          Report &report, std::deque<Pair> &pairs) {
  llvm::StringMap<Value> exact;
  for (Operation &op : model.getBody().front())
    if (getWeights(&op) && isFloatTensor(op.getResult(0)))
      exact.try_emplace(getEdgeName(op.getResult(0)), op.getResult(0));
  for (Operation &op : quantized.getBody().front()) {
    if (!getWeights(&op) || !isFloatTensor(op.getResult(0)))
      continue;
    Value approximate = op.getResult(0);
    Value found = exact.lookup(getEdgeName(approximate));
    LayerReport &layer = getLayerReport(report, approximate);
    if (!found || found.getType() != approximate.getType() || layer.outputSqnr)
      continue;
    layer.outputSqnr = kMaxSqnr;
    pairs.push_back({found, approximate, &layer.outputSqnr});
  }
}

/// Adds what one feed holds.
static void accumulate(Pair &pair, const LaneFeed &lane) {
  const StreamedValue &exact = lane.values[0], &approximate = lane.values[1];
  for (int64_t row = 0, e = exact.getNumRows(); row < e; ++row) {
    if (!exact.isValid(row))
      continue;
    for (auto [x, y] :
         llvm::zip_equal(exact.getRow(row), approximate.getRow(row))) {
      double difference = double(x) - double(y);
      pair.signal += double(x) * double(x);
      pair.noise += difference * difference;
    }
  }
}

/// Brings pairs into the order of the quantized function, in which data streams
/// through both.
static void sortPairs(func::FuncOp quantized, std::deque<Pair> &pairs) {
  llvm::DenseMap<Operation *, size_t> places;
  for (auto [i, op] : llvm::enumerate(quantized.getBody().front()))
    places[&op] = i;
  llvm::sort(pairs, [&](const Pair &a, const Pair &b) {
    return places.lookup(a.approximate.getDefiningOp()) <
           places.lookup(b.approximate.getDefiningOp());
  });
}

/// The two functions with the values of the pairs, and a lane for each pair.
static void makeStreams(std::deque<Pair> &pairs, StreamedFunction &model,
                        StreamedFunction &quantized,
                        SmallVectorImpl<SmallVector<size_t>> &lanes) {
  auto isOfModel = [&](Value value) {
    return model.function &&
           value.getParentRegion() == &model.function.getBody();
  };
  for (Pair &pair : pairs)
    if (isOfModel(pair.exact))
      model.values.push_back(pair.exact);
  size_t numOfModel = model.values.size(), nextOfModel = 0;
  auto add = [&](Value value) {
    quantized.values.push_back(value);
    return numOfModel + quantized.values.size() - 1;
  };
  for (Pair &pair : pairs) {
    size_t exact = isOfModel(pair.exact) ? nextOfModel++ : add(pair.exact);
    lanes.push_back({exact, add(pair.approximate)});
  }
}

llvm::Error qtx::measureNoise(func::FuncOp model, func::FuncOp quantized,
                              const CalibrationData &data,
                              const StreamOptions &options, Report &report) {
  OwningOpRef<ModuleOp> copy = quantized->getParentOfType<ModuleOp>().clone();
  auto function = copy->lookupSymbol<func::FuncOp>(quantized.getName());
  // Stays where it is: lanes refer to it.
  std::deque<Pair> pairs;
  addEdgePairs(function, report, pairs);
  bool isQuantized =
      !pairs.empty() ||
      llvm::any_of(report.getLayers(), [](const LayerReport &layer) {
        return layer.type != "f32";
      });
  if (model && isQuantized)
    addLayerPairs(model, function, report, pairs);
  if (pairs.empty())
    return llvm::Error::success();
  sortPairs(function, pairs);
  StreamedFunction modelStream{model, {}}, quantizedStream{function, {}};
  SmallVector<SmallVector<size_t>> lanes;
  makeStreams(pairs, modelStream, quantizedStream, lanes);
  SmallVector<StreamedFunction> streams;
  if (!modelStream.values.empty())
    streams.push_back(modelStream);
  streams.push_back(quantizedStream);
  auto runner = StreamRunner::create(streams, lanes, options);
  if (!runner)
    return runner.takeError();
  if (llvm::Error error = (*runner)->run(data, [&](const LaneFeed &lane) {
        accumulate(pairs[lane.lane], lane);
        return llvm::Error::success();
      }))
    return error;
  for (Pair &pair : pairs)
    *pair.target = getSqnr(pair.signal, pair.noise);
  return llvm::Error::success();
}
