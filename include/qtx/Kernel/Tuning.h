//===- Tuning.h - Other configurations of a contraction ---------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a search may try instead of the cost model's choice.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_KERNEL_TUNING_H
#define QTX_KERNEL_TUNING_H

#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Kernel/MicroKernel.h"

namespace qtx {

/// The attribute of an operation whose configuration a search has found.
inline constexpr llvm::StringLiteral kTunedAttrName = "qtx.tuned";

/// How a contraction runs.
struct Configuration {
  MicroKernelAttr kernel;
  /// Absent for one thread.
  mlir::DictionaryAttr partition;

  /// That of an operation that `qtx-configure` has seen.
  static Configuration get(LinearOp op);
  void setOn(LinearOp op) const;
};

/// Configurations that are worth timing, a handful. The first is that of `op`;
/// all have its micro-kernel, so its operands stay as they are.
llvm::SmallVector<Configuration> listConfigurations(LinearOp op);

/// Whether code can be made for the tile and block of the attribute.
bool isPossible(MicroKernelAttr config);

/// What decides how long `op` takes, as one line: equal for operations that
/// share a configuration.
std::string describeContraction(LinearOp op);

} // namespace qtx

#endif // QTX_KERNEL_TUNING_H
