//===- Node.h - One node while it is imported -------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_IMPORT_ONNX_NODE_H
#define QTX_LIB_IMPORT_ONNX_NODE_H

#include "Contents.h"
#include "Sizes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OperationSupport.h"
#include "qtx/Dialect/ONNX/IR/ONNX.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

namespace qtx::importer {

using Dims = llvm::SmallVector<Size>;

/// What is known of the whole graph.
struct GraphState {
  explicit GraphState(mlir::MLIRContext *context) : sizes(context) {}

  Sizes sizes;
  /// Add a constant, or the absent input, at the start of the function.
  std::function<mlir::Value(mlir::ElementsAttr, mlir::Location)> createConstant;
  std::function<mlir::Value()> createNone;
  /// Small tensors whose elements are known or partly known.
  llvm::DenseMap<mlir::Value, std::shared_ptr<const Contents>> contents;
  /// Pairs of symbols of inputs that turned out to be equal.
  llvm::SmallVector<std::pair<unsigned, unsigned>> equalSymbols;
  /// The most that sizes may be, where the model reads a table up to them:
  /// pairs of an expression and its limit.
  llvm::SmallVector<std::pair<Size, int64_t>> limits;
  /// The number of symbols that sizes of inputs have.
  unsigned numInputSymbols = 0;
};

/// A node of the graph on its way into the IR. A rule reads its inputs and
/// attributes, states the type of each output and what is known of its
/// elements, and brings the node into the normal form of docs/Import.md.
class Node {
public:
  Node(GraphState &state, mlir::OpBuilder &builder, mlir::Location loc)
      : builder(builder), state(state), loc(loc) {}

  std::string op;
  std::string domain;
  /// The version of the operator set.
  int64_t version = 0;
  /// Null for an input that is left out.
  llvm::SmallVector<mlir::Value> inputs;
  mlir::NamedAttrList attributes;
  /// Whether each listed output has a name.
  llvm::SmallVector<bool> isWanted;
  void setWanted(llvm::SmallVector<bool> wanted);

  /// What the rule states for each output: a type, or a value that takes its
  /// place.
  llvm::SmallVector<mlir::RankedTensorType> types;
  llvm::SmallVector<mlir::Value> replacements;
  llvm::SmallVector<std::optional<Contents>> known;
  /// Why the node cannot be imported, after `unsupported`.
  std::string unsupportedReason;

  mlir::OpBuilder &builder;
  GraphState &state;
  mlir::Location loc;

  Sizes &sizes() { return state.sizes; }
  mlir::InFlightDiagnostic emitError() { return mlir::emitError(loc); }
  mlir::LogicalResult unsupported(const llvm::Twine &reason) {
    unsupportedReason = reason.str();
    return mlir::failure();
  }

  // ---- inputs
  unsigned getNumInputs() const { return inputs.size(); }
  unsigned getNumOutputs() const { return isWanted.size(); }
  bool hasInput(unsigned index) const {
    return index < inputs.size() && inputs[index];
  }
  mlir::RankedTensorType getType(unsigned index) const {
    return llvm::cast<mlir::RankedTensorType>(inputs[index].getType());
  }
  mlir::Type getElementType(unsigned index = 0) const {
    return getType(index).getElementType();
  }
  int64_t getRank(unsigned index = 0) const { return getType(index).getRank(); }
  Dims getDims(unsigned index = 0) const {
    return onnx::getDims(getType(index));
  }
  /// What is known of the elements of an input, or null.
  const Contents *getContents(unsigned index);
  /// The integers of an input, nothing if they are not all known numbers.
  std::optional<llvm::SmallVector<int64_t>> getInts(unsigned index);
  /// The integers of an input, symbolic or null for one that is not known;
  /// nothing if nothing is known.
  std::optional<Dims> getSizes(unsigned index);

  // ---- attributes
  int64_t getInt(llvm::StringRef name, int64_t absent) const;
  float getFloat(llvm::StringRef name, float absent) const;
  llvm::StringRef getString(llvm::StringRef name, llvm::StringRef absent) const;
  std::optional<llvm::SmallVector<int64_t>>
  getIntList(llvm::StringRef name) const;
  void setInt(llvm::StringRef name, int64_t value);
  void setInts(llvm::StringRef name, llvm::ArrayRef<int64_t> values);
  void setSizes(llvm::StringRef name, llvm::ArrayRef<Size> values);

