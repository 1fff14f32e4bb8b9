//===- Unsupported.h - Operators that are refused ---------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_DIALECT_ONNX_IR_UNSUPPORTED_H
#define QTX_DIALECT_ONNX_IR_UNSUPPORTED_H

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/MapVector.h"
#include <map>
#include <string>

namespace qtx::onnx {

/// The operators of a model that cannot be compiled, for one error.
class UnsupportedOperators {
public:
  /// Adds a node. `reason` is empty where the operator is not known at all.
  void add(llvm::StringRef op, llvm::StringRef domain, llvm::StringRef reason,
           llvm::StringRef node);
  bool empty() const { return nodes.empty(); }
  /// An error with a line for each operator and reason, which names all nodes.
  mlir::InFlightDiagnostic report(mlir::Location loc) const;

private:
  llvm::MapVector<std::string, llvm::SmallVector<std::string>,
                  std::map<std::string, unsigned>>
      nodes;
};

} // namespace qtx::onnx

#endif // QTX_DIALECT_ONNX_IR_UNSUPPORTED_H
