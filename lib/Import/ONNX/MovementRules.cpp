//===- MovementRules.cpp - ONNX operators that move elements ------------===//
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
// Concat and Split
//===----------------------------------------------------------------------===//

/// Copies the inputs behind each other along `axis`.
static LogicalResult foldConcat(Node &node, int64_t axis) {
  if (!isFollowed(node.types[0]))
    return success();
  Contents result(node.types[0].getShape(), node.getElementType());
  SmallVector<int64_t> strides = getStrides(result.shape);
  int64_t offset = 0;
  for (unsigned index = 0; index < node.getNumInputs(); ++index) {
    const Contents *input = node.getContents(index);
    // What is not known of some elements does not hide the others.
    if (!input && (result.isFloat() || !isFollowed(node.getType(index))))
      return success();
    ArrayRef<int64_t> shape = node.getType(index).getShape();
    forEachIndex(shape, [&](int64_t linear, ArrayRef<int64_t> at) {
      int64_t to = offset * strides[axis];
      for (auto [position, stride] : llvm::zip_equal(at, strides))
        to += position * stride;
      if (input)
        result.copyElement(to, *input, linear);
    });
    offset += shape[axis];
  }
  return node.fold(std::move(result));
}

static LogicalResult inferConcat(Node &node) {
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", 0), node.getRank());
  if (failed(axis))
    return failure();
  Dims dims = node.getDims();
  for (unsigned index = 1; index < node.getNumInputs(); ++index) {
    if (!node.inputs[index])
      return node.emitError() << "expected all inputs";
    if (failed(node.expectRank(index, dims.size())) ||
        failed(node.expectSameElementType(0, index)))
      return failure();
    Dims other = node.getDims(index);
    for (auto [at, size] : llvm::enumerate(dims)) {
      if (static_cast<int64_t>(at) == *axis)
        size = node.sizes().add(size, other[at]);
      else if (failed(node.expectEqual(size, other[at])))
        return failure();
      else if (getConstant(other[at]))
        size = other[at];
    }
  }
  if (node.getNumInputs() == 1)
    return node.replace(node.inputs[0]);
  node.setInt("axis", *axis);
  if (failed(node.infer(dims, node.getElementType())))
    return failure();
  return foldConcat(node, *axis);
}

/// The sizes of the parts; an error or unsupported if they do not fit.
static FailureOr<Dims> getSplitSizes(Node &node, Size size) {
  unsigned count = node.getNumOutputs();
  if (node.hasInput(1)) {
    std::optional<Dims> given = node.getSizes(1);
    if (!given || llvm::is_contained(*given, Size()))
      return node.unsupported("sizes that are not a function of sizes");
    if (given->size() != count)
      return node.emitError()
             << "expected " << count << " sizes, found " << given->size();
    Size total = node.sizes().get(0);
    for (Size part : *given)
      total = node.sizes().add(total, part);
    if (failed(node.expectEqual(size, total)))
      return failure();
    return *given;
  }
  // Equal parts, of which the last one may be smaller.
  Size part = node.sizes().ceilDiv(size, count);
  if (!part)
    return node.unsupported("sizes that are not a function of sizes");
  Dims parts(count, part);
  for (unsigned index = 1; index < count; ++index)
    size = node.sizes().sub(size, part);
  parts.back() = size;
  return parts;
}

