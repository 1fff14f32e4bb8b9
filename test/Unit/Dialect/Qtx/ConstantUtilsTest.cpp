//===- ConstantUtilsTest.cpp - Tests of constant tensors ------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Dialect/Qtx/Transforms/ConstantUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/OwningOpRef.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace qtx;

namespace {

using Integers = std::vector<int64_t>;
using Floats = std::vector<float>;

class ConstantUtilsTest : public ::testing::Test {
protected:
  ConstantUtilsTest() : builder(&context) {
    context.loadDialect<arith::ArithDialect>();
    module = ModuleOp::create(builder.getUnknownLoc());
    builder.setInsertionPointToStart(module->getBody());
  }

  RankedTensorType getInteger(ArrayRef<int64_t> shape, unsigned width) {
    return RankedTensorType::get(shape, builder.getIntegerType(width));
  }

  Attribute getDense(ArrayRef<int64_t> shape, unsigned width,
                     ArrayRef<int64_t> values) {
    SmallVector<APInt> elements;
    for (int64_t value : values)
      elements.emplace_back(width, value, /*isSigned=*/true);
    return DenseElementsAttr::get(getInteger(shape, width), elements);
  }

  Attribute getResource(RankedTensorType type, ArrayRef<char> bytes) {
    return DenseResourceElementsAttr::get(
        type, "test", HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, 16));
  }

  Integers getIntegers(Attribute attr) {
    auto constant = ConstantTensor::get(attr);
    return constant ? constant->getIntegers() : Integers();
  }

  MLIRContext context;
  OpBuilder builder;
  OwningOpRef<ModuleOp> module;
};

TEST_F(ConstantUtilsTest, Integers) {
  for (unsigned width : {4, 8, 16, 32, 64})
    EXPECT_EQ(getIntegers(getDense({3}, width, {-8, 7, 0})),
              (Integers{-8, 7, 0}));
}

TEST_F(ConstantUtilsTest, Splat) {
  EXPECT_EQ(getIntegers(getDense({2, 2}, 4, {-3})), Integers(4, -3));
  EXPECT_EQ(getIntegers(getDense({0}, 8, {})), Integers());
  EXPECT_EQ(getIntegers(getDense({}, 16, {-300})), (Integers{-300}));
}

TEST_F(ConstantUtilsTest, Floats) {
  auto type = RankedTensorType::get({2}, builder.getF32Type());
  auto dense = DenseElementsAttr::get(type, ArrayRef<float>{0.5f, -1.0f});
  EXPECT_EQ(ConstantTensor::get(dense)->getFloats(), (Floats{0.5f, -1.0f}));
  auto splat = DenseElementsAttr::get(type, ArrayRef<float>{0.25f});
  EXPECT_EQ(ConstantTensor::get(splat)->getFloats(), (Floats{0.25f, 0.25f}));
}

TEST_F(ConstantUtilsTest, Resource) {
  EXPECT_EQ(getIntegers(getResource(getInteger({2}, 8), {1, -1})),
            (Integers{1, -1}));
  // One byte each, and only the low bits count.
  EXPECT_EQ(getIntegers(getResource(getInteger({2}, 4), {0x0F, 0x77})),
            (Integers{-1, 7}));
}

TEST_F(ConstantUtilsTest, ResourceOfWrongSizeIsNone) {
  EXPECT_FALSE(ConstantTensor::get(getResource(getInteger({3}, 8), {1, -1})));
}

TEST_F(ConstantUtilsTest, OtherAttributesAreNone) {
  EXPECT_FALSE(ConstantTensor::get(Attribute()));
  EXPECT_FALSE(ConstantTensor::get(builder.getI32IntegerAttr(1)));
  EXPECT_FALSE(ConstantTensor::get(getDense({2}, 1, {0, -1})));
  EXPECT_FALSE(ConstantTensor::get(getDense({1}, 24, {5})));
  // A splat may have any number of elements; its copy may not.
  EXPECT_FALSE(ConstantTensor::get(getDense({1 << 20, 1 << 20}, 8, {1})));
}

TEST_F(ConstantUtilsTest, GatherSliceConcat) {
  auto matrix = *ConstantTensor::get(getDense({2, 3}, 8, {1, 2, 3, 4, 5, 6}));
  ConstantTensor columns = matrix.gather(1, {2, 0});
  EXPECT_EQ(columns.getType(), getInteger({2, 2}, 8));
  EXPECT_EQ(columns.getIntegers(), (Integers{3, 1, 6, 4}));
  EXPECT_EQ(matrix.slice(0, 1, 1).getIntegers(), (Integers{4, 5, 6}));
  ConstantTensor wider = matrix.concat(columns, 1);
  EXPECT_EQ(wider.getType(), getInteger({2, 5}, 8));
  EXPECT_EQ(wider.getIntegers(), (Integers{1, 2, 3, 3, 1, 4, 5, 6, 6, 4}));
  ConstantTensor taller = matrix.concat(matrix.slice(0, 0, 1), 0);
  EXPECT_EQ(taller.getIntegers(), (Integers{1, 2, 3, 4, 5, 6, 1, 2, 3}));
  EXPECT_EQ(matrix.slice(1, 0, 2).concat(matrix.slice(1, 2, 1), 1), matrix);
}

TEST_F(ConstantUtilsTest, MaterializeKeepsTheSpelling) {
  auto dense = *ConstantTensor::get(getDense({2}, 4, {-8, 7}));
  Value value = dense.materialize(builder, builder.getUnknownLoc());
  EXPECT_EQ(value.getType(), dense.getType());
  EXPECT_EQ(*ConstantTensor::get(value), dense);
  EXPECT_TRUE(ConstantTensor::isConstant(value));
  EXPECT_FALSE(ConstantTensor::isConstant(Value()));
  auto resource =
      *ConstantTensor::get(getResource(getInteger({2}, 4), {-8, 7}));
  EXPECT_EQ(resource, dense);
  value = resource.materialize(builder, builder.getUnknownLoc());
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  EXPECT_TRUE(isa<DenseResourceElementsAttr>(constant.getValue()));
  EXPECT_EQ(*ConstantTensor::get(value), dense);
}

TEST_F(ConstantUtilsTest, Create) {
  auto integers =
      ConstantTensor::create(getInteger({2}, 32), ArrayRef<int64_t>{-1, 70000});
  EXPECT_EQ(integers.getIntegers(), (Integers{-1, 70000}));
  auto type = RankedTensorType::get({1}, builder.getF32Type());
  auto floats = ConstantTensor::create(type, ArrayRef<float>{-0.5f});
  EXPECT_EQ(floats.getFloats(), (Floats{-0.5f}));
}

} // namespace
