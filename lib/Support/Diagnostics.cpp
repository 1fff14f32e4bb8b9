//===- Diagnostics.cpp - Print diagnostics for users ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Support/Diagnostics.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/WithColor.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

std::string qtx::describeLocation(Location location) {
  if (auto place = location->findInstanceOf<FileLineColLoc>())
    return (place.getFilename().getValue() + ":" + Twine(place.getLine()) +
            ":" + Twine(place.getColumn()))
        .str();
  if (auto name = location->findInstanceOf<NameLoc>()) {
    // A node is named inside of its file.
    std::string file = describeLocation(name.getChildLoc());
    return (file.empty() ? "" : file + ":") + name.getName().str();
  }
  return "";
}

static void printPrefix(llvm::raw_ostream &stream, StringRef place,
                        DiagnosticSeverity severity) {
  switch (severity) {
  case DiagnosticSeverity::Error:
    llvm::WithColor::error(stream, place);
    return;
  case DiagnosticSeverity::Warning:
    llvm::WithColor::warning(stream, place);
    return;
  case DiagnosticSeverity::Remark:
    llvm::WithColor::remark(stream, place);
    return;
  case DiagnosticSeverity::Note:
    llvm::WithColor::note(stream, place);
    return;
  }
}

static void print(Diagnostic &diagnostic) {
  printPrefix(llvm::errs(), qtx::describeLocation(diagnostic.getLocation()),
              diagnostic.getSeverity());
  llvm::errs() << diagnostic << "\n";
  for (Diagnostic &note : diagnostic.getNotes())
    print(note);
}

qtx::DiagnosticPrinter::DiagnosticPrinter(MLIRContext *context)
    : scope(context, [](Diagnostic &diagnostic) { print(diagnostic); }) {}

/// The message behind its place, and its notes.
static std::string describe(Diagnostic &diagnostic) {
  std::string text = qtx::describeLocation(diagnostic.getLocation());
  if (!text.empty())
    text += ": ";
  text += diagnostic.str();
  for (Diagnostic &note : diagnostic.getNotes())
    text += "\n" + describe(note);
  return text;
}

qtx::DiagnosticCollector::DiagnosticCollector(MLIRContext *context)
    : scope(context, [this](Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
          errors.push_back(describe(diagnostic));
        if (diagnostic.getSeverity() == DiagnosticSeverity::Warning)
          warnings.push_back(describe(diagnostic));
      }) {}
