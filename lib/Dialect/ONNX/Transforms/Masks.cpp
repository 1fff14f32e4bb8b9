//===- Masks.cpp - Which keys a mask lets take part -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Masks.h"
#include "mlir/IR/AffineExprVisitor.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/TypeUtilities.h"
#include <cmath>

using namespace mlir;
using namespace qtx::onnx;

AffineExpr MaskReader::getDim(unsigned position) {
  return getAffineDimExpr(position, scoreDims[0].getContext());
}

bool MaskReader::isOne(AffineExpr size) {
  return size == getAffineConstantExpr(1, scoreDims[0].getContext());
}

/// The product of two expressions, null if both depend on coordinates.
static AffineExpr multiply(AffineExpr lhs, AffineExpr rhs) {
  if (!lhs || !rhs ||
      (!lhs.isSymbolicOrConstant() && !rhs.isSymbolicOrConstant()))
    return {};
  return lhs * rhs;
}

//===----------------------------------------------------------------------===//
// Coordinates
//===----------------------------------------------------------------------===//

MaskReader::Coords MaskReader::broadcast(Value operand,
                                         ArrayRef<AffineExpr> coords) {
  SmallVector<AffineExpr> dims = getDims(operand);
  Coords result;
  for (auto [dim, coord] : llvm::zip_equal(dims, coords.take_back(dims.size())))
    result.push_back(isOne(dim) ? getAffineConstantExpr(0, dim.getContext())
                                : coord);
  return result;
}

/// Adds the terms of a sum to `terms`.
static void collectTerms(AffineExpr sum, SmallVectorImpl<AffineExpr> &terms) {
  auto binary = dyn_cast<AffineBinaryOpExpr>(sum);
  if (binary && binary.getKind() == AffineExprKind::Add) {
    collectTerms(binary.getLHS(), terms);
    collectTerms(binary.getRHS(), terms);
    return;
  }
  terms.push_back(sum);
}

/// q of the term `q * size`; null if it is none.
static AffineExpr divideTerm(AffineExpr term, AffineExpr size) {
  auto binary = dyn_cast<AffineBinaryOpExpr>(term);
  if (!binary || binary.getKind() != AffineExprKind::Mul)
    return {};
  if (binary.getRHS() == size)
    return binary.getLHS();
  return binary.getLHS() == size ? binary.getRHS() : AffineExpr();
}

/// Row and column of the position `linear` in rows of `size`; null if they do
/// not show.
static std::pair<AffineExpr, AffineExpr> delinearize(AffineExpr linear,
                                                     AffineExpr size) {
  SmallVector<AffineExpr> terms;
  collectTerms(linear, terms);
  AffineExpr row = getAffineConstantExpr(0, linear.getContext());
  AffineExpr column = row;
  for (AffineExpr term : terms)
    if (AffineExpr quotient = divideTerm(term, size))
      row = row + quotient;
    else
      column = column + term;
  return {row, column};
}

std::optional<MaskReader::Coords>
MaskReader::getReshaped(Value input, Value output,
                        ArrayRef<AffineExpr> coords) {
  SmallVector<AffineExpr> from = getDims(input), to = getDims(output);
  AffineExpr zero = getAffineConstantExpr(
      0, to.empty() ? scoreDims[0].getContext() : to[0].getContext());
  if (auto places = mapUnitReshape(from, to)) {
    Coords result;
    for (int64_t place : *places)
      result.push_back(place < 0 ? zero : coords[place]);
    return result;
  }
  AffineExpr linear = zero;
  for (auto [dim, coord] : llvm::zip_equal(to, coords)) {
    AffineExpr scaled = multiply(linear, dim);
    if (!scaled)
      // Only the leading coordinate is scaled by sizes, one by one.
      return std::nullopt;
    linear = scaled + coord;
  }
  // Into at most two dimensions, others of size 1 aside.
  SmallVector<size_t> axes;
  for (auto [axis, size] : llvm::enumerate(from))
    if (!isOne(size))
      axes.push_back(axis);
  Coords result(from.size(), zero);
  if (axes.size() == 1) {
    result[axes[0]] = linear;
    return result;
  }
  if (axes.size() != 2)
    return std::nullopt;
  auto [row, column] = delinearize(linear, from[axes[1]]);
  // A column that is a coordinate of this size stays within the row.
  auto dim = dyn_cast<AffineDimExpr>(column);
  if (!dim || scoreDims[dim.getPosition()] != from[axes[1]])
    return std::nullopt;
  result[axes[0]] = row;
  result[axes[1]] = column;
  return result;
}

