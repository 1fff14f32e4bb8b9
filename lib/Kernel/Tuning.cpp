//===- Tuning.cpp - Other configurations of a contraction -----------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Kernel/Tuning.h"
#include "CostModel.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace qtx;

/// More take too long to time.
static constexpr size_t kMaxConfigurations = 10;

/// No input has as many: parts are always outputs.
static constexpr int64_t kManyRows = int64_t(1) << 40;

Configuration Configuration::get(LinearOp op) {
  return {op->getAttrOfType<MicroKernelAttr>(kConfigAttrName),
          op->getAttrOfType<DictionaryAttr>(kPartitionAttrName)};
}

void Configuration::setOn(LinearOp op) const {
  op->setAttr(kConfigAttrName, kernel);
  if (partition)
    op->setAttr(kPartitionAttrName, partition);
}

bool qtx::isPossible(MicroKernelAttr config) {
  const MicroKernel *row = lookupMicroKernel(config.getKernel());
  return row && isPossible(*row, Tiling::get(config));
}

/// Partitions other than `partition`: rows from the first on, and outputs.
static SmallVector<DictionaryAttr> listPartitions(LinearOp op,
                                                  const MicroKernel &row) {
  SmallVector<DictionaryAttr> partitions;
  int64_t threads = getMaxThreads(op);
  if (threads == 1)
    return partitions;
  int64_t rows = threads * std::max(row.getNumRows(), row.getNumTileRows());
  for (int64_t split : {rows, kManyRows})
    partitions.push_back(Partition{threads, split}.getAttr(op.getContext()));
  return partitions;
}

SmallVector<Configuration> qtx::listConfigurations(LinearOp op) {
  Configuration own = Configuration::get(op);
  const MicroKernel &row = *lookupMicroKernel(own.kernel.getKernel());
  SmallVector<Configuration> configurations = {own};
  auto add = [&](MicroKernelAttr kernel, DictionaryAttr partition) {
    bool isKnown = llvm::any_of(configurations, [&](const Configuration &one) {
      return one.kernel == kernel && one.partition == partition;
    });
    if (!isKnown && configurations.size() < kMaxConfigurations)
      configurations.push_back({kernel, partition});
  };
  auto addTiling = [&](const Tiling &tiling) {
    add(tiling.getAttr(op.getContext(), row), own.partition);
  };
  for (DictionaryAttr partition : listPartitions(op, row))
    add(own.kernel, partition);
  // Blocks of half and of twice the height.
  Tiling tiling = Tiling::get(own.kernel);
  int64_t unit = std::max(tiling.rows, row.getNumTileRows());
  for (int64_t block : {tiling.block / 2, tiling.block * 2})
    if (block >= unit)
      addTiling(
          {tiling.rows, tiling.vectors, block - block % unit, tiling.panels});
  for (const Tiling &other :
       listTilings(getCore(op), row, Contraction::get(op)))
    addTiling(other);
  return configurations;
}

std::string qtx::describeContraction(LinearOp op) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  Contraction contraction = Contraction::get(op);
  stream << (ShapedType::isDynamic(contraction.rows)
                 ? "?"
                 : std::to_string(contraction.rows));
  stream << "x" << contraction.getSize() << " to " << contraction.outputs
         << ", " << op.getX().getType().getElementType() << " x "
         << op.getWeight().getType().getElementType() << " to "
         << op.getY().getType().getElementType();
  if (contraction.segments.size() > 1)
    stream << ", segments "
           << llvm::join(llvm::map_range(
                             contraction.segments,
                             [](int64_t size) { return std::to_string(size); }),
                         "+")
           << (op.getIntegerJoin() ? ", joined in integers" : "");
  if (op.getActivation() != Activation::None)
    stream << ", " << stringifyActivation(op.getActivation());
  if (op.getXScale())
    stream << ", run-time scales";
  if (op.getBias() &&
      cast<RankedTensorType>(op.getBias().getType()).getRank() > 1)
    stream << ", a bias of rows";
  stream << ", "
         << op->getAttrOfType<MicroKernelAttr>(kConfigAttrName).getKernel()
         << ", " << getMaxThreads(op) << " thread(s)";
  return text;
}
