//===- Qtx.h - C interface of the compiler ----------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Parses, verifies, lowers and runs qtx IR. Objects are opaque handles, owned
// by the caller, each with a destroy function that accepts null. Every call
// that can fail returns a status and reports the reasons to the handler it is
// given; the handler may be null. Handles may be used from one thread at a
// time, except that calls of a program or a model may run concurrently.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_C_QTX_H
#define QTX_C_QTX_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define QTX_EXPORT
#else
#define QTX_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/// Number of this interface. It changes when a caller must be compiled again.
#define QTX_API_VERSION 4

/// QTX_API_VERSION of the library.
QTX_EXPORT int32_t qtxGetApiVersion(void);

typedef enum {
  QTX_STATUS_OK = 0,
  /// A null pointer, an unknown name, or an index out of range.
  QTX_STATUS_INVALID_ARGUMENT = 1,
  /// The text is not valid IR.
  QTX_STATUS_PARSE_ERROR = 2,
  /// A pass or the code generator failed.
  QTX_STATUS_COMPILE_ERROR = 3,
  /// The inputs of a call do not match the function.
  QTX_STATUS_INVALID_INPUT = 4,
} QtxStatus;

typedef enum {
  QTX_SEVERITY_ERROR = 0,
  QTX_SEVERITY_WARNING = 1,
  QTX_SEVERITY_REMARK = 2,
  QTX_SEVERITY_NOTE = 3,
} QtxSeverity;

/// Receives a message with its location. `text` ends with a null character and
/// lives during the call. Notes follow the message that they belong to.
typedef void (*QtxDiagnosticCallback)(QtxSeverity severity, const char *text,
                                      void *userData);

typedef struct {
  QtxDiagnosticCallback callback;
  void *userData;
} QtxDiagnosticHandler;

/// Receives a piece of text, which need not end with a null character.
typedef void (*QtxStringCallback)(const char *text, size_t length,
                                  void *userData);

/// An option of a compilation, as on the command line of `qtxc`: `recipe`,
/// `calibrate`, `observer`, `calibration-threads`, `name`, `mtriple`, `mcpu`,
/// `mattr`, `O`, `reference`, `verify`, `dump-stages` and `report`. The value
/// may be null where there is none.
typedef struct {
  const char *name;
  const char *value;
} QtxOption;

/// Receives how much of its data a stage has run over: `done` of `total` parts.
/// Called by the thread that made the call.
typedef void (*QtxProgressCallback)(const char *stage, size_t done,
                                    size_t total, void *userData);

typedef struct {
  QtxProgressCallback callback;
  void *userData;
} QtxProgressHandler;

//===----------------------------------------------------------------------===//
// Modules: IR
//===----------------------------------------------------------------------===//

typedef struct QtxModule QtxModule;

/// Parses and verifies IR, as text or bytecode. `name` stands in locations and
/// may be null.
QTX_EXPORT QtxStatus qtxModuleParse(const char *text, size_t length,
                                    const char *name,
                                    const QtxDiagnosticHandler *handler,
                                    QtxModule **module);

/// Reads a model from a file: a graph that ends in `.onnx`, or IR in `.mlir`.
QTX_EXPORT QtxStatus qtxModuleLoad(const char *path,
                                   const QtxDiagnosticHandler *handler,
                                   QtxModule **module);

QTX_EXPORT void qtxModuleDestroy(QtxModule *module);

/// Runs a pass pipeline in the textual form of `qtx-opt --pass-pipeline`, such
/// as `builtin.module(canonicalize)`. The module is unusable after a failure.
QTX_EXPORT QtxStatus qtxModuleRunPasses(QtxModule *module, const char *pipeline,
                                        const QtxDiagnosticHandler *handler);

/// Takes the module through the stages `import` and `calibrate`: observes the
/// ranges of edges on the samples of the option `calibrate`. `progress` may be
/// null. The module is as before after a failure.
QTX_EXPORT QtxStatus qtxModuleCalibrate(QtxModule *module,
                                        const QtxOption *options,
                                        size_t numOptions,
                                        const QtxProgressHandler *progress,
                                        const QtxDiagnosticHandler *handler);

/// Passes the text of the module to `callback`, in one or more pieces.
QTX_EXPORT QtxStatus qtxModulePrint(const QtxModule *module,
                                    QtxStringCallback callback, void *userData);

//===----------------------------------------------------------------------===//
// Programs: compiled IR
//===----------------------------------------------------------------------===//

typedef struct QtxProgram QtxProgram;

typedef enum QtxLowering {
  /// What docs/Numerics.md says, step by step.
  QTX_LOWERING_REFERENCE = 0,
  /// With micro-kernels; results differ as far as docs/Numerics.md lets them.
  QTX_LOWERING_FAST = 1
} QtxLowering;

/// Lowers a copy of the module and compiles it for this machine, at LLVM's
/// optimization level `optLevel`, 0 to 3; results are the same at every level.
/// The program does not need the module any more.
QTX_EXPORT QtxStatus qtxProgramCreate(const QtxModule *module,
                                      QtxLowering lowering, uint32_t optLevel,
                                      const QtxDiagnosticHandler *handler,
                                      QtxProgram **program);

QTX_EXPORT void qtxProgramDestroy(QtxProgram *program);

/// Public functions of the program, in the order of the module.
QTX_EXPORT size_t qtxProgramGetNumFunctions(const QtxProgram *program);

/// Null if `index` is out of range. The text lives as long as the program.
QTX_EXPORT const char *qtxProgramGetFunctionName(const QtxProgram *program,
                                                 size_t index);