std::optional<MaskReader::Coords>
MaskReader::getSliced(NodeOp node, ArrayRef<AffineExpr> coords) {
  auto axes = node.getIntsAttr("axes"), steps = node.getIntsAttr("steps");
  auto starts = dyn_cast_or_null<AffineMapAttr>(node.getNodeAttr("starts"));
  if (!axes || !starts || starts.getValue().getNumResults() != axes->size())
    return std::nullopt;
  Coords result(coords);
  for (auto [index, axis] : llvm::enumerate(*axes)) {
    int64_t step = steps ? (*steps)[index] : 1;
    result[axis] = coords[axis] * step + starts.getValue().getResult(index);
  }
  return result;
}

std::optional<MaskReader::Coords>
MaskReader::getGathered(NodeOp node, ArrayRef<AffineExpr> coords) {
  Value data = node.getInputs()[0], indices = node.getInputs()[1];
  if (node.is("Gather")) {
    int64_t rank = getRank(indices);
    if (getAxis(node, 0, getRank(data)) != 0)
      return std::nullopt;
    Coords result{readIndex(indices, coords.take_front(rank))};
    llvm::append_range(result, coords.drop_front(rank));
    return result[0] ? std::optional(result) : std::nullopt;
  }
  NodeOp parts = getNode(indices, "Concat");
  int64_t rank = getRank(indices);
  if (!parts || node.getIntAttr("batch_dims", 0) != 0 ||
      getAxis(parts, -1, rank) != rank - 1)
    return std::nullopt;
  Coords place(coords.take_front(rank - 1)), result;
  place.push_back(getAffineConstantExpr(0, node.getContext()));
  for (Value part : parts.getInputs()) {
    if (getRank(part) != rank || !isOne(getDims(part).back()))
      return std::nullopt;
    AffineExpr index = readIndex(part, place);
    if (!index)
      return std::nullopt;
    result.push_back(index);
  }
  llvm::append_range(result, coords.drop_front(rank - 1));
  return result;
}

