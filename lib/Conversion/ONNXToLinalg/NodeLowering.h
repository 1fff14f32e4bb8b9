//===- NodeLowering.h - What lowerings of ONNX nodes share ------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_CONVERSION_ONNXTOLINALG_NODELOWERING_H
#define QTX_LIB_CONVERSION_ONNXTOLINALG_NODELOWERING_H

#include "Scalars.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "qtx/Dialect/ONNX/IR/ONNX.h"
#include "llvm/ADT/StringMap.h"

namespace qtx::onnx {

using llvm::ArrayRef;
using llvm::SmallVector;
using mlir::AffineExpr;
using mlir::LogicalResult;
using mlir::OpFoldResult;
using mlir::RankedTensorType;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;

/// A tensor without encoding, and its type in the ONNX graph: with symbolic
/// sizes and signed element types.
struct Tensor {
  Value value;
  RankedTensorType type;

  explicit operator bool() const { return bool(value); }
  int64_t rank() const { return type.getRank(); }
  Type element() const { return type.getElementType(); }
  SmallVector<AffineExpr> dims() const { return getDims(type); }
  AffineExpr dim(int64_t axis) const { return dims()[axis]; }
};

/// `type` as plain operations have it: no symbolic sizes, no signedness.
RankedTensorType getPlainType(RankedTensorType type);

/// The values of a function that its symbols stand for.
class SymbolValues {
public:
  /// Binds the symbol `expr` to the size of a dimension, or to an index;
  /// nothing happens if it is bound already or no symbol.
  void bind(AffineExpr expr, Value tensor, int64_t axis);
  void bind(AffineExpr expr, Value index);
  /// Binds all symbols that are sizes of `tensor`.
  void bindAll(RankedTensorType type, Value tensor);
  bool isBound(AffineExpr expr) const;
  /// The size `expr`. One without a value is 0, and `takeMissing` tells of it.
  Value get(mlir::ImplicitLocOpBuilder &builder, AffineExpr expr);
  /// Whether a size without a value was asked for since the last call.
  bool takeMissing() { return std::exchange(isMissing, false); }

private:
  struct Source {
    Value value;
    /// The dimension of a tensor; absent for an index.
    std::optional<int64_t> axis;
  };
  llvm::DenseMap<unsigned, Source> sources;
  bool isMissing = false;
};

/// What a lowering returns: the results of the node, or failure.
class Lowered {
public:
  Lowered(Tensor result) : results({result.value}) {}
  Lowered(Value result) : results({result}) {}
  Lowered(SmallVector<Value> results) : results(std::move(results)) {}
  Lowered(LogicalResult result) : failed(mlir::failed(result)) {}

  bool hasFailed() const { return failed; }
  ArrayRef<Value> getResults() const { return results; }

private:
  SmallVector<Value> results;
  bool failed = false;
};

/// The scalar of the result from the scalars of the operands.
using ScalarBody = llvm::function_ref<Value(Scalars &, ValueRange)>;

/// One node on its way to plain operations: its inputs, attributes and sizes,
/// and builders of what most lowerings consist of. The functions of scalars see
/// f16 and bf16 as f32.
class NodeLowering : public mlir::ImplicitLocOpBuilder {
public:
  NodeLowering(NodeOp node, mlir::OpBuilder &builder, SymbolValues &symbols,
               const llvm::DenseMap<Value, Value> &lowered);

  //===--------------------------------------------------------------------===//
  // The node
  //===--------------------------------------------------------------------===//

  NodeOp node;

  bool has(unsigned index) { return bool(node.getOptionalInput(index)); }
  unsigned getNumInputs() { return node.getInputs().size(); }
  /// The input `index`, which must be there.
  Tensor input(unsigned index);
  SmallVector<Tensor> inputs();
  RankedTensorType resultType(unsigned index = 0);
  SmallVector<AffineExpr> resultDims(unsigned index = 0) {
    return getDims(resultType(index));
  }
  Type resultElement(unsigned index = 0) {
    return resultType(index).getElementType();
  }
  bool hasResult(unsigned index);

  /// The elements of a constant input of integers.
  std::optional<SmallVector<int64_t>> constantInts(unsigned index);
  /// The number that a constant input consists of.
  std::optional<double> constantNumber(unsigned index);
  /// The positions that a map of the function's symbols says; none without it.
  SmallVector<AffineExpr> getPositions(llvm::StringRef attr);
  /// The attribute `name` as an axis of a tensor of `rank` dimensions.
  llvm::FailureOr<int64_t> getAxis(int64_t rank, int64_t absent,
                                   llvm::StringRef name = "axis");
  /// Axes in [-rank, rank) as sorted axes in [0, rank).
  llvm::FailureOr<SmallVector<int64_t>> normalizeAxes(ArrayRef<int64_t> axes,
                                                      int64_t rank);

