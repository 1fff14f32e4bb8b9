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
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace qtx;

namespace {
/// A size of a tensor, traced to where it comes from: a dimension of `source`,
/// the index `source`, or a constant.
struct Size {
  Value source;
  int64_t dimOrValue;

  bool operator==(const Size &other) const {
    return source == other.source && dimOrValue == other.dimOrValue;
  }
  bool isConstant() const { return !source; }
};
} // namespace

static Size traceDim(Value tensor, int64_t dim);

static Size traceIndex(Value index) {
  if (std::optional<int64_t> value = getConstantIntValue(index))
    return {Value(), *value};
  if (auto dim = index.getDefiningOp<tensor::DimOp>())
    if (std::optional<int64_t> constant = dim.getConstantIndex())
      return traceDim(dim.getSource(), *constant);
  return {index, 0};
}

static Size traceDim(Value tensor, int64_t dim) {
  auto type = dyn_cast<RankedTensorType>(tensor.getType());
  if (type && !type.isDynamicDim(dim))
    return {Value(), type.getDimSize(dim)};
  if (!tensor.getDefiningOp())
    return {tensor, dim};
  return llvm::TypeSwitch<Operation *, Size>(tensor.getDefiningOp())
      .Case([&](linalg::LinalgOp op) {
        return traceDim(op.getTiedOpOperand(cast<OpResult>(tensor))->get(),
                        dim);
      })
      .Case([&](tensor::EmptyOp op) {
        return traceIndex(op.getDynamicSize(dim));
      })
      .Case([&](tensor::CastOp op) { return traceDim(op.getSource(), dim); })
      .Default([&](Operation *) { return Size{tensor, dim}; });
}

static Value materialize(ImplicitLocOpBuilder &builder, const Size &size) {
  if (size.isConstant())
    return arith::ConstantIndexOp::create(builder, size.dimOrValue);
  if (size.source.getType().isIndex())
    return size.source;
  return tensor::DimOp::create(builder, size.source, size.dimOrValue);
}

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
        ->loadDialect<arith::ArithDialect, LLVM::LLVMDialect, scf::SCFDialect,
                      tensor::TensorDialect>();
  }

  std::vector<Check> run() {
    module.walk([&](linalg::LinalgOp op) {
      if (op.hasPureTensorSemantics())
        checkLoops(op);
    });
    module.walk([&](cf::AssertOp op) { replaceAssertion(op); });
    return std::move(checks);
  }

private:
  /// Compares the sizes that operands give to one loop with the first of them.
  void checkLoops(linalg::LinalgOp op) {
    SmallVector<std::optional<Size>> loops(op.getNumLoops());
    for (OpOperand &operand : op->getOpOperands()) {
      AffineMap map = op.getMatchingIndexingMap(&operand);
      for (auto [dim, expr] : llvm::enumerate(map.getResults())) {
        auto loop = dyn_cast<AffineDimExpr>(expr);
        if (!loop)
          continue;
        Size size = traceDim(operand.get(), dim);
        std::optional<Size> &known = loops[loop.getPosition()];
        if (!known)
          known = size;
        else if (!(*known == size))
          checkEqual(op, *known, size);
      }
    }
  }

  void checkEqual(Operation *op, const Size &first, const Size &second) {
    ImplicitLocOpBuilder builder(op->getLoc(), op);
    Value a = materialize(builder, first), b = materialize(builder, second);
    Value differ =
        arith::CmpIOp::create(builder, arith::CmpIPredicate::ne, a, b);
    report(builder, differ, {describe(op->getLoc()), ""}, a, b);
  }

  void replaceAssertion(cf::AssertOp op) {
    ImplicitLocOpBuilder builder(op->getLoc(), op);
    Value yes = arith::ConstantIntOp::create(builder, 1, 1);
    Value fails = arith::XOrIOp::create(builder, op.getArg(), yes);
    Value none = arith::ConstantIndexOp::create(builder, 0);
    report(builder, fails, {describe(op->getLoc()), op.getMsg().str()}, none,
           none);
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
