//===- NodeLowering.cpp - What lowerings of ONNX nodes share --------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace qtx::onnx;

RankedTensorType qtx::onnx::getPlainType(RankedTensorType type) {
  return RankedTensorType::get(type.getShape(),
                               getPlainElement(type.getElementType()));
}

//===----------------------------------------------------------------------===//
// Index arithmetic
//===----------------------------------------------------------------------===//

Value qtx::onnx::addIndex(NodeLowering &b, Value x, Value y) {
  return b.createOrFold<arith::AddIOp>(x, y);
}
Value qtx::onnx::subIndex(NodeLowering &b, Value x, Value y) {
  return b.createOrFold<arith::SubIOp>(x, y);
}
Value qtx::onnx::mulIndex(NodeLowering &b, Value x, Value y) {
  return b.createOrFold<arith::MulIOp>(x, y);
}
Value qtx::onnx::floorDivIndex(NodeLowering &b, Value x, Value y) {
  return b.createOrFold<arith::FloorDivSIOp>(x, y);
}
Value qtx::onnx::minIndex(NodeLowering &b, Value x, Value y) {
  return b.createOrFold<arith::MinSIOp>(x, y);
}
Value qtx::onnx::maxIndex(NodeLowering &b, Value x, Value y) {
  return b.createOrFold<arith::MaxSIOp>(x, y);
}

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

void SymbolValues::bind(AffineExpr expr, Value tensor, int64_t axis) {
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    sources.try_emplace(symbol.getPosition(), Source{tensor, axis});
}

void SymbolValues::bind(AffineExpr expr, Value index) {
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    sources.try_emplace(symbol.getPosition(), Source{index, std::nullopt});
}

void SymbolValues::bindAll(RankedTensorType type, Value tensor) {
  for (auto [axis, expr] : llvm::enumerate(getDims(type)))
    bind(expr, tensor, axis);
}

bool SymbolValues::isBound(AffineExpr expr) const {
  bool bound = true;
  expr.walk([&](AffineExpr part) {
    if (auto symbol = dyn_cast<AffineSymbolExpr>(part))
      bound &= sources.contains(symbol.getPosition());
    bound &= !isa<AffineDimExpr>(part);
  });
  return bound;
}

static Value createBinary(ImplicitLocOpBuilder &b, AffineExprKind kind, Value x,
                          Value y) {
  switch (kind) {
  case AffineExprKind::Add:
    return b.createOrFold<arith::AddIOp>(x, y);
  case AffineExprKind::Mul:
    return b.createOrFold<arith::MulIOp>(x, y);
  case AffineExprKind::FloorDiv:
    return b.createOrFold<arith::FloorDivSIOp>(x, y);
  case AffineExprKind::CeilDiv:
    return b.createOrFold<arith::CeilDivSIOp>(x, y);
  case AffineExprKind::Mod: {
    Value quotient = b.createOrFold<arith::FloorDivSIOp>(x, y);
    return b.createOrFold<arith::SubIOp>(
        x, b.createOrFold<arith::MulIOp>(quotient, y));
  }
  default:
    llvm_unreachable("not a binary expression");
  }
}

Value SymbolValues::get(ImplicitLocOpBuilder &b, AffineExpr expr) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return arith::ConstantIndexOp::create(b, constant.getValue());
  if (auto binary = dyn_cast<AffineBinaryOpExpr>(expr))
    return createBinary(b, binary.getKind(), get(b, binary.getLHS()),
                        get(b, binary.getRHS()));
  auto symbol = dyn_cast<AffineSymbolExpr>(expr);
  auto source = symbol ? sources.find(symbol.getPosition()) : sources.end();
  if (source == sources.end()) {
    isMissing = true;
    return arith::ConstantIndexOp::create(b, 0);
  }
  if (!source->second.axis)
    return source->second.value;
  return b.createOrFold<tensor::DimOp>(source->second.value,
                                       *source->second.axis);
}

//===----------------------------------------------------------------------===//
// The node
//===----------------------------------------------------------------------===//

NodeLowering::NodeLowering(NodeOp node, OpBuilder &builder,
                           SymbolValues &symbols,
                           const DenseMap<Value, Value> &lowered)
    : ImplicitLocOpBuilder(node.getLoc(), builder), node(node),
      symbols(symbols), lowered(lowered) {}

Tensor NodeLowering::input(unsigned index) {
  Value value = node.getInputs()[index];
  return {lowered.lookup(value), cast<RankedTensorType>(value.getType())};
}

