//===- TuningFile.h - What tuning has found ---------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_PIPELINES_TUNINGFILE_H
#define QTX_LIB_PIPELINES_TUNINGFILE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <map>
#include <optional>
#include <string>

namespace qtx {

/// What was found for one contraction.
struct TunedEntry {
  std::string kernel;
  int64_t rows = 0, vectors = 0, block = 0, panels = 0;
  /// 0 for one thread.
  int64_t rowSplit = 0;
  /// The time of the configuration, and of the cost model's choice.
  double microseconds = 0, modelMicroseconds = 0;
};

/// Entries by machine and target, and contraction.
class TuningFile {
public:
  /// Reads the file; there are no entries if it does not exist.
  static llvm::Expected<TuningFile> read(llvm::StringRef path);

  const TunedEntry *lookup(llvm::StringRef target,
                           llvm::StringRef contraction) const;
  void add(llvm::StringRef target, llvm::StringRef contraction,
           TunedEntry entry);

  bool isEmpty() const { return targets.empty(); }

  /// Adds these entries to those that the file at `path` has by now, and
  /// replaces it.
  llvm::Error mergeInto(llvm::StringRef path) const;

private:
  std::map<std::string, std::map<std::string, TunedEntry>> targets;
};

} // namespace qtx

#endif // QTX_LIB_PIPELINES_TUNINGFILE_H
