//===- Emit.cpp - Code of a model -----------------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "qtx/Kernel/Target.h"
#include "qtx/Support/OutputFiles.h"
#include "qtx/Target/InstructionOrder.h"
#include "qtx/Target/JIT.h"
#include "qtx/Target/Object.h"
#include "qtx/Target/OpenMP.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"

using namespace mlir;
using namespace qtx;

//===----------------------------------------------------------------------===//
// Target
//===----------------------------------------------------------------------===//

static void initializeTargets() {
  static const bool initialized = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    // For the inline assembly that asks for the features of the CPU.
    llvm::InitializeAllAsmParsers();
    return true;
  }();
  (void)initialized;
}

/// The features of this machine as LLVM writes them: `+avx2,-amx-tile,...`.
static std::string getHostFeatures() {
  llvm::SubtargetFeatures features;
  for (const auto &[name, isOn] : llvm::sys::getHostCPUFeatures())
    features.AddFeature(name, isOn);
  return features.getString();
}

static llvm::Triple getTriple(const TargetOptions &options) {
  return llvm::Triple(options.triple.empty()
                          ? llvm::sys::getDefaultTargetTriple()
                          : llvm::Triple::normalize(options.triple));
}

/// The target of LLVM for code of this ABI: sizes are of 64 bits, constants are
/// as in files of weights, and symbols are those of ELF.
static llvm::Expected<const llvm::Target *>
findTarget(const llvm::Triple &triple) {
  initializeTargets();
  std::string message;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, message);
  if (target && triple.isArch64Bit() && triple.isLittleEndian() &&
      triple.isOSBinFormatELF())
    return target;
  return llvm::createStringError(
      "-mtriple: expected a little-endian target of 64 bits with ELF objects, "
      "found '" +
      triple.str() + "'");
}

/// LLVM warns about unknown names, once for each machine, and goes on.
static llvm::Error checkNames(const llvm::Target &target,
                              const llvm::Triple &triple, StringRef cpu,
                              ArrayRef<std::string> features) {
  std::unique_ptr<llvm::MCSubtargetInfo> known(
      target.createMCSubtargetInfo(triple, "", ""));
  if (!cpu.empty() && !known->isCPUStringValid(cpu))
    return llvm::createStringError("-mcpu: expected a CPU of " +
                                   triple.getArchName() + ", found '" + cpu +
                                   "'");
  for (StringRef feature : features) {
    StringRef name = feature.trim("+-");
    auto isThis = [&](const auto &entry) { return entry.Key == name; };
    if (llvm::none_of(known->getAllProcessorFeatures(), isThis))
      return llvm::createStringError("-mattr: expected features of " +
                                     triple.getArchName() +
                                     ", as +avx2,-fma, found '" + name + "'");
  }
  return llvm::Error::success();
}

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createTargetMachine(const TargetOptions &options) {
  llvm::Triple triple = getTriple(options);
  auto target = findTarget(triple);
  if (!target)
    return target.takeError();
  bool isNative = options.cpu == "native" ||
                  (options.cpu.empty() && options.triple.empty());
  std::string cpu = isNative ? llvm::sys::getHostCPUName().str() : options.cpu;
  llvm::SubtargetFeatures features(isNative ? getHostFeatures() : "");
  llvm::SubtargetFeatures added(options.features);
  if (llvm::Error error =
          checkNames(**target, triple, cpu, added.getFeatures()))
    return error;
  for (const std::string &feature : added.getFeatures())
    features.AddFeature(feature);
  llvm::TargetOptions targetOptions;
  std::unique_ptr<llvm::TargetMachine> machine((*target)->createTargetMachine(
      triple, cpu, features.getString(), targetOptions, llvm::Reloc::PIC_));
  if (!machine)
    return llvm::createStringError("cannot generate code for '" + triple.str() +
                                   "'");
  return machine;
}

/// The machines of `kMultiCPU`: one for each kind of integer kernels.
static constexpr std::pair<StringLiteral, StringLiteral> kMultiMachines[] = {
    {"x86-64-v3", ""},
    {"x86-64-v3", "+avxvnni"},
    {"x86-64-v4", "+avx512vnni"},
    {"x86-64-v4", "+avx512vnni,+amx-tile,+amx-int8"}};

static std::string joinFeatures(StringRef first, StringRef second) {
  bool isOne = first.empty() || second.empty();
  return (first + (isOne ? "" : ",") + second).str();
}

/// Adds the machine that `options` describe to `machines`.
static llvm::Error addMachine(TargetMachines &machines,
                              const TargetOptions &options) {
  auto machine = createTargetMachine(options);
  if (!machine)
    return machine.takeError();
  machines.push_back(std::move(*machine));
  return llvm::Error::success();
}

/// The machines for code, but for the level at which it is generated.
static llvm::Expected<TargetMachines>
listTargetMachines(const TargetOptions &options) {
  TargetMachines machines;
  if (options.cpu == kMultiCPU) {
    llvm::Triple triple = getTriple(options);
    if (triple.getArch() != llvm::Triple::x86_64)
      return llvm::createStringError("-mcpu: expected a CPU of " +
                                     triple.getArchName() + ", found '" +
                                     kMultiCPU + "'");
    for (auto [cpu, features] : kMultiMachines) {
      TargetOptions machine = options;
      machine.cpu = cpu;
      machine.features = joinFeatures(features, options.features);
      if (llvm::Error error = addMachine(machines, machine))
        return error;
    }
    return machines;
  }
  if (llvm::Error error = addMachine(machines, options))
    return error;
  const llvm::TargetMachine &best = *machines.front();
  if (best.getTargetTriple().getArch() != llvm::Triple::x86_64 ||
      !best.getMCSubtargetInfo()->checkFeatures("+amx-tile"))
    return machines;
  // The features that need AMX go with it.
  TargetOptions other = options;
  other.features = joinFeatures(options.features, "-amx-tile");
  if (llvm::Error error = addMachine(machines, other))
    return error;
  std::swap(machines[0], machines[1]);
  return machines;
}

