//===- Options.h - Command line of qtxc -------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// LLVM's libraries register command line options of their own, `stop-after`
// among them, so the options of qtxc are a table and not `cl::opt`s.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TOOLS_QTXC_OPTIONS_H
#define QTX_TOOLS_QTXC_OPTIONS_H

#include "llvm/Option/ArgList.h"
#include "llvm/Support/Error.h"

namespace qtx {

enum OptionID {
  OPT_INVALID = 0,
#define OPTION(...) LLVM_MAKE_OPT_ID(__VA_ARGS__),
#include "Options.inc"
#undef OPTION
};

/// Parses the command line without the program's name. Unknown options and
/// missing values are errors.
llvm::Expected<llvm::opt::InputArgList>
parseArguments(llvm::ArrayRef<const char *> arguments);

void printHelp(llvm::raw_ostream &stream);

} // namespace qtx

#endif // QTX_TOOLS_QTXC_OPTIONS_H
