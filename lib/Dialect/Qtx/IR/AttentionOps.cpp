//===- AttentionOps.cpp - Attention operations ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "OpUtils.h"
#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Assembly
//===----------------------------------------------------------------------===//

/// (`clip` `[` gamma `,` zeta `]`)?
static ParseResult parseOptionalClip(OpAsmParser &parser, FloatAttr &gamma,
                                     FloatAttr &zeta) {
  if (failed(parser.parseOptionalKeyword("clip")))
    return success();
  Type f32 = parser.getBuilder().getF32Type();
  return failure(parser.parseLSquare() || parser.parseAttribute(gamma, f32) ||
                 parser.parseComma() || parser.parseAttribute(zeta, f32) ||
                 parser.parseRSquare());
}

static void printOptionalClip(OpAsmPrinter &printer, Operation *,
                              FloatAttr gamma, FloatAttr zeta) {
  if (gamma.getValue().isZero() && zeta.getValue().isExactlyValue(1.0))
    return;
  printer << " clip [";
  printer.printAttributeWithoutType(gamma);
  printer << ", ";
  printer.printAttributeWithoutType(zeta);
  printer << ']';
}

#define GET_OP_CLASSES
#include "qtx/Dialect/Qtx/IR/AttentionOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Shared checks
//===----------------------------------------------------------------------===//

/// `tensor` has a shape compatible with `expected`.
static LogicalResult verifyShape(Operation *op, StringRef what, Value tensor,
                                 ArrayRef<int64_t> expected) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (succeeded(verifyCompatibleShape(type.getShape(), expected)))
    return success();
  return op->emitOpError() << "expected '" << what << "' of shape "
                           << formatShape(expected) << ", found " << type;
}

//===----------------------------------------------------------------------===//
// AttentionOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> AttentionOp::getQuantEdges() {
  return {{getQuery(), getQueryQuantAttrName()},
          {getKey(), getKeyQuantAttrName()},
          {getValue(), getValueQuantAttrName()},
          {getY(), getYQuantAttrName()}};
}

/// The size of dimension `dim`; dynamic in a tensor that lacks it, which the
/// verifier rejects.
static int64_t getSizeOrDynamic(Value tensor, int64_t dim) {
  auto type = cast<RankedTensorType>(tensor.getType());
  return dim < type.getRank() ? type.getDimSize(dim) : ShapedType::kDynamic;
}

LogicalResult AttentionOp::inferReturnTypes(MLIRContext *context,
                                            std::optional<Location>,
                                            Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  SmallVector<int64_t> shape;
  for (int64_t dim = 0; dim < 3; ++dim)
    shape.push_back(getSizeOrDynamic(adaptor.getQuery(), dim));
  shape.push_back(getSizeOrDynamic(adaptor.getValue(), 3));
  types.push_back(inferQuantizable(context, shape, adaptor.getYQuantAttr()));
  return success();
}

/// The verifier compares the shapes; a written type may know more or be in
/// quantized form.
bool AttentionOp::isCompatibleReturnTypes(TypeRange, TypeRange) { return true; }

bool AttentionOp::isClipped() {
  return !getGamma().isZero() || !getZeta().isExactlyValue(1.0);
}

static std::optional<QuantParams> getStageParams(TypeAttr quant) {
  return quant ? QuantParams::get(quant.getValue()) : std::nullopt;
}

std::optional<QuantParams> AttentionOp::getQueryParams() {
  return getQuantParams(*this, getQuantEdges()[0]);
}
std::optional<QuantParams> AttentionOp::getKeyParams() {
  return getQuantParams(*this, getQuantEdges()[1]);
}
std::optional<QuantParams> AttentionOp::getValueParams() {
  return getQuantParams(*this, getQuantEdges()[2]);
}
std::optional<QuantParams> AttentionOp::getYParams() {
  return getQuantParams(*this, getQuantEdges()[3]);
}
std::optional<QuantParams> AttentionOp::getScoresParams() {
  return getStageParams(getScoresQuantAttr());
}
std::optional<QuantParams> AttentionOp::getProbsParams() {
  return getStageParams(getProbsQuantAttr());
}
std::optional<QuantParams> AttentionOp::getContextParams() {
  return getStageParams(getContextQuantAttr());
}

