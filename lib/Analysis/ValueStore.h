//===- ValueStore.h - Values between segments -------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What segments keep of each feed for those behind them: in memory up to a
// bound, beyond it in a temporary file.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_ANALYSIS_VALUESTORE_H
#define QTX_LIB_ANALYSIS_VALUESTORE_H

#include "qtx/Target/JIT.h"
#include "llvm/Support/Error.h"
#include <map>
#include <memory>
#include <vector>

namespace qtx {

class ValueStore {
public:
  /// Keeps `maxBytes` in memory.
  explicit ValueStore(size_t maxBytes) : maxBytes(maxBytes) {}
  ~ValueStore();
  ValueStore(const ValueStore &) = delete;
  ValueStore &operator=(const ValueStore &) = delete;

  /// Keeps what the value `number` holds in `feed`.
  llvm::Error put(size_t number, size_t feed, Buffer value);

  /// What was kept. Elements that lie in the file are read into `copy`. May be
  /// called concurrently.
  llvm::Expected<BufferView> get(size_t number, size_t feed,
                                 std::unique_ptr<char[]> &copy) const;

  void drop(size_t number, size_t feed);

  /// Values that are kept, and the most that were at a time.
  size_t getNumValues() const { return values.size(); }
  size_t getMostValues() const { return mostValues; }
  /// Bytes in memory, and the size of the file.
  size_t getNumBytes() const { return numBytes; }
  size_t getFileSize() const { return fileSize; }

private:
  struct Entry {
    /// Without data if the elements lie in the file.
    Buffer value;
    size_t size;
    size_t offset;
  };

  llvm::Error write(Entry &entry);

  size_t maxBytes;
  std::map<std::pair<size_t, size_t>, Entry> values;
  size_t numBytes = 0, mostValues = 0;
  /// -1 until something is written.
  int file = -1;
  size_t fileSize = 0;
  /// Places in the file that are free, by their size: the next segment keeps
  /// values of the same sizes.
  std::multimap<size_t, size_t> freePlaces;
};

} // namespace qtx

#endif // QTX_LIB_ANALYSIS_VALUESTORE_H
