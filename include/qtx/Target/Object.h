//===- Object.h - Models as object files ------------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// From a function in entry form to an object file with the C interface of
// docs/HowTo/LinkAModel.md.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_TARGET_OBJECT_H
#define QTX_TARGET_OBJECT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llvm {
class TargetMachine;
} // namespace llvm

namespace qtx {

class OutputFiles;

/// The number of the C interface; it changes when callers must be compiled
/// again.
inline constexpr int32_t kObjectABIVersion = 1;

/// What the functions of an object return.
enum ObjectStatus : int32_t {
  kStatusOk = 0,
  kStatusNullPointer = 1,
  kStatusSizeOutOfRange = 2,
  kStatusWorkspaceTooSmall = 3,
  kStatusIndexOutOfRange = 4,
  kStatusMissingCPUFeature = 5
};

/// What the status says, for messages.
llvm::StringRef describeStatus(int32_t status);

/// The largest value of a dim, and of the product of all dims.
inline constexpr int64_t kLargestDim = int64_t(1) << 20;
inline constexpr int64_t kLargestDimProduct = int64_t(1) << 31;

/// An input or output as C callers see it.
struct ObjectValue {
  std::string name;
  /// The spelling of the element type: `f32`, `i64`, `i1`, ...
  std::string element;
  /// Dynamic sizes are `ShapedType::kDynamic`.
  std::vector<int64_t> shape;
  /// The name of the dim that each size is; empty where it is static or an
  /// expression of dims.
  std::vector<std::string> dims;
};

/// Code for CPUs that have certain features.
struct CodeVersion {
  /// The feature that its kernels are named after: `avx512vnni`, ...; the
  /// architecture if there is none.
  std::string name;
  /// The features that it needs, as `+avx,+avx2`.
  std::string features;
};

/// What code for `machine` is and needs. Only features of x86-64 are known.
CodeVersion describeVersion(const llvm::TargetMachine &machine);

/// Callers align weights to this many bytes.
inline constexpr int64_t kWeightsAlignment = 64;

/// A file with the weights of a model, which callers map and pass.
struct WeightsFile {
  /// The name without a folder.
  std::string name;
  size_t bytes = 0;
  /// `hashContent` of it.
  std::string hash;
};

struct ObjectInterface {
  std::string name;
  std::vector<ObjectValue> inputs;
  std::vector<ObjectValue> outputs;
  std::vector<std::string> dims;
  /// The largest value of each dim, which tables of the model may limit.
  std::vector<int64_t> largest;
  std::string triple, cpu, features;
  /// Absent if the weights are part of the object.
  std::optional<WeightsFile> weights;
  /// The versions of the code, the best last.
  std::vector<CodeVersion> versions;
  /// The most threads that the code uses.
  unsigned threads = 1;
};

/// `name` as a C identifier: other characters become `_`.
std::string makeIdentifier(llvm::StringRef name);

/// Whether a model, or a version of it, is in entry form: behind the stage
/// `storage`.
bool isInEntryForm(mlir::ModuleOp module);

/// The interface of the function in entry form.
llvm::Expected<ObjectInterface> getObjectInterface(mlir::ModuleOp module,
                                                   llvm::StringRef name);

/// Gives the model's function the entry form, with checks of what callers pass.
void buildEntry(mlir::OpPassManager &passManager);

/// Removes the attributes of the entry form, which LLVM does not know.
void removeEntryAttrs(mlir::ModuleOp module);

/// Takes the large constants out of a module in the LLVM dialect, and returns
/// the file that holds them. The entry, and what needs the file behind it, get
/// a pointer to it as last argument.
std::vector<char> takeWeights(mlir::ModuleOp module);

/// Adds the C functions around the entry of a module in the LLVM dialect, and
/// makes everything else local.
void addCInterface(mlir::ModuleOp module, const ObjectInterface &interface);

/// The C header, and the signature that the object holds, as JSON.
std::string makeHeader(const ObjectInterface &interface);
std::string makeSignature(const ObjectInterface &interface);

struct TargetOptions {
  /// Empty means those of this machine.
  std::string triple, cpu, features;
  /// LLVM's optimization level, 0 to 3.
  unsigned optLevel = 2;
};

/// The name that stands for a list of CPUs of x86-64.
inline constexpr llvm::StringLiteral kMultiCPU = "multi";

using TargetMachines = std::vector<std::unique_ptr<llvm::TargetMachine>>;

/// The machines to generate code for, the best last: several for `kMultiCPU`,
/// and two for a CPU with AMX, whose use the operating system may refuse.
llvm::Expected<TargetMachines>
createTargetMachines(const TargetOptions &options);

/// Joins the modules inside of `module`, in the LLVM dialect, each compiled for
/// the machine of its number. Constants that several have are stored once.
void mergeVersions(mlir::ModuleOp module,
                   llvm::ArrayRef<mlir::ModuleOp> versions,
                   const TargetMachines &machines);

enum class CodeKind { LLVMIR, Assembly, Object, Library };

/// Writes the code of a module in the LLVM dialect to a file among `files`.
llvm::Error emitCode(mlir::ModuleOp module, llvm::TargetMachine &machine,
                     unsigned optLevel, CodeKind kind, llvm::StringRef path,
                     OutputFiles &files);

/// Links an object, given as its content, into a shared library among `files`.
llvm::Error linkLibrary(llvm::StringRef object, llvm::StringRef path,
                        OutputFiles &files);

} // namespace qtx

#endif // QTX_TARGET_OBJECT_H