SmallVector<Tensor> NodeLowering::inputs() {
  SmallVector<Tensor> tensors;
  for (unsigned i = 0; i < getNumInputs(); ++i)
    if (has(i))
      tensors.push_back(input(i));
  return tensors;
}

RankedTensorType NodeLowering::resultType(unsigned index) {
  return cast<RankedTensorType>(node.getOutputs()[index].getType());
}

bool NodeLowering::hasResult(unsigned index) {
  return index < node.getOutputs().size() &&
         isa<RankedTensorType>(node.getOutputs()[index].getType());
}

/// The elements of a constant; null if `value` is none.
static DenseElementsAttr getConstant(Value value) {
  ElementsAttr attr;
  if (!value || !matchPattern(value, m_Constant(&attr)))
    return {};
  if (auto dense = dyn_cast<DenseElementsAttr>(attr))
    return dense;
  auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
  AsmResourceBlob *blob =
      resource ? resource.getRawHandle().getBlob() : nullptr;
  bool isSplat = false;
  if (!blob || !resource.getElementType().isIntOrFloat() ||
      !DenseElementsAttr::isValidRawBuffer(resource.getType(), blob->getData(),
                                           isSplat))
    return {};
  return DenseElementsAttr::getFromRawBuffer(resource.getType(),
                                             blob->getData());
}

std::optional<SmallVector<int64_t>> NodeLowering::constantInts(unsigned index) {
  DenseElementsAttr attr = getConstant(node.getOptionalInput(index));
  if (!attr || !isa<IntegerType>(attr.getElementType()))
    return std::nullopt;
  bool isUnsigned = attr.getElementType().isUnsignedInteger() ||
                    attr.getElementType().isInteger(1);
  return llvm::map_to_vector(attr.getValues<APInt>(), [&](const APInt &value) {
    return isUnsigned ? int64_t(value.getZExtValue()) : value.getSExtValue();
  });
}

std::optional<double> NodeLowering::constantNumber(unsigned index) {
  DenseElementsAttr attr = getConstant(node.getOptionalInput(index));
  if (!attr || !attr.isSplat())
    return std::nullopt;
  if (isa<FloatType>(attr.getElementType())) {
    APFloat value = attr.getSplatValue<APFloat>();
    bool losesInfo;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven,
                  &losesInfo);
    return value.convertToDouble();
  }
  auto ints = constantInts(index);
  if (!ints)
    return std::nullopt;
  return static_cast<double>(ints->front());
}

SmallVector<AffineExpr> NodeLowering::getPositions(StringRef attr) {
  auto map = dyn_cast_or_null<AffineMapAttr>(node.getNodeAttr(attr));
  return map ? llvm::to_vector(map.getValue().getResults())
             : SmallVector<AffineExpr>();
}

FailureOr<int64_t> NodeLowering::getAxis(int64_t rank, int64_t absent,
                                         StringRef name) {
  int64_t axis = node.getIntAttr(name, absent);
  if (axis < -rank || axis >= rank)
    return fail("'" + name + "' is out of range");
  return axis < 0 ? axis + rank : axis;
}

FailureOr<SmallVector<int64_t>>
NodeLowering::normalizeAxes(ArrayRef<int64_t> axes, int64_t rank) {
  SmallVector<int64_t> sorted;
  for (int64_t axis : axes) {
    if (axis < -rank || axis >= rank)
      return fail("an axis is out of range");
    sorted.push_back(axis < 0 ? axis + rank : axis);
  }
  llvm::sort(sorted);
  sorted.erase(llvm::unique(sorted), sorted.end());
  return sorted;
}

LogicalResult NodeLowering::fail(const Twine &why) {
  reason = why.str();
  return failure();
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

Value NodeLowering::index(int64_t value) {
  return arith::ConstantIndexOp::create(*this, value);
}

OpFoldResult NodeLowering::size(AffineExpr expr) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return getIndexAttr(constant.getValue());
  return index(expr);
}

SmallVector<OpFoldResult> NodeLowering::sizes(ArrayRef<AffineExpr> exprs) {
  return llvm::map_to_vector(exprs, [&](AffineExpr e) { return size(e); });
}

SmallVector<Value> NodeLowering::indices(ArrayRef<AffineExpr> exprs) {
  return llvm::map_to_vector(exprs, [&](AffineExpr e) { return index(e); });
}

