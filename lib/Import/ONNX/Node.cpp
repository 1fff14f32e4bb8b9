//===- Node.cpp - One node while it is imported ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::importer;

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

const Contents *Node::getContents(unsigned index) {
  if (!hasInput(index))
    return nullptr;
  Value input = inputs[index];
  auto found = state.contents.find(input);
  if (found != state.contents.end())
    return found->second.get();
  ElementsAttr attr;
  if (!matchPattern(input, m_Constant(&attr)))
    return nullptr;
  std::optional<Contents> contents = readContents(attr);
  if (!contents)
    return nullptr;
  auto shared = std::make_shared<const Contents>(std::move(*contents));
  state.contents[input] = shared;
  return shared.get();
}

std::optional<SmallVector<int64_t>> Node::getInts(unsigned index) {
  const Contents *contents = getContents(index);
  return contents ? contents->getIntegers() : std::nullopt;
}

std::optional<Dims> Node::getSizes(unsigned index) {
  const Contents *contents = getContents(index);
  if (!contents || contents->isFloat())
    return std::nullopt;
  return Dims(contents->integers.begin(), contents->integers.end());
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

int64_t Node::getInt(StringRef name, int64_t absent) const {
  auto attr = dyn_cast_or_null<IntegerAttr>(attributes.get(name));
  return attr ? attr.getValue().getSExtValue() : absent;
}

float Node::getFloat(StringRef name, float absent) const {
  auto attr = dyn_cast_or_null<FloatAttr>(attributes.get(name));
  return attr ? attr.getValue().convertToFloat() : absent;
}

StringRef Node::getString(StringRef name, StringRef absent) const {
  auto attr = dyn_cast_or_null<StringAttr>(attributes.get(name));
  return attr ? attr.getValue() : absent;
}

std::optional<SmallVector<int64_t>> Node::getIntList(StringRef name) const {
  auto attr = dyn_cast_or_null<ArrayAttr>(attributes.get(name));
  if (!attr || !llvm::all_of(attr, llvm::IsaPred<IntegerAttr>))
    return std::nullopt;
  return llvm::map_to_vector(
      attr.getAsRange<IntegerAttr>(),
      [](IntegerAttr element) { return element.getValue().getSExtValue(); });
}

static IntegerAttr getIntAttr(OpBuilder &builder, int64_t value) {
  return builder.getIntegerAttr(builder.getIntegerType(64, /*isSigned=*/true),
                                value);
}

void Node::setInt(StringRef name, int64_t value) {
  attributes.set(name, getIntAttr(builder, value));
}

void Node::setInts(StringRef name, ArrayRef<int64_t> values) {
  auto attrs = llvm::map_to_vector(values, [&](int64_t value) -> Attribute {
    return getIntAttr(builder, value);
  });
  attributes.set(name, builder.getArrayAttr(attrs));
}

void Node::setSizes(StringRef name, ArrayRef<Size> values) {
  attributes.set(name, getSizesAttr(values, builder.getContext()));
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

LogicalResult Node::expectRank(unsigned index, int64_t rank) {
  if (getRank(index) == rank)
    return success();
  return emitError() << "expected input " << index << " of rank " << rank
                     << ", found " << getRank(index);
}

LogicalResult Node::expectRankAtLeast(unsigned index, int64_t rank) {
  if (getRank(index) >= rank)
    return success();
  return emitError() << "expected input " << index << " of at least rank "
                     << rank << ", found " << getRank(index);
}

LogicalResult Node::expectSameElementType(unsigned lhs, unsigned rhs) {
  if (getElementType(lhs) == getElementType(rhs))
    return success();
  return emitError() << "expected inputs of one element type, found "
                     << getElementType(lhs) << " and " << getElementType(rhs);
}

LogicalResult Node::expectEqual(Size lhs, Size rhs) {
  // What differs by symbols only may still be equal.
  if (!sizes().isNever(lhs, rhs))
    return success();
  return emitError() << "expected equal sizes, found "
                     << formatSizes({lhs, rhs});
}

FailureOr<int64_t> Node::normalizeAxis(int64_t axis, int64_t rank) {
  if (axis >= -rank && axis < rank)
    return axis < 0 ? axis + rank : axis;
  return emitError() << "expected an axis of " << rank << " dimensions, found "
                     << axis;
}

FailureOr<SmallVector<int64_t>> Node::normalizeAxes(ArrayRef<int64_t> axes,
                                                    int64_t rank) {
  SmallVector<int64_t> result;
  for (int64_t axis : axes) {
    FailureOr<int64_t> normalized = normalizeAxis(axis, rank);
    if (failed(normalized))
      return failure();
    if (llvm::is_contained(result, *normalized))
      return emitError() << "expected distinct axes, found " << axis
                         << " twice";
    result.push_back(*normalized);
  }
  return result;
}

FailureOr<SmallVector<int64_t>> Node::getAxes(int64_t rank) {
  std::optional<SmallVector<int64_t>> axes = getIntList("axes");
  return normalizeAxes(
      axes ? *axes : llvm::to_vector(llvm::seq<int64_t>(0, rank)), rank);
}

/// The size that two sizes broadcast to; null if they do not.
static Size broadcastSizes(GraphState &state, Size lhs, Size rhs) {
  std::optional<int64_t> left = getConstant(lhs), right = getConstant(rhs);
  if (lhs == rhs || right == 1)
    return lhs;
  if (left == 1)
    return rhs;
  if (left || right)
    return left && right ? Size() : left ? lhs : rhs;
  // Sizes that meet are equal, unless one of them is 1 when the model runs.
  // That is not followed: the inputs' sizes are taken to be equal.
  auto leftSymbol = dyn_cast<AffineSymbolExpr>(lhs);
  auto rightSymbol = dyn_cast<AffineSymbolExpr>(rhs);
  if (leftSymbol && rightSymbol &&
      std::max(leftSymbol.getPosition(), rightSymbol.getPosition()) <
          state.numInputSymbols)
    state.equalSymbols.emplace_back(leftSymbol.getPosition(),
                                    rightSymbol.getPosition());
  return rightSymbol && !leftSymbol ? rhs : lhs;
}

FailureOr<Dims> Node::broadcast(ArrayRef<Size> lhs, ArrayRef<Size> rhs) {
  if (lhs.size() < rhs.size())
    std::swap(lhs, rhs);
  Dims result(lhs);
  size_t leading = lhs.size() - rhs.size();
  for (auto [axis, size] : llvm::enumerate(rhs)) {
    Size joined = broadcastSizes(state, lhs[leading + axis], size);
    if (!joined)
      return emitError() << "expected shapes that broadcast, found "
                         << formatSizes(lhs) << " and " << formatSizes(rhs);
    result[leading + axis] = joined;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

LogicalResult Node::infer(ArrayRef<Size> dims, Type elementType,
                          unsigned index) {
  if (index >= types.size())
    return success();
  for (Size size : dims) {
    std::optional<int64_t> value = getConstant(size);
    if (value && *value < 0)
      return emitError() << "expected sizes of at least 0, found "
                         << formatSizes(dims);
  }
  types[index] = qtx::onnx::getTensorType(dims, elementType);
  return success();
}

LogicalResult Node::replace(Value value, unsigned index) {
  if (!value)
    return failure();
  if (index < replacements.size()) {
    replacements[index] = value;
    types[index] = cast<RankedTensorType>(value.getType());
  }
  return success();
}

LogicalResult Node::fold(Contents contents, unsigned index) {
  if (index < known.size()) {
    types[index] = contents.getType();
    known[index] = std::move(contents);
  }
  return success();
}

void Node::keepInputs(unsigned count) {
  inputs.truncate(std::min<size_t>(count, inputs.size()));
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

/// Vectors of symbolic integers up to this size stay in the IR as such.
static constexpr int64_t kMaxSizes = 64;

/// The value of elements that are numbers, or integers that depend on sizes;
/// null if they have to be computed.
Value Node::materialize(const Contents &contents) {
  if (contents.isConstant())
    return state.createConstant(getElementsAttr(contents), loc);
  if (!contents.isKnown() || contents.getNumElements() > kMaxSizes)
    return {};
  MLIRContext *context = builder.getContext();
  NamedAttrList values;
  values.set("values", getSizesAttr(contents.integers, context));
  return qtx::onnx::NodeOp::create(builder, loc, TypeRange(contents.getType()),
                                   "Sizes", builder.getStringAttr("qtx"),
                                   ValueRange(), values.getDictionary(context))
      .getResult(0);
}

/// Adds the node itself, with its first `types.size()` outputs.
static qtx::onnx::NodeOp createOp(Node &node, ArrayRef<Type> types) {
  auto inputs = llvm::map_to_vector(node.inputs, [&](Value input) {
    return input ? input : node.state.createNone();
  });
  OpBuilder &builder = node.builder;
  auto domain =
      node.domain.empty() ? nullptr : builder.getStringAttr(node.domain);
  auto attributes = node.attributes.empty()
                        ? nullptr
                        : node.attributes.getDictionary(builder.getContext());
  return qtx::onnx::NodeOp::create(builder, node.loc, types,
                                   builder.getStringAttr(node.op), domain,
                                   inputs, attributes);
}

std::optional<SmallVector<Value>> Node::finish() {
  SmallVector<Value> results(isWanted.size());
  SmallVector<Type> emitted;
  for (auto [index, result] : llvm::enumerate(results)) {
    if (!isWanted[index])
      continue;
    result = replacements[index];
    if (!result && known[index])
      result = materialize(*known[index]);
    if (result)
      continue;
    if (!types[index])
      return std::nullopt;
    for (size_t at = emitted.size(); at <= index; ++at)
      emitted.push_back(types[at] ? Type(types[at]) : builder.getNoneType());
  }
  qtx::onnx::NodeOp op;
  if (!emitted.empty())
    op = createOp(*this, emitted);
  for (auto [index, result] : llvm::enumerate(results)) {
    if (!isWanted[index])
      continue;
    if (!result)
      result = op.getResult(index);
    if (known[index] && !replacements[index] &&
        !state.contents.contains(result))
      state.contents[result] =
          std::make_shared<const Contents>(std::move(*known[index]));
  }
  return results;
}

void Node::setWanted(SmallVector<bool> wanted) {
  isWanted = std::move(wanted);
  types.resize(isWanted.size());
  replacements.resize(isWanted.size());
  known.resize(isWanted.size());
}

/// The version whose rules nodes follow that stand in place of others.
static constexpr int64_t kLatestOpset = 23;

SmallVector<Value> Node::applyAll(StringRef op, ArrayRef<Value> inputs,
                                  unsigned numOutputs, Setter setAttributes) {
  SmallVector<Value> failed(numOutputs);
  if (hasFailed || llvm::is_contained(inputs, Value()))
    return failed;
  Node node(state, builder, loc);
  node.op = op.str();
  node.version = kLatestOpset;
  node.inputs.assign(inputs.begin(), inputs.end());
  node.setWanted(SmallVector<bool>(numOutputs, true));
  setAttributes(node);
  if (mlir::failed(getRules().find(op)->second.infer(node))) {
    unsupportedReason = node.unsupportedReason;
    hasFailed = true;
    return failed;
  }
  return node.finish().value_or(failed);
}

Value Node::reshape(Value value, ArrayRef<Size> dims) {
  if (hasFailed || !value)
    return {};
  Node node(state, builder, loc);
  node.inputs = {value};
  node.setWanted({true});
  hasFailed = failed(setReshape(node, dims));
  if (hasFailed)
    return {};
  return node.finish()->front();
}

Value Node::createScalar(double value, Type elementType) {
  Contents contents({}, elementType);
  if (contents.isFloat())
    contents.floats[0] = roundTo(elementType, value);
  else
    contents.integers[0] = sizes().get(static_cast<int64_t>(value));
  return state.createConstant(getElementsAttr(contents), loc);
}

Value Node::createInts(ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())},
                                    builder.getI64Type());
  return state.createConstant(DenseElementsAttr::get(type, values), loc);
}

//===----------------------------------------------------------------------===//
// Rules
//===----------------------------------------------------------------------===//

const RuleTable &qtx::importer::getRules() {
  static const RuleTable rules = [] {
    RuleTable table;
    addElementwiseRules(table);
    addMovementRules(table);
    addShapeRules(table);
    addContractionRules(table);
    addNormalizationRules(table);
    addReductionRules(table);
    addResizeRule(table);
    addQuantizationRules(table);
    addContribRules(table);
    return table;
  }();
  return rules;
}
