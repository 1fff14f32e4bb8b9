//===- Masks.h - Which keys a mask lets take part ---------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_DIALECT_ONNX_TRANSFORMS_MASKS_H
#define QTX_LIB_DIALECT_ONNX_TRANSFORMS_MASKS_H

#include "Matchers.h"
#include <limits>

namespace qtx::onnx {

/// A tensor of integers or booleans that says by zero, or by another value,
/// which keys are excluded.
struct KeyFlags {
  mlir::Value value;
  /// Whether zero is what lets a key take part.
  bool isNegated;
};

/// What a mask of scores [B, H, S, T] says. A key takes part if all conditions
/// hold.
struct KeyMask {
  /// Not behind the query: `j <= i`.
  bool isCausal = false;
  /// Flags per key: their dimensions other than 1 are B (or none) and T.
  llvm::SmallVector<KeyFlags> padding;
  /// Other conditions, of a shape that broadcasts to that of the scores.
  llvm::SmallVector<KeyFlags> others;
  /// The largest number that is added to the score of an excluded key.
  double never = -std::numeric_limits<double>::infinity();

  void add(const KeyMask &other);
};

/// The largest number that is taken for a mask's "never": fp32 exponentials
/// vanish below it whatever the score is.
constexpr double kNever = -1e30;

/// e to this is less than half of what fp32 tells from 1.
constexpr double kNegligible = -16;

/// Reads the tensors from which graphs make masks, as functions of the
/// coordinates b, h, i and j of a score: index tensors, comparisons of them,
/// gathered flags.
class MaskReader {
public:
  MaskReader(llvm::ArrayRef<mlir::AffineExpr> scoreDims, double never)
      : scoreDims(scoreDims), never(never) {}

  /// A tensor that is added to the scores: 0, or at most `never`. False if
  /// that does not follow from the graph.
  bool readAdded(mlir::Value value, KeyMask &mask);
  /// A condition on which scores are kept.
  bool readCondition(mlir::Value value, bool isNegated, KeyMask &mask);

private:
  using Coords = llvm::SmallVector<mlir::AffineExpr>;

  /// Where an element of `operand` stands that is broadcast to a place in a
  /// tensor of coordinates `coords`.
  Coords broadcast(mlir::Value operand,
                   llvm::ArrayRef<mlir::AffineExpr> coords);
  /// The coordinates in the input of a node that moves elements; nothing if it
  /// does not, or in a way that is not followed.
  std::optional<Coords> getSource(NodeOp node,
                                  llvm::ArrayRef<mlir::AffineExpr> coords);
  std::optional<Coords> getReshaped(mlir::Value input, mlir::Value output,
                                    llvm::ArrayRef<mlir::AffineExpr> coords);
  std::optional<Coords> getSliced(NodeOp node,
                                  llvm::ArrayRef<mlir::AffineExpr> coords);
  std::optional<Coords> getGathered(NodeOp node,
                                    llvm::ArrayRef<mlir::AffineExpr> coords);

  bool readAdded(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> coords,
                 KeyMask &mask);
  bool readRequantized(const Requantized &requantized,
                       llvm::ArrayRef<mlir::AffineExpr> coords, KeyMask &mask);
  bool isNever(mlir::Value value, KeyMask &mask);
  bool readWhere(NodeOp where, llvm::ArrayRef<mlir::AffineExpr> coords,
                 KeyMask &mask);
  bool readCondition(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> coords,
                     bool isNegated, KeyMask &mask);
  bool readComparison(NodeOp node, llvm::ArrayRef<mlir::AffineExpr> coords,
                      bool isNegated, KeyMask &mask);
  bool readTriangle(NodeOp node, llvm::ArrayRef<mlir::AffineExpr> coords,
                    bool isNegated, KeyMask &mask);
  bool readConstant(const ConstantView &view,
                    llvm::ArrayRef<mlir::AffineExpr> coords, bool isNegated,
                    KeyMask &mask);
  bool readLeaf(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> coords,
                bool isNegated, KeyMask &mask);
  /// The element of a tensor of integers as a function of b, h, i, j; or null.
  mlir::AffineExpr readIndex(mlir::Value value,
                             llvm::ArrayRef<mlir::AffineExpr> coords);
  /// The condition `expr <= 0`.
  bool addBound(mlir::AffineExpr expr, KeyMask &mask);

  /// The number that a tensor of one element is.
  mlir::AffineExpr readSize(mlir::Value value);
  /// Whether the graph behind a mask is still small enough to be read.
  bool takeStep() { return budget-- > 0; }

  mlir::AffineExpr getDim(unsigned position);
  bool isOne(mlir::AffineExpr size);

  llvm::SmallVector<mlir::AffineExpr> scoreDims;
  double never;
  int budget = 1 << 12;
};

} // namespace qtx::onnx

#endif // QTX_LIB_DIALECT_ONNX_TRANSFORMS_MASKS_H
