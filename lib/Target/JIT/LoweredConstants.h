//===- LoweredConstants.h - Constants that lowering makes -------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_TARGET_JIT_LOWEREDCONSTANTS_H
#define QTX_LIB_TARGET_JIT_LOWEREDCONSTANTS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace qtx {

/// The resources that lowering adds to a copy of a module, as packed weights.
/// Contexts keep resources for as long as they live, but compiled code has its
/// own copies: they are freed with this object.
class LoweredConstants {
public:
  explicit LoweredConstants(mlir::ModuleOp original);
  ~LoweredConstants();

  /// Finds what the last passes added.
  void collect(mlir::ModuleOp lowered);

private:
  /// By the keys of their elements, which constants of several types may share.
  llvm::StringSet<> original;
  llvm::StringMap<mlir::DenseResourceElementsAttr> added;
};

} // namespace qtx

#endif // QTX_LIB_TARGET_JIT_LOWEREDCONSTANTS_H
