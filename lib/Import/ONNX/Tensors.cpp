//===- Tensors.cpp - Tensors stored in ONNX files -------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tensors.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include <cstring>

using namespace mlir;
using namespace qtx::importer;

/// Tensors of at most this many bytes are text in the IR.
static constexpr int64_t kMaxDenseBytes = 128;

/// More elements than this cannot be addressed.
static constexpr int64_t kMaxElements = int64_t(1) << 40;

Type qtx::importer::getElementType(int64_t dataType, MLIRContext *context) {
  auto getInteger = [&](unsigned width, IntegerType::SignednessSemantics sign) {
    return IntegerType::get(context, width, sign);
  };
  constexpr auto Signless = IntegerType::Signless;
  constexpr auto Unsigned = IntegerType::Unsigned;
  switch (dataType) {
  case 1:
    return Float32Type::get(context);
  case 2:
    return getInteger(8, Unsigned);
  case 3:
    return getInteger(8, Signless);
  case 4:
    return getInteger(16, Unsigned);
  case 5:
    return getInteger(16, Signless);
  case 6:
    return getInteger(32, Signless);
  case 7:
    return getInteger(64, Signless);
  case 9:
    return getInteger(1, Signless);
  case 10:
    return Float16Type::get(context);
  case 11:
    return Float64Type::get(context);
  case 12:
    return getInteger(32, Unsigned);
  case 13:
    return getInteger(64, Unsigned);
  case 16:
    return BFloat16Type::get(context);
  case 17:
    return Float8E4M3FNType::get(context);
  case 18:
    return Float8E4M3FNUZType::get(context);
  case 19:
    return Float8E5M2Type::get(context);
  case 20:
    return Float8E5M2FNUZType::get(context);
  case 21:
    return getInteger(4, Unsigned);
  case 22:
    return getInteger(4, Signless);
  case 23:
    return Float4E2M1FNType::get(context);
  default:
    return {};
  }
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

RankedTensorType TensorReader::readType(const proto::TensorProto &tensor,
                                        Location loc) {
  Type elementType = getElementType(tensor.data_type(), loc.getContext());
  if (!elementType) {
    emitError(loc) << "unsupported element type " << tensor.data_type()
                   << " of tensor '" << tensor.name() << "'";
    return {};
  }
  int64_t count = 1;
  for (int64_t size : tensor.dims()) {
    bool isValid = size >= 0 && size <= kMaxElements &&
                   !llvm::MulOverflow(count, std::max<int64_t>(size, 1), count);
    if (!isValid || count > kMaxElements) {
      emitError(loc) << "expected a size that can be addressed, found " << size
                     << " in tensor '" << tensor.name() << "'";
      return {};
    }
  }
  SmallVector<int64_t> shape(tensor.dims().begin(), tensor.dims().end());
  return RankedTensorType::get(shape, elementType);
}

/// Bytes of the elements of a tensor in a file.
static int64_t getStoredBytes(RankedTensorType type) {
  int64_t bits = type.getElementTypeBitWidth();
  return llvm::divideCeil(type.getNumElements() * (bits == 1 ? 8 : bits), 8);
}

//===----------------------------------------------------------------------===//
// External data
//===----------------------------------------------------------------------===//

llvm::MemoryBuffer *TensorReader::openExternal(StringRef location,
                                               Location loc) {
  std::shared_ptr<llvm::MemoryBuffer> &file = files[location];
  if (file)
    return file.get();
  bool isInside =
      !location.empty() && llvm::sys::path::is_relative(location) &&
      llvm::all_of(llvm::make_range(llvm::sys::path::begin(location),
                                    llvm::sys::path::end(location)),
                   [](StringRef part) { return part != ".."; });
  if (!isInside || location.contains('\0')) {
    emitError(loc)
        << "expected external data in the folder of the model, found '"
        << location << "'";
    return nullptr;
  }
  SmallString<128> path(folder);
  llvm::sys::path::append(path, location);
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer) {
    emitError(loc) << "cannot open external data '" << location
                   << "': " << buffer.getError().message();
    return nullptr;
  }
  file = std::move(*buffer);
  return file.get();
}

std::optional<TensorReader::Data>
TensorReader::readExternal(const proto::TensorProto &tensor, Location loc) {
  StringRef location;
  uint64_t offset = 0, length = 0;
  bool hasLength = false, isValid = true;
  for (const proto::StringStringEntryProto &entry : tensor.external_data()) {
    StringRef value(entry.value());
    if (entry.key() == "location")
      location = value;
    if (entry.key() == "offset")
      isValid &= !value.getAsInteger(10, offset);
    if (entry.key() == "length") {
      isValid &= !value.getAsInteger(10, length);
      hasLength = true;
    }
  }
  llvm::MemoryBuffer *file = openExternal(location, loc);
  if (!file)
    return std::nullopt;
  uint64_t size = file->getBufferSize();
  if (!hasLength && offset <= size)
    length = size - offset;
  if (!isValid || offset > size || length > size - offset) {
    emitError(loc) << "expected external data within the " << size
                   << " bytes of '" << location << "', found tensor '"
                   << tensor.name() << "' at offset " << offset
                   << " with length " << length;
    return std::nullopt;
  }
  return Data{{file->getBufferStart() + offset, length}, files[location]};
}

