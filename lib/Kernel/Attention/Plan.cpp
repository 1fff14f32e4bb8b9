//===- Plan.cpp - How attention runs --------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Plan.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace qtx;

DictionaryAttr Stretches::getAttr(MLIRContext *context) const {
  Builder b(context);
  return b.getDictionaryAttr(
      {b.getNamedAttr("keys", b.getI64IntegerAttr(keys)),
       b.getNamedAttr("limit", b.getI64IntegerAttr(limit)),
       b.getNamedAttr("queries", b.getI64IntegerAttr(queries))});
}

Stretches Stretches::get(DictionaryAttr attr) {
  auto getInt = [&](StringRef name) {
    return attr.getAs<IntegerAttr>(name).getInt();
  };
  return {getInt("limit"), getInt("keys"), getInt("queries")};
}