Value NodeLowering::count(ArrayRef<AffineExpr> exprs) {
  Value product = index(int64_t(1));
  for (AffineExpr expr : exprs)
    product = mulIndex(*this, product, index(expr));
  return product;
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

Tensor NodeLowering::wrap(Value value, ArrayRef<AffineExpr> dims,
                          Type element) {
  return wrap(value, getTensorType(dims, element));
}

Tensor NodeLowering::wrap(Value value, RankedTensorType type) {
  RankedTensorType plain = getPlainType(type);
  if (value.getType() != plain)
    value = tensor::CastOp::create(*this, plain, value);
  return {value, type};
}

Tensor NodeLowering::empty(ArrayRef<AffineExpr> dims, Type element) {
  return wrap(
      tensor::EmptyOp::create(*this, sizes(dims), getPlainElement(element)),
      dims, element);
}

Tensor NodeLowering::filled(ArrayRef<AffineExpr> dims, Type element,
                            Value scalar) {
  Tensor init = empty(dims, element);
  auto fill = linalg::FillOp::create(*this, scalar, init.value);
  return {fill.getResult(0), init.type};
}

Tensor NodeLowering::filled(ArrayRef<AffineExpr> dims, Type element,
                            double value) {
  Scalars s(getLoc(), *this, element);
  return filled(dims, element, s.number(getPlainElement(element), value));
}

/// bf16 is the upper half of f32; targets have no conversions of it.
static Value widenScalar(Scalars &s, Value x) {
  if (x.getType().isF16())
    return arith::ExtFOp::create(s, s.getF32Type(), x);
  if (!x.getType().isBF16())
    return x;
  Value bits = arith::BitcastOp::create(s, s.getI16Type(), x);
  bits = arith::ExtUIOp::create(s, s.getI32Type(), bits);
  bits = arith::ShLIOp::create(s, bits, s.integer(s.getI32Type(), 16));
  return arith::BitcastOp::create(s, s.getF32Type(), bits);
}

/// Rounds half to even; a NaN stays one.
static Value createBF16(Scalars &s, Value x) {
  Type i32 = s.getI32Type();
  Value bits = arith::BitcastOp::create(s, i32, x);
  Value odd = arith::AndIOp::create(
      s, arith::ShRUIOp::create(s, bits, s.integer(i32, 16)),
      s.integer(i32, 1));
  Value bias = arith::AddIOp::create(s, odd, s.integer(i32, 0x7fff));
  Value rounded = arith::AddIOp::create(s, bits, bias);
  rounded = s.select(s.isNaN(x), s.integer(i32, 0x7fc00000), rounded);
  Value high = arith::ShRUIOp::create(s, rounded, s.integer(i32, 16));
  high = arith::TruncIOp::create(s, s.getI16Type(), high);
  return arith::BitcastOp::create(s, s.getBF16Type(), high);
}

/// The reverse of `widenScalar`, for elements of `element`.
static Value narrowScalar(Scalars &s, Value x, Type element) {
  if (!x.getType().isF32())
    return x;
  if (element.isF16())
    return arith::TruncFOp::create(s, element, x);
  return element.isBF16() ? createBF16(s, x) : x;
}

SmallVector<AffineExpr> NodeLowering::broadcast(ArrayRef<Tensor> inputs) {
  int64_t rank = 0;
  for (const Tensor &input : inputs)
    rank = std::max(rank, input.rank());
  SmallVector<AffineExpr> dims(rank, constantDim(1));
  for (const Tensor &input : inputs) {
    int64_t leading = rank - input.rank();
    for (auto [axis, dim] : llvm::enumerate(input.dims()))
      if (isOne(dims[leading + axis]))
        dims[leading + axis] = dim;
  }
  return dims;
}

Tensor NodeLowering::map(Type element, ArrayRef<Tensor> inputs,
                         ScalarBody body) {
  return map(broadcast(inputs), element, inputs, body);
}

namespace {
/// How elements of a tensor are found from the indices of a result that it is
/// broadcast to.
struct BroadcastAccess {
  Tensor tensor;
  /// Absent if some index is found at run time.
  std::optional<AffineMap> map;
  /// The sizes of axes whose index is found at run time.
  SmallVector<Value> runTimeSizes;
};
} // namespace

static BroadcastAccess getAccess(NodeLowering &b, Tensor tensor,
                                 ArrayRef<AffineExpr> dims) {
  BroadcastAccess access{tensor, std::nullopt, {}};
  SmallVector<AffineExpr> results;
  int64_t leading = dims.size() - tensor.rank();
  for (auto [axis, dim] : llvm::enumerate(tensor.dims())) {
    bool isSame = dim == dims[leading + axis];
    bool isStatic = isSame || NodeLowering::isOne(dim);
    access.runTimeSizes.push_back(isStatic ? Value() : b.index(dim));
    if (isStatic)
      results.push_back(isSame ? b.getAffineDimExpr(leading + axis)
                               : b.getAffineConstantExpr(0));
  }
  if (llvm::size(results) == tensor.rank())
    access.map = AffineMap::get(dims.size(), 0, results, b.getContext());
  return access;
}

/// The element of a tensor whose indices are found at run time: a size of 1 has
/// the index 0, and no index lies outside.
static Value extractBroadcast(Scalars &s, const BroadcastAccess &access,
                              ArrayRef<AffineExpr> dims) {
  int64_t leading = dims.size() - access.tensor.rank();
  SmallVector<Value> indices;
  for (auto [axis, dim] : llvm::enumerate(access.tensor.dims())) {
    Value size = access.runTimeSizes[axis];
    if (!size && dim != dims[leading + axis]) {
      indices.push_back(arith::ConstantIndexOp::create(s, 0));
      continue;
    }
    Value index = linalg::IndexOp::create(s, leading + axis);
    if (size) {
      Value one = arith::ConstantIndexOp::create(s, 1);
      Value last = arith::SubIOp::create(s, size, one);
      index = arith::MinSIOp::create(s, index, last);
    }
    indices.push_back(index);
  }
  return NodeLowering::extract(s, access.tensor, indices);
}

Tensor NodeLowering::map(ArrayRef<AffineExpr> dims, Type element,
                         ArrayRef<Tensor> inputs, ScalarBody body) {
  Tensor init = empty(dims, element);
  SmallVector<BroadcastAccess> accesses;
  SmallVector<Value> values;
  SmallVector<AffineMap> maps;
  for (Tensor input : inputs) {
    accesses.push_back(getAccess(*this, input, dims));
    if (!accesses.back().map)
      continue;
    values.push_back(input.value);
    maps.push_back(*accesses.back().map);
  }
  maps.push_back(getMultiDimIdentityMap(dims.size()));
  SmallVector<utils::IteratorType> iterators(dims.size(),
                                             utils::IteratorType::parallel);
  Type operandElement = inputs.empty() ? element : inputs.front().element();
  auto generic = linalg::GenericOp::create(
      *this, init.value.getType(), values, init.value, maps, iterators,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        Scalars s(loc, nested, operandElement);
        SmallVector<Value> scalars;
        unsigned next = 0;
        for (const BroadcastAccess &access : accesses)
          scalars.push_back(access.map ? widenScalar(s, args[next++])
                                       : extractBroadcast(s, access, dims));
        linalg::YieldOp::create(s, narrowScalar(s, body(s, scalars), element));
      });
  return {generic.getResult(0), init.type};
}