  /// Says why the node has no lowering.
  LogicalResult fail(const llvm::Twine &why);
  llvm::StringRef getReason() const { return reason; }

  //===--------------------------------------------------------------------===//
  // Sizes and indices
  //===--------------------------------------------------------------------===//

  AffineExpr constantDim(int64_t size) { return getAffineConstantExpr(size); }
  Value index(int64_t value);
  Value index(AffineExpr expr) { return symbols.get(*this, expr); }
  OpFoldResult size(AffineExpr expr);
  SmallVector<OpFoldResult> sizes(ArrayRef<AffineExpr> exprs);
  SmallVector<Value> indices(ArrayRef<AffineExpr> exprs);
  /// Gives a size that only the lowering of this node knows.
  void bind(AffineExpr expr, Value index) { symbols.bind(expr, index); }
  bool isBound(AffineExpr expr) { return symbols.isBound(expr); }
  bool areBound(ArrayRef<AffineExpr> exprs) {
    return llvm::all_of(exprs, [&](AffineExpr e) { return isBound(e); });
  }
  /// The number of elements.
  Value count(ArrayRef<AffineExpr> exprs);

  //===--------------------------------------------------------------------===//
  // Tensors
  //===--------------------------------------------------------------------===//

  /// Whether two sizes are known to be equal.
  static bool isOne(AffineExpr expr) {
    auto constant = llvm::dyn_cast<mlir::AffineConstantExpr>(expr);
    return constant && constant.getValue() == 1;
  }

  Tensor wrap(Value value, ArrayRef<AffineExpr> dims, Type element);
  /// `value` with the plain type of `type`.
  Tensor wrap(Value value, RankedTensorType type);
  /// An uninitialized tensor, and one filled with the number or scalar.
  Tensor empty(ArrayRef<AffineExpr> dims, Type element);
  Tensor filled(ArrayRef<AffineExpr> dims, Type element, Value scalar);
  Tensor filled(ArrayRef<AffineExpr> dims, Type element, double number);

  /// Computes each element from those of `inputs`, which are broadcast to
  /// `dims` by ONNX's rules: aligned at the last axis; where a size is neither
  /// 1 nor the same expression as the result's, the smaller one is found at run
  /// time.
  Tensor map(ArrayRef<AffineExpr> dims, Type element, ArrayRef<Tensor> inputs,
             ScalarBody body);
  /// The same with the sizes and the element type of the result.
  Tensor mapToResult(ArrayRef<Tensor> inputs, ScalarBody body);
  /// The same with the sizes of the inputs, broadcast.
  Tensor map(Type element, ArrayRef<Tensor> inputs, ScalarBody body);
  SmallVector<AffineExpr> broadcast(ArrayRef<Tensor> inputs);

  /// Computes each element from its indices.
  Tensor generate(ArrayRef<AffineExpr> dims, Type element, ScalarBody body);

  /// A generic operation over loops; `initMap` leaves out those that are
  /// reduced, in ascending order. The last scalar that `body` is given is the
  /// one to update.
  Tensor reduceWith(Tensor init, mlir::AffineMap initMap,
                    ArrayRef<Tensor> inputs, ArrayRef<mlir::AffineMap> maps,
                    ScalarBody body);
  /// Reduces `axes` of `x`. Without `keep` the result lacks them.
  Tensor reduce(Tensor x, ArrayRef<int64_t> axes, bool keep, Value initial,
                ScalarBody combine);
  Tensor sum(Tensor x, ArrayRef<int64_t> axes, bool keep);
  Tensor maximum(Tensor x, ArrayRef<int64_t> axes, bool keep);
  /// The mean of floats.
  Tensor mean(Tensor x, ArrayRef<int64_t> axes, bool keep);
  /// What is left of the sizes of `x`.
  SmallVector<AffineExpr> reducedDims(Tensor x, ArrayRef<int64_t> axes,
                                      bool keep);
  /// The number of elements along `axes`, as a tensor of rank 0.
  Tensor countAlong(Tensor x, ArrayRef<int64_t> axes, Type element);

