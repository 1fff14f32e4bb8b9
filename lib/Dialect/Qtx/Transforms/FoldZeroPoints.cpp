//===- FoldZeroPoints.cpp - Zero points into the seed ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConstantUtils.h"
#include "RewriteUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include <numeric>

namespace qtx {
#define GEN_PASS_DEF_QTXFOLDZEROPOINTSPASS
#include "qtx/Dialect/Qtx/Transforms/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

static constexpr auto kRemark =
    remark::RemarkOpts::name("FoldZeroPoints").category("qtx-fold-zero-points");

/// `-z * sum w` of every segment and output, as `[S, N]`. The verifier's bound
/// on the accumulator bounds these too.
static ConstantTensor computeSeed(LinearOp op, const QuantParams &params,
                                  ArrayRef<int64_t> weight) {
  int64_t outputs = op.getNumOutputs(), size = op.getContractedSize();
  SmallVector<Segment> segments = op.getSegments();
  SmallVector<int64_t> seed;
  for (const Segment &segment : segments)
    for (int64_t output = 0; output < outputs; ++output) {
      auto row = weight.slice(output * size + segment.offset, segment.size);
      int64_t sum = std::accumulate(row.begin(), row.end(), int64_t(0));
      seed.push_back(-params.getZeroPoint(segment.group) * sum);
    }
  auto type = RankedTensorType::get({int64_t(segments.size()), outputs},
                                    IntegerType::get(op.getContext(), 32));
  return ConstantTensor::create(type, seed);
}

/// Empty on success, else the reason why the zero points stay.
static StringRef foldZeroPoints(LinearOp op, const QuantParams &params) {
  if (params.isDynamic())
    return "the zero points are run-time values";
  if (params.hasOnlyZeroZeroPoints())
    return "all zero points are zero";
  auto weight = ConstantTensor::get(op.getWeight());
  if (!weight)
    return "the weight is not a constant";
  OpBuilder builder(op);
  ConstantTensor seed = computeSeed(op, params, weight->getIntegers());
  op.getSeedMutable().assign(seed.materialize(builder, op.getLoc()));
  return {};
}

namespace {

struct QtxFoldZeroPointsPass
    : qtx::impl::QtxFoldZeroPointsPassBase<QtxFoldZeroPointsPass> {
  void runOnOperation() override {
    for (LinearOp op : collectOps<LinearOp>(getOperation())) {
      auto params = getQuantParams(op, op.getQuantEdges().front());
      if (!params || op.getSeed())
        continue;
      StringRef reason = foldZeroPoints(op, *params);
      if (reason.empty())
        remark::passed(op.getLoc(), kRemark)
            << "the zero points of the input seed the accumulator";
      else
        remark::missed(op.getLoc(), kRemark) << remark::reason("{0}", reason);
    }
  }
};

} // namespace
