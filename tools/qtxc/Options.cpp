//===- Options.cpp - Command line of qtxc ---------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "llvm/Option/OptTable.h"

using namespace llvm;
using namespace llvm::opt;

#define OPTTABLE_STR_TABLE_CODE
#include "Options.inc"
#undef OPTTABLE_STR_TABLE_CODE

#define OPTTABLE_PREFIXES_TABLE_CODE
#include "Options.inc"
#undef OPTTABLE_PREFIXES_TABLE_CODE

using namespace qtx;

static constexpr OptTable::Info kOptions[] = {
#define OPTION(...) LLVM_CONSTRUCT_OPT_INFO(__VA_ARGS__),
#include "Options.inc"
#undef OPTION
};

namespace {
struct QtxcOptTable : GenericOptTable {
  QtxcOptTable()
      : GenericOptTable(OptionStrTable, OptionPrefixesTable, kOptions) {}
};
} // namespace

/// An error for the option `arg`, with the nearest known one.
static Error makeUnknownOptionError(const OptTable &table, StringRef arg) {
  std::string nearest;
  if (table.findNearest(arg, nearest) > 2)
    return createStringError("unknown option '" + arg + "'");
  return createStringError("unknown option '" + arg + "', did you mean '" +
                           nearest + "'?");
}

Expected<InputArgList> qtx::parseArguments(ArrayRef<const char *> arguments) {
  // The arguments refer to it.
  static const QtxcOptTable table;
  unsigned missingIndex, missingCount;
  InputArgList parsed = table.ParseArgs(arguments, missingIndex, missingCount);
  if (missingCount)
    return createStringError("expected a value after '" +
                             Twine(arguments[missingIndex]) + "'");
  for (const Arg *arg : parsed.filtered(OPT_UNKNOWN))
    return makeUnknownOptionError(table, arg->getAsString(parsed));
  // Files, folders and names: nothing would be one of another meaning.
  for (const Arg *arg :
       parsed.filtered(OPT_calibrate, OPT_report, OPT_weights, OPT_dump_stages,
                       OPT_tune_eq, OPT_name, OPT_mtriple, OPT_mcpu))
    if (StringRef(arg->getValue()).empty())
      return createStringError("expected a value after '" + arg->getSpelling() +
                               "'");
  return parsed;
}

void qtx::printHelp(raw_ostream &stream) {
  QtxcOptTable().printHelp(
      stream, "qtxc MODEL.onnx|MODEL.mlir -o OUT [options]", "Compile a model");
}
