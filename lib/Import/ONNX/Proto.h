//===- Proto.h - The schema of ONNX files -----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_IMPORT_ONNX_PROTO_H
#define QTX_LIB_IMPORT_ONNX_PROTO_H

#include <onnx/onnx_pb.h>

namespace qtx::importer {
namespace proto = ::onnx;
} // namespace qtx::importer

#endif // QTX_LIB_IMPORT_ONNX_PROTO_H
