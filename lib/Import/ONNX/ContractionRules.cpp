//===- ContractionRules.cpp - ONNX operators that contract or pool ------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Node.h"
#include "Tensors.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::importer;

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

/// The shape of a product as NumPy's matmul has it.
static FailureOr<Dims> getProductDims(Node &node, unsigned left,
                                      unsigned right) {
  if (failed(node.expectRankAtLeast(left, 1)) ||
      failed(node.expectRankAtLeast(right, 1)))
    return failure();
  Dims lhs = node.getDims(left), rhs = node.getDims(right);
  bool isLeftVector = lhs.size() == 1, isRightVector = rhs.size() == 1;
  Size inner = lhs.pop_back_val();
  Dims result;
  Size columns;
  if (!isRightVector)
    columns = rhs.pop_back_val();
  if (failed(node.expectEqual(inner, rhs.pop_back_val())))
    return failure();
  Size rows;
  if (!isLeftVector)
    rows = lhs.pop_back_val();
  FailureOr<Dims> dims = node.broadcast(lhs, rhs);
  if (failed(dims))
    return failure();
  if (rows)
    dims->push_back(rows);
  if (columns)
    dims->push_back(columns);
  return dims;
}

static LogicalResult inferMatMul(Node &node) {
  FailureOr<Dims> dims = getProductDims(node, 0, 1);
  if (failed(dims) || failed(node.expectSameElementType(0, 1)))
    return failure();
  return node.infer(*dims, node.getElementType());
}

static LogicalResult inferMatMulInteger(Node &node) {
  FailureOr<Dims> dims = getProductDims(node, 0, 1);
  return failed(dims) ? failure()
                      : node.infer(*dims, node.builder.getI32Type());
}

static LogicalResult inferQLinearMatMul(Node &node) {
  FailureOr<Dims> dims = getProductDims(node, 0, 3);
  return failed(dims) ? failure() : node.infer(*dims, node.getElementType(7));
}

static LogicalResult inferGemm(Node &node) {
  if (failed(node.expectRank(0, 2)) || failed(node.expectRank(1, 2)) ||
      failed(node.expectSameElementType(0, 1)))
    return failure();
  Dims lhs = node.getDims(0), rhs = node.getDims(1);
  if (node.getInt("transA", 0) != 0)
    std::swap(lhs[0], lhs[1]);
  if (node.getInt("transB", 0) != 0)
    std::swap(rhs[0], rhs[1]);
  if (failed(node.expectEqual(lhs[1], rhs[0])))
    return failure();
  if (node.hasInput(2) &&
      failed(node.broadcast({lhs[0], rhs[1]}, node.getDims(2))))
    return failure();
  return node.infer({lhs[0], rhs[1]}, node.getElementType());
}

//===----------------------------------------------------------------------===//
// Einsum
//===----------------------------------------------------------------------===//

namespace {
/// The sizes of the letters of an equation.
struct Letters {
  llvm::MapVector<char, Size> sizes;
  llvm::StringMap<unsigned> counts;
};
} // namespace

/// Reads the letters of one term with the sizes of its input.
static LogicalResult readTerm(Node &node, StringRef term, unsigned index,
                              Letters &letters) {
  Dims dims = node.getDims(index);
  if (term.size() != dims.size())
    return node.emitError() << "expected a term of " << dims.size()
                            << " letters, found '" << term << "'";
  for (auto [letter, size] : llvm::zip_equal(term, dims)) {
    ++letters.counts[StringRef(&letter, 1)];
    Size &known = letters.sizes[letter];
    if (known && llvm::isDigit(letter) && getConstant(size) == 1)
      continue;
    if (known && llvm::isDigit(letter) && getConstant(known) == 1)
      known = size;
    if (known && failed(node.expectEqual(known, size)))
      return failure();
    if (!known || getConstant(size))
      known = size;
  }
  return success();
}

/// Dimensions that an ellipsis stands for have digits for letters, which count
/// them from the last one. They broadcast.
static std::string getHidden(int64_t count) {
  std::string digits;
  while (count > 0)
    digits.push_back('0' + --count);
  return digits;
}

