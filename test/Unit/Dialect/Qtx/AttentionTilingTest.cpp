//===- AttentionTilingTest.cpp - Tiles of attention at known places -------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace qtx;

namespace {

/// Tiles at places known at compile time, which loops do not make.
class AttentionTilingTest : public ::testing::Test {
protected:
  AttentionTilingTest() {
    context.loadDialect<QtxDialect, affine::AffineDialect, func::FuncDialect,
                        quant::QuantDialect>();
  }

  /// The tile of `heads` heads and `channels` channels at these places of an
  /// attention with four query heads, two key heads and six channels, each with
  /// its own parameters.
  AttentionOp tile(int64_t head, int64_t heads, int64_t channel,
                   int64_t channels) {
    module = parseSourceString<ModuleOp>(
        "!q = !qtx.grouped<i8:f32, axis=-3, [1 * 4], {0.5, 1.0, 2.0, 4.0}>\n"
        "!k = !qtx.grouped<i8:f32, axis=-3, [1 * 2], {0.5:3, 0.25:-3}>\n"
        "!v = !qtx.grouped<i8:f32, axis=-1, [4, 2], {0.5, 0.25:7}>\n"
        "func.func @f(%q: tensor<1x4x5x8xi8>, %k: tensor<1x2x5x8xi8>, "
        "%v: tensor<1x2x5x6xi8>) -> tensor<1x4x5x6xi8> {\n"
        "%y = qtx.attention %q as !q, %k as !k, %v as !v causal scale 1.0 "
        "scores !q probs !q context !v to !q : (tensor<1x4x5x8xi8>, "
        "tensor<1x2x5x8xi8>, tensor<1x2x5x6xi8>) -> tensor<1x4x5x6xi8>\n"
        "return %y : tensor<1x4x5x6xi8>\n}",
        &context);
    AttentionOp attention;
    module->walk([&](AttentionOp op) { attention = op; });
    OpBuilder builder(attention);
    auto attr = [&](int64_t value) -> OpFoldResult {
      return builder.getIndexAttr(value);
    };
    FailureOr<TilingResult> result = attention.generateResultTileValue(
        builder, 0, {attr(0), attr(head), attr(2), attr(channel)},
        {attr(1), attr(heads), attr(3), attr(channels)});
    if (failed(result))
      return {};
    EXPECT_TRUE(succeeded(verify(*module)));
    return cast<AttentionOp>(result->tiledOps.front());
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST_F(AttentionTilingTest, GroupOfHeads) {
  AttentionOp op = tile(/*head=*/2, /*heads=*/2, /*channel=*/2, /*channels=*/3);
  ASSERT_TRUE(op);
  EXPECT_EQ(op.getNumKeyValueHeads(), 1);
  EXPECT_EQ(op.getQueryParams()->getScale(1), 4.0f);
  EXPECT_TRUE(op.getKeyParams()->isPerTensor());
  EXPECT_EQ(op.getKeyParams()->getZeroPoint(0), -3);
  EXPECT_EQ(op.getValueParams()->getGroupSizes(), (ArrayRef<int64_t>{2, 1}));
  EXPECT_EQ(op.getScoresParams()->getScale(0), 2.0f);
  EXPECT_EQ(op.getProbsParams()->getNumGroups(), 2);
  EXPECT_EQ(op.getContextParams()->getZeroPoint(1), 7);
  EXPECT_EQ(op.getYParams()->getScale(1), 4.0f);
}

TEST_F(AttentionTilingTest, HeadsOfOneKey) {
  AttentionOp op = tile(/*head=*/3, /*heads=*/1, /*channel=*/4, /*channels=*/2);
  ASSERT_TRUE(op);
  EXPECT_EQ(op.getNumHeads(), 1);
  EXPECT_EQ(op.getKeyParams()->getZeroPoint(0), -3);
  EXPECT_TRUE(op.getValueParams()->isPerTensor());
  EXPECT_EQ(op.getValueParams()->getZeroPoint(0), 7);
}

TEST_F(AttentionTilingTest, AllHeads) {
  AttentionOp op = tile(/*head=*/0, /*heads=*/4, /*channel=*/0, /*channels=*/6);
  ASSERT_TRUE(op);
  EXPECT_EQ(op.getKeyParams()->getNumGroups(), 2);
  EXPECT_EQ(op.getYParams()->getNumGroups(), 4);
}

TEST_F(AttentionTilingTest, HeadsOfTwoKeys) {
  ScopedDiagnosticHandler handler(&context, [](Diagnostic &) {});
  EXPECT_FALSE(tile(/*head=*/1, /*heads=*/2, /*channel=*/0, /*channels=*/6));
}

} // namespace
