//===- CodedConstant.cpp - Constants stored as integers -------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CodedConstant.h"
#include "Constants.h"
#include "Matchers.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace qtx::onnx;

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// The bytes of a constant, one or more for each element; a splat's are
/// repeated.
static std::optional<std::vector<char>> readBytes(Value value,
                                                  int64_t elementBytes) {
  ElementsAttr attr;
  if (!value || !matchPattern(strip(value), m_Constant(&attr)))
    return std::nullopt;
  size_t size = attr.getNumElements() * elementBytes;
  std::vector<char> bytes;
  if (auto dense = dyn_cast<DenseIntOrFPElementsAttr>(attr)) {
    ArrayRef<char> raw = dense.getRawData();
    for (int64_t repeat = dense.isSplat() ? attr.getNumElements() : 1;
         repeat > 0; --repeat)
      bytes.insert(bytes.end(), raw.begin(), raw.end());
  } else if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr)) {
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      bytes.assign(blob->getData().begin(), blob->getData().end());
  }
  if (bytes.size() != size)
    return std::nullopt;
  return bytes;
}

static std::optional<std::vector<float>> readFloats(Value value) {
  if (!isF32(value))
    return std::nullopt;
  auto bytes = readBytes(value, sizeof(float));
  if (!bytes)
    return std::nullopt;
  std::vector<float> floats(bytes->size() / sizeof(float));
  std::memcpy(floats.data(), bytes->data(), bytes->size());
  return floats;
}

/// Integers of 4, 8 or 32 bits; without sign they move down by half of the
/// range.
static std::optional<std::vector<int32_t>> readCodes(Value value) {
  Type type = getElementTypeOrSelf(value.getType());
  unsigned width = type.isInteger() ? type.getIntOrFloatBitWidth() : 0;
  bool isUnsigned = type.isUnsignedInteger();
  if (width != 4 && width != 8 && !(width == 32 && !isUnsigned))
    return std::nullopt;
  auto bytes = readBytes(value, width == 32 ? sizeof(int32_t) : 1);
  if (!bytes)
    return std::nullopt;
  if (width == 32) {
    std::vector<int32_t> codes(bytes->size() / sizeof(int32_t));
    std::memcpy(codes.data(), bytes->data(), bytes->size());
    return codes;
  }
  uint32_t mask = (1u << width) - 1;
  std::vector<int32_t> codes;
  codes.reserve(bytes->size());
  for (char byte : *bytes) {
    uint32_t bits = static_cast<uint8_t>(byte) & mask;
    codes.push_back(isUnsigned ? static_cast<int32_t>(bits) - (1 << (width - 1))
                               : llvm::SignExtend32(bits, width));
  }
  return codes;
}

/// The zero point that a node leaves out is 0, which moves with the codes.
static std::optional<std::vector<int32_t>>
readZeroPoints(NodeOp node, RankedTensorType type, size_t count) {
  if (Value given = node.getOptionalInput(2))
    return readCodes(given);
  int32_t zero = type.getElementType().isUnsignedInteger()
                     ? -(1 << (type.getElementTypeBitWidth() - 1))
                     : 0;
  return std::vector<int32_t>(count, zero);
}

/// Reads what says how a tensor is coded, for all but the codes: `type` is
/// theirs.
static std::optional<CodedConstant> readScales(NodeOp node,
                                               RankedTensorType type) {
  auto scales = readFloats(node.getInputs()[1]);
  auto zeroPoints =
      scales ? readZeroPoints(node, type, scales->size()) : std::nullopt;
  int64_t axis = node.getIntAttr("axis", -1);
  int64_t block = node.getIntAttr("block_size", 1);
  if (!zeroPoints || zeroPoints->size() != scales->size() || axis < -1 ||
      axis >= type.getRank() || block < 1 || !type.hasStaticShape() ||
      type.getNumElements() == 0)
    return std::nullopt;
  CodedConstant constant;
  constant.shape.assign(type.getShape().begin(), type.getShape().end());
  constant.width = type.getElementTypeBitWidth();
  constant.scales = std::move(*scales);
  constant.zeroPoints = std::move(*zeroPoints);
  constant.axis = axis;
  constant.block = block;
  // As many scales as elements need.
  if (constant.getScaleIndex(type.getNumElements() - 1) + 1 !=
      int64_t(constant.scales.size()))
    return std::nullopt;
  return constant;
}

