//===- JIT.cpp - Compile and call functions in this process ---------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Target/JIT.h"
#include "Checks.h"
#include "LoweredConstants.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/ExecutionEngine/OptUtils.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/OpenMP/OpenMPToLLVMIRTranslation.h"
#include "qtx/Dialect/Qtx/Transforms/Passes.h"
#include "qtx/Kernel/Target.h"
#include "qtx/Kernel/Threads.h"
#include "qtx/Pipelines/Pipelines.h"
#include "qtx/Target/InstructionOrder.h"
#include "qtx/Target/OpenMP.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ExecutionEngine/Orc/JITTargetMachineBuilder.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include <csetjmp>
#include <cstring>

using namespace mlir;
using namespace qtx;

static_assert(sizeof(void *) == 8, "descriptors are built from 64-bit words");

/// Put before the names of functions, which could otherwise be those of the C
/// library or of what the lowering adds.
static constexpr StringLiteral kPrefix = "qtx.";

/// The lowering of memref.get_global puts this instead of a pointer that could
/// be freed.
static constexpr intptr_t kNotAllocated = 0xdeadbeef;

struct JITModule::Function {
  FunctionSignature signature;
  /// Why the function cannot be called; empty if it can.
  std::string problem;
  /// Takes pointers to the arguments, and to the result if that is a number.
  void (*entry)(void **) = nullptr;
};

//===----------------------------------------------------------------------===//
// Failures of a call
//===----------------------------------------------------------------------===//

namespace {
/// A check that failed during a call, and where to go on.
struct Failure {
  std::jmp_buf target;
  int64_t check;
  int64_t first;
  int64_t second;
};
} // namespace

/// The call that runs in this thread.
static thread_local Failure *currentCall = nullptr;

/// Leaves compiled code, whose frames have nothing to clean up but memory that
/// it allocated, which is lost.
static void reportCheck(int64_t check, int64_t first, int64_t second) {
  currentCall->check = check;
  currentCall->first = first;
  currentCall->second = second;
  std::longjmp(currentCall->target, 1);
}

/// Calls compiled code; false if a check failed.
static bool call(void (*entry)(void **), void **arguments, Failure &failure) {
  currentCall = &failure;
  if (setjmp(failure.target) != 0)
    return false;
  entry(arguments);
  return true;
}

static llvm::Error makeCheckError(const FunctionSignature &signature,
                                  const Check &check, const Failure &failure) {
  std::string text = "function '" + signature.name + "': " + check.location;
  if (!check.assertion.empty())
    return llvm::createStringError(text + check.assertion);
  return llvm::createStringError(text + "expected sizes that agree, found " +
                                 Twine(failure.first) + " and " +
                                 Twine(failure.second));
}

//===----------------------------------------------------------------------===//
// Compilation
//===----------------------------------------------------------------------===//

static bool isQtxAttr(NamedAttribute attr) {
  return attr.getName().getValue().starts_with("qtx.");
}

/// Removes the attributes of qtx from arguments and results: LLVM IR has none.
static void removeQtxAttrs(FunctionOpInterface function) {
  for (unsigned i = 0, e = function.getNumArguments(); i < e; ++i)
    for (NamedAttribute attr : llvm::to_vector(function.getArgAttrs(i)))
      if (isQtxAttr(attr))
        function.removeArgAttr(i, attr.getName());
  for (unsigned i = 0, e = function.getNumResults(); i < e; ++i)
    for (NamedAttribute attr : llvm::to_vector(function.getResultAttrs(i)))
      if (isQtxAttr(attr))
        function.removeResultAttr(i, attr.getName());
}

/// Makes the lowering leave the arguments of callers as they are.
static void markArgumentsReadOnly(func::FuncOp function) {
  auto no = BoolAttr::get(function.getContext(), false);
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes()))
    if (isa<TensorType>(type))
      function.setArgAttr(
          i, bufferization::BufferizationDialect::kWritableAttrName, no);
}

static llvm::Expected<llvm::orc::JITTargetMachineBuilder>
createMachineBuilder() {
  static const bool initialized = [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    return true;
  }();
  (void)initialized;
  return llvm::orc::JITTargetMachineBuilder::detectHost();
}

