//===- TypeInferenceTest.cpp - Tests of inferred types --------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Quant/IR/QuantTypes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"
#include "qtx/Dialect/Qtx/IR/AttentionOps.h"
#include "qtx/Dialect/Qtx/IR/NormalisationOps.h"
#include "qtx/Dialect/Qtx/IR/QtxDialect.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace qtx;

namespace {

/// Builds operations without result types on `tensor.empty`s.
class TypeInferenceTest : public ::testing::Test {
protected:
  TypeInferenceTest() : builder(UnknownLoc::get(&context), &context) {
    context.loadDialect<QtxDialect, tensor::TensorDialect>();
    module = ModuleOp::create(builder.getLoc());
    builder.setInsertionPointToEnd(module->getBody());
  }

  Value createTensor(ArrayRef<int64_t> shape, Type elementType) {
    auto type = RankedTensorType::get(shape, elementType);
    return tensor::EmptyOp::create(builder, type.getShape(), elementType);
  }
  Type f32() { return builder.getF32Type(); }
  TypeAttr uniform() {
    return TypeAttr::get(quant::UniformQuantizedType::get(
        quant::QuantizationFlags::Signed, builder.getI8Type(), f32(), 0.5, 3,
        -128, 127));
  }

  MLIRContext context;
  ImplicitLocOpBuilder builder;
  OwningOpRef<ModuleOp> module;
};

TEST_F(TypeInferenceTest, FloatByDefault) {
  Value x = createTensor({2, 8}, f32());
  auto gelu = GeluOp::create(builder, x, {}, {}, {}, {}, TypeAttr(),
                             GeluApproximation::Tanh, TypeAttr());
  EXPECT_EQ(gelu.getType(), x.getType());
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(TypeInferenceTest, StorageOfTheResultType) {
  Value x = createTensor({2, 8}, f32());
  auto norm = LayerNormOp::create(builder, x, {}, {}, {}, {}, {}, {},
                                  builder.getF32FloatAttr(1e-5f), TypeAttr(),
                                  uniform());
  EXPECT_EQ(norm.getType(), RankedTensorType::get({2, 8}, builder.getI8Type()));
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(TypeInferenceTest, ShapeOfTheLeftOperand) {
  Value lhs = createTensor({2, 4, 8}, f32()), rhs = createTensor({8}, f32());
  auto sum = AddOp::create(builder, lhs, {}, {}, rhs, {}, {}, {}, {},
                           TypeAttr(), TypeAttr(), TypeAttr());
  EXPECT_EQ(sum.getType(), lhs.getType());
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(TypeInferenceTest, ShapeOfIdsAndRow) {
  Value table = createTensor({9, 8}, f32());
  Value ids = createTensor({2, 3}, builder.getI64Type());
  auto rows = EmbeddingOp::create(builder, table, {}, ids, {}, {}, TypeAttr());
  EXPECT_EQ(rows.getType(), RankedTensorType::get({2, 3, 8}, f32()));
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(TypeInferenceTest, QueriesAndValueChannels) {
  Value query = createTensor({2, 4, 5, 8}, f32());
  Value key = createTensor({2, 2, 7, 8}, f32());
  Value value = createTensor({2, 2, 7, 6}, f32());
  auto attr = [&](float number) { return builder.getF32FloatAttr(number); };
  auto attention = AttentionOp::create(
      builder, query, key, value, /*mask=*/{}, /*offset=*/{}, /*sink=*/{},
      /*gate=*/{}, TypeAttr(), TypeAttr(), TypeAttr(), /*causal=*/UnitAttr(),
      attr(0.25f), /*soft_cap=*/FloatAttr(), TypeAttr(),
      /*sink_logit=*/FloatAttr(), attr(0.0f), attr(1.0f),
      /*unnormalised=*/UnitAttr(), TypeAttr(), TypeAttr(), attr(1.0f),
      uniform());
  EXPECT_EQ(attention.getType(),
            RankedTensorType::get({2, 4, 5, 6}, builder.getI8Type()));
  EXPECT_TRUE(succeeded(verify(*module)));
}

TEST_F(TypeInferenceTest, HeadsBeforeQueries) {
  Value x = createTensor({2, 5, 8}, f32());
  Value weight = createTensor({4, 2}, f32()), bias = createTensor({4}, f32());
  auto gate = GateProjectionOp::create(builder, GateKind::Linear, x, {}, {},
                                       weight, bias, TypeAttr());
  EXPECT_EQ(gate.getType(), RankedTensorType::get({2, 4, 5}, f32()));
  EXPECT_TRUE(succeeded(verify(*module)));
}

} // namespace
