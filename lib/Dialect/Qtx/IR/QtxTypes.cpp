//===- QtxTypes.cpp - Types of the qtx dialect ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/Qtx/IR/QtxTypes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "qtx/Dialect/Qtx/IR/QuantParams.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace qtx;

#define GET_TYPEDEF_CLASSES
#include "qtx/Dialect/Qtx/IR/QtxTypes.cpp.inc"

void QtxDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "qtx/Dialect/Qtx/IR/QtxTypes.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// GroupedType
//===----------------------------------------------------------------------===//

int64_t GroupedType::getNumChannels() const {
  ArrayRef<int64_t> sizes = getGroupSizes();
  return std::accumulate(sizes.begin(), sizes.end(), int64_t(0));
}

/// More channels than this are a mistake; it also bounds the number of groups
/// that `size * repeat` may expand to.
static constexpr int64_t kMaxChannels = int64_t(1) << 24;

static LogicalResult
verifyGroupSizes(function_ref<InFlightDiagnostic()> emitError,
                 ArrayRef<int64_t> sizes) {
  if (sizes.empty())
    return emitError() << "expected at least one group size";
  int64_t sum = 0;
  for (int64_t size : sizes) {
    if (size <= 0)
      return emitError() << "expected positive group sizes, found " << size;
    if (size > kMaxChannels || (sum += size) > kMaxChannels)
      return emitError() << "expected at most " << kMaxChannels
                         << " channels in all groups";
  }
  return success();
}

/// Scales and zero points of a type whose parameters are known.
static LogicalResult
verifyStaticParams(function_ref<InFlightDiagnostic()> emitError,
                   ArrayRef<int64_t> sizes, ArrayRef<float> scales,
                   ArrayRef<int64_t> zeroPoints, int64_t storageMin,
                   int64_t storageMax) {
  if (sizes.size() == 1)
    return emitError() << "expected at least two groups with compile-time "
                          "parameters; one group is '!quant.uniform'";
  if (scales.size() != sizes.size() || zeroPoints.size() != sizes.size())
    return emitError() << "expected one scale and zero point for each of the "
                       << sizes.size() << " groups, found " << scales.size();
  for (float scale : scales)
    if (!std::isnormal(scale) || scale < 0)
      return emitError()
             << "expected scales that are positive, finite, normal f32 numbers";
  for (int64_t zeroPoint : zeroPoints)
    if (zeroPoint < storageMin || zeroPoint > storageMax)
      return emitError() << "zero point " << zeroPoint
                         << " is outside the storage range [" << storageMin
                         << ", " << storageMax << "]";
  return success();
}

LogicalResult GroupedType::verify(function_ref<InFlightDiagnostic()> emitError,
                                  unsigned storageWidth, bool isSigned,
                                  int64_t axis, ArrayRef<int64_t> groupSizes,
                                  DenseF32ArrayAttr scales,
                                  DenseI64ArrayAttr zeroPoints) {
  if (!llvm::is_contained({4u, 8u, 16u, 32u}, storageWidth))
    return emitError() << "expected a storage width of 4, 8, 16 or 32 bits, "
                          "found "
                       << storageWidth;
  if (axis >= 0)
    return emitError() << "expected a negative axis, counted from the last "
                          "dimension, found "
                       << axis;
  if (failed(verifyGroupSizes(emitError, groupSizes)))
    return failure();
  if (!scales != !zeroPoints)
    return emitError() << "expected both scales and zero points, or neither";
  if (!scales)
    return success();
  auto [min, max] = getIntegerRange(storageWidth, isSigned);
  return verifyStaticParams(emitError, groupSizes, scales, zeroPoints, min,
                            max);
}

/// run ::= group-size (`*` repeat)?
static ParseResult parseGroupRun(AsmParser &parser,
                                 SmallVectorImpl<int64_t> &sizes) {
  int64_t size, repeat = 1;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseInteger(size))
    return failure();
  if (succeeded(parser.parseOptionalStar()) && parser.parseInteger(repeat))
    return failure();
  if (repeat <= 0)
    return parser.emitError(loc, "expected a positive repeat count, found ")
           << repeat;
  if (repeat > kMaxChannels - static_cast<int64_t>(sizes.size()))
    return parser.emitError(loc, "expected at most ")
           << kMaxChannels << " groups";
  sizes.append(repeat, size);
  return success();
}

