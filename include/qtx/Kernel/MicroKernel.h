//===- MicroKernel.h - Rows of micro-kernels --------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A micro-kernel multiplies a few rows of the input with a panel of the weights
// and keeps the sums in registers. What differs between CPUs is one row: see
// docs/HowTo/AddAMicroKernel.md.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_KERNEL_MICROKERNEL_H
#define QTX_KERNEL_MICROKERNEL_H

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "qtx/Kernel/Target.h"

namespace qtx {

class AttentionOp;
class BatchMatmulOp;
class LinearOp;

/// The elements that a row multiplies: input and weight.
enum class MicroKernelOperands {
  F32,    // f32, f32; sums in f32
  U8S8,   // unsigned and signed bytes; sums in i32
  S8S8,   // signed bytes; sums in i32
  S16S16, // signed 16 bits; sums in i32
};

/// What tile registers multiply, and where their sums go.
struct TileOperands {
  /// The input and its first row.
  mlir::Value x;
  mlir::Value row;
  /// The packed weight, and vectors of its panel.
  mlir::Value weight;
  int64_t vectors;
  /// The matrix of sums and its first row.
  mlir::Value sums;
  mlir::Value sumsRow;
  /// Whether weights leave the first-level cache to the input: they pass, and
  /// it is read again with the next panel.
  bool isWeightPassing = false;
};

/// One row: a dot-product instruction and the tile that suits it. Each 32-bit
/// lane of a vector of sums takes `getStep()` neighbours of the contracted
/// axis.
class MicroKernel {
public:
  virtual ~MicroKernel() = default;

  /// TARGET-FEATURE-WHAT, such as `x86-avx512-fma`.
  virtual llvm::StringRef getName() const = 0;
  virtual bool isSupported(const TargetFeatures &features) const = 0;
  virtual MicroKernelOperands getOperands() const = 0;
  /// Products that a core adds up in a cycle at best: the more, the faster.
  virtual int64_t getProductsPerCycle() const = 0;
  /// 32-bit lanes of a vector.
  virtual int64_t getNumLanes() const = 0;
  /// The tile of sums: rows times vectors.
  virtual int64_t getNumRows() const = 0;
  virtual int64_t getNumVectors() const = 0;
  /// Steps of the contracted axis in an iteration of the inner loop: its end
  /// costs cycles where another thread shares the core.
  virtual int64_t getUnrolledSteps() const { return 1; }
  /// `sums` plus the products of `x` and `weight`, added up in each lane.
  virtual mlir::Value emitDot(mlir::ImplicitLocOpBuilder &builder,
                              mlir::Value sums, mlir::Value x,
                              mlir::Value weight) const = 0;

  /// Dot products that a step adds up in 16 bits before they go to the sums; 0
  /// if all are added up in 32 bits. Weights have to fit (ShortSums.h).
  virtual int64_t getShortDots() const { return 0; }
  /// The products of `x` and `weight`, of which 16 bits take two, and `sums` if
  /// there are some.
  virtual mlir::Value emitShortDot(mlir::ImplicitLocOpBuilder &builder,
                                   mlir::Value sums, mlir::Value x,
                                   mlir::Value weight) const {
    return {};
  }
  /// `sums` plus sums of short dot products.
  virtual mlir::Value emitWidened(mlir::ImplicitLocOpBuilder &builder,
                                  mlir::Value sums,
                                  mlir::Value shortSums) const {
    return {};
  }

  /// Dot products of weights of 4 bits whose sum fits 16 bits; 0 where sums are
  /// not short.
  virtual int64_t getShortNibbleDots() const { return 0; }
  /// The tile of such weights: rows, and vectors of a panel. Several rows meet
  /// one of these after the other; one row meets all at once.
  virtual int64_t getNibbleRows() const { return 0; }
  virtual int64_t getNibbleVectors() const { return 0; }

  /// Numbers of a table in registers, from which a vector takes one for each
  /// lane; 0 if the CPU has no instruction for that.
  virtual int64_t getTableSize() const { return 0; }
  /// The number of `table` in each lane that the low bits of `indices` say.
  virtual mlir::Value emitLookup(mlir::ImplicitLocOpBuilder &builder,
                                 llvm::ArrayRef<float> table,
                                 mlir::Value indices) const {
    return {};
  }

  /// `values` times two to the power of the largest integers that are no more
  /// than `exponents`: zero where that is tiny. Rows with tables have it.
  virtual mlir::Value emitScaled(mlir::ImplicitLocOpBuilder &builder,
                                 mlir::Value values,
                                 mlir::Value exponents) const {
    return {};
  }