std::optional<CodedConstant> CodedConstant::get(NodeOp node) {
  if (!node || !isF32(node.getOutputs()[0]))
    return std::nullopt;
  Value input = node.getInputs()[0];
  auto codes = readCodes(input);
  auto constant =
      codes ? readScales(node, cast<RankedTensorType>(input.getType()))
            : std::nullopt;
  if (constant)
    constant->codes = std::move(*codes);
  return constant;
}

int64_t CodedConstant::getScaleIndex(int64_t element) const {
  if (axis < 0)
    return 0;
  bool isBlocked =
      scales.size() != static_cast<size_t>(shape[axis]) || block > 1;
  int64_t inner = 1;
  for (int64_t size : ArrayRef(shape).drop_front(axis + 1))
    inner *= size;
  int64_t at = element / inner % shape[axis];
  if (!isBlocked)
    return at;
  int64_t count = llvm::divideCeil(shape[axis], block);
  int64_t outer = element / (inner * shape[axis]);
  return (outer * count + at / block) * inner + element % inner;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

/// A constant of these bytes: text where it is small, else a resource.
static Value createConstant(OpBuilder &builder, Location loc,
                            RankedTensorType type, ArrayRef<char> bytes) {
  constexpr size_t maxDense = 256;
  if (bytes.size() <= maxDense)
    return arith::ConstantOp::create(
        builder, loc, DenseElementsAttr::getFromRawBuffer(type, bytes));
  AsmResourceBlob blob =
      HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, /*align=*/64);
  return arith::ConstantOp::create(
      builder, loc,
      DenseResourceElementsAttr::get(type, "weight", std::move(blob)));
}

static Value createFloatConstant(OpBuilder &builder, Location loc,
                                 ArrayRef<int64_t> shape,
                                 ArrayRef<float> values) {
  return createConstant(builder, loc,
                        RankedTensorType::get(shape, builder.getF32Type()),
                        {reinterpret_cast<const char *>(values.data()),
                         values.size() * sizeof(float)});
}

Value CodedConstant::createFloats(OpBuilder &builder, Location loc) const {
  std::vector<float> values(codes.size());
  for (auto [index, value] : llvm::enumerate(values)) {
    int64_t scale = getScaleIndex(index);
    value =
        static_cast<float>(codes[index] - zeroPoints[scale]) * scales[scale];
  }
  return createFloatConstant(builder, loc, shape, values);
}