/// Rank 4, with static heads and head sizes.
static LogicalResult verifyHeads(AttentionOp op, StringRef what, Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (type.getRank() != 4)
    return op.emitOpError()
           << "expected '" << what << "' of rank 4, found " << type;
  if (type.isDynamicDim(1) || type.isDynamicDim(3) || type.getDimSize(1) == 0 ||
      type.getDimSize(3) == 0)
    return op.emitOpError() << "expected static, positive numbers of heads and "
                               "channels of '"
                            << what << "', found " << type;
  return success();
}

static LogicalResult verifyAttentionShapes(AttentionOp op) {
  if (failed(verifyHeads(op, "query", op.getQuery())) ||
      failed(verifyHeads(op, "key", op.getKey())) ||
      failed(verifyHeads(op, "value", op.getValue())))
    return failure();
  ArrayRef<int64_t> query = op.getQueryType().getShape();
  ArrayRef<int64_t> key = op.getKeyType().getShape();
  int64_t heads = query[1], keyValueHeads = key[1];
  if (heads % keyValueHeads != 0)
    return op.emitOpError()
           << "expected the number of heads of 'query', " << heads
           << ", to be a multiple of that of 'key', " << keyValueHeads;
  int64_t valueSize = op.getValueSize();
  if (failed(verifyShape(op, "key", op.getKey(),
                         {query[0], keyValueHeads, key[2], query[3]})) ||
      failed(verifyShape(op, "value", op.getValue(),
                         {query[0], keyValueHeads, key[2], valueSize})) ||
      failed(verifyShape(op, "y", op.getY(),
                         {query[0], heads, query[2], valueSize})))
    return failure();
  return verifyHeads(op, "y", op.getY());
}

/// A mask has the dimensions of the scores, or 1 in the first three.
static LogicalResult verifyMask(AttentionOp op) {
  if (!op.getMask())
    return success();
  ArrayRef<int64_t> query = op.getQueryType().getShape();
  SmallVector<int64_t> scores = {query[0], query[1], query[2],
                                 op.getKeyType().getDimSize(2)};
  SmallVector<int64_t> expected = scores;
  ArrayRef<int64_t> shape = cast<ShapedType>(op.getMask().getType()).getShape();
  if (shape.size() == 4)
    for (int64_t dim = 0; dim < 3; ++dim)
      if (shape[dim] == 1)
        expected[dim] = 1;
  if (succeeded(verifyCompatibleShape(shape, expected)))
    return success();
  return op.emitOpError() << "expected a mask of shape " << formatShape(scores)
                          << ", or with 1 in its first three dimensions, found "
                          << op.getMask().getType();
}

static LogicalResult verifySinkAndGate(AttentionOp op) {
  ArrayRef<int64_t> y = op.getY().getType().getShape();
  if (Value sink = op.getSink()) {
    if (op.getSinkLogit())
      return op.emitOpError() << "expected 'sink' or 'sink_logit', found both";
    if (failed(verifyShape(op, "sink", sink, {y[1]})))
      return failure();
  }
  if (op.getSinkLogit() && !op.getSinkLogit()->isFinite())
    return op.emitOpError() << "expected a finite sink logit, found "
                            << op.getSinkLogit()->convertToFloat();
  if (!op.getGain().isFinite())
    return op.emitOpError()
           << "expected a finite gain, found " << op.getGain().convertToFloat();
  Value gate = op.getGate();
  if (!gate && !op.getGain().isExactlyValue(1.0))
    return op.emitOpError() << "expected a gain only beside a gate";
  if (!gate ||
      succeeded(verifyCompatibleShape(
          cast<ShapedType>(gate.getType()).getShape(), y.drop_back())) ||
      succeeded(verifyCompatibleShape(
          cast<ShapedType>(gate.getType()).getShape(), y)))
    return success();
  return op.emitOpError() << "expected a gate of shape "
                          << formatShape(y.drop_back()) << " or "
                          << formatShape(y) << ", found " << gate.getType();
}

static LogicalResult verifyAttentionScalars(AttentionOp op) {
  if (!op.getScale().isFinite())
    return op.emitOpError() << "expected a finite scale, found "
                            << op.getScale().convertToFloat();
  // The reciprocal of the cap is finite, too.
  if (std::optional<APFloat> cap = op.getSoftCap();
      cap && (!cap->isNormal() || cap->isNegative()))
    return op.emitOpError()
           << "expected a soft cap that is a positive, finite, "
              "normal f32 number, found "
           << cap->convertToFloat();
  if (failed(verifyClip(op, op.getGamma(), op.getZeta())))
    return failure();
  if (op.getUnnormalised() && op.isClipped())
    return op.emitOpError()
           << "expected no 'unnormalised' beside 'clip', which "
              "needs the final normaliser";
  if (op.getOffset() && !op.getCausal())
    return op.emitOpError() << "expected an offset only beside 'causal'";
  return success();
}

