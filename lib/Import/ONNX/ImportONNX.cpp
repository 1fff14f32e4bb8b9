//===- ImportONNX.cpp - Import of ONNX models -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace qtx;
using namespace qtx::importer;

/// Protobuf cannot read more.
static constexpr uint64_t kMaxFileSize = std::numeric_limits<int32_t>::max();

static std::shared_ptr<proto::ModelProto> readModel(StringRef path,
                                                    Location loc) {
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                          /*RequiresNullTerminator=*/false);
  if (!file) {
    emitError(loc) << "cannot open the model: " << file.getError().message();
    return nullptr;
  }
  uint64_t size = (*file)->getBufferSize();
  if (size > kMaxFileSize) {
    emitError(loc) << "expected a model of at most " << kMaxFileSize
                   << " bytes with larger tensors in external files, found "
                   << size << " bytes";
    return nullptr;
  }
  auto model = std::make_shared<proto::ModelProto>();
  if (!model->ParseFromArray((*file)->getBufferStart(), size) ||
      !model->has_graph()) {
    emitError(loc) << "expected an ONNX model, found " << size
                   << " bytes that are none or are incomplete";
    return nullptr;
  }
  return model;
}

OwningOpRef<ModuleOp> qtx::importONNX(StringRef path, MLIRContext *context,
                                      const ImportOptions &options) {
  context->loadDialect<arith::ArithDialect, func::FuncDialect,
                       qtx::onnx::ONNXDialect>();
  Location loc = NameLoc::get(StringAttr::get(context, path));
  std::shared_ptr<proto::ModelProto> model = readModel(path, loc);
  if (!model)
    return {};
  ConstantCache constants(
      TensorReader(model, llvm::sys::path::parent_path(path)));
  DimNames dimNames;
  while (true) {
    GraphImporter importer(*model, loc, options, dimNames, constants);
    OwningOpRef<ModuleOp> module = importer.import();
    DimNames equalDims = importer.getEqualDims();
    if (!module || equalDims.empty())
      return module;
    // Once more, with one name for sizes that are equal.
    for (const auto &entry : equalDims)
      dimNames[entry.getKey()] = entry.getValue();
  }
}
