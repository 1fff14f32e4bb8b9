//===- Weights.cpp - Weights in a file of their own -----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "qtx/Target/Object.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qtx;

/// Constants with fewer bytes stay in the object.
static constexpr size_t kSmallestWeights = 1024;

/// The elements of a constant as they lie in memory; nothing if they are packed
/// in another way, or few.
static std::optional<std::vector<char>> getBytes(Attribute value) {
  auto elements = dyn_cast_or_null<ElementsAttr>(value);
  if (!elements || !elements.getElementType().isIntOrFloat() ||
      elements.getElementType().getIntOrFloatBitWidth() % 8 != 0)
    return std::nullopt;
  size_t width = elements.getElementType().getIntOrFloatBitWidth() / 8;
  size_t size = elements.getNumElements() * width;
  if (size < kSmallestWeights)
    return std::nullopt;
  ArrayRef<char> data;
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      data = blob->getData();
  } else if (auto dense = dyn_cast<DenseElementsAttr>(value)) {
    // One value for all stays in the object, where it takes no space.
    data = dense.getRawData();
  }
  if (data.size() != size)
    return std::nullopt;
  return std::vector<char>(data.begin(), data.end());
}

namespace {
class WeightsTaker {
public:
  explicit WeightsTaker(ModuleOp module) : module(module) {}

  std::vector<char> run() {
    collect();
    addParameters();
    rewriteUses();
    return std::move(file);
  }

private:
  /// Gives every large constant a place in the file; equal ones share it.
  void collect() {
    for (auto global : module.getOps<LLVM::GlobalOp>()) {
      if (!global.getConstant())
        continue;
      auto bytes = getBytes(global.getValueOrNull());
      if (!bytes)
        continue;
      auto [place, inserted] =
          places.try_emplace(global.getValueOrNull(), file.size());
      offsets[global.getSymNameAttr()] = place->second;
      if (!inserted)
        continue;
      file.insert(file.end(), bytes->begin(), bytes->end());
      file.resize(llvm::alignTo(file.size(), kWeightsAlignment));
    }
  }

  /// Entries, and functions that use the constants or call such functions, take
  /// a pointer to the file.
  void addParameters() {
    for (auto function : module.getOps<LLVM::LLVMFuncOp>())
      if (function.getName().starts_with(kEntryFunction))
        takers.insert(function);
    module.walk([&](LLVM::AddressOfOp op) {
      if (offsets.contains(op.getGlobalNameAttr().getAttr()))
        takers.insert(op->getParentOfType<LLVM::LLVMFuncOp>());
    });
    SmallVector<LLVM::CallOp> calls;
    module.walk([&](LLVM::CallOp call) { calls.push_back(call); });
    for (size_t before = 0; before != takers.size();) {
      before = takers.size();
      for (LLVM::CallOp call : calls)
        if (getTaker(call))
          takers.insert(call->getParentOfType<LLVM::LLVMFuncOp>());
    }
    for (LLVM::LLVMFuncOp function : takers)
      addParameter(function);
    for (LLVM::CallOp call : calls)
      if (getTaker(call))
        call.getCalleeOperandsMutable().append(getPointer(call));
  }

  LLVM::LLVMFuncOp getTaker(LLVM::CallOp call) {
    if (!call.getCallee())
      return {};
    auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(*call.getCallee());
    return takers.contains(function) ? function : LLVM::LLVMFuncOp();
  }

  static void addParameter(LLVM::LLVMFuncOp function) {
    OpBuilder builder(function.getContext());
    // Nothing writes to the file; this is what makes its values constants.
    NamedAttribute attrs[] = {
        builder.getNamedAttr(LLVM::LLVMDialect::getNoAliasAttrName(),
                             builder.getUnitAttr()),
        builder.getNamedAttr(LLVM::LLVMDialect::getReadonlyAttrName(),
                             builder.getUnitAttr()),
        builder.getNamedAttr(LLVM::LLVMDialect::getAlignAttrName(),
                             builder.getI64IntegerAttr(kWeightsAlignment))};
    (void)function.insertArgument(
        function.getNumArguments(),
        LLVM::LLVMPointerType::get(function.getContext()),
        builder.getDictionaryAttr(attrs), function.getLoc());
  }

  /// The pointer to the file where `op` stands.
  static Value getPointer(Operation *op) {
    return op->getParentOfType<LLVM::LLVMFuncOp>().getArguments().back();
  }

  void rewriteUses() {
    SmallVector<LLVM::AddressOfOp> uses;
    module.walk([&](LLVM::AddressOfOp op) {
      if (offsets.contains(op.getGlobalNameAttr().getAttr()))
        uses.push_back(op);
    });
    for (LLVM::AddressOfOp op : uses) {
      OpBuilder builder(op);
      int64_t offset = offsets.lookup(op.getGlobalNameAttr().getAttr());
      Value place = LLVM::ConstantOp::create(builder, op.getLoc(),
                                             builder.getI64Type(), offset);
      op.replaceAllUsesWith(
          LLVM::GEPOp::create(builder, op.getLoc(), op.getType(),
                              builder.getI8Type(), getPointer(op),
                              ArrayRef<LLVM::GEPArg>{place})
              .getResult());
      op.erase();
    }
    for (auto global :
         llvm::make_early_inc_range(module.getOps<LLVM::GlobalOp>()))
      if (offsets.contains(global.getSymNameAttr()))
        global.erase();
  }

  ModuleOp module;
  std::vector<char> file;
  llvm::DenseMap<Attribute, size_t> places;
  llvm::DenseMap<StringAttr, size_t> offsets;
  llvm::SetVector<LLVM::LLVMFuncOp> takers;
};
} // namespace

std::vector<char> qtx::takeWeights(ModuleOp module) {
  return WeightsTaker(module).run();
}
