//===- Quantize.cpp - The stage quantize ----------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// First, edges pass through a quantizer and a dequantizer, and the weights of
// linears take in what changes the order and scale of their inputs: this form
// simulates the model in float arithmetic, and data is streamed through it.
// Then weights become integers, and operations use the quantized operands.
//
//===----------------------------------------------------------------------===//

#include "qtx/Quantize/Quantize.h"
#include "Dialect/Qtx/Transforms/ConstantUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "qtx/Analysis/Calibrate.h"
#include "qtx/Analysis/GPTQ.h"
#include "qtx/Analysis/Measure.h"
#include "qtx/Analysis/Moments.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "qtx/Quantize/Parameters.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace qtx;

/// What goals of accuracy were reached with, on encoders: channels come closer
/// to one range by this power of the ratio, and outliers are this many times
/// wider than the median.
static constexpr float kScaleExponent = 0.75f;
static constexpr float kSmallestScale = 0.25f;
static constexpr float kOutlierSpan = 2.5f;
/// Boundaries of unequal groups are multiples of this.
static constexpr int64_t kGroupAlignment = 16;

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

static Value createFloats(OpBuilder &builder, Location loc,
                          ArrayRef<int64_t> shape, ArrayRef<float> values) {
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  return ConstantTensor::create(type, values).materialize(builder, loc);
}

static Value createIndices(OpBuilder &builder, Location loc,
                           ArrayRef<int64_t> values) {
  auto type =
      RankedTensorType::get({int64_t(values.size())}, builder.getI32Type());
  return ConstantTensor::create(type, values).materialize(builder, loc);
}

static bool isFloatTensor(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getElementType().isF32();
}

/// Whether the weights and bias of `op` are float constants that can change.
static bool isAdjustable(LinearOp op) {
  if (!isFloatTensor(op.getX()) || !isFloatTensor(op.getWeight()) ||
      !op.getWeight().getType().hasStaticShape() ||
      !ConstantTensor::isConstant(op.getWeight()))
    return false;
  Value bias = op.getBias();
  return !bias || (cast<RankedTensorType>(bias.getType()).getRank() == 1 &&
                   ConstantTensor::isConstant(bias));
}

/// The weights and bias of a linear as numbers.
namespace {
struct LinearNumbers {
  explicit LinearNumbers(LinearOp op)
      : rows(op.getNumOutputs()), columns(op.getContractedSize()),
        weights(ConstantTensor::get(op.getWeight())->getFloats()),
        bias(rows, 0.0f) {
    if (op.getBias())
      bias = ConstantTensor::get(op.getBias())->getFloats();
  }

  void storeWeights(LinearOp op) const {
    OpBuilder builder(op);
    op.getWeightMutable().assign(
        ConstantTensor::create(op.getWeight().getType(), ArrayRef(weights))
            .asResource()
            .materialize(builder, op.getWeight().getLoc()));
  }
  void storeBias(LinearOp op) const {
    OpBuilder builder(op);
    Location loc = op.getBias() ? op.getBias().getLoc() : op.getLoc();
    op.getBiasMutable().assign(createFloats(builder, loc, {rows}, bias));
  }

  int64_t rows, columns;
  std::vector<float> weights, bias;
};
} // namespace

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// The linear whose result alone is split into the heads `operand`; null if it
/// is another operation.
static LinearOp getProjection(Value operand) {
  auto split = operand.getDefiningOp<SplitHeadsOp>();
  if (!split || !operand.hasOneUse() || !split.getX().hasOneUse())
    return {};
  auto linear = split.getX().getDefiningOp<LinearOp>();
  if (!linear || !isAdjustable(linear) ||
      linear.getActivation() != Activation::None)
    return {};
  return linear;
}

/// A constant that is added to all keys changes all scores of a query alike,
/// which softmax does not see: keys are centred for symmetric quantizers.
static void centreKeys(AttentionOp op) {
  LinearOp linear = getProjection(op.getKey());
  auto ranges = linear ? getObserved(linear.getY()) : std::nullopt;
  if (!ranges || op.getSoftCap() || op.getSink() || op.getSinkLogit() ||
      op.getScoresQuant())
    return;
  LinearNumbers numbers(linear);
  for (size_t c = 0; c < ranges->getNumChannels(); ++c) {
    float middle = ranges->lo[c] / 2 + ranges->hi[c] / 2;
    if (!std::isfinite(middle))
      continue;
    numbers.bias[c] -= middle;
    ranges->lo[c] -= middle;
    ranges->hi[c] -= middle;
  }
  numbers.storeBias(linear);
  setObserved(linear.getY(), *ranges);
}

/// The linears that read the heads of `op` as channels; empty if anything else
/// does.
static SmallVector<LinearOp> getContextReaders(AttentionOp op) {
  SmallVector<LinearOp> readers;
  if (!op.getY().hasOneUse())
    return {};
  auto merge = dyn_cast<MergeHeadsOp>(*op.getY().user_begin());
  if (!merge)
    return {};
  for (Operation *user : merge.getY().getUsers()) {
    auto linear = dyn_cast<LinearOp>(user);
    if (!linear || linear.getX() != merge.getY() || !isAdjustable(linear))
      return {};
    readers.push_back(linear);
  }
  return readers;
}

/// Whether the rows of probabilities sum to one.
static bool isWeightedMean(AttentionOp op) {
  return op.getGamma().isZero() && op.getZeta().isExactlyValue(1) &&
         !op.getSink() && !op.getSinkLogit() && !op.getGate();
}

