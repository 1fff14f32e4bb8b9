//===- Remarks.h - What passes did, for users -------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_SUPPORT_REMARKS_H
#define QTX_SUPPORT_REMARKS_H

#include "mlir/IR/Location.h"
#include <functional>
#include <string>

namespace qtx {

/// The name of remarks that an operation takes the reference lowering.
inline constexpr llvm::StringLiteral kReferenceRemark = "ReferenceLowering";
/// The name of remarks that weights are too large for a faster micro-kernel.
inline constexpr llvm::StringLiteral kLargeWeightsRemark = "LargeWeights";

/// A remark as text.
struct PassRemark {
  /// `passed`, `missed`, `failed` or `analysis`.
  llvm::StringRef kind;
  /// The pass, or the stage that is no pass.
  std::string pass;
  std::string name;
  mlir::Location location;
  std::string text;
};

/// Listens to the remarks of a context while it lives, unless somebody does.
class RemarkListener {
public:
  using Callback = std::function<void(const PassRemark &)>;

  /// Calls of `callback` are one after another, but may be on any thread.
  RemarkListener(mlir::MLIRContext *context, Callback callback);
  ~RemarkListener();

  RemarkListener(const RemarkListener &) = delete;
  RemarkListener &operator=(const RemarkListener &) = delete;

  /// Leaves out remarks of other passes than `pass`; of none if it is empty.
  void listenTo(llvm::StringRef pass);

private:
  class Streamer;

  mlir::MLIRContext *context;
  /// Belongs to the context.
  Streamer *streamer = nullptr;
};

} // namespace qtx

#endif // QTX_SUPPORT_REMARKS_H
