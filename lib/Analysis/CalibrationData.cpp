//===- CalibrationData.cpp - Inputs to calibrate with ---------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Analysis/CalibrationData.h"
#include "qtx/Dialect/Qtx/IR/InputLimits.h"
#include "qtx/Target/Run.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include <cstring>
#include <map>
#include <numeric>

using namespace mlir;
using namespace qtx;
using llvm::createStringError;
using llvm::Expected;

static constexpr StringLiteral kDimsAttr = "qtx.dims";

//===----------------------------------------------------------------------===//
// Padding
//===----------------------------------------------------------------------===//

/// `pattern` with each of its bytes `count` times.
static std::vector<uint8_t> repeatEach(ArrayRef<uint8_t> pattern,
                                       int64_t count) {
  std::vector<uint8_t> rows;
  rows.reserve(pattern.size() * count);
  for (uint8_t byte : pattern)
    rows.insert(rows.end(), count, byte);
  return rows;
}

static int64_t getProduct(ArrayRef<int64_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t(1),
                         std::multiplies<int64_t>());
}

std::vector<uint8_t> PaddingMask::getRows(ArrayRef<int64_t> shape,
                                          ArrayRef<int64_t> type) const {
  auto isAxis = [&](size_t axis, int64_t size) {
    return shape[axis] == size &&
           (!isDynamic || ShapedType::isDynamic(type[axis]));
  };
  if (shape.size() >= 3 && shape[0] == batch && isAxis(1, sequence))
    return repeatEach(valid, getProduct(shape.drop_front(2).drop_back()));
  if (shape.size() == 2 && isAxis(0, batch * sequence))
    return valid;
  if (shape.size() != 4 || shape[0] != batch || !isAxis(2, sequence))
    return {};
  std::vector<uint8_t> rows;
  rows.reserve(valid.size() * shape[1]);
  for (int64_t sample = 0; sample < batch; ++sample)
    for (int64_t head = 0; head < shape[1]; ++head)
      rows.insert(rows.end(), valid.begin() + sample * sequence,
                  valid.begin() + (sample + 1) * sequence);
  return rows;
}

static bool isFloat(ElementKind kind) {
  return kind == ElementKind::F16 || kind == ElementKind::F32 ||
         kind == ElementKind::F64;
}

/// Whether the little-endian number at `bytes` is neither 0 nor -0.0.
static bool isNonzero(const char *bytes, ElementKind kind) {
  size_t size = getElementSize(kind);
  for (size_t i = 0; i + 1 < size; ++i)
    if (bytes[i] != 0)
      return true;
  return (isFloat(kind) ? bytes[size - 1] & 0x7f : bytes[size - 1]) != 0;
}

std::optional<PaddingMask>
CalibrationData::getMask(const NpyArray &array) const {
  const ValueSignature &value = inputs[maskInput].value;
  PaddingMask mask{array.shape.front(),
                   array.shape.back(),
                   ShapedType::isDynamic(value.shape.back()),
                   {}};
  mask.valid.resize(array.getNumElements());
  for (auto [i, valid] : llvm::enumerate(mask.valid))
    valid = isNonzero(array.data.get() + i * array.itemSize, value.element);
  return mask;
}

