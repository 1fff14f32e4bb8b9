//===- Checks.h - Checks at run time ----------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_TARGET_JIT_CHECKS_H
#define QTX_LIB_TARGET_JIT_CHECKS_H

#include "mlir/IR/BuiltinOps.h"
#include <string>
#include <vector>

namespace qtx {

/// The function that a failed check calls, with the number of the check and the
/// two sizes. It does not return.
inline constexpr llvm::StringLiteral kReportCheckName = "qtx.report_check";
using ReportCheckFn = void (*)(int64_t check, int64_t first, int64_t second);

/// What is checked, for messages.
struct Check {
  /// `file:line:column: `, empty if unknown.
  std::string location;
  /// The message of an assertion; empty for a pair of sizes.
  std::string assertion;
};

/// Turns `cf.assert`, which would end the process, into checks.
std::vector<Check> insertChecks(mlir::ModuleOp module);

} // namespace qtx

#endif // QTX_LIB_TARGET_JIT_CHECKS_H
