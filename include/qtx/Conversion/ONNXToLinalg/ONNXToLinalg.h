//===- ONNXToLinalg.h - ONNX nodes to plain operations ----------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_ONNXTOLINALG_ONNXTOLINALG_H
#define QTX_CONVERSION_ONNXTOLINALG_ONNXTOLINALG_H

#include "mlir/Pass/Pass.h"
#include "llvm/ADT/StringRef.h"

namespace qtx {

/// Marks arguments and results of functions that were unsigned integers in a
/// model.
inline constexpr llvm::StringLiteral kUnsignedAttrName = "qtx.unsigned";

#define GEN_PASS_DECL_CONVERTONNXTOLINALGPASS
#include "qtx/Conversion/Passes.h.inc"

} // namespace qtx

#endif // QTX_CONVERSION_ONNXTOLINALG_ONNXTOLINALG_H
