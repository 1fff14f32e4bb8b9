//===- ChooseParameters.cpp - Groups, scales and shifts of edges ----------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearNumbers.h"
#include "Quantizer.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "qtx/Analysis/Measure.h"
#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace qtx;

/// Outliers are this many times wider than the median.
static constexpr float kOutlierSpan = 2.5f;

/// The observed ranges of `value`. Those of heads are observed in front of the
/// split: one for each head and channel, of which this is the hull.
static std::optional<ChannelRanges> getChannelRanges(Value value) {
  std::optional<ChannelRanges> ranges = getObserved(value);
  size_t numChannels = getNumChannels(value);
  if (!ranges || !value.getDefiningOp<SplitHeadsOp>())
    return ranges;
  for (size_t i = numChannels; i < ranges->getNumChannels(); ++i) {
    float &lo = ranges->lo[i % numChannels], &hi = ranges->hi[i % numChannels];
    lo = std::min(lo, ranges->lo[i]);
    hi = std::max(hi, ranges->hi[i]);
  }
  ranges->lo.resize(numChannels);
  ranges->hi.resize(numChannels);
  return ranges;
}

/// The observed ranges, widened.
FailureOr<ChannelRanges> Quantizer::getRanges(const Edge &edge) const {
  std::optional<ChannelRanges> ranges = getChannelRanges(edge.value);
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

void Quantizer::limitToSum(const Edge &edge, ChannelRanges &ranges) const {
  auto sum = edge.value.hasOneUse() ? dyn_cast<AddOp>(*edge.value.user_begin())
                                    : AddOp();
  auto result = llvm::find_if(edges, [&](const Edge &other) {
    return sum && other.value == sum.getY() && other.recipe.isQuantized;
  });
  if (result == edges.end() || !edge.recipe.isScaled)
    return;
  FailureOr<ChannelRanges> limits = getRanges(*result);
  auto others = getChannelRanges(sum.getLhs() == edge.value ? sum.getRhs()
                                                            : sum.getLhs());
  if (failed(limits) || !others ||
      others->getNumChannels() != ranges.getNumChannels() ||
      limits->getNumChannels() != ranges.getNumChannels())
    return;
  for (size_t c = 0; c < ranges.getNumChannels(); ++c) {
    ranges.lo[c] = std::max(ranges.lo[c], limits->lo[c] - others->hi[c]);
    ranges.hi[c] = std::min(ranges.hi[c], limits->hi[c] - others->lo[c]);
  }
}

bool qtx::isFreelyOrdered(Value value) {
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
    // With searched scales, scaling alone loses no more.
    if (!edge.variances.empty())
      return success();
    // Other edges get along with scaling alone.
    if (isPermutable(edge))
      edge.groups = separateOutliers(spans, kOutlierSpan);
    else if (edge.feedsLinearsOnly)
      explainOutliers(edge, separateOutliers(spans, kOutlierSpan));
    else if (llvm::all_of(edge.uses, [](OpOperand *use) {
               return isChannelwise(use->getOwner());
             })) {
      // What no product reads may have a scale and zero point for each channel.
      edge.recipe.isSymmetric = false;
      edge.groups.order.resize(size);
      std::iota(edge.groups.order.begin(), edge.groups.order.end(), 0);
      edge.groups.sizes.assign(size, 1);
    }
    return success();
  case Grouping::Unequal: {
    if (!edge.feedsLinearsOnly) {
      explainGroups(edge);
      return success();
    }
    edge.groups.order = getOrder(edge, spans);
    auto sorted = llvm::map_to_vector(edge.groups.order,
                                      [&](int64_t c) { return spans[c]; });
    edge.groups.sizes = cutUnequally(sorted, numGroups, kStepSize);
    if (edge.groups.sizes.size() == 1)
      llvm::sort(edge.groups.order);
    explainGroups(edge);
    return success();
  }
  case Grouping::Equal:
    break;
  }
  // As published: the edges of feed-forward networks, in one order.
  bool isFeedForward =
      recipe.edges == EdgeSet::All && orderOf.contains(edge.value);
  bool isOther = edge.feedsLinearsOnly && !edge.recipe.onlyFeedForward;
  if (numGroups == 1 || !(isFeedForward || isOther))
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

/// Whether the linears that read `edge` join the sums of two groups in
/// integers.
static bool joinsIntegers(const Recipe &recipe, const Edge &edge) {
  if (edge.recipe.grouping != Grouping::Outliers ||
      edge.groups.sizes.size() != 2 || !edge.feedsLinearsOnly ||
      edge.recipe.form == GroupForm::Folded)
    return false;
  return llvm::all_of(edge.uses, [&](OpOperand *use) {
    auto linear = cast<LinearOp>(use->getOwner());
    WeightRecipe weight = recipe.getWeight(getEdgeName(linear.getY()));
    return weight.bits == 8 && weight.block == 0;
  });
}

/// The parameters of each group.
static SmallVector<AffineParameters>
getParameters(const Recipe &recipe, const Edge &edge,
              const ChannelRanges &ranges) {
  SmallVector<AffineParameters> parameters;
  SmallVector<qtx::Range> joined;
  ArrayRef<int64_t> order = edge.groups.order;
  for (int64_t size : edge.groups.sizes) {
    joined.push_back(joinRanges(ranges, order.take_front(size)));
    parameters.push_back(
        chooseParameters(joined.back(), edge.recipe.isSymmetric));
    order = order.drop_front(size);
  }
  if (!joinsIntegers(recipe, edge))
    return parameters;
  SmallVector<AffineParameters> aligned = parameters;
  alignScales(aligned, edge.groups.sizes);
  for (auto [own, before, range] : llvm::zip_equal(aligned, parameters, joined))
    if (own.scale != before.scale)
      own = chooseZeroPoint(range, edge.recipe.isSymmetric, own.scale);
  return aligned;
}

std::vector<float> qtx::getSteps(const Edge &edge,
                                 ArrayRef<AffineParameters> parameters) {
  std::vector<float> steps(edge.groups.order.size());
  ArrayRef<int64_t> order = edge.groups.order;
  for (auto [size, group] : llvm::zip_equal(edge.groups.sizes, parameters)) {
    for (int64_t channel : order.take_front(size))
      steps[channel] =
          group.scale * (edge.scaling ? edge.scaling->scale[channel] : 1);
    order = order.drop_front(size);
  }
  return steps;
}

/// Outliers in a group of their own come closer to the widest of them: its
/// range is that of the group, and its weights keep their scale.
static void scaleOutliers(const ChannelRanges &ranges,
                          ArrayRef<int64_t> outliers, ChannelScaling &scaling) {
  std::vector<float> spans = getSpans(ranges);
  float widest = 0;
  for (int64_t outlier : outliers)
    widest = std::max(widest, spans[outlier]);
  for (int64_t outlier : outliers)
    scaling.scale[outlier] = std::max(
        std::pow(spans[outlier] / widest, kScaleExponent), kSmallestScale);
}

/// Few bits of weights resolve less than scales of channels would take.
static bool hasCoarseReader(const Recipe &recipe, const Edge &edge) {
  return llvm::any_of(edge.uses, [&](OpOperand *use) {
    auto linear = cast<LinearOp>(use->getOwner());
    return recipe.getWeight(getEdgeName(linear.getY())).bits < 8;
  });
}

/// Normalised rows surprise least, so their narrow channels need little room
/// beyond what was observed. Few bits of weights take no wider scales.
static float getScaleExponent(const Recipe &recipe, const Edge &edge) {
  bool isNormalised =
      isa_and_present<LayerNormOp, RmsNormOp>(edge.value.getDefiningOp());
  return isNormalised && !hasCoarseReader(recipe, edge)
             ? kNormalisedScaleExponent
             : kScaleExponent;
}

/// Shifts are multiples of the step: where many values are zero, as behind an
/// activation, an error of zero would add up.
void Quantizer::chooseScaling(Edge &edge, ChannelRanges &ranges) {
  edge.scaling = searchScaling(edge, ranges);
  if (options.report)
    getEdgeReport(*options.report, edge.value).scaling =
        edge.scaling ? "search" : "range";
  if (!edge.scaling)
    edge.scaling =
        boundScales(ranges, getScaleExponent(recipe, edge), kSmallestScale);
  ArrayRef<int64_t> sizes = edge.groups.sizes;
  if (sizes.size() == 2) {
    ArrayRef<int64_t> outliers =
        ArrayRef(edge.groups.order).drop_front(sizes[0]);
    if (hasCoarseReader(recipe, edge))
      for (int64_t outlier : outliers)
        edge.scaling->scale[outlier] = 1;
    else
      scaleOutliers(ranges, outliers, *edge.scaling);
  }
  std::vector<float> middles = edge.scaling->shift;
  // The steps depend on the shifts; a second round settles.
  for (int round = 0; round < 2; ++round) {
    auto steps = getSteps(
        edge, getParameters(recipe, edge, applyScaling(ranges, *edge.scaling)));
    for (auto [shift, middle, step] :
         llvm::zip_equal(edge.scaling->shift, middles, steps))
      shift = std::nearbyint(middle / step) * step;
  }
}

Type qtx::makeType(MLIRContext *context, ArrayRef<int64_t> sizes,
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

void Quantizer::takeStaticScales(Edge &edge, bool hasRanges) {
  if (!edge.recipe.isDynamic || edge.feedsLinearsOnly)
    return;
  if (hasRanges) {
    edge.recipe.isDynamic = false;
    edge.recipe.grouping = Grouping::PerTensor;
    return;
  }
  edge.obstacle = "products take no scales of each token, and there is no data";
  llvm::erase_if(edge.uses, [&](OpOperand *use) {
    bool isProduct = !isa<LinearOp>(use->getOwner());
    if (isProduct)
      loneFactors[use->getOwner()] = getEdgeName(edge.value);
    return isProduct;
  });
  edge.feedsLinearsOnly = true;
  edge.recipe.isQuantized = !edge.uses.empty();
  if (edge.recipe.isQuantized)
    remark::missed(edge.value.getLoc(), kQuantizeRemark) << remark::reason(
        "'{0}' stays float where products other than linears read it: they "
        "take no scales of each token, and without data there are no others",
        getEdgeName(edge.value));
}

LogicalResult Quantizer::choose(Edge &edge) {
  edge.groups = makeOneGroup(getNumChannels(edge.value));
  FailureOr<ChannelRanges> ranges = getRanges(edge);
  takeStaticScales(edge, succeeded(ranges));
  if (!edge.recipe.isQuantized)
    return success();
  bool isPerToken =
      edge.recipe.isDynamic && edge.recipe.grouping == Grouping::PerTensor;
  if (failed(ranges) && !isPerToken) {
    hasMissingRanges = true;
    return success();
  }
  if (succeeded(ranges))
    limitToSum(edge, *ranges);
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
  SmallVector<AffineParameters> parameters =
      getParameters(recipe, edge, scaled);
  if (edge.groups.sizes.size() > 1 && edge.feedsLinearsOnly)
    chooseForm(edge, *ranges, parameters);
  edge.elementType =
      makeType(function.getContext(), edge.groups.sizes, parameters);
  return success();
}
