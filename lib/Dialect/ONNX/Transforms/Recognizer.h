//===- Recognizer.h - Replacing nodes by qtx operations ---------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_ONNX_TRANSFORMS_RECOGNIZER_H
#define QTX_LIB_DIALECT_ONNX_TRANSFORMS_RECOGNIZER_H

#include "Matchers.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Remarks.h"

namespace qtx::onnx {

class AttentionBuilder;
struct GateNets;

/// What the families of patterns share while one function is rewritten. Nodes
/// are visited in topological order; those that a pattern has replaced stay
/// until the end, without uses.
class Recognizer {
public:
  explicit Recognizer(mlir::func::FuncOp func)
      : func(func), builder(func.getContext()) {}

  /// Finds everything. Afterwards nodes without uses are gone.
  void run();

  /// Constants that new ones were made of.
  llvm::ArrayRef<mlir::ElementsAttr> getCopiedConstants() const {
    return copied;
  }

private:
  // Each family looks at one node and returns whether it replaced it.
  bool recognizeLinear(NodeOp node);
  bool recognizePatches(NodeOp node);
  bool recognizeNormalization(NodeOp node);
  bool recognizeWholeNorm(NodeOp node);
  bool recognizeActivation(NodeOp node);
  bool recognizeEmbedding(NodeOp node);
  bool recognizeHeads(NodeOp node);
  bool recognizeMergedHeads(NodeOp node);
  bool recognizeStackedHeads(NodeOp node);
  bool mergeRepeatedHeads(NodeOp node);
  bool moveMergedHeads(NodeOp node);
  bool recognizeGateNet(NodeOp node);
  bool recognizeStackedGateNets(NodeOp node);
  bool recognizeAttention(NodeOp node);
  bool recognizeEagerAttention(NodeOp node);
  bool recognizeAttentionOperator(NodeOp node);
  bool recognizeSum(NodeOp node);

  void visit(llvm::ArrayRef<bool (Recognizer::*)(NodeOp)> families);
  void eraseUnused();
  void removeCopies();
  void joinConversions();
  void reportLeft();

  // ---- pieces of a rewrite
  /// `value` without symbolic sizes.
  mlir::Value getPlain(mlir::Value value);
  /// `plain` with the symbolic sizes of `type`.
  mlir::Value addDims(mlir::Value plain, mlir::RankedTensorType type);
  /// `plain` takes the place of `old`.
  void replace(mlir::Value old, mlir::Value plain);
  /// The tensor whose rows `value` [M, d] is; `value` itself if it is no such
  /// reshape. What works row by row reads the tensor, and the reshape moves
  /// behind it.
  mlir::Value getRows(mlir::Value value);
  /// `plain`, computed from the rows of `source`, takes the place of `old`.
  void replaceRows(mlir::Value old, mlir::Value plain, mlir::Value source);
  /// A further node, before the insertion point.
  mlir::Value createNode(llvm::StringRef op, mlir::ValueRange inputs,
                         mlir::RankedTensorType type,
                         llvm::ArrayRef<mlir::NamedAttribute> attributes = {});
  mlir::Value createReshape(mlir::Value value,
                            llvm::ArrayRef<mlir::AffineExpr> dims);
  mlir::Value createTranspose(mlir::Value value,
                              llvm::ArrayRef<int64_t> permutation);
  mlir::Value createCast(mlir::Value value, mlir::Type elementType);
  /// `value` with symbolic sizes, as nodes read it.
  mlir::Value getWithDims(mlir::Value value);
  mlir::Value createScalar(float number);
  /// The constant `value` as a vector of `size` elements, null if it is not
  /// one.
  mlir::Value getVector(mlir::Value value, int64_t size);
  mlir::Value materialize(const Weight &weight, int64_t offset, int64_t size);
  mlir::NamedAttribute getInts(llvm::StringRef name,
                               llvm::ArrayRef<int64_t> values);
  mlir::IntegerAttr getInt(int64_t value);

  void passed(mlir::Location loc, const llvm::Twine &what);
  void missed(mlir::Location loc, const llvm::Twine &reason);

  // ---- linear layers
  void createLinears(NodeOp node, mlir::Value x, const Weight &weight,
                     mlir::Value bias, mlir::Value y);
  bool createSplitLinears(NodeOp split, mlir::Value x, const Weight &weight,
                          mlir::Value bias);
  mlir::Value createLinear(mlir::Location loc, mlir::Value x,
                           const Weight &weight, mlir::Value bias,
                           int64_t offset, int64_t size);

  // ---- attention
  mlir::Value takeGate(AttentionBuilder &attention, mlir::Value context);
  mlir::Value getGateLogits(AttentionBuilder &attention, mlir::Value logits,
                            bool areHeadsFirst);
  mlir::Value getHeads(mlir::Value value, int64_t heads);
  /// The logits [B, H, S] of the nets of all heads of `x`.
  mlir::Value createGateNets(mlir::Location loc, mlir::Value x,
                             const GateNets &nets);

  friend class AttentionBuilder;

  mlir::func::FuncOp func;
  mlir::OpBuilder builder;
  llvm::SmallVector<mlir::ElementsAttr> copied;
  /// The i1 masks of padding [B, 1, 1, T] by what they are made of, as it is
  /// and negated.
  llvm::DenseMap<mlir::Value, std::array<mlir::Value, 2>> paddingMasks;
  /// Why a node that could have been part of something is none.
  llvm::DenseMap<mlir::Operation *, std::string> obstacles;
};

} // namespace qtx::onnx

#endif // QTX_LIB_DIALECT_ONNX_TRANSFORMS_RECOGNIZER_H
