//===- ShapeRules.cpp - ONNX operators on shapes ------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "Tensors.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::importer;

//===----------------------------------------------------------------------===//
// Shapes as values
//===----------------------------------------------------------------------===//

static Contents getVector(Node &node, ArrayRef<Size> elements) {
  Contents contents({static_cast<int64_t>(elements.size())},
                    node.builder.getI64Type());
  contents.integers.assign(elements.begin(), elements.end());
  return contents;
}

static LogicalResult inferShape(Node &node) {
  int64_t rank = node.getRank();
  auto clamp = [&](int64_t position) {
    return std::clamp<int64_t>(position < 0 ? position + rank : position, 0,
                               rank);
  };
  int64_t start = clamp(node.getInt("start", 0));
  int64_t end = std::max(clamp(node.getInt("end", rank)), start);
  Dims dims = node.getDims();
  return node.fold(getVector(node, ArrayRef(dims).slice(start, end - start)));
}

static LogicalResult inferSize(Node &node) {
  Contents contents({}, node.builder.getI64Type());
  contents.integers[0] = node.sizes().product(node.getDims());
  return node.fold(std::move(contents));
}

static LogicalResult inferConstantOfShape(Node &node) {
  std::optional<Dims> shape = node.getSizes(0);
  if (!shape || !llvm::all_of(*shape, [](Size size) { return bool(size); }))
    return node.unsupported("shape that is not a function of sizes");
  auto value =
      dyn_cast_or_null<DenseElementsAttr>(node.attributes.get("value"));
  if (value && value.getNumElements() != 1)
    return node.emitError()
           << "expected one value, found " << value.getNumElements();
  Type elementType =
      value ? value.getElementType() : Type(node.builder.getF32Type());
  if (failed(node.infer(*shape, elementType)))
    return failure();
  auto scalar = RankedTensorType::get({}, elementType);
  if (!value)
    value = DenseElementsAttr::get(scalar, 0.0f);
  node.keepInputs(0);
  node.attributes.set("value", value.reshape(scalar));
  RankedTensorType type = node.types[0];
  if (!isFollowed(type))
    return success();
  std::optional<Contents> element = readContents(value.reshape(scalar));
  Contents contents(type.getShape(), elementType);
  for (int64_t at = 0; at < contents.getNumElements(); ++at)
    contents.copyElement(at, *element, 0);
  return node.fold(std::move(contents));
}

/// A window of as many numbers as the input says.
static LogicalResult inferWindow(Node &node) {
  std::optional<Dims> size = node.getSizes(0);
  if (!size || size->size() != 1 || !size->front())
    return node.unsupported("size that is not a function of sizes");
  int64_t to = node.getInt("output_datatype", 1);
  Type elementType = getElementType(to, node.builder.getContext());
  if (!isa_and_present<FloatType>(elementType))
    return node.unsupported("of element type " + Twine(to));
  node.keepInputs(0);
  node.attributes.erase("output_datatype");
  return node.infer(*size, elementType);
}

/// The number of elements of a range of integers; null if it is not known.
static Size getRangeSize(Sizes &sizes, Size start, Size limit, Size delta) {
  std::optional<int64_t> step = delta ? getConstant(delta) : std::nullopt;
  if (!start || !limit || !step || *step == 0)
    return {};
  Size span = sizes.sub(limit, start);
  if (*step == std::numeric_limits<int64_t>::min())
    return {};
  Size count = *step > 0
                   ? sizes.ceilDiv(span, *step)
                   : sizes.ceilDiv(sizes.mul(span, sizes.get(-1)), -*step);
  if (!count)
    return {};
  if (sizes.isAtLeast(count, sizes.get(0)))
    return count;
  return sizes.isAtLeast(sizes.get(0), count) ? sizes.get(0) : count;
}

static LogicalResult foldRange(Node &node, Size start, Size delta,
                               int64_t count) {
  if (count > kMaxContents)
    return success();
  Contents contents({count}, node.getElementType());
  for (int64_t at = 0; at < count; ++at)
    contents.integers[at] =
        node.sizes().add(start, node.sizes().mul(delta, node.sizes().get(at)));
  return node.fold(std::move(contents));
}

