//===- InstructionOrder.cpp - Order of machine instructions ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Around the limits of LLVM 22's scheduler of machine instructions: loads and
// stores do not pass a fence, but arithmetic does, and it has the loads of all
// steps between fences wait for their products. It passes no label. The one
// intrinsic of every target that ends as a label is that of CodeView, whose
// text nobody reads without CodeView.
//
//===----------------------------------------------------------------------===//

#include "qtx/Target/InstructionOrder.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/Metadata.h"
#include "llvm/IR/Module.h"

static bool isCompilerFence(const llvm::Instruction &instruction) {
  const auto *fence = llvm::dyn_cast<llvm::FenceInst>(&instruction);
  return fence && fence->getSyncScopeID() == llvm::SyncScope::SingleThread;
}

void qtx::keepInstructionOrder(llvm::Module &module) {
  llvm::LLVMContext &context = module.getContext();
  auto *text = llvm::MDNode::get(context, llvm::MDString::get(context, "qtx"));
  for (llvm::Function &function : module)
    for (llvm::BasicBlock &block : function)
      for (llvm::Instruction &instruction : llvm::make_early_inc_range(block)) {
        if (!isCompilerFence(instruction))
          continue;
        llvm::IRBuilder<> builder(&instruction);
        builder.CreateIntrinsic(builder.getVoidTy(),
                                llvm::Intrinsic::codeview_annotation,
                                {llvm::MetadataAsValue::get(context, text)});
        instruction.eraseFromParent();
      }
}
