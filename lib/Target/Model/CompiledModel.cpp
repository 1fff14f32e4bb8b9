//===- CompiledModel.cpp - Load and call objects --------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Target/CompiledModel.h"
#include "qtx/Support/Hash.h"
#include "qtx/Target/OpenMP.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"
#include <cstring>
#include <dlfcn.h>
#include <utility>

using namespace mlir;
using namespace qtx;

/// NAME and this is the symbol that says what the object is.
static constexpr StringLiteral kSignatureSuffix = "_signature";

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

/// Code in this process.
class CompiledModel::Code {
public:
  virtual ~Code() = default;
  /// The address of a symbol; null if there is none.
  virtual void *find(StringRef name) = 0;
  virtual bool isLibrary() const = 0;
};

static llvm::Expected<llvm::StringSet<>>
collectNames(llvm::object::ELFObjectFileBase &object) {
  llvm::StringSet<> names;
  auto add = [&](const llvm::object::SymbolRef &symbol) -> llvm::Error {
    auto flags = symbol.getFlags();
    if (!flags)
      return flags.takeError();
    if ((*flags & llvm::object::SymbolRef::SF_Undefined) ||
        !(*flags & llvm::object::SymbolRef::SF_Global))
      return llvm::Error::success();
    auto name = symbol.getName();
    if (!name)
      return name.takeError();
    names.insert(*name);
    return llvm::Error::success();
  };
  for (const llvm::object::ELFSymbolRef &symbol :
       object.getDynamicSymbolIterators())
    if (llvm::Error error = add(symbol))
      return error;
  for (const llvm::object::ELFSymbolRef &symbol : object.symbols())
    if (llvm::Error error = add(symbol))
      return error;
  return names;
}

/// NAME, from the symbols `NAME_signature` and `NAME_run`.
static llvm::Expected<std::string>
findModelName(llvm::object::ELFObjectFileBase &object) {
  auto names = collectNames(object);
  if (!names)
    return names.takeError();
  std::vector<std::string> found;
  for (const auto &entry : *names) {
    StringRef name = entry.getKey();
    if (name.consume_back(kSignatureSuffix) &&
        names->contains((name + "_run").str()))
      found.push_back(name.str());
  }
  if (found.size() != 1)
    return llvm::createStringError("expected one symbol NAME_signature beside "
                                   "NAME_run, found " +
                                   Twine(found.size()));
  return found.front();
}

/// The file as ELF for the processor of this machine.
static llvm::Expected<std::unique_ptr<llvm::object::ELFObjectFileBase>>
parseELF(llvm::MemoryBufferRef buffer) {
  auto object = llvm::object::ObjectFile::createELFObjectFile(buffer);
  if (!object)
    return llvm::createStringError("expected an ELF object or library: " +
                                   llvm::toString(object.takeError()));
  llvm::Triple::ArchType host =
      llvm::Triple(llvm::sys::getProcessTriple()).getArch();
  if ((*object)->getArch() != host)
    return llvm::createStringError(
        "expected code for " + llvm::Triple::getArchTypeName(host) +
        ", found code for " +
        llvm::Triple::getArchTypeName((*object)->getArch()));
  return std::unique_ptr<llvm::object::ELFObjectFileBase>(
      cast<llvm::object::ELFObjectFileBase>(object->release()));
}

//===----------------------------------------------------------------------===//
// Object files
//===----------------------------------------------------------------------===//

/// An object file, linked in memory. What it needs comes from this process.
class CompiledModel::LinkedObject : public CompiledModel::Code {
public:
  static llvm::Expected<std::unique_ptr<Code>>
  create(std::unique_ptr<llvm::MemoryBuffer> object, bool hasThreads) {
    static const bool initialized = [] {
      llvm::InitializeNativeTarget();
      return true;
    }();
    (void)initialized;
    auto jit = llvm::orc::LLJITBuilder().create();
    if (!jit)
      return jit.takeError();
    if (hasThreads)
      if (llvm::Error error = addOpenMP(**jit))
        return error;
    if (llvm::Error error = (*jit)->addObjectFile(std::move(object)))
      return error;
    auto code = std::make_unique<LinkedObject>();
    code->jit = std::move(*jit);
    return code;
  }