llvm::Expected<TargetMachines>
qtx::createTargetMachines(const TargetOptions &options) {
  auto machines = listTargetMachines(options);
  // Where there are several, one machine emits the code of all, and the best
  // may have AMX.
  if (machines)
    for (std::unique_ptr<llvm::TargetMachine> &machine : *machines)
      machine->setOptLevel(
          getCodeGenLevel(options.optLevel, machines->size() > 1));
  return machines;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

static llvm::Error emitTo(llvm::Module &module, llvm::TargetMachine &machine,
                          CodeKind kind, llvm::raw_pwrite_stream &stream) {
  if (kind == CodeKind::LLVMIR) {
    module.print(stream, nullptr);
    return llvm::Error::success();
  }
  llvm::legacy::PassManager passes;
  auto type = kind == CodeKind::Assembly ? llvm::CodeGenFileType::AssemblyFile
                                         : llvm::CodeGenFileType::ObjectFile;
  if (machine.addPassesToEmitFile(passes, stream, nullptr, type))
    return llvm::createStringError("cannot emit such a file for the target");
  passes.run(module);
  return llvm::Error::success();
}

/// The library that the code of an object file calls; empty if none.
static llvm::Expected<std::string> findLibrary(StringRef path) {
  auto object = llvm::object::ObjectFile::createObjectFile(path);
  if (!object)
    return object.takeError();
  return needsOpenMP(*object->getBinary()) ? loadOpenMP() : std::string();
}

/// Links the object, and the library that it needs, into a shared library with
/// LLVM's linker.
static llvm::Error link(StringRef object, StringRef path) {
  auto library = findLibrary(object);
  if (!library)
    return library.takeError();
  auto linker = llvm::sys::findProgramByName(
      "ld.lld", {"/usr/lib/llvm-" QTX_LLVM_MAJOR_STRING "/bin"});
  if (!linker)
    linker = llvm::sys::findProgramByName("ld.lld");
  if (!linker)
    return llvm::createStringError(
        "expected the linker 'ld.lld' to make a shared library, found none");
  std::string message;
  SmallVector<StringRef> arguments = {*linker, "-shared", "-o", path, object};
  if (!library->empty())
    arguments.push_back(*library);
  int status = llvm::sys::ExecuteAndWait(*linker, arguments, std::nullopt, {},
                                         0, 0, &message);
  if (status)
    return llvm::createStringError("'ld.lld' failed with status " +
                                   Twine(status) + " " + message);
  return llvm::Error::success();
}

/// Links what `write` writes into a shared library.
static llvm::Error
writeLibrary(OutputFiles &files, StringRef path,
             function_ref<llvm::Error(llvm::raw_fd_ostream &)> write) {
  auto library = files.add(path);
  if (!library)
    return library.takeError();
  int descriptor;
  SmallString<128> object;
  if (auto code =
          llvm::sys::fs::createTemporaryFile("qtx", "o", descriptor, object))
    return llvm::errorCodeToError(code);
  llvm::scope_exit remove([&] { llvm::sys::fs::remove(object); });
  llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
  if (llvm::Error error = write(stream))
    return error;
  stream.close();
  if (!stream.has_error())
    return link(object, *library);
  llvm::Error error = llvm::errorCodeToError(stream.error());
  stream.clear_error();
  return error;
}

llvm::Error qtx::linkLibrary(StringRef object, StringRef path,
                             OutputFiles &files) {
  return writeLibrary(files, path, [&](llvm::raw_fd_ostream &stream) {
    stream << object;
    return llvm::Error::success();
  });
}

llvm::Error qtx::emitCode(ModuleOp module, llvm::TargetMachine &machine,
                          unsigned optLevel, CodeKind kind, StringRef path,
                          OutputFiles &files) {
  DialectRegistry registry;
  registerJITTranslations(registry);
  module.getContext()->appendDialectRegistry(registry);
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated =
      translateModuleToLLVMIR(module, context);
  if (!translated)
    return llvm::createStringError("cannot translate the model to LLVM IR");
  translated->setTargetTriple(machine.getTargetTriple());
  translated->setDataLayout(machine.createDataLayout());
  auto optimize = makeOptimizingTransformer(optLevel, 0, &machine);
  if (llvm::Error error = optimize(translated.get()))
    return error;
  keepInstructionOrder(*translated);
  if (kind == CodeKind::Library)
    return writeLibrary(files, path, [&](llvm::raw_fd_ostream &stream) {
      return emitTo(*translated, machine, CodeKind::Object, stream);
    });
  return files.write(path, [&](llvm::raw_fd_ostream &stream) {
    if (stream.supportsSeeking())
      return emitTo(*translated, machine, kind, stream);
    llvm::buffer_ostream buffered(stream);
    return emitTo(*translated, machine, kind, buffered);
  });
}