static LogicalResult inferSplit(Node &node) {
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", 0), node.getRank());
  if (failed(axis))
    return failure();
  Dims dims = node.getDims();
  FailureOr<Dims> parts = getSplitSizes(node, dims[*axis]);
  if (failed(parts))
    return failure();
  if (parts->size() == 1)
    return node.replace(node.inputs[0]);
  const Contents *contents = node.getContents(0);
  Type elementType = node.getElementType();
  node.attributes.erase("num_outputs");
  node.setInt("axis", *axis);
  node.keepInputs(1);
  int64_t offset = 0;
  for (auto [index, part] : llvm::enumerate(*parts)) {
    dims[*axis] = part;
    // Also for parts that nobody wants: the lowering counts them.
    if (failed(node.infer(dims, elementType, index)))
      return failure();
    if (!contents)
      continue;
    Contents result(node.types[index].getShape(), elementType);
    SmallVector<int64_t> strides = getStrides(contents->shape);
    forEachIndex(result.shape, [&](int64_t linear, ArrayRef<int64_t> at) {
      int64_t from = offset * strides[*axis];
      for (auto [position, stride] : llvm::zip_equal(at, strides))
        from += position * stride;
      result.copyElement(linear, *contents, from);
    });
    offset += *getConstant(part);
    if (failed(node.fold(std::move(result), index)))
      return failure();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Slice
//===----------------------------------------------------------------------===//

/// Positions beyond this mean "to the end".
static constexpr int64_t kFarAway = int64_t(1) << 30;

/// A position in a dimension of `size`, counted from the front and limited to
/// `lowest` and `size + highest`; null if that has no expression.
static Size clampPosition(GraphState &state, Size position, Size size,
                          int64_t lowest, int64_t highest) {
  Sizes &sizes = state.sizes;
  Size last = sizes.add(size, sizes.get(highest));
  if (std::optional<int64_t> value = getConstant(position)) {
    if (*value >= kFarAway)
      return last;
    if (*value <= -kFarAway)
      return sizes.get(lowest);
  }
  if (std::optional<int64_t> bound = sizes.getUpperBound(position);
      bound && *bound < 0)
    position = sizes.add(position, size);
  if (sizes.isAtLeast(position, last))
    return last;
  if (sizes.isAtLeast(sizes.get(lowest), position))
    return sizes.get(lowest);
  if (sizes.isAtLeast(position, sizes.get(lowest)) &&
      sizes.isAtLeast(last, position))
    return position;
  // Models slice a table of constant size up to the length of a sequence. A
  // sequence that is longer than the table is none that the model takes.
  std::optional<int64_t> limit = getConstant(last);
  if (!limit || getConstant(position))
    return {};
  state.limits.emplace_back(position, *limit);
  return position;
}

namespace {
/// A slice along one axis.
struct AxisSlice {
  int64_t axis;
  Size start;
  int64_t step;
  Size size;
};
} // namespace

/// Resolves one axis; null sizes if it has no expression.
static AxisSlice resolveSlice(GraphState &state, int64_t axis, Size size,
                              Size start, Size end, int64_t step) {
  Sizes &sizes = state.sizes;
  AxisSlice slice{axis, {}, step, {}};
  bool isForward = step > 0;
  slice.start = isForward ? clampPosition(state, start, size, 0, 0)
                          : clampPosition(state, start, size, 0, -1);
  end = isForward ? clampPosition(state, end, size, 0, 0)
                  : clampPosition(state, end, size, -1, -1);
  if (!slice.start || !end)
    return slice;
  Size span =
      isForward ? sizes.sub(end, slice.start) : sizes.sub(slice.start, end);
  if (sizes.isAtLeast(sizes.get(0), span))
    slice.size = sizes.get(0);
  else
    slice.size = sizes.ceilDiv(span, std::abs(step));
  return slice;
}

/// The integers of an input or, if it is left out, as many of `absent`.
static std::optional<Dims> getSizesOr(Node &node, unsigned index, size_t count,
                                      int64_t absent) {
  if (!node.hasInput(index))
    return Dims(count, node.sizes().get(absent));
  return node.getSizes(index);
}

static FailureOr<SmallVector<AxisSlice>> resolveSlices(Node &node) {
  std::optional<Dims> starts = node.getSizes(1), ends = node.getSizes(2);
  size_t count = starts ? starts->size() : 0;
  std::optional<Dims> steps = getSizesOr(node, 4, count, 1);
  auto given = node.hasInput(3) ? node.getInts(3)
                                : llvm::to_vector(llvm::seq<int64_t>(0, count));
  if (!starts || !ends || !given || !steps)
    return node.unsupported("bounds that are not a function of sizes");
  if (ends->size() != count || given->size() != count || steps->size() != count)
    return node.emitError()
           << "expected " << count << " ends, axes and steps, found "
           << ends->size() << ", " << given->size() << " and " << steps->size();
  FailureOr<SmallVector<int64_t>> axes =
      node.normalizeAxes(*given, node.getRank());
  if (failed(axes))
    return failure();
  Dims dims = node.getDims();
  SmallVector<AxisSlice> slices;
  for (auto [axis, start, end, stepSize] :
       llvm::zip_equal(*axes, *starts, *ends, *steps)) {
    std::optional<int64_t> step =
        stepSize ? getConstant(stepSize) : std::nullopt;
    if (step == 0)
      return node.emitError() << "expected steps other than 0";
    if (!step || !start || !end || std::abs(*step) > kFarAway)
      return node.unsupported("bounds that are not a function of sizes");
    AxisSlice slice =
        resolveSlice(node.state, axis, dims[axis], start, end, *step);
    if (!slice.size)
      return node.unsupported("bounds that are not a function of sizes");
    slices.push_back(slice);
  }
  return slices;
}

static LogicalResult foldSlice(Node &node, ArrayRef<AxisSlice> slices) {
  const Contents *contents = node.getContents(0);
  RankedTensorType type = node.types[0];
  if (!contents || !isFollowed(type))
    return success();
  Contents result(type.getShape(), type.getElementType());
  SmallVector<int64_t> strides = getStrides(contents->shape);
  int64_t offset = 0;
  for (const AxisSlice &slice : slices) {
    std::optional<int64_t> start = getConstant(slice.start);
    if (!start)
      return success();
    // An empty slice may start behind the end, but nothing is read there.
    offset += *start * strides[slice.axis];
    strides[slice.axis] *= slice.step;
  }
  forEachIndex(result.shape, [&](int64_t linear, ArrayRef<int64_t> at) {
    int64_t from = offset;
    for (auto [position, stride] : llvm::zip_equal(at, strides))
      from += position * stride;
    result.copyElement(linear, *contents, from);
  });
  return node.fold(std::move(result));
}

static LogicalResult inferSlice(Node &node) {
  FailureOr<SmallVector<AxisSlice>> slices = resolveSlices(node);
  if (failed(slices))
    return failure();
  Dims dims = node.getDims();
  for (const AxisSlice &slice : *slices)
    dims[slice.axis] = slice.size;
  bool isWhole = llvm::all_of(*slices, [](const AxisSlice &slice) {
    return slice.step == 1 && getConstant(slice.start) == 0;
  });
  if (isWhole && dims == node.getDims())
    return node.replace(node.inputs[0]);
  if (failed(node.infer(dims, node.getElementType())))
    return failure();
  SmallVector<int64_t> axes, steps;
  Dims starts;
  for (const AxisSlice &slice : *slices) {
    axes.push_back(slice.axis);
    steps.push_back(slice.step);
    starts.push_back(slice.start);
  }
  node.keepInputs(1);
  node.setInts("axes", axes);
  node.setInts("steps", steps);
  node.setSizes("starts", starts);
  return foldSlice(node, *slices);
}

//===----------------------------------------------------------------------===//
// Gather and Scatter
//===----------------------------------------------------------------------===//

static LogicalResult foldGather(Node &node, int64_t axis) {
  const Contents *data = node.getContents(0);
  std::optional<SmallVector<int64_t>> indices = node.getInts(1);
  if (!data || !indices || !isFollowed(node.types[0]))
    return success();
  int64_t size = data->shape[axis];
  for (int64_t &index : *indices) {
    index += index < 0 ? size : 0;
    if (index < 0 || index >= size)
      return node.emitError()
             << "expected indices within " << size << " elements";
  }
  Contents result(node.types[0].getShape(), data->elementType);
  int64_t inner = getStrides(data->shape)[axis];
  int64_t count = indices->size();
  for (int64_t at = 0; at < result.getNumElements(); ++at) {
    int64_t column = at % inner, row = at / inner;
    int64_t outer = row / count, index = (*indices)[row % count];
    result.copyElement(at, *data, (outer * size + index) * inner + column);
  }
  return node.fold(std::move(result));
}

static LogicalResult expectIndices(Node &node, unsigned index) {
  Type type = node.getElementType(index);
  if (type.isSignlessInteger(32) || type.isSignlessInteger(64))
    return success();
  return node.emitError() << "expected indices of type i32 or i64, found "
                          << type;
}

/// Whether `indices` are those of all `count` positions in order.
static bool isEverything(ArrayRef<int64_t> indices, Size count) {
  return getConstant(count) == static_cast<int64_t>(indices.size()) &&
         llvm::equal(indices, llvm::seq<int64_t>(0, indices.size()));
}

static LogicalResult inferGather(Node &node) {
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", 0), node.getRank());
  if (failed(axis) || failed(expectIndices(node, 1)))
    return failure();
  Dims data = node.getDims(), indices = node.getDims(1), dims;
  dims.append(data.begin(), data.begin() + *axis);
  dims.append(indices);
  dims.append(data.begin() + *axis + 1, data.end());
  std::optional<SmallVector<int64_t>> known = node.getInts(1);
  if (known && isEverything(*known, data[*axis]))
    return setReshape(node, dims);
  node.setInt("axis", *axis);
  if (failed(node.infer(dims, node.getElementType())))
    return failure();
  return foldGather(node, *axis);
}

static LogicalResult inferGatherElements(Node &node) {
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", 0), node.getRank());
  if (failed(axis) || failed(expectIndices(node, 1)) ||
      failed(node.expectRank(1, node.getRank())))
    return failure();
  node.setInt("axis", *axis);
  return node.infer(node.getDims(1), node.getElementType());
}

/// Whether rows of `depth` indices are those of all slices in order.
static bool isEveryRow(Node &node, ArrayRef<int64_t> indices, int64_t depth) {
  Size count = node.sizes().product(ArrayRef(node.getDims()).take_front(depth));
  if (depth == 0 || indices.empty())
    return false;
  SmallVector<int64_t> rows;
  for (size_t begin = 0; begin < indices.size(); begin += depth) {
    int64_t row = 0;
    for (int64_t axis = 0; axis < depth; ++axis) {
      std::optional<int64_t> size = getConstant(node.getDims()[axis]);
      int64_t index = indices[begin + axis];
      if (!size || index < 0 || index >= *size)
        return false;
      row = row * *size + index;
    }
    rows.push_back(row);
  }
  return isEverything(rows, count);
}

static LogicalResult inferGatherND(Node &node) {
  if (failed(expectIndices(node, 1)) || failed(node.expectRankAtLeast(1, 1)))
    return failure();
  Dims data = node.getDims(), indices = node.getDims(1);
  int64_t batch = node.getInt("batch_dims", 0);
  std::optional<int64_t> depth = getConstant(indices.back());
  if (!depth)
    return node.unsupported("indices of dynamic depth");
  if (batch < 0 || batch >= static_cast<int64_t>(indices.size()) ||
      batch + *depth > static_cast<int64_t>(data.size()))
    return node.emitError()
           << "expected indices into " << data.size() << " dimensions, found "
           << batch << " and " << *depth;
  Dims dims(indices.begin(), indices.end() - 1);
  dims.append(data.begin() + batch + *depth, data.end());
  if (std::optional<SmallVector<int64_t>> known = node.getInts(1);
      known && batch == 0 && isEveryRow(node, *known, *depth))
    return setReshape(node, dims);
  node.setInt("batch_dims", batch);
  return node.infer(dims, node.getElementType());
}

static LogicalResult inferScatterElements(Node &node) {
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", 0), node.getRank());
  if (failed(axis) || failed(expectIndices(node, 1)) ||
      failed(node.expectRank(1, node.getRank())) ||
      failed(node.expectRank(2, node.getRank())) ||
      failed(node.expectSameElementType(0, 2)))
    return failure();
  node.setInt("axis", *axis);
  return node.infer(node.getDims(), node.getElementType());
}

static LogicalResult foldScatterND(Node &node) {
  const Contents *data = node.getContents(0), *updates = node.getContents(2);
  std::optional<SmallVector<int64_t>> indices = node.getInts(1);
  if (!data || !updates || !indices || indices->empty() ||
      node.getString("reduction", "none") != "none")
    return success();
  int64_t depth = node.getType(1).getShape().back();
  SmallVector<int64_t> strides = getStrides(data->shape);
  int64_t inner = depth == 0 ? data->getNumElements() : strides[depth - 1];
  Contents result = *data;
  for (int64_t row = 0, rows = depth == 0 ? 0 : indices->size() / depth;
       row < rows; ++row) {
    int64_t to = 0;
    for (int64_t axis = 0; axis < depth; ++axis) {
      int64_t index = (*indices)[row * depth + axis], size = data->shape[axis];
      index += index < 0 ? size : 0;
      if (index < 0 || index >= size)
        return node.emitError()
               << "expected indices within " << size << " elements";
      to += index * strides[axis];
    }
    for (int64_t at = 0; at < inner; ++at)
      result.copyElement(to + at, *updates, row * inner + at);
  }
  return node.fold(std::move(result));
}

static LogicalResult inferScatterND(Node &node) {
  if (failed(expectIndices(node, 1)) || failed(node.expectRankAtLeast(1, 1)) ||
      failed(node.expectSameElementType(0, 2)))
    return failure();
  Dims data = node.getDims(), indices = node.getDims(1);
  std::optional<int64_t> depth = getConstant(indices.back());
  if (!depth)
    return node.unsupported("indices of dynamic depth");
  if (*depth > static_cast<int64_t>(data.size()))
    return node.emitError() << "expected indices into " << data.size()
                            << " dimensions, found " << 0 << " and " << *depth;
  Dims updates(indices.begin(), indices.end() - 1);
  updates.append(data.begin() + *depth, data.end());
  if (failed(node.expectRank(2, updates.size())))
    return failure();
  for (auto [expected, found] : llvm::zip_equal(updates, node.getDims(2)))
    if (failed(node.expectEqual(expected, found)))
      return failure();
  if (failed(node.infer(data, node.getElementType())))
    return failure();
  return foldScatterND(node);
}

//===----------------------------------------------------------------------===//
// Others
//===----------------------------------------------------------------------===//

static LogicalResult inferPad(Node &node) {
  std::optional<Dims> pads = node.getSizes(1);
  int64_t rank = node.getRank();
  if (!pads || llvm::is_contained(*pads, Size()))
    return node.unsupported("pads that are not a function of sizes");
  auto given = node.hasInput(3) ? node.getInts(3)
                                : llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (!given)
    return node.unsupported("axes that are not constant");
  FailureOr<SmallVector<int64_t>> axes = node.normalizeAxes(*given, rank);
  if (failed(axes))
    return failure();
  if (pads->size() != 2 * axes->size())
    return node.emitError() << "expected " << 2 * axes->size()
                            << " pads, found " << pads->size();
  if (node.hasInput(2) && failed(node.expectSameElementType(0, 2)))
    return failure();
  Dims dims = node.getDims(), all(2 * rank, node.sizes().get(0));
  for (auto [index, axis] : llvm::enumerate(*axes)) {
    all[axis] = (*pads)[index];
    all[rank + axis] = (*pads)[axes->size() + index];
    dims[axis] = node.sizes().add(
        dims[axis], node.sizes().add(all[axis], all[rank + axis]));
  }
  Value value = node.hasInput(2) ? node.inputs[2] : Value();
  node.keepInputs(1);
  if (value)
    node.inputs.push_back(value);
  node.attributes.set(
      "mode", node.builder.getStringAttr(node.getString("mode", "constant")));
  node.setSizes("pads", all);
  return node.infer(dims, node.getElementType());
}

/// Pads or cuts dimensions at both ends: an odd element goes to the end.
static LogicalResult inferCenterCropPad(Node &node) {
  std::optional<SmallVector<int64_t>> shape = node.getInts(1);
  if (!shape)
    return node.unsupported("shape that is not constant");
  int64_t rank = node.getRank();
  FailureOr<SmallVector<int64_t>> axes = node.getAxes(rank);
  if (failed(axes))
    return failure();
  if (axes->size() != shape->size())
    return node.emitError()
           << "expected " << axes->size() << " sizes, found " << shape->size();
  Dims dims = node.getDims();
  SmallVector<int64_t> starts, ends, pads(2 * rank, 0);
  for (auto [axis, target] : llvm::zip_equal(*axes, *shape)) {
    std::optional<int64_t> size = getConstant(dims[axis]);
    if (!size)
      return node.unsupported("dynamic size");
    int64_t room = std::max<int64_t>(target - *size, 0);
    pads[axis] = room / 2;
    pads[rank + axis] = room - room / 2;
    starts.push_back(std::max<int64_t>(*size - target, 0) / 2);
    ends.push_back(starts.back() + std::min(*size, target));
  }
  Value part =
      node.apply("Slice", {node.inputs[0], node.createInts(starts),
                           node.createInts(ends), node.createInts(*axes)});
  if (llvm::all_of(pads, [](int64_t pad) { return pad == 0; }))
    return node.replace(part);
  return node.replace(node.apply("Pad", {part, node.createInts(pads)}));
}

static LogicalResult foldTrilu(Node &node, int64_t diagonal, bool isUpper) {
  const Contents *input = node.getContents(0);
  if (!input)
    return success();
  Contents result = *input;
  int64_t rows = result.shape.end()[-2], columns = result.shape.end()[-1];
  for (int64_t at = 0; at < result.getNumElements(); ++at) {
    int64_t row = at / columns % rows, column = at % columns;
    bool isKept = isUpper ? column >= row + diagonal : column <= row + diagonal;
    if (isKept)
      continue;
    if (result.isFloat())
      result.floats[at] = 0;
    else
      result.integers[at] = node.sizes().get(0);
  }
  return node.fold(std::move(result));
}

static LogicalResult inferTrilu(Node &node) {
  if (failed(node.expectRankAtLeast(0, 2)))
    return failure();
  std::optional<Dims> given = getSizesOr(node, 1, 1, 0);
  if (!given || given->size() != 1 || !given->front())
    return node.unsupported("k that is not a function of sizes");
  bool isUpper = node.getInt("upper", 1) != 0;
  Size diagonal = given->front();
  if (std::optional<int64_t> value = getConstant(diagonal))
    diagonal = node.sizes().get(std::clamp(*value, -kFarAway, kFarAway));
  node.keepInputs(1);
  node.setInt("upper", isUpper);
  node.setSizes("k", diagonal);
  if (failed(node.infer(node.getDims(), node.getElementType())))
    return failure();
  std::optional<int64_t> value = getConstant(diagonal);
  return value ? foldTrilu(node, *value, isUpper) : success();
}

static LogicalResult inferOneHot(Node &node) {
  std::optional<Dims> depth = node.getSizes(1);
  const Contents *number = node.getContents(1);
  if (number && number->isFloat() && number->floats.size() == 1 &&
      number->floats[0] >= 0 && number->floats[0] <= INT32_MAX)
    depth = Dims{node.sizes().get(static_cast<int64_t>(number->floats[0]))};
  if (!depth || depth->size() != 1 || !depth->front())
    return node.unsupported("depth that is not a function of sizes");
  int64_t rank = node.getRank() + 1;
  FailureOr<int64_t> axis = node.normalizeAxis(node.getInt("axis", -1), rank);
  if (failed(axis) || failed(node.expectRank(2, 1)))
    return failure();
  Dims dims = node.getDims();
  dims.insert(dims.begin() + *axis, depth->front());
  node.inputs.erase(node.inputs.begin() + 1);
  node.setInt("axis", *axis);
  return node.infer(dims, node.getElementType(1));
}

static LogicalResult inferNonZero(Node &node) {
  return node.infer({node.sizes().get(node.getRank()), node.addSize()},
                    node.builder.getI64Type());
}

static LogicalResult inferCompress(Node &node) {
  if (!node.attributes.get("axis"))
    return node.infer(node.addSize(), node.getElementType());
  FailureOr<int64_t> axis =
      node.normalizeAxis(node.getInt("axis", 0), node.getRank());
  if (failed(axis))
    return failure();
  Dims dims = node.getDims();
  dims[*axis] = node.addSize();
  node.setInt("axis", *axis);
  return node.infer(dims, node.getElementType());
}

static LogicalResult inferEyeLike(Node &node) {
  if (failed(node.expectRank(0, 2)))
    return failure();
  Dims dims = node.getDims();
  Type type = node.getElementType();
  if (int64_t given = node.getInt("dtype", 0))
    type = getElementType(given, node.builder.getContext());
  if (!type)
    return node.unsupported("dtype");
  node.attributes.erase("dtype");
  node.keepInputs(0);
  return node.infer(dims, type);
}

static LogicalResult inferBlocks(Node &node, bool isToDepth) {
  if (failed(node.expectRank(0, 4)))
    return failure();
  Sizes &sizes = node.sizes();
  int64_t block = node.getInt("blocksize", 0);
  if (block <= 0 || block > kFarAway)
    return node.emitError()
           << "expected a block size of at least 1, found " << block;
  Dims dims = node.getDims();
  Size side = sizes.get(block), area = sizes.mul(side, side);
  dims[1] =
      isToDepth ? sizes.mul(dims[1], area) : sizes.divideExactly(dims[1], area);
  for (unsigned axis : {2, 3})
    dims[axis] = isToDepth ? sizes.divideExactly(dims[axis], side)
                           : sizes.mul(dims[axis], side);
  if (llvm::is_contained(dims, Size()))
    return node.emitError() << "expected sizes that are multiples of " << block;
  return node.infer(dims, node.getElementType());
}

static LogicalResult inferSpaceToDepth(Node &node) {
  return inferBlocks(node, /*isToDepth=*/true);
}

static LogicalResult inferDepthToSpace(Node &node) {
  return inferBlocks(node, /*isToDepth=*/false);
}

static LogicalResult inferReverseSequence(Node &node) {
  if (failed(node.expectRankAtLeast(0, 2)) || failed(node.expectRank(1, 1)))
    return failure();
  return node.infer(node.getDims(), node.getElementType());
}

void qtx::importer::addMovementRules(RuleTable &rules) {
  rules["Concat"] = {1, kAnyNumber, 1, inferConcat};
  rules["Split"] = {1, 2, kAnyNumber, inferSplit};
  rules["Slice"] = {3, 5, 1, inferSlice};
  rules["Gather"] = {2, 2, 1, inferGather};
  rules["GatherElements"] = {2, 2, 1, inferGatherElements};
  rules["GatherND"] = {2, 2, 1, inferGatherND};
  rules["ScatterElements"] = {3, 3, 1, inferScatterElements};
  rules["ScatterND"] = {3, 3, 1, inferScatterND};
  rules["Pad"] = {2, 4, 1, inferPad};
  rules["CenterCropPad"] = {2, 2, 1, inferCenterCropPad};
  rules["Trilu"] = {1, 2, 1, inferTrilu};
  rules["OneHot"] = {3, 3, 1, inferOneHot};
  rules["NonZero"] = {1, 1, 1, inferNonZero};
  rules["Compress"] = {2, 2, 1, inferCompress};
  rules["EyeLike"] = {1, 1, 1, inferEyeLike};
  rules["SpaceToDepth"] = {1, 1, 1, inferSpaceToDepth};
  rules["DepthToSpace"] = {1, 1, 1, inferDepthToSpace};
  rules["ReverseSequence"] = {2, 2, 1, inferReverseSequence};
}
