//===- Npy.cpp - One NumPy array in a file --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Npy.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>
#include <optional>

using namespace llvm;
using namespace qtx;

static_assert(sys::IsLittleEndianHost, "elements are copied as they are");

static constexpr StringLiteral kMagic = "\x93NUMPY";
/// NumPy has no arrays of more dimensions.
static constexpr size_t kMaxRank = 64;
/// One tebibyte: no machine has it to spare, and sums of such sizes fit 64
/// bits.
static constexpr int64_t kMaxBytes = int64_t(1) << 40;

size_t NpyArray::getNumElements() const {
  size_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

std::string NpyArray::getTypeName() const {
  switch (kind) {
  case NpyKind::Bool:
    return "bool";
  case NpyKind::Int:
    return "int" + std::to_string(8 * itemSize);
  case NpyKind::UInt:
    return "uint" + std::to_string(8 * itemSize);
  case NpyKind::Float:
    return "float" + std::to_string(8 * itemSize);
  }
  llvm_unreachable("unknown kind");
}

std::string NpyArray::getShapeName() const {
  std::string text = "(";
  for (int64_t size : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + (shape.size() == 1 ? ",)" : ")");
}

Expected<size_t> qtx::getNumBytes(unsigned itemSize, ArrayRef<int64_t> shape) {
  int64_t bytes = itemSize;
  bool isEmpty = llvm::is_contained(shape, 0);
  for (int64_t size : shape)
    if (MulOverflow(bytes, std::max<int64_t>(size, 1), bytes) ||
        bytes > kMaxBytes)
      return createStringError("the shape is too large");
  return isEmpty ? 0 : bytes;
}

Expected<NpyArray> qtx::createArray(NpyKind kind, unsigned itemSize,
                                    ArrayRef<int64_t> shape) {
  Expected<size_t> bytes = getNumBytes(itemSize, shape);
  if (!bytes)
    return bytes.takeError();
  NpyData data(
      static_cast<char *>(std::calloc(std::max<size_t>(*bytes, 1), 1)));
  if (!data)
    return createStringError("not enough memory for " + Twine(*bytes) +
                             " bytes");
  return NpyArray{kind, itemSize, shape.vec(), std::move(data)};
}

//===----------------------------------------------------------------------===//
// Header
//===----------------------------------------------------------------------===//

namespace {
/// Parses the dictionary in a header: a Python literal whose values are a
/// string, a boolean and a tuple of integers.
class HeaderParser {
public:
  explicit HeaderParser(StringRef text) : text(text) {}

  Error parse(NpyHeader &header) {
    if (!consume('{'))
      return fail();
    while (!consume('}')) {
      if (Error error = parseEntry(header))
        return error;
      // The comma after the last entry may be missing.
      if (!consume(',') && !text.starts_with("}"))
        return fail();
    }
    skipSpace();
    if (!text.empty() || !hasType || !hasOrder || !hasShape)
      return fail();
    return Error::success();
  }

private:
  static Error fail() { return createStringError("bad header"); }

  void skipSpace() { text = text.ltrim(" \t\r\n"); }
  bool consume(char c) {
    skipSpace();
    bool found = text.consume_front(StringRef(&c, 1));
    skipSpace();
    return found;
  }

  std::optional<StringRef> parseString() {
    if (!text.starts_with("'") && !text.starts_with("\""))
      return std::nullopt;
    size_t end = text.find(text.front(), 1);
    if (end == StringRef::npos)
      return std::nullopt;
    StringRef result = text.slice(1, end);
    text = text.drop_front(end + 1);
    return result;
  }

  Error parseEntry(NpyHeader &header) {
    std::optional<StringRef> key = parseString();
    if (!key || !consume(':'))
      return fail();
    if (*key == "descr")
      return parseType(header);
    if (*key == "fortran_order")
      return parseOrder(header);
    if (*key == "shape")
      return parseShape(header);
    return fail();
  }

  Error parseType(NpyHeader &header) {
    hasType = true;
    if (text.starts_with("["))
      return createStringError("structured arrays are not supported");
    std::optional<StringRef> descr = parseString();
    if (!descr || descr->size() < 2)
      return fail();
    StringRef name = descr->drop_front();
    if (name.starts_with("O"))
      return createStringError("object arrays are not supported");
    const auto *type = llvm::find_if(
        kTypes, [&](const TypeInfo &type) { return type.name == name; });
    if (type == std::end(kTypes))
      return createStringError("arrays of type '" + *descr +
                               "' are not supported");
    if (!StringRef(type->itemSize == 1 ? "|<>=" : "<>")
             .contains(descr->front()))
      return fail();
    if (type->itemSize > 1 && descr->front() == '>')
      return createStringError("big-endian arrays are not supported");
    header.kind = type->kind;
    header.itemSize = type->itemSize;
    return Error::success();
  }

  Error parseOrder(NpyHeader &header) {
    hasOrder = true;
    header.isFortranOrder = text.consume_front("True");
    if (!header.isFortranOrder && !text.consume_front("False"))
      return fail();
    return Error::success();
  }

  Error parseShape(NpyHeader &header) {
    hasShape = true;
    header.shape.clear();
    if (!consume('('))
      return fail();
    while (!consume(')')) {
      uint64_t size;
      if (text.empty() || !isDigit(text.front()))
        return fail();
      if (text.consumeInteger(10, size) || size > INT64_MAX)
        return createStringError("the shape is too large");
      if (header.shape.size() == kMaxRank)
        return fail();
      header.shape.push_back(size);
      if (!consume(',') && !text.starts_with(")"))
        return fail();
    }
    return Error::success();
  }

  struct TypeInfo {
    StringLiteral name;
    NpyKind kind;
    unsigned itemSize;
  };
  static constexpr TypeInfo kTypes[] = {
      {"b1", NpyKind::Bool, 1},  {"i1", NpyKind::Int, 1},
      {"i2", NpyKind::Int, 2},   {"i4", NpyKind::Int, 4},
      {"i8", NpyKind::Int, 8},   {"u1", NpyKind::UInt, 1},
      {"u2", NpyKind::UInt, 2},  {"u4", NpyKind::UInt, 4},
      {"u8", NpyKind::UInt, 8},  {"f2", NpyKind::Float, 2},
      {"f4", NpyKind::Float, 4}, {"f8", NpyKind::Float, 8},
  };

  StringRef text;
  bool hasType = false, hasOrder = false, hasShape = false;
};
} // namespace

/// Reads exactly `bytes.size()` bytes.
static Error readExactly(NpyReader read, MutableArrayRef<char> bytes) {
  while (!bytes.empty()) {
    Expected<size_t> count = read(bytes);
    if (!count)
      return count.takeError();
    if (*count == 0)
      return createStringError("truncated");
    bytes = bytes.drop_front(*count);
  }
  return Error::success();
}

/// Reads everything up to the elements and counts the bytes.
static Error readHeader(NpyReader read, NpyHeader &header, size_t &size) {
  constexpr size_t kMaxLength = size_t(1) << 20;
  std::string start(kMagic.size() + 2, 0);
  if (Error error = readExactly(read, start))
    return error;
  if (!StringRef(start).starts_with(kMagic))
    return createStringError("not a .npy file");
  unsigned major = static_cast<uint8_t>(start[kMagic.size()]);
  if (major < 1 || major > 3)
    return createStringError("version " + Twine(major) +
                             " of .npy is not supported");
  char bytes[4] = {};
  size_t lengthSize = major == 1 ? 2 : 4;
  if (Error error = readExactly(read, {bytes, lengthSize}))
    return error;
  size_t length = support::endian::read32le(bytes);
  if (length > kMaxLength)
    return createStringError("bad header");
  std::string text(length, 0);
  if (Error error = readExactly(read, text))
    return error;
  size = start.size() + lengthSize + length;
  return HeaderParser(text).parse(header);
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

/// Copies `from`, whose first dimension varies fastest, into C order.
static void copyFortranOrder(const char *from, NpyArray &array) {
  size_t count = array.getNumElements(), rank = array.shape.size();
  SmallVector<int64_t> index(rank, 0), strides(rank, 1);
  for (size_t i = 1; i < rank; ++i)
    strides[i] = strides[i - 1] * array.shape[i - 1];
  int64_t offset = 0;
  for (size_t n = 0; n < count; ++n) {
    std::memcpy(array.data.get() + n * array.itemSize,
                from + offset * array.itemSize, array.itemSize);
    for (size_t i = rank; i-- > 0;) {
      offset += strides[i];
      if (++index[i] < array.shape[i])
        break;
      offset -= strides[i] * array.shape[i];
      index[i] = 0;
    }
  }
}

Expected<NpyArray> qtx::readNpy(NpyReader read, uint64_t size) {
  NpyHeader header;
  size_t headerSize = 0;
  if (Error error = readHeader(read, header, headerSize))
    return error;
  Expected<size_t> bytes = getNumBytes(header.itemSize, header.shape);
  if (!bytes)
    return bytes.takeError();
  // Compared before memory is asked for: a header may claim anything.
  if (size < headerSize || *bytes != size - headerSize)
    return createStringError(
        "expected " + Twine(*bytes) + " bytes of elements, found " +
        Twine(size - std::min<uint64_t>(size, headerSize)));
  Expected<NpyArray> array =
      createArray(header.kind, header.itemSize, header.shape);
  if (!array)
    return array.takeError();
  if (Error error = readExactly(read, {array->data.get(), *bytes}))
    return error;
  if (!header.isFortranOrder || header.shape.size() < 2)
    return array;
  Expected<NpyArray> transposed =
      createArray(header.kind, header.itemSize, header.shape);
  if (transposed)
    copyFortranOrder(array->data.get(), *transposed);
  return transposed;
}

std::string qtx::createNpyHeader(const NpyArray &array) {
  static constexpr char kKinds[] = {'b', 'i', 'u', 'f'};
  std::string descr = array.itemSize == 1 ? "|" : "<";
  descr += kKinds[static_cast<size_t>(array.kind)];
  descr += std::to_string(array.itemSize);
  std::string text = "{'descr': '" + descr + "', 'fortran_order': False, " +
                     "'shape': " + array.getShapeName() + ", }";
  // The elements start at a multiple of 64 bytes; the header ends with a
  // newline.
  size_t prefix = kMagic.size() + 2 + 2;
  text.append(alignTo(prefix + text.size() + 1, 64) - prefix - text.size() - 1,
              ' ');
  text += '\n';
  char length[2];
  support::endian::write16le(length, text.size());
  return kMagic.str() + std::string("\1\0", 2) + std::string(length, 2) + text;
}
