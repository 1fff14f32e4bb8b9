//===- TestPasses.h - Passes that only tests use ----------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TEST_LIB_TESTPASSES_H
#define QTX_TEST_LIB_TESTPASSES_H

namespace qtx {

void registerTestReportPass();

/// Registers the passes named `test-qtx-...`.
void registerTestPasses();

} // namespace qtx

#endif // QTX_TEST_LIB_TESTPASSES_H
