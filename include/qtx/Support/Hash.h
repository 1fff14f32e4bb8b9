//===- Hash.h - Hash of the content of a file -------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_HASH_H
#define QTX_SUPPORT_HASH_H

#include "llvm/ADT/StringRef.h"
#include <string>

namespace qtx {

/// 128 bits by XXH3, as 32 hexadecimal digits.
std::string hashContent(llvm::StringRef content);

} // namespace qtx

#endif // QTX_SUPPORT_HASH_H