  void *find(StringRef name) override {
    auto address = jit->lookup(name);
    if (address)
      return address->toPtr<void *>();
    // The reason is printed by the session; callers say what is missing.
    llvm::consumeError(address.takeError());
    return nullptr;
  }

  bool isLibrary() const override { return false; }

private:
  static llvm::Error addOpenMP(llvm::orc::LLJIT &jit) {
    auto path = loadOpenMP();
    if (!path)
      return path.takeError();
    auto library = llvm::orc::DynamicLibrarySearchGenerator::Load(
        path->c_str(), jit.getDataLayout().getGlobalPrefix());
    if (!library)
      return library.takeError();
    jit.getMainJITDylib().addGenerator(std::move(*library));
    return llvm::Error::success();
  }

  std::unique_ptr<llvm::orc::LLJIT> jit;
};

//===----------------------------------------------------------------------===//
// Shared libraries
//===----------------------------------------------------------------------===//

class CompiledModel::LoadedLibrary : public CompiledModel::Code {
public:
  static llvm::Expected<std::unique_ptr<Code>> create(StringRef path) {
    // A name without a slash would be looked for in the system's folders.
    SmallString<128> absolute(path);
    llvm::sys::fs::make_absolute(absolute);
    auto library = std::make_unique<LoadedLibrary>();
    library->handle = dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library->handle)
      return llvm::createStringError(dlerror());
    return library;
  }
  ~LoadedLibrary() override {
    if (handle)
      dlclose(handle);
  }

  void *find(StringRef name) override {
    return dlsym(handle, name.str().c_str());
  }

  bool isLibrary() const override { return true; }

private:
  void *handle = nullptr;
};

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

CompiledModel::CompiledModel() = default;
CompiledModel::~CompiledModel() = default;

bool CompiledModel::isLibrary() const { return code->isLibrary(); }

llvm::Expected<std::unique_ptr<CompiledModel>>
CompiledModel::create(std::unique_ptr<Code> code, StringRef name) {
  std::unique_ptr<CompiledModel> model(new CompiledModel);
  auto find = [&](const Twine &suffix) -> llvm::Expected<void *> {
    std::string symbol = (name + suffix).str();
    if (void *address = code->find(symbol))
      return address;
    return llvm::createStringError("symbol '" + symbol + "' is missing");
  };
  auto text = find(kSignatureSuffix);
  if (!text)
    return text.takeError();
  auto signature = parseModelSignature(static_cast<const char *>(*text));
  if (!signature)
    return signature.takeError();
  model->signature = std::move(*signature);
  model->signature.function.name = name.str();
  auto run = find("_run");
  if (!run)
    return run.takeError();
  model->runFunction = *run;
  // Objects that other versions of qtx made may lack it.
  model->codeVersionFunction =
      reinterpret_cast<decltype(model->codeVersionFunction)>(
          code->find((name + "_code_version").str()));
  auto shape = find("_output_shape");
  if (!shape)
    return shape.takeError();
  model->outputShapeFunction =
      reinterpret_cast<decltype(model->outputShapeFunction)>(*shape);
  auto size = find("_workspace_size");
  if (!size)
    return size.takeError();
  model->workspaceSizeFunction =
      reinterpret_cast<decltype(model->workspaceSizeFunction)>(*size);
  model->code = std::move(code);
  return model;
}

llvm::Expected<std::unique_ptr<CompiledModel>>
CompiledModel::link(std::unique_ptr<llvm::MemoryBuffer> object) {
  auto elf = parseELF(*object);
  if (!elf)
    return elf.takeError();
  auto name = findModelName(**elf);
  if (!name)
    return name.takeError();
  bool hasThreads = needsOpenMP(**elf);
  auto code = LinkedObject::create(std::move(object), hasThreads);
  if (!code)
    return code.takeError();
  return create(std::move(*code), *name);
}

