//===- Support.h - What the C interface is made of --------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_CAPI_SUPPORT_H
#define QTX_LIB_CAPI_SUPPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OwningOpRef.h"
#include "qtx-c/Qtx.h"
#include "qtx/Target/JIT.h"
#include "llvm/Support/Error.h"

struct QtxModule {
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

namespace qtx {

/// Forwards text to a handler that may be null.
class Reporter {
public:
  explicit Reporter(const QtxDiagnosticHandler *handler) : handler(handler) {}

  void report(QtxSeverity severity, const std::string &text) const;
  void report(mlir::Diagnostic &diagnostic) const;

  QtxStatus fail(QtxStatus status, const std::string &text) const {
    report(QTX_SEVERITY_ERROR, text);
    return status;
  }
  QtxStatus fail(QtxStatus status, llvm::Error error) const {
    return fail(status, llvm::toString(std::move(error)));
  }
  QtxStatus failOnNull() const {
    return fail(QTX_STATUS_INVALID_ARGUMENT, "null pointer");
  }

private:
  const QtxDiagnosticHandler *handler;
};

/// Forwards the diagnostics of a context while it lives.
class ScopedReporter : public Reporter {
public:
  ScopedReporter(mlir::MLIRContext *context,
                 const QtxDiagnosticHandler *handler)
      : Reporter(handler), scope(context, [this](mlir::Diagnostic &diagnostic) {
          report(diagnostic);
        }) {}

private:
  mlir::ScopedDiagnosticHandler scope;
};

/// The elements of a caller, if what describes them makes sense; else the
/// status, after a report.
QtxStatus readBuffer(const QtxBuffer &buffer, const Reporter &reporter,
                     BufferView &view);

/// A module without IR.
std::unique_ptr<QtxModule> createModule();

} // namespace qtx

#endif // QTX_LIB_CAPI_SUPPORT_H