/// The groups of `params` lie along one of `axes`, and their parameters are
/// known at compile time.
static LogicalResult verifyAxes(AttentionOp op, StringRef what,
                                std::optional<QuantParams> params,
                                ArrayRef<int64_t> axes) {
  if (!params || params->isPerTensor())
    return success();
  if (params->isDynamic())
    return op.emitOpError() << "expected compile-time parameters of '" << what
                            << "', found " << params->getType();
  if (llvm::is_contained(axes, params->getAxis()))
    return success();
  auto error = op.emitOpError()
               << "expected the groups of '" << what << "' along axis ";
  llvm::interleave(axes, error, " or ");
  return error << ", found axis " << params->getAxis();
}

/// An inner stage: the quantized type of a tensor of `shape` that is no
/// operand.
static LogicalResult verifyStage(AttentionOp op, StringRef what,
                                 std::optional<QuantParams> params,
                                 ArrayRef<int64_t> shape,
                                 ArrayRef<int64_t> axes) {
  if (!params)
    return success();
  if (failed(verifyAxes(op, what, params, axes)))
    return failure();
  auto f32 = Float32Type::get(op.getContext());
  return verifyQuantParams(op, *params, RankedTensorType::get(shape, f32));
}

static LogicalResult verifyAttentionQuantizers(AttentionOp op) {
  StringRef names[] = {"query", "key", "value", "y"};
  for (auto [edge, what] : llvm::zip_equal(op.getQuantEdges(), names)) {
    if (failed(verifyFloatOrQuantized(op, edge, what)))
      return failure();
    bool perChannel = what == "value" || what == "y";
    static const int64_t axes[] = {-3, -1};
    if (failed(verifyAxes(op, what, getQuantParams(op, edge),
                          ArrayRef(axes).take_front(perChannel ? 2 : 1))))
      return failure();
  }
  ArrayRef<int64_t> y = op.getY().getType().getShape();
  SmallVector<int64_t> scores(y);
  scores[3] = op.getKeyType().getDimSize(2);
  return failure(
      failed(verifyStage(op, "scores", op.getScoresParams(), scores, {-3})) ||
      failed(verifyStage(op, "probs", op.getProbsParams(), scores, {-3})) ||
      failed(verifyStage(op, "context", op.getContextParams(), y, {-3, -1})));
}

static LogicalResult verifyAttentionAccumulators(AttentionOp op) {
  auto verifyProduct = [&](StringRef what, int64_t size,
                           std::optional<QuantParams> lhs,
                           std::optional<QuantParams> rhs) -> LogicalResult {
    if (!lhs || !rhs || ShapedType::isDynamic(size))
      return success();
    int64_t limit = getAccumulatorLimit(getCenteredMagnitude(*lhs),
                                        getCenteredMagnitude(*rhs));
    if (size <= limit)
      return success();
    return op.emitOpError() << "int32 accumulator of the " << what
                            << " may overflow: expected at most " << limit
                            << " products, found " << size;
  };
  if (failed(verifyProduct("scores", op.getKeySize(), op.getQueryParams(),
                           op.getKeyParams())))
    return failure();
  return verifyProduct("context", op.getKeyType().getDimSize(2),
                       op.getProbsParams(), op.getValueParams());
}

LogicalResult AttentionOp::verify() {
  return failure(failed(verifyAttentionShapes(*this)) ||
                 failed(verifyMask(*this)) ||
                 failed(verifySinkAndGate(*this)) ||
                 failed(verifyAttentionScalars(*this)) ||
                 failed(verifyAttentionQuantizers(*this)) ||
                 failed(verifyAttentionAccumulators(*this)));
}

LogicalResult
AttentionOp::reifyResultShapes(OpBuilder &builder,
                               ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(builder, getLoc(), getQuery());
  sizes.back() = builder.getIndexAttr(getValueSize());
  reified.push_back(std::move(sizes));
  return success();
}

//===----------------------------------------------------------------------===//
// SplitHeadsOp and MergeHeadsOp
//===----------------------------------------------------------------------===//

