//===- Npz.cpp - NumPy archives -------------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/Npz.h"
#include "Npy.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <zip.h>

using namespace llvm;
using namespace qtx;

namespace {
struct ArchiveDeleter {
  void operator()(zip_t *archive) const { zip_discard(archive); }
};
using Archive = std::unique_ptr<zip_t, ArchiveDeleter>;

struct FileDeleter {
  void operator()(zip_file_t *file) const { zip_fclose(file); }
};
using File = std::unique_ptr<zip_file_t, FileDeleter>;
} // namespace

static Expected<Archive> openArchive(StringRef path, int flags) {
  // The library's own words are about what it does not support.
  if (sys::fs::is_directory(path))
    return createStringError(
        std::make_error_code(std::errc::is_a_directory).message());
  int code = 0;
  Archive archive(zip_open(path.str().c_str(), flags, &code));
  if (archive)
    return archive;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return createStringError(text);
}

static Error addContext(const Twine &context, Error error) {
  return createStringError(context + ": " + toString(std::move(error)));
}

static Expected<NpyArray> readEntry(zip_t *archive, zip_uint64_t index) {
  zip_stat_t stat;
  if (zip_stat_index(archive, index, 0, &stat) != 0)
    return createStringError(zip_strerror(archive));
  File file(zip_fopen_index(archive, index, 0));
  if (!file)
    return createStringError(zip_strerror(archive));
  auto read = [&](MutableArrayRef<char> bytes) -> Expected<size_t> {
    zip_int64_t count = zip_fread(file.get(), bytes.data(), bytes.size());
    if (count < 0)
      return createStringError(zip_file_strerror(file.get()));
    return count;
  };
  Expected<NpyArray> array = readNpy(read, stat.size);
  if (!array)
    return array;
  // The check sum is compared when the end is reached.
  char extra;
  Expected<size_t> count = read(extra);
  if (!count)
    return count.takeError();
  return array;
}

static Expected<NamedArray> readArray(zip_t *archive, zip_uint64_t index) {
  const char *rawName = zip_get_name(archive, index, 0);
  if (!rawName)
    return createStringError(zip_strerror(archive));
  StringRef name = rawName;
  if (!name.consume_back(".npy"))
    return createStringError("'" + name + "' is not a .npy file");
  Expected<NpyArray> array = readEntry(archive, index);
  if (!array)
    return addContext("'" + name + "'", array.takeError());
  return NamedArray{name.str(), std::move(*array)};
}

Expected<std::vector<NamedArray>> qtx::readNpz(StringRef path) {
  Expected<Archive> archive = openArchive(path, ZIP_RDONLY);
  if (!archive)
    return addContext(path, archive.takeError());
  std::vector<NamedArray> arrays;
  StringSet<> names;
  zip_int64_t count = zip_get_num_entries(archive->get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    Expected<NamedArray> array = readArray(archive->get(), i);
    if (!array)
      return addContext(path, array.takeError());
    if (!names.insert(array->name).second)
      return createStringError(path + ": '" + array->name + "' appears twice");
    arrays.push_back(std::move(*array));
  }
  return arrays;
}

/// Adds one entry. `bytes` must live until the archive is closed.
static Error addEntry(zip_t *archive, const NamedArray &array,
                      const std::string &bytes) {
  zip_source_t *source =
      zip_source_buffer(archive, bytes.data(), bytes.size(), /*freep=*/0);
  if (!source)
    return createStringError(zip_strerror(archive));
  zip_int64_t index = zip_file_add(archive, (array.name + ".npy").c_str(),
                                   source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    zip_source_free(source);
    return createStringError(zip_strerror(archive));
  }
  // The same arrays give the same file: 1980 is where the time of zip begins.
  constexpr time_t kYear1980 = 315532800;
  zip_file_set_mtime(archive, index, kYear1980, 0);
  return Error::success();
}

/// libzip removes an archive that has no entries.
static Error writeEmptyArchive(StringRef path) {
  static constexpr char kEndOfDirectory[22] = {'P', 'K', 5, 6};
  std::error_code code;
  raw_fd_ostream stream(path, code);
  stream.write(kEndOfDirectory, sizeof(kEndOfDirectory));
  stream.close();
  if (!code)
    code = stream.error();
  stream.clear_error();
  return errorCodeToError(code);
}

static Error writeArchive(StringRef path, ArrayRef<NamedArray> arrays) {
  if (arrays.empty())
    return writeEmptyArchive(path);
  Expected<Archive> archive = openArchive(path, ZIP_CREATE | ZIP_TRUNCATE);
  if (!archive)
    return archive.takeError();
  std::vector<std::string> files;
  for (const NamedArray &array : arrays)
    files.push_back(
        createNpyHeader(array.array) +
        std::string(array.array.data.get(), array.array.getNumBytes()));
  for (auto [array, bytes] : zip_equal(arrays, files))
    if (Error error = addEntry(archive->get(), array, bytes))
      return error;
  if (zip_close(archive->get()) != 0)
    return createStringError(zip_strerror(archive->get()));
  archive->release();
  return Error::success();
}

Error qtx::writeNpz(StringRef path, ArrayRef<NamedArray> arrays) {
  SmallString<128> temporary;
  if (std::error_code code =
          sys::fs::createUniqueFile(path + ".%%%%%%.tmp", temporary))
    return createStringError(path + ": " + code.message());
  Error error = writeArchive(temporary, arrays);
  if (!error)
    if (std::error_code code = sys::fs::rename(temporary, path))
      error = createStringError(code.message());
  if (!error)
    return Error::success();
  sys::fs::remove(temporary);
  return addContext(path, std::move(error));
}
