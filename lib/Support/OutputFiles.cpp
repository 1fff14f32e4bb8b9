//===- OutputFiles.cpp - Files that appear together -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/OutputFiles.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Path.h"

using namespace qtx;
using llvm::Error;
using llvm::StringRef;
namespace fs = llvm::sys::fs;

static Error makeError(StringRef path, std::error_code code) {
  return llvm::createStringError(code, path + ": " + code.message());
}

//===----------------------------------------------------------------------===//
// Paths
//===----------------------------------------------------------------------===//

/// Whether `path` is written where it is: the standard output, a device or a
/// pipe.
static bool isStream(StringRef path) {
  return path == "-" || (fs::exists(path) && !fs::is_regular_file(path) &&
                         !fs::is_directory(path));
}

static StringRef getFolder(StringRef path) {
  StringRef folder = llvm::sys::path::parent_path(path);
  return folder.empty() ? "." : folder;
}

/// One spelling for all of a file that may not exist yet.
static std::string normalize(StringRef path) {
  llvm::SmallString<128> normal;
  if (fs::real_path(getFolder(path), normal))
    return path.str();
  llvm::sys::path::append(normal, llvm::sys::path::filename(path));
  return normal.str().str();
}

static Error checkOutputPath(StringRef path) {
  if (isStream(path))
    return Error::success();
  if (fs::is_directory(path))
    return makeError(path, std::make_error_code(std::errc::is_a_directory));
  if (std::error_code code = fs::access(getFolder(path), fs::AccessMode::Write))
    return makeError(path, code);
  return Error::success();
}

Error qtx::checkOutputPaths(llvm::ArrayRef<std::string> outputs,
                            llvm::ArrayRef<std::string> inputs) {
  llvm::StringSet<> read, written;
  for (StringRef input : inputs)
    read.insert(normalize(input));
  for (StringRef output : outputs) {
    if (Error error = checkOutputPath(output))
      return error;
    if (isStream(output))
      continue;
    std::string normal = normalize(output);
    if (read.contains(normal))
      return llvm::createStringError(
          "expected other files to write than to read, found '" + output + "'");
    if (!written.insert(normal).second)
      return llvm::createStringError(
          "expected distinct files to write, found '" + output + "' twice");
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

OutputFiles::~OutputFiles() {
  for (File &file : files)
    llvm::consumeError(file.temporary.discard());
}

Error OutputFiles::addTemporary(StringRef path) {
  if (Error error = checkOutputPath(path))
    return error;
  auto temporary = fs::TempFile::create(path + "-%%%%%%.tmp");
  if (!temporary)
    return llvm::createStringError(path + ": " +
                                   llvm::toString(temporary.takeError()));
  files.push_back({path.str(), std::move(*temporary)});
  return Error::success();
}

/// Calls `write`, and fails also if the operating system refused some of it.
static Error finish(llvm::raw_fd_ostream &stream, StringRef path,
                    llvm::function_ref<Error(llvm::raw_fd_ostream &)> write) {
  Error error = write(stream);
  stream.flush();
  std::error_code code = stream.error();
  stream.clear_error();
  return error || !code ? std::move(error) : makeError(path, code);
}

Error OutputFiles::write(
    StringRef path, llvm::function_ref<Error(llvm::raw_fd_ostream &)> write) {
  if (path == "-")
    return finish(llvm::outs(), path, write);
  if (isStream(path)) {
    std::error_code code;
    llvm::raw_fd_ostream stream(path, code);
    return code ? makeError(path, code) : finish(stream, path, write);
  }
  if (Error error = addTemporary(path))
    return error;
  llvm::raw_fd_ostream stream(files.back().temporary.FD, /*shouldClose=*/false);
  return finish(stream, path, write);
}

Error OutputFiles::write(StringRef path, StringRef content) {
  return write(path, [&](llvm::raw_fd_ostream &stream) {
    stream << content;
    return Error::success();
  });
}

llvm::Expected<std::string> OutputFiles::add(StringRef path) {
  if (isStream(path))
    return path.str();
  if (Error error = addTemporary(path))
    return error;
  return files.back().temporary.TmpName;
}

Error OutputFiles::keep() {
  for (size_t i = 0; i < files.size(); ++i) {
    Error error = files[i].temporary.keep(files[i].path);
    if (!error)
      continue;
    for (const File &kept : llvm::ArrayRef(files).take_front(i))
      fs::remove(kept.path);
    return llvm::createStringError(files[i].path + ": " +
                                   llvm::toString(std::move(error)));
  }
  files.clear();
  return Error::success();
}