std::optional<MaskReader::Coords>
MaskReader::getSource(NodeOp node, ArrayRef<AffineExpr> coords) {
  if (!node || node.getInputs().empty() || node.getDomain())
    return std::nullopt;
  Value input = node.getInputs()[0];
  if (node.is("Cast") || node.is("Expand"))
    return broadcast(input, coords);
  if (node.is("Reshape"))
    return getReshaped(input, node.getOutputs()[0], coords);
  if (node.is("Slice"))
    return getSliced(node, coords);
  if (node.is("Gather") || node.is("GatherND"))
    return getGathered(node, coords);
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

/// The most elements of a constant that are looked at.
static constexpr int64_t kMaxElements = int64_t(1) << 24;

/// The element at `coords` of a constant that counts up along one axis.
static AffineExpr readCounter(const ConstantView &view,
                              ArrayRef<AffineExpr> coords) {
  if (view.getNumElements() <= 0 || view.getNumElements() > kMaxElements)
    return {};
  AffineExpr coord;
  for (auto [size, at] : llvm::zip_equal(view.getType().getShape(), coords))
    if (size != 1) {
      if (coord)
        return {};
      coord = at;
    }
  double first = view.getNumber(0);
  for (int64_t index = 0; index < view.getNumElements(); ++index)
    if (view.getNumber(index) != first + index)
      return {};
  return coord ? coord + static_cast<int64_t>(first) : AffineExpr();
}

AffineExpr MaskReader::readSize(Value value) {
  Coords first(getRank(value), getAffineConstantExpr(0, value.getContext()));
  return readIndex(value, first);
}

AffineExpr MaskReader::readIndex(Value value, ArrayRef<AffineExpr> coords) {
  if (!takeStep())
    return {};
  value = strip(value);
  MLIRContext *context = value.getContext();
  if (std::optional<double> scalar = getScalar(value))
    return *scalar == std::floor(*scalar) && std::abs(*scalar) < 1e15
               ? getAffineConstantExpr(*scalar, context)
               : AffineExpr();
  if (auto view = ConstantView::get(value))
    return readCounter(*view, coords);
  NodeOp node = getNode(value);
  if (!node)
    return {};
  if (node.getOpType() == "Sizes" && node.getDomain()) {
    auto sizes = dyn_cast_or_null<AffineMapAttr>(node.getNodeAttr("values"));
    return sizes && sizes.getValue().getNumResults() == 1
               ? sizes.getValue().getResult(0)
               : AffineExpr();
  }
  if (node.is("Range")) {
    AffineExpr start = readSize(node.getInputs()[0]);
    AffineExpr step = readSize(node.getInputs().back());
    AffineExpr offset = multiply(coords[0], step);
    return start && offset ? start + offset : AffineExpr();
  }
  if (node.is("Add") || node.is("Sub") || node.is("Mul")) {
    Value left = node.getInputs()[0], right = node.getInputs()[1];
    AffineExpr lhs = readIndex(left, broadcast(left, coords));
    AffineExpr rhs = readIndex(right, broadcast(right, coords));
    if (!lhs || !rhs)
      return {};
    return node.is("Add")   ? lhs + rhs
           : node.is("Sub") ? lhs - rhs
                            : multiply(lhs, rhs);
  }
  if (node.is("Gather") || node.is("GatherND"))
    return {};
  if (std::optional<Coords> source = getSource(node, coords))
    return readIndex(node.getInputs()[0], *source);
  return {};
}

//===----------------------------------------------------------------------===//
// Conditions
//===----------------------------------------------------------------------===//

bool MaskReader::addBound(AffineExpr expr, KeyMask &mask) {
  // Symbols of sizes cancel out; more than these are not expected.
  constexpr unsigned maxSymbols = 1024;
  bool isSimple = true;
  expr.walk([&](AffineExpr part) {
    auto symbol = dyn_cast<AffineSymbolExpr>(part);
    isSimple &= !symbol || symbol.getPosition() < maxSymbols;
  });
  if (!isSimple)
    return false;
  expr = simplifyAffineExpr(expr, scoreDims.size(), maxSymbols);
  if (expr ==
      simplifyAffineExpr(getDim(3) - getDim(2), scoreDims.size(), maxSymbols)) {
    mask.isCausal = true;
    return true;
  }
  // It always holds if coordinates, which are at least 0, only make it smaller.
  SmallVector<AffineExpr> terms;
  collectTerms(expr, terms);
  return llvm::all_of(terms, [](AffineExpr term) {
    if (auto constant = dyn_cast<AffineConstantExpr>(term))
      return constant.getValue() <= 0;
    auto negated =
        divideTerm(term, getAffineConstantExpr(-1, term.getContext()));
    return isa_and_present<AffineDimExpr>(negated);
  });
}

bool MaskReader::readComparison(NodeOp node, ArrayRef<AffineExpr> coords,
                                bool isNegated, KeyMask &mask) {
  Value left = node.getInputs()[0], right = node.getInputs()[1];
  // Flags that are compared with 0.
  bool isEqual = node.is("Equal");
  if ((isEqual || node.is("Greater")) && getScalar(right) == 0.0)
    return readCondition(left, broadcast(left, coords), isNegated != isEqual,
                         mask);
  if (isEqual)
    return false;
  AffineExpr lhs = readIndex(left, broadcast(left, coords));
  AffineExpr rhs = readIndex(right, broadcast(right, coords));
  if (!lhs || !rhs)
    return false;
  if (node.is("Greater") || node.is("GreaterOrEqual"))
    std::swap(lhs, rhs);
  bool isStrict = node.is("Less") || node.is("Greater");
  AffineExpr bound = lhs - rhs + (isStrict ? 1 : 0);
  return addBound(isNegated ? bound * -1 + 1 : bound, mask);
}

bool MaskReader::readTriangle(NodeOp node, ArrayRef<AffineExpr> coords,
                              bool isNegated, KeyMask &mask) {
  if (getScalar(node.getInputs()[0]).value_or(0) == 0 || coords.size() < 2)
    return false;
  AffineExpr diagonal = getAffineConstantExpr(0, node.getContext());
  if (Value k = node.getOptionalInput(1))
    diagonal = readSize(k);
  else if (node.getNodeAttr("k"))
    diagonal =
        getAffineConstantExpr(node.getIntAttr("k", 0), node.getContext());
  if (!diagonal)
    return false;
  // Kept are the elements on and below the diagonal, or on and above it.
  AffineExpr bound = coords.back() - coords.drop_back().back() - diagonal;
  if (node.getIntAttr("upper", 1) != 0)
    bound = bound * -1;
  return addBound(isNegated ? bound * -1 + 1 : bound, mask);
}

bool MaskReader::readConstant(const ConstantView &view,
                              ArrayRef<AffineExpr> coords, bool isNegated,
                              KeyMask &mask) {
  ArrayRef<int64_t> shape = view.getType().getShape();
  if (shape.size() < 2 || view.getNumElements() > kMaxElements ||
      view.getNumElements() != shape.back() * shape.drop_back().back() ||
      coords.back() != getDim(3) || coords.drop_back().back() != getDim(2))
    return false;
  int64_t columns = shape.back();
  for (int64_t index = 0; index < view.getNumElements(); ++index) {
    bool isKept = (view.getNumber(index) != 0) != isNegated;
    if (isKept != (index % columns <= index / columns))
      return false;
  }
  mask.isCausal = true;
  return true;
}

bool MaskReader::readLeaf(Value value, ArrayRef<AffineExpr> coords,
                          bool isNegated, KeyMask &mask) {
  if (!isa<IntegerType>(getElementTypeOrSelf(value.getType())))
    return false;
  SmallVector<AffineExpr> dims = getDims(value), used;
  bool isInPlace = coords.size() <= scoreDims.size();
  for (auto [axis, pair] : llvm::enumerate(llvm::zip_equal(dims, coords))) {
    auto [size, coord] = pair;
    if (isOne(size))
      continue;
    auto dim = dyn_cast<AffineDimExpr>(coord);
    if (!dim || scoreDims[dim.getPosition()] != size)
      return false;
    used.push_back(coord);
    isInPlace &= dim.getPosition() == axis + 4 - coords.size();
  }
  // Batch and key, in this order, or the key alone.
  if (used == SmallVector<AffineExpr>{getDim(0), getDim(3)} ||
      used == SmallVector<AffineExpr>{getDim(3)}) {
    mask.padding.push_back({value, isNegated});
    return true;
  }
  if (!isInPlace)
    return false;
  mask.others.push_back({value, isNegated});
  return true;
}

bool MaskReader::readCondition(Value value, ArrayRef<AffineExpr> coords,
                               bool isNegated, KeyMask &mask) {
  if (!takeStep())
    return false;
  value = strip(value);
  if (std::optional<double> scalar = getScalar(value))
    return (*scalar != 0) != isNegated;
  if (auto view = ConstantView::get(value))
    return readConstant(*view, coords, isNegated, mask);
  // Flags that are quantized to themselves.
  auto requantized = getRequantized(value);
  if (requantized && requantize(requantized->type, 1) == 1)
    return readCondition(requantized->source, coords, isNegated, mask);
  NodeOp node = getNode(value);
  if (!node || node.getDomain())
    return readLeaf(value, coords, isNegated, mask);
  if (node.is("Not")) {
    Value input = node.getInputs()[0];
    return readCondition(input, broadcast(input, coords), !isNegated, mask);
  }
  // One minus a flag is its opposite.
  if (node.is("Sub") && isScalar(node.getInputs()[0], 1)) {
    Value input = node.getInputs()[1];
    return readCondition(input, broadcast(input, coords), !isNegated, mask);
  }
  bool isAnd = node.is("And") || node.is("BitwiseAnd") || node.is("Mul");
  if (isNegated ? node.is("Or") || node.is("BitwiseOr") : isAnd)
    return llvm::all_of(node.getInputs(), [&](Value input) {
      return readCondition(input, broadcast(input, coords), isNegated, mask);
    });
  if (node.is("LessOrEqual") || node.is("Less") || node.is("Equal") ||
      node.is("GreaterOrEqual") || node.is("Greater"))
    if (readComparison(node, coords, isNegated, mask))
      return true;
  if (node.is("Trilu"))
    return readTriangle(node, coords, isNegated, mask);
  if (std::optional<Coords> source = getSource(node, coords))
    return readCondition(node.getInputs()[0], *source, isNegated, mask);
  return readLeaf(value, coords, isNegated, mask);
}

//===----------------------------------------------------------------------===//
// Tensors that are added
//===----------------------------------------------------------------------===//

void KeyMask::add(const KeyMask &other) {
  isCausal |= other.isCausal;
  llvm::append_range(padding, other.padding);
  llvm::append_range(others, other.others);
  never = std::max(never, other.never);
}

bool MaskReader::isNever(Value value, KeyMask &mask) {
  std::optional<double> scalar = getScalar(value);
  if (!scalar || !(*scalar <= never))
    return false;
  mask.never = std::max(mask.never, *scalar);
  return true;
}

/// A mask that is quantized by itself: 0 stays, and what excludes becomes the
/// number of a code.
bool MaskReader::readRequantized(const Requantized &requantized,
                                 ArrayRef<AffineExpr> coords, KeyMask &mask) {
  KeyMask inner;
  if (!readAdded(requantized.source, coords, inner))
    return false;
  inner.never = requantize(requantized.type, inner.never);
  mask.add(inner);
  return inner.never <= never;
}

bool MaskReader::readWhere(NodeOp where, ArrayRef<AffineExpr> coords,
                           KeyMask &mask) {
  Value condition = where.getInputs()[0];
  Value ifTrue = where.getInputs()[1], ifFalse = where.getInputs()[2];
  Coords at = broadcast(condition, coords);
  if (isNever(ifFalse, mask))
    return getScalar(ifTrue) == 0.0 &&
           readCondition(condition, at, /*isNegated=*/false, mask);
  if (!isNever(ifTrue, mask))
    return false;
  // Where the number that decides is itself what stays, it is 0.
  NodeOp cast = getNode(condition, "Cast");
  bool isOwn = cast && strip(cast.getInputs()[0]) == strip(ifFalse);
  return (isOwn || getScalar(ifFalse) == 0.0) &&
         readCondition(condition, at, /*isNegated=*/true, mask);
}

bool MaskReader::readAdded(Value value, ArrayRef<AffineExpr> coords,
                           KeyMask &mask) {
  if (!takeStep())
    return false;
  value = strip(value);
  if (std::optional<double> scalar = getScalar(value))
    return *scalar == 0;
  if (auto view = ConstantView::get(value)) {
    if (view->getNumElements() > kMaxElements)
      return false;
    // 0 keeps, everything else must exclude.
    for (int64_t index = 0; index < view->getNumElements(); ++index) {
      double number = view->getNumber(index);
      if (number != 0 && !(number <= never))
        return false;
      if (number != 0)
        mask.never = std::max(mask.never, number);
    }
    return readConstant(*view, coords, /*isNegated=*/true, mask);
  }
  if (auto requantized = getRequantized(value))
    return readRequantized(*requantized, coords, mask);
  NodeOp node = getNode(value);
  if (!node || node.getDomain())
    return false;
  if (node.is("Where"))
    return readWhere(node, coords, mask);
  if (node.is("Add"))
    return llvm::all_of(node.getInputs(), [&](Value input) {
      return readAdded(input, broadcast(input, coords), mask);
    });
  if (node.is("Mul")) {
    for (unsigned index : {1, 0}) {
      Value flag = node.getInputs()[1 - index];
      if (isNever(node.getInputs()[index], mask))
        return readCondition(flag, broadcast(flag, coords), /*isNegated=*/true,
                             mask);
    }
    return false;
  }
  if (node.is("Gather") || node.is("GatherND"))
    return false;
  if (std::optional<Coords> source = getSource(node, coords))
    return readAdded(node.getInputs()[0], *source, mask);
  return false;
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

bool MaskReader::readAdded(Value value, KeyMask &mask) {
  if (getRank(value) > 4)
    return false;
  SmallVector<AffineExpr> all{getDim(0), getDim(1), getDim(2), getDim(3)};
  return readAdded(value, broadcast(value, all), mask);
}

bool MaskReader::readCondition(Value value, bool isNegated, KeyMask &mask) {
  if (getRank(value) > 4)
    return false;
  SmallVector<AffineExpr> all{getDim(0), getDim(1), getDim(2), getDim(3)};
  return readCondition(value, broadcast(value, all), isNegated, mask);
}
