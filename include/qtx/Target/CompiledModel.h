//===- CompiledModel.h - Load and call objects ------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A compiled model, called through the C functions that users link. Object
// files are linked in memory, shared libraries loaded.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_COMPILEDMODEL_H
#define QTX_TARGET_COMPILEDMODEL_H

#include "qtx/Target/JIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include <limits>

namespace qtx {

/// A dynamic size that callers pass.
struct DimSignature {
  std::string name;
  int64_t minimum = 1;
  int64_t maximum = std::numeric_limits<int64_t>::max();
};

/// A version of the code, for CPUs with certain features.
struct VersionSignature {
  std::string name;
  /// As `+avx,+avx2`.
  std::string features;
};

/// The file that holds the weights of a model, beside it.
struct WeightsSignature {
  std::string file;
  int64_t bytes = 0;
  std::string hash;
};

/// What an object says about itself.
struct ModelSignature {
  FunctionSignature function;
  std::vector<DimSignature> dims;
  /// For each size of each input, which of `dims` it is; -1 if it is static.
  std::vector<std::vector<int64_t>> inputDims;
  unsigned threads = 1;
  std::string triple;
  std::string cpu;
  std::string features;
  /// Absent if the weights are part of the object.
  std::optional<WeightsSignature> weights;
  /// What all this was read from.
  std::string text;
  /// The best last; empty if the object does not say.
  std::vector<VersionSignature> versions;
};

/// Reads the JSON text of the symbol `NAME_signature`.
llvm::Expected<ModelSignature> parseModelSignature(llvm::StringRef text);

/// The memory of a call, allocated before it. The inputs are those of the
/// caller.
struct PreparedCall {
  std::vector<int64_t> dims;
  std::vector<const void *> inputs;
  std::vector<Buffer> outputs;
  std::unique_ptr<char[]> workspace;
  size_t workspaceBytes = 0;
};

/// A model that can be called. Calls may run concurrently.
class CompiledModel {
public:
  /// Loads an object file (`.o`) or a shared library (`.so`), whichever the
  /// content is. NAME is found by the symbol of the signature, and a file of
  /// weights beside the object.
  static llvm::Expected<std::unique_ptr<CompiledModel>>
  load(llvm::StringRef path);

  /// Links an object file that lies in memory, with its weights if they are a
  /// file of their own.
  static llvm::Expected<std::unique_ptr<CompiledModel>>
  loadObject(std::unique_ptr<llvm::MemoryBuffer> object,
             std::unique_ptr<llvm::MemoryBuffer> weights = nullptr);

  ~CompiledModel();

  const ModelSignature &getSignature() const { return signature; }

  /// The version of the code that runs on this CPU; fails if none does.
  llvm::Expected<VersionSignature> getVersion() const;

  /// Whether the model comes from a shared library.
  bool isLibrary() const;

  /// The content of the file of the weights; null if there is none.
  const llvm::MemoryBuffer *getWeights() const { return weights.get(); }

  /// Lets calls from this thread use so many threads: at most those that the
  /// model was compiled for, else it fails. Without it the OpenMP library
  /// chooses, from OMP_NUM_THREADS or the number of processors.
  llvm::Error setNumThreads(unsigned count) const;

  /// The dims of a call, from the shapes of its inputs. Fails where a shape
  /// does not match the signature or two inputs differ in a dim.
  llvm::Expected<std::vector<int64_t>>
  getDims(llvm::ArrayRef<BufferView> inputs) const;

  llvm::Expected<std::vector<int64_t>>
  getOutputShape(size_t output, llvm::ArrayRef<int64_t> dims) const;

  llvm::Expected<size_t> getWorkspaceSize(llvm::ArrayRef<int64_t> dims) const;

  /// Calls the model on memory of the caller, without a copy. There must be one
  /// pointer per input and output.
  llvm::Error run(llvm::ArrayRef<const void *> inputs,
                  llvm::ArrayRef<void *> outputs, llvm::ArrayRef<int64_t> dims,
                  void *workspace, size_t workspaceBytes) const;

  /// Allocates what a call on `inputs` needs.
  llvm::Expected<PreparedCall> prepare(llvm::ArrayRef<BufferView> inputs) const;

  /// Calls the model on prepared memory; the outputs lie there.
  llvm::Error run(PreparedCall &call) const;

  /// Calls the model and returns its outputs.
  llvm::Expected<std::vector<Buffer>>
  invoke(llvm::ArrayRef<BufferView> inputs) const;

private:
  class Code;
  class LinkedObject;
  class LoadedLibrary;

  CompiledModel();
  static llvm::Expected<std::unique_ptr<CompiledModel>>
  create(std::unique_ptr<Code> code, llvm::StringRef name);
  static llvm::Expected<std::unique_ptr<CompiledModel>>
  link(std::unique_ptr<llvm::MemoryBuffer> object);
  /// Without weights that are a file of their own.
  static llvm::Expected<std::unique_ptr<CompiledModel>>
  loadCode(llvm::StringRef path);
  /// Checks that `file` is what the signature wants, and keeps it.
  llvm::Error bindWeights(std::unique_ptr<llvm::MemoryBuffer> file);
  llvm::Error makeError(llvm::StringRef suffix, int32_t status) const;

  std::unique_ptr<Code> code;
  std::unique_ptr<llvm::MemoryBuffer> weights;
  ModelSignature signature;
  void *runFunction = nullptr;
  int32_t (*codeVersionFunction)() = nullptr;
  int32_t (*outputShapeFunction)(int32_t output, const int64_t *dims,
                                 int64_t *shape) = nullptr;
  int32_t (*workspaceSizeFunction)(const int64_t *dims,
                                   int64_t *bytes) = nullptr;
};

} // namespace qtx

#endif // QTX_TARGET_COMPILEDMODEL_H
