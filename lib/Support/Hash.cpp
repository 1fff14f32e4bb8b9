//===- Hash.cpp - Hash of the content of a file ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/Hash.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/xxhash.h"

std::string qtx::hashContent(llvm::StringRef content) {
  llvm::XXH128_hash_t hash =
      llvm::xxh3_128bits(llvm::arrayRefFromStringRef(content));
  auto write = [](uint64_t bits) {
    return llvm::utohexstr(bits, /*LowerCase=*/true, /*Width=*/16);
  };
  return write(hash.high64) + write(hash.low64);
}
