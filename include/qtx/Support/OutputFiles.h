//===- OutputFiles.h - Files that appear together ---------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_OUTPUTFILES_H
#define QTX_SUPPORT_OUTPUTFILES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <string>
#include <vector>

namespace qtx {

/// Checks, before there is anything to write, that each of `outputs` can be
/// written, and that it is neither another of them nor one of `inputs`. `-` is
/// the standard output.
llvm::Error checkOutputPaths(llvm::ArrayRef<std::string> outputs,
                             llvm::ArrayRef<std::string> inputs = {});

/// What one job writes: files get their names in `keep`, all of them or none.
class OutputFiles {
public:
  OutputFiles() = default;
  OutputFiles(const OutputFiles &) = delete;
  OutputFiles &operator=(const OutputFiles &) = delete;
  /// Removes what was not kept.
  ~OutputFiles();

  /// Adds a file with what `write` writes. The standard output, a device or a
  /// pipe is written at once.
  llvm::Error
  write(llvm::StringRef path,
        llvm::function_ref<llvm::Error(llvm::raw_fd_ostream &)> write);
  llvm::Error write(llvm::StringRef path, llvm::StringRef content);

  /// Adds a file that someone else writes, to the path that this returns.
  llvm::Expected<std::string> add(llvm::StringRef path);

  llvm::Error keep();

private:
  struct File {
    std::string path;
    llvm::sys::fs::TempFile temporary;
  };

  llvm::Error addTemporary(llvm::StringRef path);

  std::vector<File> files;
};

} // namespace qtx

#endif // QTX_SUPPORT_OUTPUTFILES_H
