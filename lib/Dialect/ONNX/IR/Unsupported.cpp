//===- Unsupported.cpp - Operators that are refused -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Dialect/ONNX/IR/Unsupported.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace qtx::onnx;

void UnsupportedOperators::add(StringRef op, StringRef domain, StringRef reason,
                               StringRef node) {
  std::string key = (domain + (domain.empty() ? "" : "::") + op).str();
  if (!reason.empty())
    key += (": " + reason).str();
  nodes[key].push_back(node.str());
}

InFlightDiagnostic UnsupportedOperators::report(Location loc) const {
  InFlightDiagnostic diagnostic = emitError(loc) << "unsupported operators:";
  for (const auto &[key, names] : nodes)
    diagnostic << "\n  " << key << " (" << llvm::join(names, ", ") << ")";
  return diagnostic;
}
