//===- Remarks.cpp - What passes did, for users ---------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/Remarks.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Remarks.h"
#include <mutex>

using namespace mlir;
using namespace qtx;

static StringRef getKind(const remark::detail::Remark &remark) {
  switch (remark.getRemarkType()) {
  case llvm::remarks::Type::Passed:
    return "passed";
  case llvm::remarks::Type::Missed:
    return "missed";
  case llvm::remarks::Type::Failure:
    return "failed";
  default:
    return "analysis";
  }
}

/// What the remark says, then its numbers.
static std::string getText(const remark::detail::Remark &remark) {
  std::string text, metrics;
  for (const auto &arg : remark.getArgs()) {
    bool isText =
        arg.key == "Remark" || arg.key == "Reason" || arg.key == "Suggestion";
    std::string &target = isText ? text : metrics;
    if (!target.empty())
      target += isText ? "; " : ", ";
    target += isText ? arg.val : arg.key + "=" + arg.val;
  }
  return metrics.empty() ? text : text + " (" + metrics + ")";
}

class RemarkListener::Streamer : public remark::detail::MLIRRemarkStreamerBase {
public:
  explicit Streamer(Callback callback) : callback(std::move(callback)) {}

  void listenTo(StringRef pass) {
    std::lock_guard<std::mutex> lock(mutex);
    only = pass.str();
  }

  void streamOptimizationRemark(const remark::detail::Remark &remark) override {
    std::lock_guard<std::mutex> lock(mutex);
    std::string pass = remark.getCombinedCategoryName().str();
    if (only.empty() || only == pass)
      callback({getKind(remark), pass, remark.getRemarkName().str(),
                remark.getLocation(), getText(remark)});
  }

private:
  Callback callback;
  std::string only;
  /// Passes on functions run on several threads.
  std::mutex mutex;
};

RemarkListener::RemarkListener(MLIRContext *context, Callback callback)
    : context(context) {
  if (context->getRemarkEngine())
    return;
  auto created = std::make_unique<Streamer>(std::move(callback));
  streamer = created.get();
  // `all` would only add to the others.
  remark::RemarkCategories everything;
  everything.passed = everything.missed = ".*";
  everything.failed = everything.analysis = ".*";
  // Fails only where there is an engine.
  (void)remark::enableOptimizationRemarks(
      *context, std::move(created),
      std::make_unique<remark::RemarkEmittingPolicyAll>(), everything);
}

RemarkListener::~RemarkListener() {
  if (streamer)
    context->setRemarkEngine(nullptr);
}

void RemarkListener::listenTo(StringRef pass) {
  if (streamer)
    streamer->listenTo(pass);
}
