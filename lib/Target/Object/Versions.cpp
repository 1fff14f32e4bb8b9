//===- Versions.cpp - Several versions of the code in one object ----------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Entry.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/SymbolTable.h"
#include "qtx/Target/Object.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/xxhash.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/SubtargetFeature.h"

using namespace mlir;
using namespace qtx;

std::string qtx::getVersionSymbol(StringRef name, size_t version) {
  return (name + "." + Twine(version)).str();
}

/// The bytes of a large constant; empty for anything else.
static ArrayRef<char> getBytes(LLVM::GlobalOp global) {
  if (!global.getConstant())
    return {};
  Attribute value = global.getValueOrNull();
  if (auto resource = dyn_cast_or_null<DenseResourceElementsAttr>(value))
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      return blob->getData();
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(value))
    if (!dense.isSplat())
      return dense.getRawData();
  return {};
}

namespace {
class Merger {
public:
  explicit Merger(ModuleOp module) : module(module) {}

  void add(ModuleOp version, size_t index, const llvm::TargetMachine &machine) {
    rename(version, index);
    for (Operation &op :
         llvm::make_early_inc_range(version.getBody()->getOperations())) {
      if (auto function = dyn_cast<LLVM::LLVMFuncOp>(op))
        setMachine(function, machine);
      StringRef name = cast<SymbolOpInterface>(op).getName();
      if (names.insert(name).second)
        op.moveBefore(module.getBody(), module.getBody()->end());
    }
    version.erase();
  }

private:
  /// Gives symbols names that no other version has, but those that it shares
  /// with others: declarations, and constants of the same bytes.
  void rename(ModuleOp version, size_t index) {
    DenseMap<StringAttr, StringAttr> renamed;
    for (auto symbol : version.getOps<SymbolOpInterface>()) {
      std::string name = getVersionSymbol(symbol.getName(), index);
      if (auto global = dyn_cast<LLVM::GlobalOp>(*symbol))
        name = findConstant(global, name);
      auto function = dyn_cast<LLVM::LLVMFuncOp>(*symbol);
      if (function && function.isExternal())
        continue;
      auto attr = StringAttr::get(module.getContext(), name);
      renamed[symbol.getNameAttr()] = attr;
      symbol.setName(attr);
    }
    AttrTypeReplacer replacer;
    replacer.addReplacement([&](FlatSymbolRefAttr reference) -> Attribute {
      StringAttr name = renamed.lookup(reference.getAttr());
      return name ? FlatSymbolRefAttr::get(name) : reference;
    });
    replacer.recursivelyReplaceElementsIn(version);
  }

  /// The name of a constant of the bytes of `global`; `name` if it is the first
  /// one.
  std::string findConstant(LLVM::GlobalOp global, StringRef name) {
    ArrayRef<char> bytes = getBytes(global);
    if (bytes.empty())
      return name.str();
    uint64_t hash = llvm::xxh3_64bits(
        llvm::arrayRefFromStringRef(StringRef(bytes.data(), bytes.size())));
    for (const Constant &other : constants[hash])
      if (other.type == global.getType() && other.bytes == bytes &&
          other.alignment == global.getAlignment())
        return other.name;
    constants[hash].push_back(
        {name.str(), global.getType(), global.getAlignment(), bytes});
    return name.str();
  }

  static void setMachine(LLVM::LLVMFuncOp function,
                         const llvm::TargetMachine &machine) {
    function.setTargetCpu(machine.getTargetCPU());
    llvm::SubtargetFeatures features(machine.getTargetFeatureString());
    // Without the attribute the function would have those of another version.
    features.AddFeature("sse2");
    SmallVector<StringRef> names(features.getFeatures().begin(),
                                 features.getFeatures().end());
    function.setTargetFeaturesAttr(
        LLVM::TargetFeaturesAttr::get(function.getContext(), names));
  }

  struct Constant {
    std::string name;
    Type type;
    std::optional<uint64_t> alignment;
    ArrayRef<char> bytes;
  };

  ModuleOp module;
  llvm::StringSet<> names;
  DenseMap<uint64_t, SmallVector<Constant>> constants;
};
} // namespace

void qtx::mergeVersions(ModuleOp module, ArrayRef<ModuleOp> versions,
                        const TargetMachines &machines) {
  Merger merger(module);
  for (auto [index, version] : llvm::enumerate(versions))
    merger.add(version, index, *machines[index]);
}
