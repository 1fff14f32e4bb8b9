//===- ResizeRule.cpp - ONNX's Resize -------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Node.h"
#include <cmath>

using namespace mlir;
using namespace qtx;
using namespace qtx::importer;

namespace {
/// What is asked for along each of `axes`.
struct Resizing {
  SmallVector<int64_t> axes;
  Dims sizes;
  /// As the model or a kept ratio says; else sizes over the former ones.
  SmallVector<double> scales;
  /// Begins, then ends; of `tf_crop_and_resize` only.
  SmallVector<double> roi;
};
} // namespace

/// Sizes that scales yield are below this.
static constexpr double kMaxSize = 0x1p31;

//===----------------------------------------------------------------------===//
// Modes
//===----------------------------------------------------------------------===//

static LogicalResult expectOneOf(Node &node, StringRef name, StringRef absent,
                                 ArrayRef<StringRef> values) {
  StringRef value = node.getString(name, absent);
  if (llvm::is_contained(values, value))
    return success();
  return node.unsupported("'" + name + "' of '" + value + "'");
}

static bool isCropped(Node &node) {
  return node.getString("coordinate_transformation_mode", "half_pixel") ==
         "tf_crop_and_resize";
}

static LogicalResult checkModes(Node &node) {
  if (failed(expectOneOf(node, "mode", "nearest",
                         {"nearest", "linear", "cubic"})) ||
      failed(expectOneOf(node, "coordinate_transformation_mode", "half_pixel",
                         {"half_pixel", "half_pixel_symmetric",
                          "pytorch_half_pixel", "align_corners", "asymmetric",
                          "tf_crop_and_resize"})) ||
      failed(expectOneOf(
          node, "nearest_mode", "round_prefer_floor",
          {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"})) ||
      failed(expectOneOf(node, "keep_aspect_ratio_policy", "stretch",
                         {"stretch", "not_larger", "not_smaller"})))
    return failure();
  bool isNearest = node.getString("mode", "nearest") == "nearest";
  if (!isNearest && !isa<FloatType>(node.getElementType()))
    return node.unsupported("interpolation of integers");
  if (isNearest && node.getInt("antialias", 0) != 0)
    return node.unsupported("'antialias' of the nearest elements");
  return success();
}

//===----------------------------------------------------------------------===//
// Sizes and scales
//===----------------------------------------------------------------------===//

/// Exporters also leave an input out by giving one without elements.
static bool isGiven(Node &node, unsigned index) {
  return node.hasInput(index) &&
         !llvm::is_contained(node.getType(index).getShape(), 0);
}

static FailureOr<SmallVector<double>> readFloats(Node &node, unsigned index,
                                                 size_t count, StringRef name) {
  const Contents *contents = node.getContents(index);
  if (!contents || !contents->isFloat())
    return node.unsupported(name + " that are not constant");
  SmallVector<double> values(contents->floats.begin(), contents->floats.end());
  if (values.size() != count)
    return node.emitError() << "expected " << count << " " << name << ", found "
                            << values.size();
  for (double value : values)
    if (!std::isfinite(value))
      return node.emitError()
             << "expected finite " << name << ", found " << value;
  return values;
}

/// The whole part of `size * scale`; null if that has no expression.
static FailureOr<Size> scaleSize(Node &node, Size size, double scale) {
  if (scale <= 0)
    return node.emitError() << "expected scales above 0, found " << scale;
  if (std::optional<int64_t> value = getConstant(size)) {
    // In fp32, as ONNX's shape inference has it.
    float product = static_cast<float>(*value) * static_cast<float>(scale);
    if (product >= kMaxSize)
      return node.emitError() << "expected sizes below 2^31, found " << product;
    return node.sizes().get(static_cast<int64_t>(product));
  }
  // In fp32 these products are exact, for sizes of up to 2^12.
  constexpr int64_t kDenominator = 1 << 8, kMaxNumerator = 1 << 12;
  double numerator = scale * kDenominator;
  if (numerator != std::floor(numerator) || numerator > kMaxNumerator)
    return Size();
  Sizes &sizes = node.sizes();
  Size product = sizes.mul(size, sizes.get(static_cast<int64_t>(numerator)));
  return sizes.floorDiv(product, sizes.get(kDenominator));
}

static LogicalResult readScales(Node &node, Resizing &resizing) {
  if (isCropped(node))
    return node.unsupported("'tf_crop_and_resize' by scales");
  auto scales = readFloats(node, 2, resizing.axes.size(), "scales");
  if (failed(scales))
    return failure();
  resizing.scales = *scales;
  Dims dims = node.getDims();
  for (auto [axis, scale] : llvm::zip_equal(resizing.axes, *scales)) {
    FailureOr<Size> size = scaleSize(node, dims[axis], scale);
    if (failed(size))
      return failure();
    if (!*size)
      return node.unsupported("a scale whose sizes have no expression");
    resizing.sizes.push_back(*size);
  }
  return success();
}

/// One scale for all axes, with which no size is larger, or smaller, than the
/// one that is given.
static LogicalResult keepRatio(Node &node, Resizing &resizing,
                               bool isNotLarger) {
  Dims dims = node.getDims();
  std::optional<double> scale;
  for (auto [axis, size] : llvm::zip_equal(resizing.axes, resizing.sizes)) {
    std::optional<int64_t> from = getConstant(dims[axis]);
    std::optional<int64_t> to = getConstant(size);
    if (!from || !to || *from == 0)
      return node.unsupported("'keep_aspect_ratio_policy' of a dynamic size");
    double ratio = static_cast<double>(*to) / static_cast<double>(*from);
    double other = scale.value_or(ratio);
    scale = isNotLarger ? std::min(other, ratio) : std::max(other, ratio);
  }
  for (auto [axis, size] : llvm::zip_equal(resizing.axes, resizing.sizes)) {
    double scaled = *scale * static_cast<double>(*getConstant(dims[axis]));
    if (scaled >= kMaxSize)
      return node.emitError() << "expected sizes below 2^31, found " << scaled;
    size = node.sizes().get(static_cast<int64_t>(scaled + 0.5));
    resizing.scales.push_back(*scale);
  }
  return success();
}

static LogicalResult readSizes(Node &node, Resizing &resizing) {
  std::optional<Dims> given = node.getSizes(3);
  if (!given || llvm::is_contained(*given, Size()))
    return node.unsupported("sizes that are not a function of sizes");
  if (given->size() != resizing.axes.size())
    return node.emitError() << "expected " << resizing.axes.size()
                            << " sizes, found " << given->size();
  resizing.sizes = *given;
  StringRef policy = node.getString("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch" &&
      failed(keepRatio(node, resizing, policy == "not_larger")))
    return failure();
  if (!isCropped(node))
    return success();
  if (!isGiven(node, 1))
    return node.emitError() << "expected a region to crop, found none";
  auto roi = readFloats(node, 1, 2 * resizing.axes.size(), "bounds of regions");
  if (failed(roi))
    return failure();
  resizing.roi = *roi;
  return success();
}

/// The axes in ascending order without those along which nothing changes.
static Resizing dropUnchanged(Node &node, const Resizing &all) {
  Resizing result;
  Dims dims = node.getDims();
  SmallVector<double> ends;
  size_t count = all.axes.size();
  for (int64_t axis = 0, rank = node.getRank(); axis < rank; ++axis) {
    size_t at = llvm::find(all.axes, axis) - all.axes.begin();
    if (at == count)
      continue;
    bool isWhole =
        all.roi.empty() || (all.roi[at] == 0 && all.roi[count + at] == 1);
    bool isScaled = !all.scales.empty() && all.scales[at] != 1;
    if (isWhole && !isScaled && all.sizes[at] == dims[axis])
      continue;
    result.axes.push_back(axis);
    result.sizes.push_back(all.sizes[at]);
    if (!all.scales.empty())
      result.scales.push_back(all.scales[at]);
    if (!all.roi.empty()) {
      result.roi.push_back(all.roi[at]);
      ends.push_back(all.roi[count + at]);
    }
  }
  result.roi.append(ends);
  return result;
}

//===----------------------------------------------------------------------===//
// The rule
//===----------------------------------------------------------------------===//

static FailureOr<Resizing> readResizing(Node &node) {
  Resizing resizing;
  int64_t rank = node.getRank();
  FailureOr<SmallVector<int64_t>> axes = node.getAxes(rank);
  if (failed(axes))
    return failure();
  resizing.axes = *axes;
  bool hasScales = isGiven(node, 2);
  if (hasScales == isGiven(node, 3))
    return node.emitError() << "expected either scales or sizes, found "
                            << (hasScales ? "both" : "none");
  if (failed(hasScales ? readScales(node, resizing)
                       : readSizes(node, resizing)))
    return failure();
  return dropUnchanged(node, resizing);
}

static void setFloats(Node &node, StringRef name, ArrayRef<double> values) {
  auto attrs = llvm::map_to_vector(values, [&](double value) -> Attribute {
    return node.builder.getF32FloatAttr(static_cast<float>(value));
  });
  if (!attrs.empty())
    node.attributes.set(name, node.builder.getArrayAttr(attrs));
}

static LogicalResult inferResize(Node &node) {
  if (failed(checkModes(node)))
    return failure();
  FailureOr<Resizing> resizing = readResizing(node);
  if (failed(resizing))
    return failure();
  if (resizing->axes.empty())
    return node.replace(node.inputs[0]);
  Dims dims = node.getDims();
  for (auto [axis, size] : llvm::zip_equal(resizing->axes, resizing->sizes)) {
    if (getConstant(dims[axis]) == 0 && getConstant(size) != 0)
      return node.emitError() << "expected elements to resize, found none";
    dims[axis] = size;
  }
  node.keepInputs(1);
  node.attributes.erase("keep_aspect_ratio_policy");
  node.setInts("axes", resizing->axes);
  setFloats(node, "scales", resizing->scales);
  setFloats(node, "roi", resizing->roi);
  return node.infer(dims, node.getElementType());
}

void qtx::importer::addResizeRule(RuleTable &rules) {
  rules["Resize"] = {1, 4, 1, inferResize};
}
