//===- Threads.cpp - Work in parts for threads ----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Kernel/Threads.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace qtx;

/// Threads start and meet within about a microsecond, in which one of them
/// handles some thousand elements.
static constexpr int64_t kMinElements = int64_t(1) << 14;

/// OpenMP's function that says how many threads the caller allows.
static constexpr StringLiteral kMaxThreadsFunction = "omp_get_max_threads";

int64_t qtx::getMaxThreads(Operation *op) {
  for (; op; op = op->getParentOp())
    if (auto threads = op->getAttrOfType<IntegerAttr>(kThreadsAttrName))
      return threads.getType().isSignlessInteger(64)
                 ? std::max<int64_t>(threads.getInt(), 1)
                 : 1;
  return 1;
}

DictionaryAttr Partition::getAttr(MLIRContext *context) const {
  if (threads == 1)
    return {};
  Builder b(context);
  SmallVector<NamedAttribute> attrs = {
      b.getNamedAttr("threads", b.getI64IntegerAttr(threads))};
  if (rowSplit != 0)
    attrs.push_back(b.getNamedAttr("row_split", b.getI64IntegerAttr(rowSplit)));
  return b.getDictionaryAttr(attrs);
}

Partition Partition::get(Attribute attr) {
  Partition partition;
  auto attrs = dyn_cast_or_null<DictionaryAttr>(attr);
  if (!attrs)
    return partition;
  if (auto threads = attrs.getAs<IntegerAttr>("threads"))
    partition.threads = threads.getInt();
  if (auto rowSplit = attrs.getAs<IntegerAttr>("row_split"))
    partition.rowSplit = rowSplit.getInt();
  return partition;
}

PartRange qtx::getRange(ImplicitLocOpBuilder &b, Part part, Value count,
                        int64_t unit) {
  if (!part)
    return {arith::ConstantIndexOp::create(b, 0), count};
  Value size = arith::ConstantIndexOp::create(b, unit);
  Value units =
      unit == 1 ? count : Value(arith::CeilDivUIOp::create(b, count, size));
  auto getBegin = [&](Value number) -> Value {
    Value product = arith::MulIOp::create(b, units, number);
    Value begin = arith::DivUIOp::create(b, product, part.count);
    if (unit == 1)
      return begin;
    return arith::MinUIOp::create(b, arith::MulIOp::create(b, begin, size),
                                  count);
  };
  Value next = arith::AddIOp::create(b, part.number,
                                     arith::ConstantIndexOp::create(b, 1));
  return {getBegin(part.number), getBegin(next)};
}

static func::FuncOp getMaxThreadsFunction(ImplicitLocOpBuilder &b) {
  auto module =
      b.getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  if (auto known = module.lookupSymbol<func::FuncOp>(kMaxThreadsFunction))
    return known;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(module.getBody());
  auto function = func::FuncOp::create(
      b, kMaxThreadsFunction, b.getFunctionType({}, b.getIntegerType(32)));
  function.setPrivate();
  return function;
}

/// The number of parts of work on `elements`.
static Value countParts(ImplicitLocOpBuilder &b, int64_t maxThreads,
                        Value elements) {
  auto call = func::CallOp::create(b, getMaxThreadsFunction(b), ValueRange());
  Value allowed =
      arith::IndexCastOp::create(b, b.getIndexType(), call.getResult(0));
  Value parts = arith::MinUIOp::create(
      b, allowed, arith::ConstantIndexOp::create(b, maxThreads));
  Value isLittle =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ult, elements,
                            arith::ConstantIndexOp::create(b, kMinElements));
  return arith::SelectOp::create(b, isLittle,
                                 arith::ConstantIndexOp::create(b, 1), parts);
}

bool qtx::isMaxThreadsCall(func::CallOp call) {
  return call.getCallee() == kMaxThreadsFunction;
}

scf::ParallelOp qtx::forEachPart(ImplicitLocOpBuilder &b, int64_t maxThreads,
                                 Value elements,
                                 function_ref<void(Part)> body) {
  Value parts = countParts(b, maxThreads, elements);
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value one = arith::ConstantIndexOp::create(b, 1);
  auto loop = scf::ParallelOp::create(b, zero, parts, one);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body({loop.getInductionVars().front(), parts});
  return loop;
}

Value qtx::countElements(ImplicitLocOpBuilder &b, Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  int64_t fixed = 1;
  Value product;
  for (auto [dim, size] : llvm::enumerate(type.getShape())) {
    if (!ShapedType::isDynamic(size)) {
      fixed *= size;
      continue;
    }
    Value dynamic = memref::DimOp::create(b, memref, dim);
    product = product ? arith::MulIOp::create(b, product, dynamic) : dynamic;
  }
  Value rest = arith::ConstantIndexOp::create(b, fixed);
  return product ? arith::MulIOp::create(b, product, rest) : rest;
}
