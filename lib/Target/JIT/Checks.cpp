//===- Checks.cpp - Checks at run time ------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Checks.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"

using namespace mlir;
using namespace qtx;

static std::string describe(Location location) {
  auto place = location->findInstanceOf<FileLineColLoc>();
  if (!place)
    return "";
  return (place.getFilename().getValue() + ":" + Twine(place.getLine()) + ":" +
          Twine(place.getColumn()) + ": ")
      .str();
}

namespace {
class CheckInserter {
public:
  explicit CheckInserter(ModuleOp module) : module(module) {
    module.getContext()
        ->loadDialect<arith::ArithDialect, LLVM::LLVMDialect,
                      scf::SCFDialect>();
  }

  std::vector<Check> run() {
    module.walk([&](cf::AssertOp op) { replaceAssertion(op); });
    return std::move(checks);
  }

private:
  void replaceAssertion(cf::AssertOp op) {
    ImplicitLocOpBuilder builder(op->getLoc(), op);
    Value yes = arith::ConstantIntOp::create(builder, 1, 1);
    Value fails = arith::XOrIOp::create(builder, op.getArg(), yes);
    auto comparison = op->hasAttr(kSizesAgreeAttr)
                          ? op.getArg().getDefiningOp<arith::CmpIOp>()
                          : arith::CmpIOp();
    if (comparison) {
      report(builder, fails, {describe(op->getLoc()), ""}, comparison.getLhs(),
             comparison.getRhs());
    } else {
      Value none = arith::ConstantIndexOp::create(builder, 0);
      report(builder, fails, {describe(op->getLoc()), op.getMsg().str()}, none,
             none);
    }
    op.erase();
  }

  /// Reports `check` where `condition` holds.
  void report(ImplicitLocOpBuilder &builder, Value condition, Check check,
              Value first, Value second) {
    OpBuilder::InsertionGuard guard(builder);
    auto branch = scf::IfOp::create(builder, condition);
    builder.setInsertionPointToStart(&branch.getThenRegion().front());
    Type word = builder.getI64Type();
    Value number = arith::ConstantIntOp::create(builder, checks.size(), 64);
    first = arith::IndexCastOp::create(builder, word, first);
    second = arith::IndexCastOp::create(builder, word, second);
    LLVM::CallOp::create(builder, getReporter(),
                         ValueRange{number, first, second});
    checks.push_back(std::move(check));
  }

  LLVM::LLVMFuncOp getReporter() {
    if (reporter)
      return reporter;
    ImplicitLocOpBuilder builder(module.getLoc(), module.getContext());
    builder.setInsertionPointToStart(module.getBody());
    Type word = builder.getI64Type();
    auto type = LLVM::LLVMFunctionType::get(
        LLVM::LLVMVoidType::get(module.getContext()), {word, word, word});
    reporter = LLVM::LLVMFuncOp::create(builder, kReportCheckName, type);
    return reporter;
  }

  ModuleOp module;
  LLVM::LLVMFuncOp reporter;
  std::vector<Check> checks;
};
} // namespace

std::vector<Check> qtx::insertChecks(ModuleOp module) {
  return CheckInserter(module).run();
}
