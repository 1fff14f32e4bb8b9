//===- Target.cpp - What the target can do --------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Kernel/Target.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/Target/TargetMachine.h"
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

using namespace mlir;
using namespace qtx;

bool qtx::requestAMX() {
#if defined(__x86_64__) && defined(__linux__)
  // From asm/prctl.h and the numbers of state components.
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

llvm::CodeGenOptLevel qtx::getCodeGenLevel(unsigned optLevel, bool hasTiles) {
  return static_cast<llvm::CodeGenOptLevel>(
      std::max(optLevel, hasTiles ? 1u : 0u));
}

void qtx::setTarget(ModuleOp module, const llvm::TargetMachine &machine,
                    bool allowAMX) {
  MLIRContext *context = module.getContext();
  context->getOrLoadDialect<LLVM::LLVMDialect>();
  std::vector<std::string> names;
  for (const auto &feature :
       machine.getMCSubtargetInfo()->getEnabledProcessorFeatures())
    if (allowAMX || !StringRef(feature.Key).starts_with("amx-"))
      names.push_back((Twine("+") + feature.Key).str());
  SmallVector<StringRef> features(names.begin(), names.end());
  auto target = LLVM::TargetAttr::get(
      context, StringAttr::get(context, machine.getTargetTriple().str()),
      StringAttr::get(context, machine.getTargetCPU()),
      LLVM::TargetFeaturesAttr::get(context, features));
  module->setAttr(LLVM::LLVMDialect::getTargetAttrName(), target);
}

TargetFeatures::TargetFeatures(Operation *op) {
  LLVM::TargetAttr target;
  for (; op && !target; op = op->getParentOp())
    target = op->getAttrOfType<LLVM::TargetAttr>(
        LLVM::LLVMDialect::getTargetAttrName());
  if (!target)
    return;
  if (target.getChip())
    cpu = target.getChip().getValue();
  if (!target.getFeatures())
    return;
  for (StringAttr feature : target.getFeatures().getFeatures())
    if (StringRef name = feature.getValue(); name.consume_front("+"))
      features.insert(name);
}