/// The number of elements of a range of constant floats.
static Size getFloatRangeSize(Node &node) {
  double values[3];
  for (unsigned index = 0; index < 3; ++index) {
    const Contents *contents = node.getContents(index);
    if (!contents || !contents->isFloat() || contents->floats.size() != 1)
      return {};
    values[index] = contents->floats[0];
  }
  double count = std::ceil((values[1] - values[0]) / values[2]);
  if (!(count < static_cast<double>(kMaxContents)))
    return {};
  return node.sizes().get(std::max<int64_t>(count < 0 ? 0 : count, 0));
}

/// Exporters write scalars as vectors of one element, too.
static LogicalResult expectOne(Node &node, unsigned index) {
  return node.expectEqual(node.sizes().product(node.getDims(index)),
                          node.sizes().get(1));
}

static LogicalResult inferRange(Node &node) {
  std::optional<Dims> limits[3];
  for (unsigned index = 0; index < 3; ++index) {
    limits[index] = node.getSizes(index);
    if (failed(node.expectSameElementType(0, index)) ||
        failed(expectOne(node, index)))
      return failure();
  }
  Size count;
  if (isa<FloatType>(node.getElementType()))
    count = getFloatRangeSize(node);
  else if (limits[0] && limits[1] && limits[2])
    count = getRangeSize(node.sizes(), limits[0]->front(), limits[1]->front(),
                         limits[2]->front());
  if (!count)
    return node.unsupported("length that is not a function of sizes");
  if (failed(node.infer(count, node.getElementType())))
    return failure();
  std::optional<int64_t> length = getConstant(count);
  if (length && limits[0] &&
      failed(foldRange(node, limits[0]->front(), limits[2]->front(), *length)))
    return failure();
  // The type says where the range ends.
  node.inputs.erase(node.inputs.begin() + 1);
  return success();
}

//===----------------------------------------------------------------------===//
// Changes of shape
//===----------------------------------------------------------------------===//

LogicalResult qtx::importer::setReshape(Node &node, ArrayRef<Size> dims) {
  node.op = "Reshape";
  node.keepInputs(1);
  node.attributes.clear();
  if (ArrayRef<Size>(node.getDims()) == dims)
    return node.replace(node.inputs[0]);
  if (failed(node.infer(dims, node.getElementType())))
    return failure();
  const Contents *contents = node.getContents(0);
  RankedTensorType type = node.types[0];
  if (!contents || !type.hasStaticShape() ||
      type.getNumElements() != contents->getNumElements())
    return success();
  Contents reshaped = *contents;
  reshaped.shape.assign(type.getShape().begin(), type.getShape().end());
  return node.fold(std::move(reshaped));
}

/// Replaces the -1 among the sizes of a new shape.
static LogicalResult resolveReshape(Node &node, Dims &shape, bool allowsZero) {
  Sizes &sizes = node.sizes();
  Dims input = node.getDims();
  int64_t inferred = -1;
  for (auto [axis, size] : llvm::enumerate(shape)) {
    if (getConstant(size) == 0 && !allowsZero) {
      if (axis >= input.size())
        return node.emitError() << "expected a size to copy for dimension "
                                << axis << ", found rank " << input.size();
      size = input[axis];
    } else if (getConstant(size) == -1) {
      if (inferred >= 0)
        return node.emitError() << "expected one -1 in a shape, found two";
      inferred = axis;
    }
  }
  Size total = sizes.product(input);
  if (inferred >= 0) {
    shape[inferred] = sizes.get(1);
    Size rest = sizes.product(shape);
    Size quotient = getConstant(rest) == 0 ? sizes.get(0)
                                           : sizes.divideExactly(total, rest);
    if (!quotient && getConstant(total) && getConstant(rest))
      return node.emitError()
             << "expected " << formatSizes(total) << " elements, found shape "
             << formatSizes(shape) << " times any size";
    // Nothing is left over, whatever the expression says.
    shape[inferred] = quotient ? quotient : sizes.floorDiv(total, rest);
    if (!shape[inferred])
      return node.unsupported("size that is not a function of sizes");
    return success();
  }
  if (sizes.isNever(total, sizes.product(shape)))
    return node.emitError() << "expected " << formatSizes(total)
                            << " elements, found shape " << formatSizes(shape);
  return success();
}

