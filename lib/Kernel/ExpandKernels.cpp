//===- ExpandKernels.cpp - Kernels to loops and vectors -------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/SymbolTable.h"
#include "qtx/Kernel/Kernels.h"
#include "qtx/Kernel/Passes.h"
#include "llvm/ADT/StringMap.h"

namespace qtx {
#define GEN_PASS_DEF_QTXEXPANDKERNELSPASS
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

KernelEmitter qtx::lookupKernelEmitter(StringRef op) {
  static const llvm::StringMap<KernelEmitter> emitters = {
      {"qtx.attention", emitAttention},
      {"qtx.linear", emitLinear},
  };
  return emitters.lookup(op);
}

static LogicalResult verifyKernel(KernelOp op) {
  if (!lookupKernelEmitter(op.getOp()))
    return op.emitOpError("expected an operation with a kernel, found '")
           << op.getOp() << "'";
  if (op.getNumResults() > 0 ||
      llvm::any_of(op.getOperandTypes(), llvm::IsaPred<TensorType>))
    return op.emitOpError("expected memrefs; bufferize first");
  return success();
}

/// The most threads that share a kernel.
static int64_t getNumThreads(KernelOp op) {
  return Partition::get(op.getParams().get(kPartitionParam)).threads;
}

/// Elements that a kernel reads and writes, but for scratch memory.
static Value countAllElements(ImplicitLocOpBuilder &builder, KernelOp op) {
  Value sum = countElements(builder, op.getOuts().front());
  for (Value input : op.getInputs())
    if (isa<MemRefType>(input.getType()))
      sum = arith::AddIOp::create(builder, sum, countElements(builder, input));
  return sum;
}

namespace {
/// Replaces kernels by calls of functions, each made once.
class Expander {
public:
  explicit Expander(ModuleOp module) : module(module), symbols(module) {}

  LogicalResult expand(KernelOp op) {
    if (failed(verifyKernel(op)))
      return failure();
    Key key(
        op.getOpAttr(), op.getParams(),
        DenseI32ArrayAttr::get(op.getContext(), {int32_t(op.getInputs().size()),
                                                 int32_t(op.getOuts().size())}),
        FunctionType::get(op.getContext(), op.getOperandTypes(), {}));
    func::FuncOp &function = functions[key];
    if (!function) {
      function = createFunction(op);
      if (!function)
        return failure();
    }
    createCalls(op, function);
    remark::passed(op.getLoc(), remark::RemarkOpts::name("ExpandKernels")
                                    .category("qtx-expand-kernels"))
        << remark::add("'{0}' is a call of '{1}'", op.getOp(),
                       function.getName());
    op.erase();
    return success();
  }

private:
  /// One call, or one for each part.
  void createCalls(KernelOp op, func::FuncOp function) {
    ImplicitLocOpBuilder builder(op.getLoc(), op);
    int64_t threads = getNumThreads(op);
    if (threads == 1) {
      func::CallOp::create(builder, function, op.getOperands());
      return;
    }
    Value elements = countAllElements(builder, op);
    scf::ParallelOp parts =
        forEachPart(builder, threads, elements, [&](Part part) {
          SmallVector<Value> operands(op.getOperands());
          operands.append({part.number, part.count});
          auto call = func::CallOp::create(builder, function, operands);
          call->setAttr(kKernelCallAttrName, builder.getUnitAttr());
        });
    if (Attribute aligned = op->getAttr(kAlignedPartsAttrName))
      parts->setAttr(kAlignedPartsAttrName, aligned);
  }

  /// The function that computes `op`, or with threads a part of it; null after
  /// a diagnostic.
  func::FuncOp createFunction(KernelOp op) {
    std::string name = op.getOp().str();
    std::replace(name.begin(), name.end(), '.', '_');
    bool hasParts = getNumThreads(op) > 1;
    SmallVector<Type> types(op.getOperandTypes());
    if (hasParts)
      types.append(2, IndexType::get(op.getContext()));
    auto type = FunctionType::get(op.getContext(), types, {});
    auto function = func::FuncOp::create(op.getLoc(), name + "_kernel", type);
    function.setPrivate();
    function->setAttr(
        "llvm.linkage",
        LLVM::LinkageAttr::get(op.getContext(), LLVM::Linkage::Internal));
    // Each call site would repeat the code.
    auto noInline = StringAttr::get(op.getContext(), "noinline");
    function->setAttr("passthrough", ArrayAttr::get(op.getContext(), noInline));
    // Only with a frame pointer does LLVM align the vectors that it spills.
    function->setAttr(
        "frame_pointer",
        LLVM::FramePointerKindAttr::get(
            op.getContext(), LLVM::framePointerKind::FramePointerKind::All));
    symbols.insert(function, module.getBody()->end());

    Block *body = function.addEntryBlock();
    OpBuilder builder = OpBuilder::atBlockEnd(body);
    func::ReturnOp::create(builder, op.getLoc());
    builder.setInsertionPointToStart(body);
    auto clone = cast<KernelOp>(builder.clone(*op));
    ValueRange arguments = body->getArguments();
    Part part;
    if (hasParts)
      part = {*std::prev(arguments.end(), 2), arguments.back()};
    clone->setOperands(arguments.take_front(op.getNumOperands()));
    ImplicitLocOpBuilder inner(op.getLoc(), clone);
    if (failed(lookupKernelEmitter(op.getOp())(inner, clone, part)))
      return nullptr;
    clone.erase();
    return function;
  }

  using Key = std::tuple<Attribute, Attribute, Attribute, FunctionType>;
  ModuleOp module;
  SymbolTable symbols;
  DenseMap<Key, func::FuncOp> functions;
};

struct QtxExpandKernelsPass
    : qtx::impl::QtxExpandKernelsPassBase<QtxExpandKernelsPass> {
  void runOnOperation() override {
    SmallVector<KernelOp> kernels;
    getOperation().walk([&](KernelOp op) { kernels.push_back(op); });
    Expander expander(getOperation());
    for (KernelOp op : kernels)
      if (failed(expander.expand(op)))
        return signalPassFailure();
  }
};
} // namespace