/// The element type of [B, S, heads * size] that means the same as `type` does
/// of [B, heads, S, size]; null if none does.
static Type getMergedType(Type type, int64_t heads, int64_t size) {
  std::optional<QuantParams> params = QuantParams::get(type);
  if (!params || params->isPerTensor())
    return type;
  auto grouped = cast<GroupedType>(type);
  bool perHead = params->getAxis() == -3;
  if (!perHead && params->getAxis() != -1)
    return {};
  // No type has as many groups as mistaken sizes would ask for.
  constexpr int64_t kMaxChannels = int64_t(1) << 24;
  if (params->getNumChannels() != (perHead ? heads : size) ||
      heads * size > kMaxChannels)
    return {};
  int64_t repeat = perHead ? 1 : heads;
  if (params->isDynamic() && repeat != 1)
    return {};
  SmallVector<int64_t> sizes, zeroPoints;
  SmallVector<float> scales;
  for (int64_t copy = 0; copy < repeat; ++copy)
    for (auto [group, groupSize] : llvm::enumerate(params->getGroupSizes())) {
      sizes.push_back(perHead ? groupSize * size : groupSize);
      if (params->isDynamic())
        continue;
      scales.push_back(params->getScale(group));
      zeroPoints.push_back(params->getZeroPoint(group));
    }
  MLIRContext *context = type.getContext();
  bool isDynamic = params->isDynamic();
  return GroupedType::get(
      context, grouped.getStorageWidth(), grouped.getIsSigned(), -1, sizes,
      isDynamic ? DenseF32ArrayAttr() : DenseF32ArrayAttr::get(context, scales),
      isDynamic ? DenseI64ArrayAttr()
                : DenseI64ArrayAttr::get(context, zeroPoints));
}

/// Shapes and element types of [B, S, d] and [B, H, S, d / H].
static LogicalResult verifySplit(Operation *op, RankedTensorType merged,
                                 RankedTensorType split) {
  ArrayRef<int64_t> m = merged.getShape(), s = split.getShape();
  int64_t channels = 0;
  if (m.size() != 3 || s.size() != 4 ||
      ShapedType::isDynamicShape({m[2], s[1], s[3]}) ||
      llvm::MulOverflow(s[1], s[3], channels) || channels != m[2] ||
      failed(verifyCompatibleShape({m[0], m[1]}, {s[0], s[2]})))
    return op->emitOpError() << "expected shapes [B, S, d] and [B, H, S, d / "
                                "H] with static d and H, found "
                             << merged << " and " << split;
  if (getMergedType(split.getElementType(), s[1], s[3]) ==
      merged.getElementType())
    return success();
  return op->emitOpError() << "expected element types with the same parameters "
                              "for every element, found "
                           << merged << " and " << split;
}

LogicalResult SplitHeadsOp::verify() {
  return verifySplit(*this, getX().getType(), getY().getType());
}

LogicalResult
SplitHeadsOp::reifyResultShapes(OpBuilder &builder,
                                ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> x =
      tensor::getMixedSizes(builder, getLoc(), getX());
  RankedTensorType type = getY().getType();
  reified.push_back({x[0], builder.getIndexAttr(type.getDimSize(1)), x[1],
                     builder.getIndexAttr(type.getDimSize(3))});
  return success();
}

LogicalResult MergeHeadsOp::verify() {
  return verifySplit(*this, getY().getType(), getX().getType());
}

LogicalResult
MergeHeadsOp::reifyResultShapes(OpBuilder &builder,
                                ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> x =
      tensor::getMixedSizes(builder, getLoc(), getX());
  reified.push_back(
      {x[0], x[2], builder.getIndexAttr(getY().getType().getDimSize(2))});
  return success();
}

//===----------------------------------------------------------------------===//
// SoftmaxOp and ClippedSoftmaxOp
//===----------------------------------------------------------------------===//

static LogicalResult verifyHasLastAxis(Operation *op, ShapedType type) {
  if (type.getRank() > 0)
    return success();
  return op->emitOpError() << "expected a tensor of rank 1 or more, found "
                           << type;
}

LogicalResult SoftmaxOp::verify() {
  return verifyHasLastAxis(*this, getX().getType());
}

LogicalResult
SoftmaxOp::reifyResultShapes(OpBuilder &builder,
                             ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  return success();
}

LogicalResult ClippedSoftmaxOp::verify() {
  if (failed(verifyHasLastAxis(*this, getX().getType())))
    return failure();
  return verifyClip(*this, getGamma(), getZeta());
}

