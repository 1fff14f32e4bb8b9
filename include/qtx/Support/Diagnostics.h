//===- Diagnostics.h - Print diagnostics for users --------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_DIAGNOSTICS_H
#define QTX_SUPPORT_DIAGNOSTICS_H

#include "mlir/IR/Diagnostics.h"
#include <string>

namespace qtx {

/// Where `location` is, as users read it: `FILE:LINE:COLUMN`, the name of a
/// file or of a node of a graph, or nothing where it is unknown.
std::string describeLocation(mlir::Location location);

/// Prints the diagnostics of a context to the error stream while it lives:
/// `LOCATION: error: TEXT`, its notes below.
class DiagnosticPrinter {
public:
  explicit DiagnosticPrinter(mlir::MLIRContext *context);

private:
  mlir::ScopedDiagnosticHandler scope;
};

/// Keeps diagnostics as text while it lives. A note follows what it belongs to,
/// on a line of its own; remarks are left out.
class DiagnosticCollector {
public:
  explicit DiagnosticCollector(mlir::MLIRContext *context);

  llvm::ArrayRef<std::string> getErrors() const { return errors; }
  llvm::ArrayRef<std::string> getWarnings() const { return warnings; }

private:
  std::vector<std::string> errors, warnings;
  mlir::ScopedDiagnosticHandler scope;
};

} // namespace qtx

#endif // QTX_SUPPORT_DIAGNOSTICS_H
