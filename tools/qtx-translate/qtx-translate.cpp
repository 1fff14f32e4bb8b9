//===- qtx-translate.cpp - Translate models to IR -------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "qtx/Dialect/ONNX/IR/ONNX.h"
#include "qtx/Import/ONNX.h"
#include "qtx/Support/Diagnostics.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

static llvm::cl::list<std::string> sizeOptions(
    "size", llvm::cl::value_desc("name=size"),
    llvm::cl::desc("The size of a dynamic dimension of the inputs"));

/// Reads "name=size" options; nothing if one is malformed.
static std::optional<qtx::ImportOptions> readOptions() {
  qtx::ImportOptions options;
  for (StringRef option : sizeOptions) {
    auto [name, text] = option.split('=');
    int64_t size;
    if (text.getAsInteger(10, size) || size < 0) {
      llvm::errs() << "error: expected --size=name=size, found '" << option
                   << "'\n";
      return std::nullopt;
    }
    options.sizes[name] = size;
  }
  return options;
}

int main(int argc, char **argv) {
  // The importer maps the file itself: tensors refer to its bytes.
  TranslateToMLIRRegistration importONNX(
      "import-onnx", "import an ONNX model as nodes of the onnx dialect",
      [](llvm::SourceMgr &source,
         MLIRContext *context) -> OwningOpRef<Operation *> {
        std::optional<qtx::ImportOptions> options = readOptions();
        if (!options)
          return {};
        StringRef path = source.getMemoryBuffer(source.getMainFileID())
                             ->getBufferIdentifier();
        // Nodes have names, not lines.
        qtx::DiagnosticPrinter printer(context);
        return qtx::importONNX(path, context, *options);
      },
      [](DialectRegistry &registry) {
        registry.insert<arith::ArithDialect, func::FuncDialect,
                        qtx::onnx::ONNXDialect>();
      });
  return failed(mlirTranslateMain(argc, argv, "qtx translation tool\n"));
}
