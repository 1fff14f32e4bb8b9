//===- ValueStore.cpp - Values between segments ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ValueStore.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <unistd.h>

using namespace qtx;
using llvm::Expected;

static llvm::Error makeFileError(std::error_code code) {
  return llvm::createStringError(
      "cannot keep values of layers in a temporary file: " + code.message());
}

static std::error_code getLastError() {
  return std::error_code(errno, std::generic_category());
}

/// A file that has no name, so that it goes with the process.
static Expected<int> createFile() {
  int file;
  llvm::SmallString<128> path;
  if (std::error_code code =
          llvm::sys::fs::createTemporaryFile("qtx-values", "bin", file, path))
    return makeFileError(code);
  llvm::sys::fs::remove(path);
  return file;
}

ValueStore::~ValueStore() {
  if (file >= 0)
    ::close(file);
}

llvm::Error ValueStore::write(Entry &entry) {
  if (file < 0) {
    auto created = createFile();
    if (!created)
      return created.takeError();
    file = *created;
  }
  auto place = freePlaces.find(entry.size);
  if (place != freePlaces.end()) {
    entry.offset = place->second;
    freePlaces.erase(place);
  } else {
    entry.offset = fileSize;
    fileSize += entry.size;
  }
  const char *data = entry.value.data.get();
  for (size_t done = 0; done < entry.size;) {
    ssize_t count = ::pwrite(file, data + done, entry.size - done,
                             off_t(entry.offset + done));
    if (count < 0 && errno != EINTR)
      return makeFileError(getLastError());
    done += std::max<ssize_t>(count, 0);
  }
  entry.value.data.reset();
  return llvm::Error::success();
}

llvm::Error ValueStore::put(size_t number, size_t feed, Buffer value) {
  size_t size = llvm::cantFail(getNumElements(value.shape, value.element)) *
                getElementSize(value.element);
  Entry entry{std::move(value), size, 0};
  if (numBytes + size > maxBytes) {
    if (llvm::Error error = write(entry))
      return error;
  } else {
    numBytes += size;
  }
  values.emplace(std::pair(number, feed), std::move(entry));
  mostValues = std::max(mostValues, values.size());
  return llvm::Error::success();
}

Expected<BufferView> ValueStore::get(size_t number, size_t feed,
                                     std::unique_ptr<char[]> &copy) const {
  const Entry &entry = values.at({number, feed});
  const Buffer &value = entry.value;
  if (value.data)
    return BufferView{value.data.get(), value.shape, value.element};
  copy.reset(new char[std::max<size_t>(entry.size, 1)]);
  for (size_t done = 0; done < entry.size;) {
    ssize_t count = ::pread(file, copy.get() + done, entry.size - done,
                            off_t(entry.offset + done));
    if (count == 0)
      return makeFileError(std::make_error_code(std::errc::io_error));
    if (count < 0 && errno != EINTR)
      return makeFileError(getLastError());
    done += std::max<ssize_t>(count, 0);
  }
  return BufferView{copy.get(), value.shape, value.element};
}

void ValueStore::drop(size_t number, size_t feed) {
  auto found = values.find({number, feed});
  const Entry &entry = found->second;
  if (entry.value.data)
    numBytes -= entry.size;
  else
    freePlaces.emplace(entry.size, entry.offset);
  values.erase(found);
}