/// `equation` without ellipses; fails if there are too many dimensions.
static FailureOr<std::string> expandEllipses(Node &node, StringRef equation) {
  auto [left, right] = equation.split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  std::string result;
  int64_t most = 0;
  for (auto [index, term] : llvm::enumerate(terms)) {
    auto [before, after] = term.split("...");
    bool isHiding = term.contains("...") && index < node.getNumInputs();
    int64_t hidden =
        isHiding ? node.getRank(index) + 3 - int64_t(term.size()) : 0;
    if (hidden > 10)
      return node.unsupported("ellipsis of more than 10 dimensions");
    most = std::max(most, hidden);
    result += (index == 0 ? "" : ",") + before.str() + getHidden(hidden) +
              after.str();
  }
  if (!equation.contains("->"))
    return result;
  auto [before, after] = right.split("...");
  return result + "->" + before.str() +
         getHidden(right.contains("...") ? most : 0) + after.str();
}

static LogicalResult inferEinsum(Node &node) {
  std::string written = node.getString("equation", "").str();
  llvm::erase(written, ' ');
  FailureOr<std::string> expanded = expandEllipses(node, written);
  if (failed(expanded))
    return failure();
  StringRef equation = *expanded;
  auto [left, right] = equation.split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != node.getNumInputs())
    return node.emitError() << "expected " << node.getNumInputs()
                            << " terms, found '" << equation << "'";
  Letters letters;
  for (auto [index, term] : llvm::enumerate(terms))
    if (failed(readTerm(node, term, index, letters)))
      return failure();
  std::string result = right.str();
  if (!equation.contains("->")) {
    // The letters that appear once, in the order of the alphabet, behind what
    // ellipses stand for.
    for (auto &entry : letters.sizes)
      if (llvm::isDigit(entry.first) ||
          letters.counts[StringRef(&entry.first, 1)] == 1)
        result.push_back(entry.first);
    llvm::sort(result, [](char a, char b) {
      return llvm::isDigit(a) && llvm::isDigit(b) ? a > b : a < b;
    });
  }
  Dims dims;
  for (char letter : result) {
    auto *size = letters.sizes.find(letter);
    if (size == letters.sizes.end())
      return node.emitError()
             << "expected letters of the inputs, found '" << result << "'";
    dims.push_back(size->second);
  }
  node.attributes.set("equation",
                      node.builder.getStringAttr(left + "->" + result));
  return node.infer(dims, node.getElementType());
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

namespace {
/// How a window moves over the spatial dimensions.
struct Window {
  SmallVector<int64_t> kernel, strides, dilations, pads;
};
} // namespace

/// The windows' attributes have this limit, so that sizes stay within 64 bits.
static constexpr int64_t kMaxWindow = int64_t(1) << 24;

static FailureOr<SmallVector<int64_t>> getWindowAttr(Node &node, StringRef name,
                                                     size_t count,
                                                     int64_t absent,
                                                     int64_t atLeast) {
  SmallVector<int64_t> values =
      node.getIntList(name).value_or(SmallVector<int64_t>(count, absent));
  bool isValid = llvm::all_of(values, [&](int64_t value) {
    return value >= atLeast && value <= kMaxWindow;
  });
  if (values.size() != count || !isValid)
    return node.emitError() << "expected " << count << " values of at least "
                            << atLeast << " in '" << name << "'";
  return values;
}

/// Padding so that each stride has an output.
static LogicalResult padSame(Node &node, Window &window, bool isUpper) {
  size_t count = window.kernel.size();
  for (size_t axis = 0; axis < count; ++axis) {
    std::optional<int64_t> size = getConstant(node.getDims()[axis + 2]);
    int64_t stride = window.strides[axis];
    int64_t extent = (window.kernel[axis] - 1) * window.dilations[axis] + 1;
    if (!size && stride != 1)
      return node.unsupported("auto_pad of a dynamic size");
    int64_t outputs = size ? llvm::divideCeil(*size, stride) : 0;
    int64_t padding = std::max<int64_t>(
        size ? (outputs - 1) * stride + extent - *size : extent - 1, 0);
    int64_t less = padding / 2, more = padding - less;
    window.pads[axis] = isUpper ? less : more;
    window.pads[count + axis] = isUpper ? more : less;
  }
  return success();
}

