//===- Run.cpp - Run a function on named arrays ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Target/Run.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

using namespace llvm;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

namespace {
/// How an element type lies in an array, and its range if it is an integer.
struct ElementFormat {
  NpyKind kind;
  int64_t minimum = 0;
  int64_t maximum = 0;
};
} // namespace

static ElementFormat getSignedFormat(unsigned width) {
  int64_t maximum = std::numeric_limits<int64_t>::max() >> (64 - width);
  return {NpyKind::Int, -maximum - 1, maximum};
}

static ElementFormat getUnsignedFormat(unsigned width) {
  return {NpyKind::UInt, 0, (int64_t(1) << width) - 1};
}

static ElementFormat getFormat(ElementKind kind) {
  switch (kind) {
  case ElementKind::F16:
  case ElementKind::F32:
  case ElementKind::F64:
    return {NpyKind::Float};
  case ElementKind::I1:
    return {NpyKind::Bool, 0, 1};
  case ElementKind::I4:
    return getSignedFormat(4);
  case ElementKind::I8:
  case ElementKind::I16:
  case ElementKind::I32:
  case ElementKind::I64:
  case ElementKind::Index:
    return getSignedFormat(8 * getElementSize(kind));
  case ElementKind::U4:
    return getUnsignedFormat(4);
  case ElementKind::U8:
  case ElementKind::U16:
  case ElementKind::U32:
    return getUnsignedFormat(8 * getElementSize(kind));
  }
  llvm_unreachable("unknown element type");
}

template <typename T> static T load(const NpyArray &array, size_t index) {
  T value;
  std::memcpy(&value, array.data.get() + index * sizeof(T), sizeof(T));
  return value;
}

static int64_t loadSigned(const NpyArray &array, size_t index) {
  switch (array.itemSize) {
  case 1:
    return load<int8_t>(array, index);
  case 2:
    return load<int16_t>(array, index);
  case 4:
    return load<int32_t>(array, index);
  }
  return load<int64_t>(array, index);
}

static uint64_t loadUnsigned(const NpyArray &array, size_t index) {
  if (array.kind == NpyKind::Bool)
    return load<uint8_t>(array, index) != 0;
  switch (array.itemSize) {
  case 1:
    return load<uint8_t>(array, index);
  case 2:
    return load<uint16_t>(array, index);
  case 4:
    return load<uint32_t>(array, index);
  }
  return load<uint64_t>(array, index);
}

/// The integer at `index`, absent if it does not fit int64.
static std::optional<int64_t> loadInteger(const NpyArray &array, size_t index) {
  if (array.kind == NpyKind::Int)
    return loadSigned(array, index);
  uint64_t value = loadUnsigned(array, index);
  if (value > uint64_t(std::numeric_limits<int64_t>::max()))
    return std::nullopt;
  return value;
}

/// The indices of an element along each dimension: `[1, 2]`.
static std::string describeIndex(const NpyArray &array, size_t index) {
  SmallVector<std::string> parts(array.shape.size());
  for (size_t i = parts.size(); i-- > 0;) {
    parts[i] = std::to_string(index % array.shape[i]);
    index /= array.shape[i];
  }
  return "[" + join(parts, ", ") + "]";
}

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

static Expected<NpyArray> copyArray(const NpyArray &array) {
  Expected<NpyArray> copy =
      createArray(array.kind, array.itemSize, array.shape);
  if (copy)
    std::memcpy(copy->data.get(), array.data.get(), array.getNumBytes());
  return copy;
}

std::string qtx::findOutside(const NpyArray &array, int64_t minimum,
                             int64_t maximum) {
  for (size_t i = 0, e = array.getNumElements(); i < e; ++i) {
    std::optional<int64_t> value = loadInteger(array, i);
    if (!value || *value < minimum || *value > maximum)
      return (value ? std::to_string(*value)
                    : std::to_string(loadUnsigned(array, i))) +
             " at " + describeIndex(array, i);
  }
  return "";
}

static Expected<NpyArray> convertIntegers(const NpyArray &array,
                                          ElementKind kind) {
  ElementFormat format = getFormat(kind);
  Expected<NpyArray> result =
      createArray(format.kind, getElementSize(kind), array.shape);
  if (!result)
    return result;
  std::string outside = findOutside(array, format.minimum, format.maximum);
  if (!outside.empty())
    return createStringError(outside + " is out of the range of " +
                             getElementName(kind));
  for (size_t i = 0, e = array.getNumElements(); i < e; ++i) {
    int64_t value = *loadInteger(array, i);
    // Little-endian: the low bytes come first.
    std::memcpy(result->data.get() + i * result->itemSize, &value,
                result->itemSize);
  }
  return result;
}

Expected<NpyArray> qtx::convertArray(const NpyArray &array, ElementKind kind) {
  bool isFloat = getFormat(kind).kind == NpyKind::Float;
  if (isFloat != (array.kind == NpyKind::Float) ||
      (isFloat && array.itemSize != getElementSize(kind)))
    return createStringError("expected " + getElementName(kind) + ", found " +
                             array.getTypeName());
  return isFloat ? copyArray(array) : convertIntegers(array, kind);
}

BufferView qtx::getView(const NpyArray &array, ElementKind kind) {
  return {array.data.get(), array.shape, kind};
}

static const NamedArray *findArray(ArrayRef<NamedArray> arrays,
                                   StringRef name) {
  const auto *found = llvm::find_if(
      arrays, [&](const NamedArray &array) { return array.name == name; });
  return found == arrays.end() ? nullptr : found;
}

