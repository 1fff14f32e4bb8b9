//===- Tensors.h - Tensors stored in ONNX files -----------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_IMPORT_ONNX_TENSORS_H
#define QTX_LIB_IMPORT_ONNX_TENSORS_H

#include "Proto.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>

namespace qtx::importer {

/// The type for a number of `TensorProto.DataType`, also of those that the
/// library's schema is too old for; null for strings, complex numbers and
/// unknown ones.
mlir::Type getElementType(int64_t dataType, mlir::MLIRContext *context);

/// Reads the tensors of one model. Attributes refer to the bytes of the model
/// and of its external files, which live as long as the attributes.
class TensorReader {
public:
  TensorReader(std::shared_ptr<const proto::ModelProto> model,
               llvm::StringRef folder)
      : model(std::move(model)), folder(folder) {}

  /// The attribute, or null after an error at `loc`.
  mlir::ElementsAttr read(const proto::TensorProto &tensor, mlir::Location loc);

private:
  /// Bytes, and what keeps them alive.
  struct Data {
    llvm::ArrayRef<char> bytes;
    std::shared_ptr<const void> owner;
  };

  mlir::RankedTensorType readType(const proto::TensorProto &tensor,
                                  mlir::Location loc);
  std::optional<Data> readExternal(const proto::TensorProto &tensor,
                                   mlir::Location loc);
  llvm::MemoryBuffer *openExternal(llvm::StringRef location,
                                   mlir::Location loc);
  Data readData(const proto::TensorProto &tensor, mlir::Type elementType);
  mlir::ElementsAttr getAttr(llvm::StringRef name, mlir::RankedTensorType type,
                             Data data);

  std::shared_ptr<const proto::ModelProto> model;
  std::string folder;
  llvm::StringMap<std::shared_ptr<llvm::MemoryBuffer>> files;
};

} // namespace qtx::importer

#endif // QTX_LIB_IMPORT_ONNX_TENSORS_H