static FailureOr<Window> readWindow(Node &node, ArrayRef<int64_t> kernel) {
  Window window;
  size_t count = kernel.size();
  window.kernel.assign(kernel.begin(), kernel.end());
  auto strides = getWindowAttr(node, "strides", count, 1, 1);
  auto dilations = getWindowAttr(node, "dilations", count, 1, 1);
  auto pads = getWindowAttr(node, "pads", 2 * count, 0, 0);
  if (failed(strides) || failed(dilations) || failed(pads))
    return failure();
  window.strides = *strides;
  window.dilations = *dilations;
  window.pads = *pads;
  StringRef mode = node.getString("auto_pad", "NOTSET");
  if (mode == "VALID")
    window.pads.assign(2 * count, 0);
  else if (mode != "NOTSET" &&
           failed(padSame(node, window, mode == "SAME_UPPER")))
    return failure();
  node.attributes.erase("auto_pad");
  node.setInts("kernel_shape", window.kernel);
  node.setInts("strides", window.strides);
  node.setInts("dilations", window.dilations);
  node.setInts("pads", window.pads);
  return window;
}

/// The number of windows along each spatial dimension.
static FailureOr<Dims> getWindowDims(Node &node, const Window &window,
                                     bool roundsUp) {
  Sizes &sizes = node.sizes();
  Dims input = node.getDims(), result;
  size_t count = window.kernel.size();
  for (size_t axis = 0; axis < count; ++axis) {
    int64_t stride = window.strides[axis];
    int64_t extent = (window.kernel[axis] - 1) * window.dilations[axis] + 1;
    int64_t padding = window.pads[axis] + window.pads[count + axis];
    Size room = sizes.add(input[axis + 2], sizes.get(padding - extent));
    if (getConstant(room) && *getConstant(room) < 0)
      return node.emitError()
             << "expected a window within the input, found " << extent
             << " over " << formatSizes(input[axis + 2]);
    Size steps = roundsUp ? sizes.ceilDiv(room, stride)
                          : sizes.floorDiv(room, sizes.get(stride));
    // A window that starts in the padding behind the input does not count.
    std::optional<int64_t> last = getConstant(steps),
                           size = getConstant(input[axis + 2]);
    if (roundsUp && !(last && size))
      return node.unsupported("ceil_mode of a dynamic size");
    if (roundsUp && *last * stride >= *size + window.pads[axis])
      steps = sizes.get(*last - 1);
    result.push_back(sizes.add(steps, sizes.get(1)));
  }
  return result;
}

static LogicalResult inferConvTo(Node &node, unsigned weight, Type type) {
  int64_t rank = node.getRank();
  if (failed(node.expectRankAtLeast(0, 3)) ||
      failed(node.expectRank(weight, rank)))
    return failure();
  Dims input = node.getDims(), filter = node.getDims(weight);
  SmallVector<int64_t> kernel;
  for (Size size : ArrayRef(filter).drop_front(2)) {
    std::optional<int64_t> value = getConstant(size);
    if (!value)
      return node.unsupported("dynamic kernel");
    if (*value < 1 || *value > kMaxWindow)
      return node.emitError()
             << "expected a kernel of at least 1, found " << *value;
    kernel.push_back(*value);
  }
  int64_t groups = node.getInt("group", 1);
  if (groups < 1 || groups > kMaxWindow)
    return node.emitError() << "expected at least one group, found " << groups;
  if (failed(node.expectEqual(
          input[1], node.sizes().mul(filter[1], node.sizes().get(groups)))))
    return failure();
  node.setInt("group", groups);
  FailureOr<Window> window = readWindow(node, kernel);
  if (failed(window))
    return failure();
  FailureOr<Dims> spatial = getWindowDims(node, *window, /*roundsUp=*/false);
  if (failed(spatial))
    return failure();
  Dims dims = {input[0], filter[0]};
  dims.append(*spatial);
  return node.infer(dims, type);
}

static LogicalResult inferConv(Node &node) {
  if (failed(node.expectSameElementType(0, 1)))
    return failure();
  return inferConvTo(node, 1, node.getElementType());
}

static LogicalResult inferConvInteger(Node &node) {
  return inferConvTo(node, 1, node.builder.getI32Type());
}

static LogicalResult inferQLinearConv(Node &node) {
  return inferConvTo(node, 3, node.getElementType(7));
}

static LogicalResult inferPool(Node &node) {
  if (failed(node.expectRankAtLeast(0, 3)))
    return failure();
  size_t count = node.getRank() - 2;
  auto kernel = getWindowAttr(node, "kernel_shape", count, 0, 1);
  if (failed(kernel))
    return failure();
  FailureOr<Window> window = readWindow(node, *kernel);
  if (failed(window))
    return failure();
  FailureOr<Dims> spatial =
      getWindowDims(node, *window, node.getInt("ceil_mode", 0) != 0);
  if (failed(spatial))
    return failure();
  Dims input = node.getDims(), dims = {input[0], input[1]};
  dims.append(*spatial);
  if (failed(node.infer(dims, node.getElementType(), 0)))
    return failure();
  return node.infer(dims, node.builder.getI64Type(), 1);
}