Tensor NodeLowering::mapToResult(ArrayRef<Tensor> inputs, ScalarBody body) {
  return map(resultDims(), resultElement(), inputs, body);
}

Tensor NodeLowering::generate(ArrayRef<AffineExpr> dims, Type element,
                              ScalarBody body) {
  return map(dims, element, {}, [&](Scalars &s, ValueRange) {
    SmallVector<Value> indices;
    for (unsigned axis = 0; axis < dims.size(); ++axis)
      indices.push_back(linalg::IndexOp::create(s, axis));
    return body(s, indices);
  });
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

Tensor NodeLowering::reduceWith(Tensor init, AffineMap initMap,
                                ArrayRef<Tensor> inputs,
                                ArrayRef<AffineMap> inputMaps,
                                ScalarBody body) {
  SmallVector<Value> values;
  for (Tensor input : inputs)
    values.push_back(input.value);
  SmallVector<AffineMap> maps(inputMaps);
  maps.push_back(initMap);
  SmallVector<utils::IteratorType> iterators(initMap.getNumDims(),
                                             utils::IteratorType::reduction);
  for (unsigned dim = 0, e = initMap.getNumResults(); dim < e; ++dim)
    iterators[initMap.getDimPosition(dim)] = utils::IteratorType::parallel;
  Type element = inputs.empty() ? init.element() : inputs.front().element();
  auto generic = linalg::GenericOp::create(
      *this, init.value.getType(), values, init.value, maps, iterators,
      [&](OpBuilder &nested, Location loc, ValueRange args) {
        Scalars s(loc, nested, element);
        auto scalars = llvm::map_to_vector(
            args, [&](Value arg) { return widenScalar(s, arg); });
        linalg::YieldOp::create(
            s, narrowScalar(s, body(s, scalars), init.element()));
      });
  return {generic.getResult(0), init.type};
}

SmallVector<AffineExpr>
NodeLowering::reducedDims(Tensor x, ArrayRef<int64_t> axes, bool keep) {
  SmallVector<AffineExpr> dims;
  for (auto [axis, dim] : llvm::enumerate(x.dims())) {
    if (!llvm::is_contained(axes, int64_t(axis)))
      dims.push_back(dim);
    else if (keep)
      dims.push_back(constantDim(1));
  }
  return dims;
}

Tensor NodeLowering::reduce(Tensor x, ArrayRef<int64_t> axes, bool keep,
                            Value initial, ScalarBody combine) {
  SmallVector<AffineExpr> kept;
  for (int64_t axis = 0; axis < x.rank(); ++axis)
    if (!llvm::is_contained(axes, axis))
      kept.push_back(getAffineDimExpr(axis));
  Tensor init =
      filled(reducedDims(x, axes, /*keep=*/false), x.element(), initial);
  Tensor result =
      reduceWith(init, AffineMap::get(x.rank(), 0, kept, getContext()), x,
                 getMultiDimIdentityMap(x.rank()), combine);
  return reshape(result, reducedDims(x, axes, keep));
}

Tensor NodeLowering::sum(Tensor x, ArrayRef<int64_t> axes, bool keep) {
  Scalars s(getLoc(), *this, x.element());
  return reduce(x, axes, keep, s.number(getPlainElement(x.element()), 0),
                [](Scalars &s, ValueRange v) { return s.add(v[1], v[0]); });
}

Tensor NodeLowering::maximum(Tensor x, ArrayRef<int64_t> axes, bool keep) {
  Scalars s(getLoc(), *this, x.element());
  return reduce(x, axes, keep, s.lowest(getPlainElement(x.element())),
                [](Scalars &s, ValueRange v) { return s.max(v[1], v[0]); });
}

Tensor NodeLowering::countAlong(Tensor x, ArrayRef<int64_t> axes,
                                Type element) {
  SmallVector<AffineExpr> sizes;
  for (int64_t axis : axes)
    sizes.push_back(x.dim(axis));
  Scalars s(getLoc(), *this, element);
  return fromScalar(s.fromIndex(count(sizes), getPlainElement(element)),
                    element);
}

Tensor NodeLowering::mean(Tensor x, ArrayRef<int64_t> axes, bool keep) {
  Tensor total = sum(x, axes, keep);
  return map(x.element(), {total, countAlong(x, axes, x.element())},
             [](Scalars &s, ValueRange v) { return s.div(v[0], v[1]); });
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

namespace {
/// The axes of two shapes that differ, between those that are the same.
struct ReshapeParts {
  int64_t prefix = 0, suffix = 0;
};
} // namespace

static ReshapeParts findReshapeParts(ArrayRef<AffineExpr> from,
                                     ArrayRef<AffineExpr> to) {
  ReshapeParts parts;
  int64_t shorter = std::min(from.size(), to.size());
  while (parts.prefix < shorter && from[parts.prefix] == to[parts.prefix])
    ++parts.prefix;
  while (parts.prefix + parts.suffix < shorter &&
         from[from.size() - 1 - parts.suffix] ==
             to[to.size() - 1 - parts.suffix])
    ++parts.suffix;
  // A group on either side has at least one axis.
  if (parts.prefix + parts.suffix == shorter && shorter > 0)
    --(parts.prefix > 0 ? parts.prefix : parts.suffix);
  return parts;
}

/// Reassociation of `rank` axes into prefix, one group, and suffix.
static SmallVector<ReassociationIndices>
getReassociation(int64_t rank, const ReshapeParts &parts) {
  SmallVector<ReassociationIndices> groups;
  for (int64_t axis = 0; axis < rank; ++axis) {
    bool joins = axis > parts.prefix && axis < rank - parts.suffix;
    if (joins)
      groups.back().push_back(axis);
    else
      groups.push_back({axis});
  }
  return groups;
}

static int64_t getStaticProduct(ArrayRef<AffineExpr> dims) {
  int64_t product = 1;
  for (AffineExpr dim : dims) {
    auto constant = dyn_cast<AffineConstantExpr>(dim);
    if (!constant)
      return ShapedType::kDynamic;
    product *= constant.getValue();
  }
  return product;
}

/// `dims` with all axes between prefix and suffix joined into one.
static RankedTensorType getCollapsedType(ArrayRef<AffineExpr> dims,
                                         const ReshapeParts &parts,
                                         Type element) {
  SmallVector<int64_t> shape;
  auto append = [&](ArrayRef<AffineExpr> part) {
    for (AffineExpr dim : part)
      shape.push_back(getStaticProduct(dim));
  };
  append(dims.take_front(parts.prefix));
  shape.push_back(
      getStaticProduct(dims.drop_front(parts.prefix).drop_back(parts.suffix)));
  append(dims.take_back(parts.suffix));
  return RankedTensorType::get(shape, element);
}

static Value castTo(NodeLowering &b, Value value, RankedTensorType type) {
  if (value.getType() == type)
    return value;
  return tensor::CastOp::create(b, type, value);
}

Tensor NodeLowering::reshape(Tensor x, ArrayRef<AffineExpr> dims) {
  RankedTensorType type = getTensorType(dims, x.element());
  RankedTensorType plain = getPlainType(type);
  SmallVector<AffineExpr> from = x.dims();
  if (ArrayRef<AffineExpr>(from) == dims)
    return x;
  if (from.empty()) {
    SmallVector<int64_t> ones(dims.size(), 1);
    auto expanded = RankedTensorType::get(ones, plain.getElementType());
    Value value = tensor::ExpandShapeOp::create(
        *this, expanded, x.value, ArrayRef<ReassociationIndices>());
    return wrap(value, type);
  }
  if (dims.empty()) {
    SmallVector<int64_t> ones(from.size(), 1);
    Value value = castTo(*this, x.value,
                         RankedTensorType::get(ones, plain.getElementType()));
    value = tensor::CollapseShapeOp::create(*this, plain, value,
                                            ArrayRef<ReassociationIndices>());
    return {value, type};
  }
  ReshapeParts parts = findReshapeParts(from, dims);
  Value value = x.value;
  int64_t shared = parts.prefix + parts.suffix + 1;
  if (x.rank() > shared)
    value = tensor::CollapseShapeOp::create(
        *this, getCollapsedType(from, parts, plain.getElementType()), value,
        getReassociation(x.rank(), parts));
  if (int64_t(dims.size()) == shared)
    return wrap(value, type);
  value = castTo(*this, value,
                 getCollapsedType(dims, parts, plain.getElementType()));
  value = tensor::ExpandShapeOp::create(
      *this, plain, value, getReassociation(dims.size(), parts), sizes(dims));
  return {value, type};
}

Tensor NodeLowering::transpose(Tensor x, ArrayRef<int64_t> permutation) {
  if (llvm::equal(permutation, llvm::seq<int64_t>(0, x.rank())))
    return x;
  SmallVector<AffineExpr> dims = llvm::map_to_vector(
      permutation, [&](int64_t axis) { return x.dim(axis); });
  Tensor init = empty(dims, x.element());
  auto transposed =
      linalg::TransposeOp::create(*this, x.value, init.value, permutation);
  return {transposed->getResult(0), init.type};
}

Tensor NodeLowering::expand(Tensor x, ArrayRef<AffineExpr> dims) {
  return map(dims, x.element(), x,
             [](Scalars &, ValueRange v) { return v[0]; });
}

Tensor NodeLowering::convert(Tensor x, Type element) {
  if (x.element() == element)
    return x;
  return map(x.dims(), element, x, [&](Scalars &s, ValueRange v) {
    return s.convert(v[0], x.element(), element);
  });
}

Tensor NodeLowering::widen(Tensor x) {
  return isa<FloatType>(x.element())
             ? convert(x, getComputeElement(x.element()))
             : x;
}

Tensor NodeLowering::narrow(Tensor x, unsigned result) {
  return convert(x, resultElement(result));
}

Tensor NodeLowering::slice(Tensor x, int64_t axis, Value offset,
                           AffineExpr sliceSize, int64_t step) {
  SmallVector<AffineExpr> dims = x.dims();
  dims[axis] = sliceSize;
  if (isEmpty(dims))
    return empty(dims, x.element());
  SmallVector<OpFoldResult> offsets(x.rank(), getIndexAttr(0));
  SmallVector<OpFoldResult> strides(x.rank(), getIndexAttr(1));
  offsets[axis] = getAsOpFoldResult(offset);
  strides[axis] = getIndexAttr(step);
  return wrap(tensor::ExtractSliceOp::create(*this, x.value, offsets,
                                             sizes(dims), strides),
              dims, x.element());
}

Tensor NodeLowering::insert(Tensor part, Tensor into, int64_t axis,
                            Value offset) {
  if (isEmpty(part.dims()))
    return into;
  SmallVector<OpFoldResult> offsets(part.rank(), getIndexAttr(0));
  SmallVector<OpFoldResult> strides(part.rank(), getIndexAttr(1));
  offsets[axis] = getAsOpFoldResult(offset);
  Value value = tensor::InsertSliceOp::create(
      *this, part.value, into.value, offsets, sizes(part.dims()), strides);
  return {value, into.type};
}

Tensor NodeLowering::pad(Tensor x, ArrayRef<int64_t> low,
                         ArrayRef<int64_t> high, Value value,
                         ArrayRef<AffineExpr> dims) {
  auto isZero = [](int64_t size) { return size == 0; };
  if (llvm::all_of(low, isZero) && llvm::all_of(high, isZero))
    return x;
  Tensor into = filled(dims, x.element(), value);
  SmallVector<OpFoldResult> offsets = llvm::map_to_vector(
      low, [&](int64_t size) -> OpFoldResult { return getIndexAttr(size); });
  SmallVector<OpFoldResult> strides(x.rank(), getIndexAttr(1));
  Value padded = tensor::InsertSliceOp::create(
      *this, x.value, into.value, offsets, sizes(x.dims()), strides);
  return {padded, into.type};
}

Tensor NodeLowering::number(Type element, double value) {
  Scalars s(getLoc(), *this, element);
  return fromScalar(s.number(getPlainElement(element), value), element);
}

Tensor NodeLowering::fromScalar(Value scalar, Type element) {
  auto type = RankedTensorType::get({}, element);
  Value value =
      tensor::FromElementsOp::create(*this, getPlainType(type), scalar);
  return {value, type};
}

Value NodeLowering::toScalar(Tensor x) {
  SmallVector<Value> zeros(x.rank(), index(int64_t(0)));
  Scalars s(getLoc(), *this, x.element());
  return extract(s, x, zeros);
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

Value NodeLowering::extract(Scalars &s, Tensor x, ValueRange indices) {
  return widenScalar(s, tensor::ExtractOp::create(s, x.value, indices));
}

Value NodeLowering::normalizeIndex(Scalars &s, Value i, Value size) {
  Value zero = arith::ConstantIndexOp::create(s, 0);
  Value one = arith::ConstantIndexOp::create(s, 1);
  Value isNegative =
      arith::CmpIOp::create(s, arith::CmpIPredicate::slt, i, zero);
  Value fromEnd = arith::AddIOp::create(s, i, size);
  i = arith::SelectOp::create(s, isNegative, fromEnd, i);
  Value last = arith::SubIOp::create(s, size, one);
  return arith::MaxSIOp::create(s, arith::MinSIOp::create(s, i, last), zero);
}

Value NodeLowering::store(Scalars &s, Value scalar, Value into, Type element,
                          ValueRange indices) {
  return tensor::InsertOp::create(s, narrowScalar(s, scalar, element), into,
                                  indices);
}

SmallVector<Value> NodeLowering::loops(
    ArrayRef<AffineExpr> dims, ValueRange initial, Type element,
    function_ref<SmallVector<Value>(Scalars &, ValueRange, ValueRange)> body) {
  SmallVector<Value> lower(dims.size(), index(int64_t(0)));
  SmallVector<Value> step(dims.size(), index(int64_t(1)));
  SmallVector<Value> upper = indices(dims);
  if (dims.empty()) {
    Scalars s(getLoc(), *this, element);
    return body(s, {}, initial);
  }
  auto nest = scf::buildLoopNest(*this, getLoc(), lower, upper, step, initial,
                                 [&](OpBuilder &nested, Location loc,
                                     ValueRange indices, ValueRange state) {
                                   Scalars s(loc, nested, element);
                                   return body(s, indices, state);
                                 });
  return nest.results;
}
