//===- ContractionTilingTest.cpp - Tests of tiling contractions -----------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "qtx/Dialect/Qtx/IR/ContractionOps.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace qtx;

namespace {

/// Tiles at places known at compile time, which loops do not make.
class ContractionTilingTest : public ::testing::Test {
protected:
  ContractionTilingTest() {
    context.loadDialect<QtxDialect, func::FuncDialect, quant::QuantDialect>();
  }

  /// The tile [0, 2) x [offset, offset + size) of a linear whose result has six
  /// outputs quantized as `type`, with operands `params` for it.
  LinearOp tile(const std::string &type, int64_t offset, int64_t size,
                bool isDynamic = false) {
    std::string params = isDynamic ? "out_scale(%s) out_zero_point(%z)" : "";
    std::string types = isDynamic ? ", tensor<3xf32>, tensor<3xi32>" : "";
    module = parseSourceString<ModuleOp>(
        "func.func @f(%x: tensor<4x8xf32>, %w: tensor<6x8xf32>, "
        "%s: tensor<3xf32>, %z: tensor<3xi32>) -> tensor<4x6xi8> {\n"
        "%y = qtx.linear %x, %w " +
            params + " to " + type + " : (tensor<4x8xf32>, tensor<6x8xf32>" +
            types + ") -> tensor<4x6xi8>\nreturn %y : tensor<4x6xi8>\n}",
        &context);
    LinearOp linear;
    module->walk([&](LinearOp op) { linear = op; });
    OpBuilder builder(linear);
    auto attr = [&](int64_t value) -> OpFoldResult {
      return builder.getIndexAttr(value);
    };
    FailureOr<TilingResult> result = linear.generateResultTileValue(
        builder, 0, {attr(0), attr(offset)}, {attr(2), attr(size)});
    if (failed(result))
      return {};
    EXPECT_TRUE(succeeded(verify(*module)));
    return cast<LinearOp>(result->tiledOps.front());
  }

  QuantParams getResultParams(LinearOp op) {
    return *getQuantParams(op, op.getQuantEdges().back());
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST_F(ContractionTilingTest, StaticGroups) {
  LinearOp op = tile("!qtx.grouped<i8:f32, axis=-1, [1, 3, 2], "
                     "{0.5:1, 2.0, 4.0:-7}>",
                     /*offset=*/2, /*size=*/3);
  ASSERT_TRUE(op);
  QuantParams params = getResultParams(op);
  EXPECT_EQ(params.getGroupSizes(), (ArrayRef<int64_t>{2, 1}));
  EXPECT_EQ(params.getScale(0), 2.0f);
  EXPECT_EQ(params.getZeroPoint(1), -7);
  EXPECT_FALSE(op.getYScale());
}

TEST_F(ContractionTilingTest, WithinOneGroup) {
  LinearOp op = tile("!qtx.grouped<i8:f32, axis=-1, [1, 3, 2], "
                     "{0.5:1, 2.0, 4.0:-7}>",
                     /*offset=*/4, /*size=*/2);
  ASSERT_TRUE(op);
  QuantParams params = getResultParams(op);
  EXPECT_TRUE(params.isPerTensor());
  EXPECT_EQ(params.getZeroPoint(0), -7);
}

TEST_F(ContractionTilingTest, RunTimeGroups) {
  LinearOp op = tile("!qtx.grouped<i8:f32, axis=-1, [1, 3, 2], ?>",
                     /*offset=*/2, /*size=*/3, /*isDynamic=*/true);
  ASSERT_TRUE(op);
  EXPECT_EQ(getResultParams(op).getGroupSizes(), (ArrayRef<int64_t>{2, 1}));
  EXPECT_EQ(op.getYScale().getType().getShape(), (ArrayRef<int64_t>{2}));
  EXPECT_EQ(op.getYZeroPoint().getType().getShape(), (ArrayRef<int64_t>{2}));
}

} // namespace
