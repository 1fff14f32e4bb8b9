//===- CInterface.cpp - The C functions of an object ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CPUCheck.h"
#include "Entry.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "qtx/Target/Object.h"

using namespace mlir;
using namespace qtx;

namespace {
/// The functions of one version of the code.
struct Version {
  LLVM::LLVMFuncOp entry;
  LLVM::LLVMFuncOp sizes;
};

/// Writes one C function: checks that return a status on failure, then a body.
class FunctionWriter {
public:
  FunctionWriter(ModuleOp module, const ObjectInterface &interface)
      : module(module), interface(interface),
        builder(module.getLoc(), module.getContext()),
        pointer(LLVM::LLVMPointerType::get(module.getContext())),
        word(builder.getI64Type()), status(builder.getI32Type()) {}

  void writeRun(ArrayRef<Version> versions, LLVM::LLVMFuncOp find) {
    size_t numBuffers = getNumBuffers();
    // The buffers, the dims, the workspace and its size.
    SmallVector<Type> types(numBuffers + 2, pointer);
    types.push_back(word);
    begin("run", types);
    for (Value argument : function.getArguments().drop_back())
      if (argument != getDimsPointer(numBuffers) || !interface.dims.empty())
        checkNotNull(argument);
    SmallVector<Value> dims = readDims(getDimsPointer(numBuffers));
    Value found = LLVM::CallOp::create(builder, find, ValueRange()).getResult();
    checkCPU(found);
    for (auto [index, version] : llvm::drop_begin(llvm::enumerate(versions))) {
      Value isThis = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::eq,
                                          found, makeStatus(index));
      Block *rest = branch(isThis);
      runVersion(version, dims);
      builder.setInsertionPointToEnd(rest);
    }
    runVersion(versions.front(), dims);
  }

  /// The version that runs here, for tools.
  void writeCodeVersion(LLVM::LLVMFuncOp find) {
    begin("code_version", {});
    auto call = LLVM::CallOp::create(builder, find, ValueRange());
    LLVM::ReturnOp::create(builder, call.getResult());
  }

  void writeOutputShape(LLVM::LLVMFuncOp sizes) {
    begin("output_shape", {status, pointer, pointer});
    checkArguments(/*firstPointer=*/1);
    SmallVector<Value> dims = readDims(function.getArgument(1));
    Value answer = callSizes(sizes, dims);
    unsigned next = kFirstSize;
    for (auto [index, output] : llvm::enumerate(interface.outputs)) {
      Value isThis =
          LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::eq,
                               function.getArgument(0), makeStatus(index));
      Block *rest = branch(isThis);
      SmallVector<Value> shape = getShape(output, answer, next);
      for (auto [i, size] : llvm::enumerate(shape))
        store(size, function.getArgument(2), i);
      succeed();
      builder.setInsertionPointToEnd(rest);
    }
    LLVM::ReturnOp::create(builder, makeStatus(kStatusIndexOutOfRange));
  }

  /// What the version needs that needs most: the answer is the same on every
  /// CPU.
  void writeWorkspaceSize(ArrayRef<Version> versions) {
    begin("workspace_size", {pointer, pointer});
    checkArguments(/*firstPointer=*/0);
    SmallVector<Value> dims = readDims(function.getArgument(0));
    Value most;
    for (const Version &version : versions) {
      Value bytes = extract(callSizes(version.sizes, dims), 1);
      most = most ? LLVM::UMaxOp::create(builder, most, bytes) : bytes;
    }
    store(addAlignment(most), function.getArgument(1), 0);
    succeed();
  }

  void writeSignature() {
    builder.setInsertionPointToStart(module.getBody());
    std::string text = makeSignature(interface);
    text.push_back('\0');
    auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), text.size());
    LLVM::GlobalOp::create(
        builder, type, /*isConstant=*/true, LLVM::Linkage::External,
        interface.name + "_signature", builder.getStringAttr(text));
    LLVM::GlobalOp::create(builder, status, /*isConstant=*/true,
                           LLVM::Linkage::External,
                           interface.name + "_abi_version",
                           builder.getI32IntegerAttr(kObjectABIVersion));
  }

