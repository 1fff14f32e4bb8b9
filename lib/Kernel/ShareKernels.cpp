//===- ShareKernels.cpp - One function for kernels with other numbers -----===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "qtx/Kernel/Passes.h"
#include "llvm/ADT/MapVector.h"

namespace qtx {
#define GEN_PASS_DEF_QTXSHAREKERNELSPASS
#include "qtx/Kernel/Passes.h.inc"
} // namespace qtx

using namespace mlir;

/// The number of a constant, or the one in all lanes of a vector, that could be
/// an argument as well; null for other operations. Integers that are no vectors
/// are sizes and places, which code is better made for.
static TypedAttr getNumber(Operation *op) {
  auto constant = dyn_cast<arith::ConstantOp>(op);
  if (!constant)
    return {};
  if (auto number = dyn_cast<FloatAttr>(constant.getValue()))
    return number;
  auto splat = dyn_cast<SplatElementsAttr>(constant.getValue());
  if (!splat || !isa<VectorType>(constant.getType()))
    return {};
  return splat.getSplatValue<TypedAttr>();
}

namespace {
/// Compares two functions operation by operation.
class Comparison {
public:
  /// Whether `second` is `first` but for numbers.
  static bool run(func::FuncOp first, func::FuncOp second) {
    return getAttrs(first) == getAttrs(second) &&
           Comparison().areEqual(first.getBody(), second.getBody());
  }

private:
  /// The type and whatever else a function has beside its name.
  static DictionaryAttr getAttrs(func::FuncOp function) {
    NamedAttrList attrs(function->getAttrDictionary());
    attrs.erase(SymbolTable::getSymbolAttrName());
    return attrs.getDictionary(function.getContext());
  }

  /// Regions of one block each, as loops have them.
  bool areEqual(Region &first, Region &second) {
    if (!llvm::hasSingleElement(first) || !llvm::hasSingleElement(second))
      return first.empty() && second.empty();
    Block &a = first.front(), &b = second.front();
    if (a.getArgumentTypes() != b.getArgumentTypes())
      return false;
    values.map(a.getArguments(), b.getArguments());
    auto left = a.begin(), right = b.begin();
    for (; left != a.end() && right != b.end(); ++left, ++right)
      if (!areEqual(*left, *right))
        return false;
    return left == a.end() && right == b.end();
  }

  bool areEqual(Operation &first, Operation &second) {
    if (first.getName() != second.getName() ||
        first.getResultTypes() != second.getResultTypes() ||
        first.getNumOperands() != second.getNumOperands() ||
        first.getNumRegions() != second.getNumRegions() ||
        first.getNumSuccessors() + second.getNumSuccessors() > 0)
      return false;
    for (auto [a, b] :
         llvm::zip_equal(first.getOperands(), second.getOperands()))
      if (values.lookupOrNull(a) != b)
        return false;
    bool areNumbers = getNumber(&first) && getNumber(&second);
    if (!areNumbers && first.getAttrDictionary() != second.getAttrDictionary())
      return false;
    for (auto [a, b] : llvm::zip_equal(first.getRegions(), second.getRegions()))
      if (!areEqual(a, b))
        return false;
    values.map(first.getResults(), second.getResults());
    return true;
  }

  IRMapping values;
};

/// Functions that are equal but for numbers.
using Group = SmallVector<func::FuncOp>;
} // namespace

/// Adds `function` to the group it belongs to, or to a new one.
static void addToGroup(func::FuncOp function, SmallVectorImpl<Group> &groups) {
  auto group = llvm::find_if(groups, [&](const Group &group) {
    return Comparison::run(group.front(), function);
  });
  if (group == groups.end())
    groups.push_back({function});
  else
    group->push_back(function);
}

/// The constants with a number, as many in all functions of a group.
static SmallVector<Operation *> listConstants(func::FuncOp function) {
  SmallVector<Operation *> constants;
  function.walk([&](Operation *op) {
    if (getNumber(op))
      constants.push_back(op);
  });
  return constants;
}

