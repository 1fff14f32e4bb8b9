//===- ChooseForm.cpp - Grouped or folded ---------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The scales of the groups of an input can go into the float weights, and with
// their zero points into what makes the input. The input keeps its integers and
// the product has one multiplier for each output; but the weights have one
// scale for columns that differ more.
//
//===----------------------------------------------------------------------===//

#include "LinearNumbers.h"
#include "Quantizer.h"
#include <cmath>

using namespace mlir;
using namespace qtx;

/// Takes the parameters of groups into the scaling of channels, so that those
/// of the largest group serve all. The integers stay what they are.
static void foldGroups(Edge &edge, SmallVector<AffineParameters> &parameters) {
  size_t size = edge.groups.order.size();
  if (!edge.scaling)
    edge.scaling = {std::vector<float>(size, 1), std::vector<float>(size, 0)};
  AffineParameters joint = parameters[std::distance(
      edge.groups.sizes.begin(), llvm::max_element(edge.groups.sizes))];
  ArrayRef<int64_t> order = edge.groups.order;
  for (auto [groupSize, group] :
       llvm::zip_equal(edge.groups.sizes, parameters)) {
    float shift = float(joint.zeroPoint - group.zeroPoint) * group.scale;
    for (int64_t channel : order.take_front(groupSize)) {
      float &scale = edge.scaling->scale[channel];
      edge.scaling->shift[channel] += shift * scale;
      scale *= group.scale / joint.scale;
    }
    order = order.drop_front(groupSize);
  }
  edge.groups = makeOneGroup(size);
  parameters = {joint};
}

/// What is expected of the squared error of the outputs of `op` for one token:
/// errors of rounding are even within a step, inputs within their ranges.
static double estimateError(LinearOp op, const Edge &edge,
                            const ChannelRanges &ranges,
                            ArrayRef<AffineParameters> parameters,
                            unsigned bits) {
  LinearNumbers numbers(op);
  ChannelRanges scaled =
      edge.scaling ? applyScaling(ranges, *edge.scaling) : ranges;
  std::vector<float> steps = getSteps(edge, parameters);
  double power = 0;
  for (auto [lo, hi] : llvm::zip_equal(scaled.lo, scaled.hi))
    power += (double(lo) * lo + double(lo) * hi + double(hi) * hi) / 3;
  double error = 0;
  for (int64_t row = 0; row < numbers.rows; ++row) {
    double largest = 0;
    for (int64_t c = 0; c < numbers.columns; ++c) {
      double weight = numbers.weights[row * numbers.columns + c];
      error += weight * weight * double(steps[c]) * steps[c] / 12;
      if (edge.scaling)
        weight *= edge.scaling->scale[c];
      largest = std::max(largest, std::abs(weight));
    }
    double weightStep = largest / double((1 << (bits - 1)) - 1);
    error += weightStep * weightStep * power / 12;
  }
  return error;
}

/// Groups that the product knows of, or folded ones.
void Quantizer::chooseForm(Edge &edge, const ChannelRanges &ranges,
                           SmallVector<AffineParameters> &parameters) {
  if (edge.recipe.form == GroupForm::Grouped)
    return;
  Edge folded = edge;
  SmallVector<AffineParameters> joint = parameters;
  foldGroups(folded, joint);
  double errors[2] = {0, 0};
  for (OpOperand *use : edge.uses) {
    auto op = cast<LinearOp>(use->getOwner());
    unsigned bits = recipe.getWeight(getEdgeName(op.getY())).bits;
    errors[0] += estimateError(op, edge, ranges, parameters, bits);
    errors[1] += estimateError(op, folded, ranges, joint, bits);
  }
  double ratio = errors[1] / std::max(errors[0], 1e-30);
  double times = double(estimateSteps(edge.groups.sizes)) /
                 double(estimateSteps(folded.groups.sizes));
  size_t numGroups = edge.groups.sizes.size();
  if (edge.recipe.form == GroupForm::Cheaper && ratio >= times) {
    remark::missed(edge.value.getLoc(), kQuantizeRemark) << remark::reason(
        "'{0}' keeps {1} groups apart: folded, the product would have {2:f2} "
        "times the error in a share of {3:f2} of the time",
        getEdgeName(edge.value), numGroups, ratio, 1 / times);
    return;
  }
  edge = std::move(folded);
  parameters = std::move(joint);
  remark::passed(edge.value.getLoc(), kQuantizeRemark)
      << remark::add("'{0}' has the scales of {1} groups folded into weights: "
                     "{2:f2} times the "
                     "error in a share of {3:f2} of the time",
                     getEdgeName(edge.value), numGroups, ratio, 1 / times);
}
