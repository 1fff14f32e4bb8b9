//===- Passes.h - Conversion passes -----------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_CONVERSION_PASSES_H
#define QTX_CONVERSION_PASSES_H

#include "qtx/Conversion/ExpandCopies/ExpandCopies.h"
#include "qtx/Conversion/ExpandMath/ExpandMath.h"
#include "qtx/Conversion/ExpandRows/ExpandRows.h"
#include "qtx/Conversion/GlobalsToBytes/GlobalsToBytes.h"
#include "qtx/Conversion/ONNXToLinalg/ONNXToLinalg.h"
#include "qtx/Conversion/QtxToLinalg/QtxToLinalg.h"
#include "qtx/Conversion/QtxToRows/QtxToRows.h"
#include "qtx/Conversion/SizeTeams/SizeTeams.h"

namespace qtx {
#define GEN_PASS_REGISTRATION
#include "qtx/Conversion/Passes.h.inc"
} // namespace qtx

#endif // QTX_CONVERSION_PASSES_H
