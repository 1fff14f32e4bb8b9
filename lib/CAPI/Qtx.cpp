//===- Qtx.cpp - C interface of the compiler ------------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "qtx/InitAll.h"
#include "qtx/Support/Diagnostics.h"
#include "qtx/Target/JIT.h"
#include <cstring>
#include <mutex>

using namespace mlir;
using namespace qtx;

struct QtxProgram {
  std::unique_ptr<JITModule> jit;
};

struct QtxResults {
  std::vector<Buffer> buffers;
};

// The two lists of element types are the same.
static_assert(int(ElementKind::F16) == QTX_ELEMENT_F16 &&
              int(ElementKind::F32) == QTX_ELEMENT_F32 &&
              int(ElementKind::F64) == QTX_ELEMENT_F64 &&
              int(ElementKind::I1) == QTX_ELEMENT_I1 &&
              int(ElementKind::I4) == QTX_ELEMENT_I4 &&
              int(ElementKind::I8) == QTX_ELEMENT_I8 &&
              int(ElementKind::I16) == QTX_ELEMENT_I16 &&
              int(ElementKind::I32) == QTX_ELEMENT_I32 &&
              int(ElementKind::I64) == QTX_ELEMENT_I64 &&
              int(ElementKind::Index) == QTX_ELEMENT_INDEX &&
              int(ElementKind::U4) == QTX_ELEMENT_U4 &&
              int(ElementKind::U8) == QTX_ELEMENT_U8 &&
              int(ElementKind::U16) == QTX_ELEMENT_U16 &&
              int(ElementKind::U32) == QTX_ELEMENT_U32);

//===----------------------------------------------------------------------===//
// Diagnostics
//===----------------------------------------------------------------------===//

static QtxSeverity getSeverity(const Diagnostic &diagnostic) {
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    return QTX_SEVERITY_ERROR;
  case DiagnosticSeverity::Warning:
    return QTX_SEVERITY_WARNING;
  case DiagnosticSeverity::Remark:
    return QTX_SEVERITY_REMARK;
  case DiagnosticSeverity::Note:
    return QTX_SEVERITY_NOTE;
  }
  llvm_unreachable("unknown severity");
}

void Reporter::report(QtxSeverity severity, const std::string &text) const {
  if (handler && handler->callback)
    handler->callback(severity, text.c_str(), handler->userData);
}

void Reporter::report(Diagnostic &diagnostic) const {
  std::string text;
  llvm::raw_string_ostream stream(text);
  std::string place = describeLocation(diagnostic.getLocation());
  if (!place.empty())
    stream << place << ": ";
  stream << diagnostic;
  report(getSeverity(diagnostic), text);
  for (Diagnostic &note : diagnostic.getNotes())
    report(note);
}

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

static void registerPassesOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    registerTransformsPasses();
    qtx::registerPasses();
  });
}

std::unique_ptr<QtxModule> qtx::createModule() {
  DialectRegistry registry;
  registerDialects(registry);
  auto result = std::make_unique<QtxModule>();
  result->context =
      std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  result->context->printOpOnDiagnostic(false);
  return result;
}

int32_t qtxGetApiVersion() { return QTX_API_VERSION; }

QtxStatus qtxModuleParse(const char *text, size_t length, const char *name,
                         const QtxDiagnosticHandler *handler,
                         QtxModule **module) {
  if (!text || !module)
    return Reporter(handler).failOnNull();
  std::unique_ptr<QtxModule> result = createModule();
  ScopedReporter reporter(result->context.get(), handler);
  // A copy, for the parser needs the null character after the end.
  std::string source(text, length);
  result->module = parseSourceString<ModuleOp>(
      source, result->context.get(), /*sourceName=*/name ? name : "-");
  if (!result->module)
    return QTX_STATUS_PARSE_ERROR;
  *module = result.release();
  return QTX_STATUS_OK;
}

void qtxModuleDestroy(QtxModule *module) { delete module; }

