//===- Entry.h - Functions in entry form ------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The entry form, in which a model becomes an object: buffers of the caller and
// dims as arguments, a status as first result. `qtx-make-entry` describes it.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_TARGET_OBJECT_ENTRY_H
#define QTX_LIB_TARGET_OBJECT_ENTRY_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"

namespace qtx {

/// What an argument of a function in entry form is.
inline constexpr llvm::StringLiteral kRoleAttr = "qtx.role";
inline constexpr llvm::StringLiteral kInputRole = "input";
inline constexpr llvm::StringLiteral kOutputRole = "output";
inline constexpr llvm::StringLiteral kDimRole = "dim";
inline constexpr llvm::StringLiteral kWorkspaceRole = "workspace";

/// The name of a dim, on the argument that holds it.
inline constexpr llvm::StringLiteral kDimAttr = "qtx.dim";
/// The element type that callers see, on inputs and outputs.
inline constexpr llvm::StringLiteral kElementAttr = "qtx.element";
/// The number that a failed assertion returns.
inline constexpr llvm::StringLiteral kStatusAttr = "qtx.status";

/// The names of the entry, and of the function of the dims that says what
/// callers ask before a call.
inline constexpr llvm::StringLiteral kEntryFunction = "qtx_entry";
inline constexpr llvm::StringLiteral kSizesFunction = "qtx_sizes";

/// The name that a symbol of the version has in an object with several.
std::string getVersionSymbol(llvm::StringRef name, size_t version);

/// Buffers begin at multiples of this many bytes.
inline constexpr int64_t kBufferAlignment = 64;

/// The function of `module` in entry form; null if there is none.
mlir::func::FuncOp findEntry(mlir::ModuleOp module);

/// The arguments of `function` that have `role`, in order.
llvm::SmallVector<mlir::BlockArgument> getArguments(mlir::func::FuncOp function,
                                                    llvm::StringRef role);

/// The names of the sizes of a value from its `qtx.dims`; empty strings without
/// the attribute.
llvm::SmallVector<llvm::StringRef> getDimNames(mlir::Attribute dims,
                                               int64_t rank);

/// A size of what several dimensions were made is the product of theirs.
void expandCollapsedSizes(mlir::func::FuncOp entry);

/// Computes sizes, which are expressions of the dims, at another place.
class SizeCloner {
public:
  /// `dims` stand for the arguments of `entry` that are dims.
  SizeCloner(mlir::func::FuncOp entry, mlir::ValueRange dims);

  /// Whether `value` is computed from the dims and constants alone.
  bool canClone(mlir::Value value);

  /// `value`, computed where `builder` stands.
  mlir::Value clone(mlir::OpBuilder &builder, mlir::Value value);

private:
  /// The value that `value` equals by construction: a size of a caller's buffer
  /// is a dim, or was returned.
  mlir::Value resolve(mlir::Value value);

  mlir::func::FuncOp entry;
  mlir::IRMapping mapping;
  llvm::DenseMap<mlir::Value, bool> known;
};

} // namespace qtx

#endif // QTX_LIB_TARGET_OBJECT_ENTRY_H