LogicalResult
ClippedSoftmaxOp::reifyResultShapes(OpBuilder &builder,
                                    ReifiedRankedShapedTypeDims &reified) {
  reified.push_back(tensor::getMixedSizes(builder, getLoc(), getX()));
  return success();
}

//===----------------------------------------------------------------------===//
// GateProjectionOp
//===----------------------------------------------------------------------===//

SmallVector<QuantEdge> GateProjectionOp::getQuantEdges() {
  return {{getX(), getXQuantAttrName()}};
}

LogicalResult GateProjectionOp::inferReturnTypes(MLIRContext *context,
                                                 std::optional<Location>,
                                                 Adaptor adaptor,
                                                 SmallVectorImpl<Type> &types) {
  SmallVector<int64_t> shape = {getSizeOrDynamic(adaptor.getX(), 0),
                                getSizeOrDynamic(adaptor.getBias(), 0),
                                getSizeOrDynamic(adaptor.getX(), 1)};
  types.push_back(RankedTensorType::get(shape, Float32Type::get(context)));
  return success();
}

/// The verifier compares the shapes; a written type may know more.
bool GateProjectionOp::isCompatibleReturnTypes(TypeRange, TypeRange) {
  return true;
}

/// Shapes of the weights and biases of each kind.
static LogicalResult verifyGateWeights(GateProjectionOp op, int64_t heads,
                                       int64_t channels) {
  bool isMlp = op.getKind() == GateKind::Mlp;
  if (isMlp != bool(op.getHiddenWeight()) || isMlp != bool(op.getHiddenBias()))
    return op.emitOpError()
           << (isMlp
                   ? "requires a hidden weight and bias for an mlp gate"
                   : "expected a hidden weight and bias only for an mlp gate");
  if (op.getKind() == GateKind::AllHeads)
    return verifyShape(op, "weight", op.getWeight(), {heads, channels});
  if (!isMlp)
    return verifyShape(op, "weight", op.getWeight(), {heads, channels / heads});
  auto hidden = cast<RankedTensorType>(op.getHiddenWeight().getType());
  int64_t size = hidden.getRank() == 3 ? hidden.getDimSize(1) : 1;
  return failure(
      failed(verifyShape(op, "hidden_weight", op.getHiddenWeight(),
                         {heads, size, channels / heads})) ||
      failed(
          verifyShape(op, "hidden_bias", op.getHiddenBias(), {heads, size})) ||
      failed(verifyShape(op, "weight", op.getWeight(), {heads, size})));
}

LogicalResult GateProjectionOp::verify() {
  for (Value weight : {Value(getHiddenWeight()), Value(getHiddenBias()),
                       Value(getWeight()), Value(getBias())})
    if (weight && !cast<ShapedType>(weight.getType()).hasStaticShape())
      return emitOpError() << "expected weights and biases of static shape, "
                              "found "
                           << weight.getType();
  auto x = getX().getType(), bias = getBias().getType();
  if (bias.getRank() != 1 || bias.getDimSize(0) == 0)
    return emitOpError() << "expected a bias of shape [H], one value per head, "
                            "found "
                         << bias;
  if (x.getRank() != 3 || x.isDynamicDim(2))
    return emitOpError()
           << "expected 'x' of shape [B, S, d] with a static d, found " << x;
  int64_t heads = getNumHeads(), channels = x.getDimSize(2);
  if (getKind() != GateKind::AllHeads && channels % heads != 0)
    return emitOpError() << "expected the channels of 'x' to be a multiple of "
                         << heads << ", the number of heads, found "
                         << channels;
  if (failed(verifyGateWeights(*this, heads, channels)) ||
      failed(verifyShape(*this, "logits", getLogits(),
                         {x.getDimSize(0), heads, x.getDimSize(1)})))
    return failure();
  QuantEdge edge = getQuantEdges().front();
  if (failed(verifyFloatOrQuantized(*this, edge, "x")))
    return failure();
  return verifyLastAxis(*this, edge, "x");
}

LogicalResult
GateProjectionOp::reifyResultShapes(OpBuilder &builder,
                                    ReifiedRankedShapedTypeDims &reified) {
  SmallVector<OpFoldResult> x =
      tensor::getMixedSizes(builder, getLoc(), getX());
  reified.push_back({x[0], builder.getIndexAttr(getNumHeads()), x[1]});
  return success();
}