private:
  /// The results of `qtx_sizes`: a status, the bytes of the workspace, sizes.
  static constexpr unsigned kFirstSize = 2;

  void begin(StringRef suffix, ArrayRef<Type> types) {
    builder.setInsertionPointToEnd(module.getBody());
    auto type = LLVM::LLVMFunctionType::get(status, types);
    function = LLVM::LLVMFuncOp::create(
        builder, interface.name + "_" + suffix.str(), type);
    compileForLeastCPU(function, interface);
    builder.setInsertionPointToStart(function.addEntryBlock(builder));
  }

  //===--- Small pieces
  //-------------------------------------------------------//

  Value makeStatus(int32_t value) {
    return LLVM::ConstantOp::create(builder, status, value);
  }
  Value makeWord(int64_t value) {
    return LLVM::ConstantOp::create(builder, word, value);
  }
  Value extract(Value aggregate, int64_t index) {
    return LLVM::ExtractValueOp::create(builder, aggregate, index);
  }
  Value getAddress(Value base, int64_t index) {
    return LLVM::GEPOp::create(builder, pointer, word, base,
                               ArrayRef<LLVM::GEPArg>{int32_t(index)});
  }
  void store(Value value, Value base, int64_t index) {
    LLVM::StoreOp::create(builder, value, getAddress(base, index));
  }
  void succeed() { LLVM::ReturnOp::create(builder, makeStatus(kStatusOk)); }
  /// The inputs, the outputs and the weights.
  size_t getNumBuffers() const {
    return interface.inputs.size() + interface.outputs.size() +
           interface.weights.has_value();
  }
  Value getDimsPointer(size_t numBuffers) {
    return function.getArgument(numBuffers);
  }

  /// Goes on in a new block where `condition` holds; returns the other one.
  Block *branch(Value condition) {
    Block *current = builder.getInsertionBlock();
    Block *then =
        builder.createBlock(&function.getBody(), function.getBody().end());
    Block *rest =
        builder.createBlock(&function.getBody(), function.getBody().end());
    builder.setInsertionPointToEnd(current);
    LLVM::CondBrOp::create(builder, condition, then, rest);
    builder.setInsertionPointToEnd(then);
    return rest;
  }

  void failIf(Value condition, Value code) {
    Block *rest = branch(condition);
    LLVM::ReturnOp::create(builder, code);
    builder.setInsertionPointToEnd(rest);
  }

  void checkNotNull(Value argument) {
    Value null = LLVM::ZeroOp::create(builder, pointer);
    Value isNull =
        LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::eq, argument, null);
    failIf(isNull, makeStatus(kStatusNullPointer));
  }

  /// Checks the workspace and returns what the version does.
  void runVersion(const Version &version, ArrayRef<Value> dims) {
    size_t numBuffers = getNumBuffers();
    Value answer = callSizes(version.sizes, dims);
    Value needed = addAlignment(extract(answer, 1));
    Value isTooSmall =
        LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::ult,
                             function.getArgument(numBuffers + 2), needed);
    failIf(isTooSmall, makeStatus(kStatusWorkspaceTooSmall));
    Value workspace = align(function.getArgument(numBuffers + 1));
    SmallVector<Value> operands = makeOperands(dims, answer, workspace);
    auto call = LLVM::CallOp::create(builder, version.entry, operands);
    LLVM::ReturnOp::create(builder, call.getResult());
  }

  void checkCPU(Value found) {
    Value isMissing = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::slt,
                                           found, makeStatus(0));
    failIf(isMissing, makeStatus(kStatusMissingCPUFeature));
  }

  /// Checks the dims, which may be null if there are none, and the pointer to
  /// write to.
  void checkArguments(unsigned firstPointer) {
    if (!interface.dims.empty())
      checkNotNull(function.getArgument(firstPointer));
    checkNotNull(function.getArgument(firstPointer + 1));
  }

  //===--- Dims
  //---------------------------------------------------------------//

  SmallVector<Value> readDims(Value dims) {
    SmallVector<Value> values;
    Value product = makeWord(1);
    for (size_t i = 0; i < interface.dims.size(); ++i) {
      Value dim = LLVM::LoadOp::create(builder, word, getAddress(dims, i));
      checkRange(dim, interface.largest[i]);
      product = LLVM::MulOp::create(builder, product, dim);
      checkRange(product, kLargestDimProduct);
      values.push_back(dim);
    }
    return values;
  }

  /// Fails unless `value` lies between 1 and `largest`.
  void checkRange(Value value, int64_t largest) {
    Value below = LLVM::SubOp::create(builder, value, makeWord(1));
    Value isOutside = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::uge,
                                           below, makeWord(largest));
    failIf(isOutside, makeStatus(kStatusSizeOutOfRange));
  }

  Value callSizes(LLVM::LLVMFuncOp sizes, ValueRange dims) {
    Value answer = LLVM::CallOp::create(builder, sizes, dims).getResult();
    Value code = extract(answer, 0);
    Value failed = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::ne, code,
                                        makeStatus(kStatusOk));
    failIf(failed, code);
    return answer;
  }

  //===--- Workspace
  //----------------------------------------------------------//

  /// Callers need not align the workspace.
  Value addAlignment(Value bytes) {
    return LLVM::AddOp::create(builder, bytes, makeWord(kBufferAlignment - 1));
  }
  Value align(Value address) {
    Value number = LLVM::PtrToIntOp::create(builder, word, address);
    Value aligned = LLVM::AndOp::create(builder, addAlignment(number),
                                        makeWord(-kBufferAlignment));
    Value distance = LLVM::SubOp::create(builder, aligned, number);
    return LLVM::GEPOp::create(builder, pointer, builder.getI8Type(), address,
                               ArrayRef<LLVM::GEPArg>{distance});
  }

  //===--- Buffers
  //------------------------------------------------------------//

  Value getDim(StringRef name, ArrayRef<Value> dims) {
    return dims[llvm::find(interface.dims, name) - interface.dims.begin()];
  }

  /// The sizes of an output; `next` counts the dynamic ones.
  SmallVector<Value> getShape(const ObjectValue &output, Value answer,
                              unsigned &next) {
    return llvm::map_to_vector(output.shape, [&](int64_t size) {
      return ShapedType::isDynamic(size) ? extract(answer, next++)
                                         : makeWord(size);
    });
  }

  /// Appends what a buffer is to the entry: two pointers, an offset, sizes and
  /// strides.
  void appendBuffer(SmallVectorImpl<Value> &operands, Value address,
                    ArrayRef<Value> shape) {
    operands.append({address, address, makeWord(0)});
    operands.append(shape.begin(), shape.end());
    SmallVector<Value> strides(shape.size());
    Value stride = makeWord(1);
    for (int64_t i = shape.size() - 1; i >= 0; --i) {
      strides[i] = stride;
      stride = LLVM::MulOp::create(builder, stride, shape[i]);
    }
    operands.append(strides);
  }

  SmallVector<Value> makeOperands(ArrayRef<Value> dims, Value answer,
                                  Value workspace) {
    SmallVector<Value> operands;
    unsigned argument = 0, next = kFirstSize;
    for (const ObjectValue &input : interface.inputs) {
      SmallVector<Value> shape;
      for (auto [size, name] : llvm::zip_equal(input.shape, input.dims))
        shape.push_back(ShapedType::isDynamic(size) ? getDim(name, dims)
                                                    : makeWord(size));
      appendBuffer(operands, function.getArgument(argument++), shape);
    }
    for (const ObjectValue &output : interface.outputs)
      appendBuffer(operands, function.getArgument(argument++),
                   getShape(output, answer, next));
    operands.append(dims.begin(), dims.end());
    appendBuffer(operands, workspace, extract(answer, 1));
    if (interface.weights)
      operands.push_back(function.getArgument(argument));
    return operands;
  }

  ModuleOp module;
  const ObjectInterface &interface;
  ImplicitLocOpBuilder builder;
  LLVM::LLVMPointerType pointer;
  Type word, status;
  LLVM::LLVMFuncOp function;
};
} // namespace