/// A file, in memory that is aligned as code wants it.
static llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
mapFile(StringRef path) {
  auto file =
      llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                  /*RequiresNullTerminator=*/false,
                                  /*IsVolatile=*/false, llvm::Align(64));
  if (!file)
    return llvm::createStringError(path + ": " + file.getError().message());
  return std::move(*file);
}

llvm::Error
CompiledModel::bindWeights(std::unique_ptr<llvm::MemoryBuffer> file) {
  if (!signature.weights)
    return llvm::Error::success();
  if (!file)
    return llvm::createStringError("expected the weights '" +
                                   signature.weights->file +
                                   "' beside the model");
  if (int64_t(file->getBufferSize()) != signature.weights->bytes)
    return llvm::createStringError(file->getBufferIdentifier() + ": expected " +
                                   Twine(signature.weights->bytes) +
                                   " bytes of weights, found " +
                                   Twine(file->getBufferSize()));
  std::string hash = hashContent(file->getBuffer());
  if (hash != signature.weights->hash)
    return llvm::createStringError(file->getBufferIdentifier() +
                                   ": expected weights with the hash " +
                                   signature.weights->hash + ", found " + hash);
  weights = std::move(file);
  return llvm::Error::success();
}

llvm::Expected<std::unique_ptr<CompiledModel>>
CompiledModel::loadObject(std::unique_ptr<llvm::MemoryBuffer> object,
                          std::unique_ptr<llvm::MemoryBuffer> weights) {
  auto model = link(std::move(object));
  if (!model)
    return model.takeError();
  if (llvm::Error error = (*model)->bindWeights(std::move(weights)))
    return error;
  return model;
}

llvm::Expected<std::unique_ptr<CompiledModel>>
CompiledModel::load(StringRef path) {
  auto model = loadCode(path);
  if (!model || !(*model)->signature.weights)
    return model;
  SmallString<128> file(path);
  llvm::sys::path::remove_filename(file);
  llvm::sys::path::append(
      file, llvm::sys::path::filename((*model)->signature.weights->file));
  auto weights = mapFile(file);
  if (!weights)
    return weights.takeError();
  if (llvm::Error error = (*model)->bindWeights(std::move(*weights)))
    return error;
  return model;
}