/// The machine that code of `module` is for, at a level of optimization: that
/// of its target, which need not have all that this one has.
static llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createTargetMachine(ModuleOp module, unsigned optLevel) {
  auto builder = createMachineBuilder();
  if (!builder)
    return builder.takeError();
  builder->setCodeGenOptLevel(
      getCodeGenLevel(optLevel, TargetFeatures(module).has("amx-tile")));
  auto target = module->getAttrOfType<LLVM::TargetAttr>(
      LLVM::LLVMDialect::getTargetAttrName());
  if (!target)
    return builder->createTargetMachine();
  llvm::Triple triple(target.getTriple().getValue());
  if (triple.getArch() != builder->getTargetTriple().getArch())
    return llvm::createStringError("expected a target of " +
                                   builder->getTargetTriple().getArchName() +
                                   ", found '" + triple.str() + "'");
  builder->setCPU(target.getChip().getValue().str());
  std::vector<std::string> features;
  if (target.getFeatures())
    for (StringAttr feature : target.getFeatures().getFeatures())
      features.push_back(feature.getValue().str());
  builder->getFeatures() = llvm::SubtargetFeatures();
  builder->addFeatures(features);
  return builder->createTargetMachine();
}

/// Simplifies functions, and leaves out what kernels gain nothing from, such as
/// vectorizers: for code that takes longer to make than to run.
static void simplifyFunctions(llvm::Module &module,
                              llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager calls;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(calls);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, calls, modules);
  llvm::ModulePassManager passes;
  passes.addPass(llvm::createModuleToFunctionPassAdaptor(
      builder.buildFunctionSimplificationPipeline(
          llvm::OptimizationLevel::O1, llvm::ThinOrFullLTOPhase::None)));
  passes.run(module, modules);
}

static llvm::Expected<std::unique_ptr<ExecutionEngine>>
createEngine(ModuleOp module, const JITOptions &options) {
  auto machine = createTargetMachine(module, options.optLevel);
  if (!machine)
    return machine.takeError();
  std::function<llvm::Error(llvm::Module *)> optimize =
      makeOptimizingTransformer(options.optLevel, /*sizeLevel=*/0,
                                machine->get());
  if (options.optLevel == 1)
    optimize = [target = machine->get()](llvm::Module *module) {
      simplifyFunctions(*module, *target);
      return llvm::Error::success();
    };
  auto transform = [&](llvm::Module *module) -> llvm::Error {
    if (llvm::Error error = optimize(module))
      return error;
    keepInstructionOrder(*module);
    return llvm::Error::success();
  };
  ExecutionEngineOptions engineOptions;
  engineOptions.transformer = transform;
  engineOptions.enableGDBNotificationListener = false;
  engineOptions.enablePerfNotificationListener = false;
  std::string openMP;
  SmallVector<StringRef> libraries;
  if (options.fast && getMaxThreads(module) > 1) {
    auto path = loadOpenMP();
    if (!path)
      return path.takeError();
    openMP = std::move(*path);
    libraries.push_back(openMP);
    engineOptions.sharedLibPaths = libraries;
  }
  auto engine =
      ExecutionEngine::create(module, engineOptions, std::move(*machine));
  if (engine)
    (*engine)->registerSymbols([](llvm::orc::MangleAndInterner mangle) {
      llvm::orc::SymbolMap symbols;
      symbols[mangle(kReportCheckName)] = {
          llvm::orc::ExecutorAddr::fromPtr(ReportCheckFn(reportCheck)),
          llvm::JITSymbolFlags::Exported};
      return symbols;
    });
  return engine;
}

JITModule::JITModule() = default;
JITModule::~JITModule() = default;

void qtx::registerJITTranslations(DialectRegistry &registry) {
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerOpenMPDialectTranslation(registry);
}

