//===- GraphImporter.h - From an ONNX graph to a function -------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_IMPORT_ONNX_GRAPHIMPORTER_H
#define QTX_LIB_IMPORT_ONNX_GRAPHIMPORTER_H

#include "Node.h"
#include "Proto.h"
#include "Tensors.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "qtx/Dialect/ONNX/IR/Unsupported.h"
#include "qtx/Import/ONNX.h"
#include "llvm/ADT/StringMap.h"

namespace qtx::importer {

/// Names that are equal although the model spells them differently.
using DimNames = llvm::StringMap<std::string>;

/// The constants of a model. They outlast an attempt to import the graph.
struct ConstantCache {
  explicit ConstantCache(TensorReader reader) : reader(std::move(reader)) {}
  TensorReader reader;
  llvm::DenseMap<const proto::TensorProto *, mlir::ElementsAttr> attrs;
};

/// The names of a graph, inside those of the graph around it.
struct Scope {
  using Attributes = llvm::StringMap<const proto::AttributeProto *>;

  const Scope *parent = nullptr;
  /// Null for a value that an unsupported node would compute and the file does
  /// not state the type of.
  llvm::StringMap<mlir::Value> values;
  llvm::StringMap<const proto::TensorProto *> initializers;
  /// What the file says of values that nodes compute.
  llvm::StringMap<const proto::TypeProto *> declared;
  /// Versions of operator sets by domain.
  llvm::StringMap<int64_t> opsets;
  /// What the attributes of a function stand for.
  const Attributes *arguments = nullptr;
};

/// One attempt to import a model.
class GraphImporter {
public:
  using NodeList = google::protobuf::RepeatedPtrField<proto::NodeProto>;

  GraphImporter(const proto::ModelProto &model, mlir::Location loc,
                const ImportOptions &options, const DimNames &dimNames,
                ConstantCache &constants);

  mlir::OwningOpRef<mlir::ModuleOp> import();

  /// Names of dimensions that this attempt found to be equal to others.
  DimNames getEqualDims() const;

private:
  // ---- the model
  mlir::LogicalResult addFunctions();
  mlir::LogicalResult addInputs(Scope &scope);
  mlir::FailureOr<mlir::RankedTensorType>
  getInputType(const proto::ValueInfoProto &input);
  Size getInputDim(const proto::TensorShapeProto::Dimension &dim,
                   llvm::StringRef input, unsigned axis);
  mlir::LogicalResult addOutputs(const Scope &scope);
  mlir::ArrayAttr getDimNames(mlir::RankedTensorType type);
  mlir::DictionaryAttr getValueAttrs(llvm::StringRef name,
                                     mlir::RankedTensorType type);
  mlir::LogicalResult checkDeclared(const proto::ValueInfoProto &output,
                                    mlir::Value value);
  void setMaxSizes();
  mlir::LogicalResult reportUnsupported() const;
  void eraseUnused();

  // ---- graphs
  mlir::LogicalResult addInitializers(const proto::GraphProto &graph,
                                      Scope &scope);
  mlir::RankedTensorType getDeclaredType(llvm::StringRef name,
                                         const Scope &scope);
  mlir::LogicalResult importNodes(const NodeList &nodes, Scope &scope,
                                  llvm::ArrayRef<llvm::StringRef> outputs);
  mlir::FailureOr<mlir::Value> lookUp(llvm::StringRef name, const Scope &scope,
                                      mlir::Location loc);

  // ---- nodes
  mlir::LogicalResult importNode(const proto::NodeProto &proto, Scope &scope);
  mlir::LogicalResult importConstant(const proto::NodeProto &proto,
                                     Scope &scope);
  mlir::LogicalResult importIf(const proto::NodeProto &proto, Scope &scope);
  mlir::LogicalResult importCall(const proto::NodeProto &proto,
                                 const proto::FunctionProto &function,
                                 Scope &scope);
  mlir::LogicalResult importOperator(const proto::NodeProto &proto,
                                     const Rule &rule, Scope &scope);
  mlir::LogicalResult setAttributes(const proto::NodeProto &proto,
                                    const Scope &scope, Node &node);
  mlir::LogicalResult setResults(const proto::NodeProto &proto, Scope &scope,
                                 Node &node);
  mlir::LogicalResult setOutput(const proto::NodeProto &proto, unsigned index,
                                mlir::Value value, Scope &scope);
  mlir::LogicalResult skip(const proto::NodeProto &proto, Scope &scope,
                           llvm::StringRef reason = "");
  mlir::LogicalResult leaveOut(const proto::NodeProto &proto, Scope &scope);
  mlir::LogicalResult skipBehind(const proto::NodeProto &proto, Scope &scope);
  mlir::Attribute getAttribute(const proto::AttributeProto &proto,
                               mlir::Location loc);
  mlir::Value createConstant(mlir::ElementsAttr attr, mlir::Location loc);
  mlir::Value createNone();
  mlir::Location getLoc(llvm::StringRef name) const;
  mlir::Location getLoc(const proto::NodeProto &proto) const;
  const proto::FunctionProto *findFunction(const proto::NodeProto &proto) const;

  const proto::ModelProto &model;
  mlir::Location fileLoc;
  const ImportOptions &options;
  const DimNames &dimNames;
  ConstantCache &constants;
  mlir::MLIRContext *context;
  mlir::OpBuilder builder;
  GraphState state;
  mlir::func::FuncOp function;
  /// The last constant at the start of the function.
  mlir::Operation *lastConstant = nullptr;
  mlir::Value none;
  /// The names of symbols of inputs.
  llvm::SmallVector<std::string> symbolNames;
  llvm::StringMap<Size> symbols;
  llvm::StringMap<const proto::FunctionProto *> functions;
  llvm::SmallVector<const proto::FunctionProto *> callStack;
  onnx::UnsupportedOperators unsupported;
  int64_t numNodes = 0;
  /// Whether some value is missing, since the file does not state its type.
  bool isIncomplete = false;
  /// Nodes that were not looked at, since an input of theirs is missing.
  int64_t numBehind = 0;
};

/// The nodes that `outputs` need, each one after those it depends on. An error
/// if there is a cycle or a name is not unique.
mlir::FailureOr<llvm::SmallVector<const proto::NodeProto *>>
sortNodes(const GraphImporter::NodeList &nodes,
          llvm::ArrayRef<llvm::StringRef> outputs, mlir::Location loc,
          llvm::function_ref<bool(llvm::StringRef)> isDefined);

} // namespace qtx::importer

#endif // QTX_LIB_IMPORT_ONNX_GRAPHIMPORTER_H