/// Makes arguments of the numbers of the first function that others do not
/// have. Returns those of each function.
static SmallVector<SmallVector<TypedAttr>> addArguments(const Group &group) {
  func::FuncOp function = group.front();
  auto constants = llvm::map_to_vector(group, listConstants);
  SmallVector<SmallVector<TypedAttr>> added(group.size());
  // The same numbers in all functions are one argument.
  DenseMap<Attribute, Value> arguments;
  OpBuilder builder(function.getContext());
  for (auto [place, constant] : llvm::enumerate(constants.front())) {
    auto numbers =
        llvm::map_to_vector(constants, [place = place](const auto &list) {
          return getNumber(list[place]);
        });
    if (llvm::all_equal(numbers))
      continue;
    auto key = builder.getArrayAttr(
        SmallVector<Attribute>(numbers.begin(), numbers.end()));
    Value &argument = arguments[key];
    if (!argument) {
      unsigned index = function.getNumArguments();
      (void)function.insertArgument(index, numbers.front().getType(), {},
                                    constant->getLoc());
      argument = function.getArgument(index);
      for (auto [list, number] : llvm::zip_equal(added, numbers))
        list.push_back(number);
    }
    Value value = argument;
    Type type = constant->getResult(0).getType();
    if (isa<VectorType>(type)) {
      builder.setInsertionPointToStart(&function.getBody().front());
      value = vector::BroadcastOp::create(builder, constant->getLoc(), type,
                                          argument);
    }
    constant->getResult(0).replaceAllUsesWith(value);
    constant->erase();
  }
  return added;
}

/// Calls the first function of the group with what was a number.
static void redirect(func::CallOp call, func::FuncOp function,
                     ArrayRef<TypedAttr> numbers) {
  OpBuilder builder(call);
  call.setCallee(function.getName());
  for (TypedAttr number : numbers)
    call.getOperandsMutable().append(
        arith::ConstantOp::create(builder, call.getLoc(), number).getResult());
}

namespace {
struct QtxShareKernelsPass
    : qtx::impl::QtxShareKernelsPassBase<QtxShareKernelsPass> {
  void runOnOperation() override {
    Calls calls;
    DenseSet<StringAttr> others;
    auto uses = SymbolTable::getSymbolUses(&getOperation().getBodyRegion());
    if (!uses)
      return;
    for (SymbolTable::SymbolUse use : *uses) {
      StringAttr name = use.getSymbolRef().getRootReference();
      if (auto call = dyn_cast<func::CallOp>(use.getUser()))
        calls[name].push_back(call);
      else
        others.insert(name);
    }
    llvm::MapVector<FunctionType, SmallVector<Group>> groups;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function.isPrivate() && !function.isDeclaration() &&
          !others.contains(function.getSymNameAttr()))
        addToGroup(function, groups[function.getFunctionType()]);
    for (auto &[type, ofType] : groups)
      for (const Group &group : ofType)
        if (group.size() > 1)
          share(group, calls);
  }

private:
  using Calls = DenseMap<StringAttr, SmallVector<func::CallOp>>;

  static void share(const Group &group, Calls &calls) {
    func::FuncOp first = group.front();
    SmallVector<SmallVector<TypedAttr>> numbers = addArguments(group);
    for (auto [function, added] : llvm::zip_equal(group, numbers))
      for (func::CallOp call : calls[SymbolTable::getSymbolName(function)])
        redirect(call, first, added);
    remark::passed(
        first.getLoc(),
        remark::RemarkOpts::name("ShareKernels").category("qtx-share-kernels"))
        << remark::add("'{0}' is {1} functions, with {2} numbers as arguments",
                       first.getName(), group.size(), numbers.front().size());
    for (func::FuncOp function : llvm::drop_begin(group))
      function.erase();
  }
};
} // namespace