  // ---- checks; each emits an error
  mlir::LogicalResult expectRank(unsigned index, int64_t rank);
  mlir::LogicalResult expectRankAtLeast(unsigned index, int64_t rank);
  mlir::LogicalResult expectSameElementType(unsigned lhs, unsigned rhs);
  mlir::LogicalResult expectEqual(Size lhs, Size rhs);
  /// `axis` counted from the front.
  mlir::FailureOr<int64_t> normalizeAxis(int64_t axis, int64_t rank);
  mlir::FailureOr<llvm::SmallVector<int64_t>>
  normalizeAxes(llvm::ArrayRef<int64_t> axes, int64_t rank);
  /// Those of the attribute `axes`, all without it.
  mlir::FailureOr<llvm::SmallVector<int64_t>> getAxes(int64_t rank);
  mlir::FailureOr<Dims> broadcast(llvm::ArrayRef<Size> lhs,
                                  llvm::ArrayRef<Size> rhs);

  // ---- results
  mlir::LogicalResult infer(llvm::ArrayRef<Size> dims, mlir::Type elementType,
                            unsigned index = 0);
  /// Fails if `value` is null.
  mlir::LogicalResult replace(mlir::Value value, unsigned index = 0);
  /// States the elements of an output, and its type with them.
  mlir::LogicalResult fold(Contents contents, unsigned index = 0);
  /// Leaves only the first `count` inputs.
  void keepInputs(unsigned count);
  /// A size that only the data knows.
  Size addSize() { return sizes().addSymbol(0); }
  /// Adds what the rule stated to the IR. Nothing if a wanted output has no
  /// type.
  std::optional<llvm::SmallVector<mlir::Value>> finish();

  // ---- nodes in place of this one
  using Setter = llvm::function_ref<void(Node &)>;
  /// The results of another operator, whose rule is applied; null ones if that
  /// fails, or if an input is null.
  llvm::SmallVector<mlir::Value> applyAll(llvm::StringRef op,
                                          llvm::ArrayRef<mlir::Value> inputs,
                                          unsigned numOutputs,
                                          Setter setAttributes);
  mlir::Value apply(
      llvm::StringRef op, llvm::ArrayRef<mlir::Value> inputs,
      Setter setAttributes = [](Node &) {}) {
    return applyAll(op, inputs, 1, setAttributes)[0];
  }
  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<Size> dims);
  mlir::Value createScalar(double value, mlir::Type elementType);
  mlir::Value createInts(llvm::ArrayRef<int64_t> values);

private:
  /// There is one error, and nothing is applied after it.
  bool hasFailed = false;

  mlir::Value materialize(const Contents &contents);
};

/// Makes the node a `Reshape` of its first input, which has the same elements
/// in the same order.
mlir::LogicalResult setReshape(Node &node, llvm::ArrayRef<Size> dims);

/// The rule of an operator, and how many inputs it has.
struct Rule {
  unsigned minInputs;
  unsigned maxInputs;
  unsigned maxOutputs;
  mlir::LogicalResult (*infer)(Node &node);
};

constexpr unsigned kAnyNumber = ~0u;

/// Rules by the operator's name, which has "domain::" in front outside of
/// ONNX's own.
using RuleTable = llvm::StringMap<Rule>;
const RuleTable &getRules();

void addElementwiseRules(RuleTable &rules);
void addMovementRules(RuleTable &rules);
void addShapeRules(RuleTable &rules);
void addContractionRules(RuleTable &rules);
void addNormalizationRules(RuleTable &rules);
void addReductionRules(RuleTable &rules);
void addResizeRule(RuleTable &rules);
void addQuantizationRules(RuleTable &rules);
void addContribRules(RuleTable &rules);

} // namespace qtx::importer

#endif // QTX_LIB_IMPORT_ONNX_NODE_H