static void makeLocal(ModuleOp module) {
  for (auto function : module.getOps<LLVM::LLVMFuncOp>())
    if (!function.isExternal())
      function.setLinkage(LLVM::Linkage::Internal);
  for (auto global : module.getOps<LLVM::GlobalOp>())
    global.setLinkage(LLVM::Linkage::Private);
}

/// The functions of all versions, which the least CPU may ask for sizes.
static SmallVector<Version> findVersions(ModuleOp module,
                                         const ObjectInterface &interface) {
  SmallVector<Version> versions;
  for (size_t i = 0; i < interface.versions.size(); ++i) {
    auto find = [&](StringRef name) {
      auto only = module.lookupSymbol<LLVM::LLVMFuncOp>(name);
      return only ? only
                  : module.lookupSymbol<LLVM::LLVMFuncOp>(
                        getVersionSymbol(name, i));
    };
    versions.push_back({find(kEntryFunction), find(kSizesFunction)});
    compileForLeastCPU(versions.back().sizes, interface);
  }
  return versions;
}

void qtx::addCInterface(ModuleOp module, const ObjectInterface &interface) {
  makeLocal(module);
  SmallVector<Version> versions = findVersions(module, interface);
  LLVM::LLVMFuncOp find = addVersionFunction(module, interface);
  FunctionWriter writer(module, interface);
  writer.writeRun(versions, find);
  writer.writeOutputShape(versions.front().sizes);
  writer.writeWorkspaceSize(versions);
  writer.writeCodeVersion(find);
  writer.writeSignature();
}