Value qtx::onnx::encodeConstant(OpBuilder &builder, NodeOp node) {
  auto type = cast<RankedTensorType>(node.getOutputs()[0].getType());
  unsigned width =
      type.getElementType().isInteger() ? type.getElementTypeBitWidth() : 0;
  auto values =
      width == 4 || width == 8 ? readFloats(node.getInputs()[0]) : std::nullopt;
  auto constant = values ? readScales(node, type) : std::nullopt;
  if (!constant)
    return {};
  int32_t half = 1 << (width - 1);
  int32_t shift = type.getElementType().isUnsignedInteger() ? half : 0;
  std::vector<char> bytes;
  bytes.reserve(values->size());
  for (auto [index, value] : llvm::enumerate(*values)) {
    int64_t scale = constant->getScaleIndex(index);
    // Half to even, as everywhere; what is no number becomes the least code.
    float code = std::nearbyint(value / constant->scales[scale]) +
                 static_cast<float>(constant->zeroPoints[scale]);
    float least = -half, most = half - 1;
    float clamped = code >= most ? most : code > least ? code : least;
    int32_t stored = static_cast<int32_t>(clamped) + shift;
    bytes.push_back(static_cast<char>(width == 4 ? stored & 0xF : stored));
  }
  return createConstant(builder, node.getLoc(), type, bytes);
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

bool CodedMatrix::add(int32_t code) {
  if (!llvm::isInt<4>(code))
    width = 8;
  codes.push_back(static_cast<int8_t>(code));
  return llvm::isInt<8>(code);
}

std::optional<CodedMatrix> CodedMatrix::get(const CodedConstant &constant,
                                            bool isTransposed) {
  if (constant.shape.size() != 2 || constant.width > 8)
    return std::nullopt;
  int64_t outputAxis = isTransposed ? 1 : 0;
  CodedMatrix matrix;
  matrix.outputs = constant.shape[outputAxis];
  matrix.depth = constant.shape[1 - outputAxis];
  matrix.width = constant.width;
  bool isBlocked = constant.axis == 1 - outputAxis;
  if (matrix.outputs == 0 || matrix.depth == 0)
    return std::nullopt;
  int64_t blocks = 1;
  if (isBlocked) {
    blocks = llvm::divideCeil(matrix.depth, constant.block);
    // One scale per slice of the contracted axis, or for blocks of one element,
    // is no weight that integers contract.
    if (constant.scales.size() != size_t(blocks * matrix.outputs) ||
        constant.block < 2)
      return std::nullopt;
    matrix.block = constant.block;
  } else if (constant.axis >= 0 &&
             constant.scales.size() != size_t(matrix.outputs)) {
    return std::nullopt;
  }
  auto getIndex = [&](int64_t n, int64_t k) {
    return isTransposed ? k * matrix.outputs + n : n * matrix.depth + k;
  };
  matrix.codes.reserve(constant.codes.size());
  for (int64_t n = 0; n < matrix.outputs; ++n)
    for (int64_t k = 0; k < matrix.depth; ++k) {
      int64_t index = getIndex(n, k);
      if (!matrix.add(constant.codes[index] -
                      constant.zeroPoints[constant.getScaleIndex(index)]))
        return std::nullopt;
    }
  for (int64_t n = 0; n < (constant.axis < 0 ? 1 : matrix.outputs); ++n)
    for (int64_t b = 0; b < blocks; ++b)
      matrix.scales.push_back(
          constant
              .scales[constant.getScaleIndex(getIndex(n, b * matrix.block))]);
  return matrix;
}

/// Code `index` of those of 4 or 8 bits that lie in `bytes` from `start` on,
/// the first one of a byte in its low bits.
static int32_t unpack(ArrayRef<char> bytes, int64_t start, int64_t index,
                      unsigned width) {
  auto byte = static_cast<uint8_t>(bytes[start + index * width / 8]);
  if (width == 8)
    return byte;
  return index % 2 ? byte >> 4 : byte & 0xF;
}

std::optional<CodedMatrix> CodedMatrix::getPacked(NodeOp node) {
  CodedMatrix matrix;
  matrix.outputs = node.getIntAttr("N", 0);
  matrix.depth = node.getIntAttr("K", 0);
  matrix.width = node.getIntAttr("bits", 4);
  matrix.block = node.getIntAttr("block_size", 0);
  if ((matrix.width != 4 && matrix.width != 8) || matrix.block < 16 ||
      matrix.outputs <= 0 || matrix.depth <= 0)
    return std::nullopt;
  auto packed = readBytes(node.getInputs()[1], 1);
  auto scales = readFloats(node.getInputs()[2]);
  int64_t blocks = llvm::divideCeil(matrix.depth, matrix.block);
  int64_t blockBytes = llvm::divideCeil(matrix.block * matrix.width, 8);
  if (!packed || !scales ||
      packed->size() != size_t(matrix.outputs * blocks * blockBytes) ||
      scales->size() != size_t(matrix.outputs * blocks))
    return std::nullopt;
  // Without zero points the codes are centred.
  std::optional<std::vector<char>> zeroPoints;
  int64_t rowBytes = llvm::divideCeil(blocks * matrix.width, 8);
  if (Value given = node.getOptionalInput(3)) {
    if (getElementTypeOrSelf(given.getType()).isUnsignedInteger(8))
      zeroPoints = readBytes(given, 1);
    if (!zeroPoints || zeroPoints->size() != size_t(matrix.outputs * rowBytes))
      return std::nullopt;
  }
  unsigned width = matrix.width;
  matrix.scales = std::move(*scales);
  matrix.codes.reserve(matrix.outputs * matrix.depth);
  for (int64_t n = 0; n < matrix.outputs; ++n)
    for (int64_t k = 0; k < matrix.depth; ++k) {
      int64_t block = k / matrix.block;
      int32_t zeroPoint = zeroPoints
                              ? unpack(*zeroPoints, n * rowBytes, block, width)
                              : 1 << (width - 1);
      int32_t code = unpack(*packed, (n * blocks + block) * blockBytes,
                            k % matrix.block, width);
      if (!matrix.add(code - zeroPoint))
        return std::nullopt;
    }
  return matrix;
}

Value CodedMatrix::createCodes(OpBuilder &builder, Location loc) const {
  std::vector<char> bytes(codes.begin(), codes.end());
  if (width == 4)
    for (char &byte : bytes)
      byte &= 0xF;
  auto type =
      RankedTensorType::get({outputs, depth}, builder.getIntegerType(width));
  return createConstant(builder, loc, type, bytes);
}

Value CodedMatrix::createScales(OpBuilder &builder, Location loc) const {
  SmallVector<int64_t> shape = {static_cast<int64_t>(scales.size())};
  if (block != 0)
    shape = {outputs, static_cast<int64_t>(scales.size()) / outputs};
  return createFloatConstant(builder, loc, shape, scales);
}
