//===- MakeEntry.cpp - The form that becomes an object --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/Passes.h"
#include "qtx/Dialect/Qtx/IR/InputLimits.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "qtx/Dialect/Qtx/IR/QtxOps.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "qtx/Target/Object.h"
#include "qtx/Target/Passes.h"
#include "qtx/Target/Signature.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

namespace qtx {
#define GEN_PASS_DEF_QTXMAKEENTRYPASS
#include "qtx/Target/Passes.h.inc"
} // namespace qtx

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

static FailureOr<func::FuncOp> selectFunction(ModuleOp module, StringRef name) {
  SmallVector<func::FuncOp> functions;
  for (auto function : module.getOps<func::FuncOp>())
    if (function.isPublic() && !function.isDeclaration())
      functions.push_back(function);
  StringRef wanted = name.empty() ? StringRef("main") : name;
  for (func::FuncOp function : functions)
    if (function.getName() == wanted)
      return function;
  if (name.empty() && functions.size() == 1)
    return functions.front();
  if (name.empty())
    return module.emitError("expected a public function 'main' or exactly one, "
                            "found ")
           << functions.size();
  return module.emitError("expected a public function '") << name << "'";
}

/// Only one block can be planned, and only one function becomes an object.
static LogicalResult verifyFunction(func::FuncOp function) {
  if (!function.getBody().hasOneBlock())
    return function.emitError("expected structured control flow, found blocks");
  WalkResult result = function.walk([](func::CallOp call) {
    call.emitError("expected functions that can be inlined, found a call of '")
        << call.getCallee() << "'";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

/// The type of the elements in the buffers of callers.
static Type getCallerType(Type element) {
  MLIRContext *context = element.getContext();
  if (element.isIndex())
    return IntegerType::get(context, 64);
  if (element.isInteger(1) || element.isInteger(4))
    return IntegerType::get(context, 8);
  return element;
}

/// Converts an element between the type of callers and that of the model.
static Value convertElement(OpBuilder &builder, Location loc, Value value,
                            Type to, bool isUnsigned) {
  Type from = value.getType();
  if (from.isIndex() || to.isIndex())
    return arith::IndexCastOp::create(builder, loc, to, value);
  if (to.isInteger(1)) {
    Value zero = arith::ConstantIntOp::create(builder, loc, from, 0);
    return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, value,
                                 zero);
  }
  if (from.getIntOrFloatBitWidth() > to.getIntOrFloatBitWidth())
    return arith::TruncIOp::create(builder, loc, to, value);
  if (from.isInteger(1) || isUnsigned)
    return arith::ExtUIOp::create(builder, loc, to, value);
  return arith::ExtSIOp::create(builder, loc, to, value);
}

static Value convertTensor(ImplicitLocOpBuilder &builder, Value tensor, Type to,
                           bool isUnsigned) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (type.getElementType() == to)
    return tensor;
  Value empty = tensor::EmptyOp::create(
      builder, tensor::getMixedSizes(builder, builder.getLoc(), tensor), to);
  auto map = builder.getMultiDimIdentityMap(type.getRank());
  SmallVector<utils::IteratorType> loops(type.getRank(),
                                         utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      builder, empty.getType(), tensor, empty, ArrayRef<AffineMap>{map, map},
      loops, [&](OpBuilder &b, Location loc, ValueRange elements) {
        linalg::YieldOp::create(
            b, loc, convertElement(b, loc, elements.front(), to, isUnsigned));
      });
  return generic.getResult(0);
}

//===----------------------------------------------------------------------===//
// Checks of ids
//===----------------------------------------------------------------------===//

/// Whether `id` lies in `[-rows, rows - 1]`.
static Value isRow(ImplicitLocOpBuilder &builder, Value id, int64_t rows) {
  Type type = builder.getI64Type();
  if (id.getType() != type)
    id = arith::ExtSIOp::create(builder, type, id);
  Value offset = arith::ConstantIntOp::create(builder, rows, 64);
  Value limit = arith::ConstantIntOp::create(builder, 2 * rows, 64);
  Value shifted = arith::AddIOp::create(builder, id, offset);
  return arith::CmpIOp::create(builder, arith::CmpIPredicate::ult, shifted,
                               limit);
}

/// Asserts that all elements of `ids` name rows.
static void checkIds(ImplicitLocOpBuilder &builder, Value ids, int64_t rows) {
  SmallVector<Value> lower, upper, step;
  Value zero = arith::ConstantIndexOp::create(builder, 0);
  Value one = arith::ConstantIndexOp::create(builder, 1);
  for (int64_t i = 0; i < cast<MemRefType>(ids.getType()).getRank(); ++i) {
    lower.push_back(zero);
    upper.push_back(memref::DimOp::create(builder, ids, i));
    step.push_back(one);
  }
  Value yes = arith::ConstantIntOp::create(builder, 1, 1);
  scf::LoopNest loops = scf::buildLoopNest(
      builder, builder.getLoc(), lower, upper, step, yes,
      [&](OpBuilder &b, Location loc, ValueRange indices, ValueRange carried) {
        ImplicitLocOpBuilder inner(loc, b);
        Value id = memref::LoadOp::create(inner, ids, indices);
        Value valid = isRow(inner, id, rows);
        return scf::ValueVector{
            arith::AndIOp::create(inner, carried.front(), valid)};
      });
  cf::AssertOp::create(builder,
                       loops.loops.empty() ? loops.results.front()
                                           : loops.loops.front().getResult(0),
                       builder.getStringAttr("expected an id of the table"));
}

//===----------------------------------------------------------------------===//
// The entry form
//===----------------------------------------------------------------------===//

namespace {
class EntryMaker {
public:
  explicit EntryMaker(func::FuncOp function)
      : function(function), block(&function.getBody().front()),
        builder(function.getLoc(), function.getContext()),
        numInputs(function.getNumArguments()) {}

  LogicalResult run() {
    auto made = getSignature(function);
    if (!made)
      return function.emitError(llvm::toString(made.takeError()));
    signature = std::move(*made);
    lookups = findLookups(function);
    nameDims();
    for (unsigned i = 0; i < numInputs; ++i)
      addInput(i);
    for (unsigned i = 0, e = signature.outputs.size(); i < e; ++i)
      addOutput(i);
    addDims();
    replaceInputs();
    replaceReturn();
    setType();
    return success();
  }

private:
  struct Argument {
    Type type;
    SmallVector<NamedAttribute> attrs;
  };

  /// Gives every dynamic size of an input a name.
  void nameDims() {
    for (unsigned i = 0; i < numInputs; ++i)
      for (StringRef name :
           getNames(function.getArgAttr(i, QtxDialect::kDimsAttrName),
                    signature.inputs[i].shape))
        taken.insert(name);
    for (unsigned i = 0; i < numInputs; ++i) {
      const std::vector<int64_t> &shape = signature.inputs[i].shape;
      Attribute attr = function.getArgAttr(i, QtxDialect::kDimsAttrName);
      SmallVector<StringRef> names = getNames(attr, shape);
      SmallVector<std::string> &named = dimNames.emplace_back();
      for (auto [size, name] : llvm::zip_equal(shape, names)) {
        if (!ShapedType::isDynamic(size))
          named.push_back("");
        else
          named.push_back(name.empty() ? makeName() : name.str());
        if (!named.back().empty() && !llvm::is_contained(dims, named.back()))
          dims.push_back(named.back());
      }
    }
  }

  static SmallVector<StringRef> getNames(Attribute dims,
                                         ArrayRef<int64_t> shape) {
    return getDimNames(dims, shape.size());
  }

  std::string makeName() {
    std::string name;
    do
      name = "dim" + std::to_string(numUnnamed++);
    while (taken.contains(name));
    return name;
  }

  MemRefType getBufferType(Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor)
      return MemRefType::get({}, getCallerType(type));
    return MemRefType::get(tensor.getShape(),
                           getCallerType(tensor.getElementType()));
  }

  NamedAttribute makeAttr(StringRef name, StringRef value) {
    return builder.getNamedAttr(name, builder.getStringAttr(value));
  }

  void addInput(unsigned i) {
    const ValueSignature &value = signature.inputs[i];
    SmallVector<StringRef> names(dimNames[i].begin(), dimNames[i].end());
    arguments.push_back(
        {getBufferType(block->getArgument(i).getType()),
         {makeAttr(kRoleAttr, kInputRole),
          makeAttr(QtxDialect::kNameAttrName, value.name),
          makeAttr(kElementAttr,
                   getElement(function.getArgAttr(i, kElementAttr), value)),
          builder.getNamedAttr(QtxDialect::kDimsAttrName,
                               builder.getStrArrayAttr(names))}});
  }

  void addOutput(unsigned i) {
    const ValueSignature &value = signature.outputs[i];
    Attribute dims = function.getResultAttr(i, QtxDialect::kDimsAttrName);
    SmallVector<StringRef> names = getNames(dims, value.shape);
    arguments.push_back(
        {getBufferType(function.getResultTypes()[i]),
         {makeAttr(kRoleAttr, kOutputRole),
          makeAttr(QtxDialect::kNameAttrName, getOutputName(value)),
          makeAttr(kElementAttr,
                   getElement(function.getResultAttr(i, kElementAttr), value)),
          builder.getNamedAttr(QtxDialect::kDimsAttrName,
                               builder.getStrArrayAttr(names))}});
  }

  /// Outputs become arguments, among which names are unique.
  std::string getOutputName(const ValueSignature &value) { return value.name; }

  /// The element type that was recorded before it lost its sign, or that of the
  /// signature.
  static StringRef getElement(Attribute recorded, const ValueSignature &value) {
    if (auto attr = dyn_cast_or_null<StringAttr>(recorded))
      return attr.getValue();
    return getElementName(value.element);
  }

  void addDims() {
    for (StringRef dim : dims)
      arguments.push_back(
          {builder.getIndexType(),
           {makeAttr(kRoleAttr, kDimRole), makeAttr(kDimAttr, dim)}});
  }

  bool isUnsigned(unsigned argument) {
    for (NamedAttribute attr : arguments[argument].attrs)
      if (attr.getName() == kElementAttr)
        return cast<StringAttr>(attr.getValue()).getValue().starts_with("u");
    return false;
  }

  /// Adds the new arguments and computes the old ones from them.
  void replaceInputs() {
    for (const Argument &argument : arguments)
      block->addArgument(argument.type, function.getLoc());
    builder.setInsertionPointToStart(block);
    for (auto [input, rows] : lookups)
      checkIds(builder, block->getArgument(numInputs + input), rows);
    for (unsigned i = 0; i < numInputs; ++i) {
      BlockArgument old = block->getArgument(i);
      Value buffer = block->getArgument(numInputs + i);
      replaceSizes(old, i);
      old.replaceAllUsesWith(readInput(buffer, old.getType(), isUnsigned(i)));
    }
    block->eraseArguments(0, numInputs);
  }

  /// Sizes of the input `i` are dims.
  void replaceSizes(Value input, unsigned i) {
    for (Operation *user : llvm::make_early_inc_range(input.getUsers())) {
      auto dim = dyn_cast<tensor::DimOp>(user);
      // Unknown dimensions, and those that do not exist, are not speculatable.
      if (!dim || !isSpeculatable(dim))
        continue;
      const std::string &name = dimNames[i][*dim.getConstantIndex()];
      if (name.empty())
        continue;
      dim.replaceAllUsesWith(getDim(name));
      dim.erase();
    }
  }

  Value getDim(StringRef name) {
    auto index = llvm::find(dims, name) - dims.begin();
    return block->getArgument(block->getNumArguments() - dims.size() + index);
  }

  Value readInput(Value buffer, Type type, bool isUnsigned) {
    auto bufferType = cast<MemRefType>(buffer.getType());
    auto tensorType = RankedTensorType::get(bufferType.getShape(),
                                            bufferType.getElementType());
    Value tensor = bufferization::ToTensorOp::create(
        builder, tensorType, buffer, /*restrict=*/true, /*writable=*/false);
    if (auto ranked = dyn_cast<RankedTensorType>(type))
      return convertTensor(builder, tensor, ranked.getElementType(),
                           isUnsigned);
    Value number = tensor::ExtractOp::create(builder, tensor, ValueRange());
    if (number.getType() == type)
      return number;
    return convertElement(builder, builder.getLoc(), number, type, isUnsigned);
  }

  /// Writes the results to the outputs and returns their sizes.
  void replaceReturn() {
    auto terminator = cast<func::ReturnOp>(block->getTerminator());
    builder.setInsertionPoint(terminator);
    SmallVector<Value> results{arith::ConstantIntOp::create(builder, 0, 32)};
    for (auto [i, result] : llvm::enumerate(terminator.getOperands())) {
      Value buffer = block->getArgument(numInputs + i);
      Value tensor = writeOutput(buffer, result, isUnsigned(numInputs + i));
      auto type = cast<RankedTensorType>(tensor.getType());
      for (int64_t dim = 0; dim < type.getRank(); ++dim)
        if (type.isDynamicDim(dim))
          results.push_back(tensor::DimOp::create(builder, tensor, dim));
    }
    func::ReturnOp::create(builder, results);
    terminator.erase();
  }

  /// The tensor that `buffer` is, made in front of what may compute in it.
  Value getPlace(Value buffer) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(block);
    auto type = cast<MemRefType>(buffer.getType());
    return bufferization::ToTensorOp::create(
        builder, RankedTensorType::get(type.getShape(), type.getElementType()),
        buffer, /*restrict=*/true, /*writable=*/true);
  }

  /// Writes `result` to `buffer` and returns it. It first goes into a tensor
  /// that is the buffer: of what is written to the buffer itself bufferization
  /// does not know that it must not come before reads of other values there.
  Value writeOutput(Value buffer, Value result, bool isUnsigned) {
    Type element = cast<MemRefType>(buffer.getType()).getElementType();
    Value tensor = result;
    if (!isa<RankedTensorType>(result.getType()))
      tensor = tensor::FromElementsOp::create(
          builder, RankedTensorType::get({}, result.getType()), result);
    tensor = convertTensor(builder, tensor, element, isUnsigned);
    Value written = bufferization::MaterializeInDestinationOp::create(
                        builder, tensor.getType(), tensor, getPlace(buffer))
                        .getResult();
    bufferization::MaterializeInDestinationOp::create(
        builder, Type(), written, buffer, /*restrict=*/false,
        /*writable=*/true);
    return tensor;
  }

  void setType() {
    SmallVector<Type> results(block->getTerminator()->getOperandTypes());
    SmallVector<DictionaryAttr> attrs;
    for (const Argument &argument : arguments)
      attrs.push_back(builder.getDictionaryAttr(argument.attrs));
    function.removeResAttrsAttr();
    function.setType(
        builder.getFunctionType(block->getArgumentTypes(), results));
    function.setAllArgAttrs(attrs);
  }

  func::FuncOp function;
  Block *block;
  ImplicitLocOpBuilder builder;
  unsigned numInputs;
  FunctionSignature signature;
  llvm::MapVector<unsigned, int64_t> lookups;
  llvm::StringSet<> taken;
  unsigned numUnnamed = 0;
  /// The names of the sizes of each input, empty where they are static.
  SmallVector<SmallVector<std::string>> dimNames;
  SmallVector<std::string> dims;
  SmallVector<Argument> arguments;
};

struct QtxMakeEntryPass : qtx::impl::QtxMakeEntryPassBase<QtxMakeEntryPass> {
  using QtxMakeEntryPassBase::QtxMakeEntryPassBase;

  void runOnOperation() override {
    auto function = selectFunction(getOperation(), entry);
    if (failed(function) || failed(verifyFunction(*function)) ||
        failed(EntryMaker(*function).run()))
      return signalPassFailure();
    for (auto other :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (other != *function)
        other.erase();
    function->setName(kEntryFunction);
  }
};
} // namespace

void qtx::buildEntry(OpPassManager &passManager) {
  passManager.addPass(createInlinerPass());
  passManager.addPass(createQtxCheckSizesPass());
  passManager.addPass(createQtxMakeEntryPass());
  passManager.addPass(createQtxCheckSlicesPass());
  passManager.addPass(createQtxResolveSizesPass());
  passManager.addPass(createCanonicalizerPass());
  passManager.addPass(createCSEPass());
}