std::string Feed::describe(int64_t row) const {
  if (size_t(row) < samples.size())
    return "sample " + std::to_string(samples[row]);
  return (samples.empty() ? "feed " + std::to_string(index)
                          : "sample " + std::to_string(samples.front()));
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

static llvm::Error makeInputError(StringRef name, const Twine &text) {
  return createStringError("input '" + name + "': " + text);
}

/// Compares the shape behind the `leading` axes with the type of the input.
llvm::Error CalibrationData::checkShape(const NamedArray &given, size_t input,
                                        size_t leading) const {
  const ValueSignature &value = inputs[input].value;
  bool matches = given.array.shape.size() == value.shape.size();
  for (size_t i = leading; matches && i < value.shape.size(); ++i)
    matches = ShapedType::isDynamic(value.shape[i]) ||
              value.shape[i] == given.array.shape[i];
  if (!matches)
    return makeInputError(
        given.name, "expected " + qtx::describe(value.shape, value.element) +
                        ", found " +
                        qtx::describe(given.array.shape, value.element));
  if (given.array.getNumElements() == 0)
    return makeInputError(given.name, "expected elements, found shape " +
                                          given.array.getShapeName());
  return llvm::Error::success();
}

/// Compares the sizes that bear the same name in the arrays `group`, one for
/// each input.
llvm::Error CalibrationData::checkDims(ArrayRef<size_t> group,
                                       size_t leading) const {
  llvm::StringMap<std::pair<int64_t, StringRef>> sizes;
  for (auto [input, index] : llvm::zip_equal(inputs, group)) {
    const NamedArray &given = arrays[index];
    for (size_t i = leading; i < input.dims.size(); ++i) {
      if (input.dims[i].empty())
        continue;
      int64_t size = given.array.shape[i];
      auto [known, isNew] =
          sizes.try_emplace(input.dims[i], size, StringRef(given.name));
      if (!isNew && known->second.first != size)
        return makeInputError(
            given.name, "expected " + Twine(known->second.first) + " along '" +
                            input.dims[i] + "' as in '" + known->second.second +
                            "', found " + Twine(size));
    }
  }
  return llvm::Error::success();
}

/// Stores `given` in the element type of the input.
llvm::Error CalibrationData::convert(NamedArray &given, size_t input,
                                     size_t leading) {
  auto converted = convertArray(given.array, inputs[input].value.element);
  if (!converted)
    return makeInputError(given.name, llvm::toString(converted.takeError()));
  // Frees the original before the next one is converted.
  given.array = std::move(*converted);
  if (llvm::Error error = checkShape(given, input, leading))
    return error;
  arrays.push_back(std::move(given));
  return llvm::Error::success();
}

/// Ids beyond the tables of `function` are of another vocabulary.
llvm::Error CalibrationData::checkIds(func::FuncOp function) const {
  for (auto [input, rows] : findLookups(function)) {
    for (size_t i = input; i < arrays.size(); i += inputs.size()) {
      std::string outside = findOutside(arrays[i].array, -rows, rows - 1);
      if (!outside.empty())
        return makeInputError(arrays[i].name, "expected ids of a table of " +
                                                  Twine(rows) +
                                                  " rows, found " + outside);
    }
  }
  return llvm::Error::success();
}

/// The tables of `function` limit how long feeds are.
llvm::Error CalibrationData::checkLengths(func::FuncOp function) const {
  auto limits = function->getAttrOfType<DictionaryAttr>(kMaxSizesAttr);
  if (!limits)
    return llvm::Error::success();
  for (const Plan &plan : plans)
    for (auto [i, input] : llvm::enumerate(inputs))
      for (auto [dim, name] : llvm::enumerate(input.dims)) {
        auto limit = limits.getAs<IntegerAttr>(name);
        const NamedArray &given =
            arrays[plan.arrays.empty() ? i : plan.arrays[i]];
        bool isCut =
            plan.length >= 0 && llvm::is_contained(input.positionDims, dim);
        int64_t size = isCut ? plan.length : given.array.shape[dim];
        if (limit && size > limit.getInt())
          return makeInputError(
              given.name, "expected at most " + Twine(limit.getInt()) +
                              " along '" + name + "', found " + Twine(size));
      }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Stacked samples
//===----------------------------------------------------------------------===//

static NamedArray *findArray(std::vector<NamedArray> &arrays, StringRef name) {
  auto found = llvm::find_if(
      arrays, [&](const NamedArray &array) { return array.name == name; });
  return found == arrays.end() ? nullptr : &*found;
}

static llvm::Error makeFeedsError(StringRef name, const Twine &text) {
  return makeInputError(name, text + "; expected its feeds as '" + name +
                                  "/0', '" + name + "/1', ...");
}

/// The number of samples that each call takes; dynamic if it is free.
Expected<int64_t> CalibrationData::getStaticBatch() const {
  int64_t batch = ShapedType::kDynamic;
  for (const Input &input : inputs) {
    if (input.value.shape.empty())
      return makeFeedsError(input.value.name, "no batch axis");
    int64_t size = input.value.shape.front();
    if (ShapedType::isDynamic(size) || size == batch)
      continue;
    if (!ShapedType::isDynamic(batch))
      return makeFeedsError(input.value.name,
                            "another static batch size than other inputs have");
    batch = size;
  }
  return batch;
}

llvm::Error CalibrationData::bindStacked(std::vector<NamedArray> given) {
  for (auto [i, input] : llvm::enumerate(inputs)) {
    NamedArray *array = findArray(given, input.value.name);
    if (!array)
      return createStringError(
          "no array for the input '" + input.value.name + "' (" +
          qtx::describe(input.value.shape, input.value.element) + ")");
    if (llvm::Error error = convert(*array, i, /*leading=*/1))
      return error;
    size_t count = arrays.back().array.shape.front();
    if (i > 0 && count != numSamples)
      return makeInputError(input.value.name, "expected " + Twine(numSamples) +
                                                  " samples as in '" +
                                                  arrays.front().name +
                                                  "', found " + Twine(count));
    numSamples = count;
  }
  SmallVector<size_t> group(inputs.size());
  std::iota(group.begin(), group.end(), 0);
  return checkDims(group, /*leading=*/1);
}

/// Positions of each sample: up to the last one that is no padding.
SmallVector<int64_t> CalibrationData::getLengths() const {
  if (maskInput >= 0) {
    PaddingMask mask = *getMask(arrays[maskInput].array);
    SmallVector<int64_t> lengths(numSamples, mask.sequence);
    for (size_t i = 0; canTrim() && i < numSamples; ++i)
      while (lengths[i] > 1 && !mask.valid[i * mask.sequence + lengths[i] - 1])
        --lengths[i];
    return lengths;
  }
  // Without a mask the sizes of the inputs have to tell: each id is a position,
  // and so are some hundred numbers.
  constexpr size_t kFeaturesPerPosition = 256;
  size_t positions = 1;
  for (auto [input, given] : llvm::zip_equal(inputs, arrays)) {
    size_t elements = given.array.getNumElements() / numSamples;
    if (isFloat(input.value.element))
      elements = llvm::divideCeil(elements, kFeaturesPerPosition);
    positions = std::max(positions, elements);
  }
  return SmallVector<int64_t>(numSamples, positions);
}

llvm::Error CalibrationData::planSlices(int64_t staticBatch,
                                        const CalibrationDataOptions &options) {
  bool isStatic = !ShapedType::isDynamic(staticBatch);
  if (isStatic && numSamples % staticBatch != 0)
    return makeInputError(arrays.front().name,
                          "expected a multiple of " + Twine(staticBatch) +
                              " samples, found " + Twine(numSamples));
  SmallVector<int64_t> lengths = getLengths();
  SmallVector<size_t> order(numSamples);
  std::iota(order.begin(), order.end(), 0);
  if (canTrim())
    llvm::sort(order, [&](size_t a, size_t b) {
      return std::make_pair(lengths[a], a) < std::make_pair(lengths[b], b);
    });
  for (size_t sample : order) {
    // Lengths ascend: this sample has the most positions of its slice.
    int64_t count = plans.empty() ? 0 : plans.back().samples.size() + 1;
    bool isFull = isStatic ? count > staticBatch
                           : count > options.maxSamples ||
                                 count * lengths[sample] > options.maxPositions;
    if (plans.empty() || isFull)
      plans.emplace_back();
    plans.back().samples.push_back(sample);
    if (canTrim())
      plans.back().length = lengths[sample];
  }
  // Ascending lengths would bias observers that forget.
  llvm::sort(plans, [](const Plan &a, const Plan &b) {
    return *llvm::min_element(a.samples) < *llvm::min_element(b.samples);
  });
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Single feeds
//===----------------------------------------------------------------------===//

/// Splits `NAME/3` if NAME is an input.
static std::optional<std::pair<size_t, size_t>>
parseFeedName(StringRef name,
              llvm::function_ref<std::optional<size_t>(StringRef)> find) {
  auto [base, number] = name.rsplit('/');
  size_t feed;
  if (number.getAsInteger(10, feed) || std::to_string(feed) != number)
    return std::nullopt;
  std::optional<size_t> input = find(base);
  if (!input)
    return std::nullopt;
  return std::make_pair(*input, feed);
}

llvm::Error CalibrationData::bindFeeds(std::vector<NamedArray> given) {
  size_t numFeeds =
      given.size() / inputs.size() + (given.size() % inputs.size() != 0);
  for (size_t feed = 0; feed < numFeeds; ++feed) {
    Plan &plan = plans.emplace_back();
    for (auto [i, input] : llvm::enumerate(inputs)) {
      std::string name = input.value.name + "/" + std::to_string(feed);
      NamedArray *array = findArray(given, name);
      if (!array)
        return createStringError(
            "no array '" + name + "' for the input '" + input.value.name +
            "' (" + qtx::describe(input.value.shape, input.value.element) +
            ")");
      plan.arrays.push_back(arrays.size());
      if (llvm::Error error = convert(*array, i, /*leading=*/0))
        return error;
    }
    if (llvm::Error error = checkDims(plan.arrays, /*leading=*/0))
      return error;
    plan.length = getFeedLength(plan);
  }
  numSamples = numFeeds;
  return llvm::Error::success();
}

/// Positions of a feed up to the last one that is no padding.
int64_t CalibrationData::getFeedLength(const Plan &plan) const {
  if (!canTrim())
    return -1;
  PaddingMask mask = *getMask(arrays[plan.arrays[maskInput]].array);
  int64_t length = 1;
  for (auto [i, valid] : llvm::enumerate(mask.valid))
    if (valid)
      length = std::max<int64_t>(length, i % mask.sequence + 1);
  return length;
}

//===----------------------------------------------------------------------===//
// Creation
//===----------------------------------------------------------------------===//

static SmallVector<std::string> getDims(func::FuncOp function, unsigned index) {
  SmallVector<std::string> dims;
  if (auto attr = function.getArgAttrOfType<ArrayAttr>(index, kDimsAttr))
    for (Attribute dim : attr)
      dims.push_back(isa<StringAttr>(dim) ? cast<StringAttr>(dim).str() : "");
  return dims;
}

bool CalibrationData::isConsistent() const {
  // Stacked arrays have the same number of samples.
  bool isStacked = plans.front().arrays.empty();
  size_t numDynamic = 0, numNamed = 0;
  for (const Input &input : inputs)
    for (auto [i, size] : llvm::enumerate(input.value.shape)) {
      if (!ShapedType::isDynamic(size) || (i == 0 && isStacked))
        continue;
      ++numDynamic;
      numNamed += i < input.dims.size() && !input.dims[i].empty();
    }
  return numDynamic <= 1 || numNamed == numDynamic;
}

bool CalibrationData::canTrim() const {
  return maskInput >= 0 && !inputs[maskInput].positionDims.empty();
}

/// Dimensions that bear the name of the last one of the mask, which is dynamic.
void CalibrationData::findPositionDims() {
  if (maskInput < 0)
    return;
  const Input &mask = inputs[maskInput];
  if (mask.dims.size() != mask.value.shape.size() || mask.dims.back().empty() ||
      !ShapedType::isDynamic(mask.value.shape.back()))
    return;
  std::string name = mask.dims.back();
  for (Input &input : inputs)
    for (auto [i, dim] : llvm::enumerate(input.dims))
      if (i > 0 && dim == name)
        input.positionDims.push_back(i);
}

/// A mask has one axis of samples and one of positions.
static bool isMaskShape(ArrayRef<int64_t> shape) {
  return shape.size() >= 2 &&
         llvm::all_of(shape.drop_front().drop_back(),
                      [](int64_t size) { return size == 1; });
}

void CalibrationData::countPositions() {
  numPositions = numSamples;
  if (maskInput < 0)
    return;
  numPositions = 0;
  for (const NamedArray &array : arrays)
    if (StringRef(array.name).split('/').first == kPaddingMaskName)
      numPositions += llvm::count_if(getMask(array.array)->valid,
                                     [](uint8_t valid) { return valid; });
}

Expected<CalibrationData>
CalibrationData::create(func::FuncOp function, std::vector<NamedArray> given,
                        function_ref<void(const Twine &)> warn,
                        const CalibrationDataOptions &options) {
  auto signature = getSignature(function);
  if (!signature)
    return signature.takeError();
  if (signature->inputs.empty())
    return createStringError("function '" + signature->name +
                             "': expected inputs to calibrate with, found "
                             "none");
  CalibrationData data;
  for (auto [i, value] : llvm::enumerate(signature->inputs)) {
    data.inputs.push_back({value, getDims(function, i), {}});
    if (data.inputs.back().dims.size() != value.shape.size())
      data.inputs.back().dims.clear();
    if (value.name != kPaddingMaskName)
      continue;
    if (isMaskShape(value.shape))
      data.maskInput = i;
    else
      warn("input '" + value.name +
           "' is no padding mask: expected the shape "
           "[batch, sequence], found " +
           qtx::describe(value.shape, value.element));
  }
  data.findPositionDims();

  auto find = [&](StringRef name) -> std::optional<size_t> {
    for (auto [i, input] : llvm::enumerate(data.inputs))
      if (input.value.name == name)
        return i;
    return std::nullopt;
  };
  std::vector<NamedArray> stacked, feeds;
  for (NamedArray &array : given) {
    if (find(array.name))
      stacked.push_back(std::move(array));
    else if (parseFeedName(array.name, find))
      feeds.push_back(std::move(array));
    else
      warn("the model has no input '" + array.name + "'");
  }
  if (!stacked.empty() && !feeds.empty())
    return createStringError("expected stacked samples or single feeds, found "
                             "both: '" +
                             stacked.front().name + "' and '" +
                             feeds.front().name + "'");
  if (!feeds.empty()) {
    if (llvm::Error error = data.bindFeeds(std::move(feeds)))
      return error;
  } else {
    auto batch = data.getStaticBatch();
    if (!batch)
      return batch.takeError();
    if (llvm::Error error = data.bindStacked(std::move(stacked)))
      return error;
    if (llvm::Error error = data.planSlices(*batch, options))
      return error;
  }
  if (llvm::Error error = data.checkIds(function))
    return error;
  if (llvm::Error error = data.checkLengths(function))
    return error;
  data.countPositions();
  if (data.numPositions == 0)
    return makeInputError(kPaddingMaskName,
                          "expected positions that count, found only padding");
  return data;
}

Expected<CalibrationData>
CalibrationData::read(func::FuncOp function, StringRef path,
                      function_ref<void(const Twine &)> warn,
                      const CalibrationDataOptions &options) {
  auto arrays = readNpz(path);
  if (!arrays)
    return arrays.takeError();
  auto data = create(function, std::move(*arrays), warn, options);
  if (!data)
    return createStringError(path + ": " + llvm::toString(data.takeError()));
  return data;
}

//===----------------------------------------------------------------------===//
// Feeds
//===----------------------------------------------------------------------===//

/// Copies the block `sizes` from the start of the array at `source`, whose
/// shape is `shape`, to dense memory; returns its end.
static char *copyBlock(const char *source, ArrayRef<int64_t> shape,
                       ArrayRef<int64_t> sizes, size_t itemSize, char *target) {
  size_t inner = itemSize;
  for (int64_t size : shape.drop_front(shape.empty() ? 0 : 1))
    inner *= size;
  if (shape == sizes) {
    size_t bytes = inner * (shape.empty() ? 1 : shape.front());
    std::memcpy(target, source, bytes);
    return target + bytes;
  }
  for (int64_t i = 0; i < sizes.front(); ++i)
    target = copyBlock(source + i * inner, shape.drop_front(),
                       sizes.drop_front(), itemSize, target);
  return target;
}

/// The rows `samples` (all if there are none) of `array`, with `length`
/// positions along `positionDims` unless it is negative.
static Expected<NpyArray> gather(const NpyArray &array,
                                 ArrayRef<size_t> samples,
                                 ArrayRef<unsigned> positionDims,
                                 int64_t length) {
  SmallVector<int64_t> sizes = llvm::to_vector(ArrayRef(array.shape));
  if (length >= 0)
    for (unsigned dim : positionDims)
      sizes[dim] = length;
  if (!samples.empty())
    sizes[0] = samples.size();
  auto result = createArray(array.kind, array.itemSize, sizes);
  if (!result)
    return result;
  char *target = result->data.get();
  if (samples.empty()) {
    copyBlock(array.data.get(), array.shape, sizes, array.itemSize, target);
    return result;
  }
  size_t stride = array.getNumBytes() / array.shape.front();
  for (size_t sample : samples)
    target = copyBlock(array.data.get() + sample * stride,
                       ArrayRef(array.shape).drop_front(),
                       ArrayRef(sizes).drop_front(), array.itemSize, target);
  return result;
}

Expected<Feed> CalibrationData::getFeed(size_t index) const {
  const Plan &plan = plans[index];
  Feed feed;
  feed.index = index;
  feed.samples = plan.samples;
  for (auto [i, input] : llvm::enumerate(inputs)) {
    size_t source = plan.arrays.empty() ? i : plan.arrays[i];
    auto array = gather(arrays[source].array, plan.samples, input.positionDims,
                        plan.length);
    if (!array)
      return array.takeError();
    feed.inputs.push_back(std::move(*array));
  }
  // The arrays' memory stays where it is when the feed moves, their shapes too:
  // both are on the heap.
  for (auto [input, array] : llvm::zip_equal(inputs, feed.inputs))
    feed.views.push_back(getView(array, input.value.element));
  if (maskInput >= 0)
    feed.mask = getMask(feed.inputs[maskInput]);
  return feed;
}