/// Replaces each channel of the result by `(y - shift) / scale`.
static void scaleRows(LinearNumbers &numbers, const ChannelScaling &scaling) {
  for (int64_t row = 0; row < numbers.rows; ++row) {
    float scale = scaling.scale[row];
    numbers.bias[row] = (numbers.bias[row] - scaling.shift[row]) / scale;
    for (int64_t column = 0; column < numbers.columns; ++column)
      numbers.weights[row * numbers.columns + column] /= scale;
  }
}

/// Takes in inputs `(x - shift) / scale` instead of `x`.
static void scaleColumns(LinearNumbers &numbers,
                         const ChannelScaling &scaling) {
  for (int64_t row = 0; row < numbers.rows; ++row) {
    double shift = 0;
    for (int64_t column = 0; column < numbers.columns; ++column) {
      float &weight = numbers.weights[row * numbers.columns + column];
      shift += double(weight) * scaling.shift[column];
      weight *= scaling.scale[column];
    }
    numbers.bias[row] = float(numbers.bias[row] + shift);
  }
}

/// Centres the channels of the values and gives them one range, which commutes
/// with their weighted mean: the readers of the context undo it.
static void equaliseValues(AttentionOp op) {
  LinearOp linear = getProjection(op.getValue());
  auto ranges = linear ? getObserved(linear.getY()) : std::nullopt;
  SmallVector<LinearOp> readers = getContextReaders(op);
  if (!ranges || readers.empty() || op.getContextQuant() ||
      op.getQueryType().getDimSize(1) != op.getKeyType().getDimSize(1))
    return;
  ChannelRanges largest = *ranges;
  if (!isWeightedMean(op))
    for (auto [lo, hi] : llvm::zip_equal(largest.lo, largest.hi)) {
      hi = std::max(-lo, hi);
      lo = -hi;
    }
  ChannelScaling scaling =
      boundScales(largest, /*exponent=*/1, /*smallest=*/0.0625f);
  LinearNumbers numbers(linear);
  scaleRows(numbers, scaling);
  numbers.storeWeights(linear);
  numbers.storeBias(linear);
  setObserved(linear.getY(), applyScaling(*ranges, scaling));
  Value context = readers.front().getX();
  for (LinearOp reader : readers) {
    LinearNumbers columns(reader);
    scaleColumns(columns, scaling);
    columns.storeWeights(reader);
    columns.storeBias(reader);
  }
  if (auto observed = getObserved(context))
    setObserved(context, applyScaling(*observed, scaling));
}

//===----------------------------------------------------------------------===//
// Edges
//===----------------------------------------------------------------------===//

namespace {
/// A value and those of its uses that read it quantized alike.
struct Edge {
  Value value;
  SmallVector<OpOperand *> uses;
  EdgeRecipe recipe;
  /// All uses are inputs of linears whose weights can change.
  bool feedsLinearsOnly = true;

  /// Absent where the channels are not scaled.
  std::optional<ChannelScaling> scaling;
  ChannelGroups groups;
  Type elementType;

  /// In front of the quantizer and behind the dequantizer.
  Value exact, approximate;
};

class Quantizer {
public:
  Quantizer(func::FuncOp function, const Recipe &recipe,
            const QuantizeOptions &options)
      : function(function), recipe(recipe), options(options) {}

  LogicalResult run();

private:
  //===--- Edges ---===//
  void prepareAttention();
  void findFeedForwards();
  void findStreams();
  void collectEdges();
  void collectUse(OpOperand &use, llvm::MapVector<Value, Edge> &edges);
  void collectRemaining();
  LogicalResult checkOverrides();

  //===--- Parameters ---===//
  LogicalResult choose(Edge &edge);
  FailureOr<ChannelRanges> getRanges(Edge &edge);
  LogicalResult chooseGroups(Edge &edge, ArrayRef<float> spans);
  SmallVector<int64_t> getOrder(Edge &edge, ArrayRef<float> spans);
  SmallVector<int64_t> getStreamOrder(Value value, ArrayRef<float> spans);
  void chooseScaling(Edge &edge, const ChannelRanges &ranges);
  Type makeElementType(const Edge &edge, const ChannelRanges &ranges);

  //===--- Rewrites ---===//
  void insert(Edge &edge);
  void endStreams();
  Value quantize(OpBuilder &builder, Edge &edge, Value value);
  Value restore(OpBuilder &builder, const Edge &edge);
  void adjust(LinearOp op, const Edge &edge);
  void quantizeProbabilities();

  //===--- Weights ---===//
  LogicalResult observe();
  void quantizeWeights();
  void quantizeWeights(LinearOp op, size_t edge);

  func::FuncOp function;
  const Recipe &recipe;
  const QuantizeOptions &options;
  /// Does not grow once edges are quantized.
  std::vector<Edge> edges;
  /// For recipes with groups: the edges of feed-forward networks that have
  /// groups, with the edge that says in which order.
  DenseMap<Value, Value> orderOf;
  /// Values whose channels sums, normalisation and activations keep in one
  /// order, by `Value::getAsOpaquePointer`.
  llvm::EquivalenceClasses<void *> streams;
  /// The order of each stream that has one, by its leader.
  DenseMap<void *, SmallVector<int64_t>> streamOrders;
  /// Of what each edge held: sums in front of the quantizer, moments behind.
  std::vector<std::vector<double>> sums;
  std::vector<std::optional<SecondMoments>> moments;
  bool hasMissingRanges = false;
};
} // namespace