  Tensor reshape(Tensor x, ArrayRef<AffineExpr> dims);
  Tensor transpose(Tensor x, ArrayRef<int64_t> permutation);
  /// `x` repeated to `dims`.
  Tensor expand(Tensor x, ArrayRef<AffineExpr> dims);
  Tensor convert(Tensor x, Type element);
  /// f16 and bf16 as f32.
  Tensor widen(Tensor x);
  /// The reverse: to the element type of the result.
  Tensor narrow(Tensor x, unsigned result = 0);
  /// Whether there is no element, whatever the symbols are. A slice without
  /// elements may start behind the last one, which `tensor.extract_slice`
  /// refuses.
  static bool isEmpty(ArrayRef<AffineExpr> dims) {
    return llvm::any_of(dims, [](AffineExpr dim) {
      auto constant = llvm::dyn_cast<mlir::AffineConstantExpr>(dim);
      return constant && constant.getValue() == 0;
    });
  }
  /// `size` elements of `axis` from `offset` on.
  Tensor slice(Tensor x, int64_t axis, Value offset, AffineExpr size,
               int64_t step = 1);
  Tensor insert(Tensor part, Tensor into, int64_t axis, Value offset);
  /// Surrounds `x` with `value`.
  Tensor pad(Tensor x, ArrayRef<int64_t> low, ArrayRef<int64_t> high,
             Value value, ArrayRef<AffineExpr> dims);
  /// The number `value` as a tensor of rank 0, and a scalar as one.
  Tensor number(Type element, double value);
  Tensor fromScalar(Value scalar, Type element);
  /// The element of a tensor of one element.
  Value toScalar(Tensor x);

  /// The element of `x` at indices, as f32 if it is narrower.
  static Value extract(Scalars &s, Tensor x, ValueRange indices);
  /// The index along an axis of `size` elements that `i` means: negative ones
  /// count from the end, and what is out of range is brought into it.
  static Value normalizeIndex(Scalars &s, Value i, Value size);

  /// Loops over `dims` in row-major order that hand on tensors and numbers.
  SmallVector<Value>
  loops(ArrayRef<AffineExpr> dims, ValueRange initial, Type element,
        llvm::function_ref<SmallVector<Value>(Scalars &, ValueRange indices,
                                              ValueRange state)>
            body);
  /// `scalar` put into a tensor of elements of `element`.
  static Value store(Scalars &s, Value scalar, Value into, Type element,
                     ValueRange indices);

private:
  SymbolValues &symbols;
  const llvm::DenseMap<Value, Value> &lowered;
  std::string reason;
};

/// Arithmetic on indices that folds constants.
Value addIndex(NodeLowering &b, Value x, Value y);
Value subIndex(NodeLowering &b, Value x, Value y);
Value mulIndex(NodeLowering &b, Value x, Value y);
/// Rounds down; `y` is positive.
Value floorDivIndex(NodeLowering &b, Value x, Value y);
Value minIndex(NodeLowering &b, Value x, Value y);
Value maxIndex(NodeLowering &b, Value x, Value y);

/// One label per axis: equal labels are one index.
using Labels = SmallVector<unsigned>;

/// The sum over all labels that the result lacks of the products of the inputs,
/// in elements of `element`, which the inputs have or widen to.
Tensor contract(NodeLowering &b, ArrayRef<Tensor> inputs,
                ArrayRef<Labels> labels, ArrayRef<unsigned> resultLabels,
                ArrayRef<AffineExpr> resultDims, Type element);

using Lowering = Lowered (*)(NodeLowering &);

/// The lowerings of ONNX's operators, by name.
using Lowerings = llvm::StringMap<Lowering>;

void populateAttentionLowerings(Lowerings &lowerings);
void populateCastLowerings(Lowerings &lowerings);
void populateDataMovementLowerings(Lowerings &lowerings);
void populateElementwiseLowerings(Lowerings &lowerings);
void populateGatherScatterLowerings(Lowerings &lowerings);
void populateGeneratorLowerings(Lowerings &lowerings);
void populateLinearLowerings(Lowerings &lowerings);
void populateNormalisationLowerings(Lowerings &lowerings);
void populatePoolingLowerings(Lowerings &lowerings);
void populateQuantizationLowerings(Lowerings &lowerings);
void populateReductionLowerings(Lowerings &lowerings);
void populateResizeLowerings(Lowerings &lowerings);
void populateSortingLowerings(Lowerings &lowerings);

} // namespace qtx::onnx

#endif // QTX_LIB_CONVERSION_ONNXTOLINALG_NODELOWERING_H