/// A size that is not known may follow from the number of elements, as -1 does.
static LogicalResult replaceUnknown(Node &node, Dims &shape) {
  auto isUnknown = [](Size size) { return !size; };
  if (llvm::count_if(shape, isUnknown) > 1 ||
      (llvm::any_of(shape, isUnknown) &&
       llvm::is_contained(shape, node.sizes().get(-1))))
    return node.unsupported("shape that is not a function of sizes");
  std::replace_if(shape.begin(), shape.end(), isUnknown, node.sizes().get(-1));
  return success();
}

static LogicalResult inferReshape(Node &node) {
  std::optional<Dims> shape = node.getSizes(1);
  if (!shape)
    return node.unsupported("shape that is not a function of sizes");
  bool allowsZero = node.getInt("allowzero", 0) != 0;
  if (failed(replaceUnknown(node, *shape)) ||
      failed(resolveReshape(node, *shape, allowsZero)))
    return failure();
  return setReshape(node, *shape);
}

static LogicalResult inferFlatten(Node &node) {
  int64_t axis = node.getInt("axis", 1), rank = node.getRank();
  // One past the last dimension is allowed.
  FailureOr<int64_t> normalized =
      axis == rank ? axis : node.normalizeAxis(axis, rank);
  if (failed(normalized))
    return failure();
  Dims dims = node.getDims();
  ArrayRef<Size> all(dims);
  return setReshape(node, {node.sizes().product(all.take_front(*normalized)),
                           node.sizes().product(all.drop_front(*normalized))});
}

static LogicalResult inferSqueeze(Node &node) {
  Dims dims = node.getDims();
  SmallVector<int64_t> axes;
  if (node.hasInput(1)) {
    std::optional<SmallVector<int64_t>> given = node.getInts(1);
    if (!given)
      return node.unsupported("axes that are not constant");
    axes = *given;
  } else {
    for (auto [axis, size] : llvm::enumerate(dims))
      if (getConstant(size) == 1)
        axes.push_back(axis);
  }
  FailureOr<SmallVector<int64_t>> normalized =
      node.normalizeAxes(axes, node.getRank());
  if (failed(normalized))
    return failure();
  Dims result;
  for (auto [axis, size] : llvm::enumerate(dims)) {
    if (!llvm::is_contained(*normalized, axis))
      result.push_back(size);
    else if (failed(node.expectEqual(size, node.sizes().get(1))))
      return failure();
  }
  return setReshape(node, result);
}