typedef enum {
  QTX_ELEMENT_F16 = 0,
  QTX_ELEMENT_F32 = 1,
  QTX_ELEMENT_F64 = 2,
  /// A byte, 0 or 1.
  QTX_ELEMENT_I1 = 3,
  /// A byte. The upper half is ignored in inputs; outputs are -8 to 7.
  QTX_ELEMENT_I4 = 4,
  QTX_ELEMENT_I8 = 5,
  QTX_ELEMENT_I16 = 6,
  QTX_ELEMENT_I32 = 7,
  QTX_ELEMENT_I64 = 8,
  /// 64 bits.
  QTX_ELEMENT_INDEX = 9,
  /// Storage integers of quantized types that are unsigned. A U4 is a byte, 0
  /// to 15; the upper half is ignored in inputs.
  QTX_ELEMENT_U4 = 10,
  QTX_ELEMENT_U8 = 11,
  QTX_ELEMENT_U16 = 12,
  QTX_ELEMENT_U32 = 13,
} QtxElement;

/// An input or output of a function. The pointers live as long as the program.
typedef struct {
  const char *name;
  QtxElement element;
  size_t rank;
  /// `rank` sizes; negative if dynamic.
  const int64_t *shape;
} QtxValueInfo;

QTX_EXPORT QtxStatus qtxProgramGetNumInputs(const QtxProgram *program,
                                            const char *function,
                                            const QtxDiagnosticHandler *handler,
                                            size_t *count);
QTX_EXPORT QtxStatus
qtxProgramGetNumOutputs(const QtxProgram *program, const char *function,
                        const QtxDiagnosticHandler *handler, size_t *count);
QTX_EXPORT QtxStatus qtxProgramGetInput(const QtxProgram *program,
                                        const char *function, size_t index,
                                        const QtxDiagnosticHandler *handler,
                                        QtxValueInfo *info);
QTX_EXPORT QtxStatus qtxProgramGetOutput(const QtxProgram *program,
                                         const char *function, size_t index,
                                         const QtxDiagnosticHandler *handler,
                                         QtxValueInfo *info);

/// Elements, dense in row-major order and little-endian. `data` may be null if
/// a size is 0. Quantized values are their storage integers.
typedef struct {
  const void *data;
  QtxElement element;
  size_t rank;
  const int64_t *shape;
} QtxBuffer;

/// The outputs of a call.
typedef struct QtxResults QtxResults;

/// Calls a function. The inputs must have the types of the function; they are
/// only read, and only during the call. Fails where dynamic sizes differ that
/// an operation needs to be equal.
QTX_EXPORT QtxStatus qtxProgramInvoke(const QtxProgram *program,
                                      const char *function,
                                      const QtxBuffer *inputs, size_t numInputs,
                                      const QtxDiagnosticHandler *handler,
                                      QtxResults **results);

QTX_EXPORT size_t qtxResultsGetCount(const QtxResults *results);

/// The pointers in `buffer` live as long as `results`.
QTX_EXPORT QtxStatus qtxResultsGet(const QtxResults *results, size_t index,
                                   QtxBuffer *buffer);

QTX_EXPORT void qtxResultsDestroy(QtxResults *results);

//===----------------------------------------------------------------------===//
// Models: what a whole compilation makes
//===----------------------------------------------------------------------===//

typedef struct QtxModel QtxModel;

/// Takes a copy of the module through all stages, to code for this machine.
/// `progress` may be null.
QTX_EXPORT QtxStatus qtxModelCompile(const QtxModule *module,
                                     const QtxOption *options,
                                     size_t numOptions,
                                     const QtxProgressHandler *progress,
                                     const QtxDiagnosticHandler *handler,
                                     QtxModel **model);

/// Loads an object file or shared library that a compilation wrote.
QTX_EXPORT QtxStatus qtxModelLoad(const char *path,
                                  const QtxDiagnosticHandler *handler,
                                  QtxModel **model);

QTX_EXPORT void qtxModelDestroy(QtxModel *model);

/// Writes an object (`.o`) or shared library (`.so`), and beside it its weights
/// if they are a file of their own, and the C header if the model was compiled
/// by this library.
QTX_EXPORT QtxStatus qtxModelSave(const QtxModel *model, const char *path,
                                  const QtxDiagnosticHandler *handler);

/// What docs/HowTo/LinkAModel.md says of the symbol NAME_signature, in JSON.
/// The text lives as long as the model; so does that of the report.
QTX_EXPORT const char *qtxModelGetSignature(const QtxModel *model);

/// The report of the compilation, in JSON; null if the model was loaded.
QTX_EXPORT const char *qtxModelGetReport(const QtxModel *model);

/// Checks the types and shapes of inputs, whose data may be null, and writes
/// the value of each dim of the signature.
QTX_EXPORT QtxStatus qtxModelGetDims(const QtxModel *model,
                                     const QtxBuffer *inputs, size_t numInputs,
                                     const QtxDiagnosticHandler *handler,
                                     int64_t *dims);

/// Writes the sizes of an output.
QTX_EXPORT QtxStatus qtxModelGetOutputShape(const QtxModel *model,
                                            size_t output, const int64_t *dims,
                                            const QtxDiagnosticHandler *handler,
                                            int64_t *shape);

/// Calls the model: one pointer for each input and output of the signature, to
/// elements as in QtxBuffer. Inputs are only read; outputs must not overlap
/// anything else. The memory for intermediate values is kept for later calls.
QTX_EXPORT QtxStatus qtxModelRun(const QtxModel *model,
                                 const void *const *inputs,
                                 void *const *outputs, const int64_t *dims,
                                 const QtxDiagnosticHandler *handler);

#ifdef __cplusplus
}
#endif

#endif // QTX_C_QTX_H