void Quantizer::prepareAttention() {
  if (!recipe.edge.isScaled)
    return;
  for (auto op : function.getBody().front().getOps<AttentionOp>()) {
    centreKeys(op);
    equaliseValues(op);
  }
}

/// `x`, `h` and `y` of a feed-forward network: its input, its result and the
/// residual sum.
void Quantizer::findFeedForwards() {
  for (auto down : function.getBody().front().getOps<LinearOp>()) {
    Operation *activation = down.getX().getDefiningOp();
    if (!isa_and_present<GeluOp, ReluOp, SiluOp>(activation))
      continue;
    auto up = activation->getOperand(0).getDefiningOp<LinearOp>();
    if (!up || !down.getY().hasOneUse())
      continue;
    auto sum = dyn_cast<AddOp>(*down.getY().user_begin());
    if (!sum)
      continue;
    for (Value value : {up.getX(), down.getY(), sum.getY()})
      orderOf[value] = down.getY();
  }
}

static bool isChannelwise(Operation *op) {
  return isa<AddOp, LayerNormOp, RmsNormOp, GeluOp, ReluOp, SiluOp>(op);
}

void Quantizer::findStreams() {
  auto hasChannels = [](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.getRank() > 1 && !ConstantTensor::isConstant(value);
  };
  auto getSize = [](Value value) {
    return cast<RankedTensorType>(value.getType()).getShape().back();
  };
  for (Operation &op : function.getBody().front()) {
    if (!isChannelwise(&op) || !hasChannels(op.getResult(0)))
      continue;
    for (Value operand : op.getOperands())
      if (hasChannels(operand) && getSize(operand) == getSize(op.getResult(0)))
        streams.unionSets(op.getResult(0).getAsOpaquePointer(),
                          operand.getAsOpaquePointer());
  }
}

void Quantizer::collectUse(OpOperand &use,
                           llvm::MapVector<Value, Edge> &found) {
  Value value = use.get();
  OpOperand *target = &use;
  auto split = value.getDefiningOp<SplitHeadsOp>();
  if (split && value.hasOneUse()) {
    target = &split->getOpOperand(0);
    value = split.getX();
  }
  if (!isFloatTensor(value) || ConstantTensor::isConstant(value))
    return;
  Edge &edge = found[value];
  edge.value = value;
  edge.uses.push_back(target);
  edge.feedsLinearsOnly &= isa<LinearOp>(target->getOwner());
}

void Quantizer::collectEdges() {
  llvm::MapVector<Value, Edge> found;
  for (Operation &op : function.getBody().front()) {
    if (auto linear = dyn_cast<LinearOp>(op)) {
      if (isAdjustable(linear) &&
          recipe.getWeight(getEdgeName(linear.getY())).isQuantized)
        collectUse(linear.getXMutable(), found);
      else if (options.report)
        getLayerReport(*options.report, linear.getY()).reason =
            isAdjustable(linear) ? "the recipe leaves it float"
                                 : "its weights are not float constants";
    }
    if (recipe.edges == EdgeSet::LinearInputs)
      continue;
    if (auto attention = dyn_cast<AttentionOp>(op))
      for (OpOperand *use :
           {&attention.getQueryMutable(), &attention.getKeyMutable(),
            &attention.getValueMutable()})
        collectUse(*use, found);
    if (auto product = dyn_cast<BatchMatmulOp>(op))
      for (OpOperand *use : {&product.getAMutable(), &product.getBMutable()})
        collectUse(*use, found);
  }
  for (auto &[value, edge] : found)
    edges.push_back(edge);
  if (recipe.edges == EdgeSet::All)
    collectRemaining();
  for (Edge &edge : edges)
    edge.recipe = recipe.getEdge(getEdgeName(edge.value));
}

/// What operations other than products read.
void Quantizer::collectRemaining() {
  DenseSet<OpOperand *> known;
  for (Edge &edge : edges)
    known.insert(edge.uses.begin(), edge.uses.end());
  for (Value value : getEdges(function)) {
    if (!isFloatTensor(value))
      continue;
    Edge edge;
    edge.value = value;
    edge.feedsLinearsOnly = false;
    for (OpOperand &use : value.getUses())
      if (isChannelwise(use.getOwner()) && isFloatTensor(use.get()) &&
          !known.contains(&use) &&
          cast<RankedTensorType>(value.getType()).getRank() > 1)
        edge.uses.push_back(&use);
    if (!edge.uses.empty())
      edges.push_back(edge);
  }
}

/// An override that matches nothing is a mistake of the user.
LogicalResult Quantizer::checkOverrides() {
  auto check = [&](ArrayRef<Recipe::Override> overrides, StringRef what,
                   ArrayRef<std::string> names) {
    for (const Recipe::Override &override : overrides)
      if (llvm::none_of(names, [&](const std::string &name) {
            return override.matches(name);
          }))
        return LogicalResult(function.emitError()
                             << recipe.name << ": no " << what << " matches '"
                             << override.match << "'");
    return success();
  };
  SmallVector<std::string> edgeNames, layerNames;
  for (const Edge &edge : edges)
    edgeNames.push_back(getEdgeName(edge.value));
  for (auto op : function.getBody().front().getOps<LinearOp>())
    layerNames.push_back(getEdgeName(op.getY()));
  if (failed(check(recipe.edgeOverrides, "edge", edgeNames)))
    return failure();
  return check(recipe.layerOverrides, "layer", layerNames);
}

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

static int64_t getNumChannels(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape().back();
}

