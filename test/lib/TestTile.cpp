//===- TestTile.cpp - Tile qtx operations, for tests ----------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestPasses.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Interfaces/TilingInterface.h"
#include "mlir/Pass/Pass.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"

using namespace mlir;
using namespace qtx;

namespace {

/// Tiles every qtx operation that can be by `scf.for` loops, outermost first. A
/// size of 0, or a missing one, leaves a loop out.
struct TestTilePass : PassWrapper<TestTilePass, OperationPass<>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TestTilePass)

  TestTilePass() = default;
  TestTilePass(const TestTilePass &other) : PassWrapper(other) {}

  StringRef getArgument() const override { return "test-qtx-tile"; }
  StringRef getDescription() const override {
    return "tile qtx operations with scf.for";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<scf::SCFDialect>();
  }

  void runOnOperation() override {
    SmallVector<TilingInterface> ops;
    getOperation()->walk([&](TilingInterface op) {
      if (isa_and_present<QtxDialect>(op->getDialect()))
        ops.push_back(op);
    });
    for (TilingInterface op : ops)
      if (failed(tile(op)))
        return signalPassFailure();
  }

private:
  LogicalResult tile(TilingInterface op) {
    IRRewriter rewriter(op->getContext());
    rewriter.setInsertionPoint(op);
    SmallVector<OpFoldResult> tileSizes;
    for (int64_t size : sizes)
      tileSizes.push_back(rewriter.getIndexAttr(size));
    scf::SCFTilingOptions options;
    options.setTileSizes(tileSizes);
    FailureOr<scf::SCFTilingResult> result =
        scf::tileUsingSCF(rewriter, op, options);
    if (failed(result))
      return failure();
    rewriter.replaceOp(op, result->replacements);
    return success();
  }

  ListOption<int64_t> sizes{*this, "sizes",
                            llvm::cl::desc("Tile size of each loop")};
};

} // namespace

void qtx::registerTestPasses() {
  PassRegistration<TestTilePass>();
  registerTestReportPass();
}
