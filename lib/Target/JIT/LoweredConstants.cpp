//===- LoweredConstants.cpp - Constants that lowering makes ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoweredConstants.h"
#include "Dialect/Qtx/Transforms/ConstantUtils.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace qtx;

static StringRef getKey(DenseResourceElementsAttr attr) {
  return attr.getRawHandle().getKey();
}

LoweredConstants::LoweredConstants(ModuleOp module) {
  module.walk([&](Operation *op) {
    op->getAttrDictionary().walk(
        [&](DenseResourceElementsAttr attr) { original.insert(getKey(attr)); });
  });
}

void LoweredConstants::collect(ModuleOp lowered) {
  // Constants and globals call their elements so.
  lowered.walk([&](Operation *op) {
    auto attr = op->getAttrOfType<DenseResourceElementsAttr>("value");
    if (attr && !original.contains(getKey(attr)))
      added.try_emplace(getKey(attr), attr);
  });
}

LoweredConstants::~LoweredConstants() {
  for (const auto &entry : added)
    freeResource(entry.second);
}