void qtx::loadDialectsForJIT(MLIRContext &context) {
  DialectRegistry registry;
  registerJITTranslations(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
}

llvm::Error JITModule::addFunction(func::FuncOp function) {
  if (function.isDeclaration())
    return llvm::createStringError("function '" + function.getName() +
                                   "' has no body");
  if (!function.isPublic())
    return llvm::Error::success();
  Function &entry = functions.emplace_back();
  entry.signature.name = function.getName().str();
  auto signature = qtx::getSignature(function);
  if (signature)
    entry.signature = std::move(*signature);
  else
    entry.problem = llvm::toString(signature.takeError());
  return llvm::Error::success();
}

/// Readies the functions for the lowering and for calls from outside.
static llvm::Error prepare(ModuleOp module) {
  SymbolTable symbols(module);
  for (auto function : module.getOps<func::FuncOp>()) {
    removeQtxAttrs(function);
    if (function.isPublic())
      markArgumentsReadOnly(function);
    std::string name = (kPrefix + function.getName()).str();
    if (failed(symbols.rename(function, name)))
      return llvm::createStringError("cannot rename function '" +
                                     function.getName() + "' to '" + name +
                                     "'");
  }
  return llvm::Error::success();
}

/// Says what this machine can do, unless the module has a target of its own,
/// with which tests ask for micro-kernels of lesser machines.
static llvm::Error setHostTarget(ModuleOp module) {
  bool allowAMX = requestAMX();
  if (module->hasAttr(LLVM::LLVMDialect::getTargetAttrName()))
    return llvm::Error::success();
  auto machine = createTargetMachine(module, /*optLevel=*/0);
  if (!machine)
    return machine.takeError();
  setTarget(module, **machine, allowAMX);
  return llvm::Error::success();
}

llvm::Error JITModule::compile(ModuleOp module, const JITOptions &options) {
  LoweredConstants constants(module);
  if (llvm::Error error = prepare(module))
    return error;
  auto lower = [&](void (*build)(OpPassManager &)) {
    PassManager passManager(module.getContext());
    build(passManager);
    LogicalResult result = passManager.run(module);
    constants.collect(module);
    return result;
  };
  if (options.fast)
    if (llvm::Error error = setHostTarget(module))
      return error;
  if (failed(lower([](OpPassManager &passManager) {
        passManager.addPass(createQtxCheckSizesPass());
      })))
    return llvm::createStringError("lowering failed");
  if (failed(lower(options.fast ? buildFastToLinalg : buildReferenceToLinalg)))
    return llvm::createStringError("lowering failed");
  checks = insertChecks(module);
  if (failed(lower(buildLinalgToLLVM)))
    return llvm::createStringError("lowering failed");
  auto created = createEngine(module, options);
  if (!created)
    return created.takeError();
  engine = std::move(*created);
  for (Function &function : functions) {
    auto entry = engine->lookupPacked(
        ("_mlir_ciface_" + kPrefix + function.signature.name).str());
    if (!entry)
      return entry.takeError();
    function.entry = *entry;
  }
  return llvm::Error::success();
}

llvm::Expected<std::unique_ptr<JITModule>>
JITModule::create(ModuleOp module, const JITOptions &options) {
  DialectRegistry registry;
  registerJITTranslations(registry);
  // Nothing changes if they are known already.
  module.getContext()->appendDialectRegistry(registry);

  std::unique_ptr<JITModule> result(new JITModule);
  for (auto function : module.getOps<func::FuncOp>())
    if (llvm::Error error = result->addFunction(function))
      return error;
  OwningOpRef<ModuleOp> lowered = module.clone();
  if (llvm::Error error = result->compile(*lowered, options))
    return error;
  return result;
}

//===----------------------------------------------------------------------===//
// Look-up
//===----------------------------------------------------------------------===//

std::vector<StringRef> JITModule::getFunctionNames() const {
  std::vector<StringRef> names;
  for (const Function &function : functions)
    names.push_back(function.signature.name);
  return names;
}

llvm::Expected<const JITModule::Function &>
JITModule::find(StringRef name) const {
  for (const Function &function : functions) {
    if (function.signature.name != name)
      continue;
    if (!function.problem.empty())
      return llvm::createStringError("function '" + name +
                                     "' cannot be called: " + function.problem);
    return function;
  }
  return llvm::createStringError("no public function '" + name + "'");
}

llvm::Expected<const FunctionSignature &>
JITModule::getSignature(StringRef name) const {
  auto function = find(name);
  if (!function)
    return function.takeError();
  return function->signature;
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

namespace {
/// A strided memref descriptor: allocated pointer, aligned pointer, offset,
/// sizes, strides.
struct Descriptor {
  static constexpr unsigned kNumFixedWords = 3;
  static size_t getNumWords(size_t rank) { return kNumFixedWords + 2 * rank; }

  Descriptor(const int64_t *words, size_t rank)
      : words(words, words + getNumWords(rank)), rank(rank) {}
  Descriptor(const void *data, ArrayRef<int64_t> shape)
      : words(getNumWords(shape.size())), rank(shape.size()) {
    words[0] = words[1] = reinterpret_cast<intptr_t>(data);
    int64_t stride = 1;
    for (size_t i = rank; i-- > 0;) {
      words[kNumFixedWords + i] = shape[i];
      words[kNumFixedWords + rank + i] = stride;
      stride *= std::max<int64_t>(shape[i], 1);
    }
  }

  intptr_t getAllocated() const { return words[0]; }
  const char *getData(size_t elementSize) const {
    return reinterpret_cast<const char *>(words[1]) + words[2] * elementSize;
  }
  ArrayRef<int64_t> getSizes() const {
    return ArrayRef<int64_t>(words).slice(kNumFixedWords, rank);
  }
  ArrayRef<int64_t> getStrides() const {
    return ArrayRef<int64_t>(words).drop_front(kNumFixedWords + rank);
  }

  SmallVector<int64_t, 8> words;
  size_t rank;
};

/// The arguments of one call, as the packed entry point takes them.
class Arguments {
public:
  explicit Arguments(size_t count) {
    values.reserve(count + 1);
    descriptors.reserve(count);
  }
  void addScalar(void *value) { pointers.push_back(value); }
  /// Adds an argument that is itself a pointer.
  void addPointer(void *value) {
    values.push_back(value);
    pointers.push_back(&values.back());
  }
  void addTensor(const void *data, ArrayRef<int64_t> shape) {
    descriptors.emplace_back(data, shape);
    addPointer(descriptors.back().words.data());
  }
  /// Memory that lives as long as the call.
  char *allocate(size_t size) {
    return storage.emplace_back(new char[std::max<size_t>(size, 1)]).get();
  }
  void **get() { return pointers.data(); }

private:
  // Reserved in the constructor: `pointers` points into them.
  std::vector<void *> values;
  std::vector<Descriptor> descriptors;
  SmallVector<void *> pointers;
  std::vector<std::unique_ptr<char[]>> storage;
};
} // namespace

static llvm::Error makeInputError(const FunctionSignature &signature,
                                  size_t index, const Twine &text) {
  return llvm::createStringError("function '" + signature.name +
                                 "', argument " + Twine(index) + " ('" +
                                 signature.inputs[index].name + "'): " + text);
}

static bool matches(const ValueSignature &expected, const BufferView &view) {
  return expected.element == view.element &&
         expected.shape.size() == view.shape.size() &&
         llvm::all_of_zip(
             expected.shape, view.shape, [](int64_t expected, int64_t size) {
               return ShapedType::isDynamic(expected) || expected == size;
             });
}

static llvm::Error checkInputs(const FunctionSignature &signature,
                               ArrayRef<BufferView> inputs) {
  if (inputs.size() != signature.inputs.size())
    return llvm::createStringError("function '" + signature.name +
                                   "': expected " +
                                   Twine(signature.inputs.size()) +
                                   " arguments, found " + Twine(inputs.size()));
  for (auto [i, expected, view] : llvm::enumerate(signature.inputs, inputs)) {
    if (!matches(expected, view))
      return makeInputError(
          signature, i,
          "expected " + describe(expected.shape, expected.element) +
              ", found " + describe(view.shape, view.element));
    auto count = getNumElements(view.shape, view.element);
    if (!count)
      return makeInputError(signature, i, llvm::toString(count.takeError()));
    if (*count > 0 && !view.data)
      return makeInputError(signature, i, "expected data, found null");
  }
  return llvm::Error::success();
}

static bool isSubByte(ElementKind kind) {
  return kind == ElementKind::I1 || kind == ElementKind::I4 ||
         kind == ElementKind::U4;
}

/// Brings elements narrower than a byte into the form that compiled code
/// expects: the bits above them are zero.
static void normalizeInput(char *data, size_t count, ElementKind kind) {
  for (char &byte : MutableArrayRef<char>(data, count))
    byte = kind == ElementKind::I1 ? byte != 0 : byte & 0xf;
}

/// The inverse: only an i4 is signed.
static void normalizeOutput(char *data, size_t count, ElementKind kind) {
  normalizeInput(data, count, kind);
  if (kind == ElementKind::I4)
    for (char &byte : MutableArrayRef<char>(data, count))
      byte = (byte ^ 8) - 8;
}

/// The data of `view`, copied where compiled code could not read it in place.
static const void *getReadable(const BufferView &view, Arguments &arguments) {
  size_t size = getElementSize(view.element);
  size_t count = llvm::cantFail(getNumElements(view.shape, view.element));
  bool isAligned = reinterpret_cast<uintptr_t>(view.data) % size == 0;
  if (isAligned && !isSubByte(view.element))
    return view.data;
  char *copy = arguments.allocate(count * size);
  if (count > 0)
    std::memcpy(copy, view.data, count * size);
  if (isSubByte(view.element))
    normalizeInput(copy, count, view.element);
  return copy;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// Where each result lies in the structure that the C interface fills in.
static SmallVector<size_t> getResultOffsets(ArrayRef<ValueSignature> outputs,
                                            size_t &size) {
  SmallVector<size_t> offsets;
  size = 0;
  for (const ValueSignature &output : outputs) {
    size_t elementSize = getElementSize(output.element);
    size_t width = output.isScalar
                       ? elementSize
                       : 8 * Descriptor::getNumWords(output.shape.size());
    size = llvm::alignTo(size, output.isScalar ? elementSize : 8);
    offsets.push_back(size);
    size += width;
  }
  return offsets;
}

/// Copies the elements of one dimension after the other, by their strides.
static char *copyElements(char *to, const char *from, size_t elementSize,
                          ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides) {
  if (sizes.empty()) {
    std::memcpy(to, from, elementSize);
    return to + elementSize;
  }
  if (sizes.size() == 1 && strides.front() == 1) {
    size_t bytes = sizes.front() * elementSize;
    if (bytes > 0)
      std::memcpy(to, from, bytes);
    return to + bytes;
  }
  for (int64_t i = 0; i < sizes.front(); ++i)
    to = copyElements(to, from + i * strides.front() * int64_t(elementSize),
                      elementSize, sizes.drop_front(), strides.drop_front());
  return to;
}

static Buffer copyResult(const char *data, ElementKind element,
                         ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides) {
  size_t elementSize = getElementSize(element);
  size_t count = 1;
  for (int64_t size : sizes)
    count *= size;
  Buffer buffer{std::unique_ptr<char[]>(
                    new char[std::max<size_t>(count, 1) * elementSize]),
                sizes.vec(), element};
  if (count > 0)
    copyElements(buffer.data.get(), data, elementSize, sizes, strides);
  if (isSubByte(element))
    normalizeOutput(buffer.data.get(), count, element);
  return buffer;
}

/// Copies the results out of the structure and frees what the call allocated: a
/// result may be an argument, a constant, or the same as another result.
static std::vector<Buffer> takeResults(ArrayRef<ValueSignature> outputs,
                                       const char *structure,
                                       ArrayRef<size_t> offsets,
                                       ArrayRef<BufferView> inputs) {
  std::vector<Buffer> results;
  llvm::SmallPtrSet<void *, 8> allocated;
  for (auto [output, offset] : llvm::zip_equal(outputs, offsets)) {
    const char *field = structure + offset;
    if (output.isScalar) {
      results.push_back(copyResult(field, output.element, {}, {}));
      continue;
    }
    Descriptor descriptor(reinterpret_cast<const int64_t *>(field),
                          output.shape.size());
    results.push_back(copyResult(
        descriptor.getData(getElementSize(output.element)), output.element,
        descriptor.getSizes(), descriptor.getStrides()));
    if (descriptor.getAllocated() != kNotAllocated)
      allocated.insert(reinterpret_cast<void *>(descriptor.getAllocated()));
  }
  for (const BufferView &input : inputs)
    allocated.erase(const_cast<void *>(input.data));
  for (void *pointer : allocated)
    std::free(pointer);
  return results;
}

llvm::Expected<std::vector<Buffer>>
JITModule::invoke(StringRef name, ArrayRef<BufferView> inputs) const {
  auto function = find(name);
  if (!function)
    return function.takeError();
  const FunctionSignature &signature = function->signature;
  if (llvm::Error error = checkInputs(signature, inputs))
    return error;

  size_t structureSize;
  SmallVector<size_t> offsets =
      getResultOffsets(signature.outputs, structureSize);
  Arguments arguments(inputs.size());
  char *structure = arguments.allocate(structureSize);
  // A single number is returned directly; everything else through a pointer
  // that comes first.
  bool returnsScalar =
      signature.outputs.size() == 1 && signature.outputs.front().isScalar;
  if (!returnsScalar && !signature.outputs.empty())
    arguments.addPointer(structure);
  SmallVector<BufferView> readable(inputs);
  for (auto [value, view] : llvm::zip_equal(signature.inputs, readable)) {
    view.data = getReadable(view, arguments);
    if (value.isScalar)
      arguments.addScalar(const_cast<void *>(view.data));
    else
      arguments.addTensor(view.data, view.shape);
  }
  if (returnsScalar)
    arguments.addScalar(structure);
  Failure failure;
  if (!call(function->entry, arguments.get(), failure))
    return makeCheckError(signature, checks[failure.check], failure);
  return takeResults(signature.outputs, structure, offsets, readable);
}