/// scale (`:` zero-point)?
static ParseResult parseGroupParams(AsmParser &parser,
                                    SmallVectorImpl<float> &scales,
                                    SmallVectorImpl<int64_t> &zeroPoints) {
  // Single precision, so that the hexadecimal form of a float is understood.
  APFloat scale(0.0f);
  int64_t zeroPoint = 0;
  if (parser.parseFloat(APFloat::IEEEsingle(), scale))
    return failure();
  if (succeeded(parser.parseOptionalColon()) && parser.parseInteger(zeroPoint))
    return failure();
  scales.push_back(scale.convertToFloat());
  zeroPoints.push_back(zeroPoint);
  return success();
}

/// storage ::= (`i` | `u`) width
static ParseResult parseStorage(AsmParser &parser, unsigned &width,
                                bool &isSigned) {
  SMLoc loc = parser.getCurrentLocation();
  // `i8` is a type to the parser, `u8` a keyword.
  Type type;
  OptionalParseResult parsed = parser.parseOptionalType(type);
  if (parsed.has_value() && failed(*parsed))
    return failure();
  isSigned = parsed.has_value();
  if (isSigned && type.isSignlessInteger()) {
    width = type.getIntOrFloatBitWidth();
    return success();
  }
  StringRef keyword;
  if (!isSigned && succeeded(parser.parseOptionalKeyword(&keyword)) &&
      keyword.consume_front("u") && !keyword.getAsInteger(10, width))
    return success();
  return parser.emitError(loc, "expected a storage type such as i8 or u8");
}

Type GroupedType::parse(AsmParser &parser) {
  SMLoc loc = parser.getCurrentLocation();
  unsigned width;
  bool isSigned;
  int64_t axis;
  SmallVector<int64_t> sizes, zeroPoints;
  SmallVector<float> scales;
  Type expressed;
  SMLoc expressedLoc;
  if (parser.parseLess() || parseStorage(parser, width, isSigned) ||
      parser.parseColon() || parser.getCurrentLocation(&expressedLoc) ||
      parser.parseType(expressed))
    return {};
  if (!expressed.isF32()) {
    parser.emitError(expressedLoc, "expected the expressed type f32, found ")
        << expressed;
    return {};
  }
  if (parser.parseComma() || parser.parseKeyword("axis") ||
      parser.parseEqual() || parser.parseInteger(axis) || parser.parseComma() ||
      parser.parseCommaSeparatedList(
          AsmParser::Delimiter::Square,
          [&] { return parseGroupRun(parser, sizes); }) ||
      parser.parseComma())
    return {};
  bool isDynamic = succeeded(parser.parseOptionalQuestion());
  if (!isDynamic &&
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Braces, [&] {
        return parseGroupParams(parser, scales, zeroPoints);
      }))
    return {};
  if (parser.parseGreater())
    return {};

  MLIRContext *context = parser.getContext();
  return parser.getChecked<GroupedType>(
      loc, context, width, isSigned, axis, sizes,
      isDynamic ? DenseF32ArrayAttr() : DenseF32ArrayAttr::get(context, scales),
      isDynamic ? DenseI64ArrayAttr()
                : DenseI64ArrayAttr::get(context, zeroPoints));
}

/// Prints equal neighbours as `size * repeat`.
static void printGroupSizes(AsmPrinter &printer, ArrayRef<int64_t> sizes) {
  printer << '[';
  for (size_t begin = 0; begin < sizes.size();) {
    size_t end = begin + 1;
    while (end < sizes.size() && sizes[end] == sizes[begin])
      ++end;
    if (begin != 0)
      printer << ", ";
    printer << sizes[begin];
    if (end - begin > 1)
      printer << " * " << end - begin;
    begin = end;
  }
  printer << ']';
}

void GroupedType::print(AsmPrinter &printer) const {
  printer << '<' << (getIsSigned() ? 'i' : 'u') << getStorageWidth()
          << ":f32, axis=" << getAxis() << ", ";
  printGroupSizes(printer, getGroupSizes());
  if (isDynamic()) {
    printer << ", ?>";
    return;
  }
  printer << ", {";
  llvm::interleaveComma(
      llvm::zip_equal(getScales().asArrayRef(), getZeroPoints().asArrayRef()),
      printer, [&](auto params) {
        printer.printFloat(APFloat(std::get<0>(params)));
        if (std::get<1>(params) != 0)
          printer << ':' << std::get<1>(params);
      });
  printer << "}>";
}