/// The observed ranges, widened.
FailureOr<ChannelRanges> Quantizer::getRanges(Edge &edge) {
  std::optional<ChannelRanges> ranges = getObserved(edge.value);
  int64_t numChannels = getNumChannels(edge.value);
  if (!ranges || ranges->getNumChannels() != size_t(numChannels))
    return failure();
  for (auto [lo, hi] : llvm::zip_equal(ranges->lo, ranges->hi)) {
    float middle = lo / 2 + hi / 2;
    if (!std::isfinite(middle))
      continue;
    lo = middle + (lo - middle) * float(edge.recipe.margin);
    hi = middle + (hi - middle) * float(edge.recipe.margin);
  }
  return *ranges;
}

/// Whether the channels of `value` can be stored in another order at no cost:
/// between a linear and the linears that read its activations.
static bool isFreelyOrdered(Value value) {
  while (isa_and_present<GeluOp, ReluOp, SiluOp>(value.getDefiningOp())) {
    value = value.getDefiningOp()->getOperand(0);
    if (!value.hasOneUse())
      return false;
  }
  auto linear = value.getDefiningOp<LinearOp>();
  return linear && isAdjustable(linear);
}

static bool isPermutable(const Edge &edge) {
  return edge.feedsLinearsOnly && isFreelyOrdered(edge.value) &&
         llvm::all_of(edge.value.getUses(), [&](OpOperand &use) {
           return llvm::is_contained(edge.uses, &use);
         });
}

/// Channels by the largest multiple of the median that they reach on the edges
/// of the stream that have groups: an outlier anywhere is one everywhere.
SmallVector<int64_t> Quantizer::getStreamOrder(Value value,
                                               ArrayRef<float> spans) {
  auto leader = streams.findLeader(value.getAsOpaquePointer());
  if (leader == streams.member_end())
    return sortBySpan(spans);
  SmallVector<int64_t> &order = streamOrders[*leader];
  if (!order.empty())
    return order;
  std::vector<float> largest(spans.size(), 0);
  for (const Edge &edge : edges) {
    Value source = orderOf.lookup(edge.value);
    bool leads = recipe.edges == EdgeSet::All ? source == edge.value
                                              : edge.feedsLinearsOnly;
    auto ranges = getObserved(edge.value);
    if (!leads || !ranges || ranges->getNumChannels() != spans.size() ||
        !streams.isEquivalent(edge.value.getAsOpaquePointer(), *leader))
      continue;
    std::vector<float> observed = getSpans(*ranges);
    float median = std::max(getMedian(observed), 1e-30f);
    for (auto [target, span] : llvm::zip_equal(largest, observed))
      target = std::max(target, span / median);
  }
  order = sortBySpan(largest);
  return order;
}

/// The order in which an edge with groups stores its channels.
SmallVector<int64_t> Quantizer::getOrder(Edge &edge, ArrayRef<float> spans) {
  if (recipe.order == OrderScope::Network) {
    // Heads stay where they are.
    if (edge.value.getDefiningOp<MergeHeadsOp>())
      return edge.groups.order;
    return getStreamOrder(edge.value, spans);
  }
  Value source =
      recipe.edges == EdgeSet::All ? orderOf.lookup(edge.value) : Value();
  auto ranges = source ? getObserved(source) : std::nullopt;
  if (!ranges || ranges->getNumChannels() != spans.size())
    return sortBySpan(spans);
  return sortBySpan(getSpans(*ranges));
}

LogicalResult Quantizer::chooseGroups(Edge &edge, ArrayRef<float> spans) {
  int64_t size = spans.size(), numGroups = edge.recipe.numGroups;
  switch (edge.recipe.grouping) {
  case Grouping::PerTensor:
    return success();
  case Grouping::Outliers:
    // Other edges get along with scaling alone.
    if (isPermutable(edge))
      edge.groups = separateOutliers(spans, kOutlierSpan);
    else if (recipe.edges == EdgeSet::All && !edge.feedsLinearsOnly) {
      // What no product reads may have a scale and zero point for each channel.
      edge.recipe.isSymmetric = false;
      edge.groups.order.resize(size);
      std::iota(edge.groups.order.begin(), edge.groups.order.end(), 0);
      edge.groups.sizes.assign(size, 1);
    }
    return success();
  case Grouping::Unequal: {
    if (!edge.feedsLinearsOnly)
      return success();
    edge.groups.order = getOrder(edge, spans);
    auto sorted = llvm::map_to_vector(edge.groups.order,
                                      [&](int64_t c) { return spans[c]; });
    edge.groups.sizes = cutUnequally(sorted, numGroups, kGroupAlignment);
    if (edge.groups.sizes.size() == 1)
      llvm::sort(edge.groups.order);
    return success();
  }
  case Grouping::Equal:
    break;
  }
  // As published: the edges of feed-forward networks, in one order.
  Value order = orderOf.lookup(edge.value);
  bool isEveryEdge = recipe.edges != EdgeSet::All;
  if (numGroups == 1 || (!order && !isEveryEdge) ||
      (isEveryEdge && !edge.feedsLinearsOnly))
    return success();
  if (size % numGroups != 0)
    return emitError(edge.value.getLoc())
           << "expected a number of groups that divides the " << size
           << " channels of '" << getEdgeName(edge.value) << "', found "
           << numGroups;
  edge.groups.order = getOrder(edge, spans);
  edge.groups.sizes.assign(numGroups, size / numGroups);
  return success();
}