llvm::Expected<std::unique_ptr<CompiledModel>>
CompiledModel::loadCode(StringRef path) {
  auto addPath = [&](llvm::Error error) {
    return llvm::createStringError(path + ": " +
                                   llvm::toString(std::move(error)));
  };
  auto file = mapFile(path);
  if (!file)
    return file.takeError();
  auto elf = parseELF(**file);
  if (!elf)
    return addPath(elf.takeError());
  if ((*elf)->getEType() != llvm::ELF::ET_DYN) {
    auto model = link(std::move(*file));
    return model ? std::move(model) : addPath(model.takeError());
  }
  auto name = findModelName(**elf);
  if (!name)
    return addPath(name.takeError());
  auto code = LoadedLibrary::create(path);
  if (!code)
    return code.takeError();
  auto model = create(std::move(*code), *name);
  return model ? std::move(model) : addPath(model.takeError());
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

llvm::Error CompiledModel::setNumThreads(unsigned count) const {
  if (count < 1 || count > signature.threads)
    return llvm::createStringError(
        "expected 1 to " + Twine(signature.threads) +
        ", for which the model was compiled, found " + Twine(count));
  if (signature.threads > 1)
    reinterpret_cast<void (*)(int)>(code->find("omp_set_num_threads"))(count);
  return llvm::Error::success();
}

static constexpr int32_t kMissingCPUFeature = 5;

/// The meaning of a status.
static StringRef describeCode(int32_t status) {
  static constexpr StringLiteral kTexts[] = {"ok",
                                             "null pointer",
                                             "size out of range",
                                             "workspace too small",
                                             "index out of range",
                                             "CPU feature missing"};
  if (status < 0 || size_t(status) >= std::size(kTexts))
    return "unknown status";
  return kTexts[status];
}

llvm::Error CompiledModel::makeError(StringRef suffix, int32_t status) const {
  if (status == 0)
    return llvm::Error::success();
  return llvm::createStringError(signature.function.name + suffix + ": " +
                                 describeCode(status) + " (status " +
                                 Twine(status) + ")");
}

llvm::Expected<VersionSignature> CompiledModel::getVersion() const {
  if (!codeVersionFunction)
    return VersionSignature{signature.cpu, signature.features};
  int32_t version = codeVersionFunction();
  if (version < 0 || size_t(version) >= signature.versions.size())
    return makeError("_code_version", kMissingCPUFeature);
  return signature.versions[version];
}

/// What is wrong with one size of an input; empty if nothing is.
static std::string checkSize(int64_t size, int64_t expected,
                             const DimSignature *dim, int64_t &known) {
  if (!dim)
    return size == expected ? ""
                            : "expected size " + std::to_string(expected) +
                                  ", found " + std::to_string(size);
  if (size < dim->minimum || size > dim->maximum)
    return "expected '" + dim->name + "' from " + std::to_string(dim->minimum) +
           " to " + std::to_string(dim->maximum) + ", found " +
           std::to_string(size);
  if (known < 0)
    known = size;
  if (known == size)
    return "";
  return "expected '" + dim->name + "' = " + std::to_string(known) +
         " as in an input before, found " + std::to_string(size);
}

llvm::Expected<std::vector<int64_t>>
CompiledModel::getDims(ArrayRef<BufferView> inputs) const {
  ArrayRef<ValueSignature> expected = signature.function.inputs;
  if (inputs.size() != expected.size())
    return llvm::createStringError("expected " + Twine(expected.size()) +
                                   " inputs, found " + Twine(inputs.size()));
  std::vector<int64_t> dims(signature.dims.size(), -1);
  for (auto [value, view, inputDims] :
       llvm::zip_equal(expected, inputs, signature.inputDims)) {
    auto fail = [&, &value = value](const Twine &text) {
      return llvm::createStringError("input '" + value.name + "': " + text);
    };
    if (view.element != value.element ||
        view.shape.size() != value.shape.size())
      return fail("expected " + describe(value.shape, value.element) +
                  ", found " + describe(view.shape, view.element));
    for (auto [size, wanted, dim] :
         llvm::zip_equal(view.shape, value.shape, inputDims)) {
      int64_t unused = 0;
      std::string problem =
          checkSize(size, wanted, dim < 0 ? nullptr : &signature.dims[dim],
                    dim < 0 ? unused : dims[dim]);
      if (!problem.empty())
        return fail(problem);
    }
  }
  return dims;
}

llvm::Expected<std::vector<int64_t>>
CompiledModel::getOutputShape(size_t output, ArrayRef<int64_t> dims) const {
  std::vector<int64_t> shape(signature.function.outputs[output].shape.size());
  // Null would be an error even where nothing is read or written.
  int64_t none = 0;
  int32_t status =
      outputShapeFunction(output, dims.empty() ? &none : dims.data(),
                          shape.empty() ? &none : shape.data());
  if (llvm::Error error = makeError("_output_shape", status))
    return error;
  return shape;
}

llvm::Expected<size_t>
CompiledModel::getWorkspaceSize(ArrayRef<int64_t> dims) const {
  int64_t bytes = 0, none = 0;
  int32_t status =
      workspaceSizeFunction(dims.empty() ? &none : dims.data(), &bytes);
  if (llvm::Error error = makeError("_workspace_size", status))
    return error;
  return bytes;
}

/// Most inputs and outputs together that can be called.
static constexpr size_t kMaxBuffers = 64;

template <size_t... Index>
static int32_t callWith(std::index_sequence<Index...>, void *function,
                        void *const *buffers, const int64_t *dims,
                        void *workspace, size_t bytes) {
  // A parameter of type `void *` for each index.
  using Function = int32_t (*)(decltype((void)Index, (void *)nullptr)...,
                               const int64_t *, void *, size_t);
  return reinterpret_cast<Function>(function)(buffers[Index]..., dims,
                                              workspace, bytes);
}

using CallFunction = int32_t (*)(void *function, void *const *buffers,
                                 const int64_t *dims, void *workspace,
                                 size_t bytes);

template <size_t Count>
static int32_t callCount(void *function, void *const *buffers,
                         const int64_t *dims, void *workspace, size_t bytes) {
  return callWith(std::make_index_sequence<Count>(), function, buffers, dims,
                  workspace, bytes);
}

template <size_t... Count>
static CallFunction selectCall(std::index_sequence<Count...>, size_t count) {
  static constexpr CallFunction kCalls[] = {callCount<Count>...};
  return kCalls[count];
}

llvm::Error CompiledModel::run(ArrayRef<const void *> inputs,
                               ArrayRef<void *> outputs, ArrayRef<int64_t> dims,
                               void *workspace, size_t workspaceBytes) const {
  SmallVector<void *> buffers;
  for (const void *input : inputs)
    buffers.push_back(const_cast<void *>(input));
  buffers.append(outputs.begin(), outputs.end());
  if (weights)
    buffers.push_back(const_cast<char *>(weights->getBufferStart()));
  if (buffers.size() > kMaxBuffers)
    return llvm::createStringError("expected at most " + Twine(kMaxBuffers) +
                                   " inputs and outputs, found " +
                                   Twine(buffers.size()));
  CallFunction call =
      selectCall(std::make_index_sequence<kMaxBuffers + 1>(), buffers.size());
  int64_t none = 0;
  return makeError("_run", call(runFunction, buffers.data(),
                                dims.empty() ? &none : dims.data(), workspace,
                                workspaceBytes));
}

/// Memory that need not be cleared; an allocation that fails is null.
static std::unique_ptr<char[]> allocate(size_t bytes) {
  return std::unique_ptr<char[]>(
      new (std::nothrow) char[std::max<size_t>(bytes, 1)]);
}

llvm::Expected<PreparedCall>
CompiledModel::prepare(ArrayRef<BufferView> inputs) const {
  auto dims = getDims(inputs);
  if (!dims)
    return dims.takeError();
  PreparedCall call;
  call.dims = std::move(*dims);
  auto bytes = getWorkspaceSize(call.dims);
  if (!bytes)
    return bytes.takeError();
  call.workspaceBytes = *bytes;
  call.workspace = allocate(*bytes);
  bool isAllocated = call.workspace != nullptr;
  for (auto [i, value] : llvm::enumerate(signature.function.outputs)) {
    auto shape = getOutputShape(i, call.dims);
    if (!shape)
      return shape.takeError();
    auto count = getNumElements(*shape, value.element);
    if (!count)
      return count.takeError();
    call.outputs.push_back({allocate(*count * getElementSize(value.element)),
                            std::move(*shape), value.element});
    isAllocated &= call.outputs.back().data != nullptr;
  }
  if (!isAllocated)
    return llvm::createStringError("not enough memory");
  // An empty array may have no address, but the model wants one.
  for (const BufferView &input : inputs)
    call.inputs.push_back(input.data ? input.data : call.workspace.get());
  return call;
}

llvm::Error CompiledModel::run(PreparedCall &call) const {
  SmallVector<void *> outputs;
  for (Buffer &output : call.outputs)
    outputs.push_back(output.data.get());
  return run(call.inputs, outputs, call.dims, call.workspace.get(),
             call.workspaceBytes);
}

llvm::Expected<std::vector<Buffer>>
CompiledModel::invoke(ArrayRef<BufferView> inputs) const {
  auto call = prepare(inputs);
  if (!call)
    return call.takeError();
  if (llvm::Error error = run(*call))
    return error;
  return std::move(call->outputs);
}
