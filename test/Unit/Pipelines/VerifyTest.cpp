//===- VerifyTest.cpp - Tests of the verification -------------------------===//
//
// Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "qtx/Pipelines/Verify.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Parser/Parser.h"
#include "qtx/InitAll.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace qtx;

namespace {

constexpr char kText[] = R"mlir(
  func.func @main(%x: tensor<?x64xf32> {qtx.name = "x", qtx.dims = ["n", ""]})
      -> (tensor<?x16xf32> {qtx.name = "y"}) {
    %w = arith.constant dense<1> : tensor<16x64xi8>
    %s = arith.constant dense<0.5> : tensor<16xf32>
    %q = qtx.quantize %x
       : tensor<?x64xf32> -> tensor<?x64x!quant.uniform<i8:f32, 0.03125>>
    %y = qtx.linear %q, %w scale(%s)
       : (tensor<?x64x!quant.uniform<i8:f32, 0.03125>>, tensor<16x64xi8>,
          tensor<16xf32>) -> tensor<?x16xf32>
    return %y : tensor<?x16xf32>
  }
)mlir";

class VerifyTest : public ::testing::Test {
protected:
  VerifyTest() {
    DialectRegistry registry;
    registerDialects(registry);
    context.appendDialectRegistry(registry);
    module = parseSourceString<ModuleOp>(kText, &context);
  }

  static func::FuncOp getMain(ModuleOp module) {
    return module.lookupSymbol<func::FuncOp>("main");
  }

  /// Changes the weights of the model.
  static void corrupt(ModuleOp module) {
    module.walk([](arith::ConstantOp constant) {
      auto type = dyn_cast<RankedTensorType>(constant.getType());
      if (type && type.getElementType().isInteger(8))
        constant.setValueAttr(DenseElementsAttr::get(type, int8_t(2)));
    });
  }

  std::string verify(func::FuncOp reference, func::FuncOp fast) {
    auto feed = makeFeed(reference);
    EXPECT_TRUE(bool(feed));
    llvm::raw_string_ostream stream(output);
    return llvm::toString(verifyOperations(reference, fast, *feed, stream));
  }

  /// Compiles and verifies; the code is corrupted on the way if asked for.
  std::string compile(bool isCorrupt) {
    CompileOptions options;
    options.verify = true;
    options.stageDone = [&](Stage stage, double) {
      if (isCorrupt && stage == Stage::Configure)
        corrupt(*module);
    };
    FailureOr<CompileResult> result = runStages(*module, options);
    EXPECT_TRUE(succeeded(result));
    llvm::raw_string_ostream stream(output);
    return llvm::toString(verifyModel(*module, options, *result, stream));
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::string output;
};

TEST_F(VerifyTest, GeneratedInputs) {
  auto feed = makeFeed(getMain(*module));
  ASSERT_TRUE(bool(feed));
  ASSERT_EQ(feed->views.size(), 1u);
  EXPECT_EQ(feed->views[0].shape, ArrayRef<int64_t>({2, 64}));
}

TEST_F(VerifyTest, Operations) {
  func::FuncOp main = getMain(*module);
  EXPECT_EQ(verify(main, main), "");
  EXPECT_EQ(output,
            "verify: 2 exact operations: the same bits as the reference\n");
}

TEST_F(VerifyTest, OperationDiffers) {
  OwningOpRef<ModuleOp> other = module->clone();
  corrupt(*other);
  std::string error = verify(getMain(*module), getMain(*other));
  std::string expected = "qtx.linear (-:8:10) differs from the reference: "
                         "expected the same bits, found that 32 of 32 elements "
                         "differ, the first is number 0: ";
  EXPECT_EQ(error.substr(0, expected.size()), expected);
}

TEST_F(VerifyTest, Model) {
  EXPECT_EQ(compile(/*isCorrupt=*/false), "");
  EXPECT_NE(output.find("verify: output 'y', against the reference: relative "
                        "error 0.00e+00, 0 of 32 elements differ"),
            std::string::npos)
      << output;
}

TEST_F(VerifyTest, ModelDiffers) {
  std::string error = compile(/*isCorrupt=*/true);
  std::string expected = "output 'y' differs from the reference: expected the "
                         "same bits, found that 32 of 32 elements differ";
  EXPECT_EQ(error.substr(0, expected.size()), expected);
}

} // namespace