/// The step of a symmetric quantizer for each channel, in its own unit.
static std::vector<float> getSteps(const Edge &edge,
                                   const ChannelRanges &scaled) {
  std::vector<float> steps(scaled.getNumChannels());
  ArrayRef<int64_t> order = edge.groups.order;
  for (int64_t size : edge.groups.sizes) {
    ArrayRef<int64_t> group = order.take_front(size);
    order = order.drop_front(size);
    float scale = chooseParameters(joinRanges(scaled, group), true).scale;
    for (int64_t channel : group)
      steps[channel] = scale * edge.scaling->scale[channel];
  }
  return steps;
}

/// Outliers in a group of their own keep their scale. Shifts are multiples of
/// the step: where many values are zero, as behind an activation, an error of
/// zero would add up.
void Quantizer::chooseScaling(Edge &edge, const ChannelRanges &ranges) {
  edge.scaling = boundScales(ranges, kScaleExponent, kSmallestScale);
  ArrayRef<int64_t> sizes = edge.groups.sizes;
  if (sizes.size() == 2)
    for (int64_t outlier : ArrayRef(edge.groups.order).drop_front(sizes[0]))
      edge.scaling->scale[outlier] = 1;
  std::vector<float> middles = edge.scaling->shift;
  // The steps depend on the shifts; a second round settles.
  for (int round = 0; round < 2; ++round) {
    auto steps = getSteps(edge, applyScaling(ranges, *edge.scaling));
    for (auto [shift, middle, step] :
         llvm::zip_equal(edge.scaling->shift, middles, steps))
      shift = std::nearbyint(middle / step) * step;
  }
}

static Type makeType(MLIRContext *context, ArrayRef<int64_t> sizes,
                     ArrayRef<AffineParameters> parameters) {
  if (parameters.size() == 1)
    return quant::UniformQuantizedType::get(
        quant::QuantizationFlags::Signed, IntegerType::get(context, 8),
        Float32Type::get(context), parameters[0].scale, parameters[0].zeroPoint,
        -128, 127);
  SmallVector<float> scales;
  SmallVector<int64_t> zeroPoints;
  for (AffineParameters group : parameters) {
    scales.push_back(group.scale);
    zeroPoints.push_back(group.zeroPoint);
  }
  return GroupedType::get(context, 8, /*isSigned=*/true, /*axis=*/-1, sizes,
                          DenseF32ArrayAttr::get(context, scales),
                          DenseI64ArrayAttr::get(context, zeroPoints));
}

Type Quantizer::makeElementType(const Edge &edge, const ChannelRanges &ranges) {
  SmallVector<AffineParameters> parameters;
  ArrayRef<int64_t> order = edge.groups.order;
  for (int64_t size : edge.groups.sizes) {
    parameters.push_back(chooseParameters(
        joinRanges(ranges, order.take_front(size)), edge.recipe.isSymmetric));
    order = order.drop_front(size);
  }
  return makeType(function.getContext(), edge.groups.sizes, parameters);
}

LogicalResult Quantizer::choose(Edge &edge) {
  int64_t size = getNumChannels(edge.value);
  edge.groups.order.resize(size);
  std::iota(edge.groups.order.begin(), edge.groups.order.end(), 0);
  edge.groups.sizes = {size};
  FailureOr<ChannelRanges> ranges = getRanges(edge);
  bool isPerToken =
      edge.recipe.isDynamic && edge.recipe.grouping == Grouping::PerTensor;
  if (failed(ranges) && !isPerToken) {
    hasMissingRanges = true;
    return success();
  }
  if (succeeded(ranges) && failed(chooseGroups(edge, getSpans(*ranges))))
    return failure();
  if (edge.recipe.isDynamic) {
    edge.elementType = GroupedType::get(function.getContext(), 8,
                                        /*isSigned=*/true, /*axis=*/-1,
                                        edge.groups.sizes, {}, {});
    return success();
  }
  ChannelRanges scaled = *ranges;
  if (edge.recipe.isScaled && edge.feedsLinearsOnly) {
    chooseScaling(edge, *ranges);
    scaled = applyScaling(*ranges, *edge.scaling);
  }
  edge.elementType = makeElementType(edge, scaled);
  return success();
}

//===----------------------------------------------------------------------===//
// Rewrites
//===----------------------------------------------------------------------===//

/// The value in quantized form and back.
Value Quantizer::quantize(OpBuilder &builder, Edge &edge, Value value) {
  Location loc = edge.value.getLoc();
  auto type = cast<RankedTensorType>(value.getType());
  auto stored = type.clone(edge.elementType);
  if (!edge.recipe.isDynamic) {
    auto quantize = QuantizeOp::create(builder, loc, stored, value, Value(),
                                       Value(), TypeAttr());
    return DequantizeOp::create(builder, loc, type, quantize.getY(), Value(),
                                Value(), TypeAttr());
  }
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = edge.groups.sizes.size();
  auto scales = RankedTensorType::get(shape, builder.getF32Type());
  auto zeroPoints = RankedTensorType::get(shape, builder.getI32Type());
  auto quantize = DynamicQuantizeOp::create(
      builder, loc, TypeRange{stored, scales, zeroPoints}, value, Value(),
      Value(), TypeAttr(), UnitAttr(), TypeAttr());
  return DequantizeOp::create(builder, loc, type, quantize.getY(),
                              quantize.getYScale(), quantize.getYZeroPoint(),
                              TypeAttr());
}

