//===- JIT.h - Compile and call functions in this process -------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Runs IR by the reference lowering, what tests compare compiled objects with,
// or by the fast one.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_JIT_H
#define QTX_TARGET_JIT_H

#include "mlir/IR/BuiltinOps.h"
#include "qtx/Target/Signature.h"
#include <memory>

namespace mlir {
class ExecutionEngine;
} // namespace mlir

namespace qtx {

struct Check;

/// Elements of a caller, dense in row-major order. They are only read.
struct BufferView {
  const void *data;
  llvm::ArrayRef<int64_t> shape;
  ElementKind element;
};

/// Elements that a call returned, dense in row-major order.
struct Buffer {
  std::unique_ptr<char[]> data;
  std::vector<int64_t> shape;
  ElementKind element;
};

struct JITOptions {
  /// LLVM's optimization level, 0 to 3. At 1 functions are only simplified.
  unsigned optLevel = 2;
  /// Uses the micro-kernels that this machine, or the target that the module
  /// names, has some for. Bounded results then
  /// differ from those of the reference path, see Numerics.md.
  bool fast = false;
};

/// A module compiled for the machine that this process runs on. Calls may run
/// concurrently. Fast code runs on as many threads as the attribute
/// `qtx.threads` of the module says.
class JITModule {
public:
  /// Lowers a copy of `module` and compiles it.
  /// Errors in the IR are reported as diagnostics; the error then only says
  /// which step failed.
  static llvm::Expected<std::unique_ptr<JITModule>>
  create(mlir::ModuleOp module, const JITOptions &options = {});
  ~JITModule();

  /// Names of the functions that can be called: the public ones with a body, in
  /// the order of the module.
  std::vector<llvm::StringRef> getFunctionNames() const;

  /// The signature of a function; fails if it cannot be called.
  llvm::Expected<const FunctionSignature &>
  getSignature(llvm::StringRef name) const;

  /// Calls the function `name`. Inputs must match its signature in number,
  /// rank, static sizes and element types. Fails where dynamic
  /// sizes differ that an operation needs to be equal.
  llvm::Expected<std::vector<Buffer>>
  invoke(llvm::StringRef name, llvm::ArrayRef<BufferView> inputs) const;

private:
  struct Function;
  JITModule();
  llvm::Error addFunction(mlir::func::FuncOp function);
  llvm::Error compile(mlir::ModuleOp module, const JITOptions &options);
  llvm::Expected<const Function &> find(llvm::StringRef name) const;

  std::vector<Function> functions;
  std::vector<Check> checks;
  std::unique_ptr<mlir::ExecutionEngine> engine;
};

/// Adds what JITModule needs to translate to LLVM IR.
void registerJITTranslations(mlir::DialectRegistry &registry);

/// Loads whatever JITModule may need, so that modules of `context` can be
/// compiled by several threads at the same time: dialects must not be loaded
/// while other threads work.
void loadDialectsForJIT(mlir::MLIRContext &context);

} // namespace qtx

#endif // QTX_TARGET_JIT_H
