//===- Casts.cpp - ONNX operators that change element types ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "NodeLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace qtx::onnx;

static Lowered lowerCast(NodeLowering &b) {
  Tensor x = b.input(0);
  Type to = b.resultElement();
  bool saturates = b.node.getIntAttr("saturate", 1) != 0;
  return b.mapToResult(x, [&](Scalars &s, ValueRange v) {
    return s.convert(v[0], x.element(), to, saturates);
  });
}

/// The same bits as another type of the same width. bf16 and f16 are no numbers
/// here, so nothing is widened.
static Lowered lowerBitCast(NodeLowering &b) {
  Tensor x = b.input(0);
  Type element = b.resultElement();
  Type plain = getPlainElement(element);
  if (getComputeElement(element) != plain ||
      getComputeElement(x.element()) != getPlainElement(x.element()))
    return b.fail("16-bit floats");
  if (plain == getPlainElement(x.element()))
    return x;
  return b.mapToResult(x, [&](Scalars &s, ValueRange v) -> Value {
    return arith::BitcastOp::create(s, plain, v[0]);
  });
}

void qtx::onnx::populateCastLowerings(Lowerings &lowerings) {
  lowerings["BitCast"] = lowerBitCast;
  lowerings["Cast"] = lowerCast;
}