//===----------------------------------------------------------------------===//
// Data
//===----------------------------------------------------------------------===//

/// The elements of a typed field as the bytes of `T`s.
template <typename T, typename Field>
static std::shared_ptr<std::vector<char>> convert(const Field &field) {
  auto bytes = std::make_shared<std::vector<char>>(field.size() * sizeof(T));
  char *to = bytes->data();
  for (auto element : field) {
    T value = static_cast<T>(element);
    std::memcpy(to, &value, sizeof(T));
    to += sizeof(T);
  }
  return bytes;
}

static std::shared_ptr<std::vector<char>>
convertTypedField(const proto::TensorProto &tensor, Type elementType) {
  if (elementType.isF32())
    return convert<float>(tensor.float_data());
  if (elementType.isF64())
    return convert<double>(tensor.double_data());
  if (elementType.isSignlessInteger(64))
    return convert<int64_t>(tensor.int64_data());
  if (elementType.isUnsignedInteger(64))
    return convert<uint64_t>(tensor.uint64_data());
  if (elementType.isUnsignedInteger(32))
    return convert<uint32_t>(tensor.uint64_data());
  switch (elementType.getIntOrFloatBitWidth()) {
  case 32:
    return convert<int32_t>(tensor.int32_data());
  case 16:
    return convert<int16_t>(tensor.int32_data());
  default:
    return convert<int8_t>(tensor.int32_data());
  }
}

TensorReader::Data TensorReader::readData(const proto::TensorProto &tensor,
                                          Type elementType) {
  if (tensor.has_raw_data())
    return {{tensor.raw_data().data(), tensor.raw_data().size()}, model};
  auto bytes = convertTypedField(tensor, elementType);
  return {*bytes, bytes};
}

/// Two elements of four bits in each byte, the first one in the low bits, as
/// one byte each.
static std::shared_ptr<std::vector<char>> unpackNibbles(ArrayRef<char> packed,
                                                        int64_t count) {
  auto bytes = std::make_shared<std::vector<char>>(count);
  for (auto [index, byte] : llvm::enumerate(*bytes))
    byte = (static_cast<uint8_t>(packed[index / 2]) >> (index % 2 * 4)) & 0xF;
  return bytes;
}

static DenseElementsAttr getBoolAttr(RankedTensorType type,
                                     ArrayRef<char> bytes) {
  auto values = llvm::map_to_vector(bytes, [](char byte) { return byte != 0; });
  return DenseElementsAttr::get(type, ArrayRef<bool>(values));
}

ElementsAttr TensorReader::getAttr(StringRef name, RankedTensorType type,
                                   Data data) {
  unsigned bits = type.getElementTypeBitWidth();
  if (bits == 1)
    return getBoolAttr(type, data.bytes);
  if (bits == 4) {
    auto bytes = unpackNibbles(data.bytes, type.getNumElements());
    data = {*bytes, bytes};
  }
  if (data.bytes.size() <= kMaxDenseBytes)
    return DenseElementsAttr::getFromRawBuffer(type, data.bytes);
  size_t alignment = std::max<size_t>(bits / 8, 1);
  if (!llvm::isAddrAligned(llvm::Align(alignment), data.bytes.data())) {
    auto copy = std::make_shared<std::vector<char>>(data.bytes.begin(),
                                                    data.bytes.end());
    data = {*copy, copy};
  }
  AsmResourceBlob blob(
      data.bytes, alignment,
      [owner = data.owner](void *, size_t, size_t) mutable { owner.reset(); },
      /*dataIsMutable=*/false);
  return DenseResourceElementsAttr::get(type, name.empty() ? "constant" : name,
                                        std::move(blob));
}

ElementsAttr TensorReader::read(const proto::TensorProto &tensor,
                                Location loc) {
  RankedTensorType type = readType(tensor, loc);
  if (!type)
    return {};
  Data data;
  if (tensor.data_location() == proto::TensorProto::EXTERNAL) {
    std::optional<Data> external = readExternal(tensor, loc);
    if (!external)
      return {};
    data = *external;
  } else {
    data = readData(tensor, type.getElementType());
  }
  int64_t expected = getStoredBytes(type);
  if (static_cast<int64_t>(data.bytes.size()) != expected) {
    emitError(loc) << "expected " << expected << " bytes of tensor '"
                   << tensor.name() << "' with type " << type << ", found "
                   << data.bytes.size();
    return {};
  }
  return getAttr(tensor.name(), type, data);
}