static LogicalResult inferGlobalPool(Node &node) {
  if (failed(node.expectRankAtLeast(0, 2)))
    return failure();
  Dims dims = node.getDims();
  std::fill(dims.begin() + 2, dims.end(), node.sizes().get(1));
  return node.infer(dims, node.getElementType());
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// The keys and values that a later call starts from, and the scores.
static LogicalResult inferPresent(Node &node, ArrayRef<Size> query,
                                  ArrayRef<Size> key, ArrayRef<Size> value) {
  Dims presentKey(key), presentValue(value);
  for (unsigned index : {4u, 5u}) {
    if (!node.hasInput(index))
      continue;
    if (failed(node.expectRank(index, 4)))
      return failure();
    Dims &present = index == 4 ? presentKey : presentValue;
    present[2] = node.sizes().add(present[2], node.getDims(index)[2]);
  }
  Dims scores = {query[0], query[1], query[2], presentKey[2]};
  if (failed(node.infer(presentKey, node.getElementType(1), 1)) ||
      failed(node.infer(presentValue, node.getElementType(2), 2)))
    return failure();
  return node.infer(scores, node.getElementType(0), 3);
}

/// [batch, sequence, heads * size] as [batch, heads, sequence, size].
static FailureOr<Dims> splitHeads(Node &node, ArrayRef<Size> dims,
                                  int64_t heads) {
  Size count = node.sizes().get(heads);
  Size size = node.sizes().divideExactly(dims[2], count);
  if (!size)
    return node.emitError() << "expected sizes that are multiples of " << heads;
  return Dims{dims[0], count, dims[1], size};
}

static LogicalResult inferAttention(Node &node) {
  int64_t rank = node.getRank();
  if (failed(node.expectRank(1, rank)) || failed(node.expectRank(2, rank)))
    return failure();
  Dims query = node.getDims(0), key = node.getDims(1), value = node.getDims(2);
  if (rank == 4) {
    Dims result(query);
    result[3] = value[3];
    if (failed(node.infer(result, node.getElementType())))
      return failure();
    return inferPresent(node, query, key, value);
  }
  int64_t heads = node.getInt("q_num_heads", 0);
  int64_t keyHeads = node.getInt("kv_num_heads", 0);
  if (failed(node.expectRank(0, 3)))
    return failure();
  if (heads <= 0 || keyHeads <= 0)
    return node.emitError() << "expected numbers of heads";
  FailureOr<Dims> queries = splitHeads(node, query, heads), keys, values;
  if (succeeded(queries))
    keys = splitHeads(node, key, keyHeads);
  if (succeeded(keys))
    values = splitHeads(node, value, keyHeads);
  if (failed(values))
    return failure();
  query[2] = node.sizes().mul(values->back(), node.sizes().get(heads));
  if (failed(node.infer(query, node.getElementType())))
    return failure();
  return inferPresent(node, *queries, *keys, *values);
}

static LogicalResult inferRotaryEmbedding(Node &node) {
  return node.infer(node.getDims(), node.getElementType());
}

void qtx::importer::addContractionRules(RuleTable &rules) {
  rules["MatMul"] = {2, 2, 1, inferMatMul};
  rules["MatMulInteger"] = {2, 4, 1, inferMatMulInteger};
  rules["QLinearMatMul"] = {8, 8, 1, inferQLinearMatMul};
  rules["Gemm"] = {2, 3, 1, inferGemm};
  rules["Einsum"] = {1, kAnyNumber, 1, inferEinsum};
  rules["Conv"] = {2, 3, 1, inferConv};
  rules["ConvInteger"] = {2, 4, 1, inferConvInteger};
  rules["QLinearConv"] = {8, 9, 1, inferQLinearConv};
  for (StringRef op : {"AveragePool", "LpPool"})
    rules[op] = {1, 1, 1, inferPool};
  rules["MaxPool"] = {1, 1, 2, inferPool};
  for (StringRef op : {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"})
    rules[op] = {1, 1, 1, inferGlobalPool};
  rules["Attention"] = {3, 7, 4, inferAttention};
  rules["RotaryEmbedding"] = {3, 4, 1, inferRotaryEmbedding};
}
