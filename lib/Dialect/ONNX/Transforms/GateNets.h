//===- GateNets.h - The nets of gates ---------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_ONNX_TRANSFORMS_GATENETS_H
#define QTX_LIB_DIALECT_ONNX_TRANSFORMS_GATENETS_H

#include "llvm/ADT/SmallVector.h"

namespace qtx::onnx {

/// The nets of all heads, one after the other: rows of weights [outputs,
/// inputs], of which the last layer has one. Nothing is hidden in a linear one.
struct GateNets {
  llvm::SmallVector<float> weights, biases;
  llvm::SmallVector<float> hiddenWeights, hiddenBiases;
};

} // namespace qtx::onnx

#endif // QTX_LIB_DIALECT_ONNX_TRANSFORMS_GATENETS_H