QtxStatus qtxModuleRunPasses(QtxModule *module, const char *pipeline,
                             const QtxDiagnosticHandler *handler) {
  if (!module || !pipeline)
    return Reporter(handler).failOnNull();
  registerPassesOnce();
  ScopedReporter reporter(module->context.get(), handler);
  std::string problems;
  llvm::raw_string_ostream stream(problems);
  FailureOr<OpPassManager> passes = parsePassPipeline(pipeline, stream);
  if (failed(passes))
    return reporter.fail(QTX_STATUS_INVALID_ARGUMENT, problems);
  if (passes->getOpAnchorName() != ModuleOp::getOperationName())
    return reporter.fail(QTX_STATUS_INVALID_ARGUMENT,
                         "expected a pipeline on builtin.module");
  PassManager passManager(module->context.get());
  static_cast<OpPassManager &>(passManager) = std::move(*passes);
  if (failed(passManager.run(*module->module)))
    return QTX_STATUS_COMPILE_ERROR;
  return QTX_STATUS_OK;
}

QtxStatus qtxModulePrint(const QtxModule *module, QtxStringCallback callback,
                         void *userData) {
  if (!module || !callback)
    return QTX_STATUS_INVALID_ARGUMENT;
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->module.get().print(stream);
  callback(text.data(), text.size(), userData);
  return QTX_STATUS_OK;
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

QtxStatus qtxProgramCreate(const QtxModule *module, QtxLowering lowering,
                           uint32_t optLevel,
                           const QtxDiagnosticHandler *handler,
                           QtxProgram **program) {
  if (!module || !program)
    return Reporter(handler).failOnNull();
  ScopedReporter reporter(module->context.get(), handler);
  if (optLevel > 3)
    return reporter.fail(QTX_STATUS_INVALID_ARGUMENT,
                         "expected an optimization level from 0 to 3, found " +
                             std::to_string(optLevel));
  JITOptions options;
  options.optLevel = optLevel;
  options.fast = lowering == QTX_LOWERING_FAST;
  auto jit = JITModule::create(*module->module, options);
  if (!jit)
    return reporter.fail(QTX_STATUS_COMPILE_ERROR, jit.takeError());
  *program = new QtxProgram{std::move(*jit)};
  return QTX_STATUS_OK;
}

void qtxProgramDestroy(QtxProgram *program) { delete program; }

size_t qtxProgramGetNumFunctions(const QtxProgram *program) {
  return program ? program->jit->getFunctionNames().size() : 0;
}

const char *qtxProgramGetFunctionName(const QtxProgram *program, size_t index) {
  if (index >= qtxProgramGetNumFunctions(program))
    return nullptr;
  // The names are std::string in the program, hence null-terminated.
  return program->jit->getFunctionNames()[index].data();
}

/// The inputs or outputs of a function; null, after a report, if there is none.
static const std::vector<ValueSignature> *getValues(const QtxProgram *program,
                                                    const char *function,
                                                    bool isInput,
                                                    const Reporter &reporter) {
  if (!program || !function) {
    reporter.failOnNull();
    return nullptr;
  }
  auto signature = program->jit->getSignature(function);
  if (!signature) {
    reporter.fail(QTX_STATUS_INVALID_ARGUMENT, signature.takeError());
    return nullptr;
  }
  return isInput ? &signature->inputs : &signature->outputs;
}

static QtxStatus getNumValues(const QtxProgram *program, const char *function,
                              bool isInput, const QtxDiagnosticHandler *handler,
                              size_t *count) {
  Reporter reporter(handler);
  const auto *values = getValues(program, function, isInput, reporter);
  if (!values)
    return QTX_STATUS_INVALID_ARGUMENT;
  if (!count)
    return reporter.failOnNull();
  *count = values->size();
  return QTX_STATUS_OK;
}

static QtxStatus getValue(const QtxProgram *program, const char *function,
                          bool isInput, size_t index,
                          const QtxDiagnosticHandler *handler,
                          QtxValueInfo *info) {
  Reporter reporter(handler);
  const auto *values = getValues(program, function, isInput, reporter);
  if (!values)
    return QTX_STATUS_INVALID_ARGUMENT;
  if (!info)
    return reporter.failOnNull();
  if (index >= values->size())
    return reporter.fail(QTX_STATUS_INVALID_ARGUMENT, "index out of range");
  const ValueSignature &value = (*values)[index];
  *info = {value.name.c_str(), static_cast<QtxElement>(value.element),
           value.shape.size(), value.shape.data()};
  return QTX_STATUS_OK;
}

QtxStatus qtxProgramGetNumInputs(const QtxProgram *program,
                                 const char *function,
                                 const QtxDiagnosticHandler *handler,
                                 size_t *count) {
  return getNumValues(program, function, /*isInput=*/true, handler, count);
}

QtxStatus qtxProgramGetNumOutputs(const QtxProgram *program,
                                  const char *function,
                                  const QtxDiagnosticHandler *handler,
                                  size_t *count) {
  return getNumValues(program, function, /*isInput=*/false, handler, count);
}

QtxStatus qtxProgramGetInput(const QtxProgram *program, const char *function,
                             size_t index, const QtxDiagnosticHandler *handler,
                             QtxValueInfo *info) {
  return getValue(program, function, /*isInput=*/true, index, handler, info);
}

QtxStatus qtxProgramGetOutput(const QtxProgram *program, const char *function,
                              size_t index, const QtxDiagnosticHandler *handler,
                              QtxValueInfo *info) {
  return getValue(program, function, /*isInput=*/false, index, handler, info);
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

/// The element type as a number: a caller in C may pass one that is no value of
/// the enumeration.
static int readElement(const QtxBuffer &buffer) {
  int element;
  static_assert(sizeof(element) == sizeof(buffer.element));
  std::memcpy(&element, &buffer.element, sizeof(element));
  return element;
}

QtxStatus qtx::readBuffer(const QtxBuffer &buffer, const Reporter &reporter,
                          BufferView &view) {
  if (buffer.rank > 0 && !buffer.shape)
    return reporter.failOnNull();
  int element = readElement(buffer);
  if (element < QTX_ELEMENT_F16 || element > QTX_ELEMENT_U32)
    return reporter.fail(QTX_STATUS_INVALID_ARGUMENT, "unknown element type");
  view = {buffer.data, ArrayRef<int64_t>(buffer.shape, buffer.rank),
          static_cast<ElementKind>(element)};
  return QTX_STATUS_OK;
}

QtxStatus qtxProgramInvoke(const QtxProgram *program, const char *function,
                           const QtxBuffer *inputs, size_t numInputs,
                           const QtxDiagnosticHandler *handler,
                           QtxResults **results) {
  Reporter reporter(handler);
  if (!program || !function || (numInputs > 0 && !inputs) || !results)
    return reporter.failOnNull();
  SmallVector<BufferView> views;
  for (const QtxBuffer &input : ArrayRef<QtxBuffer>(inputs, numInputs))
    if (QtxStatus status = readBuffer(input, reporter, views.emplace_back()))
      return status;
  auto buffers = program->jit->invoke(function, views);
  if (!buffers)
    return reporter.fail(QTX_STATUS_INVALID_INPUT, buffers.takeError());
  *results = new QtxResults{std::move(*buffers)};
  return QTX_STATUS_OK;
}

size_t qtxResultsGetCount(const QtxResults *results) {
  return results ? results->buffers.size() : 0;
}

QtxStatus qtxResultsGet(const QtxResults *results, size_t index,
                        QtxBuffer *buffer) {
  if (!buffer || index >= qtxResultsGetCount(results))
    return QTX_STATUS_INVALID_ARGUMENT;
  const Buffer &result = results->buffers[index];
  *buffer = {result.data.get(), static_cast<QtxElement>(result.element),
             result.shape.size(), result.shape.data()};
  return QTX_STATUS_OK;
}

void qtxResultsDestroy(QtxResults *results) { delete results; }
