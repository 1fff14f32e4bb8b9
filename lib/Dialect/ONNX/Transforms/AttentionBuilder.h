//===- AttentionBuilder.h - Making attention of ONNX nodes ------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_ONNX_TRANSFORMS_ATTENTIONBUILDER_H
#define QTX_LIB_DIALECT_ONNX_TRANSFORMS_ATTENTIONBUILDER_H

#include "Masks.h"
#include "Recognizer.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"

namespace qtx::onnx {

/// What changes the scores besides factors: a tensor that is added, or a
/// condition under which they stay and else become `never`.
struct MaskTerm {
  mlir::Value added;
  mlir::Value condition;
  bool isNegated = false;
  double never = 0;
};

/// Whether `size` is known, and a number.
inline bool isStatic(mlir::AffineExpr size) {
  return llvm::isa_and_present<mlir::AffineConstantExpr>(size);
}

inline int64_t getSize(mlir::AffineExpr size) {
  return llvm::cast<mlir::AffineConstantExpr>(size).getValue();
}

/// Whether quantizing by one after the other is quantizing once.
bool areAlike(mlir::quant::UniformQuantizedType lhs,
              mlir::quant::UniformQuantizedType rhs);

/// One attention while it is put together.
class AttentionBuilder {
public:
  AttentionBuilder(Recognizer &recognizer, mlir::Location loc)
      : recognizer(recognizer), builder(recognizer.builder), loc(loc) {}

  mlir::Value query, key, value;
  double scale = 1;
  std::optional<double> softCap;
  float gamma = 0, zeta = 1;
  /// How scores and probabilities are quantized; null if they are not.
  mlir::quant::UniformQuantizedType scoresQuantizer, probsQuantizer;
  bool isCausal = false;
  mlir::Value mask, gate;
  double gain = 1;
  const char *obstacle = nullptr;

  /// False, with an obstacle, if the operands are not those of an attention.
  bool checkOperands();
  /// False, with an obstacle, if the masks are none of an attention. Scores
  /// that are quantized by `quantizer` behind them are so in front of them.
  bool setMasks(llvm::ArrayRef<MaskTerm> terms,
                mlir::quant::UniformQuantizedType quantizer = {});
  mlir::Value create();
  /// The clauses, for people.
  std::string describe() const;
  llvm::SmallVector<mlir::AffineExpr> getScoreDims();
  llvm::SmallVector<mlir::AffineExpr> getResultDims();

private:
  bool readMasks(llvm::ArrayRef<MaskTerm> terms, double never, KeyMask &known);
  bool readQuantizedMasks(llvm::ArrayRef<MaskTerm> terms,
                          mlir::quant::UniformQuantizedType quantizer,
                          KeyMask &known);
  void setFlags(const KeyMask &known);
  mlir::Value createFlags(const KeyFlags &flags);
  mlir::Value createPaddingMask(const KeyFlags &flags);
  void joinFlags(mlir::Value flags);
  bool addTerms(llvm::ArrayRef<MaskTerm> terms);
  mlir::Value createSelection(mlir::Value condition, const MaskTerm &term);
  mlir::Value addMasks(mlir::Value lhs, mlir::Value rhs);
  mlir::Value getMaskShape(mlir::Value tensor);

  Recognizer &recognizer;
  mlir::OpBuilder &builder;
  mlir::Location loc;
};

} // namespace qtx::onnx

#endif // QTX_LIB_DIALECT_ONNX_TRANSFORMS_ATTENTIONBUILDER_H