static SmallVector<int64_t> invert(ArrayRef<int64_t> order) {
  SmallVector<int64_t> inverse(order.size());
  for (auto [position, channel] : llvm::enumerate(order))
    inverse[channel] = position;
  return inverse;
}

static Value permute(OpBuilder &builder, Location loc, Value value,
                     ArrayRef<int64_t> order) {
  return PermuteOp::create(builder, loc, value.getType(), value,
                           createIndices(builder, loc, order),
                           builder.getI64IntegerAttr(-1));
}

void Quantizer::insert(Edge &edge) {
  Location loc = edge.value.getLoc();
  OpBuilder builder(function.getContext());
  builder.setInsertionPointAfterValue(edge.value);
  Value value = edge.value;
  if (edge.scaling) {
    std::vector<float> gain, shift;
    for (auto [scale, middle] :
         llvm::zip_equal(edge.scaling->scale, edge.scaling->shift)) {
      gain.push_back(1 / scale);
      shift.push_back(-middle / scale);
    }
    int64_t size = gain.size();
    Value gains = createFloats(builder, loc, {size}, gain);
    Value shifts = createFloats(builder, loc, {size}, shift);
    value = ScaleShiftOp::create(builder, loc, value.getType(), value, Value(),
                                 Value(), gains, shifts, Value(), Value(),
                                 TypeAttr(), TypeAttr());
  }
  if (!edge.groups.isIdentity())
    value = permute(builder, loc, value, edge.groups.order);
  edge.exact = value;
  edge.approximate = quantize(builder, edge, value);
  Value restored;
  for (OpOperand *use : edge.uses) {
    if (edge.feedsLinearsOnly) {
      use->set(edge.approximate);
      adjust(cast<LinearOp>(use->getOwner()), edge);
      continue;
    }
    if (!restored)
      restored = restore(builder, edge);
    use->set(restored);
  }
}

/// Where a stream that has an order ends, channels return to their places: this
/// lets all of the stream be stored in its order. The inverse pair vanishes if
/// that is not possible.
void Quantizer::endStreams() {
  SmallVector<OpOperand *> uses;
  for (Operation &op : function.getBody().front())
    if (!isa_and_present<QtxDialect>(op.getDialect()) &&
        !isa<tensor::DimOp>(op))
      for (OpOperand &use : op.getOpOperands())
        uses.push_back(&use);
  DenseMap<Value, Value> restored;
  for (OpOperand *use : uses) {
    Value value = use->get();
    auto leader = streams.findLeader(value.getAsOpaquePointer());
    auto order = leader == streams.member_end() ? streamOrders.end()
                                                : streamOrders.find(*leader);
    if (order == streamOrders.end())
      continue;
    Value &target = restored[value];
    if (!target) {
      OpBuilder builder(function.getContext());
      builder.setInsertionPointAfterValue(value);
      Location loc = value.getLoc();
      target =
          permute(builder, loc, permute(builder, loc, value, order->second),
                  invert(order->second));
    }
    use->set(target);
  }
}

/// The channels of a dequantized edge in their own order.
Value Quantizer::restore(OpBuilder &builder, const Edge &edge) {
  if (edge.groups.isIdentity())
    return edge.approximate;
  return permute(builder, edge.value.getLoc(), edge.approximate,
                 invert(edge.groups.order));
}

/// Lets the weights and bias of `op` take in the order and scale of its input.
void Quantizer::adjust(LinearOp op, const Edge &edge) {
  if (!edge.scaling && edge.groups.isIdentity())
    return;
  LinearNumbers numbers(op);
  std::vector<float> source = numbers.weights;
  for (int64_t row = 0; row < numbers.rows; ++row) {
    ArrayRef<float> from =
        ArrayRef(source).slice(row * numbers.columns, numbers.columns);
    double shift = 0;
    for (int64_t i = 0; i < numbers.columns; ++i) {
      int64_t channel = edge.groups.order[i];
      float scale = edge.scaling ? edge.scaling->scale[channel] : 1;
      numbers.weights[row * numbers.columns + i] = from[channel] * scale;
      if (edge.scaling)
        shift += double(from[channel]) * edge.scaling->shift[channel];
    }
    numbers.bias[row] = float(numbers.bias[row] + shift);
  }
  numbers.storeWeights(op);
  if (edge.scaling)
    numbers.storeBias(op);
}

/// Probabilities beside quantized values: their range is known. The normaliser
/// is applied behind the product, unless clipping needs it before.
void Quantizer::quantizeProbabilities() {
  Type type = makeType(function.getContext(), {}, {{1.0f / 255, -128}});
  for (auto op : function.getBody().front().getOps<AttentionOp>()) {
    auto isQuantized = [](Value value) {
      if (auto split = value.getDefiningOp<SplitHeadsOp>())
        value = split.getX();
      return value.getDefiningOp<DequantizeOp>() != nullptr;
    };
    if (!isQuantized(op.getValue()) || op.getProbsQuant())
      continue;
    op.setProbsQuantAttr(TypeAttr::get(type));
    bool isClipped = !op.getGamma().isZero() || !op.getZeta().isExactlyValue(1);
    op.setUnnormalised(!isClipped);
  }
}

//===----------------------------------------------------------------------===//
// Data
//===----------------------------------------------------------------------===//

static void addRows(const StreamedValue &value, std::vector<double> &sums) {
  sums.resize(value.getNumChannels());
  for (int64_t row = 0, e = value.getNumRows(); row < e; ++row)
    if (value.isValid(row))
      for (auto [sum, number] : llvm::zip_equal(sums, value.getRow(row)))
        sum += number;
}

