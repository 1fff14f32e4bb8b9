//===- CostModel.h - Estimates of contractions ------------------*- C++ -*-===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// How a contraction should run on a CPU, by an estimate of its cycles. The
// estimate knows dot products, loads, the two caches of a core and what starts
// and ends a tile: enough to rank tilings, not to foretell times. It depends on
// the target alone, never on the machine that compiles.
//
//===----------------------------------------------------------------------===//

#ifndef QTX_LIB_KERNEL_COSTMODEL_H
#define QTX_LIB_KERNEL_COSTMODEL_H

#include "Attention/Plan.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Kernel/MicroKernel.h"
#include "qtx/Kernel/Threads.h"

namespace qtx {

/// What the model knows of a core.
struct Core {
  /// Bytes of its first-level cache for data, and of its second-level cache or
  /// its share of one.
  int64_t firstLevel;
  int64_t secondLevel;
  /// Bytes of vectors that it multiplies in a cycle, and as many that it loads.
  int64_t vectorBytes;
  /// Bytes that come from the second-level cache in a cycle.
  int64_t secondLevelRate;
};

/// The core of the target that surrounds `op`: by the name of the CPU, and
/// where that is not known by its features.
Core getCore(mlir::Operation *op);

/// What a contraction has to compute.
struct Contraction {
  /// Rows of the input; `kDynamic` if they are not known.
  int64_t rows;
  int64_t outputs;
  llvm::SmallVector<int64_t> segments;
  /// Whether its weights are nibbles.
  bool hasNibbles = false;

  static Contraction get(LinearOp op);
  int64_t getSize() const;
};

/// How its loops run: see `#qtx.micro_kernel`.
struct Tiling {
  int64_t rows;
  int64_t vectors;
  int64_t block;
  int64_t panels = 0;

  static Tiling get(MicroKernelAttr config);
  MicroKernelAttr getAttr(mlir::MLIRContext *context,
                          const MicroKernel &row) const;
};

/// Whether code can be made for the tiling: there are registers for its tile.
bool isPossible(const MicroKernel &row, const Tiling &tiling);

/// The tilings that are worth a look. The first one has the tile of the row.
llvm::SmallVector<Tiling> listTilings(const Core &core, const MicroKernel &row,
                                      const Contraction &contraction);

/// Cycles of one thread.
double estimateCycles(const Core &core, const MicroKernel &row,
                      const Contraction &contraction, const Tiling &tiling);

/// The best of the listed tilings; the first one unless another is clearly
/// better.
Tiling chooseTiling(const Core &core, const MicroKernel &row,
                    const Contraction &contraction);

/// How threads share the work.
Partition choosePartition(const Core &core, const MicroKernel &row,
                          const Contraction &contraction, int64_t threads);

/// Which rows of an attention are kept, and how those run that are not. Rows
/// that are not kept need less memory than the longest ones that are.
Stretches chooseStretches(const Core &core, const AttentionPlan &plan,
                          bool isOnline);

} // namespace qtx

#endif // QTX_LIB_KERNEL_COSTMODEL_H
