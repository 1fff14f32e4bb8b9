//===- Output.cpp - What a compilation writes -----------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Pipelines/Compiler.h"
#include "qtx/Support/OutputFiles.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Kinds
//===----------------------------------------------------------------------===//

std::optional<OutputKind> qtx::getOutputKind(StringRef name) {
  return llvm::StringSwitch<std::optional<OutputKind>>(name)
      .Case("mlir", OutputKind::MLIR)
      .Case("linalg", OutputKind::Linalg)
      .Case("llvm", OutputKind::LLVMIR)
      .Case("asm", OutputKind::Assembly)
      .Case("obj", OutputKind::Object)
      .Case("lib", OutputKind::Library)
      .Case("header", OutputKind::Header)
      .Default(std::nullopt);
}

std::optional<OutputKind> qtx::getOutputKindOfFile(StringRef path) {
  return llvm::StringSwitch<std::optional<OutputKind>>(
             llvm::sys::path::extension(path))
      .Case(".mlir", OutputKind::MLIR)
      .Case(".ll", OutputKind::LLVMIR)
      .Case(".s", OutputKind::Assembly)
      .Case(".o", OutputKind::Object)
      .Case(".so", OutputKind::Library)
      .Case(".h", OutputKind::Header)
      .Default(std::nullopt);
}

Stage qtx::getLastStage(OutputKind kind) {
  switch (kind) {
  case OutputKind::MLIR:
    return Stage::Fuse;
  case OutputKind::Linalg:
    return Stage::Tile;
  case OutputKind::Header:
    // By then it is known which versions of the code there are.
    return Stage::Pack;
  case OutputKind::LLVMIR:
  case OutputKind::Assembly:
  case OutputKind::Object:
  case OutputKind::Library:
    return Stage::Object;
  }
  llvm_unreachable("unknown kind of output");
}

static CodeKind getCodeKind(OutputKind kind) {
  switch (kind) {
  case OutputKind::LLVMIR:
    return CodeKind::LLVMIR;
  case OutputKind::Assembly:
    return CodeKind::Assembly;
  case OutputKind::Library:
    return CodeKind::Library;
  default:
    return CodeKind::Object;
  }
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

std::string qtx::getHeaderPath(StringRef path) {
  SmallString<128> header(path);
  llvm::sys::path::replace_extension(header, ".h");
  return header.str().str();
}

/// Whether the C header of what is written to `path` stands beside it.
static bool needsHeader(OutputKind kind, StringRef path) {
  return path != "-" &&
         (kind == OutputKind::Object || kind == OutputKind::Library);
}

std::vector<std::string> qtx::getOutputPaths(const CompileOptions &options,
                                             OutputKind kind, StringRef path) {
  std::vector<std::string> paths = {path.str()};
  if (needsHeader(kind, path))
    paths.push_back(getHeaderPath(path));
  if (!options.weightsPath.empty())
    paths.push_back(options.weightsPath);
  return paths;
}

/// Writes code, the weights that are no part of it, and the header.
static llvm::Error writeCode(ModuleOp module, const CompileOptions &options,
                             const CompileResult &result, OutputKind kind,
                             StringRef path, OutputFiles &files) {
  if (llvm::Error error =
          emitCode(module, *result.machine, options.target.optLevel,
                   getCodeKind(kind), path, files))
    return error;
  StringRef weights(result.weights.data(), result.weights.size());
  if (!options.weightsPath.empty())
    if (llvm::Error error = files.write(options.weightsPath, weights))
      return error;
  if (!needsHeader(kind, path))
    return llvm::Error::success();
  return files.write(getHeaderPath(path), makeHeader(result.interface));
}

llvm::Error qtx::writeOutput(ModuleOp module, const CompileOptions &options,
                             const CompileResult &result, OutputKind kind,
                             StringRef path, OutputFiles &files) {
  switch (kind) {
  case OutputKind::MLIR:
  case OutputKind::Linalg:
    return files.write(path, [&](llvm::raw_ostream &stream) {
      module->print(stream);
      return llvm::Error::success();
    });
  case OutputKind::Header:
    return files.write(path, makeHeader(result.interface));
  default:
    return writeCode(module, options, result, kind, path, files);
  }
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
qtx::emitObject(ModuleOp module, const CompileOptions &options,
                const CompileResult &result) {
  SmallString<128> path;
  if (std::error_code code =
          llvm::sys::fs::createTemporaryFile("qtx", "o", path))
    return llvm::errorCodeToError(code);
  llvm::scope_exit remove([&] { llvm::sys::fs::remove(path); });
  OutputFiles files;
  if (llvm::Error error =
          emitCode(module, *result.machine, options.target.optLevel,
                   CodeKind::Object, path, files))
    return error;
  if (llvm::Error error = files.keep())
    return error;
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                          /*RequiresNullTerminator=*/false);
  if (!file)
    return llvm::errorCodeToError(file.getError());
  return std::move(*file);
}

std::unique_ptr<llvm::MemoryBuffer>
qtx::copyWeights(const CompileResult &result) {
  if (!result.interface.weights)
    return nullptr;
  auto buffer = llvm::WritableMemoryBuffer::getNewUninitMemBuffer(
      result.weights.size(), "weights", llvm::Align(kWeightsAlignment));
  llvm::copy(result.weights, buffer->getBufferStart());
  return buffer;
}