static void warnOfExtra(ArrayRef<NamedArray> arrays,
                        ArrayRef<ValueSignature> values, StringRef what,
                        function_ref<void(const Twine &)> warn) {
  for (const NamedArray &array : arrays)
    if (llvm::none_of(values, [&](const ValueSignature &value) {
          return value.name == array.name;
        }))
      warn("the model has no " + what + " '" + array.name + "'");
}

Expected<std::vector<NpyArray>>
qtx::bindInputs(const FunctionSignature &signature, ArrayRef<NamedArray> arrays,
                function_ref<void(const Twine &)> warn) {
  std::vector<NpyArray> bound;
  for (const ValueSignature &input : signature.inputs) {
    const NamedArray *array = findArray(arrays, input.name);
    if (!array)
      return createStringError("no array for the input '" + input.name + "' (" +
                               describe(input.shape, input.element) + ")");
    Expected<NpyArray> converted = convertArray(array->array, input.element);
    if (!converted)
      return createStringError("input '" + input.name +
                               "': " + toString(converted.takeError()));
    bound.push_back(std::move(*converted));
  }
  warnOfExtra(arrays, signature.inputs, "input", warn);
  return bound;
}

//===----------------------------------------------------------------------===//
// Outputs
//===----------------------------------------------------------------------===//

Expected<std::vector<NamedArray>>
qtx::nameOutputs(const FunctionSignature &signature, ArrayRef<Buffer> outputs) {
  std::vector<NamedArray> arrays;
  for (auto [value, buffer] : llvm::zip_equal(signature.outputs, outputs)) {
    Expected<NpyArray> array =
        createArray(getFormat(buffer.element).kind,
                    getElementSize(buffer.element), buffer.shape);
    if (!array)
      return array.takeError();
    std::memcpy(array->data.get(), buffer.data.get(), array->getNumBytes());
    arrays.push_back({value.name, std::move(*array)});
  }
  return arrays;
}

/// An element as a number that holds every type exactly, but for large 64-bit
/// integers where long double is no wider than double.
static long double loadNumber(const NpyArray &array, size_t index) {
  if (array.kind == NpyKind::Int)
    return loadSigned(array, index);
  if (array.kind != NpyKind::Float)
    return loadUnsigned(array, index);
  if (array.itemSize == 8)
    return load<double>(array, index);
  if (array.itemSize == 4)
    return load<float>(array, index);
  APFloat half(APFloat::IEEEhalf(), APInt(16, load<uint16_t>(array, index)));
  return half.convertToFloat();
}

static long double getDifference(long double found, long double expected) {
  if (found == expected || (std::isnan(found) && std::isnan(expected)))
    return 0;
  long double difference = std::fabs(found - expected);
  return std::isnan(difference) ? INFINITY : difference;
}

static std::string printNumber(long double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.9Lg", value);
  return text;
}

namespace {
/// The elements of two arrays of one shape that do not agree.
struct Differences {
  size_t count = 0;
  size_t first = 0;
  size_t largest = 0;
  long double largestValue = -1;
};
} // namespace

static Differences findDifferences(const NpyArray &found,
                                   const NpyArray &expected,
                                   const Tolerance &tolerance) {
  Differences differences;
  for (size_t i = 0, e = found.getNumElements(); i < e; ++i) {
    long double wanted = loadNumber(expected, i);
    long double value = getDifference(loadNumber(found, i), wanted);
    // An infinite expected number has no tolerance: anything would agree.
    long double bound = tolerance.absolute;
    if (std::isfinite(wanted))
      bound += tolerance.relative * std::fabs(wanted);
    if (value <= bound)
      continue;
    if (differences.count++ == 0)
      differences.first = i;
    if (value > differences.largestValue) {
      differences.largestValue = value;
      differences.largest = i;
    }
  }
  return differences;
}

/// What differs between an output and the expected array; empty if nothing
/// does.
static std::string compare(const NpyArray &found, const NpyArray &expected,
                           const Tolerance &tolerance) {
  if (found.shape != expected.shape)
    return "expected shape " + expected.getShapeName() + ", found " +
           found.getShapeName();
  Differences differences = findDifferences(found, expected, tolerance);
  if (differences.count == 0)
    return "";
  auto describeElement = [&](size_t index) {
    return describeIndex(found, index) + ": expected " +
           printNumber(loadNumber(expected, index)) + ", found " +
           printNumber(loadNumber(found, index));
  };
  std::string text = std::to_string(differences.count) + " of " +
                     std::to_string(found.getNumElements()) +
                     " elements differ; first at " +
                     describeElement(differences.first);
  if (differences.largest != differences.first)
    text += "; largest at " + describeElement(differences.largest);
  return text;
}

bool qtx::compareOutputs(ArrayRef<NamedArray> outputs,
                         ArrayRef<NamedArray> expected,
                         const Tolerance &tolerance,
                         function_ref<void(const Twine &)> report,
                         function_ref<void(const Twine &)> warn) {
  bool agree = true;
  for (const NamedArray &output : outputs) {
    const NamedArray *wanted = findArray(expected, output.name);
    std::string text = wanted ? compare(output.array, wanted->array, tolerance)
                              : std::string("no expected array");
    if (!text.empty())
      report("output '" + output.name + "': " + text);
    agree &= text.empty();
  }
  for (const NamedArray &array : expected)
    if (!findArray(outputs, array.name))
      warn("the model has no output '" + array.name + "'");
  return agree;
}