  /// Whether several vectors are narrowed at once faster than one by one.
  virtual bool packs() const { return false; }
  /// Two or four vectors of 32-bit integers, to which integers of 16 bits are
  /// added where there are `offsets`, as bytes that saturate. Words of four
  /// bytes of each vector take turns; two vectors come twice.
  virtual mlir::Value emitPacked(mlir::ImplicitLocOpBuilder &builder,
                                 mlir::ValueRange vectors,
                                 mlir::ValueRange offsets,
                                 bool isSigned) const {
    return {};
  }

  /// Rows that tile registers take at once, and channels of a step; 0 if there
  /// are none. What they leave of rows is the dot product's.
  virtual int64_t getNumTileRows() const { return 0; }
  virtual int64_t getTileStep() const { return 0; }
  /// Sums in tile registers, a value for each: zeros, or in each row the
  /// vectors of `seed` from `indices` on.
  virtual llvm::SmallVector<mlir::Value>
  createTileSums(mlir::ImplicitLocOpBuilder &builder,
                 const TileOperands &operands, mlir::Value seed,
                 llvm::ArrayRef<mlir::Value> indices) const {
    return {};
  }
  /// `sums` plus the products of a step: channels of the input from `channel`
  /// on, and the weight from `offset` on.
  virtual llvm::SmallVector<mlir::Value>
  emitTileStep(mlir::ImplicitLocOpBuilder &builder,
               const TileOperands &operands, mlir::Value channel,
               mlir::Value offset, mlir::ValueRange sums) const {
    return {};
  }
  virtual void storeTileSums(mlir::ImplicitLocOpBuilder &builder,
                             const TileOperands &operands,
                             mlir::ValueRange sums) const {}

  /// Channels that packed weights have for a segment of `size`.
  int64_t getPaddedSize(int64_t size) const;
  bool isFloat() const { return getOperands() == MicroKernelOperands::F32; }
  /// Elements of the contracted axis in one lane.
  int64_t getStep() const;
  /// Those that a step of a kernel takes: several where sums are short.
  int64_t getStepOfKernel() const;
  /// The type of elements of the input and the weight.
  mlir::Type getElementType(mlir::MLIRContext *context) const;
  /// The type of elements of the packed weight. Those that the row multiplies
  /// in 16 bits are bytes in memory, and are widened as they are loaded.
  mlir::Type getPackedType(mlir::MLIRContext *context) const;
  /// A vector of sums.
  mlir::VectorType getSumType(mlir::MLIRContext *context) const;
  /// A vector of elements of the input or the weight.
  mlir::VectorType getVectorType(mlir::MLIRContext *context) const;
};

/// The attribute of an operation that names its micro-kernel and tile sizes.
inline constexpr llvm::StringLiteral kConfigAttrName = "qtx.config";

/// Why no micro-kernel of a target runs an operation in storage form, as
/// remarks have it; empty if one does.
llvm::StringRef findObstacle(LinearOp op, const TargetFeatures &features);
llvm::StringRef findObstacle(BatchMatmulOp op, const TargetFeatures &features);
llvm::StringRef findObstacle(AttentionOp op, const TargetFeatures &features);

/// The rows of both products of an attention that micro-kernels run.
std::pair<const MicroKernel *, const MicroKernel *>
getMicroKernels(AttentionOp op, const TargetFeatures &features);

/// The attribute of an operation whose weights of 4 bits stay in nibbles, and
/// the parameter of its kernel.
inline constexpr llvm::StringLiteral kNibblesAttrName = "qtx.nibbles";
inline constexpr llvm::StringLiteral kNibblesParam = "nibbles";
/// The parameter of a kernel whose segments join in int32: what the sum of each
/// counts times.
inline constexpr llvm::StringLiteral kJoinMultipliersParam = "join_multipliers";
/// Channels in a word of nibbles.
inline constexpr int64_t kNibbles = 8;

/// Has the linear layers of `other`, a configured copy of `module` for a lesser
/// target, take weights in the format of `module` where their instructions can,
/// so that an object with both holds them once. Tiles of another size are
/// somewhat slower.
void shareWeightFormats(mlir::ModuleOp module, mlir::ModuleOp other);

/// All rows; of those that a target supports the first is the fastest.
llvm::ArrayRef<const MicroKernel *> getMicroKernels();

/// The row of that name; null if there is none.
const MicroKernel *lookupMicroKernel(llvm::StringRef name);

/// Ends lib/Kernel/X86/NAME.cpp, whose class `NAME` is a row. CMake makes the
/// list of rows from the names of the files.
#define QTX_DEFINE_MICRO_KERNEL(NAME)                                          \
  namespace qtx::rows {                                                        \
  const MicroKernel &get##NAME() {                                             \
    static const NAME row;                                                     \
    return row;                                                                \
  }                                                                            \
  }

} // namespace qtx

#endif // QTX_KERNEL_MICROKERNEL_H