static LogicalResult inferUnsqueeze(Node &node) {
  std::optional<SmallVector<int64_t>> given = node.getInts(1);
  if (!given)
    return node.unsupported("axes that are not constant");
  int64_t rank = node.getRank() + given->size();
  FailureOr<SmallVector<int64_t>> axes = node.normalizeAxes(*given, rank);
  if (failed(axes))
    return failure();
  Dims dims = node.getDims(), result;
  auto *next = dims.begin();
  for (int64_t axis = 0; axis < rank; ++axis)
    result.push_back(llvm::is_contained(*axes, axis) ? node.sizes().get(1)
                                                     : *next++);
  return setReshape(node, result);
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

/// States the elements of a result whose element at given indices is the
/// input's at `getSource(indices)`.
static LogicalResult
foldCopy(Node &node,
         function_ref<int64_t(ArrayRef<int64_t> shape, ArrayRef<int64_t> at)>
             getSource) {
  const Contents *contents = node.getContents(0);
  RankedTensorType type = node.types[0];
  if (!contents || !isFollowed(type))
    return success();
  Contents result(type.getShape(), type.getElementType());
  forEachIndex(type.getShape(), [&](int64_t linear, ArrayRef<int64_t> at) {
    result.copyElement(linear, *contents, getSource(contents->shape, at));
  });
  return node.fold(std::move(result));
}

/// The source of an element of a tensor that repeats a smaller one.
static int64_t getRepeated(ArrayRef<int64_t> shape, ArrayRef<int64_t> at) {
  int64_t linear = 0;
  size_t leading = at.size() - shape.size();
  for (auto [axis, size] : llvm::enumerate(shape))
    linear = linear * size + at[leading + axis] % size;
  return linear;
}

static LogicalResult setExpand(Node &node, ArrayRef<Size> dims) {
  node.op = "Expand";
  node.keepInputs(1);
  if (ArrayRef<Size>(node.getDims()) == dims)
    return node.replace(node.inputs[0]);
  if (failed(node.infer(dims, node.getElementType())))
    return failure();
  return foldCopy(node, getRepeated);
}

static LogicalResult inferExpand(Node &node) {
  std::optional<Dims> shape = node.getSizes(1);
  if (!shape)
    return node.unsupported("shape that is not a function of sizes");
  // A size that is not known is the input's, unless that is 1.
  Dims input = node.getDims();
  for (auto [axis, size] : llvm::enumerate(*shape)) {
    int64_t from = static_cast<int64_t>(axis) -
                   static_cast<int64_t>(shape->size()) +
                   static_cast<int64_t>(input.size());
    if (size && getConstant(size) != -1)
      continue;
    if (from < 0 || getConstant(input[from]) == 1)
      return node.unsupported("shape that is not a function of sizes");
    size = input[from];
  }
  FailureOr<Dims> dims = node.broadcast(input, *shape);
  return failed(dims) ? failure() : setExpand(node, *dims);
}

static LogicalResult inferTile(Node &node) {
  std::optional<Dims> repeats = node.getSizes(1);
  if (!repeats || !llvm::all_of(*repeats, [](Size size) { return bool(size); }))
    return node.unsupported("repeats that are not a function of sizes");
  Dims dims = node.getDims();
  if (repeats->size() != dims.size())
    return node.emitError() << "expected " << dims.size() << " repeats, found "
                            << repeats->size();
  Dims result;
  for (auto [size, repeat] : llvm::zip_equal(dims, *repeats))
    result.push_back(node.sizes().mul(size, repeat));
  node.keepInputs(1);
  if (result == dims)
    return node.replace(node.inputs[0]);
  if (failed(node.infer(result, node.getElementType())))
    return failure();
  return foldCopy(node, getRepeated);
}

static LogicalResult inferTranspose(Node &node) {
  int64_t rank = node.getRank();
  auto permutation = node.getIntList("perm").value_or(
      llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, rank))));
  if (static_cast<int64_t>(permutation.size()) != rank)
    return node.emitError() << "expected a permutation of " << rank
                            << " axes, found " << permutation.size();
  FailureOr<SmallVector<int64_t>> axes = node.normalizeAxes(permutation, rank);
  if (failed(axes))
    return failure();
  if (llvm::equal(*axes, llvm::seq<int64_t>(0, rank)))
    return node.replace(node.inputs[0]);
  Dims dims = node.getDims();
  node.setInts("perm", *axes);
  if (failed(node.infer(
          llvm::map_to_vector(*axes, [&](int64_t axis) { return dims[axis]; }),
          node.getElementType())))
    return failure();
  return foldCopy(node, [&](ArrayRef<int64_t> shape, ArrayRef<int64_t> at) {
    SmallVector<int64_t> strides = getStrides(shape);
    int64_t linear = 0;
    for (auto [to, from] : llvm::enumerate(*axes))
      linear += at[to] * strides[from];
    return linear;
  });
}

void qtx::importer::addShapeRules(RuleTable &rules) {
  rules["Shape"] = {1, 1, 1, inferShape};
  rules["Size"] = {1, 1, 1, inferSize};
  rules["ConstantOfShape"] = {1, 1, 1, inferConstantOfShape};
  rules["Range"] = {3, 3, 1, inferRange};
  for (StringRef op : {"BlackmanWindow", "HammingWindow", "HannWindow"})
    rules[op] = {1, 1, 1, inferWindow};
  rules["Reshape"] = {2, 2, 1, inferReshape};
  rules["Flatten"] = {1, 1, 1, inferFlatten};
  rules["Squeeze"] = {1, 2, 1, inferSqueeze};
  rules["Unsqueeze"] = {2, 2, 1, inferUnsqueeze};
  rules["Expand"] = {2, 2, 1, inferExpand};
  rules["Tile"] = {2, 2, 1, inferTile};
  rules["Transpose"] = {1, 1, 1, inferTranspose};
}
