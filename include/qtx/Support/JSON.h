//===- JSON.h - JSON that others wrote --------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_JSON_H
#define QTX_SUPPORT_JSON_H

#include "llvm/Support/JSON.h"

namespace qtx {

/// Parses text that may hold anything. An error is `LINE:COLUMN: text`.
llvm::Expected<llvm::json::Value> parseJSON(llvm::StringRef text);

} // namespace qtx

#endif // QTX_SUPPORT_JSON_H