/// Streams the data through the simulation; one lane for each edge that feeds
/// linears.
LogicalResult Quantizer::observe() {
  sums.resize(edges.size());
  moments.resize(edges.size());
  bool isNeeded =
      recipe.hasBiasCorrection || recipe.weight.isErrorMinimised ||
      llvm::any_of(recipe.layerOverrides, [](const Recipe::Override &override) {
        return override.isErrorMinimised.value_or(false);
      });
  if (!options.data || !isNeeded)
    return success();
  StreamedFunction streamed{function, {}};
  SmallVector<SmallVector<size_t>> lanes;
  SmallVector<size_t> edgeOfLane;
  for (auto [index, edge] : llvm::enumerate(edges)) {
    if (!edge.approximate || !edge.feedsLinearsOnly)
      continue;
    size_t first = streamed.values.size();
    llvm::append_values(streamed.values, edge.exact, edge.approximate);
    lanes.push_back({first, first + 1});
    edgeOfLane.push_back(index);
    moments[index].emplace(getNumChannels(edge.value));
  }
  if (lanes.empty())
    return success();
  auto runner = StreamRunner::create(streamed, lanes, options.stream);
  if (!runner)
    return function.emitError() << llvm::toString(runner.takeError());
  llvm::Error error =
      (*runner)->run(*options.data, [&](const LaneFeed &lane) -> llvm::Error {
        size_t edge = edgeOfLane[lane.lane];
        addRows(lane.values[0], sums[edge]);
        moments[edge]->update(lane.values[1]);
        return llvm::Error::success();
      });
  if (error)
    return function.emitError() << llvm::toString(std::move(error));
  return success();
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// Adds what rounding takes from the mean of each output. `exact` and
/// `approximate` are the means of the inputs.
static void correctBias(LinearNumbers &numbers, const RoundedWeights &rounded,
                        ArrayRef<double> exact, ArrayRef<double> approximate) {
  int64_t numBlocks = llvm::divideCeil(numbers.columns, rounded.block);
  for (int64_t row = 0; row < numbers.rows; ++row) {
    double error = 0;
    for (int64_t i = 0; i < numbers.columns; ++i) {
      int64_t at = row * numbers.columns + i;
      double scale = rounded.scales[row * numBlocks + i / rounded.block];
      error += numbers.weights[at] * exact[i] -
               double(rounded.codes[at]) * scale * approximate[i];
    }
    numbers.bias[row] = float(numbers.bias[row] + error);
  }
}

static void storeIntegers(LinearOp op, const LinearNumbers &numbers,
                          const RoundedWeights &rounded, unsigned bits) {
  OpBuilder builder(op);
  Location loc = op.getWeight().getLoc();
  auto type = RankedTensorType::get({numbers.rows, numbers.columns},
                                    builder.getIntegerType(bits));
  ConstantTensor weight = ConstantTensor::create(type, rounded.codes);
  // LLVM's translation knows no resources of i4.
  if (bits == 8)
    weight = weight.asResource();
  op.getWeightMutable().assign(weight.materialize(builder, loc));
  bool hasBlocks = rounded.block < numbers.columns;
  SmallVector<int64_t> shape = {numbers.rows};
  if (hasBlocks) {
    shape.push_back(llvm::divideCeil(numbers.columns, rounded.block));
    op.setWeightBlock(rounded.block);
  }
  op.getWeightScaleMutable().assign(
      createFloats(builder, loc, shape, rounded.scales));
}

static std::vector<double> divide(ArrayRef<double> sums, int64_t count) {
  std::vector<double> means(sums.begin(), sums.end());
  for (double &mean : means)
    mean /= double(std::max<int64_t>(count, 1));
  return means;
}

void Quantizer::quantizeWeights(LinearOp op, size_t edge) {
  WeightRecipe choice = recipe.getWeight(getEdgeName(op.getY()));
  LinearNumbers numbers(op);
  WeightMatrix matrix{numbers.weights, numbers.rows, numbers.columns};
  RoundingOptions rounding;
  rounding.bits = choice.bits;
  rounding.block = choice.block;
  // Few codes resolve more than they cut off with a smaller range.
  rounding.searchesScales = choice.isErrorMinimised && choice.bits < 8;
  rounding.numThreads = options.stream.numThreads;
  RoundedWeights rounded =
      choice.isErrorMinimised && moments[edge]
          ? roundMinimisingError(matrix, moments[edge]->getProducts(), rounding)
          : roundToNearest(matrix, rounding);
  if (rounded.block == 0)
    rounded.block = numbers.columns;
  if (moments[edge] && recipe.hasBiasCorrection) {
    int64_t count = moments[edge]->getNumRows();
    correctBias(numbers, rounded, divide(sums[edge], count),
                divide(moments[edge]->getSums(), count));
    numbers.storeBias(op);
  }
  storeIntegers(op, numbers, rounded, choice.bits);
  if (options.report)
    getLayerReport(*options.report, op.getY()).method =
        rounded.isErrorMinimised ? "gptq" : "nearest";
}

void Quantizer::quantizeWeights() {
  for (auto [index, edge] : llvm::enumerate(edges)) {
    if (!edge.approximate)
      continue;
    for (Operation *user : llvm::to_vector(edge.approximate.getUsers()))
      if (auto linear = dyn_cast<LinearOp>(user))
        if (isAdjustable(linear) &&
            recipe.getWeight(getEdgeName(linear.getY())).isQuantized)
          quantizeWeights(linear, index);
  }
}

//===----------------------------------------------------------------------===//
// Quantized operands
//===----------------------------------------------------------------------===//

/// Views move to the front of a dequantizer with one scale.
static void moveViews(func::FuncOp function) {
  for (auto split :
       llvm::to_vector(function.getBody().front().getOps<SplitHeadsOp>())) {
    auto dequantize = split.getX().getDefiningOp<DequantizeOp>();
    auto params =
        dequantize
            ? getQuantParams(dequantize, dequantize.getQuantEdges().front())
            : std::nullopt;
    if (!params || !params->isPerTensor() || dequantize.getXQuant())
      continue;
    OpBuilder builder(split);
    auto type = cast<RankedTensorType>(split.getY().getType());
    auto view =
        SplitHeadsOp::create(builder, split.getLoc(),
                             type.clone(params->getType()), dequantize.getX());
    auto moved =
        DequantizeOp::create(builder, dequantize.getLoc(), type, view.getY(),
                             Value(), Value(), TypeAttr());
    split.getY().replaceAllUsesWith(moved.getY());
    split.erase();
  }
}

static DequantizeOp getDequantize(Value value) {
  auto dequantize = value.getDefiningOp<DequantizeOp>();
  // In storage form the type is an attribute that would have to move.
  return dequantize && !dequantize.getXQuant() ? dequantize : DequantizeOp();
}

static void useQuantizedInput(LinearOp op) {
  DequantizeOp input = getDequantize(op.getX());
  if (!input || !op.getWeightScale())
    return;
  op.getXMutable().assign(input.getX());
  if (input.getXScale())
    op.getXScaleMutable().assign(input.getXScale());
  if (input.getXZeroPoint())
    op.getXZeroPointMutable().assign(input.getXZeroPoint());
}

/// Replaces all of `operands` by what is dequantized, or none.
static void useQuantizedInputs(ArrayRef<OpOperand *> operands) {
  auto isStatic = [](OpOperand *operand) {
    DequantizeOp input = getDequantize(operand->get());
    return input && !input.getXScale();
  };
  if (!llvm::all_of(operands, isStatic))
    return;
  for (OpOperand *operand : operands)
    operand->set(getDequantize(operand->get()).getX());
}

static void useQuantizedOperands(Operation *op) {
  if (auto linear = dyn_cast<LinearOp>(op))
    useQuantizedInput(linear);
  else if (auto attention = dyn_cast<AttentionOp>(op))
    useQuantizedInputs({&attention.getQueryMutable(),
                        &attention.getKeyMutable(),
                        &attention.getValueMutable()});
  else if (auto product = dyn_cast<BatchMatmulOp>(op))
    useQuantizedInputs({&product.getAMutable(), &product.getBMutable()});
  else if (auto add = dyn_cast<AddOp>(op)) {
    useQuantizedInputs({&add.getLhsMutable()});
    useQuantizedInputs({&add.getRhsMutable()});
  } else if (isa<LayerNormOp, RmsNormOp, GeluOp, ReluOp, SiluOp>(op)) {
    useQuantizedInputs({&op->getOpOperand(0)});
  }
}

void qtx::useQuantizedOperands(func::FuncOp function) {
  moveViews(function);
  for (Operation &op : function.getBody().front())
    ::useQuantizedOperands(&op);
  for (auto op :
       llvm::to_vector(function.getBody().front().getOps<DequantizeOp>()))
    if (op->use_empty())
      op.erase();
}

//===----------------------------------------------------------------------===//
// All
//===----------------------------------------------------------------------===//

/// Constants that nothing uses any more.
static void eraseUnusedConstants(func::FuncOp function) {
  for (auto op :
       llvm::to_vector(function.getBody().front().getOps<arith::ConstantOp>()))
    if (op->use_empty())
      op.erase();
}

/// Whether the model came with quantized edges.
static bool isQuantized(func::FuncOp function) {
  WalkResult result = function.walk([](QuantizableOpInterface op) {
    for (const QuantEdge &edge : op.getQuantEdges())
      if (getQuantParams(op, edge))
        return WalkResult::interrupt();
    return WalkResult::advance();
  });
  return result.wasInterrupted();
}

LogicalResult Quantizer::run() {
  if (recipe.isFloat())
    return success();
  if (isQuantized(function)) {
    function.emitRemark() << "the model is quantized already and keeps its "
                             "scales: recipe '"
                          << recipe.name << "' is not applied";
    return success();
  }
  prepareAttention();
  findFeedForwards();
  findStreams();
  collectEdges();
  if (failed(checkOverrides()))
    return failure();
  for (Edge &edge : edges)
    if (edge.recipe.isQuantized && failed(choose(edge)))
      return failure();
  if (hasMissingRanges)
    return function.emitError()
           << "recipe '" << recipe.name
           << "' needs observed ranges: calibrate the model with data "
              "(--calibrate=DATA.npz), or choose a recipe that takes none "
              "(--recipe=w8a8-dynamic or --recipe=none)";
  for (Edge &edge : edges)
    if (edge.recipe.isQuantized)
      insert(edge);
  endStreams();
  quantizeProbabilities();
  if (failed(observe()))
    return failure();
  quantizeWeights();
  useQuantizedOperands(function);
  eraseUnusedConstants(function);
  removeObserved(function);
  return success();
}

LogicalResult qtx::quantizeModel(func::FuncOp function, const Recipe &recipe,
                                 const QuantizeOptions &options) {
  return Quantizer(function, recipe, options).run();
}
